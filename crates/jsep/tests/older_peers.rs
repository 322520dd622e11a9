//! Descriptions of peers that are older than JSEP, or that write it their own way.

mod common;

use antiphon_jsep::sdp::{Line, Setup};
use antiphon_jsep::{Direction, IceCandidate, JsepError, MediaKind, Plan, SdpType, SessionDescription};
use common::{Peer, check_answer, exchange, wire};

fn case(name: &str) -> String {
    let path = format!(
        "{}/../../conformance/fixtures/cases/{name}.sdp",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(&path).expect("the case is there")
}

fn parse(text: &str) -> SessionDescription {
    let description = SessionDescription::parse(text).expect("SDP");
    assert_eq!(description.to_text(), text, "byte for byte");
    description
}

/// Takes an offer and answers it, sending where the offer lets us.
fn answer(text: &str) -> (Peer, Plan, SessionDescription) {
    let offer = parse(text);
    let mut peer = Peer::new('b');
    let plan = peer
        .negotiator
        .set_remote(SdpType::Offer, offer.clone())
        .expect("taken");
    let made: Vec<_> = peer
        .negotiator
        .transceivers()
        .map(|own| (own.id(), own.kind()))
        .collect();
    for (id, kind) in made {
        let sender = peer.sender(kind);
        peer.negotiator.set_sender(id, sender, true).expect("live");
        peer.negotiator.set_direction(id, Direction::SendRecv).expect("live");
    }
    let answer = peer.answer();
    peer.negotiator.set_local(SdpType::Answer, answer.clone()).expect("set");
    (peer, plan, wire(&answer))
}

#[test]
fn mend12_older_profiles_are_taken_with_a_fingerprint_and_repeated() {
    let text = case("03-freeswitch-savpf");
    for protocol in [
        "RTP/SAVPF",
        "RTP/SAVP",
        "RTP/AVPF",
        "RTP/AVP",
        "UDP/TLS/RTP/SAVP",
        "TCP/DTLS/RTP/SAVPF",
    ] {
        let text = text.replace("RTP/SAVPF", protocol);
        let (peer, _, answer) = answer(&text);
        assert_eq!(answer.media[0].line.protocol(), protocol);
        assert!(!answer.media[0].is_rejected());
        assert!(peer.negotiator.transceivers().next().expect("one").send().is_some());
        // V14: neither DTLS nor a fingerprint.
        let bare: String = text
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("a=fingerprint"))
            .collect();
        let error = Peer::new('c')
            .negotiator
            .set_remote(SdpType::Offer, parse(&bare))
            .unwrap_err();
        assert!(
            matches!(
                error,
                JsepError::InsecureProtocol { .. } | JsepError::NoFingerprint { .. }
            ),
            "{error}"
        );
        let odd = text.replace("a=fingerprint:sha-256 AA", "a=fingerprint:sha-256 none");
        assert!(
            Peer::new('c')
                .negotiator
                .set_remote(SdpType::Offer, parse(&odd))
                .is_err()
        );
    }
}

#[test]
fn mend12_a_fingerprint_of_the_bundle_serves_its_older_sections_too() {
    let mut a = Peer::new('a');
    a.add_track(MediaKind::Audio);
    a.add_track(MediaKind::Video);
    let offer = a.offer().to_text().replace("UDP/TLS/RTP/SAVPF", "RTP/SAVPF");
    let mut description = parse(&offer);
    description.media[1]
        .section
        .retain(|line| !line.value().starts_with("fingerprint"));
    let offer = parse(&description.to_text());
    Peer::new('b')
        .negotiator
        .set_remote(SdpType::Offer, offer.clone())
        .expect("taken");
    let unbundled = parse(&offer.to_text().replace("a=group:BUNDLE 0 1\r\n", ""));
    let error = Peer::new('b')
        .negotiator
        .set_remote(SdpType::Offer, unbundled.clone())
        .unwrap_err();
    assert!(matches!(error, JsepError::InsecureProtocol { .. }), "{error}");
}

#[test]
fn mend12_a_section_without_mid_gets_one() {
    let (mut peer, plan, answer) = answer(&case("03b-no-mid-one-section"));
    assert_eq!(
        answer.media[0].section.mid(),
        None,
        "what was not offered is not answered"
    );
    assert!(answer.session.groups().next().is_none());
    let transceiver = peer.negotiator.transceivers().next().expect("one");
    let mid = transceiver.mid().expect("generated").to_owned();
    assert!(
        plan.transceivers
            .iter()
            .all(|own| own.mid.as_deref() == Some(mid.as_str()))
    );
    assert!(transceiver.send().is_some() && transceiver.receive().is_some());
    assert!(peer.negotiator.transceiver_by_mid(&mid).is_some());

    const HOST: &str = "candidate:1 1 udp 2122260223 192.0.2.1 5000 typ host";
    let event = peer.negotiator.add_local_candidate(HOST, "bfrag0").expect("signalled");
    assert_eq!(
        (event.sdp_mid.as_deref(), event.sdp_m_line_index),
        (Some(mid.as_str()), Some(0))
    );
    let theirs = IceCandidate {
        candidate: HOST.into(),
        sdp_mid: Some(mid.clone()),
        ..IceCandidate::default()
    };
    let taken = peer
        .negotiator
        .add_remote_candidate(&theirs)
        .expect("judged")
        .expect("ours");
    assert_eq!((taken.mid.as_deref(), taken.m_line_index), (Some(mid.as_str()), 0));

    // It stays what it is: in the peer's next offer, and in one of ours, whose answer has none again.
    let again = parse(&case("03b-no-mid-one-section").replace("IN IP4 127.0.0.1\r\ns=", "IN IP4 127.0.0.2\r\ns="));
    peer.negotiator
        .set_remote(SdpType::Offer, again.clone())
        .expect("taken");
    let second = peer.answer();
    peer.negotiator.set_local(SdpType::Answer, second.clone()).expect("set");
    assert_eq!(
        peer.negotiator.transceivers().next().expect("one").mid(),
        Some(mid.as_str())
    );
    let offer = peer.offer();
    assert_eq!(offer.media[0].section.mid(), Some(mid.as_str()));
    peer.negotiator.set_local(SdpType::Offer, offer.clone()).expect("set");
    let mut older = again;
    older.media[0].section.retain(|line| line.value() != "setup:actpass");
    older.media[0].section.push(Line::new('a', "setup:passive"));
    peer.negotiator
        .set_remote(SdpType::Answer, older.clone())
        .expect("taken");
    assert_eq!(
        peer.negotiator.transceivers().next().expect("one").mid(),
        Some(mid.as_str())
    );
}

#[test]
fn mend12_an_empty_name_and_big_numbers_are_no_reason_to_refuse() {
    for name in ["04-empty-session-name", "05-origin-session-id-65-bits"] {
        let text = case(name);
        let (_, plan, answer) = answer(&text);
        check_answer(&parse(&text), &answer);
        assert!(answer.media.iter().all(|media| !media.is_rejected()), "{name}");
        assert!(plan.transport.remote.is_some());
        assert!(
            answer.to_text().contains("\r\ns=-\r\n"),
            "an empty name is read, never written"
        );
    }
    // The comma between the words of `a=ice-options`.
    let (_, plan, _) = answer(&case("04-empty-session-name"));
    assert_eq!(plan.transport.remote.expect("there").ice_options, ["ice2", "trickle"]);
}

#[test]
fn mend12_header_extensions_of_the_session_hold_for_every_section() {
    let (peer, _, agreed) = answer(&case("19-extmap-at-session-level"));
    const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
    for media in &agreed.media {
        let map = media.section.extmaps().find(|map| map.uri == MID).expect("answered");
        assert_eq!(map.id, 3);
    }
    for transceiver in peer.negotiator.transceivers() {
        let receive = &transceiver.receive().expect("receives").extensions;
        assert!(receive.iter().any(|own| own.uri == MID && own.id == 3));
    }
    // What a section says itself wins.
    let own = "a=mid:1\r\na=extmap:5 urn:ietf:params:rtp-hdrext:sdes:mid\r\n";
    let text = case("19-extmap-at-session-level").replace("a=mid:1\r\n", own);
    let (_, _, answered) = answer(&text);
    let ids = |index: usize| {
        answered.media[index]
            .section
            .extmaps()
            .map(|map| map.id)
            .collect::<Vec<_>>()
    };
    assert_eq!((ids(0), ids(1)), (vec![3], vec![5]));
}

/// RFC 8859 §5: what may stand at both levels, stands for every section when it stands at the session's.
#[test]
fn mend12_transport_and_direction_may_stand_at_the_session_level() {
    let mut a = Peer::new('a');
    a.add_track(MediaKind::Audio);
    a.add_track(MediaKind::Video);
    let offer = a.offer();
    let moved = [
        "ice-ufrag",
        "ice-pwd",
        "ice-options",
        "fingerprint",
        "setup",
        "sendrecv",
        "extmap",
        "cryptex",
    ];
    let is_moved = |line: &Line| line.name_and_value().is_some_and(|(name, _)| moved.contains(&name));
    let mut description = offer.clone();
    let of_session: Vec<Line> = offer.media[1]
        .section
        .lines()
        .iter()
        .filter(|line| is_moved(line))
        .cloned()
        .collect();
    for media in &mut description.media {
        media.section.retain(|line| !is_moved(line));
    }
    for line in of_session {
        let line = match line.value() {
            "sendrecv" => Line::new('a', "sendonly"),
            "setup:actpass" => Line::new('a', "setup:active"),
            _ => line,
        };
        description.session.push(line);
    }
    let (peer, plan, answer) = answer(&description.to_text());
    check_directions(&answer, Direction::RecvOnly);
    assert!(
        answer
            .media
            .iter()
            .all(|media| media.section.setup() == Some(Setup::Passive))
    );
    let remote = plan.transport.remote.expect("there");
    assert_eq!((remote.ice.ufrag.as_str(), remote.fingerprints.len()), ("afrag0", 1));
    assert_eq!(remote.ice_options, ["trickle", "ice2"]);
    let video = peer.negotiator.transceivers().nth(1).expect("two");
    assert!(video.send().is_none());
    assert!(!video.receive().expect("receives").extensions.is_empty());
}

fn check_directions(answer: &SessionDescription, direction: Direction) {
    for media in answer.media.iter().filter(|media| !media.is_rejected()) {
        assert_eq!(answer.direction_of(media), direction);
    }
}

#[test]
fn mend12_tracks_without_msid_share_one_random_stream() {
    let (peer, plan, _) = answer(&case("20-no-msid"));
    let streams: Vec<&[String]> = peer.negotiator.transceivers().map(|own| own.remote_streams()).collect();
    assert_eq!(streams.len(), 2);
    assert!(streams[0].len() == 1 && streams[0] == streams[1], "{streams:?}");
    assert!(streams[0][0].len() > 16, "random");
    assert!(plan.transceivers.iter().all(|own| own.remote_streams == streams[0]));
    // Of another connection it is another; `a=msid:-` is no stream, and what is said of an SSRC counts.
    let mut other = Peer::new('c');
    let offer = parse(&case("20-no-msid"));
    other
        .negotiator
        .set_remote(SdpType::Offer, offer.clone())
        .expect("taken");
    assert_ne!(
        other.negotiator.transceivers().next().expect("one").remote_streams(),
        streams[0]
    );
    let (none, _, _) = answer(&case("20-no-msid").replace("a=sendonly\r\n", "a=sendonly\r\na=msid:-\r\n"));
    assert!(
        none.negotiator
            .transceivers()
            .all(|own| own.remote_streams().is_empty())
    );
    let (of_ssrc, _, _) = answer(&case("03-freeswitch-savpf"));
    assert_eq!(
        of_ssrc.negotiator.transceivers().next().expect("one").remote_streams(),
        ["pbxstream"]
    );
}

#[test]
fn mend12_a_sender_without_a_track_names_none() {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    let id = a.add(MediaKind::Video, Direction::SendRecv);
    let mut sender = a.sender(MediaKind::Video);
    (sender.track, sender.streams) = (None, Vec::new());
    a.negotiator.set_sender(id, sender.clone(), false).expect("live");
    let done = exchange(&mut a, &mut b);
    let section = &done.offer.media[0].section;
    assert_eq!(section.values("msid").collect::<Vec<_>>(), ["-"]);
    assert!(section.ssrcs().all(|line| line.attribute != "msid"));
    assert!(
        b.negotiator
            .transceivers()
            .next()
            .expect("one")
            .remote_streams()
            .is_empty()
    );
    assert!(!a.negotiator.negotiation_needed(), "it is said as it is");

    sender.streams = vec!["camera".into()];
    a.negotiator.set_sender(id, sender, false).expect("live");
    assert!(a.negotiator.negotiation_needed());
    let done = exchange(&mut a, &mut b);
    assert_eq!(
        done.offer.media[0].section.values("msid").collect::<Vec<_>>(),
        ["camera"]
    );
    assert_eq!(
        b.negotiator.transceivers().next().expect("one").remote_streams(),
        ["camera"]
    );
}

#[test]
fn mend12_blanks_at_line_ends_are_never_misread() {
    for name in ["21a-trailing-blank-mid", "21b-trailing-blank-inactive"] {
        let text = case(name);
        let clean: String = text
            .split("\r\n")
            .map(|line| format!("{}\r\n", line.trim_end()))
            .collect();
        let clean = clean.trim_end().to_owned() + "\r\n";
        let ((padded, _, padded_answer), (plain, _, plain_answer)) = (answer(&text), answer(&clean));
        assert_eq!(padded_answer.to_text(), plain_answer.to_text(), "{name}");
        for (padded, plain) in padded.negotiator.transceivers().zip(plain.negotiator.transceivers()) {
            assert_eq!(
                (padded.mid(), padded.current_direction()),
                (plain.mid(), plain.current_direction())
            );
        }
    }
    let (_, _, answered) = answer(&case("21a-trailing-blank-mid"));
    assert_eq!(common::bundle(&answered), ["0", "1"]);
    let (_, _, answered) = answer(&case("21b-trailing-blank-inactive"));
    assert!(
        answered
            .media
            .iter()
            .any(|media| answered.direction_of(media) == Direction::Inactive)
    );
}

#[test]
fn mend12_several_fmtp_lines_of_one_format_are_one() {
    let mut a = Peer::new('a');
    a.add_track(MediaKind::Video);
    let own = "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";
    let split = "a=fmtp:102 level-asymmetry-allowed=1;\r\na=fmtp:102 packetization-mode=1\r\na=fmtp:102 \r\n\
                 a=fmtp:102 profile-level-id=42e01f;packetization-mode=0\r\n";
    let text = a.offer().to_text();
    assert!(text.contains(own));
    let (peer, _, answered) = answer(&text.replace(own, split));
    assert!(answered.media[0].line.payload_types().any(|number| number == 102));
    let transceiver = peer.negotiator.transceivers().next().expect("one");
    let sent = transceiver
        .send()
        .expect("sends")
        .codecs
        .iter()
        .find(|codec| codec.payload_type == 102);
    let parameters = &sent.expect("agreed").parameters;
    assert_eq!(
        parameters, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f;packetization-mode=0",
        "the first value of a name counts"
    );
}

/// GStreamer's webrtcbin refuses a description in which any section lacks these.
#[test]
fn mend08_refused_sections_have_what_every_section_has() {
    let has_all = |description: &SessionDescription| {
        for media in &description.media {
            let section = &media.section;
            assert!(
                section.ice_ufrag().is_some() && section.ice_pwd().is_some(),
                "{description}"
            );
            assert!(
                section.fingerprints().next().is_some() && section.setup().is_some(),
                "{description}"
            );
            assert!(section.mid().is_some(), "{description}");
        }
    };
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    a.add_track(MediaKind::Audio);
    let video = a.add_track(MediaKind::Video);
    let mut offer = a.offer();
    a.negotiator.set_local(SdpType::Offer, offer.clone()).expect("set");
    offer = parse(
        &offer
            .to_text()
            .replace("m=video 9 UDP/TLS/RTP/SAVPF", "m=video 9 UDP/TLS/RTP/SAVPF 33")
            .replace(" H264/", " H26X/"),
    );
    offer.media[1]
        .section
        .retain(|line| !line.value().starts_with("rtpmap"));
    b.negotiator.set_remote(SdpType::Offer, offer.clone()).expect("taken");
    let answer = b.answer();
    assert!(answer.media[1].is_rejected());
    has_all(&answer);
    b.negotiator.set_local(SdpType::Answer, answer.clone()).expect("set");
    a.negotiator.set_remote(SdpType::Answer, wire(&answer)).expect("taken");
    assert!(a.negotiator.transceiver(video).is_none(), "refused all the same");
    // And so in a later offer, in which the section stays refused.
    let again = a.offer();
    assert!(again.media[1].is_rejected());
    has_all(&again);
    assert!(again.media[1].section.setup() == Some(Setup::ActPass) && !again.media[1].section.cryptex());
}

/// What other stacks offer, as they wrote it.
#[test]
fn mend05_offers_of_other_stacks_are_taken_whole() {
    for (name, codecs) in [
        ("pion", &["VP8", "opus"][..]),
        ("gstreamer", &["VP8", "opus"][..]),
        ("werift", &["VP8", "opus"][..]),
        ("libdatachannel", &["VP8", "opus"][..]),
        ("ffmpeg", &["opus", "H264"][..]),
    ] {
        let text = case(&format!("{name}-offer"));
        let (peer, plan, answered) = answer(&text);
        check_answer(&parse(&text), &answered);
        assert!(
            answered.media.iter().all(|media| !media.is_rejected()),
            "{name}: {answered}"
        );
        let first: Vec<&str> = peer
            .negotiator
            .transceivers()
            .map(|own| own.receive().expect("receives").codecs[0].name.as_str())
            .collect();
        assert_eq!(first, codecs, "{name}");
        assert!(!plan.transport.remote.expect("there").header_encryption, "{name}");
        let streams: Vec<usize> = peer
            .negotiator
            .transceivers()
            .map(|own| own.remote_streams().len())
            .collect();
        assert_eq!(streams, [1, 1], "{name}");
    }
}
