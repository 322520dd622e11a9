//! Layers of a publisher that sends anything, to consumers that wish anything.

use std::collections::BTreeSet;
use std::time::Duration;

use antiphon_media::extension::Kind;
use antiphon_media::{Packet, Rid};
use antiphon_sansio::{Bytes, Reader};
use antiphon_sfu::{Consumer, ConsumerConfig, Descriptors, Producer, Wish};

const RIDS: [&str; 5] = ["a", "b", "c", "d", "e"];
const FORMATS: [(u8, &str); 5] = [(96, "VP8"), (98, "VP9"), (45, "AV1"), (102, "H264"), (7, "other")];

/// One packet: which source and format, how far on its numbers are, its payload and descriptor, and what a consumer
/// wishes now.
fn packet(input: &mut Reader<'_>, now: std::time::Instant, newest: &mut [u64; 5]) -> Option<(Packet, Wish, Duration)> {
    let which = input.u8().ok()?;
    let step = i64::from(input.u8().ok()? as i8);
    let flags = input.u8().ok()?;
    let timestamp = u32::from(input.u16().ok()?) * 1000;
    let lens = input.u8().ok()?;
    let payload = input.take(usize::from(lens >> 3)).ok()?;
    let descriptor = input.take(usize::from(lens & 7) * 3).ok()?;
    let source = usize::from(which) % RIDS.len();
    let number = newest.get_mut(source)?;
    *number = number.wrapping_add_signed(if flags & 0x40 != 0 {
        step * 700
    } else {
        step.signum() + step / 32
    });
    let mut packet = Packet {
        ssrc: source as u32,
        rid: (flags & 1 != 0).then(|| Rid::new(RIDS[source].as_bytes())).flatten(),
        payload_type: FORMATS[usize::from(flags >> 1) % FORMATS.len()].0,
        sequence: *number,
        timestamp,
        marker: flags & 0x10 != 0,
        payload: Bytes::copy_from_slice(payload),
        front: None,
        key_frame: false,
        extensions: Default::default(),
        contributors: None,
        received: now,
        captured: (flags & 0x20 != 0).then(|| now + Duration::from_millis(step.unsigned_abs())),
    };
    packet.extensions.others.set(Kind::DependencyDescriptor, descriptor);
    let wish = Wish {
        level: which >> 5,
        temporal: which >> 3 & 3,
        bitrate: (flags & 0x80 != 0).then_some(u64::from(lens) * 4000),
    };
    Some((packet, wish, Duration::from_millis(u64::from(lens & 0x3f))))
}

/// A sequence number is given once, for one packet of one source; the front of a payload takes no more of it than there
/// is.
pub(super) fn layers(data: &[u8]) {
    let mut now = antiphon_netsim::start();
    let rids: Vec<Rid> = RIDS.iter().take(2).filter_map(|rid| Rid::new(rid.as_bytes())).collect();
    let mut producer = Producer::new(FORMATS, &rids);
    let mut consumers =
        [Descriptors::Never, Descriptors::Always].map(|descriptors| Consumer::new(ConsumerConfig { descriptors }));
    let mut given = [const { BTreeSet::new() }; 2];
    let mut shown = BTreeSet::new();
    let mut newest = [1 << 40; 5];
    let mut input = Reader::new(data);
    while let Some((packet, wish, step)) = packet(&mut input, now, &mut newest) {
        let is_first = shown.insert((packet.ssrc, packet.sequence));
        let facts = producer.take(now, &packet);
        for (consumer, given) in consumers.iter_mut().zip(&mut given) {
            consumer.set_wish(wish);
            let Some(facts) = &facts else { continue };
            if let Some(written) = consumer.take(now, &packet, facts, producer.layers()) {
                let replaced = written.front.map_or(0, |front| front.replaced());
                assert!(replaced <= written.payload.len(), "a front longer than its payload");
                let is_new = given.insert(written.sequence);
                assert!(is_new || !is_first, "a number was given to two packets");
            }
            if let Some(encoding) = consumer.poll_key_frame(now) {
                producer.want_key_frame(encoding);
            }
        }
        let _ = producer.poll_key_frame(now);
        now += step;
    }
}
