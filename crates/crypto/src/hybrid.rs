//! X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem): ML-KEM-768 and X25519 side by side, ML-KEM first in every message.

use antiphon_sansio::Rng;

use crate::algorithm::NamedGroup;
use crate::error::CryptoError;
use crate::ml_kem::{CIPHERTEXT_LEN, Decapsulate, ENCAPSULATION_KEY_LEN, MlKem};
use crate::provider::{CryptoProvider, KeyExchange};
use crate::secret::Secret;

/// The client's half: a decapsulation key, and an X25519 exchange of the provider.
struct HybridExchange {
    decapsulation_key: Box<dyn Decapsulate>,
    x25519: Box<dyn KeyExchange>,
    public: Vec<u8>,
}

/// Makes the client's half.
pub(crate) fn start<P: CryptoProvider + ?Sized>(
    provider: &P,
    ml_kem: &dyn MlKem,
    rng: &mut Rng,
) -> Result<Box<dyn KeyExchange>, CryptoError> {
    let x25519 = provider.start_exchange(NamedGroup::X25519, rng)?;
    let (decapsulation_key, key) = ml_kem.generate(rng)?;
    let public = [&key[..], x25519.public_key()].concat();
    Ok(Box::new(HybridExchange {
        decapsulation_key,
        x25519,
        public,
    }))
}

impl KeyExchange for HybridExchange {
    fn group(&self) -> NamedGroup {
        NamedGroup::X25519MlKem768
    }

    fn public_key(&self) -> &[u8] {
        &self.public
    }

    fn complete(self: Box<Self>, peer: &[u8]) -> Result<Secret, CryptoError> {
        let (ciphertext, point) = peer.split_first_chunk::<CIPHERTEXT_LEN>().ok_or(CryptoError::PeerKey)?;
        let x25519 = self.x25519.complete(point)?;
        Ok(joined(&*self.decapsulation_key.decapsulate(ciphertext), &x25519))
    }
}

/// Answers a client's share of any group: our own share, and the secret.
pub(crate) fn respond<P: CryptoProvider + ?Sized>(
    provider: &P,
    ml_kem: &dyn MlKem,
    group: NamedGroup,
    peer: &[u8],
    rng: &mut Rng,
) -> Result<(Vec<u8>, Secret), CryptoError> {
    if group == NamedGroup::X25519MlKem768 {
        return encapsulate(provider, ml_kem, peer, rng);
    }
    let exchange = provider.start_exchange(group, rng)?;
    let public = exchange.public_key().to_vec();
    Ok((public, exchange.complete(peer)?))
}

fn encapsulate<P: CryptoProvider + ?Sized>(
    provider: &P,
    ml_kem: &dyn MlKem,
    peer: &[u8],
    rng: &mut Rng,
) -> Result<(Vec<u8>, Secret), CryptoError> {
    let (key, point) = peer
        .split_first_chunk::<ENCAPSULATION_KEY_LEN>()
        .ok_or(CryptoError::PeerKey)?;
    let (x25519_public, x25519) = provider.respond(NamedGroup::X25519, point, rng)?;
    let (ciphertext, shared) = ml_kem.encapsulate(key, rng)?;
    Ok(([&ciphertext[..], &x25519_public].concat(), joined(&*shared, &x25519)))
}

fn joined(ml_kem: &[u8], x25519: &Secret) -> Secret {
    let mut secret = Secret::zeros(ml_kem.len() + x25519.len());
    let (first, second) = secret.as_bytes_mut().split_at_mut(ml_kem.len());
    first.copy_from_slice(ml_kem);
    second.copy_from_slice(x25519.as_bytes());
    secret
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ring_provider, rust_provider};

    #[test]
    fn both_ends_get_the_same_64_bytes() {
        for provider in [ring_provider(), rust_provider()] {
            let mut rng = Rng::from_u64(1);
            let group = NamedGroup::X25519MlKem768;
            let client = provider.start_exchange(group, &mut rng).unwrap();
            assert_eq!((client.group(), client.public_key().len()), (group, group.public_len()));
            let (share, ours) = provider.respond(group, client.public_key(), &mut rng).unwrap();
            assert_eq!((share.len(), ours.len()), (1120, 64));
            assert_eq!(client.complete(&share).unwrap().as_bytes(), ours.as_bytes());
        }
    }

    #[test]
    fn a_changed_ciphertext_gives_another_secret_and_bad_lengths_are_refused() {
        let provider = ring_provider();
        let mut rng = Rng::from_u64(2);
        let group = NamedGroup::X25519MlKem768;
        let start = |rng: &mut Rng| provider.start_exchange(group, rng).unwrap();
        let client = start(&mut rng);
        let (mut share, ours) = provider.respond(group, client.public_key(), &mut rng).unwrap();
        share[0] ^= 1;
        assert_ne!(client.complete(&share).unwrap().as_bytes(), ours.as_bytes());
        for len in [0, 31, 1088, 1119, 1121] {
            assert!(start(&mut rng).complete(&vec![9; len]).is_err(), "{len}");
        }
        let mut key = start(&mut rng).public_key().to_vec();
        assert!(provider.respond(group, &key[..1215], &mut rng).is_err());
        key[..3].fill(0xff);
        assert!(
            provider.respond(group, &key, &mut rng).is_err(),
            "coefficients out of range"
        );
    }
}
