//! Tasks that carry media to one peer: from the studio, or from a publisher.

use std::sync::Arc;

use antiphon::{Error, Frame, MediaKind, Packet, PeerHandle, TransceiverId};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};

use super::room::Publisher;
use crate::sources::{AudioCodec, Sample, Studio, rung_for};

/// What the sound takes of the bandwidth.
const SOUND_BPS: u64 = 90_000;

/// Where a player sends.
#[derive(Clone, Debug)]
pub(super) struct Outlet {
    pub(super) peer: PeerHandle,
    pub(super) transceiver: TransceiverId,
    pub(super) payload_type: u8,
    /// Turns true when the peer can be sent to.
    pub(super) connected: watch::Receiver<bool>,
}

impl Outlet {
    /// Nothing is encoded, and no key frame asked for, for a peer that is not there yet. `false`: it will never be.
    async fn ready(&self) -> bool {
        self.connected.clone().wait_for(|connected| *connected).await.is_ok()
    }

    /// `false` once the peer is gone.
    async fn send(&self, sample: Sample, key_frame: bool) -> bool {
        let frame = Frame {
            payload_type: self.payload_type,
            timestamp: sample.timestamp,
            data: sample.data,
            key_frame,
            audio_level: None,
        };
        // Any other refusal (paused, queue full) costs this frame only.
        !matches!(self.peer.send_frame(self.transceiver, frame).await, Err(Error::Closed))
    }
}

/// The pattern, in the size that the path carries. Every frame is a key frame, so requests for one need no answer of their own.
pub(super) async fn pattern(studio: Studio, outlet: Outlet, mut target: watch::Receiver<u64>) {
    if !outlet.ready().await {
        return;
    }
    let wanted = |bps: u64| rung_for(bps.saturating_sub(SOUND_BPS));
    let mut rung = wanted(*target.borrow_and_update());
    let mut feed = studio.video(rung);
    loop {
        tokio::select! {
            frame = feed.recv() => match frame {
                Ok(frame) => if !outlet.send(frame, true).await { return },
                // Late: the oldest were dropped, and the next frame is as good a beginning as any.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            changed = target.changed() => {
                if changed.is_err() {
                    return;
                }
                let next = wanted(*target.borrow_and_update());
                if next != rung {
                    tracing::debug!(rung = next, "video size");
                    rung = next;
                    feed = studio.video(rung);
                }
            }
        }
    }
}

/// The music.
pub(super) async fn music(studio: Studio, outlet: Outlet, codec: AudioCodec) {
    if !outlet.ready().await {
        return;
    }
    let mut feed = studio.audio(codec);
    loop {
        match feed.recv().await {
            Ok(packet) => {
                if !outlet.send(packet, false).await {
                    return;
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// A publisher's packets.
pub(super) async fn relay(publisher: Arc<Publisher>, kind: MediaKind, outlet: Outlet) {
    if !outlet.ready().await {
        return;
    }
    let mut feed = publisher.subscribe(kind);
    let ask = || {
        if kind == MediaKind::Video {
            publisher.request_key_frame();
        }
    };
    ask();
    loop {
        match feed.recv().await {
            Ok(mut packet) => {
                packet.payload_type = outlet.payload_type;
                if matches!(
                    outlet.peer.send_rtp(outlet.transceiver, packet).await,
                    Err(Error::Closed)
                ) {
                    return;
                }
            }
            // There is a hole now, which only a key frame closes.
            Err(RecvError::Lagged(_)) => ask(),
            Err(RecvError::Closed) => return,
        }
    }
}

/// A peer's own packets, back to it.
pub(super) async fn echo(outlet: Outlet, mut packets: mpsc::Receiver<Packet>) {
    while let Some(packet) = packets.recv().await {
        // The section has the same payload types in both directions.
        match outlet.peer.send_rtp(outlet.transceiver, packet).await {
            Ok(()) => {}
            Err(Error::Closed) => return,
            Err(error) => tracing::debug!(%error, "packet not sent back"),
        }
    }
}
