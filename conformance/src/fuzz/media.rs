//! Two RTP sessions after SRTP: the peer is authenticated, and hostile.

use std::time::{Duration, Instant};

use antiphon_media::congestion::Congestion;
use antiphon_media::extension::{Kind as Extension, Map};
use antiphon_media::{
    Bounds, Codec, Config, Event, FecAmount, Feedback, Frame, Kind, Output, ReceiverConfig, ReceiverId, RedDistance,
    RemoteSource, SendRedundancy, SenderConfig, SenderId, Session,
};
use antiphon_netsim::Machine;
use antiphon_rtp::packet::is_rtcp;
use antiphon_rtp::rtcp::{self, NackPair, Pli};
use antiphon_sansio::{ClockAnchor, Datagram, Packet, Rng, Transmit, TransmitBuf, Writer};

use super::pair::{self, End};

const KINDS: [Kind; 2] = [Kind::Audio, Kind::Video];
const OUTPUTS: [Output; 4] = [Output::Frames, Output::Playout, Output::Packets, Output::Discard];
/// The largest rate, bits a second.
const MAX_BITRATE: u64 = 5_000_000;
/// Of it what is sent again, and what may burst, in bytes.
const RESEND_SHARE: f64 = 0.75;
const RESEND_BURST: f64 = 96_000.0;

const FEEDBACK: Feedback = Feedback {
    nack: true,
    pli: true,
    fir: true,
    remb: true,
    transport_cc: true,
    ccfb: false,
};

/// What is negotiated of a kind. The bits of `terms` take something away, or add NACK of sound.
fn codecs(kind: Kind, terms: u8) -> Vec<Codec> {
    let list: &[(u8, &str, u32, Option<u8>)] = match kind {
        Kind::Audio => &[
            (111, "opus", 48_000, None),
            (0, "PCMU", 8_000, None),
            (13, "CN", 8_000, None),
            (126, "telephone-event", 8_000, None),
            (63, "red", 48_000, None),
        ],
        Kind::Video => &[
            (96, "VP8", 90_000, Some(97)),
            (98, "VP9", 90_000, Some(99)),
            (45, "AV1", 90_000, Some(46)),
            (102, "H264", 90_000, Some(103)),
            (49, "flexfec-03", 90_000, None),
            (118, "red", 90_000, None),
            (120, "ulpfec", 90_000, None),
        ],
    };
    let without_redundancy = terms & 1 != 0;
    let list = list
        .iter()
        .filter(|(_, name, ..)| !(without_redundancy && ["red", "flexfec-03", "ulpfec"].contains(name)));
    list.map(|(payload_type, name, clock_rate, rtx)| Codec {
        payload_type: *payload_type,
        name: (*name).into(),
        clock_rate: *clock_rate,
        channels: 1,
        fmtp: match *name {
            "red" if kind == Kind::Audio => "111/111".into(),
            "opus" => "useinbandfec=1".into(),
            _ => String::new(),
        },
        rtx_payload_type: rtx.filter(|_| terms & 2 == 0),
        feedback: Feedback {
            nack: (kind == Kind::Video) != (terms & 4 != 0),
            ccfb: terms & 8 != 0,
            ..FEEDBACK
        },
    })
    .collect()
}

fn extensions() -> Map {
    let mut map = Map::default();
    for (id, kind) in (1..).zip([
        Extension::Mid,
        Extension::Rid,
        Extension::RepairedRid,
        Extension::TransportCc,
        Extension::AbsSendTime,
        Extension::AudioLevel,
    ]) {
        map.insert(id, kind);
    }
    map
}

fn sender(end: u32, n: u32, terms: u8) -> SenderConfig {
    let kind = KINDS[n as usize];
    let video = kind == Kind::Video;
    SenderConfig {
        mid: n.to_string(),
        rid: (terms & 16 != 0).then(|| "hi".into()),
        kind,
        ssrc: 100 * end + 10 * n + 1,
        rtx_ssrc: (video && terms & 2 == 0).then_some(100 * end + 10 * n + 2),
        // Without one ULPFEC takes its place.
        fec_ssrc: (video && terms & 32 == 0).then_some(100 * end + 10 * n + 3),
        codecs: codecs(kind, terms),
        extensions: extensions(),
    }
}

fn receiver(end: u32, n: u32, terms: u8, output: Output) -> ReceiverConfig {
    let kind = KINDS[n as usize];
    ReceiverConfig {
        mid: n.to_string(),
        kind,
        codecs: codecs(kind, terms),
        extensions: extensions(),
        sources: vec![RemoteSource {
            ssrc: 100 * (1 - end) + 10 * n + 1,
            rtx_ssrc: None,
            fec_ssrc: (kind == Kind::Video).then_some(100 * (1 - end) + 10 * n + 3),
            layer: None,
        }],
        rids: vec!["hi".into(), "lo".into()],
        output,
        jitter_buffer_target: (terms & 64 != 0).then_some(Duration::from_millis(300)),
        sync_group: (terms & 128 == 0).then(|| "together".into()),
    }
}

/// Operations of a hostile courier between two that talk. The last byte says how they are set up.
pub(super) fn machine(data: &[u8]) {
    let setup = data.last().copied().unwrap_or(0);
    let now = antiphon_netsim::start();
    let anchor = ClockAnchor::new(now, Duration::from_secs(1_800_000_000));
    let by_loss = setup & 1 != 0;
    let config = Config {
        redundancy: SendRedundancy {
            red: if by_loss {
                RedDistance::ByLoss
            } else {
                RedDistance::Fixed(2)
            },
            fec: if by_loss {
                FecAmount::ByLoss
            } else {
                FecAmount::Percent(20)
            },
        },
        congestion: Congestion::ALL[usize::from(setup >> 1) % Congestion::ALL.len()],
        receiver_rtt: setup & 8 != 0,
        max_bitrate: MAX_BITRATE,
        ..Config::default()
    };
    let outputs = [OUTPUTS[usize::from(setup >> 4) % OUTPUTS.len()], Output::Packets];
    let ends = [0u32, 1].map(|end| {
        let mut session = Session::new(config.clone(), now, anchor, Rng::from_u64(u64::from(end)));
        let senders = [0, 1].map(|n| session.add_sender(now, sender(end, n, 0)).expect("room for two"));
        let output = outputs[end as usize];
        let receivers = [0, 1].map(|n| session.add_receiver(receiver(end, n, 0, output)).expect("room for two"));
        Media {
            session,
            end,
            senders,
            receivers,
            frames: 0,
            start: now,
            now,
            asked: [0; 2],
            forwarded: None,
        }
    });
    pair::run(now, ends, &|_, _| (), data);
}

struct Media {
    session: Session,
    end: u32,
    senders: [SenderId; 2],
    receivers: [ReceiverId; 2],
    frames: u32,
    start: Instant,
    now: Instant,
    /// How often each sender was asked for a key frame.
    asked: [u32; 2],
    /// The last packet that came, to be sent on.
    forwarded: Option<antiphon_media::Packet>,
}

impl Media {
    /// V24: what the peer can make it do is bounded, whatever it says.
    fn check(&self) {
        let elapsed = (self.now - self.start).as_secs_f64();
        for asked in self.asked {
            assert!(
                f64::from(asked) <= 1.0 + elapsed / 0.2,
                "{asked} key frames in {elapsed} s"
            );
        }
        let allowed = RESEND_BURST + RESEND_SHARE * MAX_BITRATE as f64 / 8.0 * elapsed;
        for outbound in self.session.stats().outbound {
            let repairs = outbound.repairs;
            // What a probe lacks is made up of what was sent before, and nobody's wish.
            let resent = repairs
                .retransmitted_bytes_sent
                .saturating_sub(repairs.padding_bytes_sent) as f64;
            assert!(resent <= allowed, "{resent} bytes sent again in {elapsed} s");
        }
    }

    /// What a peer asks for that wants much: packets sent again, or key frames.
    fn demand(&self, argument: u8) -> Option<Vec<u8>> {
        let media = 100 * (1 - self.end) + 11;
        let mut bytes = [0; 400];
        let mut out = Writer::new(&mut bytes);
        if argument & 1 == 0 {
            let newest = self
                .session
                .stats()
                .inbound
                .into_iter()
                .find(|inbound| inbound.ssrc == media)?;
            // It knows no numbers, so it names many.
            let around = (newest.packets_received as u16).wrapping_mul(u16::from(argument));
            let pairs = (0..60u16).map(|n| NackPair {
                first: around.wrapping_add(n * 17),
                following: 0xffff,
            });
            rtcp::write_nack(7, media, pairs, &mut out).ok()?;
        } else {
            rtcp::write_pli(Pli { sender: 7, media }, &mut out).ok()?;
        }
        Some(out.finish().to_vec())
    }

    /// A frame of some codec, most often of the shape that it has.
    fn frame(&mut self, now: Instant, which: usize, argument: u8) {
        self.frames += 1;
        let (payload_type, len) = match (which, argument & 6) {
            (0, 0) => (111, 60),
            (0, 2) => (0, 160),
            (0, 4) => (13, 2),
            (0, _) => (63, 60),
            (_, 0) => (96, 4_000),
            (_, 2) => (96, 10),
            (_, 4) => (98, 3_000),
            _ => (102, 2_000),
        };
        let mut data = vec![argument; len];
        match payload_type {
            // One unit, with its start code.
            102 => data[..5].copy_from_slice(&[0, 0, 0, 1, 0x41 | argument >> 3]),
            _ => data[0] = argument >> 3,
        }
        let mut frame = Frame::new(payload_type, self.frames * 3_000, data);
        frame.facts.temporal = argument >> 6 & 1;
        frame.facts.discardable = argument >> 7 == 1;
        let _ = self.session.send_frame(now, self.senders[which], frame);
    }
}

impl Machine for Media {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        self.now = now;
        let packet = Packet {
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
        self.session.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        self.session.poll_transmit(now, out)?;
        Some(pair::whole(out.finish()))
    }

    fn poll_event(&mut self) -> Option<Event> {
        let event = self.session.poll_event()?;
        match &event {
            Event::KeyFrameRequested { sender } => {
                let place = self.senders.iter().position(|own| own == sender);
                self.asked[place.expect("a sender of its own")] += 1;
            }
            Event::Packet { packet, .. } => self.forwarded = Some(packet.clone()),
            _ => {}
        }
        Some(event)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.session.poll_timeout()
    }

    fn close(&mut self, _: Instant) {
        self.check();
        self.session.close();
    }
}

impl End for Media {
    fn act(&mut self, now: Instant, action: u8, argument: u8) -> Option<Vec<u8>> {
        self.now = now;
        let which = usize::from(argument & 1);
        let (sending, receiving) = (self.senders[which], self.receivers[which]);
        match action % 20 {
            0..=4 => self.frame(now, which, argument),
            5 => _ = self.session.request_key_frame(receiving),
            6 => self.session.set_rtt(Duration::from_millis(u64::from(argument))),
            7 => _ = self.session.set_sender_active(sending, argument & 2 == 0),
            8 if argument > 240 => _ = self.session.remove_receiver(receiving),
            8 => {
                let output = OUTPUTS[usize::from(argument >> 1) % OUTPUTS.len()];
                _ = self.session.set_output(receiving, output);
            }
            9 if argument > 240 => _ = self.session.remove_sender(sending),
            9 => self.check(),
            10 => {
                let config = sender(self.end, which as u32, argument >> 1);
                _ = self.session.update_sender(now, sending, config);
            }
            11 => {
                let output = OUTPUTS[usize::from(argument >> 1) % OUTPUTS.len()];
                let config = receiver(self.end, which as u32, argument, output);
                _ = self.session.update_receiver(receiving, config);
            }
            12 => {
                let rate = u64::from(argument) * 20_000;
                let bounds = Bounds {
                    min_bitrate: (argument & 2 != 0).then_some(rate / 2),
                    max_bitrate: (argument & 4 != 0).then_some(rate),
                    ..Bounds::default()
                };
                _ = self.session.set_sender_bounds(now, sending, bounds);
            }
            13 if argument > 200 => self.session.route_changed(now),
            13 => {
                let target = Duration::from_millis(u64::from(argument) * 20);
                _ = self.session.set_jitter_buffer_target(receiving, Some(target));
            }
            14 => self.session.set_max_packet_size(200 + usize::from(argument) * 4),
            15 => {
                if let Some(mut packet) = self.forwarded.clone() {
                    packet.sequence = packet.sequence.saturating_add(u64::from(argument >> 1));
                    _ = self.session.send_rtp(now, sending, &packet);
                }
            }
            16 => return self.demand(argument),
            17 => {
                _ = self.session.insert_dtmf(
                    now,
                    sending,
                    "1,2#",
                    Duration::from_millis(100),
                    Duration::from_millis(70),
                )
            }
            18 => _ = self.session.change_source(sending),
            _ => self.session.set_reduced_size(argument & 2 == 0),
        }
        None
    }
}
