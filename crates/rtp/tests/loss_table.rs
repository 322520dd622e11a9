//! How much of what a link loses comes back, beside what theory says. `cargo test -p antiphon-rtp --test loss_table -- --nocapture`
//! prints the table.

use antiphon_rtp::extension::Map;
use antiphon_rtp::fec::{Encoder, Format, Plan, Recoverer};
use antiphon_rtp::packet::{Header, Packet};
use antiphon_rtp::payload::red;
use antiphon_sansio::{Rng, Writer};

/// Packets of media that are lost in each run, about: then chance moves a share by one percent, where bursts make losses depend on each
/// other.
const LOST: f64 = 8_000.0;
/// A run is counted in parts of so many packets, which know nothing of each other: how they differ tells how far chance goes.
const PART: u32 = 1000;
/// How many standard errors a measured share may lie from theory. One of thirty thousand lies farther by chance.
const MOST_ERRORS: f64 = 4.0;
/// The largest standard error with which a run tells anything.
const MOST_ERROR: f64 = 0.012;
/// The mean length of a burst, in packets.
const BURST: f64 = 3.0;

/// A link with two states (Gilbert): each packet of the bad state is lost, none of the good one.
struct Link {
    rng: Rng,
    to_bad: f64,
    to_good: f64,
    bad: bool,
}

impl Link {
    /// Loses `loss` of all packets: independently, or in bursts of a mean length.
    fn new(seed: u64, loss: f64, burst: Option<f64>) -> Self {
        let (to_bad, to_good) = match burst {
            Some(mean) => (loss / (mean * (1.0 - loss)), 1.0 / mean),
            None => (loss, 1.0 - loss),
        };
        Self {
            rng: Rng::from_u64(seed),
            to_bad,
            to_good,
            bad: false,
        }
    }

    fn loses(&mut self) -> bool {
        let chance = f64::from(self.rng.u32()) / f64::from(u32::MAX);
        let turn = if self.bad { self.to_good } else { self.to_bad };
        self.bad ^= chance < turn;
        self.bad
    }

    fn loss(&self) -> f64 {
        self.to_bad / (self.to_bad + self.to_good)
    }

    /// Packets of media until enough are lost.
    fn packets(&self) -> u32 {
        (LOST / self.loss()) as u32
    }

    /// How likely a packet is lost `steps` packets after one that was (`after_bad`), or was not.
    fn lost_after(&self, after_bad: bool, steps: i32) -> f64 {
        let memory = (1.0 - self.to_bad - self.to_good).powi(steps);
        let loss = self.loss();
        if after_bad {
            loss + (1.0 - loss) * memory
        } else {
            loss * (1.0 - memory)
        }
    }
}

/// Packets that were lost and that came back, part for part.
struct Counts(Vec<(u32, u32)>);

impl Counts {
    fn new(packets: u32) -> Self {
        Self(vec![(0, 0); packets.div_ceil(PART) as usize])
    }

    fn part(&mut self, n: u32) -> &mut (u32, u32) {
        &mut self.0[(n / PART) as usize]
    }

    /// The share that came back, and its standard error: that of a ratio of sums over parts that are independent.
    fn share(&self) -> (f64, f64) {
        let sum = |of: fn(&(u32, u32)) -> u32| f64::from(self.0.iter().map(of).sum::<u32>());
        let (lost, recovered) = (sum(|part| part.0), sum(|part| part.1));
        let share = recovered / lost;
        let off = |part: &(u32, u32)| f64::from(part.1) - share * f64::from(part.0);
        let squares: f64 = self.0.iter().map(|part| off(part).powi(2)).sum();
        // At least one packet: where nearly all come back, no part may differ from another.
        (share, squares.max(1.0).sqrt() / lost)
    }
}

/// The part of lost media packets that `repairs` interleaved sums over groups of `group` bring back: those of which all others in
/// the column, and its sum, arrive.
fn fec_theory(link: &Link, group: i32, repairs: i32) -> f64 {
    let recovered = (0..group).map(|lost| {
        let column = lost % repairs;
        let mut chance = 1.0;
        let mut before: Option<(i32, bool)> = None;
        let members = (column..group).step_by(repairs as usize).chain([group + column]);
        for at in members {
            let is_lost = at == lost;
            let likely = match before {
                Some((place, bad)) => link.lost_after(bad, at - place),
                None => link.loss(),
            };
            chance *= if is_lost { likely } else { 1.0 - likely };
            before = Some((at, is_lost));
        }
        chance
    });
    recovered.sum::<f64>() / (f64::from(group) * link.loss())
}

/// The part of lost packets of which a later packet within the distance arrives.
fn red_theory(link: &Link, distance: i32) -> f64 {
    1.0 - link.lost_after(true, 1).powi(distance)
}

fn packet(sequence: u16) -> [u8; 24] {
    let mut bytes = [0; 24];
    let mut out = Writer::new(&mut bytes);
    let header = Header {
        marker: sequence.is_multiple_of(3),
        payload_type: 96,
        sequence,
        timestamp: u32::from(sequence) * 3000,
        ssrc: 7,
    };
    header
        .write(&[], &Default::default(), &Map::default(), &mut out)
        .unwrap();
    out.put_slice(&[sequence as u8; 12]).unwrap();
    bytes
}

fn fec_run(mut link: Link, plan: Plan, format: Format) -> Counts {
    let map = Map::default();
    let mut encoder = Encoder::new(format, 7, plan);
    let mut recoverer = Recoverer::new(7);
    let packets = link.packets();
    let mut counts = Counts::new(packets);
    for n in 0..packets {
        let packet = packet(n as u16);
        encoder.protect(&packet, &map);
        if link.loses() {
            counts.part(n).0 += 1;
        } else {
            recoverer.insert(&[&packet], &map);
        }
        let mut buffer = [0; 200];
        let mut out = Writer::new(&mut buffer);
        while encoder.write(&mut out) {
            if !link.loses() {
                recoverer.insert_repair(&format.parse(out.written_mut()).unwrap());
            }
            out.truncate(0);
        }
        while let Some(found) = recoverer.poll() {
            let sequence = Packet::parse(found).unwrap().header.sequence;
            assert_eq!(found, self::packet(sequence));
            counts.part(n).1 += 1;
        }
    }
    counts
}

fn red_run(mut link: Link, distance: u8) -> Counts {
    let mut encoder = red::Encoder::new(distance);
    let packets = link.packets();
    let mut received = vec![false; packets as usize];
    let mut counts = Counts::new(packets);
    for n in 0..packets {
        let mut buffer = [0; 200];
        let mut out = Writer::new(&mut buffer);
        encoder
            .encode(111, n.wrapping_mul(960), &n.to_be_bytes(), &mut out)
            .unwrap();
        if link.loses() {
            counts.part(n).0 += 1;
            continue;
        }
        for block in red::parse(out.finish()).unwrap() {
            let of = n - u32::from(block.distance);
            assert_eq!(block.payload, of.to_be_bytes());
            counts.part(n).1 += u32::from(block.distance > 0 && !received[of as usize]);
            received[of as usize] = true;
        }
    }
    counts
}

#[test]
fn what_comes_back_is_what_theory_says() {
    println!("recovered of lost packets, in %: measured +- its standard error (theory)");
    println!(
        "{:>22} {:>19} {:>19} {:>19} {:>19}",
        "loss", "1 %", "5 %", "10 %", "20 %"
    );
    let mut seed = 0;
    for burst in [None, Some(BURST)] {
        let links = if burst.is_some() { "bursts" } else { "independent" };
        let rows = [(1, "10+1"), (2, "10+2"), (5, "10+5")].map(|(repairs, name)| (Some(repairs), 0, name));
        let red = [(1, "RED 1"), (2, "RED 2"), (3, "RED 3")].map(|(distance, name)| (None, distance, name));
        for (repairs, distance, name) in rows.into_iter().chain(red) {
            print!("{links:>14} {name:>7}");
            for loss in [0.01, 0.05, 0.1, 0.2] {
                seed += 1;
                let link = Link::new(seed, loss, burst);
                let (theory, counts) = match repairs {
                    Some(repairs) => (
                        fec_theory(&link, 10, i32::from(repairs)),
                        fec_run(link, Plan::new(10, repairs), Format::FlexFec03),
                    ),
                    None => (red_theory(&link, i32::from(distance)), red_run(link, distance)),
                };
                let (measured, error) = counts.share();
                let percent = [measured, error, theory].map(|part| part * 100.0);
                print!(" {:>6.1} +-{:>3.1} ({:>5.1})", percent[0], percent[1], percent[2]);
                assert!(error < MOST_ERROR, "{links} {name} at {loss}: +-{error} tells nothing");
                assert!(
                    (measured - theory).abs() < MOST_ERRORS * error,
                    "{links} {name} at {loss}: {measured} is not {theory}, +-{error}"
                );
            }
            println!();
        }
    }
}
