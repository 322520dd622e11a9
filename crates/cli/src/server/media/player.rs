//! Tasks that carry the studio's video and music to one peer.

use std::time::Duration;

use antiphon::{Error, Frame};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until};

use super::outlet::Outlet;
use crate::sources::{AudioCodec, Sample, Studio, VideoCodec};

/// A larger size comes no sooner than so long after another change: an estimate that trembles must not cost a key frame each time. A smaller
/// one comes at once.
const STEADY: Duration = Duration::from_millis(500);

/// Where the studio's frames go.
#[derive(Clone, Debug)]
pub(in crate::server) struct Stage {
    pub(in crate::server) outlet: Outlet,
    pub(in crate::server) payload_type: u8,
}

impl Stage {
    async fn send(&self, sample: Sample) -> Sent {
        let frame = Frame::new(self.payload_type, sample.timestamp, sample.data);
        let Outlet { peer, transceiver, .. } = &self.outlet;
        match peer.send_frame(*transceiver, frame).await {
            Err(Error::Closed) => Sent::Gone,
            Err(Error::Peer(error)) if error.name() == "InvalidStateError" => Sent::Unwanted,
            // Any other refusal (the queue is full) costs this frame only: the peer asks for a key frame when it misses something.
            _ => Sent::Taken,
        }
    }
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Taken,
    /// Nothing is sent at the moment.
    Unwanted,
    /// The peer is gone.
    Gone,
}

/// A size of the video that comes in, or will.
struct Feed {
    rung: usize,
    samples: broadcast::Receiver<Sample>,
    /// A key frame has come and nothing was lost since: what comes now can be shown.
    whole: bool,
}

impl Feed {
    fn of(studio: &Studio, codec: VideoCodec, rung: usize) -> Self {
        Self {
            rung,
            samples: studio.video(codec, rung),
            whole: false,
        }
    }
}

/// Which size a watcher gets: the one for the newest estimate of its path, without the trembling of estimates.
#[derive(Debug)]
struct Choice {
    codec: VideoCodec,
    rung: usize,
    changed: Instant,
}

impl Choice {
    fn new(codec: VideoCodec, bps: u64, now: Instant) -> Self {
        Self {
            codec,
            rung: Self::wanted(codec, bps),
            changed: now,
        }
    }

    fn wanted(codec: VideoCodec, bps: u64) -> usize {
        codec.rung_for(bps)
    }

    /// Takes an estimate; whether the size is another one now.
    fn changes(&mut self, bps: u64, now: Instant) -> bool {
        let wanted = Self::wanted(self.codec, bps);
        let may = wanted < self.rung || (wanted > self.rung && now >= self.changed + STEADY);
        if may {
            (self.rung, self.changed) = (wanted, now);
        }
        may
    }

    /// When a larger size may come that the estimate has room for already.
    fn later(&self, bps: u64) -> Option<Instant> {
        (Self::wanted(self.codec, bps) > self.rung).then(|| self.changed + STEADY)
    }
}

/// The pattern, in the size that the path carries. Each number on `key_frames` is one more request of the peer for a key frame.
pub(in crate::server) async fn pattern(
    studio: Studio,
    stage: Stage,
    codec: VideoCodec,
    mut target: watch::Receiver<u64>,
    mut key_frames: watch::Receiver<u64>,
) {
    if !stage.outlet.ready().await {
        return;
    }
    let mut choice = Choice::new(codec, *target.borrow_and_update(), Instant::now());
    let mut now = Feed::of(&studio, codec, choice.rung);
    // The size to change to, until its first key frame is here: until then the old one goes on.
    let mut next: Option<Feed> = None;
    loop {
        let bps = *target.borrow();
        if choice.changes(bps, Instant::now()) {
            tracing::debug!(rung = choice.rung, "video size");
            next = (choice.rung != now.rung).then(|| Feed::of(&studio, codec, choice.rung));
        }
        let later = choice.later(bps);
        let coming = async {
            match &mut next {
                Some(next) => next.samples.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            sample = coming => match sample {
                Ok(sample) if sample.key_frame => {
                    let Some(mut fresh) = next.take() else { continue };
                    fresh.whole = true;
                    now = fresh;
                    match stage.send(sample).await {
                        Sent::Taken => {}
                        Sent::Unwanted => now.whole = false,
                        Sent::Gone => return,
                    }
                }
                // For those who watch it already; or it was missed, and has been asked for again.
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => studio.request_key_frame(codec, choice.rung),
                Err(RecvError::Closed) => return,
            },
            sample = now.samples.recv() => match sample {
                // There is too little for pictures; what comes next needs what was left out.
                Ok(_) if bps == 0 => now.whole = false,
                Ok(sample) => {
                    now.whole |= sample.key_frame;
                    if now.whole {
                        match stage.send(sample).await {
                            Sent::Taken => {}
                            // A key frame is asked for when it is sent again.
                            Sent::Unwanted => now.whole = false,
                            Sent::Gone => return,
                        }
                    }
                }
                // The oldest were dropped, and what comes next may need them.
                Err(RecvError::Lagged(_)) => {
                    now.whole = false;
                    studio.request_key_frame(codec, now.rung);
                }
                Err(RecvError::Closed) => return,
            },
            request = key_frames.changed() => {
                if request.is_err() { return }
                studio.request_key_frame(codec, now.rung);
            }
            estimate = target.changed() => {
                if estimate.is_err() { return }
                if bps == 0 && *target.borrow() > 0 {
                    studio.request_key_frame(codec, now.rung);
                }
            }
            () = sleep_until(later.unwrap_or_else(Instant::now)), if later.is_some() => {}
        }
    }
}

/// The music.
pub(in crate::server) async fn music(studio: Studio, stage: Stage, codec: AudioCodec) {
    if !stage.outlet.ready().await {
        return;
    }
    let mut feed = studio.audio(codec);
    loop {
        match feed.recv().await {
            Ok(packet) => {
                if stage.send(packet).await == Sent::Gone {
                    return;
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITTLE: u64 = 60_000;

    #[test]
    fn an_estimate_is_followed_within_half_a_second_and_does_not_make_the_size_tremble() {
        for &codec in VideoCodec::ALL {
            let start = Instant::now();
            let at = |ms: u64| start + Duration::from_millis(ms);
            // What an estimate of 150 kbit/s leaves beside sound.
            let mut choice = Choice::new(codec, LITTLE, start);
            let (smallest, largest) = (choice.rung, codec.rung_for(3_000_000));
            assert_eq!(smallest, 0);
            // Up, when the last change is half a second ago.
            assert!(!choice.changes(3_000_000, at(20)));
            assert_eq!(choice.later(3_000_000), Some(at(500)));
            assert!(choice.changes(3_000_000, at(500)));
            assert_eq!((choice.rung, choice.later(3_000_000)), (largest, None));
            // Down at once, also a moment after another change, and then up again no sooner than before.
            assert!(choice.changes(LITTLE, at(510)));
            assert_eq!(choice.rung, smallest);
            assert!(!choice.changes(3_000_000, at(1_009)));
            assert!(choice.changes(3_000_000, at(1_010)));
            assert!(!choice.changes(3_000_000, at(9_000)));
        }
    }
}
