//! `/ws` and the HTTP surface: what is refused, and how.

mod common;

use antiphon::{Event, RtcPeerConnectionState};
use common::{Running, Socket, client, drive};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

const SDP: (&str, &str) = ("Content-Type", "application/sdp");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_messages_get_an_error_and_the_session_lives() {
    let server = Running::start(&[]).await;
    let mut socket = server.socket().await;
    assert_eq!(socket.next().await.unwrap()["type"], "welcome");
    let long = format!(r#"{{"type":"offer","sdp":"{}"}}"#, "x".repeat(300 * 1024));
    for (text, code) in [
        ("", "json"),
        ("{", "json"),
        ("[1,2]", "json"),
        (r#"{"type":"offer"}"#, "json"),
        (r#"{"type":"start","mode":"party"}"#, "json"),
        (r#"{"type":"launch"}"#, "type"),
        (r#"{"type":"answer","sdp":"v=0"}"#, "state"),
        (r#"{"type":"offer","sdp":"nonsense"}"#, "sdp"),
        (r#"{"type":"link","link":{"rate":1}}"#, "link"),
        (r#"{"type":"link","link":{"colour":"blue"}}"#, "json"),
        (&long, "size"),
    ] {
        socket.send_raw(Message::Text(text.into())).await;
        let reply = socket.next().await.expect("the session lives");
        assert_eq!(
            (&reply["type"], &reply["code"]),
            (&json!("error"), &json!(code)),
            "{}: {reply}",
            &text[..text.len().min(80)]
        );
    }
    socket.send_raw(Message::Binary(vec![1, 2, 3].into())).await;
    assert_eq!(socket.next().await.unwrap()["code"], "binary");
    // It still works.
    let mut fresh = server.socket().await;
    fresh
        .send(json!({ "type": "start", "mode": "watch", "offerer": "server" }))
        .await;
    let offer = fresh.expect("offer").await;
    let sdp = offer["sdp"].as_str().unwrap();
    assert!(
        sdp.contains("m=video") && sdp.contains("m=audio") && sdp.contains("m=application"),
        "{sdp}"
    );
    fresh.send(json!({ "type": "start" })).await;
    assert_eq!(fresh.expect("error").await["code"], "state");
    fresh.send(json!({ "type": "offer", "sdp": sdp })).await;
    assert_eq!(fresh.expect("error").await["code"], "state", "offers crossed");
    server.stop().await;
}

/// The next statistics that are so.
async fn statistics(socket: &mut Socket, are_so: impl Fn(&Value) -> bool) -> Value {
    loop {
        let message = socket.next_of_all().await.expect("statistics");
        if message["type"] == "stats" && are_so(&message["stats"]) {
            return message["stats"].clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_over_the_link_that_was_asked_for() {
    let server = Running::start(&["--udp-port", "0", "--link", "delay=30"]).await;
    let mut socket = server.socket().await;
    let mut pc = client().await;
    socket
        .send(json!({ "type": "start", "mode": "data", "offerer": "server" }))
        .await;
    drive(&mut pc, &mut socket, async |event| {
        matches!(event, Event::ConnectionStateChange(RtcPeerConnectionState::Connected))
    })
    .await;
    // As the server was started: 30 ms each way.
    let seen = statistics(&mut socket, |seen| !seen["rtt_ms"].is_null()).await;
    assert!(seen["rtt_ms"].as_f64().is_some_and(|ms| ms >= 60.0), "{seen}");
    assert_eq!(
        (&seen["link"]["delay"], &seen["link"]["rate"]),
        (&json!(30), &json!(null))
    );
    // Another one, and then none.
    socket
        .send(json!({ "type": "link", "link": { "rate": 1000, "delay": 5, "loss": 0.5 } }))
        .await;
    statistics(&mut socket, |seen| seen["link"]["rate"] == 1000).await;
    socket.send(json!({ "type": "link", "link": null })).await;
    statistics(&mut socket, |seen| seen["link"].is_null()).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_has_the_server_offer_new_credentials() {
    let server = Running::start(&[]).await;
    let mut socket = server.socket().await;
    socket.send(json!({ "type": "restart" })).await;
    assert_eq!(
        socket.expect("error").await["code"],
        "state",
        "there is nothing to restart"
    );
    let mut pc = client().await;
    socket
        .send(json!({ "type": "start", "mode": "data", "offerer": "server" }))
        .await;
    drive(&mut pc, &mut socket, async |event| {
        matches!(event, Event::ConnectionStateChange(RtcPeerConnectionState::Connected))
    })
    .await;
    let password = |sdp: &str| {
        let line = sdp.lines().find(|line| line.starts_with("a=ice-pwd:"));
        line.expect("credentials").to_owned()
    };
    let before = password(&pc.remote_description().await.unwrap().unwrap().sdp);
    socket.send(json!({ "type": "restart" })).await;
    let offer = socket.expect("offer").await;
    assert_ne!(password(offer["sdp"].as_str().unwrap()), before);
    pc.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_limited_and_given_back() {
    let server = Running::start(&["--max-sessions", "1"]).await;
    let start = json!({ "type": "start", "mode": "data", "offerer": "server" });
    let mut first = server.socket().await;
    first.send(start.clone()).await;
    first.expect("offer").await;
    let mut second = server.socket().await;
    assert_eq!(second.next().await.unwrap()["type"], "welcome");
    second.send(start.clone()).await;
    assert_eq!(second.next().await.unwrap()["code"], "limit");
    assert!(second.next().await.is_none(), "closed");
    let full = server.http("POST", "/whep", &[SDP], "v=0\r\n").await;
    assert_eq!(full.status, 503);
    assert!(full.header("retry-after").is_some());
    first.send(json!({ "type": "bye" })).await;
    while first.next().await.is_some() {}
    // The place comes back when the session has ended, which the close frame may outrun.
    loop {
        let mut third = server.socket().await;
        third.expect("welcome").await;
        third.send(start.clone()).await;
        if third.next().await.unwrap()["type"] == "offer" {
            break;
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_origins_get_no_socket() {
    let server = Running::start(&[]).await;
    let upgrade = [
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (origin, status) in [("http://evil.example", 403), ("null", 403)] {
        let mut stream = tokio::net::TcpStream::connect(server.addr).await.unwrap();
        let mut request = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nOrigin: {origin}\r\n",
            server.addr
        );
        for (name, value) in upgrade {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, format!("HTTP/1.1 {status}").as_bytes());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_and_its_parts() {
    let server = Running::start(&[]).await;
    for (path, kind) in [
        ("/", "text/html"),
        ("/style.css", "text/css"),
        ("/icon.svg", "image/svg+xml"),
        ("/app.js", "text/javascript"),
        ("/session.js", "text/javascript"),
        ("/figures.js", "text/javascript"),
        ("/transfer.js", "text/javascript"),
        ("/sha256.js", "text/javascript"),
    ] {
        let answer = server.http("GET", path, &[], "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-type").unwrap().starts_with(kind), "{path}");
        assert!(answer.header("content-security-policy").is_some(), "{path}");
        assert!(!answer.body.is_empty(), "{path}");
    }
    assert_eq!(server.http("GET", "/../secret", &[], "").await.status, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whip_and_whep_refuse_with_the_right_status() {
    let server = Running::start(&[]).await;
    for path in ["/whip", "/whep"] {
        let status = async |method: &str, headers: &[(&str, &str)], body: &str| {
            server.http(method, path, headers, body).await.status
        };
        assert_eq!(status("POST", &[], "v=0\r\n").await, 415);
        assert_eq!(status("POST", &[("Content-Type", "application/json")], "{}").await, 415);
        assert_eq!(status("POST", &[SDP, ("Accept", "text/html")], "v=0\r\n").await, 406);
        assert_eq!(status("POST", &[SDP], "hello").await, 400);
        assert_eq!(status("POST", &[SDP], "").await, 400);
        assert_eq!(status("POST", &[SDP], "v=0\r\nm=video").await, 422);
        assert_eq!(status("POST", &[SDP], &"v=0\r\n".repeat(60_000)).await, 413);
        assert_eq!(status("GET", &[], "").await, 405);
        assert_eq!(status("PUT", &[SDP], "v=0\r\n").await, 405);
        let options = server
            .http("OPTIONS", path, &[("Origin", "http://localhost:3000")], "")
            .await;
        assert_eq!(options.status, 204);
        assert_eq!(options.header("accept-post"), Some("application/sdp"));
        assert_eq!(
            options.header("access-control-allow-origin"),
            Some("http://localhost:3000")
        );
        assert!(options.header("access-control-allow-methods").unwrap().contains("POST"));

        let resource = format!("{path}/live/nobody");
        let fragment = ("Content-Type", "application/trickle-ice-sdpfrag");
        assert_eq!(server.http("DELETE", &resource, &[], "").await.status, 404);
        assert_eq!(server.http("PATCH", &resource, &[fragment], "").await.status, 404);
        let get = server.http("GET", &resource, &[], "").await;
        assert_eq!((get.status, get.header("allow")), (405, Some("PATCH, DELETE, OPTIONS")));
    }
    assert_eq!(
        server.http("POST", "/whep?source=whip", &[SDP], "v=0\r\n").await.status,
        404,
        "nobody publishes"
    );
    assert_eq!(
        server.http("POST", "/whep?source=moon", &[SDP], "v=0\r\n").await.status,
        404
    );
    server.stop().await;
}
