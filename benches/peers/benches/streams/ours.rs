//! Antiphon: a task that gives the packets, and one that takes what came.

use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon::{Event, MediaKind, Packet, PeerHandle, TransceiverId};
use antiphon_benches::fan::{configuration, next, packet, send_only};
use antiphon_benches::meeting::{connect, loopback};
use tokio::sync::Mutex;
use tokio::time::sleep_until;

use super::{Received, STREAMS, Schedule, payload};

pub struct Pair {
    sender: PeerHandle,
    transceivers: Vec<TransceiverId>,
    /// The newest of each stream.
    packets: Mutex<Vec<Packet>>,
    received: Arc<Received>,
    _receiver: PeerHandle,
}

impl Pair {
    pub async fn connect(gathers: bool) -> Self {
        let api = loopback().build().expect("an api");
        let mut settings = configuration();
        if !gathers {
            settings.settings.media.gather = Duration::ZERO;
        }
        let mut sender = api.peer_connection(settings).await.expect("a peer");
        let mut receiver = api.peer_connection(configuration()).await.expect("a peer");
        let mut transceivers = Vec::new();
        for _ in 0..STREAMS {
            let transceiver = sender.add_transceiver(MediaKind::Video, send_only()).await;
            transceivers.push(transceiver.expect("a transceiver"));
        }
        connect(&mut sender, &mut receiver).await.expect("they connect");
        let handles = [sender.handle(), receiver.handle()];
        tokio::spawn(async move { while sender.next_event().await.is_some() {} });
        let received = Arc::new(Received::default());
        let counts = received.clone();
        tokio::spawn(async move {
            while let Some(event) = receiver.next_event().await {
                if let Event::Packet { packet, .. } = event {
                    counts.note(&packet.payload);
                }
            }
        });
        let [sender, receiver] = handles;
        let payload_type = sender.payload_type(transceivers[0], "VP8").await;
        let first = packet(payload_type.expect("a peer").expect("VP8"), Instant::now());
        Self {
            sender,
            transceivers,
            packets: Mutex::new(vec![first; STREAMS]),
            received,
            _receiver: receiver,
        }
    }

    pub fn received(&self) -> &Received {
        &self.received
    }

    pub async fn send(&self, window: Duration) -> u64 {
        let mut packets = self.packets.lock().await;
        let (mut schedule, mut sent) = (Schedule::new(window), 0);
        while let Some(at) = schedule.next() {
            sleep_until(at.into()).await;
            let now = Instant::now();
            while let Some(stream) = schedule.take_due(now) {
                let packet = &mut packets[stream];
                next(packet, now);
                packet.payload = payload().into();
                sent += u64::from(self.sender.forward_rtp(self.transceivers[stream], packet.clone()));
            }
        }
        sent
    }
}
