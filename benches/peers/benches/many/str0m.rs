//! str0m, which has no sockets either: pairs on a wire that loses nothing, and its way of forwarding.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_benches::cost::thread_cpu;
use antiphon_benches::fan::{BURST, INTERVAL, PAYLOAD};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

const ADDRESSES: [&str; 2] = ["10.0.0.1:1000", "10.0.0.2:1000"];
const STEP: Duration = Duration::from_millis(5);

/// Two connections and the wire between them.
pub struct Pair {
    peers: [Rtc; 2],
    /// A channel has opened at each end.
    open: [bool; 2],
}

fn address(end: usize) -> SocketAddr {
    ADDRESSES[end].parse().unwrap()
}

fn receive(rtc: &mut Rtc, now: Instant, transmit: &Transmit) {
    let Transmit {
        source,
        destination,
        contents,
        ..
    } = transmit;
    let received = Receive::new(Protocol::Udp, *source, *destination, contents).unwrap();
    rtc.handle_input(Input::Receive(now, received)).unwrap();
}

impl Pair {
    /// Two peers with what `offer` adds, connected.
    fn connect(
        config: impl Fn(RtcConfig) -> RtcConfig,
        now: &mut Instant,
        offer: impl FnOnce(&mut str0m::change::SdpApi<'_>),
    ) -> Self {
        let mut peers = [0, 1].map(|end| {
            let mut rtc = config(Rtc::builder()).build(*now);
            let candidate = Candidate::host(address(end), "udp").unwrap();
            rtc.add_local_candidate(candidate).unwrap();
            rtc
        });
        let mut changes = peers[0].sdp_api();
        offer(&mut changes);
        let (offer, pending) = changes.apply().unwrap();
        let answer = peers[1].sdp_api().accept_offer(offer).unwrap();
        peers[0].sdp_api().accept_answer(pending, answer).unwrap();
        let mut pair = Self {
            peers,
            open: [false; 2],
        };
        let end = *now + Duration::from_secs(60);
        while !pair.peers.iter().all(Rtc::is_connected) {
            assert!(*now < end, "they do not connect");
            pair.settle(*now);
            *now += STEP;
        }
        pair.settle(*now);
        pair
    }

    /// Two peers with a channel between them.
    pub fn with_channel(now: &mut Instant) -> Self {
        let mut pair = Self::connect(
            |config| config,
            now,
            |changes| _ = changes.add_channel("bench".to_owned()),
        );
        let end = *now + Duration::from_secs(60);
        while pair.open != [true; 2] {
            assert!(*now < end, "the channel does not open");
            *now += STEP;
            pair.settle(*now);
        }
        pair
    }

    /// Timers that are due, and all that both ends have to say to each other now.
    pub fn settle(&mut self, now: Instant) {
        for peer in &mut self.peers {
            peer.handle_input(Input::Timeout(now)).unwrap();
        }
        loop {
            let mut wire = Vec::new();
            for end in 0..2 {
                loop {
                    match self.peers[end].poll_output().unwrap() {
                        Output::Timeout(_) => break,
                        Output::Transmit(transmit) => wire.push((1 - end, transmit)),
                        Output::Event(event) => self.open[end] |= matches!(event, Event::ChannelOpen(..)),
                    }
                }
            }
            if wire.is_empty() {
                return;
            }
            for (to, transmit) in wire {
                receive(&mut self.peers[to], now, &transmit);
            }
        }
    }
}

/// A forwarder's connections, each with the viewer at its other end.
pub struct Fan {
    receivers: Vec<(Pair, Mid, Pt)>,
    payload: Arc<[u8]>,
    number: u64,
    now: Instant,
}

impl Fan {
    pub fn new(receivers: usize) -> Self {
        let mut now = Instant::now();
        let receivers = (0..receivers)
            .map(|_| {
                let mut mid = None;
                let pair = Pair::connect(
                    |config| config.set_rtp_mode(true),
                    &mut now,
                    |changes| {
                        mid = Some(changes.add_media(MediaKind::Video, Direction::SendOnly, None, None, None));
                    },
                );
                let vp8 = pair.peers[0].codec_config().find(|p| p.spec().codec == Codec::Vp8);
                let pt = vp8.unwrap().pt();
                (pair, mid.unwrap(), pt)
            })
            .collect();
        Self {
            receivers,
            payload: Arc::from(vec![0x55; PAYLOAD]),
            number: 1000,
            now,
        }
    }

    /// Forwards [`BURST`] packets, each to every receiver; what processor time that took, and how many datagrams it made.
    pub fn forward(&mut self) -> (Duration, usize) {
        for (pair, ..) in &mut self.receivers {
            pair.settle(self.now);
        }
        let (start, mut sent) = (thread_cpu(), 0);
        for _ in 0..BURST {
            self.now += INTERVAL;
            self.number += 1;
            let (now, number) = (self.now, self.number);
            for (pair, mid, pt) in &mut self.receivers {
                let forwarder = &mut pair.peers[0];
                let mut direct = forwarder.direct_api();
                let stream = direct.stream_tx_by_mid(*mid, None).expect("a stream");
                let time = (number / 10 * 3000) as u32;
                let packet = RtpWrite::new(*pt, number.into(), time, now, self.payload.clone());
                stream.write_rtp(packet.marker(number % 10 == 9).nackable(true));
                // It sends nothing before it is told the time.
                forwarder.handle_input(Input::Timeout(now)).unwrap();
                loop {
                    match forwarder.poll_output().unwrap() {
                        Output::Timeout(at) => {
                            black_box(at);
                            break;
                        }
                        Output::Transmit(transmit) => {
                            black_box(transmit);
                            sent += 1;
                        }
                        Output::Event(event) => _ = black_box(event),
                    }
                }
            }
        }
        (thread_cpu() - start, sent)
    }
}
