//! How well consumers do at their receivers, and whose scores are to be told.

use std::time::Instant;

use antiphon_media::Reported;

use super::names::{ConsumerId, ProducerId};
use crate::score::{BEST, Interval, Score};

/// Scores that are made, and those that are to be told.
#[derive(Debug, Default)]
pub(super) struct Scoring {
    /// When they are made next; `None`: nothing comes.
    pub(super) at: Option<Instant>,
    /// Consumers whose connections are to be asked what their receivers report.
    pub(super) unheard: Vec<ConsumerId>,
    /// Producers and consumers with another score than was told.
    pub(super) producers: Vec<ProducerId>,
    pub(super) consumers: Vec<ConsumerId>,
}

/// How well a consumer's packets arrive.
#[derive(Clone, Debug, Default)]
pub(super) struct Delivery {
    before: Option<Reported>,
    score: Score,
    /// Packets that were sent when its connection was asked last.
    asked_at: u64,
    /// It is among those whose score is to be told.
    pub(super) is_scored: bool,
}

impl Delivery {
    /// The score; `None` before two reports.
    pub(super) fn score(&self) -> Option<u8> {
        self.score.get()
    }

    /// Whether anything was sent since this was asked last.
    pub(super) fn has_sent(&mut self, sent: u64) -> bool {
        std::mem::replace(&mut self.asked_at, sent) != sent
    }

    /// Takes what the receiver has reported so far. Whether the score is news.
    pub(super) fn take(&mut self, now: Reported) -> bool {
        let Some(before) = self.before.replace(now) else {
            return false;
        };
        // Late duplicates may make either smaller.
        let lost = now.lost.saturating_sub(before.lost).max(0) as u64;
        let expected = now.received.saturating_sub(before.received).saturating_add(lost);
        let resent = now.resent.saturating_sub(before.resent);
        if expected == 0 {
            return false;
        }
        let had = self.score.get();
        let score = self.score.take(Interval {
            expected,
            lost,
            repaired: resent.min(lost),
            retransmitted: resent,
        });
        is_news(had, score)
    }
}

/// Whether a score is to be told, which has become another. That all is well at the beginning is what everybody takes for granted.
pub(super) fn is_news(had: Option<u8>, has: Option<u8>) -> bool {
    has.is_some() && has != had && (had, has) != (None, Some(BEST))
}
