//! Guessers and heavy users: what they are kept to, and that the others behind their address are not kept out.

mod checked;
mod world;

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_crypto::hmac_sha1;
use antiphon_sansio::{ClockAnchor, Path};
use antiphon_stun::{AttributeType as A, Method};
use antiphon_turn::{Rate, ServerConfig};
use base64::Engine as _;
use world::{CLIENT, PEER, World, addr, config, udp};

/// One wrong password a second in the long run, five at once.
fn strict() -> ServerConfig {
    let mut config = config().user("bob", "builder");
    config.failure_rate = Rate {
        per_second: 1,
        burst: 5,
    };
    config
}

/// An Allocate request; the code of the answer, if there is one.
fn login(world: &mut World, from: &str, name: &str, password: &str) -> Option<u16> {
    let answer = world.login(udp(from), (name, password), Method::ALLOCATE, |b| {
        _ = b.requested_transport(17)
    });
    answer.map(|answer| answer.code())
}

/// Uses up what the address has, from a port for each guess.
fn guess_until_silence(world: &mut World, name: &str) -> usize {
    (0..1000)
        .position(|n| login(world, &format!("203.0.113.1:{}", 20_000 + n), name, "?").is_none())
        .expect("an end of answers")
}

#[test]
fn v18_guessing_passwords_is_slow() {
    let mut world = World::new(strict());
    let tried = (0..1000)
        .filter(|n| {
            // Ten guesses a second, each from another port.
            world.now += Duration::from_millis(100);
            login(
                &mut world,
                &format!("203.0.113.1:{}", 1000 + n),
                "alice",
                &format!("guess {n}"),
            )
            .is_some()
        })
        .count();
    // 100 seconds: the burst, and one each second.
    assert!((100..=106).contains(&tried), "{tried} of 1000 guesses were looked at");
    guess_until_silence(&mut world, "alice");
    // Who was never here is one more guesser as far as anybody can tell; elsewhere she comes in, and so she does here after a while.
    assert_eq!(login(&mut world, "203.0.113.1:9", "alice", "secret"), None);
    assert_eq!(login(&mut world, "203.0.113.77:9", "alice", "secret"), Some(200));
    world.now += Duration::from_secs(2);
    assert_eq!(login(&mut world, "203.0.113.1:9", "alice", "secret"), Some(200));
}

#[test]
fn mend20_one_guesser_keeps_nobody_else_behind_the_address_out() {
    let mut world = World::new(config());
    // As fast as it can, for a minute, from one port.
    let mut looked_at = 0;
    for n in 0..6000 {
        world.now += Duration::from_millis(10);
        looked_at += usize::from(login(&mut world, CLIENT, "alice", &format!("guess {n}")).is_some());
        if n % 1000 == 999 {
            let port = 2000 + n;
            assert_eq!(
                login(&mut world, &format!("203.0.113.1:{port}"), "alice", "secret"),
                Some(200)
            );
        }
    }
    assert!(looked_at <= 66, "{looked_at} guesses of a minute were looked at");
}

#[test]
fn mend20_guessers_do_not_keep_out_a_user_who_lives_behind_their_address() {
    let mut world = World::new(strict());
    assert_eq!(login(&mut world, "203.0.113.1:1", "alice", "secret"), Some(200));
    world.now += Duration::from_secs(3600);
    // Guessers at other names, from many ports, until nothing is answered: bob, and names of nobody.
    for name in ["bob", "nobody", "root"] {
        assert!(guess_until_silence(&mut world, name) <= 5, "{name}");
        assert_eq!(login(&mut world, "203.0.113.1:2", "alice", "secret"), Some(200));
        assert_eq!(
            world
                .alice(udp("203.0.113.1:2"), Method::REFRESH, |b| _ = b.lifetime(0))
                .code(),
            200
        );
    }
    // A user of that address is told from others by nothing that a guesser sees: no wrong password is answered.
    for name in ["alice", "bob", "nobody"] {
        assert_eq!(login(&mut world, "203.0.113.1:3", name, "?"), None, "{name}");
    }
    // Her name can be guessed no faster for it: what the address had is gone, and what she has goes too.
    let before = world.server.counters().unauthorized;
    for n in 0..100 {
        _ = login(&mut world, &format!("203.0.113.1:{}", 30_000 + n), "alice", "?");
    }
    let looked_at = world.server.counters().unauthorized - before;
    // Each login begins with a request without credentials, which counts as unauthorized too.
    assert!(looked_at <= 100 + 5, "{looked_at}");
    // bob, who was never here, waits.
    assert_eq!(login(&mut world, "203.0.113.1:4", "bob", "builder"), None);
    // After a day without her she is a stranger again.
    world.now += Duration::from_secs(25 * 3600);
    guess_until_silence(&mut world, "bob");
    assert_eq!(login(&mut world, "203.0.113.1:5", "alice", "secret"), None);
}

#[test]
fn mend20_credentials_that_expire_pass_whatever_was_guessed() {
    let clock = ClockAnchor::new(antiphon_netsim::start(), Duration::from_secs(1_000_000));
    let mut world = World::new(strict().shared_secret("north", clock));
    let name = "1086400:carol";
    let password = base64::engine::general_purpose::STANDARD.encode(hmac_sha1(b"north", &[name.as_bytes()]).as_bytes());
    for guessed in ["alice", name] {
        guess_until_silence(&mut world, guessed);
        let port = 40_000 + guessed.len();
        assert_eq!(
            login(&mut world, &format!("203.0.113.1:{port}"), name, &password),
            Some(200)
        );
        assert_eq!(
            login(&mut world, "203.0.113.1:3", name, "?"),
            None,
            "a wrong one is not answered"
        );
    }
}

/// `seconds` of a datagram of 1000 bytes each millisecond from each of these clients, 8 Mbit/s each; how many bytes went through.
fn relay(world: &mut World, clients: &[Path], seconds: u64) -> Vec<usize> {
    let mut through = vec![0; clients.len()];
    for _ in 0..seconds * 1000 {
        world.now += Duration::from_millis(1);
        for (client, through) in clients.iter().zip(&mut through) {
            for (_, data) in world.send(*client, addr(PEER), &[7; 1000]) {
                *through += data.len();
            }
        }
    }
    through
}

fn with_allocation(world: &mut World, from: &str, (name, password): (&str, &str)) -> Path {
    let path = udp(from);
    assert_eq!(login(world, from, name, password), Some(200));
    let permit = world.login(path, (name, password), Method::CREATE_PERMISSION, |b| {
        b.xor_address(A::XOR_PEER_ADDRESS, addr(PEER));
    });
    assert_eq!(permit.unwrap().code(), 200);
    path
}

/// What passes in 10 seconds under a cap of 800 kbit/s: ten seconds' worth, and one more at once.
const CAPPED: std::ops::RangeInclusive<usize> = 1_000_000..=1_101_000;

#[test]
fn mend20_an_allocation_relays_no_more_than_its_cap() {
    let mut config = config();
    config.max_bps_allocation = Some(800_000);
    let mut world = World::new(config);
    let clients = ["203.0.113.1:1", "203.0.113.1:2"].map(|from| with_allocation(&mut world, from, ("alice", "secret")));
    for through in relay(&mut world, &clients, 10) {
        assert!(CAPPED.contains(&through), "{through}");
    }
    let counters = world.server.counters();
    assert_eq!(counters.over_allocation_rate + counters.to_peers, 20_000);
    assert_eq!(counters.bytes_over_rate, counters.over_allocation_rate * 1000);
    assert_eq!((counters.over_user_rate, counters.over_total_rate), (0, 0));
    // A pause gives a second's worth back.
    world.now += Duration::from_secs(60);
    assert!((200_000..=201_000).contains(&relay(&mut world, &clients[..1], 1)[0]));
}

#[test]
fn mend20_a_user_relays_no_more_however_many_allocations_and_others_are_not_kept_from_it() {
    let mut config = config().user("bob", "builder");
    config.max_bps_user = Some(800_000);
    let mut world = World::new(config);
    let mut clients: Vec<Path> = (1..=3)
        .map(|n| with_allocation(&mut world, &format!("203.0.113.1:{n}"), ("alice", "secret")))
        .collect();
    clients.push(with_allocation(&mut world, "203.0.113.1:9", ("bob", "builder")));
    let through = relay(&mut world, &clients, 10);
    assert!(CAPPED.contains(&through[..3].iter().sum()), "{through:?}");
    assert!(CAPPED.contains(&through[3]), "{through:?}");
    assert!(world.server.counters().over_user_rate > 30_000);
    // Nor is a new allocation a new beginning.
    let mut through = 0;
    for n in 0..20 {
        for client in clients.drain(..) {
            let (name, password) = if client == udp("203.0.113.1:9") {
                ("bob", "builder")
            } else {
                ("alice", "secret")
            };
            let freed = world.login(client, (name, password), Method::REFRESH, |b| _ = b.lifetime(0));
            assert_eq!(freed.unwrap().code(), 200);
        }
        clients.push(with_allocation(
            &mut world,
            &format!("203.0.113.1:{}", 100 + n),
            ("alice", "secret"),
        ));
        through += relay(&mut world, &clients, 1)[0];
    }
    assert!((2_000_000..=2_101_000).contains(&through), "{through} in 20 seconds");
}

#[test]
fn mend20_the_server_relays_no_more_than_its_cap_both_ways_together() {
    let mut config = config();
    config.max_bps_total = Some(800_000);
    let mut world = World::new(config);
    let clients = ["203.0.113.1:1", "203.0.113.2:2"].map(|from| with_allocation(&mut world, from, ("alice", "secret")));
    let relayed = world.opened[0].0;
    let back = Path {
        local: relayed,
        remote: addr(PEER),
    };
    let mut through = 0;
    for _ in 0..10_000 {
        world.now += Duration::from_millis(1);
        for client in clients {
            through += world.send(client, addr(PEER), &[7; 1000]).len() * 1000;
        }
        world.deliver(back, &[8; 1000]);
        through += world.sent().len() * 1000;
    }
    assert!(CAPPED.contains(&through), "{through}");
    let counters = world.server.counters();
    assert!(counters.to_peers > 0 && counters.to_clients > 0);
    assert_eq!(
        counters.over_total_rate + counters.to_peers + counters.to_clients,
        30_000
    );
}

#[test]
fn mend20_what_two_clients_say_to_each_other_counts_for_both_and_once_for_the_server() {
    for (of_allocation, in_all) in [(Some(800_000), None), (None, Some(800_000))] {
        let mut config = config();
        (config.max_bps_allocation, config.max_bps_total) = (of_allocation, in_all);
        let mut world = World::new(config);
        let clients = ["203.0.113.1:1", "203.0.113.2:2"].map(udp);
        let relayed: Vec<SocketAddr> = clients
            .iter()
            .map(|client| {
                assert_eq!(world.allocate(*client).code(), 200);
                world.opened.last().unwrap().1
            })
            .collect();
        for (client, peer) in clients.iter().zip(relayed.iter().rev()) {
            assert_eq!(world.permit(*client, *peer), 200);
        }
        let mut arrived = 0;
        for _ in 0..10_000 {
            world.now += Duration::from_millis(1);
            for (path, _) in world.send(clients[0], relayed[1], &[7; 1000]) {
                assert_eq!(path, clients[1]);
                arrived += 1000;
            }
        }
        assert!(CAPPED.contains(&arrived), "{arrived}");
    }
}
