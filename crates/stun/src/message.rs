//! A borrowed view of a whole message.

use std::fmt;
use std::net::SocketAddr;

use antiphon_crypto::constant_time_eq;

use crate::attribute::{AddressFamily, Attribute, AttributeType, ErrorCode, parse_address, parse_xor_address};
use crate::error::ParseError;
use crate::header::{Class, HEADER_LEN, MAGIC_COOKIE, Method, TransactionId};
use crate::integrity::{Key, SHA1_LEN, SHA256_LEN};

/// XOR-ed onto the CRC of FINGERPRINT (RFC 8489 §14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// What a check of MESSAGE-INTEGRITY or FINGERPRINT found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// There, and right.
    Valid,
    /// There, and wrong.
    Invalid,
    /// Not there.
    Absent,
}

impl Check {
    /// Whether the attribute is there and right.
    pub fn is_valid(self) -> bool {
        self == Self::Valid
    }
}

/// A message that lies in somebody's buffer. Parsing allocates nothing and checks the shape of every attribute's header;
/// the typed getters check values, and say `None` for what is missing and for what is malformed alike.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Attributes before this offset count (RFC 8489 §14.5: what follows MESSAGE-INTEGRITY does not).
    attributes_end: u16,
    /// Offsets of the attribute headers; 0 = absent.
    integrity: u16,
    integrity_sha256: u16,
    fingerprint: u16,
}

impl<'a> Message<'a> {
    /// Takes exactly one message.
    ///
    /// ```text
    /// | 0 0 | type (14) | length (16) | cookie (32) | transaction id (96) | attributes ... |
    /// attribute: | type (16) | length (16) | value ... | padding to 32 bits |
    /// ```
    ///
    /// # Errors
    /// [`ParseError`] if the bytes are not exactly one message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or(ParseError::Length)?;
        if header[0] & 0xc0 != 0 || header[3] & 3 != 0 {
            return Err(ParseError::Header);
        }
        if header[4..8] != MAGIC_COOKIE.to_be_bytes() {
            return Err(ParseError::Cookie);
        }
        if usize::from(u16::from_be_bytes([header[2], header[3]])) + HEADER_LEN != bytes.len() {
            return Err(ParseError::Length);
        }
        let mut message = Self {
            bytes,
            attributes_end: 0,
            integrity: 0,
            integrity_sha256: 0,
            fingerprint: 0,
        };
        let mut at = HEADER_LEN;
        while at < bytes.len() {
            if message.fingerprint != 0 {
                return Err(ParseError::AfterFingerprint);
            }
            let head = bytes
                .get(at..)
                .and_then(|rest| rest.first_chunk::<4>())
                .ok_or(ParseError::Attribute)?;
            let kind = AttributeType(u16::from_be_bytes([head[0], head[1]]));
            let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            // Everything is a multiple of four, so the padding is inside if the value is.
            if len > bytes.len() - at - 4 {
                return Err(ParseError::Attribute);
            }
            // Lossless: a message is at most 65 535 bytes after its header, so this attribute begins below that.
            let offset = u16::try_from(at).map_err(|_| ParseError::Attribute)?;
            match kind {
                AttributeType::MESSAGE_INTEGRITY if message.integrity == 0 && message.integrity_sha256 == 0 => {
                    message.integrity = offset;
                    message.end_attributes(offset);
                }
                AttributeType::MESSAGE_INTEGRITY_SHA256 if message.integrity_sha256 == 0 => {
                    message.integrity_sha256 = offset;
                    message.end_attributes(offset);
                }
                AttributeType::FINGERPRINT => {
                    message.fingerprint = offset;
                    message.end_attributes(offset);
                }
                _ => {}
            }
            at += 4 + len.next_multiple_of(4);
        }
        if message.attributes_end == 0 {
            message.attributes_end = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        }
        Ok(message)
    }

    fn end_attributes(&mut self, offset: u16) {
        if self.attributes_end == 0 {
            self.attributes_end = offset;
        }
    }

    /// The whole message.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn message_type(&self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]])
    }

    /// What kind of message it is.
    pub fn class(&self) -> Class {
        match self.message_type() & 0x110 {
            0x000 => Class::Request,
            0x010 => Class::Indication,
            0x100 => Class::Success,
            _ => Class::Error,
        }
    }

    /// What it is about.
    pub fn method(&self) -> Method {
        let t = self.message_type();
        Method::new((t & 0x000f) | (t & 0x00e0) >> 1 | (t & 0x3e00) >> 2)
    }

    /// Which transaction it belongs to.
    pub fn transaction_id(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER_LEN]);
        TransactionId(id)
    }

    /// The attributes that count, in order: those before the first of MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and
    /// FINGERPRINT (RFC 8489 §14.5: the receiver ignores others that follow).
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes {
            rest: &self.bytes[HEADER_LEN..usize::from(self.attributes_end)],
        }
    }

    /// The value of the first attribute of this kind (RFC 8489 §14: of duplicates the first counts).
    pub fn get(&self, kind: AttributeType) -> Option<&'a [u8]> {
        self.attributes().find(|a| a.kind == kind).map(|a| a.value)
    }

    /// Comprehension-required attributes that this crate does not know: such a request is answered with 420.
    pub fn unknown_required(&self) -> impl Iterator<Item = AttributeType> + 'a {
        self.attributes()
            .map(|a| a.kind)
            .filter(|kind| kind.is_comprehension_required() && kind.name().is_none())
    }

    fn value_at(&self, offset: u16) -> Option<&'a [u8]> {
        if offset == 0 {
            return None;
        }
        let at = usize::from(offset);
        let len = usize::from(u16::from_be_bytes([self.bytes[at + 2], self.bytes[at + 3]]));
        self.bytes.get(at + 4..at + 4 + len)
    }

    /// The header's length field as it was when the attribute at `offset` with `len` bytes of value was computed.
    fn length_up_to(offset: u16, len: usize) -> [u8; 2] {
        let length = usize::from(offset) + 4 + len - HEADER_LEN;
        (length as u16).to_be_bytes()
    }

    /// Whether there is a MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256, right or wrong.
    pub fn has_integrity(&self) -> bool {
        self.integrity != 0 || self.integrity_sha256 != 0
    }

    /// Checks MESSAGE-INTEGRITY (RFC 8489 §14.5) in constant time. The attribute counts only if it has its 20 bytes.
    pub fn check_integrity(&self, key: &Key) -> Check {
        let Some(value) = self.value_at(self.integrity) else {
            return Check::Absent;
        };
        if value.len() != SHA1_LEN {
            return Check::Invalid;
        }
        let length = Self::length_up_to(self.integrity, SHA1_LEN);
        let covered = &self.bytes[4..usize::from(self.integrity)];
        if key.verify_sha1(&[&self.bytes[..2], &length, covered], value) {
            Check::Valid
        } else {
            Check::Invalid
        }
    }

    /// Checks MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.6) in constant time; it may be truncated to 16 bytes at least.
    pub fn check_integrity_sha256(&self, key: &Key) -> Check {
        let Some(value) = self.value_at(self.integrity_sha256) else {
            return Check::Absent;
        };
        if !(16..=SHA256_LEN).contains(&value.len()) || value.len() % 4 != 0 {
            return Check::Invalid;
        }
        let length = Self::length_up_to(self.integrity_sha256, value.len());
        let covered = &self.bytes[4..usize::from(self.integrity_sha256)];
        if key.verify_sha256(&[&self.bytes[..2], &length, covered], value) {
            Check::Valid
        } else {
            Check::Invalid
        }
    }

    /// Whether there is a FINGERPRINT, right or wrong.
    pub fn has_fingerprint(&self) -> bool {
        self.fingerprint != 0
    }

    /// Checks FINGERPRINT (RFC 8489 §14.7).
    pub fn check_fingerprint(&self) -> Check {
        let Some(value) = self.value_at(self.fingerprint) else {
            return Check::Absent;
        };
        let expected = fingerprint(&self.bytes[..usize::from(self.fingerprint)]);
        if constant_time_eq(value, &expected.to_be_bytes()) {
            Check::Valid
        } else {
            Check::Invalid
        }
    }

    fn text(&self, kind: AttributeType) -> Option<&'a str> {
        std::str::from_utf8(self.get(kind)?).ok()
    }

    fn u32(&self, kind: AttributeType) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    fn u64(&self, kind: AttributeType) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    fn xor(&self, kind: AttributeType) -> Option<SocketAddr> {
        parse_xor_address(self.get(kind)?, self.transaction_id())
    }

    /// USERNAME.
    pub fn username(&self) -> Option<&'a str> {
        self.text(AttributeType::USERNAME)
    }

    /// USERHASH.
    pub fn userhash(&self) -> Option<[u8; 32]> {
        self.get(AttributeType::USERHASH)?.try_into().ok()
    }

    /// REALM.
    pub fn realm(&self) -> Option<&'a str> {
        self.text(AttributeType::REALM)
    }

    /// NONCE.
    pub fn nonce(&self) -> Option<&'a [u8]> {
        self.get(AttributeType::NONCE)
    }

    /// SOFTWARE.
    pub fn software(&self) -> Option<&'a str> {
        self.text(AttributeType::SOFTWARE)
    }

    /// ERROR-CODE.
    pub fn error_code(&self) -> Option<ErrorCode<'a>> {
        ErrorCode::parse(self.get(AttributeType::ERROR_CODE)?)
    }

    /// UNKNOWN-ATTRIBUTES.
    pub fn unknown_attributes(&self) -> impl Iterator<Item = AttributeType> + 'a {
        self.get(AttributeType::UNKNOWN_ATTRIBUTES)
            .unwrap_or(&[])
            .chunks_exact(2)
            .map(|pair| AttributeType(u16::from_be_bytes([pair[0], pair[1]])))
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        self.xor(AttributeType::XOR_MAPPED_ADDRESS)
    }

    /// MAPPED-ADDRESS: what servers of before 2008 send.
    pub fn mapped_address(&self) -> Option<SocketAddr> {
        parse_address(self.get(AttributeType::MAPPED_ADDRESS)?)
    }

    /// ALTERNATE-SERVER.
    pub fn alternate_server(&self) -> Option<SocketAddr> {
        parse_address(self.get(AttributeType::ALTERNATE_SERVER)?)
    }

    /// PRIORITY.
    pub fn priority(&self) -> Option<u32> {
        self.u32(AttributeType::PRIORITY)
    }

    /// USE-CANDIDATE.
    pub fn use_candidate(&self) -> bool {
        self.get(AttributeType::USE_CANDIDATE).is_some()
    }

    /// ICE-CONTROLLED: the tie-breaker.
    pub fn ice_controlled(&self) -> Option<u64> {
        self.u64(AttributeType::ICE_CONTROLLED)
    }

    /// ICE-CONTROLLING: the tie-breaker.
    pub fn ice_controlling(&self) -> Option<u64> {
        self.u64(AttributeType::ICE_CONTROLLING)
    }

    /// NOMINATION, libwebrtc's counter.
    pub fn nomination(&self) -> Option<u32> {
        self.u32(AttributeType::NOMINATION)
    }

    /// XOR-RELAYED-ADDRESS.
    pub fn xor_relayed_address(&self) -> Option<SocketAddr> {
        self.xor(AttributeType::XOR_RELAYED_ADDRESS)
    }

    /// Every XOR-RELAYED-ADDRESS, for an allocation of both families (RFC 8656 §7.3); `None` for a malformed one.
    pub fn xor_relayed_addresses(&self) -> impl Iterator<Item = Option<SocketAddr>> + 'a {
        let id = self.transaction_id();
        self.attributes()
            .filter(|a| a.kind == AttributeType::XOR_RELAYED_ADDRESS)
            .map(move |a| parse_xor_address(a.value, id))
    }

    /// The first XOR-PEER-ADDRESS.
    pub fn xor_peer_address(&self) -> Option<SocketAddr> {
        self.xor(AttributeType::XOR_PEER_ADDRESS)
    }

    /// Every XOR-PEER-ADDRESS; `None` for a malformed one.
    pub fn xor_peer_addresses(&self) -> impl Iterator<Item = Option<SocketAddr>> + 'a {
        let id = self.transaction_id();
        self.attributes()
            .filter(|a| a.kind == AttributeType::XOR_PEER_ADDRESS)
            .map(move |a| parse_xor_address(a.value, id))
    }

    /// LIFETIME, in seconds.
    pub fn lifetime(&self) -> Option<u32> {
        self.u32(AttributeType::LIFETIME)
    }

    /// CHANNEL-NUMBER.
    pub fn channel_number(&self) -> Option<u16> {
        self.u32(AttributeType::CHANNEL_NUMBER).map(|word| (word >> 16) as u16)
    }

    /// DATA.
    pub fn data(&self) -> Option<&'a [u8]> {
        self.get(AttributeType::DATA)
    }

    /// REQUESTED-TRANSPORT: an IP protocol number, 17 for UDP.
    pub fn requested_transport(&self) -> Option<u8> {
        self.u32(AttributeType::REQUESTED_TRANSPORT)
            .map(|word| (word >> 24) as u8)
    }

    /// REQUESTED-ADDRESS-FAMILY: `None` if absent or malformed, `Some(None)` for a family that does not exist.
    pub fn requested_address_family(&self) -> Option<Option<AddressFamily>> {
        self.u32(AttributeType::REQUESTED_ADDRESS_FAMILY)
            .map(|word| AddressFamily::from_number((word >> 24) as u8))
    }

    /// EVEN-PORT: whether the next port shall be reserved too.
    pub fn even_port(&self) -> Option<bool> {
        self.get(AttributeType::EVEN_PORT)?.first().map(|byte| byte & 0x80 != 0)
    }

    /// RESERVATION-TOKEN.
    pub fn reservation_token(&self) -> Option<[u8; 8]> {
        self.get(AttributeType::RESERVATION_TOKEN)?.try_into().ok()
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Kinds only: values name people and addresses.
        f.debug_struct("Message")
            .field("class", &self.class())
            .field("method", &self.method())
            .field("id", &self.transaction_id())
            .field("attributes", &self.attributes().map(|a| a.kind).collect::<Vec<_>>())
            .field("integrity", &self.has_integrity())
            .finish_non_exhaustive()
    }
}

/// Iterates over the attributes of a parsed message.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let (head, rest) = self.rest.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..len)?;
        self.rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Attribute {
            kind: AttributeType(u16::from_be_bytes([head[0], head[1]])),
            value,
        })
    }
}

/// The value of FINGERPRINT over everything before it. The length field already counts the attribute.
pub(crate) fn fingerprint(before: &[u8]) -> u32 {
    crc32fast::hash(before) ^ FINGERPRINT_XOR
}
