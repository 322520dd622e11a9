//! What sender and receiver say to each other on the channel `antiphon-transfer`.
//!
//! Text messages are JSON, binary messages are bytes of the file that was begun last.
//!
//! ```text
//! sender                                     receiver
//!   list {transfer, files, more} ... -------->   (asks its user)
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
//! After a broken connection the two meet again and say all this again: `have` tells which bytes of *this* transfer are there, with
//! their hash, so that a file that changed in the meantime begins anew. Of what else lies in the receiver's folder it tells nothing:
//! a transfer is known by a random number of the sender's, and whoever guesses names, sizes or numbers hears of no file.
//!
//! After `failed` the sender goes on with the next file, in the middle of one if need be. `decline` may come at any time, and ends
//! everything: the receiver does not want the files, or its disk is full.

use antiphon::{DataChannel, Message, MessageKind};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::error::TransferError;

/// The channel's label.
pub(super) const LABEL: &str = "antiphon-transfer";
/// The channel's subprotocol, with its version.
pub(super) const PROTOCOL: &str = "antiphon-transfer-2";
/// Bytes of a file in one message. Some peers close a channel on 65 536.
pub(super) const CHUNK: usize = 60 * 1024;
/// Entries in one `have`.
pub(super) const PAGE: usize = 200;
/// Bytes of the paths in one `list`: as JSON, of the worst characters, they take six times as many.
const PAGE_BYTES: usize = 6 * 1024;
/// What an entry of a list takes beside its path.
const ENTRY_BYTES: usize = 48;
/// A text message has at most so many bytes.
const MAX_TEXT: usize = 256 * 1024;

/// One file of the sender's list; its place in the list is its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The path relative to what is sent, with `/` between the parts.
    pub path: String,
    /// The file's size in bytes.
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
        /// A random number of the sender's, 32 digits in hexadecimal, the same whenever it offers this again.
        transfer: String,
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

/// A list in parts that fit one message each.
pub(super) fn pages(list: &[Entry]) -> Vec<&[Entry]> {
    let mut bytes = 0;
    list.chunk_by(|_, next| {
        bytes += next.path.len() + ENTRY_BYTES;
        let fits = bytes < PAGE_BYTES;
        if !fits {
            bytes = 0;
        }
        fits
    })
    .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_in_parts_is_the_list_and_each_fits_a_message() {
        let entry = |n: usize| Entry {
            path: "\u{1}".repeat(if n.is_multiple_of(7) { 4096 } else { n % 50 + 1 }),
            size: u64::MAX,
        };
        let list: Vec<Entry> = (0..1000).map(entry).collect();
        let pages = pages(&list);
        assert_eq!(pages.concat(), list);
        for files in pages {
            let line = Line::List {
                transfer: "0".repeat(32),
                files: files.to_vec(),
                more: true,
            };
            let len = serde_json::to_string(&line).unwrap().len();
            assert!(len < 65_536, "{len}");
        }
    }
}
