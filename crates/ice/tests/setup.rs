//! How long it takes until a pair is valid and until one is nominated, at a round trip of 50 ms.

mod pipe;

use std::time::Duration;

use antiphon_ice::{Config, ConnectionState, ContactBudget, Event, MAX_PAIRS, MAX_REMOTE_CANDIDATES, Role};
use pipe::{MS, Net};

const RTT: Duration = Duration::from_millis(50);

/// What one end saw, counted from the moment at which it had applied the answer.
#[derive(Clone, Copy, Debug)]
struct Times {
    valid: Duration,
    nominated: Duration,
}

/// Trickle-free signalling over a server at half a round trip: the offer came, the answer is applied by the answerer
/// and half a round trip later by the offerer.
fn run(seed: u64, loss: u32, dual_stack: bool, controlling: Role) -> [Times; 2] {
    let mut net = Net::pair(seed);
    net.delay = RTT / 2;
    net.loss = loss;
    net.trickle = false;
    net.peers[0].agent.set_role(controlling);
    net.peers[1].agent.set_role(controlling.opposite());
    if dual_stack {
        net.peers[0].interfaces.push("2001:db8::1".parse().unwrap());
        net.peers[1].interfaces.push("2001:db8::2".parse().unwrap());
    }
    for peer in &mut net.peers {
        peer.agent.gather(net.now);
    }
    net.settle();
    let mut applied = [net.now; 2];
    for at in [1, 0] {
        applied[at] = net.now;
        let credentials = net.peers[1 - at].credentials();
        net.peers[at].agent.set_remote_credentials(net.now, credentials);
        for candidate in net.peers[1 - at].trickle.clone() {
            net.peers[at].agent.add_remote_candidate(net.now, candidate);
        }
        net.peers[at].agent.end_of_remote_candidates(net.now);
        net.settle();
        if at == 1 {
            net.run_for(RTT / 2);
        }
    }
    let mut times = [(None, None); 2];
    let limit = net.now + Duration::from_secs(30);
    while times
        .iter()
        .any(|(valid, nominated)| valid.is_none() || nominated.is_none())
    {
        for (at, (valid, nominated)) in times.iter_mut().enumerate() {
            let took = net.now.duration_since(applied[at]);
            for event in &net.peers[at].events {
                match event {
                    Event::State(ConnectionState::Connected | ConnectionState::Completed) => {
                        valid.get_or_insert(took);
                    }
                    Event::SelectedPair { .. } => {
                        nominated.get_or_insert(took);
                    }
                    _ => {}
                }
            }
        }
        assert!(net.now < limit, "seed {seed} never connected");
        net.step(limit);
    }
    times.map(|(valid, nominated)| Times {
        valid: valid.unwrap(),
        nominated: nominated.unwrap(),
    })
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

#[test]
fn the_table() {
    const SEEDS: u64 = 400;
    println!("round trip 50 ms, host candidates; times in ms from the answer applied");
    println!("stack  loss  controls  end       valid p50  p95  nominated p50  p95  max");
    for dual_stack in [false, true] {
        for loss in [0, 50] {
            for controlling in [Role::Controlling, Role::Controlled] {
                let runs: Vec<[Times; 2]> = (0..SEEDS)
                    .map(|seed| run(seed, loss, dual_stack, controlling))
                    .collect();
                for at in [0, 1] {
                    let sorted = |of: fn(&Times) -> Duration| {
                        let mut all: Vec<Duration> = runs.iter().map(|run| of(&run[at])).collect();
                        all.sort_unstable();
                        all
                    };
                    let (valid, nominated) = (sorted(|t| t.valid), sorted(|t| t.nominated));
                    println!(
                        "{:<6} {:>3} %  {:<9} {:<9} {:>8}  {:>4}  {:>12}  {:>4}  {:>4}",
                        if dual_stack { "dual" } else { "v4" },
                        loss / 10,
                        if controlling == Role::Controlling {
                            "offerer"
                        } else {
                            "answerer"
                        },
                        ["offerer", "answerer"][at],
                        percentile(&valid, 50).as_millis(),
                        percentile(&valid, 95).as_millis(),
                        percentile(&nominated, 50).as_millis(),
                        percentile(&nominated, 95).as_millis(),
                        nominated.last().unwrap().as_millis(),
                    );
                    if loss == 0 {
                        assert!(*valid.last().unwrap() <= RTT, "valid in one round trip");
                        assert!(*nominated.last().unwrap() <= 2 * RTT, "nominated in two");
                    } else {
                        assert!(percentile(&nominated, 95) <= 4 * RTT, "95 % within four round trips");
                    }
                }
            }
        }
    }
}

#[test]
fn v15_ten_thousand_candidates_stay_within_the_pace() {
    // Nobody answers: never more pairs than there may be, nor checks than the reserve and one new transaction per Ta.
    let mut net = Net::pair(3);
    net.cut = true;
    // With one interface the candidates' limit alone would keep the pairs within theirs.
    net.peers[0].interfaces.push("10.0.0.3".parse().unwrap());
    net.start();
    let ufrag = net.peers[0].agent.remote_credentials().unwrap().ufrag.clone();
    for n in 0..10_000u32 {
        let ip = format!("10.9.{}.{}", n / 250, n % 250 + 1);
        let text = format!("candidate:{n} 1 udp 2130706431 {ip} 6000 typ host ufrag {ufrag}");
        net.peers[0].agent.add_remote_candidate(net.now, text.parse().unwrap());
    }
    net.settle();
    let stats = net.peers[0].agent.stats();
    assert_eq!(stats.pairs.len(), MAX_PAIRS);
    assert_eq!(stats.remote_candidates.len(), MAX_REMOTE_CANDIDATES);
    assert!(stats.counters.over_limit >= 9_900);
    let (before, begun) = (net.peers[0].sent, net.now);
    net.run_for(Duration::from_secs(30));
    let sent = net.peers[0].sent - before;
    let slots = (net.now - begun).as_millis() / (50 * MS).as_millis();
    assert!(sent as u128 <= slots + 5, "{sent} checks in {slots} slots");
    assert!(sent > 400, "the slots are used: {sent}");
    // RFC 8445 §14: and none after the checks have failed.
    net.run_for(Duration::from_secs(60));
    let sent = net.peers[0].sent;
    net.run_for(Duration::from_secs(60));
    assert_eq!(net.peers[0].sent, sent);
}

#[test]
fn mend19_checks_to_an_address_that_many_offers_name_share_one_budget() {
    let budget = ContactBudget::default();
    let config = Config {
        role: Role::Controlling,
        contacts: Some(budget.clone()),
        ..Config::default()
    };
    // Forty sessions of one server, and the offers of all of them name 10.0.0.2, which has nothing to do with it.
    let mut nets: Vec<Net> = (0..40)
        .map(|seed| Net::new(seed, config.clone(), Config::default()))
        .collect();
    for net in &mut nets {
        net.cut = true;
        net.start();
    }
    for _ in 0..10_000 {
        for net in &mut nets {
            net.run_for(MS);
        }
    }
    let sent: usize = nets.iter().map(|net| net.peers[0].sent).sum();
    assert!((150..=32 + 200 + 40).contains(&sent), "{sent} checks in ten seconds");
    assert!(budget.postponed() > 0);
    let postponed = |net: &Net| net.peers[0].agent.stats().counters.postponed_checks;
    assert!(nets.iter().map(postponed).sum::<u64>() > 0);
    // Who shows itself with a check of its own is answered and checked at once, however many wait for others there.
    let net = &mut nets[17];
    net.cut = false;
    net.connect(Duration::from_secs(3));
}
