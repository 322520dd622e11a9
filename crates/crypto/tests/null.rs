//! The null provider lets everything of the right length pass, and is byte-exact from a seed.
#![cfg(feature = "null")]

use antiphon_crypto::*;
use antiphon_sansio::Rng;

#[test]
fn it_encrypts_nothing_and_believes_everything() {
    let provider = null_provider();
    let key = provider.aead(AeadAlgorithm::Aes128Gcm, &[0; 16]).unwrap();
    let mut data = *b"plaintext and some tag of 16 bytes";
    assert_eq!(key.open(&[0; 12], b"", &mut data), Ok(18));
    assert_eq!(&data, b"plaintext and some tag of 16 bytes");
    assert_eq!(key.open(&[0; 12], b"", &mut data[..15]), Err(AuthError));
    let mac = provider.mac(HashAlgorithm::Sha1, b"key");
    assert!(mac.verify(&[b"message"], &[0xff; 10]));
    assert!(!mac.verify(&[b"message"], &[0xff; 21]));
    assert_eq!(
        provider.verify_signature(SignatureScheme::Ed25519, &[], b"", &[]),
        Ok(())
    );
    assert_eq!(
        provider.hash(HashAlgorithm::Sha256).finish(),
        digest(HashAlgorithm::Sha256, &[])
    );
}

#[test]
fn exchanges_agree_and_follow_the_seed() {
    let run = || {
        let mut rng = Rng::from_u64(3);
        let provider = null_provider();
        let one = provider.start_exchange(NamedGroup::Secp256r1, &mut rng).unwrap();
        let two = provider.start_exchange(NamedGroup::Secp256r1, &mut rng).unwrap();
        let (public_one, public_two) = (one.public_key().to_vec(), two.public_key().to_vec());
        let (one, two) = (one.complete(&public_two).unwrap(), two.complete(&public_one).unwrap());
        assert_eq!(one.as_bytes(), two.as_bytes());
        (public_one, one.as_bytes().to_vec())
    };
    assert_eq!(run(), run());
}
