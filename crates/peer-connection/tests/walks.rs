//! Random walks: whatever two applications do, and whenever, the connection comes to rest in working order. And the
//! same walk gives the same bytes.

use std::sync::Arc;
use std::time::Duration;

use crate::support::Pair;
use antiphon_netsim::LinkConfig;
use antiphon_peer_connection::{
    Certificate, CertificateParams, DataChannelId, Direction, Event, Frame, MediaKind, MediaStreamTrack, Message, Rng,
    RtcConfiguration, RtcDataChannelInit, RtcPeerConnectionState, RtcRtpTransceiverInit, RtcSignalingState, Settings,
    TransceiverId,
};

fn kind(rng: &mut Rng) -> MediaKind {
    [MediaKind::Audio, MediaKind::Video][rng.below(2) as usize]
}

fn direction(rng: &mut Rng) -> Direction {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    [SendRecv, SendOnly, RecvOnly, Inactive][rng.below(4) as usize]
}

fn pick(pair: &Pair, at: usize, rng: &mut Rng) -> Option<TransceiverId> {
    let ids: Vec<_> = pair.pc(at).transceivers().map(|own| own.id()).collect();
    (!ids.is_empty()).then(|| ids[rng.below(ids.len() as u32) as usize])
}

fn channel(pair: &Pair, at: usize, rng: &mut Rng) -> Option<DataChannelId> {
    let ids: Vec<_> = pair.pc(at).data_channels().collect();
    (!ids.is_empty()).then(|| ids[rng.below(ids.len() as u32) as usize])
}

/// One thing that an application may do. Refusals are fine; panics and broken states are not.
fn act(pair: &mut Pair, rng: &mut Rng, step: usize) {
    let at = rng.below(2) as usize;
    let mut draw = rng.fork_numbered("act", step as u64);
    match rng.below(16) {
        0 => {
            let track = MediaStreamTrack {
                kind: kind(&mut draw),
                id: format!("track{}", draw.below(6)),
                stream_ids: vec!["s".into()],
            };
            let _ = pair.call(at, |pc, _| pc.add_track(track));
        }
        1 => {
            let init = RtcRtpTransceiverInit::new(direction(&mut draw));
            let _ = pair.call(at, |pc, _| pc.add_transceiver(kind(&mut draw), init));
        }
        2 => {
            if let Some(id) = pick(pair, at, &mut draw) {
                let _ = pair.call(at, |pc, _| pc.remove_track(id));
            }
        }
        3 => {
            if let Some(id) = pick(pair, at, &mut draw) {
                let _ = pair.call(at, |pc, _| pc.set_direction(id, direction(&mut draw)));
            }
        }
        4 => {
            if let Some(id) = pick(pair, at, &mut draw) {
                let _ = pair.call(at, |pc, _| pc.stop_transceiver(id));
            }
        }
        5 => {
            let init = RtcDataChannelInit {
                ordered: draw.below(2) == 0,
                max_retransmits: (draw.below(3) == 0).then_some(2),
                ..RtcDataChannelInit::default()
            };
            let _ = pair.call(at, |pc, now| pc.create_data_channel(now, "walk", init));
        }
        6 => {
            if let Some(id) = channel(pair, at, &mut draw) {
                let len = draw.below(30_000) as usize;
                let _ = pair.call(at, |pc, now| pc.send(now, id, Message::binary(vec![1; len])));
            }
        }
        7 => {
            if let Some(id) = channel(pair, at, &mut draw) {
                pair.call(at, |pc, now| pc.close_data_channel(now, id));
            }
        }
        8 => pair.call(at, |pc, _| pc.restart_ice()),
        9 => {
            // Glare may follow: the other end may have an offer out too.
            let _ = pair.call(at, |pc, now| pc.set_local_description(now, None));
        }
        10 | 11 => {
            if pair.pc(at).signaling_state() == RtcSignalingState::Stable {
                exchange(pair, at);
            }
        }
        12 => {
            let _ = pair.call(at, |pc, now| {
                pc.set_local_description(now, Some(antiphon_peer_connection::RtcSessionDescription::rollback()))
            });
        }
        13 | 14 => {
            let Some(id) = pick(pair, at, &mut draw) else { return };
            let send = pair.pc(at).transceiver(id).and_then(|own| own.send());
            let Some(codec) = send.and_then(|send| send.codecs.first()) else {
                return;
            };
            let frame = Frame::new(
                codec.payload_type,
                step as u32 * 960,
                vec![0x11; 20 + draw.below(4000) as usize],
            );
            let _ = pair.call(at, |pc, now| pc.send_frame(now, id, frame));
        }
        _ => {
            let millis = u64::from(draw.below(300));
            pair.run_for(Duration::from_millis(millis));
        }
    }
}

/// `at` offers; the other end takes its own offer back if it has one.
fn exchange(pair: &mut Pair, at: usize) {
    pair.call(at, |pc, now| pc.set_local_description(now, None)).unwrap();
    let offer = pair.pc(at).local_description().unwrap();
    pair.answer(1 - at, offer);
}

fn walk(seed: u64, pair: &mut Pair) {
    let mut rng = Rng::from_u64(seed).fork("walk");
    for step in 0..60 {
        act(pair, &mut rng, step);
        pair.signal();
    }
}

/// Brings a walk to an end: whoever has an offer out takes it back, and what is needed is negotiated.
fn settle(seed: u64, pair: &mut Pair) {
    for at in 0..2 {
        if pair.pc(at).signaling_state() == RtcSignalingState::HaveLocalOffer {
            let rollback = antiphon_peer_connection::RtcSessionDescription::rollback();
            pair.call(at, |pc, now| pc.set_local_description(now, Some(rollback)))
                .unwrap();
        }
    }
    let probe = pair
        .call(0, |pc, now| {
            pc.create_data_channel(now, "probe", RtcDataChannelInit::default())
        })
        .unwrap();
    pair.trickle = true;
    exchange(pair, 0);
    exchange(pair, 1);
    let other = pair.open(0, probe);
    pair.exchange(0, probe, other, Message::text("arrived"));
    assert!(
        pair.is(RtcPeerConnectionState::Connected),
        "seed {seed}: {:?} {:?}",
        pair.states(0),
        pair.states(1)
    );
    // Both tables have the same sections, and directions that mirror each other.
    let rows = |pair: &Pair, at: usize| {
        let mut rows: Vec<_> = pair
            .pc(at)
            .transceivers()
            .filter(|own| !own.stopping())
            .map(|own| {
                (
                    own.mid().map(str::to_owned),
                    own.kind().as_str(),
                    own.current_direction(),
                )
            })
            .collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    };
    let (here, there) = (rows(pair, 0), rows(pair, 1));
    assert_eq!(here.len(), there.len(), "seed {seed}");
    for (a, b) in here.iter().zip(&there) {
        assert_eq!((&a.0, a.1), (&b.0, b.1), "seed {seed}");
        assert_eq!(a.2.map(Direction::reversed), b.2, "seed {seed}, mid {:?}", a.0);
    }
    pair.run_for(Duration::from_secs(35));
    assert!(
        pair.is(RtcPeerConnectionState::Connected),
        "seed {seed}: {:?} {:?}",
        pair.states(0),
        pair.states(1)
    );
}

#[test]
fn a_hundred_walks_come_to_rest() {
    for seed in 0..100 {
        let link = LinkConfig {
            loss: (seed % 4) as f64 * 0.03,
            ..LinkConfig::default()
        };
        let mut pair = Pair::with_link(seed, link);
        walk(seed, &mut pair);
        settle(seed, &mut pair);
        pair.net.close_all();
        pair.run_for(Duration::from_secs(5));
        assert_eq!(pair.net.next_event(), None, "seed {seed}");
    }
}

/// Law 8, with the provider whose key exchanges follow from the seed: ring draws randomness of its own.
#[test]
fn the_same_seed_gives_the_same_bytes() {
    // Its signatures need no random numbers, those of ECDSA do.
    let params = CertificateParams {
        algorithm: antiphon_dtls::KeyAlgorithm::Ed25519,
        ..CertificateParams::default()
    };
    let certificate = Arc::new(Certificate::generate(&params).unwrap());
    let run = |seed| {
        let configuration = || RtcConfiguration {
            certificates: vec![Arc::clone(&certificate)],
            settings: Settings {
                provider: antiphon_crypto::null_provider(),
                ..Settings::default()
            },
            ..RtcConfiguration::default()
        };
        let mut pair = Pair::with(seed, LinkConfig::default(), configuration);
        pair.call(0, |pc, now| {
            pc.create_data_channel(now, "c", RtcDataChannelInit::default())
        })
        .unwrap();
        exchange(&mut pair, 0);
        pair.connect();
        walk(seed, &mut pair);
        pair.run_for(Duration::from_secs(2));
        let candidates = pair.count(0, |event| matches!(event, Event::IceCandidate(Some(_))));
        (
            pair.net.transcript(pair.ids[0]),
            pair.net.transcript(pair.ids[1]),
            candidates,
        )
    };
    for seed in 0..5 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(0), run(1));
}
