//! From a track to one watcher, and from a peer back to itself.

use std::sync::Arc;
use std::time::Instant;

use antiphon::{Error, Packet, PeerHandle, TransceiverId};
use antiphon_sfu::{Consumer, ConsumerConfig, Counts, Descriptors, Facts, Layer, PayloadTypes, Wish};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};

use super::track::{Shown, Track};

/// Where packets go.
#[derive(Clone, Debug)]
pub(in crate::server) struct Outlet {
    pub(in crate::server) peer: PeerHandle,
    pub(in crate::server) transceiver: TransceiverId,
    /// Turns true when the peer can be sent to.
    pub(in crate::server) connected: watch::Receiver<bool>,
    /// For the log.
    pub(in crate::server) session: u64,
}

impl Outlet {
    /// Nothing is sent, and no key frame asked for, for a peer that is not there yet. `false`: it will never be.
    pub(in crate::server) async fn ready(&self) -> bool {
        self.connected.clone().wait_for(|connected| *connected).await.is_ok()
    }

    /// `false` once the peer is gone. Any other refusal costs this packet only; it shows in the peer's statistics.
    async fn send(&self, packet: Packet) -> bool {
        match self.peer.send_rtp(self.transceiver, packet).await {
            Ok(()) => true,
            Err(Error::Closed) => false,
            Err(error) => {
                tracing::trace!(session = self.session, %error, "packet not forwarded");
                true
            }
        }
    }
}

/// What a watcher of a track wishes, as it changes.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::server) struct Steering {
    pub(in crate::server) wish: Wish,
    /// How often it has asked for a key frame.
    pub(in crate::server) key_frames: u64,
}

/// What a watcher of a track has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct Has {
    /// The layer that goes on to it.
    pub(in crate::server) layer: Option<Layer>,
    /// The layer that it is to have.
    pub(in crate::server) aim: Option<Layer>,
    pub(in crate::server) counts: Counts,
}

/// The two ends of what the session of a watcher says and hears of one of its tracks.
#[derive(Debug)]
pub(in crate::server) struct Seat {
    pub(in crate::server) steering: watch::Receiver<Steering>,
    pub(in crate::server) has: watch::Sender<Has>,
    /// Whether the watcher takes dependency descriptors.
    pub(in crate::server) descriptors: bool,
}

/// The layers of a track for one watcher.
struct Layered {
    consumer: Consumer,
    seat: Seat,
    key_frames: u64,
    /// The list of layers that was told last.
    told: u64,
}

impl Layered {
    fn new(seat: Seat) -> Self {
        let key_frames = seat.steering.borrow().key_frames;
        Self {
            consumer: Consumer::new(ConsumerConfig {
                descriptors: match seat.descriptors {
                    true => Descriptors::Needed,
                    false => Descriptors::Never,
                },
            }),
            seat,
            key_frames,
            told: 0,
        }
    }

    /// The packet as the watcher gets it, if it is of its layer.
    fn take(&mut self, track: &Track, packet: &Packet, facts: &Facts) -> Option<Packet> {
        let Steering { wish, key_frames } = *self.seat.steering.borrow();
        self.consumer.set_wish(wish);
        if std::mem::replace(&mut self.key_frames, key_frames) != key_frames {
            self.consumer.need_key_frame();
        }
        let now = Instant::now();
        let (written, version) = {
            let layers = track.layers();
            (self.consumer.take(now, packet, facts, &layers), layers.version())
        };
        if let Some(encoding) = self.consumer.poll_key_frame(now) {
            track.request_key_frame(encoding);
        }
        let before = *self.seat.has.borrow();
        let (layer, aim) = (self.consumer.layer(), self.consumer.aim());
        if (layer, aim) != (before.layer, before.aim) || version != self.told {
            self.told = version;
            let counts = self.consumer.counts();
            self.seat.has.send_replace(Has { layer, aim, counts });
        }
        written
    }
}

/// A track's packets, to one watcher, until either is gone.
pub(in crate::server) async fn relay(track: Arc<Track>, types: PayloadTypes, outlet: Outlet, seat: Seat) {
    if !outlet.ready().await {
        return;
    }
    let mut feed = track.subscribe();
    let mut layered = Layered::new(seat);
    // The payload type that this watcher cannot take and that is being sent.
    let mut foreign = None;
    loop {
        match feed.recv().await {
            Ok(Shown { packet, facts }) => {
                let Some(payload_type) = types.of(packet.payload_type) else {
                    if types.is_beside(packet.payload_type) {
                        continue;
                    }
                    if foreign.replace(packet.payload_type) != Some(packet.payload_type) {
                        let mut codecs = track.codecs().iter();
                        let name = codecs.find(|codec| codec.payload_type == packet.payload_type);
                        tracing::warn!(
                            session = outlet.session,
                            codec = name.map_or("unknown", |codec| codec.name.as_str()),
                            "the publisher has changed to a codec that this watcher does not take: it sees nothing"
                        );
                    }
                    continue;
                };
                if foreign.take().is_some() {
                    layered.consumer.need_key_frame();
                }
                let of_layer = match &facts {
                    Some(facts) => layered.take(&track, &packet, facts),
                    None => Some(packet),
                };
                let Some(mut packet) = of_layer else { continue };
                packet.payload_type = payload_type;
                if !outlet.send(packet).await {
                    return;
                }
            }
            // There is a hole now, which only a key frame closes.
            Err(RecvError::Lagged(_)) => layered.consumer.need_key_frame(),
            Err(RecvError::Closed) => return,
        }
    }
}

/// A peer's own packets, back to it.
pub(in crate::server) async fn echo(outlet: Outlet, types: PayloadTypes, mut packets: mpsc::Receiver<Packet>) {
    while let Some(mut packet) = packets.recv().await {
        // What it sends and does not take stays here.
        let Some(payload_type) = types.of(packet.payload_type) else {
            continue;
        };
        packet.payload_type = payload_type;
        if !outlet.send(packet).await {
            return;
        }
    }
}
