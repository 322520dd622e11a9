//! A link that is not there: what a session's datagrams go through when `serve` is to behave as if the other end were far away, or behind
//! something narrow. It is the simulator of our tests on the clock of this machine, and for teaching.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use antiphon::peer_connection::{Datagram, Local, Path};
use antiphon::{Heading, Wire};
use antiphon_netsim::{BottleneckId, Fate, HostId, Limit, LinkConfig, Network, SocketId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Datagrams of one session that may be on it; more are dropped.
const MAX_UNDER_WAY: u64 = 2048;
/// Paths of one session that may lead over it.
const MAX_WAYS: usize = 256;
/// The same dice each time: what was seen once can be seen again.
const SEED: u64 = 36;

/// What a link does, the same in both directions.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// What it carries, in kbit/s, from 10 to 1 000 000; `None`: as much as there is.
    pub rate: Option<u32>,
    /// How long a datagram takes, in milliseconds each way, up to 2000.
    #[serde(default)]
    pub delay: u32,
    /// How much waits in front of the rate, in milliseconds from 1 to 5000; what is more is dropped.
    #[serde(default = "default_queue")]
    pub queue: u32,
    /// How many datagrams are lost by chance, in percent from 0 to 100.
    #[serde(default)]
    pub loss: f64,
}

/// What a home router holds.
fn default_queue() -> u32 {
    300
}

impl LinkSpec {
    /// The same, if all of it is within its range.
    ///
    /// # Errors
    /// What is not.
    pub fn checked(self) -> Result<Self, String> {
        let Self {
            rate,
            delay,
            queue,
            loss,
        } = self;
        if rate.is_some_and(|rate| !(10..=1_000_000).contains(&rate)) {
            return Err("rate is 10 to 1000000 kbit/s".to_owned());
        }
        if delay > 2000 {
            return Err("delay is at most 2000 ms each way".to_owned());
        }
        if !(1..=5000).contains(&queue) {
            return Err("queue is 1 to 5000 ms".to_owned());
        }
        if !(0.0..=100.0).contains(&loss) {
            return Err("loss is 0 to 100 percent".to_owned());
        }
        Ok(self)
    }

    fn config(self) -> LinkConfig {
        LinkConfig {
            delay: Duration::from_millis(self.delay.into()),
            rate: self.rate.map(|kbps| (u64::from(kbps) * 1000).into()),
            queue: Limit::time(Duration::from_millis(self.queue.into())),
            loss: self.loss / 100.0,
            mtu: LinkConfig::loopback().mtu,
            ..LinkConfig::default()
        }
    }
}

impl FromStr for LinkSpec {
    type Err = String;

    /// `rate=1000,delay=25,queue=300,loss=1`, each of them or not.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut spec = Self {
            rate: None,
            delay: 0,
            queue: default_queue(),
            loss: 0.0,
        };
        for part in text.split(',') {
            let (name, value) = part.split_once('=').ok_or("NAME=NUMBER is needed, as in rate=1000")?;
            let whole = || value.parse().map_err(|_| format!("{name}={value}: no whole number"));
            match name {
                "rate" => spec.rate = Some(whole()?),
                "delay" => spec.delay = whole()?,
                "queue" => spec.queue = whole()?,
                "loss" => spec.loss = value.parse().map_err(|_| format!("loss={value}: no number"))?,
                other => return Err(format!("{other:?} is none of rate, delay, queue, loss")),
            }
        }
        spec.checked()
    }
}

/// What a link has done to what we send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct LinkFigures {
    /// The longest that a datagram has waited in the queue since this was read last, in milliseconds.
    pub(crate) queue_ms: f64,
    /// Datagrams that found the queue full, or as much on the way as there may be.
    pub(crate) dropped: u64,
    /// Datagrams that were lost by chance.
    pub(crate) lost: u64,
}

/// The control of a link that a session has.
#[derive(Debug)]
pub(crate) struct Control {
    spec: watch::Sender<LinkSpec>,
    figures: Arc<Mutex<LinkFigures>>,
}

impl Control {
    /// A link, for [`antiphon::PeerHandle::set_wire`], and the control of it.
    pub(crate) fn new(now: Instant, spec: LinkSpec) -> (Self, Box<dyn Wire>) {
        let (sender, receiver) = watch::channel(spec);
        let figures = Arc::new(Mutex::new(LinkFigures::default()));
        let wire = Box::new(Link::new(now, receiver, figures.clone()));
        (Self { spec: sender, figures }, wire)
    }

    /// It is so from now on. What waits leaves at the new rate.
    pub(crate) fn set(&self, spec: LinkSpec) {
        self.spec.send_replace(spec);
    }

    pub(crate) fn spec(&self) -> LinkSpec {
        *self.spec.borrow()
    }

    /// What it has done.
    pub(crate) fn figures(&self) -> LinkFigures {
        let mut figures = lock(&self.figures);
        let now = *figures;
        figures.queue_ms = 0.0;
        now
    }
}

fn lock(figures: &Mutex<LinkFigures>) -> MutexGuard<'_, LinkFigures> {
    figures.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A simulated network of two hosts; each path of the peer is a socket at either.
struct Link {
    network: Network,
    /// We and the other end.
    hosts: [HostId; 2],
    /// The narrow place in either direction.
    places: [BottleneckId; 2],
    ways: Vec<(Path, [SocketId; 2])>,
    spec: watch::Receiver<LinkSpec>,
    figures: Arc<Mutex<LinkFigures>>,
}

impl Link {
    fn new(now: Instant, spec: watch::Receiver<LinkSpec>, figures: Arc<Mutex<LinkFigures>>) -> Self {
        let mut network = Network::starting_at(SEED, now);
        let hosts = [network.add_host(), network.add_host()];
        let config = spec.borrow().config();
        let places = [network.add_bottleneck(config.clone()), network.add_bottleneck(config)];
        for (end, place) in places.into_iter().enumerate() {
            network.set_link(hosts[end], hosts[1 - end], LinkConfig::loopback());
            network.lead_through(hosts[end], hosts[1 - end], place);
        }
        network.watch(places[0]);
        Self {
            network,
            hosts,
            places,
            ways: Vec::new(),
            spec,
            figures,
        }
    }

    /// Time goes on.
    fn advance(&mut self, now: Instant) {
        self.network.advance_to(now);
        if self.spec.has_changed().unwrap_or(false) {
            let config = self.spec.borrow_and_update().config();
            for place in self.places {
                self.network.set_bottleneck(place, config.clone());
            }
        }
        let crossings = self.network.take_crossings(self.places[0]);
        if crossings.is_empty() {
            return;
        }
        let mut figures = lock(&self.figures);
        for crossing in crossings {
            figures.queue_ms = figures.queue_ms.max(crossing.waited.as_secs_f64() * 1000.0);
            match crossing.fate {
                Fate::Carried => {}
                Fate::Lost => figures.lost += 1,
                Fate::Dropped => figures.dropped += 1,
            }
        }
    }

    /// The sockets that stand for this path.
    fn sockets(&mut self, path: Path) -> Option<[SocketId; 2]> {
        if let Some((_, sockets)) = self.ways.iter().find(|(known, _)| *known == path) {
            return Some(*sockets);
        }
        if self.ways.len() >= MAX_WAYS {
            return None;
        }
        let port = u16::try_from(self.ways.len()).ok()? + 1;
        let mut bind = |end: usize| {
            let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, end as u8 + 1));
            self.network.bind(self.hosts[end], SocketAddr::new(address, port))
        };
        let sockets = [bind(0)?, bind(1)?];
        self.ways.push((path, sockets));
        Some(sockets)
    }

    fn is_full(&self) -> bool {
        let stats = self.network.stats();
        let gone = stats.delivered + stats.lost + stats.queue_dropped + stats.too_big + stats.unroutable;
        stats.sent.saturating_sub(gone) >= MAX_UNDER_WAY
    }
}

impl Wire for Link {
    fn take(&mut self, now: Instant, heading: Heading, datagram: Datagram) {
        self.advance(now);
        let sockets = if self.is_full() {
            None
        } else {
            self.sockets(datagram.path)
        };
        let Some([ours, theirs]) = sockets else {
            lock(&self.figures).dropped += 1;
            return;
        };
        let (from, to) = match heading {
            Heading::Out => (ours, theirs),
            Heading::In => (theirs, ours),
        };
        let to = self.network.address(to);
        self.network.send(from, to, datagram.ecn, &datagram.data);
    }

    fn give(&mut self, now: Instant) -> Option<(Heading, Datagram)> {
        self.advance(now);
        let delivery = self.network.receive()?;
        let Local::Socket(at) = delivery.datagram.path.local else {
            return None;
        };
        let (path, [ours, _]) = *self
            .ways
            .iter()
            .find(|(_, sockets)| sockets.iter().any(|socket| socket.0 == at))?;
        let heading = if ours.0 == at { Heading::In } else { Heading::Out };
        Some((
            heading,
            Datagram {
                path,
                ..delivery.datagram
            },
        ))
    }

    fn next(&self) -> Option<Instant> {
        self.network.next_event()
    }
}

#[cfg(test)]
mod tests {
    use antiphon::peer_connection::{BytesMut, Ecn};

    use super::*;

    fn spec(text: &str) -> LinkSpec {
        text.parse().unwrap()
    }

    #[test]
    fn a_link_is_described_in_a_word() {
        assert_eq!(
            spec("rate=1000,delay=25,queue=200,loss=1.5"),
            LinkSpec {
                rate: Some(1000),
                delay: 25,
                queue: 200,
                loss: 1.5
            }
        );
        assert_eq!(spec("delay=40").rate, None);
        for wrong in [
            "",
            "rate",
            "rate=1",
            "rate=fast",
            "loss=101",
            "loss=NaN",
            "queue=0",
            "delay=9999",
            "colour=1",
        ] {
            assert!(wrong.parse::<LinkSpec>().is_err(), "{wrong}");
        }
    }

    fn datagram(remote: u16, bytes: usize) -> Datagram {
        Datagram {
            path: Path {
                local: Local::Socket(7),
                remote: SocketAddr::from(([192, 0, 2, 1], remote)),
            },
            ecn: Ecn::Ect1,
            data: BytesMut::zeroed(bytes),
        }
    }

    /// All that has come through when nothing is left, with the time it took.
    fn drain(wire: &mut dyn Wire, began: Instant) -> Vec<(Heading, Datagram, Duration)> {
        let mut come = Vec::new();
        let mut now = began;
        loop {
            while let Some((heading, datagram)) = wire.give(now) {
                come.push((heading, datagram, now - began));
            }
            match wire.next() {
                Some(at) => now = at,
                None => return come,
            }
        }
    }

    #[test]
    fn datagrams_take_their_time_and_keep_their_path() {
        let now = antiphon_netsim::start();
        let (control, mut wire) = Control::new(now, spec("rate=1000,delay=25"));
        // 972 bytes and 28 of headers: 8 ms each.
        wire.take(now, Heading::Out, datagram(1, 972));
        wire.take(now, Heading::Out, datagram(2, 972));
        wire.take(now, Heading::In, datagram(1, 972));
        let come = drain(&mut *wire, now);
        let seen: Vec<_> = come
            .iter()
            .map(|(heading, datagram, at)| (*heading, datagram.path.remote.port(), at.as_millis()))
            .collect();
        assert_eq!(seen.len(), 3);
        for expected in [(Heading::Out, 1, 33), (Heading::In, 1, 33), (Heading::Out, 2, 41)] {
            assert!(seen.contains(&expected), "{expected:?} in {seen:?}");
        }
        assert!(
            come.iter()
                .all(|(_, datagram, _)| datagram.ecn == Ecn::Ect1 && datagram.path.local == Local::Socket(7))
        );
        assert_eq!(
            control.figures().queue_ms.round() as u64,
            8,
            "the second has waited for the first"
        );
        assert_eq!(control.figures().queue_ms as u64, 0, "it was read");
    }

    #[test]
    fn a_full_queue_drops_and_is_counted() {
        let now = antiphon_netsim::start();
        let (control, mut wire) = Control::new(now, spec("rate=1000,queue=80"));
        for _ in 0..100 {
            wire.take(now, Heading::Out, datagram(1, 972));
        }
        let come = drain(&mut *wire, now);
        let figures = control.figures();
        assert_eq!(come.len() as u64 + figures.dropped, 100);
        assert!((9..=11).contains(&come.len()), "{}", come.len());
        // A faster one from now on.
        control.set(spec("rate=100000,queue=80"));
        for _ in 0..100 {
            wire.take(now + Duration::from_secs(1), Heading::Out, datagram(1, 972));
        }
        assert_eq!(drain(&mut *wire, now + Duration::from_secs(1)).len(), 100);
    }

    #[test]
    fn what_a_stranger_can_make_it_hold_is_bounded() {
        let now = antiphon_netsim::start();
        let (control, mut wire) = Control::new(now, spec("delay=1000"));
        for remote in 0..10_000 {
            wire.take(now, Heading::In, datagram(remote, 1200));
        }
        assert_eq!(control.figures().dropped, 10_000 - MAX_WAYS as u64);
        for _ in 0..10_000 {
            wire.take(now, Heading::In, datagram(1, 1200));
        }
        assert_eq!(drain(&mut *wire, now).len() as u64, MAX_UNDER_WAY);
    }
}
