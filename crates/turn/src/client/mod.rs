//! The client's side of one allocation (RFC 8656).

mod config;
mod request;

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::{BytesMut, Rng, TransmitBuf};
use antiphon_stun::{
    AddressFamily, AttributeType, Check, Class, Message, MessageBuilder, Method, Step, Transaction, TransactionId,
    is_stun,
};
use bytes::Buf;

use crate::channel_data::{CHANNEL_HEADER_LEN, channel_header, parse_channel_data};
use crate::error::{AllocationError, reason_of};
use crate::indication::{indication_head_len, padding, write_indication_head};
use crate::login::Login;
use request::{Kind, Request};

pub use config::ClientConfig;

/// The most peers' addresses with a permission.
pub const MAX_PERMISSIONS: usize = 128;

/// The most channels.
pub const MAX_CHANNELS: usize = 32;

/// How often one request is repeated for a new nonce or for want of credentials.
const MAX_AUTH_TRIES: u8 = 4;

/// A permission lasts 300 s (RFC 8656 §9); it is refreshed a minute before.
const PERMISSION_REFRESH: Duration = Duration::from_secs(240);

/// A channel lasts 600 s (RFC 8656 §12); it is refreshed a minute before.
const CHANNEL_REFRESH: Duration = Duration::from_secs(540);

/// The UDP number of REQUESTED-TRANSPORT.
const UDP: u8 = 17;

/// What an allocation reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The allocation is there. One with addresses of both families reports each.
    Allocated {
        /// The address that relays for us.
        relayed: SocketAddr,
        /// Our address as the server sees it.
        mapped: SocketAddr,
    },
    /// There is no allocation, and there will be none.
    Failed(AllocationError),
    /// There is no allocation: the server wants us to ask another one (RFC 8489 §10), over the same transport, with the same
    /// credentials. The owner watches out for loops.
    Redirected {
        /// Where the other server is.
        server: SocketAddr,
        /// The name to verify its certificate against; without one, the name of the first.
        domain: Option<String>,
    },
    /// The server will not relay to this peer.
    PermissionDenied(IpAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Allocating,
    Allocated,
    Closing,
    Ended,
}

#[derive(Debug)]
struct Permission {
    ip: IpAddr,
    refresh_at: Option<Instant>,
}

#[derive(Debug)]
struct Channel {
    peer: SocketAddr,
    number: u16,
    bound: bool,
    refresh_at: Option<Instant>,
}

/// One allocation on a TURN server, used like a socket: [`wrap`](Self::wrap) what goes out, unwrap by
/// [`handle_message`](Self::handle_message) what comes in. It knows no address of its own or of the server: the owner does.
pub struct Client {
    config: ClientConfig,
    rng: Rng,
    state: State,
    login: Login,
    requests: VecDeque<Request>,
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
    next_channel: u16,
    relayed: Option<SocketAddr>,
    refresh_at: Option<Instant>,
    events: VecDeque<ClientEvent>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("state", &self.state)
            .field("requests", &self.requests.len())
            .field("permissions", &self.permissions.len())
            .field("channels", &self.channels.len())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Asks for an allocation at the next [`poll_transmit`](Self::poll_transmit).
    pub fn new(config: ClientConfig, rng: Rng) -> Self {
        Self {
            login: Login::new(&config.username, &config.password),
            config,
            rng,
            state: State::Allocating,
            requests: VecDeque::from([Request::new(Kind::Allocate)]),
            permissions: Vec::new(),
            channels: Vec::new(),
            next_channel: 0x4000,
            relayed: None,
            refresh_at: None,
            events: VecDeque::new(),
        }
    }

    /// The address that relays for us.
    pub fn relayed(&self) -> Option<SocketAddr> {
        self.relayed
    }

    /// Whether the allocation is there, or is known to fail.
    pub fn is_settled(&self) -> bool {
        self.state != State::Allocating
    }

    /// Whether nothing more will come of it.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Lets this peer send to us through the server, and us to it (RFC 8656 §9). Known ones cost nothing.
    pub fn permit(&mut self, ip: IpAddr) {
        if matches!(self.state, State::Closing | State::Ended)
            || self.permissions.iter().any(|permission| permission.ip == ip)
            || self.permissions.len() >= MAX_PERMISSIONS
        {
            return;
        }
        self.permissions.push(Permission { ip, refresh_at: None });
        self.requests.push_back(Request::new(Kind::Permission(ip)));
    }

    /// Binds a channel to this peer, so that a datagram costs 4 bytes more and not 36 (RFC 8656 §12).
    pub fn bind_channel(&mut self, peer: SocketAddr) {
        if self.state != State::Allocated
            || self.channels.iter().any(|channel| channel.peer == peer)
            || self.channels.len() >= MAX_CHANNELS
        {
            return;
        }
        let number = self.next_channel;
        self.next_channel += 1;
        self.channels.push(Channel {
            peer,
            number,
            bound: false,
            refresh_at: None,
        });
        self.requests.push_back(Request::new(Kind::Channel(peer, number)));
    }

    fn channel_to(&self, peer: SocketAddr) -> Option<&Channel> {
        self.channels
            .iter()
            .find(|channel| channel.bound && channel.peer == peer)
    }

    /// The room that [`wrap`](Self::wrap) needs in front of and behind a datagram to this peer.
    pub fn room(&self, peer: SocketAddr) -> (usize, usize) {
        if self.channel_to(peer).is_some() {
            return (CHANNEL_HEADER_LEN, if self.config.over_stream { 3 } else { 0 });
        }
        (indication_head_len(peer), 3)
    }

    /// Turns the open segment into a message to the server that carries it to the peer.
    pub fn wrap(&mut self, peer: SocketAddr, out: &mut TransmitBuf) {
        let len = out.body().len();
        if let Some(channel) = self.channel_to(peer) {
            let header = channel_header(channel.number, len);
            out.prepend(CHANNEL_HEADER_LEN).copy_from_slice(&header);
            // RFC 8656 §12.5: over a stream it is padded to four bytes, over UDP it need not be.
            if self.config.over_stream {
                out.append(&[0; 3][..padding(len)]);
            }
            return;
        }
        let id = TransactionId::random(&mut self.rng);
        let head = out.prepend(indication_head_len(peer));
        write_indication_head(head, Method::SEND, id, peer, len);
        out.append(&[0; 3][..padding(len)]);
    }

    /// A datagram (or a framed message) of the server. Returns the peer's datagram, if it carries one.
    pub fn handle_message(&mut self, now: Instant, data: BytesMut) -> Option<(SocketAddr, BytesMut)> {
        let mut data = data;
        if let Some((number, len)) = parse_channel_data(&data) {
            // Data may overtake the answer to our ChannelBind: the number is ours either way.
            let peer = self.channels.iter().find(|channel| channel.number == number)?.peer;
            data.advance(CHANNEL_HEADER_LEN);
            data.truncate(len);
            return Some((peer, data));
        }
        if !is_stun(&data) {
            return None;
        }
        let message = Message::parse(&data).ok()?;
        if (message.class(), message.method()) == (Class::Indication, Method::DATA) {
            let (peer, payload) = (message.xor_peer_address()?, message.data()?);
            // RFC 8656 §11.4: from a peer for whom we have no permission it is discarded.
            self.permissions.iter().find(|permission| permission.ip == peer.ip())?;
            let start = payload.as_ptr() as usize - data.as_ptr() as usize;
            let end = start + payload.len();
            data.truncate(end);
            data.advance(start);
            return Some((peer, data));
        }
        self.handle_response(now, &message);
        None
    }

    fn handle_response(&mut self, now: Instant, message: &Message<'_>) {
        let id = message.transaction_id();
        let Some(index) = self.requests.iter().position(|request| {
            request
                .transaction
                .as_ref()
                .is_some_and(|transaction| transaction.id() == id)
                && request.kind.method() == message.method()
        }) else {
            return;
        };
        // A success that is not signed with our key was not sent by who knows the password. Errors that ask for credentials
        // cannot be signed (RFC 8489 §9.2.5).
        let signed = self.login.check(message);
        match message.class() {
            Class::Success if signed.is_none_or(Check::is_valid) => {
                if let Some(request) = self.requests.remove(index) {
                    self.succeeded(now, request.kind, message);
                }
            }
            Class::Success => {}
            Class::Error => {
                let Some(error) = message.error_code() else { return };
                if signed == Some(Check::Invalid) {
                    return;
                }
                if let Some(request) = self.requests.remove(index) {
                    self.refused(request, error.code, error.reason(), message);
                }
            }
            Class::Request | Class::Indication => {}
        }
    }

    fn succeeded(&mut self, now: Instant, kind: Kind, message: &Message<'_>) {
        match kind {
            Kind::Allocate => {
                let (Some(relayed), Some(mapped)) = (message.xor_relayed_address(), message.xor_mapped_address())
                else {
                    self.fail(AllocationError::Malformed);
                    return;
                };
                if self.state != State::Allocating {
                    return;
                }
                self.state = State::Allocated;
                self.relayed = Some(relayed);
                self.schedule_refresh(now, message.lifetime());
                self.events.push_back(ClientEvent::Allocated { relayed, mapped });
                // RFC 8656 §7.3: one address of each family at most.
                let other = |addr: &SocketAddr| addr.is_ipv4() != relayed.is_ipv4();
                if let Some(relayed) = message.xor_relayed_addresses().flatten().find(other) {
                    self.events.push_back(ClientEvent::Allocated { relayed, mapped });
                }
            }
            Kind::Refresh { seconds: 0 } => self.state = State::Ended,
            Kind::Refresh { .. } => self.schedule_refresh(now, message.lifetime()),
            Kind::Permission(ip) => {
                if let Some(permission) = self.permissions.iter_mut().find(|permission| permission.ip == ip) {
                    permission.refresh_at = Some(now + PERMISSION_REFRESH);
                }
            }
            Kind::Channel(_, number) => {
                if let Some(channel) = self.channels.iter_mut().find(|channel| channel.number == number) {
                    channel.bound = true;
                    channel.refresh_at = Some(now + CHANNEL_REFRESH);
                }
            }
        }
    }

    fn schedule_refresh(&mut self, now: Instant, lifetime: Option<u32>) {
        let lifetime = u64::from(lifetime.unwrap_or(600).clamp(30, 3600));
        // A minute before the end, or at half time of a very short one.
        self.refresh_at = Some(now + Duration::from_secs((lifetime / 2).max(lifetime.saturating_sub(60))));
    }

    fn refused(&mut self, mut request: Request, code: u16, reason: &str, message: &Message<'_>) {
        request.tries += 1;
        let may_retry = request.tries < MAX_AUTH_TRIES;
        let error = AllocationError::Refused {
            code,
            reason: if reason.is_empty() { reason_of(code) } else { reason }.to_owned(),
        };
        match code {
            // RFC 8489 §9.2.5: no credentials yet, or those of another realm; and a stale nonce.
            401 if may_retry
                && (!self.login.is_challenged()
                    || message.realm().is_some_and(|realm| realm != self.login.realm())) =>
            {
                self.authenticate(request, error, message);
            }
            438 if may_retry => self.authenticate(request, error, message),
            300 if request.kind == Kind::Allocate => self.redirected(error, message),
            // RFC 8656 §7.2: no relay of that family there. An address of the other one is worth more than none: behind NAT64 it is
            // what reaches everybody.
            440 if may_retry && request.kind == Kind::Allocate && self.config.family.take().is_some() => {
                self.retry(request);
            }
            _ => self.gave_up(request.kind, error),
        }
    }

    fn authenticate(&mut self, request: Request, refusal: AllocationError, message: &Message<'_>) {
        match self.login.accept(message) {
            Ok(true) => self.retry(request),
            Ok(false) => self.gave_up(request.kind, refusal),
            Err(error) => self.gave_up(request.kind, error),
        }
    }

    fn redirected(&mut self, refusal: AllocationError, message: &Message<'_>) {
        let Some(server) = message.alternate_server() else {
            self.fail(refusal);
            return;
        };
        let domain = message
            .get(AttributeType::ALTERNATE_DOMAIN)
            .and_then(|name| std::str::from_utf8(name).ok())
            .filter(|name| !name.is_empty() && name.len() <= 255)
            .map(str::to_owned);
        self.end();
        self.events.push_back(ClientEvent::Redirected { server, domain });
    }

    fn retry(&mut self, request: Request) {
        self.requests.push_front(Request {
            transaction: None,
            due: true,
            ..request
        });
    }

    fn gave_up(&mut self, kind: Kind, error: AllocationError) {
        // RFC 8656 §7.4, §8.3: 437 means that there is no such allocation (any more).
        let lost = matches!(error, AllocationError::Refused { code: 437, .. });
        match kind {
            Kind::Refresh { seconds: 0 } => self.state = State::Ended,
            Kind::Allocate | Kind::Refresh { .. } => self.fail(error),
            Kind::Permission(_) | Kind::Channel(..) if lost => self.fail(error),
            Kind::Permission(ip) => {
                self.permissions.retain(|permission| permission.ip != ip);
                self.events.push_back(ClientEvent::PermissionDenied(ip));
            }
            // Send indications still work.
            Kind::Channel(_, number) => self.channels.retain(|channel| channel.number != number),
        }
    }

    fn fail(&mut self, error: AllocationError) {
        if self.state != State::Ended {
            self.end();
            self.events.push_back(ClientEvent::Failed(error));
        }
    }

    fn end(&mut self) {
        self.state = State::Ended;
        self.requests.clear();
        self.permissions.clear();
        self.channels.clear();
        self.refresh_at = None;
        self.relayed = None;
    }

    /// Time went on.
    pub fn handle_timeout(&mut self, now: Instant) {
        let mut index = 0;
        while index < self.requests.len() {
            let request = &mut self.requests[index];
            match request
                .transaction
                .as_mut()
                .map(|transaction| transaction.handle_timeout(now))
            {
                Some(Step::Retransmit) => request.due = true,
                Some(Step::TimedOut) => {
                    if let Some(request) = self.requests.remove(index) {
                        self.gave_up(request.kind, AllocationError::TimedOut);
                    }
                    continue;
                }
                Some(Step::Wait) | None => {}
            }
            index += 1;
        }
        if self.state != State::Allocated {
            return;
        }
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.refresh_at = None;
            self.requests.push_back(Request::new(Kind::Refresh { seconds: 600 }));
        }
        for permission in &mut self.permissions {
            if permission.refresh_at.is_some_and(|at| at <= now) {
                permission.refresh_at = None;
                self.requests.push_back(Request::new(Kind::Permission(permission.ip)));
            }
        }
        for channel in &mut self.channels {
            if channel.refresh_at.is_some_and(|at| at <= now) {
                channel.refresh_at = None;
                self.requests
                    .push_back(Request::new(Kind::Channel(channel.peer, channel.number)));
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let transactions = self
            .requests
            .iter()
            .filter_map(|request| request.transaction.as_ref().map(Transaction::poll_timeout));
        let permissions = self.permissions.iter().filter_map(|permission| permission.refresh_at);
        let channels = self.channels.iter().filter_map(|channel| channel.refresh_at);
        transactions
            .chain(permissions)
            .chain(channels)
            .chain(self.refresh_at)
            .min()
    }

    /// Writes one message to the server and leaves its segment open, without room: the owner finishes it.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> bool {
        // Before the allocation is there nothing but Allocate makes sense.
        let allocating = self.state == State::Allocating;
        let Some(index) = self
            .requests
            .iter()
            .position(|request| request.due && (!allocating || request.kind == Kind::Allocate))
        else {
            return false;
        };
        if !out.begin(0, 0) {
            return false;
        }
        let request = &mut self.requests[index];
        request.due = false;
        let id = match &request.transaction {
            Some(transaction) => transaction.id(),
            None => {
                let id = TransactionId::random(&mut self.rng);
                request.transaction = Some(Transaction::new(now, id, self.config.retransmission));
                id
            }
        };
        let kind = request.kind;
        let mut buffer = [0; 1024];
        match self.write(kind, id, &mut buffer) {
            Some(len) if len <= out.remaining() => {
                out.put_slice(&buffer[..len]);
                true
            }
            _ => {
                out.rollback();
                false
            }
        }
    }

    fn write(&self, kind: Kind, id: TransactionId, buffer: &mut [u8]) -> Option<usize> {
        let mut builder = MessageBuilder::new(buffer, Class::Request, kind.method(), id);
        match kind {
            Kind::Allocate => {
                builder.requested_transport(UDP);
                // A server that answers strangers with little more than they sent has room then to offer SHA-256.
                if !self.login.is_challenged() {
                    builder.software("antiphon");
                }
                if let Some(family) = self.config.family {
                    builder.requested_address_family(family);
                } else if self.config.additional_ipv6 {
                    // RFC 8656 §18.11: IPv6 is the only one that may be asked for besides.
                    builder.put(
                        AttributeType::ADDITIONAL_ADDRESS_FAMILY,
                        &[AddressFamily::V6.number(), 0, 0, 0],
                    );
                }
            }
            Kind::Refresh { seconds } => {
                builder.lifetime(seconds);
                if let Some(family) = self.config.family {
                    builder.requested_address_family(family);
                }
            }
            Kind::Permission(ip) => {
                builder.xor_address(AttributeType::XOR_PEER_ADDRESS, SocketAddr::new(ip, 0));
            }
            Kind::Channel(peer, number) => {
                builder.channel_number(number);
                builder.xor_address(AttributeType::XOR_PEER_ADDRESS, peer);
            }
        }
        self.login.sign(&mut builder);
        builder.fingerprint();
        builder.finish().ok()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// Gives the allocation back (RFC 8656 §8: a lifetime of 0). Keep polling until [`is_ended`](Self::is_ended), or forget it:
    /// the server frees it by itself in ten minutes.
    pub fn close(&mut self, _now: Instant) {
        match self.state {
            State::Allocated => {
                self.state = State::Closing;
                self.requests.clear();
                self.permissions.clear();
                self.channels.clear();
                self.refresh_at = None;
                self.requests.push_back(Request::new(Kind::Refresh { seconds: 0 }));
            }
            // An Allocate that the server may have granted by now is on its way: the release goes right behind it.
            State::Allocating
                if self.login.is_challenged() && self.requests.iter().any(|r| r.transaction.is_some()) =>
            {
                self.requests.clear();
                self.permissions.clear();
                self.state = State::Closing;
                self.requests.push_back(Request::new(Kind::Refresh { seconds: 0 }));
            }
            State::Allocating => {
                self.requests.clear();
                self.state = State::Ended;
            }
            State::Closing | State::Ended => {}
        }
    }
}
