//! Data channels between whole peers.

use std::time::Duration;

use crate::support::Pair;
use antiphon_netsim::LinkConfig;
use antiphon_peer_connection::{Event, Message, RtcDataChannelInit, RtcPeerConnectionState, RtcSctpTransportState};

#[test]
fn a_message_each_way() {
    for offerer in 0..2 {
        let mut pair = Pair::new(offerer as u64);
        let channel = pair
            .call(offerer, |pc, now| {
                pc.create_data_channel(now, "chat", RtcDataChannelInit::default())
            })
            .unwrap();
        pair.signal();
        assert_eq!(pair.count(offerer, |event| *event == Event::NegotiationNeeded), 1);
        pair.negotiate(offerer);
        pair.connect();
        let answerer = 1 - offerer;
        let other = pair.open(offerer, channel);
        pair.exchange(offerer, channel, other, Message::text("Cookies 4 life"));
        pair.exchange(answerer, other, channel, Message::binary(vec![7; 200_000]));
        assert_eq!(pair.pc(0).sctp_state(), Some(RtcSctpTransportState::Connected));
        assert!(!pair.told(offerer, |event| matches!(
            event,
            Event::ConnectionStateChange(RtcPeerConnectionState::Failed)
        )));
    }
}

#[test]
fn candidates_may_stand_in_the_descriptions_alone() {
    let mut pair = Pair::new(3);
    pair.trickle = false;
    pair.call(0, |pc, now| {
        pc.create_data_channel(now, "", RtcDataChannelInit::default())
    })
    .unwrap();
    pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
    pair.run_for(Duration::from_millis(100));
    let offer = pair.pc(0).local_description().unwrap();
    assert!(offer.sdp.contains("a=candidate:") && offer.sdp.contains("a=end-of-candidates"));
    pair.call(1, |pc, now| pc.set_remote_description(now, offer)).unwrap();
    pair.call(1, |pc, now| pc.set_local_description(now, None)).unwrap();
    pair.run_for(Duration::from_millis(100));
    let answer = pair.pc(1).local_description().unwrap();
    pair.call(0, |pc, now| pc.set_remote_description(now, answer)).unwrap();
    pair.connect();
}

#[test]
fn a_hundred_seeds_with_loss() {
    for seed in 0..100 {
        let link = LinkConfig {
            delay: Duration::from_millis(5 + seed % 40),
            loss: (seed % 5) as f64 * 0.05,
            reorder: (seed % 3) as f64 * 0.05,
            duplicate: (seed % 2) as f64 * 0.05,
            ..LinkConfig::default()
        };
        let mut pair = Pair::with_link(seed, link);
        let offerer = (seed % 2) as usize;
        let channel = pair
            .call(offerer, |pc, now| {
                pc.create_data_channel(now, "chat", RtcDataChannelInit::default())
            })
            .unwrap();
        pair.negotiate(offerer);
        pair.connect();
        let answerer = 1 - offerer;
        let other = pair.open(offerer, channel);
        pair.exchange(offerer, channel, other, Message::binary(vec![seed as u8; 20_000]));
        pair.exchange(answerer, other, channel, Message::text("back"));
    }
}
