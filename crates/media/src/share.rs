//! What one stream is told of the session's rate, and what it makes of it.

use std::time::{Duration, Instant};

use crate::allocation::Claim;
use crate::config::{Bounds, Kind};
use crate::limitation::{QualityLimitation, QualityLimitations};
use crate::outbound::Outbound;

/// The most that sound is taken to want where nobody says it, bits a second: Opus at its best, or G.711 with headers. Sound that sends
/// more wants as many times as much as it needs.
const SOUND: u64 = 80_000;
/// Pictures are paused below this where nobody says another bound, bits a second: nothing can be seen of them.
const MIN_PICTURES: u64 = 15_000;
/// What leaves with the payload of pictures, in percent.
const HEADERS: u64 = 3;
/// What is used follows a rise at once, and a fall over this time, in seconds: a key frame counts for as long as it is made up for.
const MEMORY: f64 = 2.0;
/// Who has just begun may use all that it gets, for this long.
const BEGINNING: Duration = Duration::from_secs(1);
/// Who has sent nothing for this long has no use for a share.
const IDLE: Duration = Duration::from_secs(2);

/// The share of one stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Share {
    pub(crate) bounds: Bounds,
    /// What the application was told, bits a second.
    pub(crate) told: Option<u64>,
    /// There is too little for it.
    paused: bool,
    /// It has a claim.
    pub(crate) takes_part: bool,
    /// Bytes that it had sent when that was last looked at.
    seen: u64,
    /// What it uses, bits a second.
    used: f64,
    /// Since when it sends without a long pause, and when it was last seen to have sent something.
    began: Option<Instant>,
    busy: Option<Instant>,
    /// What keeps its pictures from being better.
    limitations: Option<Box<QualityLimitations>>,
}

/// Bytes that a stream has sent for the first time.
fn sent(sender: &Outbound) -> u64 {
    let count = &sender.count;
    match sender.config.kind {
        Kind::Audio => count.bytes + count.header_bytes,
        // Their headers are those of padding too.
        Kind::Video => count.bytes.saturating_sub(count.resent_bytes) / 100 * (100 + HEADERS),
    }
}

impl Share {
    /// Looks how much was sent in the time that has passed since the last look; `None`: only whether anything was.
    pub(crate) fn look(&mut self, now: Instant, elapsed: Option<Duration>, sender: &Outbound) {
        let sent = sent(sender);
        // A stream with another SSRC counts from nothing.
        let bytes = sent.checked_sub(self.seen).unwrap_or(sent);
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let quiet = since(self.busy);
        if bytes > 0 {
            if quiet.is_none_or(|quiet| quiet > IDLE) {
                self.began = Some(now);
            }
            self.busy = Some(now);
        }
        let Some(elapsed) = elapsed else { return };
        self.seen = sent;
        let seconds = elapsed.as_secs_f64();
        let rate = bytes as f64 * 8.0 / seconds;
        let part = if rate > self.used {
            1.0
        } else {
            seconds / (seconds + MEMORY)
        };
        self.used += (rate - self.used) * part;
    }

    /// What it claims; `None`: it sends nothing, though it could.
    pub(crate) fn claim(&mut self, now: Instant, sender: &Outbound) -> Option<Claim> {
        self.takes_part = false;
        if !sender.sends() {
            (self.told, self.paused, self.busy) = (None, false, None);
            return None;
        }
        let stopped = self.paused || self.told == Some(0);
        let quiet = now.saturating_duration_since(self.busy?);
        if quiet > IDLE && !stopped {
            return None;
        }
        let sound = sender.config.kind == Kind::Audio;
        let min = self.bounds.min_bitrate.unwrap_or(if sound { 0 } else { MIN_PICTURES });
        let max = self.bounds.max_bitrate.unwrap_or(match sound {
            true => SOUND.max((self.used as u64).next_multiple_of(SOUND)),
            false => u64::MAX,
        });
        let young = self
            .began
            .is_none_or(|at| now.saturating_duration_since(at) < BEGINNING);
        let mut claim = Claim::new(sound, self.bounds.priority, min, max);
        self.takes_part = true;
        claim.paused = self.paused;
        claim.used = (!young && !stopped).then_some(self.used as u64);
        Some(claim)
    }

    /// Judges what keeps its pictures down: the application knows of its encoder, and the stream of its rate. Where nobody has said how much it
    /// could use, nobody knows whether it lacks any.
    pub(crate) fn judge(&mut self, now: Instant, sender: &Outbound) {
        if sender.config.kind == Kind::Audio {
            return;
        }
        let given = sender.count.given_so_far();
        let told = given.and_then(|given| given.encoder.as_ref()?.limited_by);
        let by_rate = self.told.zip(self.bounds.max_bitrate).map(|(told, max)| {
            // A share is told when it has changed by a twentieth.
            if told.saturating_mul(20) < max.saturating_mul(19) {
                QualityLimitation::Bandwidth
            } else {
                QualityLimitation::None
            }
        });
        let told = told.filter(|told| *told != QualityLimitation::None);
        let reason = told.or(by_rate).filter(|_| sender.sends());
        if reason.is_some() || self.limitations.is_some() {
            self.limitations.get_or_insert_default().judge(now, reason);
        }
    }

    /// What has kept its pictures down so far.
    pub(crate) fn limitations(&self) -> QualityLimitations {
        self.limitations.as_deref().copied().unwrap_or_default()
    }

    /// Takes what the claim has got. What the application is to be told, if that has changed enough.
    pub(crate) fn settle(&mut self, claim: &Claim) -> Option<u64> {
        self.paused = claim.paused;
        let share = claim.share;
        if let Some(told) = self.told
            && (told == 0) == (share == 0)
            && share.abs_diff(told).saturating_mul(20) <= told
        {
            return None;
        }
        self.told = Some(share);
        self.told
    }
}
