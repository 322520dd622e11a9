//! Offer and answer through whole peers: states, renegotiation, rollback, ICE restart, close.

use std::time::Duration;

use crate::support::Pair;
use antiphon_netsim::LinkConfig;
use antiphon_peer_connection::{
    Direction, Error, Event, MAX_EARLY_CANDIDATES, MediaKind, MediaStreamTrack, Message, RtcDataChannelInit,
    RtcIceCandidateInit, RtcIceGatheringState, RtcOfferOptions, RtcPeerConnectionState, RtcRtpTransceiverInit,
    RtcSessionDescription, RtcSignalingState, SdpType,
};

fn track(kind: MediaKind, id: &str) -> MediaStreamTrack {
    MediaStreamTrack {
        kind,
        id: id.into(),
        stream_ids: vec!["stream".into()],
    }
}

fn connected(seed: u64) -> (Pair, [antiphon_peer_connection::DataChannelId; 2]) {
    let mut pair = Pair::new(seed);
    let channel = pair
        .call(0, |pc, now| {
            pc.create_data_channel(now, "chat", RtcDataChannelInit::default())
        })
        .unwrap();
    pair.negotiate(0);
    pair.connect();
    let other = pair.open(0, channel);
    (pair, [channel, other])
}

fn needed(event: &Event) -> bool {
    *event == Event::NegotiationNeeded
}

#[test]
fn events_come_in_the_order_of_the_w3c() {
    let (pair, _) = connected(1);
    let log: Vec<_> = pair.log[0]
        .iter()
        .filter(|event| {
            matches!(
                event,
                Event::SignalingStateChange(_)
                    | Event::ConnectionStateChange(_)
                    | Event::IceGatheringStateChange(_)
                    | Event::IceCandidate(None)
            )
        })
        .cloned()
        .collect();
    use RtcPeerConnectionState::{Connected, Connecting};
    let position = |event: &Event| {
        log.iter()
            .position(|own| own == event)
            .unwrap_or_else(|| panic!("{event:?}: {log:?}"))
    };
    let order = [
        Event::SignalingStateChange(RtcSignalingState::HaveLocalOffer),
        Event::IceGatheringStateChange(RtcIceGatheringState::Gathering),
        Event::IceGatheringStateChange(RtcIceGatheringState::Complete),
        Event::IceCandidate(None),
    ];
    for two in order.windows(2) {
        assert!(position(&two[0]) < position(&two[1]), "{log:?}");
    }
    assert!(
        position(&Event::SignalingStateChange(RtcSignalingState::Stable))
            < position(&Event::ConnectionStateChange(Connected))
    );
    assert!(position(&Event::ConnectionStateChange(Connecting)) < position(&Event::ConnectionStateChange(Connected)));
    // Each state is told once.
    let states = log
        .iter()
        .filter(|event| matches!(event, Event::ConnectionStateChange(_)));
    assert_eq!(states.count(), 2, "{log:?}");
}

#[test]
fn negotiation_needed_is_told_once_and_only_in_stable() {
    let mut pair = Pair::new(2);
    for id in ["a", "b", "c"] {
        pair.call(0, |pc, _| pc.add_track(track(MediaKind::Audio, id))).unwrap();
    }
    pair.signal();
    assert_eq!(pair.count(0, needed), 1);
    pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
    // During the exchange nothing is told; afterwards it is, once.
    pair.call(0, |pc, _| pc.add_track(track(MediaKind::Video, "d")))
        .unwrap();
    pair.signal();
    assert_eq!(pair.count(0, needed), 1);
    let offer = pair.pc(0).local_description().unwrap();
    pair.answer(1, offer);
    pair.signal();
    assert_eq!(pair.count(0, needed), 2);
    pair.negotiate(0);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.count(0, needed), 2);
    assert_eq!(pair.count(1, needed), 0);
}

#[test]
fn add_track_takes_a_free_transceiver_and_remove_track_frees_it_not() {
    let mut pair = Pair::new(3);
    let free = pair
        .call(0, |pc, _| {
            pc.add_transceiver(MediaKind::Video, RtcRtpTransceiverInit::new(Direction::RecvOnly))
        })
        .unwrap();
    let audio = pair
        .call(0, |pc, _| pc.add_track(track(MediaKind::Audio, "a")))
        .unwrap();
    assert_ne!(free, audio);
    let video = pair
        .call(0, |pc, _| pc.add_track(track(MediaKind::Video, "v")))
        .unwrap();
    assert_eq!(free, video);
    assert_eq!(pair.pc(0).transceiver(video).unwrap().direction(), Direction::SendRecv);
    let again = pair.call(0, |pc, _| pc.add_track(track(MediaKind::Video, "v")));
    assert_eq!(again, Err(Error::TrackInUse));
    pair.negotiate(0);
    // It has sent now, so another track gets another transceiver.
    pair.call(0, |pc, _| pc.remove_track(video)).unwrap();
    assert_eq!(pair.pc(0).transceiver(video).unwrap().direction(), Direction::RecvOnly);
    let next = pair
        .call(0, |pc, _| pc.add_track(track(MediaKind::Video, "w")))
        .unwrap();
    assert_ne!(next, video);
}

#[test]
fn media_and_data_come_and_go() {
    let (mut pair, [channel, other]) = connected(4);
    let video = pair
        .call(1, |pc, _| pc.add_track(track(MediaKind::Video, "camera")))
        .unwrap();
    pair.negotiate(1);
    pair.run_for(Duration::from_millis(200));
    let there = pair.log[0].iter().find_map(|event| match event {
        Event::Track {
            transceiver,
            kind: MediaKind::Video,
            streams,
            ..
        } if streams == &["stream"] => Some(*transceiver),
        _ => None,
    });
    let there = there.expect("a track");
    assert_eq!(
        pair.pc(1).transceiver(video).unwrap().current_direction(),
        Some(Direction::SendOnly)
    );
    assert_eq!(
        pair.pc(0).transceiver(there).unwrap().current_direction(),
        Some(Direction::RecvOnly)
    );
    // Removed: muted there, and inactive at both ends.
    pair.call(1, |pc, _| pc.remove_track(video)).unwrap();
    pair.negotiate(1);
    pair.run_for(Duration::from_millis(200));
    assert!(pair.told(0, |event| *event == Event::TrackMuted(there)));
    assert_eq!(
        pair.pc(0).transceiver(there).unwrap().current_direction(),
        Some(Direction::Inactive)
    );
    // Stopped: gone at both ends, and its place in the description is used again.
    pair.call(0, |pc, _| pc.stop_transceiver(there)).unwrap();
    pair.negotiate(0);
    assert!(pair.told(1, |event| *event == Event::TrackEnded(video)));
    assert_eq!(
        (pair.pc(0).transceivers().count(), pair.pc(1).transceivers().count()),
        (0, 0)
    );
    pair.call(0, |pc, _| pc.add_track(track(MediaKind::Audio, "sound")))
        .unwrap();
    pair.negotiate(0);
    let sdp = pair.pc(0).local_description().unwrap().sdp;
    assert_eq!(sdp.matches("\nm=").count(), 2, "{sdp}");
    pair.exchange(0, channel, other, Message::text("all along"));
}

#[test]
fn data_may_be_added_later() {
    let mut pair = Pair::new(5);
    pair.call(0, |pc, _| pc.add_track(track(MediaKind::Audio, "a")))
        .unwrap();
    pair.negotiate(0);
    pair.connect();
    let channel = pair
        .call(1, |pc, now| {
            pc.create_data_channel(now, "late", RtcDataChannelInit::default())
        })
        .unwrap();
    pair.signal();
    assert_eq!(pair.count(1, needed), 1);
    pair.negotiate(1);
    let other = pair.open(1, channel);
    pair.exchange(1, channel, other, Message::text("better late"));
}

#[test]
fn negotiated_channels_need_no_announcement() {
    let mut pair = Pair::new(6);
    let init = RtcDataChannelInit {
        negotiated: true,
        id: Some(7),
        ordered: false,
        max_retransmits: Some(3),
        ..RtcDataChannelInit::default()
    };
    let [a, b] = [0, 1].map(|at| {
        let init = init.clone();
        pair.call(at, |pc, now| pc.create_data_channel(now, "n", init)).unwrap()
    });
    pair.negotiate(0);
    pair.connect();
    assert!(pair.run_until(Duration::from_secs(5), |pair| {
        pair.told(0, |event| *event == Event::DataChannelOpen(a))
            && pair.told(1, |event| *event == Event::DataChannelOpen(b))
    }));
    pair.exchange(1, b, a, Message::text("seven"));
    assert!(!pair.told(1, |event| matches!(event, Event::DataChannel(_))));
    let lame = RtcDataChannelInit {
        negotiated: true,
        ..RtcDataChannelInit::default()
    };
    let refused = pair.call(0, |pc, now| pc.create_data_channel(now, "", lame));
    assert_eq!(refused.unwrap_err().name(), "TypeError");
}

#[test]
fn an_ice_restart_keeps_dtls_and_data() {
    for (restarter, loss) in [(0, 0.0), (1, 0.0), (0, 0.1), (1, 0.1)] {
        let mut pair = Pair::with_link(
            7,
            LinkConfig {
                loss,
                ..LinkConfig::default()
            },
        );
        let channel = pair
            .call(0, |pc, now| {
                pc.create_data_channel(now, "chat", RtcDataChannelInit::default())
            })
            .unwrap();
        pair.negotiate(0);
        pair.connect();
        let other = pair.open(0, channel);
        let before = [pair.pc(0).local_ufrag().to_owned(), pair.pc(1).local_ufrag().to_owned()];
        pair.log = [Vec::new(), Vec::new()];
        pair.call(restarter, |pc, _| pc.restart_ice());
        pair.signal();
        assert_eq!(pair.count(restarter, needed), 1);
        pair.negotiate(restarter);
        // Data goes on over the old path while the new one is looked for.
        pair.exchange(0, channel, other, Message::text("meanwhile"));
        let changed = |event: &Event| matches!(event, Event::SelectedCandidatePairChange { .. });
        assert!(pair.run_until(Duration::from_secs(30), |pair| pair.told(0, changed)
            && pair.told(1, changed)));
        for (at, before) in before.iter().enumerate() {
            assert_ne!(pair.pc(at).local_ufrag(), before);
        }
        pair.exchange(1, other, channel, Message::text("afterwards"));
        assert!(!pair.told(0, |event| matches!(event, Event::DtlsStateChange(_))));
        pair.connect();
        pair.run_for(Duration::from_secs(60));
        assert!(pair.is(RtcPeerConnectionState::Connected));
        assert_eq!(pair.count(restarter, needed), 1);
    }
}

#[test]
fn offers_that_restart_ice_can_be_taken_back() {
    let (mut pair, [channel, other]) = connected(8);
    // The peer hears neither of the offer nor of its candidates.
    pair.trickle = false;
    let ufrag = pair.pc(0).local_ufrag().to_owned();
    let options = RtcOfferOptions { ice_restart: true };
    let offer = pair.call(0, |pc, _| pc.create_offer(options)).unwrap();
    assert_eq!(pair.pc(0).local_ufrag(), ufrag, "only setting it restarts");
    pair.call(0, |pc, now| pc.set_local_description(now, Some(offer)))
        .unwrap();
    pair.call(0, |pc, now| {
        pc.set_local_description(now, Some(RtcSessionDescription::rollback()))
    })
    .unwrap();
    assert_eq!(pair.pc(0).signaling_state(), RtcSignalingState::Stable);
    assert_eq!(pair.pc(0).local_ufrag(), ufrag);
    pair.exchange(0, channel, other, Message::text("as if nothing had been"));
    pair.run_for(Duration::from_secs(40));
    pair.exchange(1, other, channel, Message::text("and for long"));
}

#[test]
fn glare_is_settled_by_rollback() {
    let (mut pair, [channel, other]) = connected(9);
    for at in 0..2 {
        pair.call(at, |pc, _| pc.add_track(track(MediaKind::Audio, "a")))
            .unwrap();
        pair.call(at, |pc, now| pc.set_local_description(now, None)).unwrap();
    }
    let offer = pair.pc(0).local_description().unwrap();
    // 1 is polite: its own offer is taken back, and needed again afterwards.
    pair.answer(1, offer);
    assert!((0..2).all(|at| pair.pc(at).signaling_state() == RtcSignalingState::Stable));
    pair.signal();
    pair.exchange(0, channel, other, Message::text("settled"));
}

#[test]
fn close_says_goodbye_and_is_silent_then() {
    let (mut pair, [channel, other]) = connected(10);
    pair.call(0, |pc, now| pc.close(now));
    assert!(pair.pc(0).is_closed());
    assert_eq!(pair.pc(0).connection_state(), RtcPeerConnectionState::Closed);
    assert_eq!(pair.pc(0).signaling_state(), RtcSignalingState::Closed);
    assert!(pair.net.next_event().is_some(), "goodbyes are on their way");
    let closed = pair.run_until(Duration::from_secs(5), |pair| {
        pair.told(1, |event| *event == Event::DataChannelClosed(other))
            && pair.pc(1).dtls_state() == antiphon_peer_connection::RtcDtlsTransportState::Closed
    });
    assert!(closed, "{:?}", pair.states(1));
    let refused = pair.call(0, |pc, now| pc.send(now, channel, Message::text("late")));
    assert_eq!(refused, Err(Error::Closed));
    assert_eq!(
        pair.call(0, |pc, _| pc.create_offer(Default::default())).unwrap_err(),
        Error::Closed
    );
    assert_eq!(pair.pc(0).poll_timeout(), None);
    pair.call(0, |pc, now| pc.close(now));
    // Without answers to its consent checks the other end fails in time.
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.pc(1).connection_state(), RtcPeerConnectionState::Failed);
    pair.call(1, |pc, now| pc.close(now));
    assert_eq!(pair.net.next_event(), None);
}

#[test]
fn v22_closing_at_any_moment_ends() {
    for steps in 0..60 {
        let mut pair = Pair::new(steps);
        pair.call(0, |pc, now| {
            pc.create_data_channel(now, "c", RtcDataChannelInit::default())
        })
        .unwrap();
        pair.call(0, |pc, _| pc.add_track(track(MediaKind::Audio, "a")))
            .unwrap();
        pair.negotiate(0);
        for _ in 0..steps {
            pair.signal();
            pair.net.step();
        }
        pair.call((steps % 2) as usize, |pc, now| pc.close(now));
        pair.net.close_all();
        pair.run_for(Duration::from_secs(5));
        assert_eq!(pair.net.next_event(), None, "after {steps} steps");
    }
}

#[test]
fn early_candidates_wait_for_the_description() {
    let mut pair = Pair::new(11);
    pair.trickle = false;
    pair.call(0, |pc, now| {
        pc.create_data_channel(now, "c", RtcDataChannelInit::default())
    })
    .unwrap();
    pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
    pair.signal();
    let candidates: Vec<_> = pair.log[0]
        .iter()
        .filter_map(|event| match event {
            Event::IceCandidate(candidate) => Some(candidate.clone()),
            _ => None,
        })
        .collect();
    assert!(candidates.len() >= 2 && candidates.last() == Some(&None));
    for candidate in candidates {
        pair.call(1, |pc, now| pc.add_ice_candidate(now, candidate)).unwrap();
    }
    // The offer without its candidates.
    let mut offer = pair.pc(0).local_description().unwrap();
    offer.sdp = offer
        .sdp
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("a=candidate") && !line.starts_with("a=end-of-candidates"))
        .collect();
    pair.answer(1, offer);
    pair.connect();
    let lost = RtcIceCandidateInit {
        candidate: "candidate:1 1 udp 1 10.0.0.9 9 typ host".into(),
        ..RtcIceCandidateInit::default()
    };
    let refused = pair.call(1, |pc, now| pc.add_ice_candidate(now, Some(lost)));
    assert_eq!(refused.unwrap_err().name(), "TypeError");
}

#[test]
fn calls_that_do_not_fit_the_state_are_refused() {
    let mut pair = Pair::new(12);
    assert_eq!(
        pair.call(0, |pc, _| pc.create_answer()).unwrap_err().name(),
        "InvalidStateError"
    );
    let answer = RtcSessionDescription::answer("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n");
    let refused = pair.call(0, |pc, now| pc.set_remote_description(now, answer));
    assert_eq!(refused.unwrap_err().name(), "InvalidStateError");
    let nonsense = RtcSessionDescription::offer("this is no SDP");
    let refused = pair.call(0, |pc, now| pc.set_remote_description(now, nonsense));
    assert_eq!(refused.unwrap_err().name(), "RTCError");
    let rollback = pair.call(0, |pc, now| {
        pc.set_local_description(now, Some(RtcSessionDescription::rollback()))
    });
    assert_eq!(rollback.unwrap_err().name(), "InvalidStateError");
    // An offer of our own making, edited beyond what is allowed.
    pair.call(0, |pc, now| {
        pc.create_data_channel(now, "c", RtcDataChannelInit::default())
    })
    .unwrap();
    let mut offer = pair.call(0, |pc, _| pc.create_offer(Default::default())).unwrap();
    offer.sdp = offer.sdp.replace("a=ice-pwd:", "a=ice-pwd:x");
    let refused = pair.call(0, |pc, now| pc.set_local_description(now, Some(offer)));
    assert_eq!(refused.unwrap_err().name(), "InvalidModificationError");
    // An empty text means the description made last.
    let last = RtcSessionDescription::new(SdpType::Offer, "");
    pair.call(0, |pc, now| pc.set_local_description(now, Some(last)))
        .unwrap();
    assert_eq!(pair.pc(0).signaling_state(), RtcSignalingState::HaveLocalOffer);
}

const HOST: &str = "candidate:1 1 udp 2122260223 192.0.2.1 5000 typ host";

fn candidate(text: &str, mid: Option<&str>, index: Option<u16>) -> Option<RtcIceCandidateInit> {
    Some(RtcIceCandidateInit {
        candidate: text.into(),
        sdp_mid: mid.map(str::to_owned),
        sdp_m_line_index: index,
        username_fragment: None,
    })
}

#[test]
fn mend07_what_is_not_understood_is_discarded_and_what_is_refused_leaves_no_trace() {
    for connected_before in [false, true] {
        let mut pair = match connected_before {
            true => connected(12).0,
            false => Pair::new(12),
        };
        let before = pair.pc(0).remote_description();
        for unknown in [
            "candidate:1 1 ssltcp 2105524479 203.0.113.9 443 typ host",
            "candidate:1 1 udp 2105524479 203.0.113.9 443 typ guess",
            "a=candidate:1 1 tcp 2105524479 203.0.113.9 443 typ host tcptype sideways\r\n",
        ] {
            let taken = pair.call(0, |pc, now| {
                pc.add_ice_candidate(now, candidate(unknown, Some("0"), None))
            });
            assert_eq!(taken, Ok(()), "{unknown}");
        }
        for malformed in [
            "candidate:nonsense",
            "candidate:1 1 udp x 203.0.113.9 443 typ host",
            "candidate:1 1 udp 1 203.0.113.999 443 typ host",
            "candidate:1 1 udp 1 203.0.113.9 443 typ host\r\na=ice-lite",
        ] {
            let refused = pair.call(0, |pc, now| {
                pc.add_ice_candidate(now, candidate(malformed, Some("0"), None))
            });
            assert_eq!(refused.unwrap_err().name(), "OperationError", "{malformed}");
        }
        let unplaced = pair.call(0, |pc, now| pc.add_ice_candidate(now, candidate(HOST, Some(""), None)));
        assert_eq!(unplaced.unwrap_err().name(), "TypeError");
        assert_eq!(pair.pc(0).remote_description(), before);
        if connected_before {
            // Every candidate of Pion, and whoever sends the whole line.
            for text in [HOST.to_owned(), format!("a={HOST}\r\n")] {
                pair.call(0, |pc, now| {
                    pc.add_ice_candidate(now, candidate(&text, Some(""), Some(0)))
                })
                .unwrap();
            }
            let sdp = pair.pc(0).remote_description().unwrap().sdp;
            assert_eq!(sdp.matches(HOST).count(), 1, "{sdp}");
        }
    }
}

#[test]
fn mend07_candidates_ahead_of_a_restarting_offer_wait_for_it() {
    let (mut pair, [channel, other]) = connected(13);
    pair.trickle = false;
    pair.log = [Vec::new(), Vec::new()];
    pair.call(0, |pc, _| pc.restart_ice());
    pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
    pair.signal();
    let candidates: Vec<_> = pair.log[0]
        .iter()
        .filter_map(|event| match event {
            Event::IceCandidate(candidate) => candidate.clone(),
            _ => None,
        })
        .collect();
    assert!(!candidates.is_empty());
    let ufrag = pair.pc(0).local_ufrag().to_owned();
    let before = pair.pc(1).remote_description();
    for early in &candidates {
        assert_eq!(early.username_fragment.as_ref(), Some(&ufrag));
        pair.call(1, |pc, now| pc.add_ice_candidate(now, Some(early.clone())))
            .unwrap();
    }
    assert_eq!(pair.pc(1).remote_description(), before);
    let mut offer = pair.pc(0).local_description().unwrap();
    offer.sdp = offer
        .sdp
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("a=candidate"))
        .collect();
    pair.trickle = true;
    pair.answer(1, offer);
    let sdp = pair.pc(1).remote_description().unwrap().sdp;
    for early in &candidates {
        assert!(early.candidate.is_empty() || sdp.contains(&early.candidate), "{sdp}");
    }
    let changed = |event: &Event| matches!(event, Event::SelectedCandidatePairChange { .. });
    assert!(pair.run_until(Duration::from_secs(30), |pair| pair.told(1, changed)));
    pair.exchange(1, other, channel, Message::text("afterwards"));
}

#[test]
fn mend07_candidates_of_generations_that_never_come_take_bounded_room() {
    let (mut pair, [channel, other]) = connected(14);
    for number in 0..10 * MAX_EARLY_CANDIDATES {
        let stray = RtcIceCandidateInit {
            username_fragment: Some(format!("never{number}")),
            ..candidate(HOST, Some("0"), None).unwrap()
        };
        pair.call(0, |pc, now| pc.add_ice_candidate(now, Some(stray))).unwrap();
    }
    assert!(!pair.pc(0).remote_description().unwrap().sdp.contains(HOST));
    pair.negotiate(0);
    pair.exchange(1, other, channel, Message::text("as if nothing had been"));
}
