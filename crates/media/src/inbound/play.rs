//! Frames of one source on their way to the application: as they come, or when they are due.

use std::time::Instant;

use antiphon_rtp::extension::Carried;
use antiphon_rtp::payload::{Depacketizer, FrameFacts};

use super::{Inbound, Received, kept};
use crate::assembler::Assembled;
use crate::config::Output;
use crate::event::{Event, Frame};
use crate::events::Events;
use crate::nack::Answers;
use crate::playout::pictures::Times;
use crate::playout::sounds::Came;
use crate::stats::{Dropped, Played, PlayoutFigures};
use crate::transform::Known;

impl Inbound {
    /// Hands over the frames that are whole.
    pub(crate) fn deliver_frames(
        &mut self,
        now: Instant,
        answers: Answers,
        events: &mut Events,
        dropped: &mut Dropped,
    ) {
        let patience = self.patience(answers);
        let round = self.section.nacks.then_some(answers.first);
        let malformed = self.assembler.frames_malformed;
        while let Some(frame) = self.assembler.poll(now, patience, &mut self.joiners) {
            let ticks = self.count_frame(now, &frame);
            self.orientation = frame.extensions.video_orientation.or(self.orientation);
            let (discontinuity, began, arrived) = (frame.discontinuity, frame.arrivals.first, frame.arrivals.last);
            let mut frame = Frame {
                payload_type: frame.payload_type,
                timestamp: frame.timestamp,
                captured: self.captured(frame.timestamp, now),
                data: frame.data,
                key_frame: frame.key_frame,
                facts: frame.facts,
                extensions: Carried {
                    video_orientation: self.orientation,
                    ..frame.extensions
                },
                contributors: frame.contributors,
            };
            if !self.transform(arrived, &mut frame, events) {
                continue;
            }
            if self.section.config.output == Output::Playout {
                let clock_rate = self.clock_rate();
                let times = Times { now, began, round };
                self.playout.picture(times, frame, discontinuity, clock_rate);
                continue;
            }
            self.playout.handed_over(now, began, ticks);
            if self.is_video() {
                self.playout.shown(now, frame.timestamp);
            }
            events.push(Event::Frame {
                receiver: self.section.id,
                ssrc: self.ssrc,
                discontinuity,
                frame,
            });
        }
        dropped.malformed_payload += self.assembler.frames_malformed - malformed;
        self.nack.forget_before(self.assembler.next());
        self.play(now, events);
    }

    /// A frame is whole. Returns how much it counts: one for a picture, and its ticks for sound.
    fn count_frame(&mut self, now: Instant, frame: &Assembled) -> u64 {
        let (video, clock_rate) = (self.is_video(), self.clock_rate());
        let heard = self.count.heard_mut();
        let count = &mut heard.frames;
        count.received += 1;
        count.rate.note(now);
        if !video {
            let level = frame.extensions.audio_level;
            return heard.sound.note(frame.timestamp, clock_rate, level);
        }
        count.key += u64::from(frame.key_frame);
        count.resolution = frame.facts.resolution.or(count.resolution);
        if frame.arrivals.packets > 1 {
            count.of_several += 1;
            count.assembly += frame.arrivals.last.saturating_duration_since(frame.arrivals.first);
        }
        1
    }

    /// Lets the application's transform do its work. Whether the frame goes on.
    #[inline]
    fn transform(&mut self, arrived: Instant, frame: &mut Frame, events: &mut Events) -> bool {
        if !events.transforms.has(self.section.id) {
            return true;
        }
        let known = Known {
            kind: self.section.config.kind,
            ssrc: self.ssrc,
            codec: self.codec(),
            timestamp_offset: 0,
            received: Some(arrived),
            resolution: self.count.heard().frames.resolution,
        };
        let (goes_on, wants_key_frame) = events.transform(self.section.id, frame, &known);
        self.key_frames.wanted |= wants_key_frame && self.is_video();
        goes_on
    }

    /// A packet of sound that is to be played when it is due. All formats of sound have a frame in a packet.
    pub(super) fn take_sound(
        &mut self,
        now: Instant,
        sequence: u64,
        packet: &mut Received,
        format: Depacketizer,
        events: &mut Events,
    ) {
        self.count_sound(now, packet);
        let mut frame = Frame {
            payload_type: packet.payload_type,
            timestamp: packet.timestamp,
            captured: self.captured(packet.timestamp, now),
            data: kept(&mut packet.payload),
            key_frame: true,
            facts: FrameFacts::default(),
            extensions: std::mem::take(&mut packet.extensions),
            contributors: packet.contributors.take(),
        };
        if self.transform(now, &mut frame, events) {
            let channels = self.codec().map_or(1, |codec| codec.channels);
            let came = Came {
                sequence,
                ticks: format.ticks(&frame.data, channels),
                begins_silence: format.begins_silence(&frame.data),
                frame,
            };
            let clock_rate = self.clock_rate();
            self.playout.sound(now, came, clock_rate);
        }
        self.play(now, events);
    }

    /// Hands over what is due.
    pub(super) fn play(&mut self, now: Instant, events: &mut Events) {
        let (receiver, ssrc) = (self.section.id, self.ssrc);
        let reception = &self.reception;
        let is_lost = |after, before| reception.lacks(after, before);
        while let Some(event) = self.playout.poll(now, receiver, ssrc, is_lost) {
            events.push(event);
        }
        if let Some(last) = self.playout.last_sound() {
            self.nack.forget_before(last + 1);
        }
    }

    /// How it is played.
    pub(crate) fn figures(&self) -> PlayoutFigures {
        let played = self.playout.played.zip(self.remote);
        PlayoutFigures {
            played: played.map(|((timestamp, at), remote)| {
                let ticks = i64::from(timestamp.wrapping_sub(remote.rtp_timestamp) as i32);
                let since = (ticks << 32) / i64::from(self.clock_rate());
                Played {
                    ntp: remote.ntp.wrapping_add_signed(since),
                    at,
                }
            }),
            ..self.playout.figures()
        }
    }
}
