//! The client against a server that says what a test wants it to say.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_sansio::{BytesMut, Rng, TransmitBuf};
use antiphon_stun::{AddressFamily, AttributeType, Class, Key, Message, MessageBuilder, Method, TransactionId};
use antiphon_turn::{AllocationError, Client, ClientConfig, ClientEvent, StreamFramer};

const REALM: &str = "example.org";
/// MD5 and SHA-256 (RFC 8489 §18.5.1).
const BOTH: [u8; 8] = [0, 1, 0, 0, 0, 2, 0, 0];
/// The cookie with the feature bits of password algorithms and of username anonymity (RFC 8489 §9.2).
const ALGORITHMS: &[u8] = b"obMatJos2gAAA1";
const ANONYMOUS: &[u8] = b"obMatJos2wAAA1";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

struct Script {
    now: Instant,
    client: Client,
}

impl Script {
    fn new(config: ClientConfig) -> Self {
        let now = antiphon_netsim::start();
        Self {
            now,
            client: Client::new(config, Rng::from_u64(7)),
        }
    }

    /// The next message to the server.
    fn request(&mut self) -> Option<Vec<u8>> {
        let mut out = TransmitBuf::new(4096, 1500);
        self.client.poll_transmit(self.now, &mut out).then(|| {
            let range = out.finish();
            out.bytes(range).to_vec()
        })
    }

    fn answer(&mut self, request: &[u8], class: Class, build: impl FnOnce(&mut MessageBuilder<'_>)) {
        let request = Message::parse(request).unwrap();
        let mut buffer = [0; 1000];
        let mut builder = MessageBuilder::new(&mut buffer, class, request.method(), request.transaction_id());
        build(&mut builder);
        let len = builder.finish().unwrap();
        assert!(
            self.client
                .handle_message(self.now, BytesMut::from(&buffer[..len]))
                .is_none()
        );
    }

    fn challenge(&mut self, nonce: &[u8], algorithms: Option<&[u8]>) {
        let request = self.request().unwrap();
        self.answer(&request, Class::Error, |builder| {
            builder.error_code(401, "Unauthorized").realm(REALM).nonce(nonce);
            if let Some(algorithms) = algorithms {
                builder.put(AttributeType::PASSWORD_ALGORITHMS, algorithms);
            }
        });
    }
}

fn alice() -> ClientConfig {
    ClientConfig::new("alice", "secret")
}

fn grant(builder: &mut MessageBuilder<'_>) {
    builder
        .xor_address(AttributeType::XOR_RELAYED_ADDRESS, addr("192.0.2.1:50000"))
        .xor_mapped_address(addr("203.0.113.1:1111"))
        .lifetime(600);
}

fn granted() -> ClientEvent {
    ClientEvent::Allocated {
        relayed: addr("192.0.2.1:50000"),
        mapped: addr("203.0.113.1:1111"),
    }
}

#[test]
fn sha_256_where_the_server_offers_it() {
    for (nonce, anonymous) in [(ALGORITHMS, false), (ANONYMOUS, true)] {
        let mut script = Script::new(alice());
        script.challenge(nonce, Some(&BOTH));
        let request = script.request().unwrap();
        let key = Key::long_term_sha256("alice", REALM, "secret");
        let message = Message::parse(&request).unwrap();
        assert!(message.check_integrity_sha256(&key).is_valid());
        assert!(message.get(AttributeType::MESSAGE_INTEGRITY).is_none());
        assert_eq!(message.get(AttributeType::PASSWORD_ALGORITHM), Some(&[0, 2, 0, 0][..]));
        assert_eq!(message.get(AttributeType::PASSWORD_ALGORITHMS), Some(&BOTH[..]));
        assert_eq!(message.username().is_none(), anonymous);
        let hash = antiphon_crypto::sha256(&[b"alice:example.org"]);
        assert_eq!(message.userhash(), anonymous.then_some(hash));
        // A success under the weaker algorithm, or unsigned, is not the server's.
        script.answer(&request, Class::Success, |builder| {
            grant(builder);
            builder.integrity(&Key::long_term("alice", REALM, "secret"));
        });
        script.answer(&request, Class::Success, grant);
        assert_eq!(script.client.poll_event(), None);
        script.answer(&request, Class::Success, |builder| {
            grant(builder);
            builder.integrity_sha256(&key);
        });
        assert_eq!(script.client.poll_event(), Some(granted()));
    }
}

#[test]
fn a_list_that_was_taken_out_is_noticed() {
    let mut script = Script::new(alice());
    script.challenge(ALGORITHMS, None);
    assert_eq!(
        script.client.poll_event(),
        Some(ClientEvent::Failed(AllocationError::BidDown))
    );
    assert_eq!(script.request(), None);
    // Only algorithms that nobody knows.
    let mut script = Script::new(alice());
    script.challenge(ALGORITHMS, Some(&[0, 9, 0, 0]));
    assert_eq!(
        script.client.poll_event(),
        Some(ClientEvent::Failed(AllocationError::Malformed))
    );
}

#[test]
fn a_stale_nonce_is_replaced_and_a_wrong_password_is_not_tried_twice() {
    let mut script = Script::new(alice());
    script.challenge(b"one", None);
    let request = script.request().unwrap();
    script.answer(&request, Class::Error, |builder| {
        builder.error_code(438, "Stale Nonce").nonce(b"two");
    });
    let request = script.request().unwrap();
    assert_eq!(Message::parse(&request).unwrap().nonce(), Some(&b"two"[..]));
    script.answer(&request, Class::Error, |builder| {
        builder.error_code(401, "Unauthorized").realm(REALM).nonce(b"three");
    });
    assert!(matches!(
        script.client.poll_event(),
        Some(ClientEvent::Failed(AllocationError::Refused { code: 401, .. }))
    ));
    // A server that calls every nonce stale is given up.
    let mut script = Script::new(alice());
    script.challenge(b"one", None);
    let mut requests = 0;
    while let Some(request) = script.request() {
        requests += 1;
        assert!(requests < 10);
        script.answer(&request, Class::Error, |builder| {
            builder.error_code(438, "Stale Nonce").nonce(b"again");
        });
    }
    assert!(matches!(
        script.client.poll_event(),
        Some(ClientEvent::Failed(AllocationError::Refused { code: 438, .. }))
    ));
}

#[test]
fn another_server_is_named() {
    let mut script = Script::new(alice());
    let request = script.request().unwrap();
    script.answer(&request, Class::Error, |builder| {
        builder
            .error_code(300, "Try Alternate")
            .address(AttributeType::ALTERNATE_SERVER, addr("192.0.2.9:3478"))
            .put(AttributeType::ALTERNATE_DOMAIN, b"other.example.org");
    });
    assert_eq!(
        script.client.poll_event(),
        Some(ClientEvent::Redirected {
            server: addr("192.0.2.9:3478"),
            domain: Some("other.example.org".into())
        })
    );
    assert!(script.client.is_ended());
    assert_eq!(script.client.poll_timeout(), None);
    // Without saying which one it is a refusal.
    let mut script = Script::new(alice());
    let request = script.request().unwrap();
    script.answer(&request, Class::Error, |builder| {
        builder.error_code(300, "Try Alternate");
    });
    assert!(matches!(
        script.client.poll_event(),
        Some(ClientEvent::Failed(AllocationError::Refused { code: 300, .. }))
    ));
}

#[test]
fn addresses_of_both_families() {
    let mut config = alice();
    config.additional_ipv6 = true;
    let mut script = Script::new(config);
    script.challenge(b"one", None);
    let request = script.request().unwrap();
    let message = Message::parse(&request).unwrap();
    let v6 = [AddressFamily::V6.number(), 0, 0, 0];
    assert_eq!(message.get(AttributeType::ADDITIONAL_ADDRESS_FAMILY), Some(&v6[..]));
    assert!(message.requested_address_family().is_none());
    let key = Key::long_term("alice", REALM, "secret");
    script.answer(&request, Class::Success, |builder| {
        grant(builder);
        builder
            .xor_address(AttributeType::XOR_RELAYED_ADDRESS, addr("[2001:db8::1]:50000"))
            .integrity(&key);
    });
    assert_eq!(script.client.poll_event(), Some(granted()));
    assert_eq!(
        script.client.poll_event(),
        Some(ClientEvent::Allocated {
            relayed: addr("[2001:db8::1]:50000"),
            mapped: addr("203.0.113.1:1111")
        })
    );
    assert_eq!(script.client.poll_event(), None);
}

#[test]
fn over_a_stream_nothing_is_sent_twice_and_data_is_padded() {
    let mut script = Script::new(alice().over_stream());
    let over_udp = alice().retransmission.total();
    assert!(script.request().is_some());
    let deadline = script.client.poll_timeout().unwrap();
    assert!(deadline - script.now >= over_udp);
    script.now = deadline;
    script.client.handle_timeout(deadline);
    assert_eq!(script.request(), None);
    assert_eq!(
        script.client.poll_event(),
        Some(ClientEvent::Failed(AllocationError::TimedOut))
    );

    let mut script = Script::new(alice().over_stream());
    script.challenge(b"one", None);
    let key = Key::long_term("alice", REALM, "secret");
    let request = script.request().unwrap();
    script.answer(&request, Class::Success, |builder| {
        grant(builder);
        builder.integrity(&key);
    });
    let peer = addr("198.51.100.7:7777");
    script.client.permit(peer.ip());
    script.client.bind_channel(peer);
    while let Some(request) = script.request() {
        script.answer(&request, Class::Success, |builder| {
            builder.integrity(&key);
        });
    }
    assert_eq!(script.client.room(peer), (4, 3));
    let mut framer = StreamFramer::default();
    assert!(framer.push(&request));
    assert!(framer.next_message().is_some());
    for len in 0..9 {
        let mut out = TransmitBuf::new(4096, 1500);
        let (front, back) = script.client.room(peer);
        assert!(out.begin(front, back));
        out.put_slice(&vec![7; len]);
        script.client.wrap(peer, &mut out);
        let range = out.finish();
        assert_eq!(out.bytes(range.clone()).len() % 4, 0);
        assert!(framer.push(out.bytes(range)));
        let message = framer.next_message().unwrap();
        // What a server sends is framed the same way.
        let (from, data) = script.client.handle_message(script.now, message).unwrap();
        assert_eq!((from, data.len()), (peer, len));
    }
}

#[test]
fn an_allocation_that_may_be_there_is_given_back() {
    // Before the server has heard who we are there is nothing to give back.
    let mut script = Script::new(alice());
    assert!(script.request().is_some());
    script.client.close(script.now);
    assert!(script.client.is_ended());
    // After it the release follows the request.
    let mut script = Script::new(alice());
    script.challenge(b"one", None);
    assert!(script.request().is_some());
    script.client.close(script.now);
    let release = script.request().unwrap();
    let message = Message::parse(&release).unwrap();
    assert_eq!((message.method(), message.lifetime()), (Method::REFRESH, Some(0)));
    script.answer(&release, Class::Error, |builder| {
        builder.error_code(437, "Allocation Mismatch");
    });
    assert!(script.client.is_ended());
}

#[test]
fn an_allocation_that_the_server_forgot_is_gone() {
    let mut script = Script::new(alice());
    script.challenge(b"one", None);
    let key = Key::long_term("alice", REALM, "secret");
    let request = script.request().unwrap();
    script.answer(&request, Class::Success, |builder| {
        grant(builder);
        builder.integrity(&key);
    });
    assert_eq!(script.client.poll_event(), Some(granted()));
    script.now += Duration::from_secs(545);
    script.client.handle_timeout(script.now);
    let request = script.request().unwrap();
    assert_eq!(Message::parse(&request).unwrap().method(), Method::REFRESH);
    // An answer to another transaction changes nothing.
    let mut forged = request.clone();
    forged[8..20].copy_from_slice(&TransactionId([9; 12]).0);
    script.answer(&forged, Class::Error, |builder| {
        builder.error_code(437, "Allocation Mismatch");
    });
    assert_eq!(script.client.poll_event(), None);
    script.answer(&request, Class::Error, |builder| {
        builder.error_code(437, "Allocation Mismatch").integrity(&key);
    });
    assert!(matches!(
        script.client.poll_event(),
        Some(ClientEvent::Failed(AllocationError::Refused { code: 437, .. }))
    ));
    assert!(script.client.is_ended());
}

#[test]
fn credentials_that_end() {
    let config = ClientConfig::time_limited("secret", "alice", Duration::from_secs(1_790_000_000));
    assert_eq!(config.username, "1790000000:alice");
    // printf 1790000000:alice | openssl dgst -sha1 -hmac secret -binary | base64
    assert_eq!(*config.password, "bgktWZImaee5cQirM/UhMSE7C3o=");
}
