//! Media that is played when it is due: pictures evenly, sound without a hole, both in step, over links that lose and delay.

mod common;

use std::time::Duration;

use antiphon_media::{
    Config, Event, InboundRtp, Kind, Output, Play, PlayoutFigures, ReceiverId, RemoteSource, SenderId,
};
use common::*;

/// Alice sends sound and pictures to Bob, who plays them.
struct Call {
    pair: Pair,
    senders: [SenderId; 2],
    receivers: [ReceiverId; 2],
    steps: u32,
}

const FRAME: Duration = Duration::from_millis(20);

impl Call {
    fn new(seed: u64, link: Link) -> Self {
        let mut pair = Pair::new(seed, Config::default());
        pair.links = [link; 2];
        let parts = [(Kind::Audio, opus(), "a", 1), (Kind::Video, vp8(true, true), "v", 2)];
        let both = parts.map(|(kind, codec, mid, ssrc)| {
            let source = RemoteSource {
                ssrc: ssrc * 10,
                rtx_ssrc: codec.rtx_payload_type.map(|_| ssrc * 10 + 1),
                fec_ssrc: None,
                layer: None,
            };
            let mut config = receiver(mid, kind, codec.clone(), vec![source]);
            config.output = Output::Playout;
            config.sync_group = Some("call".into());
            let receiver = pair.ends[1].add_receiver(config).unwrap();
            let sender = pair.ends[0]
                .add_sender(pair.now, sender(mid, kind, ssrc * 10, codec))
                .unwrap();
            (sender, receiver)
        });
        Self {
            pair,
            senders: both.map(|both| both.0),
            receivers: both.map(|both| both.1),
            steps: 0,
        }
    }

    /// 20 ms: a frame of sound, and every second time a picture.
    fn step(&mut self) {
        let (now, n) = (self.pair.now, self.steps);
        self.pair.ends[0].send_frame(now, self.senders[0], sound(n)).unwrap();
        if n.is_multiple_of(2) {
            let mut frame = picture(n / 2, 6000, n == 0);
            frame.timestamp = n * 1800;
            self.pair.ends[0].send_frame(now, self.senders[1], frame).unwrap();
        }
        self.steps += 1;
        self.pair.run(FRAME);
    }

    fn run(&mut self, seconds: u32) {
        for _ in 0..seconds * 50 {
            self.step();
        }
    }

    fn figures(&self, which: usize) -> PlayoutFigures {
        self.inbound(which).playout
    }

    fn inbound(&self, which: usize) -> InboundRtp {
        let stats = self.pair.ends[1].stats();
        let mut of = stats.inbound.into_iter();
        of.find(|inbound| inbound.receiver == self.receivers[which]).unwrap()
    }
}

#[test]
fn a_clean_call_is_even_and_without_holes() {
    let link = Link {
        delay: 25 * MS,
        ..Link::default()
    };
    let mut call = Call::new(1, link);
    call.run(20);
    let sounds = call.pair.events[1].iter().filter_map(|event| match event {
        Event::Sound { sound, .. } => Some(sound.clone()),
        _ => None,
    });
    assert!(sounds.clone().all(|sound| matches!(sound.play, Play::Frame { .. })));
    let heard: Duration = sounds.map(|sound| sound.duration).sum();
    assert!(heard > 19_900 * MS && heard <= 20_000 * MS, "{heard:?}");
    let (sound, pictures) = (call.figures(0), call.figures(1));
    assert_eq!((sound.concealed_samples, pictures.freeze_count), (0, 0));
    assert!(sound.target_delay <= 30 * MS && pictures.target_delay <= 30 * MS);
    // The beginning is careful, and that is squeezed out.
    assert!(sound.removed_samples_for_acceleration > 1000);
    assert_eq!(sound.inserted_samples_for_deceleration, 0);
    assert_eq!(pictures.jitter_buffer_emitted_count, 499);
    assert_eq!(
        (call.inbound(1).frames.dropped, call.inbound(0).packets_discarded),
        (0, 0)
    );
}
