//! What has to happen once a description is set, and the parameters that were negotiated.

use std::fmt;

use antiphon_sdp::Direction;

use crate::profile::Configuration;
use crate::types::{DtlsRole, Fingerprint, MediaKind, RemoteCandidate, SignalingState, TransceiverId};

/// What changes with a description: everything that a peer connection has to do, without reading SDP itself.
///
/// Where a field is an `Option` of a whole (`send`, `receive`, `data`), it holds the complete new value, not a
/// difference.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The signalling state once it is set.
    pub signaling_state: SignalingState,
    /// Whether that is another state than before.
    pub signaling_state_changed: bool,
    /// What becomes of the one transport.
    pub transport: TransportPlan,
    /// Every transceiver for which something changed, new ones among them, in the order of the m-sections.
    pub transceivers: Vec<TransceiverPlan>,
    /// Transceivers that a rollback took away: they were made by the offer that is gone (RFC 9429 §4.1.10.2), or had
    /// been stopped since it was made.
    pub removed: Vec<TransceiverId>,
    /// The data section, complete, if it became negotiated, changed, or went; see [`DataPlan`].
    pub data: Option<DataPlan>,
    /// The candidates that stood in a remote description, in order.
    pub candidates: Vec<RemoteCandidate>,
    /// Whether a remote description said that no more will come.
    pub end_of_candidates: bool,
}

/// ICE credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct IceParameters {
    /// The user name fragment, 4 to 256 characters.
    pub ufrag: String,
    /// The password, 22 to 256 characters; it stays out of logs.
    pub pwd: String,
}

impl fmt::Debug for IceParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IceParameters({}, redacted)", self.ufrag)
    }
}

/// Who nominates (RFC 8445 §6.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IceRole {
    /// The side that made the first offer, unless it is lite and the other is not.
    Controlling,
    /// The other.
    Controlled,
}

/// The transport's part of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TransportPlan {
    /// A local description with an active section is set and its credentials are new: start gathering with them.
    pub gather: bool,
    /// The local credentials in force from now on: those of the pending local description, else of the current one.
    pub local: Option<IceParameters>,
    /// The remote end as described last, complete, if it is known.
    pub remote: Option<RemoteTransport>,
    /// The remote end differs from what the last plan said.
    pub remote_changed: bool,
    /// The remote credentials differ from those of the exchange before: ICE restarts on the peer's side.
    pub remote_ice_restart: bool,
    /// Our ICE role, as soon as the first offer is set.
    pub ice_role: Option<IceRole>,
    /// Our DTLS role; known from the first answer (provisional or not).
    ///
    /// As offerer we may be sent a ClientHello before that: be ready to be server.
    pub dtls_role: Option<DtlsRole>,
}

/// What the peer says of its end of the transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteTransport {
    /// Its ICE credentials.
    pub ice: IceParameters,
    /// Whether it is an ICE-lite agent.
    pub lite: bool,
    /// The words of its `a=ice-options`, unknown ones too.
    pub ice_options: Vec<String>,
    /// The fingerprints of its certificates: one must match (RFC 8122 §5).
    pub fingerprints: Vec<Fingerprint>,
    /// The name of its DTLS association (`a=tls-id`, RFC 8842 §4), if it gives one.
    pub tls_id: Option<String>,
    /// Whether RTP header extensions and CSRCs may be sent to it encrypted: all its sections for media have `a=cryptex`
    /// (RFC 9335 §4), and we did not disable it.
    pub header_encryption: bool,
}

/// What happened to the incoming track of a transceiver (W3C "process the addition / removal of a remote track").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TrackChange {
    /// Nothing.
    #[default]
    Unchanged,
    /// The peer will send: fire `track` with the streams named.
    Added,
    /// The peer will not send any more: mute the track and take it out of its streams.
    Removed,
    /// It goes on, but in other streams.
    StreamsChanged,
}

/// One transceiver's part of a [`Plan`].
#[derive(Debug, Clone, PartialEq)]
pub struct TransceiverPlan {
    /// The transceiver that it is about.
    pub id: TransceiverId,
    /// The description made it (a remote offer with a section that none of ours fits).
    pub added: bool,
    /// It is stopped now: its section was rejected, or `stop` was negotiated. Its sender and receiver end.
    pub stopped: bool,
    /// Whether it is for audio or video.
    pub kind: MediaKind,
    /// Its `a=mid`, once it has a section.
    pub mid: Option<String>,
    /// The index of its section.
    pub m_line_index: Option<usize>,
    /// The direction that we prefer.
    pub direction: Direction,
    /// The direction that is negotiated; `None` before the first answer.
    pub current_direction: Option<Direction>,
    /// What happened to the incoming track.
    pub track: TrackChange,
    /// The ids of the streams that the incoming track belongs to.
    pub remote_streams: Vec<String>,
    /// The track's id as the peer names it, if it does.
    pub remote_track: Option<String>,
    /// How to send; `None`: do not send. Complete each time.
    pub send: Option<SendParameters>,
    /// How to receive; `None`: nothing is to be received. Complete each time.
    pub receive: Option<ReceiveParameters>,
}

/// A codec as negotiated for one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    /// The payload type to write, or to expect; below 128.
    pub payload_type: u8,
    /// The encoding's name, as we spell it: `opus`, `VP8`, `telephone-event`, ...
    pub name: String,
    /// The clock of its timestamps, in ticks a second.
    pub clock_rate: u32,
    /// How many channels audio has; `None` means 1, and for video nothing.
    pub channels: Option<u8>,
    /// The format parameters of the side that receives, which are what a sender must keep to.
    pub parameters: String,
    /// The format parameters of the side that sends. Few of them say what is sent and not what is wished: the parameter
    /// sets of H.264 and H.265 (`sprop-parameter-sets`, `sprop-vps` and its like), and `sprop-stereo` of Opus.
    pub sender_parameters: String,
    /// The feedback that both sides named: `nack`, `nack pli`, `ccm fir`, `transport-cc`, `goog-remb`, `ack ccfb`.
    pub feedback: Vec<String>,
    /// How it is retransmitted in a stream of its own (RFC 4588), if both sides do that.
    pub rtx: Option<Rtx>,
}

impl Codec {
    /// Whether both sides named this feedback.
    pub fn has_feedback(&self, value: &str) -> bool {
        self.feedback.iter().any(|own| own == value)
    }

    /// Whether it is redundancy for other codecs.
    pub(crate) fn is_redundancy(&self) -> bool {
        let names = ["red", "ulpfec", "flexfec-03", "flexfec"];
        names.iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }

    /// Whether who describes this codec decodes a stream that is described as `stream`: the same encoding, and a
    /// profile and packetization mode of its own or one contained in it. Levels are not compared: they are wishes about
    /// size and speed.
    ///
    /// With this codec from the `send` parameters of one connection, and `stream` from the `receive` parameters of
    /// another, it says under which payload type the stream may be forwarded.
    pub fn decodes(&self, stream: &Self) -> bool {
        self.name.eq_ignore_ascii_case(&stream.name)
            && self.clock_rate == stream.clock_rate
            && self.channels.unwrap_or(1) == stream.channels.unwrap_or(1)
            && Configuration::of(&self.name, &self.parameters)
                .decodes(&Configuration::of(&stream.name, &stream.parameters))
    }
}

/// The retransmission format of a codec (RFC 4588 §8.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rtx {
    /// The payload type of retransmissions, below 128.
    pub payload_type: u8,
    /// How long the sender keeps packets, in milliseconds, if it says.
    pub rtx_time_ms: Option<u32>,
}

/// A header extension as negotiated for one direction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Extension {
    /// Its id on the wire: 1 to 14 in one-byte headers, up to 255 in two-byte headers.
    pub id: u8,
    /// The URI that names the extension (RFC 8285 §5).
    pub uri: String,
}

/// One simulcast stream.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SimulcastLayer {
    /// The RID that names the layer (RFC 8851).
    pub rid: String,
    /// Whether it starts paused.
    pub paused: bool,
    /// The payload types that it is restricted to; none means any.
    pub payload_types: Vec<u8>,
    /// The most that it may take, in bits a second (`max-br`, RFC 8851 §5), if that is said.
    pub max_bitrate: Option<u64>,
    /// The most pictures a second (`max-fps`), if that is said.
    pub max_framerate: Option<f64>,
    /// The largest width of its pictures (`max-width`), in pixels, if that is said.
    pub max_width: Option<u32>,
    /// The largest height of its pictures (`max-height`), in pixels, if that is said.
    pub max_height: Option<u32>,
}

/// How a transceiver sends.
#[derive(Debug, Clone, PartialEq)]
pub struct SendParameters {
    /// The codecs, the one to use first; redundancy is not among them. May be empty: then nothing can be sent.
    pub codecs: Vec<Codec>,
    /// What may be sent beside them before anybody asks for it: `red`, `ulpfec`, `flexfec-03` and `flexfec`, as far as both sides
    /// have it.
    pub redundancy: Vec<Codec>,
    /// The header extensions to write.
    pub extensions: Vec<Extension>,
    /// Whether one-byte and two-byte headers may be mixed (RFC 8285 §6).
    pub extmap_allow_mixed: bool,
    /// Whether RTCP may be of reduced size (RFC 5506).
    pub reduced_size_rtcp: bool,
    /// The simulcast layers that the peer agreed to receive; empty without simulcast.
    pub simulcast: Vec<SimulcastLayer>,
    /// The limit that the peer sets, in bits a second (`b=TIAS`, or `b=AS`).
    pub max_bitrate_bps: Option<u64>,
    /// The packet duration that the peer asks for, in milliseconds.
    pub ptime_ms: Option<u32>,
}

/// A stream that the peer announced by SSRC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiveStream {
    /// The SSRC of the stream.
    pub ssrc: u32,
    /// The SSRC of its retransmissions (`a=ssrc-group:FID`).
    pub rtx_ssrc: Option<u32>,
    /// The SSRC of its FlexFEC (`a=ssrc-group:FEC-FR`).
    pub fec_ssrc: Option<u32>,
    /// Its place in a group of simulcast (`a=ssrc-group:SIM`, which older browsers write where others have RIDs), from 0;
    /// `None`: it is in none.
    pub layer: Option<u8>,
    /// The CNAME of its sender (RFC 3550 §6.5.1), if it is said; at most 256 characters.
    pub cname: Option<String>,
}

/// How a transceiver receives.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceiveParameters {
    /// The codecs, with the payload types that will arrive; redundancy that was agreed on (`red`, `ulpfec`, `flexfec-03`,
    /// `flexfec`) is among them.
    pub codecs: Vec<Codec>,
    /// The header extensions that may arrive.
    pub extensions: Vec<Extension>,
    /// The streams that the peer announced by SSRC. There need be none: route by mid, RID and payload type then.
    pub streams: Vec<ReceiveStream>,
    /// The simulcast layers that the peer announced by RID.
    pub simulcast: Vec<SimulcastLayer>,
    /// Whether our RTCP may be of reduced size (RFC 5506).
    pub reduced_size_rtcp: bool,
}

/// The data section's part of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataPlan {
    /// The mid of the data section.
    pub mid: String,
    /// Whether it is negotiated and not rejected: SCTP may start (or go on) once DTLS is connected.
    pub active: bool,
    /// The SCTP port at our end.
    pub local_port: u16,
    /// The SCTP port at the peer's end.
    pub remote_port: u16,
    /// The largest message that the peer takes, in bytes; `None` means any size. 64 KiB if it says nothing (RFC 8841
    /// §6.1).
    pub remote_max_message_size: Option<u64>,
    /// The peer's INIT chunk in base64, if it sent one ahead (draft-hancke-tsvwg-snap).
    pub remote_sctp_init: Option<String>,
}
