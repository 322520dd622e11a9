//! One end of a call: a whole session, with what an application would do around it.

use std::time::{Duration, Instant};

use antiphon_media::extension::{Kind as Extension, Map};
use antiphon_media::{
    Codec, Config, Event, Feedback, Kind, Outgoing, Output, ReceiverConfig, RemoteSource, SenderConfig, SenderId,
    Session,
};
use antiphon_netsim::Machine;
use antiphon_rtp::packet::is_rtcp;
use antiphon_sansio::{ClockAnchor, Datagram, Path, Rng, Transmit, TransmitBuf};

use super::source::{Sound, Video, target_of};

/// What was negotiated for a flow.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The settings of the sending session.
    pub(crate) config: Config,
    /// The most that the encoder makes, in bits a second.
    pub(crate) wanted: f64,
    /// Whether there is RTX.
    pub(crate) rtx: bool,
    /// The feedback that both understand.
    pub(crate) feedback: Feedback,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            config: Config {
                start_bitrate: 300_000,
                ..Config::default()
            },
            wanted: 5e6,
            rtx: true,
            feedback: Feedback {
                nack: true,
                pli: true,
                fir: true,
                remb: false,
                transport_cc: true,
                ccfb: false,
            },
        }
    }
}

fn codec(kind: Kind, terms: &Terms) -> Codec {
    let video = kind == Kind::Video;
    Codec {
        payload_type: if video { 96 } else { 111 },
        name: if video { "VP8" } else { "opus" }.into(),
        clock_rate: if video { 90_000 } else { 48_000 },
        channels: if video { 1 } else { 2 },
        fmtp: String::new(),
        rtx_payload_type: (video && terms.rtx).then_some(97),
        feedback: Feedback {
            nack: video && terms.feedback.nack,
            ..terms.feedback
        },
    }
}

fn extensions(terms: &Terms) -> Map {
    let mut map = Map::default();
    if terms.feedback.transport_cc {
        map.insert(3, Extension::TransportCc);
    }
    if terms.feedback.remb && !terms.feedback.transport_cc {
        map.insert(2, Extension::AbsSendTime);
    }
    map.insert(4, Extension::Mid);
    map
}

/// The SSRCs of sound, video, and its retransmissions.
const SSRCS: [u32; 3] = [1, 2, 3];

/// A session on a socket.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) session: Session,
    path: Path,
    pub(crate) video: Option<(SenderId, Video)>,
    pub(crate) sound: Option<(SenderId, Sound)>,
    /// Whole frames of video that came.
    pub(crate) frames: u64,
}

impl End {
    fn bare(session: Session, path: Path) -> Self {
        Self {
            session,
            path,
            video: None,
            sound: None,
            frames: 0,
        }
    }

    /// Sends sound and video from now on; `rtt` is what ICE has measured.
    pub(crate) fn sender(now: Instant, terms: &Terms, path: Path, rtt: Duration, rng: &Rng) -> Self {
        let anchor = ClockAnchor::new(now, Duration::from_secs(1_700_000_000));
        let mut session = Session::new(terms.config.clone(), now, anchor, rng.fork("session"));
        session.set_rtt(rtt);
        let mut add = |mid: &str, kind: Kind, ssrc: u32, rtx_ssrc: Option<u32>| {
            let config = SenderConfig {
                mid: mid.into(),
                rid: None,
                kind,
                ssrc,
                rtx_ssrc,
                fec_ssrc: None,
                codecs: vec![codec(kind, terms)],
                extensions: extensions(terms),
            };
            session.add_sender(now, config).expect("a new sender")
        };
        let sound = add("a", Kind::Audio, SSRCS[0], None);
        let video = add("v", Kind::Video, SSRCS[1], terms.rtx.then_some(SSRCS[2]));
        let start = terms.config.start_bitrate as f64;
        let source = Video::new(now, terms.wanted, start, rng.fork("video"));
        Self {
            video: Some((video, source)),
            sound: Some((sound, Sound::new(now))),
            ..Self::bare(session, path)
        }
    }

    /// Receives what [`Self::sender`] sends.
    pub(crate) fn receiver(now: Instant, terms: &Terms, path: Path, rng: &Rng) -> Self {
        let anchor = ClockAnchor::new(now, Duration::from_secs(1_700_001_000));
        let config = Config::default();
        let mut session = Session::new(config, now, anchor, rng.fork("receiver"));
        for (mid, kind) in [("a", Kind::Audio), ("v", Kind::Video)] {
            let video = kind == Kind::Video;
            let source = RemoteSource {
                ssrc: SSRCS[usize::from(video)],
                rtx_ssrc: (video && terms.rtx).then_some(SSRCS[2]),
                fec_ssrc: None,
            };
            let config = ReceiverConfig {
                mid: mid.into(),
                kind,
                codecs: vec![codec(kind, terms)],
                extensions: extensions(terms),
                sources: vec![source],
                rids: vec![],
                output: Output::Frames,
            };
            session.add_receiver(config).expect("a new receiver");
        }
        Self::bare(session, path)
    }
}

impl Machine for End {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        let packet = antiphon_sansio::Packet {
            ecn: datagram.ecn,
            data: datagram.data,
        };
        if is_rtcp(&packet.data) {
            self.session.handle_rtcp(now, packet);
        } else {
            self.session.handle_rtp(now, packet);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some((id, sound)) = &mut self.sound
            && sound.next <= now
        {
            let _ = self.session.send_frame(now, *id, sound.frame());
        }
        if let Some((id, video)) = &mut self.video
            && video.next <= now
            && let Some(frame) = video.frame(now, target_of(&self.session))
        {
            // A full queue refuses it: the encoder skips a frame.
            let _ = self.session.send_frame(now, *id, frame);
        }
        self.session.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        let Outgoing { ecn, .. } = self.session.poll_transmit(now, out)?;
        Some(Transmit {
            path: self.path,
            range: out.finish(),
            segment_size: None,
            ecn,
        })
    }

    fn poll_event(&mut self) -> Option<Event> {
        loop {
            match self.session.poll_event()? {
                Event::Frame { ssrc, .. } => self.frames += u64::from(ssrc == SSRCS[1]),
                Event::KeyFrameRequested { .. } => {
                    if let Some((_, video)) = &mut self.video {
                        video.key_wanted = true;
                    }
                }
                Event::TargetBitrate { .. } | Event::NewSource { .. } => {}
                other => return Some(other),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let sound = self.sound.as_ref().map(|(_, sound)| sound.next);
        let video = self.video.as_ref().map(|(_, video)| video.next);
        [sound, video, self.session.poll_timeout()].into_iter().flatten().min()
    }

    fn close(&mut self, _: Instant) {
        self.session.close();
        (self.sound, self.video) = (None, None);
    }
}
