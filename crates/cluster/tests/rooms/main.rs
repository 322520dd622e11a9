//! Whole clusters on virtual time: nodes, a bus that loses, hangs and ends, nodes that die, and pipes that are modelled
//! as two ends which know the same sections.

mod world;

use std::time::Duration;

use antiphon_cluster::{Cluster, Config, Error, Event, MAX_NODES, MAX_SAID, MAX_WORDS, NodeName, Peer, RoomName};

use world::{World, room};

const SEEDS: u64 = 20;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What an assertion says of a seed begins so, and one seed is run by `SEED=n`.
fn seeds() -> impl Iterator<Item = u64> {
    let one = std::env::var("SEED")
        .ok()
        .map(|seed| seed.parse().expect("SEED is a number"));
    match one {
        Some(seed) => seed..seed + 1,
        None => 0..SEEDS,
    }
}

/// Three nodes, with two to four peers on each, who all see each other.
fn meeting(seed: u64) -> World {
    let mut world = World::new(seed, &["a", "b", "c"]);
    world.run(seconds(1));
    for node in 0..3 {
        for _ in 0..2 + world.below(3) {
            world.join(node).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            world.run_a_while(400);
        }
    }
    world.run(seconds(6));
    world.assert_whole("everybody sees everybody");
    world
}

#[test]
fn everybody_sees_everybody_and_each_stream_crosses_once() {
    for seed in seeds() {
        let mut world = meeting(seed);
        assert!(!world.flows().is_empty(), "seed {seed}");
        for _ in 0..30 {
            world.do_something();
            world.run_a_while(700);
        }
        world.run(seconds(6));
        world.assert_whole("after thirty changes");
    }
}

#[test]
fn a_bus_that_loses_messages_makes_nothing_lost_for_long() {
    for seed in seeds() {
        let mut world = meeting(seed);
        world.loss = 0.2;
        for _ in 0..30 {
            world.do_something();
            world.run_a_while(700);
        }
        world.loss = 0.0;
        world.run(seconds(20));
        world.assert_whole("after thirty changes on a bad bus");
    }
}

#[test]
fn nobody_watches_and_nothing_crosses() {
    for seed in seeds() {
        let mut world = meeting(seed);
        world.watch_nothing(0);
        world.watch_nothing(1);
        world.watch_nothing(2);
        world.run(seconds(3));
        assert_eq!(world.flows(), [], "seed {seed}");
        assert_eq!(
            world.connections(),
            0,
            "seed {seed}: a pipe that carries nothing is closed"
        );
        world.watch_all(1);
        world.run(seconds(3));
        world.assert_whole("one node watches again");
    }
}

#[test]
fn a_node_that_dies_takes_only_its_own_with_it() {
    for seed in seeds() {
        let mut world = meeting(seed);
        let victim = world.below(3) as usize;
        let kept = world.flows_without(victim);
        world.kill(victim);
        world.run_watching(seconds(3), |world| {
            assert_eq!(world.flows_without(victim), kept, "seed {seed}")
        });
        world.assert_whole("the dead are off the lists within three seconds");
        world.start(victim);
        world.run(seconds(2));
        world.join(victim).unwrap();
        world.run(seconds(6));
        world.assert_whole("the node is back with others");
    }
}

#[test]
fn a_node_that_is_started_anew_at_once_has_lost_its_peers() {
    for seed in seeds() {
        let mut world = meeting(seed);
        let victim = world.below(3) as usize;
        world.kill(victim);
        world.start(victim);
        world.run(seconds(1));
        world.join(victim).unwrap();
        world.run(seconds(8));
        world.assert_whole("nothing is left of the earlier run");
    }
}

#[test]
fn calls_go_on_without_the_bus_and_joining_says_so() {
    for seed in seeds() {
        let mut world = meeting(seed);
        let kept = world.flows();
        world.stop_bus(seed % 2 == 0);
        world.run_watching(seconds(20), |world| assert_eq!(world.flows(), kept, "seed {seed}"));
        for node in 0..3 {
            assert_eq!(world.join(node), Err(Error::BusAway), "seed {seed}");
        }
        // What changes meanwhile is told later.
        world.leave(0);
        world.unpublish(1);
        world.start_bus();
        world.run(seconds(12));
        world.assert_whole("the bus is back");
        for node in 0..3 {
            world.join(node).unwrap();
        }
        world.run(seconds(6));
        world.assert_whole("joining works again");
    }
}

#[test]
fn a_node_that_dies_without_the_bus_is_found_when_it_is_back() {
    for seed in seeds() {
        let mut world = meeting(seed);
        let victim = world.below(3) as usize;
        world.stop_bus(seed % 2 == 0);
        world.run(seconds(3));
        let kept = world.flows_without(victim);
        world.kill(victim);
        world.run_watching(seconds(5), |world| {
            assert_eq!(world.flows_without(victim), kept, "seed {seed}")
        });
        world.start_bus();
        world.run_watching(seconds(16), |world| {
            assert_eq!(world.flows_without(victim), kept, "seed {seed}")
        });
        world.assert_whole("the dead are off the lists");
    }
}

#[test]
fn pipes_that_fail_are_opened_anew() {
    for seed in seeds() {
        let mut world = meeting(seed);
        for _ in 0..6 {
            world.fail_a_pipe();
            world.run_a_while(1500);
        }
        world.run(seconds(10));
        world.assert_whole("pipes failed");
    }
}

#[test]
fn a_node_that_was_taken_for_dead_is_met_again() {
    for seed in seeds() {
        let mut world = meeting(seed);
        // Whether the one that offers or the one that answers loses the pipe, the other does not hear of it at once.
        world.silent_ends = true;
        if seed % 4 < 2 {
            world.watch_nothing(2);
            world.run(seconds(3));
        }
        world.deaf = Some(if seed % 2 == 0 { (0, 2) } else { (2, 0) });
        world.run(seconds(4));
        let (deaf, other) = world.deaf.take().unwrap();
        assert_eq!(world.lists(deaf, other), 0, "seed {seed}");
        world.run(seconds(15));
        world.assert_whole("both hear each other again");
    }
}

#[test]
fn whatever_comes_is_bounded_and_counted() {
    let name = |text| NodeName::new(text).unwrap();
    let mut now = antiphon_netsim::start();
    let mut cluster = Cluster::new(Config::new(name("m"), 5));
    let say = |cluster: &mut Cluster, now, node: &str, body: &str| {
        let message = format!(r#"{{"v":1,"node":"{node}","run":5,"body":{body}}}"#);
        cluster.handle_message(now, message.as_bytes());
    };
    cluster.handle_connected(now);
    say(&mut cluster, now, "m", r#"{"beat":{}}"#);
    cluster.join(&RoomName::new("r").unwrap(), 1, Peer::default()).unwrap();

    for number in 0..MAX_NODES + 9 {
        say(&mut cluster, now, &format!("n{number}"), r#"{"beat":{}}"#);
    }
    assert_eq!(cluster.nodes().count(), MAX_NODES);
    assert_eq!(cluster.counts().too_many_nodes, 9);
    say(
        &mut cluster,
        now,
        "n1",
        r#"{"digest":{"room":"other","ask":true,"peers":[[1,1]],"watches":[]}}"#,
    );
    assert_eq!(cluster.counts().elsewhere, 1);
    cluster.handle_message(now, br#"{"v":1,"node":"n1","run":4,"body":{"beat":{}}}"#);
    assert_eq!(cluster.counts().stale, 1);
    cluster.handle_message(now, br#"{"v":9}"#);
    cluster.handle_message(now, b"\xff");
    assert_eq!((cluster.counts().other_version, cluster.counts().malformed), (1, 1));
    // An offer of who is to answer, and one with tracks of a third.
    let offer = |of: &str| {
        let section = format!(r#"{{"mid":"0","track":{{"node":"{of}","peer":1,"track":1}}}}"#);
        format!(r#"{{"offer":{{"room":"r","pipe":1,"exchange":1,"sdp":"","sections":[{section}]}}}}"#)
    };
    say(&mut cluster, now, "n1", &offer("n1"));
    while cluster.poll_event().is_some() {}
    say(&mut cluster, now, "n2", r#"{"bye":{}}"#);
    say(&mut cluster, now, "a", &offer("n1"));
    assert_eq!(cluster.counts().malformed, 3);
    // A node with more peers than it may have, and an application that does not listen.
    let mut most = 0;
    for number in 0..10_000 {
        let peer = format!(
            r#"{{"peer":{{"room":"r","id":{number},"revision":1,"peer":{{"name":"{number}","details":"","tracks":{{}}}}}}}}"#
        );
        say(&mut cluster, now, "n1", &peer);
        say(&mut cluster, now, "n3", &peer);
        say(&mut cluster, now, "n4", &peer);
        say(&mut cluster, now, "n5", &peer);
        say(&mut cluster, now, "n6", &peer);
        most = cluster.peers(&RoomName::new("r").unwrap()).count().max(most);
    }
    assert!(most <= 4096, "{most}");
    assert!(cluster.counts().unread > 0);
    let mut events = 0;
    while cluster.poll_event().is_some() {
        events += 1;
    }
    assert!(events <= 4097, "{events}");
    // It goes on: all of them are gone when they are silent.
    for _ in 0..6 {
        now += Duration::from_millis(500);
        cluster.handle_timeout(now);
        while cluster.poll_message(now).is_some() {}
        say(&mut cluster, now, "m", r#"{"beat":{}}"#);
    }
    now += seconds(10);
    cluster.handle_connected(now);
    say(&mut cluster, now, "m", r#"{"beat":{}}"#);
    assert_eq!(cluster.nodes().count(), 0);
    assert_eq!(cluster.peers(&RoomName::new("r").unwrap()).count(), 0);
}

#[test]
fn a_pipe_that_always_fails_is_tried_once_a_second() {
    for (seed, failing) in seeds().zip([0, 2].into_iter().cycle()) {
        let mut world = meeting(seed);
        world.silent_ends = true;
        let before = world.opened(0);
        for _ in 0..200 {
            world.fail_pipes(failing);
            world.run(Duration::from_millis(50));
        }
        // To one node or two, in ten seconds.
        let opened = world.opened(0) - before;
        assert!((5..=22).contains(&opened), "seed {seed}: {opened}");
        world.silent_ends = false;
        world.run(seconds(10));
        world.assert_whole("pipes hold again");
    }
}

#[test]
fn a_name_is_taken_on_all_nodes_and_a_second_node_of_a_name_ends_the_first() {
    let mut world = meeting(1);
    let name = world.name_of_somebody(0);
    let peer = Peer {
        name,
        ..Peer::default()
    };
    assert_eq!(world.cluster(1).join(&room(), 999, peer), Err(Error::NameTaken));
    world.start_double(2);
    world.run_watching(seconds(1), |_| ());
    assert!(world.heard(2).contains(&Event::Displaced));
    assert_eq!(world.cluster(2).join(&room(), 999, Peer::default()), Err(Error::Closed));
}

#[test]
fn what_is_said_is_heard_once_by_all_other_nodes() {
    let mut world = meeting(1);
    let (id, name) = (world.somebody_of(0), room());
    world.cluster(0).say(&name, id, "Cookies 4 life".to_owned()).unwrap();
    world.run(seconds(5));
    let said = |world: &World, node| {
        let heard = world.heard(node).iter();
        let said = heard.filter_map(|event| match event {
            Event::PeerSaid { peer, text, .. } => Some((peer.node.to_string(), peer.peer, text.clone())),
            _ => None,
        });
        said.collect::<Vec<_>>()
    };
    let wanted = [("a".to_owned(), id, "Cookies 4 life".to_owned())];
    assert_eq!(said(&world, 1), wanted);
    assert_eq!(said(&world, 2), wanted);
    assert_eq!(said(&world, 0), []);
    let cluster = world.cluster(0);
    assert_eq!(cluster.say(&name, 999, String::new()), Err(Error::NoPeer));
    let long = "x".repeat(MAX_SAID + 1);
    assert_eq!(cluster.say(&name, id, long), Err(Error::TooLong("text")));
    for _ in 0..MAX_WORDS {
        cluster.say(&name, id, "again".to_owned()).unwrap();
    }
    assert_eq!(
        cluster.say(&name, id, "and again".to_owned()),
        Err(Error::TooMany("texts that wait"))
    );
    world.stop_bus(true);
    assert_eq!(world.cluster(0).say(&name, id, "hello".to_owned()), Err(Error::BusAway));
}

#[test]
fn a_node_that_closes_is_gone_at_once() {
    let mut world = meeting(1);
    world.close(1);
    world.run(Duration::from_millis(50));
    world.assert_whole("it has said so");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world = meeting(seed);
        world.loss = 0.1;
        for _ in 0..20 {
            world.do_something();
            world.run(Duration::from_millis(300));
        }
        world.said
    };
    assert_eq!(run(3), run(3));
}
