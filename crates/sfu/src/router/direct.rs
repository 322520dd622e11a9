//! Producers and consumers without a peer: what a program sends and receives itself, or hands from one router of its own to another.

use std::time::Instant;

use antiphon_media::Packet;
use antiphon_peer_connection::{EncodingId, MediaKind};

use super::Router;
use super::consuming::Consuming;
use super::error::Error;
use super::mailbox::Direct;
use super::names::{ConsumerId, Name, PeerKey, ProducerId};
use super::producing::{Format, Producing};

impl Router {
    /// What the host hands in goes to consumers, as what a peer sends does.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub fn produce_direct(&mut self, format: Format) -> Result<ProducerId, Error> {
        if self.producers.len() >= self.config.max_producers {
            return Err(Error::Full);
        }
        let is_sound = format.kind == MediaKind::Audio;
        let id = self.producers.insert(Producing::of(format, None));
        if is_sound {
            // There are fewer producers than places for speakers.
            let _ = self.speakers.add(id.place());
        }
        Ok(id)
    }

    /// What is handed in from now on is of another format. Its kind stays.
    ///
    /// # Errors
    /// [`Error::NoProducer`], [`Error::HasPeer`], [`Error::Kind`].
    pub fn set_format(&mut self, now: Instant, id: ProducerId, format: Format) -> Result<(), Error> {
        let producing = self.producers.get(id).ok_or(Error::NoProducer)?;
        if producing.from.is_some() {
            return Err(Error::HasPeer);
        }
        if producing.kind != format.kind {
            return Err(Error::Kind);
        }
        self.reformat(now, id, format);
        Ok(())
    }

    /// Takes packets of a producer without a peer, in the order in which they were sent, as [`Self::handle_packets`] takes those of a
    /// peer. They have the payload types of its [`Format`], and RIDs if there is a simulcast.
    ///
    /// # Errors
    /// [`Error::NoProducer`], [`Error::HasPeer`].
    pub fn handle_direct(
        &mut self,
        now: Instant,
        id: ProducerId,
        packets: &[Packet],
        mut outlet: impl FnMut(PeerKey, EncodingId, &Packet) -> bool,
    ) -> Result<(), Error> {
        let producing = self.producers.get(id).ok_or(Error::NoProducer)?;
        if producing.from.is_some() {
            return Err(Error::HasPeer);
        }
        self.take_run(now, id, packets, &mut outlet);
        Ok(())
    }

    /// Everything that a producer produces is to be fetched by [`Self::poll_direct`], as a [pipe](Self::pipe) would carry it: every
    /// encoding with all of its layers, and sound whether it is among the loudest or not. Key frames are asked for by
    /// [`Self::request_direct_key_frame`].
    ///
    /// # Errors
    /// [`Error::NoProducer`], [`Error::Full`].
    pub fn consume_direct(&mut self, now: Instant, producer: ProducerId) -> Result<ConsumerId, Error> {
        let producing = self.producers.get_mut(producer).ok_or(Error::NoProducer)?;
        if self.consumers.len() >= self.config.max_consumers {
            return Err(Error::Full);
        }
        let id = self.consumers.insert(Consuming::direct(producer, producing.format()));
        producing.pipes += 1;
        producing.consumers.push(id);
        self.fetching.push(id);
        self.turn(now, &[id]);
        Ok(id)
    }

    /// The next packet, or format, of any consumer without a peer. What is not fetched waits, [bounded](super::MAX_DIRECT).
    pub fn poll_direct(&mut self) -> Option<(ConsumerId, Direct)> {
        while let Some(id) = self.fetching.last().copied() {
            let mailbox = self.consumers.get_mut(id).and_then(Consuming::mailbox_mut);
            if let Some(mailbox) = mailbox {
                if let Some(direct) = mailbox.pop() {
                    return Some((id, direct));
                }
                mailbox.is_listed = false;
            }
            self.fetching.pop();
        }
        None
    }

    /// Who fetches from a consumer without a peer needs a key frame of a source, by its SSRC. It is heard as often as other receivers.
    ///
    /// # Errors
    /// [`Error::NoConsumer`], [`Error::HasPeer`].
    pub fn request_direct_key_frame(&mut self, now: Instant, id: ConsumerId, ssrc: u32) -> Result<(), Error> {
        let consuming = self.consumers.get_mut(id).ok_or(Error::NoConsumer)?;
        if consuming.to.is_some() {
            return Err(Error::HasPeer);
        }
        let producing = self.producers.get(consuming.producer);
        if let Some(place) = producing.and_then(|own| own.track.place_of(ssrc)) {
            consuming.key_frame_requested_of(now, place);
            self.ask(now, id);
        }
        Ok(())
    }

    /// What comes of a producer.
    ///
    /// # Errors
    /// [`Error::NoProducer`].
    pub fn format(&self, id: ProducerId) -> Result<Format, Error> {
        Ok(self.producers.get(id).ok_or(Error::NoProducer)?.format())
    }

    /// Other codecs or encodings come of a producer.
    pub(super) fn reformat(&mut self, now: Instant, id: ProducerId, format: Format) {
        let Some(producing) = self.producers.get_mut(id) else {
            return;
        };
        if !producing.renegotiate(format) {
            return;
        }
        let format = producing.format();
        for consumer in producing.consumers.clone() {
            let Some(consuming) = self.consumers.get_mut(consumer) else {
                continue;
            };
            consuming.producer_renegotiated(&format);
            if let Some(mailbox) = consuming.mailbox_mut()
                && !std::mem::replace(&mut mailbox.is_listed, true)
            {
                self.fetching.push(consumer);
            }
            // What was wanted of the encodings before is forgotten with them.
            self.ask(now, consumer);
        }
    }
}
