//! `getStats`: from the figures of every layer to one report.

use std::time::Instant;

use antiphon_data_channel::ChannelState;
use antiphon_dtls::{Fingerprint, HashAlgorithm, Role};
use antiphon_ice::{PairState, ServerTransport};

use crate::connection::PeerConnection;
use crate::stats::{
    CandidatePairStats, CandidateStats, CertificateStats, CongestionStats, DataChannelStats, PeerConnectionStats,
    RtcStats, RtcStatsReport, TransportStats,
};

pub(super) const TRANSPORT: &str = "T";

fn certificate(id: String, fingerprint: &Fingerprint) -> RtcStats {
    let text = fingerprint.to_string();
    let (algorithm, digits) = text.split_once(' ').unwrap_or(("", &text));
    RtcStats::Certificate(CertificateStats {
        id,
        fingerprint: digits.to_owned(),
        fingerprint_algorithm: algorithm.to_owned(),
    })
}

/// A candidate of either end.
fn candidate(from: &antiphon_ice::CandidateStats) -> CandidateStats {
    CandidateStats {
        id: format!("I{}", from.id),
        transport_id: TRANSPORT.into(),
        address: from.candidate.address.ip().map(|ip| ip.to_string()),
        port: from.candidate.port,
        protocol: from.candidate.protocol.as_str(),
        candidate_type: from.candidate.kind.as_str(),
        priority: from.candidate.priority,
        url: from.url.clone(),
        relay_protocol: from.relay_protocol.map(|transport| match transport {
            ServerTransport::Udp => "udp",
            ServerTransport::Tcp => "tcp",
            ServerTransport::Tls => "tls",
        }),
        tcp_type: from.candidate.tcp_type.map(|tcp_type| tcp_type.as_str()),
        related_address: from.candidate.related.map(|related| related.ip().to_string()),
        related_port: from.candidate.related.map(|related| related.port()),
        foundation: from.candidate.foundation.clone(),
        username_fragment: from.candidate.ufrag.clone(),
    }
}

/// How congestion control is doing.
fn congestion(from: &antiphon_media::CongestionStats) -> RtcStats {
    let (figures, ecn) = (from.figures, from.ecn);
    RtcStats::Congestion(CongestionStats {
        id: "CC".into(),
        transport_id: TRANSPORT.into(),
        controller: from.controller,
        available_outgoing_bitrate: from.estimate,
        allocated_bitrate: from.allocated,
        wanted_bitrate: from.wanted,
        proven_bitrate: figures.proven,
        queue_delay: figures.queue_delay,
        fraction_lost: figures.loss,
        fraction_marked: figures.marked,
        probes_sent: figures.probes,
        probes_accepted: figures.probes_accepted,
        packets_sent_with_ect: ecn.packets_sent_with_ect,
        packets_with_bleached_marking: ecn.packets_with_bleached_marking,
        packets_reported_with_ce: ecn.packets_reported_with_ce,
        packets_received_with_ect: ecn.packets_received_with_ect,
        packets_received_with_ce: ecn.packets_received_with_ce,
        marking_ended: ecn.marking_ended.map(antiphon_media::MarkingEnd::as_str),
    })
}

impl PeerConnection {
    /// `getStats`.
    pub fn get_stats(&self, now: Instant) -> RtcStatsReport {
        let mut entries = Vec::new();
        let counters = self.transport.counters;
        let data = self.data.channels.stats();
        entries.push(RtcStats::PeerConnection(PeerConnectionStats {
            id: "P".into(),
            data_channels_opened: data.channels_opened,
            data_channels_closed: data.channels_closed,
            datagrams_dropped: counters.unknown + counters.unauthenticated + self.transport.srtp_dropped(),
            datagrams_withheld: counters.withheld,
        }));
        let media = self.media.stats();
        self.transport_stats(&media, &mut entries);
        self.media_stats(now, &media, &mut entries);
        if !(media.inbound.is_empty() && media.outbound.is_empty()) {
            entries.push(congestion(&media.congestion));
        }
        self.channel_stats(&mut entries);
        RtcStatsReport {
            timestamp: self.anchor.unix(now),
            entries,
        }
    }

    fn transport_stats(&self, media: &antiphon_media::Stats, entries: &mut Vec<RtcStats>) {
        let transport = &self.transport;
        let counters = transport.counters;
        let ice = transport.agent.stats();
        let connected = transport.connected.as_deref();
        let local = transport.certificate().fingerprint(HashAlgorithm::Sha256);
        let (local_id, remote_id) = ("CL".to_owned(), "CR".to_owned());
        entries.push(certificate(local_id.clone(), &local));
        if let Some(connected) = connected {
            entries.push(certificate(remote_id.clone(), &connected.peer_fingerprint));
        }
        let selected = ice.pairs.iter().find(|pair| pair.selected);
        entries.push(RtcStats::Transport(TransportStats {
            id: TRANSPORT.into(),
            packets_sent: counters.packets_sent,
            packets_received: counters.packets_received,
            bytes_sent: counters.bytes_sent,
            bytes_received: counters.bytes_received,
            ice_role: match transport.agent.role() {
                antiphon_ice::Role::Controlling => "controlling",
                antiphon_ice::Role::Controlled => "controlled",
            },
            ice_local_username_fragment: self.local_ufrag().to_owned(),
            ice_state: self.states.ice.as_str(),
            dtls_state: transport.dtls_state.as_str(),
            selected_candidate_pair_id: selected.map(|pair| format!("CP{}", pair.id)),
            selected_candidate_pair_changes: counters.pair_changes,
            local_certificate_id: Some(local_id),
            remote_certificate_id: connected.map(|_| remote_id),
            tls_version: connected.map(|connected| format!("{:04X}", connected.version.code())),
            dtls_cipher: connected.map(|connected| connected.cipher_suite.name()),
            dtls_role: match transport.role() {
                Some(Role::Client) => "client",
                Some(Role::Server) => "server",
                None => "unknown",
            },
            tls_group: connected.map(|connected| connected.group.name()),
            srtp_cipher: connected.and_then(|connected| connected.srtp.as_ref().map(|keys| keys.profile.name())),
            ccfb_messages_sent: media.congestion.ccfb_messages_sent,
            ccfb_messages_received: media.congestion.ccfb_messages_received,
            sctp_interleaving: self.data.interleaving(),
        }));
        self.pair_stats(&ice.pairs, entries);
        entries.extend(
            ice.local_candidates
                .iter()
                .map(|from| RtcStats::LocalCandidate(candidate(from))),
        );
        entries.extend(
            ice.remote_candidates
                .iter()
                .map(|from| RtcStats::RemoteCandidate(candidate(from))),
        );
    }

    fn pair_stats(&self, pairs: &[antiphon_ice::PairStats], entries: &mut Vec<RtcStats>) {
        let bitrate = self.media.available_bitrate();
        let milliseconds = |at: Instant| self.anchor.unix(at).as_secs_f64() * 1000.0;
        entries.extend(pairs.iter().map(|pair| {
            RtcStats::CandidatePair(CandidatePairStats {
                id: format!("CP{}", pair.id),
                transport_id: TRANSPORT.into(),
                local_candidate_id: format!("I{}", pair.local),
                remote_candidate_id: format!("I{}", pair.remote),
                state: match pair.state {
                    PairState::Frozen => "frozen",
                    PairState::Waiting => "waiting",
                    PairState::InProgress => "in-progress",
                    PairState::Succeeded => "succeeded",
                    PairState::Failed => "failed",
                },
                nominated: pair.nominated,
                selected: pair.selected,
                packets_sent: pair.traffic.packets_sent,
                packets_received: pair.traffic.packets_received,
                bytes_sent: pair.traffic.bytes_sent,
                bytes_received: pair.traffic.bytes_received,
                last_packet_sent_timestamp: pair.traffic.last_sent.map(milliseconds),
                last_packet_received_timestamp: pair.traffic.last_received.map(milliseconds),
                current_round_trip_time: pair.current_round_trip_time,
                total_round_trip_time: pair.total_round_trip_time,
                available_outgoing_bitrate: bitrate.filter(|_| pair.selected),
                requests_received: pair.requests_received,
                requests_sent: pair.requests_sent,
                responses_received: pair.responses_received,
                responses_sent: pair.responses_sent,
                consent_requests_sent: pair.consent_requests_sent,
            })
        }));
    }

    fn channel_stats(&self, entries: &mut Vec<RtcStats>) {
        for (index, channel) in self.data.channels.channels().enumerate() {
            let Some(info) = self.data.channels.info(channel) else {
                continue;
            };
            entries.push(RtcStats::DataChannel(DataChannelStats {
                id: format!("D{index}"),
                label: info.label,
                protocol: info.protocol,
                data_channel_identifier: info.id,
                state: match info.state {
                    ChannelState::Connecting => "connecting",
                    ChannelState::Open => "open",
                    ChannelState::Closing => "closing",
                    ChannelState::Closed => "closed",
                },
                messages_sent: info.messages_sent,
                bytes_sent: info.bytes_sent,
                messages_received: info.messages_received,
                bytes_received: info.bytes_received,
                buffered_amount: info.buffered_amount,
            }));
        }
    }
}
