//! One suite of vectors over every real provider.

use antiphon_crypto::*;
use antiphon_sansio::Rng;
use proptest::prelude::*;

fn providers() -> [Provider; 2] {
    [ring_provider(), rust_provider()]
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

fn check_aead(algorithm: AeadAlgorithm, key: &str, nonce: &str, aad: &[u8], plain: &[u8], sealed: &str) {
    let nonce: [u8; 12] = hex(nonce).try_into().unwrap();
    for provider in providers() {
        let key = provider.aead(algorithm, &hex(key)).unwrap();
        let mut data = plain.to_vec();
        let tag = key.seal(&nonce, aad, &mut data);
        data.extend_from_slice(&tag);
        assert_eq!(data, hex(sealed), "{}", provider.name());
        for bad in 0..data.len() {
            let mut data = data.clone();
            data[bad] ^= 1;
            assert_eq!(key.open(&nonce, aad, &mut data), Err(AuthError));
        }
        assert_eq!(key.open(&nonce, b"other", &mut data.clone()), Err(AuthError));
        assert_eq!(
            key.open(&nonce, aad, &mut data[..15].to_vec()),
            Err(AuthError),
            "shorter than a tag"
        );
        assert_eq!(key.open(&nonce, aad, &mut data), Ok(plain.len()));
        assert_eq!(&data[..plain.len()], plain);
    }
}

/// The test cases 1, 4 and 16 of McGrew and Viega's "The Galois/Counter Mode of Operation", which NIST's are made of.
#[test]
fn aes_gcm() {
    let plain = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
                     1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
    let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let (key, nonce) = ("feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888");
    check_aead(
        AeadAlgorithm::Aes128Gcm,
        "00000000000000000000000000000000",
        "000000000000000000000000",
        &[],
        &[],
        "58e2fccefa7e3061367f1d57a4e7455a",
    );
    check_aead(
        AeadAlgorithm::Aes128Gcm,
        key,
        nonce,
        &aad,
        &plain,
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa05
         1ba30b396a0aac973d58e091 5bc94fbc3221a5db94fae95ae7121a47",
    );
    check_aead(
        AeadAlgorithm::Aes256Gcm,
        &[key, key].concat(),
        nonce,
        &aad,
        &plain,
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838
         c5f61e6393ba7a0abcc9f662 76fc6ece0f4e1768cddf8853bb2d551b",
    );
}

/// RFC 8439 §2.8.2.
#[test]
fn chacha20_poly1305() {
    check_aead(
        AeadAlgorithm::ChaCha20Poly1305,
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
        "070000004041424344454647",
        &hex("50515253c0c1c2c3c4c5c6c7"),
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e06
         0b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d265
         86cec64b6116 1ae10b594f09e26a7e902ecbd0600691",
    );
}

#[test]
fn key_lengths_are_checked() {
    for provider in providers() {
        for algorithm in [
            AeadAlgorithm::Aes128Gcm,
            AeadAlgorithm::Aes256Gcm,
            AeadAlgorithm::ChaCha20Poly1305,
        ] {
            for len in (0..40).filter(|len| *len != algorithm.key_len()) {
                assert!(matches!(
                    provider.aead(algorithm, &vec![0; len]),
                    Err(CryptoError::KeyLength)
                ));
            }
        }
        for len in (0..40).filter(|len| ![16, 32].contains(len)) {
            assert!(matches!(provider.aes_ctr(&vec![0; len]), Err(CryptoError::KeyLength)));
            assert!(matches!(
                provider.block_cipher(&vec![0; len]),
                Err(CryptoError::KeyLength)
            ));
        }
    }
}

/// NIST SP 800-38A F.5.1 and F.5.5; FIPS 197 appendix C.1 and C.3.
#[test]
fn aes_counter_mode_and_blocks() {
    let plain = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51
                     30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
    let cases = [
        (
            "2b7e151628aed2a6abf7158809cf4f3c",
            "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff
             5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
        ),
        (
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5
             2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
        ),
    ];
    for provider in providers() {
        for (key, cipher) in cases {
            let key = provider.aes_ctr(&hex(key)).unwrap();
            let iv = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff").try_into().unwrap();
            for len in 0..=64 {
                let mut data = plain[..len].to_vec();
                key.apply(&iv, &mut data);
                assert_eq!(data, hex(cipher)[..len]);
            }
        }
        for (len, cipher) in [
            (16, "69c4e0d86a7b0430d8cdb78070b4c55a"),
            (32, "8ea2b7ca516745bfeafc49904b496089"),
        ] {
            let key: Vec<u8> = (0..len).collect();
            let mut block = hex("00112233445566778899aabbccddeeff").try_into().unwrap();
            provider.block_cipher(&key).unwrap().encrypt_block(&mut block);
            assert_eq!(block[..], hex(cipher));
        }
    }
}

fn check_mac(hash: HashAlgorithm, key: &[u8], message: &[u8], expected: &str) {
    for provider in providers() {
        let mac = provider.mac(hash, key);
        let (head, tail) = message.split_at(message.len() / 3);
        for parts in [&[message][..], &[head, tail], &[head, &[], tail]] {
            assert_eq!(mac.sign(parts).as_bytes(), hex(expected));
            assert!(mac.verify(parts, &hex(expected)));
            assert!(mac.verify(parts, &hex(expected)[..10]));
            assert!(!mac.verify(parts, &hex(expected)[1..]));
        }
    }
}

/// RFC 2202 §3 and RFC 4231 §4: cases 1, 2 and 6.
#[test]
fn hmac() {
    let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
    check_mac(
        HashAlgorithm::Sha1,
        &[0x0b; 20],
        b"Hi There",
        "b617318655057264e28bc0b6fb378c8ef146be00",
    );
    check_mac(
        HashAlgorithm::Sha1,
        b"Jefe",
        b"what do ya want for nothing?",
        "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
    );
    check_mac(
        HashAlgorithm::Sha1,
        &[0xaa; 80],
        long,
        "aa4ae5e15272d00e95705637ce8a3b55ed402112",
    );
    check_mac(
        HashAlgorithm::Sha256,
        &[0x0b; 20],
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    );
    check_mac(
        HashAlgorithm::Sha256,
        &[0xaa; 131],
        long,
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    );
    check_mac(
        HashAlgorithm::Sha384,
        &[0x0b; 20],
        b"Hi There",
        "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
    );
    check_mac(
        HashAlgorithm::Sha384,
        &[0xaa; 131],
        long,
        "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
    );
    check_mac(
        HashAlgorithm::Sha512,
        &[0x0b; 20],
        b"Hi There",
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde
         daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
    );
    assert!(
        hmac_sha1(b"Jefe", &[b"what do ya want ", b"for nothing?"])
            .verify(&hex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"))
    );
    assert!(hmac_sha256(&[0x0b; 20], &[b"Hi There"]).verify(&hex("b0344c61d8db38535ca8afceaf0bf12b")));
}

/// FIPS 180's "abc", whole and in pieces, forked on the way; RFC 1321's for MD5.
#[test]
fn hashes() {
    let cases = [
        (HashAlgorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (
            HashAlgorithm::Sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            HashAlgorithm::Sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            HashAlgorithm::Sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
    ];
    for (algorithm, expected) in cases {
        assert_eq!(digest(algorithm, &[b"a", b"bc"]).as_bytes(), hex(expected));
        assert_eq!(hex(expected).len(), algorithm.output_len());
        for provider in providers() {
            let mut hash = provider.hash(algorithm);
            hash.update(b"ab");
            let mut fork = hash.fork();
            hash.update(b"something else");
            fork.update(b"c");
            assert_eq!(fork.finish().as_bytes(), hex(expected));
            assert_eq!(hash.finish(), digest(algorithm, &[b"absomething else"]));
        }
    }
    assert_eq!(sha1(&[b"abc"])[..], hex(cases[0].1));
    assert_eq!(sha256(&[b"abc"])[..], hex(cases[1].1));
    assert_eq!(md5(&[b"a", b"bc"])[..], hex("900150983cd24fb0d6963f7d28e17f72"));
    assert_eq!(
        md5(&[b"user", b":", b"realm", b":", b"pass"])[..],
        hex("8493fbc53ba582fb4c044c456bdc40eb"),
        "RFC 8489 §9.2.2"
    );
}

/// RFC 5869 appendix A.1 to A.3.
#[test]
fn hkdf() {
    let range = |from: u8, to: u8| (from..to).collect::<Vec<u8>>();
    let cases = [
        (
            vec![0x0b; 22],
            range(0, 13),
            range(0xf0, 0xfa),
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            range(0, 0x50),
            range(0x60, 0xb0),
            [range(0xb0, 0xff), vec![0xff]].concat(),
            "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09
             da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            vec![0x0b; 22],
            vec![],
            vec![],
            "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ];
    for provider in providers() {
        for (input, salt, info, extracted, expanded) in &cases {
            let key = hkdf_extract(provider, HashAlgorithm::Sha256, salt, input);
            assert_eq!(key.as_bytes(), hex(extracted));
            let mut out = vec![0; hex(expanded).len()];
            let (head, tail) = info.split_at(info.len() / 2);
            hkdf_expand(provider, HashAlgorithm::Sha256, key.as_bytes(), &[head, tail], &mut out).unwrap();
            assert_eq!(out, hex(expanded));
        }
        let mut most = vec![0; 255 * 32];
        hkdf_expand(provider, HashAlgorithm::Sha256, b"key", &[], &mut most).unwrap();
        most.push(0);
        assert_eq!(
            hkdf_expand(provider, HashAlgorithm::Sha256, b"key", &[], &mut most),
            Err(CryptoError::OutputLength)
        );
    }
}

/// The vectors for SHA-256 and SHA-384 that were posted to the TLS working group (September 2009).
#[test]
fn tls12_pseudo_random_function() {
    for provider in providers() {
        let mut out = [0; 100];
        let seed = hex("a0ba9f936cda311827a6f796ffd5198c");
        tls12_prf(
            provider,
            HashAlgorithm::Sha256,
            &hex("9bbe436ba940f017b17652849a71db35"),
            b"test label",
            &[&seed[..7], &seed[7..]],
            &mut out,
        );
        assert_eq!(
            out[..],
            hex(
                "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa0
                 22f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66"
            )
        );
        let mut out = [0; 148];
        tls12_prf(
            provider,
            HashAlgorithm::Sha384,
            &hex("b80b733d6ceefcdc71566ea48e5567df"),
            b"test label",
            &[&hex("cd665cf6a8447dd6ff8b27555edb7465")],
            &mut out,
        );
        assert_eq!(
            out[..],
            hex(
                "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0e534
                 cb400fed2700884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d9184259b5bf8cd
                 4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee691c8f3a26854308d5eaa3be85e0990703d73e56f"
            )
        );
    }
}

const GROUPS: [NamedGroup; 3] = [NamedGroup::X25519, NamedGroup::Secp256r1, NamedGroup::Secp384r1];

#[test]
fn exchanges_agree_between_providers() {
    let mut rng = Rng::from_u64(1);
    for (here, there) in [
        (ring_provider(), ring_provider()),
        (ring_provider(), rust_provider()),
        (rust_provider(), rust_provider()),
    ] {
        for group in GROUPS {
            let one = here.start_exchange(group, &mut rng).unwrap();
            let two = there.start_exchange(group, &mut rng).unwrap();
            let (public_one, public_two) = (one.public_key().to_vec(), two.public_key().to_vec());
            assert_eq!((public_one.len(), one.group()), (group.public_len(), group));
            assert_ne!(public_one, public_two);
            let (one, two) = (one.complete(&public_two).unwrap(), two.complete(&public_one).unwrap());
            assert_eq!(one.as_bytes(), two.as_bytes());
            assert_eq!(one.len(), if group == NamedGroup::Secp384r1 { 48 } else { 32 });
        }
    }
}

#[test]
fn bad_public_values_are_refused() {
    let mut rng = Rng::from_u64(1);
    for provider in providers() {
        for group in GROUPS {
            let good = provider.start_exchange(group, &mut rng).unwrap().public_key().to_vec();
            let mut bad = vec![
                vec![],
                vec![0; good.len()],
                good[1..].to_vec(),
                [&good[..], &[0]].concat(),
            ];
            if group != NamedGroup::X25519 {
                let mut off_curve = good.clone();
                *off_curve.last_mut().unwrap() ^= 1;
                let mut compressed = good.clone();
                compressed[0] = 2;
                bad.extend([off_curve, compressed]);
            }
            for bad in bad {
                let ours = provider.start_exchange(group, &mut rng).unwrap();
                assert!(
                    matches!(ours.complete(&bad), Err(CryptoError::PeerKey)),
                    "{group:?} {}",
                    bad.len()
                );
            }
        }
    }
}

/// RFC 6979 appendix A.2.5 (P-256, SHA-256, "sample"), in DER.
#[test]
fn ecdsa_of_rfc_6979() {
    let public = hex("04 60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6
                      7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299");
    let signature = hex("3046
                         0221 00 EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
                         0221 00 F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8");
    let scheme = SignatureScheme::EcdsaSecp256r1Sha256;
    for provider in providers() {
        assert_eq!(
            provider.verify_signature(scheme, &public, b"sample", &signature),
            Ok(())
        );
        assert!(
            provider
                .verify_signature(scheme, &public, b"simple", &signature)
                .is_err()
        );
    }
}

/// RFC 8032 §7.1, test 2.
#[test]
fn ed25519_of_rfc_8032() {
    let public = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    let signature = hex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da
                         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
    assert_eq!(
        verify_signature(SignatureScheme::Ed25519, &public, &[0x72], &signature),
        Ok(())
    );
    assert!(verify_signature(SignatureScheme::Ed25519, &public, &[0x73], &signature).is_err());
}

/// Foreign keys and signatures, see the head of the file.
fn foreign(name: &str) -> Vec<u8> {
    include_str!("signatures.txt")
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find_map(|(key, value)| (key == name).then(|| hex(value)))
        .unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn foreign_signatures_verify() {
    let cases = [
        (SignatureScheme::EcdsaSecp256r1Sha256, "p256-public", "p256-sha256"),
        (SignatureScheme::EcdsaSecp384r1Sha384, "p256-public", "p256-sha384"),
        (SignatureScheme::EcdsaSecp256r1Sha256, "p384-public", "p384-sha256"),
        (SignatureScheme::EcdsaSecp384r1Sha384, "p384-public", "p384-sha384"),
        (SignatureScheme::Ed25519, "ed25519-public", "ed25519"),
        (SignatureScheme::RsaPkcs1Sha256, "rsa-public", "rsa-pkcs1-sha256"),
        (SignatureScheme::RsaPkcs1Sha384, "rsa-public", "rsa-pkcs1-sha384"),
        (SignatureScheme::RsaPkcs1Sha512, "rsa-public", "rsa-pkcs1-sha512"),
        (SignatureScheme::RsaPssRsaeSha256, "rsa-public", "rsa-pss-sha256"),
        (SignatureScheme::RsaPssRsaeSha384, "rsa-public", "rsa-pss-sha384"),
        (SignatureScheme::RsaPssRsaeSha512, "rsa-public", "rsa-pss-sha512"),
    ];
    for provider in providers() {
        for (scheme, public, signature) in cases {
            let (public, signature) = (foreign(public), foreign(signature));
            assert_eq!(
                provider.verify_signature(scheme, &public, b"antiphon", &signature),
                Ok(()),
                "{scheme:?}"
            );
            for other in SignatureScheme::ALL.into_iter().filter(|other| *other != scheme) {
                assert!(
                    provider
                        .verify_signature(other, &public, b"antiphon", &signature)
                        .is_err(),
                    "{scheme:?} taken for {other:?}"
                );
            }
            let mut bad = signature.clone();
            *bad.last_mut().unwrap() ^= 1;
            assert_eq!(
                provider.verify_signature(scheme, &public, b"antiphon", &bad),
                Err(AuthError)
            );
            assert_eq!(
                provider.verify_signature(scheme, &[], b"antiphon", &signature),
                Err(AuthError)
            );
        }
    }
}

#[test]
fn foreign_private_keys_sign() {
    let cases = [
        ("p256", SignatureScheme::EcdsaSecp256r1Sha256),
        ("p384", SignatureScheme::EcdsaSecp384r1Sha384),
        ("ed25519", SignatureScheme::Ed25519),
    ];
    for provider in providers() {
        for (name, scheme) in cases {
            let key = provider.signing_key(&foreign(&format!("{name}-pkcs8"))).unwrap();
            assert_eq!(key.scheme(), scheme);
            assert_eq!(key.public_key(), foreign(&format!("{name}-public")));
            let signature = key.clone().sign(b"message").unwrap();
            assert_eq!(
                provider.verify_signature(scheme, key.public_key(), b"message", &signature),
                Ok(())
            );
            let text = format!("{key:?}");
            assert!(text.contains("redacted") && text.len() < 60, "{text}");
        }
        assert!(matches!(provider.signing_key(b"no key"), Err(CryptoError::PrivateKey)));
    }
}

#[test]
fn an_rsa_key_signs_by_every_scheme_of_rsa() {
    let key = SigningKey::from_pkcs8_der(&foreign("rsa-own-pkcs8")).unwrap();
    assert_eq!(key.scheme(), SignatureScheme::RsaPssRsaeSha256);
    assert_eq!(key.schemes().len(), 6);
    for scheme in SignatureScheme::ALL {
        if !key.schemes().contains(&scheme) {
            assert_eq!(key.sign_with(scheme, b"message").err(), Some(CryptoError::Unsupported));
            continue;
        }
        let signature = key.sign_with(scheme, b"message").unwrap();
        assert_eq!(
            verify_signature(scheme, key.public_key(), b"message", &signature),
            Ok(())
        );
        assert!(verify_signature(scheme, key.public_key(), b"massage", &signature).is_err());
    }
}

/// RustCrypto's HMAC once fell to a hundredth of its speed when a build mixed VEX and legacy SSE. Results must not suffer in
/// any case: long and odd lengths against the one-shot functions.
#[test]
fn kept_keys_give_what_fresh_ones_do() {
    for provider in providers() {
        let mac = provider.mac(HashAlgorithm::Sha1, b"key");
        for len in 0..300 {
            let data = vec![len as u8; len];
            assert!(hmac_sha1(b"key", &[&data]).verify(mac.sign(&[&data]).as_bytes()));
        }
    }
}

proptest! {
    #[test]
    fn providers_agree(key: [u8; 32], nonce: [u8; 12], aad: Vec<u8>, plain: Vec<u8>) {
        for algorithm in [AeadAlgorithm::Aes128Gcm, AeadAlgorithm::Aes256Gcm, AeadAlgorithm::ChaCha20Poly1305] {
            let key = &key[..algorithm.key_len()];
            let mut sealed = plain.clone();
            let tag = ring_provider().aead(algorithm, key).unwrap().seal(&nonce, &aad, &mut sealed);
            sealed.extend_from_slice(&tag);
            let len = rust_provider().aead(algorithm, key).unwrap().open(&nonce, &aad, &mut sealed).unwrap();
            prop_assert_eq!(&sealed[..len], &plain[..]);
        }
    }

    #[test]
    fn no_bytes_make_a_key_or_signature_panic(bytes: Vec<u8>, message: Vec<u8>) {
        let _ = SigningKey::from_pkcs8_der(&bytes);
        for scheme in SignatureScheme::ALL {
            prop_assert!(verify_signature(scheme, &bytes, &message, &bytes).is_err());
        }
    }
}

/// V25: what holds a secret shows none of it.
#[test]
fn v25_nothing_secret_is_printed() {
    let secret = [0xa5; 20];
    for provider in providers() {
        let tag = provider.mac(HashAlgorithm::Sha1, &secret).sign(&[b"message"]);
        let text = format!("{:?} {:?} {provider:?}", Secret::new(&secret), tag);
        assert!(text.contains("Secret(20 bytes, redacted)") && text.contains("Tag(20 bytes, redacted)"));
        for bytes in [&secret[..], tag.as_bytes()] {
            for byte in bytes.windows(2) {
                for shown in [
                    format!("{}, {}", byte[0], byte[1]),
                    format!("{:02x}{:02x}", byte[0], byte[1]),
                    format!("{:02X}{:02X}", byte[0], byte[1]),
                ] {
                    assert!(!text.contains(&shown), "{text} has {shown}");
                }
            }
        }
    }
}
