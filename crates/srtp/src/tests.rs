//! Vectors of RFC 3711, RFC 6188 and RFC 7714, and the behaviour around them.

mod cryptex;
mod elements;
mod hostile;

use antiphon_crypto::{Provider, ring_provider, rust_provider};
use antiphon_sansio::{BytesMut, Rng, TransmitBuf};
use proptest::prelude::*;

use crate::context::{INDEX_LEN, Label, RtpHeader, Transform, counter_block, derive, nonce};
use crate::*;

const KEY: &str = "e1f97a0d3e018be0d64fa32c06de4139";
const SALT: &str = "0ec675ad498afeebb6960b3aabe6";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

fn providers() -> [Provider; 2] {
    [ring_provider(), rust_provider()]
}

fn pair(profile: Profile, provider: Provider) -> (Sender, Receiver) {
    let key: Vec<u8> = (0..profile.key_len() as u8).collect();
    let salt: Vec<u8> = (100..100 + profile.salt_len() as u8).collect();
    (
        Sender::new(profile, &key, &salt, provider).unwrap(),
        Receiver::new(profile, &key, &salt, provider).unwrap(),
    )
}

fn rtp(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&[1, 2, 3, 4]);
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[0x81, 202, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
    packet
}

fn protect_rtp(sender: &mut Sender, packet: &[u8]) -> Result<Vec<u8>, Error> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + sender.overhead_rtp(), 0);
    let len = sender.protect_rtp_slice(&mut buffer, packet.len())?;
    assert_eq!(len, buffer.len());
    Ok(buffer)
}

fn protect_rtcp(sender: &mut Sender, packet: &[u8]) -> Result<Vec<u8>, Error> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + sender.overhead_rtcp(), 0);
    let len = sender.protect_rtcp_slice(&mut buffer, packet.len())?;
    assert_eq!(len, buffer.len());
    Ok(buffer)
}

fn unprotect_rtp(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, Error> {
    let mut packet = BytesMut::from(packet);
    receiver.unprotect_rtp(&mut packet).map(|()| packet.to_vec())
}

fn unprotect_rtcp(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, Error> {
    let mut packet = BytesMut::from(packet);
    receiver.unprotect_rtcp(&mut packet).map(|()| packet.to_vec())
}

/// RFC 3711 appendix B.2: the keystream's first and last blocks.
#[test]
fn aes_cm_keystream() {
    let salt = 0xF0F1F2F3F4F5F6F7F8F9FAFBFCFD_u128 << 16;
    let block = counter_block(salt, 0, 0);
    assert_eq!(block[..], hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000"));
    for provider in providers() {
        let mut keystream = vec![0; 1_044_512];
        let key = provider.aes_ctr(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        key.apply(&block, &mut keystream);
        assert_eq!(
            keystream[..48],
            hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0")
        );
        assert_eq!(
            keystream[1_044_512 - 48..],
            hex("EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44")
        );
    }
}

/// RFC 3711 appendix B.3, RFC 6188 §7.2.
#[test]
fn key_derivation() {
    for provider in providers() {
        let prf = provider.aes_ctr(&hex(KEY)).unwrap();
        let derived = |label, len| derive(&*prf, &hex(SALT), label, len).as_bytes().to_vec();
        assert_eq!(
            derived(Label::RtpEncryption, 16),
            hex("C61E7A93744F39EE10734AFE3FF7A087")
        );
        assert_eq!(derived(Label::RtpSalt, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(
            derived(Label::RtpAuthentication, 94),
            hex(
                "CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE E049646C43D9327AD175578EF7227098
                 6371C10C9A369AC2F94A8C5FBCDDDC25 6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2"
            )
        );

        let key = hex("F0F04914B513F2763A1B1FA130F10E2998F6F6E43E4309D1E622A0E332B9F1B6");
        let prf = provider.aes_ctr(&key).unwrap();
        assert_eq!(
            derive(&*prf, &hex("3B04803DE51EE7C96423AB5B78D2"), Label::RtpEncryption, 32).as_bytes(),
            hex("5BA1064E30EC51613CAD926C5A28EF731EC7FB397F70A960653CAF06554CD8C4")
        );
    }
}

/// A whole packet of each kind under RFC 3711's master key, as libsrtp's own validation has it.
#[test]
fn counter_mode_packets() {
    let plain = hex("800f1234decafbadcafebabe abababababababababababababababab");
    let protected = hex("800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb");
    let plain_rtcp = hex("81c8000bcafebabe abababababababababababababababab");
    let protected_rtcp = hex("81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798");
    for provider in providers() {
        let profile = Profile::Aes128CmSha1_80;
        let mut sender = Sender::new(profile, &hex(KEY), &hex(SALT), provider).unwrap();
        let mut receiver = Receiver::new(profile, &hex(KEY), &hex(SALT), provider).unwrap();
        assert_eq!(protect_rtp(&mut sender, &plain).unwrap(), protected);
        assert_eq!(unprotect_rtp(&mut receiver, &protected).unwrap(), plain);
        sender.set_indices(0xcafe_babe, None, 1);
        assert_eq!(protect_rtcp(&mut sender, &plain_rtcp).unwrap(), protected_rtcp);
        assert_eq!(unprotect_rtcp(&mut receiver, &protected_rtcp).unwrap(), plain_rtcp);
    }
}

/// RFC 6188 §7.1: keystream and derivation of AES-256; and a packet under that master key, as libsrtp's own validation has it.
#[test]
fn aes_256_counter_mode() {
    let key = hex("F0F04914B513F2763A1B1FA130F10E2998F6F6E43E4309D1E622A0E332B9F1B6");
    let salt = hex("3B04803DE51EE7C96423AB5B78D2");
    let plain = hex("800f1234 decafbad cafebabe abababab abababab abababab abababab");
    let protected = hex("800f1234 decafbad cafebabe f1d9de17 ff251ff1 aa007774 b0b4b40d a08d9d9a 5b3a55d8 873b");
    for provider in providers() {
        for (profile, tag) in [(Profile::Aes256CmSha1_80, 10), (Profile::Aes256CmSha1_32, 4)] {
            let protected = &protected[..28 + tag];
            let mut sender = Sender::new(profile, &key, &salt, provider).unwrap();
            let mut receiver = Receiver::new(profile, &key, &salt, provider).unwrap();
            assert_eq!(protect_rtp(&mut sender, &plain).unwrap(), protected);
            assert_eq!(unprotect_rtp(&mut receiver, protected).unwrap(), plain);
            assert_eq!(sender.overhead_rtcp(), 14, "the short tag is for RTP only");
        }
    }
}

fn quid_pro_quo() -> u128 {
    b"Quid pro quo"
        .iter()
        .fold(0, |salt, byte| salt << 8 | u128::from(*byte))
}

fn gcm_session(profile: Profile, provider: Provider) -> (Sender, Receiver) {
    let key: Vec<u8> = (0..profile.key_len() as u8).collect();
    let make = || Transform::new(profile, &key, &[], b"Quid pro quo", 16, provider).unwrap();
    (
        Sender::from_session(profile, make(), make()),
        Receiver::from_session(profile, make(), make()),
    )
}

/// RFC 7714 §16.1 and §16.2.
#[test]
fn gcm_rtp() {
    let plain = hex("8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976
                     69736120 696e2070 61727465 73207472 6573");
    let cases = [
        (
            Profile::AeadAes128Gcm,
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5
             0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        ),
        (
            Profile::AeadAes256Gcm,
            "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238
             9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
        ),
    ];
    assert_eq!(
        nonce(quid_pro_quo(), 0x5501_a0b2, 0xf17b)[..],
        hex("51753c6580c2726f20718414")
    );
    for provider in providers() {
        for (profile, protected) in cases {
            let (mut sender, mut receiver) = gcm_session(profile, provider);
            assert_eq!(protect_rtp(&mut sender, &plain).unwrap(), hex(protected));
            assert_eq!(unprotect_rtp(&mut receiver, &hex(protected)).unwrap(), plain);
        }
    }
}

/// RFC 7714 §17.1 and §17.2; §17.3 has no encryption, which we refuse.
#[test]
fn gcm_rtcp() {
    let plain = hex("81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
                     deadbeef deadbeef deadbeef deadbeef deadbeef");
    let cases = [
        (
            Profile::AeadAes128Gcm,
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded
             0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
        ),
        (
            Profile::AeadAes256Gcm,
            "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be 8415f658 c61de047
             6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
        ),
    ];
    assert_eq!(
        nonce(quid_pro_quo(), 0x4d61_7273, 0x5d4)[..],
        hex("517524055203726f207170bb")
    );
    for provider in providers() {
        for (profile, protected) in cases {
            let (mut sender, mut receiver) = gcm_session(profile, provider);
            sender.set_indices(0x4d61_7273, None, 0x5d4);
            assert_eq!(protect_rtcp(&mut sender, &plain).unwrap(), hex(protected));
            assert_eq!(unprotect_rtcp(&mut receiver, &hex(protected)).unwrap(), plain);
        }
        let tag_only = hex(
            "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef
                            deadbeef deadbeef deadbeef 841dd968 3dd78ec9 2ae58790 125f62b3 000005d4",
        );
        let (_, mut receiver) = gcm_session(Profile::AeadAes128Gcm, provider);
        assert_eq!(unprotect_rtcp(&mut receiver, &tag_only), Err(Error::Unencrypted));
        assert_eq!((receiver.stats().unencrypted, receiver.ssrc_count()), (1, 0));
    }
}

#[test]
fn profiles_have_their_numbers_and_lengths() {
    for profile in Profile::ALL {
        if let Some(code) = profile.code() {
            assert_eq!(Profile::from_code(code), Some(profile));
        }
        let (sender, receiver) = pair(profile, ring_provider());
        assert_eq!(sender.overhead_rtp(), receiver.profile().overhead_rtp());
        let wrong = vec![0; profile.key_len() + 1];
        let salt = vec![0; profile.salt_len()];
        assert_eq!(
            Sender::new(profile, &wrong, &salt, ring_provider()).unwrap_err(),
            Error::MasterKey
        );
        assert_eq!(
            Receiver::new(profile, &wrong[1..], &salt[1..], ring_provider()).unwrap_err(),
            Error::MasterKey
        );
    }
    assert_eq!(Profile::from_code(0x0005), None, "NULL cipher");
    assert_eq!(Profile::from_code(0x0009), None);
}

#[test]
fn the_rollover_counter_follows_wraps_and_reordering() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile, ring_provider());
        // Three times round, in steps, each pair swapped on the way.
        let mut held: Option<Vec<u8>> = None;
        let mut sequence = 30_000u16;
        for n in 0..6_000u32 {
            let packet = protect_rtp(&mut sender, &rtp(1, sequence, &n.to_be_bytes())).unwrap();
            sequence = sequence.wrapping_add(33);
            match held.take() {
                None => held = Some(packet),
                Some(before) => {
                    let now = unprotect_rtp(&mut receiver, &packet).unwrap();
                    assert_eq!(now[12..], n.to_be_bytes());
                    let before = unprotect_rtp(&mut receiver, &before).unwrap();
                    assert_eq!(before[12..], (n - 1).to_be_bytes());
                }
            }
        }
    }
}

#[test]
fn the_window_is_as_wide_as_asked() {
    for (window, oldest) in [(0, 64u16), (64, 64), (1023, 1023), (500, 500), (1 << 40, 32_768)] {
        let (mut sender, mut receiver) = pair(Profile::AeadAes128Gcm, ring_provider());
        receiver.set_replay_window(window);
        receiver.set_rtcp_replay_window(window);
        let sent: Vec<_> = (0..34_000)
            .map(|n| protect_rtp(&mut sender, &rtp(1, n, &[])).unwrap())
            .collect();
        unprotect_rtp(&mut receiver, &sent[33_999]).unwrap();
        let last = usize::from(33_999 - oldest);
        assert_eq!(unprotect_rtp(&mut receiver, &sent[last]), Err(Error::Replayed));
        assert!(unprotect_rtp(&mut receiver, &sent[last + 1]).is_ok());
        let sent: Vec<_> = (0..34_000)
            .map(|_| protect_rtcp(&mut sender, &rtcp(1)).unwrap())
            .collect();
        unprotect_rtcp(&mut receiver, &sent[33_999]).unwrap();
        assert_eq!(unprotect_rtcp(&mut receiver, &sent[last]), Err(Error::Replayed));
        assert!(unprotect_rtcp(&mut receiver, &sent[last + 1]).is_ok());
    }
}

/// V3: no index twice, so no nonce and no keystream twice.
#[test]
fn a_sender_uses_no_index_twice() {
    for profile in Profile::ALL {
        let (mut sender, _) = pair(profile, ring_provider());
        protect_rtp(&mut sender, &rtp(1, 10, b"one")).unwrap();
        protect_rtp(&mut sender, &rtp(1, 12, b"three")).unwrap();
        assert_eq!(protect_rtp(&mut sender, &rtp(1, 10, b"one")), Err(Error::IndexReused));
        assert_eq!(protect_rtp(&mut sender, &rtp(1, 12, b"other")), Err(Error::IndexReused));
        protect_rtp(&mut sender, &rtp(1, 11, b"two")).expect("a gap may be filled");
        protect_rtp(&mut sender, &rtp(2, 10, b"one")).expect("another source is another nonce");
    }
}

/// Of what is sent once nothing is kept, and so it cannot be repeated; nor can what was kept at its place pass for it.
#[test]
fn what_is_sent_once_is_not_repeated() {
    let (mut sender, _) = pair(Profile::AeadAes128Gcm, ring_provider());
    sender.allow_repeats(true);
    let once = |sender: &mut Sender, packet: &[u8]| {
        let mut out = antiphon_sansio::TransmitBuf::new(200, 200);
        assert!(out.begin(0, sender.overhead_rtp()));
        out.put_slice(packet);
        sender.protect_rtp_once(&mut out)
    };
    once(&mut sender, &rtp(1, 10, b"one")).unwrap();
    assert!(sender.keeps_nothing());
    assert_eq!(protect_rtp(&mut sender, &rtp(1, 10, b"one")), Err(Error::IndexReused));
    protect_rtp(&mut sender, &rtp(1, 11, b"two")).unwrap();
    protect_rtp(&mut sender, &rtp(1, 11, b"two")).expect("it is kept");
    let same_place = 11 + crate::MAX_REPEAT_AGE as u16;
    once(&mut sender, &rtp(1, same_place, b"two")).unwrap();
    assert_eq!(
        protect_rtp(&mut sender, &rtp(1, same_place, b"two")),
        Err(Error::IndexReused)
    );
}

/// Plain retransmission: the same packet, and nothing else, may go out again.
#[test]
fn only_the_same_packet_may_be_repeated() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile, ring_provider());
        protect_rtp(&mut sender, &rtp(1, 9, b"before")).unwrap();
        sender.allow_repeats(true);
        let first = protect_rtp(&mut sender, &rtp(1, 10, b"one")).unwrap();
        protect_rtp(&mut sender, &rtp(1, 12, b"three")).unwrap();
        assert_eq!(protect_rtp(&mut sender, &rtp(1, 10, b"one")).as_ref(), Ok(&first));
        assert_eq!(protect_rtp(&mut sender, &rtp(1, 10, b"two")), Err(Error::IndexReused));
        let mut marked = rtp(1, 10, b"one");
        marked[1] |= 0x80;
        assert_eq!(
            protect_rtp(&mut sender, &marked),
            Err(Error::IndexReused),
            "another header"
        );
        assert_eq!(
            protect_rtp(&mut sender, &rtp(1, 9, b"before")),
            Err(Error::IndexReused),
            "not remembered"
        );
        protect_rtp(&mut sender, &rtp(1, 11, b"two")).expect("a gap may be filled");
        assert_eq!(protect_rtp(&mut sender, &rtp(1, 10, b"one")).as_ref(), Ok(&first));
        assert!(unprotect_rtp(&mut receiver, &first).is_ok());
        assert_eq!(unprotect_rtp(&mut receiver, &first), Err(Error::Replayed));

        // What does not pass leaves no ciphertext behind either.
        let mut other = rtp(1, 10, b"two");
        other.resize(40, 0);
        assert_eq!(sender.protect_rtp_slice(&mut other, 15), Err(Error::IndexReused));
        assert_eq!(other[..15], [0; 15]);

        let last = 12 + MAX_REPEAT_AGE as u16;
        for sequence in 13..last {
            protect_rtp(&mut sender, &rtp(1, sequence, b"more")).unwrap();
        }
        protect_rtp(&mut sender, &rtp(1, 12, b"three")).expect("just young enough");
        protect_rtp(&mut sender, &rtp(1, last, b"more")).unwrap();
        assert_eq!(
            protect_rtp(&mut sender, &rtp(1, 12, b"three")),
            Err(Error::IndexReused),
            "too old"
        );
    }
}

#[test]
fn a_key_ends() {
    let (mut sender, _) = pair(Profile::AeadAes128Gcm, ring_provider());
    sender.set_indices(1, Some((1 << 48) - 2), (1 << 31) - 1);
    protect_rtp(&mut sender, &rtp(1, 65_535, &[])).expect("the last");
    assert_eq!(protect_rtp(&mut sender, &rtp(1, 0, &[])), Err(Error::KeyExhausted));
    protect_rtcp(&mut sender, &rtcp(1)).expect("the last");
    assert_eq!(protect_rtcp(&mut sender, &rtcp(1)), Err(Error::KeyExhausted));
}

/// V7: a million sources that nobody authenticated leave nothing behind.
#[test]
fn forgeries_leave_no_state() {
    for profile in [Profile::Aes128CmSha1_80, Profile::AeadAes128Gcm] {
        let (mut sender, mut receiver) = pair(profile, ring_provider());
        let real = protect_rtp(&mut sender, &rtp(1, 1, b"real")).unwrap();
        unprotect_rtp(&mut receiver, &real).unwrap();
        let mut rng = Rng::from_u64(7);
        let mut packet = [0; 60];
        for _ in 0..50_000 {
            rng.fill(&mut packet);
            packet[0] = 0x80;
            assert_eq!(
                receiver.unprotect_rtp_slice(&mut packet.clone()),
                Err(Error::Authentication)
            );
            // The index word says "encrypted", or the packet is refused for that already.
            let word = packet.len() - INDEX_LEN - if profile.aead().is_some() { 0 } else { 10 };
            packet[word] |= 0x80;
            assert_eq!(receiver.unprotect_rtcp_slice(&mut packet), Err(Error::Authentication));
        }
        assert_eq!(receiver.ssrc_count(), 1);
        assert_eq!(receiver.stats().unauthentic, 100_000);
    }
}

/// Law 7: also the authenticated peer may have only so many.
#[test]
fn sources_are_bounded() {
    let (mut sender, mut receiver) = pair(Profile::AeadAes128Gcm, ring_provider());
    let (mut other, _) = pair(Profile::AeadAes128Gcm, ring_provider());
    for ssrc in 0..MAX_SSRCS as u32 {
        let packet = protect_rtp(&mut sender, &rtp(ssrc.reverse_bits(), 1, &[])).unwrap();
        unprotect_rtp(&mut receiver, &packet).unwrap();
    }
    assert_eq!(protect_rtp(&mut sender, &rtp(3, 1, &[])), Err(Error::TooManySsrcs));
    let packet = protect_rtp(&mut other, &rtp(3, 1, &[])).unwrap();
    assert_eq!(unprotect_rtp(&mut receiver, &packet), Err(Error::TooManySsrcs));
    assert_eq!(receiver.ssrc_count(), MAX_SSRCS);
    let packet = protect_rtp(&mut sender, &rtp(5u32.reverse_bits(), 2, &[])).unwrap();
    assert!(unprotect_rtp(&mut receiver, &packet).is_ok(), "known sources go on");
}

/// V13: lengths from nothing on, every first byte.
#[test]
fn v13_short_packets_are_refused() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile, ring_provider());
        for len in 0..=48 {
            for first in 0..=255 {
                let mut packet = vec![0xff; len];
                if let Some(byte) = packet.first_mut() {
                    *byte = first;
                }
                assert!(receiver.unprotect_rtp_slice(&mut packet.clone()).is_err());
                assert!(receiver.unprotect_rtcp_slice(&mut packet.clone()).is_err());
                let room = packet.len();
                packet.resize(room + 20, 0);
                let parsed = RtpHeader::parse(&packet[..room]);
                let protected = sender.protect_rtp_slice(&mut packet, room);
                if parsed.is_err() {
                    assert_eq!(protected, Err(Error::Malformed));
                }
            }
        }
        let mut short = rtp(1, 1, b"payload");
        let len = short.len();
        assert_eq!(sender.protect_rtp_slice(&mut short, len), Err(Error::NoRoom));
        assert_eq!(sender.protect_rtp_slice(&mut short, len + 1), Err(Error::NoRoom));
    }
}

#[test]
fn a_full_segment_takes_its_tag() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile, ring_provider());
        let mut out = TransmitBuf::new(3_000, 200);
        out.set_path_room(4, profile.overhead_rtp());
        assert!(out.begin(0, 0));
        out.put_slice(&rtp(1, 1, &[]));
        let len = out.remaining();
        out.put_zeros(len).fill(9);
        sender.protect_rtp(&mut out).unwrap();
        out.prepend(4);
        let range = out.finish();
        assert_eq!(range.len(), 200);
        let plain = unprotect_rtp(&mut receiver, &out.bytes(range)[4..]).unwrap();
        assert_eq!(plain, rtp(1, 1, &vec![9; 200 - 4 - 12 - profile.overhead_rtp()]));

        out.set_path_room(0, profile.overhead_rtcp());
        assert!(out.begin(0, 0));
        out.put_slice(&rtcp(1));
        sender.protect_rtcp(&mut out).unwrap();
        let range = out.finish();
        assert_eq!(unprotect_rtcp(&mut receiver, out.bytes(range)).unwrap(), rtcp(1));
    }
}

#[test]
fn debug_shows_no_key() {
    let (sender, receiver) = pair(Profile::AeadAes128Gcm, ring_provider());
    let text = format!("{sender:?} {receiver:?}");
    assert!(
        text.contains("AeadAes128Gcm") && !text.contains("salt") && !text.contains("key"),
        "{text}"
    );
}

fn any_profile() -> impl Strategy<Value = Profile> {
    prop::sample::select(Profile::ALL.to_vec())
}

prop_compose! {
    fn any_packet()(
        csrcs in prop::collection::vec(any::<u32>(), 0..16),
        extension in prop::option::of(prop::collection::vec(any::<u32>(), 0..20)),
        payload in prop::collection::vec(any::<u8>(), 0..300),
        sequence: u16,
        ssrc: u32,
    ) -> (usize, Vec<u8>) {
        let mut packet = rtp(ssrc, sequence, &[]);
        packet[0] |= csrcs.len() as u8;
        for csrc in csrcs {
            packet.extend_from_slice(&csrc.to_be_bytes());
        }
        if let Some(words) = extension {
            packet[0] |= 0x10;
            packet.extend_from_slice(&[0xbe, 0xde, 0, words.len() as u8]);
            for word in words {
                packet.extend_from_slice(&word.to_be_bytes());
            }
        }
        let header = packet.len();
        packet.extend_from_slice(&payload);
        (header, packet)
    }
}

proptest! {
    #[test]
    fn what_is_protected_opens((header, packet) in any_packet(), profile in any_profile()) {
        for (here, there) in [(ring_provider(), rust_provider()), (rust_provider(), ring_provider())] {
            let (mut sender, _) = pair(profile, here);
            let (_, mut receiver) = pair(profile, there);
            let protected = protect_rtp(&mut sender, &packet).unwrap();
            prop_assert_eq!(&protected[..header], &packet[..header], "the header stays in the clear");
            prop_assert!(packet.len() < header + 16 || protected[header..packet.len()] != packet[header..]);
            prop_assert_eq!(unprotect_rtp(&mut receiver, &protected), Ok(packet.clone()));
        }
    }

    #[test]
    fn a_flipped_bit_is_found((_, packet) in any_packet(), profile in any_profile(), at: prop::sample::Index) {
        let (mut sender, mut receiver) = pair(profile, ring_provider());
        let mut protected = protect_rtp(&mut sender, &packet).unwrap();
        let bit = at.index(protected.len() * 8);
        protected[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(unprotect_rtp(&mut receiver, &protected).is_err());
        prop_assert_eq!(receiver.ssrc_count(), 0);
    }

    #[test]
    fn rtcp_opens_and_a_flipped_bit_is_found(body in prop::collection::vec(any::<u8>(), 0..200), profile in any_profile(), at: prop::sample::Index) {
        let (mut sender, mut receiver) = pair(profile, ring_provider());
        let mut packet = rtcp(9);
        packet.extend_from_slice(&body);
        let mut protected = protect_rtcp(&mut sender, &packet).unwrap();
        prop_assert_eq!(unprotect_rtcp(&mut receiver, &protected), Ok(packet));
        let bit = at.index(protected.len() * 8);
        protected[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(unprotect_rtcp(&mut receiver, &protected).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, profile in any_profile()) {
        let (mut sender, mut receiver) = pair(profile, rust_provider());
        let _ = unprotect_rtp(&mut receiver, &bytes);
        let _ = unprotect_rtcp(&mut receiver, &bytes);
        let _ = protect_rtp(&mut sender, &bytes);
        let _ = protect_rtcp(&mut sender, &bytes);
    }
}
