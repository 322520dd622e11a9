//! Who is heard in a room: the audio levels of all producers (RFC 6464), who of them is loud, who leads the talk, and
//! whose packets go on where only the loudest do.

mod dominance;
mod loudest;
mod voice;
mod volumes;

use std::time::Instant;

use antiphon_sansio::Queue;

pub use loudest::{LoudestOptions, MAX_LOUDEST, Verdict};
pub use volumes::{MAX_VOLUMES, Volume, VolumeOptions};

use dominance::Dominance;
use loudest::Loudest;
use voice::{Voice, slot};
use volumes::Volumes;

/// The highest number of a producer that is known, and one more: those above are not added. The table is as long as the
/// highest number in it.
pub const MAX_SPEAKERS: u32 = 16_384;
/// Events that wait for who does not ask for them; the oldest go first, since each tells more than the one before.
const MAX_EVENTS: usize = 64;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Who was louder than the threshold over the last interval, loudest first. It is never empty.
    Volumes(Vec<Volume>),
    /// Nobody is louder than the threshold any more.
    Silence,
    /// Another producer leads the talk; `None`: the one that did is gone.
    Dominant(Option<u32>),
}

/// What became of packets of sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that went on.
    pub forwarded: u64,
    /// Packets of silence that did not.
    pub silent: u64,
    /// Packets of who was not among the loudest.
    pub quieter: u64,
    /// Packets of producers that were never added, or are gone. They do not go on.
    pub unknown: u64,
}

/// The speakers of one room.
///
/// Each part is asked for by itself and costs nothing before: [`Self::set_volumes`], [`Self::set_dominance`],
/// [`Self::set_loudest`]. A producer is named by the number that its host has for it, which is a place in a table:
/// small, and free again when it is removed.
#[derive(Clone, Debug)]
pub struct Speakers {
    /// When it began; slots of sound count from here.
    start: Instant,
    voices: Vec<Option<Box<Voice>>>,
    volumes: Option<Volumes>,
    dominance: Option<Dominance>,
    loudest: Option<Loudest>,
    counts: Counts,
    events: Queue<Event>,
}

impl Speakers {
    /// Nobody yet, and nothing is asked for.
    pub fn new(now: Instant) -> Self {
        Self {
            start: now,
            voices: Vec::new(),
            volumes: None,
            dominance: None,
            loudest: None,
            counts: Counts::default(),
            events: Queue::default(),
        }
    }

    /// Tells who is loud, at intervals, by [`Event::Volumes`] and [`Event::Silence`]; `None`: not any more.
    pub fn set_volumes(&mut self, options: Option<VolumeOptions>) {
        // What was heard before anybody listened is in no list.
        for voice in self.voices.iter_mut().flatten() {
            let _ = voice.take_mean();
        }
        self.volumes = options.map(Volumes::new);
    }

    /// Whether it is found out who leads the talk, which [`Event::Dominant`] tells.
    pub fn set_dominance(&mut self, wanted: bool) {
        if !wanted {
            self.dominance = None;
        } else if self.dominance.is_none() {
            self.dominance = Some(Dominance::default());
        }
    }

    /// Lets the packets of the loudest go on alone; `None`: those of all.
    pub fn set_loudest(&mut self, options: Option<LoudestOptions>) {
        self.loudest = options.map(Loudest::new);
    }

    /// A producer of sound begins. Whether there is room for it: a number of [`MAX_SPEAKERS`] or above is not added,
    /// and no packet of it goes on. Who was there under this number is forgotten.
    #[must_use]
    pub fn add(&mut self, producer: u32) -> bool {
        if producer >= MAX_SPEAKERS {
            return false;
        }
        self.remove(producer);
        let place = producer as usize;
        if self.voices.len() <= place {
            self.voices.resize_with(place + 1, || None);
        }
        if let Some(voice) = self.voices.get_mut(place) {
            *voice = Some(Box::default());
        }
        true
    }

    /// A producer has ended, or is paused.
    pub fn remove(&mut self, producer: u32) {
        let Some(voice) = self.voices.get_mut(producer as usize) else {
            return;
        };
        if voice.take().is_none() {
            return;
        }
        while self.voices.last().is_some_and(Option::is_none) {
            self.voices.pop();
        }
        if let Some(loudest) = &mut self.loudest {
            loudest.remove(producer);
        }
        if self
            .dominance
            .as_mut()
            .is_some_and(|dominance| dominance.remove(producer))
        {
            self.tell(Event::Dominant(None));
        }
    }

    /// A packet of sound has come, with its level in decibels below overload, 0 to 127, where it tells one. Whether it
    /// goes on to the others.
    ///
    /// Who tells no level goes on while fewer are loud than there are places.
    pub fn goes_on(&mut self, now: Instant, producer: u32, level: Option<u8>) -> Verdict {
        let Some(Some(voice)) = self.voices.get_mut(producer as usize) else {
            self.counts.unknown += 1;
            return Verdict::Unknown;
        };
        let slot = slot(self.start, now);
        let level = level.map(|level| level.min(127));
        if let Some(level) = level {
            voice.take(slot, level);
            if let Some(volumes) = &mut self.volumes {
                volumes.begin(now);
            }
            if let Some(dominance) = &mut self.dominance {
                dominance.begin(now);
            }
        }
        let leads = self.dominance.as_ref().and_then(Dominance::producer) == Some(producer);
        let verdict = match &mut self.loudest {
            Some(loudest) => loudest.judge(now, producer, &mut voice.energy, level, leads),
            None => Verdict::GoesOn,
        };
        let count = match verdict {
            Verdict::GoesOn => &mut self.counts.forwarded,
            Verdict::Silent => &mut self.counts.silent,
            Verdict::Quieter | Verdict::Unknown => &mut self.counts.quieter,
        };
        *count += 1;
        verdict
    }

    /// An interval may be over.
    pub fn handle_timeout(&mut self, now: Instant) {
        let slot = slot(self.start, now);
        if self.volumes.as_ref().is_some_and(|volumes| volumes.is_due(now)) {
            let voices = (0u32..).zip(self.voices.iter_mut().map(Option::as_deref_mut));
            let voices = voices.filter_map(|(producer, voice)| Some((producer, voice?)));
            let event = self.volumes.as_mut().and_then(|volumes| volumes.end(now, voices));
            match event {
                Some(list) if list.is_empty() => self.tell(Event::Silence),
                Some(list) => self.tell(Event::Volumes(list)),
                None => {}
            }
        }
        if self.dominance.as_ref().is_some_and(|dominance| dominance.is_due(now)) {
            let voices = (0u32..).zip(self.voices.iter().map(Option::as_deref));
            let voices = voices.filter_map(|(producer, voice)| Some((producer, voice?)));
            let change = self
                .dominance
                .as_mut()
                .and_then(|dominance| dominance.decide(now, slot, voices));
            if let Some(producer) = change {
                self.tell(Event::Dominant(Some(producer)));
            }
        }
    }

    /// When [`Self::handle_timeout`] has something to do; `None` while nobody sends sound.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let volumes = self.volumes.as_ref().and_then(Volumes::due);
        let dominance = self.dominance.as_ref().and_then(Dominance::due);
        volumes.into_iter().chain(dominance).min()
    }

    /// What happened, the oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Who leads the talk; `None` before anybody has, and where it is not asked for.
    pub fn dominant(&self) -> Option<u32> {
        self.dominance.as_ref().and_then(Dominance::producer)
    }

    /// Who is among the loudest now, loudest first, with those who have stopped within the expiry. Empty where it is
    /// not asked for.
    pub fn loudest(&self) -> impl Iterator<Item = u32> + '_ {
        self.loudest.iter().flat_map(Loudest::producers)
    }

    /// What became of packets.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}
