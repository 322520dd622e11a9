//! What a program puts between a peer and its sockets.

mod pair;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use antiphon::peer_connection::Datagram;
use antiphon::{Heading, Message, RtcConfiguration, Wire};

use pair::{connected, one_port, within};

/// Counts what passes, and loses everything while it is cut.
#[derive(Default)]
struct Seen {
    out: AtomicU64,
    inward: AtomicU64,
    cut: AtomicBool,
}

struct Glass {
    seen: Arc<Seen>,
    waiting: VecDeque<(Instant, Heading, Datagram)>,
}

impl Glass {
    fn over(seen: &Arc<Seen>) -> Option<Box<dyn Wire>> {
        Some(Box::new(Self {
            seen: seen.clone(),
            waiting: VecDeque::new(),
        }))
    }
}

impl Wire for Glass {
    fn take(&mut self, now: Instant, heading: Heading, datagram: Datagram) {
        if self.seen.cut.load(Ordering::Relaxed) {
            return;
        }
        let count = match heading {
            Heading::Out => &self.seen.out,
            Heading::In => &self.seen.inward,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.waiting.push_back((now, heading, datagram));
    }

    fn give(&mut self, _now: Instant) -> Option<(Heading, Datagram)> {
        self.waiting
            .pop_front()
            .map(|(_, heading, datagram)| (heading, datagram))
    }

    fn next(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, ..)| *at)
    }
}

#[tokio::test]
async fn all_datagrams_go_over_a_wire_and_none_when_it_is_cut() {
    let (near, mut far, [alice, _bob]) = connected(RtcConfiguration::default()).await;
    let seen = Arc::new(Seen::default());
    alice.set_wire(Glass::over(&seen)).await.unwrap();
    near.send(Message::text("over the wire")).await.unwrap();
    let heard = within("the message", far.recv()).await.unwrap();
    assert_eq!(&heard.data[..], b"over the wire");
    far.send(Message::text("and back")).await.unwrap();
    let mut near = near;
    within("the answer", near.recv()).await.unwrap();
    assert!(seen.out.load(Ordering::Relaxed) > 0 && seen.inward.load(Ordering::Relaxed) > 0);

    // Nothing comes through while it is cut; all of it does when the wire is taken away, for SCTP sends it again.
    seen.cut.store(true, Ordering::Relaxed);
    near.send(Message::text("later")).await.unwrap();
    let before = (seen.out.load(Ordering::Relaxed), seen.inward.load(Ordering::Relaxed));
    alice.set_wire(None).await.unwrap();
    let heard = within("the late message", far.recv()).await.unwrap();
    assert_eq!(&heard.data[..], b"later");
    let after = (seen.out.load(Ordering::Relaxed), seen.inward.load(Ordering::Relaxed));
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_connection_comes_to_stand_over_wires_on_a_shared_port() {
    let seen = Arc::new(Seen::default());
    let (near, mut far, _handles) = one_port(&|| Glass::over(&seen)).await;
    near.send(Message::text("hello")).await.unwrap();
    within("the message", far.recv()).await.unwrap();
    assert!(seen.inward.load(Ordering::Relaxed) > 0);
}
