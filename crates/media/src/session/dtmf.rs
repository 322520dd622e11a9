//! Keys of a telephone out: what the application wants played, and when (W3C `RTCDTMFSender`).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Session;
use crate::config::Kind;
use crate::dtmf::{Dtmf, Due, MAX_TONES, Report, Voice, normalized};
use crate::error::Error;
use crate::event::{Event, SenderId};
use crate::outbound::Outbound;
use crate::ring::{Head, Ticks};

impl Session {
    /// W3C `insertDTMF`: plays keys of a telephone by telephone events (RFC 4733), in the place of whatever keys still wait; one
    /// that is being played goes on to its end, and an empty string lets it be the last. `tones` are `0` to `9`, `*`, `#`, `A`
    /// to `D` in either case; at `,` the next one waits for 2 seconds. Each is heard for `duration`, which is brought into 40
    /// to 6000 ms, with silence of `gap` behind it, at least 30 ms. What is played is told by [`Event::ToneChange`].
    ///
    /// Sound of this sender is left out while a key is heard.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::UnknownId`], [`Error::Inactive`], [`Error::Ceased`], [`Error::NoTelephoneEvents`]; [`Error::NotATone`] and
    /// [`Error::TooManyTones`] if that is wrong with `tones`. Then nothing has changed.
    pub fn insert_dtmf(
        &mut self,
        now: Instant,
        id: SenderId,
        tones: &str,
        duration: Duration,
        gap: Duration,
    ) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        let sender = self.senders.get_mut(id).ok_or(Error::UnknownId)?;
        if !sender.active {
            return Err(Error::Inactive);
        }
        if sender.ceased {
            return Err(Error::Ceased);
        }
        if !can_play(sender) {
            return Err(Error::NoTelephoneEvents);
        }
        let normal = tones.chars().map(|tone| normalized(tone).ok_or(Error::NotATone(tone)));
        let tones: String = normal.collect::<Result<_, _>>()?;
        if tones.len() > MAX_TONES {
            return Err(Error::TooManyTones);
        }
        let dtmf = sender.dtmf.get_or_insert_default();
        dtmf.insert(now, tones, duration, gap);
        self.play_dtmf(now);
        Ok(())
    }

    /// W3C `canInsertDTMF`: whether [`Self::insert_dtmf`] would be heard.
    pub fn can_insert_dtmf(&self, id: SenderId) -> bool {
        let sender = self.senders.get(id);
        !self.closed && sender.is_some_and(|sender| sender.sends() && can_play(sender))
    }

    /// W3C `toneBuffer`: the keys that are still to be played.
    pub fn tone_buffer(&self, id: SenderId) -> &str {
        let sender = self.senders.get(id);
        sender
            .and_then(|sender| sender.dtmf.as_deref())
            .map_or("", Dtmf::buffer)
    }

    /// Sends and tells what is due of the keys.
    pub(super) fn play_dtmf(&mut self, now: Instant) {
        let ticks = self.moment(now).ticks;
        while let Some(id) = self.senders.first_dtmf_due(now) {
            let Some(sender) = self.senders.get_mut(id) else { break };
            let Some(mut dtmf) = sender.dtmf.take() else { break };
            while let Some(due) = dtmf.poll(now, || voice(sender, now)) {
                match due {
                    Due::Report(report) => queue(sender, now, ticks, &report),
                    Due::Tone(tone) => self.events.push(Event::ToneChange { sender: id, tone }),
                }
            }
            sender.dtmf = Some(dtmf);
            self.senders.wake(id);
        }
        self.senders.reschedule_dtmf();
    }
}

fn can_play(sender: &Outbound) -> bool {
    sender.config.kind == Kind::Audio && sender.telephone_events().is_some()
}

/// How a key that begins now is sent.
fn voice(sender: &Outbound, now: Instant) -> Option<Voice> {
    let codec = sender.telephone_events()?;
    Some(Voice {
        payload_type: codec.payload_type,
        clock_rate: codec.clock_rate,
        // RFC 4733 §2.2.1: the moment at which it began, on the clock of the stream.
        timestamp: sender.timestamp_at(now).unwrap_or(sender.timestamp_offset),
    })
}

/// Queues a packet in the numbers and under the SSRC of the sound (RFC 4733 §2.1). Where there is no room it is left out: the next
/// one says the same.
fn queue(sender: &mut Outbound, now: Instant, ticks: Ticks, report: &Report) {
    if sender.ring.room() == 0 {
        sender.count.given().frames.refused += 1;
        return;
    }
    // What is forwarded goes on behind it, under other numbers.
    sender.forward = None;
    let head = Head {
        timestamp: report.timestamp,
        payload_type: report.payload_type,
        marker: report.marker,
    };
    let next = sender.ring.next();
    let payload = Bytes::copy_from_slice(&report.payload);
    sender.ring.push(ticks, next, head, payload, None);
    // The clock goes on though no sound is sent.
    if sender.newest_timestamp.is_none() {
        sender.newest_timestamp = Some((report.timestamp, now));
    }
}
