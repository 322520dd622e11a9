//! What a server's rooms tell the log, and how much of it.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// Nothing.
    None,
    /// What should not happen.
    #[default]
    Error,
    /// Besides, what may explain a complaint: a client's descriptions that were refused, and the like.
    Warn,
    /// Besides, each step, of what [`LogTag`]s choose.
    Debug,
}

impl FromStr for LogLevel {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "none" | "" => Ok(Self::None),
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "debug" => Ok(Self::Debug),
            _ => Err(()),
        }
    }
}

/// What steps are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTag {
    /// Rooms and peers that come and go, and their exchanges.
    Info,
    /// The states of ICE.
    Ice,
    /// The states of DTLS.
    Dtls,
    /// Receivers and senders that come and go.
    Rtp,
    /// Nodes of the cluster, and the connections between them.
    Cluster,
}

impl LogTag {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl FromStr for LogTag {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "info" => Ok(Self::Info),
            "ice" => Ok(Self::Ice),
            "dtls" => Ok(Self::Dtls),
            "rtp" => Ok(Self::Rtp),
            "cluster" => Ok(Self::Cluster),
            _ => Err(()),
        }
    }
}

/// The log of all rooms of one server. Its settings may change at any time.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    settings: Arc<Settings>,
}

#[derive(Debug, Default)]
struct Settings {
    level: AtomicU8,
    tags: AtomicU8,
}

impl Log {
    pub(super) fn set_level(&self, level: LogLevel) {
        self.settings.level.store(level as u8, Ordering::Relaxed);
    }

    pub(super) fn set_tags(&self, tags: &[LogTag]) {
        let all = if tags.is_empty() { u8::MAX } else { 0 };
        let bits = tags.iter().fold(all, |bits, tag| bits | tag.bit());
        self.settings.tags.store(bits, Ordering::Relaxed);
    }

    fn tells(&self, level: LogLevel) -> bool {
        self.settings.level.load(Ordering::Relaxed) >= level as u8
    }

    fn tells_of(&self, tag: LogTag) -> bool {
        self.tells(LogLevel::Debug) && self.settings.tags.load(Ordering::Relaxed) & tag.bit() != 0
    }

    pub(super) fn step(&self, tag: LogTag, text: impl FnOnce() -> String) {
        if self.tells_of(tag) {
            tracing::debug!(target: "antiphon::room", ?tag, "{}", text());
        }
    }

    pub(super) fn warn(&self, text: impl FnOnce() -> String) {
        if self.tells(LogLevel::Warn) {
            tracing::warn!(target: "antiphon::room", "{}", text());
        }
    }

    pub(super) fn error(&self, text: impl FnOnce() -> String) {
        if self.tells(LogLevel::Error) {
            tracing::error!(target: "antiphon::room", "{}", text());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_and_tags_decide_what_is_told() {
        let log = Log::default();
        assert!(!log.tells(LogLevel::Error), "nothing by default");
        log.set_level(LogLevel::Warn);
        log.set_tags(&[LogTag::Ice]);
        assert!(log.tells(LogLevel::Error) && log.tells(LogLevel::Warn) && !log.tells_of(LogTag::Ice));
        log.set_level(LogLevel::Debug);
        assert!(log.tells_of(LogTag::Ice) && !log.tells_of(LogTag::Dtls));
        log.set_tags(&[]);
        assert!(log.tells_of(LogTag::Dtls), "no tag stands for all");
    }
}
