//! Encrypted header extensions: `a=cryptex` (RFC 9335 §4), and RFC 6904, which is not negotiated.

mod common;

use antiphon_jsep::{
    Config, Direction, HeaderEncryptionPolicy, JsepError, MediaKind, SdpType, SessionDescription, SignalingState,
};
use common::{Peer, wire};

use HeaderEncryptionPolicy::{Accept, Disable, Negotiate, Require};

fn peer(name: char, header_encryption: HeaderEncryptionPolicy) -> Peer {
    Peer::with(
        name,
        Config {
            header_encryption,
            ..Config::default()
        },
    )
}

fn edited(description: &SessionDescription, from: &str, to: &str, times: usize) -> SessionDescription {
    let text = description.to_text();
    assert!(text.contains(from), "{from:?} is in the text");
    SessionDescription::parse(&text.replacen(from, to, times)).expect("SDP")
}

fn offer(policy: HeaderEncryptionPolicy) -> (Peer, SessionDescription) {
    let mut a = peer('a', policy);
    a.add_track(MediaKind::Audio);
    a.add_track(MediaKind::Video);
    a.negotiator.want_data();
    let offer = a.offer();
    a.negotiator.set_local(SdpType::Offer, offer.clone()).unwrap();
    (a, wire(&offer))
}

/// How many sections say it.
fn says(description: &SessionDescription) -> usize {
    description.media.iter().filter(|media| media.section.cryptex()).count()
}

#[test]
fn each_pair_of_policies() {
    for ours in [Disable, Accept, Negotiate, Require] {
        for theirs in [Disable, Accept, Negotiate, Require] {
            let (mut a, offer) = offer(ours);
            let offered = matches!(ours, Negotiate | Require);
            // RFC 9335 §4: in every section of the bundle, or in none.
            assert_eq!(says(&offer), if offered { 3 } else { 0 });
            let mut b = peer('b', theirs);
            let set = b.negotiator.set_remote(SdpType::Offer, offer.clone());
            if theirs == Require && !offered {
                assert_eq!(set.unwrap_err(), JsepError::NoHeaderEncryption { mid: "0".into() });
                assert_eq!(b.negotiator.signaling_state(), SignalingState::Stable);
                continue;
            }
            let both = offered && theirs != Disable;
            assert_eq!(set.unwrap().transport.remote.unwrap().header_encryption, both);
            let answer = b.answer();
            assert_eq!(says(&answer), if both { 3 } else { 0 });
            b.negotiator.set_local(SdpType::Answer, answer.clone()).unwrap();
            let set = a.negotiator.set_remote(SdpType::Answer, wire(&answer));
            if ours == Require && theirs == Disable {
                assert_eq!(set.unwrap_err(), JsepError::NoHeaderEncryption { mid: "0".into() });
                assert_eq!(a.negotiator.signaling_state(), SignalingState::HaveLocalOffer);
            } else {
                assert_eq!(set.unwrap().transport.remote.unwrap().header_encryption, both);
            }
        }
    }
}

#[test]
fn at_session_level_or_in_all_sections_for_media() {
    let (_, offer) = offer(Negotiate);
    let plain = edited(&offer, "a=cryptex\r\n", "", usize::MAX);
    let session = edited(
        &plain,
        "a=extmap-allow-mixed\r\n",
        "a=extmap-allow-mixed\r\na=cryptex\r\n",
        1,
    );
    let one_short = edited(&offer, "a=cryptex\r\n", "", 1);
    // The data section has no header extensions to speak of.
    let data = offer.to_text();
    let data = data
        .rsplit_once("a=cryptex\r\n")
        .map(|(front, back)| front.to_owned() + back);
    let data = SessionDescription::parse(&data.unwrap()).unwrap();
    for (offer, expected) in [(session, true), (one_short, false), (data, true), (plain, false)] {
        let mut b = peer('b', Negotiate);
        let plan = b.negotiator.set_remote(SdpType::Offer, offer.clone()).unwrap();
        assert_eq!(plan.transport.remote.unwrap().header_encryption, expected);
        assert_eq!(says(&b.answer()), if expected { 3 } else { 0 });
    }
}

#[test]
fn an_answer_to_what_was_not_offered_changes_nothing() {
    let (mut a, offer) = offer(Disable);
    let mut b = peer('b', Negotiate);
    b.negotiator.set_remote(SdpType::Offer, offer.clone()).unwrap();
    let answer = edited(
        &wire(&b.answer()),
        "a=rtcp-mux\r\n",
        "a=rtcp-mux\r\na=cryptex\r\n",
        usize::MAX,
    );
    let plan = a.negotiator.set_remote(SdpType::Answer, answer.clone()).unwrap();
    assert!(!plan.transport.remote.unwrap().header_encryption);
}

#[test]
fn mend03_header_encryption_is_offered_only_if_asked_to() {
    assert_eq!(Config::default().header_encryption, Accept);
    let (_, offer) = offer(Accept);
    assert_eq!(says(&offer), 0);
    // Who offers it gets it, and in later offers of ours it stays.
    let (mut a, offer) = self::offer(Negotiate);
    let mut b = peer('b', Accept);
    b.negotiator.set_remote(SdpType::Offer, offer.clone()).unwrap();
    let answer = b.answer();
    assert_eq!(says(&answer), 3);
    b.negotiator.set_local(SdpType::Answer, answer.clone()).unwrap();
    a.negotiator.set_remote(SdpType::Answer, wire(&answer)).unwrap();
    assert_eq!(says(&b.offer()), 3);
}

/// What libdatachannel does: every line that it does not know, and some that it does, come back in its answer.
fn copied(offer: &SessionDescription, answer: &SessionDescription, names: &[&str]) -> SessionDescription {
    let mut answer = answer.clone();
    for (offered, answered) in offer.media.iter().zip(&mut answer.media) {
        for line in offered.section.lines() {
            let (name, _) = line.name_and_value().unwrap_or_default();
            if names.contains(&name) {
                answered.section.retain(|own| own != line);
                answered.section.push(line.clone());
            }
        }
    }
    wire(&answer)
}

const COPIED: [&str; 5] = ["cryptex", "msid", "ssrc-group", "tls-id", "rtcp"];

#[test]
fn mend03_who_copies_our_lines_is_not_believed() {
    for policy in [Accept, Negotiate, Require] {
        let (mut a, offer) = offer(policy);
        let mut b = peer('b', Disable);
        b.negotiator.set_remote(SdpType::Offer, offer.clone()).unwrap();
        let answer = copied(&offer, &b.answer(), &COPIED);
        assert_eq!(says(&answer), if policy == Accept { 0 } else { 3 });
        let set = a.negotiator.set_remote(SdpType::Answer, answer.clone());
        if policy == Require {
            assert!(matches!(set.unwrap_err(), JsepError::NoHeaderEncryption { .. }));
            continue;
        }
        let plan = set.unwrap();
        let remote = plan.transport.remote.unwrap();
        assert!(!remote.header_encryption && remote.ice_options.is_empty());
        // It answers recvonly: our own msid makes no track of it, and our SSRCs are not its.
        for transceiver in a.negotiator.transceivers() {
            assert_eq!(transceiver.current_direction(), Some(Direction::SendOnly));
            assert!(transceiver.remote_streams().is_empty() && transceiver.receive().is_none());
            let send = transceiver.send().unwrap();
            assert!(
                !send.reduced_size_rtcp && !send.extmap_allow_mixed,
                "copied is not understood"
            );
        }
    }
}

/// Each sign tells by itself, whatever the section carries and whichever way.
#[test]
fn mend03_every_sign_of_copying_is_seen() {
    for kind in [MediaKind::Audio, MediaKind::Video] {
        for (sends_too, names, seen) in [
            (false, &["cryptex"][..], false),
            (false, &["cryptex", "msid"][..], true),
            (true, &["cryptex", "msid"][..], false),
            (true, &["cryptex", "tls-id"][..], true),
            (true, &["cryptex", "ssrc-group"][..], kind == MediaKind::Video),
            (true, &["cryptex", "ssrc"][..], true),
        ] {
            let mut a = peer('a', Negotiate);
            a.add_track(kind);
            let offer = a.offer();
            a.negotiator.set_local(SdpType::Offer, offer.clone()).unwrap();
            let mut b = peer('b', Disable);
            if sends_too {
                b.add_track(kind);
            }
            b.negotiator.set_remote(SdpType::Offer, wire(&offer)).unwrap();
            let answer = copied(&offer, &b.answer(), names);
            let plan = a.negotiator.set_remote(SdpType::Answer, answer.clone()).unwrap();
            let believed = plan.transport.remote.unwrap().header_encryption;
            assert_eq!(believed, !seen, "{kind} {names:?} {sends_too}");
        }
    }
}

#[test]
fn mend03_copied_sources_are_not_the_peers() {
    let (mut a, offer) = offer(Negotiate);
    let mut b = peer('b', Disable);
    b.negotiator.set_remote(SdpType::Offer, offer.clone()).unwrap();
    for kind in [MediaKind::Audio, MediaKind::Video] {
        b.add_track(kind);
    }
    let ids: Vec<_> = b
        .negotiator
        .transceivers()
        .filter(|own| own.mid().is_some())
        .map(|own| own.id())
        .collect();
    for id in ids {
        b.negotiator.set_direction(id, Direction::SendRecv).unwrap();
    }
    let answer = copied(&offer, &b.answer(), &["ssrc", "ssrc-group", "msid"]);
    a.negotiator.set_remote(SdpType::Answer, answer.clone()).unwrap();
    let ours: Vec<u32> = offer
        .media
        .iter()
        .flat_map(|media| media.section.ssrcs())
        .map(|line| line.ssrc)
        .collect();
    assert!(!ours.is_empty());
    for transceiver in a.negotiator.transceivers() {
        let receive = transceiver.receive().expect("the peer sends");
        assert!(
            receive.streams.iter().all(|stream| !ours.contains(&stream.ssrc)),
            "{receive:?}"
        );
    }
}

#[test]
fn a_later_exchange_may_end_it() {
    let (mut a, offer) = offer(Negotiate);
    let mut b = peer('b', Negotiate);
    b.negotiator.set_remote(SdpType::Offer, offer.clone()).unwrap();
    let answer = b.answer();
    b.negotiator.set_local(SdpType::Answer, answer.clone()).unwrap();
    a.negotiator.set_remote(SdpType::Answer, wire(&answer)).unwrap();
    let again = edited(&wire(&a.offer()), "a=cryptex\r\n", "", usize::MAX);
    let plan = b.negotiator.set_remote(SdpType::Offer, again.clone()).unwrap();
    assert!(plan.transport.remote_changed && !plan.transport.remote.unwrap().header_encryption);
    assert_eq!(says(&b.answer()), 0);
}

/// RFC 6904 §4: an encrypted element is an extension of its own; we know none, so the plain ones are what is agreed.
#[test]
fn encrypted_elements_are_negotiated_away() {
    let path = "../../conformance/fixtures/sdp/chromium-chromium/header-ext-all/01-A-chromium-offer.sdp";
    let text = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let offer = SessionDescription::parse(&text).unwrap();
    const ENCRYPT: &str = "urn:ietf:params:rtp-hdrext:encrypt";
    assert!(
        offer
            .media
            .iter()
            .any(|media| media.section.extmaps().any(|map| map.uri == ENCRYPT))
    );
    let mut b = peer('b', Negotiate);
    let transceivers = b
        .negotiator
        .set_remote(SdpType::Offer, offer.clone())
        .unwrap()
        .transceivers;
    assert!(!transceivers.is_empty());
    for transceiver in transceivers {
        b.negotiator.set_direction(transceiver.id, Direction::SendRecv).unwrap();
    }
    let answer = b.answer();
    let agreed: Vec<_> = answer.media.iter().flat_map(|media| media.section.extmaps()).collect();
    assert!(
        agreed.len() > 4 && agreed.iter().all(|map| map.uri != ENCRYPT),
        "{agreed:?}"
    );
    let plan = b.negotiator.set_local(SdpType::Answer, answer.clone()).unwrap();
    for transceiver in plan.transceivers {
        let extensions = transceiver.send.unwrap().extensions;
        assert!(!extensions.is_empty() && extensions.iter().all(|extension| extension.uri != ENCRYPT));
    }
}
