//! Levels of sound from anybody at any time.

use std::time::Duration;

use antiphon_sansio::Reader;
use antiphon_sfu::speakers::{Event, LoudestOptions, MAX_LOUDEST, Speakers, VolumeOptions};

/// Four bytes an operation: what, who, how loud, how much later.
pub(super) fn machine(data: &[u8]) {
    let mut now = antiphon_netsim::start();
    let mut speakers = Speakers::new(now);
    let mut count = MAX_LOUDEST;
    let mut input = Reader::new(data);
    while let (Ok(what), Ok(who), Ok(level), Ok(later)) = (input.u8(), input.u8(), input.u8(), input.u8()) {
        let producer = u32::from(who);
        match what {
            0..8 => drop(speakers.add(producer)),
            8..12 => speakers.remove(producer),
            12 => speakers.set_dominance(who & 1 != 0),
            13 => {
                count = usize::from(level % 20);
                let expiry = Duration::from_millis(u64::from(who) * 4);
                speakers.set_loudest((who > 0).then_some(LoudestOptions { count, expiry }));
            }
            14 => speakers.set_volumes((who > 0).then(|| VolumeOptions {
                max_entries: usize::from(who),
                threshold: -(level.min(127) as i8),
                interval: Duration::from_millis(u64::from(level) * 20),
            })),
            15 => now += Duration::from_millis(u64::from(level) * 100),
            _ => {
                let level = (what & 0x10 != 0).then_some(level);
                let verdict = speakers.goes_on(now, producer, level);
                let loudest: Vec<u32> = speakers.loudest().collect();
                assert!(loudest.len() <= count.clamp(1, MAX_LOUDEST), "more than asked for");
                let is_limited = !loudest.is_empty();
                let is_among = loudest.contains(&producer) || speakers.dominant() == Some(producer);
                assert!(is_among || !is_limited || !verdict.goes_on(), "who is not loud went on");
            }
        }
        now += Duration::from_millis(u64::from(later));
        speakers.handle_timeout(now);
        assert!(speakers.poll_timeout().is_none_or(|due| due > now), "law 2");
        while let Some(event) = speakers.poll_event() {
            if let Event::Volumes(list) = event {
                assert!(!list.is_empty(), "silence is told otherwise");
                assert!(
                    list.windows(2).all(|pair| pair[0].level >= pair[1].level),
                    "loudest first"
                );
            }
        }
    }
}
