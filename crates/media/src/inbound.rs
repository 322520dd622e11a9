use std::time::{Duration, Instant};

use antiphon_rtp::payload::Format;

use crate::assembler::Assembler;
use crate::config::{Codec, Kind, Output};
use crate::event::ReceiverId;
use crate::nack::NackGenerator;
use crate::reception::Reception;
use crate::stats::RemoteOutboundRtp;

/// Requests for a key frame of one source are no closer than this.
const REQUEST_INTERVAL: Duration = Duration::from_millis(300);
/// A source that sends nothing is asked this long.
const REQUEST_LIFE: Duration = Duration::from_secs(3);

/// One incoming source.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) ssrc: u32,
    pub(crate) receiver: ReceiverId,
    pub(crate) kind: Kind,
    pub(crate) rid: Option<Box<str>>,
    pub(crate) rtx_ssrc: Option<u32>,
    /// Announced by the description: never forgotten for another.
    pub(crate) signalled: bool,
    /// Whether a packet came; the application was told.
    pub(crate) announced: bool,
    pub(crate) codec: Option<Codec>,
    pub(crate) format: Format,
    /// Whether the section negotiated NACK, for whichever of its codecs: all of them share one row of numbers.
    pub(crate) nacks: bool,
    /// The timestamp of the newest key frame: its packets may all say that they begin one.
    pub(crate) key_timestamp: Option<u32>,
    pub(crate) reception: Reception,
    pub(crate) nack: NackGenerator,
    pub(crate) assembler: Assembler,
    /// Wants a key frame, whoever asked.
    pub(crate) key_frame_wanted: bool,
    pub(crate) key_frame_requested: Option<Instant>,
    pub(crate) fir_sequence: u8,
    /// Whether packets came since the last report.
    pub(crate) active: bool,
    /// Whether a report block is due.
    pub(crate) report_due: bool,
    pub(crate) last_packet: Option<Instant>,
    pub(crate) count: InboundCount,
    pub(crate) remote: Option<RemoteOutboundRtp>,
    /// Said goodbye.
    pub(crate) left: bool,
}

/// What is counted about an incoming source.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InboundCount {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) header_bytes: u64,
    pub(crate) repaired: u64,
    pub(crate) nacks: u32,
    pub(crate) plis: u32,
    pub(crate) firs: u32,
    pub(crate) frames: u64,
    pub(crate) key_frames: u64,
    pub(crate) audio_level: Option<u8>,
}

impl Inbound {
    pub(crate) fn new(ssrc: u32, receiver: ReceiverId, kind: Kind, signalled: bool) -> Self {
        Self {
            ssrc,
            receiver,
            kind,
            rid: None,
            rtx_ssrc: None,
            signalled,
            announced: false,
            codec: None,
            format: Format::Raw,
            nacks: false,
            key_timestamp: None,
            reception: Reception::default(),
            nack: NackGenerator::default(),
            assembler: Assembler::new(kind == Kind::Video),
            key_frame_wanted: false,
            key_frame_requested: None,
            fir_sequence: 0,
            active: false,
            report_due: false,
            last_packet: None,
            count: InboundCount::default(),
            remote: None,
            left: false,
        }
    }

    pub(crate) fn clock_rate(&self) -> u32 {
        self.codec.as_ref().map_or(90_000, |codec| codec.clock_rate.max(1))
    }

    /// Whether a key frame can be asked for at all.
    fn can_request(&self) -> bool {
        self.kind == Kind::Video
            && self.announced
            && self
                .codec
                .as_ref()
                .is_some_and(|codec| codec.feedback.pli || codec.feedback.fir)
    }

    /// When the next request for a key frame may leave, if one is wanted.
    pub(crate) fn request_due(&self) -> Option<Instant> {
        if !(self.key_frame_wanted || self.assembler.wants_key_frame) || !self.can_request() {
            return None;
        }
        let last = self.last_packet?;
        let due = self.key_frame_requested.map_or(last, |at| at + REQUEST_INTERVAL);
        // A source that went silent is not asked for ever.
        (due <= last + REQUEST_LIFE).then_some(due)
    }

    /// How long a gap is waited for: without NACK only disorder fills it.
    pub(crate) fn patience(&self, latency: Duration) -> Duration {
        if self.nacks {
            latency
        } else {
            latency.min(Duration::from_millis(60))
        }
    }

    /// The earliest moment at which this source has something to do.
    pub(crate) fn next_timeout(&self, output: Output) -> Option<Instant> {
        let assembly = if output == Output::Frames {
            self.assembler.deadline()
        } else {
            None
        };
        [self.nack.next(), assembly, self.request_due()]
            .into_iter()
            .flatten()
            .min()
    }
}
