//! Who leads the talk: the rule of Volfin and Cohen ("Dominant speaker identification for multipoint
//! videoconferencing", 2013), on levels.
//!
//! Each voice has three scores: of this moment, of the last tenth of a second, and of the last second. A score is how
//! much likelier a number of loud parts is of speech than of its absence. Another voice takes over when it beats the
//! one that leads in all three, so that neither a cough nor a word in between takes the lead from who talks on.

use std::time::{Duration, Instant};

use super::voice::{MAX_STEP, Voice};

/// How often it is asked who leads.
const INTERVAL: Duration = Duration::from_millis(300);
/// The parts that are counted: steps of loudness of one slot; slots of a block; blocks of the whole.
const STEPS: usize = 13;
const SLOTS: usize = 5;
const BLOCKS: usize = 10;
/// A slot is loud above this step, and a block above this number of loud slots.
const LOUD_STEP: u8 = 7;
const LOUD_SLOTS: usize = 4;
/// How seldom loud parts are while nobody speaks: the rates of the exponential law of each length.
const RATES: [f64; 3] = [0.78, 24.0, 47.0];
/// By what the logarithm of a score has to be above that of who leads.
const MARGINS: [f64; 3] = [3.0, 2.0, 0.0];
/// No score is less, so that each has a logarithm.
const LEAST: f64 = 1e-10;
/// Who takes over has been loud in so many blocks of the last second. The paper has no such bound: in a silent room a
/// cough of two blocks would take the lead.
const MIN_BLOCKS: usize = 3;

/// Which producer leads the talk.
#[derive(Clone, Debug, Default)]
pub(super) struct Dominance {
    producer: Option<u32>,
    /// When it is asked next; `None` while nobody sends.
    due: Option<Instant>,
}

/// The scores of one voice, as logarithms, and how many blocks were loud.
struct Scores {
    scores: [f64; 3],
    blocks: usize,
}

impl Dominance {
    /// Who leads; `None` before anybody has.
    pub(super) fn producer(&self) -> Option<u32> {
        self.producer
    }

    /// Somebody sends.
    pub(super) fn begin(&mut self, now: Instant) {
        self.due.get_or_insert(now + INTERVAL);
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// A producer is gone. Whether it led.
    pub(super) fn remove(&mut self, producer: u32) -> bool {
        let led = self.producer == Some(producer);
        if led {
            self.producer = None;
        }
        led
    }

    /// Asks who leads now. Who has taken over, if anybody has.
    pub(super) fn decide<'a>(
        &mut self,
        now: Instant,
        running: u64,
        voices: impl Iterator<Item = (u32, &'a Voice)> + Clone,
    ) -> Option<u32> {
        let leader = self
            .producer
            .and_then(|leader| voices.clone().find(|(producer, _)| *producer == leader));
        let before = leader.map_or([LEAST.ln(); 3], |(_, voice)| {
            scores(voice, voice.newest(running)).scores
        });
        let mut best: Option<(u32, f64)> = None;
        let mut anybody = false;
        for (producer, voice) in voices {
            anybody |= voice.is_heard(running);
            if self.producer == Some(producer) {
                continue;
            }
            let own = scores(voice, voice.newest(running));
            let beats = own
                .scores
                .iter()
                .zip(before)
                .zip(MARGINS)
                .all(|((own, before), margin)| own - before > margin);
            let [_, medium, _] = own.scores;
            if beats && own.blocks >= MIN_BLOCKS && best.is_none_or(|(_, most)| medium > most) {
                best = Some((producer, medium));
            }
        }
        self.due = anybody.then(|| now + INTERVAL);
        let (producer, _) = best?;
        self.producer = Some(producer);
        Some(producer)
    }
}

/// The scores of a voice at a slot.
fn scores(voice: &Voice, newest: u64) -> Scores {
    let step = usize::from(voice.at(newest).min(MAX_STEP));
    let mut newest_block = 0;
    let mut blocks = 0;
    for block in 0..BLOCKS {
        let loud = (0..SLOTS).filter(|slot| {
            let back = (block * SLOTS + slot) as u64;
            newest.checked_sub(back).is_some_and(|slot| voice.at(slot) > LOUD_STEP)
        });
        let loud = loud.count();
        if block == 0 {
            newest_block = loud;
        }
        blocks += usize::from(loud > LOUD_SLOTS);
    }
    let parts = [(STEPS, step), (SLOTS, newest_block), (BLOCKS, blocks)];
    let mut scores = [LEAST.ln(); 3];
    for ((score, (count, loud)), rate) in scores.iter_mut().zip(parts).zip(RATES) {
        *score = likelihood(count, loud, rate).max(LEAST).ln();
    }
    Scores { scores, blocks }
}

/// The logarithm of how much likelier it is of speech than of its absence that so many of the parts are loud: with
/// speech each part is loud in one of two cases (a binomial law), without it loud parts are rare (an exponential law).
fn likelihood(count: usize, loud: usize, rate: f64) -> f64 {
    let choices: f64 = (0..loud)
        .map(|place| ((count - place) as f64 / (place + 1) as f64).ln())
        .sum();
    choices - count as f64 * std::f64::consts::LN_2 - rate.ln() + rate * loud as f64
}
