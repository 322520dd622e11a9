//! A call: two whole sessions on a simulated network, with what applications do around them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_media::congestion::{CongestionControl, PacketResult};
use antiphon_media::extension::{Kind as Extension, Map};
use antiphon_media::{
    Codec, Config, Event, FecAmount, Feedback, Kind, Outgoing, Output, PacketKind, Play, ReceiverConfig, ReceiverId,
    RedDistance, RemoteSource, SendRedundancy, SenderConfig, SenderId, Session,
};
use antiphon_netsim::{LinkConfig, Machine, Network, Simulation};
use antiphon_rtp::packet::{Packet, is_rtcp};
use antiphon_sansio::{ClockAnchor, Datagram, Path, Rng, Transmit, TransmitBuf};

use super::measure::{Seen, Shown};
use super::source::{SOUND, Sound, Video};

/// What the encoder of video makes, in bits a second.
const VIDEO: f64 = 1_500_000.0;
/// What the controller says may be sent, in bits a second.
const WIDE: u64 = 20_000_000;
/// The SSRCs of sound, video, its retransmissions, and its forward error correction.
const SSRCS: [u32; 4] = [1, 2, 3, 4];

/// How packets are lost, each way: in percent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Losses {
    /// Each by its own chance.
    Single(u64),
    /// Three in a row, on average.
    Bursts(u64),
}

/// What a call is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// The round trip, in milliseconds.
    pub(crate) rtt: u64,
    pub(crate) losses: Losses,
    /// Whether there are pictures.
    pub(crate) video: bool,
    /// Whether FlexFEC was negotiated, and is sent by loss and round trip.
    pub(crate) flexfec: bool,
}

impl Terms {
    fn link(&self) -> LinkConfig {
        let link = LinkConfig {
            delay: Duration::from_millis(self.rtt / 2),
            ..LinkConfig::default()
        };
        match self.losses {
            Losses::Single(percent) => LinkConfig {
                loss: percent as f64 / 100.0,
                ..link
            },
            Losses::Bursts(percent) => {
                let share = percent as f64 / 100.0;
                LinkConfig {
                    burst_start: share / (3.0 * (1.0 - share)),
                    burst_end: 1.0 / 3.0,
                    burst_loss: 1.0,
                    ..link
                }
            }
        }
    }
}

/// The controller of a path that is wide enough, whatever is lost on it.
#[derive(Debug)]
struct Wide;

impl CongestionControl for Wide {
    fn on_feedback(&mut self, _: Instant, _: Duration, _: &[PacketResult]) {}

    fn on_loss(&mut self, _: Instant, _: f64) {}

    fn on_remb(&mut self, _: Instant, _: u64) {}

    fn target_rate(&self, _: Instant) -> Option<u64> {
        Some(WIDE)
    }

    fn pacing_rate(&self, _: Instant) -> Option<u64> {
        Some(WIDE)
    }
}

fn codec(payload_type: u8, name: &str, clock_rate: u32) -> Codec {
    let video = clock_rate == 90_000;
    Codec {
        payload_type,
        name: name.into(),
        clock_rate,
        channels: if video { 1 } else { 2 },
        fmtp: if name == "red" { "111/111" } else { "" }.into(),
        rtx_payload_type: (name == "VP8").then_some(97),
        feedback: Feedback {
            nack: video,
            pli: video,
            transport_cc: true,
            ..Feedback::default()
        },
    }
}

fn codecs(kind: Kind, terms: &Terms) -> Vec<Codec> {
    match kind {
        Kind::Audio => vec![codec(111, "opus", 48_000), codec(63, "red", 48_000)],
        Kind::Video if terms.flexfec => vec![codec(96, "VP8", 90_000), codec(49, "flexfec-03", 90_000)],
        Kind::Video => vec![codec(96, "VP8", 90_000)],
    }
}

fn extensions() -> Map {
    let mut map = Map::default();
    map.insert(3, Extension::TransportCc);
    map.insert(4, Extension::Mid);
    map
}

/// A session on a socket.
#[derive(Debug)]
struct End {
    session: Session,
    path: Path,
    now: Instant,
    video: Option<(SenderId, Video)>,
    sound: Option<(SenderId, Sound)>,
    /// The receivers of sound and of video.
    receivers: [Option<ReceiverId>; 2],
    pictures: Vec<Shown>,
    sounds: Vec<Shown>,
    /// The newest timestamp of each that was shown, counted on from the first.
    newest: [Option<(u32, f64)>; 2],
    /// Of each, the first timestamp that was shown; and the first that was sent, and when.
    first_shown: [Option<u32>; 2],
    first_sent: [Option<(u32, Instant)>; 2],
    /// How long sound was made up.
    concealed: Duration,
}

impl End {
    fn new(now: Instant, terms: &Terms, path: Path, rng: Rng) -> Self {
        let config = Config {
            redundancy: SendRedundancy {
                red: RedDistance::Fixed(2),
                fec: if terms.flexfec {
                    FecAmount::ByLoss
                } else {
                    FecAmount::Percent(0)
                },
            },
            start_bitrate: WIDE,
            // Who loses a fifth and does not heed it would be stopped.
            circuit_breakers: false,
            ..Config::default()
        };
        let anchor = ClockAnchor::new(now, Duration::from_secs(1_700_000_000));
        let mut session = Session::new(config, now, anchor, rng);
        session.set_controller(now, Box::new(Wide));
        // As ICE measured it.
        session.set_rtt(Duration::from_millis(terms.rtt));
        Self {
            session,
            path,
            now,
            video: None,
            sound: None,
            receivers: [None; 2],
            pictures: Vec::new(),
            sounds: Vec::new(),
            newest: [None; 2],
            first_shown: [None; 2],
            first_sent: [None; 2],
            concealed: Duration::ZERO,
        }
    }

    fn send(&mut self, terms: &Terms, kind: Kind, rng: &Rng) {
        let video = kind == Kind::Video;
        let config = SenderConfig {
            mid: if video { "v" } else { "a" }.into(),
            rid: None,
            kind,
            ssrc: SSRCS[usize::from(video)],
            rtx_ssrc: video.then_some(SSRCS[2]),
            fec_ssrc: (video && terms.flexfec).then_some(SSRCS[3]),
            codecs: codecs(kind, terms),
            extensions: extensions(),
        };
        let id = self.session.add_sender(self.now, config).expect("a new sender");
        if video {
            let source = Video::new(self.now, VIDEO, VIDEO + SOUND, rng.fork("video"));
            self.video = Some((id, source));
        } else {
            self.sound = Some((id, Sound::new(self.now)));
        }
    }

    fn receive(&mut self, terms: &Terms, kind: Kind) {
        let video = kind == Kind::Video;
        let config = ReceiverConfig {
            mid: if video { "v" } else { "a" }.into(),
            kind,
            codecs: codecs(kind, terms),
            extensions: extensions(),
            sources: vec![RemoteSource {
                ssrc: SSRCS[usize::from(video)],
                rtx_ssrc: video.then_some(SSRCS[2]),
                fec_ssrc: (video && terms.flexfec).then_some(SSRCS[3]),
                layer: None,
            }],
            rids: vec![],
            output: Output::Playout,
            jitter_buffer_target: None,
            sync_group: Some("call".into()),
        };
        let id = self.session.add_receiver(config).expect("a new receiver");
        self.receivers[usize::from(video)] = Some(id);
    }

    fn show(&mut self, receiver: ReceiverId, timestamp: u32) {
        let video = self.receivers[1] == Some(receiver);
        let rate = if video { 90_000.0 } else { 48_000.0 };
        let newest = &mut self.newest[usize::from(video)];
        let captured = newest.map_or(0.0, |(before, at)| {
            at + f64::from(timestamp.wrapping_sub(before) as i32) / rate
        });
        *newest = Some((timestamp, captured));
        self.first_shown[usize::from(video)].get_or_insert(timestamp);
        let shown = Shown { at: self.now, captured };
        if video { &mut self.pictures } else { &mut self.sounds }.push(shown);
    }
}

impl Machine for End {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        self.now = now;
        let packet = antiphon_sansio::Packet {
            ecn: datagram.ecn,
            data: datagram.data,
        };
        if is_rtcp(&packet.data) {
            self.session.handle_rtcp(now, packet);
        } else {
            self.session.handle_rtp(now, packet);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if let Some((id, sound)) = &mut self.sound
            && sound.next <= now
        {
            self.session
                .send_frame(now, *id, sound.frame())
                .expect("room for sound");
        }
        if let Some((id, video)) = &mut self.video
            && video.next <= now
            && let Some(frame) = video.frame(now, None)
        {
            self.session.send_frame(now, *id, frame).expect("room for a picture");
        }
        self.session.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        let Outgoing { ecn, kind, .. } = self.session.poll_transmit(now, out)?;
        let range = out.finish();
        if kind == PacketKind::Rtp {
            let header = Packet::parse(out.bytes(range.clone())).expect("a packet").header;
            if let Some(place) = SSRCS[..2].iter().position(|ssrc| *ssrc == header.ssrc) {
                self.first_sent[place].get_or_insert((header.timestamp, now));
            }
        }
        Some(Transmit {
            path: self.path,
            range,
            segment_size: None,
            ecn,
        })
    }

    fn poll_event(&mut self) -> Option<Event> {
        loop {
            match self.session.poll_event()? {
                Event::Frame { receiver, frame, .. } => self.show(receiver, frame.timestamp),
                Event::Sound { receiver, sound, .. } => match sound.play {
                    Play::Frame { frame, .. } => self.show(receiver, frame.timestamp),
                    Play::Conceal { .. } => self.concealed += sound.duration,
                    Play::Silence => {}
                },
                Event::KeyFrameRequested { .. } => {
                    if let Some((_, video)) = &mut self.video {
                        video.key_wanted = true;
                    }
                }
                Event::TargetBitrate { .. } | Event::NewSource { .. } => {}
                other => return Some(other),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let sound = self.sound.as_ref().map(|(_, sound)| sound.next);
        let video = self.video.as_ref().map(|(_, video)| video.next);
        [sound, video, self.session.poll_timeout()].into_iter().flatten().min()
    }

    fn close(&mut self, _: Instant) {
        self.session.close();
        (self.sound, self.video) = (None, None);
    }
}

/// Alice sends pictures and sound for so many seconds, Bob sound.
pub(crate) fn call(seed: u64, terms: &Terms, seconds: u64) -> Seen {
    let rng = Rng::from_u64(seed).fork("call");
    let mut network = Network::new(seed);
    let hosts = [network.add_host(), network.add_host()];
    let sockets = [0, 1].map(|end| {
        let address = SocketAddr::from(([10, 0, 0, 1 + end as u8], 9));
        network.bind(hosts[end], address).expect("a free address")
    });
    let addresses = sockets.map(|socket| network.address(socket));
    let paths = [0, 1].map(|end| Path {
        local: sockets[end].local(),
        remote: addresses[1 - end],
    });
    network.connect(hosts[0], hosts[1], terms.link());
    let start = network.now();
    let [mut alice, mut bob] = [0, 1].map(|end| {
        let rng = rng.fork_numbered("session", end as u64);
        End::new(start, terms, paths[end], rng)
    });
    let kinds = if terms.video {
        &[Kind::Audio, Kind::Video][..]
    } else {
        &[Kind::Audio]
    };
    for kind in kinds.iter().copied() {
        alice.send(terms, kind, &rng);
        bob.receive(terms, kind);
    }
    bob.send(terms, Kind::Audio, &rng);
    alice.receive(terms, Kind::Audio);
    let mut simulation = Simulation::with_max_datagram(network, 1472);
    let alice = simulation.add(hosts[0], alice);
    let bob = simulation.add(hosts[1], bob);
    simulation.run_for(Duration::from_secs(seconds));
    let end = simulation.now();
    for peer in [alice, bob] {
        let events = simulation.take_events(peer);
        assert!(events.is_empty(), "{events:?}");
    }
    let concealed = simulation.peer(bob).concealed;
    // What is on its way may come.
    simulation.call(alice, |alice, _| (alice.sound, alice.video) = (None, None));
    simulation.run_for(Duration::from_secs(3));
    let sent = simulation.peer(alice).session.stats();
    let bob = simulation.peer(bob);
    let stats = bob.session.stats();
    let inbound = |kind| stats.inbound.iter().find(|inbound| inbound.kind == kind);
    let sound = sent.outbound.iter().find(|outbound| outbound.kind == Kind::Audio);
    let first_sent = simulation.peer(alice).first_sent;
    let shown = |all: &[Shown], place: usize, rate: f64| {
        let offset = bob.first_shown[place]
            .zip(first_sent[place])
            .map_or(0.0, |(shown, (sent, at))| {
                f64::from(shown.wrapping_sub(sent) as i32) / rate + (at - start).as_secs_f64()
            });
        let shown = all.iter().filter(|shown| shown.at <= end);
        let captured = |shown: &Shown| Shown {
            captured: shown.captured + offset,
            ..*shown
        };
        shown.map(captured).collect()
    };
    Seen {
        start,
        end,
        way: Duration::from_millis(terms.rtt / 2),
        pictures: shown(&bob.pictures, 1, 90_000.0),
        sounds: shown(&bob.sounds, 0, 48_000.0),
        sound: [
            sound.map_or(0, |sound| sound.packets_sent),
            inbound(Kind::Audio).map_or(0, |inbound| inbound.packets_received),
            (concealed.as_secs_f64() / 0.02).round() as u64,
        ],
        requests: inbound(Kind::Video).map_or(0, |inbound| u64::from(inbound.pli_count)),
    }
}
