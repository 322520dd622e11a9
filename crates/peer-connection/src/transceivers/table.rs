//! What the connection keeps of each transceiver besides what signalling does, and the way from negotiated parameters to
//! those of `media`.

use antiphon_jsep::{Direction, MediaKind, ReceiveParameters, SendParameters, TransceiverId};
use antiphon_media::{
    Codec, Feedback, Kind, Output, ReceiverConfig, ReceiverId, RemoteSource, SenderConfig, SenderId, extension,
};

/// A row of the transceiver table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: TransceiverId,
    pub(crate) kind: MediaKind,
    /// The id of the outgoing track; `None`: `remove_track` took it, or there never was one.
    pub(crate) track: Option<String>,
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: u32,
    pub(crate) sender: Option<SenderId>,
    pub(crate) receiver: Option<ReceiverId>,
    pub(crate) output: Output,
    /// Whether the sender was ever negotiated to send: `add_track` does not take such a transceiver (W3C).
    pub(crate) has_sent: bool,
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

/// Whether we send in this direction.
pub(crate) fn sends(direction: Direction) -> bool {
    matches!(direction, Direction::SendRecv | Direction::SendOnly)
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

impl Row {
    pub(crate) fn sender_config(&self, mid: &str, send: &SendParameters) -> SenderConfig {
        let codecs: Vec<Codec> = send.codecs.iter().map(codec).collect();
        let rtx = codecs.iter().any(|codec| codec.rtx_payload_type.is_some());
        SenderConfig {
            mid: mid.to_owned(),
            rid: None,
            kind: kind(self.kind),
            ssrc: self.ssrc,
            rtx_ssrc: (rtx && self.kind == MediaKind::Video).then_some(self.rtx_ssrc),
            codecs,
            extensions: extensions(&send.extensions),
        }
    }

    pub(crate) fn receiver_config(&self, mid: &str, receive: &ReceiveParameters) -> ReceiverConfig {
        ReceiverConfig {
            mid: mid.to_owned(),
            kind: kind(self.kind),
            codecs: receive.codecs.iter().map(codec).collect(),
            extensions: extensions(&receive.extensions),
            sources: receive
                .streams
                .iter()
                .map(|stream| RemoteSource {
                    ssrc: stream.ssrc,
                    rtx_ssrc: stream.rtx_ssrc,
                })
                .collect(),
            rids: receive.simulcast.iter().map(|layer| layer.rid.clone()).collect(),
            output: self.output,
        }
    }

    /// What signalling says of the sender.
    pub(crate) fn signalled_sender(&self, streams: Vec<String>) -> antiphon_jsep::Sender {
        antiphon_jsep::Sender {
            streams,
            track: self.track.clone(),
            encodings: vec![antiphon_jsep::Encoding {
                rid: None,
                ssrc: self.ssrc,
                rtx_ssrc: (self.kind == MediaKind::Video).then_some(self.rtx_ssrc),
            }],
        }
    }
}
