//! The table of transceivers, and the names that `media` has for their senders and receivers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use antiphon_jsep::{Direction, MediaKind, SendParameters, TransceiverId, TransceiverPlan};
use antiphon_media::{MAX_JITTER_BUFFER_TARGET, Output, ReceiverId, Rid, SenderId, Session};
use antiphon_sansio::Rng;

use super::encodings::EncodingId;
use super::parameters::{RtcRtpEncodingParameters, layers};
use super::row::{Encoding, Row, Taken};
use crate::error::Error;

/// How many transceivers one connection may have.
pub const MAX_TRANSCEIVERS: usize = 512;

/// The transceivers, and the names that `media` has for their senders and receivers.
#[derive(Debug)]
pub(crate) struct Transceivers {
    rows: Vec<Row>,
    /// The transceiver of each sender, and the place among its encodings.
    by_sender: BTreeMap<SenderId, (TransceiverId, u8)>,
    pub(crate) by_receiver: BTreeMap<ReceiverId, TransceiverId>,
    /// What the receiver of a new row hands out.
    output: Output,
}

impl Transceivers {
    pub(crate) fn new(output: Output) -> Self {
        Self {
            rows: Vec::new(),
            by_sender: BTreeMap::new(),
            by_receiver: BTreeMap::new(),
            output,
        }
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) fn row(&self, id: TransceiverId) -> Result<&Row, Error> {
        self.rows.iter().find(|row| row.id == id).ok_or(Error::NoTransceiver)
    }

    pub(crate) fn row_mut(&mut self, id: TransceiverId) -> Result<&mut Row, Error> {
        self.rows
            .iter_mut()
            .find(|row| row.id == id)
            .ok_or(Error::NoTransceiver)
    }

    /// The encoding that a sender sends.
    pub(crate) fn encoding(&self, sender: SenderId) -> Option<EncodingId> {
        let (id, at) = *self.by_sender.get(&sender)?;
        Some(self.row(id).ok()?.encoding_id(usize::from(at)))
    }

    /// A new row, with SSRCs of its own for each encoding.
    pub(crate) fn insert(
        &mut self,
        id: TransceiverId,
        kind: MediaKind,
        track: Option<String>,
        encodings: Vec<RtcRtpEncodingParameters>,
        rng: &mut Rng,
    ) -> &mut Row {
        let mut row = Row::new(id, kind, track, self.output);
        // A list that grows by itself has room for four at least, and most have one.
        row.encodings.reserve_exact(encodings.len());
        self.add_encodings(&mut row, encodings, rng);
        self.rows.reserve_exact(1);
        self.rows.push(row);
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }

    fn add_encodings(&self, row: &mut Row, encodings: Vec<RtcRtpEncodingParameters>, rng: &mut Rng) {
        for wishes in encodings {
            let ssrc = self.draw_ssrc(row, &[0], rng);
            let rtx_ssrc = self.draw_ssrc(row, &[0, ssrc], rng);
            let fec_ssrc = self.draw_ssrc(row, &[0, ssrc, rtx_ssrc], rng);
            row.encodings.push(Encoding {
                ssrc,
                rtx_ssrc,
                fec_ssrc,
                rid: wishes.rid.as_ref().and_then(|rid| Rid::new(rid.as_bytes())),
                wishes,
                sender: None,
                taken: Taken::No,
            });
        }
    }

    /// The peer's offer asks a transceiver for these layers, or none does. The row, if its encodings are others now.
    pub(crate) fn follow_asked(
        &mut self,
        id: TransceiverId,
        asked: Vec<String>,
        associated: bool,
        rng: &mut Rng,
    ) -> Option<&Row> {
        let at = self.rows.iter().position(|row| row.id == id)?;
        if !associated {
            return self.rows[at].shrink().then(|| &self.rows[at]);
        }
        let mut names = asked.iter().map(|rid| Rid::new(rid.as_bytes()));
        if asked.len() < 2 || !names.all(|name| name.is_some()) || !self.rows[at].may_grow() {
            return None;
        }
        let mut row = self.rows.remove(at);
        let mut named = layers(asked).into_iter();
        for (own, wishes) in row.encodings.iter_mut().zip(&mut named) {
            own.rid = wishes.rid.as_ref().and_then(|rid| Rid::new(rid.as_bytes()));
            own.wishes = wishes;
        }
        self.add_encodings(&mut row, named.collect(), rng);
        row.has_grown();
        self.rows.insert(at, row);
        self.rows.get(at)
    }

    /// A random SSRC that no sender of ours has (RFC 3550 §8.1), nor the row to come.
    fn draw_ssrc(&self, row: &Row, taken: &[u32], rng: &mut Rng) -> u32 {
        loop {
            let ssrc = rng.u32();
            let mut used = self.rows.iter().chain([row]).flat_map(|row| &row.encodings);
            let has = |own: &Encoding| [own.ssrc, own.rtx_ssrc, own.fec_ssrc].contains(&ssrc);
            if !taken.contains(&ssrc) && !used.any(has) {
                return ssrc;
            }
        }
    }

    /// Takes a transceiver out of the table, with its senders and its receiver. Whether it was there.
    pub(crate) fn remove(&mut self, id: TransceiverId, media: &mut Session) -> bool {
        self.silence(id, media);
        let before = self.rows.len();
        self.rows.retain(|row| row.id != id);
        self.rows.len() < before
    }

    /// W3C "stop sending and receiving": RTCP BYE now, not when the exchange has ended.
    pub(crate) fn silence(&mut self, id: TransceiverId, media: &mut Session) {
        let Ok(row) = self.row_mut(id) else { return };
        row.sending = None;
        let senders: Vec<SenderId> = row.encodings.iter_mut().filter_map(|own| own.sender.take()).collect();
        let receiver = row.receiver.take();
        for sender in senders {
            self.by_sender.remove(&sender);
            let _ = media.remove_sender(sender);
        }
        if let Some(receiver) = receiver {
            self.by_receiver.remove(&receiver);
            let _ = media.remove_receiver(receiver);
        }
    }

    /// Brings what was negotiated for a transceiver into force. `false`: it is not in the table.
    pub(crate) fn apply(&mut self, now: Instant, plan: &TransceiverPlan, media: &mut Session) -> bool {
        let Ok(row) = self.row_mut(plan.id) else { return false };
        let mid = plan.mid.as_deref().unwrap_or_default();
        if let Some(send) = &plan.send {
            media.set_reduced_size(send.reduced_size_rtcp);
        }
        row.negotiated(plan.send.as_ref());
        if let Some(send) = &plan.send {
            self.reconfigure(now, plan.id, mid, send, media);
        }
        let Some(row) = self.rows.iter_mut().find(|row| row.id == plan.id) else {
            return false;
        };
        let mut sent = row.encodings.iter().filter(|own| own.taken != Taken::No);
        row.sending = sent.find_map(|own| own.sender);
        row.bring_into_force(now, media);
        row.remote_track = plan.remote_track.as_deref().map(Box::from);
        match (&plan.receive, row.receiver) {
            (Some(receive), Some(receiver)) => {
                let _ = media.update_receiver(receiver, row.receiver_config(mid, receive, &plan.remote_streams));
            }
            (Some(receive), None) => {
                row.receiver = media
                    .add_receiver(row.receiver_config(mid, receive, &plan.remote_streams))
                    .ok();
                self.by_receiver
                    .extend(row.receiver.map(|receiver| (receiver, plan.id)));
            }
            (None, Some(receiver)) => {
                row.receiver = None;
                self.by_receiver.remove(&receiver);
                let _ = media.remove_receiver(receiver);
            }
            (None, None) => {}
        }
        true
    }

    /// Tells `media` how each encoding is to be sent.
    pub(crate) fn reconfigure(
        &mut self,
        now: Instant,
        id: TransceiverId,
        mid: &str,
        send: &SendParameters,
        media: &mut Session,
    ) {
        let Some(row) = self.rows.iter_mut().find(|row| row.id == id) else {
            return;
        };
        for at in 0..row.encodings.len() {
            let Some(config) = row.sender_config(at, mid, send) else {
                continue;
            };
            let encoding = &mut row.encodings[at];
            // A conflict of SSRCs with a sender of ours cannot be: they are drawn apart.
            if let Some(sender) = encoding.sender {
                let _ = media.update_sender(now, sender, config);
            } else {
                encoding.sender = media.add_sender(now, config).ok();
                self.by_sender
                    .extend(encoding.sender.map(|sender| (sender, (id, at as u8))));
            }
        }
    }

    /// Chooses what a receiver hands out.
    pub(crate) fn set_output(&mut self, id: TransceiverId, output: Output, media: &mut Session) -> Result<(), Error> {
        let row = self.row_mut(id)?;
        row.output = output;
        if let Some(receiver) = row.receiver {
            media.set_output(receiver, output)?;
        }
        Ok(())
    }

    /// Says what delay the application wants at least.
    pub(crate) fn set_jitter_buffer_target(
        &mut self,
        id: TransceiverId,
        target: Option<Duration>,
        media: &mut Session,
    ) -> Result<(), Error> {
        let row = self.row_mut(id)?;
        if target > Some(MAX_JITTER_BUFFER_TARGET) {
            return Err(antiphon_media::Error::JitterBufferTarget.into());
        }
        row.jitter_buffer_target = target;
        if let Some(receiver) = row.receiver {
            media.set_jitter_buffer_target(receiver, target)?;
        }
        Ok(())
    }

    /// The sender of an encoding that may send now.
    #[inline]
    pub(crate) fn sending(&self, id: EncodingId) -> Result<SenderId, Error> {
        let row = self.row(id.transceiver)?;
        let first = row.sending.ok_or(Error::NotSending)?;
        match id.rid {
            None => Ok(first),
            Some(_) => row.sender(id.rid).ok_or(Error::NoEncoding),
        }
    }
}

/// The direction with our sending switched on or off.
pub(crate) fn with_sending(direction: Direction, send: bool) -> Direction {
    let receive = matches!(direction, Direction::SendRecv | Direction::RecvOnly);
    match (send, receive) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}

#[cfg(test)]
mod tests {
    use antiphon_jsep::{Config, Negotiator, SimulcastLayer, TransceiverInit};

    use super::*;

    fn encoding(rid: &str, active: bool) -> RtcRtpEncodingParameters {
        RtcRtpEncodingParameters {
            rid: Some(rid.into()),
            active,
            ..RtcRtpEncodingParameters::default()
        }
    }

    fn parameters(layers: &[&str]) -> SendParameters {
        let layer = |rid: &&str| SimulcastLayer {
            rid: (*rid).into(),
            ..SimulcastLayer::default()
        };
        SendParameters {
            codecs: Vec::new(),
            redundancy: Vec::new(),
            extensions: Vec::new(),
            extmap_allow_mixed: false,
            reduced_size_rtcp: false,
            simulcast: layers.iter().map(layer).collect(),
            max_bitrate_bps: None,
            ptime_ms: None,
        }
    }

    #[test]
    fn each_encoding_is_a_stream_of_its_own() {
        let mut negotiator = Negotiator::new(Config::default(), Rng::from_u64(1));
        let mut id = || negotiator.add_transceiver(MediaKind::Video, TransceiverInit::default());
        let mut table = Transceivers::new(Output::Frames);
        let mut rng = Rng::from_u64(2);
        let plain = vec![RtcRtpEncodingParameters::default()];
        let plain = table.insert(id(), MediaKind::Video, None, plain, &mut rng);
        assert_eq!(plain.signalled_sender(Vec::new()).encodings.len(), 1);
        let layers = vec![encoding("low", false), encoding("high", true)];
        let row = table.insert(id(), MediaKind::Video, None, layers, &mut rng);
        let signalled = row.signalled_sender(Vec::new()).encodings;
        let rids: Vec<_> = signalled.iter().map(|own| own.rid.as_deref()).collect();
        assert_eq!(rids, [Some("low"), Some("high")]);

        // What the peer took of the layers -> the RIDs that are sent.
        for (taken, sent) in [
            (&["low", "high"][..], &[Some("low"), Some("high")][..]),
            (&["high"], &[Some("high")]),
            (&[], &[None]),
        ] {
            let send = parameters(taken);
            row.negotiated(Some(&send));
            let configs: Vec<_> = (0..2).filter_map(|at| row.sender_config(at, "0", &send)).collect();
            let rids: Vec<_> = configs.iter().map(|config| config.rid.as_deref()).collect();
            assert_eq!(rids, sent);
            for config in &configs {
                assert!(signalled.iter().any(|own| own.ssrc == config.ssrc), "as signalled");
            }
        }
        let ssrcs = table.rows.iter().flat_map(|row| &row.encodings);
        let mut all: Vec<u32> = ssrcs.flat_map(|own| [own.ssrc, own.rtx_ssrc]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6, "drawn apart");
    }
}
