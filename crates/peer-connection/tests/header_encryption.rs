//! Header extensions and CSRCs on the wire (RFC 9335), by `rtpHeaderEncryptionPolicy`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::support::Pair;
use antiphon_jsep::JsepError;
use antiphon_netsim::LinkConfig;
use antiphon_peer_connection::{
    Error, Event, Frame, MediaKind, MediaStreamTrack, RtcConfiguration, RtcRtpHeaderEncryptionPolicy,
    RtcSessionDescription, TransceiverId,
};

use RtcRtpHeaderEncryptionPolicy::{Accept, Disable, Negotiate, Require};

const PLAIN: [u8; 2] = [0xbe, 0xde];
const ENCRYPTED: [u8; 2] = [0xc0, 0xde];

fn pair(policies: [RtcRtpHeaderEncryptionPolicy; 2]) -> (Pair, [TransceiverId; 2]) {
    let addresses = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
    let mut pair = Pair::with_each(9, LinkConfig::default(), addresses, |at| RtcConfiguration {
        rtp_header_encryption_policy: policies[at],
        ..RtcConfiguration::default()
    });
    let transceivers = [0, 1].map(|at| {
        let track = MediaStreamTrack {
            kind: MediaKind::Audio,
            id: "sound".into(),
            stream_ids: vec!["stream".into()],
        };
        pair.call(at, |pc, _| pc.add_track(track)).unwrap()
    });
    (pair, transceivers)
}

/// Both play a second of sound; what tags went over the wire, and whether all of it came.
fn play(pair: &mut Pair, transceivers: [TransceiverId; 2]) -> [BTreeSet<[u8; 2]>; 2] {
    let before = [0, 1].map(|at| pair.count(at, |event| matches!(event, Event::Frame { .. })));
    for number in 0..50 {
        for (at, transceiver) in transceivers.into_iter().enumerate() {
            let opus = pair.pc(at).payload_type(transceiver, "opus").unwrap();
            let frame = Frame::new(opus, number * 960, vec![5; 60]);
            pair.call(at, |pc, now| pc.send_frame(now, transceiver, frame)).unwrap();
        }
        pair.run_for(Duration::from_millis(20));
    }
    pair.run_for(Duration::from_millis(500));
    for (at, before) in before.into_iter().enumerate() {
        let came = pair.count(at, |event| matches!(event, Event::Frame { .. }));
        assert_eq!(came - before, 50, "what was sent to {at}");
    }
    [0, 1].map(|at| pair.extension_tags(at).clone())
}

#[test]
fn each_pair_of_policies() {
    for (policies, encrypted) in [
        ([Negotiate, Negotiate], true),
        ([Require, Negotiate], true),
        ([Negotiate, Require], true),
        ([Require, Require], true),
        ([Negotiate, Accept], true),
        ([Accept, Negotiate], false),
        ([Accept, Accept], false),
        ([Disable, Negotiate], false),
        ([Negotiate, Disable], false),
        ([Disable, Disable], false),
    ] {
        let (mut pair, transceivers) = pair(policies);
        pair.negotiate(0);
        pair.connect();
        for at in 0..2 {
            assert_eq!(
                pair.pc(at).rtp_header_encryption_negotiated(),
                encrypted,
                "{policies:?}"
            );
        }
        let expected = if encrypted { ENCRYPTED } else { PLAIN };
        for tags in play(&mut pair, transceivers) {
            assert_eq!(tags, BTreeSet::from([expected]), "{policies:?}");
        }
    }
}

#[test]
fn who_requires_it_refuses_who_has_it_not() {
    let (mut pair, _) = pair([Disable, Require]);
    pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
    let offer = pair.pc(0).local_description().unwrap();
    let refused = pair.call(1, |pc, now| pc.set_remote_description(now, offer));
    assert!(
        matches!(refused, Err(Error::Signaling(JsepError::NoHeaderEncryption { .. }))),
        "{refused:?}"
    );
}

/// A later exchange may switch it off; and whoever only says that it has it, and sends in the clear, is heard by who
/// does not insist.
#[test]
fn a_later_exchange_may_switch_it_off() {
    let (mut pair, transceivers) = pair([Negotiate, Negotiate]);
    pair.negotiate(0);
    pair.connect();
    let tags = play(&mut pair, transceivers);
    assert_eq!(tags, [BTreeSet::from([ENCRYPTED]), BTreeSet::from([ENCRYPTED])]);
    pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
    let offer = pair.pc(0).local_description().unwrap();
    let plain = RtcSessionDescription::offer(offer.sdp.replace("a=cryptex\r\n", ""));
    pair.answer(1, plain);
    pair.run_for(Duration::from_millis(200));
    for at in 0..2 {
        assert!(!pair.pc(at).rtp_header_encryption_negotiated(), "{at}");
    }
    let tags = play(&mut pair, transceivers);
    assert_eq!(
        tags,
        [BTreeSet::from([ENCRYPTED, PLAIN]), BTreeSet::from([ENCRYPTED, PLAIN])]
    );
}

/// A peer that says `a=cryptex` and cannot read it, and shows no sign of copying: it sends no reports of what it cannot
/// read.
#[test]
fn mend03_what_nobody_reads_goes_in_the_clear_again() {
    let (mut pair, transceivers) = pair([Negotiate, Disable]);
    pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
    let offer = pair.pc(0).local_description().unwrap();
    pair.call(1, |pc, now| pc.set_remote_description(now, offer)).unwrap();
    pair.call(1, |pc, now| pc.set_local_description(now, None)).unwrap();
    let answer = pair.pc(1).local_description().unwrap().sdp;
    let answer = RtcSessionDescription::answer(answer.replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=cryptex\r\n"));
    pair.call(0, |pc, now| pc.set_remote_description(now, answer)).unwrap();
    pair.signal();
    pair.connect();
    assert!(pair.pc(0).rtp_header_encryption_negotiated());
    let mut sent = 0;
    let mut send = |pair: &mut Pair, seconds: u32| {
        for _ in 0..50 * seconds {
            let opus = pair.pc(0).payload_type(transceivers[0], "opus").unwrap();
            let frame = Frame::new(opus, sent * 960, vec![5; 60]);
            sent += 1;
            pair.call(0, |pc, now| pc.send_frame(now, transceivers[0], frame))
                .unwrap();
            pair.run_for(Duration::from_millis(20));
        }
    };
    let came = |pair: &Pair| pair.count(1, |event| matches!(event, Event::Frame { .. }));
    send(&mut pair, 10);
    assert_eq!(came(&pair), 0, "it reads nothing");
    send(&mut pair, 10);
    assert!(!pair.pc(0).rtp_header_encryption_negotiated());
    assert!(came(&pair) > 200, "{}", came(&pair));
    assert_eq!(*pair.extension_tags(0), BTreeSet::from([ENCRYPTED, PLAIN]));
}

/// Whoever reads it reports so, and it stays.
#[test]
fn mend03_what_is_read_stays_encrypted() {
    let (mut pair, transceivers) = pair([Negotiate, Accept]);
    pair.negotiate(0);
    pair.connect();
    for _ in 0..30 {
        assert_eq!(
            play(&mut pair, transceivers),
            [0, 1].map(|_| BTreeSet::from([ENCRYPTED]))
        );
    }
    assert!((0..2).all(|at| pair.pc(at).rtp_header_encryption_negotiated()));
}
