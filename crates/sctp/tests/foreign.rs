//! Peers that know less than we do: what we can beyond RFC 9260 costs them nothing.

mod pair;
mod victim;

use std::collections::BTreeSet;
use std::time::Duration;

use antiphon_sansio::Serial32;
use antiphon_sctp::chunk::{Chunk, Parameters, kind, parameter_kind, put_parameter};
use antiphon_sctp::packet::{HEADER_LEN, Packet};
use antiphon_sctp::{Config, Event, SendOptions, State};
use pair::{Associations, Pair, pattern, perfect};
use victim::{PEER_TSN, Victim};

/// A parameter: type and value.
type Said<'a> = (u16, &'a [u8]);

const ZERO_CHECKSUM: Said<'_> = (parameter_kind::ZERO_CHECKSUM, &[0, 0, 0, 1]);
const FORWARD_TSN: Said<'_> = (parameter_kind::FORWARD_TSN_SUPPORTED, &[]);
const ECN: Said<'_> = (parameter_kind::ECN_CAPABLE, &[]);

const fn extensions(chunks: &[u8]) -> Said<'_> {
    (parameter_kind::SUPPORTED_EXTENSIONS, chunks)
}

/// The parameters of our INIT ACK to an INIT with these, but for the cookie.
fn answer(config: Config, init: &[Said<'_>]) -> Vec<(u16, Vec<u8>)> {
    let mut victim = Victim::new(config);
    let mut parameters = Vec::new();
    for (kind, value) in init {
        put_parameter(&mut parameters, *kind, &[value]);
    }
    let init = victim.init(&parameters);
    victim.give_tagged(0, |out| Chunk::Init(init).write(out));
    let packets = victim.packets();
    let Some(Ok(Chunk::InitAck(ack))) = Packet::parse(&packets[0]).unwrap().chunks().next() else {
        panic!("no INIT ACK")
    };
    assert!(ack.cookie().is_some());
    // The length of the chunk leaves the padding of its last parameter out.
    let len = u16::from_be_bytes([packets[0][HEADER_LEN + 2], packets[0][HEADER_LEN + 3]]);
    let last = ack.parameters.clone().flatten().last().unwrap();
    assert_eq!(usize::from(len) % 4, last.value.len() % 4);
    let known = ack.parameters.clone().map(Result::unwrap);
    known
        .filter(|parameter| parameter.kind != parameter_kind::STATE_COOKIE)
        .map(|parameter| (parameter.kind, parameter.value.to_vec()))
        .collect()
}

#[test]
fn mend01_an_init_ack_says_only_what_the_init_has_said() {
    let everything = Config {
        ecn: true,
        ..Config::default()
    };
    let all = [kind::RE_CONFIG, kind::FORWARD_TSN, kind::I_DATA, kind::I_FORWARD_TSN];
    let usual = [kind::RE_CONFIG, kind::FORWARD_TSN];
    // RANDOM, CHUNKS and HMAC-ALGO (RFC 4895) are nothing of ours, and ask for no report.
    let authenticated: &[Said<'_>] = &[(0x8002, &[7; 32]), (0x8003, &[kind::RE_CONFIG]), (0x8004, &[0, 1])];
    let cases: [(&[Said<'_>], Vec<Said<'_>>); 8] = [
        (&[], vec![]),
        (authenticated, vec![]),
        (&[extensions(&[])], vec![]),
        // As Pion, werift and aiortc begin, and Chromium.
        (
            &[FORWARD_TSN, extensions(&usual)],
            vec![FORWARD_TSN, extensions(&usual)],
        ),
        (&[extensions(&[0xc1, kind::RE_CONFIG])], vec![extensions(&usual[..1])]),
        // As Firefox does.
        (&[FORWARD_TSN, extensions(&all)], vec![FORWARD_TSN, extensions(&all)]),
        (&[ZERO_CHECKSUM], vec![ZERO_CHECKSUM]),
        (
            &[ECN, extensions(&all), ZERO_CHECKSUM],
            vec![FORWARD_TSN, ECN, ZERO_CHECKSUM, extensions(&all)],
        ),
    ];
    for (init, expected) in cases {
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(kind, value)| (kind, value.to_vec()))
            .collect();
        assert_eq!(answer(everything.clone(), init), expected, "{init:?}");
    }
    // And what we cannot is not said either.
    let little = Config {
        interleaving: false,
        zero_checksum: false,
        ..Config::default()
    };
    assert_eq!(
        answer(little, &[ECN, extensions(&all), ZERO_CHECKSUM]),
        [
            (FORWARD_TSN.0, vec![]),
            (parameter_kind::SUPPORTED_EXTENSIONS, usual.to_vec())
        ]
    );
}

#[test]
fn mend01_everything_that_init_says_is_skipped_by_who_does_not_know_it() {
    let mut victim = Victim::new(Config {
        ecn: true,
        ..Config::default()
    });
    victim.association.connect(victim.now);
    let packets = victim.packets();
    let Some(Ok(Chunk::Init(init))) = Packet::parse(&packets[0]).unwrap().chunks().next() else {
        panic!("no INIT")
    };
    // RFC 9260 §3.2.1: the highest bit.
    let kinds: Vec<_> = init.parameters.flatten().map(|parameter| parameter.kind).collect();
    assert_eq!(kinds.len(), 4);
    assert!(kinds.iter().all(|kind| kind & 0x8000 != 0), "{kinds:x?}");
}

#[test]
fn mend01_a_packet_without_checksum_is_taken_only_where_we_said_so() {
    for said in [false, true] {
        let mut victim = Victim::new(Config::default());
        let mut parameters = Vec::new();
        if said {
            put_parameter(&mut parameters, ZERO_CHECKSUM.0, &[ZERO_CHECKSUM.1]);
        }
        let init = victim.init(&parameters);
        victim.give_tagged(0, |out| Chunk::Init(init).write(out));
        let packets = victim.packets();
        let Some(Ok(Chunk::InitAck(ack))) = Packet::parse(&packets[0]).unwrap().chunks().next() else {
            panic!("no INIT ACK")
        };
        victim.tag = ack.initiate_tag;
        let cookie = ack.cookie().unwrap().to_vec();
        victim.give(&[Chunk::CookieEcho(&cookie)]);
        assert!(victim.is_well());
        let mut packet = Vec::new();
        antiphon_sctp::packet::write_header(&mut packet, 5000, 5000, victim.tag);
        Chunk::Heartbeat(&[0, 1, 0, 8, 1, 2, 3, 4]).write(&mut packet);
        let before = victim.association.stats().packets_dropped;
        victim.handle(&packet);
        assert_eq!(victim.association.stats().packets_dropped - before, u64::from(!said));
    }
}

#[test]
fn mend01_a_message_is_given_up_only_if_the_peer_can_be_told_in_its_own_chunks() {
    for told in [false, true] {
        let known = [kind::RE_CONFIG, kind::FORWARD_TSN, kind::I_DATA, kind::I_FORWARD_TSN];
        let mut victim = Victim::knowing(Config::default(), if told { &known } else { &known[..3] });
        let once = SendOptions {
            max_retransmits: Some(0),
            ..SendOptions::default()
        };
        victim
            .association
            .send(victim.now, 1, 53, "now or never".into(), once)
            .unwrap();
        assert_eq!(kinds(&victim.packets()), BTreeSet::from([kind::I_DATA]));
        let mut later = BTreeSet::new();
        for _ in 0..4 {
            victim.now += Duration::from_secs(4);
            victim.association.handle_timeout(victim.now);
            later.extend(kinds(&victim.packets()));
        }
        assert_eq!(later.contains(&kind::I_FORWARD_TSN), told, "{later:?}");
        assert_eq!(later.contains(&kind::I_DATA), !told, "{later:?}");
    }
}

/// The types of all chunks.
fn kinds(packets: &[Vec<u8>]) -> BTreeSet<u8> {
    let mut kinds = BTreeSet::new();
    for packet in packets {
        let mut rest = &packet[HEADER_LEN..];
        while let [kind, ..] = rest {
            kinds.insert(*kind);
            let (_, used) = Chunk::parse(rest).unwrap();
            rest = rest.get(used..).unwrap_or_default();
        }
    }
    kinds
}

#[test]
fn mend02_the_search_for_the_path_mtu_sends_no_chunk_beyond_rfc_9260() {
    let config = Config {
        probe_up_to: 1400,
        interleaving: false,
        zero_checksum: false,
        ..Config::default()
    };
    let mut pair = Pair::of(1, perfect(), config.clone(), config);
    let seen = std::rc::Rc::new(std::cell::RefCell::new(BTreeSet::new()));
    let collected = seen.clone();
    pair.filter = Some(Box::new(move |_, packet| {
        collected.borrow_mut().extend(kinds(&[packet.to_vec()]));
        true
    }));
    pair.connect();
    pair.send_from(0, 1, pattern(200_000, 1), SendOptions::default());
    pair.run_for(Duration::from_secs(5));
    let stats = pair.end(0).stats();
    assert_eq!(
        (stats.max_packet, stats.path_probes),
        (1400, 2),
        "the base and the limit"
    );
    let known = [
        kind::DATA,
        kind::INIT,
        kind::INIT_ACK,
        kind::SACK,
        kind::HEARTBEAT,
        kind::HEARTBEAT_ACK,
        kind::COOKIE_ECHO,
        kind::COOKIE_ACK,
    ];
    assert_eq!(*seen.borrow(), BTreeSet::from(known));
    assert_eq!(pair.read_all(1, 1).len(), 1);
}

#[test]
fn mend09_a_shutdown_is_told_at_once_and_answered_even_if_the_peer_has_left() {
    let mut victim = Victim::connected(Config::default());
    victim.give_data(0, 3, 1, 0, b"the last word");
    let acknowledged = Serial32::new(victim.tsn.wrapping_sub(1));
    victim.give(&[Chunk::Shutdown(acknowledged)]);
    assert_eq!(victim.association.poll_event(), Some(Event::Readable(1)));
    assert_eq!(victim.association.poll_event(), Some(Event::Closed));
    let mut acks = 0;
    let mut answers = |victim: &mut Victim| acks += usize::from(kinds(&victim.packets()).contains(&kind::SHUTDOWN_ACK));
    answers(&mut victim);
    while let Some(at) = victim.association.poll_timeout() {
        victim.now = at;
        victim.association.handle_timeout(at);
        answers(&mut victim);
    }
    assert_eq!(acks, 3);
    assert!(victim.association.has_ended() && victim.association.state() == State::Closed);
    assert_eq!(&victim.read(1).unwrap().data[..], b"the last word");
    assert_eq!(victim.association.poll_event(), None, "told once");
    // All three were lost, and the peer asks again.
    victim.give(&[Chunk::Shutdown(acknowledged)]);
    assert_eq!(kinds(&victim.packets()), BTreeSet::from([kind::SHUTDOWN_ACK]));
    // But who was aborted answers nothing.
    let mut victim = Victim::connected(Config::default());
    victim.give(&[Chunk::Abort {
        reflected_tag: false,
        causes: Parameters::new(&[]),
    }]);
    victim.give(&[Chunk::Shutdown(Serial32::new(PEER_TSN))]);
    assert!(victim.packets().is_empty());
}
