//! What a room's router tells of sound, while somebody listens.

use std::time::{Duration, Instant};

use antiphon_sfu::speakers::MAX_VOLUMES;

use crate::error::Error;
use crate::router::{Loudness, ProducerId, Router, RouterEvent, RouterEvents, VolumeOptions};

/// How often levels are told: as often as a bar beside a name is worth being drawn anew.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often it is looked whether anybody still listens. Until then the router tells the levels to nobody.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Somebody listens to who is loud, or who leads.
pub(super) struct Hearing {
    events: RouterEvents,
    /// Events that this end was too late for, at the last look.
    missed: u64,
    /// When it is looked again whether anybody still listens.
    pub(super) look_at: Instant,
}

/// What the router tells of sound.
pub(super) enum Sound {
    /// Who is loud, loudest first.
    Levels(Vec<Loudness>),
    /// Who leads the talk; `None`: who did is gone.
    Leader(Option<ProducerId>),
    /// Events were missed: who leads may be another than was told last.
    Missed,
}

impl Hearing {
    /// Has the router say what it hears.
    pub(super) async fn begin(router: &Router, now: Instant) -> Result<Self, Error> {
        let events = router.events();
        let options = VolumeOptions {
            max_entries: MAX_VOLUMES,
            threshold: -127,
            interval: INTERVAL,
        };
        router.set_volumes(Some(options)).await?;
        router.set_dominance(true).await?;
        Ok(Self {
            events,
            missed: 0,
            look_at: now + LOOK_EVERY,
        })
    }

    /// Has the router say no more.
    pub(super) async fn end(router: &Router) -> Result<(), Error> {
        router.set_volumes(None).await?;
        router.set_dominance(false).await
    }

    /// Somebody listens now, and is asked again later.
    pub(super) fn look_later(&mut self, now: Instant) {
        self.look_at = now + LOOK_EVERY;
    }

    async fn next(&mut self) -> Option<Sound> {
        loop {
            let event = self.events.next().await?;
            match event {
                RouterEvent::Volumes(levels) => return Some(Sound::Levels(levels)),
                RouterEvent::Dominant(leader) => return Some(Sound::Leader(leader)),
                _ if self.events.missed() > self.missed => {
                    self.missed = self.events.missed();
                    return Some(Sound::Missed);
                }
                _ => {}
            }
        }
    }
}

/// What the router tells next. Nothing comes while nobody listens. Cancel safe.
pub(super) async fn next(hearing: &mut Option<Hearing>) -> Sound {
    if let Some(hearing) = hearing
        && let Some(sound) = hearing.next().await
    {
        return sound;
    }
    std::future::pending().await
}
