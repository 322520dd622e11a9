//! Redundancy (RED, ULPFEC, FlexFEC): taken where it is offered and enabled, offered where it is enabled, sent where both have it.

mod common;

use antiphon_jsep::{
    Config, Direction, MediaCapabilities, MediaKind, Plan, Redundancy, SdpType, SessionDescription, TransceiverInit,
};
use common::{Exchange, Peer, exchange, wire};

const KINDS: [&str; 4] = ["red", "ulpfec", "flexfec-03", "flexfec"];

const FLEXFEC: &str =
    include_str!("../../../conformance/fixtures/fec/chromium-chromium-loss3-flexfec03/01-A-chromium-offer.sdp");
const RED: &str = include_str!("../../../conformance/fixtures/fec/chromium-chromium-opus-red/01-A-chromium-offer.sdp");

fn with(which: Redundancy) -> Peer {
    let config = Config {
        capabilities: MediaCapabilities::default().with_redundancy(which).into(),
        ..Config::default()
    };
    Peer::with('b', config)
}

/// What comes of answering: the answer, and the plan.
fn answer(peer: &mut Peer, offer: &str) -> (SessionDescription, Plan) {
    let offer = SessionDescription::parse(offer).expect("SDP");
    peer.negotiator.set_remote(SdpType::Offer, offer).expect("set");
    let answer = peer.answer();
    let plan = peer.negotiator.set_local(SdpType::Answer, answer.clone()).expect("set");
    (wire(&answer), plan)
}

fn maps(description: &SessionDescription) -> Vec<String> {
    let maps = description.media[0].section.rtpmaps();
    maps.map(|map| format!("{} {}", map.payload_type, map.encoding))
        .collect()
}

fn names(codecs: &[antiphon_jsep::Codec]) -> Vec<(u8, &str)> {
    codecs
        .iter()
        .map(|codec| (codec.payload_type, codec.name.as_str()))
        .collect()
}

#[test]
fn what_is_not_enabled_is_left_out() {
    for offer in [FLEXFEC, RED] {
        let (answer, _) = answer(&mut Peer::new('b'), offer);
        for name in ["red", "ulpfec", "flexfec-03"] {
            assert!(!maps(&answer).iter().any(|map| map.ends_with(name)), "{name}");
        }
    }
}

#[test]
fn chromiums_flexfec_and_ulpfec_are_taken_with_their_streams() {
    let (answer, plan) = answer(&mut with(Redundancy::ALL), FLEXFEC);
    let maps = maps(&answer);
    for map in ["118 red", "119 rtx", "120 ulpfec", "49 flexfec-03"] {
        assert!(maps.contains(&map.to_owned()), "{map} in {maps:?}");
    }
    let transceiver = &plan.transceivers[0];
    let receive = transceiver.receive.as_ref().expect("it sends");
    let received = names(&receive.codecs);
    for codec in [(118, "red"), (120, "ulpfec"), (49, "flexfec-03")] {
        assert!(received.contains(&codec), "{codec:?} in {received:?}");
    }
    let [stream] = &receive.streams[..] else {
        panic!("one stream: {:?}", receive.streams)
    };
    assert_eq!(
        (stream.ssrc, stream.rtx_ssrc, stream.fec_ssrc),
        (2_358_401_379, Some(2_375_133_701), Some(415_769_886))
    );
}

#[test]
fn only_what_is_enabled_is_taken() {
    let which = Redundancy {
        flexfec_03: true,
        ..Redundancy::default()
    };
    let (answer, _) = answer(&mut with(which), FLEXFEC);
    let maps = maps(&answer);
    assert!(maps.contains(&"49 flexfec-03".to_owned()));
    assert!(!maps.iter().any(|map| map.ends_with("red") || map.ends_with("ulpfec")));
}

#[test]
fn red_of_opus_names_what_the_offer_names() {
    // The same offer with another number for Opus: the answer repeats it.
    let renumbered = RED.replace("111", "109");
    for (offer, parameters) in [(RED, "111/111"), (&renumbered, "109/109")] {
        let (answer, plan) = answer(&mut with(Redundancy::ALL), offer);
        let section = &answer.media[0].section;
        let fmtp = section.fmtps().find(|fmtp| fmtp.payload_type == 63).expect("of RED");
        assert_eq!(fmtp.parameters, parameters);
        let receive = plan.transceivers[0].receive.as_ref().expect("it sends");
        assert_eq!(names(&receive.codecs)[0], (63, "red"));
    }
}

#[test]
fn nack_of_sound_is_negotiated_by_who_asks_for_it() {
    let own = |asks: bool| {
        let plain = MediaCapabilities::default();
        let capabilities = if asks { plain.with_audio_nack() } else { plain };
        Config {
            capabilities: capabilities.into(),
            ..Config::default()
        }
    };
    for (here, there) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut offerer = Peer::with('a', own(here));
        let mut answerer = Peer::with('b', own(there));
        answerer.next_ssrc = 9000;
        offerer.add(MediaKind::Audio, Direction::SendRecv);
        let done = exchange(&mut offerer, &mut answerer);
        let plan = &done.offerer_remote.transceivers[0];
        let sends = &plan.send.as_ref().expect("it sends").codecs;
        let opus = sends.iter().find(|codec| codec.name == "opus").expect("Opus");
        assert_eq!(opus.has_feedback("nack"), here && there, "{here} {there}");
    }
}

/// Offer and answer of two that have sound and pictures: both descriptions, and what comes of it for the offerer.
fn both(offerer: Redundancy, answerer: Redundancy) -> (Exchange, Vec<Vec<(u8, String)>>) {
    let mut offerer = with(offerer);
    let mut answerer = with(answerer);
    (answerer.name, answerer.next_ssrc) = ('a', 9000);
    for kind in [MediaKind::Audio, MediaKind::Video] {
        offerer.add(kind, Direction::SendRecv);
        let sender = answerer.sender(kind);
        answerer.negotiator.add_transceiver(
            kind,
            TransceiverInit {
                sender,
                from_add_track: true,
                receive_rids: Vec::new(),
                ..TransceiverInit::default()
            },
        );
    }
    let done = exchange(&mut offerer, &mut answerer);
    let transceivers = &done.offerer_remote.transceivers;
    let sent = transceivers.iter().map(|transceiver| {
        let send = transceiver.send.as_ref().expect("it sends");
        assert!(!send.codecs.is_empty());
        assert!(!send.codecs.iter().any(|codec| KINDS.contains(&codec.name.as_str())));
        let redundancy = send.redundancy.iter();
        redundancy
            .map(|codec| (codec.payload_type, codec.name.clone()))
            .collect()
    });
    let sent = sent.collect();
    (done, sent)
}

#[test]
fn what_both_have_may_be_sent_and_is_none_of_the_codecs() {
    let (done, sent) = both(Redundancy::ALL, Redundancy::ALL);
    let section = &wire(&done.offer).media[0].section;
    let fmtp = section.fmtps().find(|fmtp| fmtp.payload_type == 63);
    assert_eq!(fmtp.expect("of RED").parameters, "111/111");
    let named = |numbers: &[(u8, &str)]| numbers.iter().map(|(n, name)| (*n, (*name).into())).collect::<Vec<_>>();
    let video = [(120, "red"), (122, "ulpfec"), (49, "flexfec-03"), (50, "flexfec")];
    assert_eq!(sent, [named(&[(63, "red")]), named(&video)]);
    // What RED repeats is said by who receives it.
    let send = done.offerer_remote.transceivers[0].send.as_ref().expect("it sends");
    assert_eq!(send.redundancy[0].parameters, "111/111");
    let (_, sent) = both(Redundancy::ALL, Redundancy::default());
    assert!(sent.iter().all(Vec::is_empty), "{sent:?}");
}

#[test]
fn the_stream_of_repairs_is_announced_where_it_is_negotiated() {
    let groups = |description: &SessionDescription| {
        let section = &wire(description).media[1].section;
        let groups = section
            .ssrc_groups()
            .map(|group| (group.semantics.to_owned(), group.ssrcs));
        let announced: Vec<u32> = section.ssrcs().map(|line| line.ssrc).collect();
        let groups: Vec<_> = groups.filter(|(semantics, _)| semantics == "FEC-FR").collect();
        for (_, ssrcs) in &groups {
            assert!(ssrcs.iter().all(|ssrc| announced.contains(ssrc)));
        }
        groups.len()
    };
    let flexfec = Redundancy {
        flexfec_03: true,
        ..Redundancy::default()
    };
    let (done, _) = both(flexfec, flexfec);
    assert_eq!((groups(&done.offer), groups(&done.answer)), (1, 1));
    let receive = done.offerer_remote.transceivers[1].receive.as_ref();
    assert!(receive.expect("it sends").streams[0].fec_ssrc.is_some());
    let (done, _) = both(flexfec, Redundancy::default());
    assert_eq!((groups(&done.offer), groups(&done.answer)), (1, 0));
    let ulpfec = Redundancy {
        ulpfec: true,
        ..Redundancy::default()
    };
    let (done, _) = both(ulpfec, ulpfec);
    assert_eq!((groups(&done.offer), groups(&done.answer)), (0, 0));
}
