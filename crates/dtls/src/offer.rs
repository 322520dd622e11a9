use crate::config::{CipherSuite, ProtocolVersion};
use crate::error::Error;
use crate::handshake::extensions::{ExtensionType, Extensions, UseSrtp};
use crate::handshake::hello::{ClientHello, HelloVerifyRequest, RANDOM_LEN};
use crate::handshake::{Message, MessageType, put_vec};
use crate::layer::{Fault, Layer};
use antiphon_crypto::SignatureScheme;

/// The ClientHello that we sent, which the server's answer is held against.
pub(crate) struct Offer {
    pub(crate) hello: ClientHello,
    /// HelloVerifyRequests answered: a server may ask once more when its secret has changed, not for ever.
    verified: u8,
}

const MAX_HELLO_VERIFY_REQUESTS: u8 = 3;

impl Offer {
    /// Writes the first flight.
    pub(crate) fn send(layer: &mut Layer) -> Result<Self, Error> {
        let mut random = [0; RANDOM_LEN];
        layer.rng.fill(&mut random);
        let suites = layer.config.cipher_suites.iter();
        let hello = ClientHello {
            version: ProtocolVersion::Dtls12.code(),
            random,
            session_id: Vec::new(),
            cookie: Vec::new(),
            cipher_suites: suites
                .filter(|suite| suite.version() == ProtocolVersion::Dtls12)
                .map(|suite| CipherSuite::code(*suite))
                .collect(),
            compression: vec![0],
            extensions: extensions(layer),
        };
        if hello.cipher_suites.is_empty() {
            return Err(Error::NoCommonParameters);
        }
        let offer = Self { hello, verified: 0 };
        offer.begin_flight(layer);
        Ok(offer)
    }

    fn begin_flight(&self, layer: &mut Layer) {
        layer.flight.begin(true);
        layer.send(MessageType::CLIENT_HELLO, self.hello.write());
    }

    /// Answers HelloVerifyRequest (RFC 6347 §4.2.1): the same hello once more, with the cookie.
    pub(crate) fn hello_verify_request(&mut self, layer: &mut Layer, message: &Message) -> Result<(), Fault> {
        let request = HelloVerifyRequest::parse(&message.body)?;
        if self.verified == MAX_HELLO_VERIFY_REQUESTS {
            return Err(Error::Protocol("HelloVerifyRequest without end").into());
        }
        self.verified += 1;
        self.hello.cookie = request.cookie;
        layer.transcript.clear();
        self.begin_flight(layer);
        Ok(())
    }
}

fn extensions(layer: &Layer) -> Extensions {
    let config = &layer.config;
    let mut extensions = Extensions::default();
    extensions.push(ExtensionType::EXTENDED_MASTER_SECRET, |_| {});
    extensions.push(ExtensionType::RENEGOTIATION_INFO, |out| out.push(0));
    extensions.push_list16(
        ExtensionType::SUPPORTED_GROUPS,
        config.groups.iter().map(|group| group.code()),
    );
    extensions.push(ExtensionType::EC_POINT_FORMATS, |out| {
        put_vec::<1>(out, |out| out.push(0))
    });
    let schemes = SignatureScheme::ALL.into_iter().map(SignatureScheme::code);
    extensions.push_list16(ExtensionType::SIGNATURE_ALGORITHMS, schemes);
    if !config.srtp_profiles.is_empty() {
        let profiles = config.srtp_profiles.iter().map(|profile| profile.code()).collect();
        extensions.push(ExtensionType::USE_SRTP, |out| {
            UseSrtp {
                profiles,
                mki: Vec::new(),
            }
            .write(out)
        });
    }
    extensions
}
