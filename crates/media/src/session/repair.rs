//! RED (RFC 2198) and forward error correction undone: what they bring back goes on as if it had come, but counts as repaired.

use std::time::Instant;

use antiphon_rtp::extension::{Carried, Map};
use antiphon_rtp::fec::Format;
use antiphon_rtp::packet::Packet;
use antiphon_rtp::payload::red;
use antiphon_sansio::Ecn;
use bytes::Bytes;

use super::Session;
use crate::event::Contributors;
use crate::events::Events;
use crate::inbound::{Inbound, Origin, Received};
use crate::nack::Answers;
use crate::repairs::Redundant;
use crate::routing::SourceId;
use crate::section::Use;
use crate::stats::Dropped;

/// Where what comes of a packet goes.
pub(super) struct Sink<'a> {
    /// When a packet may come that is asked for.
    pub(super) answers: Answers,
    pub(super) map: &'a Map,
    pub(super) events: &'a mut Events,
    pub(super) dropped: &'a mut Dropped,
}

impl Session {
    /// A repair packet of a stream of its own (FlexFEC) for this source.
    pub(super) fn handle_repair(&mut self, now: Instant, id: SourceId, packet: &Packet<'_>) {
        let answers = self.answers();
        let Some((source, map)) = self.routing.source_and_extensions(id) else {
            return;
        };
        let Some(Use::Fec(format)) = source.section.use_of(packet.header.payload_type) else {
            self.dropped.unrouted += 1;
            return;
        };
        // RFC 8627 §4.2.1: the CSRC list names whom it protects; of several sources at once nothing is recovered here.
        let mut csrcs = packet.csrcs();
        if format == Format::FlexFec && (csrcs.len() != 1 || csrcs.next() != Some(source.ssrc)) {
            source.repairs.count.packets += 1;
            source.repairs.count.discarded += 1;
            return;
        }
        let mut sink = Sink {
            answers,
            map,
            events: &mut self.events,
            dropped: &mut self.dropped,
        };
        repair(source, now, format, packet.payload(), &mut sink);
        self.routing.follow(now, id);
    }
}

/// Keeps a packet of a source that is protected, as its sender protected it: without RED.
pub(super) fn hold(source: &mut Inbound, bytes: &[u8], packet: &Packet<'_>, map: &Map) {
    if !source.reception.is_near(packet.header.sequence) {
        return;
    }
    match source.section.use_of(packet.header.payload_type) {
        Some(Use::Red) => {
            let Some(Ok(block)) = red::parse(packet.payload()).map(Iterator::last).transpose() else {
                return;
            };
            if let (Some(Use::Media(_)), [flags, second, rest @ ..]) =
                (source.section.use_of(block.payload_type), &bytes[..packet.header_len()])
            {
                let second = second & 0x80 | block.payload_type;
                source.repairs.hold(&[&[*flags, second], rest, block.payload], map);
            }
        }
        Some(Use::Media(_)) => source.repairs.hold(&[bytes], map),
        _ => {}
    }
}

/// Takes a packet in, which may be RED, and whatever can be recovered with it.
#[inline]
pub(super) fn receive(source: &mut Inbound, now: Instant, packet: &mut Received, sink: &mut Sink<'_>) {
    if source.section.repairs {
        receive_with_repairs(source, now, packet, sink);
    } else {
        source.receive(now, packet, sink.answers, sink.events, sink.dropped);
    }
}

fn receive_with_repairs(source: &mut Inbound, now: Instant, packet: &mut Received, sink: &mut Sink<'_>) {
    if source.section.use_of(packet.payload_type) == Some(Use::Red) && !packet.payload.is_empty() {
        unwrap(source, now, packet, sink);
    } else {
        // Padding of RED is padding: it takes a number of the codec that came last.
        let inner = source.codec().map(|codec| codec.payload_type);
        if source.section.use_of(packet.payload_type) == Some(Use::Red) {
            packet.payload_type = inner
                .or_else(|| source.section.first_media())
                .unwrap_or(packet.payload_type);
        }
        take(source, now, packet, sink);
    }
    recover(source, now, sink);
}

fn take(source: &mut Inbound, now: Instant, packet: &mut Received, sink: &mut Sink<'_>) {
    if !packet.payload.is_empty() {
        source.repairs.note(packet.sequence, packet.timestamp);
    }
    source.receive(now, packet, sink.answers, sink.events, sink.dropped);
}

/// The payloads of one packet, the oldest first.
fn unwrap(source: &mut Inbound, now: Instant, packet: &mut Received, sink: &mut Sink<'_>) {
    let payload = packet.payload.clone();
    let Ok(blocks) = red::parse(&payload) else {
        sink.dropped.malformed_payload += 1;
        return;
    };
    for block in blocks {
        match source.section.use_of(block.payload_type) {
            Some(Use::Media(_)) if block.distance == 0 => {
                packet.payload_type = block.payload_type;
                packet.payload = payload.slice_ref(block.payload);
                take(source, now, packet, sink);
            }
            Some(Use::Media(_)) => {
                let count = &mut source.repairs.count;
                count.packets += 1;
                count.bytes += block.payload.len() as u64;
                source.playout.repeats(u32::from(block.timestamp_offset));
                let timestamp = packet.timestamp.wrapping_sub(u32::from(block.timestamp_offset));
                let newest = packet.sequence.wrapping_sub(block.distance);
                let (repairs, reception) = (&source.repairs, &mut source.reception);
                let is_older = block.timestamp_offset > 0 && !block.payload.is_empty();
                let place = repairs.place(newest, timestamp, |number| reception.misses(number));
                let Some(sequence) = place.filter(|_| is_older) else {
                    source.repairs.count.discarded += 1;
                    continue;
                };
                let mut earlier = Received {
                    payload_type: block.payload_type,
                    sequence,
                    timestamp,
                    marker: false,
                    payload: payload.slice_ref(block.payload),
                    header_bytes: 0,
                    extensions: Carried::default(),
                    contributors: None,
                    origin: Origin::Recovered(Redundant::Red),
                    ecn: packet.ecn,
                    micros: packet.micros,
                };
                take(source, now, &mut earlier, sink);
            }
            Some(Use::Fec(format)) if block.distance == 0 => {
                // It took a number of the stream, which nobody need wait for.
                packet.payload = Bytes::new();
                packet.payload_type = source.section.first_media().unwrap_or(packet.payload_type);
                take(source, now, packet, sink);
                repair(source, now, format, block.payload, sink);
            }
            _ => sink.dropped.unrouted += 1,
        }
    }
}

/// Takes a repair packet in, and what it recovers.
fn repair(source: &mut Inbound, now: Instant, format: Format, payload: &[u8], sink: &mut Sink<'_>) {
    let repairs = &mut source.repairs;
    repairs.count.packets += 1;
    repairs.count.bytes += payload.len() as u64;
    let (Ok(repair), Some(recoverer)) = (format.parse(payload), &mut repairs.recoverer) else {
        repairs.count.discarded += 1;
        sink.dropped.malformed_payload += 1;
        return;
    };
    recoverer.insert_repair(&repair);
    recover(source, now, sink);
}

/// Takes everything in that can be recovered now.
fn recover(source: &mut Inbound, now: Instant, sink: &mut Sink<'_>) {
    let Some(by) = source.section.fec.map(Redundant::from) else {
        return;
    };
    loop {
        let recoverer = source.repairs.recoverer.as_mut();
        let Some(data) = recoverer
            .and_then(|recoverer| recoverer.poll())
            .map(Bytes::copy_from_slice)
        else {
            return;
        };
        let Ok(packet) = Packet::parse(&data) else { continue };
        let values = packet.values(sink.map);
        let mut received = Received {
            payload_type: packet.header.payload_type,
            sequence: packet.header.sequence,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            payload: data.slice(packet.payload_range()),
            header_bytes: 0,
            extensions: Carried::of(&values),
            contributors: Contributors::of(&packet, &values),
            origin: Origin::Recovered(by),
            ecn: Ecn::NotEct,
            micros: 0,
        };
        if let Some(Use::Media(_)) = source.section.use_of(received.payload_type) {
            take(source, now, &mut received, sink);
        } else {
            sink.dropped.unrouted += 1;
        }
    }
}
