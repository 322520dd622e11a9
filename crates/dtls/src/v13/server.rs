//! The server of DTLS 1.3: what it awaits, and how it answers.

use antiphon_crypto::{NamedGroup, SignatureScheme, constant_time_eq};

use super::key_schedule::ApplicationSecrets;
use super::{Session, sign, verify};
use crate::certificate::PeerKey;
use crate::config::{AddressValidation, CipherSuite, ProtocolVersion, Role, SrtpProfile};
use crate::error::Error;
use crate::handshake::extensions::{ExtensionType, Extensions, UseSrtp, put_share};
use crate::handshake::hello::{ClientHello, RANDOM_LEN, ServerHello};
use crate::handshake::messages::Signed;
use crate::handshake::messages13::{
    CertificateChain13, CertificateRequest13, HELLO_RETRY_REQUEST, write_encrypted_extensions,
};
use crate::handshake::{Message, MessageType, put_u16, put_vec};
use crate::layer::{Fault, Layer};
use crate::negotiation::agreed::Agreed;
use crate::negotiation::offer::offered_schemes;
use crate::record::epoch::{APPLICATION_EPOCH, HANDSHAKE_EPOCH};

/// The server's side. Each state names what is awaited.
pub(crate) enum Server {
    /// We have sent HelloRetryRequest.
    SecondHello(Retry),
    Certificate(Session, ApplicationSecrets),
    CertificateVerify(Session, ApplicationSecrets, PeerKey),
    Finished(Session, ApplicationSecrets),
    /// A message was taken that ended the handshake, or failed.
    Over,
}

/// What a HelloRetryRequest asked for.
pub(crate) struct Retry {
    suite: CipherSuite,
    group: NamedGroup,
    cookie: Option<Vec<u8>>,
}

/// What we have chosen from a ClientHello.
struct Choice {
    suite: CipherSuite,
    scheme: SignatureScheme,
    group: NamedGroup,
    /// The client's public value, if it sent one for that group.
    share: Option<Vec<u8>>,
    srtp: Option<SrtpProfile>,
}

impl Server {
    /// Takes a ClientHello that offers DTLS 1.3. Answers it with the server's flight, or with HelloRetryRequest.
    pub(crate) fn client_hello(layer: &mut Layer, hello: &ClientHello, message: &Message) -> Result<Self, Fault> {
        let choice = choose(layer, hello)?;
        let provider = layer.config.provider;
        layer.transcript.start_running(provider, choice.suite.hash());
        layer
            .transcript
            .add(message.msg_type, message.message_seq, &message.body);
        // No encapsulation, which is costly, is computed for a client that may not be where it says.
        let costly = choice.group == NamedGroup::X25519MlKem768 && !layer.address_is_validated();
        let wants_cookie = layer.config.address_validation == AddressValidation::Cookie || costly;
        let Some(share) = choice.share.as_ref().filter(|_| !wants_cookie) else {
            let cookie = wants_cookie.then(|| layer.rng.array::<32>().to_vec());
            let Choice { suite, group, .. } = choice;
            layer.transcript.replace_by_hash(provider);
            let wanted = choice.share.is_none().then_some(group);
            ask_again(layer, suite, wanted, cookie.as_deref());
            return Ok(Self::SecondHello(Retry { suite, group, cookie }));
        };
        Ok(answer(layer, hello, &choice, share)?)
    }

    /// Takes the next message. `Some` ends the handshake.
    pub(crate) fn handle(&mut self, layer: &mut Layer, message: &Message) -> Result<Option<Agreed>, Fault> {
        let (msg_type, body) = (message.msg_type, message.body.as_slice());
        if let Self::SecondHello(retry) = self {
            if message.epoch != 0 || msg_type != MessageType::CLIENT_HELLO {
                return Err(Fault::Malformed);
            }
            *self = second_hello(layer, retry, message)?;
            return Ok(None);
        }
        if message.epoch != HANDSHAKE_EPOCH {
            return Err(Fault::Malformed);
        }
        *self = match (std::mem::replace(self, Self::Over), msg_type) {
            (Self::Certificate(session, secrets), MessageType::CERTIFICATE) => {
                let certificates = CertificateChain13::parse(body)?;
                if !certificates.context.is_empty() {
                    return Err(Fault::Malformed);
                }
                let key = layer.set_peer_chain(&certificates.chain)?;
                // The client has all of our flight, or it could not have begun its own.
                layer.flight.clear();
                Self::CertificateVerify(session, secrets, key)
            }
            (Self::CertificateVerify(session, secrets, key), MessageType::CERTIFICATE_VERIFY) => {
                verify(layer, session.suite, &key, &Signed::parse(body)?)?;
                Self::Finished(session, secrets)
            }
            (Self::Finished(session, secrets), MessageType::FINISHED) => {
                if !session.is_finished(layer, Role::Client, body)? {
                    return Err(Error::BadSignature.into());
                }
                layer.flight.clear();
                // Nothing that we have to say would tell the client that its flight is here.
                layer.acknowledge_now();
                return Ok(Some(session.agreed(Role::Server, secrets)));
            }
            _ => return Err(Fault::Malformed),
        };
        layer.transcript.add(msg_type, message.message_seq, body);
        Ok(None)
    }
}

fn choose(layer: &Layer, hello: &ClientHello) -> Result<Choice, Fault> {
    let extensions = &hello.extensions;
    let groups = extensions.list16(ExtensionType::SUPPORTED_GROUPS)?.unwrap_or_default();
    let schemes = extensions
        .list16(ExtensionType::SIGNATURE_ALGORITHMS)?
        .unwrap_or_default();
    let shares = extensions.offered_shares()?.ok_or(Error::Protocol("no key_share"))?;
    let profiles = extensions.use_srtp()?.map(|srtp| srtp.profiles).unwrap_or_default();
    if hello.version != ProtocolVersion::Dtls12.code() || hello.compression != [0] || !hello.cookie.is_empty() {
        return Err(Error::Protocol("version, compression or cookie of ClientHello (RFC 9147 §5.3)").into());
    }
    let config = &layer.config;
    let suite = *config
        .cipher_suites
        .iter()
        .filter(|suite| suite.version() == ProtocolVersion::Dtls13)
        .find(|suite| hello.cipher_suites.contains(&suite.code()))
        .ok_or(Error::NoCommonParameters)?;
    let scheme = config
        .certificate
        .scheme_for(ProtocolVersion::Dtls13, &schemes)
        .ok_or(Error::NoCommonParameters)?;
    let share_of = |group: NamedGroup| {
        shares
            .iter()
            .find(|(code, _)| *code == group.code())
            .map(|(_, share)| share.clone())
    };
    let common = || {
        config
            .groups
            .iter()
            .copied()
            .filter(|group| groups.contains(&group.code()))
    };
    // A share at hand saves a round trip.
    let group = common()
        .find(|group| share_of(*group).is_some())
        .or_else(|| common().next())
        .ok_or(Error::NoCommonParameters)?;
    let srtp = config
        .srtp_profiles
        .iter()
        .copied()
        .find(|profile| profiles.contains(&profile.code()));
    Ok(Choice {
        suite,
        scheme,
        group,
        share: share_of(group),
        srtp,
    })
}

/// HelloRetryRequest (RFC 8446 §4.1.4). Like HelloVerifyRequest it is sent again only when the client repeats its hello.
fn ask_again(layer: &mut Layer, suite: CipherSuite, group: Option<NamedGroup>, cookie: Option<&[u8]>) {
    let mut extensions = Extensions::default();
    extensions.push(ExtensionType::SUPPORTED_VERSIONS, |out| {
        put_u16(out, ProtocolVersion::Dtls13.code())
    });
    if let Some(group) = group {
        extensions.push(ExtensionType::KEY_SHARE, |out| put_u16(out, group.code()));
    }
    if let Some(cookie) = cookie {
        extensions.push(ExtensionType::COOKIE, |out| {
            put_vec::<2>(out, |out| out.extend_from_slice(cookie))
        });
    }
    let request = server_hello(HELLO_RETRY_REQUEST, suite, extensions);
    layer.flight.begin(false);
    layer.send(MessageType::SERVER_HELLO, request.write());
}

fn second_hello(layer: &mut Layer, retry: &Retry, message: &Message) -> Result<Server, Fault> {
    let hello = ClientHello::parse(&message.body)?;
    let mut choice = choose(layer, &hello)?;
    let cookie = hello.extensions.cookie()?;
    let cookie_fits = match (&retry.cookie, &cookie) {
        (None, None) => true,
        (Some(ours), Some(theirs)) => constant_time_eq(ours, theirs),
        _ => false,
    };
    // Whoever answers with another cookie is not who we asked.
    if !cookie_fits {
        return Err(Fault::Malformed);
    }
    let shares = hello.extensions.offered_shares()?.unwrap_or_default();
    let share = shares
        .into_iter()
        .find(|(code, _)| *code == retry.group.code())
        .map(|(_, share)| share);
    let share = share.ok_or(Error::Protocol(
        "the second ClientHello lacks the share that was asked for",
    ))?;
    if choice.suite != retry.suite {
        return Err(Error::Protocol("the second ClientHello offers other suites").into());
    }
    choice.group = retry.group;
    layer.address_validated |= cookie.is_some();
    layer
        .transcript
        .add(message.msg_type, message.message_seq, &message.body);
    Ok(answer(layer, &hello, &choice, &share)?)
}

/// Writes the server's flight, ServerHello to Finished.
fn answer(layer: &mut Layer, hello: &ClientHello, choice: &Choice, share: &[u8]) -> Result<Server, Error> {
    let mut random = [0; RANDOM_LEN];
    layer.rng.fill(&mut random);
    let provider = layer.config.provider;
    let (public_key, shared) = provider
        .respond(choice.group, share, &mut layer.rng)
        .map_err(|_| Error::Protocol("an invalid key share"))?;

    layer.flight.begin(true);
    layer.clear_acks();
    let mut extensions = Extensions::default();
    extensions.push(ExtensionType::SUPPORTED_VERSIONS, |out| {
        put_u16(out, ProtocolVersion::Dtls13.code())
    });
    extensions.push(ExtensionType::KEY_SHARE, |out| {
        put_share(out, choice.group.code(), &public_key)
    });
    layer.send(
        MessageType::SERVER_HELLO,
        server_hello(random, choice.suite, extensions).write(),
    );
    let mut session = Session::derive(layer, choice.suite, choice.group, hello.random, &shared)?;
    session.srtp = choice.srtp;
    layer.epochs.switch_send_to(HANDSHAKE_EPOCH);

    let mut extensions = Extensions::default();
    if let Some(profile) = choice.srtp {
        let answer = UseSrtp {
            profiles: vec![profile.code()],
            mki: Vec::new(),
        };
        extensions.push(ExtensionType::USE_SRTP, |out| answer.write(out));
    }
    layer.send(
        MessageType::ENCRYPTED_EXTENSIONS,
        write_encrypted_extensions(&extensions),
    );
    // Both ends of WebRTC prove who they are (RFC 5763 §5).
    let request = CertificateRequest13 {
        context: Vec::new(),
        schemes: offered_schemes().collect(),
    };
    layer.send(MessageType::CERTIFICATE_REQUEST, request.write());
    let chain = layer.config.certificate.chain().to_vec();
    layer.send(
        MessageType::CERTIFICATE,
        CertificateChain13 {
            context: Vec::new(),
            chain,
        }
        .write(),
    );
    let mut body = Vec::new();
    sign(layer, choice.suite, choice.scheme)?.write(&mut body);
    layer.send(MessageType::CERTIFICATE_VERIFY, body);
    let finished = session.finished(layer, Role::Server)?;
    layer.send(MessageType::FINISHED, finished.as_bytes().to_vec());
    let secrets = session.application(layer)?;
    layer.epochs.switch_send_to(APPLICATION_EPOCH);
    Ok(Server::Certificate(session, secrets))
}

fn server_hello(random: [u8; RANDOM_LEN], suite: CipherSuite, extensions: Extensions) -> ServerHello {
    ServerHello {
        version: ProtocolVersion::Dtls12.code(),
        random,
        // RFC 9147 §5.3: the client's is not echoed.
        session_id: Vec::new(),
        cipher_suite: CipherSuite::code(suite),
        compression: 0,
        extensions,
    }
}
