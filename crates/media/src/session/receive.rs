use std::sync::Arc;
use std::time::Instant;

use antiphon_rtp::extension::{Carried, Values};
use antiphon_rtp::packet;
use antiphon_rtp::payload::Format;
use bytes::Bytes;

use super::{EarlyRtx, MAX_EARLY_RTX, MAX_SOURCES, MAX_UNSIGNALLED, Session};
use crate::assembler::{Part, SMALL};
use crate::config::{Kind, Output};
use crate::event::{Contributors, Event, Frame, Packet, ReceiverId};
use crate::inbound::Inbound;
use crate::reception::Arrival;

/// Where a packet belongs.
#[derive(Clone, Copy, Debug)]
enum Route {
    /// To this source.
    Media(u32),
    /// It repairs this source.
    Rtx(u32),
    /// It repairs a source that has sent nothing yet.
    Early,
}

/// What of a packet matters once it is routed.
struct Routed {
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload: Bytes,
    header_bytes: usize,
    extensions: Carried,
    contributors: Option<Arc<Contributors>>,
    /// Not brought back by a retransmission.
    original: bool,
}

impl Session {
    /// Takes one RTP packet after SRTP: only what was authenticated may come here (law 5).
    pub fn handle_rtp(&mut self, now: Instant, packet: antiphon_sansio::Packet) {
        if self.closed {
            return;
        }
        let data = packet.data.freeze();
        let Ok(packet) = packet::Packet::parse(&data) else {
            self.dropped.malformed_rtp += 1;
            return;
        };
        let values = packet.values(&self.extensions);
        let header = packet.header;
        if self.feeds_back
            && let Some(sequence) = values.transport_sequence
        {
            self.arrivals.arrive(now, sequence, header.ssrc);
        }
        if let Some(sent) = values.abs_send_time {
            self.receive_side.arrive(now, header.ssrc, sent, data.len());
        }
        let Some(route) = self.route(now, header.ssrc, header.payload_type, &values) else {
            return;
        };
        let mut routed = Routed {
            payload_type: header.payload_type,
            sequence: header.sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: data.slice(packet.payload_range()),
            header_bytes: packet.header_len() + packet.padding_len(),
            extensions: Carried::of(&values),
            contributors: None,
            original: true,
        };
        if packet.csrcs().len() > 0 {
            let levels = values.csrc_audio_levels.unwrap_or_default();
            routed.contributors = Some(Arc::new(Contributors::new(packet.csrcs(), levels)));
        }
        match route {
            Route::Media(ssrc) => {
                if let (Some(rid), Some(source)) = (values.rid, self.sources.get_mut(&ssrc))
                    && source.rid.is_none()
                {
                    source.rid = Some(rid.into());
                }
                self.receive(now, ssrc, routed);
            }
            // Padding alone has done its work by arriving. A repair of what never came cannot be placed.
            Route::Early => self.dropped.unrouted += u64::from(routed.payload.len() > 2),
            Route::Rtx(ssrc) => {
                // RFC 4588 §4: the original's number, then its payload. Chromium probes with padding alone: nothing to undo.
                let Some((number, _)) = routed.payload.split_first_chunk::<2>() else {
                    return;
                };
                let Some(original) = self.original_type(ssrc, routed.payload_type) else {
                    self.dropped.unrouted += 1;
                    return;
                };
                routed.sequence = u16::from_be_bytes(*number);
                routed.payload_type = original;
                routed.payload = routed.payload.slice(2..);
                routed.original = false;
                self.receive(now, ssrc, routed);
            }
        }
    }

    /// The payload type whose retransmissions have type `rtx` (`apt`).
    fn original_type(&self, ssrc: u32, rtx: u8) -> Option<u8> {
        let receiver = self.receivers.get(&self.sources.get(&ssrc)?.receiver)?;
        let mut codecs = receiver.codecs.iter();
        codecs
            .find(|codec| codec.rtx_payload_type == Some(rtx))
            .map(|codec| codec.payload_type)
    }

    /// RFC 9143 §9.2: by MID if the packet carries one, else by the SSRC as learnt or announced, else by a payload type that
    /// only one media section has.
    fn route(&mut self, now: Instant, ssrc: u32, payload_type: u8, values: &Values<'_>) -> Option<Route> {
        let known = match self.rtx.get(&ssrc) {
            Some(media) => Some((*media, Route::Rtx(*media))),
            None => Some((ssrc, Route::Media(ssrc))),
        };
        if let Some((media, route)) = known
            && let Some(source) = self.sources.get(&media)
        {
            let here = |mid: &str| {
                self.receivers
                    .get(&source.receiver)
                    .is_some_and(|receiver| receiver.mid == mid)
            };
            if values.mid.is_none_or(here) {
                return Some(route);
            }
            if !source.signalled {
                // A MID moves a source that only a payload type had placed.
                self.sources.remove(&media);
                self.rtx.retain(|_, of| *of != media);
            }
        }
        if values.mid.is_none() && self.early_rtx.iter().any(|early| early.ssrc == ssrc) {
            return Some(Route::Early);
        }
        let receiver = match values.mid {
            Some(mid) => self
                .receivers
                .iter()
                .find(|(_, receiver)| receiver.mid == mid)
                .map(|(id, _)| *id),
            None => self.only_receiver_of(payload_type),
        };
        let route = receiver.and_then(|receiver| self.learn(now, ssrc, receiver, payload_type, values));
        if route.is_none() {
            self.dropped.unrouted += 1;
        }
        route
    }

    fn only_receiver_of(&self, payload_type: u8) -> Option<ReceiverId> {
        let mut matching = self.receivers.iter().filter(|(_, receiver)| {
            receiver
                .codecs
                .iter()
                .any(|codec| codec.payload_type == payload_type || codec.rtx_payload_type == Some(payload_type))
        });
        let first = *matching.next()?.0;
        matching.next().is_none().then_some(first)
    }

    fn learn(
        &mut self,
        now: Instant,
        ssrc: u32,
        id: ReceiverId,
        payload_type: u8,
        values: &Values<'_>,
    ) -> Option<Route> {
        let receiver = self.receivers.get(&id)?;
        if receiver
            .codecs
            .iter()
            .any(|codec| codec.rtx_payload_type == Some(payload_type))
        {
            let media = {
                let mut of_receiver = self.sources.values().filter(|source| source.receiver == id);
                match values.repaired_rid {
                    Some(rid) => of_receiver
                        .find(|source| source.rid.as_deref() == Some(rid))
                        .map(|source| source.ssrc),
                    None => {
                        // RFC 4588 §5.3 associates by what was asked for; with one candidate there is nothing to ask.
                        let mut free = of_receiver.filter(|source| source.rtx_ssrc.is_none_or(|rtx| rtx == ssrc));
                        let first = free.next().map(|source| source.ssrc);
                        first.filter(|_| free.next().is_none())
                    }
                }
            };
            let Some(media) = media else {
                let waits = self.early_rtx.iter().any(|early| early.ssrc == ssrc);
                if !waits && self.early_rtx.len() < MAX_EARLY_RTX {
                    self.early_rtx.push(EarlyRtx {
                        ssrc,
                        receiver: id,
                        rid: values.repaired_rid.map(Into::into),
                    });
                }
                return Some(Route::Early);
            };
            self.early_rtx.retain(|early| early.ssrc != ssrc);
            if values.mid.is_some() && self.rtx.len() < MAX_SOURCES {
                self.rtx.retain(|_, of| *of != media);
                self.rtx.insert(ssrc, media);
                self.sources.get_mut(&media)?.rtx_ssrc = Some(ssrc);
            }
            return Some(Route::Rtx(media));
        }
        if !receiver.codecs.iter().any(|codec| codec.payload_type == payload_type) {
            return None;
        }
        if let Some(rid) = values.rid
            && !receiver.rids.is_empty()
            && !receiver.rids.iter().any(|known| known == rid)
        {
            return None;
        }
        let kind = receiver.kind;
        let unsignalled = |source: &&Inbound| source.receiver == id && !source.signalled;
        if self.sources.values().filter(unsignalled).count() >= MAX_UNSIGNALLED {
            let oldest = self
                .sources
                .values()
                .filter(unsignalled)
                .min_by_key(|source| source.last_packet)?;
            // A crowd of sources that all talk is an attack, or a fault: the newcomer waits.
            if oldest
                .last_packet
                .is_some_and(|at| now.saturating_duration_since(at).as_secs() < 2)
            {
                self.dropped.too_many_sources += 1;
                return None;
            }
            let oldest = oldest.ssrc;
            self.sources.remove(&oldest);
            self.rtx.retain(|_, of| *of != oldest);
        }
        if self.sources.len() >= MAX_SOURCES {
            self.dropped.too_many_sources += 1;
            return None;
        }
        let mut source = Inbound::new(ssrc, id, kind, false);
        source.rid = values.rid.map(Into::into);
        let layer = source.rid.as_deref();
        let repairs = |early: &EarlyRtx| early.receiver == id && early.rid.as_deref() == layer;
        if let Some(at) = self.early_rtx.iter().position(repairs) {
            let early = self.early_rtx.remove(at);
            if self.rtx.len() < MAX_SOURCES {
                source.rtx_ssrc = Some(early.ssrc);
                self.rtx.insert(early.ssrc, ssrc);
            }
        }
        self.sources.insert(ssrc, source);
        Some(Route::Media(ssrc))
    }

    fn receive(&mut self, now: Instant, ssrc: u32, packet: Routed) {
        let Some(source) = self.sources.get_mut(&ssrc) else {
            return;
        };
        let Some(receiver) = self.receivers.get(&source.receiver) else {
            return;
        };
        if source
            .codec
            .as_ref()
            .is_none_or(|codec| codec.payload_type != packet.payload_type)
        {
            let mut codecs = receiver.codecs.iter();
            let Some(codec) = codecs.find(|codec| codec.payload_type == packet.payload_type) else {
                self.dropped.unrouted += 1;
                return;
            };
            source.format = Format::from_name(&codec.name);
            source.codec = Some(codec.clone());
            source.nacks = receiver.codecs.iter().any(|codec| codec.feedback.nack);
        }
        let video = source.kind == Kind::Video;
        let sequence = match source.reception.arrive(packet.sequence, packet.original) {
            Arrival::New(sequence) => sequence,
            Arrival::Duplicate => {
                self.dropped.duplicate += 1;
                return;
            }
            Arrival::Suspect => {
                self.dropped.sequence_jump += 1;
                return;
            }
            Arrival::Restart(sequence) => {
                source.nack.reset();
                source.assembler.restart(video);
                sequence
            }
        };
        source.active = true;
        source.left = false;
        source.last_packet = Some(now);
        source.count.packets += 1;
        source.count.bytes += packet.payload.len() as u64;
        source.count.header_bytes += packet.header_bytes as u64;
        source.count.repaired += u64::from(!packet.original);
        if let Some(level) = packet.extensions.audio_level {
            source.count.audio_level = Some(level.below_overload);
        }
        let padding = packet.payload.is_empty();
        if packet.original && !padding && source.format != Format::TelephoneEvent {
            let clock_rate = source.clock_rate();
            let arrival = now.saturating_duration_since(self.epoch);
            source.reception.time(packet.timestamp, arrival, clock_rate);
        }
        if source.nacks && !source.nack.arrive(now, sequence) {
            source.key_frame_wanted |= video;
        }
        let announce = !std::mem::replace(&mut source.announced, true);
        let (id, rid) = (source.receiver, source.rid.clone());
        self.report_at.get_or_insert(now + super::report::FIRST_REPORT);
        if announce {
            self.push_event(Event::NewSource {
                receiver: id,
                ssrc,
                rid,
            });
        }
        self.hand_over(now, ssrc, sequence, packet, padding);
    }

    fn hand_over(&mut self, now: Instant, ssrc: u32, sequence: u64, packet: Routed, padding: bool) {
        let Some(source) = self.sources.get_mut(&ssrc) else {
            return;
        };
        let Some(receiver) = self.receivers.get(&source.receiver) else {
            return;
        };
        let format = source.format;
        let piece = if padding {
            None
        } else {
            Some(format.inspect(&packet.payload))
        };
        let piece = match piece {
            Some(Err(_)) => {
                // A hole where it would have been: a picture without it must not pass for whole.
                self.dropped.malformed_payload += 1;
                return;
            }
            Some(Ok(piece)) => Some(piece),
            None => None,
        };
        let key_frame = piece.is_some_and(|piece| piece.key_frame);
        if key_frame && source.kind == Kind::Video {
            source.key_frame_wanted = false;
        }
        if receiver.output == Output::Frames && (format.has_frames() || padding) {
            source.assembler.insert(
                sequence,
                Part {
                    payload_type: packet.payload_type,
                    timestamp: packet.timestamp,
                    marker: packet.marker,
                    data: packet.payload.slice(piece.map_or(0, |piece| piece.prefix)..),
                    padding,
                    start: piece.is_some_and(|piece| piece.start),
                    key_frame,
                    audio_level: packet.extensions.audio_level,
                    received: now,
                },
            );
            self.deliver_frames(now, ssrc);
            return;
        }
        // Nobody assembles: the marker tells frames well enough to count them.
        if packet.marker || source.kind == Kind::Audio {
            source.count.frames += u64::from(!padding);
        }
        if key_frame
            && source.kind == Kind::Video
            && source.key_timestamp.replace(packet.timestamp) != Some(packet.timestamp)
        {
            source.count.key_frames += 1;
        }
        let output = receiver.output;
        if output == Output::Discard {
            return;
        }
        let payload = if packet.payload.len() < SMALL {
            Bytes::copy_from_slice(&packet.payload)
        } else {
            packet.payload
        };
        let event = Event::Packet {
            receiver: source.receiver,
            packet: Packet {
                ssrc,
                rid: source.rid.clone(),
                payload_type: packet.payload_type,
                sequence,
                timestamp: packet.timestamp,
                marker: packet.marker,
                payload,
                key_frame,
                extensions: packet.extensions,
                contributors: packet.contributors,
                received: now,
            },
        };
        self.push_event(event);
        if output == Output::Frames {
            self.take_number(now, ssrc, sequence);
        }
    }

    /// A packet that is part of no frame (an event between sounds, comfort noise, another codec) has come all the same: nobody need
    /// wait for its number.
    fn take_number(&mut self, now: Instant, ssrc: u32, sequence: u64) {
        let Some(source) = self.sources.get_mut(&ssrc) else {
            return;
        };
        if source.assembler.is_started() && sequence >= source.assembler.next() {
            source.assembler.insert(sequence, Part::padding(now));
            self.deliver_frames(now, ssrc);
        }
    }

    /// Hands over the frames of a source that are whole.
    pub(super) fn deliver_frames(&mut self, now: Instant, ssrc: u32) {
        loop {
            let Some(source) = self.sources.get_mut(&ssrc) else {
                return;
            };
            let patience = source.patience(self.config.max_latency);
            let Some(frame) = source.assembler.poll(now, patience) else {
                let next = source.assembler.next();
                source.nack.forget_before(next);
                return;
            };
            source.count.frames += 1;
            source.count.key_frames += u64::from(frame.key_frame && source.kind == Kind::Video);
            let event = Event::Frame {
                receiver: source.receiver,
                ssrc,
                discontinuity: frame.discontinuity,
                frame: Frame {
                    payload_type: frame.payload_type,
                    timestamp: frame.timestamp,
                    data: frame.data,
                    key_frame: frame.key_frame,
                    audio_level: frame.audio_level,
                },
            };
            self.push_event(event);
        }
    }
}
