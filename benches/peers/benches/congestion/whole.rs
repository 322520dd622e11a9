//! Whole str0m: its own ICE, DTLS, pacer, probes and estimator. Only what it asks its user for is ours: frames of the size that it asks for.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_sansio::{Datagram, Ecn, Path, Rng, Transmit, TransmitBuf};
use str0m::bwe::{Bitrate, BweKind};
use str0m::format::Codec;
use str0m::media::{Direction, Frequency, MediaKind, MediaTime, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

use crate::end::{Foreign, Terms};
use crate::source::{SOUND, Sound, Video};

/// The handshakes are over before the flow begins, in so much time.
const CONNECTING: Duration = Duration::from_secs(8);
const STEP: Duration = Duration::from_millis(5);
/// So often it is given one moment, and so much later the next if it still asks for that one.
const MAX_PASSES: usize = 10;
const SHORT: Duration = Duration::from_micros(100);

/// What the sending end sends.
struct Sources {
    video: Video,
    sound: Sound,
    /// The section and payload type of sound and video.
    tracks: [(Mid, Pt); 2],
}

/// One end.
pub(crate) struct End {
    rtc: Rtc,
    path: Path,
    addresses: [SocketAddr; 2],
    sources: Option<Sources>,
    /// When it was asked to be woken.
    due: Instant,
    waiting: VecDeque<Vec<u8>>,
    target: Option<u64>,
    frames: u64,
    video: Option<Mid>,
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl End {
    fn new(now: Instant, path: Path, local: SocketAddr, start: Option<u64>) -> Self {
        let mut config = Rtc::builder();
        if let Some(start) = start {
            config = config.enable_bwe(Some(Bitrate::bps(start)));
        }
        let mut rtc = config.build(now);
        let candidate = Candidate::host(local, "udp").expect("an address");
        rtc.add_local_candidate(candidate).expect("a new candidate");
        Self {
            rtc,
            path,
            addresses: [local, path.remote],
            sources: None,
            due: now,
            waiting: VecDeque::new(),
            target: None,
            frames: 0,
            video: None,
        }
    }

    /// Takes all that it has to say.
    fn poll(&mut self) {
        loop {
            match self.rtc.poll_output().expect("no error") {
                Output::Timeout(due) => {
                    self.due = due;
                    return;
                }
                Output::Transmit(transmit) => self.waiting.push_back(transmit.contents.to_vec()),
                Output::Event(event) => self.take(&event),
            }
        }
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => self.target = Some(estimate.as_u64()),
            Event::KeyframeRequest(_) => {
                if let Some(sources) = &mut self.sources {
                    sources.video.key_wanted = true;
                }
            }
            Event::MediaAdded(added) if added.kind == MediaKind::Video => self.video = Some(added.mid),
            Event::MediaData(data) if Some(data.mid) == self.video => self.frames += u64::from(data.contiguous),
            _ => {}
        }
    }

    fn pass(&mut self, now: Instant) {
        self.rtc.handle_input(Input::Timeout(now)).expect("no error");
        self.poll();
    }

    fn hear(&mut self, now: Instant, bytes: &[u8]) {
        let [local, remote] = self.addresses;
        let received = Receive::new(Protocol::Udp, remote, local, bytes).expect("a datagram");
        self.rtc.handle_input(Input::Receive(now, received)).expect("no error");
        self.poll();
    }

    /// Writes the frames that are due.
    fn write(&mut self, now: Instant) {
        let Some(sources) = &mut self.sources else { return };
        let mut frames = Vec::new();
        if sources.sound.next <= now {
            frames.push((sources.tracks[0], Frequency::FORTY_EIGHT_KHZ, sources.sound.frame()));
        }
        if sources.video.next <= now
            && let Some(frame) = sources
                .video
                .frame(now, self.target.map(|target| target.saturating_sub(SOUND as u64)))
        {
            frames.push((sources.tracks[1], Frequency::NINETY_KHZ, frame));
        }
        for ((mid, pt), frequency, frame) in frames {
            let time = MediaTime::new(u64::from(frame.timestamp), frequency);
            let data: Arc<[u8]> = frame.data.to_vec().into();
            if let Some(writer) = self.rtc.writer(mid) {
                // A full queue refuses it.
                let _ = writer.write(pt, now, time, data);
            }
            self.poll();
        }
    }
}

/// Two ends that are connected, and the first sends.
pub(crate) fn str0m(now: Instant, terms: &Terms, paths: [Path; 2], rng: &Rng) -> [Box<dyn Foreign>; 2] {
    let addresses = [paths[1].remote, paths[0].remote];
    let mut moment = now - CONNECTING;
    let start = terms.config.start_bitrate;
    let mut ends = [
        End::new(moment, paths[0], addresses[0], Some(start)),
        End::new(moment, paths[1], addresses[1], None),
    ];
    let mut changes = ends[0].rtc.sdp_api();
    let mids =
        [MediaKind::Audio, MediaKind::Video].map(|kind| changes.add_media(kind, Direction::SendOnly, None, None, None));
    let (offer, pending) = changes.apply().expect("an offer");
    let answer = ends[1].rtc.sdp_api().accept_offer(offer).expect("an answer");
    ends[0]
        .rtc
        .sdp_api()
        .accept_answer(pending, answer)
        .expect("it is taken");
    while moment < now {
        for end in 0..2 {
            ends[end].pass(moment);
            while let Some(bytes) = ends[end].waiting.pop_front() {
                ends[1 - end].hear(moment, &bytes);
            }
        }
        moment += STEP;
    }
    assert!(ends.iter().all(|end| end.rtc.is_connected()), "they connect");
    let tracks = [0, 1].map(|which| {
        let wanted = [Codec::Opus, Codec::Vp8][which];
        let mut codecs = ends[0].rtc.codec_config().params().iter();
        let codec = codecs.find(|codec| codec.spec().codec == wanted).expect("it knows it");
        (mids[which], codec.pt())
    });
    let [sender, _] = &mut ends;
    sender
        .rtc
        .bwe()
        .set_bitrate(Bitrate::ZERO, Bitrate::bps(terms.wanted as u64));
    sender.target = Some(start);
    sender.sources = Some(Sources {
        video: Video::new(now, terms.wanted, start as f64, rng.fork("video")),
        sound: Sound::new(now),
        tracks,
    });
    ends.map(|end| Box::new(end) as Box<dyn Foreign>)
}

impl Foreign for End {
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        self.hear(now, &datagram.data);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.write(now);
        for _ in 0..MAX_PASSES {
            if self.due > now {
                return;
            }
            self.pass(now);
        }
        // It asks for the moment that it was given.
        self.due = now + SHORT;
    }

    fn poll_transmit(&mut self, _: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        let bytes = self.waiting.pop_front()?;
        if !out.begin(0, 0) {
            self.waiting.push_front(bytes);
            return None;
        }
        out.put_slice(&bytes);
        Some(Transmit {
            path: self.path,
            range: out.finish(),
            segment_size: None,
            ecn: Ecn::NotEct,
        })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let sources = self.sources.as_ref();
        let due = sources.map(|sources| sources.video.next.min(sources.sound.next));
        Some(due.map_or(self.due, |due| due.min(self.due)))
    }

    fn target(&self) -> Option<u64> {
        self.target
    }

    fn frames(&self) -> u64 {
        self.frames
    }
}
