//! The messages of `/ws` (docs/signalling.md).

use antiphon::{Congestion, RtcIceCandidateInit};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::link::LinkSpec;
use crate::server::media::{Figures, Role, Sending};
use crate::server::rooms::Join;
use crate::sources::AudioCodec;

/// The largest body or WebSocket message, in bytes.
pub(in crate::server) const MAX_SIGNAL: usize = 256 * 1024;

/// What the media of a session is for.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(in crate::server) enum Mode {
    /// Our pattern and music.
    #[default]
    Watch,
    /// What comes in goes out.
    Echo,
    /// Data channels and no media.
    Data,
}

impl Mode {
    pub(in crate::server) fn as_str(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Echo => "echo",
            Self::Data => "data",
        }
    }
}

impl From<Mode> for Role {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Watch => Self::Pattern,
            Mode::Echo => Self::Echo,
            Mode::Data => Self::Data,
        }
    }
}

/// Who makes the first offer.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(in crate::server) enum Offerer {
    #[default]
    Browser,
    Server,
}

/// A message from the client.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(in crate::server) enum Request {
    Start {
        #[serde(default)]
        mode: Mode,
        #[serde(default)]
        offerer: Offerer,
        /// The codec that we put first in our offers.
        #[serde(default)]
        audio: AudioCodec,
        /// The congestion controller of what we send, by its word; as the server was started, if there is none.
        #[serde(default, deserialize_with = "controller")]
        congestion: Option<Congestion>,
    },
    /// Take part in a room: the socket is that participant's from then on.
    Join(Join),
    Offer {
        sdp: String,
    },
    Answer {
        sdp: String,
    },
    Candidate {
        candidate: Option<RtcIceCandidateInit>,
    },
    /// Put an emulated link between us, or take it away.
    Link {
        link: Option<LinkSpec>,
    },
    /// Send our video otherwise from now on.
    Video(Sending),
    /// Restart ICE: we offer new credentials.
    Restart,
    Bye,
}

/// A controller by its word.
fn controller<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Congestion>, D::Error> {
    let Some(word) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let mut all = Congestion::ALL.into_iter();
    let found = all.find(|one| one.word() == word);
    found.map(Some).ok_or_else(|| D::Error::custom("no such controller"))
}

/// A message to the client.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(in crate::server) enum Reply {
    Welcome { session: String },
    Offer { sdp: String },
    Answer { sdp: String },
    Candidate { candidate: Option<RtcIceCandidateInit> },
    Stats { stats: Box<Figures> },
    Error { code: &'static str, message: String },
}

impl Reply {
    pub(in crate::server) fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::Error {
            code,
            message: message.into(),
        }
    }

    /// The word of an error.
    pub(in crate::server) fn code(&self) -> &'static str {
        match self {
            Self::Error { code, .. } => code,
            _ => "none",
        }
    }

    /// Whether there is no place for the session.
    pub(in crate::server) fn is_limit(&self) -> bool {
        matches!(self, Self::Error { code: "limit", .. })
    }

    pub(in crate::server) fn to_json(&self) -> String {
        // Strings, numbers and options always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

const TYPES: [&str; 9] = [
    "start",
    "join",
    "offer",
    "answer",
    "candidate",
    "link",
    "video",
    "restart",
    "bye",
];

/// Reads one message of a session.
///
/// # Errors
/// The reply to send instead.
pub(in crate::server) fn parse(text: &str) -> Result<Request, Reply> {
    read(text, &TYPES)
}

/// Reads one message whose `type` is one of these.
///
/// # Errors
/// The reply to send instead.
pub(in crate::server) fn read<T: DeserializeOwned>(text: &str, types: &[&str]) -> Result<T, Reply> {
    let value: Value = serde_json::from_str(text).map_err(|e| Reply::error("json", format!("not JSON: {e}")))?;
    let Some(kind) = value.get("type").and_then(Value::as_str) else {
        return Err(Reply::error("json", "not an object with a string \"type\""));
    };
    if !types.contains(&kind) {
        let shown: String = kind.chars().take(40).collect();
        return Err(Reply::error(
            "type",
            format!("no message is of type {shown:?}; known: {}", types.join(", ")),
        ));
    }
    serde_json::from_value(value).map_err(|e| Reply::error("json", e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        match parse(text) {
            Err(Reply::Error { code, .. }) => code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_page_sends() {
        let start = r#"{"type":"start","mode":"echo","offerer":"server","audio":"pcmu","congestion":"gcc"}"#;
        assert_eq!(
            parse(start).unwrap(),
            Request::Start {
                mode: Mode::Echo,
                offerer: Offerer::Server,
                audio: AudioCodec::Pcmu,
                congestion: Some(Congestion::Gcc),
            }
        );
        assert_eq!(
            parse(r#"{"type":"start"}"#).unwrap(),
            Request::Start {
                mode: Mode::Watch,
                offerer: Offerer::Browser,
                audio: AudioCodec::Opus,
                congestion: None,
            }
        );
        assert_eq!(
            parse(r#"{"type":"candidate","candidate":null}"#).unwrap(),
            Request::Candidate { candidate: None }
        );
        let link = parse(r#"{"type":"link","link":{"rate":1000,"delay":25,"loss":0.5}}"#).unwrap();
        assert!(matches!(link, Request::Link { link: Some(link) } if link.queue == 300 && link.loss == 0.5));
        let none = parse(r#"{"type":"link","link":null}"#).unwrap();
        assert_eq!(none, Request::Link { link: None });
        let video = parse(r#"{"type":"video","rate":300}"#).unwrap();
        assert!(matches!(video, Request::Video(video) if video.checked().is_ok() && video != Sending::default()));
        let text = r#"{"type":"candidate","candidate":{"candidate":"candidate:1 1 udp 1 ::1 9 typ host","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"abcd"}}"#;
        let Request::Candidate {
            candidate: Some(candidate),
        } = parse(text).unwrap()
        else {
            panic!()
        };
        assert_eq!(candidate.sdp_m_line_index, Some(0));
        assert_eq!(candidate.username_fragment.as_deref(), Some("abcd"));
        let reply = Reply::Candidate {
            candidate: Some(candidate),
        };
        assert_eq!(reply.to_json(), text);
    }

    #[test]
    fn what_nobody_should_send() {
        for text in [
            "",
            "x",
            "{",
            "[]",
            "7",
            "null",
            r#"{"type":3}"#,
            r#"{"type":"offer"}"#,
            r#"{"type":"offer","sdp":7}"#,
            r#"{"type":"start","congestion":"luck"}"#,
        ] {
            assert_eq!(code(text), "json", "{text}");
        }
        assert_eq!(code(r#"{"type":"reboot"}"#), "type");
        let deep = "[".repeat(100_000);
        assert_eq!(code(&deep), "json");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(text in ".*") {
            _ = parse(&text);
        }
    }
}
