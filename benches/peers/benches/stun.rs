//! STUN: a Binding request is parsed, its MESSAGE-INTEGRITY and FINGERPRINT are checked. The message is RFC 5769 §2.1, 108 bytes.

use std::hint::black_box;

use antiphon_bench_peers::{Contender, compare};
use criterion::{Criterion, criterion_group, criterion_main};
use str0m_proto::Sha1HmacProvider;

const ROUND: usize = 500;
const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
const REQUEST: [u8; 108] = *b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09evtj:h6vY   \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\x80\x28\x00\x04\xe5\x7a\x3b\xcf";

fn check(c: &mut Criterion) {
    let ours = antiphon_stun::Key::short_term(std::str::from_utf8(PASSWORD).unwrap());
    let theirs =
        stun_types::message::ShortTermCredentials::new(String::from_utf8(PASSWORD.to_vec()).unwrap()).make_key();
    let provider = rtc_crypto::default_provider().unwrap();
    let contenders = vec![
        Contender::timed("antiphon-stun", || {
            for _ in 0..ROUND {
                let message = antiphon_stun::Message::parse(black_box(&REQUEST)).unwrap();
                assert!(message.check_integrity(&ours).is_valid() && message.check_fingerprint().is_valid());
            }
        }),
        Contender::timed("antiphon-stun without its fingerprint check", || {
            for _ in 0..ROUND {
                let message = antiphon_stun::Message::parse(black_box(&REQUEST)).unwrap();
                assert!(message.check_integrity(&ours).is_valid());
            }
        }),
        Contender::timed("is (no fingerprint check of its own)", || {
            for _ in 0..ROUND {
                let message = is::stun::StunMessage::parse(black_box(&REQUEST)).unwrap();
                assert!(message.verify(PASSWORD, |key, parts| is::DefaultSha1HmacProvider.sha1_hmac(key, parts)));
            }
        }),
        Contender::timed("stun-types", || {
            for _ in 0..ROUND {
                let message = stun_types::message::Message::from_bytes(black_box(&REQUEST)).unwrap();
                message.validate_integrity_with_key(&theirs).unwrap();
            }
        }),
        Contender::timed("rtc-stun", || {
            for _ in 0..ROUND {
                let mut message = rtc_stun::message::Message::new();
                message.unmarshal_binary(black_box(&REQUEST)).unwrap();
                rtc_stun::integrity::MessageIntegrity::check(&mut message, PASSWORD, provider.crypto()).unwrap();
                rtc_stun::fingerprint::FINGERPRINT.check(&message).unwrap();
            }
        }),
    ];
    compare(
        c,
        "stun/parse and check a Binding request",
        ROUND as u64,
        0,
        401,
        contenders,
    );
}

criterion_group!(benches, check);
criterion_main!(benches);
