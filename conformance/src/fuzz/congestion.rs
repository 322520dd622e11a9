//! Feedback of a peer that is authenticated and lies: late, doubled, forged, from the future. Whatever it says, a rate stays between its
//! bounds, time goes on, and what is held stays small.

use std::time::{Duration, Instant};

use antiphon_media::congestion::{Congestion, CongestionControl, Demand, PacketId, PacketResult, Probe, Sent};
use antiphon_media::extension::{Kind as Extension, Map};
use antiphon_media::{Codec, Config, Feedback, Frame, Kind, SenderConfig, SenderId, Session};
use antiphon_rtp::rtcp::{self, PacketMetric, ReportBlock};
use antiphon_sansio::{BytesMut, ClockAnchor, Ecn, Packet, Rng, TransmitBuf, Writer};

/// Operations after which a run ends.
const MAX_OPERATIONS: usize = 400;
/// The first, the least and the largest rate, bits a second.
const RATES: [u64; 3] = [300_000, 30_000, 5_000_000];
/// The SSRCs of video and of what is sent again.
const SSRCS: [u32; 2] = [1, 2];
/// Far more than a millisecond at the largest rate has room for: packets at one moment, probes at one moment, and wake-ups without an
/// end to what is due.
const MAX_AT_ONCE: usize = 1000;
const MARKS: [Ecn; 4] = [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce];

/// The rest of the input; zeros when it has ended.
struct Input<'a>(std::slice::Iter<'a, u8>);

impl Input<'_> {
    fn u8(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// From microseconds to hours: the low bits are a power.
    fn span(&mut self) -> Duration {
        let byte = self.u8();
        Duration::from_micros(u64::from(byte >> 5) << (byte & 31))
    }
}

pub(super) fn machine(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let choice = Congestion::ALL[usize::from(first >> 2) % Congestion::ALL.len()];
    let input = Input(rest.iter());
    match first % 3 {
        0 => alone(choice, input),
        1 => whole(choice, false, input),
        _ => whole(choice, true, input),
    }
}

/// A controller and nothing else: what it is told is not even possible.
fn alone(choice: Congestion, mut input: Input<'_>) {
    let [start, min, max] = RATES;
    let mut controller = choice.controller(start, min, max);
    let mut now = antiphon_netsim::start() + Duration::from_secs(1000);
    let mut packets: Vec<Sent> = Vec::new();
    let mut probe = None;
    let mut total = 0;
    for _ in 0..MAX_OPERATIONS {
        if input.0.len() == 0 {
            break;
        }
        match input.u8() % 8 {
            0 | 1 => {
                let bytes = usize::from(input.u16() % 1500);
                total += bytes as u64;
                let id = PacketId(packets.len() as u64);
                let mark = MARKS[usize::from(input.u8() % 4)];
                let part = probe
                    .map(|probe: Probe| probe.id)
                    .filter(|_| input.u8().is_multiple_of(2));
                let sent = Sent {
                    id,
                    at: now,
                    bytes,
                    total,
                    ecn: mark,
                    probe: part,
                    padding: part.is_some(),
                };
                controller.on_sent(&sent);
                packets.push(sent);
            }
            2 | 3 => {
                let results: Vec<PacketResult> = (0..input.u8() % 32)
                    .map_while(|_| lie(&packets, now, &mut input))
                    .collect();
                controller.on_feedback(now, input.span(), &results);
            }
            4 => controller.on_loss(now, f64::from(input.u8()) / 256.0),
            5 => controller.on_remb(now, u64::from(input.u16()) << (input.u8() % 48)),
            6 => {
                let wanted = input.u16();
                controller.on_demand(
                    now,
                    Demand {
                        wanted: wanted.is_multiple_of(2).then_some(u64::from(wanted) * 1000),
                        allocated: u64::from(input.u16()) * 1000,
                    },
                );
            }
            _ if input.u8() == 0 => controller.on_route_change(now),
            _ => now += input.span().min(Duration::from_secs(10_000)),
        }
        probe = settle(&mut *controller, now).or(probe);
        let figures = controller.figures();
        assert!((0.0..=1.0).contains(&figures.loss) && (0.0..=1.0).contains(&figures.marked));
        assert!(figures.probes_accepted <= figures.probes);
    }
}

/// What a liar says of one of the packets.
fn lie(packets: &[Sent], now: Instant, input: &mut Input<'_>) -> Option<PacketResult> {
    let sent = *packets.get(usize::from(input.u16()) % packets.len().max(1))?;
    let (kind, span) = (input.u8(), input.span());
    let arrival = match kind % 4 {
        0 => None,
        1 => Some(now + span),
        2 => now.checked_sub(span),
        _ => Some(sent.at + span),
    };
    Some(PacketResult {
        sent,
        arrival,
        ecn: MARKS[usize::from(kind >> 6)],
    })
}

/// Lets pass what is due, and looks at the answers. The last probe.
fn settle(controller: &mut dyn CongestionControl, now: Instant) -> Option<Probe> {
    let mut wakes = 0;
    while controller.next_timeout().is_some_and(|due| due <= now) {
        controller.on_timeout(now);
        wakes += 1;
        assert!(wakes < MAX_AT_ONCE, "time does not go on");
    }
    let [_, min, max] = RATES;
    if let Some(target) = controller.target_rate(now) {
        assert!((min..=max).contains(&target), "{target}");
    }
    if let Some(pacing) = controller.pacing_rate(now) {
        assert!(pacing >= min / 2, "{pacing}");
    }
    let probes: Vec<Probe> = std::iter::from_fn(|| controller.next_probe(now))
        .take(MAX_AT_ONCE)
        .collect();
    assert!(probes.len() < MAX_AT_ONCE, "no end of probes");
    assert!(probes.iter().all(|probe| probe.rate > 0 && probe.bytes < 1_000_000));
    probes.last().copied()
}

fn sender(now: Instant, by_stream: bool, session: &mut Session) -> SenderId {
    let mut extensions = Map::default();
    if !by_stream {
        extensions.insert(3, Extension::TransportCc);
    }
    let codec = Codec {
        payload_type: 96,
        name: "VP8".into(),
        clock_rate: 90_000,
        channels: 1,
        fmtp: String::new(),
        rtx_payload_type: Some(97),
        feedback: Feedback {
            nack: true,
            remb: true,
            transport_cc: !by_stream,
            ccfb: by_stream,
            ..Feedback::default()
        },
    };
    let config = SenderConfig {
        mid: "0".into(),
        rid: None,
        kind: Kind::Video,
        ssrc: SSRCS[0],
        rtx_ssrc: Some(SSRCS[1]),
        fec_ssrc: None,
        codecs: vec![codec],
        extensions,
    };
    session.add_sender(now, config).expect("room for one")
}

/// A session, and RTCP that is well formed and not true.
fn whole(choice: Congestion, by_stream: bool, mut input: Input<'_>) {
    let mut now = antiphon_netsim::start();
    let anchor = ClockAnchor::new(now, Duration::from_secs(1_800_000_000));
    let [start, min, max] = RATES;
    let config = Config {
        congestion: choice,
        start_bitrate: start,
        min_bitrate: min,
        max_bitrate: max,
        ..Config::default()
    };
    let mut session = Session::new(config, now, anchor, Rng::from_u64(1));
    let id = sender(now, by_stream, &mut session);
    let mut out = TransmitBuf::new(64 * 1024, 1500);
    let mut count = 0u8;
    for frame in 0..MAX_OPERATIONS {
        if input.0.len() == 0 {
            break;
        }
        let mut buffer = [0; 2048];
        let mut rtcp = Writer::new(&mut buffer);
        match input.u8() % 8 {
            0 | 1 => {
                let len = 1 + usize::from(input.u16() % 8000);
                // A full queue refuses it.
                let _ = session.send_frame(now, id, Frame::new(96, frame as u32 * 3000, vec![0; len]));
            }
            2 | 3 if by_stream => {
                let (begin, len) = (input.u16(), usize::from(input.u8() % 64));
                let metrics: Vec<_> = (0..len).map(|_| metric(&mut input)).collect();
                let ssrc = SSRCS[usize::from(input.u8() % 2)];
                let stamp = anchor
                    .ntp_middle(now)
                    .wrapping_add(u32::from(input.u16()) << (input.u8() % 17));
                let _ = rtcp::write_ccfb(9, &[(ssrc, begin, &metrics)], stamp, &mut rtcp);
            }
            2 | 3 => {
                let (base, reference) = (input.u16(), i32::from(input.u16() as i16) << (input.u8() % 9));
                let len = usize::from(input.u8() % 64);
                let deltas: Vec<_> = (0..len).map(|_| delta(&mut input)).collect();
                count = count.wrapping_add(1);
                let _ = rtcp::write_transport_feedback(9, SSRCS[0], base, reference, count, &deltas, &mut rtcp);
            }
            4 => {
                let block = ReportBlock {
                    ssrc: SSRCS[0],
                    fraction_lost: input.u8(),
                    cumulative_lost: 0,
                    highest_sequence: u32::from(input.u16()),
                    jitter: 0,
                    last_sr: u32::from(input.u16()),
                    delay_since_last_sr: u32::from(input.u16()),
                };
                let _ = rtcp::write_receiver_report(9, &[block], &mut rtcp);
            }
            5 => {
                let rate = u64::from(input.u16()) << (input.u8() % 48);
                let _ = rtcp::write_remb(9, rate, &SSRCS[..1], &mut rtcp);
            }
            6 => session.set_rtt(input.span()),
            _ if input.u8() == 0 => session.route_changed(now),
            _ => now += input.span().min(Duration::from_secs(10_000)),
        }
        let data = BytesMut::from(&*rtcp.finish());
        if !data.is_empty() {
            session.handle_rtcp(now, Packet { ecn: Ecn::NotEct, data });
        }
        rest(&mut session, now, &mut out);
        while session.poll_event().is_some() {}
        if let Some(target) = session.available_bitrate() {
            assert!((min..=max).contains(&target), "{target}");
        }
    }
}

fn metric(input: &mut Input<'_>) -> Option<PacketMetric> {
    let bits = input.u16();
    (bits & 0x8000 != 0).then(|| PacketMetric {
        ecn: MARKS[usize::from(bits >> 13 & 3)],
        arrival_offset: (bits & 0x1fff != 0x1fff).then_some(bits & 0x1fff),
    })
}

fn delta(input: &mut Input<'_>) -> Option<i16> {
    match input.u8() {
        0..64 => None,
        small @ 64..192 => Some(i16::from(small)),
        _ => Some(input.u16() as i16),
    }
}

/// Lets the session send and wait until nothing is due.
fn rest(session: &mut Session, now: Instant, out: &mut TransmitBuf) {
    let mut turns = 0;
    loop {
        session.handle_timeout(now);
        let mut packets = 0;
        while session.poll_transmit(now, out).is_some() {
            out.finish();
            out.clear();
            packets += 1;
        }
        turns += 1 + packets;
        assert!(turns < MAX_AT_ONCE, "there is no end of what is due");
        if packets == 0 && session.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
    }
}
