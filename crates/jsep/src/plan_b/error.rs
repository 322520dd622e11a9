//! Why a description cannot be translated.

use thiserror::Error;

/// Why a description cannot be translated to Plan B or from it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanBError {
    /// A section is neither audio nor video nor data channels.
    #[error("section {index} is of no kind that Plan B has")]
    UnknownKind {
        /// The section's index.
        index: usize,
    },
    /// Two sections are of one kind: the description is not Plan B.
    #[error("section {index} is the second of its kind")]
    TwoOfAKind {
        /// The index of the second section.
        index: usize,
    },
    /// The description has another number of sections than there are kinds, or fewer than before.
    #[error("{given} sections where {expected} are due")]
    Count {
        /// How many sections it has.
        given: usize,
        /// How many there are to be.
        expected: usize,
    },
    /// A section has another kind or another mid than the one that was in its place.
    #[error("section {index} has another kind or mid than before")]
    Changed {
        /// The section's index.
        index: usize,
    },
    /// There are more tracks, or sources, in one section than are handled.
    #[error("more than {max} tracks or sources in one section")]
    TooManyTracks {
        /// How many are handled.
        max: usize,
    },
    /// An accepted section is not in the BUNDLE group: everything runs on one transport.
    #[error("section {index} is not in the BUNDLE group")]
    NotBundled {
        /// The section's index.
        index: usize,
    },
    /// Two of our sections mean different codecs by one payload type.
    #[error("payload type {number} has two meanings")]
    PayloadType {
        /// The payload type, 0 to 127.
        number: u8,
    },
    /// Two of our sections mean different header extensions by one id.
    #[error("header extension {id} has two meanings")]
    Extension {
        /// The id of the extension.
        id: u16,
    },
    /// A section of ours sends layers that are named by RIDs, which Plan B does not have.
    #[error("section {mid} sends layers by RID")]
    Rids {
        /// The section's mid.
        mid: String,
    },
}
