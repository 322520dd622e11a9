//! One packet to many receivers, in memory.

use std::time::Duration;

use antiphon_benches::cost::at;
use antiphon_benches::fan::{BURST, Fan, Way};

use crate::figures::Measured;

/// Bursts before anything is measured.
const WARM_UP: usize = 20;
/// Forwarded packets of one reading, about.
const READING: usize = 5000;

/// As the table names them: without a router; through one as a driver does it; and through one where every packet comes alone.
pub(crate) const VARIANTS: [&str; 3] = ["", "routed", "routed, alone"];

pub(crate) fn measure(variant: &str, receivers: u32, long: bool) -> Vec<Measured> {
    let way = match variant {
        "routed" => Way::Routed,
        "routed, alone" => Way::Alone,
        _ => Way::Plain,
    };
    let readings = if long { 60 } else { 15 };
    let receivers = receivers as usize;
    let mut fan = Fan::new(receivers, way);
    for _ in 0..WARM_UP {
        fan.forward();
    }
    let mut each = Vec::with_capacity(readings);
    for _ in 0..readings {
        let rounds = READING.div_ceil(receivers * BURST);
        let (mut spent, mut sent) = (Duration::ZERO, 0);
        for _ in 0..rounds {
            let (took, datagrams) = fan.forward();
            spent += took;
            sent += datagrams;
        }
        let due = rounds * receivers * BURST;
        // Reports go out too, now and then: each peer has one at most to send in a burst.
        assert!(
            (due..=due + rounds * receivers).contains(&sent),
            "{sent} datagrams for {due} packets"
        );
        each.push(spent.as_nanos() as f64 / due as f64);
    }
    vec![Measured::new("a forwarded packet", at(&mut each, 0.5), "ns")]
}
