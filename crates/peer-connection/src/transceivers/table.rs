//! The table of transceivers: what the connection keeps of each besides what signalling does, and the way from
//! negotiated parameters to those of `media`.

use std::collections::BTreeMap;
use std::time::Instant;

use antiphon_jsep::{Direction, MediaKind, ReceiveParameters, SendParameters, TransceiverId, TransceiverPlan};
use antiphon_media::{
    Bounds, Codec, Feedback, Kind, Output, ReceiverConfig, ReceiverId, RemoteSource, SenderConfig, SenderId, Session,
    extension,
};
use antiphon_sansio::Rng;

use crate::error::Error;
use crate::types::{RtcRtpEncodingParameters, RtcRtpSendParameters};

/// How many transceivers one connection may have.
pub const MAX_TRANSCEIVERS: usize = 512;

/// The transceivers, and the names that `media` has for their senders and receivers.
#[derive(Debug)]
pub(crate) struct Transceivers {
    rows: Vec<Row>,
    pub(crate) by_sender: BTreeMap<SenderId, TransceiverId>,
    pub(crate) by_receiver: BTreeMap<ReceiverId, TransceiverId>,
    /// What the receiver of a new row hands out.
    output: Output,
}

/// One transceiver.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: TransceiverId,
    pub(crate) kind: MediaKind,
    /// The id of the outgoing track; `None`: `remove_track` took it, or there never was one.
    pub(crate) track: Option<String>,
    /// The streams that the track is sent in: one, or one for each simulcast layer.
    encodings: Vec<Encoding>,
    /// The first sender, while the negotiated direction lets it send. Each packet asks for it.
    sending: Option<SenderId>,
    /// The most that the peer wants to get, bits a second, if it says so.
    limit: Option<u64>,
    /// What of `get_parameters` may come back, and how often they were taken.
    transaction: Option<u64>,
    transactions: u64,
    pub(crate) receiver: Option<ReceiverId>,
    output: Output,
    /// Whether the sender was ever negotiated to send: `add_track` does not take such a transceiver (W3C).
    pub(crate) has_sent: bool,
}

/// One stream of RTP that a transceiver sends.
#[derive(Debug)]
struct Encoding {
    ssrc: u32,
    rtx_ssrc: u32,
    fec_ssrc: u32,
    /// What the application says of it, with the name of its simulcast layer (RFC 8851).
    wishes: RtcRtpEncodingParameters,
    sender: Option<SenderId>,
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

    /// A new row, with SSRCs of its own for each encoding: for one without a RID if none is given.
    pub(crate) fn insert(
        &mut self,
        id: TransceiverId,
        kind: MediaKind,
        track: Option<String>,
        encodings: &[RtcRtpEncodingParameters],
        rng: &mut Rng,
    ) -> &Row {
        let default = [RtcRtpEncodingParameters::default()];
        let wanted = if encodings.is_empty() { &default[..] } else { encodings };
        let mut row = Row {
            id,
            kind,
            track,
            // A list that grows by itself has room for four at least, and most have one.
            encodings: Vec::with_capacity(wanted.len()),
            sending: None,
            limit: None,
            transaction: None,
            transactions: 0,
            receiver: None,
            output: self.output,
            has_sent: false,
        };
        for encoding in wanted {
            let ssrc = self.draw_ssrc(&row, &[0], rng);
            let rtx_ssrc = self.draw_ssrc(&row, &[0, ssrc], rng);
            let fec_ssrc = self.draw_ssrc(&row, &[0, ssrc, rtx_ssrc], rng);
            row.encodings.push(Encoding {
                ssrc,
                rtx_ssrc,
                fec_ssrc,
                wishes: encoding.clone(),
                sender: None,
            });
        }
        self.rows.reserve_exact(1);
        self.rows.push(row);
        &self.rows[self.rows.len() - 1]
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
        let Some(row) = self.rows.iter_mut().find(|row| row.id == plan.id) else {
            return false;
        };
        let mid = plan.mid.as_deref().unwrap_or_default();
        if let Some(send) = &plan.send {
            row.has_sent = true;
            row.limit = send.max_bitrate_bps;
            media.set_reduced_size(send.reduced_size_rtcp);
        }
        for at in 0..row.encodings.len() {
            let config = plan.send.as_ref().and_then(|send| row.sender_config(at, mid, send));
            let encoding = &mut row.encodings[at];
            let sends = config.is_some();
            // A conflict of SSRCs with a sender of ours cannot be: they are drawn apart.
            match (config, encoding.sender) {
                (Some(config), Some(sender)) => _ = media.update_sender(now, sender, config),
                (Some(config), None) => {
                    encoding.sender = media.add_sender(now, config).ok();
                    self.by_sender.extend(encoding.sender.map(|sender| (sender, plan.id)));
                }
                (None, _) => {}
            }
            encoding.bring_into_force(now, sends, row.limit, media);
        }
        row.sending = row.sender().filter(|_| plan.send.is_some());
        match (&plan.receive, row.receiver) {
            (Some(receive), Some(receiver)) => {
                let _ = media.update_receiver(receiver, row.receiver_config(mid, receive));
            }
            (Some(receive), None) => {
                row.receiver = media.add_receiver(row.receiver_config(mid, receive)).ok();
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

    /// Chooses what a receiver hands out.
    pub(crate) fn set_output(&mut self, id: TransceiverId, output: Output, media: &mut Session) -> Result<(), Error> {
        let row = self.row_mut(id)?;
        row.output = output;
        if let Some(receiver) = row.receiver {
            media.set_output(receiver, output)?;
        }
        Ok(())
    }

    /// The sender of a transceiver that may send now.
    #[inline]
    pub(crate) fn sending(&self, id: TransceiverId) -> Result<SenderId, Error> {
        self.row(id)?.sending.ok_or(Error::NotSending)
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

fn kind(kind: MediaKind) -> Kind {
    match kind {
        MediaKind::Audio => Kind::Audio,
        MediaKind::Video => Kind::Video,
    }
}

fn codec(codec: &antiphon_jsep::Codec) -> Codec {
    Codec {
        payload_type: codec.payload_type,
        name: codec.name.clone(),
        clock_rate: codec.clock_rate,
        channels: codec.channels.unwrap_or(1),
        fmtp: codec.parameters.clone(),
        rtx_payload_type: codec.rtx.map(|rtx| rtx.payload_type),
        feedback: Feedback {
            nack: codec.has_feedback("nack"),
            pli: codec.has_feedback("nack pli"),
            fir: codec.has_feedback("ccm fir"),
            remb: codec.has_feedback("goog-remb"),
            transport_cc: codec.has_feedback("transport-cc"),
            ccfb: codec.has_feedback("ack ccfb"),
        },
    }
}

fn extensions(list: &[antiphon_jsep::Extension]) -> extension::Map {
    let mut map = extension::Map::default();
    for extension in list {
        map.insert_uri(extension.id, &extension.uri);
    }
    map
}

impl Encoding {
    /// Lets `media` do what the application and the negotiation want.
    fn bring_into_force(&self, now: Instant, sends: bool, limit: Option<u64>, media: &mut Session) {
        let Some(sender) = self.sender else { return };
        let bounds = Bounds {
            priority: self.wishes.priority,
            min_bitrate: self.wishes.min_bitrate,
            max_bitrate: self.wishes.max_bitrate.into_iter().chain(limit).min(),
        };
        // It is there as long as we know it.
        let _ = media.set_sender_active(sender, sends && self.wishes.active);
        let _ = media.set_sender_bounds(now, sender, bounds);
    }
}

impl Row {
    /// Who sends, once that was negotiated.
    pub(crate) fn sender(&self) -> Option<SenderId> {
        self.encodings.iter().find_map(|encoding| encoding.sender)
    }

    /// `getParameters`.
    pub(crate) fn parameters(&mut self) -> RtcRtpSendParameters {
        self.transactions += 1;
        self.transaction = Some(self.transactions);
        RtcRtpSendParameters {
            transaction_id: self.transactions.to_string(),
            encodings: self.encodings.iter().map(|own| own.wishes.clone()).collect(),
        }
    }

    /// `setParameters`: checks them, and takes them all or none.
    pub(crate) fn set_parameters(&mut self, parameters: RtcRtpSendParameters) -> Result<(), Error> {
        let known = self.transaction.map(|number| number.to_string());
        if known != Some(parameters.transaction_id) {
            return Err(Error::Parameters("another transaction_id"));
        }
        let rids = parameters.encodings.iter().map(|wishes| &wishes.rid);
        if !rids.eq(self.encodings.iter().map(|own| &own.wishes.rid)) {
            return Err(Error::Parameters("other encodings"));
        }
        self.transaction = None;
        for (own, wishes) in self.encodings.iter_mut().zip(parameters.encodings) {
            own.wishes = wishes;
        }
        Ok(())
    }

    /// Brings what [`Self::set_parameters`] took into force.
    pub(crate) fn bring_into_force(&self, now: Instant, sends: bool, media: &mut Session) {
        for encoding in &self.encodings {
            encoding.bring_into_force(now, sends, self.limit, media);
        }
    }

    /// How the encoding at a place is to be sent; `None`: not at all, for the peer did not take its layer.
    fn sender_config(&self, at: usize, mid: &str, send: &SendParameters) -> Option<SenderConfig> {
        let encoding = &self.encodings[at];
        // Without simulcast only the first is sent, and needs no name.
        let rid = match send.simulcast.as_slice() {
            [] => (at == 0).then_some(None),
            layers => layers
                .iter()
                .find(|layer| encoding.wishes.rid.as_ref() == Some(&layer.rid))
                .map(|layer| Some(layer.rid.clone())),
        }?;
        let codecs: Vec<Codec> = send.codecs.iter().chain(&send.redundancy).map(codec).collect();
        let rtx = codecs.iter().any(|codec| codec.rtx_payload_type.is_some());
        // The SSRC of the repairs is announced for one stream alone.
        let alone = rid.is_none() && self.kind == MediaKind::Video;
        let mut extensions = extensions(&send.extensions);
        // RFC 8285 §4.1.2: both forms in one stream only for who said that it takes them.
        extensions.set_one_byte_only(!send.extmap_allow_mixed);
        Some(SenderConfig {
            mid: mid.to_owned(),
            rid,
            kind: kind(self.kind),
            ssrc: encoding.ssrc,
            rtx_ssrc: (rtx && self.kind == MediaKind::Video).then_some(encoding.rtx_ssrc),
            fec_ssrc: alone.then_some(encoding.fec_ssrc),
            codecs,
            extensions,
        })
    }

    fn receiver_config(&self, mid: &str, receive: &ReceiveParameters) -> ReceiverConfig {
        ReceiverConfig {
            mid: mid.to_owned(),
            kind: kind(self.kind),
            // What a receiver needs to know is what is sent: parameter sets that do not travel in band.
            codecs: receive
                .codecs
                .iter()
                .map(|received| Codec {
                    fmtp: received.sender_parameters.clone(),
                    ..codec(received)
                })
                .collect(),
            extensions: extensions(&receive.extensions),
            sources: receive
                .streams
                .iter()
                .map(|stream| RemoteSource {
                    ssrc: stream.ssrc,
                    rtx_ssrc: stream.rtx_ssrc,
                    fec_ssrc: stream.fec_ssrc,
                })
                .collect(),
            rids: receive.simulcast.iter().map(|layer| layer.rid.clone()).collect(),
            output: self.output,
        }
    }

    /// What signalling says of the sender.
    pub(crate) fn signalled_sender(&self, streams: Vec<String>) -> antiphon_jsep::Sender {
        let video = self.kind == MediaKind::Video;
        let encodings = self.encodings.iter().map(|encoding| antiphon_jsep::Encoding {
            rid: encoding.wishes.rid.clone(),
            ssrc: encoding.ssrc,
            rtx_ssrc: video.then_some(encoding.rtx_ssrc),
            fec_ssrc: video.then_some(encoding.fec_ssrc),
        });
        antiphon_jsep::Sender {
            streams,
            track: self.track.clone(),
            encodings: encodings.collect(),
        }
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
            paused: false,
            payload_types: Vec::new(),
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
        let plain = table.insert(id(), MediaKind::Video, None, &[], &mut rng);
        assert_eq!(plain.signalled_sender(Vec::new()).encodings.len(), 1);
        let layers = ["low", "high"].map(|rid| encoding(rid, true));
        let row = table.insert(id(), MediaKind::Video, None, &layers, &mut rng);
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
