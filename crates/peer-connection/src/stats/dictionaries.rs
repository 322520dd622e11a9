//! The dictionaries of webrtc-stats, as far as there are figures for them.

use std::time::Duration;

use super::member::{Member, StatValue};

dictionary! {
    /// `RTCPeerConnectionStats`.
    PeerConnectionStats {
        /// How many data channels have reached `open`.
        data_channels_opened: u64 = "dataChannelsOpened",
        /// How many data channels were open and are closed.
        data_channels_closed: u64 = "dataChannelsClosed",
        /// How many datagrams were dropped before any protocol saw them: unknown first byte, or no authenticated path.
        datagrams_dropped: u64 = "datagramsDropped",
        /// RTP and RTCP packets that were not sent because the peer had ceased to answer checks while it went on
        /// sending.
        datagrams_withheld: u64 = "datagramsWithheld",
    }
}

dictionary! {
    /// `RTCTransportStats`.
    TransportStats {
        /// How many datagrams were sent, ICE's own not counted.
        packets_sent: u64 = "packetsSent",
        /// How many datagrams were received, ICE's own not counted.
        packets_received: u64 = "packetsReceived",
        /// How many bytes those datagrams had that were sent, UDP and IP not counted.
        bytes_sent: u64 = "bytesSent",
        /// How many bytes those datagrams had that were received, UDP and IP not counted.
        bytes_received: u64 = "bytesReceived",
        /// Who nominates: we are `controlling` or `controlled`.
        ice_role: &'static str = "iceRole",
        /// Our ICE user name fragment.
        ice_local_username_fragment: String = "iceLocalUsernameFragment",
        /// The state of ICE, a value of `RTCIceTransportState`.
        ice_state: &'static str = "iceState",
        /// The state of DTLS, a value of `RTCDtlsTransportState`.
        dtls_state: &'static str = "dtlsState",
        /// The id of the entry of the pair in use, if there is one.
        selected_candidate_pair_id: Option<String> = "selectedCandidatePairId",
        /// How often another pair was chosen.
        selected_candidate_pair_changes: u32 = "selectedCandidatePairChanges",
        /// The id of the entry of our certificate.
        local_certificate_id: Option<String> = "localCertificateId",
        /// The id of the entry of the peer's certificate, once DTLS is connected.
        remote_certificate_id: Option<String> = "remoteCertificateId",
        /// The version of DTLS as four hexadecimal digits: `FEFD` is 1.2, `FEFC` is 1.3.
        tls_version: Option<String> = "tlsVersion",
        /// The cipher suite of DTLS, by its IANA name.
        dtls_cipher: Option<&'static str> = "dtlsCipher",
        /// Our end of the DTLS handshake: `client`, `server` or `unknown`.
        dtls_role: &'static str = "dtlsRole",
        /// The group of the key exchange, by its IANA name.
        tls_group: Option<&'static str> = "tlsGroup",
        /// The protection profile of SRTP, by its IANA name; `None` without media.
        srtp_cipher: Option<&'static str> = "srtpCipher",
        /// How many feedback packets of RFC 8888 were sent.
        ccfb_messages_sent: u64 = "ccfbMessagesSent",
        /// How many feedback packets of RFC 8888 were received.
        ccfb_messages_received: u64 = "ccfbMessagesReceived",
        /// Whether data channels use I-DATA (RFC 8260), which keeps a large message from holding up others; not in the
        /// W3C's dictionary. `None` without an association.
        sctp_interleaving: Option<bool> = "sctpInterleaving",
    }
}

dictionary! {
    /// `RTCIceCandidatePairStats`.
    CandidatePairStats {
        /// The id of the transport's entry.
        transport_id: String = "transportId",
        /// The id of the entry of our candidate.
        local_candidate_id: String = "localCandidateId",
        /// The id of the entry of the peer's candidate.
        remote_candidate_id: String = "remoteCandidateId",
        /// How far its checks are: `frozen`, `waiting`, `in-progress`, `succeeded` or `failed`.
        state: &'static str = "state",
        /// Whether the controlling end has nominated it.
        nominated: bool = "nominated",
        /// Whether it is the pair in use.
        selected: bool = "selected",
        /// How many datagrams were sent on it, those of ICE itself not counted.
        packets_sent: u64 = "packetsSent",
        /// How many datagrams were received on it, those of ICE itself not counted.
        packets_received: u64 = "packetsReceived",
        /// How many bytes those datagrams had that were sent, UDP and IP not counted.
        bytes_sent: u64 = "bytesSent",
        /// How many bytes those datagrams had that were received, UDP and IP not counted.
        bytes_received: u64 = "bytesReceived",
        /// When the last one was sent, in milliseconds since 1970.
        last_packet_sent_timestamp: Option<f64> = "lastPacketSentTimestamp",
        /// When the last one was received, in milliseconds since 1970.
        last_packet_received_timestamp: Option<f64> = "lastPacketReceivedTimestamp",
        /// The round trip of the check that was answered last; in a report in seconds.
        current_round_trip_time: Option<Duration> = "currentRoundTripTime",
        /// The sum of the round trips of all checks that were answered; in a report in seconds.
        total_round_trip_time: Duration = "totalRoundTripTime",
        /// How much may be sent, in bits a second, if the peer's feedback says so; only of the pair in use.
        available_outgoing_bitrate: Option<u64> = "availableOutgoingBitrate",
        /// How many checks were received.
        requests_received: u64 = "requestsReceived",
        /// How many checks were sent, retransmissions not counted.
        requests_sent: u64 = "requestsSent",
        /// How many answers to checks were received.
        responses_received: u64 = "responsesReceived",
        /// How many answers to checks were sent.
        responses_sent: u64 = "responsesSent",
        /// How many consent checks were sent (RFC 7675).
        consent_requests_sent: u64 = "consentRequestsSent",
    }
}

dictionary! {
    /// How congestion control is doing. The W3C has no such dictionary; `availableOutgoingBitrate` is where it has it, and here
    /// beside what came of it.
    CongestionStats {
        /// The id of the transport's entry.
        transport_id: String = "transportId",
        /// The name of the controller: `GoogCC`, for instance.
        controller: &'static str = "controller",
        /// What all RTP packets may take together, in bits a second, if the peer's feedback says so.
        available_outgoing_bitrate: Option<u64> = "availableOutgoingBitrate",
        /// What of it was given to media, in bits a second: less what repairs it.
        allocated_bitrate: Option<u64> = "allocatedBitrate",
        /// What all senders together would use at most, in bits a second; absent if there is no such limit.
        wanted_bitrate: Option<u64> = "wantedBitrate",
        /// The largest rate that the path has been seen to carry, in bits a second; 0 before anything is known.
        proven_bitrate: u64 = "provenBitrate",
        /// How long packets wait in queues of the path, as far as feedback shows it; in a report in seconds.
        queue_delay: Option<Duration> = "queueDelay",
        /// The part of the packets that is lost, smoothed, 0 to 1.
        fraction_lost: f64 = "fractionLost",
        /// The part of the packets that the path marks instead of dropping them (ECN), smoothed, 0 to 1.
        fraction_marked: f64 = "fractionMarked",
        /// How many probes were asked for.
        probes_sent: u64 = "probesSent",
        /// How many of them have shown what the path carries.
        probes_accepted: u64 = "probesAccepted",
        /// How many RTP packets were sent with a mark of ECN.
        packets_sent_with_ect: u64 = "packetsSentWithEct",
        /// How many of these arrived without any mark.
        packets_with_bleached_marking: u64 = "packetsWithBleachedMarking",
        /// How many of these arrived with CE: a queue marked them instead of dropping them.
        packets_reported_with_ce: u64 = "packetsReportedWithCe",
        /// How many RTP packets came in with ECT(0) or ECT(1).
        packets_received_with_ect: u64 = "packetsReceivedWithEct",
        /// How many RTP packets came in with CE.
        packets_received_with_ce: u64 = "packetsReceivedWithCe",
        /// Why no mark is sent any more: `bleached` (the path takes marks away), `swallowed` (it drops what is marked), `classic-queue`
        /// (one marks only when it is long). Absent while none of this was found.
        marking_ended: Option<&'static str> = "markingEnded",
    }
}

dictionary! {
    /// `RTCIceCandidateStats`.
    CandidateStats {
        /// The id of the transport's entry.
        transport_id: String = "transportId",
        /// The IP address; absent where signalling gave only a name.
        address: Option<String> = "address",
        /// The port of the address.
        port: u16 = "port",
        /// The transport protocol: `udp` or `tcp`.
        protocol: &'static str = "protocol",
        /// The type of the candidate: `host`, `srflx`, `prflx` or `relay`.
        candidate_type: &'static str = "candidateType",
        /// The priority (RFC 8445 §5.1.2): the larger, the sooner it is checked.
        priority: u32 = "priority",
        /// The URL of the server that gave it, if one did.
        url: Option<String> = "url",
        /// How the TURN server is reached: `udp`, `tcp` or `tls`.
        relay_protocol: Option<&'static str> = "relayProtocol",
        /// Of TCP candidates, who connects: `active`, `passive` or `so`.
        tcp_type: Option<&'static str> = "tcpType",
        /// The base of a reflexive candidate, and the mapped address of a relayed one.
        related_address: Option<String> = "relatedAddress",
        /// The port of the related address.
        related_port: Option<u16> = "relatedPort",
        /// Equal for candidates that are likely to work alike.
        foundation: String = "foundation",
        /// The user name fragment of the generation that it belongs to.
        username_fragment: Option<String> = "usernameFragment",
    }
}

dictionary! {
    /// `RTCCertificateStats`.
    CertificateStats {
        /// The digits of the fingerprint, hexadecimal and separated by colons.
        fingerprint: String = "fingerprint",
        /// The hash function of the fingerprint, such as `sha-256`.
        fingerprint_algorithm: String = "fingerprintAlgorithm",
    }
}

dictionary! {
    /// `RTCCodecStats`.
    CodecStats {
        /// The payload type that stands for it in RTP, below 128.
        payload_type: u8 = "payloadType",
        /// The id of the transport's entry.
        transport_id: String = "transportId",
        /// Kind and name of the codec, such as `video/VP8`.
        mime_type: String = "mimeType",
        /// The clock of its timestamps, in ticks a second.
        clock_rate: u32 = "clockRate",
        /// How many channels the audio has; absent for video.
        channels: Option<u8> = "channels",
        /// The format parameters of `a=fmtp`; absent if there are none.
        sdp_fmtp_line: Option<String> = "sdpFmtpLine",
    }
}

dictionary! {
    /// `RTCInboundRtpStreamStats`.
    InboundRtpStats {
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
        /// The id of the entry of what the peer says about its sending, once it has.
        remote_id: Option<String> = "remoteId",
        /// How many packets were received, retransmissions included.
        packets_received: u64 = "packetsReceived",
        /// How many bytes of payload were received.
        bytes_received: u64 = "bytesReceived",
        /// How many bytes of headers and padding were received.
        header_bytes_received: u64 = "headerBytesReceived",
        /// How many packets were lost; negative if duplicates outnumber losses.
        packets_lost: i64 = "packetsLost",
        /// How much the time between packets varies (RFC 3550 §6.4.1), in seconds.
        jitter: f64 = "jitter",
        /// How many of the packets were retransmissions.
        retransmitted_packets_received: u64 = "retransmittedPacketsReceived",
        /// How many repair packets came, and payloads that RED repeated.
        fec_packets_received: u64 = "fecPacketsReceived",
        /// How many bytes these had.
        fec_bytes_received: u64 = "fecBytesReceived",
        /// How many of these were of no use.
        fec_packets_discarded: u64 = "fecPacketsDiscarded",
        /// How many packets came back out of them; ours, not in webrtc-stats.
        packets_recovered: u64 = "packetsRecovered",
        /// How many NACKs were sent.
        nack_count: u32 = "nackCount",
        /// How many PLIs were sent.
        pli_count: u32 = "pliCount",
        /// How many FIRs were sent.
        fir_count: u32 = "firCount",
        /// How many whole frames were received.
        frames_received: u64 = "framesReceived",
        /// How many of the whole frames were key frames.
        key_frames_received: u64 = "keyFramesReceived",
        /// How many frames were given up because packets were missing.
        frames_dropped: u64 = "framesDropped",
        /// How many packets came too late to be of use.
        packets_discarded: u64 = "packetsDiscarded",
        /// How loud the last packet was, from 0 to 1, if it said so.
        audio_level: Option<f64> = "audioLevel",
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
        /// The SSRC of the stream's retransmissions (RFC 4588), if they have one.
        rtx_ssrc: Option<u32> = "rtxSsrc",
        /// The id of the entry of what the peer says about its receiving, once it has.
        remote_id: Option<String> = "remoteId",
        /// How many packets were sent, retransmissions included.
        packets_sent: u64 = "packetsSent",
        /// How many bytes of payload were sent.
        bytes_sent: u64 = "bytesSent",
        /// How many bytes of headers and padding were sent.
        header_bytes_sent: u64 = "headerBytesSent",
        /// How many of the packets were retransmissions.
        retransmitted_packets_sent: u64 = "retransmittedPacketsSent",
        /// How many bytes of payload were in retransmissions.
        retransmitted_bytes_sent: u64 = "retransmittedBytesSent",
        /// How many repair packets were sent, and payloads that RED repeated.
        fec_packets_sent: u64 = "fecPacketsSent",
        /// How many bytes were in these.
        fec_bytes_sent: u64 = "fecBytesSent",
        /// How many of the packets only filled up what there was too little media for: padding, or a stored packet once more.
        /// Not in the W3C's dictionary.
        padding_packets_sent: u64 = "paddingPacketsSent",
        /// How many bytes these had, headers included, SRTP not. Not in the W3C's dictionary.
        padding_bytes_sent: u64 = "paddingBytesSent",
        /// How many frames were sent.
        frames_sent: u64 = "framesSent",
        /// How many of the frames were key frames.
        key_frames_sent: u64 = "keyFramesEncoded",
        /// Forwarded packets that were refused because they are larger than the path carries.
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
        /// The id of the entry of our sending.
        local_id: String = "localId",
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
        /// The id of the entry of our receiving.
        local_id: String = "localId",
        /// How many packets the peer has sent.
        packets_sent: u32 = "packetsSent",
        /// How many bytes of payload the peer has sent.
        bytes_sent: u32 = "bytesSent",
        /// How many sender reports have come.
        reports_sent: u64 = "reportsSent",
        /// The peer's clock when it made the newest report, as NTP counts, in units of 2^-32 seconds. Not of the W3C.
        ntp_timestamp: u64 = "ntpTimestamp",
        /// The same moment on the media clock of the stream. With the report of another stream it says what belongs together. Not of
        /// the W3C.
        rtp_timestamp: u32 = "rtpTimestamp",
        /// The round trip that was measured last, if one was; in a report in seconds.
        round_trip_time: Option<Duration> = "roundTripTime",
    }
}

dictionary! {
    /// `RTCDataChannelStats`.
    DataChannelStats {
        /// The label that the channel was opened with.
        label: String = "label",
        /// The subprotocol that the channel was opened with; empty for none.
        protocol: String = "protocol",
        /// The id of its SCTP stream, once it is known.
        data_channel_identifier: Option<u16> = "dataChannelIdentifier",
        /// Its state: `connecting`, `open`, `closing` or `closed`.
        state: &'static str = "state",
        /// How many messages were sent.
        messages_sent: u64 = "messagesSent",
        /// How many bytes of messages were sent.
        bytes_sent: u64 = "bytesSent",
        /// How many messages were received.
        messages_received: u64 = "messagesReceived",
        /// How many bytes of messages were received.
        bytes_received: u64 = "bytesReceived",
        /// How many bytes wait to be sent.
        buffered_amount: usize = "bufferedAmount",
    }
}

/// Declares the entry that is one of the dictionaries.
macro_rules! entries {
    ($($(#[$meta:meta])* $variant:ident($dictionary:ident) = $word:literal,)*) => {
        /// One entry of a report.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum RtcStats {
            $($(#[$meta])* $variant($dictionary),)*
        }

        impl RtcStats {
            /// The entry's `type`.
            pub fn stat_type(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $word,)*
                }
            }

            /// The entry's `id`.
            pub fn id(&self) -> &str {
                match self {
                    $(Self::$variant(stats) => &stats.id,)*
                }
            }

            /// The other members that are present, with their names in webrtc-stats.
            pub fn members(&self) -> Vec<(&'static str, StatValue)> {
                match self {
                    $(Self::$variant(stats) => stats.members(),)*
                }
            }
        }
    };
}

entries! {
    /// The whole connection.
    PeerConnection(PeerConnectionStats) = "peer-connection",
    /// The one transport.
    Transport(TransportStats) = "transport",
    /// A pair of candidates.
    CandidatePair(CandidatePairStats) = "candidate-pair",
    /// How congestion control is doing; only with media that is sent or received.
    Congestion(CongestionStats) = "antiphon-congestion",
    /// A candidate of ours.
    LocalCandidate(CandidateStats) = "local-candidate",
    /// A candidate of the peer's.
    RemoteCandidate(CandidateStats) = "remote-candidate",
    /// A certificate.
    Certificate(CertificateStats) = "certificate",
    /// A codec in use.
    Codec(CodecStats) = "codec",
    /// A stream that we receive.
    InboundRtp(InboundRtpStats) = "inbound-rtp",
    /// A stream that we send.
    OutboundRtp(OutboundRtpStats) = "outbound-rtp",
    /// A stream that we send, as the peer receives it.
    RemoteInboundRtp(RemoteInboundRtpStats) = "remote-inbound-rtp",
    /// A stream that we receive, as the peer sends it.
    RemoteOutboundRtp(RemoteOutboundRtpStats) = "remote-outbound-rtp",
    /// A data channel.
    DataChannel(DataChannelStats) = "data-channel",
}

/// All figures of a connection at one moment (`RTCStatsReport`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RtcStatsReport {
    /// When the figures were taken, counted from the Unix epoch.
    pub timestamp: Duration,
    /// The entries, in no order that means anything.
    pub entries: Vec<RtcStats>,
}

impl RtcStatsReport {
    /// The entry with this id.
    pub fn get(&self, id: &str) -> Option<&RtcStats> {
        self.entries.iter().find(|entry| entry.id() == id)
    }

    /// The transport's entry.
    pub fn transport(&self) -> Option<&TransportStats> {
        self.entries.iter().find_map(|entry| match entry {
            RtcStats::Transport(stats) => Some(stats),
            _ => None,
        })
    }

    /// The entry of the pair in use.
    pub fn selected_pair(&self) -> Option<&CandidatePairStats> {
        self.entries.iter().find_map(|entry| match entry {
            RtcStats::CandidatePair(stats) if stats.selected => Some(stats),
            _ => None,
        })
    }

    /// How congestion control is doing.
    pub fn congestion(&self) -> Option<&CongestionStats> {
        self.entries.iter().find_map(|entry| match entry {
            RtcStats::Congestion(stats) => Some(stats),
            _ => None,
        })
    }

    /// What the peers' sender reports say of the streams that we receive.
    pub fn remote_outbound_rtp(&self) -> impl Iterator<Item = &RemoteOutboundRtpStats> {
        self.entries.iter().filter_map(|entry| match entry {
            RtcStats::RemoteOutboundRtp(stats) => Some(stats),
            _ => None,
        })
    }

    /// The streams that we receive.
    pub fn inbound_rtp(&self) -> impl Iterator<Item = &InboundRtpStats> {
        self.entries.iter().filter_map(|entry| match entry {
            RtcStats::InboundRtp(stats) => Some(stats),
            _ => None,
        })
    }

    /// The streams that we send.
    pub fn outbound_rtp(&self) -> impl Iterator<Item = &OutboundRtpStats> {
        self.entries.iter().filter_map(|entry| match entry {
            RtcStats::OutboundRtp(stats) => Some(stats),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_members_are_left_out() {
        let entry = RtcStats::Certificate(CertificateStats {
            id: "CF1".into(),
            fingerprint: "AB".into(),
            fingerprint_algorithm: "sha-256".into(),
        });
        assert_eq!((entry.stat_type(), entry.id()), ("certificate", "CF1"));
        assert_eq!(
            entry.members(),
            [
                ("fingerprint", StatValue::Text("AB".into())),
                ("fingerprintAlgorithm", StatValue::Text("sha-256".into())),
            ]
        );
        let codec = CodecStats {
            id: "C1".into(),
            payload_type: 96,
            transport_id: "T".into(),
            mime_type: "video/VP8".into(),
            clock_rate: 90_000,
            channels: None,
            sdp_fmtp_line: None,
        };
        assert_eq!(codec.members().len(), 4);
    }
}
