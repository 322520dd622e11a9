//! The client of DTLS 1.3: what it awaits, and how it answers.

use antiphon_crypto::{NamedGroup, Secret};

use super::{Session, sign, verify};
use crate::certificate::PeerKey;
use crate::config::{CipherSuite, ProtocolVersion, Role, SrtpProfile};
use crate::error::Error;
use crate::handshake::extensions::ExtensionType;
use crate::handshake::hello::ServerHello;
use crate::handshake::messages::Signed;
use crate::handshake::messages13::{
    CertificateChain13, CertificateRequest13, HELLO_RETRY_REQUEST, parse_encrypted_extensions,
};
use crate::handshake::{Message, MessageType};
use crate::layer::{Fault, Layer};
use crate::negotiation::agreed::Agreed;
use crate::negotiation::offer::Offer;
use crate::record::epoch::{APPLICATION_EPOCH, HANDSHAKE_EPOCH};

/// The client's side, from ServerHello on. Each state names what is awaited.
///
/// ```text
///   ClientHello                 -->
///                               <--  ServerHello
///                               <--  {EncryptedExtensions} {CertificateRequest}
///                               <--  {Certificate} {CertificateVerify} {Finished}
///   {Certificate} {CertificateVerify} {Finished} -->
///   application data            -->
///                               <--  [ACK] application data
/// ```
pub(crate) enum Client {
    EncryptedExtensions(Session),
    /// CertificateRequest may come before.
    Certificate(Session, Option<CertificateRequest13>),
    CertificateVerify(Session, Option<CertificateRequest13>, PeerKey),
    Finished(Session, Option<CertificateRequest13>),
    /// A message was taken that ended the handshake, or failed.
    Over,
}

impl Client {
    /// Takes a ServerHello that chose DTLS 1.3. `None` if it was a HelloRetryRequest, which is now answered.
    pub(crate) fn server_hello(
        layer: &mut Layer,
        offer: &mut Offer,
        hello: &ServerHello,
        message: &Message,
    ) -> Result<Option<Self>, Fault> {
        let retry = hello.random == HELLO_RETRY_REQUEST;
        if hello.version != ProtocolVersion::Dtls12.code()
            || !hello.session_id.is_empty()
            || hello.compression != 0
            || hello.extensions.selected_version()? != Some(ProtocolVersion::Dtls13.code())
        {
            return Err(Error::Protocol("version, session id or compression of ServerHello").into());
        }
        let allowed = |kind| {
            kind == ExtensionType::SUPPORTED_VERSIONS
                || kind == ExtensionType::KEY_SHARE
                || retry && kind == ExtensionType::COOKIE
        };
        if !hello.extensions.types().all(allowed) {
            return Err(Error::Protocol("an extension that has no place in ServerHello (RFC 8446 §4.2)").into());
        }
        let suite = CipherSuite::from_code(hello.cipher_suite)
            .filter(|suite| suite.version() == ProtocolVersion::Dtls13)
            .filter(|suite| offer.hello.cipher_suites.contains(&suite.code()))
            .filter(|suite| offer.retried.is_none_or(|retried| retried == *suite))
            .ok_or(Error::NoCommonParameters)?;
        if retry {
            offer.hello_retry_request(layer, hello, suite, message)?;
            return Ok(None);
        }
        let (code, public_key) = hello
            .extensions
            .server_share()?
            .ok_or(Error::Protocol("no key_share"))?;
        let index = offer
            .exchanges
            .iter()
            .position(|exchange| exchange.group().code() == code)
            .ok_or(Error::Protocol("a key share for a group that was not offered"))?;
        let exchange = offer.exchanges.swap_remove(index);
        let group: NamedGroup = exchange.group();
        let shared: Secret = exchange
            .complete(&public_key)
            .map_err(|_| Error::Protocol("an invalid key share"))?;
        layer.transcript.start_running(layer.config.provider, suite.hash());
        layer
            .transcript
            .add(message.msg_type, message.message_seq, &message.body);
        let session = Session::derive(layer, suite, group, offer.hello.random, &shared)?;
        // The hello stays in flight: a server that may not send more before it hears from us (AMPLIFICATION_LIMIT) has to
        // hear, should our acknowledgements be lost.
        layer.epochs.switch_send_to(HANDSHAKE_EPOCH);
        Ok(Some(Self::EncryptedExtensions(session)))
    }

    /// Takes the next message. `Some` ends the handshake.
    pub(crate) fn handle(&mut self, layer: &mut Layer, message: &Message) -> Result<Option<Agreed>, Fault> {
        if message.epoch != HANDSHAKE_EPOCH {
            return Err(Fault::Malformed);
        }
        let (msg_type, body) = (message.msg_type, message.body.as_slice());
        *self = match (std::mem::replace(self, Self::Over), msg_type) {
            (Self::EncryptedExtensions(mut session), MessageType::ENCRYPTED_EXTENSIONS) => {
                let extensions = parse_encrypted_extensions(body)?;
                session.srtp = match extensions.use_srtp()? {
                    None => None,
                    Some(srtp) => Some(
                        Some(srtp)
                            .filter(|srtp| srtp.profiles.len() == 1 && srtp.mki.is_empty())
                            .and_then(|srtp| SrtpProfile::from_code(srtp.profiles[0]))
                            .filter(|profile| layer.config.srtp_profiles.contains(profile))
                            .ok_or(Error::Protocol(
                                "an SRTP profile that was not offered (RFC 5764 §4.1.1)",
                            ))?,
                    ),
                };
                Self::Certificate(session, None)
            }
            (Self::Certificate(session, None), MessageType::CERTIFICATE_REQUEST) => {
                Self::Certificate(session, Some(CertificateRequest13::parse(body)?))
            }
            (Self::Certificate(session, request), MessageType::CERTIFICATE) => {
                let certificates = CertificateChain13::parse(body)?;
                if !certificates.context.is_empty() {
                    return Err(Fault::Malformed);
                }
                let key = layer.set_peer_chain(&certificates.chain)?;
                Self::CertificateVerify(session, request, key)
            }
            (Self::CertificateVerify(session, request, key), MessageType::CERTIFICATE_VERIFY) => {
                verify(layer, session.suite, &key, &Signed::parse(body)?)?;
                Self::Finished(session, request)
            }
            (Self::Finished(session, request), MessageType::FINISHED) => {
                if !session.is_finished(layer, Role::Server, body)? {
                    return Err(Error::BadSignature.into());
                }
                layer.transcript.add(msg_type, message.message_seq, body);
                return Ok(Some(answer(layer, session, request.as_ref())?));
            }
            _ => return Err(Fault::Malformed),
        };
        layer.transcript.add(msg_type, message.message_seq, body);
        Ok(None)
    }
}

/// Writes the client's second flight. It is sent again until it is acknowledged.
fn answer(layer: &mut Layer, session: Session, request: Option<&CertificateRequest13>) -> Result<Agreed, Error> {
    layer.flight.begin(true);
    // The flight itself acknowledges the server's (RFC 9147 §7.1).
    layer.clear_acks();
    let secrets = session.application(layer)?;
    if let Some(request) = request {
        let certificate = &layer.config.certificate;
        let scheme = certificate.scheme_for(ProtocolVersion::Dtls13, &request.schemes);
        let chain = scheme.map_or_else(Vec::new, |_| certificate.chain().to_vec());
        let context = request.context.clone();
        layer.send(MessageType::CERTIFICATE, CertificateChain13 { context, chain }.write());
        if let Some(scheme) = scheme {
            let mut body = Vec::new();
            sign(layer, session.suite, scheme)?.write(&mut body);
            layer.send(MessageType::CERTIFICATE_VERIFY, body);
        }
    }
    let finished = session.finished(layer, Role::Client)?;
    layer.send(MessageType::FINISHED, finished.as_bytes().to_vec());
    layer.epochs.switch_send_to(APPLICATION_EPOCH);
    Ok(session.agreed(Role::Client, secrets))
}
