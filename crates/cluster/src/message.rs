//! What nodes say to each other on the bus, and on which subject. Each message is JSON with a version; whatever is not
//! exactly within the limits is not taken.

use serde::{Deserialize, Serialize};

use crate::names::{NodeName, RoomName};
use crate::peer::{MAX_NAME, MAX_PEERS, MAX_SAID, MAX_TRACKS, Peer};
use crate::section::{MAX_SECTIONS, Section};
use crate::subject::Subject;

/// Bytes of a message. A bus carries a megabyte by default (NATS); the longest of ours is the description of a full pipe.
pub const MAX_MESSAGE: usize = 768 * 1024;
/// The version of all messages here. Fields may be added within it: who does not know them passes over them.
const VERSION: u32 = 1;

/// A message for the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Whom it is for.
    pub subject: Subject,
    /// The message, at most `MAX_MESSAGE` bytes.
    pub payload: Vec<u8>,
}

/// A message with its sender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    v: u32,
    pub(crate) node: NodeName,
    /// Which start of the node it is; the later one is the higher.
    pub(crate) run: u64,
    pub(crate) body: Body,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Body {
    /// The node lives.
    Beat {},
    /// The node leaves.
    Bye {},
    Digest(Digest),
    Peer(PeerState),
    Ask(Ask),
    Watch(Watch),
    Say(Say),
    Offer(Offer),
    Answer(Answer),
    Close(Close),
}

/// The peers of the sender in a room and how new what was told of each is. Without any the sender has left the room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Digest {
    pub(crate) room: RoomName,
    /// Whether all others are to tell everything, since the sender knows nothing yet.
    pub(crate) ask: bool,
    pub(crate) peers: Vec<(u64, u64)>,
    /// How new what it watches is, of each node.
    pub(crate) watches: Vec<(NodeName, u64)>,
}

/// All that is known of a peer of the sender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PeerState {
    pub(crate) room: RoomName,
    pub(crate) id: u64,
    pub(crate) revision: u64,
    pub(crate) peer: Peer,
}

/// The sender has missed something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) room: RoomName,
    /// The peers that it knows nothing or nothing new of.
    pub(crate) peers: Vec<u64>,
    /// Whether it is to hear what is watched.
    pub(crate) watch: bool,
}

/// All that the sender watches of who gets this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watch {
    pub(crate) room: RoomName,
    pub(crate) revision: u64,
    /// Peers and tracks by their numbers.
    pub(crate) tracks: Vec<(u64, u64)>,
    /// The pipe that the sender has, if it is the one that answers.
    pub(crate) pipe: Option<u64>,
}

/// Words of a peer of the sender, which are heard once or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Say {
    pub(crate) room: RoomName,
    pub(crate) id: u64,
    pub(crate) text: String,
}

/// An offer of a pipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub(crate) room: RoomName,
    pub(crate) pipe: u64,
    pub(crate) exchange: u64,
    pub(crate) sdp: String,
    pub(crate) sections: Vec<Section>,
}

/// The answer to an offer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) room: RoomName,
    pub(crate) pipe: u64,
    pub(crate) exchange: u64,
    pub(crate) sdp: String,
}

/// A pipe is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Close {
    pub(crate) room: RoomName,
    pub(crate) pipe: u64,
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    TooLarge,
    OtherVersion,
    Malformed,
}

impl Envelope {
    pub(crate) fn new(node: NodeName, run: u64, body: Body) -> Self {
        Self {
            v: VERSION,
            node,
            run,
            body,
        }
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        /// All that versions have in common.
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        if bytes.len() > MAX_MESSAGE {
            return Err(Unreadable::TooLarge);
        }
        let version: Version = serde_json::from_slice(bytes).map_err(|_| Unreadable::Malformed)?;
        if version.v != VERSION {
            return Err(Unreadable::OtherVersion);
        }
        let envelope: Self = serde_json::from_slice(bytes).map_err(|_| Unreadable::Malformed)?;
        match envelope.body.fits() {
            true => Ok(envelope),
            false => Err(Unreadable::Malformed),
        }
    }

    /// The bytes for the bus; `None` if there are too many.
    pub(crate) fn write(&self) -> Option<Vec<u8>> {
        // Nothing here is a map with keys other than numbers, which is all that could fail.
        let bytes = serde_json::to_vec(self).ok()?;
        (bytes.len() <= MAX_MESSAGE).then_some(bytes)
    }
}

impl Body {
    fn fits(&self) -> bool {
        match self {
            Self::Beat {} | Self::Bye {} | Self::Answer(_) | Self::Close(_) => true,
            Self::Digest(digest) => digest.peers.len() <= MAX_PEERS,
            Self::Peer(state) => state.peer.check().is_ok(),
            Self::Ask(ask) => ask.peers.len() <= MAX_PEERS,
            Self::Watch(watch) => watch.tracks.len() <= MAX_PEERS * MAX_TRACKS,
            Self::Say(say) => say.text.len() <= MAX_SAID,
            Self::Offer(offer) => {
                offer.sections.len() <= MAX_SECTIONS
                    && offer.sections.iter().all(|section| section.mid.len() <= MAX_NAME)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::peer::{Kind, Track, TrackId};

    fn node() -> impl Strategy<Value = NodeName> {
        "[a-zA-Z0-9_-]{1,64}".prop_map(|name| NodeName::new(&name).unwrap())
    }

    fn room() -> impl Strategy<Value = RoomName> {
        "\\PC{1,60}".prop_map(|name| RoomName::new(&name).unwrap())
    }

    fn track() -> impl Strategy<Value = Track> {
        let kind = prop_oneof![Just(Kind::Audio), Just(Kind::Video)];
        (kind, "\\PC{0,60}", prop::collection::vec("[a-z]{1,8}", 0..8)).prop_map(|(kind, name, encodings)| Track {
            kind,
            name,
            encodings,
        })
    }

    fn body() -> impl Strategy<Value = Body> {
        let tracks = prop::collection::btree_map(any::<u64>(), track(), 0..16);
        let peer = (room(), any::<u64>(), any::<u64>(), "\\PC{0,60}", ".{0,99}", tracks);
        let section = (".{0,9}", node(), any::<u64>(), any::<u64>()).prop_map(|(mid, node, peer, track)| Section {
            mid,
            track: TrackId { node, peer, track },
        });
        let pairs = || prop::collection::vec(any::<(u64, u64)>(), 0..20);
        let watches = prop::collection::vec((node(), any::<u64>()), 0..4);
        let sections = prop::collection::vec(section, 0..6);
        prop_oneof![
            Just(Body::Beat {}),
            Just(Body::Bye {}),
            (room(), any::<bool>(), pairs(), watches).prop_map(|(room, ask, peers, watches)| {
                Body::Digest(Digest {
                    room,
                    ask,
                    peers,
                    watches,
                })
            }),
            peer.prop_map(|(room, id, revision, name, details, tracks)| {
                let peer = Peer { name, details, tracks };
                Body::Peer(PeerState {
                    room,
                    id,
                    revision,
                    peer,
                })
            }),
            (room(), prop::collection::vec(any::<u64>(), 0..20), any::<bool>())
                .prop_map(|(room, peers, watch)| Body::Ask(Ask { room, peers, watch })),
            (room(), any::<u64>(), pairs(), any::<Option<u64>>()).prop_map(|(room, revision, tracks, pipe)| {
                Body::Watch(Watch {
                    room,
                    revision,
                    tracks,
                    pipe,
                })
            }),
            (room(), any::<u64>(), ".{0,200}").prop_map(|(room, id, text)| Body::Say(Say { room, id, text })),
            (room(), any::<u64>(), any::<u64>(), ".{0,200}", sections).prop_map(
                |(room, pipe, exchange, sdp, sections)| {
                    Body::Offer(Offer {
                        room,
                        pipe,
                        exchange,
                        sdp,
                        sections,
                    })
                }
            ),
            (room(), any::<u64>(), any::<u64>(), ".{0,200}").prop_map(|(room, pipe, exchange, sdp)| Body::Answer(
                Answer {
                    room,
                    pipe,
                    exchange,
                    sdp
                }
            )),
            (room(), any::<u64>()).prop_map(|(room, pipe)| Body::Close(Close { room, pipe })),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(node in node(), run in any::<u64>(), body in body()) {
            let envelope = Envelope::new(node, run, body);
            let bytes = envelope.write().unwrap();
            prop_assert_eq!(Envelope::parse(&bytes), Ok(envelope));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Envelope::parse(&bytes).is_err());
        }

        #[test]
        fn a_damaged_message_is_refused_or_read(node in node(), body in body(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = Envelope::new(node, 7, body).write().unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            _ = Envelope::parse(&bytes);
        }

        #[test]
        fn subjects_are_tokens_for_nats(room in room()) {
            let subject = Subject::Room(room).to_string();
            prop_assert!(subject.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.'));
        }
    }

    #[test]
    fn newer_and_oversized_messages_are_told_apart() {
        let parse = |text: &str| Envelope::parse(text.as_bytes());
        assert!(parse(r#"{"v":1,"node":"a","run":1,"body":{"beat":{}}}"#).is_ok());
        assert!(
            parse(r#"{"v":1,"node":"a","run":1,"body":{"beat":{"load":3}},"zone":"b"}"#).is_ok(),
            "fields may be added"
        );
        assert_eq!(parse(r#"{"v":2,"words":"of tomorrow"}"#), Err(Unreadable::OtherVersion));
        assert_eq!(
            parse(r#"{"v":1,"node":"a.b","run":1,"body":{"beat":{}}}"#),
            Err(Unreadable::Malformed)
        );
        assert_eq!(
            parse(r#"{"v":1,"node":"a","run":1,"body":{"boast":{}}}"#),
            Err(Unreadable::Malformed)
        );
        assert_eq!(parse(&"[".repeat(100_000)), Err(Unreadable::Malformed));
        assert_eq!(parse(&" ".repeat(MAX_MESSAGE + 1)), Err(Unreadable::TooLarge));
        let many = vec![(1, 1); MAX_PEERS + 1];
        let digest = Digest {
            room: RoomName::new("r").unwrap(),
            ask: false,
            peers: many,
            watches: Vec::new(),
        };
        let bytes = Envelope::new(NodeName::new("a").unwrap(), 1, Body::Digest(digest))
            .write()
            .unwrap();
        assert_eq!(Envelope::parse(&bytes), Err(Unreadable::Malformed));
    }
}
