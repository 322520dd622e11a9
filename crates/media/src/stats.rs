//! What is counted, as snapshots in the terms of webrtc-stats.

use std::time::{Duration, Instant};

use antiphon_rtp::bitstream::Resolution;

use crate::config::Kind;
use crate::congestion::Figures;
use crate::event::{ReceiverId, SenderId};
use crate::frame_count::FrameRate;
use crate::limitation::{QualityLimitation, QualityLimitations};

/// A snapshot of everything counted, in the terms of webrtc-stats.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// One per source received.
    pub inbound: Vec<InboundRtp>,
    /// One per sender.
    pub outbound: Vec<OutboundRtp>,
    /// How congestion control is doing.
    pub congestion: CongestionStats,
    /// Input that was dropped, by reason.
    pub dropped: Dropped,
}

/// How congestion control is doing: what it has found out of the path, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CongestionStats {
    /// The name of the controller that steers: [`CongestionControl::name`](crate::congestion::CongestionControl::name).
    pub controller: &'static str,
    /// `availableOutgoingBitrate`: what all packets may take together, bits a second; `None` while the peer sends no congestion
    /// feedback.
    pub estimate: Option<u64>,
    /// What of the estimate was given to media, bits a second; `None` like the estimate.
    pub allocated: Option<u64>,
    /// What all senders together would use at most, with what goes beside their media, bits a second; `None`: whatever there is.
    pub wanted: Option<u64>,
    /// `ccfbMessagesSent`: feedback packets of RFC 8888 that we have sent.
    pub ccfb_messages_sent: u64,
    /// `ccfbMessagesReceived`: feedback packets of RFC 8888 that the peer has sent.
    pub ccfb_messages_received: u64,
    /// What the controller itself counts and has measured.
    pub figures: Figures,
    /// Marks of ECN, and what became of them.
    pub ecn: EcnStats,
}

/// Marks of ECN (RFC 3168) that went out and came in, and what became of those that went out. The peer's feedback tells of them where
/// RFC 8888 was negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EcnStats {
    /// RTP packets that were sent with ECT(0) or ECT(1).
    pub packets_sent_with_ect: u64,
    /// Of these, packets that arrived without any mark.
    pub packets_with_bleached_marking: u64,
    /// Of these, packets that arrived with CE: a queue marked them instead of dropping them.
    pub packets_reported_with_ce: u64,
    /// RTP packets that came in with ECT(0) or ECT(1).
    pub packets_received_with_ect: u64,
    /// RTP packets that came in with CE.
    pub packets_received_with_ce: u64,
    /// Why no mark is sent any more on this route; `None`: they are sent, if the controller asks for them.
    pub marking_ended: Option<MarkingEnd>,
}

/// Why marks of ECN are not sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MarkingEnd {
    /// The path takes them away, or the peer cannot read them.
    Bleached,
    /// The path drops what bears them.
    Swallowed,
    /// A queue sets congestion marks only when it is long, as those of before L4S do (RFC 9331 §4.3).
    ClassicQueue,
}

impl MarkingEnd {
    /// A word for it, as statistics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bleached => "bleached",
            Self::Swallowed => "swallowed",
            Self::ClassicQueue => "classic-queue",
        }
    }
}

/// Input that was dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// RTP that does not parse.
    pub malformed_rtp: u64,
    /// RTCP that does not parse; what came before the fault in a compound was used.
    pub malformed_rtcp: u64,
    /// RTCP of a type or a format that is not known; the rest of its compound was used.
    pub unknown_rtcp: u64,
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
    /// The receiver that the source was routed to.
    pub receiver: ReceiverId,
    /// `mid`: the media section, by its identification tag.
    pub mid: String,
    /// `kind`: audio or video.
    pub kind: Kind,
    /// `ssrc`: the SSRC of the stream itself.
    pub ssrc: u32,
    /// `rid`: the encoding, where the section has several.
    pub rid: Option<String>,
    /// `rtxSsrc`: the SSRC of its retransmissions, if they have one of their own.
    pub rtx_ssrc: Option<u32>,
    /// `fecSsrc`: the SSRC of the packets that protect it (FlexFEC), if they have one of their own.
    pub fec_ssrc: Option<u32>,
    /// The codec received last; `None` before the first packet.
    pub codec: Option<UsedCodec>,
    /// `packetsReceived`: packets of the stream, retransmissions included.
    pub packets_received: u64,
    /// `bytesReceived`: bytes of payload, without headers and padding.
    pub bytes_received: u64,
    /// `headerBytesReceived`: bytes of headers and padding, before SRTP.
    pub header_bytes_received: u64,
    /// `packetsLost`; negative if duplicates outnumber losses.
    pub packets_lost: i64,
    /// `jitter`: variation of the transit time (RFC 3550 §6.4.1), seconds.
    pub jitter: f64,
    /// What came back of lost packets.
    pub repaired: Repaired,
    /// `nackCount`: NACK messages sent.
    pub nack_count: u32,
    /// `pliCount`: PLIs sent.
    pub pli_count: u32,
    /// `firCount`: FIRs sent.
    pub fir_count: u32,
    /// What became of its frames.
    pub frames: FramesReceived,
    /// How it is played: when, how evenly, and with how much that was made up.
    pub playout: PlayoutFigures,
    /// `packetsDiscarded`: too late for their frame.
    pub packets_discarded: u64,
    /// How long and how loud the sound is; `None` of pictures.
    pub sound: Option<SoundFigures>,
    /// Marks of ECN on its packets.
    pub marks: MarksReceived,
    /// `lastPacketReceivedTimestamp`: when the newest packet came.
    pub last_packet_received: Option<Instant>,
    /// What the application says of its decoder, if it does.
    pub decoder: Option<DecoderFigures>,
    /// What the peer reported about its sending.
    pub remote: Option<RemoteOutboundRtp>,
}

/// A codec that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedCodec {
    /// The payload type that stands for it.
    pub payload_type: u8,
    /// Kind and name, as `audio/opus`.
    pub mime_type: String,
    /// Its RTP clock, Hz.
    pub clock_rate: u32,
}

/// Whole frames that came. Where packets are handed out ([`Output::Packets`](crate::Output::Packets)) nobody puts them together: they
/// are counted by their marks, and nothing but the first three is known of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct FramesReceived {
    /// `framesReceived`: whole frames seen.
    pub received: u64,
    /// Of these, key frames.
    pub key_frames: u64,
    /// `framesPerSecond`: whole frames by time.
    pub rate: FrameRate,
    /// Frames given up as incomplete, or of which not all was a frame.
    pub dropped: u64,
    /// `frameWidth`, `frameHeight`: of the newest key frame that told it.
    pub resolution: Option<Resolution>,
    /// `framesAssembledFromMultiplePackets`: whole frames of more than one packet.
    pub of_several_packets: u64,
    /// `totalAssemblyTime`: from the first packet to the last of each of these, all together.
    pub assembly_time: Duration,
}

/// Sound by its timestamps, and by what its packets tell of their level (RFC 6464).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SoundFigures {
    /// `audioLevel`: the newest level told, 0 (silence) to 1 (overload).
    pub level: Option<f64>,
    /// `totalAudioEnergy`: the sum of squared levels times seconds; `None` while no level is told.
    pub energy: Option<f64>,
    /// `totalSamplesReceived`: ticks of its clock; what is lost in between counts, and silence of which nothing is sent does not.
    pub samples: u64,
    /// `totalSamplesDuration`: the same, in seconds.
    pub duration: f64,
}

/// Marks of ECN on the packets of a stream that came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarksReceived {
    /// `packetsReceivedWithEct1`: packets that came with ECT(1).
    pub ect1: u64,
    /// `packetsReceivedWithCe`: packets that came with CE, so that a queue had marked them.
    pub ce: u64,
}

/// What the application's decoder has done with a stream so far, which it alone knows. `None`: it does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DecoderFigures {
    /// `framesDecoded`: frames that were decoded.
    pub frames_decoded: Option<u64>,
    /// `keyFramesDecoded`: of these, key frames.
    pub key_frames_decoded: Option<u64>,
    /// `framesRendered`: frames that were shown.
    pub frames_rendered: Option<u64>,
    /// What was given up behind our back: counted in `framesDropped`.
    pub frames_dropped: Option<u64>,
    /// `qpSum`: the sum of the quantisation parameters of all frames.
    pub qp_sum: Option<u64>,
    /// `totalDecodeTime`: time that decoding took, all frames together.
    pub decode_time: Option<Duration>,
    /// `decoderImplementation`: its name, for people.
    pub implementation: Option<String>,
    /// `powerEfficientDecoder`: whether hardware does it, for instance.
    pub power_efficient: Option<bool>,
}

/// How a source is played. What is counted in samples is counted at the codec's RTP clock, one for all channels. Where nothing is
/// held back ([`Output::Frames`](crate::Output::Frames)), frames are counted when they are handed over, which
/// gives freezes, pauses and the delay until then their figures; all others stay zero. Where packets go out all stay zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PlayoutFigures {
    /// `jitterBufferDelay`: from the first packet's arrival until it was handed over, all frames of video together; of sound each
    /// sample counts.
    pub jitter_buffer_delay: Duration,
    /// `jitterBufferTargetDelay`: the delay that was aimed at when each of these was handed over, summed likewise.
    pub jitter_buffer_target_delay: Duration,
    /// `jitterBufferMinimumDelay`: the delay that the network alone asks for, without the application's target and lip sync, summed
    /// likewise.
    pub jitter_buffer_minimum_delay: Duration,
    /// `jitterBufferEmittedCount`: frames of video, or samples of sound, that were handed over.
    pub jitter_buffer_emitted_count: u64,
    /// The delay that is aimed at now, from the fastest packets' arrival (not in webrtc-stats); zero before the first frame.
    pub target_delay: Duration,
    /// What was handed over last, by the peer's clock, and when: `estimatedPlayoutTimestamp` goes on from there. `None` before that, and
    /// before the first sender report.
    pub played: Option<Played>,
    /// `totalInterFrameDelay`: the time between frames of video that were shown one after the other, summed, seconds.
    pub total_inter_frame_delay: f64,
    /// `totalSquaredInterFrameDelay`: the squares of these times, summed, seconds squared.
    pub total_squared_inter_frame_delay: f64,
    /// `freezeCount`: times after which the next frame came too late by three mean times between frames, and by 150 ms.
    pub freeze_count: u32,
    /// `totalFreezesDuration`: how long these were together.
    pub total_freezes_duration: Duration,
    /// `pauseCount`: times of more than five seconds without a frame.
    pub pause_count: u32,
    /// `totalPausesDuration`: how long these were together.
    pub total_pauses_duration: Duration,
    /// `totalSamplesReceived`: samples that were played or made up.
    pub total_samples_received: u64,
    /// `concealedSamples`: of these, samples that the decoder had to make up, because they were lost or late.
    pub concealed_samples: u64,
    /// `silentConcealedSamples`: of these, samples that are silent because too many in a row are missing.
    pub silent_concealed_samples: u64,
    /// `concealmentEvents`: how many times concealing began.
    pub concealment_events: u64,
    /// `insertedSamplesForDeceleration`: samples by which sound was stretched.
    pub inserted_samples_for_deceleration: u64,
    /// `removedSamplesForAcceleration`: samples by which sound was squeezed, or that were left out.
    pub removed_samples_for_acceleration: u64,
}

/// What was handed over last, by the peer's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Played {
    /// The NTP time of its capture, 32.32 seconds, as the peer's sender reports have it.
    pub ntp: u64,
    /// When it was handed over.
    pub at: Instant,
}

/// What came back of a source's lost packets, and by which means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// `retransmittedPacketsReceived`: packets that came back by RTX.
    pub retransmitted_packets_received: u64,
    /// `retransmittedBytesReceived`: bytes of payload of these.
    pub retransmitted_bytes_received: u64,
    /// `fecPacketsReceived`: repair packets, and payloads that RED repeated.
    pub fec_packets_received: u64,
    /// `fecBytesReceived`: bytes of these, without RTP headers.
    pub fec_bytes_received: u64,
    /// `fecPacketsDiscarded`: those of no use, since nothing that they bring back was missing, or too much.
    pub fec_packets_discarded: u64,
    /// Packets that came back out of redundancy, which counts them nowhere else (not in webrtc-stats).
    pub packets_recovered: u64,
    /// Of these, what RED repeated (RFC 2198).
    pub recovered_by_red: u64,
    /// Of these, what ULPFEC brought back (RFC 5109).
    pub recovered_by_ulpfec: u64,
    /// Of these, what FlexFEC brought back (RFC 8627 and its third draft).
    pub recovered_by_flexfec: u64,
}

/// `RTCRemoteOutboundRtpStreamStats`: from the peer's sender reports.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoteOutboundRtp {
    /// `packetsSent`: packets that the peer says it sent, modulo 2^32.
    pub packets_sent: u32,
    /// `bytesSent`: bytes of payload that the peer says it sent, modulo 2^32.
    pub bytes_sent: u32,
    /// `reportsSent`: sender reports that came.
    pub reports_sent: u64,
    /// `remoteTimestamp`: the NTP time of the newest report, 32.32 seconds.
    pub ntp: u64,
    /// The same moment on the source's media clock.
    pub rtp_timestamp: u32,
    /// `roundTripTime`, from DLRR blocks (RFC 3611 §4.5); `None` until one came.
    pub round_trip_time: Option<Duration>,
    /// `totalRoundTripTime`: the sum of all that were measured.
    pub total_round_trip_time: Duration,
    /// `roundTripTimeMeasurements`: how many were measured.
    pub round_trip_time_measurements: u64,
}

/// `RTCOutboundRtpStreamStats`, and the `RTCRemoteInboundRtpStreamStats` that belongs to it.
#[derive(Clone, Debug)]
pub struct OutboundRtp {
    /// The sender that this is about.
    pub sender: SenderId,
    /// `mid`: the media section, by its identification tag.
    pub mid: String,
    /// `kind`: audio or video.
    pub kind: Kind,
    /// `ssrc`: the SSRC of the stream itself.
    pub ssrc: u32,
    /// `rid`: the encoding, where the section has several.
    pub rid: Option<String>,
    /// `rtxSsrc`: the SSRC of its retransmissions, if they have one of their own.
    pub rtx_ssrc: Option<u32>,
    /// The codec sent last; `None` before the first packet.
    pub codec: Option<UsedCodec>,
    /// `active`: whether the negotiated direction lets it send.
    pub active: bool,
    /// `packetsSent`: packets on both SSRCs, retransmissions included.
    pub packets_sent: u64,
    /// `bytesSent`: payload without headers and padding, retransmissions and what RED repeats included.
    pub bytes_sent: u64,
    /// `headerBytesSent`: bytes of headers and padding, before SRTP.
    pub header_bytes_sent: u64,
    /// What was sent again, and what was sent before anybody asked.
    pub repairs: RepairsSent,
    /// What was taken and what was refused of whole frames.
    pub frames: FramesSent,
    /// How long and how loud the sound is that was handed over as frames; `None` of pictures.
    pub sound: Option<SoundFigures>,
    /// `packetsSentWithEct1`: packets that left with ECT(1).
    pub packets_sent_with_ect1: u64,
    /// What keeps the quality down, and for how long it did; of pictures.
    pub limitations: QualityLimitations,
    /// What the application says of its encoder, if it does.
    pub encoder: Option<EncoderFigures>,
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
    /// How often a circuit breaker has stopped the stream (RFC 8083; not in webrtc-stats).
    pub circuit_breaker_trips: u32,
    /// `targetBitrate`: what the stream may send, bits a second, as [`Session::target_bitrate`](crate::Session::target_bitrate) says.
    pub target_bitrate: Option<u64>,
    /// What the peer reported about its receiving.
    pub remote: Option<RemoteInboundRtp>,
}

/// Frames that a stream was given.
#[derive(Clone, Copy, Debug, Default)]
pub struct FramesSent {
    /// `framesSent`: frames that were taken, or forwarded whole.
    pub sent: u64,
    /// Of these, key frames.
    pub key_frames: u64,
    /// Frames refused because the send queue was full, and sound left out because a key of a telephone was heard instead.
    pub refused: u64,
    /// `framesEncoded`: frames that were handed over as such, taken or refused; `None` where packets are forwarded alone, for nothing is
    /// encoded then.
    pub encoded: Option<u64>,
    /// `keyFramesEncoded`: of these, key frames.
    pub key_frames_encoded: Option<u64>,
    /// `hugeFramesSent`: frames at least 2.5 times as large as the mean of those before them.
    pub huge: u64,
    /// `framesPerSecond`: frames by time.
    pub rate: FrameRate,
    /// `frameWidth`, `frameHeight`: of the newest key frame that told it.
    pub resolution: Option<Resolution>,
    /// `totalEncodedBytesTarget`: bytes that the frames would have had at the rate that the stream was told; 0 before it was told one.
    pub target_bytes: u64,
}

/// What the application's encoder has done for a stream so far, which it alone knows. `None`: it does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EncoderFigures {
    /// `qpSum`: the sum of the quantisation parameters of all frames.
    pub qp_sum: Option<u64>,
    /// `totalEncodeTime`: time that encoding took, all frames together.
    pub encode_time: Option<Duration>,
    /// `qualityLimitationReason`, where it is another than too little bandwidth, of which we know by ourselves.
    pub limited_by: Option<QualityLimitation>,
    /// `qualityLimitationResolutionChanges`: how often the size of the picture was changed for such a reason.
    pub resolution_changes: Option<u64>,
    /// `scalabilityMode`: the layers that it makes, as `L1T3` (webrtc-svc).
    pub scalability_mode: Option<String>,
    /// `encoderImplementation`: its name, for people.
    pub implementation: Option<String>,
    /// `powerEfficientEncoder`: whether hardware does it, for instance.
    pub power_efficient: Option<bool>,
}

/// What a stream sends against losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairsSent {
    /// `retransmittedPacketsSent`: packets that were sent again.
    pub retransmitted_packets_sent: u64,
    /// `retransmittedBytesSent`: bytes of payload that were sent again.
    pub retransmitted_bytes_sent: u64,
    /// Retransmissions refused: beyond the share of the rate, asked for again within a round trip or too often, or of long ago.
    pub retransmissions_refused: u64,
    /// `fecPacketsSent`: repair packets, and payloads that RED repeated. Those of FlexFEC, a stream of their own, are no packets of
    /// this one.
    pub fec_packets_sent: u64,
    /// `fecBytesSent`: bytes of these, without RTP headers.
    pub fec_bytes_sent: u64,
    /// Packets that only filled up what there was too little media for (not in webrtc-stats): nothing but padding, or a stored packet
    /// once more. `packets_sent` has them too.
    pub padding_packets_sent: u64,
    /// Bytes of these, headers included, before SRTP (not in webrtc-stats).
    pub padding_bytes_sent: u64,
}

/// What became of the packets of one stream that we send, by the peer's newest report, for who judges it without all of the statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Packets that have arrived, without retransmissions on an SSRC of their own.
    pub received: u64,
    /// Packets that never reached the peer; negative if duplicates outnumber them.
    pub lost: i64,
    /// Packets that were sent again.
    pub resent: u64,
}

/// `RTCRemoteInboundRtpStreamStats`: from the peer's report blocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoteInboundRtp {
    /// `packetsReceived`: packets of the stream, without retransmissions on an SSRC of their own, that have arrived: the numbers that the
    /// peer has seen, less what it lost.
    pub packets_received: u64,
    /// `packetsLost`: packets that never reached the peer; negative if duplicates outnumber them.
    pub packets_lost: i64,
    /// `fractionLost`: the lost part of the packets between the last two reports, 0 to 1.
    pub fraction_lost: f64,
    /// `jitter`: variation of the transit time (RFC 3550 §6.4.1), seconds.
    pub jitter: f64,
    /// `roundTripTime`, by the newest report that shows one.
    pub round_trip_time: Option<Duration>,
    /// `totalRoundTripTime`: the sum of all that were measured.
    pub total_round_trip_time: Duration,
    /// `roundTripTimeMeasurements`: how many were measured.
    pub round_trip_time_measurements: u64,
    /// What feedback of RFC 8888 says of its packets; `None` where there is none.
    pub feedback: Option<StreamFeedback>,
}

/// What the peer's feedback (RFC 8888) says of the packets of one stream. Each packet counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamFeedback {
    /// `packetsReceivedWithEct1`: packets that arrived with ECT(1).
    pub with_ect1: u64,
    /// `packetsReceivedWithCe`: packets that arrived with CE.
    pub with_ce: u64,
    /// `packetsWithBleachedEct1Marking`: packets that left with ECT(1) and arrived without any mark.
    pub bleached: u64,
    /// `packetsReportedAsLost`: packets that were told to be lost.
    pub lost: u64,
    /// `packetsReportedAsLostButRecovered`: of these, packets that were told to have come after all.
    pub recovered: u64,
}
