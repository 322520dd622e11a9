//! What goes out: what the application sends, the datagrams of every layer by turns, and how large they may be.

use std::time::Instant;

use antiphon_data_channel::{ChannelId, Message};
use antiphon_ice::IoRequest;
use antiphon_jsep::TransceiverId;
use antiphon_media::{Frame, Outgoing, Packet, PacketKind, SenderId};
use antiphon_sansio::{MAX_RUN_BYTES, Path, Transmit, TransmitBuf};

use crate::configuration::DEFAULT_MTU;
use crate::connection::{Closing, PeerConnection};
use crate::error::Error;
use crate::io::closing::MAX_CLOSING_DATAGRAMS;
use crate::io::run::{Ahead, Layer, Sealed, Written};
use crate::states::RtcDtlsTransportState;
use crate::transceivers::EncodingId;
use crate::transport::Transport;

impl PeerConnection {
    /// Sends one encoded frame: a picture, or a packet's worth of sound. Where a transceiver has several encodings, `id` says which it is
    /// a frame of; a transceiver alone stands for the first that the peer takes.
    ///
    /// # Errors
    /// [`Error::NotSending`] while the negotiated direction does not let it, [`Error::NoEncoding`] if the peer has not taken this one;
    /// [`Error::Media`] if it is not taken.
    pub fn send_frame(&mut self, now: Instant, id: impl Into<EncodingId>, frame: Frame) -> Result<(), Error> {
        let sender = self.sending(id.into())?;
        Ok(self.media.send_frame(now, sender, frame)?)
    }

    /// Forwards a packet of another connection's receiver: SSRC, sequence number and timestamp are rewritten.
    /// `packet.payload_type` must be one that is negotiated for sending here.
    ///
    /// # Errors
    /// As for [`Self::send_frame`].
    pub fn send_rtp(&mut self, now: Instant, id: impl Into<EncodingId>, packet: &Packet) -> Result<(), Error> {
        let sender = self.sending(id.into())?;
        Ok(self.media.send_rtp(now, sender, packet)?)
    }

    /// Asks the peer for a key frame.
    ///
    /// # Errors
    /// [`Error::NotReceiving`].
    pub fn request_key_frame(&mut self, id: TransceiverId) -> Result<(), Error> {
        self.open()?;
        let receiver = self.transceivers.row(id)?.receiver.ok_or(Error::NotReceiving)?;
        Ok(self.media.request_key_frame(receiver)?)
    }

    /// Asks the sender of one incoming source (`ssrc`, as packets name it) for a key frame: of one encoding, where there are
    /// several.
    ///
    /// # Errors
    /// As [`Self::request_key_frame`].
    pub fn request_key_frame_of(&mut self, id: TransceiverId, ssrc: u32) -> Result<(), Error> {
        self.open()?;
        let receiver = self.transceivers.row(id)?.receiver.ok_or(Error::NotReceiving)?;
        Ok(self.media.request_key_frame_of(receiver, ssrc)?)
    }

    fn sending(&self, id: EncodingId) -> Result<SenderId, Error> {
        self.open()?;
        self.transceivers.sending(id)
    }

    /// `send`. The message is taken whole or not at all; `buffered_amount` shows what waits.
    ///
    /// # Errors
    /// [`Error::Send`].
    pub fn send(&mut self, now: Instant, channel: ChannelId, message: Message) -> Result<(), Error> {
        self.open()?;
        Ok(self.data.channels.send(now, channel, message)?)
    }

    /// The next request to the driver; answer it by [`Self::handle_io`]. Poll after [`Self::poll_transmit`].
    pub fn poll_io(&mut self) -> Option<IoRequest> {
        self.transport.agent.poll_io()
    }

    /// Writes the next datagrams into `out`: one, or a run of equal ones to one destination, of which the last may be shorter
    /// ([`Transmit::segment_size`] then says their size), as many as there are and [`TransmitBuf::max_run`] and
    /// [`MAX_RUN_BYTES`](antiphon_sansio::MAX_RUN_BYTES) allow. `None`: nothing to send, or no room in `out` for another
    /// datagram (then send what is there, clear it and poll again).
    pub fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        if self.is_idle(now) {
            return None;
        }
        // Whether there is room is asked, here and by the owner, for the largest of all: a smaller answer would leave
        // what does not fit unsent without anybody knowing. Each layer keeps to the sizes that it was told.
        out.set_max_segment(self.sizes.largest);
        if !out.has_room() {
            return None;
        }
        if let Some(Written { transmit: mut run, of }) = self.take_ahead(out) {
            if let Some((layer, path)) = of {
                self.extend(now, layer, path, &mut run, out);
            }
            return Some(run);
        }
        self.poll_layers(now, out)
    }

    /// Whether nobody has anything to send, as far as the last polls can tell: asked once more than there are datagrams.
    #[inline]
    fn is_idle(&self, now: Instant) -> bool {
        let Transport { agent, dtls, srtp, .. } = &self.transport;
        (srtp.is_none() || self.media.is_idle(now))
            && self.ahead.is_none()
            && self.closing.is_none()
            && agent.is_idle(now)
            && dtls.as_ref().is_none_or(|dtls| dtls.is_idle(now))
            && (!self.data.started || self.data.channels.is_idle(now))
    }

    fn poll_layers(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        loop {
            let agent = &mut self.transport.agent;
            if let Some(transmit) = agent.poll(now, |agent| agent.poll_transmit(now, out)) {
                return Some(transmit);
            }
            match self.transport.path() {
                Some(path) => {
                    if let Some(transmit) = self.poll_above(now, path, out) {
                        return Some(transmit);
                    }
                }
                None if self.closing.is_none() && self.only_receives() => self.withhold_media(now, out),
                None => {}
            }
            if !self.close_further(now) {
                return None;
            }
        }
    }

    /// What DTLS, RTP and SCTP have to send, the latter two by turns: neither can starve the other.
    fn poll_above(&mut self, now: Instant, path: Path, out: &mut TransmitBuf) -> Option<Transmit> {
        if !matches!(self.closing, Some(Closing::Streams(_) | Closing::Ice))
            && let Some(transmit) = self.transport.poll_dtls(now, path, out)
        {
            return Some(transmit);
        }
        match &mut self.closing {
            Some(Closing::Streams(count)) if *count < MAX_CLOSING_DATAGRAMS => *count += 1,
            Some(_) => return None,
            None => {}
        }
        if self.transport.dtls_state != RtcDtlsTransportState::Connected {
            return None;
        }
        self.data_turn = !self.data_turn;
        let (first, second) = match self.data_turn {
            true => (Layer::Media, Layer::Data),
            false => (Layer::Data, Layer::Media),
        };
        self.poll_run(now, first, path, out)
            .or_else(|| self.poll_run(now, second, path, out))
    }

    /// Forwarded packets were cut by somebody else, and carry our headers besides: they may fill what the path carries
    /// as far as anybody knows, and in any case what IPv6 carries everywhere (RFC 8200 §5: 1280, less 48 of IPv6 and
    /// UDP), unless the application asked for less than usual.
    fn max_media_datagram(&self) -> usize {
        if self.sizes.mtu < DEFAULT_MTU {
            self.sizes.mtu
        } else {
            self.max_data_datagram().max(1280 - 48)
        }
    }

    /// A datagram of a layer, and those that may leave with it.
    fn poll_run(&mut self, now: Instant, layer: Layer, path: Path, out: &mut TransmitBuf) -> Option<Transmit> {
        let Sealed { ecn, alone } = self.poll_layer(now, layer, path, out)?;
        let mut run = self.transport.finish(now, path, ecn, out);
        if !alone {
            self.extend(now, layer, path, &mut run, out);
        }
        Some(run)
    }

    /// Whether a layer has nothing to send, as far as its last poll can tell.
    #[inline]
    fn is_layer_idle(&self, now: Instant, layer: Layer) -> bool {
        match layer {
            Layer::Media => self.media.is_idle(now),
            Layer::Data => self.data.channels.is_idle(now),
        }
    }

    /// Writes a datagram of a layer into a segment that stays open.
    #[inline]
    fn poll_layer(&mut self, now: Instant, layer: Layer, path: Path, out: &mut TransmitBuf) -> Option<Sealed> {
        match layer {
            Layer::Media => self.poll_media(now, path, out),
            Layer::Data => self.poll_data(now, path, out),
        }
    }

    fn poll_media(&mut self, now: Instant, path: Path, out: &mut TransmitBuf) -> Option<Sealed> {
        if self.media.is_idle(now) {
            return None;
        }
        let (front, back) = self.transport.media_room(&path)?;
        loop {
            out.set_path_room(front, back);
            let Outgoing { kind, ecn, repeatable } = self.media.poll(now, |media| media.poll_transmit(now, out))?;
            if kind == PacketKind::Rtp {
                self.transport
                    .doubt_header_encryption(now, self.media.reports_received());
            }
            let srtp = self.transport.srtp.as_mut()?;
            let protected = match kind {
                PacketKind::Rtp if repeatable => srtp.sender.protect_rtp(out),
                PacketKind::Rtp => srtp.sender.protect_rtp_once(out),
                PacketKind::Rtcp => srtp.sender.protect_rtcp(out),
            };
            if protected.is_ok() {
                return Some(Sealed { ecn, alone: false });
            }
            // Nothing goes out in the clear.
            out.rollback();
            self.transport.counters.unprotected += 1;
        }
    }

    /// Writes what follows of the same layer and is not longer: it leaves with the first, in one call.
    #[inline]
    fn extend(&mut self, now: Instant, layer: Layer, path: Path, run: &mut Transmit, out: &mut TransmitBuf) {
        let size = run.range.len();
        let mut count = 1;
        while count < out.max_run() && self.closing.is_none() && !self.is_layer_idle(now, layer) {
            // One that is shorter than the first is the last.
            let is_whole = run.range.len() == count * size;
            if !is_whole || run.range.len() + size > MAX_RUN_BYTES || !out.has_room() {
                break;
            }
            let Some(Sealed { ecn, alone }) = self.poll_layer(now, layer, path, out) else {
                break;
            };
            let next = self.transport.finish(now, path, ecn, out);
            if alone || next.path != run.path || next.ecn != run.ecn || next.range.len() > size {
                let of = (!alone).then_some((layer, path));
                self.ahead = Some(Box::new(Ahead::take(next, of, out)));
                break;
            }
            run.range.end = out.close_gap(run.range.end, next.range).end;
            run.segment_size = Some(size);
            count += 1;
        }
    }

    /// The datagram that did not fit the last run, unless the path that it was written for is left.
    #[inline]
    fn take_ahead(&mut self, out: &mut TransmitBuf) -> Option<Written> {
        let ahead = self.ahead.take()?;
        ahead.write(self.transport.path(), out)
    }

    /// The peer has not consented to what RTP and RTCP have to say: it is dropped here, as on a path that leads
    /// nowhere.
    fn withhold_media(&mut self, now: Instant, out: &mut TransmitBuf) {
        out.set_path_room(0, 0);
        while self.media.poll(now, |media| media.poll_transmit(now, out)).is_some() {
            out.rollback();
            self.transport.counters.withheld += 1;
        }
    }

    fn poll_data(&mut self, now: Instant, path: Path, out: &mut TransmitBuf) -> Option<Sealed> {
        if !self.data.started || self.data.channels.is_idle(now) {
            return None;
        }
        let (front, back) = self.transport.data_room(&path)?;
        out.set_path_room(front, back);
        let channels = &mut self.data.channels;
        let outgoing = channels.poll(now, |channels| channels.poll_transmit(now, out))?;
        let dtls = self.transport.dtls.as_mut()?;
        let sealed = match outgoing.padding {
            0 => dtls.seal(out),
            padding => dtls.seal_padded(out, padding),
        };
        if sealed.is_err() {
            out.rollback();
            self.transport.counters.unprotected += 1;
            return None;
        }
        // A probe of the path may be lost for its size, and nothing else with it.
        Some(Sealed {
            ecn: outgoing.ecn,
            alone: outgoing.padding != 0,
        })
    }

    /// The largest SCTP packet that is sent without asking, and the largest that path MTU discovery tries.
    pub(crate) fn sctp_packets(&self) -> [usize; 2] {
        // Before there is a connection: the largest overhead that a record has.
        let (front, back) = self.transport.dtls.as_ref().map_or((21, 17), |dtls| dtls.overhead());
        let room = self.transport.worst_path_room(self.sizes.relays) + front + back;
        // What path MTU discovery sends is padding (docs/decisions/0006): DTLS 1.2 has none.
        let can_pad = self.transport.dtls.as_ref().is_some_and(|dtls| dtls.can_pad());
        let probe_up_to = if can_pad { self.max_data_datagram() - room } else { 0 };
        [self.sizes.mtu - room, probe_up_to]
    }

    /// An application that asked for smaller datagrams than usual knows why.
    fn max_data_datagram(&self) -> usize {
        if self.sizes.mtu < DEFAULT_MTU {
            return self.sizes.mtu;
        }
        // The header of IPv6 is longer by 20 bytes.
        let ipv6 = self.transport.path().is_some_and(|path| path.remote.is_ipv6());
        self.sizes
            .mtu
            .max(self.sizes.max_mtu.saturating_sub(if ipv6 { 20 } else { 0 }))
    }

    /// Tells every layer how large its packets may be on this path.
    pub(crate) fn update_sizes(&mut self) {
        self.sizes.largest = self.max_media_datagram().max(self.max_data_datagram());
        let room = self.transport.worst_path_room(self.sizes.relays);
        let overhead = self
            .transport
            .srtp
            .as_ref()
            .map_or(16, |srtp| srtp.sender.overhead_rtp().max(srtp.sender.overhead_rtcp()));
        self.media.set_max_packet_size(self.sizes.mtu - room - overhead);
        // A packet that is forwarded leaves at once, on the path that is in use.
        let (front, back) = self
            .transport
            .path()
            .map_or((0, 0), |path| self.transport.agent.path_room(&path));
        let forwarded = self.max_media_datagram() - front - back - overhead;
        self.media.set_max_forward_size(forwarded);
        let [max_packet, probe_up_to] = self.sctp_packets();
        self.data.channels.set_max_packet(max_packet);
        self.data.channels.set_probe_up_to(probe_up_to);
        self.transport.set_mtu(self.sizes.mtu - room);
    }
}
