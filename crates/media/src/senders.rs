//! The outgoing streams of a session, and whose turn it is: those that have something to send stand in a queue, sound and pictures
//! apart.

use std::collections::VecDeque;
use std::time::Instant;

use crate::breaker::Breaker;
use crate::config::Kind;
use crate::event::SenderId;
use crate::outbound::Outbound;
use crate::share::Share;

/// All senders. Whoever gives one something to send, or takes it away, calls [`Self::wake`].
#[derive(Debug, Default)]
pub(crate) struct Senders {
    /// In order of their ids.
    all: Vec<Entry>,
    /// Those of each kind that have something to send; the first has its turn.
    audio: VecDeque<SenderId>,
    video: VecDeque<SenderId>,
    /// The earliest moment at which a request for a key frame may reach the application.
    key_frame_due: Option<Instant>,
    /// The earliest moment at which one that plays keys of a telephone has more to play.
    dtmf_due: Option<Instant>,
}

/// One of them.
#[derive(Debug)]
struct Entry {
    id: SenderId,
    /// Boxed: it is large, and moves when one before it goes.
    sender: Box<Outbound>,
    /// What it has of the session's rate.
    share: Share,
    /// What watches over it, once there are reports or none come.
    breaker: Option<Box<Breaker>>,
}

impl Senders {
    #[inline]
    fn place(&self, id: SenderId) -> Result<usize, usize> {
        self.all.binary_search_by_key(&id, |entry| entry.id)
    }

    pub(crate) fn insert(&mut self, id: SenderId, sender: Outbound) {
        match self.place(id) {
            Ok(at) => *self.all[at].sender = sender,
            Err(at) => {
                let entry = Entry {
                    id,
                    sender: Box::new(sender),
                    share: Share::default(),
                    breaker: None,
                };
                self.all.insert(at, entry);
            }
        }
    }

    pub(crate) fn remove(&mut self, id: SenderId) -> Option<Outbound> {
        let entry = self.place(id).ok().map(|at| self.all.remove(at))?;
        self.wake(id);
        Some(*entry.sender)
    }

    pub(crate) fn get(&self, id: SenderId) -> Option<&Outbound> {
        let at = self.place(id).ok()?;
        Some(&self.all[at].sender)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: SenderId) -> Option<&mut Outbound> {
        let at = self.place(id).ok()?;
        Some(&mut self.all[at].sender)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SenderId, &Outbound)> {
        self.all.iter().map(|entry| (entry.id, &*entry.sender))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Outbound> {
        self.all.iter_mut().map(|entry| &mut *entry.sender)
    }

    /// What a sender has of the session's rate.
    pub(crate) fn share(&self, id: SenderId) -> Option<&Share> {
        let at = self.place(id).ok()?;
        Some(&self.all[at].share)
    }

    pub(crate) fn share_mut(&mut self, id: SenderId) -> Option<&mut Share> {
        let at = self.place(id).ok()?;
        Some(&mut self.all[at].share)
    }

    /// The first sender of which that is true.
    pub(crate) fn find(&self, is: impl Fn(&Outbound) -> bool) -> Option<SenderId> {
        self.iter().find(|(_, sender)| is(sender)).map(|(id, _)| id)
    }

    /// What watches over a sender.
    pub(crate) fn breaker(&self, id: SenderId) -> Option<&Breaker> {
        let at = self.place(id).ok()?;
        self.all[at].breaker.as_deref()
    }

    /// All, each with what watches over it.
    pub(crate) fn breakers(&mut self) -> impl Iterator<Item = (SenderId, &mut Outbound, &mut Breaker)> {
        let all = self.all.iter_mut();
        all.filter_map(|entry| Some((entry.id, &mut *entry.sender, entry.breaker.as_deref_mut()?)))
    }

    /// A sender, and what watches over it.
    pub(crate) fn watched(&mut self, id: SenderId) -> Option<(&Outbound, &mut Breaker)> {
        let at = self.place(id).ok()?;
        let entry = &mut self.all[at];
        Some((&entry.sender, entry.breaker.get_or_insert_default()))
    }

    /// All, each with what it has of the session's rate.
    pub(crate) fn shares(&mut self) -> impl Iterator<Item = (SenderId, &Outbound, &mut Share)> {
        let all = self.all.iter_mut();
        all.map(|entry| (entry.id, &*entry.sender, &mut entry.share))
    }

    /// The sender of this SSRC.
    pub(crate) fn by_ssrc(&self, ssrc: u32) -> Option<SenderId> {
        let mut all = self.iter();
        all.find(|(_, sender)| sender.config.ssrc == ssrc).map(|(id, _)| id)
    }

    /// What repairs add to each byte of media, where they add most: of video, which has nearly all bytes.
    pub(crate) fn redundancy_overhead(&self) -> f64 {
        let all = self.iter().filter(|(_, sender)| sender.sends());
        all.map(|(_, sender)| sender.redundancy_overhead()).fold(0.0, f64::max)
    }

    #[inline]
    fn queue(&mut self, kind: Kind) -> &mut VecDeque<SenderId> {
        match kind {
            Kind::Audio => &mut self.audio,
            Kind::Video => &mut self.video,
        }
    }

    /// Looks whether a sender has something to send, and lets it stand in the queue or leave it.
    #[inline]
    pub(crate) fn wake(&mut self, id: SenderId) {
        match self.get_mut(id) {
            Some(sender) if sender.sends() && sender.waits() => {
                if !std::mem::replace(&mut sender.queued, true) {
                    let kind = sender.config.kind;
                    self.queue(kind).push_back(id);
                }
            }
            Some(Outbound { queued: false, .. }) => {}
            sender => {
                if let Some(sender) = sender {
                    sender.queued = false;
                }
                self.audio.retain(|queued| *queued != id);
                self.video.retain(|queued| *queued != id);
            }
        }
    }

    /// Whether anybody has something to send.
    #[inline]
    pub(crate) fn any_waits(&self) -> bool {
        !self.audio.is_empty() || !self.video.is_empty()
    }

    /// Whose turn it is, if anybody has something to send.
    #[inline]
    pub(crate) fn first(&self, kind: Kind) -> Option<SenderId> {
        match kind {
            Kind::Audio => self.audio.front(),
            Kind::Video => self.video.front(),
        }
        .copied()
    }

    /// The first has had its turn: it stands behind the others, if it has more to send.
    #[inline]
    pub(crate) fn turn(&mut self, kind: Kind) {
        let Some(id) = self.queue(kind).pop_front() else {
            return;
        };
        let Some(sender) = self.get_mut(id) else { return };
        sender.queued = sender.sends() && sender.waits();
        if sender.queued {
            self.queue(kind).push_back(id);
        }
    }

    /// When a request for a key frame may reach the application, if one waits.
    #[inline]
    pub(crate) fn key_frame_due(&self) -> Option<Instant> {
        self.key_frame_due
    }

    /// A sender whose request has waited long enough.
    pub(crate) fn first_key_frame_due(&self, now: Instant) -> Option<SenderId> {
        let due = |sender: &Outbound| sender.key_frames.due.is_some_and(|at| at <= now);
        self.iter().find(|(_, sender)| due(sender)).map(|(id, _)| id)
    }

    /// Looks again when that is.
    pub(crate) fn reschedule(&mut self) {
        self.key_frame_due = self.iter().filter_map(|(_, sender)| sender.key_frames.due).min();
        self.reschedule_dtmf();
    }

    /// When one that plays keys of a telephone has more to play.
    #[inline]
    pub(crate) fn dtmf_due(&self) -> Option<Instant> {
        self.dtmf_due
    }

    /// A sender that has.
    pub(crate) fn first_dtmf_due(&self, now: Instant) -> Option<SenderId> {
        let due = |sender: &Outbound| sender.dtmf_deadline().is_some_and(|at| at <= now);
        self.iter().find(|(_, sender)| due(sender)).map(|(id, _)| id)
    }

    /// Looks again when that is.
    pub(crate) fn reschedule_dtmf(&mut self) {
        self.dtmf_due = self.iter().filter_map(|(_, sender)| sender.dtmf_deadline()).min();
    }
}
