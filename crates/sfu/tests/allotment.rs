//! Real producers and consumers of one receiver under an allotment.

mod common;

use antiphon_netsim::Counting;
use antiphon_sfu::allotment::{Allotment, Budget, Claim};
use antiphon_sfu::{Consumer, ConsumerConfig, Producer};
use common::{FRAME, Vp8, producer, simulcast};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Track {
    producer: Producer,
    consumer: Consumer,
    encodings: [Vp8; 3],
    version: u64,
    /// Bytes that went on since they were last asked for.
    bytes: u64,
}

/// Two cameras go to one receiver for so many frames with this estimate.
fn run(tracks: &mut [Track; 2], allotment: &mut Allotment, now: &mut std::time::Instant, frames: u32, estimate: u64) {
    let budget = Budget {
        estimate: Some(estimate),
        sound: 30_000,
    };
    for _ in 0..frames {
        let mut is_new = false;
        for track in &mut *tracks {
            let asked = track.producer.poll_key_frame(*now);
            for encoding in &mut track.encodings {
                for packet in encoding.frame(*now, asked == Some(encoding.ssrc)) {
                    let Some(facts) = track.producer.take(*now, &packet) else {
                        continue;
                    };
                    let written = track.consumer.take(*now, &packet, &facts, track.producer.layers());
                    track.bytes += written.map_or(0, |packet| packet.payload.len() as u64);
                    if let Some(encoding) = track.consumer.poll_key_frame(*now) {
                        track.producer.want_key_frame(encoding);
                    }
                }
            }
            let version = track.producer.layers().version();
            is_new |= std::mem::replace(&mut track.version, version) != version;
        }
        if is_new {
            allotment.allot(*now, budget, |consumer| {
                Some(tracks[consumer as usize].producer.layers())
            });
            while let Some(change) = allotment.poll_change() {
                let wish = change.wish.expect("there is enough for both");
                tracks[change.consumer as usize].consumer.set_wish(wish);
            }
        }
        *now += FRAME;
    }
}

#[test]
fn consumers_go_where_the_allotment_leads_them_with_few_switches() {
    let mut now = antiphon_netsim::start();
    let mut tracks = [0, 1].map(|_| Track {
        producer: producer(&["a", "b", "c"]),
        consumer: Consumer::new(ConsumerConfig::default()),
        encodings: simulcast(),
        version: 0,
        bytes: 0,
    });
    let mut allotment = Allotment::new();
    for (consumer, priority) in [(0, 1), (1, 2)] {
        let claim = Claim {
            priority,
            ..Claim::default()
        };
        assert!(allotment.set_claim(consumer, claim));
    }
    let levels = |tracks: &[Track; 2]| {
        tracks
            .each_ref()
            .map(|track| track.consumer.layer().map(|layer| layer.encoding))
    };
    for (estimate, wanted) in [
        (5_000_000, [2, 2]),
        (600_000, [0, 2]),
        (160_000, [0, 0]),
        (5_000_000, [2, 2]),
    ] {
        run(&mut tracks, &mut allotment, &mut now, 150, estimate);
        assert_eq!(levels(&tracks), wanted.map(Some), "{estimate}");
        tracks.iter_mut().for_each(|track| track.bytes = 0);
        run(&mut tracks, &mut allotment, &mut now, 90, estimate);
        let rate = tracks.iter().map(|track| track.bytes).sum::<u64>() * 8 / 3 + 30_000;
        // What is there already may go over it by a tenth.
        assert!(rate <= estimate * 11 / 10, "{rate} of {estimate}");
    }
    for track in &tracks {
        assert!(track.consumer.counts().switches <= 8, "{:?}", track.consumer.counts());
    }
}

#[test]
fn to_allot_takes_no_memory() {
    let mut now = antiphon_netsim::start();
    let mut source = producer(&["a", "b", "c"]);
    let mut encodings = simulcast();
    for _ in 0..60 {
        for encoding in &mut encodings {
            for packet in encoding.frame(now, false) {
                let _ = source.take(now, &packet);
            }
        }
        now += FRAME;
    }
    let mut allotment = Allotment::new();
    for consumer in 0..50 {
        assert!(allotment.set_claim(
            consumer,
            Claim {
                priority: consumer as u8 % 3,
                ..Claim::default()
            }
        ));
    }
    let mut round = |estimate| {
        let budget = Budget {
            estimate: Some(estimate),
            sound: 0,
        };
        allotment.allot(now, budget, |_| Some(source.layers()));
        now += FRAME * 200;
        std::iter::from_fn(|| allotment.poll_change()).count()
    };
    let _ = round(50_000_000);
    let before = Counting::here().allocations;
    // Most that change, change at the first of these.
    let changes: usize = [4_000_000, 4_100_000, 8_000_000, 3_000_000]
        .into_iter()
        .map(&mut round)
        .sum();
    assert!(changes > 50, "{changes}");
    assert_eq!(Counting::here().allocations - before, 0);
}
