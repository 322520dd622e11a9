//! What was counted, in the terms of webrtc-stats.

use super::Session;
use crate::config::{Codec, Kind};
use crate::event::SenderId;
use crate::inbound::Inbound;
use crate::outbound::Outbound;
use crate::stats::{
    CongestionStats, Dropped, EcnStats, FramesReceived, InboundRtp, OutboundRtp, Repaired, RepairsSent, Stats,
};

fn mime_type(kind: Kind, codec: Option<&Codec>) -> String {
    let kind = match kind {
        Kind::Audio => "audio",
        Kind::Video => "video",
    };
    codec.map_or_else(String::new, |codec| format!("{kind}/{}", codec.name))
}

fn repaired(source: &Inbound) -> Repaired {
    let count = source.repairs.count;
    let given_up = source.repairs.recoverer.as_ref().map_or(0, |recoverer| {
        let stats = recoverer.stats();
        stats.unneeded + stats.expired + stats.foreign + stats.malformed
    });
    Repaired {
        retransmitted_packets_received: source.count.repaired,
        fec_packets_received: count.packets,
        fec_bytes_received: count.bytes,
        fec_packets_discarded: count.discarded + given_up,
        packets_recovered: count.recovered,
    }
}

fn outbound(id: SenderId, sender: &Outbound, target_bitrate: Option<u64>, trips: u32) -> OutboundRtp {
    let count = &sender.count;
    let codec = count.payload_type.and_then(|payload_type| sender.codec(payload_type));
    let redundancy = sender.redundancy_count();
    OutboundRtp {
        sender: id,
        mid: sender.config.mid.clone(),
        kind: sender.config.kind,
        ssrc: sender.config.ssrc,
        rid: sender.config.rid.clone(),
        rtx_ssrc: sender.config.rtx_ssrc,
        payload_type: count.payload_type,
        mime_type: mime_type(sender.config.kind, codec),
        clock_rate: sender.clock_rate(),
        active: sender.active,
        packets_sent: count.packets,
        bytes_sent: count.bytes,
        header_bytes_sent: count.header_bytes,
        repairs: RepairsSent {
            retransmitted_packets_sent: count.resent_packets,
            retransmitted_bytes_sent: count.resent_bytes,
            retransmissions_refused: count.refused,
            fec_packets_sent: redundancy.packets,
            fec_bytes_sent: redundancy.bytes,
            padding_packets_sent: count.padding_packets,
            padding_bytes_sent: count.padding_bytes,
        },
        frames_sent: count.frames,
        key_frames_sent: count.key_frames,
        frames_refused: count.frames_refused,
        packets_too_large: count.too_large,
        nack_count: count.nacks,
        pli_count: count.plis,
        fir_count: count.firs,
        total_packet_send_delay: count.delay,
        circuit_breaker_trips: trips,
        target_bitrate,
        remote: sender.remote,
    }
}

impl Session {
    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        let inbound = self.routing.sources().filter(|source| source.announced).map(|source| {
            let codec = source.codec();
            let section = &source.section;
            InboundRtp {
                receiver: section.id,
                mid: section.config.mid.clone(),
                kind: section.config.kind,
                ssrc: source.ssrc,
                rid: source.rid.map(|rid| rid.as_str().to_owned()),
                rtx_ssrc: source.rtx_ssrc,
                payload_type: codec.map(|codec| codec.payload_type),
                mime_type: mime_type(section.config.kind, codec),
                clock_rate: source.clock_rate(),
                packets_received: source.count.packets,
                bytes_received: source.count.bytes,
                header_bytes_received: source.count.header_bytes,
                packets_lost: source.reception.lost(),
                jitter: source.reception.jitter(source.clock_rate()),
                repaired: repaired(source),
                nack_count: source.count.nacks,
                pli_count: source.count.plis,
                fir_count: source.count.firs,
                frames: FramesReceived {
                    received: source.count.frames,
                    key_frames: source.count.key_frames,
                    dropped: source.assembler.frames_dropped + source.playout.frames_dropped(),
                },
                playout: source.figures(),
                packets_discarded: source.assembler.packets_discarded + source.playout.packets_discarded(),
                audio_level: source
                    .count
                    .audio_level
                    .map(|level| 10f64.powf(-f64::from(level) / 20.0)),
                last_packet_received: source.last_packet,
                remote: source.remote,
            }
        });
        let senders = self.senders.iter();
        let outbound = senders.map(|(id, sender)| {
            let trips = self.senders.breaker(id).map_or(0, |breaker| breaker.trips);
            outbound(id, sender, self.target_bitrate(id), trips)
        });
        Stats {
            inbound: inbound.collect(),
            outbound: outbound.collect(),
            congestion: CongestionStats {
                controller: self.config.congestion,
                estimate: self.available.total,
                allocated: self.available.allocated,
                wanted: self.available.demand.wanted,
                ccfb_messages_sent: self.told.ccfb_messages,
                ccfb_messages_received: self.heard.streams.messages,
                figures: self.controller.figures(),
                ecn: EcnStats {
                    packets_received_with_ect: self.told.with_ect,
                    packets_received_with_ce: self.told.with_ce,
                    ..self.heard.marks.stats()
                },
            },
            dropped: Dropped {
                events: self.events.dropped,
                ..self.dropped
            },
        }
    }
}
