//! Binding: what address a client has (RFC 8489), and how its NAT behaves (RFC 5780).

use std::net::SocketAddr;
use std::time::Instant;

use antiphon_sansio::Path;
use antiphon_stun::{AttributeType, Class, HEADER_LEN, Message};

use super::config::BehaviourSockets;
use super::rate::source_key;
use super::request::{Asked, BAD_REQUEST, Refusal};
use super::state::Server;

/// RFC 5780 §7.2.
const CHANGE_IP: u32 = 4;
const CHANGE_PORT: u32 = 2;

/// The longest PADDING that is answered in kind.
const MAX_PADDING: usize = 1500;

/// What a Binding request asks for beyond its own address.
struct Wishes {
    change: usize,
    response_port: Option<u16>,
    padding: usize,
}

impl Server {
    /// Serves NAT behaviour discovery on these sockets.
    pub fn set_behaviour_sockets(&mut self, sockets: BehaviourSockets) {
        self.behaviour = Some(sockets);
    }

    pub(super) fn binding(&mut self, now: Instant, client: Path, message: &Message<'_>) {
        // A client with an allocation proved that its address is no forgery: its keepalives are not limited.
        if !self.allocations.contains_key(&client) && !self.limits.strangers.take(now, source_key(client.remote.ip())) {
            self.counters.throttled += 1;
            return;
        }
        let here = self
            .behaviour
            .and_then(|b| Some((b, b.sockets.iter().position(|(local, _)| *local == client.local)?)));
        let wishes = match wishes(message, here.is_some()) {
            Ok(wishes) => wishes,
            Err(refusal) => return self.refuse(now, client, message, &refusal, None),
        };
        self.counters.bindings += 1;
        let mut to = client;
        if let Some(port) = wishes.response_port {
            to.remote.set_port(port);
        }
        let discovery = here.map(|(behaviour, index)| {
            let origin = behaviour.sockets[index ^ wishes.change];
            to.local = origin.0;
            (origin.1, behaviour.sockets[index ^ 3].1)
        });
        let room = match self.config.whole_discovery {
            true => usize::MAX,
            false => self.room_for_answer(client, message.as_bytes().len()),
        };
        let fingerprint = if message.has_fingerprint() { 8 } else { 0 };
        let mut room = room.saturating_sub(HEADER_LEN + fingerprint + attribute_len(client.remote));
        self.write(to, Asked::in_request(message), Class::Success, None, |builder| {
            builder.xor_mapped_address(client.remote);
            let Some((origin, other)) = discovery else { return };
            // What a client needs most comes first: where the other address is, which of them answered, and last what is for
            // clients of RFC 3489 (RFC 5780 §6.1).
            for (kind, addr) in [
                (AttributeType::OTHER_ADDRESS, other),
                (AttributeType::RESPONSE_ORIGIN, origin),
                (AttributeType::MAPPED_ADDRESS, client.remote),
            ] {
                if let Some(left) = room.checked_sub(attribute_len(addr)) {
                    builder.address(kind, addr);
                    room = left;
                }
            }
            // RFC 5780 §7.6: as much as came, and the request is longer than that.
            let padding = wishes.padding.min(room.saturating_sub(4) / 4 * 4);
            if padding > 0 {
                builder.put(AttributeType::PADDING, &[0; MAX_PADDING][..padding]);
            }
        });
    }
}

/// The length of an attribute that holds this address.
fn attribute_len(addr: SocketAddr) -> usize {
    if addr.is_ipv4() { 12 } else { 24 }
}

/// RFC 5780 §6.1. Without a second address, what asks for one is not understood.
fn wishes(message: &Message<'_>, served: bool) -> Result<Wishes, Refusal> {
    if message.unknown_required().next().is_some() {
        return Err(Refusal::new(420, "Unknown Attribute"));
    }
    let mut wishes = Wishes {
        change: 0,
        response_port: None,
        padding: 0,
    };
    for attribute in message.attributes() {
        match attribute.kind {
            AttributeType::CHANGE_REQUEST | AttributeType::RESPONSE_PORT | AttributeType::PADDING if !served => {
                return Err(Refusal::unserved(attribute.kind));
            }
            AttributeType::CHANGE_REQUEST => {
                let flags = u32::from_be_bytes(attribute.value.try_into().map_err(|_| BAD_REQUEST)?);
                wishes.change = usize::from(flags & CHANGE_IP != 0) << 1 | usize::from(flags & CHANGE_PORT != 0);
            }
            AttributeType::RESPONSE_PORT => {
                let port = attribute.value.first_chunk::<2>().ok_or(BAD_REQUEST)?;
                wishes.response_port = Some(u16::from_be_bytes(*port)).filter(|port| *port != 0);
            }
            AttributeType::PADDING => wishes.padding = attribute.value.len().min(MAX_PADDING),
            _ => {}
        }
    }
    // RFC 5780 §6.1: the fragments of a padded answer must not go to a port that did not ask.
    if wishes.response_port.is_some() && wishes.padding > 0 {
        return Err(BAD_REQUEST);
    }
    Ok(wishes)
}
