//! A router over loopback sockets, by the async handles: a peer that sends, peers that get it, and a driver that hosts all of them.

mod pair;

use antiphon::router::{
    Closed, ConsumeOptions, Consumer, ProduceOptions, Producer, Router, RouterError, RouterEvent, RouterOptions,
};
use antiphon::{
    Api, Codec, Direction, Error, Event, Frame, MediaKind, RtcConfiguration, RtcRtpTransceiverInit, TransceiverId,
};
use pair::{Joined, exchange, within};

/// Packets of a picture.
const PACKETS: u64 = 3;

/// A frame of VP8 as far as its header goes (RFC 6386 §9.1), of several packets.
fn picture(payload_type: u8, number: u32, key_frame: bool) -> Frame {
    let mut data = vec![u8::from(!key_frame), 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
    data.extend(number.to_be_bytes());
    data.resize(3000, 7);
    Frame::new(payload_type, number * 3000, data)
}

fn number_of(frame: &Frame) -> u32 {
    u32::from_be_bytes(frame.data[10..14].try_into().unwrap())
}

struct Room {
    router: Router,
    api: Api,
    clients: Api,
    publisher: Joined,
    camera: TransceiverId,
    producer: Producer,
    number: u32,
    key_frame: bool,
}

impl Room {
    async fn new() -> Self {
        let clients = Api::builder().loopback(true).build().unwrap();
        let api = Api::builder().loopback(true).one_port(0).build().unwrap();
        let router = api.router(RouterOptions::default()).unwrap();
        let publisher = Joined::new(&clients, &api).await;
        let init = RtcRtpTransceiverInit {
            track_id: Some("camera".into()),
            ..RtcRtpTransceiverInit::new(Direction::SendOnly)
        };
        let camera = publisher.a.add_transceiver(MediaKind::Video, init).await.unwrap();
        exchange(&publisher.a, &publisher.b).await;
        let from = publisher.b.transceivers().await.unwrap()[0].id();
        let producer = router
            .produce(&publisher.b, from, ProduceOptions::default())
            .await
            .unwrap();
        Self {
            router,
            api,
            clients,
            publisher,
            camera,
            producer,
            number: 0,
            key_frame: true,
        }
    }

    /// Somebody who gets what the publisher sends.
    async fn watcher(&self, options: ConsumeOptions) -> (Joined, Consumer) {
        let joined = Joined::new(&self.clients, &self.api).await;
        let init = RtcRtpTransceiverInit::new(Direction::SendOnly);
        let to = joined.b.add_transceiver(MediaKind::Video, init).await.unwrap();
        // Before anything is negotiated: the router hears of that by itself.
        let consumer = self
            .router
            .consume(&self.producer, &joined.b, to, options)
            .await
            .unwrap();
        exchange(&joined.b, &joined.a).await;
        (joined, consumer)
    }

    /// The publisher sends a picture, and waits until the router has it: a key frame first, and when it is asked for one. Who sends as
    /// fast as the machine can fills every queue on the way, and what then comes of a picture is chance.
    async fn send(&mut self) {
        while let Ok(event) = self.publisher.told_a.try_recv() {
            self.key_frame |= matches!(event, Event::KeyFrameRequested(_));
        }
        let codecs: Vec<Codec> = self
            .publisher
            .a
            .encodings(self.camera)
            .await
            .unwrap()
            .into_iter()
            .filter_map(|encoding| encoding.codec)
            .collect();
        self.number += 1;
        let frame = picture(codecs[0].payload_type, self.number, self.key_frame);
        let before = self.producer.stats().await.unwrap().packets;
        if self.publisher.a.send_frame(self.camera, frame).await.is_ok() {
            self.key_frame = false;
            within("a picture comes to the router", async {
                while self.producer.stats().await.unwrap().packets < before + PACKETS {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }

    /// Sends pictures until `watcher` has got so many more. Gives all that it got.
    async fn watch(&mut self, watcher: &mut Joined, count: usize) -> Vec<Frame> {
        let mut got: Vec<Frame> = Vec::new();
        within("pictures", async {
            while got.len() < count {
                self.send().await;
                // The driver of the watcher has its turns meanwhile; a picture that is lost is followed by others.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                while let Ok(event) = watcher.told_a.try_recv() {
                    if let Event::Frame { frame, .. } = event {
                        got.push(frame);
                    }
                }
            }
        })
        .await;
        got
    }

    /// Sends until so many more packets have come to the producer.
    async fn send_packets(&mut self, count: u64) {
        let before = self.producer.stats().await.unwrap().packets;
        within("packets", async {
            while self.producer.stats().await.unwrap().packets < before + count {
                self.send().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn what_one_peer_sends_goes_to_all_who_consume_it() {
    let mut room = Room::new().await;
    let mut watchers = Vec::new();
    for _ in 0..3 {
        watchers.push(room.watcher(ConsumeOptions::default()).await);
    }
    for (watcher, consumer) in &mut watchers {
        let first = room.watch(watcher, 5).await.remove(0);
        assert_eq!(first.data.len(), 3000);
        assert!(first.key_frame, "it begins with a key frame");
        let stats = consumer.stats().await.unwrap();
        assert!(stats.is_on && stats.sent >= 15, "{stats:?}");
        assert_eq!(stats.refused, 0);
    }
    let dump = room.router.dump().await.unwrap();
    assert_eq!((dump.peers, dump.producers.len(), dump.consumers.len()), (4, 1, 3));
    // The application of the hosting side is not bothered with what goes on.
    while let Ok(event) = room.publisher.told_b.try_recv() {
        assert!(
            !matches!(event, Event::Packet { .. } | Event::Frame { .. }),
            "{event:?}"
        );
    }
    for (watcher, _) in &mut watchers {
        while let Ok(event) = watcher.told_b.try_recv() {
            assert!(
                !matches!(event, Event::KeyFrameRequested(_) | Event::TargetBitrate { .. }),
                "{event:?}"
            );
        }
    }
}

#[tokio::test]
async fn who_is_paused_gets_nothing_and_goes_on_with_a_key_frame() {
    let mut room = Room::new().await;
    let mut events = room.router.events();
    let paused = ConsumeOptions {
        paused: true,
        ..ConsumeOptions::default()
    };
    let (mut one, first) = room.watcher(ConsumeOptions::default()).await;
    let (mut two, second) = room.watcher(paused).await;
    room.watch(&mut one, 3).await;
    assert_eq!(second.stats().await.unwrap().sent, 0, "it began paused");
    second.resume().await.unwrap();
    assert!(room.watch(&mut two, 3).await[0].key_frame);

    room.producer.pause().await.unwrap();
    let paused_at = room.number;
    let before = [first.stats().await.unwrap().sent, second.stats().await.unwrap().sent];
    room.send_packets(9).await;
    let after = [first.stats().await.unwrap().sent, second.stats().await.unwrap().sent];
    assert_eq!(before, after, "nothing goes on");
    room.producer.resume().await.unwrap();
    let next = loop {
        let mut frames = room.watch(&mut one, 1).await.into_iter();
        // What was on its way when it was paused comes first.
        if let Some(frame) = frames.find(|frame| number_of(frame) > paused_at) {
            break frame;
        }
    };
    assert!(next.key_frame);
    let mut told = Vec::new();
    while told.len() < 3 {
        match within("events", events.next()).await.unwrap() {
            RouterEvent::LayerChanged { .. }
            | RouterEvent::ProducerScore { .. }
            | RouterEvent::ConsumerScore { .. } => {}
            other => told.push(other),
        }
    }
    assert_eq!(
        told,
        [
            RouterEvent::ConsumerResumed(second.id()),
            RouterEvent::ProducerPaused(room.producer.id()),
            RouterEvent::ProducerResumed(room.producer.id()),
        ]
    );
}

#[tokio::test]
async fn what_is_closed_or_gone_is_told() {
    let mut room = Room::new().await;
    let mut events = room.router.events();
    let (mut one, first) = room.watcher(ConsumeOptions::default()).await;
    let (two, second) = room.watcher(ConsumeOptions::default()).await;
    let (_three, third) = room.watcher(ConsumeOptions::default()).await;
    room.watch(&mut one, 2).await;
    first.close().await.unwrap();
    assert!(matches!(
        first.stats().await,
        Err(Error::Router(RouterError::NoConsumer))
    ));
    two.b.close().await;
    let closed = async |events: &mut antiphon::router::RouterEvents| loop {
        match within("events", events.next()).await.unwrap() {
            RouterEvent::LayerChanged { .. }
            | RouterEvent::ProducerScore { .. }
            | RouterEvent::ConsumerScore { .. } => {}
            other => return other,
        }
    };
    let gone = |consumer: &Consumer, cause| RouterEvent::ConsumerClosed {
        consumer: consumer.id(),
        cause,
    };
    assert_eq!(closed(&mut events).await, gone(&first, Closed::Asked));
    assert_eq!(closed(&mut events).await, gone(&second, Closed::Peer));
    room.producer.close().await.unwrap();
    assert_eq!(
        closed(&mut events).await,
        RouterEvent::ProducerClosed {
            producer: room.producer.id(),
            cause: Closed::Asked,
        }
    );
    assert_eq!(closed(&mut events).await, gone(&third, Closed::Producer));
    let again = room.router.consume(
        room.producer.id(),
        &one.b,
        first_sender(&one).await,
        ConsumeOptions::default(),
    );
    assert!(matches!(again.await, Err(Error::Router(RouterError::NoProducer))));
}

async fn first_sender(joined: &Joined) -> TransceiverId {
    joined.b.transceivers().await.unwrap()[0].id()
}

#[tokio::test]
async fn a_router_is_of_one_port_and_of_its_own_peers() {
    let many = Api::builder().loopback(true).build().unwrap();
    assert!(matches!(many.router(RouterOptions::default()), Err(Error::NotOnePort)));
    let room = Room::new().await;
    let stranger = many.peer_connection(RtcConfiguration::default()).await.unwrap();
    let init = RtcRtpTransceiverInit::new(Direction::SendOnly);
    let to = stranger.add_transceiver(MediaKind::Video, init).await.unwrap();
    let consumed = room
        .router
        .consume(&room.producer, &stranger, to, ConsumeOptions::default());
    assert!(matches!(consumed.await, Err(Error::OtherApi)));
    let from = room.publisher.b.transceivers().await.unwrap()[0].id();
    let again = room.router.produce(&room.publisher.b, from, ProduceOptions::default());
    assert!(matches!(again.await, Err(Error::Router(RouterError::ProducerExists))));
}

#[tokio::test]
async fn what_receivers_report_becomes_the_score_of_consumers() {
    let mut room = Room::new().await;
    let (mut watcher, consumer) = room.watcher(ConsumeOptions::default()).await;
    assert_eq!(consumer.stats().await.unwrap().score, None, "nobody has reported");
    within("scores of both", async {
        loop {
            room.watch(&mut watcher, 1).await;
            let (from, to) = (room.producer.stats().await.unwrap(), consumer.stats().await.unwrap());
            if to.score.is_some() && from.scores.iter().any(Option::is_some) {
                break;
            }
        }
    })
    .await;
    // Whoever sends and whoever reports: nothing is lost but what full queues of this machine lose.
    let score = consumer.stats().await.unwrap().score.unwrap();
    assert!(score > 0, "{score}");
}
