//! What a publisher sends: its tracks, and the end of each at which its packets come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use antiphon::{Codec, MediaKind, Packet};
use tokio::sync::{broadcast, mpsc};

use super::matching::{Playable, is_beside};

/// Packets that a slow watcher of a track may lag: about a second of video.
const RELAY_QUEUE: usize = 512;
/// Most tracks of one publisher.
pub(super) const MAX_TRACKS: usize = 16;
/// A source that has been silent for so long makes room for another one of the same section.
const SOURCE_SILENCE: Duration = Duration::from_secs(1);
/// A publisher that was asked for a key frame is not asked again sooner.
const KEY_FRAME_PATIENCE: Duration = Duration::from_millis(500);
/// No payload type: they have seven bits.
const NONE: u8 = u8::MAX;

/// One publisher.
#[derive(Debug)]
pub(in crate::server) struct Publisher {
    /// The session that publishes.
    pub(in crate::server) session: u64,
    tracks: Vec<Arc<Track>>,
}

/// What a media section of a publisher carries.
#[derive(Debug)]
pub(in crate::server) struct Track {
    kind: MediaKind,
    /// What the publisher may send, best first, under its own payload types.
    codecs: Vec<Codec>,
    /// The streams that it belongs to: tracks of one stream are played in step.
    streams: Vec<String>,
    packets: broadcast::Sender<Packet>,
    /// The payload type that is being sent, or `NONE`.
    current: AtomicU8,
    /// Its place among the publisher's tracks.
    index: usize,
    /// A request for a key frame is on its way to the publisher.
    requested: AtomicBool,
    requests: mpsc::Sender<usize>,
}

impl Publisher {
    /// A publisher with these tracks (kind, codecs, streams). Requests for key frames come out as the index of a track, at most
    /// one at a time of each.
    pub(in crate::server) fn new(
        session: u64,
        tracks: Vec<(MediaKind, Vec<Codec>, Vec<String>)>,
    ) -> (Arc<Self>, mpsc::Receiver<usize>) {
        let (requests, requested) = mpsc::channel(tracks.len().max(1));
        let track = |(index, (kind, codecs, streams))| {
            Arc::new(Track {
                kind,
                codecs,
                streams,
                packets: broadcast::Sender::new(RELAY_QUEUE),
                current: AtomicU8::new(NONE),
                index,
                requested: AtomicBool::new(false),
                requests: requests.clone(),
            })
        };
        let tracks = tracks.into_iter().take(MAX_TRACKS).enumerate().map(track).collect();
        (Arc::new(Self { session, tracks }), requested)
    }

    /// Its tracks, in the order of its sections.
    pub(in crate::server) fn tracks(&self) -> &[Arc<Track>] {
        &self.tracks
    }

    /// What a watcher may be given.
    pub(in crate::server) fn playables(&self) -> Vec<Playable> {
        self.tracks.iter().map(|track| track.playable()).collect()
    }
}

impl Track {
    /// Audio or video.
    pub(in crate::server) fn kind(&self) -> MediaKind {
        self.kind
    }

    /// What the publisher may send, under its own payload types.
    pub(in crate::server) fn codecs(&self) -> &[Codec] {
        &self.codecs
    }

    /// The streams that it belongs to.
    pub(in crate::server) fn streams(&self) -> &[String] {
        &self.streams
    }

    /// For a watcher: it must take what is being sent; before anything was, what the publisher put first.
    fn playable(&self) -> Playable {
        let current = self.current.load(Ordering::Relaxed);
        let sent = self.codecs.iter().find(|codec| codec.payload_type == current);
        let leading = sent.or_else(|| self.codecs.iter().find(|codec| !is_beside(codec)));
        Playable {
            kind: self.kind,
            any_of: leading.cloned().into_iter().collect(),
        }
    }

    /// Hands a packet to all watchers.
    fn forward(&self, packet: Packet) {
        if self.current.load(Ordering::Relaxed) != packet.payload_type
            && self
                .codecs
                .iter()
                .any(|codec| codec.payload_type == packet.payload_type && !is_beside(codec))
        {
            self.current.store(packet.payload_type, Ordering::Relaxed);
        }
        // An error means that nobody watches.
        _ = self.packets.send(packet);
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Packet> {
        self.packets.subscribe()
    }

    /// A watcher cannot go on without a key frame. Of audio nothing is asked.
    pub(in crate::server) fn request_key_frame(&self) {
        if self.kind == MediaKind::Video && !self.requested.swap(true, Ordering::Relaxed) {
            // There is room for each track once; an error means that the publisher is gone.
            _ = self.requests.try_send(self.index);
        }
    }
}

/// The end of a track at which the publisher's packets come in.
#[derive(Debug)]
pub(in crate::server) struct Intake {
    track: Arc<Track>,
    /// The source that is forwarded, and when it sent last. A section may have several (simulcast that was not negotiated, a
    /// publisher that starts anew): one at a time is a track.
    source: Option<(u32, Instant)>,
    /// Packets of others.
    left_out: u64,
    /// A watcher waits for a key frame: when the publisher was last asked for one.
    asked: Option<Instant>,
}

impl Intake {
    pub(in crate::server) fn new(track: Arc<Track>) -> Self {
        Self {
            track,
            source: None,
            left_out: 0,
            asked: None,
        }
    }

    /// The publisher is being asked for a key frame.
    pub(in crate::server) fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
        self.track.requested.store(false, Ordering::Relaxed);
    }

    /// A source said goodbye: the next one takes its place.
    pub(in crate::server) fn source_ended(&mut self, ssrc: u32) {
        self.source.take_if(|(source, _)| *source == ssrc);
    }

    /// Takes a packet of the publisher. Returns whether it is time to ask it (again) for a key frame.
    pub(in crate::server) fn take(&mut self, now: Instant, packet: Packet) -> bool {
        let mut changed = false;
        match &mut self.source {
            Some((source, last)) if *source == packet.ssrc => *last = now,
            Some((_, last)) if now.saturating_duration_since(*last) < SOURCE_SILENCE => {
                self.left_out += 1;
                if self.left_out == 1 {
                    tracing::warn!(
                        ssrc = packet.ssrc,
                        "a second source in one section is left out: only the first is forwarded"
                    );
                }
                return false;
            }
            other => {
                changed = other.is_some();
                *other = Some((packet.ssrc, now));
            }
        }
        if self.track.kind == MediaKind::Audio {
            self.track.forward(packet);
            return false;
        }
        let key_frame = packet.key_frame;
        self.track.forward(packet);
        if key_frame {
            self.asked = None;
        }
        (changed && !key_frame)
            || self
                .asked
                .is_some_and(|at| now.saturating_duration_since(at) >= KEY_FRAME_PATIENCE)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn codec(payload_type: u8, name: &str, parameters: &str) -> Codec {
        let audio = !matches!(name, "VP8" | "VP9" | "H264" | "H265" | "H266" | "AV1");
        Codec {
            payload_type,
            name: name.into(),
            clock_rate: match name {
                _ if !audio => 90_000,
                "opus" => 48_000,
                _ => 8_000,
            },
            channels: (name == "opus").then_some(2),
            parameters: parameters.into(),
            sender_parameters: String::new(),
            feedback: Vec::new(),
            rtx: None,
        }
    }

    pub(in super::super) fn packet(ssrc: u32, payload_type: u8, key_frame: bool) -> Packet {
        Packet {
            ssrc,
            rid: None,
            payload_type,
            sequence: 1,
            timestamp: 1,
            marker: true,
            payload: vec![1].into(),
            front: None,
            key_frame,
            extensions: Default::default(),
            contributors: None,
            received: Instant::now(),
            captured: None,
        }
    }

    #[test]
    fn a_track_is_one_source_at_a_time() {
        let tracks = vec![(MediaKind::Video, vec![codec(96, "VP8", "")], vec![])];
        let (publisher, mut requests) = Publisher::new(1, tracks);
        let track = publisher.tracks()[0].clone();
        let mut feed = track.subscribe();
        let mut intake = Intake::new(track.clone());
        let start = Instant::now();
        let later = |ms| start + Duration::from_millis(ms);
        assert!(!intake.take(start, packet(1, 96, true)));
        assert!(!intake.take(later(10), packet(2, 96, true)), "another layer");
        assert!(!intake.take(later(20), packet(1, 96, false)));
        assert!(
            intake.take(later(1500), packet(2, 96, false)),
            "the first has gone: a key frame is needed"
        );
        intake.source_ended(2);
        assert!(
            !intake.take(later(1510), packet(3, 96, true)),
            "after a goodbye at once"
        );
        let came: Vec<u32> = std::iter::from_fn(|| feed.try_recv().ok())
            .map(|packet| packet.ssrc)
            .collect();
        assert_eq!(came, [1, 1, 2, 3]);

        // Many watchers ask, the publisher hears it once, and again if nothing comes of it.
        track.request_key_frame();
        track.request_key_frame();
        assert_eq!(requests.try_recv(), Ok(0));
        assert!(requests.try_recv().is_err());
        intake.asked(later(2000));
        assert!(!intake.take(later(2100), packet(3, 96, false)));
        assert!(intake.take(later(2600), packet(3, 96, false)));
        assert!(!intake.take(later(2700), packet(3, 96, true)));
        assert!(!intake.take(later(9000), packet(3, 96, false)));
        track.request_key_frame();
        assert_eq!(requests.try_recv(), Ok(0));
    }

    #[test]
    fn mend05_what_is_sent_decides_what_a_watcher_must_take() {
        let codecs = vec![
            codec(110, "telephone-event", "0-15"),
            codec(111, "opus", ""),
            codec(0, "PCMU", ""),
        ];
        let (publisher, _requests) = Publisher::new(1, vec![(MediaKind::Audio, codecs, vec![])]);
        let mut intake = Intake::new(publisher.tracks()[0].clone());
        let leading = || publisher.playables()[0].any_of[0].name.clone();
        assert_eq!(leading(), "opus", "the first that is audio");
        for (payload_type, name) in [(0, "PCMU"), (110, "PCMU"), (111, "opus")] {
            intake.take(Instant::now(), packet(1, payload_type, true));
            assert_eq!(leading(), name);
        }
    }
}
