//! RTP in: each packet is parsed once, looked up once, and handed to its source; and the events that come of it.

use std::time::Instant;

use antiphon_rtp::extension::{Carried, Values};
use antiphon_rtp::packet::Packet;
use bytes::Buf;

use super::Session;
use super::repair::{self, Sink};
use super::report::FIRST_REPORT;
use crate::event::{Contributors, Event};
use crate::feedback::told::Arrival;
use crate::inbound::{Origin, Received};
use crate::routing::Route;
use crate::section::{Section, Use};
use crate::stats::Dropped;

impl Session {
    /// What happened. Media events are bounded; the oldest go first, counted.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Takes one RTP packet after SRTP: only what was authenticated may come here (law 5).
    pub fn handle_rtp(&mut self, now: Instant, packet: antiphon_sansio::Packet) {
        if self.closed {
            return;
        }
        let antiphon_sansio::Packet { ecn, mut data } = packet;
        let Ok(packet) = Packet::parse(&data) else {
            self.dropped.malformed_rtp += 1;
            return;
        };
        let mut values = Values::default();
        packet.read_values(self.routing.extensions(), &mut values);
        let header = packet.header;
        let micros = self.elapsed.micros(now);
        let arrival = Arrival {
            micros,
            ssrc: header.ssrc,
            sequence: header.sequence,
            number: values.transport_sequence,
            abs_send_time: values.abs_send_time,
            bytes: data.len(),
            ecn,
        };
        self.told.arrive(now, &arrival);
        let Some(route) = self.routing.route(now, &header, &values, &mut self.dropped) else {
            return;
        };
        let (id, origin) = match route {
            Route::Media(id) => (id, Origin::Original),
            Route::Rtx(id) => (id, Origin::Retransmitted),
            Route::Fec(id) => return self.handle_repair(now, id, &packet),
            Route::Early => {
                // Padding alone has done its work by arriving. A repair of what never came cannot be placed.
                self.dropped.unrouted += u64::from(packet.payload().len() > 2);
                return;
            }
        };
        let answers = self.answers();
        let Some((source, map)) = self.routing.source_and_extensions(id) else {
            return;
        };
        let original = origin == Origin::Original;
        if original && let Some(rid) = values.rid {
            source.name(rid);
        }
        if original && source.section.fec.is_some() {
            repair::hold(source, &data, &packet, map);
        }
        let contributors = Contributors::of(&packet, &values);
        let extensions = Carried::of(&values);
        let (header_bytes, range) = (packet.header_len() + packet.padding_len(), packet.payload_range());
        data.advance(range.start);
        data.truncate(range.len());
        let mut received = Received {
            payload_type: header.payload_type,
            sequence: header.sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: data.freeze(),
            header_bytes,
            extensions,
            contributors,
            origin,
            ecn,
            micros,
        };
        if !original && !undo_rtx(&source.section, &mut received, &mut self.dropped) {
            return;
        }
        let mut sink = Sink {
            answers,
            map,
            events: &mut self.events,
            dropped: &mut self.dropped,
        };
        repair::receive(source, now, &mut received, &mut sink);
        if source.active {
            self.reports.at.get_or_insert(now + FIRST_REPORT);
        }
        self.routing.follow(now, id);
    }
}

/// Makes the original of a repetition (RFC 4588 §4): its number stands before its payload. `false` if it is nothing but padding,
/// by which Chromium probes, or if its payload type repeats no codec.
fn undo_rtx(section: &Section, packet: &mut Received, dropped: &mut Dropped) -> bool {
    let Some((number, _)) = packet.payload.split_first_chunk::<2>() else {
        return false;
    };
    let Some(Use::Rtx(index)) = section.use_of(packet.payload_type) else {
        dropped.unrouted += 1;
        return false;
    };
    let Some((codec, _)) = section.codec(index) else {
        return false;
    };
    packet.sequence = u16::from_be_bytes(*number);
    packet.payload_type = codec.payload_type;
    packet.payload.advance(2);
    true
}
