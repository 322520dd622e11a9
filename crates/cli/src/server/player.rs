//! Tasks that carry the studio's video and music to one peer.

use antiphon::{Error, Frame};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::forward::Outlet;
use crate::sources::{AudioCodec, Sample, Studio, rung_for};

/// What the audio takes of the bandwidth, in bits a second.
const SOUND_BPS: u64 = 90_000;

/// Where the studio's frames go.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) outlet: Outlet,
    pub(super) payload_type: u8,
}

impl Stage {
    /// `false` once the peer is gone.
    async fn send(&self, sample: Sample, key_frame: bool) -> bool {
        let frame = Frame {
            payload_type: self.payload_type,
            timestamp: sample.timestamp,
            data: sample.data,
            key_frame,
            audio_level: None,
        };
        let Outlet { peer, transceiver, .. } = &self.outlet;
        // Any other refusal (paused, queue full) costs this frame only.
        !matches!(peer.send_frame(*transceiver, frame).await, Err(Error::Closed))
    }
}

/// The pattern, in the size that the path carries. Every frame is a key frame, so requests for one need no answer of their own.
pub(super) async fn pattern(studio: Studio, stage: Stage, mut target: watch::Receiver<u64>) {
    if !stage.outlet.ready().await {
        return;
    }
    let wanted = |bps: u64| rung_for(bps.saturating_sub(SOUND_BPS));
    let mut rung = wanted(*target.borrow_and_update());
    let mut feed = studio.video(rung);
    loop {
        tokio::select! {
            frame = feed.recv() => match frame {
                Ok(frame) => if !stage.send(frame, true).await { return },
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
pub(super) async fn music(studio: Studio, stage: Stage, codec: AudioCodec) {
    if !stage.outlet.ready().await {
        return;
    }
    let mut feed = studio.audio(codec);
    loop {
        match feed.recv().await {
            Ok(packet) => {
                if !stage.send(packet, false).await {
                    return;
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
