//! The recorder's task: which frames become samples of which track, and when they are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_container::{Codec, Format, Media, Rotation, Sample, Track};
use antiphon_peer_connection::{Frame, TransceiverId};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::error::RecorderError;
use super::file::{Pen, Target};
use super::input::{Heard, Input};
use super::line::{Line, Report};
use super::stats::Counts;
use super::waiting::{PATIENCE, Waiting};
use crate::handle::PeerHandle;

/// How often sender reports are looked for. They come every five seconds or so.
const LOOK: Duration = Duration::from_millis(500);
/// A key frame is asked for again if none has come for so long.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Sources that are kept in mind, those included that have no track.
const MAX_SOURCES: usize = 64;

/// One incoming track.
struct Source {
    peer: usize,
    handle: PeerHandle,
    transceiver: TransceiverId,
    ssrc: Option<u32>,
    /// The codecs that were agreed upon, by payload type.
    codecs: Vec<(u8, Codec, u32, u16)>,
    is_video: bool,
    /// Known when the first frame that can be decoded has come.
    track: Option<Track>,
    /// Its place in the file, once that has begun.
    index: Option<usize>,
    line: Option<Line>,
    report: Option<Report>,
    needs_key: bool,
    asked: Option<Instant>,
    /// The time of the last sample, in its ticks.
    last: Option<i64>,
}

/// The task.
pub(super) struct Task {
    /// Until the file begins.
    out: Option<Box<dyn Target>>,
    format: Format,
    shared: Arc<Counts>,
    sources: Vec<Source>,
    waiting: Waiting,
    /// When the first frame came that can be decoded.
    first: Option<Instant>,
    pen: Option<Pen>,
    /// By peer: NTP less the file's time, where the reports of all its sources decided.
    offsets: Vec<(usize, i64)>,
}

impl Task {
    pub(super) fn new(out: Box<dyn Target>, format: Format, shared: Arc<Counts>) -> Self {
        Self {
            out: Some(out),
            format,
            shared,
            sources: Vec::new(),
            waiting: Waiting::default(),
            first: None,
            pen: None,
            offsets: Vec::new(),
        }
    }

    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let answer = loop {
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(Input::Frame(heard)) => self.take(*heard).await,
                    Some(Input::Finish(answer)) => break Some(answer),
                    None => break None,
                },
                _ = look.tick() => self.look().await,
            }
        };
        self.look().await;
        self.begin();
        let result = match self.pen.take() {
            Some(pen) => pen.finish().await,
            None => Err(RecorderError::Nothing),
        };
        match answer {
            // Nobody may wait for it any more.
            Some(answer) => _ = answer.send(result),
            None => {
                if let Err(error) = result {
                    tracing::warn!(%error, "the recording was not finished");
                }
            }
        }
    }

    async fn take(&mut self, heard: Heard) {
        let is_own = |source: &Source| source.peer == heard.peer && source.transceiver == heard.transceiver;
        let mut found = self.sources.iter().position(is_own);
        if found.is_none() {
            self.learn(&heard).await;
            found = self.sources.iter().position(is_own);
        }
        let Some(source) = found.and_then(|index| self.sources.get_mut(index)) else {
            return Counts::count(&self.shared.without_track);
        };
        let codec = source
            .codecs
            .iter()
            .find(|(payload_type, ..)| *payload_type == heard.frame.payload_type);
        let Some((_, codec, clock_rate, channels)) = codec.cloned() else {
            return Counts::count(&self.shared.without_track);
        };
        if source.is_video {
            source.needs_key |= heard.discontinuity;
            if source.needs_key && !heard.frame.key_frame {
                Counts::count(&self.shared.before_key_frame);
                return source.ask(heard.at).await;
            }
        }
        match &source.track {
            Some(track) if track.codec != codec => return Counts::count(&self.shared.other_codec),
            Some(_) => {}
            None => {
                let Some(track) = track_of(codec, clock_rate, channels, &heard.frame) else {
                    // A key frame without what a decoder must be told is none.
                    Counts::count(&self.shared.before_key_frame);
                    return source.ask(heard.at).await;
                };
                source.track = Some(track);
            }
        }
        source.needs_key = false;
        let first = *self.first.get_or_insert(heard.at);
        let arrival = i64::try_from(heard.at.saturating_duration_since(first).as_nanos()).unwrap_or(i64::MAX);
        if source.line.is_none() || source.ssrc != Some(heard.ssrc) {
            // Another source goes on where it arrives.
            source.line = Some(Line::new(heard.frame.timestamp, arrival, clock_rate));
            (source.ssrc, source.report) = (Some(heard.ssrc), None);
        }
        let index = found.unwrap_or_default();
        if self.pen.is_some() {
            self.write(index, heard).await;
        } else {
            self.waiting.push(index, heard);
            if self.waiting.is_full() {
                self.begin();
            }
        }
    }

    /// A peer that was not heard before: what it has agreed to send.
    async fn learn(&mut self, heard: &Heard) {
        let Ok(transceivers) = heard.handle.transceivers().await else {
            return;
        };
        for transceiver in transceivers {
            if heard
                .only
                .as_ref()
                .is_some_and(|only| !only.contains(&transceiver.id()))
            {
                continue;
            }
            let known = |source: &Source| source.peer == heard.peer && source.transceiver == transceiver.id();
            let receives = transceiver
                .current_direction()
                .is_some_and(|direction| direction.receives());
            let Some(parameters) = transceiver.receive().filter(|_| receives && !transceiver.stopped()) else {
                continue;
            };
            if self.sources.iter().any(known) || self.sources.len() >= MAX_SOURCES {
                continue;
            }
            let codecs = parameters.codecs.iter().map(|codec| {
                let channels = codec.channels.unwrap_or(1).into();
                (
                    codec.payload_type,
                    Codec::of_name(&codec.name),
                    codec.clock_rate,
                    channels,
                )
            });
            let mut source = Source {
                peer: heard.peer,
                handle: heard.handle.clone(),
                transceiver: transceiver.id(),
                ssrc: None,
                codecs: codecs.collect(),
                is_video: transceiver.kind() == antiphon_peer_connection::MediaKind::Video,
                track: None,
                index: None,
                line: None,
                report: None,
                needs_key: true,
                asked: None,
                last: None,
            };
            if source.is_video {
                source.ask(heard.at).await;
            }
            self.sources.push(source);
        }
    }

    /// Looks for sender reports, and whether the file can begin.
    async fn look(&mut self) {
        let mut peers: Vec<usize> = self.sources.iter().map(|source| source.peer).collect();
        peers.dedup();
        for peer in peers {
            let Some(source) = self.sources.iter().find(|source| source.peer == peer) else {
                continue;
            };
            let Ok(report) = source.handle.get_stats().await else {
                continue;
            };
            for remote in report.remote_outbound_rtp() {
                let of = |source: &&mut Source| source.peer == peer && source.ssrc == Some(remote.ssrc);
                let Some(source) = self.sources.iter_mut().find(of) else {
                    continue;
                };
                let report = Report {
                    ntp: remote.ntp_timestamp,
                    rtp_timestamp: remote.rtp_timestamp,
                };
                if source.report.replace(report) == Some(report) || self.pen.is_none() {
                    continue;
                }
                let offset = self.offsets.iter().find(|(other, _)| *other == peer);
                if let (Some((_, offset)), Some(line)) = (offset, &mut source.line) {
                    line.correct(report, *offset, false);
                }
            }
        }
        let Some(first) = self.first.filter(|_| self.pen.is_none()) else {
            return;
        };
        let is_ready = |source: &Source| source.track.is_some() && source.report.is_some();
        if self.sources.iter().all(is_ready) || first.elapsed() >= PATIENCE {
            self.begin();
        }
    }

    /// Begins the file with the tracks that are there, and writes what waited.
    fn begin(&mut self) {
        if self.first.is_none() {
            return;
        }
        let Some(out) = self.out.take() else { return };
        let mut tracks = Vec::new();
        for source in &mut self.sources {
            let fits = |track: &&Track| self.format.holds(&track.codec) && tracks.len() < self.format.max_tracks();
            if let Some(track) = source.track.as_ref().filter(fits) {
                source.index = Some(tracks.len());
                tracks.push(track.clone());
            }
        }
        self.set_in_step();
        let waited = self.waiting.take();
        let mut samples = Vec::with_capacity(waited.len());
        for (index, heard) in waited {
            match self.sample(index, &heard) {
                Some((at, sample)) => samples.push((at, sample)),
                None => Counts::count(&self.shared.without_track),
            }
        }
        let begin = samples.iter().map(|(at, _)| *at).min().unwrap_or(0);
        // By time: a track that came late begins late. But those of one track stay in the order in which they came, which is that of
        // decoding: pictures may be shown in another one.
        let mut latest = vec![i64::MIN; tracks.len()];
        for (at, sample) in &mut samples {
            if let Some(latest) = latest.get_mut(sample.track) {
                *latest = (*latest).max(*at);
                *at = *latest;
            }
        }
        samples.sort_by_key(|(at, _)| *at);
        for source in &mut self.sources {
            let Some(line) = &mut source.line else { continue };
            line.shift(begin);
            let (Some(track), Some(last)) = (&source.track, &mut source.last) else {
                continue;
            };
            *last = last.saturating_sub(ticks(begin, track.clock_rate));
        }
        for (_, offset) in &mut self.offsets {
            *offset = offset.saturating_add(begin);
        }
        let samples = samples.into_iter().map(|(_, mut sample)| {
            let rate = tracks.get(sample.track).map_or(1, |track| track.clock_rate);
            sample.time = sample.time.saturating_sub(ticks(begin, rate));
            sample
        });
        let samples = samples.collect();
        self.pen = Some(Pen::start(out, self.format, tracks, samples, self.shared.clone()));
    }

    /// Sets the sources of each peer against each other, if reports of all of them have come.
    fn set_in_step(&mut self) {
        let mut peers: Vec<usize> = self.sources.iter().map(|source| source.peer).collect();
        peers.dedup();
        for peer in peers {
            let own = self
                .sources
                .iter_mut()
                .filter(|source| source.peer == peer && source.index.is_some());
            let mut own: Vec<_> = own.map(|source| (&mut source.line, source.report)).collect();
            if own.is_empty() || own.iter().any(|(line, report)| line.is_none() || report.is_none()) {
                continue;
            }
            let reference = own
                .iter()
                .find_map(|(line, report)| Some(line.as_ref()?.offset((*report)?)));
            let Some(offset) = reference else { continue };
            for (line, report) in &mut own {
                if let (Some(line), Some(report)) = (line, report) {
                    line.correct(*report, offset, true);
                }
            }
            self.offsets.push((peer, offset));
        }
    }

    /// A frame as a sample, and when it is in nanoseconds; `None` if its source has no track.
    fn sample(&mut self, index: usize, heard: &Heard) -> Option<(i64, Sample)> {
        let source = self.sources.get_mut(index)?;
        let (place, track) = (source.index?, source.track.as_ref()?);
        let at = source.line.as_mut()?.time(heard.frame.timestamp);
        let mut time = ticks(at, track.clock_rate);
        // Sound goes forward; a correction may set it back by a little. Pictures may be out of order.
        if !source.is_video {
            time = source.last.map_or(time, |last| time.max(last + 1));
        }
        source.last = Some(time);
        let kept = if self.format.holds_rotation() {
            track.rotation()
        } else {
            Rotation::None
        };
        if source.is_video && rotation_of(&heard.frame) != kept {
            Counts::count(&self.shared.turned);
        }
        let sample = Sample {
            track: place,
            time,
            duration: None,
            key_frame: heard.frame.key_frame || !source.is_video,
            data: heard.frame.data.clone(),
        };
        Some((at, sample))
    }

    async fn write(&mut self, index: usize, heard: Heard) {
        let Some((_, sample)) = self.sample(index, &heard) else {
            return Counts::count(&self.shared.without_track);
        };
        if !self.hand_over(sample)
            && let Some(source) = self.sources.get_mut(index).filter(|source| source.is_video)
        {
            source.needs_key = true;
            source.ask(heard.at).await;
        }
    }

    fn hand_over(&self, sample: Sample) -> bool {
        let taken = self.pen.as_ref().is_some_and(|pen| pen.write(sample));
        if !taken {
            Counts::count(&self.shared.dropped);
        }
        taken
    }
}

impl Source {
    /// Asks for a key frame, but not all the time.
    async fn ask(&mut self, now: Instant) {
        if self
            .asked
            .is_some_and(|asked| now.saturating_duration_since(asked) < ASK_AGAIN)
        {
            return;
        }
        self.asked = Some(now);
        // A peer that is gone sends none.
        let _ = self.handle.request_key_frame(self.transceiver).await;
    }
}

/// The track that a frame begins.
fn track_of(codec: Codec, clock_rate: u32, channels: u16, frame: &Frame) -> Option<Track> {
    if !codec.is_video() {
        return Some(Track::audio(codec, clock_rate, channels));
    }
    let mut track = Track::of_key_frame(codec, &frame.data)?;
    if let Media::Video { rotation, .. } = &mut track.media {
        *rotation = rotation_of(frame);
    }
    Some(track)
}

/// How a picture is to be turned. Frames that do not say it themselves have what was said last.
fn rotation_of(frame: &Frame) -> Rotation {
    let told = frame.extensions.video_orientation;
    told.map_or(Rotation::None, |told| Rotation::of_quarter_turns(told.quarter_turns))
}

fn ticks(nanoseconds: i64, rate: u32) -> i64 {
    let ticks = (i128::from(nanoseconds) * i128::from(rate) + 500_000_000).div_euclid(1_000_000_000);
    i64::try_from(ticks).unwrap_or(0)
}
