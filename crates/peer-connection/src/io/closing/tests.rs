//! Each way of ending a connection, between two whole peers: one event at the other end, and soon.

use std::time::{Duration, Instant};

use antiphon_data_channel::ChannelId;
use antiphon_netsim::LinkConfig;
use antiphon_sansio::{BytesMut, Datagram, TransmitBuf};

use crate::support::Pair;
use crate::{
    AlertDescription, Event, MediaKind, MediaStreamTrack, Message, PeerConnection, PeerEnd, RtcConfiguration,
    RtcDataChannelInit, RtcDtlsTransportState, RtcSctpTransportState, Settings,
};

/// One way, in each direction.
const DELAY: Duration = Duration::from_millis(40);

fn link() -> LinkConfig {
    LinkConfig {
        delay: DELAY,
        ..LinkConfig::default()
    }
}

fn with_data(seed: u64, video: bool) -> (Pair, [ChannelId; 2]) {
    connected(Pair::with_link(seed, link()), video)
}

fn connected(mut pair: Pair, video: bool) -> (Pair, [ChannelId; 2]) {
    if video {
        for at in 0..2 {
            let track = MediaStreamTrack {
                kind: MediaKind::Video,
                id: "v".into(),
                stream_ids: vec![],
            };
            pair.call(at, |pc, _| pc.add_track(track)).unwrap();
        }
    }
    let init = RtcDataChannelInit::default();
    let channel = pair
        .call(0, |pc, now| pc.create_data_channel(now, "chat", init))
        .unwrap();
    pair.negotiate(0);
    pair.connect();
    let other = pair.open(0, channel);
    pair.exchange(0, channel, other, Message::text("before the end"));
    // Acknowledgements and checks settle.
    pair.run_for(Duration::from_secs(1));
    assert!(!pair.told(0, is_end) && !pair.told(1, is_end));
    (pair, [channel, other])
}

fn is_end(event: &Event) -> bool {
    matches!(event, Event::PeerEnded(_))
}

/// Runs until `at` is told of the end: how, and how long it took. Then nothing is told again.
fn end_of(pair: &mut Pair, at: usize, limit: Duration) -> (PeerEnd, Duration) {
    let begin = pair.net.now();
    assert!(
        pair.run_until(limit, |pair| pair.told(at, is_end)),
        "{:?}",
        pair.states(at)
    );
    let took = pair.net.now() - begin;
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.count(at, is_end), 1, "once");
    let end = pair.log[at].iter().find_map(|event| match event {
        Event::PeerEnded(end) => Some(*end),
        _ => None,
    });
    (end.unwrap(), took)
}

/// Has `at` do something, and lets of the datagrams that come of it at once only those `pass`, by their number.
fn say(pair: &mut Pair, at: usize, act: impl FnOnce(&mut PeerConnection, Instant), pass: impl Fn(usize) -> bool) {
    let mut out = TransmitBuf::new(60_000, 1500);
    let sent: Vec<_> = pair.call(at, |pc, now| {
        act(pc, now);
        std::iter::from_fn(|| pc.poll_transmit(now, &mut out)).collect()
    });
    // By hand: a peer that has closed has no socket any more.
    let path = pair.pc(1 - at).transport.path().unwrap();
    pair.run_for(DELAY);
    for (_, transmit) in sent.iter().enumerate().filter(|(number, _)| pass(*number)) {
        let data = BytesMut::from(out.bytes(transmit.range.clone()));
        let ecn = transmit.ecn;
        pair.call(1 - at, |pc, now| pc.handle_datagram(now, Datagram { path, ecn, data }));
    }
}

#[test]
fn mend09_a_peer_that_closes_is_told_of_once_by_the_first_word_that_arrives() {
    for video in [false, true] {
        let (mut pair, channels) = with_data(1, video);
        pair.call(1, |pc, now| pc.close(now));
        let (end, took) = end_of(&mut pair, 0, 3 * DELAY);
        assert_eq!(end, PeerEnd::SctpAbort { cause: Some(12) });
        assert!(took <= DELAY, "with its arrival: {took:?}");
        let closed = Event::DataChannelClosed(channels[0]);
        assert_eq!(pair.count(0, |event| *event == closed), 1);
        assert_eq!(pair.pc(0).sctp_state(), Some(RtcSctpTransportState::Closed));
        assert_eq!(pair.pc(0).dtls_state(), RtcDtlsTransportState::Closed);
        // Our own goodbye is no news of the peer.
        assert!(!pair.told(1, is_end));
    }
}

#[test]
fn mend09_an_abort_alone_and_a_close_notify_alone_are_ends() {
    for (first, end) in [
        (true, PeerEnd::SctpAbort { cause: Some(12) }),
        (false, PeerEnd::CloseNotify),
    ] {
        let (mut pair, channels) = with_data(2, false);
        say(&mut pair, 1, PeerConnection::close, |number| (number == 0) == first);
        let (told, took) = end_of(&mut pair, 0, 3 * DELAY);
        assert_eq!((told, took), (end, Duration::ZERO));
        assert!(pair.told(0, |event| *event == Event::DataChannelClosed(channels[0])));
    }
}

#[test]
fn mend09_a_shutdown_is_an_end_beside_media_too_even_if_nothing_follows_it() {
    for video in [false, true] {
        for gone in [false, true] {
            let (mut pair, channels) = with_data(3, video);
            say(&mut pair, 1, |pc, now| pc.data.channels.close(now), |_| true);
            if gone {
                let host = pair.net.host(pair.ids[1]);
                pair.net.network.set_down(host, true);
            }
            pair.signal();
            assert!(pair.told(0, |event| *event == Event::PeerEnded(PeerEnd::SctpShutdown)));
            assert!(pair.told(0, |event| *event == Event::DataChannelClosed(channels[0])));
            // ICE notices later that nobody is there, which is no second end.
            pair.run_for(Duration::from_secs(60));
            assert_eq!(pair.count(0, is_end), 1);
        }
    }
}

#[test]
fn mend09_an_association_that_breaks_ends_the_connection_unless_media_goes_on() {
    for video in [false, true] {
        let limited = |at: usize| {
            let mut settings = Settings::default();
            if at == 1 {
                settings.data.max_receive_message = 1000;
            }
            RtcConfiguration {
                settings,
                ..RtcConfiguration::default()
            }
        };
        let addresses = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        let (mut pair, channels) = connected(Pair::with_each(4, link(), addresses, limited), video);
        // We do not keep to what the peer announced, and it aborts with another cause than a user's wish.
        pair.call(0, |pc, now| {
            let start = antiphon_data_channel::Start {
                dtls_client: true,
                remote_max_message_size: 0,
                remote_port: 5000,
            };
            pc.data.channels.start(now, start);
            pc.send(now, channels[0], Message::binary(vec![0; 5000])).unwrap();
        });
        pair.run_for(Duration::from_secs(5));
        assert_eq!(pair.pc(0).sctp_state(), Some(RtcSctpTransportState::Closed));
        assert!(pair.told(0, |event| *event == Event::DataChannelClosed(channels[0])));
        assert_eq!(pair.count(0, is_end), usize::from(!video));
    }
}

#[test]
fn mend09_an_alert_is_an_end() {
    let mut pair = Pair::with_link(5, link());
    let init = RtcDataChannelInit::default();
    pair.call(0, |pc, now| pc.create_data_channel(now, "chat", init))
        .unwrap();
    pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
    // The answerer expects another certificate, and refuses ours.
    let mut offer = pair.pc(0).local_description().unwrap();
    let at = offer.sdp.find("a=fingerprint:sha-256 ").unwrap() + 22;
    let digit = if &offer.sdp[at..=at] == "0" { "1" } else { "0" };
    offer.sdp.replace_range(at..=at, digit);
    pair.answer(1, offer);
    let (end, _) = end_of(&mut pair, 0, Duration::from_secs(10));
    assert_eq!(end, PeerEnd::Alert(AlertDescription::BAD_CERTIFICATE));
    assert_eq!(pair.pc(0).dtls_state(), RtcDtlsTransportState::Failed);
}

#[test]
fn mend09_silence_is_an_end_after_thirty_seconds_and_can_be_mended() {
    let (mut pair, _) = with_data(6, true);
    let host = pair.net.host(pair.ids[1]);
    pair.net.network.set_down(host, true);
    let begin = pair.net.now();
    assert!(pair.run_until(Duration::from_secs(60), |pair| pair.told(0, is_end)));
    let took = pair.net.now() - begin;
    assert!(
        (Duration::from_secs(20)..Duration::from_secs(40)).contains(&took),
        "{took:?}"
    );
    assert!(pair.told(0, |event| *event == Event::PeerEnded(PeerEnd::Silence)));
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.count(0, is_end), 1);
    // It comes back by an ICE restart, and ends again.
    pair.net.network.set_down(host, false);
    pair.call(0, |pc, _| pc.restart_ice());
    pair.negotiate(0);
    pair.connect();
    pair.run_for(Duration::from_secs(1));
    pair.call(1, |pc, now| pc.close(now));
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.count(0, is_end), 2, "{:?}", pair.states(0));
}
