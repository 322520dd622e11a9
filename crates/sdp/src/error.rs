//! Why a text is no description.

use thiserror::Error;

/// A description that is not SDP. `line` counts from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("line {line}: {kind}")]
pub struct ParseError {
    /// The line at fault, from 1; 0 when the whole text is at fault.
    pub line: usize,
    /// What is wrong with it.
    pub kind: ErrorKind,
}

/// Why a text is not SDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text is longer than [`crate::MAX_LENGTH`] bytes.
    #[error("the description is too long")]
    TooLong,
    /// The bytes are not UTF-8.
    #[error("the description is not UTF-8")]
    NotText,
    /// A line is not `<letter>=<value>`, or holds a NUL or a lone CR.
    #[error("not of the form <type>=<value>")]
    Line,
    /// The first line is not `v=0` (RFC 8866 §5.1).
    #[error("a description begins with v=0")]
    Version,
    /// The second line is not `o=` (RFC 8866 §5.2).
    #[error("the o= line is missing")]
    Origin,
    /// The third line is not `s=` (RFC 8866 §5.3).
    #[error("the s= line is missing")]
    SessionName,
    /// An `m=` line does not follow RFC 8866 §5.14: bad port, no protocol, or no format.
    #[error("malformed m= line")]
    Media,
}
