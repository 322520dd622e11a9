//! Candidates in descriptions and after them.

mod common;

use antiphon_jsep::{IceCandidate, JsepError, MediaKind, OfferOptions, SdpType, SessionDescription};
use common::{Peer, exchange, wire};

const HOST: &str = "candidate:1 1 udp 2122260223 192.0.2.1 5000 typ host";

fn trickled(candidate: &str, mid: Option<&str>, index: Option<u16>, ufrag: Option<&str>) -> IceCandidate {
    IceCandidate {
        candidate: candidate.into(),
        sdp_mid: mid.map(str::to_owned),
        sdp_m_line_index: index,
        username_fragment: ufrag.map(str::to_owned),
    }
}

fn pair() -> (Peer, Peer) {
    let (mut a, mut b) = (Peer::new('a'), Peer::new('b'));
    a.add_track(MediaKind::Audio);
    a.negotiator.want_data();
    exchange(&mut a, &mut b);
    (a, b)
}

#[test]
fn candidates_inside_a_description() {
    let mut a = Peer::new('a');
    a.negotiator.want_data();
    let mut transport = a.transport();
    transport.candidates = vec![
        HOST.into(),
        "2 2 udp 2122260222 192.0.2.1 5001 typ host".into(),
        "3 1 udp 2122260221 d2a3.local 5002 typ host".into(),
    ];
    transport.end_of_candidates = true;
    let offer = a
        .negotiator
        .create_offer(&OfferOptions::default(), &transport)
        .expect("an offer");
    let plan = Peer::new('b')
        .negotiator
        .set_remote(SdpType::Offer, wire(&offer))
        .expect("set");
    // The second component has nothing to do where RTCP is multiplexed.
    let texts: Vec<&str> = plan.candidates.iter().map(|own| own.candidate.as_str()).collect();
    assert_eq!(
        texts,
        [
            "1 1 udp 2122260223 192.0.2.1 5000 typ host",
            "3 1 udp 2122260221 d2a3.local 5002 typ host"
        ]
    );
    assert_eq!(plan.candidates[0].username_fragment.as_deref(), Some("afrag0"));
    assert!(plan.end_of_candidates);
}

#[test]
fn trickled_candidates_are_judged() {
    let mut fresh = Peer::new('c');
    let early = trickled(HOST, Some("0"), None, None);
    assert_eq!(
        fresh.negotiator.add_remote_candidate(&early),
        Err(JsepError::NoRemoteDescription)
    );

    let (_, mut b) = pair();
    let negotiator = &mut b.negotiator;
    let taken = negotiator.add_remote_candidate(&trickled(HOST, Some("0"), Some(7), Some("afrag0")));
    let taken = taken.expect("judged").expect("for our transport");
    assert_eq!(taken.candidate, HOST.trim_start_matches("candidate:"));
    assert_eq!(
        (taken.mid.as_deref(), taken.username_fragment.as_deref()),
        (Some("0"), Some("afrag0"))
    );
    // By index, and for another section of the bundle.
    let by_index = negotiator.add_remote_candidate(&trickled(HOST, None, Some(1), None));
    assert_eq!(by_index.expect("judged").expect("ours").m_line_index, 1);
    // The end, of one section and of all.
    for end in [trickled("", Some("0"), None, None), trickled("", None, None, None)] {
        assert_eq!(
            negotiator
                .add_remote_candidate(&end)
                .expect("judged")
                .expect("ours")
                .candidate,
            ""
        );
    }
    let ufrag_inside = format!("{HOST} generation 0 ufrag afrag0");
    assert!(
        negotiator
            .add_remote_candidate(&trickled(&ufrag_inside, Some("0"), None, None))
            .is_ok()
    );

    for (candidate, error) in [
        (trickled(HOST, None, None, None), JsepError::CandidateSection),
        (
            trickled(HOST, Some("nowhere"), Some(0), None),
            JsepError::CandidateSection,
        ),
        (trickled(HOST, None, Some(2), None), JsepError::CandidateSection),
        (
            trickled(HOST, Some("0"), None, Some("other")),
            JsepError::CandidateGeneration,
        ),
        (
            trickled("candidate:nonsense", Some("0"), None, None),
            JsepError::CandidateSyntax,
        ),
    ] {
        assert_eq!(negotiator.add_remote_candidate(&candidate), Err(error));
    }
    let rtcp = HOST.replacen("1 1 udp", "1 2 udp", 1);
    assert_eq!(
        negotiator.add_remote_candidate(&trickled(&rtcp, Some("0"), None, None)),
        Ok(None)
    );

    let (_, remote) = b.negotiator.remote_description().expect("described");
    let tagged = &remote.media[0].section;
    assert!(tagged.values("candidate").any(|value| HOST.ends_with(value)) && tagged.end_of_candidates());
    assert_eq!(
        tagged.values("candidate").filter(|value| HOST.ends_with(value)).count(),
        1,
        "once"
    );
}

#[test]
fn mend07_every_way_to_write_a_candidate_names_the_same() {
    let written = [
        HOST.to_owned(),
        HOST.trim_start_matches("candidate:").to_owned(),
        format!("a={HOST}\r\n"),
        format!("  {HOST} \n"),
        format!("a={}", HOST.replace("candidate:", "candidate: ")),
        HOST.replace(' ', "  "),
        HOST.replace(" typ host", " TYP host"),
    ];
    let (_, mut b) = pair();
    for text in &written {
        // Every candidate of Pion has an empty mid beside its index.
        for (mid, index, ufrag) in [
            (Some(""), Some(0), None),
            (None, Some(0), Some("")),
            (Some("0"), None, Some("afrag0")),
        ] {
            let taken = b.negotiator.add_remote_candidate(&trickled(text, mid, index, ufrag));
            let taken = taken.expect("judged").expect("for our transport");
            assert!(
                taken.candidate.starts_with("1 1 udp 2122260223 192.0.2.1 5000 "),
                "{taken:?}"
            );
            assert_eq!((taken.mid.as_deref(), taken.m_line_index), (Some("0"), 0));
        }
    }
    let (_, remote) = b.negotiator.remote_description().expect("described");
    let kept: Vec<&str> = remote.media[0].section.values("candidate").collect();
    assert!(
        kept.len() <= 2 && kept.iter().all(|value| value.starts_with("1 1 udp")),
        "{kept:?}"
    );
    // The end, in every way too.
    for end in ["", " ", "candidate:", "a=candidate:\r\n"] {
        let taken = b
            .negotiator
            .add_remote_candidate(&trickled(end, Some(""), Some(0), None));
        assert_eq!(taken.expect("judged").expect("ours").candidate, "");
    }
}

#[test]
fn mend07_a_refused_candidate_leaves_no_trace() {
    let (_, mut b) = pair();
    let before = b.negotiator.remote_description().map(|(_, text)| text.to_text());
    for candidate in [
        trickled("candidate:nonsense", Some("0"), None, None),
        trickled(&format!("{HOST}\r\na=ice-lite"), Some("0"), None, None),
        trickled(HOST, Some("7"), Some(0), None),
        trickled(HOST, None, Some(7), None),
        trickled(HOST, Some(""), None, None),
        trickled(HOST, Some("0"), None, Some("later")),
    ] {
        let error = b.negotiator.add_remote_candidate(&candidate).unwrap_err();
        assert_eq!(
            b.negotiator.remote_description().map(|(_, text)| text.to_text()),
            before,
            "{error}"
        );
    }
}

#[test]
fn mend07_a_section_of_the_bundle_needs_no_credentials_of_its_own() {
    let mut a = Peer::new('a');
    a.add_track(MediaKind::Audio);
    a.negotiator.want_data();
    let mut offer = a.offer();
    offer.media[1].section.retain(|line| !line.value().starts_with("ice-"));
    let mut b = Peer::new('b');
    b.negotiator.set_remote(SdpType::Offer, offer.clone()).expect("set");
    for ufrag in [Some("afrag0"), None] {
        let taken = b
            .negotiator
            .add_remote_candidate(&trickled(HOST, Some("1"), None, ufrag));
        let taken = taken.expect("judged").expect("ours");
        assert_eq!(taken.username_fragment.as_deref(), Some("afrag0"));
    }
}

#[test]
fn candidates_of_sections_without_our_transport_are_passed_over() {
    // Two transports are offered (balanced, before the bundle is agreed): only the tagged one's candidates are used.
    let mut a = Peer::new('a');
    a.add_track(MediaKind::Audio);
    a.negotiator.want_data();
    let mut offer = a.offer();
    let text = offer.media[1].section.lines().to_vec();
    offer.media[1].section.retain(|_| false);
    for line in text {
        let value = line.value().replace("afrag0", "second");
        offer.media[1]
            .section
            .push(antiphon_jsep::sdp::Line::new(line.letter(), value));
    }
    let mut b = Peer::new('b');
    b.negotiator.set_remote(SdpType::Offer, offer.clone()).expect("set");
    let other = trickled(HOST, Some("1"), None, Some("second"));
    assert_eq!(b.negotiator.add_remote_candidate(&other), Ok(None));
    let ours = trickled(HOST, Some("0"), None, None);
    assert!(b.negotiator.add_remote_candidate(&ours).expect("judged").is_some());
}

#[test]
fn a_description_does_not_grow_without_end() {
    let (_, mut b) = pair();
    for n in 0..1000 {
        let candidate = format!("candidate:{n} 1 udp 1 192.0.2.1 5000 typ host");
        b.negotiator
            .add_remote_candidate(&trickled(&candidate, Some("0"), None, None))
            .expect("judged");
    }
    let (_, remote) = b.negotiator.remote_description().expect("described");
    assert_eq!(remote.media[0].section.values("candidate").count(), 128);
}

#[test]
fn local_candidates_enter_the_local_description() {
    let (mut a, mut b) = pair();
    assert_eq!(a.negotiator.add_local_candidate(HOST, "unknown"), None);
    let event = a.negotiator.add_local_candidate(HOST, "afrag0").expect("signalled");
    assert_eq!(event.candidate, HOST);
    assert_eq!((event.sdp_mid.as_deref(), event.sdp_m_line_index), (Some("0"), Some(0)));
    assert_eq!(event.username_fragment.as_deref(), Some("afrag0"));
    assert_eq!(
        a.negotiator
            .end_of_local_candidates("afrag0")
            .expect("signalled")
            .candidate,
        ""
    );
    let (_, local) = a.negotiator.local_description().expect("described");
    assert_eq!(local.media[0].section.values("candidate").count(), 1);
    assert!(local.media[0].section.end_of_candidates());
    assert!(SessionDescription::parse(&local.to_text()).is_ok());

    // They do not make a new version, and the peer sees them in the next offer only if the transport says them.
    let version = local.origin().and_then(|origin| origin.version());
    let again = a.offer();
    assert_eq!(again.origin().and_then(|origin| origin.version()), version);

    // A new generation has candidates of its own.
    a.generation += 1;
    let offer = a.offer();
    a.negotiator.set_local(SdpType::Offer, offer.clone()).expect("set");
    a.negotiator
        .add_local_candidate(HOST, "afrag1")
        .expect("the pending one");
    let (_, pending) = a.negotiator.pending_local_description().expect("pending");
    assert_eq!(pending.media[0].section.values("candidate").count(), 1);
    b.negotiator.set_remote(SdpType::Offer, wire(&offer)).expect("set");
    // Late ones of the old generation are still known by their fragment.
    let late = trickled(HOST, Some("0"), None, Some("afrag0"));
    let taken = b
        .negotiator
        .add_remote_candidate(&late)
        .expect("judged")
        .expect("taken");
    assert_eq!(taken.username_fragment.as_deref(), Some("afrag0"));
}
