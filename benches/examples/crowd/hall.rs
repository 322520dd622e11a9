//! Rooms in memory: real connections at both ends and a router between them, on a clock that goes on when all is done.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_benches::cost::thread_cpu;
use antiphon_benches::pair::{address, buffer, path_from};
use antiphon_netsim::Counting;
use antiphon_peer_connection::extension::AudioLevel;
use antiphon_peer_connection::{
    BytesMut, ClockAnchor, Datagram, Direction, Ecn, Event, Frame, IoEvent, IoRequest, Local, MediaKind,
    MediaStreamTrack, Output, PeerConnection, Rng, RtcConfiguration, RtcPeerConnectionState, RtcRtpTransceiverInit,
    RtcSessionDescription, TransceiverId, TransmitBuf,
};
use antiphon_sfu::Router;
use antiphon_sfu::router::{Config, ConsumerConfig, ConsumerId, FIRST_ESTIMATE, PeerKey, ProducerConfig, Request};
use antiphon_sfu::speakers::LoudestOptions;

use crate::bar;

/// The clock goes on by so much.
const STEP: Duration = Duration::from_millis(5);
/// Between two pictures of 7000 bytes, which are 1.4 Mbit/s.
const PICTURE: Duration = Duration::from_millis(40);
const PICTURE_BYTES: usize = 7000;
/// Between two packets of sound, of so many bytes.
const SOUND: Duration = Duration::from_millis(20);
const SOUND_BYTES: usize = 80;
/// Others are loud after so long.
const TURN: Duration = Duration::from_secs(2);
/// Of so many the sound goes on.
const LOUDEST: usize = 3;
/// What one connection and all that goes on over it may take of the forwarder's memory, in bytes. It is what is held today, and a little
/// more. The aim is 60 KiB.
const MEMORY: usize = 84 * 1024;
/// What is on its way at the end has come by then.
const REST: Duration = Duration::from_secs(1);
/// Who is not connected by then will not be.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is sent, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The first sends pictures, and all others get them.
    Audience,
    /// Everybody sends sound, and gets that of the loudest.
    Choir,
}

/// Datagrams on their way, without memory of their own.
struct Wire {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Wire {
    /// Takes what a connection sends. Whether that was anything.
    fn fill(&mut self, pc: &mut PeerConnection, now: Instant, out: &mut TransmitBuf) -> bool {
        self.bytes.clear();
        self.ends.clear();
        out.clear();
        while let Some(transmit) = pc.poll_transmit(now, out) {
            for datagram in transmit.datagrams(out) {
                self.bytes.extend_from_slice(datagram);
                self.ends.push(self.bytes.len());
            }
            out.clear();
        }
        !self.ends.is_empty()
    }

    /// Hands it to the other end.
    fn empty(&self, pc: &mut PeerConnection, now: Instant, from: usize) {
        let mut start = 0;
        for end in &self.ends {
            let (path, ecn, data) = (path_from(from), Ecn::NotEct, BytesMut::from(&self.bytes[start..*end]));
            pc.handle_datagram(now, Datagram { path, ecn, data });
            start = *end;
        }
    }
}

/// What the forwarder's side takes: bytes that it holds, and processor time.
#[derive(Clone, Copy, Default)]
struct Cost {
    held: isize,
    spent: Duration,
}

impl Cost {
    fn of<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (bytes, cpu) = (Counting::in_use_here(), thread_cpu());
        let result = work();
        self.held += Counting::in_use_here() as isize - bytes as isize;
        self.spent += thread_cpu() - cpu;
        result
    }
}

/// A room: the forwarder's connections, and the client at the other end of each.
struct Hall {
    kind: Kind,
    router: Router,
    forwarder: Vec<PeerConnection>,
    clients: Vec<PeerConnection>,
    /// The transceiver by which each client sends, if it does.
    voices: Vec<Option<TransceiverId>>,
    consumers: Vec<ConsumerId>,
    /// Packets of media that came to each client.
    got: Vec<u64>,
    now: Instant,
    out: TransmitBuf,
    wire: Wire,
    number: u32,
    needs_key_frame: bool,
    cost: Cost,
}

fn serve(pc: &mut PeerConnection, now: Instant, address: SocketAddr) {
    while let Some(request) = pc.poll_io() {
        match request {
            IoRequest::ListInterfaces { .. } => pc.handle_io(now, IoEvent::Interfaces(vec![address.ip()])),
            IoRequest::BindUdp { request, .. } => {
                let (local, addr) = (Local::Socket(0), address);
                pc.handle_io(now, IoEvent::UdpBound { request, local, addr });
            }
            _ => {}
        }
    }
}

fn connection(now: Instant, seed: usize) -> PeerConnection {
    let mut configuration = RtcConfiguration::default();
    configuration.settings.receive_output = Output::Packets;
    configuration.settings.media.start_bitrate = FIRST_ESTIMATE;
    let anchor = ClockAnchor::new(now, Duration::from_secs(1_790_000_000));
    PeerConnection::new(configuration, now, anchor, Rng::from_u64(seed as u64)).expect("a connection")
}

fn described(pc: &mut PeerConnection, now: Instant) -> RtcSessionDescription {
    pc.set_local_description(now, None).expect("a description of our own");
    pc.local_description().expect("it was just set")
}

fn key(place: usize) -> PeerKey {
    PeerKey(place as u64)
}

impl Kind {
    fn media(self) -> MediaKind {
        match self {
            Self::Audience => MediaKind::Video,
            Self::Choir => MediaKind::Audio,
        }
    }

    fn sends(self, place: usize) -> bool {
        self == Self::Choir || place == 0
    }

    /// The others that somebody gets something of.
    fn heard_by(self, place: usize, all: usize) -> Vec<usize> {
        let others = (0..all).filter(|other| *other != place && self.sends(*other));
        others.collect()
    }
}

impl Hall {
    fn new(kind: Kind) -> Self {
        let now = Instant::now();
        let mut cost = Cost::default();
        let mut router = cost.of(|| Router::new(Config::default(), now));
        if kind == Kind::Choir {
            router.set_loudest(Some(LoudestOptions {
                count: LOUDEST,
                ..LoudestOptions::default()
            }));
        }
        Self {
            kind,
            router,
            forwarder: Vec::new(),
            clients: Vec::new(),
            voices: Vec::new(),
            consumers: Vec::new(),
            got: Vec::new(),
            now,
            out: buffer(),
            wire: Wire {
                bytes: Vec::with_capacity(1 << 20),
                ends: Vec::with_capacity(1 << 12),
            },
            number: 0,
            needs_key_frame: true,
            cost,
        }
    }

    /// The next one comes, of so many that there will be, and its connection stands.
    fn come(&mut self, all: usize) -> Result<Vec<TransceiverId>, String> {
        let (place, kind, now) = (self.clients.len(), self.kind.media(), self.now);
        let (sends, gets) = (self.kind.sends(place), self.kind.heard_by(place, all).len());
        let mut client = connection(now, 2 * place);
        let voice = sends.then(|| {
            let track = MediaStreamTrack {
                kind,
                id: "own".to_owned(),
                stream_ids: vec!["own".to_owned()],
            };
            client.add_track(track).expect("a track")
        });
        let (mut own, to, offer) = self.cost.of(|| {
            let mut own = connection(now, 2 * place + 1);
            let mut add = |direction| {
                let added = own.add_transceiver(kind, RtcRtpTransceiverInit::new(direction));
                added.expect("a transceiver")
            };
            if sends {
                add(Direction::RecvOnly);
            }
            let to: Vec<TransceiverId> = (0..gets).map(|_| add(Direction::SendOnly)).collect();
            let offer = described(&mut own, now);
            (own, to, offer)
        });
        client.set_remote_description(now, offer).map_err(|e| e.to_string())?;
        let answer = described(&mut client, now);
        let taken = self.cost.of(|| own.set_remote_description(now, answer));
        taken.map_err(|e| e.to_string())?;
        self.forwarder.push(own);
        self.clients.push(client);
        self.voices.push(voice);
        self.got.push(0);
        let end = now + PATIENCE;
        let stands = |pc: &PeerConnection| pc.connection_state() == RtcPeerConnectionState::Connected;
        while !stands(&self.forwarder[place]) || !stands(&self.clients[place]) {
            if self.now > end {
                return Err(format!("{place} does not connect"));
            }
            self.settle(place);
            self.now += STEP;
        }
        Ok(to)
    }

    /// All that both ends of one connection have to say now, and what the router makes of it.
    fn settle(&mut self, place: usize) {
        let now = self.now;
        let Self {
            router,
            forwarder,
            clients,
            got,
            out,
            wire,
            cost,
            needs_key_frame,
            ..
        } = self;
        for _ in 0..64 {
            let client = &mut clients[place];
            if client.poll_timeout().is_some_and(|at| at <= now) {
                client.handle_timeout(now);
            }
            serve(client, now, address(1));
            let to_us = wire.fill(client, now, out);
            let mut candidates = Vec::new();
            while let Some(event) = client.poll_event() {
                match event {
                    Event::Packet { .. } => got[place] += 1,
                    Event::IceCandidate(candidate) => candidates.push(candidate),
                    Event::KeyFrameRequested(_) => *needs_key_frame = true,
                    _ => {}
                }
            }
            let (candidates, to_client) = cost.of(|| {
                let own = &mut forwarder[place];
                for candidate in candidates {
                    let _ = own.add_ice_candidate(now, candidate);
                }
                if own.poll_timeout().is_some_and(|at| at <= now) {
                    own.handle_timeout(now);
                }
                serve(own, now, address(0));
                wire.empty(own, now, 1);
                let told = forward(router, forwarder, place, now);
                (told, wire.fill(&mut forwarder[place], now, out))
            });
            for candidate in candidates {
                let _ = clients[place].add_ice_candidate(now, candidate);
            }
            wire.empty(&mut clients[place], now, 0);
            if !to_us && !to_client {
                return;
            }
        }
    }

    /// Everybody that is there takes part, by what each connection sends on.
    fn begin(&mut self, to: &[Vec<TransceiverId>]) -> Result<(), String> {
        let (all, kind, now) = (self.clients.len(), self.kind, self.now);
        let Self {
            router,
            forwarder,
            consumers,
            cost,
            ..
        } = self;
        cost.of(|| {
            let mut producers = Vec::new();
            for (place, own) in forwarder.iter().enumerate() {
                router.add_peer(now, key(place), true).map_err(|e| e.to_string())?;
                let from = own.transceivers().next().filter(|_| kind.sends(place));
                let producer = from.map(|from| router.produce(ProducerConfig::of(key(place), from)));
                producers.push(producer.transpose().map_err(|e| e.to_string())?);
            }
            for (place, own) in forwarder.iter().enumerate() {
                for (other, to) in kind.heard_by(place, all).into_iter().zip(&to[place]) {
                    let transceiver = own.transceiver(*to).ok_or("no transceiver")?;
                    let config = ConsumerConfig::of(key(place), *to, transceiver);
                    let producer = producers[other].ok_or("no producer")?;
                    consumers.push(router.consume(now, producer, config).map_err(|e| e.to_string())?);
                }
            }
            Ok(())
        })
    }

    /// Clients send what is due, and the clock goes on.
    fn step(&mut self, sends: bool) {
        let interval = if self.kind == Kind::Audience { PICTURE } else { SOUND };
        self.number += 1;
        let parts = (interval.as_millis() / STEP.as_millis()) as u32;
        if sends && self.number.is_multiple_of(parts) {
            self.send(self.number / parts, interval);
        }
        self.cost.of(|| self.router.handle_timeout(self.now));
        for place in 0..self.clients.len() {
            self.settle(place);
        }
        self.now += STEP;
    }

    fn send(&mut self, number: u32, interval: Duration) {
        let all = self.clients.len();
        let turn = (interval * number).as_secs() / TURN.as_secs();
        for place in 0..all {
            let Some(voice) = self.voices[place] else { continue };
            let client = &mut self.clients[place];
            let frame = match self.kind {
                Kind::Audience => {
                    let is_key = std::mem::take(&mut self.needs_key_frame);
                    let mut data = vec![u8::from(!is_key), 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
                    data.resize(PICTURE_BYTES, number as u8);
                    let codec = client.payload_type(voice, "VP8").expect("VP8 is negotiated");
                    Frame::new(codec, number * 3600, data)
                }
                Kind::Choir => {
                    let codec = client.payload_type(voice, "opus").expect("Opus is negotiated");
                    let mut frame = Frame::new(codec, number * 960, vec![0xf8; SOUND_BYTES]);
                    // Five talk at a time, and not equally loud; the others are heard breathing.
                    let rank = (place + turn as usize * 7) % all;
                    frame.extensions.audio_level = Some(AudioLevel {
                        below_overload: if rank < 5 { 20 + 3 * rank as u8 } else { 80 },
                        voice: rank < 5,
                    });
                    frame
                }
            };
            client.send_frame(self.now, voice, frame).expect("it is connected");
        }
    }

    /// Packets that the router gave to connections, and those that these refused.
    fn sent(&self) -> (u64, u64) {
        let stats = self.consumers.iter().filter_map(|id| self.router.consumer(*id).ok());
        stats.fold((0, 0), |(sent, refused), own| (sent + own.sent, refused + own.refused))
    }
}

/// Hands on what has come over a connection. The candidates that it has for its client.
fn forward(
    router: &mut Router,
    forwarder: &mut [PeerConnection],
    place: usize,
    now: Instant,
) -> Vec<Option<antiphon_peer_connection::RtcIceCandidateInit>> {
    let mut candidates = Vec::new();
    while let Some(event) = forwarder[place].poll_event() {
        match event {
            Event::Packet { transceiver, packet } => {
                router.handle_packet(now, key(place), transceiver, &packet, |peer, encoding, packet| {
                    forwarder[peer.0 as usize].send_rtp(now, encoding, packet).is_ok()
                });
            }
            Event::IceCandidate(candidate) => candidates.push(candidate),
            event => {
                if router.handle_event(now, key(place), &event) && matches!(event, Event::TargetBitrate { .. }) {
                    router.set_estimate(now, key(place), forwarder[place].media_bitrate());
                }
            }
        }
    }
    while let Some(request) = router.poll_request(now) {
        match request {
            Request::KeyFrame {
                peer,
                transceiver,
                ssrc,
            } => _ = forwarder[peer.0 as usize].request_key_frame_of(transceiver, ssrc),
            Request::DirectKeyFrame { .. } => unreachable!("all producers have a peer"),
            Request::Desire { peer, bitrate } => {
                forwarder[peer.0 as usize].set_desired_bitrate(now, Some(bitrate));
            }
            Request::Reports {
                consumer,
                peer,
                encoding,
            } => {
                if let Some(reported) = forwarder[peer.0 as usize].reported(encoding) {
                    // It was there a moment ago.
                    let _ = router.set_reported(consumer, reported);
                }
            }
        }
    }
    while router.poll_event().is_some() {}
    candidates
}

fn run(kind: Kind, all: usize, seconds: u64) -> Result<String, String> {
    let mut hall = Hall::new(kind);
    let connecting = bar(all, "connecting");
    let mut to = Vec::with_capacity(all);
    for _ in 0..all {
        to.push(hall.come(all)?);
        connecting.inc(1);
    }
    connecting.finish_and_clear();
    hall.begin(&to)?;
    let spent = hall.cost.spent;
    let playing = bar(seconds as usize, "playing");
    let second = (1000 / STEP.as_millis()) as u32;
    for _ in 0..seconds {
        for _ in 0..second {
            hall.step(true);
        }
        playing.inc(1);
    }
    playing.finish_and_clear();
    let spent = hall.cost.spent - spent;
    let end = hall.now + REST;
    while hall.now < end {
        hall.step(false);
    }
    let (sent, refused) = hall.sent();
    let got: u64 = hall.got.iter().sum();
    let receivers = all - usize::from(kind == Kind::Audience);
    let least = hall.got[all - receivers..].iter().min().copied().unwrap_or(0);
    let each = hall.cost.held.max(0) as usize / all;
    let figures = format!(
        "{receivers} receivers for {seconds} s: {got} of {sent} packets came, {refused} were refused, {least} to each at least; {:.1} KiB of \
         the forwarder's memory each; {:.2} us of CPU a packet, {:.0} % of a core",
        each as f64 / 1024.0,
        spent.as_secs_f64() * 1e6 / sent.max(1) as f64,
        spent.as_secs_f64() * 100.0 / seconds as f64,
    );
    // Sound of fifty is fifty streams to each.
    let is_small = kind == Kind::Choir || each <= MEMORY;
    if got == sent && refused == 0 && least > 0 && is_small {
        Ok(figures)
    } else {
        Err(figures)
    }
}

/// One sends pictures to so many others.
pub(super) fn audience(receivers: usize, seconds: u64) -> Result<String, String> {
    run(Kind::Audience, receivers + 1, seconds)
}

/// Everybody sends sound to everybody, of which that of the loudest goes on.
pub(super) fn choir(people: usize, seconds: u64) -> Result<String, String> {
    run(Kind::Choir, people, seconds)
}
