//! What a router sends and gets without a peer: from one driver to another, from a program and to it.

mod pair;

use std::time::Instant;

use antiphon::peer_connection::Packet;
use antiphon::router::{Closed, Format, Router, RouterError, RouterEvent, RouterOptions};
use antiphon::{Api, Codec, Error, MediaKind, Rid};
use pair::within;

const VP8: u8 = 96;

fn format(rids: &[&str]) -> Format {
    let codec = Codec {
        payload_type: VP8,
        name: "VP8".into(),
        clock_rate: 90_000,
        channels: None,
        parameters: String::new(),
        sender_parameters: String::new(),
        feedback: Vec::new(),
        rtx: None,
    };
    Format {
        kind: MediaKind::Video,
        codecs: vec![codec],
        rids: rids.iter().map(|rid| Rid::new(rid.as_bytes()).unwrap()).collect(),
    }
}

/// A picture of one packet.
fn picture(ssrc: u32, sequence: u64, key_frame: bool) -> Packet {
    Packet {
        ssrc,
        rid: None,
        payload_type: VP8,
        sequence,
        timestamp: sequence as u32 * 3000,
        marker: true,
        payload: vec![
            0x10,
            u8::from(!key_frame),
            0,
            0,
            0x9d,
            0x01,
            0x2a,
            0x80,
            0x02,
            0x68,
            0x01,
        ]
        .into(),
        front: None,
        key_frame,
        extensions: Default::default(),
        contributors: None,
        received: Instant::now(),
        captured: None,
    }
}

fn router() -> (Api, Router) {
    let api = Api::builder().loopback(true).one_port(0).build().unwrap();
    let router = api.router(RouterOptions::default()).unwrap();
    (api, router)
}

#[tokio::test]
async fn packets_and_requests_cross_from_driver_to_driver() {
    let ((_one, here), (_two, there)) = (router(), router());
    let mut source = here.produce_direct(format(&[])).await.unwrap();
    let crossed = here.pipe_to(source.producer(), &there).await.unwrap();
    let mut got = there.consume_direct(&crossed).await.unwrap();
    for number in 0..500 {
        source.send(picture(7, number, number == 0));
        if number % 50 == 49 {
            // As many as wait are none too many.
            for expected in number - 49..=number {
                let packet = within("a packet", got.next()).await.unwrap();
                assert_eq!((packet.sequence, packet.ssrc, packet.payload_type), (expected, 7, VP8));
            }
        }
    }
    assert_eq!(got.format(), Some(&format(&[])));
    assert_eq!((got.dropped(), source.dropped()), (0, 0));
    // Twice at once is asked for once.
    got.request_key_frame(7);
    got.request_key_frame(7);
    let asked = within("a request", source.key_frame_requested()).await;
    assert_eq!(asked, Some(7));
    let (stats, came) = (crossed.stats().await.unwrap(), source.producer().stats().await.unwrap());
    assert_eq!((stats.packets, came.packets, came.key_frames_asked), (500, 500, 1));
    // Another format crosses before what comes of it.
    source.set_format(format(&["a", "b"]));
    source.send(picture(8, 9, true));
    let packet = within("a packet", got.next()).await.unwrap();
    assert_eq!((packet.ssrc, got.format()), (8, Some(&format(&["a", "b"]))));
    let _ = source;
}

#[tokio::test]
async fn each_end_is_closed_with_the_other() {
    let ((_one, here), (_two, there)) = (router(), router());
    let mut events = there.events();
    let source = here.produce_direct(format(&[])).await.unwrap();
    // What comes there ends with what goes in here.
    let crossed = here.pipe_to(source.producer(), &there).await.unwrap();
    let mut got = there.consume_direct(&crossed).await.unwrap();
    source.send(picture(7, 1, true));
    drop(source);
    assert_eq!(
        within("what came first", got.next())
            .await
            .map(|packet| packet.sequence),
        Some(1)
    );
    assert!(within("the end", got.next()).await.is_none());
    let ended = loop {
        if let RouterEvent::ProducerClosed { producer, cause } = within("an event", events.next()).await.unwrap() {
            break (producer, cause);
        }
    };
    assert_eq!(ended, (crossed.id(), Closed::Asked));
    drop(crossed);
    // And the other way round.
    let mut source = here.produce_direct(format(&[])).await.unwrap();
    let crossed = here.pipe_to(source.producer(), &there).await.unwrap();
    assert_eq!(here.dump().await.unwrap().consumers.len(), 1);
    crossed.close().await.unwrap();
    let gone = async |router: &Router| {
        within("nothing crosses", async {
            while !router.dump().await.unwrap().consumers.is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    gone(&here).await;
    drop(crossed);
    // A router that ends takes its end along. It ends with the last handle that has to do with it.
    let crossed = here.pipe_to(source.producer(), &there).await.unwrap();
    drop((there, crossed, events, got));
    gone(&here).await;
    let closed = source.producer().clone();
    closed.close().await.unwrap();
    assert!(within("the end", source.key_frame_requested()).await.is_none());
    assert!(source.is_closed());
    let again = here.consume_direct(&closed).await;
    assert!(matches!(again, Err(Error::Router(RouterError::NoProducer))));
}

#[tokio::test]
async fn a_driver_ends_though_something_crosses_to_it() {
    let ((one, here), (two, there)) = (router(), router());
    let source = here.produce_direct(format(&[])).await.unwrap();
    let _ = here.pipe_to(source.producer(), &there).await.unwrap();
    drop((two, there));
    within("nothing crosses", async {
        while !here.dump().await.unwrap().consumers.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Whoever sends to a driver that is gone is not told, and keeps nothing.
    drop((one, here));
    for number in 0..5000 {
        source.send(picture(7, number, true));
    }
}

#[tokio::test]
async fn the_oldest_go_where_nobody_fetches() {
    let (_api, router) = router();
    let source = router.produce_direct(format(&[])).await.unwrap();
    let mut got = router.consume_direct(source.producer()).await.unwrap();
    for number in 0..3000 {
        source.send(picture(7, number, true));
        if number % 500 == 499 {
            // The driver takes them over.
            within("they come to the router", async {
                while source.producer().stats().await.unwrap().packets <= number {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }
    let first = within("a packet", got.next()).await.unwrap();
    assert_eq!(first.sequence, got.dropped());
    assert_eq!((source.dropped(), got.dropped()), (0, 3000 - 1024));
}
