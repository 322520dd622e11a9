//! One outgoing stream: frames are cut into packets, packets written, sent again, and counted.

mod count;
mod padding;
mod redundant;
mod write;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antiphon_rtp::extension::{Carried, OwnedOthers, Values};
use antiphon_rtp::packet::{HEADER_LEN, Header, Template};
use antiphon_rtp::payload::{Depacketizer, Packetizer};
use antiphon_rtp::rtcp::{ReportBlock, SenderInfo};
use antiphon_sansio::{ClockAnchor, Rng, Writer};

pub(crate) use count::{Count, Given};

use crate::config::{Codec, Kind, SendRedundancy, SenderConfig};
use crate::dtmf::Dtmf;
use crate::event::Contributors;
use crate::nack::{MOST_COPIES, Way};
use crate::redundancy::Redundancy;
use crate::ring::{Ring, Ticks};
use crate::stats::RemoteInboundRtp;

/// Packets kept for retransmission: of video about two seconds at 10 Mbit/s.
const VIDEO_SLOTS: usize = 2048;
/// Of sound about five seconds.
const AUDIO_SLOTS: usize = 256;
/// Most packets that wait to be sent again (V24: a NACK is cheap, its answer is not).
const MAX_RESEND: usize = 512;
/// One packet is sent again at most this often.
const MAX_RESENDS: u8 = 20;
/// MIDs and RIDs longer than this, in bytes, are not told in every packet: what a [`Template`] has room for.
const MAX_ID: usize = 32;
/// Largest header written here: with 15 CSRCs and every extension in its longer form.
const MAX_HEADER: usize = 256;
/// The same with elements that are carried on and do not fit into it.
const MAX_LONG_HEADER: usize = MAX_HEADER + OwnedOthers::MAX_LEN;
/// Bytes of carried elements that [`MAX_HEADER`] has room for.
const SHORT_OTHERS: usize = 24;
/// Retransmissions take this part of the estimate, ...
const RESEND_SHARE: f64 = 0.75;
/// ... of which so many seconds may burst at once, ...
const RESEND_BURST: f64 = 0.5;
/// ... and always as many bytes as this, and never more than that.
const MIN_RESEND_BURST: f64 = 5_000.0;
const MAX_RESEND_BURST: f64 = 96_000.0;
/// Key frame requests reach the application no closer than this.
pub(crate) const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(200);

/// How the numbers of a forwarded source become ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forward {
    pub(crate) source: u32,
    /// The source's number that became `ours`.
    pub(crate) theirs: u64,
    pub(crate) ours: u64,
    pub(crate) timestamp_offset: u32,
}

/// One outgoing stream: what is queued, what was sent, what the peer says about it. What each packet looks at comes first, side by
/// side.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Outbound {
    pub(crate) active: bool,
    /// A circuit breaker has stopped it.
    pub(crate) ceased: bool,
    /// Stands in the queue of those that have something to send.
    pub(crate) queued: bool,
    current: Current,
    /// Bytes that header and retransmission's number take at most, of a packet that has nothing of its own in the header.
    usual_overhead: usize,
    pub(crate) ring: Ring,
    pub(crate) forward: Option<Forward>,
    /// The newest timestamp sent or queued (offset included), and when its media was captured, or was given.
    pub(crate) newest_timestamp: Option<(u32, Instant)>,
    /// Packets to send again or late.
    resend: VecDeque<Resend>,
    /// The keys that it plays, once there were any.
    pub(crate) dtmf: Option<Box<Dtmf>>,
    /// What it sends before anybody asks for it, if that was negotiated.
    redundancy: Option<Box<Redundancy>>,
    pub(crate) count: Count,
    pub(crate) config: SenderConfig,
    /// What most of its headers look like.
    template: Template,
    again: Again,
    /// Of each codec in `config`, in the same order; `None`: its frames cannot be cut here.
    packetizers: Vec<Option<Packetizer>>,
    pub(crate) key_frames: KeyFrames,
    budget: Budget,
    pub(crate) remote: Option<RemoteInboundRtp>,
    pub(crate) timestamp_offset: u32,
    /// The next frame comes from another source, whose timestamps have nothing to do with those before.
    pub(crate) source_changed: bool,
    /// The application was told that packets are too large for the path.
    pub(crate) told_too_large: bool,
    /// Whether a sender report ever left: without one no LSR is ours.
    pub(crate) reported: bool,
    /// Whether a sender report is due.
    pub(crate) report_due: bool,
}

/// The codec of what is sent now.
#[derive(Debug)]
struct Current {
    /// `None`: nothing was sent since codecs were negotiated.
    payload_type: Option<u8>,
    /// Of its timestamps, in ticks a second.
    clock_rate: u32,
    /// Whether it is repeated in a stream of its own (RFC 4588).
    has_rtx: bool,
}

/// A packet to send again.
#[derive(Clone, Copy, Debug)]
struct Resend {
    sequence: u64,
    /// A second copy, which is left out where there is little room.
    spare: bool,
}

/// How far repetitions have come.
#[derive(Debug)]
struct Again {
    /// The next number on the SSRC of retransmissions.
    rtx_sequence: u16,
    /// The packet that was repeated last to make up for media that was not there.
    repeated: u64,
}

/// Key frames that the peer asks for, and that are sent.
#[derive(Debug, Default)]
pub(crate) struct KeyFrames {
    /// When the application was last told that one is asked for.
    pub(crate) asked: Option<Instant>,
    /// When a pending request may reach the application.
    pub(crate) due: Option<Instant>,
    /// The number of the newest FIR.
    pub(crate) fir_sequence: Option<u8>,
    /// The timestamp of the newest one forwarded: its packets may all say that they begin one.
    pub(crate) timestamp: Option<u32>,
}

/// How much may be sent again.
#[derive(Debug)]
struct Budget {
    /// Bytes that were allowed then.
    bytes: f64,
    at: Instant,
}

/// A moment, as headers and slots have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) ticks: Ticks,
    /// abs-send-time: seconds of the wall clock, of which 6 bits, and 18 bits behind the point.
    pub(crate) send_time: u32,
}

/// A packet that was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Its size.
    pub(crate) bytes: usize,
    /// Whether it bears a new transport-wide number.
    pub(crate) numbered: bool,
    /// Whether it carries nothing new.
    pub(crate) padding: bool,
    /// Whether the same bytes may leave again.
    pub(crate) repeatable: bool,
    /// The stream that it is a packet of, and its number there.
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
}

/// What cuts the frames of each codec.
fn packetizers(config: &SenderConfig, start: u16) -> Vec<Option<Packetizer>> {
    let codecs = config.codecs.iter();
    codecs
        .map(|codec| Packetizer::new(&codec.name, &codec.fmtp, start))
        .collect()
}

/// What each packet says of its stream: MID and RID, unless they are long.
fn values(config: &SenderConfig) -> Values<'_> {
    let short = |id: &&[u8]| id.len() <= MAX_ID;
    Values {
        mid: Some(config.mid.as_bytes()).filter(short),
        rid: config.rid.as_ref().map(String::as_bytes).filter(short),
        ..Values::default()
    }
}

/// What most headers look like: those of packets that are no repetition and have nothing of their own.
fn template(config: &SenderConfig) -> Template {
    let values = Values {
        transport_sequence: Some(0),
        abs_send_time: Some(0),
        ..values(config)
    };
    Template::new(&values, &config.extensions)
}

impl Outbound {
    pub(crate) fn new(now: Instant, config: SenderConfig, redundancy: SendRedundancy, rng: &mut Rng) -> Self {
        let slots = match config.kind {
            Kind::Audio => AUDIO_SLOTS,
            Kind::Video => VIDEO_SLOTS,
        };
        // RFC 3711 §3.3.1: a start in the lower half keeps the first packets' rollover counter beyond doubt. One cycle up
        // leaves numbers below the first.
        let first = 0x1_0000 + u64::from(rng.below(0x7fff));
        let clock_rate = config.codecs.first().map_or(90_000, |codec| codec.clock_rate);
        let mut own = Self {
            active: true,
            current: Current {
                payload_type: None,
                clock_rate,
                has_rtx: false,
            },
            usual_overhead: 0,
            ceased: false,
            ring: Ring::new(slots, first),
            resend: VecDeque::new(),
            again: Again {
                rtx_sequence: rng.below(0x7fff) as u16,
                repeated: 0,
            },
            timestamp_offset: rng.u32(),
            source_changed: false,
            template: template(&config),
            packetizers: packetizers(&config, rng.u32() as u16),
            forward: None,
            newest_timestamp: None,
            key_frames: KeyFrames::default(),
            told_too_large: false,
            budget: Budget {
                bytes: MAX_RESEND_BURST,
                at: now,
            },
            count: Count::from(first),
            remote: None,
            reported: false,
            report_due: false,
            queued: false,
            dtmf: None,
            redundancy: Redundancy::new(&config, redundancy, rng),
            config,
        };
        own.usual_overhead = own.overhead_of(own.template.header_len());
        own
    }

    #[inline]
    pub(crate) fn codec(&self, payload_type: u8) -> Option<&Codec> {
        self.config
            .codecs
            .iter()
            .find(|codec| codec.payload_type == payload_type)
    }

    /// What cuts the frames of a payload type, if that was negotiated; `None` inside: they cannot be cut here.
    pub(crate) fn packetizer(&mut self, payload_type: u8) -> Option<&mut Option<Packetizer>> {
        let mut codecs = self.config.codecs.iter();
        let index = codecs.position(|codec| codec.payload_type == payload_type)?;
        self.packetizers.get_mut(index)
    }

    /// The codec of telephone events, if they can be sent: one whose clock is that of the sound, if there is such, for the two
    /// share timestamps (RFC 4733 §2.1).
    pub(crate) fn telephone_events(&self) -> Option<&Codec> {
        let is_keys = |codec: &&Codec| Depacketizer::new(&codec.name) == Depacketizer::TelephoneEvent;
        let codecs = || self.config.codecs.iter().filter(is_keys);
        let clock = self.current.clock_rate;
        codecs()
            .find(|codec| codec.clock_rate == clock)
            .or_else(|| codecs().next())
    }

    /// When there is more to play of the keys that it was given.
    pub(crate) fn dtmf_deadline(&self) -> Option<Instant> {
        self.dtmf.as_ref()?.deadline()
    }

    /// Whether the sound is withheld, because a key is heard.
    #[inline]
    pub(crate) fn plays_key(&self) -> bool {
        self.dtmf.as_ref().is_some_and(|dtmf| dtmf.is_heard())
    }

    pub(crate) fn clock_rate(&self) -> u32 {
        self.current.clock_rate
    }

    /// The codec of what is sent now; `None` if this payload type was not negotiated.
    #[inline]
    pub(crate) fn note_codec(&mut self, payload_type: u8) -> Option<()> {
        if self.current.payload_type != Some(payload_type) {
            self.current.clock_rate = self.codec(payload_type)?.clock_rate.max(1);
            self.current.has_rtx = self.rtx(payload_type).is_some();
            self.current.payload_type = Some(payload_type);
        }
        Some(())
    }

    /// Bytes that header, extensions and the retransmission's number take at most.
    #[inline]
    pub(crate) fn overhead(&self, extensions: &Carried, contributors: Option<&Contributors>) -> usize {
        if contributors.is_none() && extensions.is_empty() {
            return self.usual_overhead;
        }
        self.overhead_of(self.header_len(extensions, contributors))
    }

    /// The same with a header of this length.
    fn overhead_of(&self, header: usize) -> usize {
        let number = if self.config.rtx_ssrc.is_some() { 2 } else { 0 };
        // "repaired-rtp-stream-id" replaces "rtp-stream-id", under an identifier that may need the longer form.
        let longer = if self.config.rid.is_some() { 4 } else { 0 };
        header + number + longer + self.redundancy_room()
    }

    fn header_len(&self, extensions: &Carried, contributors: Option<&Contributors>) -> usize {
        let mut values = Values {
            transport_sequence: Some(0),
            abs_send_time: Some(0),
            csrc_audio_levels: contributors.map(Contributors::levels),
            ..values(&self.config)
        };
        extensions.put(&mut values);
        let csrcs = contributors.map_or(&[][..], Contributors::csrcs);
        let (mut short, mut long);
        let mut out = Writer::new(if extensions.others.len() > SHORT_OTHERS {
            long = [0; MAX_LONG_HEADER];
            &mut long[..]
        } else {
            short = [0; MAX_HEADER];
            &mut short[..]
        });
        let written = Header::default().write(csrcs, &values, &self.config.extensions, &mut out);
        written.map_or(MAX_LONG_HEADER, |()| out.len()).max(HEADER_LEN)
    }

    /// Whether it may send.
    #[inline]
    pub(crate) fn sends(&self) -> bool {
        self.active && !self.ceased
    }

    /// Whether something waits for the pacer.
    #[inline]
    pub(crate) fn waits(&self) -> bool {
        !self.resend.is_empty() || self.ring.is_waiting() || self.has_repairs()
    }

    /// Queues the packets of one NACK for sending again. Those sent again within the last round trip are under way already. Who asks a
    /// second time gets one copy more: the answer was lost, and the next one shall not be (Hairpin, NSDI 2024).
    pub(crate) fn nack(&mut self, now: Ticks, way: Way, sequences: impl Iterator<Item = u16>) {
        self.count.nacks += 1;
        let rtt = way.rtt;
        self.ring.set_rtt(rtt);
        for sequence in sequences.take(MAX_RESEND) {
            let Some(sequence) = self.ring.extend(sequence) else {
                continue;
            };
            if !self.ring.is_sent(sequence) {
                continue;
            }
            if self.resend.len() >= MAX_RESEND {
                self.count.refused += 1;
                continue;
            }
            let Some(slot) = self.ring.get(sequence) else {
                continue;
            };
            // The two ends measure a round trip apart: what comes a little too soon is no repetition.
            let under_way = slot.sendings() > 1 && slot.sent().is_some_and(|sent| now.since(sent) < rtt * 3 / 4);
            let refused = under_way || slot.sendings() > MAX_RESENDS || self.ring.is_stale(now, slot);
            let Some(slot) = self.ring.get_mut(sequence).filter(|slot| slot.resending == 0) else {
                continue;
            };
            if refused {
                self.count.refused += 1;
                continue;
            }
            let again = u8::from(slot.sendings() > 1);
            slot.resending = (way.answers() + again).min(MOST_COPIES);
            self.resend.push_back(Resend { sequence, spare: false });
        }
    }

    /// Queues a packet that was put into the ring behind what was sent.
    pub(crate) fn send_late(&mut self, sequence: u64) {
        if self.resend.len() < MAX_RESEND {
            self.resend.push_back(Resend { sequence, spare: false });
        }
    }

    /// The next packet to send again, if the cap allows: V24, what one peer can make us send is bounded.
    #[inline]
    pub(crate) fn next_resend(&mut self, now: Instant, target: Option<u64>) -> Option<u64> {
        if self.resend.is_empty() {
            return None;
        }
        let rate = target.unwrap_or(2_000_000) as f64 / 8.0 * RESEND_SHARE;
        let elapsed = now.saturating_duration_since(self.budget.at).as_secs_f64();
        self.budget.at = now;
        let burst = (rate * RESEND_BURST).clamp(MIN_RESEND_BURST, MAX_RESEND_BURST);
        self.budget.bytes = (self.budget.bytes + elapsed * rate).min(burst);
        while let Some(Resend { sequence, spare }) = self.resend.pop_front() {
            let Some(slot) = self.ring.get_mut(sequence) else {
                continue;
            };
            slot.resending = slot.resending.saturating_sub(1);
            if slot.resending > 0 {
                // Behind all that waits: the two are not lost together.
                self.resend.push_back(Resend { sequence, spare: true });
            }
            if spare && self.budget.bytes < burst / 2.0 {
                continue;
            }
            let first = slot.sendings() == 0;
            let bytes = self.ring.get(sequence).map_or(0, |slot| self.ring.len_of(slot)) as f64;
            if !first && self.budget.bytes < bytes {
                // Refused, not put off: who still misses it asks again.
                self.count.refused += 1;
                continue;
            }
            if !first {
                self.budget.bytes -= bytes;
            }
            return Some(sequence);
        }
        None
    }

    /// Whether packets of this payload type are repeated as they are, and not in a stream of their own.
    #[inline]
    fn is_repeated_plainly(&self, payload_type: u8) -> bool {
        match self.current.payload_type == Some(payload_type) {
            true => !self.current.has_rtx,
            false => self.rtx(payload_type).is_none(),
        }
    }

    /// The SSRC and payload type under which packets of this payload type are repeated, if there are such.
    fn rtx(&self, payload_type: u8) -> Option<(u32, u8)> {
        let codec = self.codec(payload_type)?;
        self.config.rtx_ssrc.zip(codec.rtx_payload_type)
    }

    /// The media clock at `now`, extrapolated from the newest frame. By the clock of a peer that frame may be of a later moment.
    pub(crate) fn timestamp_at(&self, now: Instant) -> Option<u32> {
        let (timestamp, at) = self.newest_timestamp?;
        let ticks = |length: Duration| (length.as_micros() * u128::from(self.current.clock_rate) / 1_000_000) as u32;
        let (later, earlier) = (now.saturating_duration_since(at), at.saturating_duration_since(now));
        Some(timestamp.wrapping_add(ticks(later)).wrapping_sub(ticks(earlier)))
    }

    /// Where on our media clock a source begins whose media of `captured` comes next. One unit at least behind what was sent, so that
    /// its first frame is not taken for part of the last one. `None`: nothing was sent.
    pub(crate) fn continued(&self, captured: Instant) -> Option<u32> {
        let (continued, (newest, _)) = (self.timestamp_at(captured)?, self.newest_timestamp?);
        let is_later = continued.wrapping_sub(newest) as i32 > 0;
        Some(if is_later { continued } else { newest.wrapping_add(1) })
    }

    /// What a sender report says; `None` before anything was sent.
    pub(crate) fn sender_info(&self, now: Instant, anchor: &ClockAnchor) -> Option<SenderInfo> {
        if self.count.packets == 0 {
            return None;
        }
        Some(SenderInfo {
            ntp: anchor.ntp(now),
            rtp_timestamp: self.timestamp_at(now)?,
            packet_count: (self.count.packets - self.count.rtx_packets) as u32,
            octet_count: (self.count.bytes - self.count.rtx_bytes) as u32,
        })
    }

    /// Packets of the stream itself that have arrived by a report of the peer (W3C `packetsReceived` of "remote-inbound-rtp").
    fn arrived(&self, block: &ReportBlock) -> u64 {
        let newest = self.ring.extend(block.highest_sequence as u16);
        let numbers = newest.map_or(0, |newest| (newest + 1).saturating_sub(self.count.first_number));
        numbers.saturating_add_signed(-i64::from(block.cumulative_lost))
    }

    /// The peer reported on this stream. Returns the round trip, if the report shows one (RFC 3550 §6.4.1).
    pub(crate) fn report(&mut self, block: &ReportBlock, ntp_middle: u32) -> Option<Duration> {
        let arrived = self.arrived(block);
        let remote = self.remote.get_or_insert_default();
        remote.packets_received = arrived;
        remote.packets_lost = i64::from(block.cumulative_lost);
        remote.fraction_lost = f64::from(block.fraction_lost) / 256.0;
        remote.jitter = f64::from(block.jitter) / f64::from(self.current.clock_rate.max(1));
        if block.last_sr == 0 || !self.reported {
            return None;
        }
        let round = ntp_middle
            .wrapping_sub(block.last_sr)
            .wrapping_sub(block.delay_since_last_sr);
        // Clocks tick in 1/65536 s on both sides: a little below zero is zero, far below (or beyond a minute) is a lie.
        let round = if round > u32::MAX - 6554 { 0 } else { round };
        if round > 60 << 16 {
            return None;
        }
        let rtt = Duration::from_micros(u64::from(round) * 1_000_000 / 65_536);
        remote.round_trip_time = Some(rtt);
        remote.total_round_trip_time += rtt;
        remote.round_trip_time_measurements += 1;
        Some(rtt)
    }

    /// Gives up everything that waits.
    pub(crate) fn drop_queued(&mut self) {
        self.ring.drop_unsent();
        self.resend.clear();
        self.forward = None;
        self.dtmf = None;
        self.give_up_repairs();
    }

    /// Takes a new negotiation for the same SSRC.
    pub(crate) fn renegotiate(&mut self, config: SenderConfig, redundancy: SendRedundancy, rng: &mut Rng) {
        let old = &self.config;
        let has_rtx = |config: &SenderConfig, payload_type: u8| {
            let mut codecs = config.codecs.iter();
            let codec = codecs.find(|codec| codec.payload_type == payload_type);
            config.rtx_ssrc.is_some() && codec.is_some_and(|codec| codec.rtx_payload_type.is_some())
        };
        let mut codecs = old.codecs.iter().map(|codec| codec.payload_type);
        let loses_rtx = codecs.any(|codec| has_rtx(old, codec) && !has_rtx(&config, codec));
        if old.extensions != config.extensions || old.mid != config.mid || old.rid != config.rid || loses_rtx {
            // A repeat on the same SSRC would no longer be the same bytes, or one that nobody has kept the tag for.
            self.ring.forget_sent();
        }
        if old.codecs != config.codecs {
            let before = std::mem::replace(&mut self.packetizers, packetizers(&config, 0));
            for (old, packetizer) in self.config.codecs.iter().zip(before) {
                // The numbers of a format go on.
                let same = |codec: &Codec| {
                    codec.payload_type == old.payload_type && codec.name == old.name && codec.fmtp == old.fmtp
                };
                if let Some(index) = config.codecs.iter().position(same) {
                    self.packetizers[index] = packetizer;
                }
            }
        }
        self.template = template(&config);
        self.config = config;
        self.current.payload_type = None;
        self.renegotiate_redundancy(redundancy, rng);
        self.usual_overhead = self.overhead_of(self.template.header_len());
    }
}
