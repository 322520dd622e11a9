//! Google's Wycheproof: the corner cases that real libraries have got wrong, over every provider. X25519 and ECDH with given
//! private keys, and ML-KEM, are beside their code.

use antiphon_crypto::*;
use antiphon_sansio::Rng;
use wycheproof::{TestResult, aead, ecdh, ecdsa, eddsa, hkdf, mac, rsa_pkcs1_verify, rsa_pss_verify, xdh};

fn providers() -> [Provider; 2] {
    [ring_provider(), rust_provider()]
}

/// Whether what happened is what should have; counted, so that an empty set does not pass for a good one.
#[derive(Default)]
struct Tally {
    valid: usize,
    invalid: usize,
}

impl Tally {
    #[track_caller]
    fn check(&mut self, what: &str, number: usize, expected: TestResult, accepted: bool) {
        match expected {
            TestResult::Valid => {
                assert!(accepted, "{what} {number}: refused");
                self.valid += 1;
            }
            TestResult::Invalid => {
                assert!(!accepted, "{what} {number}: accepted");
                self.invalid += 1;
            }
            TestResult::Acceptable => {}
        }
    }

    #[track_caller]
    fn at_least(self, valid: usize, invalid: usize) {
        assert!(
            self.valid >= valid && self.invalid >= invalid,
            "{} and {}",
            self.valid,
            self.invalid
        );
    }
}

fn check_aead(name: aead::TestName, algorithm: impl Fn(usize) -> Option<AeadAlgorithm>) {
    let set = aead::TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for group in set.test_groups {
        let (96, 128, Some(algorithm)) = (group.nonce_size, group.tag_size, algorithm(group.key_size)) else {
            continue;
        };
        for test in group.tests {
            for provider in providers() {
                let key = provider.aead(algorithm, &test.key).unwrap();
                let nonce: [u8; 12] = test.nonce[..].try_into().unwrap();
                let mut sealed = [&test.ct[..], &test.tag].concat();
                let opened = key.open(&nonce, &test.aad, &mut sealed);
                if let Ok(len) = opened {
                    assert_eq!(sealed[..len], test.pt[..]);
                    let mut data = test.pt.to_vec();
                    let tag = key.seal(&nonce, &test.aad, &mut data);
                    assert_eq!((&data[..], &tag[..]), (&test.ct[..], &test.tag[..]));
                }
                tally.check(provider.name(), test.tc_id, test.result, opened.is_ok());
            }
        }
    }
    tally.at_least(80, 40);
}

#[test]
fn aes_gcm() {
    check_aead(aead::TestName::AesGcm, |bits| match bits {
        128 => Some(AeadAlgorithm::Aes128Gcm),
        256 => Some(AeadAlgorithm::Aes256Gcm),
        _ => None,
    });
}

#[test]
fn chacha20_poly1305() {
    check_aead(aead::TestName::ChaCha20Poly1305, |_| {
        Some(AeadAlgorithm::ChaCha20Poly1305)
    });
}

#[test]
fn hmac() {
    for (name, hash) in [
        (mac::TestName::HmacSha1, HashAlgorithm::Sha1),
        (mac::TestName::HmacSha256, HashAlgorithm::Sha256),
        (mac::TestName::HmacSha384, HashAlgorithm::Sha384),
        (mac::TestName::HmacSha512, HashAlgorithm::Sha512),
    ] {
        let mut tally = Tally::default();
        for group in mac::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                for provider in providers() {
                    let key = provider.mac(hash, &test.key);
                    tally.check(
                        provider.name(),
                        test.tc_id,
                        test.result,
                        key.verify(&[&test.msg], &test.tag),
                    );
                    if hash == HashAlgorithm::Sha1 {
                        let both = provider.ctr_hmac_sha1(&[0; 16], &test.key).unwrap();
                        let verdict = both.open(&[0; 16], &mut test.msg.to_vec(), 0, &[], &test.tag);
                        tally.check("one pass", test.tc_id, test.result, verdict.is_ok());
                    }
                }
            }
        }
        tally.at_least(100, 100);
    }
}

#[test]
fn hkdf() {
    for (name, hash) in [
        (hkdf::TestName::HkdfSha256, HashAlgorithm::Sha256),
        (hkdf::TestName::HkdfSha384, HashAlgorithm::Sha384),
    ] {
        let mut tally = Tally::default();
        for group in hkdf::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                for provider in providers() {
                    let key = hkdf_extract(provider, hash, &test.salt, &test.ikm);
                    let mut out = vec![0; test.size];
                    let made = hkdf_expand(provider, hash, key.as_bytes(), &[&test.info], &mut out);
                    tally.check(
                        provider.name(),
                        test.tc_id,
                        test.result,
                        made.is_ok() && out == test.okm[..],
                    );
                }
            }
        }
        tally.at_least(100, 2);
    }
}

#[test]
fn ecdsa() {
    use ecdsa::TestName::{EcdsaSecp256r1Sha256, EcdsaSecp384r1Sha256, EcdsaSecp384r1Sha384};
    for (name, scheme) in [
        (EcdsaSecp256r1Sha256, SignatureScheme::EcdsaSecp256r1Sha256),
        (EcdsaSecp384r1Sha384, SignatureScheme::EcdsaSecp384r1Sha384),
        (EcdsaSecp384r1Sha256, SignatureScheme::EcdsaSecp256r1Sha256),
    ] {
        let mut tally = Tally::default();
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                for provider in providers() {
                    let verdict = provider.verify_signature(scheme, &group.key.key, &test.msg, &test.sig);
                    tally.check(provider.name(), test.tc_id, test.result, verdict.is_ok());
                }
            }
        }
        tally.at_least(100, 100);
    }
}

#[test]
fn ed25519() {
    let mut tally = Tally::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        for test in group.tests {
            for provider in providers() {
                let verdict = provider.verify_signature(SignatureScheme::Ed25519, &group.key.pk, &test.msg, &test.sig);
                tally.check(provider.name(), test.tc_id, test.result, verdict.is_ok());
            }
        }
    }
    tally.at_least(80, 40);
}

#[test]
fn rsa_pkcs1() {
    use rsa_pkcs1_verify::TestName::{Rsa2048Sha256, Rsa2048Sha384, Rsa2048Sha512, Rsa3072Sha256};
    for (name, scheme) in [
        (Rsa2048Sha256, SignatureScheme::RsaPkcs1Sha256),
        (Rsa3072Sha256, SignatureScheme::RsaPkcs1Sha256),
        (Rsa2048Sha384, SignatureScheme::RsaPkcs1Sha384),
        (Rsa2048Sha512, SignatureScheme::RsaPkcs1Sha512),
    ] {
        let mut tally = Tally::default();
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                for provider in providers() {
                    let verdict = provider.verify_signature(scheme, &group.asn_key, &test.msg, &test.sig);
                    tally.check(provider.name(), test.tc_id, test.result, verdict.is_ok());
                }
            }
        }
        tally.at_least(10, 100);
    }
}

#[test]
fn rsa_pss() {
    use rsa_pss_verify::TestName;
    for (name, scheme) in [
        (
            TestName::RsaPss2048Sha256Mgf1SaltLen32,
            SignatureScheme::RsaPssRsaeSha256,
        ),
        (
            TestName::RsaPss3072Sha256Mgf1SaltLen32,
            SignatureScheme::RsaPssRsaeSha256,
        ),
        (
            TestName::RsaPss2048Sha384Mgf1SaltLen48,
            SignatureScheme::RsaPssRsaeSha384,
        ),
        (
            TestName::RsaPss4096Sha512Mgf1SaltLen64,
            SignatureScheme::RsaPssRsaeSha512,
        ),
    ] {
        let mut tally = Tally::default();
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                for provider in providers() {
                    let verdict = provider.verify_signature(scheme, &group.asn_key, &test.msg, &test.sig);
                    tally.check(provider.name(), test.tc_id, test.result, verdict.is_ok());
                }
            }
        }
        tally.at_least(10, 50);
    }
}

/// Public values that give a secret of zeros, are off the curve, or are no uncompressed points: refused by ephemeral keys.
#[test]
fn bad_public_values_of_exchanges_are_refused() {
    let mut rng = Rng::from_u64(3);
    let (mut refused, mut zeros) = (0, 0);
    for (name, group) in [
        (ecdh::TestName::EcdhSecp256r1Ecpoint, NamedGroup::Secp256r1),
        (ecdh::TestName::EcdhSecp384r1Ecpoint, NamedGroup::Secp384r1),
    ] {
        for tests in ecdh::TestSet::load(name).unwrap().test_groups {
            for test in tests.tests.iter().filter(|test| test.result == TestResult::Invalid) {
                for provider in providers() {
                    let exchange = provider.start_exchange(group, &mut rng).unwrap();
                    assert!(
                        exchange.complete(&test.public_key).is_err(),
                        "{} {}",
                        provider.name(),
                        test.tc_id
                    );
                    refused += 1;
                }
            }
        }
    }
    for tests in xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups {
        for test in tests.tests {
            for provider in providers() {
                let exchange = provider.start_exchange(NamedGroup::X25519, &mut rng).unwrap();
                let done = exchange.complete(&test.public_key);
                let is_zero = test.flags.contains(&xdh::TestFlag::ZeroSharedSecret);
                assert_eq!(done.is_err(), is_zero, "{} {}", provider.name(), test.tc_id);
                zeros += usize::from(is_zero);
            }
        }
    }
    assert!(refused >= 20 && zeros >= 10, "{refused} {zeros}");
}
