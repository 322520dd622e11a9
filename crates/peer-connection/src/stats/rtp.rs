//! The dictionaries of webrtc-stats that speak of streams of RTP, of their sources, and of where sound is played.

use std::time::Duration;

use super::member::{Member, StatValue};

dictionary! {
    /// `RTCInboundRtpStreamStats`.
    InboundRtpStats {
        /// The id that the peer gives the track, if it gives one.
        track_identifier: Option<String> = "trackIdentifier",
        /// The SSRC of the stream.
        ssrc: u32 = "ssrc",
        /// Whether the stream is `audio` or `video`.
        kind: &'static str = "kind",
        /// The id of the transport's entry.
        transport_id: String = "transportId",
        /// The id of the entry of the codec in use, once a packet has named it.
        codec_id: Option<String> = "codecId",
        /// The `a=mid` of the media section that the stream belongs to.
        mid: String = "mid",
        /// The RID of the stream (RFC 8852), if it has one: the name of its simulcast layer.
        rid: Option<String> = "rid",
        /// The SSRC of the stream's retransmissions (RFC 4588), if they have one.
        rtx_ssrc: Option<u32> = "rtxSsrc",
        /// The SSRC of the packets that protect the stream (FlexFEC), if they have one.
        fec_ssrc: Option<u32> = "fecSsrc",
        /// The id of the entry of what the peer says about its sending, once it has.
        remote_id: Option<String> = "remoteId",
        /// Of sound, the id of the entry of where it is played, once the application has told of that.
        playout_id: Option<String> = "playoutId",
        /// How many packets were received, retransmissions included.
        packets_received: u64 = "packetsReceived",
        /// How many of them came with ECT(1).
        packets_received_with_ect1: u64 = "packetsReceivedWithEct1",
        /// How many of them came with CE: a queue marked them instead of dropping them.
        packets_received_with_ce: u64 = "packetsReceivedWithCe",
        /// How many bytes of payload were received.
        bytes_received: u64 = "bytesReceived",
        /// How many bytes of headers and padding were received.
        header_bytes_received: u64 = "headerBytesReceived",
        /// When the newest packet came, in milliseconds since 1970.
        last_packet_received_timestamp: Option<f64> = "lastPacketReceivedTimestamp",
        /// How many packets were lost; negative if duplicates outnumber losses.
        packets_lost: i64 = "packetsLost",
        /// How much the time between packets varies (RFC 3550 §6.4.1), in seconds.
        jitter: f64 = "jitter",
        /// How many of the packets were retransmissions.
        retransmitted_packets_received: u64 = "retransmittedPacketsReceived",
        /// How many bytes of payload these had.
        retransmitted_bytes_received: u64 = "retransmittedBytesReceived",
        /// How many repair packets came, and payloads that RED repeated.
        fec_packets_received: u64 = "fecPacketsReceived",
        /// How many bytes these had.
        fec_bytes_received: u64 = "fecBytesReceived",
        /// How many of these were of no use.
        fec_packets_discarded: u64 = "fecPacketsDiscarded",
        /// How many packets came back out of them; ours, not in webrtc-stats.
        packets_recovered: u64 = "packetsRecovered",
        /// How many of these RED had repeated (RFC 2198); ours.
        packets_recovered_by_red: u64 = "packetsRecoveredByRed",
        /// How many of these ULPFEC brought back (RFC 5109); ours.
        packets_recovered_by_ulpfec: u64 = "packetsRecoveredByUlpfec",
        /// How many of these FlexFEC brought back (RFC 8627); ours.
        packets_recovered_by_flexfec: u64 = "packetsRecoveredByFlexfec",
        /// How many NACKs were sent.
        nack_count: u32 = "nackCount",
        /// How many PLIs were sent.
        pli_count: u32 = "pliCount",
        /// How many FIRs were sent.
        fir_count: u32 = "firCount",
        /// How many whole frames were received. Of sound each packet's worth is one; the W3C has it for video only.
        frames_received: u64 = "framesReceived",
        /// How many of the whole frames were key frames; ours, absent for sound.
        key_frames_received: Option<u64> = "keyFramesReceived",
        /// How many frames were given up because packets were missing, and how many the application says that it gave up.
        frames_dropped: u64 = "framesDropped",
        /// How many whole frames came in the last second; absent for sound.
        frames_per_second: Option<f64> = "framesPerSecond",
        /// How wide the pictures are, in pixels, since the newest key frame that told it.
        frame_width: Option<u32> = "frameWidth",
        /// How high the pictures are, in pixels, since the newest key frame that told it.
        frame_height: Option<u32> = "frameHeight",
        /// How many of the whole frames had more than one packet; absent for sound.
        frames_assembled_from_multiple_packets: Option<u64> = "framesAssembledFromMultiplePackets",
        /// How long these took from their first packet to the last, all together; in a report in seconds; absent for sound.
        total_assembly_time: Option<Duration> = "totalAssemblyTime",
        /// From a frame's first packet until it was handed over, all frames together; of sound each tick of its clock counts. In a report
        /// in seconds.
        jitter_buffer_delay: Duration = "jitterBufferDelay",
        /// How many frames of video, or ticks of sound, that is the sum of.
        jitter_buffer_emitted_count: u64 = "jitterBufferEmittedCount",
        /// The delay that was aimed at when each of these was handed over, summed likewise; in a report in seconds. This and what follows
        /// down to `removed_samples_for_acceleration` is there where the jitter buffer holds frames back.
        jitter_buffer_target_delay: Option<Duration> = "jitterBufferTargetDelay",
        /// The delay that the network alone asked for, summed likewise; in a report in seconds.
        jitter_buffer_minimum_delay: Option<Duration> = "jitterBufferMinimumDelay",
        /// What is played now, by the peer's clock, in milliseconds since 1970.
        estimated_playout_timestamp: Option<f64> = "estimatedPlayoutTimestamp",
        /// Of these samples, those that the decoder had to make up, because they were lost or late.
        concealed_samples: Option<u64> = "concealedSamples",
        /// Of these, samples that are silent because too many in a row are missing.
        silent_concealed_samples: Option<u64> = "silentConcealedSamples",
        /// How often samples began to be made up.
        concealment_events: Option<u64> = "concealmentEvents",
        /// How many samples sound was stretched by.
        inserted_samples_for_deceleration: Option<u64> = "insertedSamplesForDeceleration",
        /// How many samples sound was squeezed by.
        removed_samples_for_acceleration: Option<u64> = "removedSamplesForAcceleration",
        /// The time between pictures that were handed over one after the other, summed, in seconds; absent where packets go out, as the
        /// next five.
        total_inter_frame_delay: Option<f64> = "totalInterFrameDelay",
        /// The squares of these times, summed, in seconds squared.
        total_squared_inter_frame_delay: Option<f64> = "totalSquaredInterFrameDelay",
        /// How often the next picture came too late by three mean times between pictures, and by 150 ms.
        freeze_count: Option<u32> = "freezeCount",
        /// How long these times were together; in a report in seconds.
        total_freezes_duration: Option<Duration> = "totalFreezesDuration",
        /// How often no picture came for more than five seconds.
        pause_count: Option<u32> = "pauseCount",
        /// How long these times were together; in a report in seconds.
        total_pauses_duration: Option<Duration> = "totalPausesDuration",
        /// How many packets came too late to be of use.
        packets_discarded: u64 = "packetsDiscarded",
        /// How loud the sound is, from 0 to 1, by the newest packet that said so.
        audio_level: Option<f64> = "audioLevel",
        /// The sum of its squared levels times seconds; absent while no packet tells a level.
        total_audio_energy: Option<f64> = "totalAudioEnergy",
        /// How long the sound is, in seconds: what is lost counts, and silence of which nothing is sent does not.
        total_samples_duration: Option<f64> = "totalSamplesDuration",
        /// The same in ticks of its clock, which are samples but for G.722.
        total_samples_received: Option<u64> = "totalSamplesReceived",
        /// How many frames the application says that it decoded.
        frames_decoded: Option<u64> = "framesDecoded",
        /// How many of these were key frames.
        key_frames_decoded: Option<u64> = "keyFramesDecoded",
        /// How many frames the application says that it showed.
        frames_rendered: Option<u64> = "framesRendered",
        /// The sum of the quantisation parameters of the decoded frames, as the application says.
        qp_sum: Option<u64> = "qpSum",
        /// How long decoding took, all frames together, as the application says; in a report in seconds.
        total_decode_time: Option<Duration> = "totalDecodeTime",
        /// The name of the decoder, as the application says.
        decoder_implementation: Option<String> = "decoderImplementation",
        /// Whether the decoder saves power, as the application says.
        power_efficient_decoder: Option<bool> = "powerEfficientDecoder",
    }
}

dictionary! {
    /// `RTCOutboundRtpStreamStats`.
    OutboundRtpStats {
        /// The SSRC of the stream.
        ssrc: u32 = "ssrc",
        /// Whether the stream is `audio` or `video`.
        kind: &'static str = "kind",
        /// The id of the transport's entry.
        transport_id: String = "transportId",
        /// The id of the entry of the codec in use, once a packet has named it.
        codec_id: Option<String> = "codecId",
        /// The `a=mid` of the media section that the stream belongs to.
        mid: String = "mid",
        /// The RID of the stream (RFC 8852), if it has one: the name of its simulcast layer.
        rid: Option<String> = "rid",
        /// The id of the entry of what it is made from, if there is such an entry.
        media_source_id: Option<String> = "mediaSourceId",
        /// The place of the encoding among those of its sender, from 0.
        encoding_index: Option<usize> = "encodingIndex",
        /// The SSRC of the stream's retransmissions (RFC 4588), if they have one.
        rtx_ssrc: Option<u32> = "rtxSsrc",
        /// The id of the entry of what the peer says about its receiving, once it has.
        remote_id: Option<String> = "remoteId",
        /// Whether it may be sent: that is negotiated, and the application wants it.
        active: bool = "active",
        /// How many packets were sent, retransmissions included.
        packets_sent: u64 = "packetsSent",
        /// How many of them left with ECT(1).
        packets_sent_with_ect1: u64 = "packetsSentWithEct1",
        /// How many bytes of payload were sent.
        bytes_sent: u64 = "bytesSent",
        /// How many bytes of headers and padding were sent.
        header_bytes_sent: u64 = "headerBytesSent",
        /// How many of the packets were retransmissions.
        retransmitted_packets_sent: u64 = "retransmittedPacketsSent",
        /// How many bytes of payload were in retransmissions.
        retransmitted_bytes_sent: u64 = "retransmittedBytesSent",
        /// How many retransmissions were refused, because they would have taken too much of the rate; ours, not in webrtc-stats.
        retransmissions_refused: u64 = "retransmissionsRefused",
        /// How many repair packets were sent, and payloads that RED repeated; ours.
        fec_packets_sent: u64 = "fecPacketsSent",
        /// How many bytes were in these; ours.
        fec_bytes_sent: u64 = "fecBytesSent",
        /// How many of the packets only filled up what there was too little media for: padding, or a stored packet once more; ours.
        padding_packets_sent: u64 = "paddingPacketsSent",
        /// How many bytes these had, headers included, SRTP not; ours.
        padding_bytes_sent: u64 = "paddingBytesSent",
        /// How many frames were sent. Of sound each packet's worth is one; the W3C has it for video only.
        frames_sent: u64 = "framesSent",
        /// How many of the frames were key frames; ours, absent for sound.
        key_frames_sent: Option<u64> = "keyFramesSent",
        /// How many frames were at least 2.5 times as large as the mean of those before; absent for sound.
        huge_frames_sent: Option<u64> = "hugeFramesSent",
        /// How many frames were handed over, taken or not: each was encoded. Absent for sound, and where packets are forwarded.
        frames_encoded: Option<u64> = "framesEncoded",
        /// How many of these were key frames.
        key_frames_encoded: Option<u64> = "keyFramesEncoded",
        /// How many frames were sent in the last second; absent for sound.
        frames_per_second: Option<f64> = "framesPerSecond",
        /// How wide the pictures are, in pixels, since the newest key frame that told it.
        frame_width: Option<u32> = "frameWidth",
        /// How high the pictures are, in pixels, since the newest key frame that told it.
        frame_height: Option<u32> = "frameHeight",
        /// Frames that were not taken: there was no room for them, or a key of a telephone was heard instead of sound; ours.
        frames_refused: u64 = "framesRefused",
        /// Forwarded packets that were refused because they are larger than the path carries; ours.
        packets_too_large: u64 = "packetsTooLarge",
        /// How many NACKs were received.
        nack_count: u32 = "nackCount",
        /// How many PLIs were received.
        pli_count: u32 = "pliCount",
        /// How many FIRs were received.
        fir_count: u32 = "firCount",
        /// How long packets have waited in the pacer, all of them together; in a report in seconds.
        total_packet_send_delay: Duration = "totalPacketSendDelay",
        /// How often a circuit breaker has stopped the stream (RFC 8083; ours, not the W3C's).
        circuit_breaker_trips: u32 = "circuitBreakerTrips",
        /// How much the stream may send, in bits a second, if the peer's feedback says so.
        target_bitrate: Option<u64> = "targetBitrate",
        /// How many bytes the frames would have had at that rate; absent for sound and where packets are forwarded. webrtc-stats had it
        /// until 2025.
        total_encoded_bytes_target: Option<u64> = "totalEncodedBytesTarget",
        /// What keeps the pictures from being better: `bandwidth` if the stream may send less than its `maxBitrate`, else `none`, unless the
        /// application says another. Absent if there is no `maxBitrate`, or no feedback.
        quality_limitation_reason: Option<&'static str> = "qualityLimitationReason",
        /// For how many seconds each reason has held.
        quality_limitation_durations: Option<Vec<(&'static str, f64)>> = "qualityLimitationDurations",
        /// How often the application says that it changed the size of the pictures for such a reason.
        quality_limitation_resolution_changes: Option<u64> = "qualityLimitationResolutionChanges",
        /// The layers of the stream (webrtc-svc), as the application says, or else as it has wished by its parameters.
        scalability_mode: Option<String> = "scalabilityMode",
        /// The sum of the quantisation parameters of all frames, as the application says.
        qp_sum: Option<u64> = "qpSum",
        /// How long encoding took, all frames together, as the application says; in a report in seconds.
        total_encode_time: Option<Duration> = "totalEncodeTime",
        /// The name of the encoder, as the application says.
        encoder_implementation: Option<String> = "encoderImplementation",
        /// Whether the encoder saves power, as the application says.
        power_efficient_encoder: Option<bool> = "powerEfficientEncoder",
    }
}

dictionary! {
    /// `RTCRemoteInboundRtpStreamStats`.
    RemoteInboundRtpStats {
        /// The SSRC of our stream that it is about.
        ssrc: u32 = "ssrc",
        /// Whether the stream is `audio` or `video`.
        kind: &'static str = "kind",
        /// The id of the transport's entry.
        transport_id: String = "transportId",
        /// The id of the entry of the codec in use, once a packet has named it.
        codec_id: Option<String> = "codecId",
        /// The id of the entry of our sending.
        local_id: String = "localId",
        /// How many of our packets have arrived, by the numbers that the peer has seen and what it lost.
        packets_received: u64 = "packetsReceived",
        /// How many of our packets have arrived with ECT(1); as the next four, only where feedback of RFC 8888 was negotiated.
        packets_received_with_ect1: Option<u64> = "packetsReceivedWithEct1",
        /// How many of our packets have arrived with CE.
        packets_received_with_ce: Option<u64> = "packetsReceivedWithCe",
        /// How many of our packets left with ECT(1) and arrived without a mark.
        packets_with_bleached_ect1_marking: Option<u64> = "packetsWithBleachedEct1Marking",
        /// How many of our packets feedback told to be lost.
        packets_reported_as_lost: Option<u64> = "packetsReportedAsLost",
        /// How many of these it told later to have come.
        packets_reported_as_lost_but_recovered: Option<u64> = "packetsReportedAsLostButRecovered",
        /// How many of our packets the peer misses; negative if duplicates outnumber losses.
        packets_lost: i64 = "packetsLost",
        /// The part of our packets that was lost between the last two reports, from 0 to 1.
        fraction_lost: f64 = "fractionLost",
        /// How much the time between packets varies (RFC 3550 §6.4.1), in seconds.
        jitter: f64 = "jitter",
        /// The round trip that the last report gave; in a report in seconds.
        round_trip_time: Option<Duration> = "roundTripTime",
        /// The sum of all round trips that were measured; in a report in seconds.
        total_round_trip_time: Duration = "totalRoundTripTime",
        /// How many round trips were measured.
        round_trip_time_measurements: u64 = "roundTripTimeMeasurements",
    }
}

dictionary! {
    /// `RTCRemoteOutboundRtpStreamStats`.
    RemoteOutboundRtpStats {
        /// The SSRC of the peer's stream that it is about.
        ssrc: u32 = "ssrc",
        /// Whether the stream is `audio` or `video`.
        kind: &'static str = "kind",
        /// The id of the transport's entry.
        transport_id: String = "transportId",
        /// The id of the entry of the codec in use, once a packet has named it.
        codec_id: Option<String> = "codecId",
        /// The id of the entry of our receiving.
        local_id: String = "localId",
        /// How many packets the peer has sent.
        packets_sent: u32 = "packetsSent",
        /// How many bytes of payload the peer has sent.
        bytes_sent: u32 = "bytesSent",
        /// How many sender reports have come.
        reports_sent: u64 = "reportsSent",
        /// The peer's clock when it made the newest report, in milliseconds since 1970.
        remote_timestamp: f64 = "remoteTimestamp",
        /// The same as NTP counts, in units of 2^-32 seconds. Not of the W3C.
        ntp_timestamp: u64 = "ntpTimestamp",
        /// The same moment on the media clock of the stream. With the report of another stream it says what belongs together. Not of
        /// the W3C.
        rtp_timestamp: u32 = "rtpTimestamp",
        /// The round trip that was measured last, if one was; in a report in seconds.
        round_trip_time: Option<Duration> = "roundTripTime",
        /// The sum of all round trips that were measured; in a report in seconds.
        total_round_trip_time: Duration = "totalRoundTripTime",
        /// How many round trips were measured.
        round_trip_time_measurements: u64 = "roundTripTimeMeasurements",
    }
}

dictionary! {
    /// `RTCAudioSourceStats`: the sound that the application hands over.
    AudioSourceStats {
        /// The id of the outgoing track, if it has one.
        track_identifier: Option<String> = "trackIdentifier",
        /// Always `audio`.
        kind: &'static str = "kind",
        /// How loud it is, from 0 to 1, as its newest frame with a level says.
        audio_level: Option<f64> = "audioLevel",
        /// The sum of its squared levels times seconds; absent while no frame tells a level.
        total_audio_energy: Option<f64> = "totalAudioEnergy",
        /// How long it is, in seconds, by the timestamps of its frames; absent where packets are forwarded.
        total_samples_duration: Option<f64> = "totalSamplesDuration",
    }
}

dictionary! {
    /// `RTCVideoSourceStats`: the pictures that the application hands over. Of several encodings, those of the largest picture.
    VideoSourceStats {
        /// The id of the outgoing track, if it has one.
        track_identifier: Option<String> = "trackIdentifier",
        /// Always `video`.
        kind: &'static str = "kind",
        /// How wide the pictures are, in pixels, once a key frame has told it.
        width: Option<u32> = "width",
        /// How high the pictures are, in pixels, once a key frame has told it.
        height: Option<u32> = "height",
        /// How many pictures were handed over; absent where packets are forwarded.
        frames: Option<u64> = "frames",
        /// How many were handed over in the last second.
        frames_per_second: Option<f64> = "framesPerSecond",
    }
}

dictionary! {
    /// `RTCAudioPlayoutStats`: where the application plays sound, which it alone knows.
    AudioPlayoutStats {
        /// Always `audio`.
        kind: &'static str = "kind",
        /// How much was made up because there was nothing to play; in a report in seconds.
        synthesized_samples_duration: Duration = "synthesizedSamplesDuration",
        /// How often that began.
        synthesized_samples_events: u64 = "synthesizedSamplesEvents",
        /// How much was played; in a report in seconds.
        total_samples_duration: Duration = "totalSamplesDuration",
        /// How long each sample waited between us and the loudspeaker, all together; in a report in seconds.
        total_playout_delay: Duration = "totalPlayoutDelay",
        /// How many samples were played.
        total_samples_count: u64 = "totalSamplesCount",
    }
}
