//! Who of a router's producers is heard.

use std::time::Instant;

use antiphon_media::Packet;

use super::Router;
use super::event::{Event, Loudness};
use super::names::{Name, ProducerId};
use crate::speakers::{Event as Heard, LoudestOptions, VolumeOptions};

impl Router {
    /// Tells who is loud, at intervals, by [`Event::Volumes`]; `None`: not any more. Levels are those that packets tell
    /// (RFC 6464).
    pub fn set_volumes(&mut self, options: Option<VolumeOptions>) {
        self.speakers.set_volumes(options);
    }

    /// Whether it is found out who leads the talk, which [`Event::Dominant`] tells.
    pub fn set_dominance(&mut self, wanted: bool) {
        self.speakers.set_dominance(wanted);
    }

    /// Lets the sound of the loudest go on alone; `None`: that of all. Receivers miss no number of what does not.
    pub fn set_loudest(&mut self, options: Option<LoudestOptions>) {
        self.loudest = options.map(|options| options.count);
        self.speakers.set_loudest(options);
    }

    /// Who leads the talk; `None` before anybody has, and where it is not asked for.
    pub fn dominant(&self) -> Option<ProducerId> {
        self.producers.name_at(self.speakers.dominant()?)
    }

    /// The number of a packet of sound as it goes on to all consumers; `None`: it does not.
    pub(super) fn hear(&mut self, now: Instant, id: ProducerId, packet: &Packet) -> Option<u64> {
        let level = packet.extensions.audio_level.map(|level| level.below_overload);
        let verdict = self.speakers.goes_on(now, id.place(), level);
        let producing = self.producers.get_mut(id)?;
        if verdict.goes_on() {
            return producing.sound.take(packet.ssrc, packet.sequence);
        }
        producing.sound.leave_out(packet.ssrc, packet.sequence);
        producing.quieter += 1;
        None
    }

    /// Tells what the speakers tell.
    pub(super) fn tell_speakers(&mut self) {
        while let Some(event) = self.speakers.poll_event() {
            let event = match event {
                Heard::Volumes(list) => {
                    let named = list.iter().filter_map(|volume| {
                        Some(Loudness {
                            producer: self.producers.name_at(volume.producer)?,
                            level: volume.level,
                        })
                    });
                    Event::Volumes(named.collect())
                }
                Heard::Silence => Event::Volumes(Vec::new()),
                Heard::Dominant(place) => Event::Dominant(place.and_then(|place| self.producers.name_at(place))),
            };
            self.events.push(event);
        }
    }
}
