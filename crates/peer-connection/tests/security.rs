//! What strangers may not do, and what a peer may not get away with.

use std::time::{Duration, Instant};

use crate::support::Pair;
use antiphon_dtls::{Connection, Role};
use antiphon_netsim::SocketId;
use antiphon_peer_connection::{
    DataChannelId, Direction, Ecn, Error, Event, MediaKind, Message, Rng, RtcDataChannelInit, RtcDtlsTransportState,
    RtcIceCandidateInit, RtcPeerConnectionState, RtcRtpTransceiverInit, RtcSessionDescription, RtcSignalingState,
    RtcStats, TransmitBuf,
};

fn with_data(offerer: usize, seed: u64) -> (Pair, DataChannelId) {
    let mut pair = Pair::new(seed);
    let channel = pair
        .call(offerer, |pc, now| {
            pc.create_data_channel(now, "chat", RtcDataChannelInit::default())
        })
        .unwrap();
    (pair, channel)
}

/// A ClientHello that any server would answer.
fn client_hello(now: Instant) -> Vec<u8> {
    let certificate = antiphon_dtls::Certificate::generate(&Default::default()).unwrap();
    let config = antiphon_dtls::Config::new(std::sync::Arc::new(certificate));
    let mut dtls = Connection::new(config, Role::Client, Rng::from_u64(9));
    let mut out = TransmitBuf::new(65_536, 1200);
    assert!(dtls.poll_transmit(now, &mut out).is_some());
    let range = out.finish();
    out.bytes(range).to_vec()
}

fn dropped(pair: &Pair, at: usize) -> u64 {
    let report = pair.pc(at).get_stats(pair.net.now());
    let found = report.entries.iter().find_map(|entry| match entry {
        RtcStats::PeerConnection(stats) => Some(stats.datagrams_dropped),
        _ => None,
    });
    found.unwrap()
}

/// V1, V14: before, during and after ICE a stranger sends ClientHellos and plain RTP to every open port. Nothing comes
/// back to it, and the peers do not notice.
#[test]
fn a_stranger_gets_no_answer_and_does_no_harm() {
    for offerer in 0..2 {
        let (mut pair, channel) = with_data(offerer, 1);
        let host = pair.net.network.add_host();
        let stranger = pair.net.network.bind(host, "10.6.6.6:666".parse().unwrap()).unwrap();
        let address = pair.net.network.address(stranger);
        let hello = client_hello(pair.net.now());
        // The first suite of the list becomes TLS_NULL_WITH_NULL_NULL.
        let mut null_suite = hello.clone();
        const SUITES: usize = 13 + 12 + 2 + 32 + 1 + 1;
        null_suite[SUITES + 2..SUITES + 4].fill(0);
        let mut rtp = vec![0x80, 111, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4];
        rtp.extend([0; 160]);
        pair.negotiate(offerer);
        for _ in 0..400 {
            for at in 0..2 {
                for target in pair.addresses(at) {
                    for datagram in [&hello, &null_suite, &rtp] {
                        pair.net.network.send(stranger, target, Ecn::NotEct, datagram);
                    }
                }
            }
            pair.run_for(Duration::from_millis(5));
        }
        pair.connect();
        let other = pair.open(offerer, channel);
        pair.exchange(offerer, channel, other, Message::text("still here"));
        for at in 0..2 {
            assert!(!pair.sent_to(at).contains(&address), "{at} answered the stranger");
            assert!(dropped(&pair, at) > 100);
            let media = |event: &Event| matches!(event, Event::Frame { .. } | Event::TrackUnmuted { .. });
            assert!(!pair.told(at, media));
        }
    }
}

/// V2: whose certificate has not the signalled fingerprint is not heard, and hears nothing.
#[test]
fn a_wrong_fingerprint_fails_and_delivers_nothing() {
    for liar in 0..2 {
        let (mut pair, channel) = with_data(0, 2);
        let twist = |sdp: &str| {
            let at = sdp.find("a=fingerprint:sha-256 ").unwrap() + "a=fingerprint:sha-256 ".len();
            let digit = if &sdp[at..at + 1] == "A" { "B" } else { "A" };
            let line = &sdp[at..at + 95];
            sdp.replace(line, &format!("{digit}{}", &line[1..]))
        };
        pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
        let mut offer = pair.pc(0).local_description().unwrap();
        if liar == 0 {
            offer.sdp = twist(&offer.sdp);
        }
        pair.call(1, |pc, now| pc.set_remote_description(now, offer)).unwrap();
        pair.call(1, |pc, now| pc.set_local_description(now, None)).unwrap();
        let mut answer = pair.pc(1).local_description().unwrap();
        if liar == 1 {
            answer.sdp = twist(&answer.sdp);
        }
        pair.call(0, |pc, now| pc.set_remote_description(now, answer)).unwrap();
        let deceived = 1 - liar;
        pair.run_until(Duration::from_secs(30), |pair| {
            pair.pc(deceived).connection_state() == RtcPeerConnectionState::Failed
        });
        pair.run_for(Duration::from_secs(5));
        assert_eq!(pair.pc(deceived).connection_state(), RtcPeerConnectionState::Failed);
        assert_eq!(pair.pc(deceived).dtls_state(), RtcDtlsTransportState::Failed);
        for at in 0..2 {
            assert!(!pair.told(at, |event| matches!(event, Event::DataChannelOpen(_))));
            assert!(!pair.told(at, |event| matches!(event, Event::DataChannel(_))));
        }
        let sent = pair.call(0, |pc, now| pc.send(now, channel, Message::text("secret")));
        assert!(matches!(sent, Err(Error::Send(_))), "{sent:?}");
    }
}

/// V14: media without DTLS is refused, whatever the rest of the offer says.
#[test]
fn v14_media_without_dtls_is_refused() {
    let mut pair = Pair::new(4);
    pair.call(0, |pc, _| {
        pc.add_transceiver(MediaKind::Audio, RtcRtpTransceiverInit::new(Direction::SendRecv))
    })
    .unwrap();
    let offer = pair.call(0, |pc, _| pc.create_offer(Default::default())).unwrap();
    // With a fingerprint these profiles mean DTLS too (RFC 9429 §5.1.2).
    let lines = offer
        .sdp
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("a=fingerprint"));
    let plain: String = lines.collect();
    for protocol in ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"] {
        let sdp = plain.replace("UDP/TLS/RTP/SAVPF", protocol);
        assert_ne!(sdp, plain);
        let result = pair.call(1, |pc, now| {
            pc.set_remote_description(now, RtcSessionDescription::offer(sdp))
        });
        assert!(matches!(result, Err(Error::Signaling(_))), "{protocol}: {result:?}");
        assert_eq!(pair.pc(1).signaling_state(), RtcSignalingState::Stable);
        assert_eq!(pair.pc(1).transceivers().count(), 0);
    }
}

/// V14: RTP and RTCP without SRTP from the peer's own address, which ICE has authenticated: dropped and counted, before
/// DTLS has ended and after, and no source comes of it.
#[test]
fn v14_plain_media_is_dropped_and_counted() {
    let (mut pair, channel) = with_data(0, 11);
    pair.negotiate(0);
    let (from, to) = (pair.addresses(1)[0], pair.addresses(0)[0]);
    let socket = (0..)
        .map(SocketId)
        .find(|socket| pair.net.network.address(*socket) == from)
        .unwrap();
    let mut rtp = vec![0x80, 111, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4];
    rtp.extend([0; 160]);
    let rtcp = [0x80, 201, 0, 1, 1, 2, 3, 4];
    let flood = |pair: &mut Pair| {
        for _ in 0..100 {
            pair.net.network.send(socket, to, Ecn::NotEct, &rtp);
            pair.net.network.send(socket, to, Ecn::NotEct, &rtcp);
            pair.run_for(Duration::from_millis(1));
        }
    };
    flood(&mut pair);
    pair.connect();
    pair.run_for(Duration::from_millis(100));
    let before = dropped(&pair, 0);
    flood(&mut pair);
    pair.run_for(Duration::from_millis(100));
    assert_eq!(dropped(&pair, 0) - before, 200);
    let report = pair.pc(0).get_stats(pair.net.now());
    assert_eq!(report.inbound_rtp().count(), 0);
    let media = |event: &Event| matches!(event, Event::Frame { .. } | Event::TrackUnmuted { .. });
    assert!(!pair.told(0, media));
    let other = pair.open(0, channel);
    pair.exchange(1, other, channel, Message::text("here"));
}

/// V2: another certificate in mid-session is refused; what runs goes on.
#[test]
fn a_changed_fingerprint_is_refused() {
    let (mut pair, channel) = with_data(0, 5);
    pair.negotiate(0);
    pair.connect();
    let other = pair.open(0, channel);
    let mut offer = pair.call(0, |pc, _| pc.create_offer(Default::default())).unwrap();
    let at = offer.sdp.find("a=fingerprint:sha-256 ").unwrap() + 22;
    let line = offer.sdp[at..at + 95].to_owned();
    offer.sdp = offer.sdp.replace(&line, &"AB:".repeat(32)[..95]);
    let result = pair.call(1, |pc, now| pc.set_remote_description(now, offer));
    assert!(matches!(result, Err(Error::Signaling(_))), "{result:?}");
    pair.exchange(0, channel, other, Message::text("goes on"));
}

/// V4, V7, V15: floods of every kind from nowhere leave nothing behind but counters.
#[test]
fn floods_are_bounded() {
    let (mut pair, channel) = with_data(0, 6);
    pair.negotiate(0);
    let host = pair.net.network.add_host();
    let mut rng = Rng::from_u64(7);
    let target = pair.addresses(0)[0];
    for round in 0..20_u32 {
        let source = format!("10.7.{round}.1:{}", 1000 + round).parse().unwrap();
        let socket = pair.net.network.bind(host, source).unwrap();
        for _ in 0..200 {
            let mut datagram = vec![0; 20 + rng.below(1100) as usize];
            rng.fill(&mut datagram);
            datagram[0] = [0, 1, 22, 20, 63, 64, 0x80, 0x90, 0xbf, 200][rng.below(10) as usize];
            pair.net.network.send(socket, target, Ecn::NotEct, &datagram);
        }
        pair.run_for(Duration::from_millis(20));
    }
    pair.connect();
    let other = pair.open(0, channel);
    pair.exchange(1, other, channel, Message::text("here"));
    let report = pair.pc(0).get_stats(pair.net.now());
    assert_eq!(report.inbound_rtp().count(), 0);
    assert!(dropped(&pair, 0) > 1000);
}

/// The peer that answers may be faster than its answer: its checks and its ClientHello come first. The handshake may
/// begin, but nothing is connected before the answer has named the fingerprint.
#[test]
fn an_answer_slower_than_dtls() {
    for (seed, honest) in [(8, true), (9, false)] {
        let (mut pair, channel) = with_data(0, seed);
        pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
        pair.signal();
        let offer = pair.pc(0).local_description().unwrap();
        pair.call(1, |pc, now| pc.set_remote_description(now, offer)).unwrap();
        pair.call(1, |pc, now| pc.set_local_description(now, None)).unwrap();
        let mut answer = pair.pc(1).local_description().unwrap();
        // Only the answer is slow; candidates would be kept for it.
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.pc(1).dtls_state(), RtcDtlsTransportState::Connecting);
        assert_ne!(pair.pc(0).connection_state(), RtcPeerConnectionState::Connected);
        assert!(!pair.told(0, |event| matches!(event, Event::DataChannelOpen(_))));
        if !honest {
            let at = answer.sdp.find("a=fingerprint:sha-256 ").unwrap() + 22;
            let line = answer.sdp[at..at + 95].to_owned();
            answer.sdp = answer.sdp.replace(&line, &"AB:".repeat(32)[..95]);
        }
        pair.call(0, |pc, now| pc.set_remote_description(now, answer)).unwrap();
        if honest {
            pair.connect();
            let other = pair.open(0, channel);
            pair.exchange(1, other, channel, Message::text("at last"));
        } else {
            pair.run_for(Duration::from_secs(20));
            assert_eq!(pair.pc(0).connection_state(), RtcPeerConnectionState::Failed);
            assert!(!pair.told(0, |event| matches!(event, Event::DataChannelOpen(_))));
        }
    }
}

/// V15: a peer's signalling names thousands of candidates, in its description and after it. Neither the tables nor the
/// pace at which strangers are sent checks grow with them, and the true candidate, told first, still serves.
#[test]
fn v15_candidate_floods_are_bounded() {
    let (mut pair, channel) = with_data(0, 12);
    pair.trickle = false;
    pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
    let offer = pair.pc(0).local_description().unwrap();
    pair.call(1, |pc, now| pc.set_remote_description(now, offer)).unwrap();
    pair.call(1, |pc, now| pc.set_local_description(now, None)).unwrap();
    let mut answer = pair.pc(1).local_description().unwrap();
    let candidate = |n: u32| {
        let ip = format!("198.51.{}.{}", 100 + n / 250, n % 250 + 1);
        format!("candidate:{n} 1 udp 2130706431 {ip} 6000 typ host")
    };
    let many: String = (0..2000).map(|n| format!("a={}\r\n", candidate(n))).collect();
    let at = answer.sdp.find("a=end-of-candidates").unwrap();
    answer.sdp.insert_str(at, &many);
    let host = pair.net.host(pair.ids[1]);
    pair.net.network.set_down(host, true);
    pair.call(0, |pc, now| pc.set_remote_description(now, answer)).unwrap();
    for n in 2000..4000 {
        let init = RtcIceCandidateInit {
            candidate: candidate(n),
            sdp_mid: Some("0".into()),
            ..RtcIceCandidateInit::default()
        };
        let _ = pair.call(0, |pc, now| pc.add_ice_candidate(now, Some(init)));
    }
    // The true one cannot be reached as yet, so the others have their turn: one new transaction each 50 ms (RFC 8445
    // §14.2), and the burst with which checks begin.
    pair.run_for(Duration::from_secs(10));
    let sent = pair.sent(0).stun_datagrams;
    assert!((150..=10_000 / 50 + 10).contains(&sent), "{sent}");
    let report = pair.pc(0).get_stats(pair.net.now());
    let count = |what: fn(&RtcStats) -> bool| report.entries.iter().filter(|entry| what(entry)).count();
    let remote = count(|entry| matches!(entry, RtcStats::RemoteCandidate(_)));
    let pairs = count(|entry| matches!(entry, RtcStats::CandidatePair(_)));
    assert!(
        (50..=100).contains(&remote) && (50..=100).contains(&pairs),
        "{remote} {pairs}"
    );
    pair.net.network.set_down(host, false);
    pair.connect();
    let other = pair.open(0, channel);
    pair.exchange(1, other, channel, Message::text("here"));
}
