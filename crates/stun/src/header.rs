//! The header of a message: its class, its method and its transaction (RFC 8489 §5).

use std::fmt;

use antiphon_sansio::Rng;

/// The fixed bytes 4 to 7 of every message (RFC 8489 §5).
pub const MAGIC_COOKIE: u32 = 0x2112_a442;

/// The size of the header in bytes.
pub const HEADER_LEN: usize = 20;

/// A method (RFC 8489 §18.2): twelve bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(u16);

impl Method {
    /// RFC 8489.
    pub const BINDING: Self = Self(0x001);
    /// RFC 8656 §7.
    pub const ALLOCATE: Self = Self(0x003);
    /// RFC 8656 §8.
    pub const REFRESH: Self = Self(0x004);
    /// RFC 8656 §11: an indication, client to server.
    pub const SEND: Self = Self(0x006);
    /// RFC 8656 §11: an indication, server to client.
    pub const DATA: Self = Self(0x007);
    /// RFC 8656 §10.
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// RFC 8656 §12.
    pub const CHANNEL_BIND: Self = Self(0x009);

    /// Any method; only the low twelve bits are kept.
    pub const fn new(number: u16) -> Self {
        Self(number & 0xfff)
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// What kind of message it is (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// A good answer.
    Success,
    /// A bad answer, with ERROR-CODE.
    Error,
}

/// The first 14 bits: method and class interleaved (RFC 8489 §5).
///
/// ```text
///  M11 M10 M9 M8 M7 C1 M6 M5 M4 C0 M3 M2 M1 M0
/// ```
pub(crate) fn message_type(class: Class, method: Method) -> u16 {
    let m = method.number();
    let class = match class {
        Class::Request => 0x000,
        Class::Indication => 0x010,
        Class::Success => 0x100,
        Class::Error => 0x110,
    };
    (m & 0x00f) | (m & 0x070) << 1 | (m & 0xf80) << 2 | class
}

/// 96 bits that name a transaction. Drawn from a secure generator: an attacker off the path must not guess it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub [u8; 12]);

impl TransactionId {
    /// A fresh one.
    pub fn random(rng: &mut Rng) -> Self {
        Self(rng.array())
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// Whether a datagram is STUN: its first byte is 0 to 3 (RFC 7983 §7), and the cookie is in place.
#[inline]
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER_LEN && datagram[0] < 4 && datagram[4..8] == MAGIC_COOKIE.to_be_bytes()
}
