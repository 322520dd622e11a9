use super::super::remb::LIFE;
use super::super::simulation::{Link, Path, Run, Source, from_most_starts};
use super::*;

const MBIT: f64 = 1e6;

fn link(path: Path, source: Source, seed: u64) -> Link {
    Link::new(Box::new(Gcc::new(300_000, 30_000, 50_000_000)), path, source, seed)
}

/// Used at least this part, with a queue and a loss no larger than these.
fn assert_good(run: &Run, capacity: f64, used: f64, q95: f64, loss: f64) {
    let (from, to) = (run.begin() + (run.end() - run.begin()) / 4.0, run.end());
    let good = run.used(from, to, capacity) >= used && run.q95(from, to) <= q95 && run.loss() <= loss;
    assert!(good, "{capacity}: {}", run.summary(capacity));
}

#[test]
fn a_steady_path_is_found_at_once_and_used() {
    from_most_starts(|seed| {
        for (capacity, owd, t90) in [(2.0, 25, 1.5), (0.6, 50, 3.0), (1.0, 50, 2.5), (10.0, 25, 2.0)] {
            let capacity = capacity * MBIT;
            let run = link(Path::new(capacity, owd), Source::default(), seed).run(40.0);
            assert_good(&run, capacity, 0.9, 80.0, 0.005);
            assert!(run.t90(0.0, capacity) <= t90, "{}", run.summary(capacity));
            assert!(run.least(5.0, 40.0) >= 0.7 * capacity, "{}", run.summary(capacity));
        }
    });
}

#[test]
fn a_wide_path_is_found_by_probes() {
    from_most_starts(|seed| {
        let source = Source {
            max: 25.0 * MBIT,
            ..Source::default()
        };
        let run = link(Path::new(50.0 * MBIT, 10), source, seed).run(10.0);
        assert!(
            run.target_at(0.4) >= 2.0 * MBIT && run.target_at(3.0) >= 22.0 * MBIT,
            "{run:?}"
        );
    });
}

#[test]
fn a_narrow_path_is_not_swamped() {
    from_most_starts(|seed| {
        for (capacity, owd) in [(0.2, 10), (0.1, 25)] {
            let capacity = capacity * MBIT;
            let run = link(Path::new(capacity, owd), Source::default(), seed).run(30.0);
            assert!(
                (run.target_at(0.5) - 0.8 * capacity).abs() <= 40_000.0,
                "{}",
                run.target_at(0.5)
            );
            assert_good(&run, capacity, 0.9, 200.0, 0.06);
        }
    });
}

#[test]
fn a_fall_is_followed_at_once_and_its_queue_emptied() {
    from_most_starts(|seed| {
        let mut link = link(Path::new(MBIT, 50), Source::default(), seed);
        link.run(20.0);
        for (capacity, t90) in [(2.5, 5.0), (0.6, 1.0), (1.0, 4.0)] {
            let capacity = capacity * MBIT;
            link.path.capacity = capacity;
            let run = link.run(20.0);
            let from = run.begin();
            assert!(run.t90(from, capacity) <= t90, "{}", run.summary(capacity));
            assert!(
                run.least(from + 0.3, from + 0.8) <= capacity,
                "{}",
                run.summary(capacity)
            );
            assert!(
                run.q95(from + 2.0, from + 4.0) <= 130.0,
                "{}",
                run.q95(from + 2.0, from + 4.0)
            );
            assert_good(&run, capacity, 0.88, 80.0, 0.04);
        }
    });
}

#[test]
fn the_paths_own_loss_costs_what_it_is() {
    from_most_starts(|seed| {
        for (loss, used) in [(0.01, 0.9), (0.05, 0.87), (0.1, 0.84), (0.2, 0.72)] {
            let mut path = Path::new(3.0 * MBIT, 25);
            path.loss = loss;
            let mut link = link(path, Source::default(), seed);
            link.run(10.0);
            let run = link.run(30.0);
            // What is lost counts as sent, and not as carried.
            assert_good(&run, 3.0 * MBIT, used, 60.0, loss + 0.01);
        }
    });
}

#[test]
fn a_queue_of_three_packets_is_enough() {
    from_most_starts(|seed| {
        let mut path = Path::new(MBIT, 25);
        path.queue_packets = 3;
        let run = link(path, Source::default(), seed).run(60.0);
        assert_good(&run, MBIT, 0.7, 40.0, 0.04);
    });
}

#[test]
fn jitter_is_no_queue() {
    from_most_starts(|seed| {
        let mut path = Path::new(4.0 * MBIT, 25);
        path.sigma = 10.0;
        let run = link(path, Source::default(), seed).run(60.0);
        assert_good(&run, 4.0 * MBIT, 0.8, 80.0, 0.005);
    });
}

#[test]
fn a_path_that_is_open_now_and_then_is_used() {
    from_most_starts(|seed| {
        let mut link = link(Path::new(5.0 * MBIT, 10), Source::default(), seed);
        let mut carried = 0.0;
        for n in 0..100 {
            link.path.shut = false;
            let open = link.run(0.2);
            link.path.shut = true;
            let shut = link.run(0.1);
            if n >= 20 {
                carried += 0.2 * open.used(0.0, 1e9, MBIT) + 0.1 * shut.used(0.0, 1e9, MBIT);
            }
        }
        assert!(carried / 24.0 >= 1.9, "{carried}");
    });
}

#[test]
fn a_longer_way_is_no_queue() {
    from_most_starts(|seed| {
        let mut link = link(Path::new(MBIT, 25), Source::default(), seed);
        link.run(10.0);
        link.path.owd += 70;
        let run = link.run(20.0);
        assert!(run.target_at(18.0) >= 0.7 * MBIT, "{run:?}");
        assert_good(&run, MBIT, 0.85, 120.0, 0.005);
    });
}

#[test]
fn an_outage_stops_pictures_and_ends_where_it_began() {
    from_most_starts(|seed| {
        let mut link = link(Path::new(2.0 * MBIT, 25), Source::default(), seed);
        link.run(15.0);
        link.path.shut = true;
        let out = link.run(3.0);
        assert_eq!(out.most(out.begin() + 1.0, out.end()), 30_000.0);
        assert!(out.sent < 150, "{}", out.sent);
        link.path.shut = false;
        let back = link.run(4.0);
        assert!(back.target_at(back.begin() + 2.0) >= 1.6 * MBIT, "{:?}", back.samples);
    });
}

#[test]
fn a_static_screen_does_not_forget_what_was_proven_nor_believe_more() {
    from_most_starts(|seed| {
        let source = Source {
            max: 0.5 * MBIT,
            ..Source::default()
        };
        let mut link = link(Path::new(5.0 * MBIT, 25), source, seed);
        let run = link.run(30.0);
        assert!(run.most(0.0, 30.0) <= 1.05 * 5.0 * MBIT, "{}", run.summary(5.0 * MBIT));
        // Probes and padding: what was carried beyond what media made.
        assert!(
            run.used(10.0, 30.0, 5.0 * MBIT) <= 0.13,
            "{}",
            run.used(10.0, 30.0, 5.0 * MBIT)
        );
        link.source.max = 3.0 * MBIT;
        let run = link.run(10.0);
        assert!(run.target_at(31.0) >= 3.0 * MBIT, "{}", run.summary(3.0 * MBIT));
    });
}

#[test]
fn lost_feedback_is_no_lost_media() {
    from_most_starts(|seed| {
        let mut path = Path::new(2.0 * MBIT, 25);
        path.feedback_loss = 0.1;
        let run = link(path, Source::default(), seed).run(40.0);
        assert_good(&run, 2.0 * MBIT, 0.85, 80.0, 0.005);
    });
}

#[test]
fn remb_caps_and_expires() {
    let now = antiphon_netsim::start();
    let mut estimator = Gcc::new(600_000, 30_000, 5_000_000);
    assert_eq!(estimator.target_rate(now), None);
    estimator.on_remb(now, 200_000);
    assert_eq!(estimator.target_rate(now), Some(200_000));
    assert_eq!(estimator.target_rate(now + LIFE), None);
}

#[test]
fn report_blocks_alone_lead_up_and_down() {
    let mut now = antiphon_netsim::start();
    let mut estimator = Gcc::new(300_000, 30_000, 5_000_000);
    for _ in 0..20 {
        now += Duration::from_secs(1);
        estimator.on_loss(now, 0.0);
    }
    let before = estimator.target_rate(now).unwrap();
    assert!((500_000..2_000_000).contains(&before), "{before}");
    for _ in 0..20 {
        now += Duration::from_secs(1);
        estimator.on_loss(now, 0.15);
    }
    assert!(estimator.target_rate(now).unwrap() <= before, "{before}");
}
