//! What a set of channels is told.

/// What DTLS and the descriptions have settled, for [`DataChannels::start`](crate::DataChannels::start).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Whether our end is the client of the DTLS handshake: then it opens channels with even ids, else with odd ones
    /// (RFC 8832 §6).
    pub dtls_client: bool,
    /// The peer's `a=max-message-size` in bytes: 0 means no limit, 65536 if the attribute is absent (RFC 8841 §6.1).
    pub remote_max_message_size: usize,
    /// The peer's `a=sctp-port`.
    pub remote_port: u16,
}

/// What a set of channels is told before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The association underneath. Its `max_receive_message` is what the local description announces as
    /// `a=max-message-size`, 262144 by default; with `partial_delivery` that is 0, any size. Its `partial_delivery`
    /// wants a reader that takes pieces: see [`read_piece`](crate::DataChannels::read_piece).
    pub association: antiphon_sctp::Config,
    /// How many channels may exist at once, closing ones included. At most 65535.
    pub max_channels: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            association: antiphon_sctp::Config::default(),
            max_channels: 65_535,
        }
    }
}
