//! `get_stats` boiled down to what the page shows.

use std::time::{Duration, Instant};

use antiphon::stats::{CongestionStats, InboundRtpStats};
use antiphon::{RtcStats, RtcStatsReport};
use serde::Serialize;

use crate::link::{LinkFigures, LinkSpec};

/// The server's side of the page's figures; names as in docs/signalling.md.
#[derive(Clone, Debug, Default, Serialize)]
pub(in crate::server) struct Figures {
    pub(in crate::server) mode: &'static str,
    pub(in crate::server) connection: String,
    ice: String,
    local: Option<String>,
    remote: Option<String>,
    dtls: Option<String>,
    cipher: Option<String>,
    group: Option<String>,
    srtp: Option<String>,
    dtls_role: &'static str,
    sctp: Option<&'static str>,
    rtt_ms: Option<f64>,
    media_rtt_ms: Option<f64>,
    send_bps: Option<f64>,
    receive_bps: Option<f64>,
    target_bps: Option<u64>,
    congestion: Option<Congestion>,
    loss: Option<f64>,
    frames_per_second: Option<f64>,
    codecs: Option<String>,
    pub(in crate::server) link: Option<Emulated>,
    #[serde(flatten)]
    totals: Totals,
}

/// The emulated link: what it is, and what it has done to what we send.
#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::server) struct Emulated {
    #[serde(flatten)]
    spec: LinkSpec,
    #[serde(flatten)]
    done: LinkFigures,
}

impl From<(LinkSpec, LinkFigures)> for Emulated {
    fn from((spec, done): (LinkSpec, LinkFigures)) -> Self {
        Self { spec, done }
    }
}

/// How the congestion controller of what we send is doing.
#[derive(Clone, Copy, Debug, Serialize)]
struct Congestion {
    controller: &'static str,
    allocated_bps: Option<u64>,
    wanted_bps: Option<u64>,
    proven_bps: u64,
    queue_ms: Option<f64>,
    loss: f64,
    marked: f64,
    probes_sent: u64,
    probes_accepted: u64,
    marks_sent: u64,
    marks_ce: u64,
    marks_bleached: u64,
    marking_ended: Option<&'static str>,
}

impl From<&CongestionStats> for Congestion {
    fn from(stats: &CongestionStats) -> Self {
        Self {
            controller: stats.controller,
            allocated_bps: stats.allocated_bitrate,
            wanted_bps: stats.wanted_bitrate,
            proven_bps: stats.proven_bitrate,
            queue_ms: stats.queue_delay.map(milliseconds),
            loss: stats.fraction_lost,
            marked: stats.fraction_marked,
            probes_sent: stats.probes_sent,
            probes_accepted: stats.probes_accepted,
            marks_sent: stats.packets_sent_with_ect,
            marks_ce: stats.packets_reported_with_ce,
            marks_bleached: stats.packets_with_bleached_marking,
            marking_ended: stats.marking_ended,
        }
    }
}

/// What was counted since the session began.
#[derive(Clone, Debug, Default, Serialize)]
struct Totals {
    frames_sent: u64,
    frames_received: u64,
    key_frame_requests: u64,
    bytes_sent: u64,
    bytes_received: u64,
    packets_sent: u64,
    packets_received: u64,
    padding_bytes_sent: u64,
    retransmissions_sent: u64,
    retransmissions_received: u64,
    fec_sent: u64,
    fec_received: u64,
    recovered: u64,
    freezes: u64,
    freeze_seconds: f64,
    messages_sent: u64,
    messages_received: u64,
}

impl Totals {
    /// A stream that the browser sends us.
    fn receive(&mut self, stream: &InboundRtpStats) {
        if stream.kind == "video" {
            self.frames_received += stream.frames_received;
        }
        self.retransmissions_received += stream.retransmitted_packets_received;
        self.fec_received += stream.fec_packets_received;
        self.recovered += stream.packets_recovered;
        self.freezes += u64::from(stream.freeze_count.unwrap_or(0));
        self.freeze_seconds += stream.total_freezes_duration.map_or(0.0, |length| length.as_secs_f64());
    }
}

/// Turns totals into rates.
#[derive(Debug, Default)]
pub(in crate::server) struct Meter {
    before: Option<(Instant, u64, u64)>,
}

impl Meter {
    pub(in crate::server) fn read(&mut self, now: Instant, report: &RtcStatsReport) -> Figures {
        let mut figures = Figures::default();
        let mut codecs = Vec::new();
        for entry in &report.entries {
            match entry {
                RtcStats::Transport(transport) => {
                    figures.ice = transport.ice_state.to_string();
                    figures.totals.bytes_sent = transport.bytes_sent;
                    figures.totals.bytes_received = transport.bytes_received;
                    figures.totals.packets_sent = transport.packets_sent;
                    figures.totals.packets_received = transport.packets_received;
                    figures.cipher = transport.dtls_cipher.map(ToString::to_string);
                    figures.group = transport.tls_group.map(ToString::to_string);
                    figures.srtp = transport.srtp_cipher.map(ToString::to_string);
                    figures.dtls_role = transport.dtls_role;
                    figures.sctp = transport
                        .sctp_interleaving
                        .map(|interleaving| if interleaving { "I-DATA" } else { "DATA" });
                    figures.dtls = transport
                        .tls_version
                        .as_ref()
                        .map(|version| dtls_name(version).to_owned());
                }
                RtcStats::CandidatePair(pair) if pair.selected => {
                    figures.rtt_ms = pair.current_round_trip_time.map(milliseconds);
                    figures.local = address(report, &pair.local_candidate_id);
                    figures.remote = address(report, &pair.remote_candidate_id);
                    figures.target_bps = pair.available_outgoing_bitrate;
                }
                RtcStats::OutboundRtp(sent) => {
                    figures.totals.frames_sent += if sent.kind == "video" { sent.frames_sent } else { 0 };
                    figures.totals.key_frame_requests += u64::from(sent.pli_count) + u64::from(sent.fir_count);
                    figures.target_bps = figures.target_bps.or(sent.target_bitrate);
                    figures.totals.padding_bytes_sent += sent.padding_bytes_sent;
                    figures.totals.retransmissions_sent += sent.retransmitted_packets_sent;
                    figures.totals.fec_sent += sent.fec_packets_sent;
                    figures.frames_per_second = figures.frames_per_second.or(sent.frames_per_second);
                }
                RtcStats::Congestion(congestion) => figures.congestion = Some(congestion.into()),
                RtcStats::InboundRtp(received) => figures.totals.receive(received),
                RtcStats::RemoteInboundRtp(remote) => {
                    figures.loss = Some(figures.loss.unwrap_or(0.0).max(remote.fraction_lost));
                    let round_trip = remote.round_trip_time.map(milliseconds);
                    figures.media_rtt_ms = figures.media_rtt_ms.into_iter().chain(round_trip).reduce(f64::max);
                }
                RtcStats::Codec(codec) => {
                    let name = codec.mime_type.rsplit('/').next().unwrap_or_default().to_owned();
                    if !codecs.contains(&name) {
                        codecs.push(name);
                    }
                }
                RtcStats::DataChannel(channel) => {
                    figures.totals.messages_sent += channel.messages_sent;
                    figures.totals.messages_received += channel.messages_received;
                }
                _ => {}
            }
        }
        figures.codecs = Some(codecs.join(", ")).filter(|names| !names.is_empty());
        if let Some((then, sent, received)) = self.before {
            let seconds = now.duration_since(then).as_secs_f64().max(0.001);
            figures.send_bps = Some(figures.totals.bytes_sent.saturating_sub(sent) as f64 * 8.0 / seconds);
            figures.receive_bps = Some(figures.totals.bytes_received.saturating_sub(received) as f64 * 8.0 / seconds);
        }
        self.before = Some((now, figures.totals.bytes_sent, figures.totals.bytes_received));
        figures
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn dtls_name(version: &str) -> &str {
    match version {
        "FEFD" => "DTLS 1.2",
        "FEFC" => "DTLS 1.3",
        other => other,
    }
}

fn address(report: &RtcStatsReport, id: &str) -> Option<String> {
    let (RtcStats::LocalCandidate(candidate) | RtcStats::RemoteCandidate(candidate)) = report.get(id)? else {
        return None;
    };
    let address = candidate.address.as_deref().unwrap_or("?");
    Some(format!(
        "{} {}:{} {}",
        candidate.candidate_type, address, candidate.port, candidate.protocol
    ))
}
