//! Settings of a session, and what was negotiated for its senders and receivers.

use std::time::Duration;

use antiphon_rtp::extension::Map;

use crate::allocation::Priority;
use crate::congestion::Congestion;

/// An RTP packet of this size, in bytes before SRTP, passes everywhere: with SRTP, UDP and IPv6 around it, it is just below 1280
/// (RFC 8200 §5).
pub const SAFE_PACKET: usize = 1212;

/// The largest [`ReceiverConfig::jitter_buffer_target`] (webrtc-extensions §5.1).
pub const MAX_JITTER_BUFFER_TARGET: Duration = Duration::from_millis(4000);

/// Settings of a whole [`Session`](crate::Session).
#[derive(Clone, Debug)]
pub struct Config {
    /// The canonical name that SDES carries for every local SSRC: random, one per connection (RFC 7022 §4.2).
    pub cname: String,
    /// The largest RTP packet in bytes, before SRTP and everything below.
    pub max_packet_size: usize,
    /// The largest RTP packet that is forwarded, bytes before SRTP. Foreign senders choose sizes of their own, and what came
    /// over a path of that size should go out again: what Ethernet carries, less SRTP, UDP and IP. Where the peer's feedback
    /// shows that nothing larger than [`SAFE_PACKET`] arrives, that is the limit.
    pub max_forward_size: usize,
    /// Whether feedback may travel without a report in front (`a=rtcp-rsize`, RFC 5506).
    pub reduced_size: bool,
    /// Whether extended reports carry RRTR and DLRR (`a=rtcp-xr:rcvr-rtt`, RFC 3611 §4.4).
    pub receiver_rtt: bool,
    /// How redundancy that was negotiated is sent.
    pub redundancy: SendRedundancy,
    /// Whether streams cease of which nobody says that they arrive, or that take ten times what TCP would (RFC 8083; RFC 8834 §7.1 wants it
    /// of everybody). Where it is off the application has to see to that.
    pub circuit_breakers: bool,
    /// Which congestion controller steers what is sent.
    pub congestion: Congestion,
    /// First bandwidth estimate, bits a second.
    pub start_bitrate: u64,
    /// The estimate never goes below, bits a second.
    pub min_bitrate: u64,
    /// The estimate never goes above, bits a second.
    pub max_bitrate: u64,
    /// How long after a burst of video began the next one begins, if fewer than 12 kB wait: packets that come in between leave together,
    /// in one call of the system, and are received together. What comes after a pause leaves at once, and so do repairs that were asked
    /// for, and packets that are forwarded. 0: nothing waits for others.
    pub gather: Duration,
    /// How long a receiver that assembles frames waits for a missing packet at most. Pictures are not waited for longer than until the
    /// last request for it is answered, nor sound longer than 200 ms; where nothing can be asked for, no longer than redundancy
    /// (400 ms) and disorder (60 ms) last.
    pub max_latency: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cname: String::new(),
            max_packet_size: 1150,
            max_forward_size: 1456,
            reduced_size: true,
            receiver_rtt: false,
            redundancy: SendRedundancy::default(),
            circuit_breakers: true,
            congestion: Congestion::default(),
            start_bitrate: 1_000_000,
            min_bitrate: 30_000,
            max_bitrate: 50_000_000,
            gather: Duration::from_millis(4),
            max_latency: Duration::from_secs(2),
        }
    }
}

/// How senders use redundancy: what is sent before anybody asks for it. Nothing of it is sent where the peer has not taken it in its
/// description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendRedundancy {
    /// How many payloads before it each packet of sound repeats, where RED was negotiated (RFC 2198).
    pub red: RedDistance,
    /// How much of video is protected, where FlexFEC or ULPFEC was negotiated.
    pub fec: FecAmount,
}

/// How many payloads before it a packet of sound repeats, as far as they have room in the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedDistance {
    /// By the losses that the peer reports: one above 1 %, two above 5 %, none below.
    #[default]
    ByLoss,
    /// Always so many, 0 to 3.
    Fixed(u8),
}

/// How much of video is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FecAmount {
    /// By the losses that the peer reports and by the round trip. Where lost packets can be asked for, little or nothing while there
    /// is time to ask, and above 150 ms from 2 % of losses on 10 to 25 repair packets for a hundred: for key frames and frames that
    /// others need, above 10 % for all. Where they cannot be asked for, 10 to 50.
    #[default]
    ByLoss,
    /// So many repair packets for a hundred, at most 50, for all frames; 0: none.
    Percent(u8),
}

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Sound: never waits in the pacer behind video.
    Audio,
    /// Pictures.
    Video,
}

/// The RTCP feedback that was negotiated for a codec (`a=rtcp-fb`, RFC 4585 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// Generic NACK: `nack`.
    pub nack: bool,
    /// Picture loss indication: `nack pli`.
    pub pli: bool,
    /// Full intra request: `ccm fir` (RFC 5104 §7.1).
    pub fir: bool,
    /// Receiver estimated maximum bitrate: `goog-remb`.
    pub remb: bool,
    /// Transport-wide congestion control: `transport-cc`.
    pub transport_cc: bool,
    /// Congestion control feedback of RFC 8888: `ack ccfb`. It takes the place of `transport_cc` and `remb`.
    pub ccfb: bool,
}

/// One negotiated codec of a media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    /// Payload type, below 128.
    pub payload_type: u8,
    /// Encoding name as in `a=rtpmap`: `VP8`, `opus`, `PCMU` ...; compared without case.
    pub name: String,
    /// RTP clock, Hz.
    pub clock_rate: u32,
    /// Audio channels as in `a=rtpmap`; 1 if not said.
    pub channels: u8,
    /// The parameters of the peer's `a=fmtp`, verbatim; empty if none. Of a sender's codec they are its wishes as a receiver, of
    /// a receiver's what it says of the stream that it sends (`sprop-parameter-sets` and the like).
    pub fmtp: String,
    /// The payload type of its retransmission format (RFC 4588), if negotiated.
    pub rtx_payload_type: Option<u8>,
    /// The feedback negotiated for it.
    pub feedback: Feedback,
}

/// How much of the session's rate a sender wants, and how much it is worth beside the others. All rates are in bits a second, RTP packets
/// with their headers, before SRTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// How much it gets beside other senders of its kind, where there is not enough for all.
    pub priority: Priority,
    /// With less than this it is paused: [`Event::TargetBitrate`](crate::Event::TargetBitrate) says 0 until a quarter more is there.
    /// `None`: sound is never paused, pictures are below 15 kbit/s.
    pub min_bitrate: Option<u64>,
    /// The most that it can use (W3C `maxBitrate`); what is left goes to the others, and the path is not probed for more than all can
    /// use. `None`: pictures use whatever there is, sound what it sends.
    pub max_bitrate: Option<u64>,
}

/// One outgoing stream.
#[derive(Clone, Debug)]
pub struct SenderConfig {
    /// The media section's identification tag.
    pub mid: String,
    /// The encoding's RID, if it is one of several (RFC 8851).
    pub rid: Option<String>,
    /// Audio or video.
    pub kind: Kind,
    /// The stream's SSRC, as signalled.
    pub ssrc: u32,
    /// The SSRC of its retransmissions, as signalled.
    pub rtx_ssrc: Option<u32>,
    /// The SSRC of its FlexFEC, as signalled: without one none is sent.
    pub fec_ssrc: Option<u32>,
    /// What may be sent, best first, with the payload types the peer wants to receive. Behind them `red`, `ulpfec`, `flexfec-03` and
    /// `flexfec`, if the peer takes them: [`SendRedundancy`] says how they are used.
    pub codecs: Vec<Codec>,
    /// Negotiated header extensions.
    pub extensions: Map,
}

/// A source that the peer announced in its description (`a=ssrc`, RFC 5576).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteSource {
    /// The stream's SSRC.
    pub ssrc: u32,
    /// The SSRC of its retransmissions (`a=ssrc-group:FID`).
    pub rtx_ssrc: Option<u32>,
    /// The SSRC of its forward error correction (`a=ssrc-group:FEC-FR`, RFC 5956).
    pub fec_ssrc: Option<u32>,
    /// Its place among the simulcast layers of the section (`a=ssrc-group:SIM`), from 0; `None`: its RID tells, or it is no layer.
    pub layer: Option<u8>,
}

/// What a receiver hands to the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Whole frames in order ([`Event::Frame`](crate::Event::Frame)), of every codec that
    /// [`antiphon_rtp::payload`] makes frames of; of others packets.
    #[default]
    Frames,
    /// Media when it is due, for who plays it: frames of video ([`Event::Frame`](crate::Event::Frame)) when they are to be shown, and of
    /// sound what is to be heard next ([`Event::Sound`](crate::Event::Sound)), on a steady clock. The delay follows the network, the
    /// sender's wish (`playout-delay`), [`ReceiverConfig::jitter_buffer_target`], and what belongs to the same
    /// [`ReceiverConfig::sync_group`] is kept in step.
    Playout,
    /// Single packets as they come ([`Event::Packet`](crate::Event::Packet)), retransmissions undone: for forwarding.
    Packets,
    /// Nothing: received, counted and reported, then dropped.
    Discard,
}

impl Output {
    /// Whether frames are put together for it.
    #[inline]
    pub(crate) fn is_of_frames(self) -> bool {
        matches!(self, Self::Frames | Self::Playout)
    }
}

/// One incoming media section.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// The media section's identification tag.
    pub mid: String,
    /// Audio or video.
    pub kind: Kind,
    /// What the peer may send, with our payload types. `red`, `ulpfec`, `flexfec-03` and `flexfec` among them are undone here,
    /// and never delivered themselves.
    pub codecs: Vec<Codec>,
    /// Negotiated header extensions.
    pub extensions: Map,
    /// Sources that the peer announced.
    pub sources: Vec<RemoteSource>,
    /// The RIDs that the peer may send (RFC 8853).
    pub rids: Vec<String>,
    /// What the application gets.
    pub output: Output,
    /// `jitterBufferTarget` (webrtc-extensions): the delay that the application wants at least where media is played
    /// ([`Output::Playout`]), up to [`MAX_JITTER_BUFFER_TARGET`]; `None`: as little as the network allows.
    pub jitter_buffer_target: Option<Duration>,
    /// What is played in step: receivers with the same name here, most often the id of a stream (`a=msid`); `None`: with no other.
    pub sync_group: Option<String>,
}
