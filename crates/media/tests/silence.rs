//! Pauses: comfort noise is a frame of its own payload type (RFC 3389), and silence that is not sent is no loss.

mod common;

use std::time::Duration;

use antiphon_media::{Codec, Config, Feedback, Frame, Kind};
use common::*;

fn codec(payload_type: u8, name: &str) -> Codec {
    Codec {
        payload_type,
        name: name.into(),
        clock_rate: 8000,
        channels: 1,
        feedback: Feedback::default(),
        ..opus()
    }
}

#[test]
fn noise_comes_as_frames_between_the_sounds_and_a_pause_is_no_loss() {
    let mut pair = Pair::new(1, Config::default());
    let mut config = sender("a", Kind::Audio, 2000, codec(0, "PCMU"));
    config.codecs.push(codec(13, "CN"));
    let id = pair.ends[0].add_sender(pair.now, config).unwrap();
    let mut config = receiver("a", Kind::Audio, codec(0, "PCMU"), vec![]);
    config.codecs.push(codec(13, "CN"));
    pair.ends[1].add_receiver(config).unwrap();

    let mut sent = Vec::new();
    for number in 0..50u32 {
        // Frames 10 to 29 are a pause: described once, at its beginning.
        let frame = match number {
            10 => Some(Frame::new(13, number * 160, vec![40, 127, 12])),
            11..30 => None,
            _ => Some(Frame::new(0, number * 160, vec![number as u8; 160])),
        };
        if let Some(frame) = frame {
            pair.ends[0].send_frame(pair.now, id, frame.clone()).unwrap();
            sent.push(frame);
        }
        pair.run(20 * MS);
    }
    pair.run(Duration::from_secs(1));
    let came: Vec<_> = pair.frames().collect();
    assert_eq!(came.len(), sent.len());
    let offset = came[0].0.timestamp;
    for ((got, discontinuity), sent) in came.iter().zip(&sent) {
        assert!(!discontinuity);
        assert_eq!((got.payload_type, &got.data), (sent.payload_type, &sent.data));
        assert_eq!(got.timestamp.wrapping_sub(offset), sent.timestamp);
    }
    let inbound = &pair.ends[1].stats().inbound[0];
    assert_eq!(
        (inbound.packets_lost, inbound.frames.dropped, inbound.packets_discarded),
        (0, 0, 0)
    );
    assert_eq!(inbound.packets_received, sent.len() as u64);
}
