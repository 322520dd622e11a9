use antiphon_crypto::{AeadKey, AesCtr, HashAlgorithm, Mac, Provider, Secret, TAG_LEN};

use crate::error::Error;
use crate::header::RTCP_CLEAR_LEN;
use crate::profile::Profile;

/// Labels of the six session keys (RFC 3711 §4.3.2).
#[derive(Clone, Copy)]
pub(crate) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// Length of the HMAC-SHA1 session key, in bytes (RFC 3711 §5.2).
const AUTH_KEY_LEN: usize = 20;
/// What SRTCP appends besides the tag.
pub(crate) const INDEX_LEN: usize = 4;
/// The E flag of the index word: the packet is encrypted (RFC 3711 §3.4).
const ENCRYPTED: u32 = 1 << 31;
/// The largest SRTCP index.
pub(crate) const MAX_RTCP_INDEX: u32 = ENCRYPTED - 1;

/// What protecting a packet appends to it.
pub(crate) struct Trailer {
    bytes: [u8; TAG_LEN + INDEX_LEN],
    len: usize,
}

impl Trailer {
    fn new() -> Self {
        Self {
            bytes: [0; TAG_LEN + INDEX_LEN],
            len: 0,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The first bytes of the tag: enough to tell one packet of ours from another.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

/// The session keys of one direction, of RTP or of RTCP, with their schedules expanded.
pub(crate) enum Transform {
    /// RFC 3711 §4.1.1 and §4.2.1.
    CounterMode {
        cipher: Box<dyn AesCtr>,
        mac: Box<dyn Mac>,
        salt: [u8; 14],
        tag_len: usize,
    },
    /// RFC 7714.
    Aead { key: Box<dyn AeadKey>, salt: [u8; 12] },
}

/// Both transforms of one direction.
pub(crate) fn session(
    profile: Profile,
    key: &[u8],
    salt: &[u8],
    provider: Provider,
) -> Result<(Transform, Transform), Error> {
    if key.len() != profile.key_len() || salt.len() != profile.salt_len() {
        return Err(Error::MasterKey);
    }
    let prf = provider.aes_ctr(key).map_err(|_| Error::MasterKey)?;
    let derived = |label, len| derive(&*prf, salt, label, len);
    let make = |encryption, authentication, salting, overhead| {
        Transform::new(
            profile,
            derived(encryption, profile.key_len()).as_bytes(),
            derived(authentication, AUTH_KEY_LEN).as_bytes(),
            derived(salting, profile.salt_len()).as_bytes(),
            overhead,
            provider,
        )
    };
    Ok((
        make(
            Label::RtpEncryption,
            Label::RtpAuthentication,
            Label::RtpSalt,
            profile.overhead_rtp(),
        )?,
        make(
            Label::RtcpEncryption,
            Label::RtcpAuthentication,
            Label::RtcpSalt,
            profile.overhead_rtcp() - INDEX_LEN,
        )?,
    ))
}

/// RFC 3711 §4.3.1 and §4.3.3 with a key derivation rate of 0: the keystream whose first counter block is the label at its
/// place, XORed with the master salt, and two zero bytes. RFC 7714 §11: a 12-byte salt is padded on the right.
pub(crate) fn derive(prf: &dyn AesCtr, salt: &[u8], label: Label, len: usize) -> Secret {
    let mut block = [0; 16];
    block[..salt.len()].copy_from_slice(salt);
    block[7] ^= label as u8;
    let mut secret = Secret::zeros(len);
    prf.apply(&block, secret.as_bytes_mut());
    secret
}

impl Transform {
    pub(crate) fn new(
        profile: Profile,
        encryption: &[u8],
        authentication: &[u8],
        salt: &[u8],
        tag_len: usize,
        provider: Provider,
    ) -> Result<Self, Error> {
        Ok(match profile.aead() {
            Some(algorithm) => Self::Aead {
                key: provider.aead(algorithm, encryption).map_err(|_| Error::MasterKey)?,
                salt: salt.try_into().map_err(|_| Error::MasterKey)?,
            },
            None => Self::CounterMode {
                cipher: provider.aes_ctr(encryption).map_err(|_| Error::MasterKey)?,
                mac: provider.mac(HashAlgorithm::Sha1, authentication),
                salt: salt.try_into().map_err(|_| Error::MasterKey)?,
                tag_len,
            },
        })
    }

    pub(crate) fn tag_len(&self) -> usize {
        match self {
            Self::CounterMode { tag_len, .. } => *tag_len,
            Self::Aead { .. } => TAG_LEN,
        }
    }

    /// Encrypts everything behind `header_len` in place and gives the tag.
    #[inline]
    pub(crate) fn seal_rtp(&self, packet: &mut [u8], header_len: usize, ssrc: u32, index: u64) -> Trailer {
        let mut trailer = Trailer::new();
        match self {
            Self::CounterMode {
                cipher,
                mac,
                salt,
                tag_len,
            } => {
                cipher.apply(&counter_block(salt, ssrc, index), &mut packet[header_len..]);
                // RFC 3711 §4.2: the code covers the packet and the rollover counter.
                let tag = mac.sign(&[packet, &roc(index)]);
                trailer.push(&tag.as_bytes()[..*tag_len]);
            }
            Self::Aead { key, salt } => {
                let (header, payload) = packet.split_at_mut(header_len);
                trailer.push(&key.seal(&rtp_nonce(salt, ssrc, index), header, payload));
            }
        }
        trailer
    }

    /// Checks and decrypts in place; gives the length without the tag. `packet` is at least header and tag long.
    #[inline]
    pub(crate) fn open_rtp(&self, packet: &mut [u8], header_len: usize, ssrc: u32, index: u64) -> Result<usize, Error> {
        match self {
            Self::CounterMode {
                cipher,
                mac,
                salt,
                tag_len,
            } => {
                let (packet, tag) = packet.split_at_mut(packet.len() - tag_len);
                if !mac.verify(&[packet, &roc(index)], tag) {
                    return Err(Error::Authentication);
                }
                cipher.apply(&counter_block(salt, ssrc, index), &mut packet[header_len..]);
                Ok(packet.len())
            }
            Self::Aead { key, salt } => {
                let (header, payload) = packet.split_at_mut(header_len);
                key.open(&rtp_nonce(salt, ssrc, index), header, payload)
                    .map(|len| header_len + len)
                    .map_err(|_| Error::Authentication)
            }
        }
    }

    /// Encrypts everything behind the first two words in place and gives tag and index word in the profile's order.
    pub(crate) fn seal_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Trailer {
        let word = (ENCRYPTED | index).to_be_bytes();
        let mut trailer = Trailer::new();
        match self {
            Self::CounterMode {
                cipher,
                mac,
                salt,
                tag_len,
            } => {
                cipher.apply(
                    &counter_block(salt, ssrc, u64::from(index)),
                    &mut packet[RTCP_CLEAR_LEN..],
                );
                let tag = mac.sign(&[packet, &word]);
                trailer.push(&word);
                trailer.push(&tag.as_bytes()[..*tag_len]);
            }
            Self::Aead { key, salt } => {
                let (clear, body) = packet.split_at_mut(RTCP_CLEAR_LEN);
                trailer.push(&key.seal(&rtcp_nonce(salt, ssrc, index), &rtcp_aad(clear, word), body));
                trailer.push(&word);
            }
        }
        trailer
    }

    /// The index word of a protected RTCP packet that is long enough: whether it is encrypted, and the index.
    pub(crate) fn rtcp_index(&self, packet: &[u8]) -> (bool, u32) {
        let at = match self {
            Self::CounterMode { tag_len, .. } => packet.len() - tag_len - INDEX_LEN,
            // RFC 7714 §9.2: the word stands behind the tag.
            Self::Aead { .. } => packet.len() - INDEX_LEN,
        };
        let word = packet[at..].first_chunk().map_or(0, |word| u32::from_be_bytes(*word));
        (word & ENCRYPTED != 0, word & MAX_RTCP_INDEX)
    }

    /// Checks and decrypts in place; gives the length without tag and index word.
    pub(crate) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<usize, Error> {
        match self {
            Self::CounterMode {
                cipher,
                mac,
                salt,
                tag_len,
            } => {
                let (signed, tag) = packet.split_at_mut(packet.len() - tag_len);
                if !mac.verify(&[signed], tag) {
                    return Err(Error::Authentication);
                }
                let len = signed.len() - INDEX_LEN;
                cipher.apply(
                    &counter_block(salt, ssrc, u64::from(index)),
                    &mut signed[RTCP_CLEAR_LEN..len],
                );
                Ok(len)
            }
            Self::Aead { key, salt } => {
                let (rest, word) = packet.split_last_chunk_mut::<INDEX_LEN>().ok_or(Error::Malformed)?;
                let (clear, body) = rest.split_at_mut(RTCP_CLEAR_LEN);
                key.open(&rtcp_nonce(salt, ssrc, index), &rtcp_aad(clear, *word), body)
                    .map(|len| RTCP_CLEAR_LEN + len)
                    .map_err(|_| Error::Authentication)
            }
        }
    }
}

#[inline]
fn roc(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// RFC 3711 §4.1.1: `IV = (salt * 2^16) XOR (SSRC * 2^64) XOR (index * 2^16)`.
#[inline]
pub(crate) fn counter_block(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut salted = [0; 16];
    salted[..14].copy_from_slice(salt);
    (u128::from_be_bytes(salted) ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16)).to_be_bytes()
}

#[inline]
fn nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    for (byte, salt) in nonce.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    nonce
}

/// RFC 7714 §8.1: two zero bytes, SSRC, rollover counter and sequence number, XORed with the salt.
#[inline]
pub(crate) fn rtp_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    nonce(salt, ssrc, index)
}

/// RFC 7714 §9.1: two zero bytes, SSRC, two zero bytes, and the index without the E flag, XORed with the salt.
#[inline]
pub(crate) fn rtcp_nonce(salt: &[u8; 12], ssrc: u32, index: u32) -> [u8; 12] {
    nonce(salt, ssrc, u64::from(index))
}

/// RFC 7714 §9.2: what is authenticated beside an encrypted SRTCP packet.
fn rtcp_aad(clear: &[u8], word: [u8; INDEX_LEN]) -> [u8; RTCP_CLEAR_LEN + INDEX_LEN] {
    let mut aad = [0; RTCP_CLEAR_LEN + INDEX_LEN];
    aad[..RTCP_CLEAR_LEN].copy_from_slice(clear);
    aad[RTCP_CLEAR_LEN..].copy_from_slice(&word);
    aad
}
