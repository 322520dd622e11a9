//! Forward error correction of video: what is protected, and which repair packets wait to leave behind the packets that they protect.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antiphon_rtp::extension::Map;
use antiphon_rtp::fec::{Encoder, Format, Plan};
use antiphon_sansio::Writer;

use super::choice::Protection;
use crate::config::{Codec, Kind, SenderConfig};

/// A group that has waited so long for more packets is ended: its repairs would come too late.
const MAX_GROUP_TIME: Duration = Duration::from_millis(100);
/// Room for a repair packet: more than a path carries.
const MAX_PACKET: usize = 2048;

/// A repair packet that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    /// It leaves when all packets before this number have left. ULPFEC: its own number.
    pub(crate) after: u64,
    /// The timestamp of the last packet that it protects.
    pub(crate) timestamp: u32,
}

/// The forward error correction of one stream.
#[derive(Debug)]
pub(crate) struct Fec {
    pub(crate) format: Format,
    pub(crate) payload_type: u8,
    /// ULPFEC travels in RED, of this payload type, and so do the packets that it protects.
    pub(crate) red: Option<u8>,
    /// The stream of the repair packets: with ULPFEC the protected one.
    pub(crate) ssrc: u32,
    /// The protected stream.
    protected: u32,
    encoder: Encoder,
    protection: Option<Protection>,
    /// As many as the encoder has ready, in the same order.
    due: VecDeque<Due>,
    /// When the first packet of the group came.
    began: Option<Instant>,
    /// A packet as it is protected, or a repair packet as it is written.
    pub(crate) packet: Vec<u8>,
}

impl Fec {
    /// As the peer takes it: FlexFEC as Chromium has it, that of RFC 8627, or ULPFEC in RED.
    pub(crate) fn new(config: &SenderConfig) -> Option<Self> {
        if config.kind != Kind::Video {
            return None;
        }
        let named = |name: &str| config.codecs.iter().find(|codec| codec.name.eq_ignore_ascii_case(name));
        let of = |format: Format| named(format.name()).map(|codec| (format, codec));
        let beside = || of(Format::FlexFec03).or_else(|| of(Format::FlexFec));
        let within = || of(Format::Ulpfec).filter(|_| named("red").is_some());
        let own_stream = config.fec_ssrc.and_then(|ssrc| Some((ssrc, beside()?)));
        let (ssrc, (format, codec)): (u32, (Format, &Codec)) = match own_stream {
            Some(found) => found,
            None => (config.ssrc, within()?),
        };
        let red = named("red").filter(|_| format == Format::Ulpfec);
        Some(Self {
            format,
            payload_type: codec.payload_type,
            red: red.map(|codec| codec.payload_type),
            ssrc,
            protected: config.ssrc,
            encoder: Encoder::new(format, config.ssrc, Plan::new(10, 1)),
            protection: None,
            due: VecDeque::new(),
            began: None,
            packet: Vec::new(),
        })
    }

    pub(crate) fn protection(&self) -> Option<Protection> {
        self.protection
    }

    /// Protects in this manner from the next packet on.
    pub(crate) fn protect_by(&mut self, protection: Option<Protection>) {
        if let Some(protection) = protection {
            self.encoder.set_plan(protection.plan);
        }
        self.protection = protection;
    }

    /// Whether packets of a frame are protected that other frames need or not.
    pub(crate) fn protects(&self, needed: bool) -> bool {
        self.protection.is_some_and(|protection| needed || protection.all)
    }

    /// What repairs add to each byte of media.
    pub(crate) fn overhead(&self) -> f64 {
        let plan = self.protection.map(|protection| protection.plan);
        plan.map_or(0.0, |plan| f64::from(plan.repairs()) / f64::from(plan.group()))
    }

    /// By how many bytes a packet must be smaller, so that its repair packet is no larger than it might be; `header` is that of its
    /// own.
    pub(crate) fn room(&self, header: usize) -> usize {
        if self.protection.is_none() {
            return 0;
        }
        let extensions = header.saturating_sub(antiphon_rtp::packet::HEADER_LEN);
        extensions + self.format.max_header() + if self.red.is_some() { 2 } else { 0 }
    }

    /// Takes in the packet that stands in [`Self::packet`].
    pub(crate) fn take(&mut self, now: Instant, map: &Map) {
        let waited = self
            .began
            .is_some_and(|at| now.saturating_duration_since(at) > MAX_GROUP_TIME);
        if waited {
            self.end_group();
        }
        self.encoder.protect(&self.packet, map);
        self.began = match self.encoder.pending() {
            0 => None,
            _ => self.began.or(Some(now)),
        };
    }

    /// Ends the group early, if there are packets enough in it: half of the plan's, and two for each repair.
    pub(crate) fn end_group(&mut self) {
        let plan = self.encoder.plan();
        if self.encoder.pending() >= plan.group().div_ceil(2).max(2 * plan.repairs()) {
            self.encoder.end_group();
            self.began = None;
        }
    }

    /// Repair packets that are ready and have no place in the queue.
    pub(crate) fn unplaced(&mut self) -> usize {
        while self.due.len() > self.encoder.ready() {
            // One was given up for others.
            self.due.pop_front();
        }
        self.encoder.ready() - self.due.len()
    }

    /// Gives the next one its place.
    pub(crate) fn place(&mut self, due: Due) {
        self.due.push_back(due);
    }

    /// Whether repair packets wait.
    pub(crate) fn waits(&self) -> bool {
        !self.due.is_empty()
    }

    /// The next one.
    pub(crate) fn next(&self) -> Option<Due> {
        self.due.front().copied()
    }

    /// Writes the payload of the next one behind `header`, into [`Self::packet`]. `false`: it has no room and is given up.
    pub(crate) fn write(&mut self, header: impl FnOnce(&mut Writer<'_>) -> bool) -> bool {
        self.packet.resize(MAX_PACKET, 0);
        let mut out = Writer::new(&mut self.packet);
        let headed = header(&mut out);
        let inner = self.red.is_none() || out.put_u8(self.payload_type & 0x7f).is_ok();
        let written = self.encoder.write(&mut out);
        let len = out.len();
        self.due.pop_front();
        self.packet.truncate(len);
        headed && inner && written
    }

    /// Gives up everything that waits, and the group.
    pub(crate) fn reset(&mut self) {
        self.encoder = Encoder::new(self.format, self.protected, self.encoder.plan());
        self.due.clear();
        self.began = None;
    }
}
