//! What a connection tells the application.

use std::fmt;
use std::net::SocketAddr;

use antiphon_data_channel::ChannelId;
use antiphon_dtls::AlertDescription;
use antiphon_jsep::{IceCandidate, MediaKind, SignalingState, TransceiverId};
use antiphon_media::{CircuitBreaker, Frame, Packet, Rid, Sound, Tone};

use crate::states::{
    RtcDtlsTransportState, RtcIceConnectionState, RtcIceGatheringState, RtcPeerConnectionState, RtcSctpTransportState,
};
use crate::transceivers::EncodingId;

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
    /// Consent to send expired: it has answered no check for 30 seconds (RFC 7675 §5.1), nor sent anything else of late
    /// that was authentic. An ICE restart may bring it back.
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

/// What happened, in the order in which the application should see it. `C` is how it names a data channel: by an id
/// here, by a handle where there are handles.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<C = ChannelId> {
    /// An offer would change something (`negotiationneeded`): make one when convenient.
    NegotiationNeeded,
    /// `signalingstatechange`, with the new state.
    SignalingStateChange(SignalingState),
    /// `icecandidate`: send it to the peer. `None`: there are no more.
    IceCandidate(Option<IceCandidate>),
    /// `icecandidateerror`: a server gave no candidate.
    IceCandidateError {
        /// The URL of the STUN or TURN server, as it was configured.
        url: String,
        /// The address of ours that asked, if asking went that far.
        address: Option<SocketAddr>,
        /// The error code of the server's STUN answer, 300 to 699, or 701 if the server was not reached.
        code: u16,
        /// What went wrong, in words for people: the server's reason phrase, or ours.
        text: String,
    },
    /// `icegatheringstatechange`, with the new state.
    IceGatheringStateChange(RtcIceGatheringState),
    /// `iceconnectionstatechange`, with the new state.
    IceConnectionStateChange(RtcIceConnectionState),
    /// `connectionstatechange`, with the new state.
    ConnectionStateChange(RtcPeerConnectionState),
    /// `RTCDtlsTransport.statechange`. `Closed`: the peer has ended the connection in an orderly way.
    DtlsStateChange(RtcDtlsTransportState),
    /// `RTCSctpTransport.statechange`, with the new state.
    SctpStateChange(RtcSctpTransportState),
    /// The peer has ended the connection, and how: told once, within a round trip of the word that says so, or after 30
    /// seconds of silence; the first sign counts. The W3C has no such event; its states of this moment are in
    /// docs/connection-end.md. What has arrived can still be read; then `close`.
    PeerEnded(PeerEnd),
    /// `RTCIceTransport.selectedcandidatepairchange`.
    SelectedCandidatePairChange {
        /// Our end, as the value of a candidate attribute (RFC 8839 §5.1).
        local: String,
        /// The peer's end, in the same form.
        remote: String,
    },
    /// `track`: the peer will send.
    Track {
        /// The transceiver whose receiver has the track.
        transceiver: TransceiverId,
        /// Whether the track is audio or video.
        kind: MediaKind,
        /// The track's id as the peer names it, if it does.
        track_id: Option<String>,
        /// The ids of the streams that the track belongs to.
        streams: Vec<String>,
    },
    /// `addtrack` and `removetrack` of streams: the track goes on in these.
    TrackStreamsChanged {
        /// The transceiver whose receiver has the track.
        transceiver: TransceiverId,
        /// The ids of all streams that the track belongs to now.
        streams: Vec<String>,
    },
    /// `unmute`: the first packet of a source came.
    TrackUnmuted {
        /// The transceiver that receives the source.
        transceiver: TransceiverId,
        /// The SSRC of the source.
        ssrc: u32,
        /// The RID of the source (RFC 8852), if it sent one: the name of its simulcast layer.
        rid: Option<Rid>,
        /// Its place among the layers, from 0: in `a=simulcast`, or in the `a=ssrc-group:SIM` of a peer that has no RIDs. `None`: it is
        /// none of several.
        layer: Option<u8>,
    },
    /// `mute`: the peer will not send for now.
    TrackMuted(TransceiverId),
    /// `ended`: the transceiver is stopped.
    TrackEnded(TransceiverId),
    /// A source of the transceiver said goodbye (RTCP BYE).
    SourceEnded {
        /// The transceiver that received the source.
        transceiver: TransceiverId,
        /// The SSRC of the source.
        ssrc: u32,
    },
    /// A whole frame: as soon as it is whole, or, of video and for who asked for playout, when it is to be shown.
    Frame {
        /// The transceiver that received the frame.
        transceiver: TransceiverId,
        /// The SSRC of the source that sent the frame.
        ssrc: u32,
        /// Whether frames before it are missing.
        discontinuity: bool,
        /// The frame as its codec made it, with its RTP timestamp.
        frame: Frame,
    },
    /// What is heard next of a source of sound, at the moment at which it is due, for who asked for playout.
    Sound {
        /// The transceiver that received it.
        transceiver: TransceiverId,
        /// The SSRC of the source.
        ssrc: u32,
        /// What is to be decoded or made up, and how long it lasts.
        sound: Sound,
    },
    /// One RTP packet, for who asked for packets.
    Packet {
        /// The transceiver that received the packet.
        transceiver: TransceiverId,
        /// The packet without SRTP, retransmission undone.
        packet: Packet,
    },
    /// A packet that is forwarded was refused because it is larger than the path carries: the first on this path. All
    /// of them are counted in the statistics.
    PacketTooLarge {
        /// The encoding that should have been sent.
        encoding: EncodingId,
        /// The packet's size with our headers, in bytes before SRTP.
        bytes: usize,
        /// The size of the largest packet that would be sent, in bytes before SRTP.
        limit: usize,
    },
    /// The peer plays a key of a telephone, or another telephone event (RFC 4733): told when it begins and when it ends,
    /// each once. The W3C has no such event. Only where frames are handed out.
    Tone {
        /// The transceiver that received it.
        transceiver: TransceiverId,
        /// The SSRC of the source that sent it.
        ssrc: u32,
        /// Which key, and whether it begins or ends.
        tone: Tone,
    },
    /// `tonechange` of the sender's `RTCDTMFSender`.
    ToneChange {
        /// The transceiver whose sender plays.
        transceiver: TransceiverId,
        /// The key that begins to be played, or `,` for a pause; `None`, which the W3C writes as an empty string: all
        /// have been played.
        tone: Option<char>,
    },
    /// The peer cannot decode without a key frame of this encoding.
    KeyFrameRequested(EncodingId),
    /// A circuit breaker has stopped an encoding (RFC 8083): frames are refused until [`Event::SendingRestarted`].
    SendingCeased {
        /// The encoding that is stopped.
        encoding: EncodingId,
        /// Which of the breakers it was.
        cause: CircuitBreaker,
    },
    /// An encoding that had ceased may be sent again. Pictures should begin with a key frame, and gently.
    SendingRestarted(EncodingId),
    /// Sound is lost that nothing else repairs (RED was not negotiated), and the peer's Opus decoder can (`useinbandfec=1`): the encoder
    /// should be told.
    InBandFec {
        /// The encoding whose encoder it is.
        encoding: EncodingId,
        /// For which share of lost packets it should be ready, in percent: 5, 10, 20; 0: it need not write in-band FEC any more.
        percent: u8,
    },
    /// What may be sent of an encoding has changed noticeably: its share of what the bandwidth estimate leaves for media.
    TargetBitrate {
        /// The encoding that it is for.
        encoding: EncodingId,
        /// Bits a second, payload and RTP headers. 0: there is too little for it, and nothing should be sent until there is more.
        bps: u64,
    },
    /// `datachannel`: the peer has opened a channel. `DataChannelOpen` follows.
    DataChannel(C),
    /// `open` of a data channel.
    DataChannelOpen(C),
    /// `message` of a data channel: there is something to `read`.
    DataChannelReadable(C),
    /// `bufferedamountlow` of a data channel.
    DataChannelBufferedAmountLow(C),
    /// `closing` of a data channel: the peer closes it. What has arrived can still be read.
    DataChannelClosing(C),
    /// `close` of a data channel. What has arrived can still be read until `forget_data_channel`.
    DataChannelClosed(C),
}

impl<C> Event<C> {
    /// The same event with another name for the data channel, if it is about one. `None`, if `map` has no name for
    /// that.
    pub fn map_channel<D>(self, map: impl FnOnce(C) -> Option<D>) -> Option<Event<D>> {
        Some(match self {
            Self::DataChannel(channel) => Event::DataChannel(map(channel)?),
            Self::DataChannelOpen(channel) => Event::DataChannelOpen(map(channel)?),
            Self::DataChannelReadable(channel) => Event::DataChannelReadable(map(channel)?),
            Self::DataChannelBufferedAmountLow(channel) => Event::DataChannelBufferedAmountLow(map(channel)?),
            Self::DataChannelClosing(channel) => Event::DataChannelClosing(map(channel)?),
            Self::DataChannelClosed(channel) => Event::DataChannelClosed(map(channel)?),
            other => return other.of_connection(),
        })
    }

    /// The same event, if it is about no data channel.
    fn of_connection<D>(self) -> Option<Event<D>> {
        Some(match self {
            Self::NegotiationNeeded => Event::NegotiationNeeded,
            Self::SignalingStateChange(state) => Event::SignalingStateChange(state),
            Self::IceCandidate(candidate) => Event::IceCandidate(candidate),
            Self::IceCandidateError {
                url,
                address,
                code,
                text,
            } => Event::IceCandidateError {
                url,
                address,
                code,
                text,
            },
            Self::IceGatheringStateChange(state) => Event::IceGatheringStateChange(state),
            Self::IceConnectionStateChange(state) => Event::IceConnectionStateChange(state),
            Self::ConnectionStateChange(state) => Event::ConnectionStateChange(state),
            Self::DtlsStateChange(state) => Event::DtlsStateChange(state),
            Self::SctpStateChange(state) => Event::SctpStateChange(state),
            Self::PeerEnded(end) => Event::PeerEnded(end),
            Self::SelectedCandidatePairChange { local, remote } => Event::SelectedCandidatePairChange { local, remote },
            other => return other.of_media(),
        })
    }

    /// The same event, if it is about media.
    fn of_media<D>(self) -> Option<Event<D>> {
        Some(match self {
            Self::Track {
                transceiver,
                kind,
                track_id,
                streams,
            } => Event::Track {
                transceiver,
                kind,
                track_id,
                streams,
            },
            Self::TrackStreamsChanged { transceiver, streams } => Event::TrackStreamsChanged { transceiver, streams },
            Self::TrackUnmuted {
                transceiver,
                ssrc,
                rid,
                layer,
            } => Event::TrackUnmuted {
                transceiver,
                ssrc,
                rid,
                layer,
            },
            Self::TrackMuted(transceiver) => Event::TrackMuted(transceiver),
            Self::TrackEnded(transceiver) => Event::TrackEnded(transceiver),
            Self::SourceEnded { transceiver, ssrc } => Event::SourceEnded { transceiver, ssrc },
            Self::Frame {
                transceiver,
                ssrc,
                discontinuity,
                frame,
            } => Event::Frame {
                transceiver,
                ssrc,
                discontinuity,
                frame,
            },
            Self::Sound {
                transceiver,
                ssrc,
                sound,
            } => Event::Sound {
                transceiver,
                ssrc,
                sound,
            },
            Self::Packet { transceiver, packet } => Event::Packet { transceiver, packet },
            Self::PacketTooLarge { encoding, bytes, limit } => Event::PacketTooLarge { encoding, bytes, limit },
            Self::Tone {
                transceiver,
                ssrc,
                tone,
            } => Event::Tone {
                transceiver,
                ssrc,
                tone,
            },
            other => return other.of_sending(),
        })
    }

    /// The same event, if it is about what we send.
    fn of_sending<D>(self) -> Option<Event<D>> {
        Some(match self {
            Self::ToneChange { transceiver, tone } => Event::ToneChange { transceiver, tone },
            Self::KeyFrameRequested(encoding) => Event::KeyFrameRequested(encoding),
            Self::SendingCeased { encoding, cause } => Event::SendingCeased { encoding, cause },
            Self::SendingRestarted(encoding) => Event::SendingRestarted(encoding),
            Self::InBandFec { encoding, percent } => Event::InBandFec { encoding, percent },
            Self::TargetBitrate { encoding, bps } => Event::TargetBitrate { encoding, bps },
            // Each by name: one that is added is not lost on the way unnoticed.
            Self::NegotiationNeeded
            | Self::SignalingStateChange(_)
            | Self::IceCandidate(_)
            | Self::IceCandidateError { .. }
            | Self::IceGatheringStateChange(_)
            | Self::IceConnectionStateChange(_)
            | Self::ConnectionStateChange(_)
            | Self::DtlsStateChange(_)
            | Self::SctpStateChange(_)
            | Self::PeerEnded(_)
            | Self::SelectedCandidatePairChange { .. }
            | Self::DataChannel(_)
            | Self::DataChannelOpen(_)
            | Self::DataChannelReadable(_)
            | Self::DataChannelBufferedAmountLow(_)
            | Self::DataChannelClosing(_)
            | Self::Track { .. }
            | Self::TrackStreamsChanged { .. }
            | Self::TrackUnmuted { .. }
            | Self::TrackMuted(_)
            | Self::TrackEnded(_)
            | Self::SourceEnded { .. }
            | Self::Frame { .. }
            | Self::Sound { .. }
            | Self::Packet { .. }
            | Self::PacketTooLarge { .. }
            | Self::Tone { .. }
            | Self::DataChannelClosed(_) => return None,
        })
    }
}
