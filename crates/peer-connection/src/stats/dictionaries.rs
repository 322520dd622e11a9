//! The dictionaries of webrtc-stats, as far as there are figures for them.

use std::time::Duration;

/// A figure of a report.
#[derive(Clone, Debug, PartialEq)]
pub enum StatValue {
    /// A truth.
    Bool(bool),
    /// A number; times in seconds unless webrtc-stats says otherwise.
    Number(f64),
    /// A word, or the id of another entry.
    Text(String),
}

/// What a member of a dictionary can be turned into. `None`: the member is absent.
trait Member {
    fn value(&self) -> Option<StatValue>;
}

impl Member for bool {
    fn value(&self) -> Option<StatValue> {
        Some(StatValue::Bool(*self))
    }
}

impl Member for String {
    fn value(&self) -> Option<StatValue> {
        Some(StatValue::Text(self.clone()))
    }
}

impl Member for &'static str {
    fn value(&self) -> Option<StatValue> {
        Some(StatValue::Text((*self).to_owned()))
    }
}

impl Member for Duration {
    fn value(&self) -> Option<StatValue> {
        Some(StatValue::Number(self.as_secs_f64()))
    }
}

macro_rules! number_members {
    ($($kind:ty),*) => {
        $(impl Member for $kind {
            fn value(&self) -> Option<StatValue> {
                Some(StatValue::Number(*self as f64))
            }
        })*
    };
}
number_members!(u8, u16, u32, u64, usize, i64, f64);

impl<T: Member> Member for Option<T> {
    fn value(&self) -> Option<StatValue> {
        self.as_ref().and_then(Member::value)
    }
}

/// Declares a dictionary whose fields know their W3C names.
macro_rules! dictionary {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty = $member:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            /// The entry's id, the same in every report.
            pub id: String,
            $($(#[$field_meta])* pub $field: $kind,)*
        }

        impl $name {
            fn members(&self) -> Vec<(&'static str, StatValue)> {
                [$(($member, self.$field.value()),)*]
                    .into_iter()
                    .filter_map(|(name, value)| value.map(|value| (name, value)))
                    .collect()
            }
        }
    };
}

dictionary! {
    /// `RTCPeerConnectionStats`.
    PeerConnectionStats {
        /// Channels that reached `open`.
        data_channels_opened: u64 = "dataChannelsOpened",
        /// Channels that were open and closed.
        data_channels_closed: u64 = "dataChannelsClosed",
        /// Datagrams that were dropped before any protocol saw them: unknown first byte, or no authenticated path.
        datagrams_dropped: u64 = "datagramsDropped",
        /// RTP and RTCP packets that were not sent because the peer had ceased to answer checks while it went on sending.
        datagrams_withheld: u64 = "datagramsWithheld",
    }
}

dictionary! {
    /// `RTCTransportStats`.
    TransportStats {
        /// Datagrams sent, ICE's own not counted.
        packets_sent: u64 = "packetsSent",
        /// Datagrams received, ICE's own not counted.
        packets_received: u64 = "packetsReceived",
        /// Their bytes.
        bytes_sent: u64 = "bytesSent",
        /// Their bytes.
        bytes_received: u64 = "bytesReceived",
        /// `controlling` or `controlled`.
        ice_role: &'static str = "iceRole",
        /// Our user name fragment.
        ice_local_username_fragment: String = "iceLocalUsernameFragment",
        /// ICE's state.
        ice_state: &'static str = "iceState",
        /// DTLS's state.
        dtls_state: &'static str = "dtlsState",
        /// The pair in use.
        selected_candidate_pair_id: Option<String> = "selectedCandidatePairId",
        /// How often another pair was chosen.
        selected_candidate_pair_changes: u32 = "selectedCandidatePairChanges",
        /// Our certificate's entry.
        local_certificate_id: Option<String> = "localCertificateId",
        /// The peer's certificate's entry.
        remote_certificate_id: Option<String> = "remoteCertificateId",
        /// `FEFD` is DTLS 1.2, `FEFC` is 1.3.
        tls_version: Option<String> = "tlsVersion",
        /// The cipher suite.
        dtls_cipher: Option<&'static str> = "dtlsCipher",
        /// `client`, `server` or `unknown`.
        dtls_role: &'static str = "dtlsRole",
        /// The group of the key exchange.
        tls_group: Option<&'static str> = "tlsGroup",
        /// The SRTP profile.
        srtp_cipher: Option<&'static str> = "srtpCipher",
        /// Whether data channels use I-DATA (RFC 8260), which keeps a large message from holding up others; not in the W3C's
        /// dictionary. `None` without an association.
        sctp_interleaving: Option<bool> = "sctpInterleaving",
    }
}

dictionary! {
    /// `RTCIceCandidatePairStats`.
    CandidatePairStats {
        /// The transport's entry.
        transport_id: String = "transportId",
        /// Our candidate's entry.
        local_candidate_id: String = "localCandidateId",
        /// The peer's candidate's entry.
        remote_candidate_id: String = "remoteCandidateId",
        /// `frozen`, `waiting`, `in-progress`, `succeeded` or `failed`.
        state: &'static str = "state",
        /// Whether it was nominated.
        nominated: bool = "nominated",
        /// Whether it is in use.
        selected: bool = "selected",
        /// Datagrams sent, those of ICE itself not counted.
        packets_sent: u64 = "packetsSent",
        /// Datagrams received, those of ICE itself not counted.
        packets_received: u64 = "packetsReceived",
        /// Their payload.
        bytes_sent: u64 = "bytesSent",
        /// Their payload.
        bytes_received: u64 = "bytesReceived",
        /// When the last one was sent, in milliseconds since 1970.
        last_packet_sent_timestamp: Option<f64> = "lastPacketSentTimestamp",
        /// When the last one was received, in milliseconds since 1970.
        last_packet_received_timestamp: Option<f64> = "lastPacketReceivedTimestamp",
        /// The latest round trip of a check.
        current_round_trip_time: Option<Duration> = "currentRoundTripTime",
        /// The sum over all answers.
        total_round_trip_time: Duration = "totalRoundTripTime",
        /// Bits a second that may be sent, if the peer's feedback says.
        available_outgoing_bitrate: Option<u64> = "availableOutgoingBitrate",
        /// Checks received.
        requests_received: u64 = "requestsReceived",
        /// Checks sent.
        requests_sent: u64 = "requestsSent",
        /// Answers received.
        responses_received: u64 = "responsesReceived",
        /// Answers sent.
        responses_sent: u64 = "responsesSent",
        /// Consent checks sent (RFC 7675).
        consent_requests_sent: u64 = "consentRequestsSent",
    }
}

dictionary! {
    /// `RTCIceCandidateStats`.
    CandidateStats {
        /// The transport's entry.
        transport_id: String = "transportId",
        /// The address; absent where signalling gave only a name.
        address: Option<String> = "address",
        /// The port.
        port: u16 = "port",
        /// `udp` or `tcp`.
        protocol: &'static str = "protocol",
        /// `host`, `srflx`, `prflx` or `relay`.
        candidate_type: &'static str = "candidateType",
        /// Larger is better.
        priority: u32 = "priority",
        /// The server that gave it.
        url: Option<String> = "url",
        /// How the TURN server is reached: `udp`, `tcp` or `tls`.
        relay_protocol: Option<&'static str> = "relayProtocol",
        /// `active`, `passive` or `so`, of TCP candidates.
        tcp_type: Option<&'static str> = "tcpType",
        /// The base of a reflexive candidate, and the mapped address of a relayed one.
        related_address: Option<String> = "relatedAddress",
        /// Its port.
        related_port: Option<u16> = "relatedPort",
        /// Equal for candidates that are likely to work alike.
        foundation: String = "foundation",
        /// The generation that it belongs to.
        username_fragment: Option<String> = "usernameFragment",
    }
}

dictionary! {
    /// `RTCCertificateStats`.
    CertificateStats {
        /// The fingerprint's digits.
        fingerprint: String = "fingerprint",
        /// The hash function.
        fingerprint_algorithm: String = "fingerprintAlgorithm",
    }
}

dictionary! {
    /// `RTCCodecStats`.
    CodecStats {
        /// The payload type.
        payload_type: u8 = "payloadType",
        /// The transport's entry.
        transport_id: String = "transportId",
        /// `video/VP8`.
        mime_type: String = "mimeType",
        /// Ticks per second.
        clock_rate: u32 = "clockRate",
        /// Channels of audio.
        channels: Option<u8> = "channels",
        /// The format parameters.
        sdp_fmtp_line: Option<String> = "sdpFmtpLine",
    }
}

dictionary! {
    /// `RTCInboundRtpStreamStats`.
    InboundRtpStats {
        /// The source.
        ssrc: u32 = "ssrc",
        /// `audio` or `video`.
        kind: &'static str = "kind",
        /// The transport's entry.
        transport_id: String = "transportId",
        /// The codec's entry.
        codec_id: Option<String> = "codecId",
        /// The media section.
        mid: String = "mid",
        /// The simulcast layer.
        rid: Option<String> = "rid",
        /// The source of retransmissions.
        rtx_ssrc: Option<u32> = "rtxSsrc",
        /// The entry of what the peer says about its sending.
        remote_id: Option<String> = "remoteId",
        /// Packets, retransmissions included.
        packets_received: u64 = "packetsReceived",
        /// Bytes of payload.
        bytes_received: u64 = "bytesReceived",
        /// Bytes of headers and padding.
        header_bytes_received: u64 = "headerBytesReceived",
        /// Packets lost; negative if duplicates outnumber losses.
        packets_lost: i64 = "packetsLost",
        /// Interarrival jitter in seconds.
        jitter: f64 = "jitter",
        /// Retransmissions.
        retransmitted_packets_received: u64 = "retransmittedPacketsReceived",
        /// NACKs sent.
        nack_count: u32 = "nackCount",
        /// PLIs sent.
        pli_count: u32 = "pliCount",
        /// FIRs sent.
        fir_count: u32 = "firCount",
        /// Whole frames.
        frames_received: u64 = "framesReceived",
        /// Whole key frames.
        key_frames_received: u64 = "keyFramesReceived",
        /// Frames given up.
        frames_dropped: u64 = "framesDropped",
        /// Packets that came too late.
        packets_discarded: u64 = "packetsDiscarded",
        /// Loudness, 0 to 1.
        audio_level: Option<f64> = "audioLevel",
    }
}

dictionary! {
    /// `RTCOutboundRtpStreamStats`.
    OutboundRtpStats {
        /// The source.
        ssrc: u32 = "ssrc",
        /// `audio` or `video`.
        kind: &'static str = "kind",
        /// The transport's entry.
        transport_id: String = "transportId",
        /// The codec's entry.
        codec_id: Option<String> = "codecId",
        /// The media section.
        mid: String = "mid",
        /// The simulcast layer.
        rid: Option<String> = "rid",
        /// The source of retransmissions.
        rtx_ssrc: Option<u32> = "rtxSsrc",
        /// The entry of what the peer says about its receiving.
        remote_id: Option<String> = "remoteId",
        /// Packets, retransmissions included.
        packets_sent: u64 = "packetsSent",
        /// Bytes of payload.
        bytes_sent: u64 = "bytesSent",
        /// Bytes of headers and padding.
        header_bytes_sent: u64 = "headerBytesSent",
        /// Retransmissions.
        retransmitted_packets_sent: u64 = "retransmittedPacketsSent",
        /// Their bytes.
        retransmitted_bytes_sent: u64 = "retransmittedBytesSent",
        /// Frames.
        frames_sent: u64 = "framesSent",
        /// Key frames.
        key_frames_sent: u64 = "keyFramesEncoded",
        /// Forwarded packets that were refused because they are larger than the path carries.
        packets_too_large: u64 = "packetsTooLarge",
        /// NACKs received.
        nack_count: u32 = "nackCount",
        /// PLIs received.
        pli_count: u32 = "pliCount",
        /// FIRs received.
        fir_count: u32 = "firCount",
        /// Time spent in the pacer, all packets together.
        total_packet_send_delay: Duration = "totalPacketSendDelay",
        /// Bits a second.
        target_bitrate: Option<u64> = "targetBitrate",
    }
}

dictionary! {
    /// `RTCRemoteInboundRtpStreamStats`.
    RemoteInboundRtpStats {
        /// The source, ours.
        ssrc: u32 = "ssrc",
        /// `audio` or `video`.
        kind: &'static str = "kind",
        /// The transport's entry.
        transport_id: String = "transportId",
        /// The entry of our sending.
        local_id: String = "localId",
        /// Packets lost.
        packets_lost: i64 = "packetsLost",
        /// The part lost lately, 0 to 1.
        fraction_lost: f64 = "fractionLost",
        /// Interarrival jitter in seconds.
        jitter: f64 = "jitter",
        /// The latest round trip.
        round_trip_time: Option<Duration> = "roundTripTime",
        /// The sum of all.
        total_round_trip_time: Duration = "totalRoundTripTime",
        /// How many.
        round_trip_time_measurements: u64 = "roundTripTimeMeasurements",
    }
}

dictionary! {
    /// `RTCRemoteOutboundRtpStreamStats`.
    RemoteOutboundRtpStats {
        /// The source, the peer's.
        ssrc: u32 = "ssrc",
        /// `audio` or `video`.
        kind: &'static str = "kind",
        /// The transport's entry.
        transport_id: String = "transportId",
        /// The entry of our receiving.
        local_id: String = "localId",
        /// Packets.
        packets_sent: u32 = "packetsSent",
        /// Bytes of payload.
        bytes_sent: u32 = "bytesSent",
        /// Sender reports.
        reports_sent: u64 = "reportsSent",
        /// The latest round trip.
        round_trip_time: Option<Duration> = "roundTripTime",
    }
}

dictionary! {
    /// `RTCDataChannelStats`.
    DataChannelStats {
        /// The label.
        label: String = "label",
        /// The subprotocol.
        protocol: String = "protocol",
        /// The stream id, once it is known.
        data_channel_identifier: Option<u16> = "dataChannelIdentifier",
        /// `connecting`, `open`, `closing` or `closed`.
        state: &'static str = "state",
        /// Messages sent.
        messages_sent: u64 = "messagesSent",
        /// Bytes sent.
        bytes_sent: u64 = "bytesSent",
        /// Messages received.
        messages_received: u64 = "messagesReceived",
        /// Bytes received.
        bytes_received: u64 = "bytesReceived",
        /// Bytes that wait to be sent.
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
    /// The moment, counted from the Unix epoch.
    pub timestamp: Duration,
    /// The entries.
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
