//! The server, request by request, and what hostile clients get of it. Tests are named by their class of weakness in
//! docs/vulnerabilities.md.

mod checked;
mod world;

use std::time::Duration;

use antiphon_crypto::hmac_sha1;
use antiphon_netsim::Machine;
use antiphon_sansio::{ClockAnchor, Local, Path};
use antiphon_stun::{AttributeType as A, Key, Message, MessageBuilder, Method};
use antiphon_turn::ServerConfig;
use base64::Engine as _;
use world::{CLIENT, OFFERED, PEER, REALM, World, addr, config, udp};

#[test]
fn codes_of_allocate() {
    let mut world = World::new(config());
    let path = udp(CLIENT);
    let mut code = |fill: &dyn Fn(&mut MessageBuilder<'_>)| world.alice(path, Method::ALLOCATE, |b| fill(b)).code();
    assert_eq!(code(&|_| {}), 400, "no REQUESTED-TRANSPORT");
    assert_eq!(code(&|b| _ = b.requested_transport(6)), 442);
    assert_eq!(
        code(&|b| _ = b.requested_transport(17).put_u32(A::REQUESTED_ADDRESS_FAMILY, 7 << 24)),
        440
    );
    assert_eq!(code(&|b| _ = b.requested_transport(17).put(A::DONT_FRAGMENT, &[])), 420);
    assert_eq!(code(&|b| _ = b.requested_transport(17).put(A(0x7abc), &[])), 420);
    assert_eq!(
        code(&|b| _ = b.requested_transport(17).put(A::RESERVATION_TOKEN, &[1; 8])),
        508
    );
    let both = |b: &mut MessageBuilder<'_>| {
        _ = b
            .requested_transport(17)
            .put(A::RESERVATION_TOKEN, &[1; 8])
            .put(A::EVEN_PORT, &[0])
    };
    assert_eq!(code(&both), 400);
    assert_eq!(
        code(&|b| _ = b.requested_transport(17).put_u32(A::ADDITIONAL_ADDRESS_FAMILY, 1 << 24)),
        400
    );
    assert_eq!(code(&|b| _ = b.requested_transport(17)), 200);
    assert_eq!(
        code(&|b| _ = b.requested_transport(17)),
        437,
        "a second one on the same five-tuple"
    );
    let bob = world.login(path, ("bob", "?"), Method::REFRESH, |_| {}).unwrap();
    assert_eq!(bob.code(), 401);
    let unknown = world.alice(udp("203.0.113.1:2"), Method::ALLOCATE, |b| _ = b.put(A(0x7abc), &[]));
    assert_eq!(unknown.message().unknown_attributes().collect::<Vec<_>>(), [A(0x7abc)]);
}

#[test]
fn another_user_cannot_touch_an_allocation() {
    let mut world = World::new(config().user("bob", "builder"));
    assert_eq!(world.allocate(udp(CLIENT)).code(), 200);
    let answer = world
        .login(udp(CLIENT), ("bob", "builder"), Method::REFRESH, |b| _ = b.lifetime(0))
        .unwrap();
    assert_eq!(answer.code(), 441);
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn both_families_and_one_of_them_given_back() {
    let mut world = World::new(config());
    let path = udp(CLIENT);
    let answer = world.alice(path, Method::ALLOCATE, |b| {
        b.requested_transport(17).put_u32(A::ADDITIONAL_ADDRESS_FAMILY, 2 << 24);
    });
    let relayed: Vec<_> = answer.message().xor_relayed_addresses().map(Option::unwrap).collect();
    assert_eq!(relayed, [addr("8.8.4.4:50000"), addr("[2600::1]:50002")]);
    for peer in [PEER, "[2606:4700::1]:9"] {
        assert_eq!(world.permit(path, addr(peer)), 200);
        assert_eq!(world.send(path, addr(peer), b"x").len(), 1, "{peer}");
    }
    let give_back = world.alice(path, Method::REFRESH, |b| {
        b.lifetime(0).put_u32(A::REQUESTED_ADDRESS_FAMILY, 2 << 24);
    });
    assert_eq!(
        (give_back.code(), world.closed.len(), world.server.allocations()),
        (200, 1, 1)
    );
    assert_eq!(world.permit(path, addr("[2606:4700::1]:9")), 443);
    assert_eq!(world.send(path, addr(PEER), b"x").len(), 1);
    // A server of one family says which it lacks.
    let mut world = World::new(ServerConfig::new(REALM, vec!["8.8.4.4".parse().unwrap()]).user("alice", "secret"));
    let answer = world.alice(path, Method::ALLOCATE, |b| {
        b.requested_transport(17).put_u32(A::ADDITIONAL_ADDRESS_FAMILY, 2 << 24);
    });
    assert_eq!(answer.message().get(A::ADDRESS_ERROR_CODE), Some(&[2, 0, 4, 40][..]));
}

#[test]
fn an_even_port_and_the_next_one_reserved() {
    let mut world = World::new(config());
    let answer = world.alice(udp(CLIENT), Method::ALLOCATE, |b| {
        _ = b.requested_transport(17).put(A::EVEN_PORT, &[0x80])
    });
    assert_eq!(answer.message().xor_relayed_address().unwrap().port() % 2, 0);
    let token = answer.message().reservation_token().unwrap();
    let second = udp("203.0.113.1:2222");
    let reserved = |world: &mut World| {
        world.alice(second, Method::ALLOCATE, |b| {
            _ = b.requested_transport(17).put(A::RESERVATION_TOKEN, &token)
        })
    };
    let got = reserved(&mut world);
    let first_port = answer.message().xor_relayed_address().unwrap().port();
    assert_eq!(got.message().xor_relayed_address().unwrap().port(), first_port + 1);
    // A reservation that nobody uses is closed after 30 s.
    let mut world = World::new(config());
    world.alice(udp(CLIENT), Method::ALLOCATE, |b| {
        _ = b.requested_transport(17).put(A::EVEN_PORT, &[0x80])
    });
    world.now += Duration::from_secs(31);
    world.server.handle_timeout(world.now);
    world.serve();
    assert_eq!(world.closed.len(), 1);
}

#[test]
fn permissions_last_five_minutes_and_channels_ten() {
    let mut world = World::new(config());
    let path = udp(CLIENT);
    world.allocate(path);
    let bind = world.alice(path, Method::CHANNEL_BIND, |b| {
        b.channel_number(0x4001).xor_address(A::XOR_PEER_ADDRESS, addr(PEER));
    });
    assert_eq!(bind.code(), 200);
    let peer_sends = |world: &mut World| {
        let path = Path {
            local: Local::Relay(0),
            remote: addr(PEER),
        };
        world.deliver(path, b"12345");
        world.sent()
    };
    let framed = peer_sends(&mut world);
    assert_eq!(framed, [(path, b"\x40\x01\0\x0512345".to_vec())]);
    world.now += Duration::from_secs(299);
    assert_eq!(peer_sends(&mut world).len(), 1);
    world.now += Duration::from_secs(2);
    assert!(peer_sends(&mut world).is_empty(), "the permission is over");
    assert_eq!(world.permit(path, addr(PEER)), 200);
    assert_eq!(peer_sends(&mut world)[0].1[..2], [0x40, 1], "the channel is not");
    world.now += Duration::from_secs(298);
    world.alice(path, Method::REFRESH, |_| {});
    assert_eq!(world.permit(path, addr(PEER)), 200);
    world.now += Duration::from_secs(2);
    assert_eq!(peer_sends(&mut world)[0].1[..2], [0, 0x17], "a Data indication");
}

#[test]
fn channel_data_is_padded_over_a_stream_and_the_connection_takes_the_allocation_along() {
    let mut world = World::new(config());
    let path = Path {
        local: Local::Tcp(3),
        remote: addr(CLIENT),
    };
    world.allocate(path);
    world.alice(path, Method::CHANNEL_BIND, |b| {
        b.channel_number(0x4001).xor_address(A::XOR_PEER_ADDRESS, addr(PEER));
    });
    world.deliver(path, b"\x40\x01\0\x05abcde\0\0\0");
    let relay = Path {
        local: Local::Relay(0),
        remote: addr(PEER),
    };
    assert_eq!(world.sent(), [(relay, b"abcde".to_vec())]);
    world.deliver(relay, b"12345");
    assert_eq!(world.sent(), [(path, b"\x40\x01\0\x0512345\0\0\0".to_vec())]);
    world.server.handle_closed(Local::Tcp(3));
    world.serve();
    assert_eq!((world.server.allocations(), world.closed.len()), (0, 1));
}

#[test]
fn two_clients_meet_inside_the_server() {
    let mut world = World::new(config());
    let (a, b) = (udp("203.0.113.1:1"), udp("203.0.113.2:2"));
    let relayed = [a, b].map(|path| world.allocate(path).message().xor_relayed_address().unwrap());
    assert_eq!(world.permit(a, relayed[1]), 200);
    assert!(
        world.send(a, relayed[1], b"hello").is_empty(),
        "no permission at the other end"
    );
    assert_eq!(world.permit(b, relayed[0]), 200);
    let sent = world.send(a, relayed[1], b"hello");
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].0, b);
    let indication = Message::parse(&sent[0].1).unwrap();
    assert_eq!(
        (indication.xor_peer_address(), indication.data()),
        (Some(relayed[0]), Some(&b"hello"[..]))
    );
}

#[test]
fn sha_256_credentials_a_hidden_name_and_no_bidding_down() {
    let mut world = World::new(config());
    let path = udp(CLIENT);
    let nonce = world.announcing_nonce(path);
    assert!(nonce.starts_with(b"obMatJos2wAAA"));
    let key = Key::long_term_sha256("alice", REALM, "secret");
    let hash = antiphon_crypto::sha256(&[b"alice:example.org"]);
    let answer = world
        .ask(path, Method::ALLOCATE, None, |b| {
            b.requested_transport(17)
                .put(A::USERHASH, &hash)
                .realm(REALM)
                .nonce(&nonce);
            b.put(A::PASSWORD_ALGORITHM, &[0, 2, 0, 0])
                .put(A::PASSWORD_ALGORITHMS, &OFFERED)
                .integrity_sha256(&key);
        })
        .unwrap();
    assert_eq!(answer.code(), 200);
    assert!(answer.message().check_integrity_sha256(&key).is_valid());
    // Somebody took SHA-256 out of the list.
    let nonce = world.announcing_nonce(udp("203.0.113.1:2"));
    let answer = world
        .ask(udp("203.0.113.1:2"), Method::ALLOCATE, None, |b| {
            b.requested_transport(17).username("alice").realm(REALM).nonce(&nonce);
            b.put(A::PASSWORD_ALGORITHM, &[0, 1, 0, 0])
                .put(A::PASSWORD_ALGORITHMS, &[0, 1, 0, 0])
                .integrity(&key);
        })
        .unwrap();
    assert_eq!(answer.code(), 400);
}

#[test]
fn v18_credentials_that_expire() {
    let clock = ClockAnchor::new(antiphon_netsim::start(), Duration::from_secs(1_000_000));
    let mut world = World::new(config().shared_secret("north", clock));
    let password = |name: &str| {
        base64::engine::general_purpose::STANDARD.encode(hmac_sha1(b"north", &[name.as_bytes()]).as_bytes())
    };
    let try_with = |world: &mut World, port: u16, name: &str, password: &str| {
        let path = udp(&format!("203.0.113.1:{port}"));
        world
            .login(path, (name, password), Method::ALLOCATE, |b| {
                _ = b.requested_transport(17)
            })
            .unwrap()
            .code()
    };
    let good = "1000100:carol";
    assert_eq!(try_with(&mut world, 1, good, &password(good)), 200);
    assert_eq!(
        try_with(&mut world, 2, "999999:carol", &password("999999:carol")),
        401,
        "expired"
    );
    assert_eq!(
        try_with(&mut world, 3, "2000000:carol", &password(good)),
        401,
        "another name's password"
    );
    assert_eq!(try_with(&mut world, 4, "carol", &password("carol")), 401, "no expiry");
    world.now += Duration::from_secs(101);
    assert_eq!(try_with(&mut world, 5, good, &password(good)), 401);
    // What was allocated in time may go on.
    let refresh = world
        .login(udp("203.0.113.1:1"), (good, &password(good)), Method::REFRESH, |_| {})
        .unwrap();
    assert_eq!(refresh.code(), 200);
}

#[test]
fn v18_nonces_expire_and_are_bound_to_the_client() {
    let mut world = World::new(config());
    let key = Key::long_term("alice", REALM, "secret");
    let nonce = world.nonce(udp(CLIENT));
    let code = |world: &mut World, path: Path, nonce: &[u8]| {
        let answer = world.ask(path, Method::ALLOCATE, Some(&key), |b| {
            b.username("alice").realm(REALM).nonce(nonce).requested_transport(17);
        });
        answer.unwrap().code()
    };
    assert_eq!(code(&mut world, udp("203.0.113.2:1111"), &nonce), 438);
    let mut forged = nonce.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(code(&mut world, udp(CLIENT), &forged), 438);
    world.now += Duration::from_secs(3602);
    assert_eq!(code(&mut world, udp(CLIENT), &nonce), 438);
    assert_eq!(world.server.allocations(), 0);
    assert_eq!(world.server.counters().stale_nonces, 3);
}

#[test]
fn v18_quotas_per_user_and_per_address_and_freed_allocations_count_no_more() {
    let mut config = config().user("bob", "builder");
    config.max_allocations_per_user = 3;
    config.max_allocations_per_address = 4;
    let mut world = World::new(config);
    let path = |n: u16| udp(&format!("203.0.113.1:{n}"));
    let codes: Vec<u16> = (1..=5).map(|n| world.allocate(path(n)).code()).collect();
    assert_eq!(codes, [200, 200, 200, 486, 486]);
    let bob = |world: &mut World, n| {
        let answer = world.login(path(n), ("bob", "builder"), Method::ALLOCATE, |b| {
            _ = b.requested_transport(17)
        });
        answer.unwrap().code()
    };
    assert_eq!((bob(&mut world, 11), bob(&mut world, 12)), (200, 486));
    assert_eq!(world.alice(path(1), Method::REFRESH, |b| _ = b.lifetime(0)).code(), 200);
    assert_eq!(world.allocate(path(4)).code(), 200);
    world.now += Duration::from_secs(601);
    world.server.handle_timeout(world.now);
    world.serve();
    assert_eq!((world.server.allocations(), world.closed.len()), (0, 5));
    assert_eq!(world.server.poll_timeout(), None);
    assert_eq!(world.allocate(path(1)).code(), 200);
}

#[test]
fn v17_no_way_inside_by_permission_channel_or_send() {
    let mut config = config();
    config.own_addrs = vec!["8.8.8.1".parse().unwrap()];
    let mut world = World::new(config);
    let path = udp(CLIENT);
    let answer = world.alice(path, Method::ALLOCATE, |b| {
        b.requested_transport(17).put_u32(A::ADDITIONAL_ADDRESS_FAMILY, 2 << 24);
    });
    assert_eq!(answer.code(), 200);
    let inside = [
        "0.0.0.0:9",
        "0.1.2.3:9",
        "127.0.0.1:9",
        "127.9.9.9:9",
        "10.0.0.1:9",
        "172.16.0.1:9",
        "192.168.1.1:9",
        "100.64.0.1:9",
        "169.254.169.254:80",
        "198.18.0.1:9",
        "224.0.0.1:9",
        "255.255.255.255:9",
        "[::]:9",
        "[::1]:9",
        "[::127.0.0.1]:9",
        "[::ffff:127.0.0.1]:9",
        "[::ffff:169.254.169.254]:80",
        "[64:ff9b::7f00:1]:9",
        "[64:ff9b::a00:1]:9",
        "[64:ff9b:1::a00:1]:9",
        "[2002:7f00:1::1]:9",
        "[2001:0:1::1]:9",
        "[fe80::1]:9",
        "[fc00::1]:9",
        "[ff02::1]:9",
        // Another address of the server's machine.
        "8.8.8.1:22",
    ];
    for peer in inside.map(addr) {
        assert_eq!(world.permit(path, peer), 403, "{peer}");
        let bind = world.alice(path, Method::CHANNEL_BIND, |b| {
            b.channel_number(0x4001).xor_address(A::XOR_PEER_ADDRESS, peer);
        });
        assert_eq!(bind.code(), 403, "{peer}");
        assert!(world.send(path, peer, b"x").is_empty(), "{peer}");
    }
    assert_eq!(world.server.counters().denied_peers as usize, 2 * inside.len());
    // One denied peer among good ones: none is let in.
    let mixed = world.alice(path, Method::CREATE_PERMISSION, |b| {
        b.xor_address(A::XOR_PEER_ADDRESS, addr(PEER))
            .xor_address(A::XOR_PEER_ADDRESS, addr("127.0.0.1:1"));
    });
    assert_eq!(mixed.code(), 403);
    assert!(world.send(path, addr(PEER), b"x").is_empty());
    // The relay's own address: other clients may be there, the machine's services are not for them.
    assert_eq!(world.permit(path, addr("8.8.4.4:22")), 200);
    assert!(world.send(path, addr("8.8.4.4:22"), b"x").is_empty());
}
