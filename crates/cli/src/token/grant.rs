//! What a token says: who may come into which room, when, and what for.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize, Serializer};

/// One thing that a token allows.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// To send sound and pictures.
    Publish,
    /// To get those of the others.
    Watch,
    /// To record them, as `antiphon record --room` does.
    Record,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish",
            Self::Watch => "watch",
            Self::Record => "record",
        })
    }
}

/// What somebody may do in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Whether it may send sound and pictures.
    pub publish: bool,
    /// Whether it gets those of the others.
    pub watch: bool,
    /// Whether it may record them.
    pub record: bool,
}

impl Rights {
    /// Everything: what everybody may who needs no token.
    pub const ALL: Self = Self {
        publish: true,
        watch: true,
        record: true,
    };

    /// These rights and no other.
    pub fn of(rights: &[Right]) -> Self {
        Self {
            publish: rights.contains(&Right::Publish),
            watch: rights.contains(&Right::Watch),
            record: rights.contains(&Right::Record),
        }
    }
}

/// The claims of a token.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct Grant {
    /// The room that it is for.
    pub room: String,
    /// What its bearer is called in the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whom it stands for (RFC 7519 §4.1.2): the name, if there is no `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// From when on it is not taken any more, in seconds of Unix time (RFC 7519 §4.1.4). Every token has an end.
    #[serde(serialize_with = "whole")]
    pub exp: f64,
    /// From when on it is taken, in seconds of Unix time (RFC 7519 §4.1.5).
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "whole_or_none")]
    pub nbf: Option<f64>,
    /// What it allows. Without this claim: to publish and to watch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may: Option<Vec<Right>>,
    /// For whom it was made (RFC 7519 §4.1.3). A token that names somebody is for somebody else than this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<serde_json::Value>,
}

impl Grant {
    /// What its bearer is called, if it says so.
    pub fn called(&self) -> Option<&str> {
        self.name.as_deref().or(self.sub.as_deref())
    }

    /// What it allows.
    pub fn rights(&self) -> Rights {
        Rights::of(self.may.as_deref().unwrap_or(&[Right::Publish, Right::Watch]))
    }
}

/// Not every program reads numbers with a point where it looks for a time.
fn whole<S: Serializer>(seconds: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(*seconds as i64)
}

fn whole_or_none<S: Serializer>(seconds: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match seconds {
        Some(seconds) => whole(seconds, serializer),
        None => serializer.serialize_none(),
    }
}
