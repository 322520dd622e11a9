//! A router with pipes and ends without a peer, whose peers send anything and whose host does anything, in any order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use antiphon_jsep::{Config as Signalling, MediaKind, Negotiator, TransceiverId, TransceiverInit};
use antiphon_media::extension::{AudioLevel, Kind};
use antiphon_media::{Packet, Rid};
use antiphon_peer_connection::{Codec, EncodingId, Event as Told};
use antiphon_sansio::{Bytes, Reader, Rng};
use antiphon_sfu::Router;
use antiphon_sfu::router::{
    Config, ConsumerConfig, ConsumerId, Direct, Format, MAX_DIRECT, PeerKey, PipeConfig, ProducerConfig, ProducerId,
};
use antiphon_sfu::speakers::LoudestOptions;

const RIDS: [&str; 4] = ["a", "b", "c", "d"];
const FORMATS: [(u8, &str); 4] = [(96, "VP8"), (98, "VP9"), (45, "AV1"), (111, "opus")];
const PEERS: u64 = 3;
const PLACES: usize = 6;

/// Where a packet went, its number there, and which packet it was.
type Given = HashMap<(PeerKey, EncodingId, u64), (u32, u64)>;

struct Machine {
    router: Router,
    now: Instant,
    transceivers: Vec<TransceiverId>,
    producers: Vec<ProducerId>,
    consumers: Vec<ConsumerId>,
    /// The places where pipes send, and what they were given.
    pipes: BTreeSet<(PeerKey, TransceiverId)>,
    given: Given,
    newest: [u64; 5],
}

fn rids(count: usize) -> Vec<Rid> {
    RIDS.iter()
        .take(count % (RIDS.len() + 1))
        .filter_map(|rid| Rid::new(rid.as_bytes()))
        .collect()
}

fn codecs() -> Vec<Codec> {
    let codec = |(payload_type, name): (u8, &str)| Codec {
        payload_type,
        name: name.into(),
        clock_rate: if name == "opus" { 48_000 } else { 90_000 },
        channels: None,
        parameters: String::new(),
        sender_parameters: String::new(),
        feedback: Vec::new(),
        rtx: None,
    };
    FORMATS.map(codec).to_vec()
}

fn kind(flags: u8) -> MediaKind {
    if flags & 1 == 0 {
        MediaKind::Video
    } else {
        MediaKind::Audio
    }
}

fn format(what: u8, which: u8) -> Format {
    Format {
        kind: kind(what >> 5),
        codecs: codecs(),
        rids: rids(usize::from(which)),
    }
}

impl Machine {
    fn new() -> Self {
        let mut names = Negotiator::new(Signalling::default(), Rng::from_u64(1));
        let now = antiphon_netsim::start();
        let limits = Config {
            max_peers: 3,
            max_producers: 5,
            max_consumers: 9,
        };
        let mut transceiver = || names.add_transceiver(MediaKind::Video, TransceiverInit::default());
        Self {
            router: Router::new(limits, now),
            now,
            transceivers: (0..PLACES).map(|_| transceiver()).collect(),
            producers: Vec::new(),
            consumers: Vec::new(),
            pipes: BTreeSet::new(),
            given: Given::new(),
            newest: [1 << 40; 5],
        }
    }

    fn packet(&mut self, input: &mut Reader<'_>, which: u8) -> Option<Packet> {
        let (step, flags, len) = (input.u8().ok()? as i8, input.u8().ok()?, input.u8().ok()?);
        let payload = input.take(usize::from(len >> 3)).ok()?;
        // Most descriptors that are made up cannot be read, and what has one does not go on.
        let descriptor = input.take(if len & 7 == 7 { 6 } else { 0 }).ok()?;
        let source = usize::from(which) % self.newest.len();
        let number = self.newest.get_mut(source)?;
        let step = i64::from(step);
        *number = number.wrapping_add_signed(if flags & 0x40 != 0 { step * 700 } else { step / 16 + 1 });
        let mut packet = Packet {
            ssrc: source as u32,
            rid: (flags & 1 != 0)
                .then(|| Rid::new(RIDS[source % RIDS.len()].as_bytes()))
                .flatten(),
            payload_type: FORMATS[usize::from(flags >> 1) % FORMATS.len()].0,
            sequence: *number,
            timestamp: *number as u32,
            marker: flags & 0x10 != 0,
            payload: Bytes::copy_from_slice(payload),
            front: None,
            key_frame: false,
            extensions: Default::default(),
            contributors: None,
            received: self.now,
            captured: None,
        };
        packet.extensions.audio_level = (flags & 0x20 != 0).then_some(AudioLevel {
            below_overload: len & 0x7f,
            voice: true,
        });
        packet.extensions.others.set(Kind::DependencyDescriptor, descriptor);
        Some(packet)
    }

    /// One thing that a host does. `None`: the input is at its end.
    fn step(&mut self, input: &mut Reader<'_>) -> Option<()> {
        let (what, which) = (input.u8().ok()?, input.u8().ok()?);
        let peer = PeerKey(u64::from(which) % PEERS);
        let transceiver = *self.transceivers.get(usize::from(which >> 2) % PLACES)?;
        let producer = self
            .producers
            .get(usize::from(which) % self.producers.len().max(1))
            .copied();
        let consumer = self
            .consumers
            .get(usize::from(which) % self.consumers.len().max(1))
            .copied();
        match (what % 18, producer, consumer) {
            (16, ..) => {
                let packet = self.packet(input, what >> 4)?;
                let (given, pipes) = (&mut self.given, &self.pipes);
                self.router
                    .handle_packet(self.now, peer, transceiver, &packet, |to, way, sent| {
                        note(given, pipes, (to, way), &packet, sent);
                        which & 0x80 == 0
                    });
            }
            (17, Some(producer), _) => {
                let packet = self.packet(input, what >> 4)?;
                let (given, pipes) = (&mut self.given, &self.pipes);
                let run = std::slice::from_ref(&packet);
                _ = self.router.handle_direct(self.now, producer, run, |to, way, sent| {
                    note(given, pipes, (to, way), &packet, sent);
                    true
                });
            }
            (15, ..) => {
                self.now += Duration::from_millis(u64::from(which) * 4);
                self.router.handle_timeout(self.now);
            }
            (0..4, ..) => self.begin((what, which), (peer, transceiver)),
            (4..7, Some(producer), _) => self.consume((what, which), (peer, transceiver), producer),
            (_, Some(producer), Some(consumer)) => self.change((what, which), (peer, transceiver), producer, consumer),
            _ => {}
        }
        Some(())
    }

    /// Peers come and go, and producers begin.
    fn begin(&mut self, (what, which): (u8, u8), (peer, transceiver): (PeerKey, TransceiverId)) {
        match what % 18 {
            0 => _ = self.router.add_peer(self.now, peer, which & 0x80 == 0),
            1 if which > 0xe0 => self.router.remove_peer(peer),
            2 => {
                let config = ProducerConfig {
                    peer,
                    transceiver,
                    kind: kind(what >> 5),
                    codecs: codecs(),
                    rids: rids(usize::from(which >> 5)),
                    paused: false,
                };
                self.producers.extend(self.router.produce(config));
            }
            3 => self.producers.extend(self.router.produce_direct(format(what, which))),
            _ => {}
        }
    }

    /// Somebody gets a producer.
    fn consume(&mut self, (what, which): (u8, u8), place: (PeerKey, TransceiverId), producer: ProducerId) {
        let ((peer, transceiver), now) = (place, self.now);
        let kind = self.router.producer(producer).map_or(MediaKind::Video, |own| own.kind);
        match what % 18 {
            4 => {
                let config = PipeConfig {
                    peer,
                    transceiver,
                    kind,
                    codecs: codecs(),
                    rids: rids(usize::from(which >> 4)),
                    paused: false,
                };
                if let Ok(id) = self.router.pipe(now, producer, config) {
                    self.consumers.push(id);
                    // Another pipe may have been here, whose numbers these are not.
                    self.pipes.insert(place);
                    self.given.retain(|(own, way, _), _| (*own, way.transceiver) != place);
                }
            }
            5 => {
                let config = ConsumerConfig {
                    peer,
                    encoding: transceiver.into(),
                    kind,
                    codecs: codecs(),
                    descriptors: Default::default(),
                    takes_descriptors: false,
                    paused: false,
                    claim: Default::default(),
                };
                if let Ok(id) = self.router.consume(now, producer, config) {
                    self.consumers.push(id);
                    self.pipes.remove(&place);
                }
            }
            _ => self.consumers.extend(self.router.consume_direct(now, producer)),
        }
    }

    /// What there is changes, or is asked for something.
    fn change(
        &mut self,
        (what, which): (u8, u8),
        (peer, transceiver): (PeerKey, TransceiverId),
        producer: ProducerId,
        consumer: ConsumerId,
    ) {
        let (router, now, is_high) = (&mut self.router, self.now, what & 0x80 != 0);
        match what % 18 {
            7 if which > 0xc0 => _ = router.close_producer(producer),
            8 if which > 0xc0 => _ = router.close_consumer(consumer),
            9 if is_high => _ = router.pause_producer(now, producer),
            9 => _ = router.resume_producer(now, producer),
            10 if is_high => _ = router.pause_consumer(now, consumer),
            10 => _ = router.resume_consumer(now, consumer),
            11 => _ = router.request_direct_key_frame(now, consumer, u32::from(what >> 5)),
            12 => {
                let rid = rids(4).get(usize::from(what >> 6)).copied();
                let encoding = EncodingId { transceiver, rid };
                let told: Told = match which & 0x80 {
                    0 => Told::KeyFrameRequested(encoding),
                    _ => Told::SendingRestarted(encoding),
                };
                router.handle_event(now, peer, &told);
            }
            13 => router.set_loudest((which & 1 == 0).then(|| LoudestOptions {
                count: usize::from(what >> 6),
                ..LoudestOptions::default()
            })),
            14 => _ = router.set_format(now, producer, format(what, which)),
            _ => {}
        }
    }

    fn judge(&mut self) {
        let mut requests = 0;
        while self.router.poll_request(self.now).is_some() {
            requests += 1;
            assert!(requests < 200, "law 1: requests without end");
        }
        while self.router.poll_event().is_some() {}
        if self.router.poll_timeout().is_some_and(|at| at <= self.now) {
            self.router.handle_timeout(self.now);
            while self.router.poll_request(self.now).is_some() {}
            while self.router.poll_event().is_some() {}
        }
        assert!(self.router.poll_timeout().is_none_or(|at| at > self.now), "law 2");
    }
}

/// A number of a pipe's encoding is given once, for one packet of one source.
fn note(
    given: &mut Given,
    pipes: &BTreeSet<(PeerKey, TransceiverId)>,
    (to, way): (PeerKey, EncodingId),
    packet: &Packet,
    sent: &Packet,
) {
    if !pipes.contains(&(to, way.transceiver)) {
        return;
    }
    assert_eq!((sent.ssrc, &sent.payload), (packet.ssrc, &packet.payload), "as it came");
    // Its connection goes on by itself where another source begins, or one begins anew.
    given.retain(|(own, at, _), (ssrc, _)| (*own, *at) != (to, way) || *ssrc == packet.ssrc);
    let before = given.insert((to, way, sent.sequence), (packet.ssrc, packet.sequence));
    assert!(
        before.is_none_or(|(_, number)| number == packet.sequence),
        "a number was given to two packets"
    );
}

/// What a pipe carries is what came, and all that waits is bounded.
pub(super) fn machine(data: &[u8]) {
    let mut machine = Machine::new();
    let mut input = Reader::new(data);
    while machine.step(&mut input).is_some() {
        machine.judge();
    }
    let mut waits: BTreeMap<ConsumerId, usize> = BTreeMap::new();
    while let Some((consumer, direct)) = machine.router.poll_direct() {
        *waits.entry(consumer).or_default() += usize::from(matches!(direct, Direct::Packet(_)));
    }
    assert!(waits.values().all(|count| *count <= MAX_DIRECT));
}
