//! The same ten streams between two machines without sockets, tasks and threads: what the protocols cost, each datagram copied once
//! on its way. The clock is simulated, so nobody waits.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_benches::cost::{at, bare_seal, thread_cpu};
use antiphon_benches::fan::{PAYLOAD, configuration, next, packet, send_only};
use antiphon_benches::pair::{self, buffer};
use antiphon_peer_connection::{MediaKind, Packet, TransceiverId, TransmitBuf};
use str0m::bwe::Bitrate;
use str0m::format::Codec;
use str0m::media::{Direction, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::{ROUNDS, STAGGER, STREAMS};

/// Packets of one turn.
const PACKETS: usize = 20_000;
const BITRATE: u64 = 50_000_000;
const STEP: Duration = Duration::from_millis(5);
const ADDRESSES: [&str; 2] = ["10.0.0.1:1000", "10.0.0.2:1000"];

struct Ours {
    pair: pair::Pair,
    transceivers: Vec<TransceiverId>,
    packets: Vec<Packet>,
    now: Instant,
    out: TransmitBuf,
}

impl Ours {
    fn new() -> Self {
        let (mut now, mut out) = (Instant::now(), buffer());
        let mut pair = pair::Pair::new([configuration(), configuration()], now, 1);
        let sender = &mut pair.peers[0];
        let transceivers: Vec<_> = (0..STREAMS)
            .map(|_| {
                sender
                    .add_transceiver(MediaKind::Video, send_only())
                    .expect("room for it")
            })
            .collect();
        pair.describe(now, [str::to_owned; 2]);
        pair.connect(&mut now, &mut out);
        let payload_type = pair.peers[0].payload_type(transceivers[0], "VP8").expect("VP8");
        Self {
            pair,
            transceivers,
            packets: (0..STREAMS).map(|_| packet(payload_type, now)).collect(),
            now,
            out,
        }
    }

    /// What processor time a turn took, and how many packets came.
    fn turn(&mut self) -> (Duration, u64) {
        let before = self.received();
        let start = thread_cpu();
        for n in 0..PACKETS {
            self.now += STAGGER;
            let packet = &mut self.packets[n % STREAMS];
            next(packet, self.now);
            let sender = &mut self.pair.peers[0];
            sender
                .send_rtp(self.now, self.transceivers[n % STREAMS], packet)
                .expect("it is taken");
            self.pair.settle(self.now, &mut self.out);
        }
        (thread_cpu() - start, self.received() - before)
    }

    fn received(&self) -> u64 {
        let report = self.pair.peers[1].get_stats(self.now);
        report.inbound_rtp().map(|stream| stream.packets_received).sum()
    }
}

struct Str0m {
    ends: [Rtc; 2],
    /// What is on its way, and to whom.
    wire: VecDeque<(usize, Vec<u8>)>,
    mids: Vec<Mid>,
    payload_type: Option<Pt>,
    payload: Arc<[u8]>,
    number: u64,
    now: Instant,
    received: u64,
}

fn address(end: usize) -> SocketAddr {
    ADDRESSES[end].parse().expect("an address")
}

impl Str0m {
    fn new() -> Self {
        let now = Instant::now();
        let mut ends = [0, 1].map(|end| {
            let config = Rtc::builder()
                .set_rtp_mode(true)
                .enable_bwe(Some(Bitrate::bps(BITRATE)));
            let mut rtc = config.build(now);
            rtc.add_local_candidate(Candidate::host(address(end), "udp").unwrap())
                .unwrap();
            rtc
        });
        let mut changes = ends[0].sdp_api();
        let mids = (0..STREAMS)
            .map(|_| changes.add_media(str0m::media::MediaKind::Video, Direction::SendOnly, None, None, None))
            .collect();
        let (offer, pending) = changes.apply().unwrap();
        let answer = ends[1].sdp_api().accept_offer(offer).unwrap();
        ends[0].sdp_api().accept_answer(pending, answer).unwrap();
        let mut pair = Self {
            ends,
            wire: VecDeque::new(),
            mids,
            payload_type: None,
            payload: Arc::from(vec![0x55; PAYLOAD]),
            number: 10_000,
            now,
            received: 0,
        };
        while !pair.ends.iter().all(Rtc::is_connected) {
            assert!(pair.now < now + Duration::from_secs(60), "they do not connect");
            pair.settle();
            pair.now += STEP;
        }
        let sender = &mut pair.ends[0];
        sender.bwe().set_bitrate(Bitrate::bps(BITRATE), Bitrate::bps(BITRATE));
        let vp8 = sender.codec_config().find(|p| p.spec().codec == Codec::Vp8);
        pair.payload_type = Some(vp8.unwrap().pt());
        pair
    }

    fn settle(&mut self) {
        for end in &mut self.ends {
            end.handle_input(Input::Timeout(self.now)).unwrap();
        }
        loop {
            for end in 0..2 {
                self.take(end);
            }
            let Some((to, data)) = self.wire.pop_front() else {
                return;
            };
            let received = Receive::new(Protocol::Udp, address(1 - to), address(to), &data).unwrap();
            self.ends[to].handle_input(Input::Receive(self.now, received)).unwrap();
        }
    }

    /// Takes all that an end has to say: it wants that before it is given anything more.
    fn take(&mut self, end: usize) {
        loop {
            match self.ends[end].poll_output().unwrap() {
                Output::Timeout(_) => return,
                Output::Transmit(transmit) => self.wire.push_back((1 - end, transmit.contents.into())),
                Output::Event(event) => self.received += u64::from(matches!(event, Event::RtpPacket(_))),
            }
        }
    }

    fn turn(&mut self) -> (Duration, u64) {
        let before = self.received;
        let start = thread_cpu();
        for n in 0..PACKETS {
            self.now += STAGGER;
            self.number += 1;
            let number = self.number / STREAMS as u64;
            let time = (number / 10 * 3000) as u32;
            let payload_type = self.payload_type.expect("they are connected");
            let packet = RtpWrite::new(payload_type, number.into(), time, self.now, self.payload.clone());
            let mut direct = self.ends[0].direct_api();
            let stream = direct.stream_tx_by_mid(self.mids[n % STREAMS], None).unwrap();
            stream.write_rtp(packet.marker(number % 10 == 9).nackable(true));
            self.settle();
        }
        (thread_cpu() - start, self.received - before)
    }
}

/// Prints what the machines cost, by turns.
pub fn table() {
    let (mut ours, mut str0m) = (Ours::new(), Str0m::new());
    let mut seals = Vec::new();
    let mut costs = [const { Vec::new() }; 2];
    for round in 0..=ROUNDS {
        for place in 0..2 {
            let who = (round + place) % 2;
            let (spent, received) = if who == 0 { ours.turn() } else { str0m.turn() };
            assert!(received as usize > PACKETS * 9 / 10, "{who}: {received}");
            if round > 0 {
                costs[who].push(spent.as_nanos() as f64 / 1e3 / received as f64);
            }
        }
        seals.push(bare_seal() / 1e3);
    }
    let seal = at(&mut seals, 0.5);
    println!("\nthe same in memory, one thread (the bare seal of 1200 bytes: {seal:.2} us)");
    println!("  {:32} {:>26} {:>8}", "", "CPU us sent and received", "");
    let first = at(&mut costs[0], 0.5);
    for (name, costs) in ["antiphon", "str0m 0.25"].iter().zip(&mut costs) {
        let cost = at(costs, 0.5);
        println!("  {name:32} {cost:26.2} {:7.2}x", cost / first);
    }
}
