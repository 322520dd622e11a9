//! What crosses from one router to another: two endpoints with a connection between, somebody who sends simulcast to the first, and people
//! behind ways of different width who get it of the second.

mod pair;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antiphon::peer_connection::Datagram;
use antiphon::router::{ConsumeOptions, Consumer, ProduceOptions, Producer, Router, RouterOptions};
use antiphon::{
    Api, Direction, EncodingId, Error, Event, Frame, Heading, MediaKind, RtcRtpEncodingParameters,
    RtcRtpTransceiverInit, TransceiverId, Wire,
};
use pair::{Joined, exchange, within};
use tokio::time::{MissedTickBehavior, interval};

/// The encodings of the publisher: bytes of each picture, at 25 pictures a second 60, 240 and 960 kbit/s.
const LAYERS: [(&str, usize); 3] = [("q", 300), ("h", 1200), ("f", 4800)];

/// A frame of VP8 as far as its header goes (RFC 6386 §9.1).
fn picture(payload_type: u8, number: u32, key_frame: bool, bytes: usize) -> Frame {
    let [low, high] = (bytes as u16 / 10).to_le_bytes();
    let mut data = vec![u8::from(!key_frame), 0, 0, 0x9d, 0x01, 0x2a, low, high, low, high];
    data.extend(number.to_be_bytes());
    data.resize(bytes, 7);
    Frame::new(payload_type, number * 3600, data)
}

/// A way of so many bits a second, with a queue of a quarter of a second: what does not fit is lost.
struct Narrow {
    rate: u64,
    free_at: Option<Instant>,
    waiting: VecDeque<(Instant, Heading, Datagram)>,
}

impl Narrow {
    fn of(rate: u64) -> Option<Box<dyn Wire>> {
        Some(Box::new(Self {
            rate,
            free_at: None,
            waiting: VecDeque::new(),
        }))
    }
}

impl Wire for Narrow {
    fn take(&mut self, now: Instant, heading: Heading, datagram: Datagram) {
        let Heading::Out = heading else {
            return self.waiting.push_front((now, heading, datagram));
        };
        let begins = self.free_at.map_or(now, |at| at.max(now));
        if begins.saturating_duration_since(now) > Duration::from_millis(250) {
            return;
        }
        let takes = Duration::from_secs_f64(datagram.data.len() as f64 * 8.0 / self.rate as f64);
        self.free_at = Some(begins + takes);
        self.waiting.push_back((begins + takes, heading, datagram));
    }

    fn give(&mut self, now: Instant) -> Option<(Heading, Datagram)> {
        let (at, ..) = self.waiting.front()?;
        if *at > now {
            return None;
        }
        self.waiting
            .pop_front()
            .map(|(_, heading, datagram)| (heading, datagram))
    }

    fn next(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, ..)| *at)
    }
}

fn simulcast(track: &str) -> RtcRtpTransceiverInit {
    RtcRtpTransceiverInit {
        track_id: Some(track.into()),
        send_encodings: LAYERS.map(|(rid, _)| RtcRtpEncodingParameters::layer(rid)).into(),
        ..RtcRtpTransceiverInit::new(Direction::SendOnly)
    }
}

/// Who sends, and what of it was asked for.
struct Publisher {
    link: Joined,
    camera: TransceiverId,
    number: u32,
    asked: Vec<EncodingId>,
    key_frames: usize,
}

impl Publisher {
    /// One picture of each encoding.
    async fn send(&mut self) {
        while let Ok(event) = self.link.told_a.try_recv() {
            if let Event::KeyFrameRequested(encoding) = event {
                self.asked.push(encoding);
            }
        }
        self.number += 1;
        let encodings = self.link.a.encodings(self.camera).await.unwrap();
        for (encoding, (_, bytes)) in encodings.into_iter().zip(LAYERS) {
            let Some(codec) = encoding.codec else { continue };
            let before = self.asked.len();
            self.asked.retain(|asked| *asked != encoding.id);
            let is_key = self.asked.len() < before || self.number == 1;
            self.key_frames += usize::from(is_key);
            let frame = picture(codec.payload_type, self.number, is_key, bytes);
            // Before it is connected, nobody takes it.
            let _ = self.link.a.send_frame(encoding.id, frame).await;
        }
    }
}

struct World {
    near: (Api, Router),
    far: (Api, Router),
    clients: Api,
    publisher: Publisher,
    producer: Producer,
    pipe: Consumer,
    /// Where the pipe comes out.
    out: Producer,
    link: Joined,
}

impl World {
    async fn new() -> Self {
        let clients = Api::builder().loopback(true).build().unwrap();
        let endpoint = || {
            let api = Api::builder().loopback(true).one_port(0).build().unwrap();
            let router = api.router(RouterOptions::default()).unwrap();
            (api, router)
        };
        let (near, far) = (endpoint(), endpoint());
        let link = Joined::new(&clients, &near.0).await;
        let camera = link
            .a
            .add_transceiver(MediaKind::Video, simulcast("camera"))
            .await
            .unwrap();
        exchange(&link.a, &link.b).await;
        let from = link.b.transceivers().await.unwrap()[0].id();
        let producer = near.1.produce(&link.b, from, ProduceOptions::default()).await.unwrap();
        let publisher = Publisher {
            link,
            camera,
            number: 0,
            asked: Vec::new(),
            key_frames: 0,
        };
        let link = Joined::new(&near.0, &far.0).await;
        let across = link
            .a
            .add_transceiver(MediaKind::Video, simulcast("across"))
            .await
            .unwrap();
        let pipe = near.1.pipe(&producer, &link.a, across).await.unwrap();
        exchange(&link.a, &link.b).await;
        let comes = link.b.transceivers().await.unwrap()[0].id();
        let out = far.1.produce(&link.b, comes, ProduceOptions::default()).await.unwrap();
        Self {
            near,
            far,
            clients,
            publisher,
            producer,
            pipe,
            out,
            link,
        }
    }

    /// Somebody at the far router.
    async fn watcher(&self, wire: Option<Box<dyn Wire>>) -> (Joined, Consumer) {
        let joined = Joined::new(&self.far.0, &self.clients).await;
        let to = joined
            .a
            .add_transceiver(MediaKind::Video, RtcRtpTransceiverInit::new(Direction::SendOnly))
            .await
            .unwrap();
        if wire.is_some() {
            joined.a.set_wire(wire).await.unwrap();
        }
        let options = ConsumeOptions::default();
        let consumer = self.far.1.consume(&self.out, &joined.a, to, options).await.unwrap();
        exchange(&joined.a, &joined.b).await;
        (joined, consumer)
    }
}

/// The newest sizes of whole pictures that somebody got.
fn take_sizes(watcher: &mut Joined, sizes: &mut VecDeque<usize>) {
    while let Ok(event) = watcher.told_b.try_recv() {
        if let Event::Frame { frame, .. } = event {
            sizes.push_back(frame.data.len());
            if sizes.len() > 25 {
                sizes.pop_front();
            }
        }
    }
}

#[tokio::test]
async fn each_at_the_far_router_gets_the_layer_that_its_own_way_carries() {
    let mut world = World::new().await;
    let (mut slow, of_slow) = world.watcher(Narrow::of(200_000)).await;
    let (mut fast, of_fast) = world.watcher(None).await;
    let (mut small, mut large) = (VecDeque::new(), VecDeque::new());
    let mut clock = interval(Duration::from_millis(40));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let is_all =
        |sizes: &VecDeque<usize>, place: usize| sizes.len() == 25 && sizes.iter().all(|size| *size == LAYERS[place].1);
    within("the small one for who is slow, the large one for who is fast", async {
        while !(is_all(&small, 0) && is_all(&large, 2)) {
            clock.tick().await;
            world.publisher.send().await;
            take_sizes(&mut slow, &mut small);
            take_sizes(&mut fast, &mut large);
        }
    })
    .await;
    let layer = |stats: antiphon::router::ConsumerStats| stats.layer.map(|layer| layer.encoding);
    assert_eq!(layer(of_slow.stats().await.unwrap()), Some(0));
    assert_eq!(layer(of_fast.stats().await.unwrap()), Some(2));
    // It crosses once, whoever watches.
    let (pipe, came) = (world.pipe.stats().await.unwrap(), world.producer.stats().await.unwrap());
    assert!(pipe.is_pipe && pipe.sent <= came.packets, "{pipe:?}");
    let out = world.out.stats().await.unwrap();
    assert_eq!(out.layers.levels().len(), 3, "{out:?}");
    assert!(matches!(
        world.pipe.set_priority(3).await,
        Err(Error::Router(antiphon::router::RouterError::Pipe))
    ));
    // Nobody watches: the pipe is paused, and what goes on afterwards begins with key frames.
    world.pipe.pause().await.unwrap();
    let paused_at = world.pipe.stats().await.unwrap().sent;
    for _ in 0..5 {
        clock.tick().await;
        world.publisher.send().await;
    }
    assert_eq!(world.pipe.stats().await.unwrap().sent, paused_at);
    let before = world.publisher.key_frames;
    world.pipe.resume().await.unwrap();
    large.clear();
    within("the large one again", async {
        while !is_all(&large, 2) {
            clock.tick().await;
            world.publisher.send().await;
            take_sizes(&mut fast, &mut large);
        }
    })
    .await;
    assert!(world.publisher.key_frames > before);
    // The pipe ends with the connection that it crosses, and so does what comes out of it.
    world.link.b.close().await;
    within("the far producer ends", async {
        while world.out.stats().await.is_ok() || world.pipe.stats().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(world.near.1.dump().await.unwrap().consumers.is_empty());
}
