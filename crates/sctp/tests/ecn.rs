//! Explicit congestion notification (RFC 9260 Appendix B): over a queue that marks, and against a peer written by hand.

mod throughput;
mod victim;

use std::time::Duration;

use antiphon_sansio::{Ecn, Serial32};
use antiphon_sctp::chunk::Chunk;
use antiphon_sctp::packet::Packet;
use antiphon_sctp::{Config, Congestion, SendOptions, Stats};
use throughput::{PACKET, Path, World};
use victim::{PEER_TSN, Victim};

/// Goodput in Mbit/s, the queue's 95th percentile, and the sender's figures.
fn transfer(congestion: Congestion, ecn: [bool; 2]) -> (f64, Duration, Stats, Stats) {
    // 200 ms of queue, marked above 10 ms.
    let path = Path {
        queue: 250_000,
        mark: Some(Duration::from_millis(10)),
        ..Path::with(10, 20, 0.0)
    };
    let mut world = World::new(1, path);
    let config = |ecn| Config {
        max_packet: PACKET,
        congestion,
        ecn,
        ..Config::default()
    };
    world.add_each([config(ecn[0]), config(ecn[1])], Some(16_384));
    world.connect();
    world.run_for(Duration::from_secs(20));
    let goodput = world.flows[0].received as f64 * 8.0 / 20e6;
    let [left, right] = [0, 1].map(|end| world.flows[0].ends[end].stats());
    (goodput, world.queue_delay(0.95), left, right)
}

#[test]
fn marks_slow_every_controller_down_before_anything_is_lost() {
    for congestion in [Congestion::NewReno, Congestion::Cubic, Congestion::Bbr] {
        let (goodput, queue, left, right) = transfer(congestion, [true, true]);
        println!(
            "{congestion:?}: {goodput:.1} Mbit/s, queue {queue:?}, {} marks",
            right.marks_received
        );
        assert!(
            right.marks_received > 0 && left.marks_answered > 0,
            "{congestion:?}: {left:?}"
        );
        assert_eq!((left.chunks_retransmitted, left.timeouts), (0, 0), "{congestion:?}");
        assert!(goodput > 8.5, "{congestion:?}: {goodput} Mbit/s");
        assert!(queue < Duration::from_millis(45), "{congestion:?}: {queue:?}");
    }
}

#[test]
fn nothing_is_marked_unless_both_ends_want_it() {
    for ecn in [[true, false], [false, true], [false, false]] {
        let (_, queue, left, right) = transfer(Congestion::NewReno, ecn);
        assert_eq!((left.marks_answered, right.marks_received), (0, 0));
        assert!(queue > Duration::from_millis(100), "the queue fills: {queue:?}");
    }
}

#[test]
fn only_data_is_marked_and_a_mark_is_told_until_it_is_answered() {
    let mut victim = Victim::with_ecn(Config {
        ecn: true,
        ..Config::default()
    });
    let said = |victim: &mut Victim| -> Vec<String> {
        let packets = victim.packets();
        let chunks = packets
            .iter()
            .flat_map(|p| Packet::parse(p).unwrap().chunks().flatten());
        chunks
            .filter_map(|chunk| match chunk {
                Chunk::Ecne(tsn) => Some(format!("ECNE {}", tsn.get().wrapping_sub(PEER_TSN))),
                Chunk::Cwr(tsn) => Some(format!("CWR {}", tsn.get())),
                _ => None,
            })
            .collect()
    };
    victim.mark = Ecn::Ce;
    victim.give_data(0, 3, 1, 0, b"marked");
    victim.mark = Ecn::NotEct;
    victim.give_data(1, 3, 1, 1, b"not marked");
    assert_eq!(said(&mut victim), ["ECNE 0"]);
    assert_eq!(victim.wanted, Ecn::NotEct, "a SACK is not marked");
    victim.give_data(2, 3, 1, 2, b"not marked");
    victim.give_data(3, 3, 1, 3, b"not marked");
    assert_eq!(said(&mut victim), ["ECNE 0"]);
    victim.give(&[Chunk::Cwr(Serial32::new(PEER_TSN))]);
    victim.give_data(4, 3, 1, 4, b"not marked");
    victim.give_data(5, 3, 1, 5, b"not marked");
    assert!(said(&mut victim).is_empty());
    // The other direction.
    let now = victim.now;
    let data = vec![1; 100].into();
    victim
        .association
        .send(now, 1, 53, data, SendOptions::default())
        .unwrap();
    assert_eq!(victim.packets().len(), 1);
    assert_eq!(victim.wanted, Ecn::Ect0);
    let window = victim.association.stats().congestion_window;
    for _ in 0..3 {
        victim.give(&[Chunk::Ecne(Serial32::new(victim.tsn))]);
        assert_eq!(said(&mut victim), [format!("CWR {}", victim.tsn)]);
    }
    let stats = victim.association.stats();
    assert_eq!(stats.marks_answered, 1, "once for a window");
    assert!(stats.congestion_window <= window);
    // Of what was never sent nobody can have seen a mark.
    victim.give(&[Chunk::Ecne(Serial32::new(victim.tsn.wrapping_add(1)))]);
    assert!(said(&mut victim).is_empty());
    assert_eq!(victim.association.stats().chunks_invalid, 1);
    assert!(victim.is_well());
}
