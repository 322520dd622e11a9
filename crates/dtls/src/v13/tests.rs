//! A session between two Firefoxes, with its key log: what we derive and open must be what they sent.

use antiphon_crypto::{HashAlgorithm, Secret, ring_provider};
use antiphon_sansio::Reader;
use bytes::BytesMut;

use super::key_schedule::{finished, protection};
use super::signed_content;
use crate::certificate::PeerKey;
use crate::config::{CipherSuite, Role};
use crate::handshake::extensions::Extensions;
use crate::handshake::hello::{ClientHello, ServerHello};
use crate::handshake::messages::Signed;
use crate::handshake::messages13::{CertificateChain13, CertificateRequest13, parse_encrypted_extensions};
use crate::handshake::reassembly::Reassembly;
use crate::handshake::transcript::Transcript;
use crate::handshake::{FragmentHeader, Message, MessageType};
use crate::record::epoch::{APPLICATION_EPOCH, Epochs, HANDSHAKE_EPOCH};
use crate::record::{ContentType, Split, split};

const SESSION: &str = include_str!("../../tests/captured/firefox-firefox-data.txt");

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn secret(label: &str) -> Secret {
    let line = SESSION
        .lines()
        .find(|line| line.starts_with(&format!("K {label} ")))
        .unwrap();
    Secret::new(&bytes(line.split(' ').nth(3).unwrap()))
}

/// One sender's epochs and messages.
struct Sender {
    epochs: Epochs,
    reassembly: Reassembly,
    messages: Vec<Message>,
    application: Vec<Vec<u8>>,
    acks: usize,
}

impl Sender {
    fn new(suite: CipherSuite, handshake: &Secret, application: &Secret) -> Self {
        let protection = |secret| protection(ring_provider(), suite, secret).unwrap();
        let mut epochs = Epochs::default();
        epochs.receive_in(HANDSHAKE_EPOCH, protection(handshake));
        epochs.receive_in(APPLICATION_EPOCH, protection(application));
        Self {
            epochs,
            reassembly: Reassembly::default(),
            messages: Vec::new(),
            application: Vec::new(),
            acks: 0,
        }
    }

    fn take(&mut self, datagram: &[u8]) {
        let mut datagram = BytesMut::from(datagram);
        while !datagram.is_empty() {
            let Split::Record(mut record) = split(&mut datagram) else {
                panic!("not a record")
            };
            let opened = self.epochs.open(&record.header, &mut record.bytes);
            let opened = opened.expect("every record opens");
            record.bytes.truncate(opened.len);
            match opened.content_type {
                ContentType::Handshake => {
                    let mut reader = Reader::new(&record.bytes);
                    while !reader.is_empty() {
                        let (header, fragment) = FragmentHeader::parse(&mut reader).unwrap();
                        self.reassembly.push(opened.epoch, &header, fragment);
                    }
                    self.messages.extend(std::iter::from_fn(|| self.reassembly.pop()));
                }
                ContentType::ApplicationData => self.application.push(record.bytes.to_vec()),
                ContentType::Ack => self.acks += crate::record::ack::parse(&record.bytes).unwrap().len(),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_session_of_two_firefoxes_is_opened_and_verified() {
    let provider = ring_provider();
    let datagrams: Vec<(bool, Vec<u8>)> = SESSION
        .lines()
        .filter_map(|line| {
            line.strip_prefix("> ")
                .map(|hex| (true, hex))
                .or(line.strip_prefix("< ").map(|hex| (false, hex)))
        })
        .map(|(from_client, hex)| (from_client, bytes(hex)))
        .collect();
    // Firefox's favourite; the length of its secrets says SHA-256 as well.
    let suite = CipherSuite::Aes128GcmSha256;
    let (client_handshake, server_handshake) = (
        secret("CLIENT_HANDSHAKE_TRAFFIC_SECRET"),
        secret("SERVER_HANDSHAKE_TRAFFIC_SECRET"),
    );
    let mut client = Sender::new(suite, &client_handshake, &secret("CLIENT_TRAFFIC_SECRET_0"));
    let mut server = Sender::new(suite, &server_handshake, &secret("SERVER_TRAFFIC_SECRET_0"));
    for (from_client, datagram) in &datagrams {
        if *from_client {
            client.take(datagram)
        } else {
            server.take(datagram)
        }
    }
    assert!(client.application.len() + server.application.len() > 20);
    assert!(server.acks > 0, "the client's last flight was acknowledged");

    let hello = ClientHello::parse(&client.messages[0].body).unwrap();
    assert_eq!(hello.write(), client.messages[0].body, "what was read is written");
    let shares = hello.extensions.offered_shares().unwrap().unwrap();
    assert!(
        shares
            .iter()
            .any(|(group, share)| *group == 0x11ec && share.len() == 1216)
    );
    assert!(
        hello
            .extensions
            .offered_versions()
            .unwrap()
            .unwrap()
            .starts_with(&[0xfefc])
    );
    let answer = ServerHello::parse(&server.messages[0].body).unwrap();
    assert_eq!(CipherSuite::from_code(answer.cipher_suite), Some(suite));
    assert_eq!(answer.extensions.server_share().unwrap().unwrap().0, 0x11ec);

    // ClientHello, the server's flight, the client's flight: the order of the transcript.
    let mut transcript = Transcript::default();
    let (first, rest) = client.messages.split_first().unwrap();
    transcript.add(first.msg_type, first.message_seq, &first.body);
    transcript.start_running(provider, HashAlgorithm::Sha256);
    let mut seen = Vec::new();
    for (role, messages, base) in [
        (Role::Server, server.messages.as_slice(), &server_handshake),
        (Role::Client, rest, &client_handshake),
    ] {
        let mut key: Option<PeerKey> = None;
        for message in messages {
            let hash = transcript.hash(provider, HashAlgorithm::Sha256);
            match message.msg_type {
                MessageType::CERTIFICATE => {
                    let chain = CertificateChain13::parse(&message.body).unwrap();
                    assert_eq!(chain.write(), message.body);
                    key = PeerKey::from_certificate(&chain.chain[0]);
                }
                MessageType::CERTIFICATE_VERIFY => {
                    let signed = Signed::parse(&message.body).unwrap();
                    let scheme = antiphon_crypto::SignatureScheme::from_code(signed.scheme).unwrap();
                    let content = signed_content(role, hash.as_bytes());
                    let key = &key.as_ref().unwrap().key;
                    provider
                        .verify_signature(scheme, key, &content, &signed.signature)
                        .unwrap();
                }
                MessageType::FINISHED => {
                    let tag = finished(provider, HashAlgorithm::Sha256, base, hash.as_bytes()).unwrap();
                    assert!(tag.verify(&message.body));
                }
                MessageType::CERTIFICATE_REQUEST => {
                    assert!(
                        CertificateRequest13::parse(&message.body)
                            .unwrap()
                            .schemes
                            .contains(&0x0403)
                    );
                }
                MessageType::ENCRYPTED_EXTENSIONS => {
                    let _: Extensions = parse_encrypted_extensions(&message.body).unwrap();
                }
                _ => assert_eq!(message.msg_type, MessageType::SERVER_HELLO),
            }
            seen.push(message.msg_type.0);
            transcript.add(message.msg_type, message.message_seq, &message.body);
        }
    }
    assert_eq!(seen, [2, 8, 13, 11, 15, 20, 11, 15, 20]);
}
