//! A server that strangers reach: what they can take, whom they can use it for, and how it ends.

mod common;

use std::net::UdpSocket;
use std::time::Duration;

use antiphon::{Direction, MediaKind, RtcRtpTransceiverInit};
use antiphon_cli::args::{Args, Command};
use antiphon_cli::server::{Patience, ServeError, Server};
use clap::Parser;
use common::{Running, client, whole_offer, within};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(200);

/// A server that waits for nothing: what ends, ends for another reason.
fn endless() -> Patience {
    let mut patience = Patience::default();
    for time in [
        &mut patience.handshake,
        &mut patience.header,
        &mut patience.request,
        &mut patience.connection,
        &mut patience.ping,
        &mut patience.start,
        &mut patience.connect,
        &mut patience.stop,
    ] {
        *time = HOUR;
    }
    patience
}

/// What comes until the server closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end too.
    _ = within("an end", stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn say(server: &Running, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// The head of a request for a WebSocket.
fn upgrade(host: &str, more: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

async fn offer(direction: Direction) -> (antiphon::PeerConnection, String) {
    let mut pc = client().await;
    pc.add_transceiver(MediaKind::Video, RtcRtpTransceiverInit::new(direction))
        .await
        .unwrap();
    let offer = whole_offer(&mut pc).await;
    (pc, offer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend15_who_says_nothing_or_half_of_it_is_closed() {
    let mut patience = endless();
    (patience.header, patience.request) = (SOON, SOON);
    let server = Running::with(&[], patience).await;
    let silent = say(&server, "").await;
    let half_head = say(&server, "GET / HTTP/1.1\r\nHost: localhost\r\n").await;
    let half_body = format!(
        "POST /whip HTTP/1.1\r\nHost: {}\r\nContent-Type: application/sdp\r\nContent-Length: 999\r\n\r\nv=0",
        server.addr
    );
    let half_body = say(&server, &half_body).await;
    let idle = say(&server, "GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(rest(silent).await, "");
    // A word of explanation may come (408).
    assert!(!rest(half_head).await.starts_with("HTTP/1.1 2"));
    assert!(rest(half_body).await.starts_with("HTTP/1.1 408 "));
    assert!(
        rest(idle).await.starts_with("HTTP/1.1 200 "),
        "kept alive, but not for ever"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend15_silent_connections_make_room_for_others() {
    let server = Running::with(&["--max-sessions", "4", "--max-per-address", "2"], endless()).await;
    let mut silent = Vec::new();
    for _ in 0..60 {
        silent.push(TcpStream::connect(server.addr).await.unwrap());
    }
    // The same address has its share only, and another one does not notice.
    for address in ["127.0.0.1", "127.0.0.2"] {
        assert_eq!(
            server.http_from(address, "GET", "/", &[], "").await.status,
            200,
            "{address}"
        );
    }
    for stream in silent.drain(..40) {
        assert_eq!(rest(stream).await, "");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend15_idle_websockets_take_no_session() {
    let server = Running::with(&["--max-sessions", "2"], endless()).await;
    let mut idle = Vec::new();
    for _ in 0..10 {
        let mut socket = server.socket().await;
        socket.expect("welcome").await;
        idle.push(socket);
    }
    let mut guest = server.socket().await;
    guest
        .send(json!({ "type": "start", "mode": "data", "offerer": "server" }))
        .await;
    guest.expect("offer").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend15_websockets_that_come_to_nothing_end() {
    let mut patience = endless();
    (patience.start, patience.connect) = (SOON, SOON);
    let server = Running::with(&[], patience).await;
    let mut idle = server.socket().await;
    assert_eq!(idle.expect("error").await["code"], "idle");
    assert!(idle.next().await.is_none());
    let mut lonely = server.socket().await;
    lonely
        .send(json!({ "type": "start", "mode": "data", "offerer": "server" }))
        .await;
    assert_eq!(lonely.expect("error").await["code"], "idle");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend15_a_websocket_whose_pings_nobody_answers_ends() {
    let mut patience = endless();
    patience.ping = SOON;
    let server = Running::with(&[], patience).await;
    for path in ["/ws", "/meet/k7m2q-xd4ha?role=send"] {
        let request = upgrade(&server.addr.to_string(), "").replace("/ws", path);
        let heard = rest(say(&server, &request).await).await;
        assert!(heard.starts_with("HTTP/1.1 101 "), "{heard}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend15_what_one_address_takes_is_bounded_and_said() {
    let server = Running::with(&["--max-sessions", "4", "--max-per-address", "1"], endless()).await;
    let host = server.addr.to_string();
    let mut sockets = Vec::new();
    for (address, expected) in [("127.0.0.1", "101"), ("127.0.0.1", "503"), ("127.0.0.2", "101")] {
        let mut stream = server.connect_from(address).await;
        stream.write_all(upgrade(&host, "").as_bytes()).await.unwrap();
        let mut head = [0; 12];
        within("an answer", stream.read_exact(&mut head)).await.unwrap();
        assert_eq!(&head, format!("HTTP/1.1 {expected}").as_bytes(), "{address}");
        sockets.push(stream);
    }
    let (_pc, sdp) = offer(Direction::RecvOnly).await;
    for (address, status) in [("127.0.0.1", 201), ("127.0.0.1", 503), ("127.0.0.2", 201)] {
        let answer = server.http_from(address, "POST", "/whep", &[SDP], &sdp).await;
        assert_eq!(answer.status, status, "{address}: {}", answer.body);
        assert_eq!(answer.header("retry-after").is_some(), status == 503);
    }
    drop(sockets);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_takes_the_first_free_port_of_its_range_and_without_one_does_not_start() {
    // In both families.
    let taken = UdpSocket::bind("[::]:0")
        .or_else(|_| UdpSocket::bind("0.0.0.0:0"))
        .unwrap();
    let port = taken.local_addr().unwrap().port();
    let _other = UdpSocket::bind(("0.0.0.0", port));
    let bind = async |last: u16| {
        let ports = format!("{port}-{last}");
        let args = Args::parse_from(["antiphon", "serve", "--listen", "127.0.0.1:0", "--ports", &ports]);
        let Some(Command::Serve(args)) = args.command else {
            panic!("no serve")
        };
        Server::bind(&args).await
    };
    assert!(matches!(
        bind(port).await,
        Err(ServeError::Peers(antiphon::Error::Bind { .. }))
    ));
    if let Some(last) = port.checked_add(100) {
        assert!(bind(last).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend15_a_session_without_sockets_is_an_error() {
    // No interface is called so.
    let server = Running::start(&["--interface", "none"]).await;
    let (_pc, sdp) = offer(Direction::RecvOnly).await;
    let answer = server.http("POST", "/whep", &[SDP], &sdp).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.header("retry-after").is_some());
    let mut socket = server.socket().await;
    socket
        .send(json!({ "type": "start", "mode": "data", "offerer": "server" }))
        .await;
    assert_eq!(socket.expect("error").await["code"], "sockets");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend16_pages_of_strangers_neither_publish_nor_play() {
    let server = Running::start(&["--allow-origin", "https://studio.example.org"]).await;
    let (_pc, sdp) = offer(Direction::SendOnly).await;
    let post = async |path, origin| server.http("POST", path, &[SDP, ("Origin", origin)], &sdp).await;
    for path in ["/whip", "/whep", "/whip/name", "/whep/name"] {
        for origin in ["https://evil.example", "null"] {
            let refused = post(path, origin).await;
            assert_eq!(refused.status, 403, "{path} {origin}");
            assert_eq!(refused.header("access-control-allow-origin"), None);
            let preflight = server.http("OPTIONS", path, &[("Origin", origin)], "").await;
            assert_eq!(
                (preflight.status, preflight.header("access-control-allow-origin")),
                (403, None)
            );
        }
    }
    let created = post("/whip", "https://studio.example.org").await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(
        created.header("access-control-allow-origin"),
        Some("https://studio.example.org")
    );
    assert_eq!(created.header("vary"), Some("Origin"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend16_a_name_that_is_not_ours_reaches_nothing() {
    let server = Running::start(&["--allow-host", "media.example.org"]).await;
    let (_pc, sdp) = offer(Direction::SendOnly).await;
    for path in ["/", "/app.js", "/ws", "/meet/k7m2q-xd4ha?role=send", "/nothing"] {
        assert_eq!(
            server.http("GET", path, &[("Host", "evil.example")], "").await.status,
            421,
            "{path}"
        );
    }
    // As a rebinding page would ask: Host and Origin agree.
    let rebound = [SDP, ("Host", "evil.example"), ("Origin", "http://evil.example")];
    assert_eq!(server.http("POST", "/whip", &rebound, &sdp).await.status, 421);
    let request = upgrade("evil.example", "Origin: http://evil.example\r\n");
    assert!(rest(say(&server, &request).await).await.starts_with("HTTP/1.1 421 "));
    for host in ["media.example.org", "localhost:8080", "[::1]"] {
        assert_eq!(
            server.http("GET", "/", &[("Host", host)], "").await.status,
            200,
            "{host}"
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend16_tokens_decide_who_publishes_and_who_plays() {
    let server = Running::start(&["--whip-token", "north", "--whep-token", "south"]).await;
    let (_pc, sdp) = offer(Direction::SendRecv).await;
    for (path, right, wrong) in [
        ("/whip", "Bearer north", "Bearer south"),
        ("/whep", "Bearer south", "Bearer north"),
    ] {
        let resource = &format!("{path}/live/x");
        for (method, path) in [("POST", path), ("PATCH", resource), ("DELETE", resource)] {
            let bare = server.http(method, path, &[SDP], &sdp).await;
            assert_eq!(
                (bare.status, bare.header("www-authenticate")),
                (401, Some("Bearer")),
                "{method} {path}"
            );
            let other = server.http(method, path, &[SDP, ("Authorization", wrong)], &sdp).await;
            assert_eq!(other.status, 401);
            assert!(other.header("www-authenticate").unwrap().contains("invalid_token"));
        }
        // A preflight cannot carry one.
        assert_eq!(server.http("OPTIONS", path, &[], "").await.status, 204);
        let created = server.http("POST", path, &[SDP, ("Authorization", right)], &sdp).await;
        assert_eq!(created.status, 201, "{}", created.body);
        let location = created.header("location").unwrap().to_owned();
        assert_eq!(server.http("DELETE", &location, &[], "").await.status, 401);
        assert_eq!(
            server
                .http("DELETE", &location, &[("Authorization", right)], "")
                .await
                .status,
            200
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend16_a_stream_has_one_publisher() {
    let server = Running::start(&[]).await;
    let (_pc, sdp) = offer(Direction::SendRecv).await;
    let post = async |path| server.http("POST", path, &[SDP], &sdp).await;
    assert_eq!(post("/whep/a").await.status, 404, "nobody publishes");
    assert_eq!(post("/whip/a%20b").await.status, 404, "no name");
    let first = post("/whip/a").await;
    assert_eq!(first.status, 201, "{}", first.body);
    let location = first.header("location").unwrap().to_owned();
    assert!(location.starts_with("/whip/a/"), "{location}");
    assert_eq!(post("/whip/a").await.status, 409);
    assert_eq!(post("/whip/b").await.status, 201);
    let plain = post("/whip").await;
    assert!(plain.header("location").unwrap().starts_with("/whip/live/"));
    assert_eq!(post("/whip/live").await.status, 409, "the same name");
    assert_eq!(post("/whep/a").await.status, 201);
    assert_eq!(server.http("DELETE", &location, &[], "").await.status, 200);
    assert_eq!(post("/whep/a").await.status, 404);
    assert_eq!(post("/whip/a").await.status, 201, "the name is free again");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend17_half_sent_requests_do_not_hold_the_end() {
    let server = Running::with(&[], endless()).await;
    let host = server.addr;
    let held = [
        say(&server, "").await,
        say(&server, "GET / HTTP/1.1\r\nHo").await,
        say(
            &server,
            &format!(
                "POST /whip HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/sdp\r\nContent-Length: 999\r\n\r\nv=0"
            ),
        )
        .await,
        say(&server, "GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n").await,
        say(&server, &upgrade(&host.to_string(), "")).await,
    ];
    // The last two have been answered.
    for stream in &held[3..] {
        within("an answer", stream.readable()).await.unwrap();
    }
    server.stop().await;
    for stream in held {
        rest(stream).await;
    }
}

/// The program itself, with signals as a person or a service manager sends them.
#[cfg(unix)]
#[test]
fn mend17_the_first_signal_ends_gracefully() {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpStream;
    use std::process::{Command, Stdio};
    use std::sync::mpsc;

    let patience = Duration::from_secs(60);
    for signal in ["-TERM", "-INT"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_antiphon"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let id = program.id().to_string();
        let kill = |signal: &str| {
            assert!(
                Command::new("kill")
                    .args([signal, id.as_str()])
                    .status()
                    .unwrap()
                    .success()
            )
        };
        // The reader leaves after the first line, as `head -1` would; the program goes on.
        let mut line = String::new();
        BufReader::new(program.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let addr = line
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next())
            .unwrap();
        let connect = |request: &str| {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.set_read_timeout(Some(patience)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        };
        let _half = connect("POST /whip HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n");
        let mut socket = connect(&upgrade(addr, ""));
        let mut heard = vec![0; 12];
        socket.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"HTTP/1.1 101");
        kill(signal);
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || ended.send(program.wait().unwrap()));
        let status = end.recv_timeout(patience).unwrap_or_else(|_| {
            kill("-KILL");
            panic!("{signal}: it goes on")
        });
        assert_eq!(status.code(), Some(0), "{signal}");
        // RFC 6455 §5.5.1: the socket was closed with a frame that says so, not cut.
        socket.read_to_end(&mut heard).unwrap();
        let farewell = [&[0x88, 5], &1000_u16.to_be_bytes()[..], b"bye"].concat();
        assert!(heard.ends_with(&farewell), "{signal}: {heard:?}");
    }
}
