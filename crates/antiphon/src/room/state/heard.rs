//! Who is heard in a room, and how loud.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_peer_connection::Packet;
use antiphon_sfu::speakers::{MAX_VOLUMES, Speakers, VolumeOptions};

use crate::room::facts::ReceiverFacts;

/// How often levels are told: as often as a bar beside a name is worth being drawn anew.
const INTERVAL: Duration = Duration::from_millis(500);

/// Who is heard.
pub(super) struct Hearing {
    pub(super) speakers: Speakers,
    /// The receivers, by their numbers among the speakers.
    places: Vec<Option<Arc<ReceiverFacts>>>,
    numbers: BTreeMap<u64, u32>,
}

impl Hearing {
    pub(super) fn new(now: Instant) -> Self {
        let mut speakers = Speakers::new(now);
        speakers.set_volumes(Some(VolumeOptions {
            max_entries: MAX_VOLUMES,
            threshold: -127,
            interval: INTERVAL,
        }));
        speakers.set_dominance(true);
        Self {
            speakers,
            places: Vec::new(),
            numbers: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, facts: &Arc<ReceiverFacts>) {
        let free = self.places.iter().position(Option::is_none);
        let place = free.unwrap_or(self.places.len());
        // A number that is too high is not heard, and nothing else.
        if let Ok(number) = u32::try_from(place)
            && self.speakers.add(number)
        {
            if free.is_none() {
                self.places.push(None);
            }
            self.places[place] = Some(facts.clone());
            self.numbers.insert(facts.id, number);
        }
    }

    pub(super) fn remove(&mut self, receiver: u64) {
        if let Some(number) = self.numbers.remove(&receiver) {
            self.speakers.remove(number);
            self.places[number as usize] = None;
        }
    }

    pub(super) fn take(&mut self, now: Instant, receiver: u64, packet: &Packet) {
        if let Some(&number) = self.numbers.get(&receiver) {
            let level = packet.extensions.audio_level.map(|own| own.below_overload);
            // Everything goes on here; only what was heard counts.
            let _ = self.speakers.goes_on(now, number, level);
        }
    }

    pub(super) fn at(&self, number: u32) -> Option<Arc<ReceiverFacts>> {
        self.places.get(number as usize)?.clone()
    }
}
