//! Encryption of chosen header extension elements (RFC 6904).

use std::fmt;

use antiphon_crypto::{AesCtr, Provider};

use crate::context::{Label, RtpHeader, counter_block, csrcs_end, derive, has_extension};
use crate::error::Error;
use crate::profile::Profile;

/// The longest element of RFC 8285, and the block in which it may begin.
const MAX_KEYSTREAM: usize = 16 + 255;

/// The key for header extension elements, and the elements that it is for (RFC 6904 §3).
///
/// What is encrypted is the value alone: identifier and length stay in the clear. All profiles use AES in counter mode
/// for it, the GCM ones too.
pub struct ExtensionKey {
    cipher: Box<dyn AesCtr>,
    salt: u128,
    ids: [u64; 4],
}

impl fmt::Debug for ExtensionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = (0..=255u8).filter(|id| self.is_encrypted(*id));
        f.debug_tuple("ExtensionKey").field(&ids.collect::<Vec<_>>()).finish()
    }
}

impl ExtensionKey {
    /// Derives the key from the same master key and salt as a sender or receiver. `ids` are the local identifiers that
    /// signalling has given to the encrypted elements (`urn:ietf:params:rtp-hdrext:encrypt`, RFC 6904 §4).
    ///
    /// # Errors
    /// [`Error::MasterKey`] if key or salt have not the profile's length.
    pub fn new(
        profile: Profile,
        master_key: &[u8],
        master_salt: &[u8],
        ids: impl IntoIterator<Item = u8>,
        provider: Provider,
    ) -> Result<Self, Error> {
        if master_key.len() != profile.key_len() || master_salt.len() != profile.salt_len() {
            return Err(Error::MasterKey);
        }
        let prf = provider.aes_ctr(master_key).map_err(|_| Error::MasterKey)?;
        let key = derive(&*prf, master_salt, Label::ExtensionEncryption, profile.key_len());
        let salt = derive(&*prf, master_salt, Label::ExtensionSalt, profile.salt_len());
        // As for the master salt, a short one is padded on the right.
        let mut block = [0; 16];
        block[..salt.len()].copy_from_slice(salt.as_bytes());
        let mut set = [0; 4];
        for id in ids {
            set[usize::from(id) / 64] |= 1 << (id % 64);
        }
        Ok(Self {
            cipher: provider.aes_ctr(key.as_bytes()).map_err(|_| Error::MasterKey)?,
            salt: u128::from_be_bytes(block),
            ids: set,
        })
    }

    fn is_encrypted(&self, id: u8) -> bool {
        self.ids[usize::from(id) / 64] & (1 << (id % 64)) != 0
    }

    /// Encrypts or decrypts the chosen elements in place; `packet` has been parsed as `header`.
    pub(crate) fn apply(&self, packet: &mut [u8], header: &RtpHeader, index: u64) {
        if !has_extension(packet) {
            return;
        }
        let start = csrcs_end(packet);
        let Some((tag, data)) = packet[start..header.len].split_first_chunk_mut::<4>() else {
            return;
        };
        let two_byte = match u16::from_be_bytes([tag[0], tag[1]]) {
            0xbede => false,
            0x1000..=0x100f => true,
            _ => return,
        };
        let iv = u128::from_be_bytes(counter_block(self.salt, header.ssrc, index));
        let mut at = 0;
        while let Some(&first) = data.get(at) {
            let (id, start, len) = match (first, two_byte) {
                // Padding (RFC 8285 §4.1.2).
                (0, _) => {
                    at += 1;
                    continue;
                }
                (_, false) if first >> 4 == 15 => return,
                (_, false) => (first >> 4, at + 1, usize::from(first & 0x0f) + 1),
                (_, true) => match data.get(at + 1) {
                    Some(len) => (first, at + 2, usize::from(*len)),
                    None => return,
                },
            };
            let Some(value) = data.get_mut(start..start + len) else {
                return;
            };
            if self.is_encrypted(id) {
                // RFC 6904 §3.2: the keystream runs over the whole extension, used or not.
                let skipped = start % 16;
                let mut keystream = [0; MAX_KEYSTREAM];
                let keystream = &mut keystream[..skipped + len];
                self.cipher
                    .apply(&iv.wrapping_add((start / 16) as u128).to_be_bytes(), keystream);
                for (value, key) in value.iter_mut().zip(&keystream[skipped..]) {
                    *value ^= key;
                }
            }
            at = start + len;
        }
    }
}
