//! AES in counter mode over RustCrypto's block cipher.
//!
//! RustCrypto's own `ctr` asks a VAES-512 backend for 64 blocks at a time and does what is left one by one: a packet of 1200
//! bytes takes 300 ns so, and 180 ns in the groups below (and hashing can be woven in, see `ctr_hmac`). The processor
//! overlaps the independent blocks of a group by itself.

use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::typenum::Unsigned;
use aes::cipher::{BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit};
use aes::{Aes128Enc, Aes256Enc};

use crate::error::CryptoError;
use crate::provider::{AesCtr, BlockCipher};

/// Blocks whose keystream is made together.
pub(crate) const GROUP: usize = 8;
/// The same in bytes.
pub(crate) const GROUP_LEN: usize = 16 * GROUP;

type Block = Array<u8, U16>;

/// Where a keystream stands: the next counter block.
pub(crate) struct Keystream(u128);

impl Keystream {
    #[inline(always)]
    pub(crate) fn new(iv: &[u8; 16]) -> Self {
        Self(u128::from_be_bytes(*iv))
    }

    /// The next `N` blocks of keystream.
    #[inline(always)]
    fn blocks<const N: usize, B: BlockCipherEncBackend<BlockSize = U16>>(&mut self, backend: &B) -> [Block; N] {
        let mut blocks = [Block::default(); N];
        for block in &mut blocks {
            *block = Array(self.0.to_be_bytes());
            self.0 = self.0.wrapping_add(1);
        }
        if B::ParBlocksSize::USIZE <= N {
            // Software and plain AES-NI: the backend's own width.
            let (wide, single) = Array::<Block, B::ParBlocksSize>::slice_as_chunks_mut(&mut blocks);
            wide.iter_mut()
                .for_each(|blocks| backend.encrypt_par_blocks(blocks.into()));
            single.iter_mut().for_each(|block| backend.encrypt_block(block.into()));
        } else {
            for block in &mut blocks {
                backend.encrypt_block(block.into());
            }
        }
        blocks
    }

    /// XORs one group of keystream into `data`.
    #[inline(always)]
    pub(crate) fn apply_group<B: BlockCipherEncBackend<BlockSize = U16>>(
        &mut self,
        backend: &B,
        data: &mut [u8; GROUP_LEN],
    ) {
        let keystream = self.blocks::<GROUP, B>(backend);
        for (data, key) in data.as_chunks_mut::<16>().0.iter_mut().zip(&keystream) {
            *data = (u128::from_ne_bytes(*data) ^ u128::from_ne_bytes(key.0)).to_ne_bytes();
        }
    }

    /// XORs keystream into `data`, whatever its length. Nothing may be applied after a piece that is no whole number of blocks.
    #[inline(always)]
    pub(crate) fn apply<B: BlockCipherEncBackend<BlockSize = U16>>(&mut self, backend: &B, data: &mut [u8]) {
        let (groups, rest) = data.as_chunks_mut::<GROUP_LEN>();
        for group in groups {
            self.apply_group(backend, group);
        }
        let (blocks, rest) = rest.as_chunks_mut::<16>();
        for data in blocks {
            let [key] = self.blocks::<1, B>(backend);
            *data = (u128::from_ne_bytes(*data) ^ u128::from_ne_bytes(key.0)).to_ne_bytes();
        }
        if !rest.is_empty() {
            let [key] = self.blocks::<1, B>(backend);
            rest.iter_mut().zip(key).for_each(|(data, key)| *data ^= key);
        }
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

struct Ctr<C>(C);

impl<C: BlockCipherEncrypt<BlockSize = U16> + Send + Sync> AesCtr for Ctr<C> {
    fn apply(&self, iv: &[u8; 16], data: &mut [u8]) {
        self.0.encrypt_with_backend(Apply { iv, data });
    }
}

struct Single<C>(C);

impl<C: BlockCipherEncrypt<BlockSize = U16> + Send + Sync> BlockCipher for Single<C> {
    fn encrypt_block(&self, block: &mut [u8; 16]) {
        self.0.encrypt_block(block.into());
    }
}

/// RustCrypto picks AES-NI or VAES at run time.
pub(crate) fn aes_ctr(key: &[u8]) -> Result<Box<dyn AesCtr>, CryptoError> {
    match key.len() {
        16 => Ok(Box::new(Ctr(aes128(key)?))),
        32 => Ok(Box::new(Ctr(aes256(key)?))),
        _ => Err(CryptoError::KeyLength),
    }
}

pub(crate) fn block_cipher(key: &[u8]) -> Result<Box<dyn BlockCipher>, CryptoError> {
    match key.len() {
        16 => Ok(Box::new(Single(aes128(key)?))),
        32 => Ok(Box::new(Single(aes256(key)?))),
        _ => Err(CryptoError::KeyLength),
    }
}

pub(crate) fn aes128(key: &[u8]) -> Result<Aes128Enc, CryptoError> {
    Aes128Enc::new_from_slice(key).map_err(|_| CryptoError::KeyLength)
}

pub(crate) fn aes256(key: &[u8]) -> Result<Aes256Enc, CryptoError> {
    Aes256Enc::new_from_slice(key).map_err(|_| CryptoError::KeyLength)
}
