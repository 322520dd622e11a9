//! A packet between the producer that has read it and the consumers that get it.

use crate::draft::Draft;
use crate::facts::Facts;

/// A packet of a run on its way.
#[derive(Debug)]
pub(super) struct Going {
    /// Its place in the run.
    pub(super) place: usize,
    /// Its number: of sound among what goes on of it.
    pub(super) sequence: u64,
    /// It is sound that is not among the loudest: it goes through pipes alone, whose far end may judge otherwise.
    pub(super) is_quiet: bool,
    pub(super) facts: Facts,
    /// As the consumer before got it; `None` before the first.
    pub(super) draft: Option<Draft>,
}
