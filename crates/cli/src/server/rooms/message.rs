//! What a participant and the server say to each other (docs/signalling.md, "Rooms").

use serde::{Deserialize, Serialize};

/// How somebody comes in: the first message of a WebSocket that is for a room.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(in crate::server) struct Join {
    pub(in crate::server) room: String,
    /// What the others call the participant; a token may say something else.
    #[serde(default)]
    pub(in crate::server) name: String,
    /// What lets it in, where that is needed.
    #[serde(default)]
    pub(in crate::server) token: Option<String>,
    /// Whether it comes to record.
    #[serde(default)]
    pub(in crate::server) record: bool,
    /// An offer that was made to tell what the browser can, and for nothing else.
    pub(in crate::server) sdp: String,
}

/// What a participant says.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(in crate::server) enum Request {
    /// The answer to our offer.
    Answer {
        sdp: String,
        /// The section that carries the screen, if one does.
        #[serde(default)]
        screen: Option<String>,
    },
    /// So many tracks are to be sent from now on.
    Publish {
        audio: u8,
        video: u8,
    },
    /// What is muted now.
    Mute {
        audio: bool,
        video: bool,
    },
    /// A line of the chat.
    Say {
        text: String,
    },
    /// The track in this section is to have this layer at most, from 0 for the smallest picture; `None`: the best that the path carries.
    Prefer {
        mid: String,
        #[serde(default)]
        layer: Option<u8>,
    },
    /// Restart ICE.
    Restart,
    Bye,
}

/// The types of [`Request`].
pub(in crate::server) const TYPES: [&str; 7] = ["answer", "publish", "mute", "say", "prefer", "restart", "bye"];

/// A participant, as the others see it.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub(in crate::server) struct Person {
    pub(in crate::server) id: String,
    pub(in crate::server) name: String,
    /// The node of the cluster that it is connected to, if that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::server) node: Option<String>,
    /// Whether its microphone is muted.
    pub(in crate::server) audio_muted: bool,
    /// Whether its camera is muted.
    pub(in crate::server) video_muted: bool,
    /// Whether it is there to record.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::server) recording: bool,
}

/// What everybody in a room hears.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(in crate::server) enum News {
    Entered { participant: Person },
    Left { id: String },
    Muted { participant: Person },
    Said { id: String, name: String, text: String },
    Speaker { id: Option<String> },
}

/// What a track shows.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(in crate::server) enum Source {
    Microphone,
    Camera,
    Screen,
}

/// Whose track is in which section of our last offer.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub(in crate::server) struct TrackOf {
    pub(in crate::server) mid: String,
    /// The id of the participant.
    pub(in crate::server) participant: String,
    pub(in crate::server) source: Source,
}

/// How the pictures of one section do.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub(in crate::server) struct PictureOf {
    pub(in crate::server) mid: String,
    /// The layer that goes on, from 0 for the smallest picture; `None` while none does.
    pub(in crate::server) layer: Option<u8>,
    /// How well it arrives at the page: 0 to 10.
    pub(in crate::server) score: Option<u8>,
    /// How well each layer arrives at the server; 0 of one that is not sent now.
    pub(in crate::server) layers: Vec<u8>,
    /// Nothing goes on because the path does not carry it beside the others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::server) starved: bool,
}

/// What one participant hears.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(in crate::server) enum Reply {
    Joined {
        room: String,
        /// The id of the participant who hears this.
        you: String,
        /// All who are there, this one too.
        participants: Vec<Person>,
    },
    Offer {
        sdp: String,
    },
    /// The whole table, after each exchange.
    Tracks {
        tracks: Vec<TrackOf>,
    },
    /// The pictures of which there is something new to tell.
    Pictures {
        pictures: Vec<PictureOf>,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, json, to_value};

    use super::*;

    #[test]
    fn what_the_page_sends() {
        let publish: Request = from_str(r#"{"type":"publish","audio":1,"video":2}"#).unwrap();
        assert_eq!(publish, Request::Publish { audio: 1, video: 2 });
        let answer: Request = from_str(r#"{"type":"answer","sdp":"v=0","screen":"2"}"#).unwrap();
        assert!(matches!(answer, Request::Answer { screen: Some(mid), .. } if mid == "2"));
        let answer: Request = from_str(r#"{"type":"answer","sdp":"v=0"}"#).unwrap();
        assert!(matches!(answer, Request::Answer { screen: None, .. }));
        for wrong in [
            r#"{"type":"publish","audio":-1,"video":0}"#,
            r#"{"type":"publish","audio":1}"#,
            r#"{"type":"publish","audio":256,"video":0}"#,
            r#"{"type":"mute","audio":"yes","video":false}"#,
            r#"{"type":"say","text":7}"#,
            r#"{"type":"prefer","layer":1}"#,
            r#"{"type":"prefer","mid":"3","layer":-1}"#,
            r#"{"type":"offer","sdp":"v=0"}"#,
        ] {
            assert!(from_str::<Request>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_type_that_is_named_is_known() {
        for kind in TYPES {
            let all = json!({"type": kind, "sdp": "", "audio": 0, "video": 0, "text": "", "mid": ""});
            let muted = json!({"type": kind, "audio": false, "video": false});
            assert!(
                serde_json::from_value::<Request>(all).is_ok() || serde_json::from_value::<Request>(muted).is_ok(),
                "{kind}"
            );
        }
    }

    #[test]
    fn what_the_page_hears() {
        let track = TrackOf {
            mid: "3".into(),
            participant: "7".into(),
            source: Source::Screen,
        };
        let told = to_value(Reply::Tracks { tracks: vec![track] }).unwrap();
        assert_eq!(
            told,
            json!({"type": "tracks", "tracks": [{"mid": "3", "participant": "7", "source": "screen"}]})
        );
        let picture = PictureOf {
            mid: "3".into(),
            layer: Some(1),
            score: None,
            layers: vec![10, 9, 0],
            starved: false,
        };
        let told = to_value(Reply::Pictures {
            pictures: vec![picture],
        })
        .unwrap();
        assert_eq!(
            told,
            json!({"type": "pictures", "pictures": [{"mid": "3", "layer": 1, "score": null, "layers": [10, 9, 0]}]})
        );
        assert_eq!(
            to_value(News::Speaker { id: None }).unwrap(),
            json!({"type": "speaker", "id": null})
        );
    }
}
