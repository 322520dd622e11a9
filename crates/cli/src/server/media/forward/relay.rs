//! From a track to one watcher, and from a peer back to itself.

use std::sync::Arc;
use std::time::Instant;

use antiphon::{Codec, Error, Packet, PeerHandle, TransceiverId};
use antiphon_sfu::{Consumer, ConsumerConfig, Counts, Descriptors, Facts, Layer, Wish};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};

use super::matching::is_beside;
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

/// Which payload type of the receiving side each payload type of the sending side becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::server) struct PayloadTypes([u8; 128]);

/// No payload type: they have seven bits.
const FOREIGN: u8 = u8::MAX;
/// Not taken, and not missed: keys pressed, noise.
const BESIDE: u8 = u8::MAX - 1;

impl std::fmt::Debug for PayloadTypes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = self.0.iter().enumerate().filter(|(_, to)| **to < 128);
        f.debug_map().entries(known).finish()
    }
}

impl PayloadTypes {
    /// `from`: what is sent, as the sender numbers it; `to`: what the receiver takes, as it numbers it. The same configuration comes
    /// before one that merely contains it.
    pub(in crate::server) fn between(from: &[Codec], to: &[Codec]) -> Self {
        let mut types = [FOREIGN; 128];
        for stream in from {
            let Some(place) = types.get_mut(usize::from(stream.payload_type)) else {
                continue;
            };
            let taking = to.iter().filter(|own| own.decodes(stream));
            *place = match taking.min_by_key(|own| !stream.decodes(own)) {
                Some(own) => own.payload_type & 0x7f,
                None if is_beside(stream) => BESIDE,
                None => FOREIGN,
            };
        }
        Self(types)
    }

    fn of(&self, payload_type: u8) -> u8 {
        self.0.get(usize::from(payload_type)).copied().unwrap_or(FOREIGN)
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
                let payload_type = types.of(packet.payload_type);
                if payload_type == BESIDE {
                    continue;
                }
                if payload_type == FOREIGN {
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
                }
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
        packet.payload_type = types.of(packet.payload_type);
        // What it sends and does not take stays here.
        if packet.payload_type < 128 && !outlet.send(packet).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::track::tests::codec;
    use super::*;

    #[test]
    fn mend11_a_payload_type_becomes_that_of_the_same_codec_or_nothing() {
        let h264 = |payload_type, profile: &str| {
            codec(
                payload_type,
                "H264",
                &format!("packetization-mode=1;profile-level-id={profile}"),
            )
        };
        let from = [
            codec(111, "opus", "minptime=10"),
            codec(0, "PCMU", ""),
            codec(8, "PCMA", ""),
            codec(101, "telephone-event", "0-15"),
            h264(96, "42e01f"),
            h264(97, "640c1f"),
            h264(98, "64001f"),
        ];
        // High contains Constrained Baseline, but the latter has a number of its own.
        let to = [
            codec(0, "PCMU", ""),
            codec(109, "opus", ""),
            h264(120, "64001f"),
            h264(121, "42e02a"),
        ];
        let types = PayloadTypes::between(&from, &to);
        let became: Vec<u8> = [111, 0, 8, 101, 96, 97, 98, 33].map(|from| types.of(from)).to_vec();
        assert_eq!(became, [109, 0, FOREIGN, BESIDE, 121, 120, 120, FOREIGN]);
        // A number beyond the seven bits is nobody's.
        assert_eq!(types.of(200), FOREIGN);
    }
}
