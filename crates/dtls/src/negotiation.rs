use antiphon_sansio::Rng;

use crate::config::{AddressValidation, ProtocolVersion, Role};
use crate::cookie::CookieSecret;
use crate::error::Error;
use crate::handshake::hello::{ClientHello, HelloVerifyRequest, ServerHello};
use crate::handshake::{Message, MessageType};
use crate::layer::{Agreed, Fault, Layer};
use crate::offer::Offer;
use crate::v12;

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
}

impl Handshake {
    pub(crate) fn new(role: Role, rng: &mut Rng) -> Self {
        match role {
            Role::Client => Self::Idle,
            Role::Server => Self::Listening(CookieSecret::new(rng)),
        }
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
            Self::Idle => Err(Fault::Malformed),
            _ if message.epoch != 0 => Err(Fault::Malformed),
            Self::Offered(offer) if message.msg_type == MessageType::HELLO_VERIFY_REQUEST => {
                offer.hello_verify_request(layer, message)?;
                Ok(None)
            }
            Self::Offered(offer) if message.msg_type == MessageType::SERVER_HELLO => {
                let hello = ServerHello::parse(&message.body)?;
                if hello.extensions.selected_version()?.is_some() {
                    return Err(Error::NoCommonVersion.into());
                }
                let client = v12::client::Client::server_hello(layer, offer, &hello, message)?;
                *self = Self::Client12(client);
                Ok(None)
            }
            Self::Listening(secret) if message.msg_type == MessageType::CLIENT_HELLO => {
                let hello = ClientHello::parse(&message.body)?;
                if !offers_12(&hello)? {
                    return Err(Error::NoCommonVersion.into());
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

/// Whether a ClientHello allows DTLS 1.2. Known only now that all of it is here: with post-quantum key shares it comes in
/// several datagrams, and supported_versions may be in the last.
fn offers_12(hello: &ClientHello) -> Result<bool, Fault> {
    let version = ProtocolVersion::Dtls12.code();
    Ok(match hello.extensions.offered_versions()? {
        // Takes precedence over the field in front (RFC 8446 §4.2.1).
        Some(offered) => offered.contains(&version),
        // Versions count downwards: 1.0 is 0xfeff.
        None => hello.version >> 8 == 0xfe && hello.version <= version,
    })
}

/// HelloVerifyRequest is neither part of the transcript nor ever sent again on its own (RFC 6347 §4.2.1).
fn ask_for_cookie(layer: &mut Layer, secret: &CookieSecret, hello: &ClientHello) {
    layer.flight.begin(false);
    let request = HelloVerifyRequest {
        cookie: secret.make(hello),
    };
    layer.send_unrecorded(MessageType::HELLO_VERIFY_REQUEST, request.write());
}
