//! The server of DTLS 1.2: what it awaits, and how it answers.

use antiphon_crypto::{KeyExchange, NamedGroup, SignatureScheme, constant_time_eq};

use super::{EPOCH, Params, Session, sign, verify};
use crate::certificate::PeerKey;
use crate::config::{CipherSuite, ProtocolVersion, Role, SrtpProfile};
use crate::error::Error;
use crate::handshake::extensions::{ExtensionType, Extensions, UseSrtp};
use crate::handshake::hello::{ClientHello, RANDOM_LEN, ServerHello};
use crate::handshake::messages::{CertificateChain, CertificateRequest, ClientKeyExchange, ServerKeyExchange, Signed};
use crate::handshake::messages13::DOWNGRADE_SENTINEL;
use crate::handshake::{Message, MessageType, put_vec};
use crate::layer::{Fault, Layer};
use crate::negotiation::agreed::Agreed;
use crate::negotiation::offer::{groups, offered_schemes};

/// TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746 §3.3).
const RENEGOTIATION_SCSV: u16 = 0x00ff;
/// ClientCertificateType ecdsa_sign, which Ed25519 shares, and rsa_sign (RFC 8422 §5.5).
const CERTIFICATE_TYPES: [u8; 2] = [64, 1];

/// The server's side, from our ServerHelloDone on. Each state names what is awaited.
pub(crate) enum Server {
    Certificate(Params, Box<dyn KeyExchange>),
    ClientKeyExchange(Params, Box<dyn KeyExchange>, PeerKey),
    CertificateVerify(Session, PeerKey),
    Finished(Session),
    /// A message was taken that ended the handshake, or failed.
    Over,
}

impl Server {
    /// Takes a ClientHello that offers DTLS 1.2, and answers it with the server's flight.
    pub(crate) fn client_hello(layer: &mut Layer, hello: &ClientHello, message: &Message) -> Result<Self, Fault> {
        let offered_groups = hello.extensions.list16(ExtensionType::SUPPORTED_GROUPS)?;
        let schemes = hello
            .extensions
            .list16(ExtensionType::SIGNATURE_ALGORITHMS)?
            .unwrap_or_default();
        let srtp = hello.extensions.use_srtp()?;
        let uncompressed = hello.extensions.allows_uncompressed_points()?;
        if !hello.compression.contains(&0) || !uncompressed || !hello.extensions.renegotiation_info_is_initial() {
            return Err(Error::Protocol("compression, point format or renegotiation_info").into());
        }
        if hello
            .extensions
            .get(ExtensionType::EXTENDED_MASTER_SECRET)
            .is_none_or(|body| !body.is_empty())
        {
            return Err(Error::NoExtendedMasterSecret.into());
        }
        let certificate = &layer.config.certificate;
        let suite = *layer
            .config
            .cipher_suites
            .iter()
            .filter(|suite| suite.version() == ProtocolVersion::Dtls12 && suite.takes_key(certificate.kind()))
            .find(|suite| hello.cipher_suites.contains(&suite.code()))
            .ok_or(Error::NoCommonParameters)?;
        // A client without supported_groups takes any (RFC 8422 §4).
        let takes = |group: &NamedGroup| {
            offered_groups
                .as_ref()
                .is_none_or(|offered| offered.contains(&group.code()))
        };
        let group = groups(&layer.config, ProtocolVersion::Dtls12)
            .find(takes)
            .ok_or(Error::NoCommonParameters)?;
        let scheme = certificate
            .scheme_for(ProtocolVersion::Dtls12, &schemes)
            .ok_or(Error::NoCommonParameters)?;
        let offered = srtp.map(|srtp| srtp.profiles).unwrap_or_default();
        let srtp = layer
            .config
            .srtp_profiles
            .iter()
            .copied()
            .find(|profile| offered.contains(&profile.code()));

        let provider = layer.config.provider;
        layer.transcript.start_running_12(provider, suite.hash());
        layer
            .transcript
            .add(message.msg_type, message.message_seq, &message.body);
        let mut server_random = [0; RANDOM_LEN];
        layer.rng.fill(&mut server_random);
        if layer.config.versions.allow(ProtocolVersion::Dtls13) {
            // Protected by our signature: a client that offered 1.3 sees that somebody took the offer away.
            server_random[RANDOM_LEN - DOWNGRADE_SENTINEL.len()..].copy_from_slice(&DOWNGRADE_SENTINEL);
        }
        let params = Params {
            suite,
            client_random: hello.random,
            server_random,
            srtp,
        };
        let exchange = layer
            .config
            .provider
            .start_exchange(group, &mut layer.rng)
            .map_err(|_| Error::Crypto)?;
        answer(layer, hello, params, scheme, exchange.as_ref())?;
        Ok(Self::Certificate(params, exchange))
    }

    /// Takes the next message. `Some` ends the handshake.
    pub(crate) fn handle(&mut self, layer: &mut Layer, message: &Message) -> Result<Option<Agreed>, Fault> {
        let (msg_type, body) = (message.msg_type, message.body.as_slice());
        let expected_epoch = if matches!(self, Self::Finished(_)) { EPOCH } else { 0 };
        if message.epoch != expected_epoch {
            return Err(Fault::Malformed);
        }
        match self {
            Self::Certificate(..) if msg_type == MessageType::CERTIFICATE => {
                let chain = CertificateChain::parse(body)?;
                let key = layer.set_peer_chain(&chain.chain)?;
                let Self::Certificate(params, exchange) = std::mem::replace(self, Self::Over) else {
                    return Err(Fault::Malformed);
                };
                self.advance(layer, message, Self::ClientKeyExchange(params, exchange, key));
            }
            Self::ClientKeyExchange(..) if msg_type == MessageType::CLIENT_KEY_EXCHANGE => {
                let ClientKeyExchange { public_key } = ClientKeyExchange::parse(body)?;
                let Self::ClientKeyExchange(params, exchange, key) = std::mem::replace(self, Self::Over) else {
                    return Err(Fault::Malformed);
                };
                let group = exchange.group();
                let pre_master = exchange
                    .complete(&public_key)
                    .map_err(|_| Error::Protocol("an invalid public value"))?;
                layer.transcript.add(msg_type, message.message_seq, body);
                *self = Self::CertificateVerify(Session::derive(layer, params, group, &pre_master), key);
            }
            Self::CertificateVerify(_, key) if msg_type == MessageType::CERTIFICATE_VERIFY => {
                let signed = Signed::parse(body)?;
                verify(layer.config.provider, key, layer.transcript.bytes(), &signed)?;
                let Self::CertificateVerify(session, _) = std::mem::replace(self, Self::Over) else {
                    return Err(Fault::Malformed);
                };
                let (ours, theirs) = session.protections(layer.config.provider, Role::Server)?;
                layer.epochs.receive_in(EPOCH, theirs);
                layer.epochs.prepare_send_in(EPOCH, ours);
                self.advance(layer, message, Self::Finished(session));
            }
            Self::Finished(session) if msg_type == MessageType::FINISHED => {
                if !constant_time_eq(&session.verify_data(layer, Role::Client), body) {
                    return Err(Error::BadSignature.into());
                }
                let Self::Finished(session) = std::mem::replace(self, Self::Over) else {
                    return Err(Fault::Malformed);
                };
                layer.transcript.add(msg_type, message.message_seq, body);
                layer.flight.begin(false);
                layer.flight.push_change_cipher_spec();
                layer.epochs.switch_send_to(EPOCH);
                let verify_data = session.verify_data(layer, Role::Server);
                layer.send(MessageType::FINISHED, verify_data.to_vec());
                return Ok(Some(session.agreed()));
            }
            _ => return Err(Fault::Malformed),
        }
        Ok(None)
    }

    fn advance(&mut self, layer: &mut Layer, message: &Message, next: Self) {
        layer
            .transcript
            .add(message.msg_type, message.message_seq, &message.body);
        *self = next;
    }
}

/// Writes the server's flight, ServerHello to ServerHelloDone.
fn answer(
    layer: &mut Layer,
    hello: &ClientHello,
    params: Params,
    scheme: SignatureScheme,
    exchange: &dyn KeyExchange,
) -> Result<(), Error> {
    layer.flight.begin(true);
    let server_hello = ServerHello {
        version: ProtocolVersion::Dtls12.code(),
        random: params.server_random,
        session_id: Vec::new(),
        cipher_suite: CipherSuite::code(params.suite),
        compression: 0,
        extensions: extensions(hello, params.srtp),
    };
    layer.send(MessageType::SERVER_HELLO, server_hello.write());
    let chain = layer.config.certificate.chain().to_vec();
    layer.send(MessageType::CERTIFICATE, CertificateChain { chain }.write());
    let group = exchange.group().code();
    let public_key = exchange.public_key().to_vec();
    let mut signed = Vec::with_capacity(256);
    signed.extend_from_slice(&params.client_random);
    signed.extend_from_slice(&params.server_random);
    signed.extend_from_slice(&ServerKeyExchange::params(group, &public_key));
    let signed = sign(layer, scheme, &signed)?;
    layer.send(
        MessageType::SERVER_KEY_EXCHANGE,
        ServerKeyExchange {
            group,
            public_key,
            signed,
        }
        .write(),
    );
    // Both ends of WebRTC prove who they are (RFC 5763 §5).
    let request = CertificateRequest {
        types: CERTIFICATE_TYPES.to_vec(),
        schemes: offered_schemes().collect(),
    };
    layer.send(MessageType::CERTIFICATE_REQUEST, request.write());
    layer.send(MessageType::SERVER_HELLO_DONE, Vec::new());
    Ok(())
}

/// Answers what the client offered, and nothing else (RFC 5246 §7.4.1.4).
fn extensions(hello: &ClientHello, srtp: Option<SrtpProfile>) -> Extensions {
    let mut extensions = Extensions::default();
    extensions.push(ExtensionType::EXTENDED_MASTER_SECRET, |_| {});
    if hello.extensions.has(ExtensionType::RENEGOTIATION_INFO) || hello.cipher_suites.contains(&RENEGOTIATION_SCSV) {
        extensions.push(ExtensionType::RENEGOTIATION_INFO, |out| out.push(0));
    }
    if hello.extensions.has(ExtensionType::EC_POINT_FORMATS) {
        extensions.push(ExtensionType::EC_POINT_FORMATS, |out| {
            put_vec::<1>(out, |out| out.push(0))
        });
    }
    if let Some(profile) = srtp {
        let answer = UseSrtp {
            profiles: vec![profile.code()],
            mki: Vec::new(),
        };
        extensions.push(ExtensionType::USE_SRTP, |out| answer.write(out));
    }
    extensions
}
