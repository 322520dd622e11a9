//! The handshake (RFC 9260 §5): INIT, INIT ACK, COOKIE ECHO, COOKIE ACK, and what may go wrong with them.

use std::time::{Duration, Instant};

use antiphon_sansio::Serial32;

use super::cookie::{Cookie, CookieError, milliseconds};
use super::replies::Reply;
use super::state::{Established, Peer, Phase, Stage};
use super::{Association, Timer};
use crate::chunk::{Capabilities, Chunk, Init, Parameters, Put, cause, kind, padded, parameter_kind, put_parameter};
use crate::error::Error;
use crate::event::Event;
use crate::packet::HEADER_LEN;
use crate::rx::DataTracker;

/// The error detection method that stands in for the checksum (RFC 9653 §3): DTLS.
pub(super) const ERROR_DETECTION_DTLS: u32 = 1;
/// Bytes of unrecognized parameters that one INIT ACK reports back.
const MAX_REPORTED: usize = 256;
/// Bytes of the parameters by which we say what we understand, all of them.
const MAX_PARAMETERS: usize = 24;

impl Association {
    /// Sends INIT. Both ends may: collisions are resolved (RFC 9260 §5.2.1). Does nothing once it has been called, or
    /// the peer has come first.
    pub fn connect(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Closed) {
            self.begin(now, 0);
        }
    }

    /// INIT is to be sent.
    fn begin(&mut self, now: Instant, tries: u32) {
        self.phase = Phase::CookieWait {
            due: true,
            since: now,
            tries,
        };
        self.timers.set(Timer::T1, now + self.tx.rto.current());
    }

    /// Our INIT as a chunk.
    pub(super) fn write_init(&mut self, out: &mut impl Put) {
        self.takes_no_checksum |= self.config.zero_checksum;
        let parameters = self.init_parameters(None);
        self.our_init(self.local_tag, self.local_tsn, &parameters)
            .write(out, kind::INIT);
    }

    fn our_init<'a>(&self, initiate_tag: u32, initial_tsn: Serial32, parameters: &'a [u8]) -> Init<'a> {
        Init {
            initiate_tag,
            a_rwnd: u32::try_from(self.rx.advertised()).unwrap_or(u32::MAX),
            outbound_streams: self.config.streams,
            inbound_streams: self.config.streams,
            initial_tsn,
            parameters: Parameters::new(parameters),
        }
    }

    /// What we understand beyond RFC 9260. INIT says all of it (`asked` is None), in parameters that who does not know
    /// them skips. INIT ACK answers: it says what the peer's INIT has said too, for there are peers that drop an INIT
    /// ACK with anything else.
    fn init_parameters(&self, asked: Option<&Capabilities>) -> Vec<u8> {
        let knows = |ability: fn(&Capabilities) -> bool| asked.is_none_or(ability);
        let mut bytes = Vec::with_capacity(MAX_PARAMETERS);
        if knows(|peer| peer.forward_tsn) {
            // RFC 3758 §3.3.1.
            put_parameter(&mut bytes, parameter_kind::FORWARD_TSN_SUPPORTED, &[]);
        }
        if self.config.ecn && knows(|peer| peer.ecn) {
            put_parameter(&mut bytes, parameter_kind::ECN_CAPABLE, &[]);
        }
        if self.config.zero_checksum && knows(|peer| peer.zero_checksum.is_some()) {
            // RFC 9653 §4.
            put_parameter(
                &mut bytes,
                parameter_kind::ZERO_CHECKSUM,
                &[&ERROR_DETECTION_DTLS.to_be_bytes()],
            );
        }
        // RFC 5061 §4.2.7, RFC 8260 §2.2.1.
        let interleaving = self.config.interleaving;
        let mut extensions = Vec::with_capacity(4);
        let known = [
            (kind::RE_CONFIG, knows(|peer| peer.re_config)),
            (kind::FORWARD_TSN, knows(|peer| peer.forward_tsn)),
            (kind::I_DATA, interleaving && knows(|peer| peer.interleaving)),
            (
                kind::I_FORWARD_TSN,
                interleaving && knows(|peer| peer.interleaved_forward_tsn),
            ),
        ];
        extensions.extend(known.iter().filter_map(|(kind, known)| known.then_some(*kind)));
        if knows(|peer| peer.extensions) && !extensions.is_empty() {
            // Last: the padding of a chunk's last parameter is not counted in the chunk (RFC 9260 §3.2.1).
            let end = bytes.len() + 4 + extensions.len();
            put_parameter(&mut bytes, parameter_kind::SUPPORTED_EXTENSIONS, &[&extensions]);
            bytes.truncate(end);
        }
        bytes
    }

    /// T1-init or T1-cookie has run out (RFC 9260 §5.1.6).
    pub(super) fn handle_t1(&mut self, now: Instant) {
        let (Phase::CookieWait { due, tries, .. } | Phase::CookieEchoed { due, tries, .. }) = &mut self.phase else {
            return;
        };
        *tries += 1;
        if *tries > self.config.max_init_retransmits {
            self.end(Event::Failed(Error::HandshakeTimeout));
            return;
        }
        *due = true;
        self.tx.rto.back_off();
        if matches!(self.phase, Phase::CookieEchoed { .. }) {
            // The DATA that went with the cookie went with it again: lost with it, no sign of congestion.
            self.tx.lose_all(now, false);
        }
        self.timers.set(Timer::T1, now + self.tx.rto.current());
    }

    pub(super) fn handle_init(&mut self, now: Instant, init: &Init<'_>) {
        if init.initiate_tag == 0 || init.outbound_streams == 0 || init.inbound_streams == 0 {
            self.stats.chunks_invalid += 1;
            return;
        }
        let peer = self.phase.peer().map_or(0, |peer| peer.tag);
        let (tag, tsn, ties) = match &mut self.phase {
            // RFC 9260 §9.2: the peer has lost our SHUTDOWN COMPLETE's cause; remind it.
            Phase::Established(Established {
                stage: Stage::AckSent { due, .. },
                ..
            }) => {
                *due = true;
                return;
            }
            // RFC 9260 §5.2.1: the same tag as in our own INIT, so that both handshakes make one association.
            Phase::Closed | Phase::CookieWait { .. } => (self.local_tag, self.local_tsn, (0, 0)),
            Phase::CookieEchoed { .. } => (self.local_tag, self.local_tsn, (self.local_tag, peer)),
            // RFC 9260 §5.2.2: a new tag; the old ones tie the cookie to this association.
            Phase::Established(_) | Phase::Ended { .. } => {
                let (tag, tsn) = (self.rng.u32().max(1), Serial32::new(self.rng.u32()));
                (tag, tsn, (self.local_tag, peer))
            }
        };
        let capabilities = init.capabilities();
        self.takes_no_checksum |= self.config.zero_checksum && capabilities.zero_checksum.is_some();
        let cookie = Cookie {
            created: milliseconds(self.epoch, now),
            local_tag: tag,
            local_tsn: tsn,
            peer_tag: init.initiate_tag,
            peer_tsn: init.initial_tsn,
            peer_rwnd: init.a_rwnd,
            streams: self.config.streams.min(init.inbound_streams),
            incoming: self.config.streams.min(init.outbound_streams),
            capabilities,
            tie_local: ties.0,
            tie_peer: ties.1,
        };
        let cookie = cookie.seal(&self.cookie_key);
        let mut parameters = Vec::with_capacity(padded(4 + cookie.len()) + MAX_PARAMETERS);
        put_parameter(&mut parameters, parameter_kind::STATE_COOKIE, &[&cookie]);
        self.report_unrecognized(init, &mut parameters);
        parameters.extend(self.init_parameters(Some(&capabilities)));
        let answer = Chunk::InitAck(self.our_init(tag, tsn, &parameters));
        self.replies.push(Reply::packet(init.initiate_tag, &answer));
    }

    /// RFC 9260 §3.2.2: unknown parameters whose type asks for it are reported.
    fn report_unrecognized(&self, init: &Init<'_>, out: &mut Vec<u8>) {
        // IPv4, IPv6, cookie preservative, host name, supported addresses: known, and without meaning over DTLS.
        const KNOWN: [u16; 6] = [5, 6, 9, 11, 12, parameter_kind::ECN_CAPABLE];
        let mut reported = 0;
        for parameter in init.parameters.clone().flatten() {
            let ours = [
                parameter_kind::FORWARD_TSN_SUPPORTED,
                parameter_kind::SUPPORTED_EXTENSIONS,
                parameter_kind::ZERO_CHECKSUM,
            ];
            if KNOWN.contains(&parameter.kind) || ours.contains(&parameter.kind) {
                continue;
            }
            if parameter.kind & 0x4000 != 0 && reported + parameter.value.len() <= MAX_REPORTED {
                reported += parameter.value.len();
                let mut whole = Vec::new();
                put_parameter(&mut whole, parameter.kind, &[parameter.value]);
                put_parameter(out, parameter_kind::UNRECOGNIZED, &[&whole]);
            }
            if parameter.kind & 0x8000 == 0 {
                return;
            }
        }
    }

    pub(super) fn handle_init_ack(&mut self, now: Instant, init: &Init<'_>) {
        let Phase::CookieWait { since, tries, .. } = self.phase else {
            // RFC 9260 §5.2.3: unexpected, ignore.
            return;
        };
        let Some(cookie) = init.cookie() else {
            self.stats.chunks_invalid += 1;
            return;
        };
        if init.initiate_tag == 0
            || init.outbound_streams == 0
            || init.inbound_streams == 0
            || padded(4 + cookie.len()) + HEADER_LEN > self.config.max_packet
        {
            self.stats.chunks_invalid += 1;
            return;
        }
        if tries == 0 {
            self.tx.rto.measured(now.saturating_duration_since(since));
        }
        let streams = [init.inbound_streams, init.outbound_streams].map(|streams| self.config.streams.min(streams));
        let peer = self.meet_peer(
            init.initiate_tag,
            init.initial_tsn,
            init.a_rwnd,
            streams,
            init.capabilities(),
        );
        self.phase = Phase::CookieEchoed {
            peer,
            cookie: cookie.to_vec(),
            due: true,
            tries: 0,
        };
        self.tx.rto.progress();
        self.timers.set(Timer::T1, now + self.tx.rto.current());
    }

    fn meet_peer(&mut self, tag: u32, tsn: Serial32, rwnd: u32, streams: [u16; 2], capabilities: Capabilities) -> Peer {
        self.tx.meet_peer(self.config.interleaving, &capabilities, rwnd);
        self.rx.tracker = DataTracker::new(tsn);
        self.resets.meet_peer(tsn);
        Peer {
            tag,
            streams: streams[0],
            incoming: streams[1],
            capabilities,
        }
    }

    pub(super) fn handle_cookie_echo(&mut self, now: Instant, verification_tag: u32, bytes: &[u8]) {
        let lifetime = self.config.cookie_lifetime;
        let cookie = match Cookie::open(bytes, &self.cookie_key, self.epoch, now, lifetime) {
            Ok(cookie) if cookie.local_tag == verification_tag => cookie,
            Ok(_) | Err(CookieError::Forged) => {
                self.stats.packets_dropped += 1;
                return;
            }
            Err(CookieError::Stale { by, peer_tag }) => {
                self.stats.packets_dropped += 1;
                self.refuse_stale_cookie(by, peer_tag);
                return;
            }
        };
        // The cookie may have been echoed more than once, so this is at most a hint.
        self.path_rtt = self.path_rtt.or(Some(
            now.saturating_duration_since(self.epoch + Duration::from_millis(cookie.created)),
        ));
        let known = self.phase.peer().copied();
        let local = cookie.local_tag == self.local_tag;
        let peer = match known.filter(|peer| peer.tag == cookie.peer_tag) {
            // RFC 9260 §5.2.4 D: the cookie of this very association.
            Some(peer) if local => peer,
            // B: the handshakes collided, or this is the first we hear of the peer.
            None if local && self.phase.is_handshaking() => self.meet_peer(
                cookie.peer_tag,
                cookie.peer_tsn,
                cookie.peer_rwnd,
                [cookie.streams, cookie.incoming],
                cookie.capabilities,
            ),
            // A: the peer has lost its state and begins anew. Data channels do not survive that.
            None if !local
                && cookie.tie_local == self.local_tag
                && known.is_some_and(|peer| peer.tag == cookie.tie_peer) =>
            {
                self.end(Event::Failed(Error::Restarted));
                return;
            }
            // C, or a cookie from nowhere.
            _ => {
                self.stats.packets_dropped += 1;
                return;
            }
        };
        self.replies.push(Reply::chunk(&Chunk::CookieAck));
        if self.phase.is_handshaking() {
            self.establish(now, peer);
        }
    }

    /// RFC 9260 §5.1.5 4): the peer is told by how much, in microseconds.
    fn refuse_stale_cookie(&mut self, by: Duration, peer_tag: u32) {
        if self.phase.peer().is_some() {
            return;
        }
        let by = u32::try_from(by.as_micros()).unwrap_or(u32::MAX);
        let mut causes = Vec::new();
        put_parameter(&mut causes, cause::STALE_COOKIE, &[&by.to_be_bytes()]);
        let answer = Chunk::Error(Parameters::new(&causes));
        self.replies.push(Reply::packet(peer_tag, &answer));
    }

    pub(super) fn handle_cookie_ack(&mut self, now: Instant) {
        if let Phase::CookieEchoed { peer, .. } = self.phase {
            self.establish(now, peer);
        }
    }

    /// RFC 9260 §5.2.6: our cookie was too old: begin again.
    pub(super) fn handle_stale_cookie(&mut self, now: Instant) {
        if let Phase::CookieEchoed { tries, .. } = self.phase
            && self.tx.outstanding.is_empty()
        {
            self.begin(now, tries);
        }
    }

    fn establish(&mut self, now: Instant, peer: Peer) {
        self.phase = Phase::Established(Established::new(peer, now));
        self.tx.rto.progress();
        self.timers.stop(Timer::T1);
        if !self.tx.outstanding.is_empty() {
            self.tx.restart_t3(now);
        }
        self.timers.set(Timer::Heartbeat, now + self.config.heartbeat_interval);
        self.events.push_back(Event::Connected);
    }
}
