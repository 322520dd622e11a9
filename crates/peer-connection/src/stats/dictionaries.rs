//! The dictionaries of webrtc-stats that speak of the connection, its transport, its codecs and its data channels.

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

#[cfg(test)]
mod tests {
    use super::super::RtcStats;
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
