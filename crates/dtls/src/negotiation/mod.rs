//! Which version a handshake speaks: both have the same first messages.

pub(crate) mod agreed;
mod cookie;
pub(crate) mod offer;

use antiphon_sansio::Rng;

use crate::config::{AddressValidation, ProtocolVersion, Role, Versions};
use crate::error::Error;
use crate::handshake::hello::{ClientHello, HelloVerifyRequest, ServerHello};
use crate::handshake::{Message, MessageType};
use crate::layer::{Fault, Layer};
use crate::negotiation::agreed::Agreed;
use crate::negotiation::cookie::CookieSecret;
use crate::negotiation::offer::Offer;
use crate::{v12, v13};

/// A handshake on its way: first until the version is decided, then as the version has it.
pub(crate) enum Handshake {
    /// A client that has not been asked to send yet.
    Idle,
    /// A client that waits for ServerHello.
    Offered(Offer),
    /// A server that waits for ClientHello.
    Listening(CookieSecret),
    Client12(v12::client::Client),
    Server12(v12::server::Server),
    Client13(v13::client::Client),
    Server13(v13::server::Server),
}

impl Handshake {
    pub(crate) fn new(role: Role, rng: &mut Rng) -> Self {
        match role {
            Role::Client => Self::Idle,
            Role::Server => Self::Listening(CookieSecret::new(rng)),
        }
    }

    /// Whether we have sent a flight, and send it again until the peer answers.
    pub(crate) fn expects_flight(&self) -> bool {
        use v13::server::Server::SecondHello;
        !matches!(self, Self::Idle | Self::Listening(_) | Self::Server13(SecondHello(_)))
    }

    /// Begins, if we are the one who does; says whether it has just begun.
    pub(crate) fn start(&mut self, layer: &mut Layer) -> Result<bool, Error> {
        let begins = matches!(self, Self::Idle);
        if begins {
            *self = Self::Offered(Offer::send(layer)?);
        }
        Ok(begins)
    }

    /// Takes the next message, whole and in order. `Some` ends the handshake.
    pub(crate) fn handle(&mut self, layer: &mut Layer, message: &Message) -> Result<Option<Agreed>, Fault> {
        match self {
            Self::Client12(client) => client.handle(layer, message),
            Self::Server12(server) => server.handle(layer, message),
            Self::Client13(client) => client.handle(layer, message),
            Self::Server13(server) => server.handle(layer, message),
            Self::Idle => Err(Fault::Malformed),
            _ if message.epoch != 0 => Err(Fault::Malformed),
            Self::Offered(offer) if message.msg_type == MessageType::HELLO_VERIFY_REQUEST => {
                offer.hello_verify_request(layer, message)?;
                Ok(None)
            }
            Self::Offered(offer) if message.msg_type == MessageType::SERVER_HELLO => {
                let hello = ServerHello::parse(&message.body)?;
                let selected = hello.extensions.selected_version()?;
                let version = match selected {
                    Some(_) => ProtocolVersion::Dtls13,
                    None => ProtocolVersion::Dtls12,
                };
                if !offer.offers(version) || (offer.retried.is_some() && version == ProtocolVersion::Dtls12) {
                    return Err(Error::NoCommonVersion.into());
                }
                match version {
                    ProtocolVersion::Dtls12 => {
                        *self = Self::Client12(v12::client::Client::server_hello(layer, offer, &hello, message)?);
                    }
                    ProtocolVersion::Dtls13 => {
                        if let Some(client) = v13::client::Client::server_hello(layer, offer, &hello, message)? {
                            *self = Self::Client13(client);
                        }
                    }
                }
                Ok(None)
            }
            Self::Listening(secret) if message.msg_type == MessageType::CLIENT_HELLO => {
                let hello = ClientHello::parse(&message.body)?;
                if choose_version(layer.config.versions, &hello)? == ProtocolVersion::Dtls13 {
                    *self = Self::Server13(v13::server::Server::client_hello(layer, &hello, message)?);
                    return Ok(None);
                }
                if layer.config.address_validation == AddressValidation::Cookie && !secret.check(&hello) {
                    ask_for_cookie(layer, secret, &hello);
                    return Ok(None);
                }
                layer.address_validated |= layer.config.address_validation == AddressValidation::Cookie;
                *self = Self::Server12(v12::server::Server::client_hello(layer, &hello, message)?);
                Ok(None)
            }
            _ => Err(Fault::Malformed),
        }
    }
}

/// The newest version that both ends allow. Decided only now that all of the ClientHello is here: with post-quantum key
/// shares it comes in several datagrams, and supported_versions may be in the last.
fn choose_version(versions: Versions, hello: &ClientHello) -> Result<ProtocolVersion, Fault> {
    let offered = hello.extensions.offered_versions()?;
    let offers = |version: ProtocolVersion| match &offered {
        // Takes precedence over the field in front (RFC 8446 §4.2.1).
        Some(offered) => offered.contains(&version.code()),
        // Versions count downwards: 1.0 is 0xfeff.
        None => version == ProtocolVersion::Dtls12 && hello.version >> 8 == 0xfe && hello.version <= version.code(),
    };
    [ProtocolVersion::Dtls13, ProtocolVersion::Dtls12]
        .into_iter()
        .find(|version| versions.allow(*version) && offers(*version))
        .ok_or(Fault::Fatal(Error::NoCommonVersion))
}

/// HelloVerifyRequest is neither part of the transcript nor ever sent again on its own (RFC 6347 §4.2.1).
fn ask_for_cookie(layer: &mut Layer, secret: &CookieSecret, hello: &ClientHello) {
    layer.flight.begin(false);
    let request = HelloVerifyRequest {
        cookie: secret.make(hello),
    };
    layer.send_unrecorded(MessageType::HELLO_VERIFY_REQUEST, request.write());
}
