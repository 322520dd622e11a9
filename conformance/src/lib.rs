//! Browser captures replayed through Antiphon, offline.
#![forbid(unsafe_code)]
