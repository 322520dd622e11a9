//! The key log: the secrets of each connection, for who must look inside.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// Receives the secrets of each connection, one line of the `SSLKEYLOGFILE` format at a time. Whoever has these lines can
/// decrypt the session; there is no key log unless the application asks for one.
#[derive(Clone)]
pub struct KeyLog(Arc<dyn Fn(&str) + Send + Sync>);

impl KeyLog {
    /// Calls `write` with each line, without its line feed.
    pub fn new(write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    pub(crate) fn write(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        use std::fmt::Write as _;
        let mut line = Zeroizing::new(String::with_capacity(
            label.len() + 2 * (client_random.len() + secret.len()) + 2,
        ));
        line.push_str(label);
        for part in [client_random, secret] {
            line.push(' ');
            for byte in part {
                let _ = write!(line, "{byte:02x}");
            }
        }
        (self.0)(&line);
    }
}

impl fmt::Debug for KeyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyLog")
    }
}
