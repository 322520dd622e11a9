//! Marks of ECN over real sockets: from the controller of one end through driver and kernel to the feedback of the other, and back.

mod pair;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use antiphon::peer_connection::{Datagram, Ecn};
use antiphon::stats::CongestionStats;
use antiphon::{
    Api, Congestion, CongestionFeedbackPolicy, Direction, Event, Frame, Heading, MediaKind, PeerConnection, PeerHandle,
    RtcConfiguration, RtcPeerConnectionState, RtcRtpTransceiverInit, Wire,
};
use tokio::sync::watch;

use pair::within;

/// Takes the mark of what is sent, once it is told to.
struct Bleach {
    bleaches: Arc<AtomicBool>,
    waiting: VecDeque<(Instant, Heading, Datagram)>,
}

impl Wire for Bleach {
    fn take(&mut self, now: Instant, heading: Heading, mut datagram: Datagram) {
        if heading == Heading::Out && self.bleaches.load(Ordering::Relaxed) {
            datagram.ecn = Ecn::NotEct;
        }
        self.waiting.push_back((now, heading, datagram));
    }

    fn give(&mut self, _now: Instant) -> Option<(Heading, Datagram)> {
        let first = self.waiting.pop_front();
        first.map(|(_, heading, datagram)| (heading, datagram))
    }

    fn next(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, ..)| *at)
    }
}

/// Carries candidates, and tells when the connection stands.
fn carry(mut pc: PeerConnection, other: PeerHandle) -> watch::Receiver<bool> {
    let (told, connected) = watch::channel(false);
    tokio::spawn(async move {
        while let Some(event) = pc.next_event().await {
            match event {
                Event::IceCandidate(candidate) => _ = other.add_ice_candidate(candidate).await,
                Event::ConnectionStateChange(RtcPeerConnectionState::Connected) => _ = told.send_replace(true),
                _ => {}
            }
        }
    });
    connected
}

async fn figures(peer: &PeerHandle) -> CongestionStats {
    let report = peer.get_stats().await.unwrap();
    report.congestion().cloned().expect("media flows")
}

#[tokio::test]
async fn marks_go_the_whole_way_and_cease_where_they_are_taken_away() {
    let api = Api::builder().loopback(true).build().unwrap();
    let mut configuration = RtcConfiguration::default();
    configuration.settings.media.congestion = Congestion::Scream;
    configuration.settings.media.congestion_feedback = CongestionFeedbackPolicy::Negotiate;
    let a = api.peer_connection(configuration.clone()).await.unwrap();
    let b = api.peer_connection(configuration).await.unwrap();
    let (alice, bob) = (a.handle(), b.handle());
    let bleaches = Arc::new(AtomicBool::new(false));
    let wire = Bleach {
        bleaches: bleaches.clone(),
        waiting: VecDeque::new(),
    };
    alice.set_wire(Some(Box::new(wire))).await.unwrap();
    let init = RtcRtpTransceiverInit::new(Direction::SendOnly);
    let video = alice.add_transceiver(MediaKind::Video, init).await.unwrap();
    let mut connected = carry(a, bob.clone());
    _ = carry(b, alice.clone());
    alice.set_local_description(None).await.unwrap();
    let offer = alice.local_description().await.unwrap().unwrap();
    bob.set_remote_description(offer).await.unwrap();
    bob.set_local_description(None).await.unwrap();
    let answer = bob.local_description().await.unwrap().unwrap();
    alice.set_remote_description(answer).await.unwrap();
    within("connected", connected.wait_for(|stands| *stands)).await.unwrap();

    let payload_type = alice.payload_type(video, "VP8").await.unwrap().unwrap();
    let mut beat = tokio::time::interval(Duration::from_millis(5));
    let mut number = 0;
    let mut marked = None;
    within("the end of marks", async {
        loop {
            beat.tick().await;
            let mut data = vec![0; 2000];
            // RFC 6386 §9.1: a key frame.
            data[0] = 0x10;
            data[3..10].copy_from_slice(&[0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
            // A queue that is full for now is no matter here.
            _ = alice
                .send_frame(video, Frame::new(payload_type, number * 450, data))
                .await;
            number += 1;
            let ours = figures(&alice).await;
            match (marked, ours.marking_ended) {
                (None, None) if ours.packets_sent_with_ect > 100 => {
                    let theirs = figures(&bob).await;
                    if theirs.packets_received_with_ect > 50 {
                        assert_eq!(ours.packets_with_bleached_marking, 0, "{ours:?}");
                        bleaches.store(true, Ordering::Relaxed);
                        marked = Some(());
                    }
                }
                (Some(()), Some(why)) => {
                    assert_eq!(why, "bleached");
                    return;
                }
                (None, Some(why)) => panic!("{why}: {ours:?}"),
                _ => {}
            }
        }
    })
    .await;
    let before = figures(&alice).await.packets_sent_with_ect;
    for _ in 0..20 {
        number += 1;
        _ = alice
            .send_frame(video, Frame::new(payload_type, number * 450, vec![0x10; 500]))
            .await;
    }
    beat.tick().await;
    assert_eq!(figures(&alice).await.packets_sent_with_ect, before);
}
