//! Why two ends do not meet, and why a transfer ends early.

use std::io;

use super::card::CardError;
use super::rules::MAX_FILES;
use crate::code::CODE_RULE;

/// Why the two did not meet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeetError {
    /// The signalling server does not answer, or the socket to it broke.
    #[error("the signalling server: {0}")]
    Unreachable(String),
    /// The signalling server says no.
    #[error("the signalling server refuses: {0}")]
    Refused(String),
    /// A code that is too easy to guess, or has characters that none has.
    #[error("{CODE_RULE}")]
    Code,
    /// Both are there, but no packet comes through.
    #[error("no connection came about; behind strict NATs both ends need --ice-server")]
    NotConnected,
    /// The pasted line.
    #[error(transparent)]
    Card(#[from] CardError),
    /// Standard input ended.
    #[error("no code was given")]
    NoInput,
    /// A description was refused.
    #[error(transparent)]
    Peer(#[from] antiphon::Error),
}

/// Why a transfer ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The two did not meet.
    #[error(transparent)]
    Meet(#[from] MeetError),
    /// The connection broke; what has arrived is kept, and the transfer can go on.
    #[error("the connection broke")]
    Broken,
    /// The peer does not keep to the protocol.
    #[error("the peer does not keep to the protocol: {0}")]
    Protocol(&'static str),
    /// The receiver does not want the files, or has no room for them.
    #[error("declined: {0}")]
    Declined(String),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The path of the file, or the flag that names it.
        path: String,
        /// What the system said of it.
        source: io::Error,
    },
    /// Some files did not arrive.
    #[error("{failed} of {total} files did not arrive")]
    Incomplete {
        /// How many files did not arrive.
        failed: usize,
        /// How many files there were in all.
        total: usize,
    },
    /// No peer connection can be made here.
    #[error(transparent)]
    Peer(#[from] antiphon::Error),
    /// The person wants no more of it.
    #[error("interrupted")]
    Interrupted,
    /// There is nothing to send.
    #[error("there is nothing to send")]
    Nothing,
    /// More files, longer paths or more bytes than one transfer can have.
    #[error("more than {MAX_FILES} files, or more bytes than there are: pack them into an archive")]
    TooMuch,
}

impl TransferError {
    pub(super) fn file(path: impl std::fmt::Display) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_string();
        move |source| Self::File { path, source }
    }
}
