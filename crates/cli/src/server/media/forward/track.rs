//! What a publisher sends: its tracks, each of which is a producer of the publisher's own router.

use std::sync::Arc;

use antiphon::router::{ConsumeOptions, Consumer, ProduceOptions, Producer, ProducerStats, Router};
use antiphon::{Codec, Error, MediaKind, PeerHandle, TransceiverId};
use antiphon_sfu::is_beside;

use super::matching::Playable;

/// Most tracks of one publisher.
pub(super) const MAX_TRACKS: usize = 16;

/// One publisher.
#[derive(Debug)]
pub(in crate::server) struct Publisher {
    /// The session that publishes.
    pub(in crate::server) session: u64,
    router: Router,
    tracks: Vec<Arc<Track>>,
}

/// What is known of a track before its packets come.
#[derive(Clone, Debug)]
pub(in crate::server) struct Described {
    pub(in crate::server) kind: MediaKind,
    /// What the publisher may send, best first, under its own payload types.
    pub(in crate::server) codecs: Vec<Codec>,
    /// The streams that it belongs to: tracks of one stream are played in step.
    pub(in crate::server) streams: Vec<String>,
    /// Its section (`a=mid`).
    pub(in crate::server) mid: String,
}

/// What a media section of a publisher carries.
#[derive(Debug)]
pub(in crate::server) struct Track {
    described: Described,
    producer: Producer,
}

impl Publisher {
    /// A publisher that sends these sections. Its packets go on by `router` from now on.
    pub(in crate::server) async fn new(
        session: u64,
        router: Router,
        peer: &PeerHandle,
        sections: Vec<(TransceiverId, Described)>,
    ) -> Result<Self, Error> {
        let mut tracks = Vec::new();
        for (transceiver, described) in sections.into_iter().take(MAX_TRACKS) {
            let producer = router.produce(peer, transceiver, ProduceOptions::default()).await?;
            tracks.push(Arc::new(Track { described, producer }));
        }
        Ok(Self {
            session,
            router,
            tracks,
        })
    }

    /// Its tracks, in the order of its sections.
    pub(in crate::server) fn tracks(&self) -> &[Arc<Track>] {
        &self.tracks
    }

    /// What a watcher may be given.
    pub(in crate::server) async fn playables(&self) -> Vec<Playable> {
        let mut playables = Vec::new();
        for track in &self.tracks {
            // Of one that has just ended the watcher hears soon enough.
            let sent = track.stats().await.ok().and_then(|stats| stats.payload_type);
            playables.push(track.described.playable(sent));
        }
        playables
    }

    /// One of its tracks goes to a transceiver of a watcher.
    pub(in crate::server) async fn send_to(
        &self,
        track: &Track,
        watcher: &PeerHandle,
        transceiver: TransceiverId,
        options: ConsumeOptions,
    ) -> Result<Consumer, Error> {
        self.router
            .consume(&track.producer, watcher, transceiver, options)
            .await
    }
}

impl Described {
    /// For a watcher: it must take what is being sent; before anything was, what the publisher put first.
    fn playable(&self, sent: Option<u8>) -> Playable {
        let sent = self.codecs.iter().find(|codec| Some(codec.payload_type) == sent);
        let leading = sent.or_else(|| self.codecs.iter().find(|codec| !is_beside(codec)));
        Playable {
            kind: self.kind,
            any_of: leading.cloned().into_iter().collect(),
        }
    }
}

impl Track {
    /// Audio or video.
    pub(in crate::server) fn kind(&self) -> MediaKind {
        self.described.kind
    }

    /// What the publisher may send, under its own payload types.
    pub(in crate::server) fn codecs(&self) -> &[Codec] {
        &self.described.codecs
    }

    /// The streams that it belongs to.
    pub(in crate::server) fn streams(&self) -> &[String] {
        &self.described.streams
    }

    /// The publisher's section.
    pub(in crate::server) fn mid(&self) -> &str {
        &self.described.mid
    }

    /// What has come of it, and its layers.
    pub(in crate::server) async fn stats(&self) -> Result<ProducerStats, Error> {
        self.producer.stats().await
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

    #[test]
    fn mend05_what_is_sent_decides_what_a_watcher_must_take() {
        let described = Described {
            kind: MediaKind::Audio,
            codecs: vec![
                codec(110, "telephone-event", "0-15"),
                codec(111, "opus", ""),
                codec(0, "PCMU", ""),
            ],
            streams: Vec::new(),
            mid: "0".into(),
        };
        let leading = |sent| described.playable(sent).any_of[0].name.clone();
        assert_eq!(leading(None), "opus", "the first that is audio");
        assert_eq!(leading(Some(0)), "PCMU");
        assert_eq!(leading(Some(111)), "opus");
        assert_eq!(leading(Some(99)), "opus", "nothing is known of it");
    }
}
