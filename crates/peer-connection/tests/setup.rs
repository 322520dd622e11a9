//! How long it takes whole peers at a round trip of 50 ms until a pair is valid and one is nominated, DTLS has
//! connected them and a data channel is open; each end counts from the moment at which it had applied the answer.

use std::fmt::Write;
use std::time::Duration;

use crate::support::Pair;
use antiphon_netsim::LinkConfig;
use antiphon_peer_connection::{
    DtlsVersions, Event, RtcConfiguration, RtcDataChannelInit, RtcDtlsTransportState, RtcIceConnectionState, Settings,
};

const RTT: Duration = Duration::from_millis(50);

const CLEAN_SEEDS: u64 = 5;
const LOSSY_SEEDS: u64 = 150;

/// The steps in the order of the table.
const STEPS: [&str; 4] = ["valid pair", "nominated", "DTLS", "channel"];

/// When one end took each step.
type Times = [Option<Duration>; 4];

/// Signalling over a server at half a round trip, all candidates in the descriptions: the offerer applies the answer
/// half a round trip after the answerer.
fn run(seed: u64, loss: f64, versions: DtlsVersions) -> [Times; 2] {
    let link = LinkConfig {
        delay: RTT / 2,
        loss,
        ..LinkConfig::default()
    };
    let configuration = || RtcConfiguration {
        settings: Settings {
            dtls_versions: versions,
            ..Settings::default()
        },
        ..RtcConfiguration::default()
    };
    let mut pair = Pair::with(seed, link, configuration);
    pair.trickle = false;
    let channel = pair
        .call(0, |pc, now| {
            pc.create_data_channel(now, "first", RtcDataChannelInit::default())
        })
        .unwrap();
    pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
    let offer = pair.pc(0).local_description().unwrap();
    assert!(offer.sdp.contains("a=candidate:"), "{}", offer.sdp);
    pair.run_for(RTT / 2);
    pair.call(1, |pc, now| pc.set_remote_description(now, offer)).unwrap();
    pair.call(1, |pc, now| pc.set_local_description(now, None)).unwrap();
    let answer = pair.pc(1).local_description().unwrap();
    assert!(answer.sdp.contains("a=candidate:"), "{}", answer.sdp);
    let mut applied = [pair.net.now(); 2];
    pair.run_for(RTT / 2);
    applied[0] = pair.net.now();
    pair.call(0, |pc, now| pc.set_remote_description(now, answer)).unwrap();
    let mut times = [Times::default(); 2];
    let all = pair.run_until(Duration::from_secs(60), |pair| {
        for at in 0..2 {
            let ice = pair.pc(at).ice_connection_state();
            let is_open = |event: &Event| match event {
                Event::DataChannelOpen(id) => at == 1 || *id == channel,
                _ => false,
            };
            let steps = [
                matches!(ice, RtcIceConnectionState::Connected | RtcIceConnectionState::Completed),
                pair.told(at, |event| matches!(event, Event::SelectedCandidatePairChange { .. })),
                pair.pc(at).dtls_state() == RtcDtlsTransportState::Connected,
                pair.told(at, is_open),
            ];
            for (time, done) in times[at].iter_mut().zip(steps) {
                if done {
                    time.get_or_insert(pair.net.now() - applied[at]);
                }
            }
        }
        times.iter().flatten().all(Option::is_some)
    });
    assert!(all, "seed {seed}: {times:?}");
    times
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// What theory gives without loss, in round trips; let the answerer apply the answer at 0, and the offerer half a round trip later.
///
/// - ICE: the answerer's check is answered at 1, and the offerer's at 1.5. The offerer nominates at once: the answerer hears of it at 2,
///   the offerer that it did at 2.5. So it is 1 and 2 for both.
/// - DTLS: the answerer is the client and begins at 1, with its valid pair. Its second flight goes at 2 and is there at 2.5, which connects
///   the offerer. In 1.3 the client is connected at 2, in 1.2 by the server's last flight at 3.
/// - SCTP: both ends begin when they are connected, the one at 2 and the other at 2.5; the client's words need two round trips and the
///   server's begin half a one later. In 1.3 the client's INIT makes it 3.5 (offerer) and 4 (answerer); in 1.2 the server's is first,
///   waits at the client until that is connected at 3, and makes it 4.5 and 4. The offerer's channel is open as soon as its association is.
fn theory(versions: DtlsVersions) -> [[u32; 4]; 2] {
    match versions {
        DtlsVersions::Dtls12 => [[1, 2, 2, 4], [1, 2, 3, 4]],
        _ => [[1, 2, 2, 3], [1, 2, 2, 4]],
    }
}

/// The same at 5 % loss for 95 of 100. ICE's own limit is what we have set ourselves. To that a lost flight adds DTLS's
/// timer of two round trips, and a lost packet of SCTP's handshake RTO.Initial, half a second.
const LOSSY: [u32; 4] = [4, 4, 7, 14];

#[test]
fn the_table() {
    println!("round trip 50 ms, host candidates; times in ms from the answer applied: median, 95 %, longest");
    let [valid, nominated, dtls, channel] = STEPS;
    println!("DTLS  loss  end       {valid:<18}{nominated:<18}{dtls:<18}{channel}");
    for (versions, name) in [(DtlsVersions::Dtls12, "1.2"), (DtlsVersions::Dtls12And13, "1.3")] {
        for percent in [0, 5] {
            let seeds = if percent > 0 { LOSSY_SEEDS } else { CLEAN_SEEDS };
            let loss = f64::from(percent) / 100.0;
            let runs: Vec<[Times; 2]> = (0..seeds).map(|seed| run(seed, loss, versions)).collect();
            for (at, end) in ["offerer", "answerer"].into_iter().enumerate() {
                let mut line = format!("{name:<6}{percent:>2} %  {end:<9}");
                for step in 0..STEPS.len() {
                    let mut all: Vec<Duration> = runs.iter().map(|run| run[at][step].unwrap()).collect();
                    all.sort_unstable();
                    let [half, most, longest] = [50, 95, 100].map(|percent| percentile(&all, percent));
                    let [a, b, c] = [half, most, longest].map(|time| time.as_millis());
                    _ = write!(line, "{a:>4} {b:>5} {c:>5}  ");
                    let (time, limit) = match percent {
                        0 => (longest, theory(versions)[at][step]),
                        _ => (most, LOSSY[step]),
                    };
                    assert!(
                        time <= RTT * limit,
                        "DTLS {name}, {percent} % loss, {end}, {}: {time:?}, not {limit} round trips",
                        STEPS[step]
                    );
                }
                println!("{line}");
            }
        }
    }
}
