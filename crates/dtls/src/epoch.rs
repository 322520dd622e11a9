use antiphon_crypto::{AeadAlgorithm, AeadKey, Provider, TAG_LEN};
use antiphon_sansio::TransmitBuf;
use bytes::BytesMut;

use crate::config::CipherSuite;
use crate::error::Error;
use crate::record::{ContentType, HEADER_LEN, MAX_PLAINTEXT, MAX_SEQUENCE, PlainHeader, Record};
use crate::replay::ReplayWindow;

/// Length of the explicit part of a GCM nonce (RFC 5288 §3).
const EXPLICIT_NONCE_LEN: usize = 8;
/// Forged records after which a key is given up. RFC 9147 §4.5.3 allows 2^36 for every suite that we have.
const MAX_FORGED: u64 = 1 << 36;

/// How the nonce of a record comes about.
enum Nonce {
    /// AES-GCM of DTLS 1.2: four secret bytes, then eight that the record carries (RFC 5288 §3).
    Explicit([u8; 4]),
    /// ChaCha20-Poly1305 of DTLS 1.2: the record number into twelve secret bytes (RFC 7905 §2).
    Implicit([u8; 12]),
}

/// The key of one direction of one epoch, and how records are protected with it.
pub(crate) struct Protection {
    key: Box<dyn AeadKey>,
    nonce: Nonce,
}

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
            (Ok(salt), _) => Nonce::Explicit(salt),
            (_, Ok(iv)) => Nonce::Implicit(iv),
            _ => return Err(Error::Crypto),
        };
        let key = provider.aead(suite.aead(), key).map_err(|_| Error::Crypto)?;
        Ok(Self { key, nonce })
    }

    fn explicit_len(&self) -> usize {
        match self.nonce {
            Nonce::Explicit(_) => EXPLICIT_NONCE_LEN,
            Nonce::Implicit(_) => 0,
        }
    }

    /// The nonce; `carried` is the explicit part, which for us is always the record number: it can not repeat.
    fn nonce(&self, record_number: u64, carried: &[u8]) -> [u8; 12] {
        let mut nonce = [0; 12];
        match &self.nonce {
            Nonce::Explicit(salt) => {
                nonce[..4].copy_from_slice(salt);
                nonce[4..].copy_from_slice(carried);
            }
            Nonce::Implicit(iv) => {
                nonce[4..].copy_from_slice(&record_number.to_be_bytes());
                nonce.iter_mut().zip(iv).for_each(|(n, iv)| *n ^= iv);
            }
        }
        nonce
    }
}

/// The additional data of a record of DTLS 1.2 (RFC 5246 §6.2.3.3): record number, type, version, length of the plaintext.
fn additional_data(header: &[u8; HEADER_LEN], plaintext_len: usize) -> [u8; HEADER_LEN] {
    let mut aad = [0; HEADER_LEN];
    aad[..8].copy_from_slice(&header[3..11]);
    aad[8..11].copy_from_slice(&header[..3]);
    aad[11..].copy_from_slice(&(plaintext_len as u16).to_be_bytes());
    aad
}

/// What we send in one epoch.
pub(crate) struct WriteEpoch {
    number: u16,
    next_sequence: u64,
    protection: Option<Protection>,
}

impl WriteEpoch {
    pub(crate) fn new(number: u16, protection: Option<Protection>) -> Self {
        Self {
            number,
            next_sequence: 0,
            protection,
        }
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Room for the header in front of a plaintext.
    pub(crate) fn front(&self) -> usize {
        HEADER_LEN + self.protection.as_ref().map_or(0, Protection::explicit_len)
    }

    /// Room for the tag behind a plaintext.
    pub(crate) fn back(&self) -> usize {
        if self.protection.is_some() { TAG_LEN } else { 0 }
    }

    /// Makes a record of what stands in the open segment from `start` on: [`Self::front`] bytes to be filled, then the
    /// plaintext. Appends the tag.
    pub(crate) fn seal(&mut self, content_type: ContentType, out: &mut TransmitBuf, start: usize) -> Result<(), Error> {
        let front = self.front();
        let record = &mut out.body_mut()[start..];
        let plaintext_len = record.len() - front;
        if self.next_sequence > MAX_SEQUENCE {
            return Err(Error::Exhausted);
        }
        if plaintext_len > MAX_PLAINTEXT {
            return Err(Error::Protocol("a record holds at most 2^14 bytes"));
        }
        let length = front - HEADER_LEN + plaintext_len + self.back();
        let header = PlainHeader {
            content_type,
            epoch: self.number,
            sequence: self.next_sequence,
            length: length as u16,
        };
        self.next_sequence += 1;
        let header_bytes = header.bytes();
        record[..HEADER_LEN].copy_from_slice(&header_bytes);
        if let Some(protection) = &self.protection {
            let number = header.record_number().to_be_bytes();
            record[HEADER_LEN..front].copy_from_slice(&number[..front - HEADER_LEN]);
            let nonce = protection.nonce(header.record_number(), &number);
            let aad = additional_data(&header_bytes, plaintext_len);
            let tag = protection.key.seal(&nonce, &aad, &mut record[front..]);
            out.put_slice(&tag);
        }
        Ok(())
    }
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
    replay: ReplayWindow,
    protection: Option<Protection>,
    forged: u64,
}

impl ReadEpoch {
    pub(crate) fn new(number: u16, protection: Option<Protection>) -> Self {
        Self {
            number,
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

    /// Opens a record of this epoch in place and gives its plaintext. The replay window moves only after the tag was found
    /// right. Without protection there is no window either: a forger could make it drop the peer's records, and handshake
    /// messages have numbers of their own.
    pub(crate) fn open(&mut self, record: Record) -> Result<BytesMut, OpenError> {
        let Record { header, mut bytes } = record;
        let Some(protection) = &self.protection else {
            return Ok(bytes.split_off(HEADER_LEN));
        };
        if !self.replay.check(header.sequence) {
            return Err(OpenError::Replayed);
        }
        let front = HEADER_LEN + protection.explicit_len();
        if bytes.len() < front + TAG_LEN || bytes.len() - front - TAG_LEN > MAX_PLAINTEXT {
            return Err(OpenError::Malformed);
        }
        let (head, sealed) = bytes.split_at_mut(front);
        let mut header_bytes = [0; HEADER_LEN];
        header_bytes.copy_from_slice(&head[..HEADER_LEN]);
        let nonce = protection.nonce(header.record_number(), &head[HEADER_LEN..]);
        let aad = additional_data(&header_bytes, sealed.len() - TAG_LEN);
        match protection.key.open(&nonce, &aad, sealed) {
            Ok(len) => {
                self.replay.accept(header.sequence);
                let mut plaintext = bytes.split_off(front);
                plaintext.truncate(len);
                Ok(plaintext)
            }
            Err(_) => {
                self.forged += 1;
                Err(if self.forged > MAX_FORGED {
                    OpenError::Exhausted
                } else {
                    OpenError::Forged
                })
            }
        }
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
        epoch.seal(ContentType::ApplicationData, &mut out, 0).unwrap();
        let range = out.finish();
        BytesMut::from(out.bytes(range))
    }

    fn record(mut datagram: BytesMut) -> Record {
        match split(&mut datagram) {
            Split::Record(record) => record,
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
                    assert_eq!(
                        read.open(record(bad)).unwrap_err(),
                        OpenError::Forged,
                        "{suite:?} {len}"
                    );
                }
                assert_eq!(read.open(record(bytes.clone())).unwrap(), plaintext);
                assert_eq!(read.open(record(bytes)).unwrap_err(), OpenError::Replayed);
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

    #[test]
    fn sequence_numbers_end() {
        let mut write = WriteEpoch::new(1, Some(protection(SUITES[0])));
        write.next_sequence = MAX_SEQUENCE;
        sealed(&mut write, b"last");
        let mut out = TransmitBuf::new(2048, 2048);
        out.begin(0, 0);
        out.put_zeros(write.front());
        assert_eq!(
            write.seal(ContentType::ApplicationData, &mut out, 0),
            Err(Error::Exhausted)
        );
    }
}
