use antiphon_crypto::{AeadKey, AesCtr, CtrHmac, Provider, Secret, TAG_LEN};

use crate::cryptex::EXTENSION_HEADER_LEN;
use crate::error::Error;
use crate::header::{RTCP_CLEAR_LEN, RTP_FIXED_LEN};
use crate::profile::Profile;

/// Labels of the session keys (RFC 3711 §4.3.2, RFC 6904 §3.1).
#[derive(Clone, Copy)]
pub(crate) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
    ExtensionEncryption = 6,
    ExtensionSalt = 7,
}

/// Length of the HMAC-SHA1 session key, in bytes (RFC 3711 §5.2).
const AUTH_KEY_LEN: usize = 20;
/// What SRTCP appends besides the tag.
pub(crate) const INDEX_LEN: usize = 4;
/// The E flag of the index word: the packet is encrypted (RFC 3711 §3.4).
const ENCRYPTED: u32 = 1 << 31;
/// The largest SRTCP index.
pub(crate) const MAX_RTCP_INDEX: u32 = ENCRYPTED - 1;

/// A tag before it is cut to the profile's length.
pub(crate) type FullTag = [u8; TAG_LEN];

/// What protecting an RTCP packet appends to it.
pub(crate) struct Trailer {
    bytes: [u8; TAG_LEN + INDEX_LEN],
    len: usize,
}

impl Trailer {
    fn new(first: &[u8], second: &[u8]) -> Self {
        let mut bytes = [0; TAG_LEN + INDEX_LEN];
        let len = first.len() + second.len();
        bytes[..first.len()].copy_from_slice(first);
        bytes[first.len()..len].copy_from_slice(second);
        Self { bytes, len }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The session keys of one direction, of RTP or of RTCP, with their schedules expanded.
///
/// The salts are numbers at the place that they have in the counter block and in the nonce.
pub(crate) enum Transform {
    /// RFC 3711 §4.1.1 and §4.2.1.
    CounterMode {
        key: Box<dyn CtrHmac>,
        salt: u128,
        tag_len: usize,
    },
    /// RFC 7714.
    Aead { key: Box<dyn AeadKey>, salt: u128 },
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
        if salt.len() != profile.salt_len() {
            return Err(Error::MasterKey);
        }
        let mut block = [0; 16];
        Ok(match profile.aead() {
            Some(algorithm) => {
                // The nonce is the low 12 bytes.
                block[4..].copy_from_slice(salt);
                Self::Aead {
                    key: provider.aead(algorithm, encryption).map_err(|_| Error::MasterKey)?,
                    salt: u128::from_be_bytes(block),
                }
            }
            None => {
                block[..14].copy_from_slice(salt);
                Self::CounterMode {
                    key: provider
                        .ctr_hmac_sha1(encryption, authentication)
                        .map_err(|_| Error::MasterKey)?,
                    salt: u128::from_be_bytes(block),
                    tag_len,
                }
            }
        })
    }

    #[inline]
    pub(crate) fn tag_len(&self) -> usize {
        match self {
            Self::CounterMode { tag_len, .. } => *tag_len,
            Self::Aead { .. } => TAG_LEN,
        }
    }

    /// Encrypts everything behind `clear` in place and gives the tag.
    #[inline]
    pub(crate) fn seal_rtp(&self, packet: &mut [u8], clear: usize, ssrc: u32, index: u64) -> FullTag {
        match self {
            Self::CounterMode { key, salt, .. } => {
                // RFC 3711 §4.2: the code covers the packet and the rollover counter.
                cut(key.seal(&counter_block(*salt, ssrc, index), packet, clear, &roc(index)))
            }
            Self::Aead { key, salt } => {
                let (header, payload) = packet.split_at_mut(clear);
                key.seal(&nonce(*salt, ssrc, index), header, payload)
            }
        }
    }

    /// Checks and decrypts in place; gives the length without the tag. `packet` is at least `clear` and the tag long.
    #[inline]
    pub(crate) fn open_rtp(&self, packet: &mut [u8], clear: usize, ssrc: u32, index: u64) -> Result<usize, Error> {
        match self {
            Self::CounterMode { key, salt, tag_len } => {
                let (packet, tag) = packet.split_at_mut(packet.len() - tag_len);
                key.open(&counter_block(*salt, ssrc, index), packet, clear, &roc(index), tag)
                    .map(|()| packet.len())
                    .map_err(|_| Error::Authentication)
            }
            Self::Aead { key, salt } => {
                let (header, payload) = packet.split_at_mut(clear);
                key.open(&nonce(*salt, ssrc, index), header, payload)
                    .map(|len| clear + len)
                    .map_err(|_| Error::Authentication)
            }
        }
    }

    /// RFC 9335 §6.2: as [`Self::seal_rtp`], but all behind the fixed header is encrypted except the extension's first four
    /// bytes, which stand behind `csrcs` bytes of CSRCs.
    pub(crate) fn seal_cryptex(&self, packet: &mut [u8], csrcs: usize, ssrc: u32, index: u64) -> FullTag {
        let clear = RTP_FIXED_LEN + EXTENSION_HEADER_LEN;
        if csrcs == 0 {
            return self.seal_rtp(packet, clear, ssrc, index);
        }
        extension_first(packet, csrcs);
        match self {
            Self::CounterMode { key, salt, .. } => {
                key.apply(&counter_block(*salt, ssrc, index), &mut packet[clear..]);
                extension_back(packet, csrcs);
                // What is authenticated is what is sent.
                cut(key.sign(&[packet, &roc(index)]))
            }
            Self::Aead { .. } => {
                let tag = self.seal_rtp(packet, clear, ssrc, index);
                extension_back(packet, csrcs);
                tag
            }
        }
    }

    /// Undoes [`Self::seal_cryptex`].
    pub(crate) fn open_cryptex(&self, packet: &mut [u8], csrcs: usize, ssrc: u32, index: u64) -> Result<usize, Error> {
        let clear = RTP_FIXED_LEN + EXTENSION_HEADER_LEN;
        if csrcs == 0 {
            return self.open_rtp(packet, clear, ssrc, index);
        }
        match self {
            Self::CounterMode { key, salt, tag_len } => {
                let (packet, tag) = packet.split_at_mut(packet.len() - tag_len);
                let code = key.sign(&[packet, &roc(index)]);
                if !antiphon_crypto::constant_time_eq(&code[..*tag_len], tag) {
                    return Err(Error::Authentication);
                }
                extension_first(packet, csrcs);
                key.apply(&counter_block(*salt, ssrc, index), &mut packet[clear..]);
                extension_back(packet, csrcs);
                Ok(packet.len())
            }
            Self::Aead { .. } => {
                extension_first(packet, csrcs);
                let len = self.open_rtp(packet, clear, ssrc, index)?;
                extension_back(packet, csrcs);
                Ok(len)
            }
        }
    }

    /// Encrypts everything behind the first two words in place and gives tag and index word in the profile's order.
    pub(crate) fn seal_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Trailer {
        let word = (ENCRYPTED | index).to_be_bytes();
        match self {
            Self::CounterMode { key, salt, tag_len } => {
                let iv = counter_block(*salt, ssrc, u64::from(index));
                let tag = key.seal(&iv, packet, RTCP_CLEAR_LEN, &word);
                Trailer::new(&word, &tag[..*tag_len])
            }
            Self::Aead { key, salt } => {
                let (clear, body) = packet.split_at_mut(RTCP_CLEAR_LEN);
                let nonce = nonce(*salt, ssrc, u64::from(index));
                Trailer::new(&key.seal(&nonce, &rtcp_aad(clear, word), body), &word)
            }
        }
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
            Self::CounterMode { key, salt, tag_len } => {
                let (signed, tag) = packet.split_at_mut(packet.len() - tag_len);
                let (packet, word) = signed.split_last_chunk_mut::<INDEX_LEN>().ok_or(Error::Malformed)?;
                let iv = counter_block(*salt, ssrc, u64::from(index));
                key.open(&iv, packet, RTCP_CLEAR_LEN, word, tag)
                    .map(|()| packet.len())
                    .map_err(|_| Error::Authentication)
            }
            Self::Aead { key, salt } => {
                let (rest, word) = packet.split_last_chunk_mut::<INDEX_LEN>().ok_or(Error::Malformed)?;
                let (clear, body) = rest.split_at_mut(RTCP_CLEAR_LEN);
                let nonce = nonce(*salt, ssrc, u64::from(index));
                key.open(&nonce, &rtcp_aad(clear, *word), body)
                    .map(|len| RTCP_CLEAR_LEN + len)
                    .map_err(|_| Error::Authentication)
            }
        }
    }
}

/// RFC 9335 §6.2: fixed header and extension header are one piece for the cipher, CSRCs and the rest are the other.
fn extension_first(packet: &mut [u8], csrcs: usize) {
    packet[RTP_FIXED_LEN..][..csrcs + EXTENSION_HEADER_LEN].rotate_right(EXTENSION_HEADER_LEN);
}

fn extension_back(packet: &mut [u8], csrcs: usize) {
    packet[RTP_FIXED_LEN..][..csrcs + EXTENSION_HEADER_LEN].rotate_left(EXTENSION_HEADER_LEN);
}

/// HMAC-SHA1 has 20 bytes, and no profile sends more than 10.
#[inline]
fn cut(code: [u8; 20]) -> FullTag {
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(&code[..TAG_LEN]);
    tag
}

#[inline]
fn roc(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// RFC 3711 §4.1.1: `IV = (salt * 2^16) XOR (SSRC * 2^64) XOR (index * 2^16)`. `salt` is at its place already.
#[inline]
pub(crate) fn counter_block(salt: u128, ssrc: u32, index: u64) -> [u8; 16] {
    (salt ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16)).to_be_bytes()
}

/// RFC 7714 §8.1: two zero bytes, SSRC, rollover counter and sequence number, XORed with the salt. RFC 7714 §9.1 is the same
/// with the SRTCP index, without the E flag, at the end.
#[inline]
pub(crate) fn nonce(salt: u128, ssrc: u32, index: u64) -> [u8; 12] {
    let block = (salt ^ (u128::from(ssrc) << 48) ^ u128::from(index)).to_be_bytes();
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&block[4..]);
    nonce
}

/// RFC 7714 §9.2: what is authenticated beside an encrypted SRTCP packet.
fn rtcp_aad(clear: &[u8], word: [u8; INDEX_LEN]) -> [u8; RTCP_CLEAR_LEN + INDEX_LEN] {
    let mut aad = [0; RTCP_CLEAR_LEN + INDEX_LEN];
    aad[..RTCP_CLEAR_LEN].copy_from_slice(clear);
    aad[RTCP_CLEAR_LEN..].copy_from_slice(&word);
    aad
}
