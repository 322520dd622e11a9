use antiphon_crypto::{AeadAlgorithm, AeadKey, NumberMask, Provider, TAG_LEN};
use antiphon_sansio::TransmitBuf;
use bytes::{Buf, BytesMut};

use crate::config::CipherSuite;
use crate::error::Error;
use crate::record::{
    self, ContentType, HEADER_LEN, Header, MAX_PLAINTEXT, MAX_SEQUENCE, PlainHeader, UNIFIED_LEN, UnifiedHeader,
};
use crate::replay::ReplayWindow;

/// Length of the explicit part of a GCM nonce (RFC 5288 §3).
const EXPLICIT_NONCE_LEN: usize = 8;
/// Forged records after which a key is given up. RFC 9147 §4.5.3 allows 2^36 for every suite that we have.
const MAX_FORGED: u64 = 1 << 36;
/// Blocks of 16 bytes that one key of AES-GCM protects at most: those of 2^24.5 records of the greatest length, for DTLS 1.3
/// (RFC 9147 §4.5.3) as for 1.2 (RFC 9325 §4.4). The bound is on blocks: records of 1200 bytes may be thirteen times as many,
/// 360 gigabytes. DTLS 1.3 renews its keys long before, unless the peer never acknowledges that; DTLS 1.2 cannot and closes.
/// ChaCha20-Poly1305 bears more records than there are numbers.
pub(crate) const MAX_BLOCKS_GCM: u64 = 23_726_566 * (MAX_PLAINTEXT as u64 / BLOCK_LEN);
const BLOCK_LEN: u64 = 16;
/// Records that are kept back from application data for the alerts that end the connection.
const LAST_WORDS: u64 = 16;
/// What these take.
pub(crate) const LAST_BLOCKS: u64 = LAST_WORDS * blocks(2);

/// What a record takes of its key: its own blocks, the last of them perhaps not full, and one for the additional data.
const fn blocks(plaintext_len: usize) -> u64 {
    plaintext_len as u64 / BLOCK_LEN + 2
}

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
    key: Box<dyn AeadKey>,
    /// How many blocks may be sealed.
    limit: u64,
    nonce: Nonce,
    /// What hides sequence numbers: DTLS 1.3, and the sign of it.
    mask: Option<NumberMask>,
}

/// The bytes of a record's ciphertext that its number is hidden with (RFC 9147 §4.2.3).
const SAMPLE_LEN: usize = 16;

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

    fn is_13(&self) -> bool {
        self.mask.is_some()
    }

    /// What hides the sequence number, and reveals it again.
    #[inline]
    fn number_mask(&self, ciphertext: &[u8]) -> [u8; 2] {
        match (&self.mask, ciphertext.first_chunk::<SAMPLE_LEN>()) {
            (Some(mask), Some(sample)) => {
                let [first, second, ..] = mask.mask(sample);
                [first, second]
            }
            _ => [0; 2],
        }
    }

    fn explicit_len(&self) -> usize {
        match self.nonce {
            Nonce::Explicit(_) => EXPLICIT_NONCE_LEN,
            Nonce::Implicit(_) => 0,
        }
    }

    /// The nonce; `carried` is the explicit part, which for us is always the record number: it can not repeat.
    #[inline]
    fn nonce(&self, record_number: u64, carried: u64) -> [u8; 12] {
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
fn additional_data(header: &PlainHeader, version: [u8; 2], plaintext_len: usize) -> [u8; HEADER_LEN] {
    let kind = u64::from(header.content_type.code()) << 32 | u64::from(u16::from_be_bytes(version)) << 16;
    let data = u128::from(header.record_number()) << 64 | u128::from(kind | plaintext_len as u64) << 24;
    let [data @ .., _, _, _] = data.to_be_bytes();
    data
}

/// What we send in one epoch.
pub(crate) struct WriteEpoch {
    number: u16,
    next_sequence: u64,
    /// Blocks that were sealed.
    worn: u64,
    protection: Option<Protection>,
}

impl WriteEpoch {
    pub(crate) fn new(number: u16, protection: Option<Protection>) -> Self {
        Self {
            number,
            next_sequence: 0,
            worn: 0,
            protection,
        }
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// The sequence number that the next record will have.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Room for the header in front of a plaintext.
    pub(crate) fn front(&self) -> usize {
        match &self.protection {
            None => HEADER_LEN,
            Some(protection) if protection.is_13() => UNIFIED_LEN,
            Some(protection) => HEADER_LEN + protection.explicit_len(),
        }
    }

    /// Room for the tag behind a plaintext, and for the content type that DTLS 1.3 encrypts with it.
    pub(crate) fn back(&self) -> usize {
        match &self.protection {
            None => 0,
            Some(protection) if protection.is_13() => 1 + TAG_LEN,
            Some(_) => TAG_LEN,
        }
    }

    /// Makes a record of what stands in the open segment from `start` on: [`Self::front`] bytes to be filled, then the
    /// plaintext. Appends the tag. `padding` zeros are encrypted with it (RFC 8446 §5.4): DTLS 1.2 has no such thing.
    pub(crate) fn seal(
        &mut self,
        content_type: ContentType,
        out: &mut TransmitBuf,
        start: usize,
        padding: usize,
    ) -> Result<(), Error> {
        let front = self.front();
        let record = &mut out.body_mut()[start..];
        let plaintext_len = record.len() - front;
        let limit = self.protection.as_ref().map_or(u64::MAX, |protection| protection.limit);
        let (kept_records, kept_blocks) = if content_type == ContentType::ApplicationData {
            (LAST_WORDS, LAST_BLOCKS)
        } else {
            (0, 0)
        };
        let worn = self.worn + blocks(plaintext_len + padding);
        if self.next_sequence > MAX_SEQUENCE - kept_records || worn > limit - kept_blocks {
            return Err(Error::Exhausted);
        }
        if plaintext_len + padding > MAX_PLAINTEXT {
            return Err(Error::Protocol("a record holds at most 2^14 bytes"));
        }
        self.worn = worn;
        if self.protection.as_ref().is_some_and(Protection::is_13) {
            self.seal_13(content_type, out, start, plaintext_len, padding);
            return Ok(());
        }
        let length = front - HEADER_LEN + plaintext_len + self.back();
        let header = PlainHeader {
            content_type,
            epoch: self.number,
            sequence: self.next_sequence,
            length: length as u16,
        };
        self.next_sequence += 1;
        record[..HEADER_LEN].copy_from_slice(&header.bytes());
        if let Some(protection) = &self.protection {
            let number = header.record_number();
            record[HEADER_LEN..front].copy_from_slice(&number.to_be_bytes()[..front - HEADER_LEN]);
            let nonce = protection.nonce(number, number);
            let aad = additional_data(&header, record::VERSION, plaintext_len);
            let tag = protection.key.seal(&nonce, &aad, &mut record[front..]);
            out.put_slice(&tag);
        }
        Ok(())
    }
}

impl WriteEpoch {
    fn seal_13(
        &mut self,
        content_type: ContentType,
        out: &mut TransmitBuf,
        start: usize,
        plaintext_len: usize,
        padding: usize,
    ) {
        let Some(protection) = &self.protection else { return };
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        out.put_u8(content_type.code());
        out.put_zeros(padding);
        let record = &mut out.body_mut()[start..];
        let header = UnifiedHeader::bytes(self.number, sequence, plaintext_len + 1 + padding + TAG_LEN);
        record[..UNIFIED_LEN].copy_from_slice(&header);
        let tag = protection
            .key
            .seal(&protection.nonce(sequence, 0), &header, &mut record[UNIFIED_LEN..]);
        out.put_slice(&tag);
        let (header, ciphertext) = out.body_mut()[start..].split_at_mut(UNIFIED_LEN);
        let mask = protection.number_mask(ciphertext);
        header[1] ^= mask[0];
        header[2] ^= mask[1];
    }
}

#[cfg(test)]
impl WriteEpoch {
    /// As if the key had so many blocks left.
    pub(crate) fn pretend_worn(&mut self, left: u64) {
        self.worn = MAX_BLOCKS_GCM - left;
    }

    /// A record of application data in any form of the unified header (RFC 9147 §4): `first` is its first byte. Where that
    /// says that a connection ID follows, there is one of four bytes.
    pub(crate) fn seal_with(&mut self, first: u8, data: &[u8]) -> BytesMut {
        let protection = self.protection.as_ref().unwrap();
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let mut record = vec![first];
        if first & 0b1_0000 != 0 {
            record.extend_from_slice(&[1, 2, 3, 4]);
        }
        let number = record.len();
        let number_len = if first & 0b1000 != 0 { 2 } else { 1 };
        record.extend_from_slice(&sequence.to_be_bytes()[8 - number_len..]);
        if first & 0b100 != 0 {
            record.extend_from_slice(&((data.len() + 1 + TAG_LEN) as u16).to_be_bytes());
        }
        let header = record.clone();
        record.extend_from_slice(data);
        record.push(ContentType::ApplicationData.code());
        let tag = protection
            .key
            .seal(&protection.nonce(sequence, 0), &header, &mut record[header.len()..]);
        record.extend_from_slice(&tag);
        let (head, ciphertext) = record.split_at_mut(header.len());
        let mask = protection.number_mask(ciphertext);
        for (byte, mask) in head[number..number + number_len].iter_mut().zip(mask) {
            *byte ^= mask;
        }
        BytesMut::from(&record[..])
    }
}

/// What an opened record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) content_type: ContentType,
    pub(crate) epoch: u16,
    pub(crate) sequence: u64,
    /// Length of the plaintext.
    pub(crate) len: usize,
}

/// Why a record was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Seen before, or too old to tell.
    Replayed,
    /// The tag is wrong.
    Forged,
    /// Too short to be a record of this epoch.
    Malformed,
    /// So many forgeries that the key is worn out.
    Exhausted,
}

/// What the peer sends in one epoch.
pub(crate) struct ReadEpoch {
    number: u16,
    is_13: bool,
    replay: ReplayWindow,
    protection: Option<Protection>,
    forged: u64,
}

impl ReadEpoch {
    pub(crate) fn new(number: u16, protection: Option<Protection>) -> Self {
        Self {
            number,
            is_13: protection.as_ref().is_some_and(Protection::is_13),
            replay: ReplayWindow::default(),
            protection,
            forged: 0,
        }
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    pub(crate) fn is_protected(&self) -> bool {
        self.protection.is_some()
    }

    /// Whether this may be the epoch of a record with that header.
    #[inline]
    pub(crate) fn fits(&self, header: &Header) -> bool {
        match header {
            Header::Plain(header) => header.epoch == self.number && !self.is_13,
            Header::Unified(header) => u16::from(header.epoch_bits) == self.number & 0b11 && self.is_13,
        }
    }

    /// Opens a record of this epoch in place: of header and fragment in `bytes` only the plaintext is left.
    pub(crate) fn open(&mut self, header: &Header, bytes: &mut BytesMut) -> Result<Opened, OpenError> {
        let opened = self.open_uncut(header, bytes)?;
        bytes.truncate(opened.len);
        Ok(opened)
    }

    /// Opens a record of this epoch in place: then `bytes` begin with the plaintext, and what is behind it means nothing. The
    /// replay window moves only after the tag was found right. Without protection there is no window either: a forger could
    /// make it drop the peer's records, and handshake messages have numbers of their own.
    ///
    /// The buffer is left longer than the plaintext because to move it waits for changes of it to reach memory, which they do
    /// only when decryption is complete.
    #[inline(always)]
    pub(crate) fn open_uncut(&mut self, header: &Header, bytes: &mut BytesMut) -> Result<Opened, OpenError> {
        match header {
            Header::Plain(header) => self.open_plain(header, bytes),
            Header::Unified(header) => self.open_unified(header, bytes),
        }
    }

    #[inline(always)]
    fn open_plain(&mut self, header: &PlainHeader, bytes: &mut BytesMut) -> Result<Opened, OpenError> {
        let opened = |len| Opened {
            content_type: header.content_type,
            epoch: header.epoch,
            sequence: header.sequence,
            len,
        };
        let Some(protection) = &self.protection else {
            bytes.advance(HEADER_LEN);
            return Ok(opened(bytes.len()));
        };
        if !self.replay.check(header.sequence) {
            return Err(OpenError::Replayed);
        }
        let front = HEADER_LEN + protection.explicit_len();
        if bytes.len() < front + TAG_LEN || bytes.len() - front - TAG_LEN > MAX_PLAINTEXT {
            return Err(OpenError::Malformed);
        }
        let plaintext_len = bytes.len() - front - TAG_LEN;
        let aad = additional_data(header, [bytes[1], bytes[2]], plaintext_len);
        let carried = bytes[HEADER_LEN..front]
            .first_chunk()
            .map_or(0, |carried| u64::from_be_bytes(*carried));
        let nonce = protection.nonce(header.record_number(), carried);
        bytes.advance(front);
        if protection.key.open(&nonce, &aad, bytes).is_err() {
            return Err(self.count_forged());
        }
        self.replay.accept(header.sequence);
        Ok(opened(plaintext_len))
    }

    #[inline(always)]
    fn open_unified(&mut self, header: &UnifiedHeader, bytes: &mut BytesMut) -> Result<Opened, OpenError> {
        let Some(protection) = &self.protection else {
            return Err(OpenError::Malformed);
        };
        if bytes.len() < header.len + SAMPLE_LEN || bytes.len() - header.len > MAX_PLAINTEXT + 256 {
            return Err(OpenError::Malformed);
        }
        let Some(front) = bytes.first_chunk::<8>() else {
            return Err(OpenError::Malformed);
        };
        let mask = protection.number_mask(&bytes[header.len..]);
        // The header as one number and not byte by byte in the buffer: who reads it for additional data reads words.
        let (number_bits, shift) = if header.sequence_len == 2 {
            (0xffff, 40)
        } else {
            (0xff, 48)
        };
        let hidden = u64::from_be_bytes(*front);
        let short = (hidden ^ u64::from(u16::from_be_bytes(mask)) << 40) >> shift & number_bits;
        let next = self.replay.next();
        // Mostly it is the record that follows the newest one. The processor foresees that, and since the number is then not
        // computed from the mask, it begins to decrypt while the mask is still on its way.
        let sequence = if short == next & number_bits {
            next
        } else {
            self.another_number(short, 8 * header.sequence_len as u32)?
        };
        let head = hidden & !(number_bits << shift) | (sequence & number_bits) << shift;
        let aad = head.to_be_bytes();
        let nonce = protection.nonce(sequence, 0);
        bytes.advance(header.len);
        let aad = &aad[..header.len];
        let Some((inner, tag)) = bytes.split_last_chunk_mut::<TAG_LEN>() else {
            return Err(OpenError::Malformed);
        };
        if protection.key.open_detached(&nonce, aad, inner, tag).is_err() {
            return Err(self.count_forged());
        }
        self.replay.accept(sequence);
        // The content type is the last byte that is not padding (RFC 8446 §5.4).
        let Some(len) = inner.iter().rposition(|byte| *byte != 0) else {
            return Err(OpenError::Malformed);
        };
        let content_type = ContentType::from_code(inner[len]).ok_or(OpenError::Malformed)?;
        Ok(Opened {
            content_type,
            epoch: self.number,
            sequence,
            len,
        })
    }

    /// The number of a record that does not follow the newest one: some were lost, or it was overtaken, or it is a repetition.
    #[inline(never)]
    fn another_number(&self, short: u64, bits: u32) -> Result<u64, OpenError> {
        let sequence = complete_number(short, bits, self.replay.next());
        if self.replay.check(sequence) {
            Ok(sequence)
        } else {
            Err(OpenError::Replayed)
        }
    }

    #[cold]
    fn count_forged(&mut self) -> OpenError {
        self.forged += 1;
        if self.forged > MAX_FORGED {
            OpenError::Exhausted
        } else {
            OpenError::Forged
        }
    }
}

/// The number with the low bits `short` that is nearest to `next` (RFC 9147 §4.2.2).
fn complete_number(short: u64, bits: u32, next: u64) -> u64 {
    let span = 1u64 << bits;
    let candidate = next & !(span - 1) | short;
    if candidate + span / 2 < next {
        candidate + span
    } else if candidate > next + span / 2 && candidate >= span {
        candidate - span
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use antiphon_crypto::ring_provider;

    use super::*;
    use crate::record::{Split, split};

    const SUITES: [CipherSuite; 3] = [
        CipherSuite::EcdheEcdsaAes128GcmSha256,
        CipherSuite::EcdheEcdsaAes256GcmSha384,
        CipherSuite::EcdheEcdsaChacha20Poly1305Sha256,
    ];

    fn protection(suite: CipherSuite) -> Protection {
        let key = vec![7; suite.aead().key_len()];
        let iv = vec![9; Protection::iv_len(suite)];
        Protection::v12(ring_provider(), suite, &key, &iv).unwrap()
    }

    fn sealed(epoch: &mut WriteEpoch, plaintext: &[u8]) -> BytesMut {
        let mut out = TransmitBuf::new(2048, 2048);
        assert!(out.begin(epoch.front(), epoch.back()));
        out.put_slice(plaintext);
        out.prepend(epoch.front());
        epoch.seal(ContentType::ApplicationData, &mut out, 0, 0).unwrap();
        let range = out.finish();
        BytesMut::from(out.bytes(range))
    }

    /// Opens the first record of a datagram.
    fn open(epoch: &mut ReadEpoch, mut datagram: BytesMut) -> Result<(Opened, BytesMut), OpenError> {
        match split(&mut datagram) {
            Split::Record(mut record) => epoch
                .open(&record.header, &mut record.bytes)
                .map(|opened| (opened, record.bytes)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sealed_records_open_once_and_forged_ones_never() {
        for suite in SUITES {
            let mut write = WriteEpoch::new(1, Some(protection(suite)));
            let mut read = ReadEpoch::new(1, Some(protection(suite)));
            for len in [0, 1, 100, 1200] {
                let plaintext = vec![len as u8; len];
                let bytes = sealed(&mut write, &plaintext);
                for at in [HEADER_LEN, bytes.len() - 1] {
                    let mut bad = bytes.clone();
                    bad[at] ^= 1;
                    assert_eq!(open(&mut read, bad).unwrap_err(), OpenError::Forged, "{suite:?} {len}");
                }
                assert_eq!(open(&mut read, bytes.clone()).unwrap().1, plaintext);
                assert_eq!(open(&mut read, bytes).unwrap_err(), OpenError::Replayed);
            }
        }
    }

    #[test]
    fn the_explicit_nonce_is_epoch_and_sequence_number() {
        let mut write = WriteEpoch::new(1, Some(protection(SUITES[0])));
        for sequence in 0..1000u64 {
            let bytes = sealed(&mut write, b"x");
            let nonce = u64::from_be_bytes(bytes[HEADER_LEN..HEADER_LEN + 8].try_into().unwrap());
            assert_eq!(nonce, 1 << 48 | sequence);
        }
    }

    fn protection_13(suite: CipherSuite) -> Protection {
        let key = vec![7; suite.aead().key_len()];
        Protection::v13(ring_provider(), suite, &key, [9; 12], &key).unwrap()
    }

    #[test]
    fn records_of_dtls_13_open_once_in_any_order() {
        for suite in [
            CipherSuite::Aes128GcmSha256,
            CipherSuite::Aes256GcmSha384,
            CipherSuite::Chacha20Poly1305Sha256,
        ] {
            let mut write = WriteEpoch::new(3, Some(protection_13(suite)));
            let mut read = ReadEpoch::new(3, Some(protection_13(suite)));
            assert_eq!((write.front(), write.back()), (5, 17));
            let mut records = Vec::new();
            for number in 0..70_000u32 {
                let bytes = sealed(&mut write, &number.to_be_bytes());
                if number % 400 == 0 || number > 69_990 {
                    records.push((number, bytes));
                }
            }
            for pair in records.chunks(2) {
                for (number, bytes) in pair.iter().rev() {
                    let (opened, body) = open(&mut read, bytes.clone()).unwrap();
                    assert_eq!((opened.epoch, opened.sequence), (3, u64::from(*number)));
                    assert_eq!(opened.content_type, ContentType::ApplicationData);
                    assert_eq!(body[..], number.to_be_bytes());
                    assert_eq!(open(&mut read, bytes.clone()).err(), Some(OpenError::Replayed));
                }
            }
            let (_, last) = records.pop().unwrap();
            for at in [0, 1, 5, last.len() - 1] {
                let mut bad = last.clone();
                bad[at] ^= if at == 0 { 0 } else { 0x80 };
                let error = open(&mut read, bad).unwrap_err();
                assert!(
                    matches!(error, OpenError::Forged | OpenError::Replayed),
                    "{suite:?} {at} {error:?}"
                );
            }
        }
    }

    /// RFC 8446 §5.4. Nothing but padding is no record.
    #[test]
    fn padding_is_taken_off() {
        let protection = protection_13(CipherSuite::Aes128GcmSha256);
        let mut read = ReadEpoch::new(3, Some(protection_13(CipherSuite::Aes128GcmSha256)));
        let padded = |sequence: u64, inner: &[u8]| {
            let header = UnifiedHeader::bytes(3, sequence, inner.len() + TAG_LEN);
            let mut record = [&header[..], inner].concat();
            let nonce = protection.nonce(sequence, 0);
            let tag = protection.key.seal(&nonce, &header, &mut record[UNIFIED_LEN..]);
            record.extend_from_slice(&tag);
            let mask = protection.number_mask(&record[UNIFIED_LEN..]);
            record[1] ^= mask[0];
            record[2] ^= mask[1];
            BytesMut::from(&record[..])
        };
        for (sequence, data, padding) in [(0, &b"data"[..], 0), (1, b"data\0\0", 1), (2, b"", 1000), (3, b"x", 37)] {
            let inner = [data, &[23], &vec![0; padding]].concat();
            let (opened, body) = open(&mut read, padded(sequence, &inner)).unwrap();
            assert_eq!(
                (opened.content_type, opened.len),
                (ContentType::ApplicationData, data.len())
            );
            assert_eq!(body, data);
        }
        assert_eq!(open(&mut read, padded(4, &[0; 20])).unwrap_err(), OpenError::Malformed);
        assert_eq!(
            open(&mut read, padded(4, b"data\x17")).unwrap_err(),
            OpenError::Replayed
        );
        assert_eq!(
            open(&mut read, padded(5, b"data\x63")).unwrap_err(),
            OpenError::Malformed
        );
    }

    #[test]
    fn short_numbers_are_completed_to_the_nearest() {
        for next in [0, 1, 100, 127, 128, 129, 255, 256, 257, 65_535, 65_536, 1 << 40] {
            for distance in -127i64..=127 {
                let Some(number) = u64::checked_add_signed(next, distance) else {
                    continue;
                };
                assert_eq!(complete_number(number & 0xff, 8, next), number, "next {next}");
                assert_eq!(complete_number(number & 0xffff, 16, next), number, "next {next}");
            }
        }
    }

    #[test]
    fn keys_wear_out_and_leave_room_for_an_alert() {
        for suite in [
            SUITES[0],
            SUITES[1],
            SUITES[2],
            CipherSuite::Aes128GcmSha256,
            CipherSuite::Chacha20Poly1305Sha256,
        ] {
            let protection = match suite.version() {
                crate::config::ProtocolVersion::Dtls12 => protection(suite),
                crate::config::ProtocolVersion::Dtls13 => protection_13(suite),
            };
            let mut write = WriteEpoch::new(1, Some(protection));
            match suite.aead() {
                AeadAlgorithm::ChaCha20Poly1305 => write.next_sequence = MAX_SEQUENCE - LAST_WORDS,
                _ => write.pretend_worn(LAST_BLOCKS + blocks(4)),
            }
            sealed(&mut write, b"last");
            let mut out = TransmitBuf::new(1 << 14, 2048);
            let mut again = |content_type| {
                out.begin(0, 0);
                out.put_zeros(write.front());
                let sealed = write.seal(content_type, &mut out, 0, 0);
                out.rollback();
                sealed
            };
            assert_eq!(again(ContentType::ApplicationData), Err(Error::Exhausted));
            for _ in 0..LAST_WORDS {
                assert_eq!(again(ContentType::Alert), Ok(()));
            }
            assert_eq!(again(ContentType::Alert), Err(Error::Exhausted));
        }
    }
}
