//! Payload formats: how a frame becomes packets, and packets a frame. One room for each format; two enums choose between them by
//! the name of the encoding.
//!
//! A [`Packetizer`] cuts a frame into packets, each a [`Layout`]: a few bytes of the format's own and slices of the frame, copied
//! by nobody before the packet is written. A [`Depacketizer`] looks at one payload, in any order, and says whether the frame
//! starts, ends, or can be decoded alone; that is all that a forwarder asks. Who wants frames puts the packets of one in order,
//! from a start to an end, and a [`Joiner`] makes the frame of all their payloads at once.

pub mod av1;
pub mod comfort_noise;
mod facts;
mod frame;
pub mod g711;
pub mod g722;
pub mod h264;
mod h265;
mod h266;
pub mod l16;
mod layout;
pub mod opus;
mod parameter_sets;
pub mod red;
pub mod telephone_event;
mod units;
pub mod vp8;
pub mod vp9;

use self::h264::H264;
use self::h265::H265;
use self::h266::H266;
use self::parameter_sets::ParameterSets;
use crate::{ParseError, bitstream};
use telephone_event::TelephoneEvent;

pub use facts::FrameFacts;
pub use frame::{FrameError, Joined, MAX_FRAME};
pub use layout::{Cut, Front, Layout, MAX_OWN, MAX_SLICES, Piece, Start, slices};

/// Cuts frames of one encoding into packets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packetizer {
    /// RFC 7741
    Vp8(vp8::Packetizer),
    /// RFC 9628
    Vp9(vp9::Packetizer),
    /// RTP Payload Format For AV1
    Av1(av1::Packetizer),
    /// RFC 6184
    H264(h264::Packetizer),
    /// RFC 7798
    H265,
    /// RFC 9328
    H266,
    /// RFC 7587, RFC 3551, RFC 3389: a frame is a packet.
    Whole,
    /// An encoding that is not known here: what fits into one packet is sent as it is.
    Opaque,
}

impl Packetizer {
    /// The packetizer of an encoding name in `a=rtpmap`, compared without case, with the parameters of its `a=fmtp`, which may be
    /// empty. `None`: with these parameters frames cannot be cut here, only packets be forwarded. `start` is where running
    /// numbers of the format begin; a random one is best.
    pub fn new(name: &str, fmtp: &str, start: u16) -> Option<Self> {
        match Depacketizer::new(name) {
            Depacketizer::Vp8 => Some(Self::Vp8(vp8::Packetizer::new(start))),
            Depacketizer::Vp9 => Some(Self::Vp9(vp9::Packetizer::new(start))),
            Depacketizer::Av1 => Some(Self::Av1(av1::Packetizer)),
            Depacketizer::H264 => h264::Packetizer::new(fmtp).map(Self::H264),
            Depacketizer::H265 => h265::is_plain(fmtp).then_some(Self::H265),
            Depacketizer::H266 => h266::is_plain(fmtp).then_some(Self::H266),
            Depacketizer::TelephoneEvent | Depacketizer::Opaque => Some(Self::Opaque),
            _ => Some(Self::Whole),
        }
    }

    /// Fills `cuts` with the packets of `frame`, in order, with payloads of at most `max` bytes. What was in `cuts` is taken out;
    /// who hands in the same again and again allocates nothing.
    ///
    /// # Errors
    /// If the frame is none of this format, or cannot be cut so. Then `cuts` is of no use.
    #[inline]
    pub fn packetize(&self, frame: &[u8], max: usize, cuts: &mut Vec<Cut>) -> Result<(), FrameError> {
        cuts.clear();
        if frame.is_empty() || frame.len() > MAX_FRAME {
            return Err(FrameError::Size);
        }
        match self {
            Self::Vp8(vp8) => vp8.packetize(frame, max, cuts),
            Self::Vp9(vp9) => vp9.packetize(frame, max, cuts),
            Self::Av1(av1) => av1.packetize(frame, max, cuts),
            Self::H264(h264) => h264.packetize(frame, max, cuts),
            Self::H265 => units::packetize::<H265>(frame, max, false, cuts),
            Self::H266 => units::packetize::<H266>(frame, max, false, cuts),
            Self::Whole | Self::Opaque if frame.len() > max => Err(FrameError::Size),
            Self::Whole | Self::Opaque => {
                let layout = Layout::slice(0..frame.len());
                cuts.push(Cut { layout, marker: false });
                Ok(())
            }
        }
    }

    /// The same for a frame whose bytes were changed, and may say nothing of it any more: whether it is a key frame is told. Formats
    /// that are cut at their units (H.264, H.265, H.266, AV1) need units all the same.
    ///
    /// # Errors
    /// As [`Self::packetize`].
    pub fn packetize_opaque(
        &self,
        frame: &[u8],
        key_frame: bool,
        max: usize,
        cuts: &mut Vec<Cut>,
    ) -> Result<(), FrameError> {
        match self {
            Self::Vp9(vp9) if !frame.is_empty() && frame.len() <= MAX_FRAME => {
                cuts.clear();
                vp9.packetize_opaque(frame, key_frame, max, cuts)
            }
            _ => self.packetize(frame, max, cuts),
        }
    }

    /// The packets of a frame were taken: running numbers move on to the next frame.
    #[inline]
    pub fn advance(&mut self) {
        match self {
            Self::Vp8(vp8) => vp8.advance(),
            Self::Vp9(vp9) => vp9.advance(),
            _ => {}
        }
    }

    /// How large the pictures are from a key frame on, by its own bits; `None` of other frames.
    pub fn resolution(&self, frame: &[u8]) -> Option<bitstream::Resolution> {
        match self {
            Self::Vp8(_) => bitstream::vp8::resolution(frame),
            Self::Vp9(_) => bitstream::vp9::resolution(frame),
            Self::Av1(_) => bitstream::av1::sequence_header(frame).map(|(sequence, ..)| sequence.resolution),
            Self::H264(_) => units::resolution::<H264>(frame),
            Self::H265 => units::resolution::<H265>(frame),
            Self::H266 => units::resolution::<H266>(frame),
            Self::Whole | Self::Opaque => None,
        }
    }

    /// Whether a frame can be decoded alone, by its own bits.
    pub fn is_key_frame(&self, frame: &[u8]) -> bool {
        match self {
            Self::Vp8(_) => frame.first().is_some_and(|byte| bitstream::vp8::is_key_frame(*byte)),
            Self::Vp9(_) => bitstream::vp9::is_key_frame(frame),
            Self::Av1(_) => bitstream::av1::is_key_frame(frame),
            Self::H264(_) => units::is_key_frame::<H264>(frame),
            Self::H265 => units::is_key_frame::<H265>(frame),
            Self::H266 => units::is_key_frame::<H266>(frame),
            Self::Whole => true,
            Self::Opaque => false,
        }
    }
}

/// Finds frames in the payloads of one encoding. It keeps nothing from one payload to the next: they may come in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Depacketizer {
    /// RFC 7741
    Vp8,
    /// RFC 9628
    Vp9,
    /// RTP Payload Format For AV1
    Av1,
    /// RFC 6184
    H264,
    /// RFC 7798
    H265,
    /// RFC 9328
    H266,
    /// RFC 7587
    Opus,
    /// RFC 3551 §4.5.14
    Pcmu,
    /// RFC 3551 §4.5.14
    Pcma,
    /// RFC 3551 §4.5.2
    G722,
    /// RFC 3551 §4.5.11
    L16,
    /// RFC 3389: what silence sounds like, beside the sound.
    ComfortNoise,
    /// RFC 4733: keys pressed, beside the sound.
    TelephoneEvent,
    /// Anything else: nothing is known of the payload.
    Opaque,
}

impl Depacketizer {
    /// Those that know a format, with its name in `a=rtpmap`.
    pub const NAMES: [(&'static str, Self); 13] = [
        ("VP8", Self::Vp8),
        ("VP9", Self::Vp9),
        ("AV1", Self::Av1),
        ("H264", Self::H264),
        ("H265", Self::H265),
        ("opus", Self::Opus),
        ("PCMU", Self::Pcmu),
        ("PCMA", Self::Pcma),
        ("G722", Self::G722),
        ("L16", Self::L16),
        ("CN", Self::ComfortNoise),
        ("telephone-event", Self::TelephoneEvent),
        ("H266", Self::H266),
    ];

    /// The depacketizer of an encoding name in `a=rtpmap`, compared without case.
    pub fn new(name: &str) -> Self {
        let known = Self::NAMES
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map_or(Self::Opaque, |(_, depacketizer)| depacketizer)
    }

    /// Whether whole frames can be made of its payloads.
    #[inline]
    pub fn has_frames(self) -> bool {
        !matches!(self, Self::TelephoneEvent | Self::Opaque)
    }

    /// Whether timestamps follow the sending of packets, so that jitter can be told from them. Those of RFC 4733 §2.2.1 say when
    /// a key was pressed, in every packet that speaks of it.
    #[inline]
    pub fn is_clocked(self) -> bool {
        self != Self::TelephoneEvent
    }

    /// How long a payload of sound plays, in ticks of the RTP clock, by its own bytes; `None` if they do not say so.
    ///
    /// ```
    /// use antiphon_rtp::payload::Depacketizer;
    ///
    /// assert_eq!(Depacketizer::Pcmu.ticks(&[0xff; 160], 1), Some(160));
    /// assert_eq!(Depacketizer::Opus.ticks(&[0xfc, 0xff, 0xfe], 2), Some(960));
    /// ```
    #[inline]
    pub fn ticks(self, payload: &[u8], channels: u8) -> Option<u32> {
        match self {
            Self::Opus => opus::samples(payload),
            // RFC 3551 §4.5.2: G.722 has 16 000 samples a second, and a clock of 8000: a byte is a tick, as of G.711.
            Self::Pcmu | Self::Pcma | Self::G722 => {
                let ticks = payload.len() / usize::from(channels.max(1));
                u32::try_from(ticks).ok()
            }
            Self::L16 => l16::ticks(payload, channels),
            // RFC 3389 §4: it says what the silence sounds like that begins with it, however long that lasts.
            Self::ComfortNoise => Some(0),
            _ => None,
        }
    }

    /// Whether a payload of sound begins a silence in which nothing is sent (RFC 3389, DTX of RFC 7587 §3.1.3): that nothing follows it is
    /// no loss.
    #[inline]
    pub fn begins_silence(self, payload: &[u8]) -> bool {
        match self {
            Self::Opus => opus::is_dtx(payload),
            Self::ComfortNoise => true,
            _ => false,
        }
    }

    /// What a payload says of a key of a telephone, if it is of such an encoding.
    #[inline]
    pub fn telephone_event(self, payload: &[u8]) -> Option<TelephoneEvent> {
        (self == Self::TelephoneEvent)
            .then(|| TelephoneEvent::parse(payload).ok())
            .flatten()
    }

    /// Looks at one payload that is not empty; `marker` is the marker bit of its packet.
    ///
    /// # Errors
    /// If the payload cannot be of this encoding. The headers of the payload format are looked at, not the media behind them.
    #[inline]
    pub fn depacketize(self, payload: &[u8], marker: bool) -> Result<Piece, ParseError> {
        match self {
            Self::Vp8 => vp8::depacketize(payload, marker),
            Self::Vp9 => vp9::depacketize(payload, marker),
            Self::Av1 => av1::depacketize(payload, marker),
            Self::H264 => units::depacketize::<H264>(payload, marker),
            Self::H265 => units::depacketize::<H265>(payload, marker),
            Self::H266 => units::depacketize::<H266>(payload, marker),
            Self::TelephoneEvent | Self::Opaque => {
                if self == Self::TelephoneEvent {
                    TelephoneEvent::parse(payload)?;
                }
                Ok(Piece {
                    start: Start::No,
                    end: marker,
                    key_frame: false,
                })
            }
            _ => Ok(Piece {
                start: Start::Yes,
                end: true,
                key_frame: true,
            }),
        }
    }
}

/// Makes frames of the payloads of one source. It keeps what later frames may lack: the parameter sets of H.264, H.265 and H.266.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joiner {
    format: Depacketizer,
    sets: ParameterSets,
}

impl Joiner {
    /// For an encoding and the parameters of its `a=fmtp`, which may be empty: `sprop-parameter-sets` and the like are taken in.
    pub fn new(format: Depacketizer, fmtp: &str) -> Self {
        let sets = match format {
            Depacketizer::H264 => units::described::<H264>(fmtp),
            Depacketizer::H265 => units::described::<H265>(fmtp),
            Depacketizer::H266 => units::described::<H266>(fmtp),
            _ => ParameterSets::default(),
        };
        Self { format, sets }
    }

    /// Makes a frame of all its payloads in their order, none of which is empty. Where it is not simply a part of its only payload,
    /// it is appended to `out`, which grows once for most frames.
    ///
    /// The frame is what decoders and files want: H.264, H.265 and H.266 with start codes, AV1 a temporal unit in the low-overhead
    /// format without temporal delimiter, of VP9 with several layers a superframe.
    ///
    /// # Errors
    /// If a payload is malformed, does not go on where the one before it ended, or the frame is larger than [`MAX_FRAME`]. What is
    /// in `out` behind its former end is of no use then.
    pub fn join<'a>(
        &mut self,
        payloads: impl Iterator<Item = &'a [u8]> + Clone,
        out: &mut Vec<u8>,
    ) -> Result<Joined, ParseError> {
        match self.format {
            Depacketizer::Vp8 => vp8::join(payloads, out),
            Depacketizer::Vp9 => vp9::join(payloads, out),
            Depacketizer::Av1 => av1::join(payloads, out),
            Depacketizer::H264 => units::join::<H264>(payloads, &mut self.sets, out),
            Depacketizer::H265 => units::join::<H265>(payloads, &mut self.sets, out),
            Depacketizer::H266 => units::join::<H266>(payloads, &mut self.sets, out),
            _ => whole(payloads),
        }
    }
}

/// The frame is the only payload.
fn whole<'a>(mut payloads: impl Iterator<Item = &'a [u8]>) -> Result<Joined, ParseError> {
    let payload = payloads.next().ok_or(ParseError::Short)?;
    match payloads.next() {
        None => Ok(Joined::part(0..payload.len(), FrameFacts::default())),
        Some(_) => Err(ParseError::Value),
    }
}
