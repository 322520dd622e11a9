/// The part that our end plays in the DTLS handshake; it decides who uses which ids (RFC 8832 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsRole {
    /// Even ids.
    Client,
    /// Odd ids.
    Server,
}

/// What a set of channels is told before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The association underneath. Its `max_receive_message` is what the local description announces as
    /// `a=max-message-size`, 262144 by default; with `partial_delivery` that is 0, any size. Its `partial_delivery` wants a reader
    /// that takes pieces: see [`read_piece`](crate::DataChannels::read_piece).
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
