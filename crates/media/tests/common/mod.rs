//! Two sessions on a virtual clock, with a link between them that loses, delays, reorders and narrows.
#![allow(dead_code, unreachable_pub, reason = "each test file takes what it needs")]

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use antiphon_media::extension::{Kind as Extension, Map};
use antiphon_media::{
    Codec, Config, Event, Feedback, Frame, Kind, Outgoing, Output, PacketKind, ReceiverConfig, RemoteSource,
    SenderConfig, Session,
};
pub use antiphon_netsim::start;
use antiphon_netsim::{Checked, Machine, to_the_other_end};
use antiphon_rtp::packet::is_rtcp;
use antiphon_rtp::rtcp;
use antiphon_sansio::{BytesMut, ClockAnchor, Datagram, Ecn, Local, Path, Rng, Transmit, TransmitBuf};

pub const MS: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub loss: f64,
    /// How many packets are lost in a row, on average; 0: each by its own chance.
    pub burst: f64,
    pub delay: Duration,
    /// Extra delay, uniform up to this: reorders.
    pub jitter: Duration,
    /// Bits a second; a queue of 300 ms stands before it.
    pub rate: Option<f64>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            loss: 0.0,
            burst: 0.0,
            delay: 20 * MS,
            jitter: Duration::ZERO,
            rate: None,
        }
    }
}

#[derive(Debug)]
struct Flight {
    at: Instant,
    to: usize,
    bytes: BytesMut,
}

/// What was sent, for a test to look at.
#[derive(Clone, Debug)]
pub struct Sent {
    pub at: Instant,
    pub from: usize,
    pub kind: PacketKind,
    pub bytes: Vec<u8>,
}

pub struct Pair {
    pub now: Instant,
    pub start: Instant,
    /// Alice, who sends, and Bob.
    pub ends: [Checked<End>; 2],
    pub links: [Link; 2],
    pub events: [Vec<Event>; 2],
    pub sent: Vec<Sent>,
    pub log: bool,
    free: [Instant; 2],
    losing: [bool; 2],
    flights: Vec<Flight>,
    rng: Rng,
}

/// A session as a machine that is held to the laws.
#[derive(Debug)]
pub struct End(pub Session);

impl Deref for End {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl DerefMut for End {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.0
    }
}

impl Machine for End {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        let packet = antiphon_sansio::Packet {
            ecn: datagram.ecn,
            data: datagram.data,
        };
        if is_rtcp(&packet.data) {
            self.0.handle_rtcp(now, packet);
        } else {
            self.0.handle_rtp(now, packet);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.0.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        let Outgoing { kind, ecn, .. } = self.0.poll_transmit(now, out)?;
        assert_eq!(
            kind == PacketKind::Rtcp,
            is_rtcp(out.body()),
            "what it says is what it wrote"
        );
        Some(to_the_other_end(out.finish(), ecn))
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.0.poll_event()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }

    fn close(&mut self, _: Instant) {
        self.0.close();
    }
}

/// A packet without an ECN mark.
pub fn arrived(data: BytesMut) -> antiphon_sansio::Packet {
    antiphon_sansio::Packet { ecn: Ecn::NotEct, data }
}

pub fn extensions() -> Map {
    let mut map = Map::default();
    map.insert(3, Extension::TransportCc);
    map.insert(4, Extension::Mid);
    map.insert(10, Extension::Rid);
    map.insert(11, Extension::RepairedRid);
    map
}

pub fn vp8(nack: bool, rtx: bool) -> Codec {
    Codec {
        payload_type: 96,
        name: "VP8".into(),
        clock_rate: 90_000,
        channels: 1,
        fmtp: String::new(),
        rtx_payload_type: rtx.then_some(97),
        feedback: Feedback {
            nack,
            pli: true,
            fir: true,
            remb: true,
            transport_cc: true,
            ccfb: false,
        },
    }
}

pub fn opus() -> Codec {
    Codec {
        payload_type: 111,
        name: "opus".into(),
        clock_rate: 48_000,
        channels: 2,
        fmtp: "minptime=10;useinbandfec=1".into(),
        rtx_payload_type: None,
        feedback: Feedback {
            transport_cc: true,
            ..Feedback::default()
        },
    }
}

pub fn sender(mid: &str, kind: Kind, ssrc: u32, codec: Codec) -> SenderConfig {
    SenderConfig {
        mid: mid.into(),
        rid: None,
        kind,
        ssrc,
        rtx_ssrc: codec.rtx_payload_type.map(|_| ssrc + 1),
        fec_ssrc: None,
        codecs: vec![codec],
        extensions: extensions(),
    }
}

pub fn receiver(mid: &str, kind: Kind, codec: Codec, sources: Vec<RemoteSource>) -> ReceiverConfig {
    ReceiverConfig {
        mid: mid.into(),
        kind,
        codecs: vec![codec],
        extensions: extensions(),
        sources,
        rids: vec![],
        output: Output::Frames,
        jitter_buffer_target: None,
        sync_group: None,
    }
}

/// A VP8 frame as far as anyone here looks: the key bit, then bytes that tell it apart.
pub fn picture(number: u32, len: usize, key: bool) -> Frame {
    let mut data: Vec<u8> = (0..len).map(|i| (i as u32 * 31 + number * 7) as u8).collect();
    data[0] = data[0] & 0xfe | u8::from(!key);
    Frame {
        key_frame: key,
        ..Frame::new(96, number.wrapping_mul(3000), data)
    }
}

pub fn sound(number: u32) -> Frame {
    Frame::new(
        111,
        number.wrapping_mul(960),
        vec![0xfc, (number >> 8) as u8, number as u8, 1],
    )
}

impl Pair {
    pub fn new(seed: u64, config: Config) -> Self {
        let now = start();
        let rng = Rng::from_u64(seed);
        let end = |n| {
            let anchor = ClockAnchor::new(now, Duration::from_secs(1_700_000_000 + n * 1000));
            let session = Session::new(config.clone(), now, anchor, rng.fork_numbered("end", n));
            Checked::new(End(session))
        };
        Self {
            now,
            start: now,
            ends: [end(0), end(1)],
            links: [Link::default(); 2],
            events: [Vec::new(), Vec::new()],
            sent: Vec::new(),
            log: false,
            free: [now; 2],
            losing: [false; 2],
            flights: Vec::new(),
            rng: rng.fork("link"),
        }
    }

    fn flush(&mut self) {
        let mut out = TransmitBuf::new(64 * 1024, 1300);
        for from in 0..2 {
            loop {
                out.clear();
                out.set_path_room(0, 20);
                let Some(transmit) = Machine::poll_transmit(&mut self.ends[from], self.now, &mut out) else {
                    break;
                };
                let bytes = BytesMut::from(out.bytes(transmit.range));
                let kind = if is_rtcp(&bytes) {
                    PacketKind::Rtcp
                } else {
                    PacketKind::Rtp
                };
                assert!(bytes.len() <= 1280, "a packet of {} bytes", bytes.len());
                if self.log {
                    self.sent.push(Sent {
                        at: self.now,
                        from,
                        kind,
                        bytes: bytes.to_vec(),
                    });
                }
                let link = self.links[from];
                // Gilbert's model: after a lost packet another is lost with a chance that makes bursts so long.
                let chance = match self.losing[from] {
                    _ if link.burst <= 1.0 => link.loss,
                    true => 1.0 - 1.0 / link.burst,
                    false => link.loss / (link.burst * (1.0 - link.loss)),
                };
                self.losing[from] = self.rng.unit() < chance;
                if self.losing[from] {
                    continue;
                }
                let mut at = self.now;
                if let Some(rate) = link.rate {
                    let begin = self.free[from].max(self.now);
                    if begin - self.now > 300 * MS {
                        continue;
                    }
                    self.free[from] = begin + Duration::from_secs_f64(bytes.len() as f64 * 8.0 / rate);
                    at = self.free[from];
                }
                at += link.delay + link.jitter.mul_f64(self.rng.unit());
                self.flights.push(Flight {
                    at,
                    to: 1 - from,
                    bytes,
                });
            }
            while let Some(event) = Machine::poll_event(&mut self.ends[from]) {
                self.events[from].push(event);
            }
            self.ends[from].drained();
            if let Some(at) = Machine::poll_timeout(&self.ends[from]) {
                assert!(at > self.now, "law 2: end {from} is due in the past");
            }
        }
    }

    /// The clock jumps, and what is on its way stands still. Both ends are told the time: law 2 speaks of who was.
    pub fn jump(&mut self, by: Duration) {
        self.now += by;
        for end in &mut self.ends {
            Machine::handle_timeout(end, self.now);
        }
    }

    /// Lets time pass up to `until`.
    pub fn run_until(&mut self, until: Instant) {
        loop {
            self.flush();
            let flight = self.flights.iter().map(|flight| flight.at).min();
            let timers = self.ends.iter().filter_map(Machine::poll_timeout).min();
            let Some(next) = [flight, timers].into_iter().flatten().min().filter(|at| *at <= until) else {
                break;
            };
            self.now = next;
            let mut due: Vec<Flight> = Vec::new();
            let mut index = 0;
            while index < self.flights.len() {
                if self.flights[index].at <= next {
                    due.push(self.flights.remove(index));
                } else {
                    index += 1;
                }
            }
            due.sort_by_key(|flight| flight.at);
            for flight in due {
                let datagram = Datagram {
                    path: Path {
                        local: Local::Socket(0),
                        remote: ([127, 0, 0, 1], 9).into(),
                    },
                    ecn: Ecn::NotEct,
                    data: flight.bytes,
                };
                Machine::handle_datagram(&mut self.ends[flight.to], next, datagram);
            }
            for end in &mut self.ends {
                Machine::handle_timeout(end, next);
            }
        }
        self.now = until;
        for end in &mut self.ends {
            Machine::handle_timeout(end, until);
        }
        self.flush();
    }

    pub fn run(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Bob's frames.
    pub fn frames(&self) -> impl Iterator<Item = (&Frame, bool)> {
        self.events[1].iter().filter_map(|event| match event {
            Event::Frame {
                frame, discontinuity, ..
            } => Some((frame, *discontinuity)),
            _ => None,
        })
    }

    /// The RTCP packets that `from` sent, with their times; needs `log`.
    pub fn rtcp_of(&self, from: usize) -> impl Iterator<Item = (Instant, Vec<rtcp::Packet<'_>>)> {
        let sent = self
            .sent
            .iter()
            .filter(move |sent| sent.from == from && sent.kind == PacketKind::Rtcp);
        sent.map(|sent| {
            (
                sent.at,
                rtcp::packets(&sent.bytes).map(|packet| packet.unwrap()).collect(),
            )
        })
    }
}
