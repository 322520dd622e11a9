//! Sealing, opening, the replay window, and keys that wear out.

use std::collections::BTreeSet;

use antiphon_crypto::{AeadAlgorithm, ring_provider};
use proptest::prelude::*;

use super::*;
use crate::config::CipherSuite;
use crate::record::{Split, UNIFIED_LEN, split};

const SUITES: [CipherSuite; 3] = [
    CipherSuite::EcdheEcdsaAes128GcmSha256,
    CipherSuite::EcdheEcdsaAes256GcmSha384,
    CipherSuite::EcdheEcdsaChacha20Poly1305Sha256,
];

fn protection(suite: CipherSuite) -> Protection {
    let key = vec![7; suite.aead().key_len()];
    let iv = vec![9; Protection::iv_len(suite)];
    Protection::v12(ring_provider(), suite, &key, &iv).unwrap()
}

fn sealed(epoch: &mut WriteEpoch, plaintext: &[u8]) -> BytesMut {
    let mut out = TransmitBuf::new(2048, 2048);
    assert!(out.begin(epoch.front(), epoch.back()));
    out.put_slice(plaintext);
    out.prepend(epoch.front());
    epoch.seal(ContentType::ApplicationData, &mut out, 0, 0).unwrap();
    let range = out.finish();
    BytesMut::from(out.bytes(range))
}

/// Opens the first record of a datagram.
fn open(epoch: &mut ReadEpoch, mut datagram: BytesMut) -> Result<(Opened, BytesMut), OpenError> {
    match split(&mut datagram) {
        Split::Record(mut record) => {
            let opened = epoch.open(&record.header, &mut record.bytes)?;
            record.bytes.truncate(opened.len);
            Ok((opened, record.bytes))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn sealed_records_open_once_and_forged_ones_never() {
    for suite in SUITES {
        let mut write = WriteEpoch::new(1, Some(protection(suite)));
        let mut read = ReadEpoch::new(1, Some(protection(suite)));
        for len in [0, 1, 100, 1200] {
            let plaintext = vec![len as u8; len];
            let bytes = sealed(&mut write, &plaintext);
            for at in [HEADER_LEN, bytes.len() - 1] {
                let mut bad = bytes.clone();
                bad[at] ^= 1;
                assert_eq!(open(&mut read, bad).unwrap_err(), OpenError::Forged, "{suite:?} {len}");
            }
            assert_eq!(open(&mut read, bytes.clone()).unwrap().1, plaintext);
            assert_eq!(open(&mut read, bytes).unwrap_err(), OpenError::Replayed);
        }
    }
}

#[test]
fn the_explicit_nonce_is_epoch_and_sequence_number() {
    let mut write = WriteEpoch::new(1, Some(protection(SUITES[0])));
    for sequence in 0..1000u64 {
        let bytes = sealed(&mut write, b"x");
        let nonce = u64::from_be_bytes(bytes[HEADER_LEN..HEADER_LEN + 8].try_into().unwrap());
        assert_eq!(nonce, 1 << 48 | sequence);
    }
}

fn protection_13(suite: CipherSuite) -> Protection {
    let key = vec![7; suite.aead().key_len()];
    Protection::v13(ring_provider(), suite, &key, [9; 12], &key).unwrap()
}

#[test]
fn records_of_dtls_13_open_once_in_any_order() {
    for suite in [
        CipherSuite::Aes128GcmSha256,
        CipherSuite::Aes256GcmSha384,
        CipherSuite::Chacha20Poly1305Sha256,
    ] {
        let mut write = WriteEpoch::new(3, Some(protection_13(suite)));
        let mut read = ReadEpoch::new(3, Some(protection_13(suite)));
        assert_eq!((write.front(), write.back()), (5, 17));
        let mut records = Vec::new();
        for number in 0..70_000u32 {
            let bytes = sealed(&mut write, &number.to_be_bytes());
            if number % 400 == 0 || number > 69_990 {
                records.push((number, bytes));
            }
        }
        for pair in records.chunks(2) {
            for (number, bytes) in pair.iter().rev() {
                let (opened, body) = open(&mut read, bytes.clone()).unwrap();
                assert_eq!((opened.epoch, opened.sequence), (3, u64::from(*number)));
                assert_eq!(opened.content_type, ContentType::ApplicationData);
                assert_eq!(body[..], number.to_be_bytes());
                assert_eq!(open(&mut read, bytes.clone()).err(), Some(OpenError::Replayed));
            }
        }
        let (_, last) = records.pop().unwrap();
        for at in [0, 1, 5, last.len() - 1] {
            let mut bad = last.clone();
            bad[at] ^= if at == 0 { 0 } else { 0x80 };
            let error = open(&mut read, bad).unwrap_err();
            assert!(
                matches!(error, OpenError::Forged | OpenError::Replayed),
                "{suite:?} {at} {error:?}"
            );
        }
    }
}

/// RFC 8446 §5.4. Nothing but padding is no record.
#[test]
fn padding_is_taken_off() {
    let protection = protection_13(CipherSuite::Aes128GcmSha256);
    let mut read = ReadEpoch::new(3, Some(protection_13(CipherSuite::Aes128GcmSha256)));
    let padded = |sequence: u64, inner: &[u8]| {
        let header = UnifiedHeader::bytes(3, sequence, inner.len() + TAG_LEN);
        let mut record = [&header[..], inner].concat();
        let nonce = protection.nonce(sequence, 0);
        let tag = protection.key.seal(&nonce, &header, &mut record[UNIFIED_LEN..]);
        record.extend_from_slice(&tag);
        let mask = protection.number_mask(&record[UNIFIED_LEN..]);
        record[1] ^= mask[0];
        record[2] ^= mask[1];
        BytesMut::from(&record[..])
    };
    for (sequence, data, padding) in [(0, &b"data"[..], 0), (1, b"data\0\0", 1), (2, b"", 1000), (3, b"x", 37)] {
        let inner = [data, &[23], &vec![0; padding]].concat();
        let (opened, body) = open(&mut read, padded(sequence, &inner)).unwrap();
        assert_eq!(
            (opened.content_type, opened.len),
            (ContentType::ApplicationData, data.len())
        );
        assert_eq!(body, data);
    }
    assert_eq!(open(&mut read, padded(4, &[0; 20])).unwrap_err(), OpenError::Malformed);
    assert_eq!(
        open(&mut read, padded(4, b"data\x17")).unwrap_err(),
        OpenError::Replayed
    );
    assert_eq!(
        open(&mut read, padded(5, b"data\x63")).unwrap_err(),
        OpenError::Malformed
    );
}

#[test]
fn short_numbers_are_completed_to_the_nearest() {
    for next in [0, 1, 100, 127, 128, 129, 255, 256, 257, 65_535, 65_536, 1 << 40] {
        for distance in -127i64..=127 {
            let Some(number) = u64::checked_add_signed(next, distance) else {
                continue;
            };
            assert_eq!(complete_number(number & 0xff, 8, next), number, "next {next}");
            assert_eq!(complete_number(number & 0xffff, 16, next), number, "next {next}");
        }
    }
}

#[test]
fn keys_wear_out_and_leave_room_for_an_alert() {
    for suite in [
        SUITES[0],
        SUITES[1],
        SUITES[2],
        CipherSuite::Aes128GcmSha256,
        CipherSuite::Chacha20Poly1305Sha256,
    ] {
        let protection = match suite.version() {
            crate::config::ProtocolVersion::Dtls12 => protection(suite),
            crate::config::ProtocolVersion::Dtls13 => protection_13(suite),
        };
        let mut write = WriteEpoch::new(1, Some(protection));
        match suite.aead() {
            AeadAlgorithm::ChaCha20Poly1305 => write.next_sequence = MAX_SEQUENCE - LAST_WORDS,
            _ => write.pretend_worn(LAST_BLOCKS + blocks(4)),
        }
        sealed(&mut write, b"last");
        let mut out = TransmitBuf::new(1 << 14, 2048);
        let mut again = |content_type| {
            out.begin(0, 0);
            out.put_zeros(write.front());
            let sealed = write.seal(content_type, &mut out, 0, 0);
            out.rollback();
            sealed
        };
        assert_eq!(again(ContentType::ApplicationData), Err(Error::Exhausted));
        for _ in 0..LAST_WORDS {
            assert_eq!(again(ContentType::Alert), Ok(()));
        }
        assert_eq!(again(ContentType::Alert), Err(Error::Exhausted));
    }
}

#[test]
fn each_number_once_and_nothing_old() {
    let mut window = ReplayWindow::default();
    assert!(window.check(0));
    window.accept(0);
    assert!(!window.check(0));
    window.accept(2000);
    assert!(!window.check(2000));
    assert!(window.check(1999));
    assert!(!window.check(2001 - REPLAY_WINDOW - 1));
    assert!(window.check(2001 - REPLAY_WINDOW));
    window.accept((1 << 48) - 1);
    assert!(!window.check(2000));
}

proptest! {
    #[test]
    fn agrees_with_a_set(steps in prop::collection::vec((0u64..3000, any::<bool>()), 1..400)) {
        let mut window = ReplayWindow::default();
        let mut seen = BTreeSet::new();
        let mut base = 0u64;
        for (step, far) in steps {
            let sequence = if far { base + step } else { (base + step % 64).saturating_sub(step) };
            let newest = seen.last().copied();
            let old = newest.is_some_and(|n| sequence <= n && n + 1 - sequence > REPLAY_WINDOW);
            prop_assert_eq!(window.check(sequence), !old && !seen.contains(&sequence));
            if window.check(sequence) {
                window.accept(sequence);
                seen.insert(sequence);
                base = base.max(sequence);
            }
        }
    }
}
