//! What nodes of a cluster tell each other of a participant: the text of its details.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::message::Person;
use crate::names;

/// The longest id of a track that is told (RFC 8830 §2).
const MAX_TRACK: usize = 64;
/// Screens of one participant that are told.
const MAX_SCREENS: usize = 2;

/// What is told of a participant.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct About {
    pub(super) name: String,
    pub(super) audio_muted: bool,
    pub(super) video_muted: bool,
    pub(super) recording: bool,
    /// The tracks that show its screen, as its browser calls them.
    pub(super) screens: BTreeSet<String>,
}

impl About {
    /// The text for other nodes.
    pub(super) fn write(&self) -> String {
        let screens = self.screens.iter().filter(|track| track.len() <= MAX_TRACK);
        let told = Self {
            screens: screens.take(MAX_SCREENS).cloned().collect(),
            ..self.clone()
        };
        // Texts and numbers can always be written.
        serde_json::to_string(&told).unwrap_or_default()
    }

    /// What another node says. Whom it gives no name that can be one is called by its id.
    pub(super) fn read(text: &str, id: &str) -> Self {
        let mut about: Self = serde_json::from_str(text).unwrap_or_default();
        about.name = names::person(&about.name).unwrap_or_else(|| id.to_owned());
        about
    }

    /// The same as the page hears it.
    pub(super) fn person(&self, id: String, node: Option<String>) -> Person {
        Person {
            id,
            name: self.name.clone(),
            node,
            audio_muted: self.audio_muted,
            video_muted: self.video_muted,
            recording: self.recording,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nonsense_has_its_id_for_a_name() {
        let about = About {
            name: "Ada \"of\" Lovelace".to_owned(),
            audio_muted: true,
            screens: ["s1".to_owned()].into(),
            ..About::default()
        };
        assert_eq!(About::read(&about.write(), "east.1"), about);
        for text in ["", "{}", "[1", r#"{"name":"\u202e"}"#, r#"{"name":7}"#] {
            assert_eq!(About::read(text, "east.1").name, "east.1", "{text}");
        }
        let long = About {
            name: "\u{1F600}".repeat(crate::names::MAX_PERSON),
            screens: ["a", "b", "c"].map(|track| track.repeat(64)).into(),
            ..About::default()
        };
        assert!(long.write().len() <= 1024, "{}", long.write().len());
    }
}
