//! The name of an encoding (RFC 8851, RFC 8852).

use std::fmt;

/// The name of an encoding of a source: `rid` in descriptions, [`Kind::Rid`](crate::extension::Kind::Rid) in packets.
///
/// It is copied with each packet of its source, so it holds its text in place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rid {
    len: u8,
    bytes: [u8; Rid::MAX_LEN],
}

impl Rid {
    /// The most bytes of a name: what the one-byte form of a header extension can carry (RFC 8285 §4.2).
    pub const MAX_LEN: usize = 16;

    /// The name that these bytes spell. `None` if they are none, more than [`Self::MAX_LEN`], or no text.
    #[inline]
    pub fn new(name: &[u8]) -> Option<Self> {
        // Letters, digits, "-" and "_" are all that a name should have, but whoever uses others means something by it.
        if name.is_empty() || name.len() > Self::MAX_LEN || str::from_utf8(name).is_err() {
            return None;
        }
        let mut bytes = [0; Self::MAX_LEN];
        bytes[..name.len()].copy_from_slice(name);
        Some(Self {
            len: name.len() as u8,
            bytes,
        })
    }

    /// The name as bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        // Nothing but text comes into it.
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Display for Rid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Rid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rid({:?})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_short_text() {
        for name in ["h", "0", "high-1_b", "h.1", "abcdefghijklmnop"] {
            let rid = Rid::new(name.as_bytes()).unwrap();
            assert_eq!((rid.as_str(), rid.as_bytes()), (name, name.as_bytes()));
        }
        for name in [&b""[..], b"abcdefghijklmnopq", &[b'h', 0xff]] {
            assert_eq!(Rid::new(name), None, "{name:?}");
        }
    }
}
