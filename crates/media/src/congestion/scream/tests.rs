use super::super::control::{PacketId, ProbeId};
use super::super::remb::LIFE;
use super::super::simulation::{Link, Path, Run, Source, from_most_starts};
use super::*;

const MBIT: f64 = 1e6;

fn link(path: Path, source: Source, seed: u64) -> Link {
    Link::new(Box::new(Scream::new(300_000, 30_000, 50_000_000)), path, source, seed)
}

/// Used at least this part, with a queue and a loss no larger than these.
fn assert_good(run: &Run, capacity: f64, used: f64, q95: f64, loss: f64) {
    let (from, to) = (run.begin() + (run.end() - run.begin()) / 4.0, run.end());
    let good = run.used(from, to, capacity) >= used && run.q95(from, to) <= q95 && run.loss() <= loss;
    assert!(good, "{capacity}: {}", run.summary(capacity));
}

#[test]
fn marks_keep_the_queue_at_what_is_marked() {
    from_most_starts(|seed| {
        // Below this a single packet takes longer than what is marked.
        for (capacity, owd) in [(1.0, 50), (2.0, 25), (10.0, 25), (40.0, 12)] {
            let mut path = Path::new(capacity * MBIT, owd);
            path.marks = Some(10.0);
            let run = link(path, Source::default(), seed).run(40.0);
            assert_good(&run, capacity * MBIT, 0.8, 16.0, 0.0);
        }
    });
}

#[test]
fn without_marks_the_wait_steers() {
    from_most_starts(|seed| {
        for (capacity, owd) in [(0.6, 50), (2.0, 25), (10.0, 25)] {
            let run = link(Path::new(capacity * MBIT, owd), Source::default(), seed).run(40.0);
            assert_good(&run, capacity * MBIT, 0.8, 70.0, 0.005);
            assert!(run.t90(0.0, capacity * MBIT) <= 5.0, "{}", run.summary(capacity * MBIT));
        }
    });
}

#[test]
fn a_fall_and_a_rise_are_followed() {
    from_most_starts(|seed| {
        let mut path = Path::new(3.0 * MBIT, 25);
        path.marks = Some(10.0);
        let mut link = link(path, Source::default(), seed);
        link.run(15.0);
        link.path.capacity = MBIT;
        let low = link.run(15.0);
        assert!(low.least(low.begin() + 0.3, low.begin() + 0.8) <= MBIT, "{low:?}");
        assert_good(&low, MBIT, 0.8, 20.0, 0.01);
        link.path.capacity = 3.0 * MBIT;
        let high = link.run(15.0);
        assert!(
            high.t90(high.begin(), 3.0 * MBIT) <= 6.0,
            "{}",
            high.summary(3.0 * MBIT)
        );
    });
}

#[test]
fn a_loss_now_and_then_is_no_congestion() {
    from_most_starts(|seed| {
        let mut path = Path::new(3.0 * MBIT, 25);
        path.loss = 0.01;
        let run = link(path, Source::default(), seed).run(40.0);
        assert_good(&run, 3.0 * MBIT, 0.7, 70.0, 0.02);
    });
}

#[test]
fn a_longer_way_is_no_queue_for_ever() {
    from_most_starts(|seed| {
        let mut link = link(Path::new(MBIT, 25), Source::default(), seed);
        link.run(10.0);
        link.path.owd += 70;
        link.run(30.0);
        let run = link.run(20.0);
        assert_good(&run, MBIT, 0.8, 120.0, 0.005);
    });
}

#[test]
fn nothing_is_sent_into_silence() {
    from_most_starts(|seed| {
        let mut link = link(Path::new(2.0 * MBIT, 25), Source::default(), seed);
        link.run(10.0);
        link.path.shut = true;
        let out = link.run(3.0);
        assert_eq!(out.most(out.begin() + 1.0, out.end()), 30_000.0);
        link.path.shut = false;
        let back = link.run(5.0);
        assert!(back.target_at(back.end()) >= 1.2 * MBIT, "{}", back.summary(2.0 * MBIT));
    });
}

/// A packet of 1000 bytes that was sent `at` milliseconds after the beginning.
fn sent(id: u64, at: u64) -> Sent {
    Sent {
        id: PacketId(id),
        at: antiphon_netsim::start() + Duration::from_millis(at),
        bytes: 1000,
        total: 1000 * (id + 1),
        ecn: Ecn::Ect1,
        probe: None,
        padding: false,
    }
}

/// What feedback can say of it: lies too.
fn told(sent: Sent, lie: u64) -> PacketResult {
    let hour = Duration::from_secs(3600);
    let arrival = match lie % 5 {
        0 => None,
        1 => Some(sent.at + hour),
        2 => sent.at.checked_sub(hour),
        _ => Some(sent.at + Duration::from_millis(30)),
    };
    PacketResult {
        sent: Sent {
            probe: lie.is_multiple_of(7).then_some(ProbeId(lie as u32)),
            ..sent
        },
        arrival,
        ecn: Ecn::from_bits(lie as u8),
    }
}

/// Late, doubled, out of order, from the future or from before: it is bounded, and honest feedback makes it right again.
#[test]
fn v23_feedback_that_lies_does_no_lasting_harm() {
    let start = antiphon_netsim::start();
    let mut scream = Scream::new(300_000, 30_000, 5_000_000);
    let mut lcg = 7u64;
    for n in 0..4000u64 {
        lcg = lcg.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let lie = lcg >> 33;
        scream.on_sent(&sent(n, 5 * n));
        let now = start + Duration::from_millis(5 * n + if n % 500 == 0 { 300_000 } else { 0 });
        let old = n.saturating_sub(lie % 50);
        let results = [
            told(sent(n, 5 * n), lie),
            told(sent(old, 5 * old), lie / 3),
            told(sent(n, 5 * n), lie),
        ];
        scream.on_feedback(now, Duration::from_millis(50), &results[..(lie % 4) as usize]);
        let target = scream.target_rate(now);
        assert!(
            target.is_none_or(|target| (30_000..=5_000_000).contains(&target)),
            "{target:?}"
        );
        assert!(scream.congestion_window().is_none_or(|window| window < 100_000_000));
        if scream.next_timeout().is_some_and(|at| at <= now) {
            scream.on_timeout(now);
            assert!(scream.next_timeout().is_none_or(|at| at > now), "law 2");
        }
        while scream.next_probe(now).is_some() {}
    }
    // Ten packets of honest feedback each 50 ms for half a minute.
    let mut now = start;
    for n in 0..6000u64 {
        let packet = sent(4000 + n, 20_000 + 5 * n);
        now = packet.at + Duration::from_millis(50);
        scream.on_sent(&packet);
        scream.on_feedback(now, Duration::from_millis(50), &[told(packet, 4)]);
    }
    let target = scream.target_rate(now);
    assert!(target.is_some_and(|target| target >= 800_000), "{target:?}");
}

#[test]
fn report_blocks_alone_lead_up_and_down_and_remb_caps() {
    let mut now = antiphon_netsim::start();
    let mut scream = Scream::new(300_000, 30_000, 5_000_000);
    assert_eq!(scream.target_rate(now), None);
    for _ in 0..20 {
        now += Duration::from_secs(1);
        scream.on_loss(now, 0.0);
    }
    let before = scream.target_rate(now).unwrap();
    assert!((500_000..2_000_000).contains(&before), "{before}");
    scream.on_remb(now, 200_000);
    assert_eq!(scream.target_rate(now), Some(200_000));
    assert_eq!(scream.target_rate(now + LIFE), Some(before));
    for _ in 0..20 {
        now += Duration::from_secs(1);
        scream.on_loss(now, 0.15);
    }
    assert!(scream.target_rate(now).unwrap() < before / 2, "{before}");
}
