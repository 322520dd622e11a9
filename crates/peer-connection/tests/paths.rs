//! Whole peers over other paths than the plain one: relays, lite agents, IPv6, an address that goes away.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::support::Pair;
use antiphon_netsim::LinkConfig;
use antiphon_peer_connection::{
    DataChannelId, DtlsVersions, Error, Event, Frame, MediaCapabilities, MediaKind, MediaStreamTrack, Message,
    RtcConfiguration, RtcDataChannelInit, RtcDtlsTransportState, RtcIceConnectionState, RtcIceServer,
    RtcIceTransportPolicy, RtcPeerConnectionState, RtcStats, Settings, TransceiverId,
};

fn addresses() -> [IpAddr; 2] {
    ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()]
}

fn start(pair: &mut Pair, offerer: usize) -> (DataChannelId, TransceiverId) {
    let channel = pair
        .call(offerer, |pc, now| {
            pc.create_data_channel(now, "chat", RtcDataChannelInit::default())
        })
        .unwrap();
    let track = MediaStreamTrack {
        kind: MediaKind::Video,
        id: "v".into(),
        stream_ids: vec![],
    };
    let video = pair.call(offerer, |pc, _| pc.add_track(track)).unwrap();
    pair.negotiate(offerer);
    pair.connect();
    (channel, video)
}

fn picture(payload_type: u8, number: u32) -> Frame {
    let mut data = vec![number as u8; 20_000];
    data[0] = 0x10;
    data[3..10].copy_from_slice(&[0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
    Frame::new(payload_type, number * 3600, data)
}

/// Large messages and large frames, so that every packet is as large as it gets.
fn use_it(pair: &mut Pair, offerer: usize, (channel, video): (DataChannelId, TransceiverId)) {
    let other = pair.open(offerer, channel);
    pair.exchange(offerer, channel, other, Message::binary(vec![1; 100_000]));
    pair.exchange(1 - offerer, other, channel, Message::binary(vec![2; 100_000]));
    let payload_type = pair.pc(offerer).payload_type(video, "VP8").unwrap();
    let frame = picture(payload_type, 0);
    let sent = frame.data.clone();
    pair.call(offerer, |pc, now| pc.send_frame(now, video, frame)).unwrap();
    pair.run_for(Duration::from_secs(2));
    assert!(pair.told(
        1 - offerer,
        |event| matches!(event, Event::Frame { frame, .. } if frame.data == sent)
    ));
}

fn candidate_type(pair: &Pair, at: usize) -> &'static str {
    let report = pair.pc(at).get_stats(pair.net.now());
    let selected = report.selected_pair().unwrap();
    match report.get(&selected.local_candidate_id) {
        Some(RtcStats::LocalCandidate(stats)) => stats.candidate_type,
        other => panic!("{other:?}"),
    }
}

#[test]
fn through_relays() {
    for relayed in [&[0, 1][..], &[0], &[1]] {
        let configuration = |at: usize| {
            if !relayed.contains(&at) {
                return RtcConfiguration::default();
            }
            RtcConfiguration {
                ice_servers: vec![RtcIceServer {
                    urls: vec!["turn:192.0.2.1:3478".into()],
                    username: "alice".into(),
                    credential: "secret".into(),
                }],
                ice_transport_policy: RtcIceTransportPolicy::Relay,
                ..RtcConfiguration::default()
            }
        };
        let mut pair = Pair::with_each(1, LinkConfig::default(), addresses(), configuration);
        pair.add_turn_server();
        let started = start(&mut pair, 0);
        use_it(&mut pair, 0, started);
        for at in relayed {
            assert_eq!(candidate_type(&pair, *at), "relay");
            // The peer has never been told where we are.
            let text = pair.pc(*at).local_description().unwrap().sdp;
            assert!(!text.contains("10.0.0."), "{text}");
        }
        // Permissions and channels are refreshed, and given back at the end.
        pair.run_for(Duration::from_secs(900));
        use_it_again(&mut pair, started.0);
        for at in 0..2 {
            pair.call(at, |pc, now| pc.close(now));
        }
        pair.run_for(Duration::from_secs(1));
    }
}

fn use_it_again(pair: &mut Pair, channel: DataChannelId) {
    let other = pair.incoming(1, "chat").unwrap();
    pair.exchange(0, channel, other, Message::text("after a quarter of an hour"));
    pair.exchange(1, other, channel, Message::text("still there"));
}

#[test]
fn with_a_lite_agent() {
    for (lite, offerer) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let configuration = |at: usize| {
            let mut settings = Settings::default();
            settings.ice.lite = at == lite;
            RtcConfiguration {
                settings,
                ..RtcConfiguration::default()
            }
        };
        let mut pair = Pair::with_each(2, LinkConfig::default(), addresses(), configuration);
        let started = start(&mut pair, offerer);
        use_it(&mut pair, offerer, started);
        let description = pair.pc(lite).local_description().unwrap();
        assert!(description.sdp.contains("a=ice-lite"));
    }
}

#[test]
fn mend19_two_lite_agents_are_refused_before_anything_is_sent() {
    let configuration = |_| {
        let mut configuration = RtcConfiguration::default();
        configuration.settings.ice.lite = true;
        configuration
    };
    let mut pair = Pair::with_each(4, LinkConfig::default(), addresses(), configuration);
    pair.call(0, |pc, now| {
        pc.create_data_channel(now, "chat", RtcDataChannelInit::default())
    })
    .unwrap();
    pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
    let offer = pair.pc(0).local_description().unwrap();
    let refused = pair.call(1, |pc, now| pc.set_remote_description(now, offer));
    assert_eq!(refused, Err(Error::BothLite));
    assert!(pair.pc(1).remote_description().is_none(), "nothing has changed");
}

#[test]
fn over_ipv6() {
    let addresses = ["2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap()];
    let mut pair = Pair::with_each(3, LinkConfig::default(), addresses, |_| RtcConfiguration::default());
    let started = start(&mut pair, 1);
    use_it(&mut pair, 1, started);
}

#[test]
fn small_datagrams_everywhere() {
    let configuration = |_| RtcConfiguration {
        settings: Settings {
            mtu: 700,
            ..Settings::default()
        },
        ..RtcConfiguration::default()
    };
    let link = LinkConfig {
        // 28 bytes of IP and UDP: whatever is larger vanishes.
        mtu: 728,
        ..LinkConfig::default()
    };
    let mut pair = Pair::with_each(4, link, addresses(), configuration);
    let started = start(&mut pair, 0);
    use_it(&mut pair, 0, started);
}

#[test]
fn a_path_that_goes_away_and_comes_back() {
    let mut pair = Pair::new(5);
    let (channel, _) = start(&mut pair, 0);
    let other = pair.open(0, channel);
    let host = pair.net.host(pair.ids[1]);
    pair.net.network.set_down(host, true);
    pair.call(0, |pc, now| pc.send(now, channel, Message::text("into the dark")))
        .unwrap();
    pair.run_for(Duration::from_secs(12));
    assert_eq!(pair.pc(0).connection_state(), RtcPeerConnectionState::Disconnected);
    pair.net.network.set_down(host, false);
    pair.connect();
    pair.run_until(Duration::from_secs(60), |pair| {
        pair.told(1, |event| *event == Event::DataChannelReadable(other))
    });
    let message = pair.call(1, |pc, now| pc.read(now, other));
    assert_eq!(message, Some(Message::text("into the dark")));
    // Away for longer than consent lasts: it fails, and an ICE restart mends it. DTLS lives on.
    pair.net.network.set_down(host, true);
    pair.run_for(Duration::from_secs(50));
    assert!((0..2).all(|at| pair.pc(at).ice_connection_state() == RtcIceConnectionState::Failed));
    pair.call(0, |pc, now| pc.send(now, channel, Message::text("again")))
        .unwrap();
    pair.net.network.set_down(host, false);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.pc(0).connection_state(), RtcPeerConnectionState::Failed);
    pair.call(0, |pc, _| pc.restart_ice());
    pair.negotiate(0);
    pair.connect();
    pair.run_until(Duration::from_secs(90), |pair| {
        pair.count(1, |event| *event == Event::DataChannelReadable(other)) > 1
    });
    let message = pair.call(1, |pc, now| pc.read(now, other));
    assert_eq!(message, Some(Message::text("again")));
}

#[test]
fn over_dtls_1_3() {
    for (seed, both) in (0..20).flat_map(|seed| [(seed, true), (seed, false)]) {
        // Where one end does not have it, the older version is agreed on.
        let configuration = |at: usize| RtcConfiguration {
            settings: Settings {
                dtls_versions: match (at, both) {
                    (1, false) => DtlsVersions::Dtls12,
                    _ => DtlsVersions::Dtls12And13,
                },
                ..Settings::default()
            },
            ..RtcConfiguration::default()
        };
        let link = LinkConfig {
            loss: (seed % 4) as f64 * 0.05,
            ..LinkConfig::default()
        };
        let mut pair = Pair::with_each(seed, link, addresses(), configuration);
        let offerer = (seed % 2) as usize;
        let started = start(&mut pair, offerer);
        if seed % 4 == 0 {
            use_it(&mut pair, offerer, started);
        }
        let version = if both { "FEFC" } else { "FEFD" };
        for at in 0..2 {
            let report = pair.pc(at).get_stats(pair.net.now());
            assert_eq!(report.transport().unwrap().tls_version.as_deref(), Some(version));
        }
        pair.call(offerer, |pc, now| pc.close(now));
        assert!(pair.run_until(Duration::from_secs(5), |pair| {
            seed % 4 > 0 || pair.pc(1 - offerer).dtls_state() == RtcDtlsTransportState::Closed
        }));
    }
}

/// One end offers no SRTP profile: there is data, no media, and no timer that waits for media to be sent.
#[test]
fn without_srtp() {
    let configuration = |at: usize| {
        let mut settings = Settings::default();
        if at == 1 {
            settings.srtp_profiles.clear();
        }
        RtcConfiguration {
            settings,
            ..RtcConfiguration::default()
        }
    };
    let mut pair = Pair::with_each(6, LinkConfig::default(), addresses(), configuration);
    let (channel, video) = start(&mut pair, 0);
    let payload_type = pair.pc(0).payload_type(video, "VP8").unwrap();
    let frame = Frame::new(payload_type, 0, vec![0x10; 1000]);
    pair.call(0, |pc, now| pc.send_frame(now, video, frame)).unwrap();
    let other = pair.open(0, channel);
    pair.run_for(Duration::from_secs(20));
    pair.exchange(1, other, channel, Message::text("data alone"));
    assert!(!pair.told(1, |event| matches!(event, Event::Frame { .. })));
}

/// Bits flip, on every tenth datagram: every layer notices its own, and nothing false comes through. Not during the
/// handshake, whose first messages nothing protects: there a flipped bit is a failed handshake.
#[test]
fn damaged_datagrams() {
    for seed in 0..10 {
        let mut pair = Pair::new(seed);
        let started = start(&mut pair, 0);
        let [a, b] = pair.ids.map(|id| pair.net.host(id));
        let link = LinkConfig {
            corrupt: 0.1,
            ..LinkConfig::default()
        };
        pair.net.network.connect(a, b, link);
        let (channel, video) = started;
        let other = pair.open(0, channel);
        pair.exchange(0, channel, other, Message::binary(vec![1; 100_000]));
        pair.exchange(1, other, channel, Message::binary(vec![2; 100_000]));
        let payload_type = pair.pc(0).payload_type(video, "VP8").unwrap();
        for number in 0..20 {
            pair.call(0, |pc, now| pc.send_frame(now, video, picture(payload_type, number)))
                .unwrap();
            pair.run_for(Duration::from_millis(200));
        }
        let mut frames = 0;
        for event in &pair.log[1] {
            if let Event::Frame { frame, .. } = event {
                assert_eq!(frame.data[1000..], [frame.data[1000]; 19_000]);
                frames += 1;
            }
        }
        assert!(frames >= 15, "{frames} of 20");
    }
}

/// The address goes away twice under load and another one comes, which the system notices at once or late: no message
/// is lost or overtakes another, and nobody is told of a disconnection.
#[test]
fn an_address_that_changes_under_load() {
    for (mover, noticed) in [(0, 0), (0, 400), (1, 0), (1, 400)] {
        let mut pair = Pair::new(70 + mover as u64);
        let (channel, _) = start(&mut pair, 0);
        let other = pair.open(0, channel);
        pair.run_for(Duration::from_secs(1));
        pair.log.iter_mut().for_each(Vec::clear);
        let mut received: [Vec<u32>; 2] = [Vec::new(), Vec::new()];
        let channels = [channel, other];
        for n in 0..400u32 {
            for (at, channel) in channels.into_iter().enumerate() {
                let message = Message::binary(n.to_be_bytes().to_vec());
                pair.call(at, |pc, now| pc.send(now, channel, message)).unwrap();
            }
            if n == 100 || n == 250 {
                let address: IpAddr = [10, 0, 9, n as u8].into();
                pair.move_to(mover, address, Duration::from_millis(noticed));
            }
            pair.run_for(Duration::from_millis(20));
            for (at, channel) in channels.into_iter().enumerate() {
                while let Some(message) = pair.call(at, |pc, now| pc.read(now, channel)) {
                    received[at].push(u32::from_be_bytes(message.data[..].try_into().unwrap()));
                }
            }
        }
        pair.run_for(Duration::from_secs(5));
        for (at, channel) in channels.into_iter().enumerate() {
            while let Some(message) = pair.call(at, |pc, now| pc.read(now, channel)) {
                received[at].push(u32::from_be_bytes(message.data[..].try_into().unwrap()));
            }
            let sent: Vec<u32> = (0..400).collect();
            assert_eq!(received[at], sent);
            let disconnected = |event: &Event| {
                let ice = matches!(event, Event::IceConnectionStateChange(state)
                    if !matches!(state, RtcIceConnectionState::Connected | RtcIceConnectionState::Completed));
                ice || matches!(event, Event::ConnectionStateChange(_))
            };
            assert!(!pair.told(at, disconnected), "{:?}", pair.log[at]);
            let moves = |event: &&Event| matches!(event, Event::SelectedCandidatePairChange { .. });
            assert_eq!(pair.log[at].iter().filter(moves).count(), 2);
        }
        let report = pair.pc(mover).get_stats(pair.net.now());
        let selected = report.selected_pair().unwrap();
        assert!(selected.packets_sent > 0 && selected.bytes_received > 0);
        assert!(selected.last_packet_sent_timestamp.unwrap() > 1.79e12);
    }
}

/// `iceCandidatePoolSize`: the candidates are there before anybody asks, and told when the description is set.
#[test]
fn candidates_gathered_ahead() {
    let configuration = || RtcConfiguration {
        ice_candidate_pool_size: 1,
        ..RtcConfiguration::default()
    };
    let mut pair = Pair::with(80, LinkConfig::default(), configuration);
    pair.run_for(Duration::from_millis(100));
    assert!(pair.log.iter().all(Vec::is_empty), "{:?}", pair.log);
    pair.call(0, |pc, now| {
        pc.create_data_channel(now, "chat", RtcDataChannelInit::default())
    })
    .unwrap();
    let offer = pair.call(0, |pc, _| pc.create_offer(Default::default())).unwrap();
    assert!(
        !offer.sdp.contains("a=candidate"),
        "W3C: a pool shows in descriptions that are set"
    );
    pair.call(0, |pc, now| pc.set_local_description(now, Some(offer)))
        .unwrap();
    let offer = pair.pc(0).local_description().unwrap();
    assert!(offer.sdp.contains("typ host") && offer.sdp.contains("a=end-of-candidates"));
    assert!(offer.sdp.contains("a=ice-options:trickle ice2 renomination"));
    pair.answer(1, offer);
    pair.connect();
}

/// Two megabytes from the first peer to the second.
fn bulk(pair: &mut Pair, channel: DataChannelId, other: DataChannelId) {
    const MESSAGES: usize = 40;
    for n in 0..MESSAGES {
        pair.call(0, |pc, now| {
            pc.send(now, channel, Message::binary(vec![n as u8; 50_000]))
        })
        .unwrap();
    }
    let mut got = Vec::new();
    let all = pair.run_until(Duration::from_secs(60), |pair| {
        while let Some(message) = pair.call(1, |pc, now| pc.read(now, other)) {
            got.push(message);
        }
        got.len() == MESSAGES
    });
    assert!(all, "{} of {MESSAGES}", got.len());
    for (n, message) in got.iter().enumerate() {
        assert_eq!(*message, Message::binary(vec![n as u8; 50_000]));
    }
}

#[test]
fn data_channels_find_out_what_the_path_carries() {
    let ipv6 = ["2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap()];
    let ethernet = LinkConfig::default();
    let tunnel = LinkConfig {
        mtu: 1300,
        ..LinkConfig::default()
    };
    for (addresses, link, max_mtu, largest) in [
        (addresses(), &ethernet, 1472, 1472),
        (ipv6, &ethernet, 1472, 1452),
        (addresses(), &ethernet, 1200, 1200),
        // The probe that was lost counts as well.
        (addresses(), &tunnel, 1472, 1472),
    ] {
        let configuration = |_| RtcConfiguration {
            settings: Settings {
                max_mtu,
                ..Settings::default()
            },
            ..RtcConfiguration::default()
        };
        let mut pair = Pair::with_each(7, link.clone(), addresses, configuration);
        let (channel, _) = start(&mut pair, 0);
        let other = pair.open(0, channel);
        bulk(&mut pair, channel, other);
        let found = pair.largest(0);
        assert!((largest - 3..=largest).contains(&found), "{found} of {largest}");
        // The path shrinks, and shrinks again: nothing is lost.
        for mtu in [1400, 1250] {
            let hosts = [0, 1].map(|at| pair.net.host(pair.ids[at]));
            let link = LinkConfig { mtu, ..link.clone() };
            pair.net.network.connect(hosts[0], hosts[1], link);
            bulk(&mut pair, channel, other);
        }
    }
}

/// RFC 7675 §5.1, V15: a peer that disappears has everything stop within 30 seconds, data and media, whatever the
/// application goes on to send; and ICE's own checks some time later.
#[test]
fn v15_nothing_is_sent_to_a_peer_that_disappears() {
    for gone in [0, 1] {
        let mut pair = Pair::new(90 + gone as u64);
        let at = 1 - gone;
        let videos = [0, 1].map(|at| {
            let track = MediaStreamTrack {
                kind: MediaKind::Video,
                id: "v".into(),
                stream_ids: vec![],
            };
            pair.call(at, |pc, _| pc.add_track(track)).unwrap()
        });
        let channel = pair
            .call(0, |pc, now| {
                pc.create_data_channel(now, "chat", RtcDataChannelInit::default())
            })
            .unwrap();
        pair.negotiate(0);
        pair.connect();
        let channels = [channel, pair.open(0, channel)];
        let payload_type = pair.pc(at).payload_type(videos[at], "VP8").unwrap();
        let mut number = 0;
        // A picture of 20 kB and a message each tenth of a second; what is refused is the application's affair.
        let mut use_for = |pair: &mut Pair, seconds: u32| {
            let before = pair.sent(at);
            for _ in 0..10 * seconds {
                number += 1;
                let frame = picture(payload_type, number);
                let _ = pair.call(at, |pc, now| pc.send_frame(now, videos[at], frame));
                let message = Message::binary(vec![1; 1000]);
                let _ = pair.call(at, |pc, now| pc.send(now, channels[at], message));
                pair.run_for(Duration::from_millis(100));
            }
            let after = pair.sent(at);
            let stun = after.stun_datagrams - before.stun_datagrams;
            (
                after.dtls_bytes - before.dtls_bytes,
                after.srtp_bytes - before.srtp_bytes,
                stun,
            )
        };
        let (data, media, _) = use_for(&mut pair, 2);
        assert!(data > 20_000 && media > 400_000, "before: {data} {media}");
        let host = pair.net.host(pair.ids[gone]);
        pair.net.network.set_down(host, true);
        let (data, media, _) = use_for(&mut pair, 2);
        assert!(data > 0 && media > 0, "nobody can know at once: {data} {media}");
        use_for(&mut pair, 28);
        let (data, media, _) = use_for(&mut pair, 60);
        assert_eq!((data, media), (0, 0), "after consent has expired");
        assert_eq!(pair.pc(at).connection_state(), RtcPeerConnectionState::Failed);
        let (data, media, stun) = use_for(&mut pair, 60);
        assert_eq!((data, media, stun), (0, 0, 0));
    }
}

/// As the WHIP muxer of ffmpeg 8: after its handshake it neither asks nor answers, and sends until it has nothing left.
#[test]
fn mend06_who_answers_no_checks_is_received_and_is_sent_nothing() {
    let configuration = |at| {
        let mut configuration = RtcConfiguration::default();
        if at == 0 {
            configuration.settings.ice.timing.consent_timeout = Duration::from_secs(3600);
            // Nor does it look at what the peer tells of arrivals, nor cease when it tells nothing.
            configuration.settings.media.circuit_breakers = false;
            let mut capabilities = MediaCapabilities::default();
            for codec in capabilities.video.iter_mut().chain(&mut capabilities.audio) {
                codec
                    .feedback
                    .retain(|kind| !["transport-cc", "goog-remb"].contains(&kind.as_str()));
            }
            configuration.settings.capabilities = Arc::new(capabilities);
        }
        configuration
    };
    let mut pair = Pair::with_each(77, LinkConfig::default(), addresses(), configuration);
    let used = start(&mut pair, 0);
    use_it(&mut pair, 0, used);
    let payload_type = pair.pc(0).payload_type(used.1, "VP8").unwrap();
    pair.deafen_to_checks(0);
    pair.deafen_to_checks(1);
    let send = |pair: &mut Pair, count: u32| {
        let before = pair.count(1, |event| matches!(event, Event::Frame { .. }));
        for number in 1..=count {
            let frame = picture(payload_type, number);
            pair.call(0, |pc, now| pc.send_frame(now, used.1, frame)).unwrap();
            pair.run_for(Duration::from_millis(500));
        }
        pair.count(1, |event| matches!(event, Event::Frame { .. })) - before
    };
    let withheld = |pair: &Pair| match pair.pc(1).get_stats(pair.net.now()).get("P") {
        Some(RtcStats::PeerConnection(stats)) => stats.datagrams_withheld,
        other => panic!("{other:?}"),
    };
    let state = |pair: &Pair| (pair.pc(1).ice_connection_state(), pair.pc(1).connection_state());
    // 40 s: consent has expired by then.
    send(&mut pair, 80);
    let (sent, before) = (pair.sent(1), withheld(&pair));
    // Another minute.
    assert!(send(&mut pair, 120) >= 119, "the peer goes on sending, and is received");
    let disconnected = (
        RtcIceConnectionState::Disconnected,
        RtcPeerConnectionState::Disconnected,
    );
    assert_eq!(state(&pair), disconnected, "it is said");
    assert_eq!(pair.sent(1), sent, "RFC 7675 §5.1: nothing goes out without consent");
    assert!(withheld(&pair) > before, "and what does not is counted");
    // When nothing comes any more it is over.
    let host = pair.net.host(pair.ids[0]);
    pair.net.network.set_down(host, true);
    pair.run_for(Duration::from_secs(16));
    assert_eq!(
        state(&pair),
        (RtcIceConnectionState::Failed, RtcPeerConnectionState::Failed)
    );
}
