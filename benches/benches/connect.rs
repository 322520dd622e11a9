//! What it costs to make a connection, both ends in one thread and without a network: from `createOffer` to the open
//! channel, with its parts; and a minute of two ends that have nothing to say.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_peer_connection::{
    BytesMut, Certificate, CertificateParams, ClockAnchor, Datagram, Ecn, Event, IoEvent, IoRequest, Local, Path,
    PeerConnection, Rng, RtcConfiguration, RtcDataChannelInit, TransmitBuf,
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

const ADDRESSES: [&str; 2] = ["10.0.0.1:1000", "10.0.0.2:1000"];
/// How long a datagram is on its way.
const DELAY: Duration = Duration::from_micros(50);

/// Two ends, and what is on its way between them.
struct Pair {
    ends: [PeerConnection; 2],
    wire: VecDeque<(Instant, usize, BytesMut)>,
    now: Instant,
    out: TransmitBuf,
    opened: usize,
}

fn address(at: usize) -> SocketAddr {
    ADDRESSES[at].parse().unwrap()
}

fn certificate() -> Arc<Certificate> {
    Arc::new(Certificate::generate(&CertificateParams::default()).unwrap())
}

impl Pair {
    fn new(certificates: [Arc<Certificate>; 2], out: TransmitBuf) -> Self {
        let now = Instant::now();
        let anchor = ClockAnchor::new(now, Duration::from_secs(1_790_000_000));
        let mut seed = 0;
        let ends = certificates.map(|certificate| {
            seed += 1;
            let configuration = RtcConfiguration {
                certificates: vec![certificate],
                ..RtcConfiguration::default()
            };
            PeerConnection::new(configuration, now, anchor, Rng::from_u64(seed)).unwrap()
        });
        let wire = VecDeque::new();
        Self {
            ends,
            wire,
            now,
            out,
            opened: 0,
        }
    }

    /// Offer, answer, and all that follows until the channel is open at both ends.
    fn connect(&mut self) {
        let now = self.now;
        let [first, second] = &mut self.ends;
        first
            .create_data_channel(now, "chat", RtcDataChannelInit::default())
            .unwrap();
        first.set_local_description(now, None).unwrap();
        second
            .set_remote_description(now, first.local_description().unwrap())
            .unwrap();
        second.set_local_description(now, None).unwrap();
        first
            .set_remote_description(now, second.local_description().unwrap())
            .unwrap();
        while self.opened < 2 {
            self.drain(0);
            self.drain(1);
            self.step();
        }
    }

    fn drain(&mut self, at: usize) {
        let now = self.now;
        let mut quiet = false;
        while !quiet {
            quiet = true;
            let end = &mut self.ends[at];
            while let Some(transmit) = end.poll_transmit(now, &mut self.out) {
                quiet = false;
                let range = transmit.range.clone();
                let size = transmit.segment_size.unwrap_or(range.len()).max(1);
                for segment in self.out.bytes(range).chunks(size) {
                    self.wire.push_back((now + DELAY, 1 - at, BytesMut::from(segment)));
                }
                self.out.clear();
            }
            while let Some(request) = end.poll_io() {
                quiet = false;
                match request {
                    IoRequest::ListInterfaces { .. } => end.handle_io(now, IoEvent::Interfaces(vec![address(at).ip()])),
                    IoRequest::BindUdp { request, .. } => {
                        let (local, addr) = (Local::Socket(0), address(at));
                        end.handle_io(now, IoEvent::UdpBound { request, local, addr });
                    }
                    _ => {}
                }
            }
            let mut candidates = Vec::new();
            while let Some(event) = end.poll_event() {
                match event {
                    Event::IceCandidate(candidate) => candidates.push(candidate),
                    Event::DataChannelOpen(_) => self.opened += 1,
                    _ => {}
                }
            }
            for candidate in candidates {
                self.ends[1 - at].add_ice_candidate(now, candidate).unwrap();
            }
        }
    }

    /// Goes to the next moment at which something happens. Returns how many ends were woken by their timers.
    fn step(&mut self) -> u32 {
        let timers = self.ends.iter().filter_map(PeerConnection::poll_timeout);
        let Some(next) = timers.chain(self.wire.front().map(|(at, ..)| *at)).min() else {
            return 0;
        };
        self.now = self.now.max(next);
        let mut wakes = 0;
        while let Some((_, to, data)) = self.wire.pop_front_if(|(at, ..)| *at <= self.now) {
            let path = Path {
                local: Local::Socket(0),
                remote: address(1 - to),
            };
            let ecn = Ecn::NotEct;
            self.ends[to].handle_datagram(self.now, Datagram { path, ecn, data });
            self.drain(to);
        }
        for at in 0..2 {
            if self.ends[at].poll_timeout().is_some_and(|due| due <= self.now) {
                wakes += 1;
                self.ends[at].handle_timeout(self.now);
                self.drain(at);
            }
        }
        wakes
    }

    fn idle(&mut self, duration: Duration) -> u32 {
        let end = self.now + duration;
        let mut wakes = 0;
        while self.now < end {
            wakes += self.step();
        }
        wakes
    }
}

fn buffer() -> TransmitBuf {
    TransmitBuf::new(65_536, 1_500)
}

fn connect(c: &mut Criterion) {
    let mut group = c.benchmark_group("connect");
    group.bench_function("certificate", |b| b.iter(certificate));
    let certificates = [certificate(), certificate()];
    group.bench_function("both ends", |b| {
        b.iter_batched(
            || Pair::new(certificates.clone(), buffer()),
            |mut pair| {
                pair.connect();
                pair
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("both ends, made", |b| {
        b.iter(|| black_box(Pair::new(certificates.clone(), buffer())));
    });
    let mut pair = Pair::new(certificates.clone(), buffer());
    pair.connect();
    pair.idle(Duration::from_secs(60));
    println!(
        "wakes by timers in 600 s of two idle ends: {}",
        pair.idle(Duration::from_secs(600))
    );
    group.bench_function("idle for 60 s", |b| b.iter(|| pair.idle(Duration::from_secs(60))));
    group.finish();
}

criterion_group!(benches, connect);
criterion_main!(benches);
