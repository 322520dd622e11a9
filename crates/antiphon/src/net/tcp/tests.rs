//! Dialling and listening over loopback, with TLS and without.

use std::net::SocketAddr;
use std::sync::Arc;

use antiphon_ice::{Framing, frame_header};
use antiphon_stun::{Class, MessageBuilder, Method, TransactionId};
use bytes::BytesMut;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::driver::message::PeerId;
use crate::driver::message::Report;
use crate::environment::Environment;
use crate::interfaces::InterfaceFilter;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A message that `StreamFramer` knows the end of.
const MESSAGE: [u8; 20] = [
    0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
];

async fn tls_echo() -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(vec!["turn.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(ANY).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let (mut reader, mut writer) = tokio::io::split(stream);
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        }
    });
    (addr, made.cert.pem())
}

fn dial(to: SocketAddr, trust: Trust, name: Option<&str>) -> (Connection, mpsc::Receiver<Report>) {
    let environment = Arc::new(Environment::new(InterfaceFilter::default(), trust));
    let (connection, outgoing) = Connection::new(PeerId(1), to);
    let (reports, arrived) = mpsc::channel(8);
    let dial = Dial {
        id: 5,
        from: ANY,
        to,
        framing: Framing::Turn,
        tls: name.map(str::to_owned),
    };
    tokio::spawn(dial.run(environment, outgoing, reports));
    (connection, arrived)
}

async fn echo(mut connection: Connection, mut arrived: mpsc::Receiver<Report>) {
    let Some(Report::Connected { id: 5, addr }) = arrived.recv().await else {
        panic!("a connection")
    };
    connection.addr = Some(addr);
    connection.write(&MESSAGE);
    connection.write(&MESSAGE);
    for _ in 0..2 {
        let Some(Report::Message { id: 5, data }) = arrived.recv().await else {
            panic!("an echo")
        };
        assert_eq!(data[..], MESSAGE);
    }
    drop(connection);
    assert!(matches!(arrived.recv().await, Some(Report::Ended { id: 5 })));
}

async fn refusal(mut arrived: mpsc::Receiver<Report>) -> String {
    match arrived.recv().await {
        Some(Report::ConnectFailed { id: 5, reason }) => reason,
        _ => panic!("a refusal"),
    }
}

#[tokio::test]
async fn tls_believes_the_certificates_of_the_settings_only() {
    let (addr, pem) = tls_echo().await;
    let trusting = Trust {
        extra: Trust::parse_pem(pem.as_bytes()).unwrap(),
        ..Trust::default()
    };
    let (connection, arrived) = dial(addr, trusting.clone(), Some("turn.test"));
    echo(connection, arrived).await;

    let (_connection, arrived) = dial(addr, trusting, Some("other.test"));
    let reason = refusal(arrived).await;
    assert!(
        reason.contains("other.test") && reason.contains("certificate"),
        "{reason}"
    );

    let (_connection, arrived) = dial(addr, Trust::default(), Some("turn.test"));
    let reason = refusal(arrived).await;
    assert!(reason.contains("certificate"), "{reason}");

    let accepting = Trust {
        accept_any: true,
        ..Trust::default()
    };
    let (connection, arrived) = dial(addr, accepting, Some("whatever.test"));
    echo(connection, arrived).await;
}

#[tokio::test]
async fn a_closed_port_is_named() {
    let free = {
        let listener = TcpListener::bind(ANY).await.unwrap();
        listener.local_addr().unwrap()
    };
    let (_connection, arrived) = dial(free, Trust::default(), None);
    let reason = refusal(arrived).await;
    assert!(
        reason.contains(&free.to_string()) && reason.contains("refused"),
        "{reason}"
    );
}

fn binding_request(username: &str) -> Vec<u8> {
    let mut buffer = [0; 200];
    let id = TransactionId([7; 12]);
    let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::BINDING, id);
    let len = builder.username(username).finish().unwrap();
    let mut framed = frame_header(len).to_vec();
    framed.extend_from_slice(&buffer[..len]);
    framed
}

#[tokio::test]
async fn who_asks_for_nobody_is_not_handed_over() {
    let (reports, mut arrived) = mpsc::channel(8);
    let listener = Listener::start(3, ANY, reports).unwrap();
    let mut stranger = TcpStream::connect(listener.addr).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // A length that no first message has: closed as soon as so much has come.
    let _ = stranger.write_all(&[0x50; 4096]).await;
    let mut rest = Vec::new();
    let _ = stranger.read_to_end(&mut rest).await;
    assert!(rest.is_empty());

    let mut peer = TcpStream::connect(listener.addr).await.unwrap();
    let request = binding_request("ours:theirs");
    let (early, late) = request.split_at(9);
    peer.write_all(early).await.unwrap();
    peer.write_all(late).await.unwrap();
    peer.write_all(&request).await.unwrap();
    let Some(Report::Accepted {
        listener: 3,
        mut accepted,
    }) = arrived.recv().await
    else {
        panic!("a connection")
    };
    assert_eq!(requested_ufrag(&accepted.first).as_deref(), Some("ours"));
    assert_eq!(accepted.first[..], request[2..]);
    assert_eq!(accepted.remote, peer.local_addr().unwrap());
    // What came with it is not lost.
    let mut framer = accepted.framer;
    let mut buffer = BytesMut::new();
    let second = loop {
        if let Some(second) = framer.next_message() {
            break second;
        }
        buffer.clear();
        accepted.stream.read_buf(&mut buffer).await.unwrap();
        framer.push(&buffer);
    };
    assert_eq!(second[..], request[2..]);
}

#[tokio::test]
async fn one_source_cannot_fill_all_places() {
    let (reports, mut arrived) = mpsc::channel(8);
    let listener = Listener::start(3, ANY, reports).unwrap();
    let mut silent = Vec::new();
    for _ in 0..listener::MAX_SILENT_PER_SOURCE {
        silent.push(TcpStream::connect(listener.addr).await.unwrap());
    }
    let mut refused = TcpStream::connect(listener.addr).await.unwrap();
    let mut rest = Vec::new();
    let _ = refused.read_to_end(&mut rest).await;
    // A place becomes free when one of them goes.
    drop(silent.pop());
    loop {
        let mut peer = TcpStream::connect(listener.addr).await.unwrap();
        if peer.write_all(&binding_request("ours:theirs")).await.is_err() {
            continue;
        }
        tokio::select! {
            accepted = arrived.recv() => {
                assert!(matches!(accepted, Some(Report::Accepted { .. })));
                return;
            }
            _ = peer.read_u8() => {}
        }
    }
}
