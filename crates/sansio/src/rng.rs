//! Randomness that is forked by label, so that each part of a machine has a stream of its own.

use std::fmt;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// A cryptographically secure generator (ChaCha20) that forks by label.
///
/// A whole peer grows from one 32-byte seed: each machine gets a fork of its own, so that what one machine draws never
/// shifts what another sees, and the same seed and inputs give the same bytes out (law 8). The driver seeds from the
/// operating system; tests and fuzzers seed with a number.
///
/// ```
/// use antiphon_sansio::Rng;
/// let root = Rng::from_u64(7);
/// let mut ice = root.fork("ice");
/// let before = ice.u32();
/// let _ = root.fork("dtls").u32();
/// assert_eq!(root.fork("ice").u32(), before);
/// ```
pub struct Rng {
    seed: [u8; 32],
    /// How many words of 32 bits were drawn. The generator is made anew where it stands for each draw: it holds 300
    /// bytes, every machine has one, and they draw seldom.
    drawn: u64,
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng(redacted)")
    }
}

impl Rng {
    /// A generator from a secret seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    /// A generator from a small number: for tests, simulations and fuzzing, never for a real peer.
    pub fn from_u64(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self::from_seed(bytes)
    }

    /// A generator of its own for the machine named `label`. Depends on the seed and the label only.
    pub fn fork(&self, label: &str) -> Self {
        self.fork_numbered(label, 0)
    }

    /// Like [`Self::fork`], for the `n`th machine of that name.
    pub fn fork_numbered(&self, label: &str, n: u64) -> Self {
        // FNV-1a picks one of 2^63 ChaCha streams under the parent's key; stream 0 is the parent's own.
        let digest = label
            .bytes()
            .chain(n.to_le_bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        let mut child = ChaCha20Rng::from_seed(self.seed);
        child.set_stream(digest | 1 << 63);
        let mut seed = [0; 32];
        child.fill_bytes(&mut seed);
        Self::from_seed(seed)
    }

    fn draw<T>(&mut self, draw: impl FnOnce(&mut ChaCha20Rng) -> T) -> T {
        let mut stream = ChaCha20Rng::from_seed(self.seed);
        stream.set_word_pos(self.drawn.into());
        let drawn = draw(&mut stream);
        // A stream ends after 2^70 bytes.
        self.drawn = stream.get_word_pos() as u64;
        drawn
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.draw(|stream| stream.fill_bytes(bytes));
    }

    /// `N` random bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// 32 random bits.
    pub fn u32(&mut self) -> u32 {
        self.draw(|stream| stream.next_u32())
    }

    /// 64 random bits.
    pub fn u64(&mut self) -> u64 {
        self.draw(|stream| stream.next_u64())
    }

    /// A number in `0..bound`, by multiplication; the bias is below 2^-32.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "there is no number below 0");
        ((u128::from(self.u64()) * u128::from(bound)) >> 64) as u32
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `len` characters of the ICE alphabet `A-Z a-z 0-9 + /` (RFC 8839 §5.4), six random bits each.
    pub fn ice_chars(&mut self, len: usize) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        self.draw(|stream| {
            let random = std::iter::repeat_with(|| stream.next_u32());
            random
                .map(|word| char::from(ALPHABET[(word & 63) as usize]))
                .take(len)
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_differ_and_repeat() {
        let root = Rng::from_u64(1);
        let draw = |label, n| root.fork_numbered(label, n).array::<16>();
        assert_eq!(draw("a", 0), draw("a", 0));
        assert_ne!(draw("a", 0), draw("a", 1));
        assert_ne!(draw("a", 0), draw("b", 0));
        assert_ne!(
            root.fork("a").fork("b").array::<16>(),
            root.fork("b").fork("a").array::<16>()
        );
    }

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::from_u64(2);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[rng.below(5) as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert!((0..1000).all(|_| (0.0..1.0).contains(&rng.unit())));
    }
}
