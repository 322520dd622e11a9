//! Two negotiators talk: the loop of offer and answer, and what comes after the first.

mod common;

use std::sync::Arc;

use antiphon_jsep::{
    Config, Direction, DtlsRole, Encoding, IceRole, JsepError, MediaCapabilities, MediaKind, OfferOptions, SdpType,
    Sender, SignalingState, TrackChange, TransceiverInit,
};
use common::{Peer, bundle, exchange, exchange_with, transport, wire};

#[test]
fn audio_video_and_data_both_ways() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    let audio = a.add_track(MediaKind::Audio);
    let video = a.add_track(MediaKind::Video);
    a.negotiator.want_data();
    assert!(a.negotiator.negotiation_needed());
    b.add_track(MediaKind::Audio);
    b.add_track(MediaKind::Video);
    let done = exchange(&mut a, &mut b);

    assert_eq!(bundle(&done.offer), ["0", "1", "2"]);
    assert_eq!(bundle(&done.answer), ["0", "1", "2"]);
    let plan = &done.offerer_local;
    assert_eq!(
        (plan.signaling_state, plan.signaling_state_changed),
        (SignalingState::HaveLocalOffer, true)
    );
    assert!(plan.transport.gather && plan.transport.remote.is_none() && plan.transport.dtls_role.is_none());
    assert_eq!(plan.transport.ice_role, Some(IceRole::Controlling));
    assert_eq!(
        plan.transport.local.as_ref().map(|ice| ice.ufrag.as_str()),
        Some("afrag0")
    );
    assert!(
        plan.transceivers
            .iter()
            .all(|own| own.mid.is_some() && own.send.is_none())
    );

    let plan = &done.answerer_remote;
    assert!(!plan.transport.gather && plan.transport.remote_changed && !plan.transport.remote_ice_restart);
    assert_eq!(plan.transport.ice_role, Some(IceRole::Controlled));
    assert!(
        plan.transceivers
            .iter()
            .all(|own| !own.added && own.track == TrackChange::Added)
    );
    assert!(plan.data.is_none(), "not before the answer");

    let plan = &done.answerer_local;
    assert_eq!(plan.transport.dtls_role, Some(DtlsRole::Client));
    assert!(plan.transport.gather && plan.data.as_ref().is_some_and(|data| data.active));
    let plan = &done.offerer_remote;
    assert_eq!(plan.transport.dtls_role, Some(DtlsRole::Server));
    assert_eq!(a.negotiator.bundle(), ["0", "1", "2"]);
    assert!(plan.data.as_ref().is_some_and(|data| data.active && data.mid == "2"));

    assert_eq!(
        (a.direction(audio), a.direction(video)),
        (Some(Direction::SendRecv), Some(Direction::SendRecv))
    );
    for (peer, other) in [(&a, &b), (&b, &a)] {
        for own in peer.negotiator.transceivers() {
            let their = other
                .negotiator
                .transceiver_by_mid(own.mid().expect("a mid"))
                .expect("the pair");
            let (send, receive) = (own.send().expect("sends"), their.receive().expect("receives"));
            assert_eq!(send.codecs.len(), receive.codecs.len());
            for (out, into) in send.codecs.iter().zip(&receive.codecs) {
                assert_eq!(
                    (out.payload_type, &out.name, out.rtx),
                    (into.payload_type, &into.name, into.rtx)
                );
                assert_eq!(out.feedback, into.feedback);
            }
            assert_eq!(send.extensions, receive.extensions);
            assert_eq!(receive.streams[0].ssrc, own.sender().encodings[0].ssrc);
            assert_eq!(receive.streams[0].rtx_ssrc, own.sender().encodings[0].rtx_ssrc);
            assert_eq!(
                receive.streams[0].cname.as_deref(),
                Some(peer.negotiator.config().cname.as_str())
            );
            assert_eq!(their.remote_streams(), own.sender().streams);
        }
        assert!(!peer.negotiator.negotiation_needed());
    }
}

#[test]
fn an_exchange_without_change_changes_nothing() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    a.add_track(MediaKind::Video);
    a.negotiator.want_data();
    let first = exchange(&mut a, &mut b);
    let again = exchange(&mut a, &mut b);
    assert_eq!(first.offer, again.offer, "the version too stays (RFC 3264 §8)");
    assert_eq!(first.answer, again.answer);
    for plan in [&again.answerer_remote, &again.answerer_local, &again.offerer_remote] {
        assert!(plan.transceivers.is_empty() && plan.data.is_none() && !plan.transport.remote_changed);
        assert!(!plan.transport.gather && !plan.transport.remote_ice_restart);
    }
    // The roles stay when the other side offers (RFC 8842 §5.5).
    let turned = exchange(&mut b, &mut a);
    assert_eq!(turned.answerer_local.transport.dtls_role, Some(DtlsRole::Server));
    assert_eq!(turned.offerer_remote.transport.dtls_role, Some(DtlsRole::Client));
    assert_eq!(turned.offerer_local.transport.ice_role, Some(IceRole::Controlled));
    let setup = |description: &antiphon_jsep::SessionDescription| {
        description.media[0].section.value("setup").map(str::to_owned)
    };
    assert_eq!(setup(&turned.offer).as_deref(), Some("actpass"), "in later offers too");
    assert_eq!(setup(&turned.answer).as_deref(), Some("passive"));
}

#[test]
fn renegotiation_adds_and_removes() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    let audio = a.add_track(MediaKind::Audio);
    let first = exchange(&mut a, &mut b);
    assert!(first.offerer_remote.data.is_none());

    // Video and data come.
    let video = a.add_track(MediaKind::Video);
    a.negotiator.want_data();
    assert!(a.negotiator.negotiation_needed());
    let second = exchange(&mut a, &mut b);
    assert_eq!(bundle(&second.answer), ["0", "1", "2"]);
    let changed: Vec<_> = second.answerer_remote.transceivers.iter().map(|own| own.kind).collect();
    assert_eq!(changed, [MediaKind::Video], "the audio section did not change");
    assert!(second.answerer_local.data.as_ref().is_some_and(|data| data.active));
    let version =
        |description: &antiphon_jsep::SessionDescription| description.origin().and_then(|origin| origin.version());
    assert_eq!(version(&second.offer), version(&first.offer).map(|version| version + 1));

    // The audio track goes (remove_track), and comes back.
    a.negotiator.set_direction(audio, Direction::RecvOnly).expect("live");
    assert!(a.negotiator.negotiation_needed());
    let third = exchange(&mut a, &mut b);
    let gone = &third.answerer_remote.transceivers[0];
    assert_eq!((gone.track, gone.remote_streams.len()), (TrackChange::Removed, 0));
    assert_eq!(a.direction(audio), Some(Direction::Inactive));
    assert!(third.answerer_local.transceivers[0].receive.is_none());
    a.negotiator.set_direction(audio, Direction::SendOnly).expect("live");
    let fourth = exchange(&mut a, &mut b);
    assert_eq!(fourth.answerer_remote.transceivers[0].track, TrackChange::Added);
    assert_eq!(a.direction(audio), Some(Direction::SendOnly));

    // Video is stopped: port 0, and the place is used again.
    assert_eq!(a.negotiator.stop(video), Ok(false));
    assert!(a.negotiator.negotiation_needed());
    let fifth = exchange(&mut a, &mut b);
    assert_eq!(fifth.offer.media[1].line.port(), 0);
    assert_eq!(bundle(&fifth.offer), ["0", "2"]);
    assert!(
        fifth
            .answerer_local
            .transceivers
            .iter()
            .any(|own| own.stopped && own.kind == MediaKind::Video)
    );
    assert!(
        fifth
            .offerer_remote
            .transceivers
            .iter()
            .any(|own| own.stopped && own.id == video)
    );
    assert!(
        a.negotiator.transceiver(video).is_none(),
        "a stopped transceiver leaves the table"
    );
    assert!(!a.negotiator.negotiation_needed() && !b.negotiator.negotiation_needed());

    let again = b.add_track(MediaKind::Video);
    let sixth = exchange(&mut b, &mut a);
    assert_eq!(sixth.offer.media.len(), 3, "recycled, not appended");
    assert_eq!(
        sixth.offer.media[1].section.mid(),
        Some("3"),
        "with a mid that was never used"
    );
    assert_eq!(bundle(&sixth.answer), ["0", "3", "2"]);
    assert_eq!(b.direction(again), Some(Direction::SendOnly));
}

#[test]
fn a_codec_has_one_payload_type_in_all_sections() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    a.add_track(MediaKind::Audio);
    a.add_track(MediaKind::Video);
    let first = exchange(&mut a, &mut b);
    b.add_track(MediaKind::Audio);
    b.add(MediaKind::Audio, Direction::SendRecv);
    b.add(MediaKind::Video, Direction::SendRecv);
    let second = exchange(&mut b, &mut a);
    assert_eq!(second.offer.media.len(), 4);
    let list = |media: &antiphon_jsep::sdp::MediaDescription| media.line.payload_types().collect::<Vec<_>>();
    assert_eq!(list(&second.offer.media[2]), list(&first.offer.media[0]));
    assert_eq!(list(&second.offer.media[3]), list(&first.offer.media[1]));
}

#[test]
fn the_answerer_adds_media_in_an_exchange_of_its_own() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    a.negotiator.want_data();
    exchange(&mut a, &mut b);
    let own = b.add_track(MediaKind::Audio);
    let done = exchange_with(&mut b, &mut a, |a| {
        a.add_track(MediaKind::Audio);
    });
    assert_eq!(bundle(&done.answer), ["0", "1"]);
    assert_eq!(
        b.direction(own),
        Some(Direction::SendRecv),
        "add_track took the waiting transceiver"
    );
    assert_eq!(
        done.offerer_local.transport.ice_role,
        Some(IceRole::Controlled),
        "the first exchange decides"
    );
}

#[test]
fn glare_is_settled_by_rollback() {
    let (mut polite, mut impolite) = (Peer::new('p'), Peer::new('i'));
    let own = polite.add_track(MediaKind::Audio);
    let from_api = polite.add(MediaKind::Video, Direction::SendRecv);
    impolite.add_track(MediaKind::Audio);
    let lost = polite.offer();
    polite.negotiator.set_local(SdpType::Offer, lost.clone()).expect("set");
    let offer = impolite.offer();
    impolite
        .negotiator
        .set_local(SdpType::Offer, offer.clone())
        .expect("set");

    let error = impolite
        .negotiator
        .set_remote(SdpType::Answer, wire(&lost))
        .expect_err("an offer is no answer");
    assert!(
        !matches!(error, JsepError::InvalidState { .. }),
        "judged by its content: {error}"
    );

    // The polite side takes its own back and answers in one step.
    let plan = polite
        .negotiator
        .set_remote(SdpType::Offer, wire(&offer))
        .expect("implicit rollback");
    assert_eq!(plan.signaling_state, SignalingState::HaveRemoteOffer);
    assert!(plan.removed.is_empty(), "what add_track and add_transceiver made stays");
    assert_eq!(plan.transport.ice_role, Some(IceRole::Controlled));
    let taken = polite.negotiator.transceiver(own).expect("there");
    assert_eq!(taken.mid(), Some("0"), "the transceiver of add_track takes the section");
    assert_eq!(polite.negotiator.transceiver(from_api).expect("there").mid(), None);
    let answer = polite.answer();
    polite
        .negotiator
        .set_local(SdpType::Answer, answer.clone())
        .expect("set");
    impolite
        .negotiator
        .set_remote(SdpType::Answer, wire(&answer))
        .expect("set");
    assert!(polite.negotiator.negotiation_needed(), "the video still waits");
    exchange(&mut polite, &mut impolite);
    assert_eq!(polite.direction(from_api), Some(Direction::SendOnly));
    assert!(!polite.negotiator.negotiation_needed());
}

#[test]
fn rollback_restores_both_sides() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    let audio = a.add_track(MediaKind::Audio);
    exchange(&mut a, &mut b);
    let (before_a, before_b) = (snapshot(&a), snapshot(&b));

    let video = a.add_track(MediaKind::Video);
    a.negotiator.set_direction(audio, Direction::RecvOnly).expect("live");
    let offer = a.offer();
    a.negotiator.set_local(SdpType::Offer, offer.clone()).expect("set");
    let plan = b.negotiator.set_remote(SdpType::Offer, wire(&offer)).expect("set");
    let made = plan.transceivers.iter().find(|own| own.added).expect("the video").id;

    let plan = b
        .negotiator
        .set_remote(SdpType::Rollback, offer.clone())
        .expect("rolled back");
    assert_eq!(
        (plan.signaling_state, plan.removed.as_slice()),
        (SignalingState::Stable, &[made][..])
    );
    assert_eq!(plan.transceivers[0].track, TrackChange::Added, "the audio is back");
    assert_eq!(snapshot(&b), before_b);
    assert!(b.negotiator.pending_remote_description().is_none());

    let plan = a.negotiator.rollback().expect("rolled back");
    assert_eq!(plan.signaling_state, SignalingState::Stable);
    assert_eq!(a.negotiator.transceiver(video).expect("it stays").mid(), None);
    a.negotiator.stop(video).expect("no section: gone at once");
    a.negotiator.set_direction(audio, Direction::SendRecv).expect("live");
    assert_eq!(snapshot(&a), before_a);
    assert!(matches!(a.negotiator.rollback(), Err(JsepError::InvalidState { .. })));
    exchange(&mut a, &mut b);
}

fn snapshot(peer: &Peer) -> Vec<antiphon_jsep::Transceiver> {
    peer.negotiator.transceivers().cloned().collect()
}

#[test]
fn a_provisional_answer_may_change() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    let audio = a.add_track(MediaKind::Audio);
    let offer = a.offer();
    a.negotiator.set_local(SdpType::Offer, offer.clone()).expect("set");
    b.negotiator.set_remote(SdpType::Offer, wire(&offer)).expect("set");
    let first = b.answer();
    let plan = b.negotiator.set_local(SdpType::PrAnswer, first.clone()).expect("set");
    assert_eq!(plan.signaling_state, SignalingState::HaveLocalPrAnswer);
    let plan = a.negotiator.set_remote(SdpType::PrAnswer, wire(&first)).expect("set");
    assert_eq!(plan.signaling_state, SignalingState::HaveRemotePrAnswer);
    assert_eq!(plan.transport.dtls_role, Some(DtlsRole::Server), "DTLS may begin");
    assert!(matches!(a.negotiator.rollback(), Err(JsepError::InvalidState { .. })));
    assert!(matches!(
        a.negotiator.create_offer(&OfferOptions::default(), &transport('a', 0)),
        Err(JsepError::InvalidState { .. })
    ));
    b.add_track(MediaKind::Audio);
    let last = b.answer();
    b.negotiator.set_local(SdpType::Answer, last.clone()).expect("set");
    let plan = a.negotiator.set_remote(SdpType::Answer, wire(&last)).expect("set");
    assert_eq!(plan.signaling_state, SignalingState::Stable);
    assert_eq!(a.direction(audio), Some(Direction::SendRecv));
}

#[test]
fn ice_restarts_from_either_side() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    a.negotiator.want_data();
    exchange(&mut a, &mut b);

    a.negotiator.restart_ice();
    assert!(a.negotiator.negotiation_needed() && a.negotiator.ice_restart_wanted());
    let old = a.transport();
    assert_eq!(
        a.negotiator.create_offer(&OfferOptions::default(), &old),
        Err(JsepError::CredentialsInUse)
    );
    a.generation += 1;
    let done = exchange(&mut a, &mut b);
    assert!(done.offerer_local.transport.gather);
    assert!(done.answerer_remote.transport.remote_ice_restart);
    assert_eq!(b.generation, 1, "the answer has new credentials too");
    assert!(done.answerer_local.transport.gather);
    assert!(done.offerer_remote.transport.remote_ice_restart);
    assert!(!a.negotiator.negotiation_needed() && !a.negotiator.ice_restart_wanted());

    // An answerer that keeps its credentials is told so.
    b.generation += 1;
    let offer = b.offer();
    b.negotiator.set_local(SdpType::Offer, offer.clone()).expect("set");
    a.negotiator.set_remote(SdpType::Offer, wire(&offer)).expect("set");
    let kept = a.transport();
    assert_eq!(a.negotiator.create_answer(&kept), Err(JsepError::CredentialsInUse));

    // Taken back, the old credentials are in force again.
    let plan = b.negotiator.rollback().expect("rolled back");
    assert_eq!(plan.transport.local.map(|ice| ice.ufrag).as_deref(), Some("bfrag1"));
}

#[test]
fn no_common_codec_is_a_refused_section_not_an_error() {
    let only = |name: &str| {
        let mut capabilities = MediaCapabilities::default();
        capabilities.video.retain(|codec| codec.name == name);
        Config {
            capabilities: capabilities.into(),
            ..Config::default()
        }
    };
    let (mut a, mut b) = (Peer::with('a', only("VP9")), Peer::with('b', only("H264")));
    let video = a.add_track(MediaKind::Video);
    let audio = a.add_track(MediaKind::Audio);
    let done = exchange(&mut a, &mut b);
    assert!(done.answer.media[0].is_rejected() && !done.answer.media[1].is_rejected());
    assert_eq!(bundle(&done.answer), ["1"]);
    assert!(a.negotiator.transceiver(video).is_none(), "stopped");
    assert_eq!(a.direction(audio), Some(Direction::SendOnly));
    assert_eq!(a.negotiator.bundle(), ["1"]);

    let (mut a, mut b) = (Peer::with('a', only("VP9")), Peer::with('b', only("H264")));
    a.add_track(MediaKind::Video);
    exchange(&mut a, &mut b);
    assert!(a.negotiator.bundle().is_empty() && b.negotiator.bundle().is_empty());
}

#[test]
fn codec_preferences_order_and_exclude() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    let video = a.add_track(MediaKind::Video);
    let preferences = vec![
        "H264 packetization-mode=1;profile-level-id=42e01f".to_owned(),
        "vp8".to_owned(),
    ];
    a.negotiator.set_codec_preferences(video, preferences).expect("live");
    let done = exchange(&mut a, &mut b);
    let names = |peer: &Peer| {
        let own = peer.negotiator.transceivers().next().expect("one");
        let codecs = own
            .send()
            .map(|send| &send.codecs)
            .or(own.receive().map(|receive| &receive.codecs));
        codecs
            .expect("negotiated")
            .iter()
            .map(|codec| codec.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&a), ["H264", "VP8"]);
    assert_eq!(names(&b), ["H264", "VP8"]);
    assert_eq!(
        done.answer.media[0].line.payload_types().collect::<Vec<_>>(),
        [102, 103, 96, 97]
    );

    // The answerer's preferences win in its answer.
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    a.add_track(MediaKind::Video);
    let own = b.add_track(MediaKind::Video);
    b.negotiator
        .set_codec_preferences(own, vec!["VP9 profile-id=0".into()])
        .expect("live");
    exchange(&mut a, &mut b);
    assert_eq!(names(&a), ["VP9"]);
}

#[test]
fn numbers_keep_their_meaning_across_offers_of_both_sides() {
    // Two sides with clashing numbers: whoever offers later keeps to what the bundle has.
    let mut odd = MediaCapabilities::default();
    for codec in &mut odd.video {
        codec.payload_type = 127 - (codec.payload_type % 20);
        codec.rtx_payload_type = None;
    }
    for extension in odd.audio_extensions.iter_mut().chain(&mut odd.video_extensions) {
        extension.id = 14 - extension.id.min(13);
    }
    let config = Config {
        capabilities: odd.into(),
        ..Config::default()
    };
    let (mut a, mut b) = (Peer::new('a'), Peer::with('b', config));
    a.add_track(MediaKind::Audio);
    a.add_track(MediaKind::Video);
    let first = exchange(&mut a, &mut b);
    b.add(MediaKind::Video, Direction::SendOnly);
    let second = exchange(&mut b, &mut a);
    let ids = |description: &antiphon_jsep::SessionDescription| {
        let mut ids = std::collections::BTreeMap::new();
        for media in &description.media {
            for map in media.section.extmaps() {
                assert_eq!(
                    *ids.entry(map.id).or_insert(map.uri.to_owned()),
                    map.uri,
                    "one meaning per id"
                );
            }
        }
        ids
    };
    for (id, uri) in ids(&first.answer) {
        assert_eq!(ids(&second.offer).get(&id), Some(&uri), "id {id} keeps its meaning");
    }
    let mut types = std::collections::BTreeMap::new();
    for media in first.answer.media.iter().chain(&second.offer.media) {
        for map in media.section.rtpmaps().filter(|map| map.encoding != "rtx") {
            let meaning = (
                map.encoding.to_owned(),
                media.fmtp(map.payload_type).map(|fmtp| fmtp.parameters.to_owned()),
            );
            let known = types.entry(map.payload_type).or_insert_with(|| meaning.clone());
            assert_eq!(
                known.0, meaning.0,
                "payload type {} keeps its meaning",
                map.payload_type
            );
        }
    }
}

#[test]
fn an_extension_id_of_a_stopped_section_is_not_given_away() {
    // Firefox: "attempted to remap RTP extension id 5".
    let mut odd = MediaCapabilities::default();
    odd.video_extensions
        .iter_mut()
        .for_each(|extension| extension.id = 15 - extension.id);
    let config = Config {
        capabilities: odd.into(),
        ..Config::default()
    };
    let (mut a, mut b) = (Peer::with('a', config), Peer::new('b'));
    let video = a.add(MediaKind::Video, Direction::SendRecv);
    let first = exchange(&mut a, &mut b);
    a.negotiator.stop(video).expect("live");
    exchange(&mut a, &mut b);
    b.add_track(MediaKind::Video);
    let later = exchange(&mut b, &mut a);
    let ids = |description: &antiphon_jsep::SessionDescription| {
        description.media[0]
            .section
            .extmaps()
            .map(|map| (map.uri.to_owned(), map.id))
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&later.offer), ids(&first.offer));
}

#[test]
fn simulcast_is_offered_and_taken() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    let layer = |rid: &str, ssrc| Encoding {
        rid: Some(rid.into()),
        ssrc,
        rtx_ssrc: None,
        fec_ssrc: None,
    };
    let video = a.negotiator.add_transceiver(
        MediaKind::Video,
        TransceiverInit {
            direction: Direction::SendOnly,
            sender: Sender {
                streams: vec!["s".into()],
                track: Some("t".into()),
                encodings: vec![layer("h", 1), layer("l", 2)],
            },
            ..TransceiverInit::default()
        },
    );
    let done = exchange(&mut a, &mut b);
    assert_eq!(done.offer.media[0].section.value("simulcast"), Some("send h;l"));
    assert_eq!(done.answer.media[0].section.value("simulcast"), Some("recv h;l"));
    assert!(
        done.offer.media[0].section.ssrcs().next().is_none(),
        "layers are known by RID"
    );
    let rids =
        |layers: &[antiphon_jsep::SimulcastLayer]| layers.iter().map(|layer| layer.rid.clone()).collect::<Vec<_>>();
    let send = a
        .negotiator
        .transceiver(video)
        .and_then(|own| own.send())
        .expect("sends");
    assert_eq!(rids(&send.simulcast), ["h", "l"]);
    let receive = b
        .negotiator
        .transceivers()
        .next()
        .and_then(|own| own.receive())
        .expect("receives");
    assert_eq!(rids(&receive.simulcast), ["h", "l"]);
}

#[test]
fn bundle_only_sections_are_understood() {
    let config = Config {
        bundle_only: true,
        ..Config::default()
    };
    let (mut a, mut b) = (Peer::with('a', config), Peer::new('b'));
    a.add_track(MediaKind::Audio);
    a.add_track(MediaKind::Video);
    a.negotiator.want_data();
    let done = exchange(&mut a, &mut b);
    let ports: Vec<u16> = done.offer.media.iter().map(|media| media.line.port()).collect();
    assert_eq!(ports, [9, 0, 0]);
    assert!(done.offer.media[1].section.bundle_only());
    assert_eq!(bundle(&done.answer), ["0", "1", "2"]);
    assert!(done.answer.media.iter().all(|media| media.line.port() != 0));
    let again = a.offer();
    assert!(
        again.media.iter().all(|media| media.line.port() != 0),
        "accepted, they have a port"
    );
}

#[test]
fn lite_and_full_agents_choose_their_roles() {
    let (mut lite, mut full) = (Peer::new('l'), Peer::new('f'));
    lite.negotiator.want_data();
    let mut described = lite.transport();
    described.lite = true;
    let offer = lite
        .negotiator
        .create_offer(&OfferOptions::default(), &described)
        .expect("an offer");
    lite.negotiator.set_local(SdpType::Offer, offer.clone()).expect("set");
    let plan = full.negotiator.set_remote(SdpType::Offer, wire(&offer)).expect("set");
    assert_eq!(
        plan.transport.ice_role,
        Some(IceRole::Controlling),
        "the full agent controls"
    );
    assert!(plan.transport.remote.is_some_and(|remote| remote.lite));
    let answer = full.answer();
    full.negotiator.set_local(SdpType::Answer, answer.clone()).expect("set");
    let plan = lite.negotiator.set_remote(SdpType::Answer, wire(&answer)).expect("set");
    assert_eq!(plan.transport.ice_role, Some(IceRole::Controlled));
}

#[test]
fn a_closed_negotiator_refuses() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    a.negotiator.want_data();
    let offer = b.offer();
    a.negotiator.close();
    assert!(matches!(
        a.negotiator.set_remote(SdpType::Offer, offer.clone()),
        Err(JsepError::InvalidState { .. })
    ));
    let given = a.transport();
    let refused = a.negotiator.create_offer(&OfferOptions::default(), &given);
    assert!(matches!(
        refused,
        Err(JsepError::InvalidState {
            state: SignalingState::Closed,
            ..
        })
    ));
    assert!(!a.negotiator.negotiation_needed());
}

#[test]
fn the_very_description_that_was_made_is_set_as_it_is() {
    let mut peer = Peer::new('a');
    peer.add_track(MediaKind::Video);
    let transport = peer.transport();
    let offer = peer
        .negotiator
        .create_offer(&OfferOptions::default(), &transport)
        .expect("an offer");
    peer.negotiator
        .set_local(SdpType::Offer, Arc::clone(&offer))
        .expect("set");
    let (kind, set) = peer.negotiator.pending_local_description().expect("it is pending");
    assert!(kind == SdpType::Offer && std::ptr::eq(set, &*offer), "the same tree");
    // A copy counts as edited, and is checked: it says the same.
    peer.negotiator
        .set_local(SdpType::Offer, (*offer).clone())
        .expect("set again");
    let (_, copy) = peer.negotiator.pending_local_description().expect("it is pending");
    assert_eq!(*copy, *offer);
    assert!(!std::ptr::eq(copy, &*offer));
}
