//! Codecs: which configurations are taken, by whom, and what preferences name.

mod common;

use antiphon_jsep::{
    Accepts, CodecCapability, Config, Direction, JsepError, MediaCapabilities, MediaKind, SdpType, SessionDescription,
};
use common::{Peer, exchange, wire};

fn offer_of_h264(parameters: &[&str]) -> SessionDescription {
    let mut text = String::from(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF",
    );
    for number in 0..parameters.len() {
        text += &format!(" {}", 96 + number);
    }
    text += "\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:Xfra\r\na=ice-pwd:0123456789012345678901\r\n";
    text += &format!("a=fingerprint:sha-256 {}\r\n", ["AB"; 32].join(":"));
    text += "a=setup:actpass\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\n";
    for (number, parameters) in parameters.iter().enumerate() {
        text += &format!("a=rtpmap:{0} H264/90000\r\na=fmtp:{0} {parameters}\r\n", 96 + number);
    }
    SessionDescription::parse(&text).expect("SDP")
}

fn forwarder(name: char) -> Peer {
    Peer::with(
        name,
        Config {
            capabilities: MediaCapabilities::forwarding().into(),
            ..Config::default()
        },
    )
}

fn answer(peer: &mut Peer, offer: &SessionDescription) -> SessionDescription {
    peer.negotiator.set_remote(SdpType::Offer, offer.clone()).expect("set");
    let answer = peer.answer();
    peer.negotiator.set_local(SdpType::Answer, answer.clone()).expect("set");
    wire(&answer)
}

fn parameters(answer: &SessionDescription) -> Vec<String> {
    let lines = answer.media[0].section.fmtps().filter(|fmtp| fmtp.get("apt").is_none());
    lines.map(|fmtp| fmtp.to_string()).collect()
}

const PROFILES: [&str; 9] = [
    "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e014",
    "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=420014",
    "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f",
    "packetization-mode=1;profile-level-id=640028",
    "packetization-mode=0;profile-level-id=4d0034",
    "packetization-mode=1;profile-level-id=f4001f",
    "packetization-mode=1;profile-level-id=6e0028",
    "packetization-mode=0;profile-level-id=58001e",
    "profile-level-id=7a1033",
];

#[test]
fn mend05_a_forwarder_takes_every_h264_profile_level_and_mode() {
    for offered in PROFILES {
        let mut peer = forwarder('b');
        let answered = answer(&mut peer, &offer_of_h264(&[offered]));
        assert_eq!(
            parameters(&answered),
            [format!("96 {offered}")],
            "the answer repeats the offer"
        );
        let transceiver = peer.negotiator.transceivers().next().expect("one");
        assert_eq!(transceiver.receive().expect("receives").codecs[0].parameters, offered);
    }
    // All at once, in the offerer's order.
    let answered = answer(&mut forwarder('b'), &offer_of_h264(&PROFILES));
    assert_eq!(
        answered.media[0].line.payload_types().collect::<Vec<_>>(),
        (96..105).collect::<Vec<_>>()
    );
    // A format without any parameters is Baseline, level 1, and as good as another.
    let answered = answer(&mut forwarder('b'), &offer_of_h264(&[""]));
    assert!(!answered.media[0].is_rejected());
    // The publisher's parameter sets are not ours.
    let sets =
        "packetization-mode=1;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==;profile-level-id=42c01e";
    let answered = answer(&mut forwarder('b'), &offer_of_h264(&[sets]));
    assert_eq!(
        parameters(&answered),
        ["96 packetization-mode=1;profile-level-id=42c01e"]
    );
}

#[test]
fn mend05_an_end_that_decodes_takes_the_profiles_that_it_has_at_every_level() {
    for (offered, taken) in [
        ("packetization-mode=1;profile-level-id=42e014", true),
        ("packetization-mode=1;profile-level-id=420014", true),
        ("packetization-mode=1;profile-level-id=640c1f", true),
        ("packetization-mode=1;profile-level-id=640034", true),
        ("packetization-mode=1;profile-level-id=f4001f", false),
        ("packetization-mode=1;profile-level-id=58001e", false),
    ] {
        let answered = answer(&mut Peer::new('b'), &offer_of_h264(&[offered]));
        assert_eq!(!answered.media[0].is_rejected(), taken, "{offered}");
    }
}

#[test]
fn mend05_a_watcher_gets_the_stream_under_each_profile_that_decodes_it() {
    let mut publisher = forwarder('p');
    answer(
        &mut publisher,
        &offer_of_h264(&["packetization-mode=1;profile-level-id=640c1f"]),
    );
    let stream = publisher.negotiator.transceivers().next().expect("one");
    let stream = stream.receive().expect("receives").codecs[0].clone();

    let mut capabilities = MediaCapabilities::forwarding();
    let like = capabilities
        .video
        .iter()
        .find(|codec| codec.name == "H264")
        .expect("there");
    capabilities.video = vec![CodecCapability::forwarding(&stream, like)];
    assert_eq!(capabilities.video[0].accepts, Accepts::Decoders);
    let watcher = || {
        let mut peer = Peer::with(
            'w',
            Config {
                capabilities: capabilities.clone().into(),
                ..Config::default()
            },
        );
        peer.add_track(MediaKind::Video);
        peer
    };
    let offered = [
        "packetization-mode=1;profile-level-id=42e01f",
        "packetization-mode=1;profile-level-id=64001f",
        "packetization-mode=0;profile-level-id=640c1f",
        "packetization-mode=1;profile-level-id=640c34",
    ];
    let receiving = |parameters: &[&str]| {
        SessionDescription::parse(&offer_of_h264(parameters).to_text().replace("sendonly", "recvonly")).expect("SDP")
    };
    let mut peer = watcher();
    let answered = answer(&mut peer, &receiving(&offered));
    assert_eq!(
        parameters(&answered),
        [format!("97 {}", offered[1]), format!("99 {}", offered[3])]
    );
    let transceiver = peer.negotiator.transceivers().next().expect("one");
    for codec in &transceiver.send().expect("sends").codecs {
        assert!(codec.decodes(&stream));
    }
    // Nothing in common is a refused section.
    assert!(answer(&mut watcher(), &receiving(&offered[..1])).media[0].is_rejected());
}

#[test]
fn mend05_what_was_taken_stays_in_later_offers_of_ours() {
    let mut peer = forwarder('b');
    answer(&mut peer, &offer_of_h264(&PROFILES[1..3]));
    let again = peer.offer();
    let section = &again.media[0].section;
    for (number, offered) in [(96, PROFILES[1]), (97, PROFILES[2])] {
        let own = section.fmtps().find(|fmtp| fmtp.payload_type == number).expect("kept");
        assert_eq!(own.parameters, offered);
    }
    // In front, each with its retransmissions, and what else we can do behind them, each once.
    let numbers: Vec<u8> = again.media[0].line.payload_types().collect();
    assert_eq!((numbers[0], numbers[2]), (96, 97));
    let texts: Vec<String> = section.fmtps().map(|fmtp| fmtp.parameters.to_owned()).collect();
    let mut once = texts.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), texts.len(), "{texts:?}");
}

#[test]
fn an_answer_may_describe_its_configuration_with_words_of_its_own() {
    let mut peer = Peer::new('a');
    let video = peer.add_track(MediaKind::Video);
    let preference = "H264 packetization-mode=1;profile-level-id=42e01f".to_owned();
    peer.negotiator
        .set_codec_preferences(video, vec![preference])
        .expect("known");
    let offer = peer.offer();
    peer.negotiator.set_local(SdpType::Offer, offer.clone()).expect("set");
    let mut other = Peer::new('b');
    other.negotiator.set_remote(SdpType::Offer, wire(&offer)).expect("set");
    let answer = other
        .answer()
        .to_text()
        .replace("profile-level-id=42e01f", "profile-level-id=42001f");
    let answer = SessionDescription::parse(&answer).expect("SDP");
    peer.negotiator
        .set_remote(SdpType::Answer, answer.clone())
        .expect("set");
    let codecs = &peer
        .negotiator
        .transceiver(video)
        .expect("there")
        .send()
        .expect("sends")
        .codecs;
    assert_eq!((codecs.len(), codecs[0].payload_type), (1, 102));
    assert!(codecs[0].parameters.ends_with("42001f"), "what the receiver says");
}

#[test]
fn mend13_preferences_are_understood_as_the_w3c_writes_them() {
    let names = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    for (list, first) in [
        (&["video/VP8"][..], "VP8"),
        (&["VIDEO/vp9", "video/rtx", "vp8"][..], "VP9"),
        (&["video/H264 packetization-mode=1;profile-level-id=640C1F"][..], "H264"),
    ] {
        let mut peer = Peer::new('a');
        let video = peer.add_track(MediaKind::Video);
        peer.negotiator
            .set_codec_preferences(video, names(list))
            .expect("known");
        let done = exchange(&mut peer, &mut Peer::new('b'));
        let number = done.answer.media[0].line.payload_types().next().expect("a codec");
        assert_eq!(done.answer.media[0].rtpmap(number).expect("named").encoding, first);
    }
    for list in [
        &["VP7"][..],
        &["video/VP8", "video/nonsense"][..],
        &["audio/opus"][..],
        &["opus"][..],
        &["audio/VP8"][..],
        &["video/rtx"][..],
        &["H264 profile-level-id=f4001f"][..],
        &[""][..],
    ] {
        let mut peer = Peer::new('a');
        let video = peer.add_track(MediaKind::Video);
        peer.negotiator
            .set_codec_preferences(video, names(&["VP9"]))
            .expect("known");
        let error = peer.negotiator.set_codec_preferences(video, names(list)).unwrap_err();
        assert!(
            matches!(
                error,
                JsepError::UnknownCodec {
                    kind: MediaKind::Video,
                    ..
                }
            ),
            "{list:?}: {error}"
        );
        let offer = peer.offer();
        let number = offer.media[0].line.payload_types().next().expect("a codec");
        assert_eq!(
            offer.media[0].rtpmap(number).expect("named").encoding,
            "VP9",
            "nothing changed"
        );
    }
    // A forwarder takes every configuration, so it may prefer one that it does not write by itself.
    let mut peer = forwarder('a');
    let video = peer.add_track(MediaKind::Video);
    let list = names(&["H264 profile-level-id=f4001f;packetization-mode=1"]);
    peer.negotiator.set_codec_preferences(video, list).expect("known");
    let offer = peer.offer();
    assert!(parameters(&offer).iter().all(|line| line.contains("f4001f")), "{offer}");
}

#[test]
fn mend13_header_extensions_that_nobody_reads_are_neither_offered_nor_accepted() {
    const ORIENTATION: &str = "urn:3gpp:video-orientation";
    let has = |description: &SessionDescription| {
        let mut maps = description.media.iter().flat_map(|media| media.section.extmaps());
        maps.any(|map| map.uri == ORIENTATION)
    };
    let mut peer = Peer::new('a');
    peer.add_track(MediaKind::Video);
    let mut other = forwarder('b');
    other.add_track(MediaKind::Video);
    let offer = other.offer();
    assert!(has(&offer), "a forwarder hands it on");
    other.negotiator.set_local(SdpType::Offer, offer.clone()).expect("set");
    peer.negotiator.set_remote(SdpType::Offer, wire(&offer)).expect("set");
    assert!(!has(&peer.answer()));

    let mut peer = Peer::new('a');
    peer.add(MediaKind::Video, Direction::SendRecv);
    assert!(!has(&peer.offer()));
}

/// What each side says of one codec, in the peer that offers and the one that answers.
fn only(codec: &CodecCapability, kind: MediaKind) -> Config {
    let mut capabilities = MediaCapabilities::all();
    let list = match kind {
        MediaKind::Audio => &mut capabilities.audio,
        MediaKind::Video => &mut capabilities.video,
    };
    *list = vec![codec.clone()];
    Config {
        capabilities: capabilities.into(),
        ..Config::default()
    }
}

#[test]
fn each_codec_is_offered_and_answered_and_each_side_says_what_it_wishes() {
    let all = MediaCapabilities::all();
    for kind in [MediaKind::Audio, MediaKind::Video] {
        for codec in all.codecs(kind) {
            let mut wishes = codec.clone();
            if codec.name == "opus" {
                wishes.parameters = "maxplaybackrate=16000;stereo=1;usedtx=1".into();
            }
            let mut a = Peer::with('a', only(codec, kind));
            let mut b = Peer::with('b', only(&wishes, kind));
            a.add(kind, Direction::SendRecv);
            b.add_track(kind);
            exchange(&mut a, &mut b);
            let name = format!("{}/{}", codec.name, codec.clock_rate);
            for (peer, own, other) in [(&a, codec, &wishes), (&b, &wishes, codec)] {
                let transceiver = peer.negotiator.transceivers().next().expect("one");
                let (send, receive) = (transceiver.send(), transceiver.receive().expect("receives"));
                let [received] = &receive.codecs[..] else {
                    panic!("{name}: {receive:?}")
                };
                assert_eq!((&received.name, received.clock_rate), (&codec.name, codec.clock_rate));
                assert_eq!(received.payload_type, codec.payload_type, "{name}");
                assert_eq!(received.channels.unwrap_or(1), codec.channels.unwrap_or(1), "{name}");
                assert_eq!(received.parameters, own.parameters, "{name}");
                assert_eq!(received.sender_parameters, other.parameters, "{name}");
                assert_eq!(
                    received.rtx.map(|rtx| rtx.payload_type),
                    codec.rtx_payload_type,
                    "{name}"
                );
                if let Some(send) = send {
                    assert_eq!(send.codecs[0].parameters, other.parameters, "{name}");
                }
            }
        }
    }
}

#[test]
fn no_two_codecs_have_one_number() {
    let all = MediaCapabilities::forwarding();
    let codecs = all.audio.iter().chain(&all.video);
    let mut numbers: Vec<u8> = codecs
        .flat_map(|codec| [Some(codec.payload_type), codec.rtx_payload_type])
        .flatten()
        .collect();
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), count);
}

#[test]
fn static_payload_types_need_no_rtpmap() {
    let text = offer_of_h264(&[""]).to_text();
    let text = text.replace(
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "m=audio 9 UDP/TLS/RTP/SAVPF 8 0 9 10 11 13",
    );
    let mut peer = Peer::with(
        'b',
        Config {
            capabilities: MediaCapabilities::all().into(),
            ..Config::default()
        },
    );
    answer(&mut peer, &SessionDescription::parse(&text).expect("SDP"));
    let transceiver = peer.negotiator.transceivers().next().expect("one");
    let codecs = &transceiver.receive().expect("receives").codecs;
    let names: Vec<_> = codecs
        .iter()
        .map(|codec| (codec.payload_type, codec.name.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            (8, "PCMA"),
            (0, "PCMU"),
            (9, "G722"),
            (10, "L16"),
            (11, "L16"),
            (13, "CN")
        ]
    );
}

#[test]
fn the_peers_parameter_sets_are_told_to_who_receives() {
    let sets = "packetization-mode=1;profile-level-id=42e01f;sprop-parameter-sets=Z0LAHtk=,aMuMsg==";
    let mut peer = forwarder('b');
    answer(&mut peer, &offer_of_h264(&[sets]));
    let transceiver = peer.negotiator.transceivers().next().expect("one");
    assert_eq!(
        transceiver.receive().expect("receives").codecs[0].sender_parameters,
        sets
    );
}

/// The extensions that a section negotiated, by the ends of their URIs.
fn extension_names(peer: &Peer) -> Vec<String> {
    let transceiver = peer.negotiator.transceivers().next().expect("one");
    let send = transceiver.send().expect("sends");
    let receive = transceiver.receive().expect("receives");
    assert_eq!(send.extensions, receive.extensions);
    let end = |uri: &str| uri.rsplit(['/', ':']).next().unwrap_or(uri).to_owned();
    send.extensions.iter().map(|extension| end(&extension.uri)).collect()
}

#[test]
fn a_forwarder_negotiates_what_it_carries_on() {
    let carried = [
        (
            MediaKind::Audio,
            &["ssrc-audio-level", "abs-capture-time", "csrc-audio-level", "inband-cn"][..],
        ),
        (
            MediaKind::Video,
            &[
                "video-orientation",
                "playout-delay",
                "video-content-type",
                "video-timing",
                "color-space",
                "abs-capture-time",
                "framemarking",
                "video-layers-allocation00",
                "corruption-detection",
            ],
        ),
    ];
    let with_descriptor = |name| {
        Peer::with(
            name,
            Config {
                capabilities: MediaCapabilities::forwarding().with_dependency_descriptor().into(),
                ..Config::default()
            },
        )
    };
    // One that offers all of them, with identifiers that the other kind of media would have.
    let publisher = |name| {
        let mut all = MediaCapabilities::forwarding();
        for extensions in [&mut all.audio_extensions, &mut all.video_extensions] {
            let silent = extensions.iter_mut().filter(|extension| extension.id == 0);
            silent.zip([1, 12, 14]).for_each(|(extension, id)| extension.id = id);
        }
        Peer::with(
            name,
            Config {
                capabilities: all.into(),
                ..Config::default()
            },
        )
    };
    let descriptor = "#dependency-descriptor-rtp-header-extension".to_owned();
    for (kind, names) in carried {
        // With a publisher of all; with another forwarder; with a peer of the default, which has none of them, either way round; and with one that takes
        // dependency descriptors, from one that does not.
        let (mut a, mut b) = (forwarder('a'), forwarder('b'));
        a.add_track(kind);
        b.add_track(kind);
        exchange(&mut a, &mut b);
        let got = extension_names(&b);
        let offered = ["abs-capture-time", "csrc-audio-level", "video-timing"];
        let silent = ["inband-cn", "framemarking", "corruption-detection"];
        assert!(got.iter().any(|own| offered.contains(&own.as_str())), "{got:?}");
        assert!(!got.iter().any(|own| silent.contains(&own.as_str())), "{got:?}");
        let (mut a, mut b) = (publisher('a'), forwarder('b'));
        a.add_track(kind);
        b.add_track(kind);
        exchange(&mut a, &mut b);
        for peer in [&a, &b] {
            let got = extension_names(peer);
            assert!(names.iter().all(|name| got.iter().any(|own| own == name)), "{got:?}");
            assert!(
                !got.contains(&descriptor) && !got.iter().any(|own| own.starts_with("ntp-")),
                "{got:?}"
            );
        }
        for forwarder_offers in [true, false] {
            let (mut a, mut b) = (forwarder('a'), Peer::new('b'));
            a.add_track(kind);
            b.add_track(kind);
            if forwarder_offers {
                exchange(&mut a, &mut b);
            } else {
                exchange(&mut b, &mut a);
            }
            let got = extension_names(&a);
            assert!(
                got.iter()
                    .all(|own| own == "ssrc-audio-level" || !names.contains(&own.as_str())),
                "{got:?}"
            );
        }
        let (mut a, mut b) = (with_descriptor('a'), with_descriptor('b'));
        a.add_track(kind);
        b.add_track(kind);
        exchange(&mut a, &mut b);
        assert_eq!(extension_names(&b).contains(&descriptor), kind == MediaKind::Video);
        let (mut a, mut b) = (with_descriptor('a'), forwarder('b'));
        a.add_track(kind);
        b.add_track(kind);
        exchange(&mut a, &mut b);
        assert!(!extension_names(&a).contains(&descriptor));
    }
}

#[test]
fn no_two_extensions_have_one_number() {
    let all = MediaCapabilities::forwarding().with_dependency_descriptor();
    let both = all.audio_extensions.iter().chain(&all.video_extensions);
    // 0: never offered.
    let offered = both.filter(|extension| extension.id != 0);
    let mut meanings: Vec<(u8, &str)> = offered.map(|extension| (extension.id, &extension.uri[..])).collect();
    meanings.sort_unstable();
    meanings.dedup();
    let mut numbers: Vec<u8> = meanings.iter().map(|(id, _)| *id).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), meanings.len(), "{meanings:?}");
    assert!(numbers.iter().all(|id| (1..=14).contains(id)), "{meanings:?}");
    for extensions in [&all.audio_extensions, &all.video_extensions] {
        let mut uris: Vec<&str> = extensions.iter().map(|extension| &extension.uri[..]).collect();
        uris.sort_unstable();
        uris.dedup();
        assert_eq!(uris.len(), extensions.len());
    }
}

/// RFC 8285 §6: that both forms may be mixed says an answer only to who offered it, at the level where that was.
#[test]
fn both_forms_are_mixed_only_if_that_was_offered() {
    const FLAG: &str = "a=extmap-allow-mixed\r\n";
    for (before, after, mixed) in [
        (FLAG, FLAG, true),
        (FLAG, "", false),
        ("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=extmap-allow-mixed\r\n", true),
    ] {
        let mut a = forwarder('a');
        a.add_track(MediaKind::Video);
        let offer = a.offer();
        a.negotiator.set_local(SdpType::Offer, offer.clone()).expect("set");
        let mut text = offer.to_text();
        if before != FLAG {
            text = text.replace(FLAG, "");
        }
        let offer = SessionDescription::parse(&text.replace(before, after)).expect("SDP");
        let mut b = forwarder('b');
        b.add_track(MediaKind::Video);
        let answer = answer(&mut b, &offer);
        assert_eq!(answer.to_text().contains(FLAG), mixed);
        assert_eq!(answer.session.extmap_allow_mixed(), before == FLAG && mixed);
        assert_eq!(answer.media[0].section.extmap_allow_mixed(), before != FLAG);
        a.negotiator.set_remote(SdpType::Answer, answer).expect("set");
        for peer in [&a, &b] {
            let send = peer
                .negotiator
                .transceivers()
                .next()
                .expect("one")
                .send()
                .expect("sends");
            assert_eq!(send.extmap_allow_mixed, mixed);
            let highest = send.extensions.iter().map(|extension| extension.id).max();
            assert!(highest.is_some_and(|id| id <= 14), "Firefox refuses an offer with more");
        }
    }
}
