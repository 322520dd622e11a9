//! One receiver of tracks whose layers come, cost and go as they please.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use antiphon_media::{Packet, Rid};
use antiphon_sansio::{Bytes, Reader};
use antiphon_sfu::allotment::{Allotment, Budget, Claim};
use antiphon_sfu::{Layers, Producer};

const RIDS: [&str; 3] = ["a", "b", "c"];

/// A packet of VP8: a key frame of one of three encodings.
fn packet(now: Instant, encoding: u8, sequence: u64, len: usize) -> Packet {
    let place = usize::from(encoding) % RIDS.len();
    let mut payload = vec![0x10, 0, 0, 0, 0x9d, 0x01, 0x2a, 64 << place, 1, 64 << place, 1];
    payload.resize(11 + len, 0);
    Packet {
        ssrc: place as u32,
        rid: Rid::new(RIDS[place].as_bytes()),
        payload_type: 96,
        sequence,
        timestamp: (sequence as u32).wrapping_mul(3000),
        marker: true,
        payload: Bytes::from(payload),
        front: None,
        key_frame: true,
        extensions: Default::default(),
        contributors: None,
        received: now,
        captured: None,
    }
}

/// Four bytes an operation: what, who, how much, how much later. Who claims something is sent what it claims or less,
/// somebody is sent something as long as anything comes, and nobody goes over the estimate who was not to.
pub(super) fn machine(data: &[u8]) {
    let mut now = antiphon_netsim::start();
    let rids: Vec<Rid> = RIDS.iter().filter_map(|rid| Rid::new(rid.as_bytes())).collect();
    let mut producers = [0; 3].map(|_| Producer::new([(96, "VP8")], &rids));
    let mut allotment = Allotment::new();
    let mut claims: BTreeMap<u32, Claim> = BTreeMap::new();
    let mut told = BTreeMap::new();
    let mut sequence = 1 << 30;
    let mut input = Reader::new(data);
    while let (Ok(what), Ok(who), Ok(much), Ok(later)) = (input.u8(), input.u8(), input.u8(), input.u8()) {
        let consumer = u32::from(who % 16);
        match what % 8 {
            0 => {
                let claim = Claim {
                    level: much & 3,
                    temporal: much >> 2 & 3,
                    priority: much >> 4,
                    floor: (later & 0x80 != 0).then_some(later & 3),
                    overshoot: if later & 0x40 != 0 {
                        u64::MAX
                    } else {
                        u64::from(later & 0x30) * 1000
                    },
                };
                assert!(allotment.set_claim(consumer, claim), "there is room for sixteen");
                claims.insert(consumer, claim);
            }
            1 => {
                allotment.remove(consumer);
                claims.remove(&consumer);
                told.remove(&consumer);
            }
            2 | 3 => {
                let budget = Budget {
                    estimate: (what & 0x80 == 0).then_some(u64::from(much) * 20_000),
                    sound: u64::from(who) * 100,
                };
                let layers = |consumer: u32| producers.get(consumer as usize % 3).map(Producer::layers);
                allotment.allot(now, budget, layers);
                assert!(allotment.poll_timeout().is_none_or(|due| due > now), "law 2");
                while let Some(change) = allotment.poll_change() {
                    assert!(claims.contains_key(&change.consumer), "who is gone is told nothing");
                    assert_ne!(
                        told.insert(change.consumer, change.wish),
                        Some(change.wish),
                        "it is told once"
                    );
                }
                judge(&allotment, budget, &claims, layers);
            }
            _ => {
                for _ in 0..what >> 4 {
                    sequence += 1;
                    let packet = packet(now, what, sequence, usize::from(much) * 4);
                    if let Some(producer) = producers.get_mut(usize::from(who) % 3) {
                        let _ = producer.take(now, &packet);
                    }
                    now += Duration::from_millis(5);
                }
            }
        }
        now += Duration::from_millis(u64::from(later));
    }
}

fn judge<'a>(
    allotment: &Allotment,
    budget: Budget,
    claims: &BTreeMap<u32, Claim>,
    layers: impl Fn(u32) -> Option<&'a Layers>,
) {
    let sums = allotment.sums();
    let flows = |consumer: &u32| layers(*consumer).is_some_and(|list| list.levels().iter().any(|level| level.flows));
    let flowing = claims.keys().filter(|consumer| flows(consumer)).count();
    assert!(
        flowing == 0 || (sums.paused as usize) < flowing,
        "nobody is sent anything"
    );
    let is_exempt = claims.values().any(|claim| claim.overshoot > 0);
    if let Some(estimate) = budget
        .estimate
        .filter(|_| !is_exempt && flowing > sums.paused as usize + 1)
    {
        let limit = estimate.saturating_sub(budget.sound) * 11 / 10;
        assert!(sums.given <= limit, "{} of {limit}", sums.given);
    }
}
