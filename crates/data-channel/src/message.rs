//! Messages of the application, and pieces of them.

use antiphon_sctp::Ending;
use bytes::Bytes;

/// Whether a message is text or bytes; the PPID carries it (RFC 8831 §6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Text in UTF-8 (PPID 51, 56 if empty).
    Text,
    /// Any bytes (PPID 53, 57 if empty).
    Binary,
}

/// A message of the application. It may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Text or bytes. What the peer calls text has been checked to be UTF-8.
    pub kind: MessageKind,
    /// The content, without any header; may be empty.
    pub data: Bytes,
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            kind: MessageKind::Text,
            data: Bytes::from(text.into()),
        }
    }

    /// A binary message.
    pub fn binary(data: impl Into<Bytes>) -> Self {
        Self {
            kind: MessageKind::Binary,
            data: data.into(),
        }
    }
}

/// A message, or a piece of one that is not whole yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Text or bytes, the same for all pieces of a message. Text that comes in several pieces has not been checked to
    /// be UTF-8, and a character may lie across two of them.
    pub kind: MessageKind,
    /// The content of this piece; empty only in an empty message and where the rest was given up.
    pub data: Bytes,
    /// Whether the message begins here.
    pub begins: bool,
    /// Whether it ends here.
    pub ending: Ending,
}

impl Piece {
    /// Whether this is a whole message.
    pub fn is_whole(&self) -> bool {
        self.begins && self.ending == Ending::End
    }
}
