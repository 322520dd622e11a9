//! What sender and receiver say to each other on the channel `antiphon-transfer`.
//!
//! Text messages are JSON, binary messages are bytes of the file that was begun last.
//!
//! ```text
//! sender                                     receiver
//!   list {files, more} ... ------------------>   (asks its user)
//!   <------------------------- have {parts, more} ... | decline
//!   begin {id, offset}  ----------------------->
//!   bytes ...           ----------------------->
//!   end {id, sha256}    ----------------------->  checks, renames
//!   <------------------------- received {id} | failed {id, message}
//!   ... the next file, without waiting
//!   done                ----------------------->
//!   <-------------------------------------- bye
//! ```
//!
//! After a broken connection the two meet again and say all this again: `have` tells which bytes are there, with their hash, so that a
//! file that changed in the meantime begins anew.

use antiphon::{DataChannel, Message, MessageKind};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::TransferError;

/// The channel's label.
pub(super) const LABEL: &str = "antiphon-transfer";
/// The channel's subprotocol, with its version.
pub(super) const PROTOCOL: &str = "antiphon-transfer-1";
/// Bytes of a file in one message.
pub(super) const CHUNK: usize = 64 * 1024;
/// Files in one transfer.
pub const MAX_FILES: usize = 100_000;
/// Entries in one `list` or `have`.
pub(super) const PAGE: usize = 200;
/// A text message has at most so many bytes: a page of the longest paths, escaped.
const MAX_TEXT: usize = 256 * 1024;

/// One file of the sender's list; its place in the list is its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Relative, with `/` between the parts.
    pub path: String,
    /// Bytes.
    pub size: u64,
}

/// What the receiver has of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) id: usize,
    pub(super) offset: u64,
    /// Of these first `offset` bytes.
    pub(super) sha256: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Line {
    List {
        files: Vec<Entry>,
        more: bool,
    },
    Have {
        parts: Vec<Part>,
        more: bool,
    },
    Decline {
        message: String,
    },
    Begin {
        id: usize,
        offset: u64,
    },
    End {
        id: usize,
        sha256: String,
    },
    /// The sender cannot read the file to its end.
    Skip {
        id: usize,
        message: String,
    },
    Received {
        id: usize,
    },
    Failed {
        id: usize,
        message: String,
    },
    Done,
    Bye,
}

/// A message of either kind.
#[derive(Debug)]
pub(super) enum Heard {
    Line(Line),
    Bytes(Bytes),
}

pub(super) async fn say(channel: &antiphon::DataChannelSender, line: &Line) -> Result<(), TransferError> {
    let text = serde_json::to_string(line).map_err(|_| TransferError::Protocol("a line that cannot be written"))?;
    channel
        .send(Message::text(text))
        .await
        .map_err(|_| TransferError::Broken)
}

pub(super) fn read(message: Message) -> Result<Heard, TransferError> {
    match message.kind {
        MessageKind::Binary => Ok(Heard::Bytes(message.data)),
        MessageKind::Text if message.data.len() > MAX_TEXT => Err(TransferError::Protocol("a line that is too long")),
        MessageKind::Text => serde_json::from_slice(&message.data)
            .map(Heard::Line)
            .map_err(|_| TransferError::Protocol("a line of no known form")),
    }
}

/// The next message; an end of the channel is a broken connection.
pub(super) async fn hear(channel: &mut DataChannel) -> Result<Heard, TransferError> {
    read(channel.recv().await.ok_or(TransferError::Broken)?)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            _ = write!(text, "{byte:02x}");
            text
        })
}
