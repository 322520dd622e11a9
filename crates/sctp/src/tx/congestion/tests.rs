//! What the controllers do on a path of a few lines.

use std::time::{Duration, Instant};

use super::{Ack, Bbr, CongestionControl, Cubic, Loss, NewReno, RateSample};

#[allow(clippy::disallowed_methods)]
fn any_instant() -> Instant {
    Instant::now()
}

fn ack(now: Instant, bytes: usize, in_recovery: bool) -> Ack {
    Ack {
        now,
        bytes,
        lost: 0,
        in_flight: 0,
        cumulative_advanced: true,
        window_limited: true,
        in_recovery,
        rtt: None,
        srtt: None,
        round_start: false,
        sample: None,
    }
}

fn loss(now: Instant) -> Loss {
    Loss { now, in_flight: 0 }
}

#[test]
fn new_reno_grows_and_shrinks() {
    let now = any_instant();
    let mut reno = NewReno::new(1000);
    assert_eq!(reno.window(), 10_000);
    reno.on_ack(&ack(now, 10_000, false));
    assert_eq!(reno.window(), 20_000, "slow start doubles in a round trip");
    reno.on_ack(&Ack {
        window_limited: false,
        ..ack(now, 20_000, false)
    });
    assert_eq!(reno.window(), 20_000, "what is not used does not grow");
    reno.on_loss(&loss(now));
    assert_eq!(reno.window(), 10_000);
    reno.on_ack(&ack(now, 10_000, true));
    assert_eq!(reno.window(), 10_000, "not while a loss is repaired");
    reno.on_ack(&ack(now, 10_000, false));
    assert_eq!(reno.window(), 11_000, "then one packet in a round trip");
    reno.on_spurious_loss(now);
    assert_eq!(reno.window(), 20_000, "a loss that was none is undone");
    reno.on_timeout(now);
    assert_eq!(reno.window(), 1000);
    for _ in 0..10 {
        reno.on_loss(&loss(now));
    }
    assert_eq!(reno.window(), 4000, "never below four packets by loss alone");
    for _ in 0..20 {
        reno.on_ack(&ack(now, 40_000, false));
    }
    let grown = reno.window();
    reno.on_idle(1);
    assert_eq!(reno.window(), (grown / 2).max(10_000));
    reno.on_idle(31);
    assert_eq!(reno.window(), 10_000);
}

/// A path of 20 ms without losses: acknowledges a window at a time. Returns the window after each round.
fn rounds(controller: &mut dyn CongestionControl, now: &mut Instant, count: usize, rtt_ms: u64) -> Vec<usize> {
    let rtt = Duration::from_millis(rtt_ms);
    (0..count)
        .map(|_| {
            *now += rtt;
            let window = controller.window();
            for n in 0..10 {
                controller.on_ack(&Ack {
                    rtt: Some(rtt),
                    srtt: Some(rtt),
                    round_start: n == 0,
                    in_flight: window,
                    ..ack(*now, window / 10, false)
                });
            }
            controller.window()
        })
        .collect()
}

#[test]
fn cubic_returns_to_its_last_maximum_and_goes_beyond() {
    let mut now = any_instant();
    let mut cubic = Cubic::new(1000);
    let start = rounds(&mut cubic, &mut now, 6, 20);
    assert_eq!(start.last(), Some(&640_000), "slow start doubles");
    cubic.on_loss(&loss(now));
    assert_eq!(cubic.window(), 448_000, "beta is 0.7");
    // RFC 9438 §4.2: K = cbrt(640 * 0.3 / 0.4) = 7.83 s; there the window is flat.
    let grown = rounds(&mut cubic, &mut now, 78, 100);
    assert!(grown.windows(2).all(|pair| pair[0] <= pair[1]));
    let at_k = *grown.last().unwrap();
    assert!((630_000..=650_000).contains(&at_k), "{at_k}");
    let beyond = *rounds(&mut cubic, &mut now, 78, 100).last().unwrap();
    assert!(
        (800_000..=870_000).contains(&beyond),
        "as far above as it was below: {beyond}"
    );
    cubic.on_loss(&loss(now));
    cubic.on_spurious_loss(now);
    assert_eq!(cubic.window(), beyond, "undone");
}

#[test]
fn hystart_ends_slow_start_when_the_delay_grows() {
    let mut now = any_instant();
    let mut cubic = Cubic::new(1000);
    rounds(&mut cubic, &mut now, 5, 20);
    let before = cubic.window();
    // 6 ms more: above an eighth of 20 ms and above 4 ms. Five conservative rounds follow (RFC 9406 §4.2).
    let slow = rounds(&mut cubic, &mut now, 8, 26);
    assert!(slow[2] < before * 3, "{slow:?} after {before}");
    assert!(slow[7] - slow[6] < slow[6] / 20, "and then it is over: {slow:?}");
}

/// A path of `bandwidth` bytes a second and 20 ms, loss by the pace as given: one round at a time.
fn path(bbr: &mut Bbr, now: &mut Instant, bandwidth: u64, count: usize, loss: impl Fn(u64) -> f64) {
    let base = Duration::from_millis(20);
    for _ in 0..count {
        let window = bbr.window();
        let bdp = (bandwidth as f64 * base.as_secs_f64()) as usize;
        let flight = window
            .min(bdp * 2)
            .min((bbr.pacing_rate(Some(base)).unwrap() / 50) as usize + bdp / 4);
        let rtt = base.max(Duration::from_secs_f64(flight as f64 / bandwidth as f64));
        *now += rtt;
        let lost = (flight as f64 * loss(bbr.pacing_rate(Some(base)).unwrap())) as usize;
        let rate = ((flight - lost) as f64 / rtt.as_secs_f64()) as u64;
        for n in 0..10 {
            bbr.on_ack(&Ack {
                rtt: Some(rtt),
                srtt: Some(rtt),
                round_start: n == 0,
                lost: lost / 10,
                in_flight: flight * (9 - n) / 10,
                sample: Some(RateSample {
                    bytes_per_second: rate,
                    app_limited: false,
                    in_flight: flight,
                    delivered: flight - lost,
                    lost,
                }),
                ..ack(*now, (flight - lost) / 10, false)
            });
        }
    }
}

#[test]
fn bbr_finds_the_bandwidth_and_holds_it_through_random_loss() {
    let mut now = any_instant();
    let mut bbr = Bbr::new(1000);
    path(&mut bbr, &mut now, 10_000_000, 40, |_| 0.0);
    let pace = bbr.pacing_rate(None).unwrap();
    assert!((8_500_000..=13_000_000).contains(&pace), "{pace}");
    path(&mut bbr, &mut now, 10_000_000, 500, |_| 0.01);
    let pace = bbr.pacing_rate(None).unwrap();
    assert!((8_000_000..=13_000_000).contains(&pace), "{pace} at one per cent loss");
    // Nothing above four megabytes a second comes through any more.
    path(&mut bbr, &mut now, 10_000_000, 500, |pace| {
        1.0 - 4e6 / (pace as f64).max(4e6)
    });
    let pace = bbr.pacing_rate(None).unwrap();
    assert!(
        (3_000_000..6_000_000).contains(&pace),
        "{pace}: loss that sending less ends is no chance"
    );
    path(&mut bbr, &mut now, 10_000_000, 1500, |_| 0.0);
    let pace = bbr.pacing_rate(None).unwrap();
    assert!((8_000_000..=13_000_000).contains(&pace), "{pace}: and it comes back");
    path(&mut bbr, &mut now, 10_000_000, 1500, |_| 0.2);
    let pace = bbr.pacing_rate(None).unwrap();
    assert!(
        (8_000_000..=16_000_000).contains(&pace),
        "{pace}: loss whatever we send"
    );
}

#[test]
fn windows_stay_within_bounds_whatever_comes() {
    let mut now = any_instant();
    for mut controller in [
        Box::new(NewReno::new(1000)) as Box<dyn CongestionControl>,
        Box::new(Cubic::new(1000)),
        Box::new(Bbr::new(1000)),
    ] {
        let mut rng = antiphon_sansio::Rng::from_u64(7);
        for _ in 0..20_000 {
            now += Duration::from_micros(u64::from(rng.below(50_000)));
            match rng.below(20) {
                0 => controller.on_loss(&loss(now)),
                1 if rng.below(10) == 0 => controller.on_timeout(now),
                2 => controller.on_spurious_loss(now),
                3 => controller.on_idle(rng.below(40)),
                4 => controller.set_max_packet(512 + rng.below(1000) as usize),
                _ => controller.on_ack(&Ack {
                    lost: rng.below(10_000) as usize,
                    in_flight: rng.below(1_000_000) as usize,
                    rtt: (rng.below(3) > 0).then(|| Duration::from_micros(u64::from(rng.below(300_000)))),
                    srtt: Some(Duration::from_micros(u64::from(rng.below(300_000)))),
                    round_start: rng.below(5) == 0,
                    window_limited: rng.below(2) == 0,
                    sample: (rng.below(2) == 0).then(|| RateSample {
                        bytes_per_second: rng.u64() >> (16 + rng.below(40)),
                        app_limited: rng.below(4) == 0,
                        in_flight: rng.below(1_000_000) as usize,
                        delivered: rng.below(1_000_000) as usize,
                        lost: rng.below(100_000) as usize,
                    }),
                    ..ack(now, rng.below(100_000) as usize, rng.below(4) == 0)
                }),
            }
            let window = controller.window();
            assert!((512..=64 << 20).contains(&window), "{window}: {controller:?}");
            let _ = controller.pacing_rate(Some(Duration::from_millis(20)));
        }
    }
}
