//! Names of candidates and pairs. They stay the same for the agent's life, and none is given twice.

/// A candidate of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LocalId(pub(super) u64);

/// A candidate of the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RemoteId(pub(super) u64);

/// A pair of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PairId(pub(super) u64);
