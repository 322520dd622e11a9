//! The agent: what its owner calls. It wires gathering to the check list, and keeps a table of paths, so that the
//! application's datagrams touch nothing else.

use std::time::{Duration, Instant};

use antiphon_sansio::{Datagram, Ecn, Local, Path, Rng, Transmit, TransmitBuf};
use antiphon_stun::{Check as Verdict, Class, Message, Method, is_stun};

use crate::candidate::Candidate;
use crate::check::{Checks, Outside};
use crate::config::{Config, Credentials, Role};
use crate::context::Context;
use crate::deframe::{FRAME_HEADER_LEN, frame_header};
use crate::event::{ConnectionState, Event, GatheringState};
use crate::gather::Gathering;
use crate::io::{IoEvent, IoRequest};
use crate::message::{MAX_MESSAGE, Outgoing};
use crate::notice::Notice;
use crate::pacer::Pacer;
use crate::paths::{KnownPath, Paths};
use crate::placeholder::is_placeholder;
use crate::session::Keyed;
use crate::stats::Stats;

/// An ICE agent (RFC 8445) for one data stream with one component, as BUNDLE and RTP/RTCP multiplexing leave it.
///
/// It opens no socket: [`poll_io`](Self::poll_io) says what it needs. It reads no clock. What it sends is written by
/// [`poll_transmit`](Self::poll_transmit); what it reports comes from [`poll_event`](Self::poll_event).
// What each datagram of the application looks at comes first, side by side.
#[derive(Debug)]
#[repr(C)]
pub struct Agent {
    paths: Paths,
    /// When the layers above last took something that the peer had authenticated.
    heard_at: Option<Instant>,
    /// When checks or consent need attention, as of the last input: nothing else changes it.
    checks_due: Option<Instant>,
    cx: Context,
    gathering: Gathering,
    checks: Checks,
    pacer: Pacer,
}

/// What signalling says.
impl Agent {
    /// A new agent with fresh credentials. Nothing happens before [`gather`](Self::gather).
    pub fn new(config: Config, rng: Rng) -> Self {
        let pacer = Pacer::new(config.timing.pacing, config.timing.burst);
        let mut cx = Context::new(config, rng);
        Self {
            checks: Checks::new(&mut cx),
            gathering: Gathering::new(),
            pacer,
            paths: Paths::default(),
            heard_at: None,
            checks_due: None,
            cx,
        }
    }

    /// The credentials to signal.
    pub fn local_credentials(&self) -> &Credentials {
        self.checks.session().local().credentials()
    }

    /// The peer's credentials, if known.
    pub fn remote_credentials(&self) -> Option<&Credentials> {
        self.checks.session().remote().map(Keyed::credentials)
    }

    /// The peer's credentials came by signalling. Checks begin; those that came too early are replayed.
    ///
    /// The same credentials again change nothing. Others without a [`restart`](Self::restart) of ours replace the old
    /// ones and forget the candidates of the old generation: the caller should have restarted.
    pub fn set_remote_credentials(&mut self, now: Instant, credentials: Credentials) {
        if !self.is_closed() {
            self.checks.set_remote_credentials(&mut self.cx, now, credentials);
            self.advance(now);
        }
    }

    /// A candidate of the peer came by signalling. One that names another user fragment, another component than 1, or
    /// an address that cannot be is counted and ignored; so are those beyond
    /// [`MAX_REMOTE_CANDIDATES`](crate::MAX_REMOTE_CANDIDATES).
    pub fn add_remote_candidate(&mut self, now: Instant, candidate: Candidate) {
        if !self.is_closed() {
            self.checks.add_remote(&mut self.cx, candidate);
            self.advance(now);
        }
    }

    /// A candidate of the peer was not handed in, for nobody here knows its kind
    /// ([`CandidateError::Unknown`](crate::CandidateError)): it is counted.
    pub fn ignore_remote_candidate(&mut self) {
        self.cx.counters.ignored_candidates += 1;
    }

    /// The peer has no more candidates in this generation (RFC 8838 §13).
    pub fn end_of_remote_candidates(&mut self, now: Instant) {
        self.checks.end_of_remotes();
        self.advance(now);
    }

    /// Our role, as offer and answer decide it; a conflict may change it later.
    pub fn set_role(&mut self, role: Role) {
        self.checks.set_role(role);
        self.refresh();
    }

    /// Our role now.
    pub fn role(&self) -> Role {
        self.checks.role()
    }

    /// Whether we are a lite agent.
    pub fn is_lite(&self) -> bool {
        self.cx.config.lite
    }

    /// Whether the peer said `a=ice-lite`. We control a lite peer, unless we are lite ourselves (RFC 8445 §6.1.1).
    pub fn set_remote_lite(&mut self, lite: bool) {
        self.checks.set_remote_lite(lite);
        if lite && !self.is_lite() {
            self.set_role(Role::Controlling);
        }
    }

    /// Whether descriptions of ours say `a=ice-options:renomination`.
    pub fn renominates(&self) -> bool {
        self.cx.config.renomination && !self.is_lite()
    }

    /// Whether the peer said `a=ice-options:renomination`: the controlling end may nominate again.
    pub fn set_remote_renomination(&mut self, renomination: bool) {
        self.checks.set_remote_renomination(renomination);
    }

    /// Begins to gather. Does nothing while gathering and after it; after a [`restart`](Self::restart) it gathers anew.
    pub fn gather(&mut self, now: Instant) {
        if self.is_closed() || !self.gathering.begin(&mut self.cx) {
            return;
        }
        // After a restart the sockets are there already: their candidates are signalled again, with the new ufrag.
        self.checks
            .announce_again(&mut self.cx, |ip| self.gathering.is_published(ip));
        self.gathering.ask(&mut self.cx, now);
        self.advance(now);
    }

    /// Begins a new generation (RFC 8445 §9): new credentials, no remote candidates. Sockets stay, and the pair in use
    /// carries data until the new generation has nominated one. Signal the new credentials and call
    /// [`gather`](Self::gather) again.
    pub fn restart(&mut self, now: Instant) {
        let credentials = Keyed::random(&mut self.cx.rng).credentials().clone();
        self.restart_with(now, credentials);
    }

    /// Like [`restart`](Self::restart), with credentials that a description was made with before it was set.
    pub fn restart_with(&mut self, now: Instant, credentials: Credentials) {
        if self.is_closed() {
            return;
        }
        self.checks.restart(&mut self.cx, credentials);
        self.gathering.restart();
        self.heard_at = None;
        self.advance(now);
    }

    /// Ends everything: allocations are given back by the transmits that follow, sockets by the requests that follow.
    /// Drain [`poll_transmit`](Self::poll_transmit) before [`poll_io`](Self::poll_io).
    pub fn close(&mut self, now: Instant) {
        if self.is_closed() {
            return;
        }
        self.cx.forget_outgoing();
        self.gathering.close(&mut self.cx, now);
        self.checks.close(&mut self.cx);
        self.refresh();
    }

    fn is_closed(&self) -> bool {
        self.checks.is_closed()
    }
}

/// The application's datagrams.
impl Agent {
    /// Where to send now: the nominated pair, else the pair in use before a restart, else the best valid pair
    /// (RFC 8445 §12.1). `None` without one, and once consent expired (RFC 7675 §5.1).
    pub fn send_path(&self) -> Option<Path> {
        self.paths.send
    }

    /// Whether the application may send (RFC 7675): there is a valid pair, and its consent has not expired.
    pub fn may_send(&self) -> bool {
        self.paths.send.is_some()
    }

    /// Whether a Binding message with a valid MESSAGE-INTEGRITY came from this path: law 5, before it nothing else is
    /// taken from there.
    pub fn is_authenticated(&self, path: &Path) -> bool {
        let Paths { known, last_in, .. } = &self.paths;
        let fits = |known: &KnownPath| known.path == *path && known.is_authenticated;
        known.get(*last_in).is_some_and(fits) || known.iter().any(fits)
    }

    /// The round trip of the pair in use, smoothed.
    pub fn rtt(&self) -> Option<Duration> {
        self.paths.rtt
    }

    /// How much room in front of and behind a datagram this path needs: for TCP's length and TURN's headers.
    pub fn path_room(&self, path: &Path) -> (usize, usize) {
        match path.local {
            Local::Relay(id) => self.gathering.relay_room(id, path.remote),
            Local::Tcp(_) => (FRAME_HEADER_LEN, 0),
            Local::Socket(_) => (0, 0),
        }
    }

    /// Wraps the open segment for its path, and says on which path the datagram really goes. The segment was begun with
    /// the room of [`path_room`](Self::path_room), and nothing was handed to the agent since.
    pub fn wrap(&mut self, now: Instant, path: Path, out: &mut TransmitBuf) -> Path {
        let Paths { known, last_out, .. } = &mut self.paths;
        if let Some(KnownPath { traffic, .. }) = known_pair(known, last_out, &path) {
            traffic.packets_sent += 1;
            traffic.bytes_sent += out.body().len() as u64;
            traffic.last_sent = Some(now);
        }
        self.frame(path, out)
    }

    fn frame(&mut self, path: Path, out: &mut TransmitBuf) -> Path {
        match path.local {
            Local::Relay(id) => self.gathering.wrap_for_relay(id, path, out),
            Local::Tcp(_) => {
                let header = frame_header(out.body().len());
                out.prepend(FRAME_HEADER_LEN).copy_from_slice(&header);
                path
            }
            Local::Socket(_) => path,
        }
    }

    /// Counts a datagram of the application's, of `len` bytes, for the statistics of its pair, and says whether its path
    /// [`is_authenticated`](Self::is_authenticated): both with one look-up. For owners who tell protocols apart
    /// themselves and do not hand everything to [`handle_datagram`](Self::handle_datagram), which counts what it hands
    /// back.
    #[inline]
    pub fn count_received(&mut self, now: Instant, path: &Path, len: usize) -> bool {
        let Paths { known, last_in, .. } = &mut self.paths;
        let Some(known) = known_pair(known, last_in, path) else {
            return self.is_authenticated(path);
        };
        known.traffic.packets_received += 1;
        known.traffic.bytes_received += len as u64;
        known.traffic.last_received = Some(now);
        known.is_authenticated || self.is_authenticated(path)
    }

    /// The layers above have authenticated what came on a path of ours, by SRTP or DTLS: the peer is there and goes on
    /// sending.
    ///
    /// A peer may do so without ever answering a check. Nothing may be sent to it once consent has expired, but consent
    /// is about sending (RFC 7675 §5.1: who sends nothing does not need it), so what it sends can still be taken: the
    /// state is then `Disconnected`, and `Failed` only when nothing was heard for half of `consent_timeout` either.
    pub fn heard(&mut self, now: Instant) {
        self.heard_at = Some(now);
    }

    /// Whether a datagram that came on this path may be for this agent or the layers above it: a quick look, for owners
    /// who would not even copy what strangers send. It is from a path that is authenticated, or from a TURN server in
    /// use, or a request that names our user fragment, or an answer.
    pub fn expects(&self, path: Path, datagram: &[u8]) -> bool {
        if self.is_authenticated(&path) || self.gathering.find_relay(path, datagram).is_some() {
            return true;
        }
        if !is_stun(datagram) {
            return false;
        }
        let Ok(message) = Message::parse(datagram) else {
            return false;
        };
        if !matches!(message.class(), Class::Request | Class::Indication) {
            return true;
        }
        let named = message.username().and_then(|name| name.split_once(':'));
        named.is_some_and(|(ours, _)| self.checks.is_ours(ours))
    }
}

/// What is known of the pair with this path, most likely that at `last`.
#[inline]
fn known_pair<'a>(known: &'a mut [KnownPath], last: &mut usize, path: &Path) -> Option<&'a mut KnownPath> {
    let fits = |known: &KnownPath| known.path == *path && known.pair.is_some();
    if !known.get(*last).is_some_and(fits) {
        *last = known.iter().position(fits)?;
    }
    known.get_mut(*last)
}

/// Input and output.
impl Agent {
    /// A datagram came. STUN and TURN are taken; what belongs to the layers above comes back, out of its TURN framing
    /// if it was relayed (then its `path.local` is a `Local::Relay`).
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram) -> Option<Datagram> {
        let mut datagram = datagram;
        if let Some(relay) = self.gathering.find_relay(datagram.path, &datagram.data) {
            let received = self
                .gathering
                .handle_relay_packet(&mut self.cx, now, relay, datagram.data);
            let Some((remote, data)) = received else {
                self.advance(now);
                return None;
            };
            let local = Local::Relay(relay);
            datagram = Datagram {
                path: Path { local, remote },
                ecn: datagram.ecn,
                data,
            };
        }
        let (path, data) = (datagram.path, &datagram.data);
        let is_connection = matches!(path.local, Local::Tcp(_));
        if is_connection && self.gathering.handle_stun_over_tls(&mut self.cx, path, data) {
            self.advance(now);
            return None;
        }
        if !is_stun(data) {
            self.count_received(now, &path, data.len());
            return Some(datagram);
        }
        if !self.is_closed() {
            let taken = match Message::parse(data) {
                Ok(message) => self.handle_message(now, path, &message),
                Err(_) => {
                    self.cx.counters.malformed += 1;
                    false
                }
            };
            // From what strangers send nothing follows.
            if taken {
                self.advance(now);
            }
        }
        None
    }

    /// Returns whether it told us anything.
    fn handle_message(&mut self, now: Instant, path: Path, message: &Message<'_>) -> bool {
        let cx = &mut self.cx;
        if message.check_fingerprint() == Verdict::Invalid {
            cx.counters.bad_fingerprint += 1;
            return false;
        }
        let is_binding = message.method() == Method::BINDING;
        match message.class() {
            Class::Request if is_binding => self.checks.handle_request(cx, now, path, message),
            Class::Request => {
                cx.counters.unauthenticated += 1;
                false
            }
            Class::Success | Class::Error => {
                is_binding && self.gathering.handle_response(cx, path, message)
                    || self.checks.handle_response(cx, now, path, message)
            }
            // RFC 8445 §11: a Binding indication is a keepalive, and says nothing.
            Class::Indication => false,
        }
    }

    /// An answer of the driver.
    pub fn handle_io(&mut self, now: Instant, event: IoEvent) {
        let cx = &mut self.cx;
        if self.checks.is_closed() {
            // What was asked for before the end came after it.
            match event {
                IoEvent::UdpBound { local, .. }
                | IoEvent::TcpConnected { local, .. }
                | IoEvent::TcpAccepted { local, .. } => cx.push_io(IoRequest::Close(local)),
                IoEvent::TcpListening { request, .. } => cx.push_io(IoRequest::CloseListener { request }),
                _ => {}
            }
            return;
        }
        match event {
            IoEvent::TcpConnected { request, local, addr } => {
                if !self.gathering.connected(cx, now, request, local, addr) {
                    self.checks.connected(cx, request, local);
                }
            }
            IoEvent::TcpAccepted {
                request, local, remote, ..
            } => {
                let listener = self.gathering.listener(request);
                self.checks.accepted(cx, now, listener, local, remote);
            }
            IoEvent::Failed { request, .. } if self.checks.connection_failed(request) => {}
            IoEvent::Closed { local } if self.checks.connection_closed(now, local) => {}
            event => self.gathering.handle_io(cx, now, event),
        }
        self.advance(now);
    }

    /// Time went on. Before the time of [`poll_timeout`](Self::poll_timeout) this costs nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        self.gathering.handle_timeout(&mut self.cx, now);
        self.advance(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). Pure.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_closed() {
            // The sockets go as soon as the goodbyes are written: one that is lost cannot be sent again, and its
            // allocation ends by itself.
            return None;
        }
        self.gathering.poll_timeout().into_iter().chain(self.checks_due).min()
    }

    /// Writes the next datagram as a segment of its own and says where it goes; `None` when there is nothing to send,
    /// or no room in `out`. Sets the path room of `out` to zero: set it again for what you write yourself.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        out.set_path_room(0, 0);
        // Permissions first: the check that needs one follows right behind.
        if let Some(transmit) = self.gathering.poll_relay_transmit(now, out) {
            return Some(transmit);
        }
        while let Some(outgoing) = self.cx.next_outgoing() {
            let path = outgoing.path();
            // What goes to a STUN server over TLS has no frame of RFC 4571 around it (RFC 8489 §6.2.2).
            let framed = !matches!(outgoing, Outgoing::Probe { .. });
            let (front, back) = if framed { self.path_room(&path) } else { (0, 0) };
            if !out.begin(front, back) {
                return None;
            }
            self.cx.drop_outgoing();
            let session = outgoing.generation().and_then(|g| self.checks.session_of(g));
            let mut buffer = [0; MAX_MESSAGE];
            match outgoing.write(session, &mut buffer) {
                Some(Ok(len)) if len <= out.remaining() => out.put_slice(&buffer[..len]),
                _ => {
                    // Its generation is gone, or a TransmitBuf for tiny datagrams: nothing that the peer could not
                    // survive.
                    out.rollback();
                    continue;
                }
            }
            let path = if framed { self.frame(path, out) } else { path };
            if matches!(path.local, Local::Relay(_)) || is_placeholder(path.local) {
                // The allocation or connection is gone.
                out.rollback();
                continue;
            }
            return Some(Transmit {
                path,
                range: out.finish(),
                segment_size: None,
                ecn: Ecn::NotEct,
            });
        }
        None
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.cx.poll_event()
    }

    /// What the agent needs of the driver.
    pub fn poll_io(&mut self) -> Option<IoRequest> {
        self.cx.poll_io()
    }
}

/// What follows from an input.
impl Agent {
    /// Called at the end of every input: lets each part draw its conclusions, and sends what the pacer allows.
    fn advance(&mut self, now: Instant) {
        self.deliver(now);
        if !self.is_closed() {
            let outside = self.outside();
            self.checks.advance(&mut self.cx, now, &outside);
            self.run_checks(now);
            self.gathering.advance(&mut self.cx, self.checks.has_selected());
            let outside = self.outside();
            if self.checks.update_state(&mut self.cx, now, &outside) {
                self.run_checks(now);
            }
            self.deliver(now);
        }
        self.refresh();
    }

    /// Notes what is asked for with every datagram.
    fn refresh(&mut self) {
        self.paths.update(&self.checks);
        let (slot, probes) = (self.pacer.earliest(), self.gathering.has_queued_probe());
        self.checks_due = self.checks.poll_timeout(&self.cx.config, slot, probes, &self.outside());
    }

    /// Delivers what the parts have for each other.
    fn deliver(&mut self, now: Instant) {
        let cx = &mut self.cx;
        while let Some(notice) = cx.poll_notice() {
            match notice {
                Notice::Found(new) => self.checks.insert_local(cx, new),
                Notice::Gone { ends, interface } => self.checks.forget_ends(cx, now, &ends, interface),
                Notice::Published { name } => self.checks.announce_name(cx, &name),
                Notice::Resolved { candidate, addr } => self.checks.insert_resolved(cx, candidate, addr),
                Notice::ForgetLookUps => self.gathering.forget_queries(),
                Notice::LookUp { name, candidate } => self.gathering.look_up(cx, now, name, candidate),
                Notice::Permit { relay, peer } => self.gathering.permit(relay, peer),
                Notice::BindChannel { relay, peer } => self.gathering.bind_channel(relay, peer),
            }
        }
    }

    /// Sends what the pacer allows, in the order of RFC 8445 §6.1.4.2.
    fn run_checks(&mut self, now: Instant) {
        let cx = &mut self.cx;
        while self.pacer.is_ready(now)
            && (self.checks.send_triggered(cx, now)
                || self.gathering.send_queued_probe(cx, now)
                || self.checks.send_ordinary(cx, now))
        {
            self.pacer.take(now);
        }
    }

    fn outside(&self) -> Outside {
        // Half as long as consent lasts: a peer that is gone altogether fails when its consent expires.
        let heard_for = self.cx.config.timing.consent_timeout / 2;
        Outside {
            heard_until: self.heard_at.map(|at| at + heard_for),
            has_gathered: self.gathering.state() == GatheringState::Complete,
            is_resolving: self.gathering.is_resolving(),
        }
    }
}

/// States and figures.
impl Agent {
    /// The state of gathering.
    pub fn gathering_state(&self) -> GatheringState {
        self.gathering.state()
    }

    /// The state of the connection.
    pub fn state(&self) -> ConnectionState {
        self.checks.state()
    }

    /// The nominated pair; during a restart the old one until the new one is nominated.
    pub fn selected_path(&self) -> Option<Path> {
        self.checks.selected_path()
    }

    /// Whether consent has expired and the peer still sends: what comes is taken, and nothing goes out.
    pub fn only_receives(&self) -> bool {
        self.checks.only_receives()
    }

    /// Candidates, pairs and counters.
    pub fn stats(&self) -> Stats {
        self.checks.stats(&self.cx, |pair| self.paths.traffic_of(pair))
    }
}
