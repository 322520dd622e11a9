//! Descriptions and candidates: the calls of the application, and what they do to every layer.

mod apply;
mod calls;

pub use calls::MAX_EARLY_CANDIDATES;
