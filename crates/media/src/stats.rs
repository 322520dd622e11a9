use std::time::{Duration, Instant};

use crate::config::Kind;
use crate::event::{ReceiverId, SenderId};

/// A snapshot of everything counted, in the terms of webrtc-stats.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// One per source received.
    pub inbound: Vec<InboundRtp>,
    /// One per sender.
    pub outbound: Vec<OutboundRtp>,
    /// Bandwidth estimate, bits a second; `None` while the peer sends no congestion feedback.
    pub available_outgoing_bitrate: Option<u64>,
    /// Input that was dropped, by reason.
    pub dropped: Dropped,
}

/// Input that was dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// RTP that does not parse.
    pub malformed_rtp: u64,
    /// RTCP that does not parse; what came before the fault in a compound was used.
    pub malformed_rtcp: u64,
    /// RTP that no rule routes to a receiver (RFC 9143 §9.2).
    pub unrouted: u64,
    /// RTP of a source beyond the number that one connection may have.
    pub too_many_sources: u64,
    /// RTP that came twice.
    pub duplicate: u64,
    /// RTP far from the source's sequence, not yet confirmed by a second packet.
    pub sequence_jump: u64,
    /// RTP whose payload its codec cannot be.
    pub malformed_payload: u64,
    /// Frames and packets that the application did not fetch in time; oldest first.
    pub events: u64,
}

/// `RTCInboundRtpStreamStats`, and the `RTCRemoteOutboundRtpStreamStats` that belongs to it.
#[derive(Clone, Debug)]
pub struct InboundRtp {
    /// Whose.
    pub receiver: ReceiverId,
    /// `mid`.
    pub mid: String,
    /// `kind`.
    pub kind: Kind,
    /// `ssrc`.
    pub ssrc: u32,
    /// `rid`.
    pub rid: Option<String>,
    /// `rtxSsrc`.
    pub rtx_ssrc: Option<u32>,
    /// The payload type received last.
    pub payload_type: Option<u8>,
    /// The codec received last, as `audio/opus`.
    pub mime_type: String,
    /// Its clock, Hz.
    pub clock_rate: u32,
    /// `packetsReceived`, retransmissions included.
    pub packets_received: u64,
    /// `bytesReceived`: payload without headers and padding.
    pub bytes_received: u64,
    /// `headerBytesReceived`: headers and padding.
    pub header_bytes_received: u64,
    /// `packetsLost`; negative if duplicates outnumber losses.
    pub packets_lost: i64,
    /// `jitter`, seconds.
    pub jitter: f64,
    /// `retransmittedPacketsReceived`.
    pub retransmitted_packets_received: u64,
    /// `nackCount`: NACK messages sent.
    pub nack_count: u32,
    /// `pliCount`: PLIs sent.
    pub pli_count: u32,
    /// `firCount`: FIRs sent.
    pub fir_count: u32,
    /// `framesReceived`: whole frames seen.
    pub frames_received: u64,
    /// Whole key frames seen (`keyFramesDecoded` of an endpoint that decodes what it gets).
    pub key_frames_received: u64,
    /// `framesDropped`: frames given up as incomplete or undecodable.
    pub frames_dropped: u64,
    /// `packetsDiscarded`: too late for their frame.
    pub packets_discarded: u64,
    /// `audioLevel` of the newest packet that carried one, 0 to 1.
    pub audio_level: Option<f64>,
    /// `lastPacketReceivedTimestamp`.
    pub last_packet_received: Option<Instant>,
    /// What the peer reported about its sending.
    pub remote: Option<RemoteOutboundRtp>,
}

/// `RTCRemoteOutboundRtpStreamStats`: from the peer's sender reports.
#[derive(Clone, Copy, Debug)]
pub struct RemoteOutboundRtp {
    /// `packetsSent`.
    pub packets_sent: u32,
    /// `bytesSent`.
    pub bytes_sent: u32,
    /// `reportsSent`.
    pub reports_sent: u64,
    /// `remoteTimestamp`: the NTP time of the newest report.
    pub ntp: u64,
    /// `roundTripTime`, from DLRR blocks.
    pub round_trip_time: Option<Duration>,
}

/// `RTCOutboundRtpStreamStats`, and the `RTCRemoteInboundRtpStreamStats` that belongs to it.
#[derive(Clone, Debug)]
pub struct OutboundRtp {
    /// Whose.
    pub sender: SenderId,
    /// `mid`.
    pub mid: String,
    /// `kind`.
    pub kind: Kind,
    /// `ssrc`.
    pub ssrc: u32,
    /// `rid`.
    pub rid: Option<String>,
    /// `rtxSsrc`.
    pub rtx_ssrc: Option<u32>,
    /// The payload type sent last.
    pub payload_type: Option<u8>,
    /// The codec sent last, as `video/VP8`.
    pub mime_type: String,
    /// Its clock, Hz.
    pub clock_rate: u32,
    /// `active`.
    pub active: bool,
    /// `packetsSent`, retransmissions included.
    pub packets_sent: u64,
    /// `bytesSent`: payload without headers and padding, retransmissions included.
    pub bytes_sent: u64,
    /// `headerBytesSent`.
    pub header_bytes_sent: u64,
    /// `retransmittedPacketsSent`.
    pub retransmitted_packets_sent: u64,
    /// `retransmittedBytesSent`.
    pub retransmitted_bytes_sent: u64,
    /// Retransmissions refused because of the rate cap.
    pub retransmissions_refused: u64,
    /// `framesSent`.
    pub frames_sent: u64,
    /// `keyFramesEncoded` of an endpoint that sends what it encodes.
    pub key_frames_sent: u64,
    /// Frames refused because the send queue was full.
    pub frames_refused: u64,
    /// Forwarded packets refused because they are larger than the path carries.
    pub packets_too_large: u64,
    /// `nackCount`: NACK messages received.
    pub nack_count: u32,
    /// `pliCount`: PLIs received.
    pub pli_count: u32,
    /// `firCount`: FIRs received.
    pub fir_count: u32,
    /// `totalPacketSendDelay`: time spent in the pacer, all packets together.
    pub total_packet_send_delay: Duration,
    /// `targetBitrate` of the whole session, bits a second.
    pub target_bitrate: Option<u64>,
    /// What the peer reported about its receiving.
    pub remote: Option<RemoteInboundRtp>,
}

/// `RTCRemoteInboundRtpStreamStats`: from the peer's report blocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoteInboundRtp {
    /// `packetsLost`.
    pub packets_lost: i64,
    /// `fractionLost`, 0 to 1.
    pub fraction_lost: f64,
    /// `jitter`, seconds.
    pub jitter: f64,
    /// `roundTripTime`.
    pub round_trip_time: Option<Duration>,
    /// `totalRoundTripTime`.
    pub total_round_trip_time: Duration,
    /// `roundTripTimeMeasurements`.
    pub round_trip_time_measurements: u64,
}
