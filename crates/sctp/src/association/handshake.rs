use std::time::{Duration, Instant};

use super::cookie::{Cookie, CookieError, milliseconds};
use super::{Association, Peer, Reply, StreamResets, Timer};
use crate::chunk::{Capabilities, Chunk, Init, Parameters, cause, kind, padded, parameter_kind, put_parameter};
use crate::packet::HEADER_LEN;
use crate::rx::DataTracker;
use crate::tx::Outstanding;
use crate::{Error, Event, State};
use antiphon_sansio::Serial32;

/// The error detection method that stands in for the checksum (RFC 9653 §3): DTLS.
pub(super) const ERROR_DETECTION_DTLS: u32 = 1;
/// Bytes of unrecognized parameters that one INIT ACK reports back.
const MAX_REPORTED: usize = 256;

impl Association {
    /// Sends INIT. Both ends may: collisions are resolved (RFC 9260 §5.2.1). Does nothing once it has been called, or the peer
    /// has come first.
    pub fn connect(&mut self, now: Instant) {
        if self.state == State::Closed && !self.ended {
            self.state = State::CookieWait;
            self.send_init = true;
            self.init_sent = now;
            self.timers.set(Timer::T1, now + self.rto.current());
        }
    }

    /// Our INIT as a chunk.
    pub(super) fn write_init(&mut self, out: &mut impl crate::chunk::Put) {
        self.takes_no_checksum |= self.config.zero_checksum;
        let parameters = self.init_parameters(None);
        self.our_init(self.local_tag, self.local_tsn, &parameters)
            .write(out, kind::INIT);
    }

    fn our_init<'a>(&self, initiate_tag: u32, initial_tsn: Serial32, parameters: &'a [u8]) -> Init<'a> {
        Init {
            initiate_tag,
            a_rwnd: u32::try_from(self.advertised).unwrap_or(u32::MAX),
            outbound_streams: self.config.streams,
            inbound_streams: self.config.streams,
            initial_tsn,
            parameters: Parameters::new(parameters),
        }
    }

    /// What we understand beyond RFC 9260. INIT says all of it (`asked` is None), in parameters that who does not know them skips.
    /// INIT ACK answers: it says what the peer's INIT has said too, for there are peers that drop an INIT ACK with anything else.
    fn init_parameters(&self, asked: Option<&Capabilities>) -> Vec<u8> {
        let knows = |ability: fn(&Capabilities) -> bool| asked.is_none_or(ability);
        let mut bytes = Vec::new();
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
        let extensions: Vec<u8> = [
            (kind::RE_CONFIG, knows(|peer| peer.re_config)),
            (kind::FORWARD_TSN, knows(|peer| peer.forward_tsn)),
            (kind::I_DATA, interleaving && knows(|peer| peer.interleaving)),
            (
                kind::I_FORWARD_TSN,
                interleaving && knows(|peer| peer.interleaved_forward_tsn),
            ),
        ]
        .into_iter()
        .filter_map(|(kind, known)| known.then_some(kind))
        .collect();
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
        self.init_tries += 1;
        if self.init_tries > self.config.max_init_retransmits {
            self.end(Event::Failed(Error::HandshakeTimeout));
            return;
        }
        self.rto.back_off();
        match self.state {
            State::CookieWait => self.send_init = true,
            State::CookieEchoed => {
                self.send_echo = true;
                // The DATA that went with the cookie went with it again: lost with it, no sign of congestion.
                let queue = &mut self.queue;
                self.outstanding.lose_all(now, false, |key| {
                    queue.abandon_begun(key);
                });
            }
            _ => return,
        }
        self.timers.set(Timer::T1, now + self.rto.current());
    }

    pub(super) fn handle_init(&mut self, now: Instant, init: &Init<'_>) {
        if init.initiate_tag == 0 || init.outbound_streams == 0 || init.inbound_streams == 0 {
            self.stats.chunks_invalid += 1;
            return;
        }
        let (tag, tsn, ties) = match self.state {
            // RFC 9260 §9.2: the peer has lost our SHUTDOWN COMPLETE's cause; remind it.
            State::ShutdownAckSent => {
                self.send_shutdown_ack = true;
                return;
            }
            // RFC 9260 §5.2.1: the same tag as in our own INIT, so that both handshakes make one association.
            State::Closed | State::CookieWait => (self.local_tag, self.local_tsn, (0, 0)),
            State::CookieEchoed => {
                let peer = self.peer.map_or(0, |peer| peer.tag);
                (self.local_tag, self.local_tsn, (self.local_tag, peer))
            }
            // RFC 9260 §5.2.2: a new tag; the old ones tie the cookie to this association.
            _ => {
                let peer = self.peer.map_or(0, |peer| peer.tag);
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
        let mut parameters = Vec::new();
        put_parameter(
            &mut parameters,
            parameter_kind::STATE_COOKIE,
            &[&cookie.seal(&self.cookie_key)],
        );
        self.report_unrecognized(init, &mut parameters);
        parameters.extend(self.init_parameters(Some(&capabilities)));
        let mut bytes = Vec::with_capacity(20 + parameters.len());
        self.our_init(tag, tsn, &parameters).write(&mut bytes, kind::INIT_ACK);
        self.reply(Reply {
            tag: Some(init.initiate_tag),
            bytes,
            alone: true,
        });
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
        if self.state != State::CookieWait {
            // RFC 9260 §5.2.3: unexpected, ignore.
            return;
        }
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
        if self.init_tries == 0 {
            self.rto.measured(now.saturating_duration_since(self.init_sent));
        }
        self.echo = cookie.to_vec();
        self.meet_peer(
            init.initiate_tag,
            init.initial_tsn,
            init.a_rwnd,
            [init.inbound_streams, init.outbound_streams].map(|streams| self.config.streams.min(streams)),
            init.capabilities(),
        );
        self.state = State::CookieEchoed;
        self.send_init = false;
        self.send_echo = true;
        self.init_tries = 0;
        self.rto.progress();
        self.timers.set(Timer::T1, now + self.rto.current());
    }

    fn meet_peer(&mut self, tag: u32, tsn: Serial32, rwnd: u32, streams: [u16; 2], capabilities: Capabilities) {
        self.peer = Some(Peer {
            tag,
            streams: streams[0],
            incoming: streams[1],
            capabilities,
        });
        let interleaved = self.config.interleaving && capabilities.interleaving;
        if self.outstanding.set_interleaved(interleaved) {
            self.queue.set_interleaved(interleaved);
        }
        self.tracker = DataTracker::new(tsn);
        self.resets.meet_peer(tsn);
        self.peer_window = rwnd as usize;
    }

    pub(super) fn handle_cookie_echo(&mut self, now: Instant, verification_tag: u32, bytes: &[u8]) {
        let lifetime = self.config.cookie_lifetime;
        let cookie = match Cookie::open(bytes, &self.cookie_key, self.epoch, now, lifetime) {
            Ok(cookie) => cookie,
            Err(CookieError::Forged) => {
                self.stats.packets_dropped += 1;
                return;
            }
            Err(CookieError::Stale { by, peer_tag }) => {
                // RFC 9260 §5.1.5 4): tell by how much, in microseconds.
                let by = u32::try_from(by.as_micros()).unwrap_or(u32::MAX);
                let mut causes = Vec::new();
                put_parameter(&mut causes, cause::STALE_COOKIE, &[&by.to_be_bytes()]);
                let mut bytes = Vec::new();
                Chunk::Error(Parameters::new(&causes)).write(&mut bytes);
                self.stats.packets_dropped += 1;
                if self.peer.is_none() {
                    self.reply(Reply {
                        tag: Some(peer_tag),
                        bytes,
                        alone: true,
                    });
                }
                return;
            }
        };
        if cookie.local_tag != verification_tag {
            self.stats.packets_dropped += 1;
            return;
        }
        // The cookie may have been echoed more than once, so this is at most a hint.
        self.path_rtt = self.path_rtt.or(Some(
            now.saturating_duration_since(self.epoch + Duration::from_millis(cookie.created)),
        ));
        let local = cookie.local_tag == self.local_tag;
        let peer = self.peer.is_some_and(|peer| peer.tag == cookie.peer_tag);
        match (local, peer) {
            // RFC 9260 §5.2.4 D: the cookie of this very association.
            (true, true) => {}
            // B: the handshakes collided, or this is the first we hear of the peer.
            (true, false) if matches!(self.state, State::Closed | State::CookieWait | State::CookieEchoed) => {
                self.meet_peer(
                    cookie.peer_tag,
                    cookie.peer_tsn,
                    cookie.peer_rwnd,
                    [cookie.streams, cookie.incoming],
                    cookie.capabilities,
                );
            }
            // A: the peer has lost its state and begins anew. Data channels do not survive that.
            (false, false)
                if cookie.tie_local == self.local_tag && self.peer.is_some_and(|peer| peer.tag == cookie.tie_peer) =>
            {
                self.end(Event::Failed(Error::Restarted));
                return;
            }
            // C, or a cookie from nowhere.
            _ => {
                self.stats.packets_dropped += 1;
                return;
            }
        }
        let mut bytes = Vec::new();
        Chunk::CookieAck.write(&mut bytes);
        self.reply(Reply {
            tag: None,
            bytes,
            alone: false,
        });
        if matches!(self.state, State::Closed | State::CookieWait | State::CookieEchoed) {
            self.establish(now);
        }
    }

    pub(super) fn handle_cookie_ack(&mut self, now: Instant) {
        if self.state == State::CookieEchoed {
            self.establish(now);
        }
    }

    /// RFC 9260 §5.2.6: our cookie was too old: begin again.
    pub(super) fn handle_stale_cookie(&mut self, now: Instant) {
        if self.state == State::CookieEchoed && self.outstanding.is_empty() {
            self.peer = None;
            self.state = State::CookieWait;
            self.send_echo = false;
            self.send_init = true;
            self.outstanding = Outstanding::new(now, self.local_tsn);
            self.resets = StreamResets::new(self.local_tsn);
            self.timers.set(Timer::T1, now + self.rto.current());
        }
    }

    fn establish(&mut self, now: Instant) {
        self.state = State::Established;
        self.echo = Vec::new();
        self.send_init = false;
        self.send_echo = false;
        self.init_tries = 0;
        self.errors = 0;
        self.rto.progress();
        self.timers.stop(Timer::T1);
        if !self.outstanding.is_empty() {
            self.timers.set(Timer::T3, now + self.rto.current());
        }
        self.heard_since_heartbeat = true;
        self.timers.set(Timer::Heartbeat, now + self.config.heartbeat_interval);
        self.events.push_back(Event::Connected);
    }
}
