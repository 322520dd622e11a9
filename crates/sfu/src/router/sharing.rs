//! Each peer's estimate, shared by what it gets.

use std::time::{Duration, Instant};

use antiphon_peer_connection::MediaKind;

use super::Router;
use super::consuming::Consuming;
use super::lanes::bitrate_of;
use super::names::{ConsumerId, Name, PeerKey, ProducerId};
use crate::allotment::Budget;

/// Lists of layers change several times a second, each for all who get the track: shares are made anew for all of them
/// together, so much later.
const BEAT: Duration = Duration::from_millis(50);

/// What is taken for the estimate of a receiver that will tell what arrives and has not yet, in bits a second: a path that carries less
/// than everything would be full before anybody knows. A host that lets the estimates of its connections begin with it too asks
/// no path for more than that says.
pub const FIRST_ESTIMATE: u64 = 300_000;

/// No path is asked for less than this, in bits a second: who comes later shall not have to wait until it has been asked.
const LEAST_DESIRE: u64 = 5_000_000;
/// What all take must leave a sixth of the estimate free, or they would not get it.
const DESIRE: (u64, u64) = (6, 5);
/// A connection is told again when what it could send differs by more than this part.
const NEWS: u64 = 20;

impl Router {
    /// What a peer's connection can carry of media, in bits a second, as
    /// [`media_bitrate`](antiphon_peer_connection::PeerConnection::media_bitrate) tells; `None`: it is not known, and
    /// [`FIRST_ESTIMATE`] is taken if the peer will tell what arrives. To be told when it has changed, for instance with each
    /// `TargetBitrate`.
    pub fn set_estimate(&mut self, now: Instant, peer: PeerKey, estimate: Option<u64>) {
        let Some(own) = self.peers.get_mut(&peer) else { return };
        if own.estimate != estimate {
            own.estimate = estimate;
            self.allot(now, peer);
        }
    }

    /// Claims for consumers of one peer, or does not any more, as they, their producers and the peer are now.
    pub(super) fn turn(&mut self, now: Instant, ids: &[ConsumerId]) {
        let mut peer = None;
        for id in ids {
            peer = self.claim_for(now, *id).or(peer);
        }
        let Some(peer) = peer else { return };
        // All that are claimed for share at once: by turns each would take from those before it.
        self.allot(now, peer);
        for id in ids {
            self.switch(now, *id);
        }
    }

    /// Claims for a consumer, or does not any more. Its peer, if that is new.
    fn claim_for(&mut self, now: Instant, id: ConsumerId) -> Option<PeerKey> {
        let consuming = self.consumers.get_mut(id)?;
        let goes_on = self.producers.get(consuming.producer).is_some_and(|own| !own.paused);
        let goes_on = goes_on && !consuming.paused && consuming.is_negotiated();
        let Some((key, _)) = consuming.to else {
            // Nothing is shared out for who fetches.
            consuming.is_claimed = goes_on;
            self.switch(now, id);
            return None;
        };
        let peer = self.peers.get_mut(&key)?;
        let is_claimed = goes_on && peer.is_connected;
        if std::mem::replace(&mut consuming.is_claimed, is_claimed) == is_claimed {
            return None;
        }
        consuming.is_starved = false;
        let shares = consuming.shares();
        match (shares, is_claimed) {
            // One that has no room goes on with all that there is.
            (true, true) => _ = peer.allotment.set_claim(id.place(), consuming.claim),
            (true, false) => peer.allotment.remove(id.place()),
            (false, _) => {}
        }
        // Who has no share yet would have a key frame asked for of all that there is.
        if !shares || !is_claimed {
            self.switch(now, id);
        }
        Some(key)
    }

    /// Makes the shares of a peer anew.
    pub(super) fn allot(&mut self, now: Instant, key: PeerKey) {
        // What is not shared out: sound, and pipes.
        let fixed = self.sound_of(key).saturating_add(self.piped_to(key));
        let is_unknown = self.peers.get(&key).is_some_and(|peer| peer.estimate.is_none());
        let estimate = (is_unknown && self.will_tell(key)).then_some(FIRST_ESTIMATE);
        let Self {
            peers,
            consumers,
            producers,
            ..
        } = self;
        let Some(peer) = peers.get_mut(&key) else { return };
        peer.is_stale = false;
        let budget = Budget {
            estimate: peer.estimate.or(estimate),
            sound: fixed,
        };
        peer.allotment.allot(now, budget, |place| {
            let consuming = consumers.get(consumers.name_at(place)?)?;
            Some(producers.get(consuming.producer)?.track.layers())
        });
        let (over, under) = DESIRE;
        let desired = (peer.allotment.sums().desired / under * over).saturating_add(fixed);
        let desired = desired.max(LEAST_DESIRE);
        if peer.desired.abs_diff(desired).saturating_mul(NEWS) > peer.desired {
            peer.desired = desired;
            if !self.desiring.contains(&key) {
                self.desiring.push(key);
            }
        }
        if let Some(at) = peer.allotment.poll_timeout() {
            self.waits = Some(self.waits.map_or(at, |waits| waits.min(at)));
        }
        while let Some(change) = self.peers.get_mut(&key).and_then(|peer| peer.allotment.poll_change()) {
            let Some(id) = self.consumers.name_at(change.consumer) else {
                continue;
            };
            if let Some(consuming) = self.consumers.get_mut(id) {
                consuming.is_starved = change.wish.is_none();
                if let Some(wish) = change.wish {
                    consuming.set_wish(wish);
                }
            }
            self.switch(now, id);
            self.ask(now, id);
        }
    }

    /// Whether the receiver has agreed to tell what arrives, of which an estimate is made.
    fn will_tell(&self, key: PeerKey) -> bool {
        let Some(peer) = self.peers.get(&key) else { return false };
        let mut consumers = peer.consumers.iter().filter_map(|id| self.consumers.get(*id));
        consumers.any(Consuming::is_spoken_of)
    }

    /// What the sound takes that goes on to a peer, in bits a second.
    fn sound_of(&self, key: PeerKey) -> u64 {
        let Some(peer) = self.peers.get(&key) else { return 0 };
        let sounds = peer.consumers.iter().filter_map(|id| self.consumers.get(*id));
        let sounds = sounds.filter(|own| own.on && own.kind == MediaKind::Audio && !own.is_pipe());
        let rates = sounds.filter_map(|own| {
            let level = self.producers.get(own.producer)?.track.layers().levels().first()?;
            Some(if level.flows { level.bitrate(0) } else { 0 })
        });
        let (sum, most) = rates.fold((0, 0), |(sum, most): (u64, u64), rate| (sum + rate, most.max(rate)));
        // Where only the loudest go on, who leads the talk goes on beside them.
        self.loudest.map_or(sum, |count| sum.min(most * (count as u64 + 1)))
    }

    /// What crosses by a peer through pipes, in bits a second.
    fn piped_to(&self, key: PeerKey) -> u64 {
        let Some(peer) = self.peers.get(&key) else { return 0 };
        let pipes = peer.consumers.iter().filter_map(|id| self.consumers.get(*id));
        let pipes = pipes.filter(|own| own.on && own.is_pipe());
        let rates = pipes.filter_map(|own| Some(bitrate_of(self.producers.get(own.producer)?.track.layers())));
        rates.sum()
    }

    /// Turns a consumer on or off.
    fn switch(&mut self, now: Instant, id: ConsumerId) {
        let Some(consuming) = self.consumers.get_mut(id) else {
            return;
        };
        let on = consuming.is_claimed && !consuming.is_starved;
        if std::mem::replace(&mut consuming.on, on) == on {
            return;
        }
        if on {
            self.ask(now, id);
            return;
        }
        let had = consuming.layer();
        consuming.interrupt();
        if had.is_some() && consuming.is_starved {
            consuming.followed.starved();
        }
        if had.is_some() && !std::mem::replace(&mut consuming.is_changed, true) {
            self.changed.push_back(id);
        }
    }

    /// A producer has another list of layers: the shares of all who get it are made anew soon.
    pub(super) fn layers_changed(&mut self, now: Instant, id: ProducerId) {
        let Some(producing) = self.producers.get_mut(id) else {
            return;
        };
        producing.shared = producing.track.layers().version();
        for consumer in &producing.consumers {
            let own = self.consumers.get(*consumer);
            let to = own.filter(|own| own.is_claimed).and_then(|own| own.to);
            if let Some((key, _)) = to
                && let Some(peer) = self.peers.get_mut(&key)
            {
                if !std::mem::replace(&mut peer.is_stale, true) {
                    self.stale.push(key);
                }
                self.beat.get_or_insert(now + BEAT);
            }
        }
    }

    /// Makes the shares anew whose time has come.
    pub(super) fn share(&mut self, now: Instant) {
        if self.beat.is_some_and(|at| at <= now) {
            self.beat = None;
            let mut stale = std::mem::take(&mut self.stale);
            for key in stale.drain(..) {
                if self.peers.get(&key).is_some_and(|peer| peer.is_stale) {
                    self.allot(now, key);
                }
            }
            self.stale = stale;
        }
        if self.waits.is_some_and(|at| at <= now) {
            self.waits = None;
            let peers = self.peers.iter();
            let due = peers.filter_map(|(key, peer)| Some((*key, peer.allotment.poll_timeout()?)));
            let all: Vec<(PeerKey, Instant)> = due.collect();
            for (key, at) in all {
                if at <= now {
                    self.allot(now, key);
                } else {
                    self.waits = Some(self.waits.map_or(at, |waits| waits.min(at)));
                }
            }
        }
    }
}
