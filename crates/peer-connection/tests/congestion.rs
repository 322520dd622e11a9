//! Congestion control through whole peers: which feedback they agree on, and what a change of the route does.

use std::net::IpAddr;
use std::time::Duration;

use antiphon_netsim::LinkConfig;
use antiphon_peer_connection::stats::{CongestionStats, TransportStats};
use antiphon_peer_connection::{CongestionFeedbackPolicy, Event, RtcConfiguration};

use crate::media::Call;
use crate::support::Pair;

use CongestionFeedbackPolicy::{Accept, Disable, Negotiate};

/// What a session begins with, in bits a second.
const START: u64 = 1_000_000;

fn figures(call: &Call, at: usize) -> (CongestionStats, TransportStats) {
    let report = call.pair.pc(at).get_stats(call.pair.net.now());
    let congestion = report.congestion().expect("media flows");
    (congestion.clone(), report.transport().expect("one").clone())
}

/// The first sends to the second, which offers if `other_offers`.
fn call(seed: u64, policies: [CongestionFeedbackPolicy; 2], other_offers: bool) -> Call {
    let configuration = |at: usize| {
        let mut configuration = RtcConfiguration::default();
        configuration.settings.media.congestion_feedback = policies[at];
        configuration
    };
    let addresses = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
    let pair = Pair::with_each(seed, LinkConfig::default(), addresses, configuration);
    Call::with(pair, 0, usize::from(other_offers))
}

#[test]
fn feedback_of_rfc_8888_is_used_where_both_agree_and_alone() {
    for (policies, other_offers, agreed) in [
        ([Negotiate, Accept], false, true),
        ([Accept, Negotiate], true, true),
        ([Accept, Accept], false, false),
        ([Negotiate, Disable], false, false),
    ] {
        let mut call = call(31, policies, other_offers);
        call.play(Duration::from_secs(3));
        let (sender, there) = figures(&call, 0);
        let (_, receiver) = figures(&call, 1);
        assert!(sender.available_outgoing_bitrate > Some(START), "{sender:?}");
        assert_eq!(there.ccfb_messages_received > 10, agreed, "{policies:?}");
        assert_eq!(receiver.ccfb_messages_sent > 10, agreed, "{policies:?}");
        // Who is not asked for transport-wide numbers sends none.
        let text = call.pair.pc(0).remote_description().unwrap().sdp;
        let offered = call.pair.pc(0).local_description().unwrap().sdp;
        let both = |what: &str| text.contains(what) && offered.contains(what);
        assert_eq!(both("transport-wide-cc"), !agreed);
        assert_eq!(both("ack ccfb"), agreed);
    }
}

/// Another pair between other hosts is another network: what was learned of the old one is forgotten at once.
#[test]
fn a_new_route_begins_anew() {
    for mover in [0, 1] {
        let mut call = call(32, [Accept; 2], false);
        call.play(Duration::from_secs(4));
        let (before, _) = figures(&call, 0);
        assert!(before.proven_bitrate > 2 * START, "{before:?}");
        call.pair.log.iter_mut().for_each(Vec::clear);
        call.pair.move_to(mover, [10, 0, 9, 1].into(), Duration::ZERO);
        let moved = |event: &Event| matches!(event, Event::SelectedCandidatePairChange { .. });
        assert!(call.pair.run_until(Duration::from_secs(10), |pair| pair.told(0, moved)));
        let (after, _) = figures(&call, 0);
        assert_eq!(after.proven_bitrate, START, "{after:?}");
        assert_eq!(after.available_outgoing_bitrate, Some(START));
        // And the new way is learned.
        call.play(Duration::from_secs(4));
        let (learned, _) = figures(&call, 0);
        assert!(learned.proven_bitrate > 2 * START, "{learned:?}");
    }
}
