//! What was counted, in the terms of webrtc-stats.

use std::time::Instant;

use super::Session;
use crate::config::{Codec, Kind};
use crate::error::Error;
use crate::event::SenderId;
use crate::frame_count::Sound;
use crate::inbound::Inbound;
use crate::outbound::{Given, Outbound};
use crate::repairs::Redundant;
use crate::share::Share;
use crate::stats::{
    CongestionStats, DecoderFigures, Dropped, EcnStats, EncoderFigures, FramesReceived, FramesSent, InboundRtp,
    OutboundRtp, Repaired, RepairsSent, Reported, SoundFigures, Stats, UsedCodec,
};

fn used(kind: Kind, codec: &Codec) -> UsedCodec {
    let kind = match kind {
        Kind::Audio => "audio",
        Kind::Video => "video",
    };
    UsedCodec {
        payload_type: codec.payload_type,
        mime_type: format!("{kind}/{}", codec.name),
        clock_rate: codec.clock_rate,
    }
}

fn sound(kind: Kind, sound: &Sound) -> Option<SoundFigures> {
    (kind == Kind::Audio).then(|| SoundFigures {
        level: sound.level(),
        energy: sound.energy(),
        samples: sound.ticks,
        duration: sound.seconds,
    })
}

fn repaired(source: &Inbound) -> Repaired {
    let count = source.repairs.count;
    let given_up = source.repairs.recoverer.as_ref().map_or(0, |recoverer| {
        let stats = recoverer.stats();
        stats.unneeded + stats.expired + stats.foreign + stats.malformed
    });
    let recovered = |by: Redundant| count.recovered[by as usize];
    Repaired {
        retransmitted_packets_received: source.count.repaired,
        retransmitted_bytes_received: source.count.heard().repaired_bytes,
        fec_packets_received: count.packets,
        fec_bytes_received: count.bytes,
        fec_packets_discarded: count.discarded + given_up,
        packets_recovered: count.recovered.iter().sum(),
        recovered_by_red: recovered(Redundant::Red),
        recovered_by_ulpfec: recovered(Redundant::Ulpfec),
        recovered_by_flexfec: recovered(Redundant::Flexfec),
    }
}

fn inbound(source: &Inbound, fec_ssrc: Option<u32>) -> InboundRtp {
    let section = &source.section;
    let (kind, count, heard) = (section.config.kind, &source.count, source.count.heard());
    let frames = &heard.frames;
    InboundRtp {
        receiver: section.id,
        mid: section.config.mid.clone(),
        kind,
        ssrc: source.ssrc,
        rid: source.rid.map(|rid| rid.as_str().to_owned()),
        rtx_ssrc: source.rtx_ssrc,
        fec_ssrc,
        codec: source.codec().map(|codec| used(kind, codec)),
        packets_received: count.packets,
        bytes_received: count.bytes,
        header_bytes_received: count.header_bytes,
        packets_lost: source.reception.lost(),
        jitter: source.reception.jitter(source.clock_rate()),
        repaired: repaired(source),
        nack_count: count.nacks,
        pli_count: count.plis,
        fir_count: count.firs,
        frames: FramesReceived {
            received: frames.received,
            key_frames: frames.key,
            rate: frames.rate,
            dropped: source.assembler.frames_dropped + source.playout.frames_dropped(),
            resolution: frames.resolution,
            of_several_packets: frames.of_several,
            assembly_time: frames.assembly,
        },
        playout: source.figures(),
        packets_discarded: source.assembler.packets_discarded + source.playout.packets_discarded(),
        sound: sound(kind, &heard.sound),
        marks: heard.marks,
        last_packet_received: source.last_packet,
        decoder: source.decoder.as_deref().cloned(),
        remote: source.remote,
    }
}

fn outbound(id: SenderId, sender: &Outbound, share: Option<&Share>, trips: u32) -> OutboundRtp {
    let count = &sender.count;
    let Given {
        frames,
        sound: heard,
        ect1,
        encoder,
    } = count.given_so_far().cloned().unwrap_or_default();
    let kind = sender.config.kind;
    let codec = count.payload_type.and_then(|payload_type| sender.codec(payload_type));
    let redundancy = sender.redundancy_count();
    // Who forwards packets encodes nothing.
    let encoded = |count: u64| (frames.encoded > 0).then_some(count);
    OutboundRtp {
        sender: id,
        mid: sender.config.mid.clone(),
        kind,
        ssrc: sender.config.ssrc,
        rid: sender.config.rid.clone(),
        rtx_ssrc: sender.config.rtx_ssrc,
        codec: codec.map(|codec| used(kind, codec)),
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
        frames: FramesSent {
            sent: frames.sent,
            key_frames: frames.key,
            refused: frames.refused,
            encoded: encoded(frames.encoded),
            key_frames_encoded: encoded(frames.keys_encoded),
            huge: frames.huge,
            rate: frames.rate,
            resolution: frames.resolution,
            target_bytes: frames.target_bytes as u64,
        },
        sound: sound(kind, &heard).filter(|_| frames.encoded > 0),
        packets_sent_with_ect1: ect1,
        packets_too_large: count.too_large,
        nack_count: count.nacks,
        pli_count: count.plis,
        fir_count: count.firs,
        total_packet_send_delay: count.delay,
        circuit_breaker_trips: trips,
        target_bitrate: share.and_then(|share| share.told),
        limitations: share.map(Share::limitations).unwrap_or_default(),
        encoder,
        remote: sender.remote,
    }
}

impl Session {
    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        let sources = self.routing.sources().filter(|source| source.announced);
        let inbound = sources.map(|source| inbound(source, self.routing.protector(source.ssrc)));
        let outbound = self.senders.iter().map(|(id, sender)| {
            let trips = self.senders.breaker(id).map_or(0, |breaker| breaker.trips);
            let mut stats = outbound(id, sender, self.senders.share(id), trips);
            if let Some(remote) = &mut stats.remote {
                remote.feedback = self.history.told(stats.ssrc);
            }
            stats
        });
        Stats {
            inbound: inbound.collect(),
            outbound: outbound.collect(),
            congestion: CongestionStats {
                controller: self.controller.name(),
                estimate: self.available.total,
                allocated: self.available.allocated,
                wanted: self.available.demand.wanted,
                ccfb_messages_sent: self.told.ccfb_messages,
                ccfb_messages_received: self.heard.streams.messages,
                figures: self.controller.figures(),
                ecn: EcnStats {
                    packets_received_with_ect: self.told.with_ect,
                    packets_received_with_ce: self.told.with_ce,
                    ..self
                        .heard
                        .marks
                        .as_ref()
                        .map_or_else(EcnStats::default, |marks| marks.stats())
                },
            },
            dropped: Dropped {
                events: self.events.dropped,
                ..self.dropped
            },
        }
    }

    /// What the peer has reported on a sender's stream so far; `None` before its first report.
    pub fn reported(&self, id: SenderId) -> Option<Reported> {
        let sender = self.senders.get(id)?;
        let remote = sender.remote.as_ref()?;
        Some(Reported {
            received: remote.packets_received,
            lost: remote.packets_lost,
            resent: sender.count.resent_packets,
        })
    }

    /// Takes what the application's encoder has done for a sender so far: statistics show it, in the place of what was told before. What
    /// keeps its pictures down counts from now on.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn report_encoder(&mut self, now: Instant, id: SenderId, figures: EncoderFigures) -> Result<(), Error> {
        let sender = self.senders.get_mut(id).ok_or(Error::UnknownId)?;
        sender.count.given().encoder = Some(figures);
        if let Some((_, sender, share)) = self.senders.shares().find(|(own, ..)| *own == id) {
            share.judge(now, sender);
        }
        Ok(())
    }

    /// Takes what the application's decoder has done with the source `ssrc` so far: statistics show it, in the place of what was told
    /// before.
    ///
    /// # Errors
    /// [`Error::UnknownId`] if no such source is received.
    pub fn report_decoder(&mut self, ssrc: u32, figures: DecoderFigures) -> Result<(), Error> {
        let id = self.routing.by_ssrc(ssrc).ok_or(Error::UnknownId)?;
        let source = self.routing.source_mut(id).ok_or(Error::UnknownId)?;
        source.decoder = Some(Box::new(figures));
        Ok(())
    }
}
