//! What a publisher sends: its tracks, and the end of each at which its packets come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Instant;

use antiphon::{Codec, MediaKind, Packet, Rid};
use antiphon_sfu::{Facts, Layers, MAX_ENCODINGS, Producer, is_beside};
use tokio::sync::{broadcast, mpsc, watch};

use super::matching::Playable;

/// Packets that a slow watcher of a track may lag: about a second of video.
const RELAY_QUEUE: usize = 512;
/// Most tracks of one publisher.
pub(super) const MAX_TRACKS: usize = 16;
/// No payload type: they have seven bits.
const NONE: u8 = u8::MAX;

/// One publisher.
#[derive(Debug)]
pub(in crate::server) struct Publisher {
    /// The session that publishes.
    pub(in crate::server) session: u64,
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
    shown: broadcast::Sender<Shown>,
    /// Which layers come now.
    layers: watch::Sender<Layers>,
    /// The payload type that is being sent, or `NONE`.
    current: AtomicU8,
    /// Its place among the publisher's tracks.
    index: usize,
    /// Requests for a key frame of each encoding that are on their way to the publisher.
    requested: [AtomicBool; MAX_ENCODINGS],
    requests: mpsc::Sender<Wanted>,
}

/// A packet of a track, and what was read of its layer; of sound nothing is.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) packet: Packet,
    pub(super) facts: Option<Facts>,
}

/// Watchers want a key frame: of which track, and which encoding of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Wanted {
    pub(in crate::server) track: usize,
    encoding: u8,
}

impl Publisher {
    /// A publisher with these tracks. Requests for key frames come out, at most one at a time of each encoding.
    pub(in crate::server) fn new(session: u64, tracks: Vec<Described>) -> (Arc<Self>, mpsc::Receiver<Wanted>) {
        let (requests, requested) = mpsc::channel(tracks.len().max(1) * MAX_ENCODINGS);
        let track = |(index, described)| {
            Arc::new(Track {
                described,
                shown: broadcast::Sender::new(RELAY_QUEUE),
                layers: watch::Sender::default(),
                current: AtomicU8::new(NONE),
                index,
                requested: Default::default(),
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

    /// Which layers come now.
    pub(in crate::server) fn layers(&self) -> watch::Ref<'_, Layers> {
        self.layers.borrow()
    }

    /// For a watcher: it must take what is being sent; before anything was, what the publisher put first.
    fn playable(&self) -> Playable {
        let current = self.current.load(Ordering::Relaxed);
        let sent = self.codecs().iter().find(|codec| codec.payload_type == current);
        let leading = sent.or_else(|| self.codecs().iter().find(|codec| !is_beside(codec)));
        Playable {
            kind: self.kind(),
            any_of: leading.cloned().into_iter().collect(),
        }
    }

    /// Hands a packet to all watchers.
    fn forward(&self, shown: Shown) {
        let payload_type = shown.packet.payload_type;
        if self.current.load(Ordering::Relaxed) != payload_type
            && self
                .codecs()
                .iter()
                .any(|codec| codec.payload_type == payload_type && !is_beside(codec))
        {
            self.current.store(payload_type, Ordering::Relaxed);
        }
        // An error means that nobody watches.
        _ = self.shown.send(shown);
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Shown> {
        self.shown.subscribe()
    }

    /// A watcher needs a key frame of an encoding.
    pub(super) fn request_key_frame(&self, encoding: u8) {
        let requested = self.requested.get(usize::from(encoding));
        if requested.is_some_and(|requested| !requested.swap(true, Ordering::Relaxed)) {
            // There is room for each encoding once; an error means that the publisher is gone.
            _ = self.requests.try_send(Wanted {
                track: self.index,
                encoding,
            });
        }
    }
}

/// The end of a track at which the publisher's packets come in.
#[derive(Debug)]
pub(in crate::server) struct Intake {
    track: Arc<Track>,
    producer: Producer,
    /// The list of layers that watchers know.
    told: u64,
    /// It was said that a second source is left out.
    complained: bool,
}

impl Intake {
    /// The end of a track of which these encodings were negotiated.
    pub(in crate::server) fn new(track: Arc<Track>, rids: &[Rid]) -> Self {
        // Of sound nothing is read: it goes on as it is, whatever it is.
        let video = track.kind() == MediaKind::Video;
        let codecs = track.codecs().iter().filter(|_| video);
        let producer = Producer::new(codecs.map(|codec| (codec.payload_type, &*codec.name)), rids);
        Self {
            track,
            producer,
            told: 0,
            complained: false,
        }
    }

    /// A watcher wants a key frame. Returns the source that is to be asked for one now, if one is.
    pub(in crate::server) fn want(&mut self, now: Instant, wanted: Wanted) -> Option<u32> {
        if let Some(requested) = self.track.requested.get(usize::from(wanted.encoding)) {
            requested.store(false, Ordering::Relaxed);
        }
        self.producer.want_key_frame(wanted.encoding);
        self.producer.poll_key_frame(now)
    }

    /// A source without RID is one of several encodings, the one of this place.
    pub(super) fn place_source(&mut self, ssrc: u32, place: u8) {
        self.producer.place_source(ssrc, place);
    }

    /// A source said goodbye: the next one takes its place.
    pub(in crate::server) fn source_ended(&mut self, ssrc: u32) {
        self.producer.source_ended(ssrc);
    }

    /// Takes a packet of the publisher. Returns the source that is to be asked for a key frame now (again), if one is.
    pub(in crate::server) fn take(&mut self, now: Instant, packet: Packet) -> Option<u32> {
        let facts = self.producer.take(now, &packet);
        if facts.is_none() && !self.complained && self.producer.dropped().sources > 0 {
            self.complained = true;
            tracing::warn!(
                ssrc = packet.ssrc,
                "a second source in one section is left out: only the first is forwarded"
            );
        }
        let layers = self.producer.layers();
        if layers.version() != self.told {
            self.told = layers.version();
            self.track.layers.send_replace(*layers);
        }
        if let Some(facts) = facts {
            let facts = Some(facts).filter(|_| self.track.kind() == MediaKind::Video);
            self.track.forward(Shown { packet, facts });
        }
        self.producer.poll_key_frame(now)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

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

    pub(in super::super) fn described(kind: MediaKind, codecs: Vec<Codec>) -> Described {
        Described {
            kind,
            codecs,
            streams: Vec::new(),
            mid: "0".into(),
        }
    }

    /// The first packet of a frame of VP8.
    fn vp8(ssrc: u32, key_frame: bool) -> Packet {
        Packet {
            payload: vec![0x10, u8::from(!key_frame), 1].into(),
            ..packet(ssrc, 96, key_frame)
        }
    }

    #[test]
    fn a_track_without_rids_is_one_source_at_a_time() {
        let tracks = vec![described(MediaKind::Video, vec![codec(96, "VP8", "")])];
        let (publisher, mut requests) = Publisher::new(1, tracks);
        let track = publisher.tracks()[0].clone();
        let mut feed = track.subscribe();
        let mut intake = Intake::new(track.clone(), &[]);
        let start = Instant::now();
        let later = |ms| start + Duration::from_millis(ms);
        for (at, packet) in [
            (0, vp8(1, true)),
            (10, vp8(2, true)),
            (20, vp8(1, false)),
            (1500, vp8(2, false)),
        ] {
            assert_eq!(intake.take(later(at), packet), None);
        }
        intake.source_ended(2);
        assert_eq!(intake.take(later(1510), vp8(3, true)), None, "after a goodbye at once");
        let came: Vec<u32> = std::iter::from_fn(|| feed.try_recv().ok())
            .map(|shown| shown.packet.ssrc)
            .collect();
        assert_eq!(came, [1, 1, 2, 3]);

        // Many watchers ask, the publisher hears it once, and again if nothing comes of it.
        track.request_key_frame(0);
        track.request_key_frame(0);
        track.request_key_frame(9);
        let wanted = requests.try_recv().unwrap();
        assert_eq!((wanted.track, requests.try_recv().is_err()), (0, true));
        assert_eq!(intake.want(later(2000), wanted), Some(3));
        assert_eq!(intake.take(later(2100), vp8(3, false)), None);
        assert_eq!(intake.take(later(2600), vp8(3, false)), Some(3));
        assert_eq!(intake.take(later(2700), vp8(3, true)), None);
        assert_eq!(intake.take(later(9000), vp8(3, false)), None);
        track.request_key_frame(0);
        assert!(requests.try_recv().is_ok());
    }

    #[test]
    fn each_encoding_is_asked_for_its_own_key_frames() {
        let tracks = vec![described(MediaKind::Video, vec![codec(96, "VP8", "")])];
        let (publisher, mut requests) = Publisher::new(1, tracks);
        let track = publisher.tracks()[0].clone();
        let rids = ["l", "h"].map(|name| Rid::new(name.as_bytes()).unwrap());
        let mut intake = Intake::new(track.clone(), &rids);
        let start = Instant::now();
        for (ssrc, rid) in (10..).zip(rids) {
            let packet = Packet {
                rid: Some(rid),
                ..vp8(ssrc, true)
            };
            assert_eq!(intake.take(start, packet), None);
        }
        assert_eq!(track.layers().levels().len(), 2);
        track.request_key_frame(1);
        assert_eq!(intake.want(start, requests.try_recv().unwrap()), Some(11));
        track.request_key_frame(0);
        assert_eq!(intake.want(start, requests.try_recv().unwrap()), Some(10));
    }

    #[test]
    fn mend05_what_is_sent_decides_what_a_watcher_must_take() {
        let codecs = vec![
            codec(110, "telephone-event", "0-15"),
            codec(111, "opus", ""),
            codec(0, "PCMU", ""),
        ];
        let (publisher, _requests) = Publisher::new(1, vec![described(MediaKind::Audio, codecs)]);
        let mut intake = Intake::new(publisher.tracks()[0].clone(), &[]);
        let leading = || publisher.playables()[0].any_of[0].name.clone();
        assert_eq!(leading(), "opus", "the first that is audio");
        for (payload_type, name) in [(0, "PCMU"), (110, "PCMU"), (111, "opus")] {
            intake.take(Instant::now(), packet(1, payload_type, true));
            assert_eq!(leading(), name);
        }
    }
}
