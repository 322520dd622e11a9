//! AES in counter mode and HMAC-SHA1 in one pass over a packet.
//!
//! SHA-1 is one long chain of instructions that wait for each other; AES blocks are independent. Taken in turns, a few blocks
//! of each, the processor does most of the AES while it waits for SHA-1.

use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser};
use sha1::block_api::compress;

use crate::aes_ctr::{GROUP_LEN, Keystream, aes128, aes256};
use crate::error::{AuthError, CryptoError};
use crate::hmac_sha1::{BLOCK_LEN, HmacSha1, OUTPUT_LEN};
use crate::provider::CtrHmac;
use crate::tag::truncated_matches;

struct OnePass<C> {
    cipher: C,
    mac: HmacSha1,
}

pub(crate) fn ctr_hmac_sha1(encryption: &[u8], authentication: &[u8]) -> Result<Box<dyn CtrHmac>, CryptoError> {
    let mac = HmacSha1::new(authentication);
    match encryption.len() {
        16 => Ok(Box::new(OnePass {
            cipher: aes128(encryption)?,
            mac,
        })),
        32 => Ok(Box::new(OnePass {
            cipher: aes256(encryption)?,
            mac,
        })),
        _ => Err(CryptoError::KeyLength),
    }
}

impl<C> OnePass<C> {
    #[inline(always)]
    fn finish(&self, mut state: [u32; 5], packet: &[u8], hashed: usize, suffix: &[u8]) -> [u8; OUTPUT_LEN] {
        let (blocks, tail) = packet[hashed..].as_chunks();
        compress(&mut state, blocks);
        self.mac
            .finish_short(state, tail, suffix, BLOCK_LEN + packet.len() + suffix.len())
    }
}

impl<C: BlockCipherEncrypt<BlockSize = U16> + Send + Sync> CtrHmac for OnePass<C> {
    fn seal(&self, iv: &[u8; 16], packet: &mut [u8], clear: usize, suffix: &[u8]) -> [u8; OUTPUT_LEN] {
        let (mut state, mut hashed) = (self.mac.state(), 0);
        self.cipher.encrypt_with_backend(Seal(Packet {
            iv,
            packet,
            clear,
            state: &mut state,
            hashed: &mut hashed,
        }));
        self.finish(state, packet, hashed, suffix)
    }

    fn open(&self, iv: &[u8; 16], packet: &mut [u8], clear: usize, suffix: &[u8], tag: &[u8]) -> Result<(), AuthError> {
        let (mut state, mut hashed) = (self.mac.state(), 0);
        // What is left over is hashed first and decrypted last.
        let end = packet.len() / BLOCK_LEN * BLOCK_LEN;
        let mut rest = [0; BLOCK_LEN];
        let rest = &mut rest[..packet.len() - end];
        rest.copy_from_slice(&packet[end..]);
        self.cipher.encrypt_with_backend(Open(Packet {
            iv,
            packet,
            clear,
            state: &mut state,
            hashed: &mut hashed,
        }));
        let code = self
            .mac
            .finish_short(state, rest, suffix, BLOCK_LEN + packet.len() + suffix.len());
        truncated_matches(&code, tag).then_some(()).ok_or(AuthError)
    }

    fn apply(&self, iv: &[u8; 16], data: &mut [u8]) {
        self.cipher.encrypt_with_backend(Apply { iv, data });
    }

    fn sign(&self, parts: &[&[u8]]) -> [u8; OUTPUT_LEN] {
        let mut running = self.mac.start();
        for part in parts {
            running.update(part);
        }
        self.mac.finish(running)
    }
}

struct Apply<'a> {
    iv: &'a [u8; 16],
    data: &'a mut [u8],
}

impl BlockSizeUser for Apply<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Apply<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        Keystream::new(self.iv).apply(backend, self.data);
    }
}

/// What both directions need.
struct Packet<'a> {
    iv: &'a [u8; 16],
    packet: &'a mut [u8],
    clear: usize,
    state: &'a mut [u32; 5],
    hashed: &'a mut usize,
}

struct Seal<'a>(Packet<'a>);

impl BlockSizeUser for Seal<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Seal<'_> {
    /// Hashing stays one group behind encryption, so that the two that are under way do not wait for each other.
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let Packet {
            iv,
            packet,
            clear,
            state,
            hashed,
        } = self.0;
        let mut keystream = Keystream::new(iv);
        let mut encrypted = clear;
        while let Some(group) = packet[encrypted..].first_chunk_mut::<GROUP_LEN>() {
            keystream.apply_group(backend, group);
            let end = encrypted / BLOCK_LEN * BLOCK_LEN;
            compress(state, packet[*hashed..end].as_chunks().0);
            *hashed = end;
            encrypted += GROUP_LEN;
        }
        keystream.apply(backend, &mut packet[encrypted..]);
    }
}

struct Open<'a>(Packet<'a>);

impl BlockSizeUser for Open<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Open<'_> {
    /// Decryption stays behind hashing: what is not authentic is thrown away, decrypted or not.
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let Packet {
            iv,
            packet,
            clear,
            state,
            hashed,
        } = self.0;
        let mut keystream = Keystream::new(iv);
        let mut decrypted = clear;
        while packet.len() - decrypted >= GROUP_LEN + BLOCK_LEN {
            let end = (decrypted + GROUP_LEN).next_multiple_of(BLOCK_LEN);
            compress(state, packet[*hashed..end].as_chunks().0);
            *hashed = end;
            if let Some(group) = packet[decrypted..].first_chunk_mut::<GROUP_LEN>() {
                keystream.apply_group(backend, group);
            }
            decrypted += GROUP_LEN;
        }
        compress(state, packet[*hashed..].as_chunks().0);
        keystream.apply(backend, &mut packet[decrypted..]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::aes_ctr::aes_ctr;
    use crate::provider::Mac;

    proptest! {
        /// Against one primitive after the other.
        #[test]
        fn one_pass_is_two_passes(data in prop::collection::vec(any::<u8>(), 0..700), clear in 0usize..100, iv: [u8; 16], long: bool, suffix: [u8; 4]) {
            let clear = clear.min(data.len());
            let key = &[7; 32][..if long { 32 } else { 16 }];
            let both = ctr_hmac_sha1(key, &[9; 20]).unwrap();
            let mut expected = data.clone();
            aes_ctr(key).unwrap().apply(&iv, &mut expected[clear..]);
            let tag = HmacSha1::new(&[9; 20]).sign(&[&expected, &suffix]);

            let mut packet = data.clone();
            let ours = both.seal(&iv, &mut packet, clear, &suffix);
            prop_assert_eq!(&packet, &expected);
            prop_assert!(tag.verify(&ours));
            prop_assert_eq!(both.sign(&[&packet, &suffix]), ours);
            prop_assert_eq!(both.open(&iv, &mut packet, clear, &suffix, &ours[..10]), Ok(()));
            prop_assert_eq!(&packet, &data);
            both.apply(&iv, &mut packet[clear..]);
            prop_assert_eq!(both.open(&iv, &mut packet, clear, &suffix, &[&ours[..9], &[ours[9] ^ 1]].concat()), Err(AuthError));
        }
    }
}
