//! The transceiver table: what a row wants, and what was negotiated for it.

use antiphon_sdp::Direction;

use crate::plan::{ReceiveParameters, SendParameters, SimulcastLayer};
use crate::types::{MediaKind, TransceiverId};

/// One encoding of a sender: an RTP stream with its retransmissions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoding {
    /// The name of the layer when there are several.
    pub rid: Option<String>,
    /// The SSRC of the stream.
    pub ssrc: u32,
    /// The SSRC of its retransmissions.
    pub rtx_ssrc: Option<u32>,
    /// The SSRC of its FlexFEC: announced where that is negotiated and the sender has no other encoding.
    pub fec_ssrc: Option<u32>,
}

/// What a description says of a sender. The peer connection owns it and tells it here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sender {
    /// The ids of the streams that the track belongs to.
    pub streams: Vec<String>,
    /// The id of the track that is sent, if there is one.
    pub track: Option<String>,
    /// The streams of RTP that the track is sent in: one, or one for each simulcast layer.
    pub encodings: Vec<Encoding>,
}

/// How a transceiver begins (RTCRtpTransceiverInit).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransceiverInit {
    /// The direction that we prefer.
    pub direction: Direction,
    /// What the transceiver sends.
    pub sender: Sender,
    /// The simulcast layers that the peer is asked to send, by their RIDs (RFC 8853 §5.2); none: no simulcast is asked for,
    /// though what a peer offers by itself is taken.
    pub receive_rids: Vec<String>,
    /// Whether `add_track` made it, not `add_transceiver`: only then may a section of a remote offer take it
    /// (RFC 9429 §5.10).
    pub from_add_track: bool,
}

impl Default for TransceiverInit {
    fn default() -> Self {
        Self {
            direction: Direction::SendRecv,
            sender: Sender::default(),
            receive_rids: Vec::new(),
            from_add_track: false,
        }
    }
}

/// A row of the transceiver table.
#[derive(Debug, Clone, PartialEq)]
pub struct Transceiver {
    pub(crate) id: TransceiverId,
    pub(crate) kind: MediaKind,
    pub(crate) direction: Direction,
    pub(crate) sender: Sender,
    pub(crate) receive_rids: Vec<String>,
    pub(crate) from_add_track: bool,
    pub(crate) from_remote: bool,
    pub(crate) stopping: bool,
    pub(crate) codec_preferences: Vec<String>,
    pub(crate) state: Negotiated,
}

/// The part of a transceiver that descriptions change and a rollback restores.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Negotiated {
    pub(crate) stopped: bool,
    pub(crate) mid: Option<String>,
    pub(crate) m_line_index: Option<usize>,
    pub(crate) current_direction: Option<Direction>,
    /// Whether the application was told of an incoming track (W3C `[[FiredDirection]]`).
    pub(crate) receiving: bool,
    pub(crate) remote_streams: Vec<String>,
    pub(crate) remote_track: Option<String>,
    pub(crate) send: Option<SendParameters>,
    pub(crate) receive: Option<ReceiveParameters>,
}

impl Transceiver {
    /// Its name.
    pub fn id(&self) -> TransceiverId {
        self.id
    }

    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.kind
    }

    /// Its `a=mid`, once it is associated with a section.
    pub fn mid(&self) -> Option<&str> {
        self.state.mid.as_deref()
    }

    /// The index of its section.
    pub fn m_line_index(&self) -> Option<usize> {
        self.state.m_line_index
    }

    /// The direction that we prefer.
    pub fn direction(&self) -> Direction {
        if self.stopping {
            Direction::Inactive
        } else {
            self.direction
        }
    }

    /// The direction that is negotiated.
    pub fn current_direction(&self) -> Option<Direction> {
        self.state.current_direction
    }

    /// Whether it is stopped for good.
    pub fn stopped(&self) -> bool {
        self.state.stopped
    }

    /// Whether `stop` was called; the next exchange makes it [`Self::stopped`].
    pub fn stopping(&self) -> bool {
        self.stopping
    }

    /// Whether `add_track` made it.
    pub fn from_add_track(&self) -> bool {
        self.from_add_track
    }

    /// What it sends.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// The layers that an offer of ours names as those that the peer may send: what the application wants, else what is
    /// negotiated already. A name stands for one layer of a section (RFC 8851 §4), so not those that we send.
    pub(crate) fn receive_layers(&self) -> Vec<SimulcastLayer> {
        let wanted = self.receive_rids.iter().map(|rid| SimulcastLayer {
            rid: rid.clone(),
            ..SimulcastLayer::default()
        });
        let negotiated = self.state.receive.iter().flat_map(|receive| &receive.simulcast);
        let layers: Vec<SimulcastLayer> = if self.receive_rids.is_empty() {
            negotiated.cloned().collect()
        } else {
            wanted.collect()
        };
        let sent = |layer: &SimulcastLayer| {
            let mut own = self.sender.encodings.iter();
            own.any(|encoding| encoding.rid.as_ref() == Some(&layer.rid))
        };
        layers.into_iter().filter(|layer| !sent(layer)).collect()
    }

    /// The streams of the incoming track.
    pub fn remote_streams(&self) -> &[String] {
        &self.state.remote_streams
    }

    /// The id of the incoming track as the peer names it, if it does.
    pub fn remote_track(&self) -> Option<&str> {
        self.state.remote_track.as_deref()
    }

    /// How it sends now.
    pub fn send(&self) -> Option<&SendParameters> {
        self.state.send.as_ref()
    }

    /// How it receives now.
    pub fn receive(&self) -> Option<&ReceiveParameters> {
        self.state.receive.as_ref()
    }
}
