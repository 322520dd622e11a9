//! What the application sends and gets: frames, packets and events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_rtp::Rid;
use antiphon_rtp::extension::{Carried, Values};
use antiphon_rtp::payload::telephone_event::TelephoneEvent;
use antiphon_rtp::payload::{FrameFacts, Front};
use antiphon_sansio::Ecn;
use bytes::Bytes;

use crate::breaker::CircuitBreaker;

/// Names one sender of a [`Session`](crate::Session). Never used again after removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderId(pub(crate) u32);

/// Names one receiver of a [`Session`](crate::Session). Never used again after removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiverId(pub(crate) u32);

/// One encoded frame: a picture with all its layers, or one packet's worth of sound. The same type goes in and comes out.
///
/// H.264 and H.265 come with start codes and may go in with lengths of four bytes instead; AV1 is a temporal unit without temporal
/// delimiter; VP9 of several layers a superframe ([`antiphon_rtp::payload`] says more).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which codec: on sending one of the sender's payload types, on receiving one of the receiver's.
    pub payload_type: u8,
    /// Media clock, in units of the codec's clock rate. On sending any start will do; a random offset is added.
    pub timestamp: u32,
    /// When it was captured, on the clock of `now`. On sending it is what sender reports tell of the timestamp, by which the peer keeps
    /// sound and pictures in step; `None`: when it is handed over. On receiving it is what the source's reports tell; `None` before the
    /// first.
    pub captured: Option<Instant>,
    /// The encoded frame. Sending keeps slices of it, without copying, until the retransmission ring has moved on.
    pub data: Bytes,
    /// Whether it can be decoded without another frame. Sound always can. On sending the codec's own bits decide.
    pub key_frame: bool,
    /// Layers, picture id, size: what came with it. On sending the packetizer has its own.
    pub facts: FrameFacts,
    /// The header extensions that speak of it: loudness, orientation, when it was captured. On sending, its first and its last packet
    /// carry those that were negotiated. On receiving, those of its first and last packet; the orientation is the newest that the
    /// source has told, for it is told when it changes.
    pub extensions: Carried,
    /// Who was mixed into it, and how loud each is; `None` of most frames.
    pub contributors: Option<Arc<Contributors>>,
}

impl Frame {
    /// A frame to be sent, of which nothing else is known.
    pub fn new(payload_type: u8, timestamp: u32, data: impl Into<Bytes>) -> Self {
        Self {
            payload_type,
            timestamp,
            captured: None,
            data: data.into(),
            key_frame: false,
            facts: FrameFacts::default(),
            extensions: Carried::default(),
            contributors: None,
        }
    }
}

/// One received RTP packet after SRTP and RTX were undone, for forwarding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The source, never that of retransmissions.
    pub ssrc: u32,
    /// The stream's RID, if it has one.
    pub rid: Option<Rid>,
    /// Which codec; on sending, one of the sender's payload types.
    pub payload_type: u8,
    /// The sequence number, extended across wraps.
    pub sequence: u64,
    /// Media clock as the source counts it.
    pub timestamp: u32,
    /// The marker bit.
    pub marker: bool,
    /// The payload, without padding. May be empty (padding of the source); forward those too, or leave a gap.
    pub payload: Bytes,
    /// On sending: what stands in the place of the first bytes of the payload, as a forwarder has other numbers for a receiver than
    /// the source has. `None` of what came.
    pub front: Option<Front>,
    /// Whether a frame that can be decoded alone starts here.
    pub key_frame: bool,
    /// The header extensions that go on with it.
    pub extensions: Carried,
    /// Who was mixed into it; `None` of most packets.
    pub contributors: Option<Arc<Contributors>>,
    /// When it came.
    pub received: Instant,
    /// When its media was captured, on our clock, as the source's sender reports tell; `None` before the first. Forwarding passes it
    /// on, by the sender reports of the outgoing stream.
    pub captured: Option<Instant>,
}

/// Most contributing sources of a packet: the header has four bits for their number (RFC 3550 §5.1).
const MAX_CONTRIBUTORS: usize = 15;

/// The contributing sources of a packet that a mixer made (RFC 3550 §5.1), and how loud each is (RFC 6465).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contributors {
    csrcs: [u32; MAX_CONTRIBUTORS],
    levels: [u8; MAX_CONTRIBUTORS],
    counts: [u8; 2],
}

impl Contributors {
    /// The first 15 of each.
    pub fn new(csrcs: impl Iterator<Item = u32>, levels: &[u8]) -> Self {
        let mut own = Self::default();
        for (place, csrc) in own.csrcs.iter_mut().zip(csrcs) {
            *place = csrc;
            own.counts[0] += 1;
        }
        let count = levels.len().min(MAX_CONTRIBUTORS);
        own.levels[..count].copy_from_slice(&levels[..count]);
        own.counts[1] = count as u8;
        own
    }

    /// Who was mixed into a packet, if anybody was.
    #[inline]
    pub(crate) fn of(packet: &antiphon_rtp::packet::Packet<'_>, values: &Values<'_>) -> Option<Arc<Self>> {
        (packet.csrcs().len() > 0).then(|| {
            let levels = values.csrc_audio_levels.unwrap_or_default();
            Arc::new(Self::new(packet.csrcs(), levels))
        })
    }

    /// The sources.
    pub fn csrcs(&self) -> &[u32] {
        &self.csrcs[..usize::from(self.counts[0])]
    }

    /// Their levels, in the same order, as RFC 6465 §2 has them; empty if the packet had none.
    pub fn levels(&self) -> &[u8] {
        &self.levels[..usize::from(self.counts[1])]
    }
}

/// A telephone event that a source plays (RFC 4733): most often a key of a telephone (DTMF).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tone {
    /// The code of the event: 0 to 15 are the keys `0` to `9`, `*`, `#`, `A` to `D`; others are listed by RFC 4733 §7.
    pub code: u8,
    /// How loud it is, in decibels below 1 mW (dBm0), 0 to 63.
    pub volume: u8,
    /// Whether it begins or ends.
    pub phase: TonePhase,
}

impl Tone {
    /// The key, if the event is one.
    pub fn key(&self) -> Option<char> {
        let event = TelephoneEvent {
            event: self.code,
            ..TelephoneEvent::default()
        };
        event.key()
    }
}

/// A key is told of twice, however many packets speak of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TonePhase {
    /// It was pressed.
    Began,
    /// It was let go.
    Ended {
        /// How long it was pressed, by the clock of the source; as far as is known, if the end is not confirmed.
        lasted: Duration,
        /// Whether the source said so. `false`: its last packets are lost, or it fell silent.
        is_confirmed: bool,
    },
}

/// What a source of sound is heard as next. It lasts as long as it says, and then the next comes: a decoder that makes just that much of
/// each follows the schedule. What it makes too little or too much of one it evens out with the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// How long it lasts.
    pub duration: Duration,
    /// What it is made of.
    pub play: Play,
}

/// What [`Sound`] is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Play {
    /// This frame, decoded. Where it holds more than [`Sound::duration`], it is to be squeezed; where it holds less, stretched, without
    /// a change of pitch: both by 15 % mostly, and by a third at most. Frames in between may have been left out.
    Frame {
        /// The frame itself.
        frame: Frame,
        /// How much sound it holds, as far as can be told from outside; zero of comfort noise (RFC 3389), which says how the silence
        /// sounds that begins with it.
        length: Duration,
    },
    /// What was to be heard is lost, or late: something is to be made up that is like what was heard before.
    Conceal {
        /// The frame that comes after it, if it has come: it may hold what is missing once more, in lower quality (in-band FEC of Opus).
        next: Option<Bytes>,
        /// For how long something was made up already, without a frame in between. After a fifth of a second it should be silent.
        so_far: Duration,
    },
    /// The source is silent, and nothing is lost: silence, or the comfort noise that the last frame described.
    Silence,
}

/// What [`Session::poll_event`](crate::Session::poll_event) hands over.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A whole frame, in decoding order: as soon as it is whole ([`Output::Frames`](crate::Output::Frames)), or, of video, when it is to
    /// be shown ([`Output::Playout`](crate::Output::Playout)).
    Frame {
        /// The receiver that it belongs to.
        receiver: ReceiverId,
        /// The SSRC of the source.
        ssrc: u32,
        /// Whether frames before it are missing.
        discontinuity: bool,
        /// The frame itself.
        frame: Frame,
    },
    /// What is heard next of a source of sound, at the moment at which it is due ([`Output::Playout`](crate::Output::Playout)). The
    /// first comes with the source's first frame that is due; after that there is no hole between them, until the source has been
    /// silent for ten seconds.
    Sound {
        /// The receiver that it belongs to.
        receiver: ReceiverId,
        /// The SSRC of the source.
        ssrc: u32,
        /// What is heard.
        sound: Sound,
    },
    /// One packet, in order of arrival.
    Packet {
        /// The receiver that it belongs to.
        receiver: ReceiverId,
        /// The packet itself.
        packet: Packet,
    },
    /// A source was routed to a receiver for the first time.
    NewSource {
        /// The receiver that it belongs to.
        receiver: ReceiverId,
        /// The SSRC of the source.
        ssrc: u32,
        /// The stream's RID, if it sent one.
        rid: Option<Rid>,
        /// Its place among the simulcast layers of the section, in the order of the description, from 0; `None`: it is none of several.
        layer: Option<u8>,
    },
    /// The source plays a telephone event. Not where packets are handed out ([`Output::Packets`](crate::Output::Packets)): who
    /// forwards packets forwards these too.
    Tone {
        /// The receiver that it belongs to.
        receiver: ReceiverId,
        /// The SSRC of the source.
        ssrc: u32,
        /// What is played, and whether it begins or ends.
        tone: Tone,
    },
    /// A key that [`Session::insert_dtmf`](crate::Session::insert_dtmf) was given is played (W3C `tonechange`).
    ToneChange {
        /// Who plays it.
        sender: SenderId,
        /// The key that begins, or `,` for a pause; `None`: all have been played.
        tone: Option<char>,
    },
    /// The peer cannot decode without a new key frame (PLI or FIR), at most one per 200 ms and sender.
    KeyFrameRequested {
        /// Who must make one.
        sender: SenderId,
    },
    /// Sound is lost that nothing else repairs (RED was not negotiated), and the peer's Opus decoder can (`useinbandfec=1`): the encoder
    /// should be told.
    InBandFec {
        /// Whose encoder it is.
        sender: SenderId,
        /// For which share of lost packets it should be ready, in percent: 5, 10, 20; 0: it need not write in-band FEC any more.
        percent: u8,
    },
    /// What a sender may send has changed noticeably: its share of what the bandwidth estimate leaves for media.
    TargetBitrate {
        /// Whose share it is.
        sender: SenderId,
        /// Bits a second, payload and RTP headers; 0: there is too little for this sender, which should send nothing until more is
        /// told.
        bps: u64,
    },
    /// A circuit breaker has stopped a sender (RFC 8083): nothing of it is sent, and frames are refused, until [`Event::Restarted`].
    Ceased {
        /// Who has to cease.
        sender: SenderId,
        /// Which of the breakers it was.
        cause: CircuitBreaker,
    },
    /// A sender that had ceased may send again. Pictures should begin with a key frame, and gently.
    Restarted {
        /// Who may send again.
        sender: SenderId,
    },
    /// A packet that is forwarded was refused because it is larger than the path carries: the first since the path, or what it
    /// carries, has changed. All of them are counted in the statistics.
    PacketTooLarge {
        /// The sender that was to send it.
        sender: SenderId,
        /// The packet's size with our headers, before SRTP.
        bytes: usize,
        /// The most bytes that are sent, counted likewise.
        limit: usize,
    },
    /// The source has left (RTCP BYE).
    Bye {
        /// The receiver that it belongs to.
        receiver: ReceiverId,
        /// The SSRC of the source.
        ssrc: u32,
    },
}

/// What [`Session::poll_transmit`](crate::Session::poll_transmit) wrote into the open segment, and how it wants to travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// RTP or RTCP: SRTP protects the two differently.
    pub kind: PacketKind,
    /// The mark that the datagram shall carry. Not-ECT for RTCP, and for RTP unless the congestion controller asks for another, the
    /// peer's feedback has room for marks (RFC 8888), and the path has not been found to treat them badly
    /// ([`EcnStats::marking_ended`](crate::EcnStats::marking_ended)).
    pub ecn: Ecn,
    /// Whether the same bytes may be written again later: an RTP packet that is repeated as it is, because there is no stream of
    /// retransmissions (RFC 4588). SRTP has to remember it then.
    pub repeatable: bool,
}

/// The two protocols of a [`Session`](crate::Session).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// One RTP packet.
    Rtp,
    /// One RTCP packet, compound or reduced-size.
    Rtcp,
}
