use std::fmt;
use std::net::SocketAddr;

use antiphon_data_channel::ChannelId;
use antiphon_dtls::AlertDescription;
use antiphon_jsep::{MediaKind, SignalingState, TransceiverId};
use antiphon_media::{Frame, Packet};

use crate::states::{
    RtcDtlsTransportState, RtcIceConnectionState, RtcIceGatheringState, RtcPeerConnectionState, RtcSctpTransportState,
};
use crate::types::RtcIceCandidateInit;

/// How the peer ended the connection, or how its end was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerEnd {
    /// By SCTP SHUTDOWN (RFC 9260 §9.2): all messages have been delivered, in both directions.
    SctpShutdown,
    /// By SCTP ABORT (RFC 9260 §9.1), with the code of its first error cause.
    SctpAbort {
        /// RFC 9260 §3.3.10; 12 is a user's wish.
        cause: Option<u16>,
    },
    /// By close_notify of DTLS (RFC 8446 §6.1).
    CloseNotify,
    /// By a fatal alert of DTLS (RFC 8446 §6.2).
    Alert(AlertDescription),
    /// Consent to send expired: it has answered no check for 30 seconds (RFC 7675 §5.1), nor sent anything else of late that was
    /// authentic. An ICE restart may bring it back.
    Silence,
}

impl fmt::Display for PeerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SctpShutdown => f.write_str("SCTP SHUTDOWN"),
            Self::SctpAbort { cause: Some(cause) } => write!(f, "SCTP ABORT (cause {cause})"),
            Self::SctpAbort { cause: None } => f.write_str("SCTP ABORT"),
            Self::CloseNotify => f.write_str("close_notify"),
            Self::Alert(alert) => write!(f, "the alert {alert:?}"),
            Self::Silence => f.write_str("silence"),
        }
    }
}

/// What happened, in the order in which the application should see it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// An offer would change something (`negotiationneeded`): make one when convenient.
    NegotiationNeeded,
    /// `signalingstatechange`.
    SignalingStateChange(SignalingState),
    /// `icecandidate`: send it to the peer. `None`: there are no more.
    IceCandidate(Option<RtcIceCandidateInit>),
    /// `icecandidateerror`: a server gave no candidate.
    IceCandidateError {
        /// The server.
        url: String,
        /// Our address that asked, if it came that far.
        address: Option<SocketAddr>,
        /// The STUN error code, or 701 if the server was not reached.
        code: u16,
        /// For people.
        text: String,
    },
    /// `icegatheringstatechange`.
    IceGatheringStateChange(RtcIceGatheringState),
    /// `iceconnectionstatechange`.
    IceConnectionStateChange(RtcIceConnectionState),
    /// `connectionstatechange`.
    ConnectionStateChange(RtcPeerConnectionState),
    /// `RTCDtlsTransport.statechange`. `Closed`: the peer has ended the connection in an orderly way.
    DtlsStateChange(RtcDtlsTransportState),
    /// `RTCSctpTransport.statechange`.
    SctpStateChange(RtcSctpTransportState),
    /// The peer has ended the connection, and how. Told once, whatever else it says of it: the first sign counts. The W3C has no such
    /// event; its states of this moment are in docs/connection-end.md. What has arrived can still be read; then `close`.
    PeerEnded(PeerEnd),
    /// `RTCIceTransport.selectedcandidatepairchange`: both ends as candidate attributes.
    SelectedCandidatePairChange {
        /// Our end.
        local: String,
        /// The peer's end.
        remote: String,
    },
    /// `track`: the peer will send.
    Track {
        /// The transceiver.
        transceiver: TransceiverId,
        /// Audio or video.
        kind: MediaKind,
        /// The track's id as the peer names it, if it does.
        track_id: Option<String>,
        /// The streams that the track belongs to.
        streams: Vec<String>,
    },
    /// `addtrack` and `removetrack` of streams: the track goes on in these.
    TrackStreamsChanged {
        /// The transceiver.
        transceiver: TransceiverId,
        /// The streams now.
        streams: Vec<String>,
    },
    /// `unmute`: a source's first packet came.
    TrackUnmuted {
        /// The transceiver.
        transceiver: TransceiverId,
        /// The source.
        ssrc: u32,
        /// Its RID, if it sent one.
        rid: Option<Box<str>>,
    },
    /// `mute`: the peer will not send for now.
    TrackMuted(TransceiverId),
    /// `ended`: the transceiver is stopped.
    TrackEnded(TransceiverId),
    /// A source of the transceiver said goodbye (RTCP BYE).
    SourceEnded {
        /// The transceiver.
        transceiver: TransceiverId,
        /// The source.
        ssrc: u32,
    },
    /// A whole frame.
    Frame {
        /// The transceiver.
        transceiver: TransceiverId,
        /// The source.
        ssrc: u32,
        /// Whether frames before it are missing.
        discontinuity: bool,
        /// The frame.
        frame: Frame,
    },
    /// One RTP packet, for who asked for packets.
    Packet {
        /// The transceiver.
        transceiver: TransceiverId,
        /// The packet.
        packet: Packet,
    },
    /// A packet that is forwarded was refused because it is larger than the path carries: the first on this path. All of them are
    /// counted in the statistics.
    PacketTooLarge {
        /// The transceiver.
        transceiver: TransceiverId,
        /// The packet's size with our headers, in bytes before SRTP.
        bytes: usize,
        /// The most that is sent.
        limit: usize,
    },
    /// The peer cannot decode without a key frame from this transceiver.
    KeyFrameRequested(TransceiverId),
    /// The bandwidth estimate for all that we send, in bits a second, has changed noticeably.
    TargetBitrate(u64),
    /// `datachannel`: the peer has opened a channel. `DataChannelOpen` follows.
    DataChannel(ChannelId),
    /// `open`.
    DataChannelOpen(ChannelId),
    /// `message`: there is something to `read`.
    DataChannelReadable(ChannelId),
    /// `bufferedamountlow`.
    DataChannelBufferedAmountLow(ChannelId),
    /// `closing`: the peer closes the channel. What has arrived can still be read.
    DataChannelClosing(ChannelId),
    /// `close`. What has arrived can still be read until `forget_data_channel`.
    DataChannelClosed(ChannelId),
}
