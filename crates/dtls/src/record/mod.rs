//! What a record looks like on the wire, and how it is protected: headers, keys, nonces and additional data (RFC 6347 §4.1,
//! RFC 9147 §4).

pub(crate) mod ack;
pub(crate) mod epoch;

use antiphon_crypto::{AeadAlgorithm, AeadKey, NumberMask, Provider};
use bytes::BytesMut;

use crate::config::CipherSuite;
use crate::error::Error;

/// The version in every plain record that we write.
pub(crate) const VERSION: [u8; 2] = [0xfe, 0xfd];
/// Length of the header of DTLS 1.2, and of every record before keys are agreed.
pub(crate) const HEADER_LEN: usize = 13;
/// The largest plaintext of a record (RFC 6347 §4.1).
pub(crate) const MAX_PLAINTEXT: usize = 1 << 14;
/// The largest fragment: plaintext plus what protection may add (RFC 5246 §6.2.3).
pub(crate) const MAX_FRAGMENT: usize = MAX_PLAINTEXT + 2048;
/// Record numbers have 48 bits within an epoch (RFC 6347 §4.1).
pub(crate) const MAX_SEQUENCE: u64 = (1 << 48) - 1;

/// What a record carries (RFC 9147 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentType {
    ChangeCipherSpec,
    Alert,
    Handshake,
    ApplicationData,
    /// DTLS 1.3 only (RFC 9147 §7).
    Ack,
}

impl ContentType {
    #[inline(always)]
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        // Mostly it is this.
        if code == Self::ApplicationData.code() {
            return Some(Self::ApplicationData);
        }
        Some(match code {
            20 => Self::ChangeCipherSpec,
            21 => Self::Alert,
            22 => Self::Handshake,
            23 => Self::ApplicationData,
            26 => Self::Ack,
            _ => return None,
        })
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::ChangeCipherSpec => 20,
            Self::Alert => 21,
            Self::Handshake => 22,
            Self::ApplicationData => 23,
            Self::Ack => 26,
        }
    }
}

/// The header of a record (RFC 6347 §4.1).
///
/// ```text
///  0        1                 3            5                               11         13
/// +--------+-----------------+------------+-------------------------------+----------+----------
/// | type   | version fe fd   | epoch      | sequence number (48 bits)     | length   | fragment
/// +--------+-----------------+------------+-------------------------------+----------+----------
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlainHeader {
    pub(crate) content_type: ContentType,
    pub(crate) epoch: u16,
    pub(crate) sequence: u64,
    /// Length of the fragment that follows.
    pub(crate) length: u16,
}

impl PlainHeader {
    /// The header of a datagram that is one record of application data.
    #[inline(always)]
    pub(crate) fn usual(datagram: &[u8]) -> Option<Self> {
        let header = datagram.first_chunk::<HEADER_LEN>()?;
        let [kind, major, _, number @ .., length_high, length_low] = *header;
        let length = u16::from_be_bytes([length_high, length_low]);
        let content_type = ContentType::ApplicationData;
        let whole = HEADER_LEN + usize::from(length) == datagram.len();
        (whole && kind == content_type.code() && major == VERSION[0])
            .then(|| Self::numbered(content_type, u64::from_be_bytes(number), length))
    }

    /// `number` is epoch and sequence number.
    #[inline(always)]
    fn numbered(content_type: ContentType, number: u64, length: u16) -> Self {
        Self {
            content_type,
            epoch: (number >> 48) as u16,
            sequence: number & MAX_SEQUENCE,
            length,
        }
    }

    /// Writes the header. The version is 1.2's in every record that we send; RFC 6347 §4.2.1 lets servers ignore it in a
    /// ClientHello, and no server that takes part in WebRTC minds.
    pub(crate) fn bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[0] = self.content_type.code();
        out[1..3].copy_from_slice(&VERSION);
        out[3..11].copy_from_slice(&self.record_number().to_be_bytes());
        out[11..13].copy_from_slice(&self.length.to_be_bytes());
        out
    }

    /// Epoch and sequence number as one number, as nonces and additional data have them.
    pub(crate) fn record_number(&self) -> u64 {
        u64::from(self.epoch) << 48 | self.sequence
    }
}

/// The header of a protected record of DTLS 1.3 (RFC 9147 §4). The sequence number is hidden.
///
/// ```text
///  0 0 1 C S L E E     C: a connection ID follows (never: we negotiate none)
/// +-+-+-+-+-+-+-+-+    S: the sequence number has 16 bits, not 8
/// | 16 or 8 bits  |    L: a length follows; without one the record fills its datagram
/// | sequence no.  |    E: the low bits of the epoch
/// | length, if L  |
/// +---------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnifiedHeader {
    pub(crate) epoch_bits: u8,
    /// Bytes of the sequence number.
    pub(crate) sequence_len: usize,
    /// Bytes of the header.
    pub(crate) len: usize,
}

/// First byte of the unified headers that we write, without the epoch: S and L are set.
const UNIFIED_16_WITH_LENGTH: u8 = 0b0010_1100;
/// Length of the unified headers that we write.
pub(crate) const UNIFIED_LEN: usize = 5;

impl UnifiedHeader {
    /// The header of a record that we write, its sequence number not hidden yet.
    pub(crate) fn bytes(epoch: u16, sequence: u64, length: usize) -> [u8; UNIFIED_LEN] {
        let mut out = [0; UNIFIED_LEN];
        out[0] = UNIFIED_16_WITH_LENGTH | (epoch & 0b11) as u8;
        out[1..3].copy_from_slice(&(sequence as u16).to_be_bytes());
        out[3..].copy_from_slice(&(length as u16).to_be_bytes());
        out
    }

    /// The header of a datagram that is one record, in the form that we write and that all browsers write.
    #[inline(always)]
    pub(crate) fn usual(datagram: &[u8]) -> Option<Self> {
        let [first, _, _, length @ ..] = datagram.first_chunk::<UNIFIED_LEN>()?;
        let whole = UNIFIED_LEN + usize::from(u16::from_be_bytes(*length)) == datagram.len();
        (whole && first & !0b11 == UNIFIED_16_WITH_LENGTH).then_some(Self {
            epoch_bits: first & 0b11,
            sequence_len: 2,
            len: UNIFIED_LEN,
        })
    }

    /// Reads the header at the front of `datagram`, and how long the record is.
    fn parse(datagram: &[u8]) -> Option<(Self, usize)> {
        let first = *datagram.first()?;
        if first & 0b0001_0000 != 0 {
            return None;
        }
        let sequence_len = if first & 0b0000_1000 != 0 { 2 } else { 1 };
        let with_length = first & 0b0000_0100 != 0;
        let len = 1 + sequence_len + if with_length { 2 } else { 0 };
        let end = if with_length {
            let length = datagram.get(len - 2..len)?;
            len + usize::from(u16::from_be_bytes([length[0], length[1]]))
        } else {
            datagram.len()
        };
        let header = Self {
            epoch_bits: first & 0b11,
            sequence_len,
            len,
        };
        (end >= len && end <= datagram.len() && end - len <= MAX_FRAGMENT).then_some((header, end))
    }
}

/// Either kind of header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Plain(PlainHeader),
    Unified(UnifiedHeader),
}

/// One record, cut from its datagram.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) header: Header,
    /// Header and fragment.
    pub(crate) bytes: BytesMut,
}

/// What stands at the front of a datagram.
#[derive(Debug)]
pub(crate) enum Split {
    /// A record, now cut off.
    Record(Record),
    /// A record of a kind that we do not know, now cut off: RFC 6347 §4.1.2.7 has us drop it and go on.
    Unknown,
    /// Nothing that can be a record: the rest of the datagram is lost with it.
    Malformed,
}

/// Cuts off the front of a datagram. The last record, mostly the only one, takes the buffer as it is: no count of references
/// moves.
#[inline]
pub(crate) fn cut(datagram: &mut BytesMut, end: usize) -> BytesMut {
    if end == datagram.len() {
        std::mem::take(datagram)
    } else {
        datagram.split_to(end)
    }
}

/// What stands at the front of a datagram, and where it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Front {
    Record(Header, usize),
    Unknown(usize),
    Malformed,
}

/// Reads the first header of a datagram that is not empty.
#[inline]
pub(crate) fn front(datagram: &[u8]) -> Front {
    if datagram.first().is_some_and(|first| first >> 5 == 0b001) {
        return match UnifiedHeader::parse(datagram) {
            Some((header, end)) => Front::Record(Header::Unified(header), end),
            None => Front::Malformed,
        };
    }
    let Some(header) = datagram.first_chunk::<HEADER_LEN>() else {
        return Front::Malformed;
    };
    let length = u16::from_be_bytes([header[11], header[12]]);
    let end = HEADER_LEN + usize::from(length);
    // Major version 254 is all versions of DTLS; the minor one of a ClientHello may be any.
    if header[1] != 0xfe || datagram.len() < end || usize::from(length) > MAX_FRAGMENT {
        return Front::Malformed;
    }
    let number = u64::from_be_bytes([
        header[3], header[4], header[5], header[6], header[7], header[8], header[9], header[10],
    ]);
    let Some(content_type) = ContentType::from_code(header[0]) else {
        return Front::Unknown(end);
    };
    Front::Record(Header::Plain(PlainHeader::numbered(content_type, number, length)), end)
}

/// Cuts the first record off a datagram that is not empty.
pub(crate) fn split(datagram: &mut BytesMut) -> Split {
    match front(datagram) {
        Front::Record(header, end) => Split::Record(Record {
            header,
            bytes: cut(datagram, end),
        }),
        Front::Unknown(end) => {
            cut(datagram, end);
            Split::Unknown
        }
        Front::Malformed => Split::Malformed,
    }
}

/// Length of the explicit part of a GCM nonce (RFC 5288 §3).
const EXPLICIT_NONCE_LEN: usize = 8;
/// Blocks of 16 bytes that one key of AES-GCM protects at most: those of 2^24.5 records of the greatest length, for DTLS 1.3
/// (RFC 9147 §4.5.3) as for 1.2 (RFC 9325 §4.4). The bound is on blocks: records of 1200 bytes may be thirteen times as many,
/// 360 gigabytes. DTLS 1.3 renews its keys long before, unless the peer never acknowledges that; DTLS 1.2 cannot and closes.
/// ChaCha20-Poly1305 has no such bound: its key outlives all the numbers that records can have.
pub(crate) const MAX_BLOCKS_GCM: u64 = 23_726_566 * (MAX_PLAINTEXT as u64 / BLOCK_LEN);
pub(crate) const BLOCK_LEN: u64 = 16;

/// How the nonce of a record comes about.
enum Nonce {
    /// AES-GCM of DTLS 1.2: four secret bytes, then eight that the record carries (RFC 5288 §3).
    Explicit(u32),
    /// The number into twelve secret bytes: ChaCha20-Poly1305 of DTLS 1.2 with epoch and sequence number (RFC 7905 §2),
    /// DTLS 1.3 with the sequence number alone, since each epoch has its own key (RFC 8446 §5.3).
    Implicit(u128),
}

impl Nonce {
    fn implicit(iv: [u8; 12]) -> Self {
        Self::Implicit(iv.into_iter().fold(0, |number, byte| number << 8 | u128::from(byte)))
    }
}

/// The key of one direction of one epoch, and how records are protected with it.
pub(crate) struct Protection {
    pub(crate) key: Box<dyn AeadKey>,
    /// How many blocks may be sealed.
    pub(crate) limit: u64,
    nonce: Nonce,
    /// What hides sequence numbers: DTLS 1.3, and the sign of it.
    mask: Option<NumberMask>,
}

/// The bytes of a record's ciphertext that its number is hidden with (RFC 9147 §4.2.3).
pub(crate) const SAMPLE_LEN: usize = 16;

impl Protection {
    /// How long the IV is that DTLS 1.2 derives for a suite.
    pub(crate) fn iv_len(suite: CipherSuite) -> usize {
        match suite.aead() {
            AeadAlgorithm::ChaCha20Poly1305 => 12,
            AeadAlgorithm::Aes128Gcm | AeadAlgorithm::Aes256Gcm => 4,
        }
    }

    /// Protection as DTLS 1.2 has it.
    pub(crate) fn v12(provider: Provider, suite: CipherSuite, key: &[u8], iv: &[u8]) -> Result<Self, Error> {
        let nonce = match (<[u8; 4]>::try_from(iv), <[u8; 12]>::try_from(iv)) {
            (Ok(salt), _) => Nonce::Explicit(u32::from_be_bytes(salt)),
            (_, Ok(iv)) => Nonce::implicit(iv),
            _ => return Err(Error::Crypto),
        };
        let key = provider.aead(suite.aead(), key).map_err(|_| Error::Crypto)?;
        Ok(Self {
            key,
            limit: limit(suite),
            nonce,
            mask: None,
        })
    }

    /// Protection as DTLS 1.3 has it, from the three keys of a traffic secret (RFC 9147 §4.2.3).
    pub(crate) fn v13(
        provider: Provider,
        suite: CipherSuite,
        key: &[u8],
        iv: [u8; 12],
        number_key: &[u8],
    ) -> Result<Self, Error> {
        let key = provider.aead(suite.aead(), key).map_err(|_| Error::Crypto)?;
        let mask = NumberMask::new(suite.aead(), number_key).map_err(|_| Error::Crypto)?;
        Ok(Self {
            key,
            limit: limit(suite),
            nonce: Nonce::implicit(iv),
            mask: Some(mask),
        })
    }

    pub(crate) fn is_13(&self) -> bool {
        self.mask.is_some()
    }

    /// What hides the sequence number, and reveals it again.
    #[inline]
    pub(crate) fn number_mask(&self, ciphertext: &[u8]) -> [u8; 2] {
        match (&self.mask, ciphertext.first_chunk::<SAMPLE_LEN>()) {
            (Some(mask), Some(sample)) => {
                let [first, second, ..] = mask.mask(sample);
                [first, second]
            }
            _ => [0; 2],
        }
    }

    pub(crate) fn explicit_len(&self) -> usize {
        match self.nonce {
            Nonce::Explicit(_) => EXPLICIT_NONCE_LEN,
            Nonce::Implicit(_) => 0,
        }
    }

    /// The nonce; `carried` is the explicit part, which for us is always the record number: it can not repeat.
    #[inline]
    pub(crate) fn nonce(&self, record_number: u64, carried: u64) -> [u8; 12] {
        // In one number and not byte by byte: who reads the nonce reads words, and must not wait for bytes to be written.
        let nonce = match self.nonce {
            Nonce::Explicit(salt) => u128::from(salt) << 64 | u128::from(carried),
            Nonce::Implicit(iv) => iv ^ u128::from(record_number),
        };
        let [b0, b1, b2, b3, nonce @ ..] = nonce.to_be_bytes();
        debug_assert_eq!([b0, b1, b2, b3], [0; 4]);
        nonce
    }
}

fn limit(suite: CipherSuite) -> u64 {
    match suite.aead() {
        AeadAlgorithm::Aes128Gcm | AeadAlgorithm::Aes256Gcm => MAX_BLOCKS_GCM,
        AeadAlgorithm::ChaCha20Poly1305 => u64::MAX,
    }
}

/// The additional data of a record of DTLS 1.2 (RFC 5246 §6.2.3.3): record number, type, version, length of the plaintext.
#[inline(always)]
pub(crate) fn additional_data(header: &PlainHeader, version: [u8; 2], plaintext_len: usize) -> [u8; HEADER_LEN] {
    let kind = u64::from(header.content_type.code()) << 32 | u64::from(u16::from_be_bytes(version)) << 16;
    let data = u128::from(header.record_number()) << 64 | u128::from(kind | plaintext_len as u64) << 24;
    let [data @ .., _, _, _] = data.to_be_bytes();
    data
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_split(kind in 20u8..24, epoch: u16, sequence in 0..=MAX_SEQUENCE, body: Vec<u8>, tail: Vec<u8>) {
            let header = PlainHeader {
                content_type: ContentType::from_code(kind).unwrap(),
                epoch,
                sequence,
                length: body.len() as u16,
            };
            let mut datagram = BytesMut::from(&header.bytes()[..]);
            datagram.extend_from_slice(&body);
            datagram.extend_from_slice(&tail);
            match split(&mut datagram) {
                Split::Record(record) => {
                    prop_assert_eq!(record.header, Header::Plain(header));
                    prop_assert_eq!(&record.bytes[HEADER_LEN..], &body[..]);
                    prop_assert_eq!(&datagram[..], &tail[..]);
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }

        #[test]
        fn unified_headers_are_split(epoch: u16, sequence: u64, body: Vec<u8>, tail: Vec<u8>, eight: bool, length: bool) {
            let mut datagram = BytesMut::from(&UnifiedHeader::bytes(epoch, sequence, body.len())[..]);
            let (sequence_len, mut len) = (if eight { 1 } else { 2 }, UNIFIED_LEN);
            if !length {
                datagram.truncate(3);
                datagram[0] &= !0b100;
                len -= 2;
            }
            if eight {
                let _ = datagram.split_to(1);
                datagram[0] = UNIFIED_16_WITH_LENGTH & !0b1000 & if length { !0 } else { !0b100 } | (epoch & 3) as u8;
                len -= 1;
            }
            datagram.extend_from_slice(&body);
            if length {
                datagram.extend_from_slice(&tail);
            }
            match split(&mut datagram) {
                Split::Record(record) => {
                    let epoch_bits = (epoch & 3) as u8;
                    prop_assert_eq!(record.header, Header::Unified(UnifiedHeader { epoch_bits, sequence_len, len }));
                    prop_assert_eq!(&record.bytes[len..], &body[..]);
                    prop_assert_eq!(datagram.len(), if length { tail.len() } else { 0 });
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }

        /// What is taken for the usual header is read no differently from any other, and our own is taken for it.
        #[test]
        fn the_short_way_agrees_with_the_long_one(
            epoch: u16, sequence in 0..=MAX_SEQUENCE, body: Vec<u8>, changed in prop::option::of((0usize..20, any::<u8>())),
        ) {
            let unified = UnifiedHeader::bytes(epoch, sequence, body.len()).to_vec();
            let content_type = ContentType::ApplicationData;
            let plain = PlainHeader { content_type, epoch, sequence, length: body.len() as u16 }.bytes().to_vec();
            for header in [unified, plain] {
                let mut datagram = [header, body.clone()].concat();
                let end = datagram.len();
                if let Some((at, value)) = changed {
                    datagram[at % end] = value;
                }
                let unified = UnifiedHeader::usual(&datagram).map(Header::Unified);
                let usual = unified.or(PlainHeader::usual(&datagram).map(Header::Plain));
                match (usual, front(&datagram)) {
                    (Some(usual), Front::Record(header, length)) => prop_assert_eq!((usual, end), (header, length)),
                    (usual, front) => prop_assert!(usual.is_none() && changed.is_some(), "{:?} {:?}", usual, front),
                }
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let mut datagram = BytesMut::from(&bytes[..]);
            while !datagram.is_empty() {
                let before = datagram.len();
                if let Split::Malformed = split(&mut datagram) {
                    break;
                }
                prop_assert!(datagram.len() < before, "no progress");
            }
        }
    }
}
