//! Senders and receivers as negotiated: added, changed, removed.

use std::time::{Duration, Instant};

use super::Session;
use crate::config::{Feedback, MAX_JITTER_BUFFER_TARGET, Output, ReceiverConfig, SenderConfig};
use crate::error::Error;
use crate::event::{ReceiverId, SenderId};
use crate::feedback::large::LargePackets;
use crate::outbound::Outbound;
use crate::transform::FrameTransform;

impl Session {
    /// The canonical name of all local sources: for `a=ssrc` lines.
    pub fn cname(&self) -> &str {
        &self.config.cname
    }

    /// Adds an outgoing stream, active at once.
    ///
    /// # Errors
    /// [`Error::SsrcInUse`] if another sender has one of its SSRCs; [`Error::Closed`].
    pub fn add_sender(&mut self, now: Instant, config: SenderConfig) -> Result<SenderId, Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        self.check_ssrcs(None, &config)?;
        let id = SenderId(self.next_id);
        self.next_id += 1;
        let redundancy = self.config.redundancy;
        self.senders
            .insert(id, Outbound::new(now, config, redundancy, &mut self.rng));
        self.expect_feedback();
        Ok(id)
    }

    fn check_ssrcs(&self, id: Option<SenderId>, config: &SenderConfig) -> Result<(), Error> {
        let ssrcs = |config: &SenderConfig| [Some(config.ssrc), config.rtx_ssrc, config.fec_ssrc];
        let wanted = ssrcs(config);
        let others = self.senders.iter().filter(|(other, _)| Some(*other) != id);
        let mut taken = others.flat_map(|(_, sender)| ssrcs(&sender.config)).flatten();
        let own = wanted.into_iter().flatten();
        let twice = own
            .clone()
            .any(|ssrc| own.clone().filter(|other| *other == ssrc).count() > 1);
        if twice || taken.any(|ssrc| wanted.contains(&Some(ssrc))) {
            return Err(Error::SsrcInUse);
        }
        Ok(())
    }

    /// Replaces what was negotiated for a sender; an unchanged SSRC keeps sequence, ring and statistics.
    ///
    /// # Errors
    /// [`Error::UnknownId`]; [`Error::SsrcInUse`] if another sender has one of the new SSRCs.
    pub fn update_sender(&mut self, now: Instant, id: SenderId, config: SenderConfig) -> Result<(), Error> {
        self.check_ssrcs(Some(id), &config)?;
        let sender = self.senders.get_mut(id).ok_or(Error::UnknownId)?;
        if sender.config.ssrc == config.ssrc {
            sender.renegotiate(config, self.config.redundancy, &mut self.rng);
        } else {
            if sender.count.packets > 0 {
                self.reports.byes.push(sender.config.ssrc);
            }
            let mut fresh = Outbound::new(now, config, self.config.redundancy, &mut self.rng);
            (fresh.active, fresh.ceased, fresh.queued) = (sender.active, sender.ceased, sender.queued);
            *sender = fresh;
        }
        self.expect_feedback();
        self.senders.wake(id);
        self.senders.reschedule();
        Ok(())
    }

    /// Lets a sender send or not, as the negotiated direction says. What waits is dropped.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn set_sender_active(&mut self, id: SenderId, active: bool) -> Result<(), Error> {
        let sender = self.senders.get_mut(id).ok_or(Error::UnknownId)?;
        if !active {
            sender.drop_queued();
        }
        sender.active = active;
        self.senders.wake(id);
        self.senders.reschedule_dtmf();
        Ok(())
    }

    /// What a sender is given comes from another source from now on: whatever its timestamps begin with, the next frame follows on the
    /// last by the time that has passed.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn change_source(&mut self, id: SenderId) -> Result<(), Error> {
        let sender = self.senders.get_mut(id).ok_or(Error::UnknownId)?;
        sender.source_changed = sender.newest_timestamp.is_some();
        Ok(())
    }

    /// Lets `transform` see each frame of a sender before it is cut into packets, in the place of the one before it; `None`: no
    /// more.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn set_sender_transform(
        &mut self,
        id: SenderId,
        transform: Option<Box<dyn FrameTransform>>,
    ) -> Result<(), Error> {
        self.senders.get(id).ok_or(Error::UnknownId)?;
        self.transforms.set(id, transform);
        Ok(())
    }

    /// Lets `transform` see each whole frame that a receiver has put together, before the application does; `None`: no more.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn set_receiver_transform(
        &mut self,
        id: ReceiverId,
        transform: Option<Box<dyn FrameTransform>>,
    ) -> Result<(), Error> {
        if !self.routing.has_section(id) {
            return Err(Error::UnknownId);
        }
        self.events.transforms.set(id, transform);
        Ok(())
    }

    /// Ends an outgoing stream; RTCP BYE follows if it sent anything.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn remove_sender(&mut self, id: SenderId) -> Result<(), Error> {
        let sender = self.senders.remove(id).ok_or(Error::UnknownId)?;
        self.transforms.set(id, None);
        if sender.count.packets > 0 {
            self.reports.byes.push(sender.config.ssrc);
        }
        self.senders.reschedule();
        Ok(())
    }

    /// Adds an incoming media section.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn add_receiver(&mut self, config: ReceiverConfig) -> Result<ReceiverId, Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        let id = ReceiverId(self.next_id);
        self.next_id += 1;
        self.routing.set_section(id, config);
        self.choose_feedback();
        Ok(id)
    }

    /// Replaces what was negotiated for a receiver; its sources live on, those that are announced no more are forgotten.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn update_receiver(&mut self, id: ReceiverId, config: ReceiverConfig) -> Result<(), Error> {
        if !self.routing.has_section(id) {
            return Err(Error::UnknownId);
        }
        self.routing.set_section(id, config);
        self.choose_feedback();
        Ok(())
    }

    /// What the peer is told of arrivals, by what any receiver negotiated.
    fn choose_feedback(&mut self) {
        let codecs = || self.routing.sections().flat_map(|section| &section.config.codecs);
        let feedback = Feedback {
            transport_cc: codecs().any(|codec| codec.feedback.transport_cc),
            ccfb: codecs().any(|codec| codec.feedback.ccfb),
            remb: codecs().any(|codec| codec.feedback.remb),
            ..Feedback::default()
        };
        self.told.negotiated(feedback, &self.config);
    }

    /// In which form the peer tells of arrivals: where packets are named by stream and number, they are remembered by these.
    fn expect_feedback(&mut self) {
        let mut codecs = self.senders.iter().flat_map(|(_, sender)| &sender.config.codecs);
        let streams = codecs.any(|codec| codec.feedback.ccfb);
        self.history.by_stream(streams);
    }

    /// Chooses between media when it is due, frames and packets; may change at any time.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn set_output(&mut self, id: ReceiverId, output: Output) -> Result<(), Error> {
        if !self.routing.has_section(id) {
            return Err(Error::UnknownId);
        }
        self.routing.change(id, |config| config.output = output);
        Ok(())
    }

    /// `jitterBufferTarget`: the delay that the application wants at least where media is played ([`Output::Playout`]); `None`: as little
    /// as the network allows. Pictures and sound move to it without a jump.
    ///
    /// # Errors
    /// [`Error::UnknownId`]; [`Error::JitterBufferTarget`] if it is more than four seconds. Then nothing has changed.
    pub fn set_jitter_buffer_target(&mut self, id: ReceiverId, target: Option<Duration>) -> Result<(), Error> {
        if !self.routing.has_section(id) {
            return Err(Error::UnknownId);
        }
        if target > Some(MAX_JITTER_BUFFER_TARGET) {
            return Err(Error::JitterBufferTarget);
        }
        self.routing.change(id, |config| config.jitter_buffer_target = target);
        Ok(())
    }

    /// Ends an incoming media section; its sources are forgotten.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn remove_receiver(&mut self, id: ReceiverId) -> Result<(), Error> {
        if !self.routing.has_section(id) {
            return Err(Error::UnknownId);
        }
        self.routing.remove_section(id);
        self.events.transforms.set(id, None);
        self.choose_feedback();
        Ok(())
    }

    /// Asks every source of the receiver for a key frame (PLI, or FIR if only that was negotiated). Repeated requests are
    /// merged while one is under way.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn request_key_frame(&mut self, id: ReceiverId) -> Result<(), Error> {
        if !self.routing.has_section(id) {
            return Err(Error::UnknownId);
        }
        self.routing.want_key_frames(id, None);
        Ok(())
    }

    /// Asks one source of a receiver for a key frame, as who forwards one encoding of several does. Nothing happens if it has
    /// no such source any more.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn request_key_frame_of(&mut self, id: ReceiverId, ssrc: u32) -> Result<(), Error> {
        if !self.routing.has_section(id) {
            return Err(Error::UnknownId);
        }
        self.routing.want_key_frames(id, Some(ssrc));
        Ok(())
    }

    /// Changes the largest RTP packet (bytes before SRTP) for frames that are sent from now on.
    pub fn set_max_packet_size(&mut self, bytes: usize) {
        self.config.max_packet_size = bytes;
    }

    /// The path has changed: sets the largest RTP packet (bytes before SRTP) that is forwarded on it.
    pub fn set_max_forward_size(&mut self, bytes: usize) {
        self.config.max_forward_size = bytes;
        self.large = LargePackets::default();
        for sender in self.senders.iter_mut() {
            sender.told_too_large = false;
        }
    }

    /// Whether feedback may be reduced-size (`a=rtcp-rsize`).
    pub fn set_reduced_size(&mut self, reduced_size: bool) {
        self.config.reduced_size = reduced_size;
    }
}
