//! Peers that speak Plan B, in the forms of Chromium 55 and of mediasoup 1.x.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use antiphon_jsep::plan_b::{MAX_SOURCES, MAX_TRACKS, PlanB, PlanBError, PlanBStyle};
use antiphon_jsep::sdp::{MediaDescription, SsrcGroup};
use antiphon_jsep::{Direction, Fingerprint, MediaKind, OfferOptions, SdpType, SessionDescription, TransceiverInit};
use common::{Peer, bundle, wire};
use proptest::collection::vec;
use proptest::prelude::*;

/// A track of the peer, with as many layers as it has sources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Track {
    kind: &'static str,
    name: String,
    ssrcs: Vec<u32>,
}

fn track(kind: &'static str, name: &str, ssrcs: &[u32]) -> Track {
    Track {
        kind,
        name: name.to_owned(),
        ssrcs: ssrcs.to_vec(),
    }
}

/// What Chromium wrote of a track: retransmissions by `FID`, layers by `SIM`, and each line twice over.
fn sources(track: &Track) -> String {
    let mut text = String::new();
    let rtx = |ssrc: u32| ssrc + 1_000_000;
    if track.ssrcs.len() > 1 {
        let list: Vec<String> = track.ssrcs.iter().map(u32::to_string).collect();
        let _ = writeln!(text, "a=ssrc-group:SIM {}", list.join(" "));
    }
    let mut all = Vec::new();
    for ssrc in &track.ssrcs {
        all.push(*ssrc);
        if track.kind == "video" {
            let _ = writeln!(text, "a=ssrc-group:FID {ssrc} {}", rtx(*ssrc));
            all.push(rtx(*ssrc));
        }
    }
    for ssrc in all {
        let name = &track.name;
        let _ = writeln!(text, "a=ssrc:{ssrc} cname:vCdee5R7");
        let _ = writeln!(text, "a=ssrc:{ssrc} msid:stream-{name} {name}");
        let _ = writeln!(text, "a=ssrc:{ssrc} mslabel:stream-{name}");
        let _ = writeln!(text, "a=ssrc:{ssrc} label:{name}");
    }
    text
}

/// A description of a peer of Plan B. `setup` is `actpass` for an offer.
fn plan_b(style: PlanBStyle, setup: &str, version: u32, tracks: &[Track]) -> SessionDescription {
    let (audio, video, protocol) = (style.audio, style.video, style.protocol);
    let mut text = format!(
        "v=0\no=- 21249255991560522 {version} IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE {audio} {video}\na=msid-semantic: WMS stream-x\n"
    );
    for (kind, mid, formats) in [("audio", audio, "111 0 126"), ("video", video, "100 96")] {
        let _ = write!(
            text,
            "m={kind} 9 {protocol} {formats}\nc=IN IP4 0.0.0.0\na=rtcp:9 IN IP4 0.0.0.0\n\
             a=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host generation 0\n\
             a=ice-ufrag:dImP\na=ice-pwd:rFInqADrmnT4afhtZUyvnJgk\n\
             a=fingerprint:sha-256 2A:33:9F:4C:70:16:F2:EA:17:AD:51:86:D8:E1:2E:82:63:94:EE:89:2F:AF:89:F3:EA:36:9B:8A:9C:69:50:8F\n\
             a=setup:{setup}\na=mid:{mid}\n"
        );
        text += match kind {
            "audio" => {
                "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\na=sendrecv\na=rtcp-mux\na=rtpmap:111 opus/48000/2\n\
                        a=fmtp:111 minptime=10;useinbandfec=1\na=rtpmap:0 PCMU/8000\na=rtpmap:126 telephone-event/8000\n"
            }
            _ => {
                "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\na=sendrecv\na=rtcp-mux\na=rtcp-rsize\na=rtpmap:100 VP8/90000\n\
                  a=rtcp-fb:100 ccm fir\na=rtcp-fb:100 nack\na=rtcp-fb:100 nack pli\na=rtpmap:96 rtx/90000\na=fmtp:96 apt=100\n"
            }
        };
        tracks
            .iter()
            .filter(|track| track.kind == kind)
            .for_each(|track| text += &sources(track));
    }
    SessionDescription::parse(&text.replace('\n', "\r\n")).expect("it parses")
}

/// The peer's answer: the numbers of codecs and extensions are those of the offer.
fn plan_b_answer(style: PlanBStyle, offer: &SessionDescription, version: u32, tracks: &[Track]) -> SessionDescription {
    let mut answer = plan_b(style, "active", version, tracks);
    for (theirs, ours) in answer.media.iter_mut().zip(&offer.media) {
        let mut text = format!("m={} 9 {} ", theirs.line.media(), style.protocol);
        let names: &[&str] = match theirs.line.media() {
            "audio" => &["opus"],
            _ => &["VP8"],
        };
        let mut lines = String::new();
        let mut formats = Vec::new();
        for map in ours.section.rtpmaps().filter(|map| names.contains(&map.encoding)) {
            formats.push(map.payload_type.to_string());
            let _ = writeln!(lines, "a=rtpmap:{map}");
            let apt = |fmtp: &antiphon_jsep::sdp::Fmtp<'_>| {
                fmtp.get("apt").is_some_and(|apt| apt == map.payload_type.to_string())
            };
            if let Some(fmtp) = ours.section.fmtps().find(apt) {
                formats.push(fmtp.payload_type.to_string());
                let _ = writeln!(lines, "a=rtpmap:{} rtx/90000\na=fmtp:{fmtp}", fmtp.payload_type);
            }
        }
        text += &formats.join(" ");
        let kept = theirs.section.lines().iter().filter(|line| {
            let name = line.name_and_value().map(|(name, _)| name);
            !matches!(name, Some("rtpmap" | "fmtp" | "rtcp-fb" | "extmap"))
        });
        let rest: String = kept
            .map(|line| format!("{}={}\n", line.letter(), line.value()))
            .collect();
        let whole = format!("v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\n{text}\n{rest}{lines}").replace('\n', "\r\n");
        *theirs = SessionDescription::parse(&whole).expect("it parses").media.remove(0);
    }
    answer
}

fn ssrcs(media: &MediaDescription) -> Vec<u32> {
    let mut seen = Vec::new();
    media.section.ssrcs().for_each(|line| {
        if !seen.contains(&line.ssrc) {
            seen.push(line.ssrc);
        }
    });
    seen
}

/// By mid: the first source of its track.
fn places(description: &SessionDescription) -> BTreeMap<String, u32> {
    let media = description.media.iter();
    media
        .filter_map(|media| Some((media.section.mid()?.to_owned(), *ssrcs(media).first()?)))
        .collect()
}

/// A server with this many tracks to send and places to receive in, of either kind.
fn server(send: usize, receive: usize) -> Peer {
    let mut server = Peer::new('s');
    for kind in [MediaKind::Audio, MediaKind::Video] {
        for _ in 0..send {
            server.add(kind, Direction::SendOnly);
        }
        for _ in 0..receive {
            add_place(&mut server, kind);
        }
    }
    server
}

fn add_place(server: &mut Peer, kind: MediaKind) {
    server.negotiator.add_transceiver(
        kind,
        TransceiverInit {
            direction: Direction::RecvOnly,
            ..TransceiverInit::default()
        },
    );
}

/// The server's next offer, set, with what a lite server has gathered.
fn offer(server: &mut Peer) -> SessionDescription {
    let mut transport = server.transport();
    transport.lite = true;
    transport.candidates = vec!["candidate:1 1 udp 2130706431 192.0.2.1 40000 typ host".into()];
    transport.end_of_candidates = true;
    let offer = server
        .negotiator
        .create_offer(&OfferOptions::default(), &transport)
        .expect("an offer");
    server
        .negotiator
        .set_local(SdpType::Offer, offer.clone())
        .expect("our own");
    wire(&offer)
}

/// The first sources of what the server receives, by mid.
fn receives(server: &Peer) -> BTreeMap<String, (u32, Option<u32>)> {
    let all = server.negotiator.transceivers();
    all.filter_map(|own| {
        let stream = own.receive()?.streams.first()?;
        Some((own.mid()?.to_owned(), (stream.ssrc, stream.rtx_ssrc)))
    })
    .collect()
}

#[test]
fn m16_an_offer_has_one_section_a_kind_with_all_sources_in_it_and_a_version_of_its_own() {
    let mut server = server(3, 1);
    let mut translator = PlanB::new(PlanBStyle::MEDIASOUP);
    let ours = offer(&mut server);
    for version in [1, 2, 3] {
        let theirs = wire(&translator.local_offer(&ours).expect("it fits"));
        assert_eq!(theirs.origin().and_then(|origin| origin.version()), Some(version));
        assert_eq!(bundle(&theirs), ["audio-tracks", "video-tracks"]);
        assert!(theirs.session.ice_lite());
        assert_eq!(theirs.media.len(), 2);
        for (media, (kind, mid)) in theirs
            .media
            .iter()
            .zip([("audio", "audio-tracks"), ("video", "video-tracks")])
        {
            let section = &media.section;
            assert_eq!(
                (media.line.media(), media.line.port(), media.line.protocol()),
                (kind, 7, "RTP/SAVPF")
            );
            assert_eq!(section.mid(), Some(mid));
            assert_eq!(section.direction(), Some(Direction::SendRecv));
            assert!(section.rtcp_mux() && section.rtcp_reduced_size());
            assert!(section.ice_ufrag().is_some() && section.fingerprints().count() == 1 && section.setup().is_some());
            assert_eq!((section.candidates().count(), section.end_of_candidates()), (1, true));
            assert_eq!((section.values("mid").count(), section.msids().count()), (1, 0));
            let own = ours.media.iter().filter(|media| media.line.media() == kind);
            let all: Vec<u32> = own.clone().flat_map(ssrcs).collect();
            assert_eq!(ssrcs(media), all);
            // Each source says whose it is, and each payload type is there once.
            let named: BTreeSet<u32> = section
                .ssrcs()
                .filter(|line| line.attribute == "msid")
                .map(|line| line.ssrc)
                .collect();
            assert_eq!(named.len(), all.len());
            let numbers: BTreeSet<u8> = media.line.payload_types().collect();
            assert_eq!(
                (numbers.len(), section.rtpmaps().count()),
                (media.line.payload_types().count(), numbers.len())
            );
            let groups: Vec<SsrcGroup<'_>> = own
                .flat_map(|media| media.section.ssrc_groups().collect::<Vec<_>>())
                .collect();
            assert_eq!(section.ssrc_groups().collect::<Vec<_>>(), groups);
        }
    }
}

#[test]
fn m16_an_answer_gives_each_track_a_section_and_more_tracks_find_one_when_there_is_one() {
    let style = PlanBStyle::MEDIASOUP;
    let mut server = server(2, 2);
    let mut translator = PlanB::new(style);
    let ours = offer(&mut server);
    let theirs = translator.local_offer(&ours).expect("it fits");
    let tracks = [
        track("audio", "microphone", &[11]),
        track("video", "camera", &[21]),
        track("video", "screen", &[31]),
        track("video", "document", &[41]),
    ];
    let answer = plan_b_answer(style, &theirs, 1, &tracks);
    let mut translated = translator.remote_answer(&ours, &answer).expect("an answer");
    assert_eq!(translated.left_over, [MediaKind::Video]);
    assert_eq!(translated.description.media.len(), ours.media.len());
    server
        .negotiator
        .set_remote(SdpType::Answer, wire(&translated.description))
        .expect("it is taken");
    let first = receives(&server);
    assert_eq!(
        first.values().copied().collect::<Vec<_>>(),
        [(11, None), (21, Some(1_000_021)), (31, Some(1_000_031))]
    );
    // What we send goes on as before: the peer receives in one section, so in all of ours.
    let sending = server
        .negotiator
        .transceivers()
        .filter(|own| own.current_direction() == Some(Direction::SendOnly));
    assert_eq!(sending.count(), 4);
    // One more place, and the same answer.
    add_place(&mut server, MediaKind::Video);
    let ours = offer(&mut server);
    translated = translator.remote_answer(&ours, &answer).expect("an answer");
    assert_eq!(translated.left_over, []);
    server
        .negotiator
        .set_remote(SdpType::Answer, wire(&translated.description))
        .expect("it is taken");
    let second = receives(&server);
    assert_eq!(second.len(), 4);
    assert!(first.iter().all(|(mid, sources)| second.get(mid) == Some(sources)));
}

#[test]
fn m11_tracks_that_stay_keep_their_sections_when_others_come_and_go() {
    let style = PlanBStyle::MEDIASOUP;
    let mut server = server(1, 3);
    let mut translator = PlanB::new(style);
    let mut all = vec![
        track("video", "a", &[21]),
        track("video", "b", &[31]),
        track("video", "c", &[41]),
    ];
    let mut exchange = |tracks: &[Track], version| {
        let ours = offer(&mut server);
        let theirs = translator.local_offer(&ours).expect("it fits");
        let answer = translator
            .remote_answer(&ours, &plan_b_answer(style, &theirs, version, tracks))
            .expect("an answer");
        assert_eq!(answer.left_over, []);
        server
            .negotiator
            .set_remote(SdpType::Answer, wire(&answer.description))
            .expect("it is taken");
        receives(&server)
    };
    let before = exchange(&all, 1);
    all.remove(0);
    let without = exchange(&all, 2);
    assert_eq!(without.len(), 2);
    assert!(without.iter().all(|(mid, sources)| before.get(mid) == Some(sources)));
    // Another has the free place, wherever it stands in the answer.
    all.insert(0, track("video", "d", &[51]));
    all.reverse();
    let with = exchange(&all, 3);
    assert!(without.iter().all(|(mid, sources)| with.get(mid) == Some(sources)));
    assert_eq!(with.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    // A track with another source is known by its msid, and one with another msid by its source.
    let place = |places: &BTreeMap<String, (u32, Option<u32>)>, ssrc| {
        places.iter().find(|(_, own)| own.0 == ssrc).map(|(mid, _)| mid.clone())
    };
    for track in &mut all {
        match &*track.name {
            "b" => track.ssrcs = vec![61],
            "c" => track.name = "e".to_owned(),
            _ => {}
        }
    }
    let renamed = exchange(&all, 4);
    assert_eq!(place(&renamed, 61), place(&with, 31));
    assert_eq!(place(&renamed, 41), place(&with, 41));
    assert_eq!(place(&renamed, 51), place(&with, 51));
}

#[test]
fn an_offer_of_chromium_55_is_answered_and_its_tracks_stay_where_they_are() {
    let style = PlanBStyle::CHROMIUM;
    let mut server = Peer::new('s');
    let mut translator = PlanB::new(style);
    let mut tracks = vec![
        track("audio", "microphone", &[2_842_620]),
        track("video", "camera", &[3_000_001]),
        track("video", "screen", &[3_000_002]),
    ];
    let mut exchange = |tracks: &[Track], version| {
        let ours = translator
            .remote_offer(&plan_b(style, "actpass", version, tracks))
            .expect("an offer");
        server
            .negotiator
            .set_remote(SdpType::Offer, wire(&ours))
            .expect("it is taken");
        let answer = server.answer();
        server
            .negotiator
            .set_local(SdpType::Answer, answer.clone())
            .expect("our own");
        let theirs = wire(&translator.local_answer(&answer).expect("it fits"));
        assert_eq!(
            theirs.media.iter().map(|media| media.section.mid()).collect::<Vec<_>>(),
            [Some("audio"), Some("video")]
        );
        assert_eq!(bundle(&theirs), ["audio", "video"]);
        assert!(
            theirs
                .media
                .iter()
                .all(|media| media.section.setup() == Some(antiphon_jsep::sdp::Setup::Active))
        );
        (places(&ours), receives(&server))
    };
    let (first, received) = exchange(&tracks, 1);
    assert_eq!(first.keys().collect::<Vec<_>>(), ["audio", "video", "video-1"]);
    assert_eq!(received.len(), 3);
    tracks.remove(1);
    let (second, _) = exchange(&tracks, 2);
    assert_eq!(second.get("video-1"), first.get("video-1"));
    assert_eq!(second.len(), 2);
    tracks.push(track("video", "document", &[3_000_003]));
    let (third, received) = exchange(&tracks, 3);
    assert_eq!(third.get("video-1"), first.get("video-1"));
    assert_eq!(third.get("video"), Some(&3_000_003));
    assert_eq!(received.get("video"), Some(&(3_000_003, Some(4_000_003))));
}

#[test]
fn two_of_ours_that_speak_plan_b_to_each_other_hear_each_other() {
    let style = PlanBStyle::MEDIASOUP;
    let (mut server, mut client) = (server(2, 2), Peer::new('c'));
    let (mut near, mut far) = (PlanB::new(style), PlanB::new(style));
    client.add_track(MediaKind::Audio);
    client.add_track(MediaKind::Video);
    for _ in 0..2 {
        let ours = offer(&mut server);
        let theirs = wire(&near.local_offer(&ours).expect("it fits"));
        let offered = wire(&far.remote_offer(&theirs).expect("it is Plan B"));
        client
            .negotiator
            .set_remote(SdpType::Offer, offered)
            .expect("it is taken");
        let answer = client.answer();
        client
            .negotiator
            .set_local(SdpType::Answer, answer.clone())
            .expect("our own");
        let answer = wire(&far.local_answer(&answer).expect("it fits"));
        let answer = near.remote_answer(&ours, &answer).expect("an answer");
        assert_eq!(answer.left_over, []);
        server
            .negotiator
            .set_remote(SdpType::Answer, wire(&answer.description))
            .expect("it is taken");
    }
    let sent = |peer: &Peer| -> BTreeSet<u32> {
        let all = peer.negotiator.transceivers();
        all.flat_map(|own| own.sender().encodings.iter().map(|encoding| encoding.ssrc))
            .collect()
    };
    let got = |peer: &Peer| -> BTreeSet<u32> { receives(peer).values().map(|(ssrc, _)| *ssrc).collect() };
    assert_eq!((got(&server).len(), got(&client).len()), (2, 4));
    assert_eq!((got(&server), got(&client)), (sent(&client), sent(&server)));
}

#[test]
fn m17_fingerprints_have_two_forms() {
    let text = "sha-256 2A:33:9F:4C";
    let print = Fingerprint::parse(text).expect("it parses");
    assert_eq!(print.to_hex(), "2a339f4c");
    assert_eq!(Fingerprint::from_hex("SHA-256", "2a339f4C"), Some(print));
    for bad in ["", "2", "2a3", "2g", "2a:33"] {
        assert_eq!(Fingerprint::from_hex("sha-256", bad), None, "{bad}");
    }
}

#[test]
fn layers_in_a_group_stay_in_one_section() {
    let style = PlanBStyle::MEDIASOUP;
    let mut server = Peer::new('s');
    add_place(&mut server, MediaKind::Audio);
    server.negotiator.add_transceiver(
        MediaKind::Video,
        TransceiverInit {
            direction: Direction::RecvOnly,
            receive_rids: ["h", "m", "l"].map(str::to_owned).to_vec(),
            ..TransceiverInit::default()
        },
    );
    let mut translator = PlanB::new(style);
    let ours = offer(&mut server);
    let theirs = translator.local_offer(&ours).expect("it fits");
    // By this Chromium sends layers.
    assert_eq!(theirs.media[1].section.value("x-google-flag"), Some("conference"));
    assert_eq!(
        (
            theirs.media[1].section.rids().count(),
            theirs.media[1].section.simulcast()
        ),
        (0, None)
    );
    let answer = plan_b_answer(style, &theirs, 1, &[track("video", "camera", &[5, 6, 7])]);
    let answer = translator.remote_answer(&ours, &answer).expect("an answer");
    server
        .negotiator
        .set_remote(SdpType::Answer, wire(&answer.description))
        .expect("it is taken");
    let own = server.negotiator.transceivers().nth(1).expect("two");
    let streams: Vec<_> = own
        .receive()
        .expect("it receives")
        .streams
        .iter()
        .map(|stream| (stream.ssrc, stream.layer, stream.rtx_ssrc))
        .collect();
    assert_eq!(
        streams,
        [
            (5, Some(0), Some(1_000_005)),
            (6, Some(1), Some(1_000_006)),
            (7, Some(2), Some(1_000_007))
        ]
    );
}

#[test]
fn a_kind_that_is_refused_or_gone_is_refused_on_the_other_side() {
    let style = PlanBStyle::MEDIASOUP;
    let mut server = server(1, 1);
    let mut translator = PlanB::new(style);
    let ours = offer(&mut server);
    let theirs = translator.local_offer(&ours).expect("it fits");
    let mut answer = plan_b_answer(
        style,
        &theirs,
        1,
        &[track("audio", "microphone", &[11]), track("video", "camera", &[21])],
    );
    answer.media[1].line.set_port(0);
    let answer = translator.remote_answer(&ours, &answer).expect("an answer");
    let refused = |kind: &str| {
        answer
            .description
            .media
            .iter()
            .filter(|media| media.line.media() == kind)
            .all(MediaDescription::is_rejected)
    };
    assert!(refused("video") && !refused("audio"));
    server
        .negotiator
        .set_remote(SdpType::Answer, wire(&answer.description))
        .expect("it is taken");
    let ours = offer(&mut server);
    let theirs = wire(&translator.local_offer(&ours).expect("it fits"));
    assert_eq!(
        (theirs.media.len(), theirs.media[1].line.port(), bundle(&theirs)),
        (2, 0, vec!["audio-tracks"])
    );
}

#[test]
fn what_does_not_fit_is_an_error_and_changes_nothing() {
    let style = PlanBStyle::MEDIASOUP;
    let mut server = server(1, 1);
    let mut translator = PlanB::new(style);
    let ours = offer(&mut server);
    let theirs = translator.local_offer(&ours).expect("it fits");
    let good = plan_b_answer(style, &theirs, 1, &[track("video", "camera", &[21])]);
    let mut refused = |change: &dyn Fn(&mut SessionDescription)| {
        let mut bad = good.clone();
        change(&mut bad);
        let bad = SessionDescription::parse(&bad.to_text()).expect("it parses");
        translator.remote_answer(&ours, &bad).expect_err("it does not fit")
    };
    let rename = |bad: &mut SessionDescription| {
        *bad =
            SessionDescription::parse(&bad.to_text().replace("a=mid:video-tracks", "a=mid:video")).expect("it parses");
    };
    assert_eq!(refused(&rename), PlanBError::Changed { index: 1 });
    assert_eq!(refused(&|bad| bad.media.swap(0, 1)), PlanBError::Changed { index: 0 });
    assert_eq!(
        refused(&|bad| drop(bad.media.remove(1))),
        PlanBError::Count { given: 1, expected: 2 }
    );
    assert_eq!(
        refused(&|bad| bad.session.retain(|line| !line.value().starts_with("group"))),
        PlanBError::NotBundled { index: 0 }
    );
    let many = |count: u32| {
        move |bad: &mut SessionDescription| {
            (0..count).for_each(|ssrc| {
                bad.media[1]
                    .section
                    .add_value("ssrc", format!("{} msid:s t{ssrc}", 5000 + ssrc))
            });
        }
    };
    assert_eq!(refused(&many(300)), PlanBError::TooManyTracks { max: MAX_TRACKS });
    assert_eq!(refused(&many(2000)), PlanBError::TooManyTracks { max: MAX_SOURCES });
    assert!(translator.remote_answer(&ours, &good).is_ok());
    let mut twice = plan_b(style, "actpass", 1, &[]);
    twice.media.push(twice.media[1].clone());
    assert_eq!(
        PlanB::new(style).remote_offer(&twice),
        Err(PlanBError::TwoOfAKind { index: 2 })
    );
    let text = plan_b(style, "actpass", 1, &[]).to_text().replace("m=video", "m=text");
    let other = SessionDescription::parse(&text).expect("it parses");
    assert_eq!(
        PlanB::new(style).remote_offer(&other),
        Err(PlanBError::UnknownKind { index: 1 })
    );
}

#[test]
fn sections_of_ours_that_do_not_fit_into_one_are_an_error() {
    let mut server = server(2, 0);
    let ours = offer(&mut server).to_text();
    let translate = |from: &str, to: &str| {
        // The last section alone is changed.
        let (rest, last) = ours.split_at(ours.rfind("m=video").expect("it is there"));
        let text = format!("{rest}{}", last.replace(from, to));
        assert_ne!(text, ours);
        PlanB::new(PlanBStyle::MEDIASOUP).local_offer(&SessionDescription::parse(&text).expect("it parses"))
    };
    assert_eq!(
        translate(" VP8/90000", " H264/90000"),
        Err(PlanBError::PayloadType { number: 96 })
    );
    assert!(matches!(
        translate("urn:ietf:params:rtp-hdrext:sdes:mid", "urn:other"),
        Err(PlanBError::Extension { .. })
    ));
    assert!(matches!(
        translate("a=ssrc:", "a=rid:h send\r\na=x:"),
        Err(PlanBError::Rids { .. })
    ));
}

fn tracks() -> impl Strategy<Value = Vec<Track>> {
    let one = (any::<bool>(), 1usize..4, 0u32..1000);
    vec(one, 0..8).prop_map(|list| {
        let mut made = Vec::new();
        for (place, (is_audio, layers, number)) in (0u32..).zip(list) {
            // A source never goes from one kind to another.
            let first = 10_000 * (place + 1) + 10 * number + if is_audio { 5 } else { 0 };
            let (kind, layers) = if is_audio {
                ("audio", 1)
            } else {
                ("video", layers as u32)
            };
            let ssrcs: Vec<u32> = (first..first + layers).collect();
            made.push(track(kind, &format!("t{first}"), &ssrcs));
        }
        made
    })
}

/// All that a description says of tracks: kind, msid, sources, groups.
fn said(description: &SessionDescription) -> BTreeSet<(String, String, Vec<u32>, Vec<String>)> {
    let media = description.media.iter().filter(|media| !ssrcs(media).is_empty());
    let said = |media: &MediaDescription| {
        let msid = media
            .section
            .ssrcs()
            .find(|line| line.attribute == "msid")
            .and_then(|line| line.value);
        let groups = media.section.ssrc_groups().map(|group| group.to_string());
        (
            media.line.media().to_owned(),
            msid.unwrap_or_default().to_owned(),
            ssrcs(media),
            groups.collect(),
        )
    };
    media.map(said).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn to_plan_b_and_back_is_the_same_tracks(kinds in vec((any::<bool>(), 0u8..4), 1..12)) {
        let mut server = Peer::new('s');
        for (is_audio, direction) in kinds {
            let kind = if is_audio { MediaKind::Audio } else { MediaKind::Video };
            server.add(kind, Direction::from_flags(direction & 1 != 0, direction & 2 != 0));
        }
        let ours = offer(&mut server);
        let theirs = wire(&PlanB::new(PlanBStyle::CHROMIUM).local_offer(&ours).unwrap());
        let back = wire(&PlanB::new(PlanBStyle::CHROMIUM).remote_offer(&theirs).unwrap());
        prop_assert_eq!(said(&back), said(&ours));
        // Another of ours takes it.
        let mut client = Peer::new('c');
        prop_assert!(client.negotiator.set_remote(SdpType::Offer, back).is_ok());
    }

    #[test]
    fn tracks_that_stay_keep_their_sections_whatever_comes_and_goes(rounds in vec(tracks(), 1..8), keeps in vec(any::<u8>(), 8)) {
        let style = PlanBStyle::CHROMIUM;
        let mut server = Peer::new('s');
        let mut translator = PlanB::new(style);
        let mut now: Vec<Track> = Vec::new();
        let mut before: BTreeMap<String, u32> = BTreeMap::new();
        let mut most = 0;
        for (version, (fresh, keep)) in (1..).zip(rounds.into_iter().zip(keeps)) {
            let mut index = 0;
            now.retain(|_| { index += 1; keep >> (index % 8) & 1 != 0 });
            let known: BTreeSet<u32> = now.iter().flat_map(|track| track.ssrcs.clone()).collect();
            now.extend(fresh.into_iter().filter(|track| track.ssrcs.iter().all(|ssrc| !known.contains(ssrc))));
            let ours = translator.remote_offer(&plan_b(style, "actpass", version, &now)).unwrap();
            server.negotiator.set_remote(SdpType::Offer, wire(&ours)).unwrap();
            let answer = server.answer();
            server.negotiator.set_local(SdpType::Answer, answer.clone()).unwrap();
            prop_assert_eq!(translator.local_answer(&answer).unwrap().media.len(), 2);
            let places = places(&ours);
            prop_assert_eq!(places.len(), now.len());
            for (mid, ssrc) in &places {
                prop_assert!(before.iter().all(|(other, own)| own != ssrc || other == mid));
            }
            // No more sections than there ever were tracks of a kind, and one of each kind at least.
            let count = |kind| now.iter().filter(|track| track.kind == kind).count().max(1);
            most = most.max(count("audio") + count("video"));
            prop_assert!(ours.media.len() <= 2 * most);
            before = places;
        }
    }

    #[test]
    fn no_description_harms_anybody(lines in vec((0usize..14, any::<u8>(), any::<u8>()), 0..60)) {
        let mut text = String::from("v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\n");
        for (which, one, other) in lines {
            let (one, other) = (one % 6, other % 6);
            text += &match which {
                0 => format!("m=audio {one} RTP/SAVPF {one} {other}\n"),
                1 => format!("m=video {one} RTP/SAVPF {one} {other}\n"),
                2 => format!("m=application {one} UDP/DTLS/SCTP webrtc-datachannel\n"),
                3 => format!("a=mid:{}\n", ["audio", "video", "data", "0", "1", ""][usize::from(one)]),
                4 => format!("a=ssrc:{one} msid:s t{other}\n"),
                5 => format!("a=ssrc:{one} cname:c\n"),
                6 => format!("a=ssrc-group:SIM {one} {other} {one}\n"),
                7 => format!("a=ssrc-group:FID {one} {other}\n"),
                8 => "a=group:BUNDLE audio video data 0 1\n".to_owned(),
                9 => format!("a=rtpmap:{one} VP{other}/90000\n"),
                10 => format!("a=extmap:{one} urn:{other}\n"),
                11 => ["a=sendrecv\n", "a=recvonly\n", "a=inactive\n", "a=bundle-only\n", "a=msid:s t\n", "a=rid:h send\n"][usize::from(one)].to_owned(),
                12 => "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\n".to_owned(),
                _ => "a=rtcp-mux\n".to_owned(),
            };
        }
        let any = SessionDescription::parse(&text).unwrap();
        let mut translator = PlanB::new(PlanBStyle::MEDIASOUP);
        let mut server = server(1, 1);
        let ours = offer(&mut server);
        let _ = translator.remote_offer(&any).map(|ours| wire(&ours));
        let _ = translator.local_answer(&any).map(|theirs| wire(&theirs));
        let _ = translator.local_offer(&ours);
        let _ = translator.remote_answer(&ours, &any).map(|answer| wire(&answer.description));
        let _ = translator.remote_answer(&any, &any);
    }
}
