//! The client of DTLS 1.2: what it awaits, and how it answers.

use antiphon_crypto::{NamedGroup, Secret, constant_time_eq};

use super::{EPOCH, Params, Session, sign, verify};
use crate::certificate::PeerKey;
use crate::config::{CipherSuite, ProtocolVersion, Role, SrtpProfile};
use crate::error::Error;
use crate::handshake::extensions::ExtensionType;
use crate::handshake::hello::ServerHello;
use crate::handshake::messages::{CertificateChain, CertificateRequest, ClientKeyExchange, ServerKeyExchange};
use crate::handshake::messages13::DOWNGRADE_SENTINEL;
use crate::handshake::{Message, MessageType};
use crate::layer::{Fault, Layer};
use crate::negotiation::agreed::Agreed;
use crate::negotiation::offer::{Offer, groups};

/// The client's side, from ServerHello on. Each state names what is awaited.
///
/// ```text
///   ClientHello                -->
///                              <--   ServerHello
///                              <--   Certificate
///                              <--   ServerKeyExchange
///                              <--   CertificateRequest
///                              <--   ServerHelloDone
///   Certificate                -->
///   ClientKeyExchange          -->
///   CertificateVerify          -->
///   ChangeCipherSpec, Finished -->
///                              <--   ChangeCipherSpec, Finished
/// ```
pub(crate) enum Client {
    Certificate(Params),
    ServerKeyExchange(Params, PeerKey),
    ServerHelloDone {
        params: Params,
        /// Our public value and the secret that it makes with the server's.
        exchange: (NamedGroup, Vec<u8>, Secret),
        request: Option<CertificateRequest>,
    },
    Finished(Session),
    /// A message was taken that ended the handshake, or failed.
    Over,
}

impl Client {
    /// Takes a ServerHello that chose DTLS 1.2.
    pub(crate) fn server_hello(
        layer: &mut Layer,
        offer: &Offer,
        hello: &ServerHello,
        message: &Message,
    ) -> Result<Self, Fault> {
        let extensions = &hello.extensions;
        let srtp = extensions.use_srtp()?;
        let uncompressed = extensions.allows_uncompressed_points()?;
        if hello.version != ProtocolVersion::Dtls12.code() {
            return Err(Error::NoCommonVersion.into());
        }
        if offer.offers(ProtocolVersion::Dtls13) && hello.random.ends_with(&DOWNGRADE_SENTINEL) {
            return Err(Error::Protocol("the server has 1.3 but was asked for 1.2 (RFC 8446 §4.1.3)").into());
        }
        let suite = CipherSuite::from_code(hello.cipher_suite)
            .filter(|suite| suite.version() == ProtocolVersion::Dtls12)
            .filter(|suite| offer.hello.cipher_suites.contains(&suite.code()))
            .ok_or(Error::NoCommonParameters)?;
        if extensions.types().any(|kind| !offer.hello.extensions.has(kind)) {
            return Err(Error::Protocol("an extension that was not offered (RFC 5246 §7.4.1.4)").into());
        }
        if hello.compression != 0 || !uncompressed || !extensions.renegotiation_info_is_initial() {
            return Err(Error::Protocol("compression, point format or renegotiation_info").into());
        }
        // Without it, two sessions can be made to share a master secret (RFC 7627 §1).
        if extensions
            .get(ExtensionType::EXTENDED_MASTER_SECRET)
            .is_none_or(|body| !body.is_empty())
        {
            return Err(Error::NoExtendedMasterSecret.into());
        }
        let srtp = match srtp
            .as_ref()
            .map(|srtp| (srtp.profiles.as_slice(), srtp.mki.as_slice()))
        {
            None => None,
            Some(([code], [])) => Some(
                SrtpProfile::from_code(*code)
                    .filter(|profile| layer.config.srtp_profiles.contains(profile))
                    .ok_or(Error::Protocol(
                        "an SRTP profile that was not offered (RFC 5764 §4.1.1)",
                    ))?,
            ),
            Some(_) => return Err(Error::Protocol("several SRTP profiles, or a key identifier").into()),
        };
        let provider = layer.config.provider;
        layer.transcript.start_running_12(provider, suite.hash());
        layer
            .transcript
            .add(message.msg_type, message.message_seq, &message.body);
        let client_random = offer.hello.random;
        Ok(Self::Certificate(Params {
            suite,
            client_random,
            server_random: hello.random,
            srtp,
        }))
    }

    /// Takes the next message. `Some` ends the handshake.
    pub(crate) fn handle(&mut self, layer: &mut Layer, message: &Message) -> Result<Option<Agreed>, Fault> {
        let (msg_type, body) = (message.msg_type, message.body.as_slice());
        let expected_epoch = if matches!(self, Self::Finished(_)) { EPOCH } else { 0 };
        if message.epoch != expected_epoch {
            return Err(Fault::Malformed);
        }
        match self {
            Self::Certificate(params) if msg_type == MessageType::CERTIFICATE => {
                let chain = CertificateChain::parse(body)?;
                let params = *params;
                let key = layer.set_peer_chain(&chain.chain)?;
                if !params.suite.takes_key(key.kind) {
                    return Err(Error::Protocol("the certificate does not fit the cipher suite").into());
                }
                self.advance(layer, message, Self::ServerKeyExchange(params, key));
            }
            Self::ServerKeyExchange(params, key) if msg_type == MessageType::SERVER_KEY_EXCHANGE => {
                let exchange = ServerKeyExchange::parse(body)?;
                let params = *params;
                let exchange = key_exchange(layer, &params, key, &exchange)?;
                self.advance(
                    layer,
                    message,
                    Self::ServerHelloDone {
                        params,
                        exchange,
                        request: None,
                    },
                );
            }
            Self::ServerHelloDone {
                request: request @ None,
                ..
            } if msg_type == MessageType::CERTIFICATE_REQUEST => {
                *request = Some(CertificateRequest::parse(body)?);
                layer.transcript.add(msg_type, message.message_seq, body);
            }
            Self::ServerHelloDone { .. } if msg_type == MessageType::SERVER_HELLO_DONE && body.is_empty() => {
                let Self::ServerHelloDone {
                    params,
                    exchange,
                    request,
                } = std::mem::replace(self, Self::Over)
                else {
                    return Err(Fault::Malformed);
                };
                layer.transcript.add(msg_type, message.message_seq, body);
                *self = Self::Finished(answer(layer, params, exchange, request.as_ref())?);
            }
            Self::Finished(session) if msg_type == MessageType::FINISHED => {
                if !constant_time_eq(&session.verify_data(layer, Role::Server), body) {
                    return Err(Error::BadSignature.into());
                }
                let Self::Finished(session) = std::mem::replace(self, Self::Over) else {
                    return Err(Fault::Malformed);
                };
                // The server has our last flight, or it could not have sent this.
                layer.flight.clear();
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

/// Checks the server's signed public value and answers it with ours (RFC 8422 §5.4, §5.7).
fn key_exchange(
    layer: &mut Layer,
    params: &Params,
    key: &PeerKey,
    exchange: &ServerKeyExchange,
) -> Result<(NamedGroup, Vec<u8>, Secret), Error> {
    let group = NamedGroup::from_code(exchange.group)
        .filter(|group| groups(&layer.config, ProtocolVersion::Dtls12).any(|known| known == *group))
        .ok_or(Error::NoCommonParameters)?;
    let mut signed = Vec::with_capacity(256);
    signed.extend_from_slice(&params.client_random);
    signed.extend_from_slice(&params.server_random);
    signed.extend_from_slice(&ServerKeyExchange::params(exchange.group, &exchange.public_key));
    let provider = layer.config.provider;
    verify(provider, key, &signed, &exchange.signed)?;
    let ours = provider
        .start_exchange(group, &mut layer.rng)
        .map_err(|_| Error::Crypto)?;
    let public_key = ours.public_key().to_vec();
    let pre_master = ours
        .complete(&exchange.public_key)
        .map_err(|_| Error::Protocol("an invalid public value"))?;
    Ok((group, public_key, pre_master))
}

/// Writes the client's second flight.
fn answer(
    layer: &mut Layer,
    params: Params,
    (group, public_key, pre_master): (NamedGroup, Vec<u8>, Secret),
    request: Option<&CertificateRequest>,
) -> Result<Session, Error> {
    let certificate = layer.config.certificate.clone();
    let scheme = request.and_then(|request| certificate.scheme_for(ProtocolVersion::Dtls12, &request.schemes));
    layer.flight.begin(true);
    if request.is_some() {
        // A client that has nothing suitable says so with an empty chain (RFC 5246 §7.4.6).
        let chain = scheme.map_or_else(Vec::new, |_| certificate.chain().to_vec());
        layer.send(MessageType::CERTIFICATE, CertificateChain { chain }.write());
    }
    layer.send(
        MessageType::CLIENT_KEY_EXCHANGE,
        ClientKeyExchange { public_key }.write(),
    );
    let session = Session::derive(layer, params, group, &pre_master);
    if let Some(scheme) = scheme {
        let mut body = Vec::new();
        sign(layer, scheme, layer.transcript.bytes())?.write(&mut body);
        layer.send(MessageType::CERTIFICATE_VERIFY, body);
    }
    let (ours, theirs) = session.protections(layer.config.provider, Role::Client)?;
    layer.flight.push_change_cipher_spec();
    layer.epochs.prepare_send_in(EPOCH, ours);
    layer.epochs.switch_send_to(EPOCH);
    layer.epochs.receive_in(EPOCH, theirs);
    let verify_data = session.verify_data(layer, Role::Client);
    layer.send(MessageType::FINISHED, verify_data.to_vec());
    Ok(session)
}
