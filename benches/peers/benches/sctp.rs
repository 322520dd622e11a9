//! SCTP: two associations in memory, one thread, both ends, checksums on; packets of at most 1200 bytes.

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_bench_peers::{Contender, compare};
use antiphon_sansio::{BytesMut, Ecn, Packet, Rng, TransmitBuf};
use antiphon_sctp::{Association, Config, SendOptions};
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use rtc_sctp::{
    AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, ServerConfig, TransportConfig,
};
use rtc_shared::TransportProtocol;

const TOTAL: usize = 4 << 20;
const PACKET: usize = 1200;
const BATCH: usize = 40;

struct Ours {
    now: Instant,
    ends: [Association; 2],
    out: TransmitBuf,
    ranges: Vec<std::ops::Range<usize>>,
}

impl Ours {
    fn connected() -> Self {
        let now = Instant::now();
        let end = |seed| Association::new(Config::default(), now, Rng::from_u64(seed));
        let mut pair = Self {
            now,
            ends: [end(1), end(2)],
            out: TransmitBuf::new(BATCH * PACKET, PACKET),
            ranges: Vec::with_capacity(BATCH),
        };
        pair.ends[0].connect(now);
        while pair.pass(0) | pair.pass(1) {}
        pair
    }

    /// Hands over one batch as a driver would: one buffer, cut into packets.
    fn pass(&mut self, from: usize) -> bool {
        self.out.clear();
        self.ranges.clear();
        while self.ends[from].poll_transmit(self.now, &mut self.out).is_some() {
            self.ranges.push(self.out.finish());
        }
        let mut batch = BytesMut::from(self.out.bytes(0..self.out.len()));
        for range in &self.ranges {
            let packet = Packet {
                ecn: Ecn::NotEct,
                data: batch.split_to(range.len()),
            };
            self.ends[1 - from].handle_packet(self.now, packet);
        }
        !self.ranges.is_empty()
    }

    fn transfer(&mut self, message: &Bytes, count: usize) {
        for _ in 0..count {
            self.ends[0]
                .send(self.now, 1, 53, message.clone(), SendOptions::default())
                .unwrap();
        }
        let mut got = 0;
        while got < count {
            let sent = self.pass(0);
            while let Some(message) = self.ends[1].read(self.now, 1) {
                got += 1;
                black_box(&message.data[0]);
            }
            if !sent & !self.pass(1) {
                // Nobody has anything to say: the clock moves on to the next timer.
                let next = self
                    .ends
                    .iter()
                    .filter_map(Association::poll_timeout)
                    .min()
                    .expect("stalled");
                self.now = self.now.max(next);
                for end in &mut self.ends {
                    end.handle_timeout(self.now);
                }
            }
        }
        for end in &mut self.ends {
            while end.poll_event().is_some() {}
        }
    }
}

struct Theirs {
    now: Instant,
    ends: [Node; 2],
    wires: [VecDeque<Bytes>; 2],
    accepted: bool,
    buffer: Vec<u8>,
}

struct Node {
    endpoint: Endpoint,
    peer: SocketAddr,
    association: Option<(AssociationHandle, rtc_sctp::Association)>,
    timeout: Option<Instant>,
    connected: bool,
}

impl Node {
    fn drive(&mut self, now: Instant, inbound: &mut VecDeque<Bytes>, outbound: &mut VecDeque<Bytes>) -> bool {
        let mut worked = false;
        while let Some(data) = inbound.pop_front() {
            worked = true;
            match self.endpoint.handle(now, self.peer, None, data) {
                Some((handle, DatagramEvent::NewAssociation(new))) => self.association = Some((handle, new)),
                Some((_, DatagramEvent::AssociationEvent(event))) => {
                    if let Some((_, association)) = &mut self.association {
                        association.handle_event(event);
                    }
                }
                _ => {}
            }
        }
        let Some((handle, association)) = &mut self.association else {
            return worked;
        };
        if self.timeout.is_some_and(|at| at <= now) {
            association.handle_timeout(now);
        }
        while let Some(event) = association.poll() {
            self.connected |= matches!(event, Event::Connected);
        }
        while let Some(event) = association.poll_endpoint_event() {
            self.endpoint.handle_event(*handle, event);
        }
        while let Some(transmit) = association.poll_transmit(now) {
            if let Payload::RawEncode(packets) = transmit.message {
                worked |= !packets.is_empty();
                outbound.extend(packets);
            }
        }
        self.timeout = association.poll_timeout();
        worked
    }
}

impl Theirs {
    fn connected(largest: usize) -> Self {
        let addresses: [SocketAddr; 2] = ["127.0.0.1:5000".parse().unwrap(), "127.0.0.1:5001".parse().unwrap()];
        let config = Arc::new(EndpointConfig::default());
        let node = |at: usize, server: Option<Arc<ServerConfig>>| Node {
            endpoint: Endpoint::new(addresses[at], TransportProtocol::UDP, config.clone(), server),
            peer: addresses[1 - at],
            association: None,
            timeout: None,
            connected: false,
        };
        let mut pair = Self {
            now: Instant::now(),
            ends: [
                node(0, None),
                node(1, Some(Arc::new(ServerConfig::new(TransportConfig::default())))),
            ],
            wires: Default::default(),
            accepted: false,
            buffer: vec![0; largest],
        };
        pair.ends[0].association = Some(
            pair.ends[0]
                .endpoint
                .connect(pair.now, ClientConfig::new(TransportConfig::default()), addresses[1])
                .unwrap(),
        );
        while !pair.ends.iter().all(|end| end.connected) {
            pair.step();
        }
        pair.ends[0]
            .association
            .as_mut()
            .unwrap()
            .1
            .open_stream(0, PayloadProtocolIdentifier::Binary)
            .unwrap();
        pair
    }

    fn step(&mut self) -> bool {
        let [client, server] = &mut self.ends;
        let [up, down] = &mut self.wires;
        client.drive(self.now, down, up) | server.drive(self.now, up, down)
    }

    fn transfer(&mut self, message: &Bytes, count: usize) {
        let (mut sent, mut got) = (0, 0);
        while got < count * message.len() {
            let mut moved = false;
            let mut stream = self.ends[0].association.as_mut().unwrap().1.stream(0).unwrap();
            while sent < count && stream.buffered_amount().unwrap() < 1 << 20 {
                stream
                    .write_sctp(self.now, message, PayloadProtocolIdentifier::Binary)
                    .unwrap();
                sent += 1;
                moved = true;
            }
            moved |= self.step();
            let association = &mut self.ends[1].association.as_mut().unwrap().1;
            self.accepted |= association.accept_stream().is_some();
            if self.accepted {
                let mut stream = association.stream(0).unwrap();
                while let Some(chunks) = stream.read_sctp().unwrap_or(None) {
                    let len = chunks.read(&mut self.buffer).unwrap();
                    black_box(self.buffer[0]);
                    got += len;
                    moved = true;
                }
            }
            if !moved {
                let next = self.ends.iter().filter_map(|end| end.timeout).min().expect("stalled");
                self.now = next.max(self.now + Duration::from_micros(1));
            }
        }
    }
}

fn messages(c: &mut Criterion) {
    for (name, size) in [("64 KiB messages", 65_536), ("1 KiB messages", 1024)] {
        let count = TOTAL / size;
        let message = &Bytes::from(vec![7; size]);
        let mut ours = Ours::connected();
        let mut theirs = Theirs::connected(size);
        let rows = vec![
            Contender::timed("antiphon-sctp", move || ours.transfer(message, count)),
            Contender::timed("rtc-sctp", move || theirs.transfer(message, count)),
        ];
        compare(c, &format!("sctp/{name}"), count as u64, size as u64, 101, rows);
    }
}

criterion_group!(benches, messages);
criterion_main!(benches);
