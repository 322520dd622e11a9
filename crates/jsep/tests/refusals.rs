//! What is refused, with which reason, and that a refusal leaves everything as it was.

mod common;

use antiphon_jsep::{
    Direction, DtlsRole, JsepError, LocalTransport, MediaKind, OfferOptions, SdpType, SessionDescription,
    SignalingState,
};
use common::{Peer, exchange, transport, wire};
use proptest::prelude::*;

fn parse(text: &str) -> SessionDescription {
    SessionDescription::parse(text).expect("SDP")
}

fn edited(description: &SessionDescription, from: &str, to: &str) -> SessionDescription {
    let text = description.to_text();
    assert!(text.contains(from), "{from:?} is in the text");
    parse(&text.replace(from, to))
}

/// An offer with audio, video and data.
fn offer() -> SessionDescription {
    let mut a = Peer::new('a');
    a.add_track(MediaKind::Audio);
    a.add_track(MediaKind::Video);
    a.negotiator.want_data();
    a.offer()
}

/// The state in words, to see that nothing changed.
fn state(peer: &Peer) -> String {
    let text = |described: Option<(SdpType, &SessionDescription)>| described.map(|(kind, text)| (kind, text.to_text()));
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}",
        peer.negotiator.signaling_state(),
        peer.negotiator.transceivers().collect::<Vec<_>>(),
        text(peer.negotiator.current_local_description()),
        text(peer.negotiator.pending_local_description()),
        text(peer.negotiator.current_remote_description()),
        text(peer.negotiator.pending_remote_description()),
    )
}

fn refuse_remote(peer: &mut Peer, kind: SdpType, description: &SessionDescription) -> JsepError {
    let before = state(peer);
    let error = peer
        .negotiator
        .set_remote(kind, description.clone())
        .expect_err("refused");
    assert_eq!(state(peer), before, "{error}");
    error
}

#[test]
fn offers_without_what_a_transport_needs() {
    let offer = offer();
    let fingerprint = format!("a=fingerprint:sha-256 {}\r\n", vec!["61"; 32].join(":"));
    let mut peer = Peer::new('b');
    let error = refuse_remote(&mut peer, SdpType::Offer, &edited(&offer, &fingerprint, ""));
    assert_eq!(error, JsepError::NoFingerprint { mid: "0".into() });
    let broken = edited(&offer, "a=fingerprint:sha-256 61:", "a=fingerprint:sha-256 6x:");
    assert!(matches!(
        refuse_remote(&mut peer, SdpType::Offer, &broken),
        JsepError::NoFingerprint { .. }
    ));
    for (from, to) in [
        ("a=ice-ufrag:afrag0\r\n", ""),
        ("a=ice-ufrag:afrag0\r\n", "a=ice-ufrag:abc\r\n"),
        ("a=ice-pwd:a-password-of-generation-0\r\n", ""),
        ("a=ice-pwd:a-password-of-generation-0\r\n", "a=ice-pwd:short\r\n"),
    ] {
        let error = refuse_remote(&mut peer, SdpType::Offer, &edited(&offer, from, to));
        assert_eq!(error, JsepError::IceCredentials { mid: "0".into() });
    }
    let held = edited(&offer, "a=setup:actpass", "a=setup:holdconn");
    assert!(matches!(
        refuse_remote(&mut peer, SdpType::Offer, &held),
        JsepError::Setup { .. }
    ));
    // At the session level they are as good.
    let text = offer.to_text().replace(&fingerprint, "");
    let moved = text.replacen("t=0 0\r\n", &format!("t=0 0\r\n{fingerprint}"), 1);
    peer.negotiator
        .set_remote(SdpType::Offer, parse(&moved))
        .expect("taken");
}

#[test]
fn media_without_dtls_is_refused() {
    let offer = offer();
    let mut peer = Peer::new('b');
    let plain = offer.to_text();
    let lines = plain
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("a=fingerprint"));
    let plain = parse(&lines.collect::<String>());
    for (offer, protocol) in [
        (&plain, "RTP/AVP"),
        (&plain, "RTP/AVPF"),
        (&plain, "RTP/SAVP"),
        (&plain, "RTP/SAVPF"),
        (&plain, "udp"),
        (&offer, "udp"),
        (&offer, "RTP/SAVPX"),
    ] {
        let error = refuse_remote(&mut peer, SdpType::Offer, &edited(offer, "UDP/TLS/RTP/SAVPF", protocol));
        assert_eq!(
            error,
            JsepError::InsecureProtocol {
                mid: "0".into(),
                protocol: protocol.into()
            }
        );
    }
    for protocol in ["UDP/TLS/RTP/SAVP", "TCP/DTLS/RTP/SAVPF"] {
        let mut peer = Peer::new('b');
        let other = edited(&offer, "UDP/TLS/RTP/SAVPF", protocol);
        peer.negotiator.set_remote(SdpType::Offer, other.clone()).expect("DTLS");
        assert_eq!(peer.answer().media[0].line.protocol(), protocol);
    }
}

#[test]
fn sections_that_we_cannot_take_are_answered_with_port_0() {
    let offer = offer();
    for (from, to, rejected) in [
        (
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "m=application 9 DTLS/SCTP 5000",
            vec![2],
        ),
        ("m=application 9 UDP/DTLS/SCTP", "m=text 9 UDP/DTLS/SCTP", vec![2]),
        ("a=group:BUNDLE 0 1 2", "a=group:BUNDLE 0 2", vec![1]),
        ("a=group:BUNDLE 0 1 2", "a=group:BUNDLE 1 2", vec![0]),
        ("a=group:BUNDLE 0 1 2", "a=group:LS 0 1 2", vec![1, 2]),
        ("a=rtcp-mux\r\n", "", vec![0, 1]),
        ("opus/48000/2", "opus/48000/1", vec![]),
    ] {
        let changed = edited(&offer, from, to);
        let mut peer = Peer::new('b');
        let plan = peer.negotiator.set_remote(SdpType::Offer, changed.clone()).expect(to);
        let answer = peer.answer();
        common::check_answer(&changed, &answer);
        let refused: Vec<usize> = (0..3).filter(|&index| answer.media[index].is_rejected()).collect();
        assert_eq!(refused, rejected, "{to}");
        let set = peer.negotiator.set_local(SdpType::Answer, answer.clone()).expect("set");
        assert_eq!(set.data.is_some_and(|data| data.active), !rejected.contains(&2));
        assert_eq!(
            plan.transceivers.len(),
            [0, 1].iter().filter(|index| !rejected.contains(index)).count()
        );
    }
}

#[test]
fn sections_must_keep_their_places() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    a.add_track(MediaKind::Audio);
    a.negotiator.want_data();
    let done = exchange(&mut a, &mut b);
    let mut fewer = done.offer.clone();
    fewer.media.pop();
    let error = refuse_remote(&mut b, SdpType::Offer, &fewer);
    assert_eq!(error, JsepError::SectionCount { given: 1, expected: 2 });
    let mut swapped = done.offer.clone();
    swapped.media.swap(0, 1);
    assert!(matches!(
        refuse_remote(&mut b, SdpType::Offer, &swapped),
        JsepError::SectionMismatch { index: 0, .. }
    ));
    let renamed = edited(&done.offer, "a=mid:0\r\n", "a=mid:z\r\n");
    assert!(matches!(
        refuse_remote(&mut b, SdpType::Offer, &renamed),
        JsepError::SectionMismatch { index: 0, .. }
    ));
    let twice = edited(&done.offer, "a=mid:1\r\n", "a=mid:0\r\n");
    assert_eq!(
        refuse_remote(&mut b, SdpType::Offer, &twice),
        JsepError::DuplicateMid { mid: "0".into() }
    );
}

#[test]
fn answers_must_answer_what_was_offered() {
    let mut a = Peer::new('a');
    let audio = a.add(MediaKind::Audio, Direction::SendOnly);
    a.add_track(MediaKind::Video);
    let mut b = Peer::new('b');
    let offer = a.offer();
    a.negotiator.set_local(SdpType::Offer, offer.clone()).expect("set");
    b.negotiator.set_remote(SdpType::Offer, wire(&offer)).expect("set");
    let answer = b.answer();
    let mut refuse = |from: &str, to: &str| refuse_remote(&mut a, SdpType::Answer, &edited(&answer, from, to));
    assert_eq!(
        refuse("a=recvonly\r\na=rtcp-mux", "a=sendrecv\r\na=rtcp-mux"),
        JsepError::Direction { mid: "0".into() }
    );
    assert_eq!(refuse("a=rtcp-mux\r\n", ""), JsepError::NoRtcpMux { mid: "0".into() });
    assert_eq!(
        refuse("BUNDLE 0 1", "BUNDLE 0"),
        JsepError::NotBundled { mid: "1".into() }
    );
    assert_eq!(
        refuse("a=group:BUNDLE 0 1\r\n", ""),
        JsepError::NotBundled { mid: "1".into() }
    );
    assert_eq!(
        refuse("BUNDLE 0 1", "BUNDLE 0 1 7"),
        JsepError::BundleGroup { mid: "7".into() }
    );
    assert_eq!(
        refuse("m=video 9", "m=video 0"),
        JsepError::BundleGroup { mid: "1".into() }
    );
    assert!(matches!(
        refuse("a=setup:active", "a=setup:actpass"),
        JsepError::Setup { .. }
    ));
    assert!(matches!(
        refuse("a=mid:1\r\n", "a=mid:2\r\n"),
        JsepError::SectionMismatch { index: 1, .. }
    ));
    assert!(matches!(
        refuse("a=fingerprint:", "a=fingerprinted:"),
        JsepError::NoFingerprint { .. }
    ));
    let mut more = answer.clone();
    more.media.push(answer.media[0].clone());
    assert!(matches!(
        refuse_remote(&mut a, SdpType::Answer, &more),
        JsepError::DuplicateMid { .. } | JsepError::SectionCount { .. }
    ));
    // After all that the true answer is still taken; passive is too.
    a.negotiator
        .set_remote(SdpType::Answer, edited(&answer, "setup:active", "setup:passive"))
        .expect("taken");
    assert_eq!(a.direction(audio), Some(Direction::SendOnly));
}

#[test]
fn an_answer_may_name_its_own_payload_types() {
    // RFC 3264 §6.1: we send with the numbers of the answer, and receive with those of the offer.
    let mut a = Peer::new('a');
    a.add_track(MediaKind::Audio);
    let mut b = Peer::new('b');
    b.add_track(MediaKind::Audio);
    let offer = a.offer();
    a.negotiator.set_local(SdpType::Offer, offer.clone()).expect("set");
    b.negotiator.set_remote(SdpType::Offer, offer.clone()).expect("set");
    let text = b
        .answer()
        .to_text()
        .replace("SAVPF 111 ", "SAVPF 99 ")
        .replace(":111 ", ":99 ");
    let plan = a.negotiator.set_remote(SdpType::Answer, parse(&text)).expect("set");
    let (send, receive) = (
        plan.transceivers[0].send.as_ref(),
        plan.transceivers[0].receive.as_ref(),
    );
    assert_eq!(send.expect("sends").codecs[0].payload_type, 99);
    assert_eq!(receive.expect("receives").codecs[0].payload_type, 111);
}

#[test]
fn the_association_cannot_change_in_mid_session() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    a.negotiator.want_data();
    exchange(&mut a, &mut b);
    let offer = a.offer();
    let stranger = edited(&offer, "61:61", "62:61");
    assert_eq!(
        refuse_remote(&mut b, SdpType::Offer, &stranger),
        JsepError::FingerprintChanged
    );
    let lower = edited(&offer, "sha-256", "SHA-256");
    b.negotiator
        .set_remote(SdpType::Offer, lower.clone())
        .expect("the same, spelled otherwise");
    b.negotiator.rollback().expect("rolled back");
    // b is client: a may not ask to be client too.
    let active = edited(&offer, "setup:actpass", "setup:active");
    assert_eq!(
        refuse_remote(&mut b, SdpType::Offer, &active),
        JsepError::DtlsRoleChanged {
            wanted: DtlsRole::Server
        }
    );
    let passive = edited(&offer, "setup:actpass", "setup:passive");
    b.negotiator
        .set_remote(SdpType::Offer, passive.clone())
        .expect("that is how it is");
    b.negotiator.rollback().expect("rolled back");
    // Firefox answers an ICE restart with `active` though it is server: the association and its roles stay.
    b.generation += 1;
    let offer = b.offer();
    b.negotiator.set_local(SdpType::Offer, offer.clone()).expect("set");
    a.negotiator.set_remote(SdpType::Offer, offer.clone()).expect("set");
    let contrary = edited(&a.answer(), "setup:passive", "setup:active");
    let plan = b
        .negotiator
        .set_remote(SdpType::Answer, contrary.clone())
        .expect("taken");
    assert_eq!(plan.transport.dtls_role, Some(DtlsRole::Client));
}

#[test]
fn states_and_kinds_must_fit() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    a.add_track(MediaKind::Audio);
    let offer = a.offer();
    for (kind, words) in [
        (SdpType::Answer, "set a remote answer"),
        (SdpType::PrAnswer, "set a remote pranswer"),
        (SdpType::Rollback, "roll back remotely"),
    ] {
        let error = refuse_remote(&mut b, kind, &offer);
        assert_eq!(
            error,
            JsepError::InvalidState {
                operation: words,
                state: SignalingState::Stable
            }
        );
        assert_eq!(error.to_string(), format!("cannot {words} in signalling state stable"));
    }
    assert!(matches!(
        b.negotiator.set_local(SdpType::Answer, offer.clone()),
        Err(JsepError::InvalidState { .. })
    ));
    assert!(matches!(
        b.negotiator.set_local(SdpType::Offer, offer.clone()),
        Err(JsepError::Modified { .. })
    ));
    let given = transport('b', 0);
    assert!(matches!(
        b.negotiator.create_answer(&given),
        Err(JsepError::InvalidState { .. })
    ));
    for broken in [
        LocalTransport {
            fingerprints: Vec::new(),
            ..transport('b', 0)
        },
        LocalTransport {
            ufrag: String::new(),
            ..transport('b', 0)
        },
        LocalTransport {
            pwd: "short".into(),
            ..transport('b', 0)
        },
    ] {
        let refused = b.negotiator.create_offer(&OfferOptions::default(), &broken);
        assert!(matches!(refused, Err(JsepError::LocalTransport { .. })));
    }
    assert_eq!(a.negotiator.implicit_type(), SdpType::Offer);
    b.negotiator.set_remote(SdpType::Offer, offer.clone()).expect("set");
    assert_eq!(b.negotiator.implicit_type(), SdpType::Answer);
    assert!(matches!(
        b.negotiator.create_offer(&OfferOptions::default(), &given),
        Err(JsepError::InvalidState { .. })
    ));
}

#[test]
fn a_local_description_may_be_edited_but_not_forged() {
    let mut a = Peer::new('a');
    let audio = a.add_track(MediaKind::Audio);
    let offer = a.offer();
    for (from, to) in [
        ("a=ice-ufrag:afrag0", "a=ice-ufrag:other0"),
        ("a=fingerprint:sha-256 61", "a=fingerprint:sha-256 62"),
        ("a=mid:0", "a=mid:9"),
        ("m=audio 9", "m=audio 0"),
    ] {
        let forged = edited(&offer, from, to);
        assert!(
            matches!(
                a.negotiator.set_local(SdpType::Offer, forged.clone()),
                Err(JsepError::Modified { .. })
            ),
            "{to}"
        );
    }
    let mono = edited(&offer, "useinbandfec=1", "useinbandfec=1;stereo=0");
    a.negotiator
        .set_local(SdpType::Offer, mono.clone())
        .expect("codec parameters may be edited");
    let mut b = Peer::new('b');
    b.add_track(MediaKind::Audio);
    b.negotiator.set_remote(SdpType::Offer, mono.clone()).expect("set");
    let answer = b.answer();
    a.negotiator.set_remote(SdpType::Answer, answer.clone()).expect("set");
    let receive = a
        .negotiator
        .transceiver(audio)
        .and_then(|own| own.receive())
        .expect("receives");
    assert!(receive.codecs[0].parameters.ends_with("stereo=0"));
}

#[test]
fn v20_huge_descriptions_are_refused_in_one_look() {
    // 10^5 sections.
    let mut huge = offer();
    let section = huge.media[0].clone();
    huge.media = vec![section; 100_000];
    let error = refuse_remote(&mut Peer::new('b'), SdpType::Offer, &huge);
    assert_eq!(
        error,
        JsepError::TooManySections {
            count: 100_000,
            max: 512
        }
    );
    let long = edited(&offer(), "s=-\r\n", &format!("s={}\r\n", "x".repeat(5 << 20)));
    assert!(matches!(
        refuse_remote(&mut Peer::new('b'), SdpType::Offer, &long),
        JsepError::TooLong { .. }
    ));

    // The most that is taken, each section with as much as fits, is answered.
    let mut text = String::from("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE");
    (0..512).for_each(|mid| text.push_str(&format!(" {mid}")));
    text.push_str("\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 00:11\r\n");
    for mid in 0..512 {
        text.push_str(&format!(
            "m=audio 9 UDP/TLS/RTP/SAVPF 0 {}\r\na=mid:{mid}\r\na=rtcp-mux\r\n",
            "8 200 ".repeat(50)
        ));
        (0..150).for_each(|n| text.push_str(&format!("a=ssrc:{n} cname:x\r\na=rtcp-fb:* nack {n}\r\n")));
    }
    let offer = parse(&text);
    let mut peer = Peer::new('b');
    peer.negotiator
        .set_remote(SdpType::Offer, offer.clone())
        .expect("within the limits");
    let answer = peer.answer();
    assert_eq!(answer.media[511].line.payload_types().collect::<Vec<_>>(), [0, 8]);
    let plan = peer.negotiator.set_local(SdpType::Answer, answer.clone()).expect("set");
    assert_eq!(plan.transceivers.len(), 512);
    assert!(
        plan.transceivers[0]
            .receive
            .as_ref()
            .is_some_and(|receive| receive.streams.len() == 64)
    );
}

#[test]
fn unknown_ice_options_pass() {
    let mut a = Peer::new('a');
    a.negotiator.want_data();
    let odd = edited(
        &a.offer(),
        "a=ice-options:trickle ice2",
        "a=ice-options:trickle goog-sped-v1 sped \u{2603}",
    );
    let plan = Peer::new('b')
        .negotiator
        .set_remote(SdpType::Offer, odd.clone())
        .expect("taken");
    let options = plan.transport.remote.expect("described").ice_options;
    assert_eq!(options, ["trickle", "goog-sped-v1", "sped", "\u{2603}"]);
}

#[test]
fn passwords_stay_out_of_logs() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    a.negotiator.want_data();
    let done = exchange(&mut a, &mut b);
    for text in [
        format!("{:?}", a.negotiator),
        format!("{:?}", a.transport()),
        format!("{:?}", done.answerer_remote),
        format!("{:?}", done.offerer_remote),
    ] {
        assert!(!text.contains("password"), "{text}");
    }
}

/// An offer with lines taken out, doubled, swapped and replaced.
fn mutated() -> impl Strategy<Value = String> {
    let replacement = prop::sample::select(vec![
        "a=mid:0",
        "a=mid:1",
        "a=mid:",
        "m=audio 0 UDP/TLS/RTP/SAVPF 0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97 255",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "m=text 9 RTP/AVP 99",
        "a=bundle-only",
        "a=inactive",
        "a=sendonly",
        "a=setup:passive",
        "a=setup:active",
        "a=group:BUNDLE 2 1 0",
        "a=group:BUNDLE",
        "a=rtpmap:96 rtx/90000",
        "a=rtpmap:0 H264/90000",
        "a=fmtp:97 apt=97",
        "a=fmtp:96 apt=97",
        "a=fmtp:96 profile-level-id=zzzzzz",
        "a=extmap:15 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=extmap:65535 urn:x",
        "a=extmap:0 urn:x",
        "a=simulcast:send a;b;c recv d",
        "a=simulcast:recv a,~b;c",
        "a=rid:a send pt=96,97",
        "a=rid:b recv",
        "a=ssrc-group:FID 1 1",
        "a=ssrc-group:FID 1 2",
        "a=ssrc:1 cname:x",
        "a=ssrc:2",
        "a=msid:- -",
        "a=msid:x",
        "a=sctp-port:0",
        "a=max-message-size:18446744073709551615",
        "a=rtcp-fb:* nack",
        "b=AS:18446744073709551615",
        "a=ice-lite",
        "a=end-of-candidates",
        "a=candidate:1 1 udp 1 10.0.0.1 1 typ host",
        "a=ice-ufrag:zzzz",
    ]);
    let edit = (
        any::<prop::sample::Index>(),
        0..4_u8,
        replacement,
        any::<prop::sample::Index>(),
    );
    prop::collection::vec(edit, 0..12).prop_map(|edits| {
        let text = offer().to_text();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (at, what, replacement, other) in edits {
            let (at, other) = (at.index(lines.len() - 3) + 3, other.index(lines.len() - 3) + 3);
            match what {
                0 => lines[at] = replacement.to_owned(),
                1 => lines.insert(at, replacement.to_owned()),
                2 => lines.swap(at, other),
                _ => drop(lines.remove(at)),
            }
        }
        lines.join("\r\n") + "\r\n"
    })
}

proptest! {
    #[test]
    fn hostile_offers_are_answered_or_refused(text in mutated(), again in mutated()) {
        let mut peer = Peer::new('b');
        peer.add_track(MediaKind::Video);
        for text in [text, again] {
            let Ok(offer) = SessionDescription::parse(&text) else { continue };
            let before = state(&peer);
            if peer.negotiator.set_remote(SdpType::Offer, offer.clone()).is_err() {
                prop_assert_eq!(state(&peer), before);
                continue;
            }
            let answer = peer.answer();
            wire(&answer);
            peer.negotiator.set_local(SdpType::Answer, answer.clone()).expect("our own answer");
            prop_assert_eq!(peer.negotiator.signaling_state(), SignalingState::Stable);
            peer.negotiator.negotiation_needed();
            // And we can offer on from there, whatever it was.
            let own = peer.offer();
            wire(&own);
            peer.negotiator.set_local(SdpType::Offer, own.clone()).expect("our own offer");
            peer.negotiator.rollback().expect("taken back");
        }
    }

    #[test]
    fn hostile_answers_are_taken_or_refused(text in mutated()) {
        let mut peer = Peer::new('a');
        peer.add_track(MediaKind::Audio);
        peer.add_track(MediaKind::Video);
        peer.negotiator.want_data();
        let own = peer.offer();
        peer.negotiator.set_local(SdpType::Offer, own.clone()).expect("our own offer");
        if let Ok(answer) = SessionDescription::parse(&text.replace("actpass", "active")) {
            let before = state(&peer);
            match peer.negotiator.set_remote(SdpType::Answer, answer.clone()) {
                Ok(plan) => prop_assert_eq!(plan.signaling_state, SignalingState::Stable),
                Err(_) => prop_assert_eq!(state(&peer), before),
            }
        }
    }
}
