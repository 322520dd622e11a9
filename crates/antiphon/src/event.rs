//! What a peer connection reports to the application.

use std::net::SocketAddr;

use antiphon_jsep::{MediaKind, SignalingState, TransceiverId};
use antiphon_media::{Frame, Packet};
use antiphon_peer_connection as core;
use core::{
    PeerEnd, RtcDtlsTransportState, RtcIceCandidateInit, RtcIceConnectionState, RtcIceGatheringState,
    RtcPeerConnectionState, RtcSctpTransportState,
};

use crate::channel::DataChannel;

/// What happened, in order: the W3C events of `RTCPeerConnection` and of the objects below it.
///
/// When nobody takes them in time, [`Event::Frame`], [`Event::Packet`], [`Event::KeyFrameRequested`] and
/// [`Event::TargetBitrate`] are dropped oldest first; the others only once 1024 of them wait, newest first and counted.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// `negotiationneeded`: an offer would change something.
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
    /// `statechange` of the DTLS transport.
    DtlsStateChange(RtcDtlsTransportState),
    /// `statechange` of the SCTP transport.
    SctpStateChange(RtcSctpTransportState),
    /// The peer has ended the connection, and how: told once, within a round trip of the word that says so, or after 30 seconds of
    /// silence. `close` is what is left to do. See docs/connection-end.md.
    PeerEnded(PeerEnd),
    /// `selectedcandidatepairchange` of the ICE transport: both ends as candidate attributes.
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
    /// A source said goodbye (RTCP BYE).
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
    /// `datachannel`: the peer has opened a channel.
    DataChannel(DataChannel),
}

/// Whether an event is worth little once a newer one of its kind has come: dropped oldest first when nobody takes it. These are
/// also the ones that a peer can cause without end.
pub(crate) fn is_perishable(event: &core::Event) -> bool {
    use core::Event::{Frame, KeyFrameRequested, Packet, TargetBitrate};
    matches!(
        event,
        Frame { .. } | Packet { .. } | KeyFrameRequested(_) | TargetBitrate(_)
    )
}

/// The application's view of an event of the machine; `None` for those that the handles of data channels take.
pub(crate) fn from_core(event: core::Event) -> Option<Event> {
    Some(match event {
        core::Event::NegotiationNeeded => Event::NegotiationNeeded,
        core::Event::SignalingStateChange(state) => Event::SignalingStateChange(state),
        core::Event::IceCandidate(candidate) => Event::IceCandidate(candidate),
        core::Event::IceCandidateError {
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
        core::Event::IceGatheringStateChange(state) => Event::IceGatheringStateChange(state),
        core::Event::IceConnectionStateChange(state) => Event::IceConnectionStateChange(state),
        core::Event::ConnectionStateChange(state) => Event::ConnectionStateChange(state),
        core::Event::DtlsStateChange(state) => Event::DtlsStateChange(state),
        core::Event::SctpStateChange(state) => Event::SctpStateChange(state),
        core::Event::PeerEnded(end) => Event::PeerEnded(end),
        core::Event::SelectedCandidatePairChange { local, remote } => {
            Event::SelectedCandidatePairChange { local, remote }
        }
        core::Event::Track {
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
        core::Event::TrackStreamsChanged { transceiver, streams } => {
            Event::TrackStreamsChanged { transceiver, streams }
        }
        core::Event::TrackUnmuted { transceiver, ssrc, rid } => Event::TrackUnmuted { transceiver, ssrc, rid },
        core::Event::TrackMuted(transceiver) => Event::TrackMuted(transceiver),
        core::Event::TrackEnded(transceiver) => Event::TrackEnded(transceiver),
        core::Event::SourceEnded { transceiver, ssrc } => Event::SourceEnded { transceiver, ssrc },
        core::Event::Frame {
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
        core::Event::Packet { transceiver, packet } => Event::Packet { transceiver, packet },
        core::Event::PacketTooLarge {
            transceiver,
            bytes,
            limit,
        } => Event::PacketTooLarge {
            transceiver,
            bytes,
            limit,
        },
        core::Event::KeyFrameRequested(transceiver) => Event::KeyFrameRequested(transceiver),
        core::Event::TargetBitrate(bps) => Event::TargetBitrate(bps),
        _ => return None,
    })
}
