//! The messages of RFC 5769 and RFC 8489 appendix B.

use std::net::SocketAddr;

use antiphon_stun::{AttributeType, Check, Class, Key, Message, MessageBuilder, Method, TransactionId, is_stun};

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";
const USERNAME: &str = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}";
const REALM: &str = "example.org";

/// RFC 5769 §2.1.
const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae 80220010 5354554e207465737420636c69656e74 \
    00240004 6e0001ff 80290008 932ff9b151263b36 00060009 6576746a3a68367659202020 \
    00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004 e57a3bcf";

/// RFC 5769 §2.2.
const RESPONSE_V4: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220 \
    00200008 0001a147e112a643 00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004 c07d4c96";

/// RFC 5769 §2.3.
const RESPONSE_V6: &str = "010100482112a442b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220 \
    00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9 00080014 a382954e4be67bf11784c97c8292c275bfe3ed41 \
    80280004 c8fb0b4c";

/// RFC 5769 §2.4.
const LONG_TERM: &str = "000100602112a44278ad3433c6ad72c029da412e 00060012 e3839ee38388e383aae38383e382afe382b90000 \
    0015001c 662f2f3439396b3935346436 4f4c33346f4c394653547679 36347341 0014000b 6578616d706c652e6f726700 \
    00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666";

/// The request of RFC 8489 §B.1 as erratum 6268 has it: the code printed in the RFC is wrong, and PASSWORD-ALGORITHM is missing.
const LONG_TERM_USERHASH: &str = "000100902112a44278ad3433c6ad72c029da412e \
    001e0020 4a3cf38fef6992bda952c67804 17da0f2481941556 9e60b205c46e41407f1704 \
    00150029 6f624d61744a6f7332414141 43662f2f3439396b39353464364f4c33346f4c3946535476793634734 1000000 \
    0014000b 6578616d706c652e6f726700 001d0004 00020000 \
    001c0020 b5c7bf005b6c52a2 1c51c5e892f81924 136296cb927c4314 9309278cc6518e65";

/// The request of RFC 8489 §B.1 without PASSWORD-ALGORITHM, so its key is made with MD5. The code comes from an independent
/// implementation.
const LONG_TERM_SHA256: &str = "000100882112a44278ad3433c6ad72c029da412e \
    001e0020 4a3cf38fef6992bda952c67804 17da0f2481941556 9e60b205c46e41407f1704 \
    00150029 6f624d61744a6f7332414141 43662f2f3439396b39353464364f4c33346f4c3946535476793634734 1000000 \
    0014000b 6578616d706c652e6f726700 \
    001c0020 fd8c273860d2e18ebca4c89b6973befa7ee8ecc69e9642db326fab65a0b955ba";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).unwrap() as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn sample_request() {
    let bytes = bytes(REQUEST);
    assert!(is_stun(&bytes));
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
    assert_eq!(message.software(), Some("STUN test client"));
    assert_eq!(message.priority(), Some(0x6e00_01ff));
    assert_eq!(message.ice_controlled(), Some(0x932f_f9b1_5126_3b36));
    assert_eq!(message.username(), Some("evtj:h6vY"));
    assert_eq!(message.check_integrity(&Key::short_term(PASSWORD)), Check::Valid);
    assert_eq!(message.check_integrity(&Key::short_term("other")), Check::Invalid);
    assert_eq!(
        message.check_integrity_sha256(&Key::short_term(PASSWORD)),
        Check::Absent
    );
    assert_eq!(message.check_fingerprint(), Check::Valid);
    assert_eq!(message.unknown_required().count(), 0);
}

#[test]
fn sample_responses() {
    for (hex, mapped) in [
        (RESPONSE_V4, "192.0.2.1:32853"),
        (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ] {
        let bytes = bytes(hex);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.class(), Class::Success);
        assert_eq!(message.software(), Some("test vector"));
        assert_eq!(
            message.xor_mapped_address(),
            Some(mapped.parse::<SocketAddr>().unwrap())
        );
        assert_eq!(message.check_integrity(&Key::short_term(PASSWORD)), Check::Valid);
        assert_eq!(message.check_fingerprint(), Check::Valid);
    }
}

#[test]
fn long_term_request_read_and_written() {
    let expected = bytes(LONG_TERM);
    let key = Key::long_term(USERNAME, REALM, "TheMatrIX");
    let message = Message::parse(&expected).unwrap();
    assert_eq!(message.username(), Some(USERNAME));
    assert_eq!(message.realm(), Some(REALM));
    assert_eq!(message.check_integrity(&key), Check::Valid);
    assert_eq!(message.check_fingerprint(), Check::Absent);

    let mut buffer = [0xff; 200];
    let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::BINDING, message.transaction_id());
    let nonce = message.nonce().unwrap();
    builder.username(USERNAME).nonce(nonce).realm(REALM).integrity(&key);
    let len = builder.finish().unwrap();
    assert_eq!(buffer[..len], expected[..]);
}

#[test]
fn request_with_integrity_sha256() {
    let expected = bytes(LONG_TERM_SHA256);
    let key = Key::long_term(USERNAME, REALM, "TheMatrIX");
    let message = Message::parse(&expected).unwrap();
    assert_eq!(message.nonce(), Some(&b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA"[..]));
    assert_eq!(message.check_integrity_sha256(&key), Check::Valid);
    assert_eq!(message.check_integrity(&key), Check::Absent);

    let mut buffer = [0; 200];
    let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::BINDING, message.transaction_id());
    builder
        .put(AttributeType::USERHASH, &message.userhash().unwrap())
        .nonce(message.nonce().unwrap())
        .realm(REALM)
        .integrity_sha256(&key);
    let len = builder.finish().unwrap();
    assert_eq!(buffer[..len], expected[..]);
}

#[test]
fn request_with_userhash_and_a_key_of_sha_256() {
    let expected = bytes(LONG_TERM_USERHASH);
    let key = Key::long_term_sha256(USERNAME, REALM, "TheMatrIX");
    let message = Message::parse(&expected).unwrap();
    assert_eq!(message.get(AttributeType::PASSWORD_ALGORITHM), Some(&[0, 2, 0, 0][..]));
    assert_eq!(message.check_integrity_sha256(&key), Check::Valid);
    let md5 = Key::long_term(USERNAME, REALM, "TheMatrIX");
    assert_eq!(message.check_integrity_sha256(&md5), Check::Invalid);
    let userhash = antiphon_crypto::sha256(&[USERNAME.as_bytes(), b":", REALM.as_bytes()]);
    assert_eq!(message.userhash(), Some(userhash));

    let mut buffer = [0; 200];
    let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::BINDING, message.transaction_id());
    builder
        .put(AttributeType::USERHASH, &userhash)
        .nonce(message.nonce().unwrap())
        .realm(REALM)
        .put(AttributeType::PASSWORD_ALGORITHM, &[0, 2, 0, 0])
        .integrity_sha256(&key);
    let len = builder.finish().unwrap();
    assert_eq!(buffer[..len], expected[..]);
}

#[test]
fn sample_response_written() {
    // §2.2 pads with spaces where we write zeros, so it is compared by what it says.
    let key = Key::short_term(PASSWORD);
    let id = TransactionId(*b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae");
    let mapped: SocketAddr = "192.0.2.1:32853".parse().unwrap();
    let mut buffer = [0; 80];
    let mut builder = MessageBuilder::new(&mut buffer, Class::Success, Method::BINDING, id);
    builder
        .software("test vector")
        .xor_mapped_address(mapped)
        .integrity(&key)
        .fingerprint();
    assert_eq!(builder.finish(), Ok(80));
    let expected = bytes(RESPONSE_V4);
    assert_eq!(buffer[..35], expected[..35]);
    assert_eq!(buffer[36..52], expected[36..52]);
    let message = Message::parse(&buffer).unwrap();
    assert_eq!(
        (message.check_integrity(&key), message.check_fingerprint()),
        (Check::Valid, Check::Valid)
    );
}

#[test]
fn any_flipped_bit_is_noticed() {
    let good = bytes(REQUEST);
    let key = Key::short_term(PASSWORD);
    // From behind the fingerprint's header backwards: everything before is covered by both checks.
    for bit in 0..(good.len() - 8) * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(message) = Message::parse(&bad) {
            assert_ne!(message.check_fingerprint(), Check::Valid, "bit {bit}");
            // What follows MESSAGE-INTEGRITY is not covered by it, and its header decides whether it is there at all.
            assert_ne!(message.check_integrity(&key), Check::Valid, "bit {bit}");
        }
    }
}

#[test]
fn keys_differ_by_password_algorithm() {
    let mut buffer = [0; 100];
    let sha256 = Key::long_term_sha256(USERNAME, REALM, "TheMatrIX");
    let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([1; 12]));
    builder.integrity_sha256(&sha256);
    let len = builder.finish().unwrap();
    let message = Message::parse(&buffer[..len]).unwrap();
    assert_eq!(message.check_integrity_sha256(&sha256), Check::Valid);
    let md5 = Key::long_term(USERNAME, REALM, "TheMatrIX");
    assert_eq!(message.check_integrity_sha256(&md5), Check::Invalid);
}
