//! One connection: what its owner calls, and in which phase of its life what happens.

mod event;
mod rumour;
#[cfg(test)]
mod tests;
mod waiting;

use std::fmt;
use std::time::{Duration, Instant};

use antiphon_crypto::Secret;
use antiphon_sansio::{Ecn, Packet, Reader, Rng, TransmitBuf, earliest};
use bytes::Buf;

use crate::alert::{Alert, AlertDescription};
use crate::certificate::Fingerprint;
use crate::config::{Config, MIN_MTU, Role};
use crate::error::Error;
use crate::exporter::Exporter;
use crate::handshake::{FragmentHeader, MessageType};
use crate::layer::{Fault, Layer};
use crate::negotiation::Handshake;
use crate::negotiation::agreed::Agreed;
use crate::record::ack;
use crate::record::epoch::{HANDSHAKE_EPOCH, OpenError, Opened};
use crate::record::{self, ContentType, Front, Header, PlainHeader, UnifiedHeader};
use crate::stats::Stats;
use crate::v13::traffic::Traffic;

pub use event::{Connected, Event};
use rumour::Rumour;
use waiting::Waiting;

/// How often the last flight of DTLS 1.3 is sent again.
const MAX_LAST_RETRANSMISSIONS: u64 = 12;

enum Phase {
    /// Boxed, for nothing of it is left afterwards.
    Handshaking(Box<Handshake>),
    /// Complete, but signalling has not said yet which fingerprint the peer must have.
    Unverified(Agreed),
    Connected(Exporter, Option<Traffic>),
    /// Closed or failed: what is queued still goes out, and nothing comes in.
    Over,
}

/// One DTLS connection: either end. Knows no address, no socket and no clock.
///
/// The caller hands in each datagram of the peer, asks for what is to be sent, for events, and for the time at which it
/// wants to be woken. Anything malformed, replayed or forged is dropped and counted in [`Stats`].
pub struct Connection {
    layer: Layer,
    phase: Phase,
    /// Comes before all data.
    connected: Option<Box<Connected>>,
    waiting: Waiting,
    /// Comes after all data.
    ended: Option<Event>,
    /// When the handshake is given up. Runs from the first datagram, either way.
    deadline: Option<Instant>,
    rumour: Rumour,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match &self.phase {
            Phase::Handshaking(_) => "handshaking",
            Phase::Unverified(_) => "unverified",
            Phase::Connected(..) => "connected",
            Phase::Over => "over",
        };
        f.debug_struct("Connection")
            .field("role", &self.layer.role)
            .field("phase", &phase)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection that has not begun. A client writes its ClientHello at the first [`Self::poll_transmit`].
    pub fn new(config: Config, role: Role, mut rng: Rng) -> Self {
        let handshake = Handshake::new(role, &mut rng);
        Self {
            layer: Layer::new(config, role, rng),
            phase: Phase::Handshaking(Box::new(handshake)),
            connected: None,
            waiting: Waiting::default(),
            ended: None,
            deadline: None,
            rumour: Rumour::default(),
        }
    }

    /// Names the fingerprints, one of which the peer's certificate must have (RFC 8122 §6.2). The handshake may run
    /// before; until one of them is found to match, nothing is connected and nothing delivered.
    ///
    /// Naming others later fails the connection if the peer's certificate is not among them: a new certificate needs a new
    /// connection (RFC 8842 §3.1).
    pub fn set_remote_fingerprints(&mut self, fingerprints: Vec<Fingerprint>) {
        self.layer.set_fingerprints(fingerprints);
        match (&self.phase, self.layer.check_identity()) {
            (Phase::Over, _) | (_, Ok(false)) => {}
            (_, Err(error)) => self.fail(error),
            (Phase::Unverified(_), Ok(true)) => {
                if let Phase::Unverified(agreed) = std::mem::replace(&mut self.phase, Phase::Over) {
                    self.complete(agreed);
                }
            }
            (_, Ok(true)) => {}
        }
    }

    /// Takes what one datagram of the peer carried. It is decrypted in place.
    pub fn handle_packet(&mut self, now: Instant, mut packet: Packet) {
        self.layer.stats.datagrams_received += 1;
        self.layer.stats.bytes_received += packet.data.len() as u64;
        // What there is most of, with all that is known of it known to the compiler.
        let len = if !matches!(self.phase, Phase::Connected(..)) {
            return self.split_datagram(now, packet);
        } else if let Some(header) = UnifiedHeader::usual(&packet.data) {
            self.open_record(now, &Header::Unified(header), &mut packet)
        } else if let Some(header) = PlainHeader::usual(&packet.data) {
            self.open_record(now, &Header::Plain(header), &mut packet)
        } else {
            return self.split_datagram(now, packet);
        };
        if let Some(len) = len
            && self.waiting.queue(packet, len).is_err()
        {
            self.layer.stats.dropped_overflow += 1;
        }
    }

    #[inline(never)]
    fn split_datagram(&mut self, now: Instant, packet: Packet) {
        let Packet {
            ecn,
            data: mut datagram,
        } = packet;
        if matches!(self.phase, Phase::Handshaking(_)) {
            self.start_clock(now);
        }
        while !datagram.is_empty() && !matches!(self.phase, Phase::Over) {
            match record::front(&datagram) {
                // The last record, mostly the only one, keeps the buffer as it is.
                Front::Record(header, end) if end == datagram.len() => {
                    self.open_any_record(now, &header, Packet { ecn, data: datagram });
                    return self.open_early(now);
                }
                Front::Record(header, end) => {
                    let data = datagram.split_to(end);
                    self.open_any_record(now, &header, Packet { ecn, data });
                    self.open_early(now);
                }
                // RFC 6347 §4.1.2.7: what is of an unknown kind is dropped, and the rest of the datagram is good.
                Front::Unknown(end) => {
                    datagram.advance(end);
                    self.layer.stats.dropped_malformed += 1;
                }
                Front::Malformed => {
                    self.layer.stats.dropped_malformed += 1;
                    break;
                }
            }
        }
    }

    fn start_clock(&mut self, now: Instant) {
        self.deadline.get_or_insert(now + self.layer.config.handshake_timeout);
    }

    /// What came before its keys, and can be opened now.
    fn open_early(&mut self, now: Instant) {
        while !matches!(self.phase, Phase::Over)
            && let Some(early) = self.layer.take_early()
        {
            self.open_any_record(now, &early.header, early.record);
        }
    }

    #[inline(never)]
    fn open_any_record(&mut self, now: Instant, header: &Header, mut record: Packet) {
        if let Some(len) = self.open_record(now, header, &mut record) {
            self.handle_application_data(record, len);
        }
    }

    /// Opens a record, and handles what is in it, unless that is application data: these are then the first bytes of `record`,
    /// as many as returned.
    #[inline(always)]
    fn open_record(&mut self, now: Instant, header: &Header, record: &mut Packet) -> Option<usize> {
        match self.layer.epochs.open(header, &mut record.data) {
            // Epoch 2 of DTLS 1.3 is the handshake's alone (RFC 9147 §6.1).
            Ok(opened)
                if opened.content_type == ContentType::ApplicationData
                    && opened.epoch != 0
                    && opened.epoch != HANDSHAKE_EPOCH =>
            {
                return Some(opened.len);
            }
            Ok(opened) => self.handle_protocol(now, opened, &record.data[..opened.len]),
            Err(error) => self.not_opened(error, record),
        }
        None
    }

    #[cold]
    fn not_opened(&mut self, error: OpenError, record: &Packet) {
        self.layer.not_opened(error, record);
        if error == OpenError::Exhausted {
            self.fail(Error::Exhausted);
        }
    }

    #[inline(never)]
    fn handle_protocol(&mut self, now: Instant, opened: Opened, body: &[u8]) {
        self.layer.peer_is_alive |= opened.epoch > 0 && opened.content_type != ContentType::Alert;
        match opened.content_type {
            ContentType::Handshake => self.handle_fragments(now, opened, body),
            ContentType::Alert => self.handle_alert(now, opened.epoch, body),
            ContentType::Ack if opened.epoch > 0 && self.layer.acks_are_enabled() => self.handle_ack(now, body),
            // The epoch of a record says by itself which keys are in use.
            ContentType::ChangeCipherSpec if body == [1] => {}
            _ => self.layer.stats.dropped_malformed += 1,
        }
        if std::mem::take(&mut self.layer.peer_is_alive) && self.rumour.deny() {
            self.layer.flight.stop_probing();
        }
    }

    fn handle_fragments(&mut self, now: Instant, opened: Opened, body: &[u8]) {
        if opened.epoch > 0 && self.refuse_renegotiation(body) {
            return;
        }
        let mut reader = Reader::new(body);
        let mut taken = !reader.is_empty();
        while !reader.is_empty() {
            match FragmentHeader::parse(&mut reader) {
                Ok((header, fragment)) => taken &= self.layer.take_fragment(now, opened.epoch, &header, fragment),
                Err(_) => {
                    self.layer.stats.dropped_malformed += 1;
                    taken = false;
                    break;
                }
            }
        }
        if taken {
            self.layer.note_received(opened.epoch, opened.sequence);
        }
        self.handle_messages(now);
        self.layer.acknowledge_later(now);
    }

    /// Whether a protected record of DTLS 1.2 asks to renegotiate: HelloRequest or ClientHello. It is answered by
    /// no_renegotiation (RFC 5246 §7.2.2), which tells the peer to go on without.
    fn refuse_renegotiation(&mut self, body: &[u8]) -> bool {
        let asked = body
            .first()
            .is_some_and(|kind| [MessageType::HELLO_REQUEST, MessageType::CLIENT_HELLO].contains(&MessageType(*kind)));
        let refused = asked
            && matches!(
                &self.phase,
                Phase::Connected(_, None) | Phase::Unverified(Agreed { traffic: None, .. })
            );
        if refused {
            self.layer.stats.dropped_malformed += 1;
            self.layer.alert(Alert::warning(AlertDescription::NO_RENEGOTIATION));
        }
        refused
    }

    fn handle_messages(&mut self, now: Instant) {
        while !matches!(self.phase, Phase::Over) {
            let Some(message) = self.layer.reassembly.pop() else {
                return;
            };
            let handled = match &mut self.phase {
                Phase::Handshaking(handshake) => handshake.handle(&mut self.layer, &message),
                Phase::Unverified(Agreed {
                    traffic: Some(traffic), ..
                })
                | Phase::Connected(_, Some(traffic)) => traffic.handle(&mut self.layer, &message).map(|()| None),
                // DTLS 1.2 takes no message after the handshake: there is no renegotiation.
                _ => return,
            };
            match handled {
                Ok(None) => {}
                Ok(Some(agreed)) => {
                    self.layer.settle(now, agreed.version);
                    self.deadline = None;
                    self.rumour.forget();
                    match self.layer.check_identity() {
                        Ok(true) => self.complete(agreed),
                        Ok(false) => self.phase = Phase::Unverified(agreed),
                        Err(error) => self.fail(error),
                    }
                }
                Err(Fault::Malformed) if message.epoch == 0 => {
                    self.layer.stats.dropped_malformed += 1;
                    self.layer.reassembly.reject(&message);
                    return;
                }
                Err(Fault::Malformed) => self.fail(Error::Protocol("a message that is malformed or out of place")),
                Err(Fault::Fatal(error)) => self.fail(error),
            }
        }
    }

    fn handle_ack(&mut self, now: Instant, body: &[u8]) {
        let Some(records) = ack::parse(body) else {
            self.layer.stats.dropped_malformed += 1;
            return;
        };
        if !self.layer.flight.acknowledge(now, &records) {
            return;
        }
        // While the handshake goes on, only the next flight proves that the peer took ours.
        if let Phase::Unverified(Agreed {
            traffic: Some(traffic), ..
        })
        | Phase::Connected(_, Some(traffic)) = &mut self.phase
        {
            self.layer.flight_arrived();
            if let Err(error) = traffic.acknowledged(&mut self.layer) {
                self.fail(error);
            }
        }
    }

    fn complete(&mut self, agreed: Agreed) {
        let provider = self.layer.config.provider;
        let Some((peer_certificate, peer_fingerprint)) = self.layer.peer() else {
            return self.fail(Error::BadCertificate);
        };
        let role = self.layer.role;
        self.layer.stats.group = Some(agreed.group);
        let srtp = agreed
            .srtp
            .map(|profile| agreed.exporter.srtp_keys(provider, role, profile))
            .transpose();
        let srtp = match srtp {
            Ok(srtp) => srtp,
            Err(error) => return self.fail(error),
        };
        tracing::debug!(version = %agreed.version, suite = agreed.suite.name(), group = ?agreed.group, "connected");
        self.connected = Some(Box::new(Connected {
            version: agreed.version,
            cipher_suite: agreed.suite,
            group: agreed.group,
            srtp,
            peer_certificate,
            peer_fingerprint,
        }));
        self.phase = Phase::Connected(agreed.exporter, agreed.traffic);
        self.waiting.release_held();
    }

    #[inline(never)]
    fn handle_application_data(&mut self, data: Packet, len: usize) {
        let taken = if matches!(self.phase, Phase::Connected(..)) {
            self.waiting.queue(data, len)
        } else {
            self.waiting.hold(data, len)
        };
        if taken.is_err() {
            self.layer.stats.dropped_overflow += 1;
        }
    }

    fn handle_alert(&mut self, now: Instant, epoch: u16, body: &[u8]) {
        let Some(alert) = Alert::parse(body) else {
            self.layer.stats.dropped_malformed += 1;
            return;
        };
        if epoch == 0 {
            // Anybody can send one of these; who believes it lets anybody end the session.
            self.layer.stats.dropped_alerts += 1;
            let answers_us = matches!(&self.phase, Phase::Handshaking(handshake) if handshake.expects_flight());
            if alert.fatal && answers_us && !self.layer.epochs.peer_has_keys() {
                self.hear_rumour(now, alert.description);
            }
        } else if alert.description == AlertDescription::CLOSE_NOTIFY {
            // RFC 5246 §7.2.1: answered by our own.
            self.layer.alert(Alert::close_notify());
            self.end(Event::Closed);
        } else if alert.fatal || (self.layer.acks_are_enabled() && alert.description != AlertDescription::USER_CANCELED)
        {
            // In 1.3 the level says nothing (RFC 8446 §6).
            self.end(Event::Failed(Error::PeerAlert(alert.description)));
        }
    }

    fn hear_rumour(&mut self, now: Instant, description: AlertDescription) {
        if let Some(every) = self.rumour.hear(now, description, self.layer.flight.base_rto()) {
            self.layer.flight.probe(now, every);
        }
    }

    fn fail(&mut self, error: Error) {
        tracing::debug!(%error, "failed");
        if let Some(description) = error.alert() {
            self.layer.alert(Alert::fatal(description));
        }
        self.end(Event::Failed(error));
    }

    /// Ends everything but the alerts that wait to be sent.
    fn end(&mut self, event: Event) {
        self.phase = Phase::Over;
        self.layer.end();
        self.waiting.drop_held();
        self.deadline = None;
        self.rumour.forget();
        self.ended = Some(event);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.layer.epochs.peer_has_keys() {
            self.rumour.forget();
        }
        if [self.deadline, self.rumour.believed_at()]
            .into_iter()
            .flatten()
            .any(|at| at <= now)
        {
            self.fail(self.rumour.description().map_or(Error::TimedOut, Error::PeerAlert));
            return;
        }
        // A renewal of keys is repeated for as long as it takes: without it the keys would wear out.
        let complete = match &self.phase {
            Phase::Connected(_, traffic) | Phase::Unverified(Agreed { traffic, .. }) => {
                traffic.as_ref().is_none_or(|traffic| !traffic.is_updating())
            }
            Phase::Handshaking(_) | Phase::Over => false,
        };
        if complete && self.layer.flight.retransmissions() >= MAX_LAST_RETRANSMISSIONS {
            // A peer that never acknowledges. What it sends will show whether it is still there.
            self.layer.flight.clear();
        }
        self.layer.handle_timeout(now);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest([self.deadline, self.rumour.believed_at(), self.layer.poll_timeout()])
    }

    /// Writes the next datagram of the handshake, or an alert, into a segment that it begins and leaves open, and says by
    /// which mark it is to be sent: none of these is ECN-capable. `None`: there is nothing to send. The segment is at most as
    /// long as [`Config::mtu`] and as `out` has room for beside the path's.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Ecn> {
        if let Phase::Handshaking(handshake) = &mut self.phase {
            match handshake.start(&mut self.layer) {
                Ok(true) => self.start_clock(now),
                Ok(false) => {}
                Err(error) => self.fail(error),
            }
        }
        match self.layer.poll_transmit(now, out) {
            Ok(wrote) => wrote.then_some(Ecn::NotEct),
            Err(error) => {
                if !matches!(self.phase, Phase::Over) {
                    self.fail(error);
                }
                None
            }
        }
    }

    /// The next event.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.connected.is_none()
            && let Some(packet) = self.waiting.pop()
        {
            return Some(Event::ApplicationData(packet));
        }
        self.poll_rare_event()
    }

    #[inline(never)]
    fn poll_rare_event(&mut self) -> Option<Event> {
        let connected = self.connected.take().map(Event::Connected);
        connected.or_else(|| self.ended.take())
    }

    /// Room that [`Self::seal`] needs in front of and behind the data, in bytes: exact once keys are agreed, and before
    /// that the most that any version and suite needs.
    pub fn overhead(&self) -> (usize, usize) {
        self.layer.epochs.overhead().unwrap_or((21, 17))
    }

    /// Turns the body of the open segment into one record of application data, in place. The segment must have been begun
    /// with the room of [`Self::overhead`].
    ///
    /// # Errors
    /// [`Error::NotConnected`] before [`Event::Connected`] and after the end; the body is then unchanged.
    /// [`Error::Exhausted`] when the key is worn out, which ends the connection: DTLS 1.2 cannot renew it, and with DTLS 1.3
    /// the peer has not acknowledged the renewal for half of the key's life.
    ///
    /// # Panics
    /// If no segment is open, or it has less room than [`Self::overhead`] says.
    pub fn seal(&mut self, out: &mut TransmitBuf) -> Result<(), Error> {
        self.seal_with(out, 0)
    }

    /// Whether records can be padded: DTLS 1.3 can, once it is connected (RFC 8446 §5.4).
    pub fn can_pad(&self) -> bool {
        matches!(self.phase, Phase::Connected(_, Some(_)))
    }

    /// As [`Self::seal`]; the record is longer by so many bytes, which the peer takes off and never sees. For what is to find out what
    /// the path carries. The segment must have room for them.
    ///
    /// # Errors
    /// As [`Self::seal`], and [`Error::Protocol`] where [`Self::can_pad`] says no.
    ///
    /// # Panics
    /// As [`Self::seal`].
    pub fn seal_padded(&mut self, out: &mut TransmitBuf, padding: usize) -> Result<(), Error> {
        if !self.can_pad() {
            return Err(Error::Protocol("DTLS 1.2 has no padding"));
        }
        self.seal_with(out, padding)
    }

    fn seal_with(&mut self, out: &mut TransmitBuf, padding: usize) -> Result<(), Error> {
        if !matches!(self.phase, Phase::Connected(..)) {
            return Err(Error::NotConnected);
        }
        let sealed = self.layer.epochs.seal(out, padding);
        match &sealed {
            Ok(records) => {
                self.layer.stats.bytes_sent += out.body().len() as u64;
                if *records >= self.layer.config.records_per_key {
                    // Long before they are worn out. DTLS 1.2 cannot.
                    let _ = self.renew_keys(false);
                }
            }
            Err(Error::Exhausted) => self.fail(Error::Exhausted),
            Err(_) => {}
        }
        sealed.map(|_| ())
    }

    #[cold]
    fn renew_keys(&mut self, request: bool) -> Result<(), Error> {
        let Phase::Connected(_, Some(traffic)) = &mut self.phase else {
            return Err(Error::NotConnected);
        };
        traffic.update(&mut self.layer, request);
        Ok(())
    }

    /// Renews our keys, and asks the peer to renew its own (RFC 9147 §8). Happens by itself long before keys are worn out.
    ///
    /// # Errors
    /// [`Error::NotConnected`] before [`Event::Connected`], and with DTLS 1.2, which cannot.
    pub fn update_keys(&mut self) -> Result<(), Error> {
        self.renew_keys(true)
    }

    /// Tells the path's round-trip time, from which retransmission timers follow: the first comes after twice that.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.layer.flight.set_rtt(rtt);
    }

    /// Changes the largest datagram of the handshake, [`MIN_MTU`] at least. What was not sent yet is cut anew.
    pub fn set_mtu(&mut self, mtu: usize) {
        self.layer.config.mtu = mtu.max(MIN_MTU);
    }

    /// Keying material for another protocol (RFC 5705 §4), `len` bytes. `context`, if given, is at most 65535 bytes long.
    ///
    /// # Errors
    /// [`Error::NotConnected`] before [`Event::Connected`] and after the end.
    pub fn export_keying_material(&self, label: &str, context: Option<&[u8]>, len: usize) -> Result<Secret, Error> {
        match &self.phase {
            Phase::Connected(exporter, _) => exporter.export(self.layer.config.provider, label, context, len),
            _ => Err(Error::NotConnected),
        }
    }

    /// Ends the connection with close_notify, which the next [`Self::poll_transmit`] writes. Nothing is delivered after.
    pub fn close(&mut self) {
        if !matches!(self.phase, Phase::Over) {
            self.layer.alert(Alert::close_notify());
            self.end(Event::Closed);
        }
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        self.layer.stats
    }
}
