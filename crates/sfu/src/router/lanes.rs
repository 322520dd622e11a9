//! What crosses a pipe: each encoding of a producer by itself, as it came.

use std::time::{Duration, Instant};

use antiphon_media::{Packet, Rid};
use antiphon_peer_connection::{MediaKind, Transceiver};

use super::mailbox::Mailbox;
use super::numbers::Numbers;
use super::patience::Patience;
use super::producing::Format;
use crate::consumer::Counts;
use crate::draft::Draft;
use crate::facts::Facts;
use crate::layer::{Layers, MAX_ENCODINGS};
use crate::producer::Producer;

/// Of formats whose key frames a source may spread over many frames an encoding that was interrupted goes on anywhere after this.
const GO_ON_ANYWHERE: Duration = Duration::from_secs(2);

/// One encoding of the producer on its way through a pipe.
#[derive(Clone, Debug, Default)]
struct Lane {
    numbers: Numbers,
    /// Something has gone on.
    has_begun: bool,
    /// It was interrupted, and goes on with a key frame; since when packets come that do not go on.
    is_cut: bool,
    waits: Option<Instant>,
    /// A key frame of it is to be asked for.
    needs_key_frame: bool,
    patience: Patience,
}

impl Lane {
    /// What comes next may need what did not go on.
    fn cut(&mut self) {
        self.numbers.interrupt();
        self.waits = None;
        if self.has_begun {
            (self.is_cut, self.needs_key_frame) = (true, true);
        }
    }

    /// Whether a packet goes on, where an interruption must end with a key frame.
    fn goes_on(&mut self, now: Instant, facts: &Facts) -> bool {
        if self.is_cut {
            let waits = *self.waits.get_or_insert(now);
            let anywhere = facts.is_plain() && facts.start;
            let is_long = now.saturating_duration_since(waits) >= GO_ON_ANYWHERE;
            if !(facts.key_frame || anywhere && is_long) {
                return false;
            }
            self.is_cut = false;
        }
        true
    }
}

/// How packets cross: as they came, each encoding by itself.
#[derive(Clone, Debug)]
pub(super) struct Pipe {
    kind: MediaKind,
    /// The encodings that the far end takes; `None`: all, whatever they are called.
    rids: Option<Vec<Rid>>,
    lanes: [Lane; MAX_ENCODINGS],
    pub(super) counts: Counts,
    /// What waits to be fetched, where no connection sends it.
    pub(super) mailbox: Option<Mailbox>,
}

impl Pipe {
    pub(super) fn new(kind: MediaKind, mut rids: Vec<Rid>) -> Self {
        rids.truncate(MAX_ENCODINGS);
        Self {
            kind,
            rids: Some(rids),
            lanes: Default::default(),
            counts: Counts::default(),
            mailbox: None,
        }
    }

    /// A pipe that takes everything, for who fetches it.
    pub(super) fn of_all(format: Format) -> Self {
        let pipe = Self::new(format.kind, Vec::new());
        Self {
            rids: None,
            mailbox: Some(Mailbox::new(format)),
            ..pipe
        }
    }

    /// What the far end takes was negotiated again.
    pub(super) fn renegotiate(&mut self, transceiver: &Transceiver) {
        self.rids = Some(rids_of(transceiver));
    }

    /// Which of the pipe's encodings has an encoding of the producer: `None`, the far end does not take it; else its name, if it has one.
    fn encoding_of(&self, track: &Producer, place: u8) -> Option<Option<Rid>> {
        let Some(rids) = &self.rids else {
            return Some(track.rid(place));
        };
        if rids.is_empty() {
            return (place == 0).then_some(None);
        }
        match track.rid(place) {
            Some(rid) => rids.contains(&rid).then_some(Some(rid)),
            None => rids.get(usize::from(place)).copied().map(Some),
        }
    }

    /// Writes a packet as it crosses. On which encoding, if it does.
    pub(super) fn draw(
        &mut self,
        now: Instant,
        packet: &Packet,
        facts: &Facts,
        track: &Producer,
        draft: &mut Draft,
    ) -> Option<Option<Rid>> {
        let Some(rid) = self.encoding_of(track, facts.encoding) else {
            self.counts.left_out += 1;
            return None;
        };
        let lane = self.lanes.get_mut(usize::from(facts.encoding))?;
        if self.kind == MediaKind::Video && !lane.goes_on(now, facts) {
            self.counts.left_out += 1;
            return None;
        }
        let Some(sequence) = lane.numbers.take(packet.ssrc, packet.sequence) else {
            self.counts.late += 1;
            return None;
        };
        lane.has_begun = true;
        lane.needs_key_frame &= !facts.key_frame;
        // Others may have written all over it.
        draft.whole(packet, true).sequence = sequence;
        self.counts.forwarded += 1;
        Some(rid)
    }

    /// Nothing crosses for a while.
    pub(super) fn interrupt(&mut self) {
        for lane in &mut self.lanes {
            lane.cut();
        }
    }

    /// What was to cross on this encoding meanwhile was refused.
    pub(super) fn restarted(&mut self, track: &Producer, encoding: Option<Rid>) {
        if let Some(lane) = self.lane_of(track, encoding) {
            lane.cut();
        }
    }

    /// The far end asks for a key frame of an encoding. Whether it is heard.
    pub(super) fn key_frame_requested(&mut self, now: Instant, track: &Producer, encoding: Option<Rid>) -> bool {
        let Some(lane) = self.lane_of(track, encoding) else {
            return false;
        };
        let is_heard = lane.patience.hear(now);
        lane.needs_key_frame |= is_heard;
        is_heard
    }

    /// The same of an encoding of the producer, by its place.
    pub(super) fn key_frame_requested_of(&mut self, now: Instant, place: u8) -> bool {
        let Some(lane) = self.lanes.get_mut(usize::from(place)) else {
            return false;
        };
        let is_heard = lane.patience.hear(now);
        lane.needs_key_frame |= is_heard;
        is_heard
    }

    fn lane_of(&mut self, track: &Producer, encoding: Option<Rid>) -> Option<&mut Lane> {
        let place = (0..MAX_ENCODINGS as u8).find(|place| match self.encoding_of(track, *place) {
            // A connection with one encoding need not name it.
            Some(own) => {
                own == encoding || encoding.is_none() && self.rids.as_ref().is_some_and(|rids| rids.len() <= 1)
            }
            None => false,
        });
        self.lanes.get_mut(usize::from(place?))
    }

    /// Key frames of all encodings that have begun are needed, by its owner's word.
    pub(super) fn need_key_frame(&mut self) {
        for lane in &mut self.lanes {
            lane.needs_key_frame |= lane.has_begun;
        }
    }

    /// The next encoding of which a key frame is wanted, told once.
    pub(super) fn poll_key_frame(&mut self) -> Option<u8> {
        let mut lanes = (0..).zip(&mut self.lanes);
        let (place, lane) = lanes.find(|(_, lane)| lane.needs_key_frame)?;
        lane.needs_key_frame = false;
        Some(place)
    }
}

/// The encodings that the far end of a transceiver takes, as it was negotiated.
pub(super) fn rids_of(transceiver: &Transceiver) -> Vec<Rid> {
    let layers = transceiver.send().into_iter().flat_map(|send| &send.simulcast);
    let rids = layers.filter_map(|layer| Rid::new(layer.rid.as_bytes()));
    rids.take(MAX_ENCODINGS).collect()
}

/// What all encodings of a track that flow take together, in bits a second.
pub(super) fn bitrate_of(layers: &Layers) -> u64 {
    let mut rates = [0; MAX_ENCODINGS];
    for level in layers.levels().iter().filter(|level| level.flows) {
        if let Some(rate) = rates.get_mut(usize::from(level.encoding)) {
            // Each level has those below it of its encoding in it.
            *rate = level.bitrate(u8::MAX).max(*rate);
        }
    }
    rates.iter().sum()
}
