//! The server's state machine (RFC 8656).

mod allocate;
mod allocation;
mod authentication;
mod binding;
mod config;
mod nonce;
mod outbox;
mod permission;
mod policy;
mod rate;
mod relaying;
mod request;
mod run;
mod state;

use std::time::Instant;

use antiphon_sansio::{Bytes, BytesMut, Datagram, Local, Path, Transmit, TransmitBuf};
use antiphon_stun::{Check, Class, Message, Method, is_stun};

pub use config::{BehaviourSockets, ServerAnswer, ServerConfig, ServerCounters, ServerRequest, TimeLimited};
pub use outbox::{MAX_QUEUE, MAX_QUEUE_BYTES};
pub use policy::PeerPolicy;
pub use rate::Rate;
pub use state::{MAX_GAIN_TENTHS, MAX_RELAYED, Server};

use outbox::Overflow;
use request::{BAD_REQUEST, Caller, Denial, Refusal};
use run::Run;

impl Server {
    /// A datagram of a client, or of a peer on a relayed socket; over a stream, one whole message.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        let Datagram { path, data, .. } = datagram;
        let stride = data.len();
        self.handle_datagrams(now, path, data, stride);
    }

    /// Datagrams that came together, side by side in `data`: each of `stride` bytes but the last, which may be shorter.
    /// Where they are for one peer they are relayed together, and cost little more than one.
    pub fn handle_datagrams(&mut self, now: Instant, path: Path, data: BytesMut, stride: usize) {
        self.expire(now);
        let data = data.freeze();
        match (self.relays.get(&path.local), path.local) {
            (Some(&client), _) => {
                self.relay_to_client(now, client, path.remote, Run::of_datagrams(data, stride));
            }
            // A socket that was closed a moment ago.
            (None, Local::Relay(_)) => self.counters.not_permitted += Run::of_datagrams(data, stride).count() as u64,
            (None, _) => self.of_client(now, path, data, stride.max(1)),
        }
    }

    fn of_client(&mut self, now: Instant, client: Path, mut data: Bytes, stride: usize) {
        loop {
            let taken = match Run::of_channel(data.clone(), stride) {
                Some((number, run)) => {
                    let taken = run.count() * stride;
                    self.channel_data(now, client, number, run);
                    taken
                }
                None => {
                    self.datagram(now, client, &data.slice(..stride.min(data.len())));
                    stride
                }
            };
            if taken >= data.len() {
                break;
            }
            data = data.slice(taken..);
        }
    }

    fn datagram(&mut self, now: Instant, client: Path, data: &Bytes) {
        match Message::parse(data) {
            Ok(message) if is_stun(data) && message.check_fingerprint() != Check::Invalid => {
                self.message(now, client, &message, data);
            }
            _ => self.counters.malformed += 1,
        }
    }

    fn message(&mut self, now: Instant, client: Path, message: &Message<'_>, whole: &Bytes) {
        match (message.class(), message.method()) {
            (Class::Request, Method::BINDING) => self.binding(now, client, message),
            (Class::Request, Method::ALLOCATE | Method::REFRESH | Method::CREATE_PERMISSION | Method::CHANNEL_BIND) => {
                match self.authenticate(now, client, message) {
                    Ok(caller) => {
                        if let Err(refusal) = self.request(now, client, message, &caller) {
                            self.refuse(now, client, message, &refusal, Some(&caller));
                        }
                    }
                    Err(Denial::Refusal(refusal)) => self.refuse(now, client, message, &refusal, None),
                    Err(Denial::Silence) => {}
                }
            }
            (Class::Indication, Method::SEND) => self.send_indication(now, client, message, whole),
            // A keepalive.
            (Class::Indication, Method::BINDING) => {}
            // RFC 8489 §6.3: a method that makes no sense here is dropped.
            _ => self.counters.malformed += 1,
        }
    }

    fn request(&mut self, now: Instant, client: Path, message: &Message<'_>, caller: &Caller) -> Result<(), Refusal> {
        if message.unknown_required().next().is_some() {
            return Err(Refusal::new(420, "Unknown Attribute"));
        }
        match message.method() {
            Method::ALLOCATE => self.allocate(now, client, message, caller),
            Method::REFRESH => self.refresh(now, client, message, caller),
            Method::CREATE_PERMISSION => self.create_permission(now, client, message, caller),
            Method::CHANNEL_BIND => self.channel_bind(now, client, message, caller),
            _ => Err(BAD_REQUEST),
        }
    }

    /// Time went on.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let allocations = self.expiries.first().map(|(at, _)| *at);
        let pending = self.pending.iter().map(|pending| pending.deadline);
        let reservations = self.reservations.values().map(|reservation| reservation.expires);
        allocations.into_iter().chain(pending).chain(reservations).min()
    }

    /// What the server needs of the driver.
    pub fn poll_io(&mut self) -> Option<ServerRequest> {
        self.io.pop_front()
    }

    /// Writes the next datagram, or the next of one length for one destination. `path.local` is the client's socket or
    /// a relayed one; on a stream each segment is a message.
    pub fn poll_transmit(&mut self, out: &mut TransmitBuf) -> Option<Transmit> {
        loop {
            match self.outbox.write_next(&mut self.rng, out)? {
                Ok(transmit) => return Some(transmit),
                Err(Overflow) => self.counters.overflow += 1,
            }
        }
    }

    /// A client's TCP or TLS connection is gone, and with it the allocation made over it (RFC 8656 §3.1).
    pub fn handle_closed(&mut self, local: Local) {
        self.free_all(|client| client.local == local);
        self.drop_pending(|pending| pending.client.local == local);
    }

    /// Ends every allocation.
    pub fn close(&mut self) {
        self.draining = true;
        self.outbox.clear();
        self.free_all(|_| true);
        self.drop_pending(|_| true);
        for reservation in std::mem::take(&mut self.reservations).into_values() {
            self.io.push_back(ServerRequest::Close(reservation.relay.local));
        }
    }
}
