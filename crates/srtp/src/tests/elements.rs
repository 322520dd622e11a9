//! RFC 6904: its appendix's packet, as libsrtp's own validation has it with tags, and what is around it.

use proptest::prelude::*;

use super::*;

const PLAIN: &str = "900f1234 decafbad cafebabe bede0006 17414273 a4752627 48220000 c8308e46 55996386 b395fb00
                     abababab abababab abababab abababab";

fn extension_key(profile: Profile, key: &[u8], salt: &[u8], ids: &[u8], provider: Provider) -> ExtensionKey {
    ExtensionKey::new(profile, key, salt, ids.iter().copied(), provider).unwrap()
}

/// RFC 6904 appendix A: elements 1, 3 and 4 of one, four and nine bytes are encrypted, 2 and the padding are not.
#[test]
fn counter_mode_packet() {
    let protected = hex(
        "900f1234 decafbad cafebabe bede0006 17588a92 70f4e15e 1c220000 c8309546 a994f0bc 54789700
                         4e55dc4c e79978d8 8ca4d215 949d2402 5a46b3ca 35c535a8 91c7",
    );
    let profile = Profile::Aes128CmSha1_80;
    for provider in providers() {
        let mut sender = Sender::new(profile, &hex(KEY), &hex(SALT), provider).unwrap();
        let mut receiver = Receiver::new(profile, &hex(KEY), &hex(SALT), provider).unwrap();
        let key = || extension_key(profile, &hex(KEY), &hex(SALT), &[1, 3, 4], provider);
        sender.set_extension_key(Some(key()));
        receiver.set_extension_key(Some(key()));
        assert_eq!(protect_rtp(&mut sender, &hex(PLAIN)).unwrap(), protected);
        assert_eq!(unprotect_rtp(&mut receiver, &protected).unwrap(), hex(PLAIN));
    }
}

/// The same with AES-128-GCM; libsrtp's vector has the tag cut to 8 bytes.
#[test]
fn gcm_packet() {
    let protected = hex(
        "900f1234 decafbad cafebabe bede0006 1712e020 5bfa949b 1c220000 c830bb46 732778d9 929aab00
                         0eca0cf9 5ee955b2 6cd3d288 b49f6ca9 f4b1b759 719eb5bc",
    );
    let profile = Profile::AeadAes128Gcm;
    for provider in providers() {
        let mut sender = Sender::new(profile, &hex(KEY), &hex(SALT)[..12], provider).unwrap();
        let key = extension_key(profile, &hex(KEY), &hex(SALT)[..12], &[1, 3, 4], provider);
        sender.set_extension_key(Some(key));
        let ours = protect_rtp(&mut sender, &hex(PLAIN)).unwrap();
        assert_eq!(ours[..protected.len()], protected);
    }
}

#[test]
fn a_key_says_for_which_elements_it_is_and_no_more() {
    let profile = Profile::AeadAes256Gcm;
    let key = extension_key(profile, &[1; 32], &[2; 12], &[3, 200], ring_provider());
    assert_eq!(format!("{key:?}"), "ExtensionKey([3, 200])");
    let wrong = ExtensionKey::new(profile, &[1; 31], &[2; 12], [1], ring_provider());
    assert_eq!(wrong.unwrap_err(), Error::MasterKey);
}

/// RFC 9335 §4: a packet uses one of the two, never both.
#[test]
fn cryptex_goes_before() {
    for profile in Profile::ALL {
        let make = || {
            let (key, salt) = (vec![1; profile.key_len()], vec![2; profile.salt_len()]);
            let mut sender = Sender::new(profile, &key, &salt, ring_provider()).unwrap();
            sender.set_cryptex(true);
            let mut receiver = Receiver::new(profile, &key, &salt, ring_provider()).unwrap();
            receiver.set_cryptex(Cryptex::Accept);
            let key = || extension_key(profile, &key, &salt, &[1, 3, 4], ring_provider());
            (sender, receiver, key(), key())
        };
        let plain = hex(PLAIN);
        let protect = |sender: &mut Sender| {
            let mut buffer = plain.clone();
            buffer.resize(plain.len() + 20, 0);
            let len = sender.protect_rtp_slice(&mut buffer, plain.len()).unwrap();
            buffer[..len].to_vec()
        };
        let (mut alone, _, _, _) = make();
        let (mut both, mut receiver, key, other) = make();
        both.set_extension_key(Some(key));
        receiver.set_extension_key(Some(other));
        let protected = protect(&mut both);
        assert_eq!(protected, protect(&mut alone));
        assert_eq!(unprotect_rtp(&mut receiver, &protected), Ok(plain.clone()));
    }
}

proptest! {
    /// One-byte, two-byte and nonsensical extensions: what was sent arrives, and only values of chosen elements change.
    #[test]
    fn what_is_protected_opens((header, mut packet) in any_packet(), two_byte: bool, profile in any_profile(), ids: Vec<u8>) {
        let csrcs_end = 12 + 4 * usize::from(packet[0] & 0x0f);
        if two_byte && packet[0] & 0x10 != 0 {
            packet[csrcs_end..csrcs_end + 2].copy_from_slice(&[0x10, 0]);
        }
        let (key, salt) = (vec![1; profile.key_len()], vec![2; profile.salt_len()]);
        let mut sender = Sender::new(profile, &key, &salt, ring_provider()).unwrap();
        let mut receiver = Receiver::new(profile, &key, &salt, rust_provider()).unwrap();
        sender.set_extension_key(Some(extension_key(profile, &key, &salt, &ids, ring_provider())));
        receiver.set_extension_key(Some(extension_key(profile, &key, &salt, &ids, rust_provider())));
        let protected = protect_rtp(&mut sender, &packet).unwrap();
        prop_assert_eq!(&protected[1..csrcs_end], &packet[1..csrcs_end]);
        if ids.is_empty() {
            prop_assert_eq!(&protected[..header], &packet[..header]);
        }
        prop_assert_eq!(unprotect_rtp(&mut receiver, &protected), Ok(packet));
    }
}
