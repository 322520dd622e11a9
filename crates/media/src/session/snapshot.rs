//! What was counted, in the terms of webrtc-stats.

use super::Session;
use crate::config::{Codec, Kind};
use crate::inbound::Inbound;
use crate::stats::{Dropped, InboundRtp, OutboundRtp, Repaired, Stats};

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
                frames_received: source.count.frames,
                key_frames_received: source.count.key_frames,
                frames_dropped: source.assembler.frames_dropped,
                packets_discarded: source.assembler.packets_discarded,
                audio_level: source
                    .count
                    .audio_level
                    .map(|level| 10f64.powf(-f64::from(level) / 20.0)),
                last_packet_received: source.last_packet,
                remote: source.remote,
            }
        });
        let outbound = self.senders.iter().map(|(id, sender)| {
            let codec = sender
                .count
                .payload_type
                .and_then(|payload_type| sender.codec(payload_type));
            OutboundRtp {
                sender: id,
                mid: sender.config.mid.clone(),
                kind: sender.config.kind,
                ssrc: sender.config.ssrc,
                rid: sender.config.rid.clone(),
                rtx_ssrc: sender.config.rtx_ssrc,
                payload_type: sender.count.payload_type,
                mime_type: mime_type(sender.config.kind, codec),
                clock_rate: sender.clock_rate(),
                active: sender.active,
                packets_sent: sender.count.packets,
                bytes_sent: sender.count.bytes,
                header_bytes_sent: sender.count.header_bytes,
                retransmitted_packets_sent: sender.count.resent_packets,
                retransmitted_bytes_sent: sender.count.resent_bytes,
                retransmissions_refused: sender.count.refused,
                frames_sent: sender.count.frames,
                key_frames_sent: sender.count.key_frames,
                frames_refused: sender.count.frames_refused,
                packets_too_large: sender.count.too_large,
                nack_count: sender.count.nacks,
                pli_count: sender.count.plis,
                fir_count: sender.count.firs,
                total_packet_send_delay: sender.count.delay,
                remote: sender.remote,
            }
        });
        Stats {
            inbound: inbound.collect(),
            outbound: outbound.collect(),
            available_outgoing_bitrate: self.target,
            dropped: Dropped {
                events: self.events.dropped,
                ..self.dropped
            },
        }
    }
}
