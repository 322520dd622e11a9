//! What a connection counts.

use antiphon_crypto::NamedGroup;

/// What a connection has counted. Records that are dropped are counted by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams of the handshake, and of alerts, that were written.
    pub datagrams_sent: u64,
    /// Datagrams that the owner has handed in.
    pub datagrams_received: u64,
    /// Bytes of handshake datagrams and of sealed records.
    pub bytes_sent: u64,
    /// Bytes of the datagrams handed in.
    pub bytes_received: u64,
    /// Times that a flight was sent again.
    pub retransmissions: u64,
    /// Records, fragments or messages that cannot be decoded, or stand where they may not.
    pub dropped_malformed: u64,
    /// Records seen before, or too old to tell.
    pub dropped_replayed: u64,
    /// Records whose tag is wrong.
    pub dropped_forged: u64,
    /// Records of an epoch that is not in use.
    pub dropped_epoch: u64,
    /// Records, fragments or data for which a bounded buffer had no room.
    pub dropped_overflow: u64,
    /// Alerts that came unprotected and were not believed.
    pub dropped_alerts: u64,
    /// The group of the key exchange; `None` before the connection is complete.
    pub group: Option<NamedGroup>,
}
