//! What is wanted of the delay besides what the network asks for.

/// Nothing is held back longer, microseconds.
pub(crate) const MAX_DELAY: i64 = 10_000_000;

/// What is wanted of the delay, microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// At least so much, the application says.
    pub(crate) target: i64,
    /// So much more, to keep in step with what is slower.
    pub(crate) in_step: i64,
}
