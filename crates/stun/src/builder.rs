//! Writing a message into a caller's buffer.

use std::net::SocketAddr;

use crate::attribute::{AddressFamily, AttributeType, write_address, xor_address};
use crate::error::WriteError;
use crate::header::{Class, HEADER_LEN, MAGIC_COOKIE, Method, TransactionId, message_type};
use crate::integrity::{Key, SHA1_LEN, SHA256_LEN};
use crate::message::fingerprint;

/// Writes one message into a borrowed buffer; allocates nothing.
///
/// Errors stick: the first is reported by [`Self::finish`], and what follows it is not written.
///
/// Order matters for the receiver: everything, then [`integrity`](Self::integrity), then
/// [`integrity_sha256`](Self::integrity_sha256), then [`fingerprint`](Self::fingerprint).
#[derive(Debug)]
pub struct MessageBuilder<'b> {
    buffer: &'b mut [u8],
    len: usize,
    id: TransactionId,
    error: Option<WriteError>,
}

impl<'b> MessageBuilder<'b> {
    /// Writes the header at the start of `buffer`.
    pub fn new(buffer: &'b mut [u8], class: Class, method: Method, id: TransactionId) -> Self {
        let mut builder = Self {
            buffer,
            len: 0,
            id,
            error: None,
        };
        if let Some(header) = builder.reserve(HEADER_LEN) {
            header[..2].copy_from_slice(&message_type(class, method).to_be_bytes());
            header[2..4].fill(0);
            header[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
            header[8..].copy_from_slice(&id.0);
        }
        builder
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.error.is_some() {
            return None;
        }
        let start = self.len;
        let end = start + len;
        if end > HEADER_LEN + usize::from(u16::MAX) - 3 {
            self.error = Some(WriteError::TooLong);
            return None;
        }
        if end > self.buffer.len() {
            self.error = Some(WriteError::Full);
            return None;
        }
        self.len = end;
        Some(&mut self.buffer[start..end])
    }

    /// Appends an attribute header and `len` bytes of value to be filled, zero padding included.
    fn attribute(&mut self, kind: AttributeType, len: usize) -> Option<&mut [u8]> {
        let Ok(wire_len) = u16::try_from(len) else {
            self.error.get_or_insert(WriteError::TooLong);
            return None;
        };
        self.reserve(4 + len.next_multiple_of(4))?;
        let start = self.len - 4 - len.next_multiple_of(4);
        let length = ((self.len - HEADER_LEN) as u16).to_be_bytes();
        self.buffer[2..4].copy_from_slice(&length);
        let attribute = &mut self.buffer[start..self.len];
        attribute[..2].copy_from_slice(&kind.0.to_be_bytes());
        attribute[2..4].copy_from_slice(&wire_len.to_be_bytes());
        attribute[4 + len..].fill(0);
        Some(&mut attribute[4..4 + len])
    }

    /// Appends any attribute.
    pub fn put(&mut self, kind: AttributeType, value: &[u8]) -> &mut Self {
        if let Some(field) = self.attribute(kind, value.len()) {
            field.copy_from_slice(value);
        }
        self
    }

    /// Appends an attribute of one 32-bit number: PRIORITY, LIFETIME ...
    pub fn put_u32(&mut self, kind: AttributeType, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// Appends an attribute of one 64-bit number: ICE-CONTROLLING, ICE-CONTROLLED.
    pub fn put_u64(&mut self, kind: AttributeType, value: u64) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// USERNAME.
    pub fn username(&mut self, username: &str) -> &mut Self {
        self.put(AttributeType::USERNAME, username.as_bytes())
    }

    /// USERNAME of a check: the receiver's user fragment, a colon, the sender's (RFC 8445 §7.2.2).
    pub fn ice_username(&mut self, receiver: &str, sender: &str) -> &mut Self {
        if let Some(field) = self.attribute(AttributeType::USERNAME, receiver.len() + 1 + sender.len()) {
            field[..receiver.len()].copy_from_slice(receiver.as_bytes());
            field[receiver.len()] = b':';
            field[receiver.len() + 1..].copy_from_slice(sender.as_bytes());
        }
        self
    }

    /// REALM.
    pub fn realm(&mut self, realm: &str) -> &mut Self {
        self.put(AttributeType::REALM, realm.as_bytes())
    }

    /// NONCE.
    pub fn nonce(&mut self, nonce: &[u8]) -> &mut Self {
        self.put(AttributeType::NONCE, nonce)
    }

    /// SOFTWARE.
    pub fn software(&mut self, software: &str) -> &mut Self {
        self.put(AttributeType::SOFTWARE, software.as_bytes())
    }

    /// An address as it is: MAPPED-ADDRESS, ALTERNATE-SERVER ...
    pub fn address(&mut self, kind: AttributeType, address: SocketAddr) -> &mut Self {
        let (value, len) = write_address(address);
        self.put(kind, &value[..len])
    }

    /// An address XOR-ed with cookie and transaction id: XOR-MAPPED-ADDRESS, XOR-PEER-ADDRESS, XOR-RELAYED-ADDRESS.
    pub fn xor_address(&mut self, kind: AttributeType, address: SocketAddr) -> &mut Self {
        let xored = xor_address(address, self.id);
        self.address(kind, xored)
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn xor_mapped_address(&mut self, address: SocketAddr) -> &mut Self {
        self.xor_address(AttributeType::XOR_MAPPED_ADDRESS, address)
    }

    /// ERROR-CODE. `code` is 300 to 699.
    pub fn error_code(&mut self, code: u16, reason: &str) -> &mut Self {
        if let Some(field) = self.attribute(AttributeType::ERROR_CODE, 4 + reason.len()) {
            field[..2].fill(0);
            field[2] = (code / 100) as u8 & 7;
            field[3] = (code % 100) as u8;
            field[4..].copy_from_slice(reason.as_bytes());
        }
        self
    }

    /// UNKNOWN-ATTRIBUTES.
    pub fn unknown_attributes(&mut self, kinds: &[AttributeType]) -> &mut Self {
        if let Some(field) = self.attribute(AttributeType::UNKNOWN_ATTRIBUTES, 2 * kinds.len()) {
            for (slot, kind) in field.chunks_exact_mut(2).zip(kinds) {
                slot.copy_from_slice(&kind.0.to_be_bytes());
            }
        }
        self
    }

    /// PRIORITY.
    pub fn priority(&mut self, priority: u32) -> &mut Self {
        self.put_u32(AttributeType::PRIORITY, priority)
    }

    /// USE-CANDIDATE.
    pub fn use_candidate(&mut self) -> &mut Self {
        self.put(AttributeType::USE_CANDIDATE, &[])
    }

    /// LIFETIME, in seconds.
    pub fn lifetime(&mut self, seconds: u32) -> &mut Self {
        self.put_u32(AttributeType::LIFETIME, seconds)
    }

    /// CHANNEL-NUMBER.
    pub fn channel_number(&mut self, number: u16) -> &mut Self {
        self.put_u32(AttributeType::CHANNEL_NUMBER, u32::from(number) << 16)
    }

    /// REQUESTED-TRANSPORT: an IP protocol number, 17 for UDP.
    pub fn requested_transport(&mut self, protocol: u8) -> &mut Self {
        self.put_u32(AttributeType::REQUESTED_TRANSPORT, u32::from(protocol) << 24)
    }

    /// REQUESTED-ADDRESS-FAMILY.
    pub fn requested_address_family(&mut self, family: AddressFamily) -> &mut Self {
        self.put_u32(
            AttributeType::REQUESTED_ADDRESS_FAMILY,
            u32::from(family.number()) << 24,
        )
    }

    /// MESSAGE-INTEGRITY over everything so far (RFC 8489 §14.5).
    pub fn integrity(&mut self, key: &Key) -> &mut Self {
        let covered = self.len;
        if self.attribute(AttributeType::MESSAGE_INTEGRITY, SHA1_LEN).is_some() {
            let (message, attribute) = self.buffer.split_at_mut(covered);
            key.sign_sha1(message, &mut attribute[4..4 + SHA1_LEN]);
        }
        self
    }

    /// MESSAGE-INTEGRITY-SHA256 over everything so far, not truncated (RFC 8489 §14.6).
    pub fn integrity_sha256(&mut self, key: &Key) -> &mut Self {
        let covered = self.len;
        if self
            .attribute(AttributeType::MESSAGE_INTEGRITY_SHA256, SHA256_LEN)
            .is_some()
        {
            let (message, attribute) = self.buffer.split_at_mut(covered);
            key.sign_sha256(message, &mut attribute[4..4 + SHA256_LEN]);
        }
        self
    }

    /// FINGERPRINT over everything so far (RFC 8489 §14.7); nothing may follow.
    pub fn fingerprint(&mut self) -> &mut Self {
        let covered = self.len;
        if self.attribute(AttributeType::FINGERPRINT, 4).is_some() {
            let value = fingerprint(&self.buffer[..covered]);
            self.buffer[covered + 4..covered + 8].copy_from_slice(&value.to_be_bytes());
        }
        self
    }

    /// How many bytes were written.
    ///
    /// # Errors
    /// [`WriteError`] if something did not fit, the buffer or a length field.
    pub fn finish(&self) -> Result<usize, WriteError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.len),
        }
    }
}
