//! What an agent shows: its states, where to send, and figures.

use std::time::{Duration, Instant};

use antiphon_sansio::{Local, Path, TransmitBuf};
use antiphon_stun::{Class, Message, is_stun};

use crate::agent::Agent;
use crate::deframe::{FRAME_HEADER_LEN, frame_header};
use crate::event::{ConnectionState, GatheringState};
use crate::pair::Pair;
use crate::stats::{CandidateStats, PairStats, Stats};

impl Agent {
    /// Whether descriptions of ours say `a=ice-options:renomination`.
    pub fn renominates(&self) -> bool {
        self.config.renomination && !self.config.lite
    }

    /// The state of gathering.
    pub fn gathering_state(&self) -> GatheringState {
        self.gatherer.state()
    }

    /// The state of the connection.
    pub fn state(&self) -> ConnectionState {
        self.state
    }

    /// The nominated pair; during a restart the old one until the new one is nominated.
    pub fn selected_path(&self) -> Option<Path> {
        match self.selected.and_then(|id| self.pairs.iter().find(|p| p.id == id)) {
            Some(pair) => Some(pair.path),
            None => self
                .previous
                .as_ref()
                .filter(|previous| previous.pair.nominated)
                .map(|previous| previous.pair.path),
        }
    }

    /// Where to send now: the nominated pair, else the pair in use before a restart, else the best valid pair
    /// (RFC 8445 §12.1). `None` without one, and once consent expired (RFC 7675 §5.1).
    pub fn send_path(&self) -> Option<Path> {
        if self.consent_expired || self.is_closed() {
            return None;
        }
        if self.selected.is_none()
            && let Some(previous) = &self.previous
        {
            return Some(previous.pair.path);
        }
        self.active().map(|index| self.pairs[index].path)
    }

    /// Whether the application may send (RFC 7675): there is a valid pair, and its consent has not expired.
    pub fn may_send(&self) -> bool {
        self.send_path().is_some()
    }

    /// Whether a Binding message with a valid MESSAGE-INTEGRITY came from this path: law 5, before it nothing else is
    /// taken from there.
    pub fn is_authenticated(&self, path: &Path) -> bool {
        self.pairs.iter().any(|pair| pair.path == *path && pair.authenticated)
            || self.early.iter().any(|check| check.path == *path)
            || self
                .previous
                .as_ref()
                .is_some_and(|previous| previous.pair.path == *path && previous.pair.authenticated)
    }

    /// Whether a datagram that came on this path may be for this agent or the layers above it: a quick look, for owners who would
    /// not even copy what strangers send. It is from a path that is authenticated, or from a TURN server in use, or a request that
    /// names our user fragment, or an answer.
    pub fn expects(&self, path: Path, datagram: &[u8]) -> bool {
        if self.is_authenticated(&path) || self.relays.find(path, datagram).is_some() {
            return true;
        }
        if !is_stun(datagram) {
            return false;
        }
        let Ok(message) = Message::parse(datagram) else {
            return false;
        };
        if !matches!(message.class(), Class::Request | Class::Indication) {
            return true;
        }
        let named = message.username().and_then(|name| name.split_once(':'));
        let previous = self.previous.as_ref().map(|previous| &previous.session);
        named.is_some_and(|(ours, _)| {
            [Some(&self.session), previous]
                .into_iter()
                .flatten()
                .any(|session| session.local.credentials.ufrag == ours)
        })
    }

    /// The round trip of the pair in use, smoothed.
    pub fn rtt(&self) -> Option<Duration> {
        if let Some(index) = self.active() {
            return self.pairs[index].rtt;
        }
        self.previous.as_ref().and_then(|previous| previous.pair.rtt)
    }

    /// How much room in front of and behind a datagram this path needs: for TCP's length and TURN's headers.
    pub fn path_room(&self, path: &Path) -> (usize, usize) {
        match path.local {
            Local::Relay(id) => self.relays.room(id, path.remote),
            Local::Tcp(_) => (FRAME_HEADER_LEN, 0),
            Local::Socket(_) => (0, 0),
        }
    }

    /// Wraps the open segment for its path, and says on which path the datagram really goes. The segment was begun with the
    /// room of [`path_room`](Self::path_room), and nothing was handed to the agent since.
    pub fn wrap(&mut self, now: Instant, path: Path, out: &mut TransmitBuf) -> Path {
        if let Some(pair) = self.pair_of(path, 0) {
            pair.traffic.count_sent(now, out.body().len());
        }
        self.frame(path, out)
    }

    pub(crate) fn frame(&mut self, path: Path, out: &mut TransmitBuf) -> Path {
        match path.local {
            Local::Relay(id) => self.relays.wrap(id, path, out),
            Local::Tcp(_) => {
                let header = frame_header(out.body().len());
                out.prepend(FRAME_HEADER_LEN).copy_from_slice(&header);
                path
            }
            Local::Socket(_) => path,
        }
    }

    /// Counts a datagram of the application's for the statistics of its pair. For owners who tell protocols apart themselves and
    /// do not hand everything to [`handle_datagram`](Self::handle_datagram), which counts what it hands back.
    pub fn count_received(&mut self, now: Instant, path: Path, len: usize) {
        if let Some(pair) = self.pair_of(path, 1) {
            pair.traffic.count_received(now, len);
        }
    }

    /// The pair of a path, most likely that of last time.
    fn pair_of(&mut self, path: Path, direction: usize) -> Option<&mut Pair> {
        let last = self.last_pairs[direction];
        if self.pairs.get(last).is_none_or(|pair| pair.path != path) {
            self.last_pairs[direction] = self.pair_on(path)?;
        }
        self.pairs.get_mut(self.last_pairs[direction])
    }

    /// Candidates, pairs and counters.
    pub fn stats(&self) -> Stats {
        Stats {
            local_candidates: self
                .locals
                .iter()
                .map(|local| CandidateStats {
                    id: local.id,
                    candidate: local.candidate.clone(),
                    url: local.url.clone(),
                    relay_protocol: local.relay_protocol,
                })
                .collect(),
            remote_candidates: self
                .remotes
                .iter()
                .map(|remote| CandidateStats {
                    id: remote.id,
                    candidate: remote.candidate.clone(),
                    url: None,
                    relay_protocol: None,
                })
                .collect(),
            pairs: self.pairs.iter().map(|pair| self.pair_stats(pair)).collect(),
            counters: self.counters,
        }
    }

    fn pair_stats(&self, pair: &Pair) -> PairStats {
        PairStats {
            id: pair.id,
            path: pair.path,
            local: self.locals[pair.local].id,
            remote: self.remotes[pair.remote].id,
            state: pair.state,
            nominated: pair.nominated,
            selected: self.selected == Some(pair.id),
            priority: pair.priority,
            requests_received: pair.requests_received,
            requests_sent: pair.requests_sent,
            responses_received: pair.responses_received,
            responses_sent: pair.responses_sent,
            consent_requests_sent: pair.consent_requests_sent,
            traffic: pair.traffic,
            current_round_trip_time: pair.last_rtt,
            total_round_trip_time: pair.total_rtt,
        }
    }

    /// The index of the pair in use: the nominated one, else the best valid one.
    pub(crate) fn active(&self) -> Option<usize> {
        if let Some(id) = self.selected {
            return self.pairs.iter().position(|pair| pair.id == id);
        }
        (0..self.pairs.len())
            .filter(|&index| self.pairs[index].is_valid())
            .max_by_key(|&index| self.pairs[index].priority)
    }
}
