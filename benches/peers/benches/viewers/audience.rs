//! The publisher and the viewers, which are ours whoever the server is.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use antiphon::{
    Api, Event, MediaKind, MediaStreamTrack, Packet, PeerConnection, PeerHandle, RtcPeerConnectionState,
    RtcSessionDescription, TransceiverId,
};
use antiphon_benches::fan::{PAYLOAD, configuration, packet};
use antiphon_benches::meeting::loopback;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Whoever has not connected by then has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// The publisher has news so often: what was due in between it sends at once, as those of a frame come.
const TICK: Duration = Duration::from_millis(5);
/// From which packets count the time at which they were made.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A payload that says when it was made, behind a descriptor of VP8 (RFC 7741 §4.2) and what a key frame begins with.
fn payload(number: u64, first: bool, key: bool) -> Vec<u8> {
    let frame = number as u16 & 0x7fff;
    let [high, low] = (0x8000 | frame).to_be_bytes();
    let mut payload = vec![0x80 | if first { 0x10 } else { 0 }, 0x80, high, low];
    payload.extend([u8::from(!key), 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
    payload.extend((EPOCH.elapsed().as_nanos() as u64).to_be_bytes());
    payload.resize(PAYLOAD, 0x55);
    payload
}

/// How late a packet comes, in microseconds.
fn lateness(payload: &[u8]) -> Option<f64> {
    let made: &[u8; 8] = payload.get(14..)?.first_chunk()?;
    Some((EPOCH.elapsed().as_nanos() as u64).checked_sub(u64::from_be_bytes(*made))? as f64 / 1e3)
}

/// The one that sends.
struct Publisher {
    peer: PeerHandle,
    transceiver: TransceiverId,
    packet: Packet,
    number: u64,
}

/// The publisher and the viewers of one server.
pub struct Audience {
    runtime: Runtime,
    api: Api,
    publisher: Option<Publisher>,
    late: Arc<Mutex<Vec<f64>>>,
    connected: (mpsc::UnboundedSender<()>, mpsc::UnboundedReceiver<()>),
    handles: Vec<PeerHandle>,
}

impl Audience {
    pub fn new() -> Self {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
        let api = {
            let _inside = runtime.enter();
            loopback().build().expect("an api")
        };
        LazyLock::force(&EPOCH);
        Self {
            runtime,
            api,
            publisher: None,
            late: Arc::default(),
            connected: mpsc::unbounded_channel(),
            handles: Vec::new(),
        }
    }

    /// Answers an offer: as the publisher, or as another viewer.
    pub fn answer(&mut self, offer: String, publishes: bool) -> String {
        let api = self.api.clone();
        let made = self.runtime.block_on(async {
            let peer = api.peer_connection(configuration()).await.expect("a peer");
            let mut transceiver = None;
            if publishes {
                let track = MediaStreamTrack {
                    kind: MediaKind::Video,
                    id: "camera".to_owned(),
                    stream_ids: vec!["stream".to_owned()],
                };
                transceiver = Some(peer.add_track(track).await.expect("a track"));
            }
            let offer = RtcSessionDescription::offer(offer);
            peer.set_remote_description(offer).await.expect("the offer is taken");
            peer.set_local_description(None).await.expect("an answer");
            let answer = peer.local_description().await.expect("a peer").expect("it was just set");
            if let Some(transceiver) = transceiver {
                let payload_type = peer.payload_type(transceiver, "VP8").await;
                let mut packet = packet(payload_type.expect("a peer").expect("VP8"), Instant::now());
                packet.sequence = 0;
                self.publisher = Some(Publisher {
                    peer: peer.handle(),
                    transceiver,
                    packet,
                    number: 0,
                });
            }
            (peer, answer)
        });
        let (peer, answer) = made;
        self.handles.push(peer.handle());
        self.runtime
            .spawn(listen(peer, self.late.clone(), self.connected.0.clone()));
        answer.sdp
    }

    /// Waits until the one that answered last is connected.
    pub fn connected(&mut self) {
        let heard = self.runtime.block_on(async { timeout(PATIENCE, self.connected.1.recv()).await });
        heard.expect("it connects").expect("we hold a sender");
    }

    /// Has so many packets sent in a second, ten to a frame. How many that were.
    pub fn publish(&mut self, rate: f64, window: Duration) -> u64 {
        let mut publisher = self.publisher.take().expect("it came first");
        let publishing = self.runtime.spawn(async move {
            let sent = publisher.publish(rate, window).await;
            (publisher, sent)
        });
        let (publisher, sent) = self.runtime.block_on(publishing).expect("nobody panics");
        self.publisher = Some(publisher);
        sent
    }

    /// How late those packets came that have come since.
    pub fn take(&self) -> Vec<f64> {
        std::mem::take(&mut *self.late.lock().expect("nobody panics"))
    }
}

impl Publisher {
    async fn publish(&mut self, rate: f64, window: Duration) -> u64 {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (start, mut sent) = (Instant::now(), 0);
        while start.elapsed() < window {
            tick.tick().await;
            let now = Instant::now();
            let due = (start.elapsed().as_secs_f64() * rate) as u64;
            while sent < due {
                let (frame, place) = (self.number / 10, self.number % 10);
                // Whoever comes or asks begins soon.
                let key = frame.is_multiple_of(20);
                let packet = &mut self.packet;
                packet.sequence += 1;
                packet.marker = place == 9;
                packet.timestamp = (frame * 3000) as u32;
                (packet.received, packet.key_frame) = (now, key && place == 0);
                packet.payload = payload(frame, place == 0, key).into();
                self.peer.forward_rtp(self.transceiver, packet.clone());
                self.number += 1;
                sent += 1;
            }
        }
        sent
    }
}

async fn listen(mut peer: PeerConnection, late: Arc<Mutex<Vec<f64>>>, connected: mpsc::UnboundedSender<()>) {
    while let Some(event) = peer.next_event().await {
        match event {
            Event::Packet { packet, .. } => {
                let lateness = lateness(&packet.payload);
                late.lock().expect("nobody panics").extend(lateness);
            }
            Event::ConnectionStateChange(RtcPeerConnectionState::Connected) => _ = connected.send(()),
            _ => {}
        }
    }
}
