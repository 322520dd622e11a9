//! Our ClientHello, and what a server may choose from it.

use antiphon_crypto::{KeyExchange, NamedGroup, SignatureScheme};

use crate::config::{CipherSuite, Config, ProtocolVersion};
use crate::error::Error;
use crate::handshake::extensions::{ExtensionType, Extensions, UseSrtp, put_share};
use crate::handshake::hello::{ClientHello, HelloVerifyRequest, RANDOM_LEN, ServerHello};
use crate::handshake::{Message, MessageType, put_u16, put_vec};
use crate::layer::{Fault, Layer};

/// HelloVerifyRequests that are answered: a server may ask again when its secret has changed, not for ever.
const MAX_HELLO_VERIFY_REQUESTS: u8 = 3;

/// The ClientHello that we sent, which the server's answer is held against.
pub(crate) struct Offer {
    pub(crate) hello: ClientHello,
    /// Our halves of the key exchanges that it has shares of.
    pub(crate) exchanges: Vec<Box<dyn KeyExchange>>,
    /// The suite of the HelloRetryRequest that was answered; there may be one.
    pub(crate) retried: Option<CipherSuite>,
    verified: u8,
}

impl Offer {
    /// Writes the first flight.
    pub(crate) fn send(layer: &mut Layer) -> Result<Self, Error> {
        let mut random = [0; RANDOM_LEN];
        layer.rng.fill(&mut random);
        let versions = layer.config.versions;
        let suites = layer
            .config
            .cipher_suites
            .iter()
            .filter(|suite| versions.allow(suite.version()));
        let cipher_suites: Vec<u16> = suites.map(|suite| CipherSuite::code(*suite)).collect();
        if cipher_suites.is_empty() || layer.config.groups.is_empty() {
            return Err(Error::NoCommonParameters);
        }
        let exchanges = if versions.allow(ProtocolVersion::Dtls13) {
            first_exchanges(layer)?
        } else {
            Vec::new()
        };
        let hello = ClientHello {
            version: ProtocolVersion::Dtls12.code(),
            random,
            // RFC 9147 §5.3: empty, no compatibility mode.
            session_id: Vec::new(),
            cookie: Vec::new(),
            cipher_suites,
            compression: vec![0],
            extensions: extensions(layer, &exchanges),
        };
        let offer = Self {
            hello,
            exchanges,
            retried: None,
            verified: 0,
        };
        offer.begin_flight(layer);
        Ok(offer)
    }

    pub(crate) fn offers(&self, version: ProtocolVersion) -> bool {
        match self.hello.extensions.offered_versions() {
            Ok(Some(versions)) => versions.contains(&version.code()),
            _ => version == ProtocolVersion::Dtls12,
        }
    }

    fn begin_flight(&self, layer: &mut Layer) {
        layer.flight.begin(true);
        layer.send(MessageType::CLIENT_HELLO, self.hello.write());
    }

    /// Answers HelloVerifyRequest (RFC 6347 §4.2.1): the same hello once more, with the cookie.
    pub(crate) fn hello_verify_request(&mut self, layer: &mut Layer, message: &Message) -> Result<(), Fault> {
        let request = HelloVerifyRequest::parse(&message.body)?;
        if !self.offers(ProtocolVersion::Dtls12) || self.retried.is_some() {
            return Err(Fault::Malformed);
        }
        if self.verified == MAX_HELLO_VERIFY_REQUESTS {
            return Err(Error::Protocol("HelloVerifyRequest without end").into());
        }
        self.verified += 1;
        self.hello.cookie = request.cookie;
        layer.transcript.clear();
        self.begin_flight(layer);
        Ok(())
    }

    /// Answers HelloRetryRequest (RFC 8446 §4.1.4): the hello with the share of the group that the server wants, and its
    /// cookie. The suite has been checked.
    pub(crate) fn hello_retry_request(
        &mut self,
        layer: &mut Layer,
        request: &ServerHello,
        suite: CipherSuite,
        message: &Message,
    ) -> Result<(), Fault> {
        let cookie = request.extensions.cookie()?;
        let group = request.extensions.wanted_group()?;
        if self.retried.is_some() {
            return Err(Error::Protocol("a second HelloRetryRequest").into());
        }
        if cookie.is_none() && group.is_none() {
            return Err(Error::Protocol("HelloRetryRequest that changes nothing").into());
        }
        let provider = layer.config.provider;
        if let Some(code) = group {
            let group = NamedGroup::from_code(code)
                .filter(|group| layer.config.groups.contains(group))
                .filter(|group| self.exchanges.iter().all(|exchange| exchange.group() != *group))
                .ok_or(Error::Protocol(
                    "HelloRetryRequest for a group not offered, or offered already",
                ))?;
            let exchange = provider
                .start_exchange(group, &mut layer.rng)
                .map_err(|_| Error::Crypto)?;
            self.exchanges = vec![exchange];
            let exchanges = &self.exchanges;
            self.hello
                .extensions
                .replace(ExtensionType::KEY_SHARE, |out| put_shares(out, exchanges));
        }
        if let Some(cookie) = cookie {
            self.hello
                .extensions
                .push(ExtensionType::COOKIE, |out| put_vec::<2>(out, |out| out.extend(cookie)));
        }
        self.retried = Some(suite);
        layer.transcript.start_running(provider, suite.hash());
        layer.transcript.replace_by_hash(provider);
        layer
            .transcript
            .add(message.msg_type, message.message_seq, &message.body);
        self.begin_flight(layer);
        Ok(())
    }
}

/// The signature schemes that we verify, best first.
pub(crate) fn offered_schemes() -> impl Iterator<Item = u16> {
    SignatureScheme::ALL.into_iter().map(SignatureScheme::code)
}

/// The groups of a version. ML-KEM is for 1.3 alone.
pub(crate) fn groups(config: &Config, version: ProtocolVersion) -> impl Iterator<Item = NamedGroup> + '_ {
    let hybrid = version == ProtocolVersion::Dtls13;
    config
        .groups
        .iter()
        .copied()
        .filter(move |group| hybrid || *group != NamedGroup::X25519MlKem768)
}

/// Shares for the group that we like best, and should that be post-quantum, for the best that is not: a server that does
/// not know the first then still saves the round trip.
fn first_exchanges(layer: &mut Layer) -> Result<Vec<Box<dyn KeyExchange>>, Error> {
    let first = groups(&layer.config, ProtocolVersion::Dtls13).next();
    let classic = groups(&layer.config, ProtocolVersion::Dtls12).next();
    let second = classic.filter(|_| first == Some(NamedGroup::X25519MlKem768));
    let provider = layer.config.provider;
    let start = |group| {
        provider
            .start_exchange(group, &mut layer.rng)
            .map_err(|_| Error::Crypto)
    };
    first.into_iter().chain(second).map(start).collect()
}

fn put_shares(out: &mut Vec<u8>, exchanges: &[Box<dyn KeyExchange>]) {
    put_vec::<2>(out, |out| {
        for exchange in exchanges {
            put_share(out, exchange.group().code(), exchange.public_key());
        }
    });
}

fn extensions(layer: &Layer, exchanges: &[Box<dyn KeyExchange>]) -> Extensions {
    let config = &layer.config;
    let mut extensions = Extensions::default();
    if config.versions.allow(ProtocolVersion::Dtls12) {
        extensions.push(ExtensionType::EXTENDED_MASTER_SECRET, |_| {});
        extensions.push(ExtensionType::RENEGOTIATION_INFO, |out| out.push(0));
        extensions.push(ExtensionType::EC_POINT_FORMATS, |out| {
            put_vec::<1>(out, |out| out.push(0))
        });
    }
    let newest = if config.versions.allow(ProtocolVersion::Dtls13) {
        ProtocolVersion::Dtls13
    } else {
        ProtocolVersion::Dtls12
    };
    extensions.push_list16(
        ExtensionType::SUPPORTED_GROUPS,
        groups(config, newest).map(NamedGroup::code),
    );
    extensions.push_list16(ExtensionType::SIGNATURE_ALGORITHMS, offered_schemes());
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
    if config.versions.allow(ProtocolVersion::Dtls13) {
        extensions.push(ExtensionType::SUPPORTED_VERSIONS, |out| {
            put_vec::<1>(out, |out| {
                let both = [ProtocolVersion::Dtls13, ProtocolVersion::Dtls12];
                both.into_iter()
                    .filter(|version| config.versions.allow(*version))
                    .for_each(|v| put_u16(out, v.code()));
            });
        });
        extensions.push(ExtensionType::KEY_SHARE, |out| put_shares(out, exchanges));
    }
    extensions
}
