//! Whoever did not log in: what the server answers them, in which order it looks, and how much they can make it send.

mod checked;
mod world;

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_sansio::{BytesMut, Local, Path, Rng, TransmitBuf};
use antiphon_stun::{AttributeType as A, Class, Key, Message, MessageBuilder, Method, TransactionId};
use antiphon_turn::{BehaviourSockets, Client, ClientConfig, MAX_GAIN_TENTHS, Rate, ServerConfig};
use world::{Answer, CLIENT, OFFERED, REALM, World, addr, config, udp};

/// RFC 8489 §9.2.4, check by check: each request fails one, and would fail every later one too.
#[test]
fn credentials_are_checked_in_the_order_of_the_rfc() {
    let mut world = World::new(config());
    let path = udp(CLIENT);
    let wrong = Key::short_term("wrong");
    let challenged = |answer: &Answer| {
        let message = answer.message();
        (
            message.realm() == Some(REALM) && message.nonce().is_some(),
            message.get(A::PASSWORD_ALGORITHMS).is_some(),
            message.has_integrity(),
        )
    };
    // 1. No integrity: 401 for every method, whether there is an allocation or not, whatever else is missing or not understood.
    for method in [
        Method::ALLOCATE,
        Method::REFRESH,
        Method::CREATE_PERMISSION,
        Method::CHANNEL_BIND,
    ] {
        for (unknown, credentials) in [(false, false), (true, false), (false, true), (true, true)] {
            let answer = world.ask(path, method, None, |b| {
                if unknown {
                    b.put(A(0x7abc), &[]);
                }
                if credentials {
                    b.username("alice").realm(REALM).nonce(b"n");
                }
            });
            let answer = answer.unwrap();
            assert_eq!(answer.code(), 401, "{method:?}");
            assert!(matches!(challenged(&answer), (true, _, false)));
        }
    }
    // 2. Integrity, and no name, realm or nonce: 400, without a challenge.
    for missing in 0..3 {
        let answer = world.ask(path, Method::REFRESH, Some(&wrong), |b| {
            if missing != 0 {
                b.username("nobody");
            }
            if missing != 1 {
                b.realm("elsewhere");
            }
            if missing != 2 {
                b.nonce(b"obMatJos2gAAA");
            }
            b.put(A::PASSWORD_ALGORITHM, &[0, 9, 0, 0]);
        });
        let answer = answer.unwrap();
        assert_eq!(answer.code(), 400);
        assert_eq!(challenged(&answer), (false, false, false));
        assert!(answer.message().nonce().is_none() && answer.message().realm().is_none());
    }
    // 3. The nonce announces algorithms: one without the list, the list alone, another list, one that is not in it. 400.
    let lists: [(&[u8], &[u8]); 4] = [
        (&[0, 1, 0, 0], &[]),
        (&[], &OFFERED),
        (&[0, 1, 0, 0], &[0, 1, 0, 0]),
        (&[0, 9, 0, 0], &OFFERED),
    ];
    for (algorithm, list) in lists {
        let answer = world.ask(path, Method::REFRESH, Some(&wrong), |b| {
            b.username("nobody").realm(REALM).nonce(b"obMatJos2gAAA, not ours");
            for (kind, value) in [(A::PASSWORD_ALGORITHM, algorithm), (A::PASSWORD_ALGORITHMS, list)] {
                if !value.is_empty() {
                    b.put(kind, value);
                }
            }
        });
        assert_eq!(answer.unwrap().code(), 400);
    }
    // 4 and 5. A name of nobody, a hash of nobody, another realm, a wrong password: 401, though the nonce is no good either.
    let key = Key::long_term("alice", REALM, "secret");
    let cases: [(Option<&str>, &str, &Key); 4] = [
        (Some("nobody"), REALM, &key),
        (None, REALM, &key),
        (Some("alice"), "elsewhere", &key),
        (Some("alice"), REALM, &wrong),
    ];
    for nonce in [
        b"obMatJos2gAAA, not ours".to_vec(),
        b"f//499k954d6OL34oL9FSTvy64sA".to_vec(),
        world.nonce(path),
    ] {
        for (name, realm, key) in cases {
            let answer = world.ask(path, Method::REFRESH, Some(key), |b| {
                match name {
                    Some(name) => b.username(name),
                    None => b.put(A::USERHASH, &[7; 32]),
                };
                b.realm(realm).nonce(&nonce).put(A(0x7abc), &[]);
            });
            let answer = answer.unwrap();
            assert_eq!(answer.code(), 401);
            assert_eq!(challenged(&answer), (true, true, false));
        }
    }
    // 6. The right password and a nonce that is not good: 438, with one that is.
    let answer = world.ask(path, Method::REFRESH, Some(&key), |b| {
        b.username("alice")
            .realm(REALM)
            .nonce(b"obMatJos2gAAA, not ours")
            .put(A(0x7abc), &[]);
    });
    let answer = answer.unwrap();
    assert_eq!(answer.code(), 438);
    assert_eq!(challenged(&answer), (true, true, false));
    // Then, and signed from here on: what is not understood (RFC 8489 §6.3), an allocation that is not there (RFC 8656 §5).
    let nonce = answer.message().nonce().unwrap().to_vec();
    for (unknown, code) in [(true, 420), (false, 437)] {
        let answer = world.ask(path, Method::REFRESH, Some(&key), |b| {
            b.username("alice").realm(REALM).nonce(&nonce);
            if unknown {
                b.put(A(0x7abc), &[]);
            }
        });
        let answer = answer.unwrap();
        assert_eq!(answer.code(), code);
        assert!(answer.message().check_integrity(&key).is_valid());
        assert!(answer.message().nonce().is_none() && answer.message().realm().is_none());
    }
}

/// RFC 8656 §7.2, item by item: each request fails one, and would fail every later one that can be failed with it.
#[test]
fn allocate_is_checked_in_the_order_of_the_rfc() {
    let mut config = config();
    config.max_allocations_per_user = 0;
    let mut world = World::new(config);
    let mut code = |fill: &dyn Fn(&mut MessageBuilder<'_>)| {
        world
            .login(udp(CLIENT), ("alice", "secret"), Method::ALLOCATE, |b| fill(b))
            .unwrap()
            .code()
    };
    let udp_wanted = |b: &mut MessageBuilder<'_>| _ = b.requested_transport(17);
    let family = |b: &mut MessageBuilder<'_>, n: u32| _ = b.put_u32(A::REQUESTED_ADDRESS_FAMILY, n << 24);
    // 3. REQUESTED-TRANSPORT, there and UDP.
    assert_eq!(code(&|b| _ = b.put(A::DONT_FRAGMENT, &[])), 400);
    assert_eq!(
        code(&|b| _ = b.put(A::REQUESTED_TRANSPORT, &[17]).put(A::DONT_FRAGMENT, &[])),
        400
    );
    assert_eq!(code(&|b| _ = b.requested_transport(6).put(A::DONT_FRAGMENT, &[])), 442);
    // 4. DONT-FRAGMENT, which this one does not serve.
    let both = |b: &mut MessageBuilder<'_>| _ = b.put(A::RESERVATION_TOKEN, &[1; 8]).put(A::EVEN_PORT, &[0]);
    assert_eq!(
        code(&|b| {
            udp_wanted(b);
            both(b);
            b.put(A::DONT_FRAGMENT, &[]);
        }),
        420
    );
    // 5. RESERVATION-TOKEN with what it excludes, before whether it is good.
    assert_eq!(
        code(&|b| {
            udp_wanted(b);
            both(b);
        }),
        400
    );
    assert_eq!(
        code(&|b| {
            udp_wanted(b);
            b.put(A::RESERVATION_TOKEN, &[1; 8]);
        }),
        508
    );
    // 6 and 7. Both kinds of family; then a family that is none.
    assert_eq!(
        code(&|b| {
            udp_wanted(b);
            family(b, 7);
            b.put_u32(A::ADDITIONAL_ADDRESS_FAMILY, 2 << 24);
        }),
        400
    );
    assert_eq!(
        code(&|b| {
            udp_wanted(b);
            family(b, 7);
        }),
        440
    );
    // 9. ADDITIONAL-ADDRESS-FAMILY with a reserved port, or for IPv4.
    assert_eq!(
        code(&|b| {
            udp_wanted(b);
            b.put(A::EVEN_PORT, &[0x80])
                .put_u32(A::ADDITIONAL_ADDRESS_FAMILY, 2 << 24);
        }),
        400
    );
    // 10. The quota, once there is nothing else to say.
    assert_eq!(code(&udp_wanted), 486);
    // 2. Before all of them: the five-tuple is in use.
    let mut world = World::new(self::config());
    assert_eq!(world.allocate(udp(CLIENT)).code(), 200);
    let again = world.login(udp(CLIENT), ("alice", "secret"), Method::ALLOCATE, |b| both(b));
    assert_eq!(again.unwrap().code(), 437);
}

/// Which integrity an answer has (RFC 8489 §9.2.4): by whether the request named an algorithm, not by its own.
#[test]
fn the_integrity_of_an_answer() {
    let mut world = World::new(config());
    let path = udp(CLIENT);
    let key = Key::long_term("alice", REALM, "secret");
    let nonce = world.announcing_nonce(path);
    let mut is_sha256 = |name: bool, sha256: bool| {
        let answer = world.ask(path, Method::REFRESH, None, |b| {
            b.username("alice").realm(REALM).nonce(&nonce);
            if name {
                b.put(A::PASSWORD_ALGORITHM, &[0, 1, 0, 0])
                    .put(A::PASSWORD_ALGORITHMS, &OFFERED);
            }
            match sha256 {
                true => b.integrity_sha256(&key),
                false => b.integrity(&key),
            };
        });
        let answer = answer.unwrap();
        let valid = (
            answer.message().check_integrity(&key).is_valid(),
            answer.message().check_integrity_sha256(&key).is_valid(),
        );
        assert_eq!((answer.code(), valid.0), (437, !valid.1));
        valid.1
    };
    assert!(is_sha256(true, true) && is_sha256(true, false));
    assert!(!is_sha256(false, true) && !is_sha256(false, false));
}

#[test]
fn v18_forged_nonces_neither_lock_anybody_out_nor_let_anybody_guess() {
    let mut config = config();
    config.failure_rate = Rate {
        per_second: 1,
        burst: 5,
    };
    let mut world = World::new(config);
    let path = udp(CLIENT);
    let mut with = |password: &str, nonce: &[u8]| {
        let key = Key::long_term("alice", REALM, password);
        let answer = world.ask(path, Method::REFRESH, Some(&key), |b| {
            b.username("alice").realm(REALM).nonce(nonce);
        });
        answer.unwrap().code()
    };
    let wrong: Vec<u16> = (0..20).map(|n| with(&format!("guess {n}"), b"forged")).collect();
    assert_eq!(wrong[..5], [401; 5]);
    assert_eq!(wrong[5..], [438; 15], "no more guesses are looked at");
    assert_eq!(with("secret", b"forged"), 438, "and the right one is told nothing else");
    assert_eq!(world.allocate(path).code(), 200, "the owner of the address comes in");
}

#[test]
fn v16_bytes_out_for_bytes_in_of_strangers() {
    println!("| request of a stranger | bytes in | bytes out | ratio |\n|---|---|---|---|");
    let ratio = |what: &str, from: &str, method: Method, fill: &dyn Fn(&mut MessageBuilder<'_>)| {
        let mut world = World::new(config());
        let mut buffer = [0; 200];
        let mut builder = MessageBuilder::new(&mut buffer, Class::Request, method, TransactionId([1; 12]));
        fill(&mut builder);
        let len = builder.finish().unwrap();
        world.deliver(udp(from), &buffer[..len]);
        let out: usize = world.sent().iter().map(|(_, data)| data.len()).sum();
        let ratio = out as f64 / len as f64;
        println!("| {what} | {len} | {out} | {ratio:.2} |");
        ratio
    };
    let v6 = "[2001:db8::7]:9";
    for (what, from) in [("Binding, IPv4", CLIENT), ("Binding, IPv6", v6)] {
        assert!(ratio(what, from, Method::BINDING, &|_| {}) <= 2.2);
        let what = format!("{what}, FINGERPRINT");
        assert!(ratio(&what, from, Method::BINDING, &|b| _ = b.fingerprint()) <= 2.2);
    }
    // A challenge needs realm and nonce, as short as they can be; algorithms are listed where the request has the length for them.
    let transport = |b: &mut MessageBuilder<'_>| _ = b.requested_transport(17);
    let stale = |b: &mut MessageBuilder<'_>| {
        transport(b);
        b.username("a").realm("r").nonce(b"n").integrity(&Key::short_term(""));
    };
    for (what, from) in [("IPv4", CLIENT), ("IPv6", v6)] {
        assert!(ratio(&format!("Allocate, {what}"), from, Method::ALLOCATE, &transport) <= 2.2);
        assert!(
            ratio(
                &format!("Allocate, stale nonce, {what}"),
                from,
                Method::ALLOCATE,
                &stale
            ) <= 1.2
        );
    }
    let sealed = |b: &mut MessageBuilder<'_>| {
        transport(b);
        b.fingerprint();
    };
    assert!(ratio("Allocate, FINGERPRINT", CLIENT, Method::ALLOCATE, &sealed) <= 2.2);
    let long = |b: &mut MessageBuilder<'_>| {
        transport(b);
        b.software("antiphon").fingerprint();
    };
    assert!(ratio("Allocate, as our client begins", CLIENT, Method::ALLOCATE, &long) <= 2.2);
    // RFC 8489 §9.2.4 asks for realm and nonce whatever comes without credentials, and these requests are a header alone.
    assert!(ratio("Allocate without a transport", CLIENT, Method::ALLOCATE, &|_| {}) <= 3.0);
    assert!(ratio("Refresh", CLIENT, Method::REFRESH, &|_| {}) <= 3.0);
    assert!(ratio("CreatePermission", CLIENT, Method::CREATE_PERMISSION, &|_| {}) <= 3.0);
    assert!(ratio("ChannelBind", CLIENT, Method::CHANNEL_BIND, &|_| {}) <= 3.0);
    let unknown = |b: &mut MessageBuilder<'_>| _ = b.put(A(0x7777), &[]);
    assert!(ratio("Binding, an unknown attribute", CLIENT, Method::BINDING, &unknown) <= 2.2);
    assert!(ratio("an unknown method", CLIENT, Method::new(0x77), &|_| {}) <= 0.0);

    let mut config = config();
    config.stranger_rate = Rate {
        per_second: 10,
        burst: 20,
    };
    let mut world = World::new(config);
    let mut answered = 0;
    for n in 0..10_000u16 {
        // One second of them, of both kinds, as a forged source would send them.
        world.now += Duration::from_micros(100);
        let method = if n % 2 == 0 { Method::BINDING } else { Method::ALLOCATE };
        answered += usize::from(world.ask(udp(CLIENT), method, None, |_| {}).is_some());
    }
    println!("10 000 requests in a second from one address, at a rate of 10 and a burst of 20: {answered} answers");
    assert!((20..=31).contains(&answered));
    assert_eq!(world.server.counters().throttled as usize, 10_000 - answered);
    assert!(
        world.ask(udp("203.0.113.9:1"), Method::BINDING, None, |_| {}).is_some(),
        "others are served"
    );
}

/// What a first request is short of costs it SHA-256; ours is long enough for realms of up to 20 characters, and over TCP for all.
#[test]
fn our_client_and_server_settle_on_sha_256() {
    for (realm_len, tcp, sha256) in [
        (1, false, true),
        (20, false, true),
        (21, false, false),
        (21, true, true),
        (99, true, true),
    ] {
        let realm = "r".repeat(realm_len);
        let config = ServerConfig::new(realm, vec!["8.8.4.4".parse().unwrap()]).user("alice", "secret");
        let mut world = World::new(config);
        let mut user = ClientConfig::new("alice", "secret");
        let mut path = udp(CLIENT);
        if tcp {
            (user, path.local) = (user.over_stream(), Local::Tcp(1));
        }
        let mut client = Client::new(user, Rng::from_u64(3));
        let mut named = Vec::new();
        let mut out = TransmitBuf::new(4096, 2048);
        while client.poll_transmit(world.now, &mut out) {
            let range = out.finish();
            let request = out.bytes(range).to_vec();
            out.clear();
            let message = Message::parse(&request).unwrap();
            named.push((
                message.get(A::PASSWORD_ALGORITHM).map(<[u8]>::to_vec),
                message.userhash().is_some(),
            ));
            world.deliver(path, &request);
            for (_, answer) in world.sent() {
                client.handle_message(world.now, BytesMut::from(&answer[..]));
            }
        }
        assert_eq!(world.server.allocations(), 1);
        let signed = if sha256 {
            (Some(vec![0, 2, 0, 0]), true)
        } else {
            (None, false)
        };
        assert_eq!(named, [(None, false), signed], "realm of {realm_len}, TCP {tcp}");
    }
}

/// Four sockets of this family.
fn behaviour(v6: bool) -> [(Local, SocketAddr); 4] {
    let hosts = if v6 {
        ["[2001:db8::1]", "[2001:db8::2]"]
    } else {
        ["192.0.2.1", "192.0.2.2"]
    };
    std::array::from_fn(|n| {
        let text = format!("{}:{}", hosts[n / 2], 3478 + n % 2);
        (Local::Socket(n as u32), addr(&text))
    })
}

/// MAPPED-ADDRESS and its like, as they are written.
fn plain(message: &Message<'_>, kind: A) -> Option<SocketAddr> {
    let value = message.get(kind)?;
    let port = u16::from_be_bytes([value[2], value[3]]);
    Some(match value.len() {
        8 => (<[u8; 4]>::try_from(&value[4..]).unwrap(), port).into(),
        _ => (<[u8; 16]>::try_from(&value[4..]).unwrap(), port).into(),
    })
}

#[test]
fn v16_behaviour_discovery_answers_with_little_more_than_it_was_sent() {
    let v6 = "[2001:db8::7]:9";
    println!(
        "| Binding, behaviour discovery | bytes in | bytes out | ratio | of three addresses more |\n|---|---|---|---|---|"
    );
    for (from, whole) in [(CLIENT, false), (v6, false), (CLIENT, true), (v6, true)] {
        let mut config = config();
        config.whole_discovery = whole;
        config.stranger_rate.burst = 10_000;
        let mut world = World::new(config);
        let sockets = behaviour(from == v6);
        world.server.set_behaviour_sockets(BehaviourSockets { sockets });
        let (mut printed, mut seen) = (None, Vec::new());
        // Every length that a request can have, with and without FINGERPRINT, up to one that fills a datagram.
        for padding in (0..1400).step_by(4).map(Some).chain([None]) {
            for fingerprint in [false, true] {
                let mut buffer = [0; 1500];
                let mut builder =
                    MessageBuilder::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([1; 12]));
                if let Some(padding) = padding {
                    builder.put(A::PADDING, &[0; 1400][..padding]);
                }
                if fingerprint {
                    builder.fingerprint();
                }
                let len = builder.finish().unwrap();
                world.deliver(udp(from), &buffer[..len]);
                let sent = world.sent();
                let answer = Message::parse(&sent[0].1).unwrap();
                let out = sent[0].1.len();
                assert_eq!(answer.xor_mapped_address(), Some(addr(from)));
                assert_eq!(answer.has_fingerprint(), fingerprint);
                let more = [A::OTHER_ADDRESS, A::RESPONSE_ORIGIN, A::MAPPED_ADDRESS].map(|kind| plain(&answer, kind));
                let count = more.iter().flatten().count();
                assert!(more[count..].iter().all(Option::is_none), "in the order of need");
                assert!(whole || out * 10 <= len * MAX_GAIN_TENTHS, "{len} {out}");
                if printed != Some(count) || len == 20 {
                    println!(
                        "| {from}, whole: {whole} | {len} | {out} | {:.2} | {count} |",
                        out as f64 / len as f64
                    );
                }
                printed = Some(count);
                seen.push((len, count, answer.get(A::PADDING).map_or(0, <[u8]>::len)));
            }
        }
        let least = |wanted: usize| {
            seen.iter()
                .filter(|(_, count, _)| *count >= wanted)
                .map(|(len, ..)| *len)
                .min()
        };
        let expected = match (from, whole) {
            (_, true) => [20, 20, 20],
            (CLIENT, _) => [20, 28, 32],
            _ => [32, 44, 56],
        };
        assert_eq!([1, 2, 3].map(|wanted| least(wanted).unwrap()), expected);
        assert!(seen.contains(&(1420, 3, 1396)), "padding is answered in kind");
    }
    // Over TCP nobody forges an address; nor does who has an allocation.
    let mut world = World::new(config());
    let tcp = Path {
        local: Local::Tcp(1),
        remote: addr(CLIENT),
    };
    let (local, _) = behaviour(false)[0];
    let sockets = behaviour(false);
    world.server.set_behaviour_sockets(BehaviourSockets { sockets });
    let logged_in = Path {
        local,
        remote: addr("203.0.113.2:1"),
    };
    assert_eq!(world.allocate(logged_in).code(), 200);
    let whole = world.ask(logged_in, Method::BINDING, None, |_| {}).unwrap();
    assert_eq!(whole.0.len(), 68);
    let challenge = world.ask(tcp, Method::REFRESH, None, |_| {}).unwrap();
    assert_eq!(challenge.message().get(A::PASSWORD_ALGORITHMS), Some(&OFFERED[..]));
}

#[test]
fn nat_behaviour_discovery() {
    let sockets = behaviour(false);
    let mut world = World::new(config());
    let refused = world.ask(udp(CLIENT), Method::BINDING, None, |b| {
        _ = b.put_u32(A::CHANGE_REQUEST, 6)
    });
    assert_eq!(refused.unwrap().code(), 420);
    world.server.set_behaviour_sockets(BehaviourSockets { sockets });
    for (here, flags, from) in [(0, 0, 0), (0, 2, 1), (0, 4, 2), (0, 6, 3), (3, 6, 0), (2, 4, 0)] {
        let mut buffer = [0; 100];
        let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([1; 12]));
        builder.put_u32(A::CHANGE_REQUEST, flags);
        let len = builder.finish().unwrap();
        let path = Path {
            local: Local::Socket(here),
            remote: addr(CLIENT),
        };
        world.deliver(path, &buffer[..len]);
        let sent = world.sent();
        assert_eq!(
            sent[0].0,
            Path {
                local: Local::Socket(from),
                remote: addr(CLIENT)
            }
        );
        let answer = Message::parse(&sent[0].1).unwrap();
        assert_eq!(answer.xor_mapped_address(), Some(addr(CLIENT)));
        assert_eq!(plain(&answer, A::RESPONSE_ORIGIN), Some(sockets[from as usize].1));
        assert_eq!(plain(&answer, A::OTHER_ADDRESS), Some(sockets[3 - here as usize].1));
    }
    let mut buffer = [0; 100];
    let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([1; 12]));
    builder.put(A::RESPONSE_PORT, &[0x20, 0, 0, 0]);
    let len = builder.finish().unwrap();
    world.deliver(udp(CLIENT), &buffer[..len]);
    assert_eq!(world.sent()[0].0.remote, addr("203.0.113.1:8192"));
}
