//! Every offer that a browser was seen to make gets an answer that holds together; and the answers of browsers to one
//! another are understood.
//!
//! The selection in `conformance/fixtures/sdp` is always read; `ANTIPHON_CAPTURES` may name a larger folder.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use antiphon_jsep::{
    Direction, DtlsRole, IceRole, JsepError, MediaKind, SdpType, SessionDescription, SignalingState, TrackChange,
};
use common::{Peer, bundle, check_answer};

/// The folders, each with its descriptions in the order they were made.
fn scenarios() -> BTreeMap<PathBuf, Vec<PathBuf>> {
    fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<PathBuf>>) {
        for entry in std::fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "sdp") {
                found.entry(folder.to_owned()).or_default().push(path);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/fixtures/sdp"),
        &mut found,
    );
    if let Some(more) = std::env::var_os("ANTIPHON_CAPTURES") {
        walk(Path::new(&more), &mut found);
    }
    assert!(found.len() >= 15, "the fixtures are there");
    found.values_mut().for_each(|list| list.sort());
    found
}

fn read(path: &Path) -> SessionDescription {
    SessionDescription::parse(&std::fs::read_to_string(path).expect("a file")).expect("a capture parses")
}

fn named(path: &Path, part: &str) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.contains(part))
}

#[test]
fn each_captured_offer_is_answered() {
    let mut answered = 0;
    for path in scenarios().into_values().flatten() {
        // What was rolled back is no offer; what was gathered later is one too.
        if !named(&path, "offer") || named(&path, "rolledback") {
            continue;
        }
        let offer = read(&path);
        if path.to_string_lossy().contains("unencrypted-rtp") {
            // V14: Chromium without encryption is refused, and nothing has happened.
            let mut peer = Peer::new('z');
            let error = peer
                .negotiator
                .set_remote(SdpType::Offer, offer.clone())
                .expect_err("no DTLS");
            assert!(matches!(error, JsepError::InsecureProtocol { .. }), "{error}");
            assert_eq!(peer.negotiator.signaling_state(), SignalingState::Stable);
            continue;
        }
        for sending in [false, true] {
            let mut peer = Peer::new('z');
            if sending {
                peer.add_track(MediaKind::Audio);
                peer.add_track(MediaKind::Video);
            }
            let plan = peer
                .negotiator
                .set_remote(SdpType::Offer, offer.clone())
                .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert_eq!(plan.signaling_state, SignalingState::HaveRemoteOffer);
            let remote = plan.transport.remote.expect("a browser describes its transport");
            assert!(!remote.fingerprints.is_empty() && remote.ice_options.iter().any(|word| word == "trickle"));
            assert_eq!(plan.transport.ice_role, Some(IceRole::Controlled));
            let answer = peer.answer();
            check_answer(&offer, &answer);
            let plan = peer
                .negotiator
                .set_local(SdpType::Answer, answer.clone())
                .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert_eq!(plan.signaling_state, SignalingState::Stable);
            assert!(plan.transport.gather);
            // Some gathered descriptions were read back after the answer, with the role that came of it.
            assert!(plan.transport.dtls_role.is_some());
            for (offered, accepted) in offer.media.iter().zip(&answer.media) {
                let mid = accepted.section.mid().expect("browsers give a mid");
                if accepted.is_rejected() {
                    continue;
                }
                if accepted.line.media() == "application" {
                    let data = plan.data.as_ref().expect("data is negotiated");
                    assert!(data.active && data.mid == mid);
                    assert!(data.remote_max_message_size.is_some());
                    continue;
                }
                let own = plan
                    .transceivers
                    .iter()
                    .find(|own| own.mid.as_deref() == Some(mid))
                    .expect("a plan for it");
                let current = own.current_direction.expect("negotiated");
                assert_eq!(current, answer.direction_of(accepted));
                assert_eq!(own.send.is_some(), current.sends());
                assert_eq!(own.receive.is_some(), current.receives());
                if let Some(receive) = &own.receive {
                    assert!(!receive.codecs.is_empty());
                    // Every announced stream is known, retransmissions paired.
                    let announced = offered.section.ssrcs().next().is_some();
                    assert_eq!(announced, !receive.streams.is_empty());
                    let pairs = offered
                        .section
                        .ssrc_groups()
                        .filter(|group| group.semantics == "FID")
                        .count();
                    assert_eq!(
                        receive
                            .streams
                            .iter()
                            .filter(|stream| stream.rtx_ssrc.is_some())
                            .count(),
                        pairs
                    );
                }
                if let Some(send) = &own.send {
                    assert!(!send.codecs.is_empty());
                }
            }
            answered += 1;
        }
    }
    assert!(answered >= 30, "{answered}");
}

#[test]
fn a_whole_browser_session_is_followed() {
    let mut followed = 0;
    for paths in scenarios().into_values() {
        // Side A of each scenario against us in the place of B, through all its offers.
        let offers: Vec<&PathBuf> = paths
            .iter()
            .filter(|path| named(path, "-A-") && named(path, "-offer.sdp") && !named(path, "rolledback"))
            .collect();
        if offers.len() < 2 {
            continue;
        }
        let mut peer = Peer::new('z');
        for path in offers {
            let offer = read(path);
            peer.negotiator
                .set_remote(SdpType::Offer, offer.clone())
                .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let answer = peer.answer();
            check_answer(&offer, &answer);
            peer.negotiator
                .set_local(SdpType::Answer, answer.clone())
                .expect("our own answer");
            followed += 1;
        }
    }
    assert!(followed >= 4, "{followed}");
}

#[test]
fn the_chromium_offer_is_understood_in_detail() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/fixtures/sdp");
    let offer = read(&folder.join("chromium-chromium/audio-video-data/01-A-chromium-offer.sdp"));
    let mut peer = Peer::new('z');
    let video = peer.add_track(MediaKind::Video);
    let plan = peer.negotiator.set_remote(SdpType::Offer, offer.clone()).expect("set");
    let added: Vec<_> = plan
        .transceivers
        .iter()
        .map(|own| (own.kind, own.added, own.track))
        .collect();
    assert_eq!(
        added,
        [
            (MediaKind::Audio, true, TrackChange::Added),
            // The transceiver of add_track takes the offered section.
            (MediaKind::Video, false, TrackChange::Added),
        ]
    );
    assert_eq!(plan.transceivers[1].id, video);
    assert_eq!(
        plan.transceivers[1].remote_streams,
        ["ef4ad0a0-7429-41ed-98f5-841b7dc51fdd"]
    );

    let answer = peer.answer();
    assert_eq!(bundle(&answer), ["0", "1", "2"]);
    assert_eq!(answer.direction_of(&answer.media[0]), Direction::RecvOnly);
    assert_eq!(answer.direction_of(&answer.media[1]), Direction::SendRecv);
    let plan = peer.negotiator.set_local(SdpType::Answer, answer.clone()).expect("set");
    assert_eq!(plan.transport.dtls_role, Some(DtlsRole::Client));

    let audio = plan.transceivers[0].receive.as_ref().expect("we receive");
    assert_eq!(
        (audio.codecs[0].name.as_str(), audio.codecs[0].payload_type),
        ("opus", 111)
    );
    assert!(audio.codecs[0].has_feedback("transport-cc"));
    assert_eq!(audio.streams[0].ssrc, 2_469_297_053);
    assert_eq!(audio.streams[0].cname.as_deref(), Some("jedrHovpXmmKn81o"));

    let send = plan.transceivers[1].send.as_ref().expect("we send");
    assert_eq!((send.codecs[0].name.as_str(), send.codecs[0].payload_type), ("VP8", 96));
    assert_eq!(send.codecs[0].rtx.map(|rtx| rtx.payload_type), Some(97));
    for feedback in ["nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"] {
        assert!(send.codecs[0].has_feedback(feedback), "{feedback}");
    }
    assert!(send.reduced_size_rtcp && send.extmap_allow_mixed);
    let id = |uri: &str| {
        send.extensions
            .iter()
            .find(|own| own.uri.ends_with(uri))
            .map(|own| own.id)
    };
    assert_eq!(
        (id("sdes:mid"), id("transport-wide-cc-extensions-01")),
        (Some(4), Some(3))
    );
    let receive = plan.transceivers[1].receive.as_ref().expect("we receive");
    assert_eq!(receive.streams.len(), 1);
    assert_eq!(
        (receive.streams[0].ssrc, receive.streams[0].rtx_ssrc),
        (1_290_995_075, Some(3_912_217_284))
    );

    let data = plan.data.expect("data");
    assert_eq!(
        (data.local_port, data.remote_port, data.remote_max_message_size),
        (5000, 5000, Some(262_144))
    );
    assert!(!peer.negotiator.negotiation_needed());
}

#[test]
fn simulcast_of_both_browsers_is_received() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/fixtures/sdp");
    for offer in [
        "chromium-chromium/simulcast-3-rids/01-A-chromium-offer.sdp",
        "firefox-firefox/simulcast-3-rids/01-A-firefox-offer.sdp",
    ] {
        let offer = read(&folder.join(offer));
        let offered = offer.media[0].section.simulcast().expect("simulcast").send.len();
        let mut peer = Peer::new('z');
        peer.negotiator.set_remote(SdpType::Offer, offer.clone()).expect("set");
        let answer = peer.answer();
        check_answer(&offer, &answer);
        assert_eq!(
            answer.media[0].section.simulcast().expect("simulcast").receive.len(),
            offered
        );
        let plan = peer.negotiator.set_local(SdpType::Answer, answer.clone()).expect("set");
        let receive = plan.transceivers[0].receive.as_ref().expect("we receive");
        assert_eq!(receive.simulcast.len(), offered);
        let uris: Vec<&str> = receive.extensions.iter().map(|own| own.uri.as_str()).collect();
        assert!(uris.iter().any(|uri| uri.ends_with("sdes:rtp-stream-id")));
        assert!(uris.iter().any(|uri| uri.ends_with("sdes:repaired-rtp-stream-id")));
    }
}
