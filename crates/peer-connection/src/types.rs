//! The dictionaries of webrtc-pc that calls take and give.

use antiphon_data_channel::Priority;
use antiphon_jsep::{Direction, MediaKind, SdpType};

use crate::transceivers::RtcRtpEncodingParameters;

/// A description (`RTCSessionDescription`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtcSessionDescription {
    /// Whether it is an offer, an answer of either sort, or the wish to take one back.
    pub sdp_type: SdpType,
    /// The text of the description (RFC 8866). Of a rollback it says nothing.
    pub sdp: String,
}

impl RtcSessionDescription {
    /// An offer.
    pub fn offer(sdp: impl Into<String>) -> Self {
        Self::new(SdpType::Offer, sdp)
    }

    /// An answer.
    pub fn answer(sdp: impl Into<String>) -> Self {
        Self::new(SdpType::Answer, sdp)
    }

    /// Takes the pending description back.
    pub fn rollback() -> Self {
        Self::new(SdpType::Rollback, "")
    }

    /// A description of this type.
    pub fn new(sdp_type: SdpType, sdp: impl Into<String>) -> Self {
        Self {
            sdp_type,
            sdp: sdp.into(),
        }
    }
}

/// How a transceiver begins (`RTCRtpTransceiverInit`).
#[derive(Clone, Debug, PartialEq)]
pub struct RtcRtpTransceiverInit {
    /// The direction that we prefer; the next exchange negotiates it.
    pub direction: Direction,
    /// The ids of the streams that its outgoing track belongs to.
    pub streams: Vec<String>,
    /// The id of its outgoing track, if it has one; shown to the peer in `a=msid`.
    pub track_id: Option<String>,
    /// The streams that the track is sent in: none is the same as one of which nothing is said. More than one is simulcast
    /// (RFC 8853).
    pub send_encodings: Vec<RtcRtpEncodingParameters>,
    /// The simulcast layers that our offers ask the peer to send, by their RIDs, as a forwarder does (RFC 8853; the W3C has no word for
    /// it). None: no simulcast is asked for, but what the peer offers by itself is taken.
    pub receive_rids: Vec<String>,
}

impl Default for RtcRtpTransceiverInit {
    fn default() -> Self {
        Self::new(Direction::SendRecv)
    }
}

impl RtcRtpTransceiverInit {
    /// A transceiver without a track.
    pub fn new(direction: Direction) -> Self {
        Self {
            direction,
            streams: Vec::new(),
            track_id: None,
            send_encodings: Vec::new(),
            receive_rids: Vec::new(),
        }
    }
}

/// A source of media, as far as signalling is concerned (`MediaStreamTrack` and its streams).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaStreamTrack {
    /// Whether it is audio or video.
    pub kind: MediaKind,
    /// The id of the track. One id may be sent once.
    pub id: String,
    /// The ids of the streams that it belongs to.
    pub stream_ids: Vec<String>,
}

/// How a data channel begins (`RTCDataChannelInit`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtcDataChannelInit {
    /// Whether messages arrive in the order in which they were sent.
    pub ordered: bool,
    /// For how long a message is sent and sent again, in milliseconds. Not together with `max_retransmits`.
    pub max_packet_life_time: Option<u16>,
    /// How often a message is sent again at most. Not together with `max_packet_life_time`.
    pub max_retransmits: Option<u16>,
    /// The name of a subprotocol; empty for none.
    pub protocol: String,
    /// Both applications open the channel with the same `id`; the peer is not told.
    pub negotiated: bool,
    /// The id of a negotiated channel. Ignored for others, whose ids follow from the DTLS role.
    pub id: Option<u16>,
    /// How much of the association the channel gets beside others; it is told to the peer (RFC 8831 §6.4).
    pub priority: Priority,
}

impl Default for RtcDataChannelInit {
    fn default() -> Self {
        Self {
            ordered: true,
            max_packet_life_time: None,
            max_retransmits: None,
            protocol: String::new(),
            negotiated: false,
            id: None,
            priority: Priority::default(),
        }
    }
}
