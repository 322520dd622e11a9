//! The cryptographic context of RFC 3711 §3.2: where the parts of a packet lie, the index of a packet and whether it was seen
//! before, the streams of one key, and the transforms that protect what is not in the clear.

use antiphon_crypto::{AeadKey, AesCtr, CtrHmac, Provider, Secret, TAG_LEN};

use crate::error::Error;
use crate::profile::Profile;

/// The fixed part of an RTP header, in bytes (RFC 3550 §5.1).
pub(crate) const RTP_FIXED_LEN: usize = 12;
/// What SRTCP leaves in the clear: the first header word and the sender's SSRC (RFC 3711 §3.4).
pub(crate) const RTCP_CLEAR_LEN: usize = 8;

/// What SRTP needs of an RTP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RtpHeader {
    /// Fixed part, CSRC list and header extension together: all that stays in the clear.
    pub(crate) len: usize,
    pub(crate) sequence: u16,
    pub(crate) ssrc: u32,
}

impl RtpHeader {
    ///```text
    ///  0                   1                   2                   3
    ///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    /// |V=2|P|X|  CC   |M|     PT      |       sequence number         |
    /// |                           timestamp                           |
    /// |                             SSRC                              |
    /// |                     CSRC, CC times                            |
    /// |  defined by profile           |  extension length, in words   | if X
    ///```
    #[inline]
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, Error> {
        let fixed: &[u8; RTP_FIXED_LEN] = packet.first_chunk().ok_or(Error::Malformed)?;
        if fixed[0] >> 6 != 2 {
            return Err(Error::Malformed);
        }
        let mut len = RTP_FIXED_LEN + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & 0x10 != 0 {
            let words: &[u8; 2] = packet
                .get(len + 2..)
                .and_then(<[u8]>::first_chunk)
                .ok_or(Error::Malformed)?;
            len += 4 + 4 * usize::from(u16::from_be_bytes(*words));
        }
        if packet.len() < len {
            return Err(Error::Malformed);
        }
        Ok(Self {
            len,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        })
    }
}

/// Whether a packet that has been parsed has a header extension.
#[inline]
pub(crate) fn has_extension(packet: &[u8]) -> bool {
    packet[0] & 0x10 != 0
}

/// Where its CSRCs end.
#[inline]
pub(crate) fn csrcs_end(packet: &[u8]) -> usize {
    RTP_FIXED_LEN + 4 * usize::from(packet[0] & 0x0f)
}

/// The sender's SSRC of a compound RTCP packet.
#[inline]
pub(crate) fn rtcp_ssrc(packet: &[u8]) -> Result<u32, Error> {
    let clear: &[u8; RTCP_CLEAR_LEN] = packet.first_chunk().ok_or(Error::Malformed)?;
    if clear[0] >> 6 != 2 {
        return Err(Error::Malformed);
    }
    Ok(u32::from_be_bytes([clear[4], clear[5], clear[6], clear[7]]))
}

/// The smallest replay window, in packets (RFC 3711 §3.3.2).
pub const MIN_REPLAY_WINDOW: u64 = 64;
/// The largest replay window, in packets: what is further behind than half the sequence numbers is taken for the future.
pub const MAX_REPLAY_WINDOW: u64 = 32_768;
/// The replay window for RTP if nothing else is asked for, in packets: what browsers use, wide enough for their late probes.
pub const DEFAULT_REPLAY_WINDOW: u64 = 1024;
/// The replay window for RTCP if nothing else is asked for, in packets.
pub const DEFAULT_RTCP_REPLAY_WINDOW: u64 = 128;

/// Index of an RTP packet: 32 bits of rollover counter and 16 bits of sequence number (RFC 3711 §3.3.1).
pub(crate) const MAX_RTP_INDEX: u64 = (1 << 48) - 1;

/// Which of the last indices were seen. `check` changes nothing: only what is authenticated is `mark`ed.
#[derive(Clone, Debug)]
pub(crate) struct ReplayWindow {
    /// One above the highest index seen; 0 before the first.
    next: u64,
    size: u64,
    /// A circle of a power of two words: index `i` has bit `i` modulo their number.
    bits: Box<[u64]>,
}

impl ReplayWindow {
    /// For `size` packets.
    pub(crate) fn new(size: u64) -> Self {
        let words = size.div_ceil(64).next_power_of_two();
        Self {
            next: 0,
            size,
            bits: vec![0; words as usize].into_boxed_slice(),
        }
    }

    #[inline]
    pub(crate) fn highest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    #[inline]
    fn span(&self) -> u64 {
        64 * self.bits.len() as u64
    }

    #[inline]
    fn word(&mut self, index: u64) -> &mut u64 {
        let words = self.bits.len();
        &mut self.bits[(index / 64) as usize & (words - 1)]
    }

    /// Refuses what was seen, and what is as far behind the highest as the window is wide, or further.
    #[inline]
    pub(crate) fn check(&self, index: u64) -> Result<(), Error> {
        if index >= self.next {
            return Ok(());
        }
        let word = self.bits[(index / 64) as usize & (self.bits.len() - 1)];
        if self.next - index > self.size || word >> (index % 64) & 1 != 0 {
            return Err(Error::Replayed);
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn mark(&mut self, index: u64) {
        if index == self.next {
            // Most packets: the bit of its place belonged to an index that is out of the window now.
            self.next += 1;
        } else if index > self.next {
            if index - self.next >= self.span() {
                self.bits.fill(0);
            } else {
                for skipped in self.next..=index {
                    *self.word(skipped) &= !(1 << (skipped % 64));
                }
            }
            self.next = index + 1;
        } else if self.next - index > self.span() {
            return; // Its bit belongs to a newer index by now.
        }
        *self.word(index) |= 1 << (index % 64);
    }
}

/// The index of a packet with this `sequence` number, when `highest` is the largest index known.
///
/// `None` if it would lie before the first index or after the last.
///
/// RFC 3711 §3.3.1: of the three candidates with rollover counters ROC-1, ROC and ROC+1, the one nearest to the highest.
#[inline]
pub(crate) fn guess_index(highest: Option<u64>, sequence: u16) -> Option<u64> {
    let Some(highest) = highest else {
        // A fresh context starts with rollover counter 0.
        return Some(u64::from(sequence));
    };
    let (roc, last) = ((highest >> 16) as i64, (highest & 0xffff) as i32);
    let sequence = i32::from(sequence);
    let guessed = if last < 32_768 {
        if sequence - last > 32_768 { roc - 1 } else { roc }
    } else if last - 32_768 > sequence {
        roc + 1
    } else {
        roc
    };
    let guessed = u64::try_from(guessed).ok()?;
    let index = (guessed << 16) | sequence as u64;
    (index <= MAX_RTP_INDEX).then_some(index)
}

/// Sources that one context keeps state for. An entry is never evicted: forgetting a source would forget what was replayed.
pub const MAX_SSRCS: usize = 1024;

/// State by SSRC, sorted, and the place of the last hit: packets come in runs.
#[derive(Debug)]
pub(crate) struct Streams<S> {
    all: Vec<(u32, S)>,
    last: usize,
}

impl<S> Default for Streams<S> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            last: 0,
        }
    }
}

impl<S> Streams<S> {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Where the source is, or where it would go.
    #[inline]
    pub(crate) fn find(&mut self, ssrc: u32) -> Result<usize, usize> {
        if self.all.get(self.last).is_some_and(|(own, _)| *own == ssrc) {
            return Ok(self.last);
        }
        let found = self.all.binary_search_by_key(&ssrc, |(own, _)| *own);
        if let Ok(at) = found {
            self.last = at;
        }
        found
    }

    #[inline]
    pub(crate) fn at(&mut self, at: usize) -> &mut S {
        &mut self.all[at].1
    }

    /// Refuses a new source when there is no place for it.
    #[inline]
    pub(crate) fn room_for(&self, found: Result<usize, usize>) -> Result<(), Error> {
        match found {
            Err(_) if self.all.len() >= MAX_SSRCS => Err(Error::TooManySsrcs),
            _ => Ok(()),
        }
    }

    /// The state of the source that `found` is about, made if there is none. The caller has asked [`Self::room_for`].
    #[inline]
    pub(crate) fn found_or_new(&mut self, found: Result<usize, usize>, ssrc: u32, new: impl FnOnce() -> S) -> &mut S {
        let at = match found {
            Ok(at) => at,
            Err(at) => {
                self.all.insert(at, (ssrc, new()));
                self.last = at;
                at
            }
        };
        &mut self.all[at].1
    }
}

/// The first four bytes of an extension: "defined by profile" and the length.
pub(crate) const EXTENSION_HEADER_LEN: usize = 4;

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

#[cfg(test)]
mod tests;
