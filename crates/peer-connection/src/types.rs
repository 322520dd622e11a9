//! The dictionaries of webrtc-pc that calls take and give.

use antiphon_data_channel::Priority;
use antiphon_jsep::{Direction, JsepError, MediaKind, SdpType, SessionDescription};

use crate::error::Error;
use crate::transceivers::RtcRtpEncodingParameters;

/// Characters of a wrong word that an error shows.
const MAX_SHOWN: usize = 64;

/// A description (`RTCSessionDescription`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct RtcSessionDescription {
    /// Whether it is an offer, an answer of either sort, or the wish to take one back.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
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

    /// A description from the W3C's word for its type and its text, as they come from outside: both are looked at.
    ///
    /// # Errors
    /// [`Error::DescriptionType`] for a word that is none; [`Error::Signaling`] for a text that is not SDP. Of a rollback the text is not
    /// looked at.
    pub fn from_words(sdp_type: &str, sdp: impl Into<String>) -> Result<Self, Error> {
        let unknown = || Error::DescriptionType(sdp_type.chars().take(MAX_SHOWN).collect());
        let description = Self::new(sdp_type.parse().map_err(|()| unknown())?, sdp);
        if description.sdp_type != SdpType::Rollback {
            description.parsed()?;
        }
        Ok(description)
    }

    /// A description from its lines, which are written as they are.
    pub fn from_parsed(sdp_type: SdpType, parsed: &SessionDescription) -> Self {
        Self::new(sdp_type, parsed.to_text())
    }

    /// The lines of its text.
    ///
    /// # Errors
    /// [`Error::Signaling`] if it is not SDP.
    pub fn parsed(&self) -> Result<SessionDescription, Error> {
        Ok(SessionDescription::parse(&self.sdp).map_err(JsepError::from)?)
    }

    /// The object that a browser takes, as JSON: `{"type":"offer","sdp":"v=0\r\n..."}`.
    pub fn serialize(&self) -> String {
        let mut json = format!("{{\"type\":\"{}\",\"sdp\":\"", self.sdp_type);
        for letter in self.sdp.chars() {
            match letter {
                '"' => json.push_str("\\\""),
                '\\' => json.push_str("\\\\"),
                '\r' => json.push_str("\\r"),
                '\n' => json.push_str("\\n"),
                // RFC 8259 §7: these may not stand as they are.
                control @ '\0'..='\x1f' => json.push_str(&format!("\\u{:04x}", u32::from(control))),
                letter => json.push(letter),
            }
        }
        json.push_str("\"}");
        json
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

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=a \"b\" \\c\r\nt=0 0\r\n";

    #[test]
    fn a_description_is_made_of_words_and_looked_at() {
        for word in ["offer", "pranswer", "answer"] {
            let description = RtcSessionDescription::from_words(word, SDP).unwrap();
            assert_eq!(description.sdp_type.as_str(), word);
            let parsed = description.parsed().unwrap();
            assert_eq!(
                RtcSessionDescription::from_parsed(description.sdp_type, &parsed),
                description
            );
            let error = RtcSessionDescription::from_words(word, "nonsense").unwrap_err();
            assert!(matches!(error, Error::Signaling(JsepError::Syntax(_))), "{error}");
        }
        assert!(RtcSessionDescription::from_words("rollback", "").is_ok());
        let error = RtcSessionDescription::from_words("proposal", SDP).unwrap_err();
        assert_eq!(error.name(), "TypeError");
        assert_eq!(error.to_string(), "\"proposal\" is no type of a description");
    }

    #[test]
    fn a_description_is_serialized_as_browsers_take_it() {
        let text = RtcSessionDescription::answer(SDP).serialize();
        let expected = r#"{"type":"answer","sdp":"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=a \"b\" \\c\r\nt=0 0\r\n"}"#;
        assert_eq!(text, expected);
        assert_eq!(
            RtcSessionDescription::offer("\t\u{1}é").serialize(),
            r#"{"type":"offer","sdp":"\u0009\u0001é"}"#
        );
    }
}
