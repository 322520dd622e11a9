//! The task that sends samples when they are due, and its handle.

use std::time::Duration;

use antiphon_container::{ReadError, Sample};
use antiphon_peer_connection::extension::VideoOrientation;
use antiphon_peer_connection::{Frame, RtcPeerConnectionState, TransceiverId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::clock::{Rounds, timestamp};
use super::source::Source;
use crate::error::Error;
use crate::handle::PeerHandle;

/// Samples that are read ahead.
const AHEAD: usize = 32;
/// Events that wait for the application; the last one always has a place.
const MAX_EVENTS: usize = 64;
/// How often a peer that is not connected yet is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Who is later than this was stopped, with the whole machine perhaps: what was missed is not sent all at once.
const MAX_LATE: Duration = Duration::from_secs(1);

/// Where the samples of a track go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outlet {
    pub(super) transceiver: TransceiverId,
    pub(super) payload_type: u8,
    pub(super) clock_rate: u32,
    /// How the picture is to be turned; `None` of sound.
    pub(super) orientation: Option<VideoOrientation>,
}

/// What a playback tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum PlayEvent {
    /// The first sample is sent: the peer is connected.
    Started,
    /// The file's end was reached, and it begins again.
    Looped,
    /// It is over; no event follows.
    Ended {
        /// Why it is over.
        end: PlayEnd,
        /// Frames and packets of sound that were handed to the peer.
        frames_sent: u64,
        /// Those that the peer refused: paused, or its queue full.
        frames_refused: u64,
    },
}

/// Why a playback is over.
#[derive(Debug)]
#[non_exhaustive]
pub enum PlayEnd {
    /// The file's end was reached.
    File,
    /// [`Playback::stop`], or the handle was dropped.
    Stopped,
    /// The peer is closed.
    Closed,
    /// The file is bad from here on. What came before was sent.
    Bad(ReadError),
}

/// What the task shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Play,
    Pause,
    Stop,
}

/// A file that is being played. Dropping it stops it.
#[derive(Debug)]
pub struct Playback {
    wish: watch::Sender<Wish>,
    events: mpsc::Receiver<PlayEvent>,
}

impl Playback {
    /// Reads on a thread of its own, and sends from a task.
    pub(super) fn start(
        peer: PeerHandle,
        source: Box<dyn Source>,
        outlets: Vec<Option<Outlet>>,
        looping: bool,
    ) -> Self {
        let (wish, wished) = watch::channel(Wish::Play);
        let (told, events) = mpsc::channel(MAX_EVENTS);
        let (samples, read) = mpsc::channel(AHEAD);
        let chosen = outlets.iter().map(Option::is_some).collect();
        tokio::task::spawn_blocking(move || read_ahead(source, chosen, looping, &samples));
        let player = Player {
            peer,
            rounds: Rounds::new(outlets.len()),
            outlets,
            wished,
            told,
            sent: 0,
            refused: 0,
        };
        tokio::spawn(player.run(read));
        Self { wish, events }
    }

    /// Sends nothing until [`Self::resume`]. The timestamps go on meanwhile, as time does.
    pub fn pause(&self) {
        self.set(Wish::Pause);
    }

    /// Goes on where it was paused.
    pub fn resume(&self) {
        self.set(Wish::Play);
    }

    /// Ends it; [`PlayEvent::Ended`] follows.
    pub fn stop(&self) {
        self.set(Wish::Stop);
    }

    fn set(&self, wish: Wish) {
        self.wish
            .send_if_modified(|now| *now != Wish::Stop && std::mem::replace(now, wish) != wish);
    }

    /// What happens; `None` after [`PlayEvent::Ended`]. Cancel safe.
    pub async fn next_event(&mut self) -> Option<PlayEvent> {
        self.events.recv().await
    }
}

/// What the reading thread hands over.
enum Read {
    Sample(Sample),
    Again,
    Bad(ReadError),
}

/// Reads the chosen tracks until the end, an error, or nobody wants more.
fn read_ahead(mut source: Box<dyn Source>, chosen: Vec<bool>, looping: bool, samples: &mpsc::Sender<Read>) {
    loop {
        let next = match source.next_sample() {
            Ok(Some(sample)) if !chosen.get(sample.track).is_some_and(|chosen| *chosen) => {
                if samples.is_closed() {
                    return;
                }
                continue;
            }
            Ok(Some(sample)) => Read::Sample(sample),
            Ok(None) if looping => match source.rewind() {
                Ok(()) => Read::Again,
                Err(error) => Read::Bad(error),
            },
            Ok(None) => return,
            Err(error) => Read::Bad(error),
        };
        let is_last = matches!(next, Read::Bad(_));
        if samples.blocking_send(next).is_err() || is_last {
            return;
        }
    }
}

/// The task.
struct Player {
    peer: PeerHandle,
    outlets: Vec<Option<Outlet>>,
    rounds: Rounds,
    wished: watch::Receiver<Wish>,
    told: mpsc::Sender<PlayEvent>,
    sent: u64,
    refused: u64,
}

impl Player {
    async fn run(mut self, samples: mpsc::Receiver<Read>) {
        // A place for the last event, whatever else waits.
        let Ok(place) = self.told.clone().reserve_owned().await else {
            return;
        };
        let end = self.play(samples).await;
        let (frames_sent, frames_refused) = (self.sent, self.refused);
        place.send(PlayEvent::Ended {
            end,
            frames_sent,
            frames_refused,
        });
    }

    async fn play(&mut self, mut samples: mpsc::Receiver<Read>) -> PlayEnd {
        if let Err(end) = self.connected().await {
            return end;
        }
        let _ = self.told.try_send(PlayEvent::Started);
        let mut start = Instant::now();
        // Nanoseconds of all pauses, by which timestamps are later than the file says.
        let mut paused = 0;
        let mut first = None;
        loop {
            let sample = tokio::select! {
                sample = samples.recv() => sample,
                () = stopped(&mut self.wished) => return PlayEnd::Stopped,
            };
            let sample = match sample {
                Some(Read::Sample(sample)) => sample,
                Some(Read::Again) => {
                    if !self.rounds.again() {
                        return PlayEnd::File;
                    }
                    let _ = self.told.try_send(PlayEvent::Looped);
                    continue;
                }
                Some(Read::Bad(error)) => return PlayEnd::Bad(error),
                None => return PlayEnd::File,
            };
            let Some(outlet) = self.outlets.get(sample.track).copied().flatten() else {
                continue;
            };
            let due = self
                .rounds
                .due(sample.track, sample.time, sample.duration, outlet.clock_rate);
            let from_first = due - *first.get_or_insert(due);
            let at = |start: Instant| start + Duration::from_nanos(u64::try_from(from_first).unwrap_or(0));
            loop {
                let wish = *self.wished.borrow_and_update();
                match wish {
                    Wish::Stop => return PlayEnd::Stopped,
                    Wish::Pause => {
                        let began = Instant::now();
                        if self.wished.changed().await.is_err() {
                            return PlayEnd::Stopped;
                        }
                        start += began.elapsed();
                        paused += began.elapsed().as_nanos() as i128;
                    }
                    Wish::Play => {
                        tokio::select! {
                            () = sleep_until(at(start)) => break,
                            changed = self.wished.changed() => if changed.is_err() { return PlayEnd::Stopped },
                        }
                    }
                }
            }
            let late = Instant::now().saturating_duration_since(at(start));
            if late > MAX_LATE {
                start += late;
                paused += late.as_nanos() as i128;
            }
            if let Err(end) = self.send(sample, outlet, due + paused, at(start)).await {
                return end;
            }
        }
    }

    /// Waits until the peer is connected.
    async fn connected(&mut self) -> Result<(), PlayEnd> {
        loop {
            match self.peer.connection_state().await {
                Ok(RtcPeerConnectionState::Connected) => return Ok(()),
                Ok(RtcPeerConnectionState::Closed) | Err(_) => return Err(PlayEnd::Closed),
                Ok(_) => {}
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = stopped(&mut self.wished) => return Err(PlayEnd::Stopped),
            }
        }
    }

    /// Sends a sample that is due at this moment on the line of the file, and `at` this one on ours.
    async fn send(&mut self, sample: Sample, outlet: Outlet, moment: i128, at: Instant) -> Result<(), PlayEnd> {
        let mut frame = Frame::new(outlet.payload_type, timestamp(moment, outlet.clock_rate), sample.data);
        // Sound and pictures are in step by when they are due, not by how late this machine is with each.
        frame.captured = Some(at.into_std());
        frame.key_frame = sample.key_frame;
        // 3GPP TS 26.114 §7.4.5: with every key frame, whether it has changed or not. It goes out if the peer has agreed to it.
        frame.extensions.video_orientation = outlet.orientation.filter(|_| sample.key_frame);
        match self.peer.send_frame(outlet.transceiver, frame).await {
            Ok(()) => self.sent += 1,
            Err(Error::Closed) => return Err(PlayEnd::Closed),
            // Any other refusal costs this frame only.
            Err(_) => self.refused += 1,
        }
        Ok(())
    }
}

/// Until it shall stop, or nobody holds the handle.
async fn stopped(wished: &mut watch::Receiver<Wish>) {
    let _ = wished.wait_for(|wish| *wish == Wish::Stop).await;
}
