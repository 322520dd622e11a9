//! Publishers that are scripts, and one consumer.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::time::{Duration, Instant};

use antiphon_media::extension::Kind;
use antiphon_media::extension::dependency::{
    Chains, DependencyDescriptor, Differences, FrameStart, Indication, Indications, Structure, Template,
};
use antiphon_media::{Packet, Rid};
use antiphon_peer_connection::Codec;
use antiphon_rtp::payload::{vp8, vp9};
use antiphon_sansio::Writer;
use antiphon_sfu::{Consumer, ConsumerConfig, Producer};

pub(crate) const VP8: u8 = 96;
pub(crate) const VP9: u8 = 98;
pub(crate) const AV1: u8 = 45;
pub(crate) const H264: u8 = 102;
pub(crate) const FRAME: Duration = Duration::from_millis(33);

pub(crate) fn rid(name: &str) -> Rid {
    Rid::new(name.as_bytes()).unwrap()
}

pub(crate) fn producer(rids: &[&str]) -> Producer {
    let rids: Vec<Rid> = rids.iter().map(|name| rid(name)).collect();
    Producer::new([(VP8, "VP8"), (VP9, "VP9"), (AV1, "AV1"), (H264, "H264")], &rids)
}

/// A codec as a description has it.
pub(crate) fn codec(payload_type: u8, name: &str) -> Codec {
    Codec {
        payload_type,
        name: name.into(),
        clock_rate: if name == "opus" { 48_000 } else { 90_000 },
        channels: (name == "opus").then_some(2),
        parameters: String::new(),
        sender_parameters: String::new(),
        feedback: Vec::new(),
        rtx: None,
    }
}

pub(crate) fn packet(now: Instant, ssrc: u32, payload_type: u8, sequence: u64, payload: Vec<u8>) -> Packet {
    Packet {
        ssrc,
        rid: None,
        payload_type,
        sequence,
        timestamp: 0,
        marker: false,
        payload: payload.into(),
        front: None,
        key_frame: false,
        extensions: Default::default(),
        contributors: None,
        received: now,
        captured: Some(now),
    }
}

/// The payload as it leaves.
pub(crate) fn payload(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    match packet.front {
        Some(front) => front
            .layout(packet.payload.len())
            .write(&packet.payload, |part| bytes.extend_from_slice(part)),
        None => bytes.extend_from_slice(&packet.payload),
    }
    bytes
}

/// One encoding of VP8.
#[derive(Clone, Debug)]
pub(crate) struct Vp8 {
    pub(crate) rid: Option<Rid>,
    pub(crate) ssrc: u32,
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) picture: u16,
    pub(crate) long: bool,
    pub(crate) base: u8,
    pub(crate) size: (u16, u16),
    pub(crate) bytes: usize,
    frame: u32,
}

impl Vp8 {
    pub(crate) fn new(place: u16, size: (u16, u16), bytes: usize) -> Self {
        Self {
            rid: Some(rid(["a", "b", "c", "d", "e", "f"][usize::from(place)])),
            ssrc: 100 + u32::from(place),
            sequence: 10_000 * u64::from(place) + 50,
            timestamp: 77_000_000 * u32::from(place),
            picture: 1000 * place + 20,
            long: true,
            base: 50 * place as u8,
            size,
            bytes,
            frame: 0,
        }
    }

    /// The packets of the next frame, two of them: three temporal layers in the pattern 0 2 1 2.
    pub(crate) fn frame(&mut self, now: Instant, key: bool) -> Vec<Packet> {
        if key {
            self.frame = 0;
        }
        let (layer, sync) = [(0, false), (2, true), (1, true), (2, false)][self.frame as usize % 4];
        self.frame += 1;
        self.picture = (self.picture + 1) & 0x7fff;
        self.timestamp = self.timestamp.wrapping_add(2970);
        if layer == 0 {
            self.base = self.base.wrapping_add(1);
        }
        let mut packets = Vec::new();
        for part in 0..2 {
            let descriptor = vp8::Descriptor {
                partition_start: part == 0,
                picture_id: Some(match self.long {
                    true => vp8::PictureId::Long(self.picture),
                    false => vp8::PictureId::Short(self.picture as u8 & 0x7f),
                }),
                tl0_picture_index: Some(self.base),
                temporal_layer: Some((layer, sync)),
                ..vp8::Descriptor::default()
            };
            let mut head = [0; vp8::MAX_DESCRIPTOR];
            let len = descriptor.write(&mut head);
            let mut bytes = head[..len].to_vec();
            if part == 0 {
                let [w0, w1] = self.size.0.to_le_bytes();
                let [h0, h1] = self.size.1.to_le_bytes();
                bytes.extend([u8::from(!key), 0, 0, 0x9d, 1, 0x2a, w0, w1, h0, h1]);
            }
            bytes.resize(bytes.len() + self.bytes / 2, 7);
            let mut made = packet(now, self.ssrc, VP8, self.sequence, bytes);
            made.rid = self.rid;
            made.timestamp = self.timestamp;
            made.marker = part == 1;
            made.key_frame = key && part == 0;
            self.sequence += 1;
            packets.push(made);
        }
        packets
    }
}

/// What a picture of several spatial layers needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inter {
    /// L3T1: each layer needs the one below.
    Always,
    /// L3T1_KEY: at key frames alone.
    Key,
    /// S3T1: never.
    Never,
}

/// A stream of VP9 with spatial layers, one packet a layer frame, two temporal layers.
#[derive(Clone, Debug)]
pub(crate) struct Vp9 {
    pub(crate) rid: Option<Rid>,
    pub(crate) ssrc: u32,
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) picture: u16,
    pub(crate) base: u8,
    pub(crate) inter: Inter,
    pub(crate) layers: u8,
    pub(crate) flexible: bool,
    pub(crate) frame: u32,
}

impl Vp9 {
    pub(crate) fn new(inter: Inter, flexible: bool) -> Self {
        Self {
            rid: None,
            ssrc: 900,
            sequence: 400,
            timestamp: 1_000_000,
            picture: 0x7ff0,
            base: 200,
            inter,
            layers: 3,
            flexible,
            frame: 0,
        }
    }

    pub(crate) fn frame(&mut self, now: Instant, key: bool) -> Vec<Packet> {
        if key {
            self.frame = 0;
        }
        let temporal = (self.frame % 2) as u8;
        self.frame += 1;
        self.picture = (self.picture + 1) & 0x7fff;
        self.timestamp = self.timestamp.wrapping_add(2970);
        self.base = self.base.wrapping_add(u8::from(temporal == 0));
        let depends = match self.inter {
            Inter::Always => true,
            Inter::Key => key,
            Inter::Never => false,
        };
        let mut packets = Vec::new();
        for spatial in 0..self.layers {
            let top = spatial + 1 == self.layers;
            let predicted = !key;
            let mut structure = [0; 8];
            let len = vp9::Structure::write(self.layers, &[], &[], &mut structure).unwrap();
            let descriptor = vp9::Descriptor {
                picture_id: Some((self.picture, true)),
                predicted,
                layer: Some(vp9::Layer {
                    temporal,
                    switching_point: temporal == 1,
                    spatial,
                    depends: depends && spatial > 0,
                    base_picture_index: (!self.flexible).then_some(self.base),
                }),
                flexible: self.flexible,
                begin: true,
                end: true,
                not_referred: top || !depends,
                differences: if self.flexible && predicted { [1, 0, 0] } else { [0; 3] },
                structure: (key && spatial == 0).then_some(&structure[..len]),
            };
            let mut bytes = vec![0; 40];
            let len = descriptor.write(&mut bytes).unwrap();
            bytes.truncate(len);
            bytes.resize(len + 200 * (usize::from(spatial) + 1), 0x99);
            let mut made = packet(now, self.ssrc, VP9, self.sequence, bytes);
            made.rid = self.rid;
            made.timestamp = self.timestamp;
            made.marker = top;
            made.key_frame = key && spatial == 0;
            self.sequence += 1;
            packets.push(made);
        }
        packets
    }
}

/// L2T2 by dependency descriptor: targets are (0,0), (0,1), (1,0), (1,1).
pub(crate) fn l2t2() -> Structure {
    use Indication::{Discardable, NotPresent, Required, Switch};
    let template = |spatial, temporal, indications: [Indication; 4], differences: &[u16], chains: [u8; 2]| Template {
        spatial,
        temporal,
        indications: Indications::new(indications),
        differences: Differences::new(differences.iter().copied()),
        chains: Chains::new(chains),
    };
    let templates = [
        template(0, 0, [Switch; 4], &[], [0, 0]),
        template(0, 0, [Switch, Switch, Required, Required], &[4], [4, 3]),
        template(0, 1, [NotPresent, Discardable, NotPresent, Required], &[2], [2, 1]),
        template(1, 0, [NotPresent, NotPresent, Switch, Switch], &[1], [1, 1]),
        template(1, 0, [NotPresent, NotPresent, Switch, Switch], &[4, 1], [1, 1]),
        template(1, 1, [NotPresent, NotPresent, NotPresent, Discardable], &[2, 1], [3, 2]),
    ];
    let sizes = [(320, 180), (640, 360)]
        .map(|(width, height)| antiphon_media::extension::dependency::Resolution { width, height });
    Structure::new(10, 4, &[0, 0, 1, 1], &templates, &sizes).unwrap()
}

/// L1T2 under the same numbers of templates.
pub(crate) fn l1t2() -> Structure {
    use Indication::{Discardable, NotPresent, Required, Switch};
    let template = |temporal, indications: [Indication; 2], differences: &[u16], chain: u8| Template {
        temporal,
        indications: Indications::new(indications),
        differences: Differences::new(differences.iter().copied()),
        chains: Chains::new([chain]),
        ..Template::default()
    };
    let templates = [
        template(0, [Switch, Switch], &[], 0),
        template(0, [Switch, Required], &[2], 2),
        template(1, [NotPresent, Discardable], &[1], 1),
    ];
    Structure::new(10, 2, &[0, 0], &templates, &[]).unwrap()
}

/// A stream of AV1, L2T2 or L1T2, one packet a layer frame.
#[derive(Clone, Debug)]
pub(crate) struct Av1 {
    pub(crate) ssrc: u32,
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) number: u16,
    pub(crate) frame: u32,
    pub(crate) structure: Structure,
}

impl Av1 {
    pub(crate) fn new() -> Self {
        Self {
            ssrc: 4500,
            sequence: 9,
            timestamp: 3,
            number: 0xfff0,
            frame: 0,
            structure: l2t2(),
        }
    }

    pub(crate) fn frame(&mut self, now: Instant, key: bool) -> Vec<Packet> {
        if key {
            self.frame = 0;
        }
        let temporal = self.frame % 2;
        let first = self.frame == 0;
        self.frame += 1;
        self.timestamp = self.timestamp.wrapping_add(2970);
        let mut packets = Vec::new();
        let highest = self.structure.templates().last().unwrap().spatial;
        for spatial in 0..=highest {
            let template = match (spatial, temporal, first) {
                (0, 0, true) => 0,
                (0, 0, false) => 1,
                (0, _, _) => 2,
                (_, 0, true) => 3,
                (_, 0, false) => 4,
                _ => 5,
            };
            let descriptor = DependencyDescriptor {
                frame: FrameStart {
                    start: true,
                    end: true,
                    template_id: 10 + template,
                    frame_number: self.number,
                },
                structure: (first && spatial == 0).then(|| Box::new(self.structure.clone())),
                ..DependencyDescriptor::default()
            };
            self.number = self.number.wrapping_add(1);
            let mut bytes = [0; 255];
            let mut out = Writer::new(&mut bytes);
            descriptor.write(Some(&self.structure), &mut out).unwrap();
            let aggregation = 0x10 | if first && spatial == 0 { 8 } else { 0 };
            let mut made = packet(
                now,
                self.ssrc,
                AV1,
                self.sequence,
                [&[aggregation, 0x32][..], &[0; 300]].concat(),
            );
            made.extensions.others.set(Kind::DependencyDescriptor, out.finish());
            made.timestamp = self.timestamp;
            made.marker = spatial == highest;
            made.key_frame = first && spatial == 0;
            self.sequence += 1;
            packets.push(made);
        }
        packets
    }
}

/// A producer and a consumer, and all that the consumer got.
pub(crate) struct Way {
    pub(crate) now: Instant,
    pub(crate) producer: Producer,
    pub(crate) consumer: Consumer,
    pub(crate) got: Vec<Packet>,
    /// The sources that were asked for a key frame.
    pub(crate) asked: Vec<u32>,
}

impl Way {
    pub(crate) fn new(rids: &[&str], config: ConsumerConfig) -> Self {
        Self {
            now: antiphon_netsim::start(),
            producer: producer(rids),
            consumer: Consumer::new(config),
            got: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// A packet comes. Gives what goes on.
    pub(crate) fn show(&mut self, packet: &Packet) -> Option<Packet> {
        let mut packet = packet.clone();
        packet.received = self.now;
        let facts = self.producer.take(self.now, &packet);
        let written = facts.and_then(|facts| self.consumer.take(self.now, &packet, &facts, self.producer.layers()));
        if let Some(encoding) = self.consumer.poll_key_frame(self.now) {
            self.producer.want_key_frame(encoding);
        }
        self.asked.extend(self.producer.poll_key_frame(self.now));
        self.got.extend(written.clone());
        written
    }

    /// One frame of each encoding; those that were asked give key frames.
    pub(crate) fn step(&mut self, encodings: &mut [Vp8]) {
        let asked = std::mem::take(&mut self.asked);
        for encoding in encodings {
            for packet in encoding.frame(self.now, asked.contains(&encoding.ssrc)) {
                self.show(&packet);
            }
        }
        self.now += FRAME;
    }

    /// No number is missing, and time goes on.
    pub(crate) fn is_smooth(&self) -> bool {
        self.got.windows(2).all(|pair| {
            let passed = pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32;
            pair[1].sequence == pair[0].sequence + 1 && (0..=15_000).contains(&passed)
        })
    }
}

/// Three encodings as a browser sends them.
pub(crate) fn simulcast() -> [Vp8; 3] {
    [
        Vp8::new(0, (320, 180), 400),
        Vp8::new(1, (640, 360), 1000),
        Vp8::new(2, (1280, 720), 2000),
    ]
}
