//! Congestion control feedback of RFC 8888: `a=rtcp-fb:* ack ccfb` in offers and answers, and what is used of it.

mod common;

use antiphon_jsep::{
    Codec, CongestionFeedbackPolicy, MediaKind, SdpType, SendParameters, SessionDescription, SignalingState,
};
use common::{Peer, wire};

use CongestionFeedbackPolicy::{Accept, Disable, Negotiate};

const LINE: &str = "a=rtcp-fb:* ack ccfb\r\n";
const NUMBERS: &str = "transport-wide-cc-extensions-01";

fn peer(name: char, congestion_feedback: CongestionFeedbackPolicy) -> Peer {
    let config = antiphon_jsep::Config {
        congestion_feedback,
        ..Default::default()
    };
    let mut peer = Peer::with(name, config);
    peer.add_track(MediaKind::Audio);
    peer.add_track(MediaKind::Video);
    peer.negotiator.want_data();
    peer
}

fn count(description: &SessionDescription, text: &str) -> usize {
    description.to_text().matches(text).count()
}

/// What a peer sends with, section by section.
fn sending(peer: &Peer) -> Vec<SendParameters> {
    let transceivers = peer.negotiator.transceivers();
    transceivers.filter_map(|own| own.send().cloned()).collect()
}

/// Whether RFC 8888 is agreed, and whether transport-wide feedback is: the same in every section.
fn agreed(peer: &Peer) -> (bool, bool) {
    let sending = sending(peer);
    assert_eq!(sending.len(), 2);
    let all = |says: &dyn Fn(&Codec) -> bool| {
        let told: Vec<bool> = sending.iter().map(|send| send.codecs.iter().any(says)).collect();
        assert!(told.iter().all(|own| *own == told[0]), "{told:?}");
        told[0]
    };
    let numbered = sending
        .iter()
        .all(|send| send.extensions.iter().any(|own| own.uri.ends_with(NUMBERS)));
    let transport_wide = all(&|codec| codec.has_feedback("transport-cc"));
    assert_eq!(numbered, transport_wide, "who is not asked for numbers sends none");
    (all(&|codec| codec.has_feedback("ack ccfb")), transport_wide)
}

/// An exchange, in which the answer may be changed on its way.
fn exchange(a: &mut Peer, b: &mut Peer, change: impl Fn(String) -> String) -> (SessionDescription, SessionDescription) {
    let offer = a.offer();
    a.negotiator.set_local(SdpType::Offer, offer.clone()).unwrap();
    b.negotiator.set_remote(SdpType::Offer, wire(&offer)).unwrap();
    let answer = b.answer();
    b.negotiator.set_local(SdpType::Answer, answer.clone()).unwrap();
    let changed = SessionDescription::parse(&change(answer.to_text())).unwrap();
    a.negotiator.set_remote(SdpType::Answer, changed).unwrap();
    assert_eq!(a.negotiator.signaling_state(), SignalingState::Stable);
    (offer, answer)
}

#[test]
fn each_pair_of_policies() {
    for ours in [Disable, Accept, Negotiate] {
        for theirs in [Disable, Accept, Negotiate] {
            let (mut a, mut b) = (peer('a', ours), peer('b', theirs));
            let (offer, answer) = exchange(&mut a, &mut b, |text| text);
            let offered = ours == Negotiate;
            let both = offered && theirs != Disable;
            // RFC 8888 §6: once in each section for media. Offered, it stands beside transport-wide feedback, for older peers.
            assert_eq!(count(&offer, LINE), if offered { 2 } else { 0 });
            assert!(count(&offer, "transport-cc\r\n") > 2 && count(&offer, NUMBERS) == 2);
            assert_eq!(count(&answer, LINE), if both { 2 } else { 0 });
            assert_eq!(count(&answer, "transport-cc\r\n") == 0, both);
            assert_eq!(count(&answer, NUMBERS) == 0, both);
            assert_eq!(agreed(&a), (both, !both), "{ours:?} {theirs:?}");
            assert_eq!(agreed(&b), (both, !both), "{ours:?} {theirs:?}");
            // Whoever offers next, it stays as it is.
            let (offer, answer) = exchange(&mut b, &mut a, |text| text);
            let both = both || theirs == Negotiate && ours != Disable;
            assert_eq!(count(&offer, LINE) > 0, both || theirs == Negotiate);
            assert_eq!(count(&answer, LINE) > 0, both);
            assert_eq!((agreed(&a), agreed(&b)), ((both, !both), (both, !both)));
        }
    }
}

#[test]
fn an_answer_that_has_both_means_the_one() {
    let (mut a, mut b) = (peer('a', Negotiate), peer('b', Disable));
    exchange(&mut a, &mut b, |text| {
        text.replace("a=rtcp-mux\r\n", &format!("a=rtcp-mux\r\n{LINE}"))
    });
    assert_eq!(agreed(&a), (true, false));
}

#[test]
fn a_section_without_it_leaves_the_whole_transport_without() {
    let (mut a, mut b) = (peer('a', Negotiate), peer('b', Accept));
    let offer = a.offer();
    let text = offer.to_text().replacen(LINE, "", 1);
    a.negotiator.set_local(SdpType::Offer, offer).unwrap();
    let changed = SessionDescription::parse(&text).unwrap();
    b.negotiator.set_remote(SdpType::Offer, changed).unwrap();
    let answer = b.answer();
    assert_eq!(count(&answer, "ccfb"), 0);
    b.negotiator.set_local(SdpType::Answer, answer.clone()).unwrap();
    a.negotiator.set_remote(SdpType::Answer, wire(&answer)).unwrap();
    assert_eq!((agreed(&a), agreed(&b)), ((false, true), (false, true)));

    let (mut a, mut b) = (peer('a', Negotiate), peer('b', Accept));
    exchange(&mut a, &mut b, |text| text.replacen(LINE, "", 1));
    // Nor is anything else: the answer has asked for no transport-wide feedback.
    assert_eq!(agreed(&a), (false, false));
}

#[test]
fn what_a_peer_copies_says_nothing_of_it() {
    let (mut a, mut b) = (peer('a', Negotiate), peer('b', Disable));
    let offer = a.offer();
    let ours: Vec<String> = offer
        .to_text()
        .lines()
        .filter(|line| line.starts_with("a=ssrc:") || line.starts_with("a=msid:"))
        .map(str::to_owned)
        .collect();
    exchange(&mut a, &mut b, |text| {
        let copied = format!("a=rtcp-mux\r\n{LINE}{}\r\n", ours.join("\r\n"));
        text.replace("a=rtcp-mux\r\n", &copied)
    });
    assert_eq!(agreed(&a), (false, true));
}

#[test]
fn chromium_offers_it_codec_by_codec() {
    let offer = include_str!("../../../conformance/fixtures/sdp/chromium-variants/ccfb-offer/offer.sdp");
    let offer = SessionDescription::parse(offer).unwrap();
    assert!(count(&offer, "a=rtcp-fb:96 ack ccfb\r\n") > 0 && count(&offer, LINE) == 0);
    for (policy, both) in [(Accept, true), (Disable, false)] {
        let config = antiphon_jsep::Config {
            congestion_feedback: policy,
            ..Default::default()
        };
        let mut peer = Peer::with('c', config);
        peer.negotiator.set_remote(SdpType::Offer, offer.clone()).unwrap();
        let answer = peer.answer();
        let sections = answer.media.iter().filter(|media| media.line.media() != "application");
        assert_eq!(count(&answer, LINE), if both { sections.count() } else { 0 });
        assert_eq!(count(&answer, "transport-cc\r\n") == 0, both);
        peer.negotiator.set_local(SdpType::Answer, answer).unwrap();
        let receive = peer.negotiator.transceivers().filter_map(|own| own.receive());
        for codec in receive.flat_map(|receive| &receive.codecs) {
            assert_eq!(codec.has_feedback("ack ccfb"), both, "{}", codec.name);
            assert!(!(both && codec.has_feedback("transport-cc")), "{}", codec.name);
        }
    }
}
