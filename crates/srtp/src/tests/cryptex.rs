//! RFC 9335: the vectors of its appendix A, and what is around them.

use proptest::prelude::*;

use super::*;

const GCM_KEY: &str = "000102030405060708090a0b0c0d0e0f";
const GCM_SALT: &str = "a0a1a2a3a4a5a6a7a8a9aaab";

/// Packet, and what it is under AES_CM_128_HMAC_SHA1_80 and under AEAD_AES_128_GCM.
const VECTORS: [(&str, &str, &str); 6] = [
    (
        "900f1235 decafbad cafebabe bede0001 51000200 abababab abababab abababab abababab",
        "900f1235 decafbad cafebabe c0de0001 eb923652 51c3e036 f8de27e9 c27ee3e0 b4651d9f bc4218a7 0244522f 34a5",
        "900f1235 decafbad cafebabe c0de0001 39972dc9 572c4d99 e8fc355d e743fb2e 94f9d8ff 54e72f41 93bbc5c7 4ffab0fa
         9fa0fbeb",
    ),
    (
        "900f1236 decafbad cafebabe 10000001 05020002 abababab abababab abababab abababab",
        "900f1236 decafbad cafebabe c2de0001 4ed9cc4e 6a712b30 96c5ca77 339d4204 ce0d7739 6cab6958 5fbce381 94a5",
        "900f1236 decafbad cafebabe c2de0001 bb75a4c5 45cd1f41 3bdb7daa 2b1e3263 de313667 c9632490 81b35a65 f5cb6c88
         b394235f",
    ),
    (
        "920f1238 decafbad cafebabe 0001e240 0000b26e bede0001 51000200 abababab abababab abababab abababab",
        "920f1238 decafbad cafebabe 8bb6e12b 5cff16dd c0de0001 92838c8c 09e58393 e1de3a9a 74734d67 45671338 c3acf11d
         a2df8423 bee0",
        "920f1238 decafbad cafebabe 63bbccc4 a7f695c4 c0de0001 8ad7c71f ac70a80c 92866b4c 6ba98546 ef913586 e95ffaaf
         fe956885 bb0647a8 bc094ac8",
    ),
    (
        "920f1239 decafbad cafebabe 0001e240 0000b26e 10000001 05020002 abababab abababab abababab abababab",
        "920f1239 decafbad cafebabe f70e513e b90b9b25 c2de0001 bbed4848 faa64466 5f3d7f34 125914e9 f4d0ae92 3c6f479b
         95a0f7b5 3133",
        "920f1239 decafbad cafebabe 3680524f 8d312b00 c2de0001 c78d1200 38422bc1 11a7187a 18246f98 0c059cc6 bc9df8b6
         26394eca 344e4b05 d80fea83",
    ),
    (
        "920f123a decafbad cafebabe 0001e240 0000b26e bede0000 abababab abababab abababab abababab",
        "920f123a decafbad cafebabe 7130b6ab fe2ab0e3 c0de0000 e3d9f64b 25c9e74c b4cf8e43 fb92e378 1c2c0cea b6b3a499
         a14c",
        "920f123a decafbad cafebabe 15b6bb43 37906fff c0de0000 b7b96453 7a2b03ab 7ba5389c e9331712 6b5d974d f30c6884
         dcb651c5 e120c1da",
    ),
    (
        "920f123b decafbad cafebabe 0001e240 0000b26e 10000000 abababab abababab abababab abababab",
        "920f123b decafbad cafebabe cbf24c12 4330e1c8 c2de0000 599dd45b c9d687b6 03e8b59d 771fd38e 88b170e0 cd31e125
         eabe",
        "920f123b decafbad cafebabe dcb38c9e 48bf95f4 c2de0000 61ee432c f9203170 76613258 d3ce4236 c06ac429 681ad084
         13512dc9 8b5207d8",
    ),
];

fn cryptex_pair(profile: Profile, provider: Provider) -> (Sender, Receiver) {
    let (mut sender, mut receiver) = pair(profile, provider);
    sender.set_cryptex(true);
    receiver.set_cryptex(Cryptex::Require);
    (sender, receiver)
}

/// RFC 9335 appendix A.
#[test]
fn vectors() {
    for provider in providers() {
        for (plain, counter_mode, gcm) in VECTORS {
            for (profile, key, salt, protected) in [
                (Profile::Aes128CmSha1_80, KEY, SALT, counter_mode),
                (Profile::AeadAes128Gcm, GCM_KEY, GCM_SALT, gcm),
            ] {
                let (plain, protected) = (hex(plain), hex(protected));
                let mut sender = Sender::new(profile, &hex(key), &hex(salt), provider).unwrap();
                sender.set_cryptex(true);
                assert_eq!(sender.overhead_rtp(), profile.overhead_rtp() + 4);
                let mut buffer = plain.clone();
                buffer.resize(plain.len() + sender.overhead_rtp(), 0);
                let len = sender.protect_rtp_slice(&mut buffer, plain.len()).unwrap();
                assert_eq!(buffer[..len], protected, "{profile:?}");
                for policy in [Cryptex::Accept, Cryptex::Require] {
                    let mut receiver = Receiver::new(profile, &hex(key), &hex(salt), provider).unwrap();
                    receiver.set_cryptex(policy);
                    assert_eq!(unprotect_rtp(&mut receiver, &protected).unwrap(), plain);
                    assert_eq!(unprotect_rtp(&mut receiver, &protected), Err(Error::Replayed));
                }
                // Who knows nothing of it takes the extension for an unknown one, and its tag covers other bytes.
                let mut receiver = Receiver::new(profile, &hex(key), &hex(salt), provider).unwrap();
                let opened = unprotect_rtp(&mut receiver, &protected);
                match profile {
                    Profile::AeadAes128Gcm => assert_eq!(opened, Err(Error::Authentication)),
                    _ => assert_ne!(opened.unwrap(), plain),
                }
            }
        }
    }
}

/// RFC 9335 §5.1: CSRCs without an extension get an empty one, in the caller's buffer too.
#[test]
fn csrcs_alone_get_an_empty_extension() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = cryptex_pair(profile, ring_provider());
        let mut plain = rtp(7, 1, &[1, 2, 3, 4]);
        plain[0] |= 1;
        plain.extend_from_slice(b"payload");
        let mut expected = plain.clone();
        expected.splice(16..16, [0xbe, 0xde, 0, 0]);
        expected[0] |= 0x10;

        let mut out = TransmitBuf::new(1500, plain.len() + sender.overhead_rtp());
        assert!(out.begin(0, sender.overhead_rtp()));
        out.put_slice(&plain);
        sender.protect_rtp(&mut out).unwrap();
        let range = out.finish();
        assert_eq!(range.len(), plain.len() + sender.overhead_rtp());
        let protected = out.bytes(range).to_vec();
        assert_ne!(protected[12..16], plain[12..16], "the CSRC is encrypted");
        assert_eq!(unprotect_rtp(&mut receiver, &protected).unwrap(), expected);

        plain[3] = 2;
        expected[3] = 2;
        let mut buffer = plain.clone();
        buffer.resize(plain.len() + sender.overhead_rtp() - 1, 0);
        let short = sender.protect_rtp_slice(&mut buffer, plain.len());
        assert_eq!(short, Err(Error::NoRoom));
        assert_eq!(buffer[..plain.len()], plain, "nothing was moved");
        buffer.push(0);
        let len = sender.protect_rtp_slice(&mut buffer, plain.len()).unwrap();
        assert_eq!(unprotect_rtp(&mut receiver, &buffer[..len]).unwrap(), expected);
    }
}

/// RFC 9335 §5.2, and law 5 for what is refused.
#[test]
fn who_requires_it_takes_nothing_in_the_clear() {
    for profile in Profile::ALL {
        let (mut sender, _) = pair(profile, ring_provider());
        let (_, mut receiver) = cryptex_pair(profile, ring_provider());
        let mut extension = rtp(7, 1, &[0xbe, 0xde, 0, 0]);
        extension[0] |= 0x10;
        let mut csrc = rtp(7, 2, &[1, 2, 3, 4]);
        csrc[0] |= 1;
        for packet in [extension, csrc] {
            let protected = protect_rtp(&mut sender, &packet).unwrap();
            assert_eq!(unprotect_rtp(&mut receiver, &protected), Err(Error::HeaderInClear));
            receiver.set_cryptex(Cryptex::Accept);
            assert_eq!(unprotect_rtp(&mut receiver, &protected), Ok(packet), "{profile:?}");
            receiver.set_cryptex(Cryptex::Require);
        }
        let bare = protect_rtp(&mut sender, &rtp(7, 3, b"bare")).unwrap();
        unprotect_rtp(&mut receiver, &bare).expect("a header with nothing to hide");
        assert_eq!(receiver.stats().header_in_clear, 2);
    }
}

/// RFC 9335 §5.1: not for other extensions; and a packet that looks encrypted before it is would mislead the receiver.
#[test]
fn other_extensions_stay_as_they_are() {
    let profile = Profile::AeadAes128Gcm;
    let (mut sender, mut receiver) = cryptex_pair(profile, ring_provider());
    receiver.set_cryptex(Cryptex::Accept);
    for (sequence, tag) in [(1, [0x12, 0x34]), (2, [0x10, 0x01])] {
        let mut packet = rtp(7, sequence, &[tag[0], tag[1], 0, 1, 1, 2, 3, 4, 5]);
        packet[0] |= 0x10;
        let mut buffer = packet.clone();
        buffer.resize(packet.len() + 20, 0);
        let len = sender.protect_rtp_slice(&mut buffer, packet.len()).unwrap();
        assert_eq!(buffer[..20], packet[..20]);
        assert_eq!(unprotect_rtp(&mut receiver, &buffer[..len]), Ok(packet));
    }
    let mut packet = rtp(7, 3, &[0xc0, 0xde, 0, 0]);
    packet[0] |= 0x10;
    packet.resize(packet.len() + 20, 0);
    assert_eq!(sender.protect_rtp_slice(&mut packet, 16), Err(Error::Malformed));
}

#[test]
fn a_repeat_is_the_same_packet() {
    for profile in Profile::ALL {
        let (mut sender, _) = cryptex_pair(profile, ring_provider());
        sender.allow_repeats(true);
        let mut packet = rtp(7, 1, &[9, 9, 9, 9, 0xbe, 0xde, 0, 1, 0x10, 5, 0, 0, 1, 2, 3]);
        packet[0] |= 0x11;
        let send = |sender: &mut Sender, packet: &[u8]| {
            let mut buffer = packet.to_vec();
            buffer.resize(packet.len() + 20, 0);
            let len = sender.protect_rtp_slice(&mut buffer, packet.len())?;
            Ok(buffer[..len].to_vec())
        };
        let first = send(&mut sender, &packet).unwrap();
        assert_eq!(send(&mut sender, &packet), Ok(first));
        packet[21] ^= 1;
        assert_eq!(send(&mut sender, &packet), Err(Error::IndexReused));
    }
}

proptest! {
    #[test]
    fn what_is_protected_opens((header, packet) in any_packet(), profile in any_profile(), at: prop::sample::Index) {
        for (here, there) in [(ring_provider(), rust_provider()), (rust_provider(), ring_provider())] {
            let (mut sender, _) = cryptex_pair(profile, here);
            let (_, mut receiver) = cryptex_pair(profile, there);
            let (extension, csrcs) = (packet[0] & 0x10 != 0, 4 * usize::from(packet[0] & 0x0f));
            let mut expected = packet.clone();
            if !extension && csrcs > 0 {
                expected.splice(12 + csrcs..12 + csrcs, [0xbe, 0xde, 0, 0]);
                expected[0] |= 0x10;
            }
            let mut buffer = packet.clone();
            buffer.resize(packet.len() + sender.overhead_rtp(), 0);
            let len = sender.protect_rtp_slice(&mut buffer, packet.len()).unwrap();
            prop_assert_eq!(len, expected.len() + profile.overhead_rtp());
            if csrcs > 12 {
                prop_assert_ne!(&buffer[12..12 + csrcs], &packet[12..12 + csrcs]);
            }
            if extension && header > 12 + csrcs + 4 + 12 {
                prop_assert_ne!(&buffer[16 + csrcs..header], &packet[16 + csrcs..header]);
            }
            let mut forged = buffer[..len].to_vec();
            let bit = at.index(len * 8);
            forged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(unprotect_rtp(&mut receiver, &forged).is_err());
            prop_assert_eq!(receiver.ssrc_count(), 0);
            prop_assert_eq!(unprotect_rtp(&mut receiver, &buffer[..len]), Ok(expected));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, profile in any_profile()) {
        let (mut sender, mut receiver) = cryptex_pair(profile, rust_provider());
        let _ = unprotect_rtp(&mut receiver, &bytes);
        let mut buffer = bytes.clone();
        buffer.resize(bytes.len() + 20, 0);
        let _ = sender.protect_rtp_slice(&mut buffer, bytes.len());
    }
}
