//! V25: what the program writes with `RUST_LOG=trace`, its dependencies' words included.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread;

use antiphon::{Event, RtcPeerConnectionState, RtcSessionDescription};
use antiphon_cli::token::{Grant, Secret};
use common::guest::capabilities;
use common::{Socket, client, drive, http, whole_offer, within};
use serde_json::json;
use tokio::sync::watch;

const PASSWORD: &str = "correct-horse-battery-staple";
const JWT_SECRET: &str = "a-secret-of-tokens-that-nobody-may-read";
const TOKEN: &str = "bearer-of-a-token-that-nobody-may-read";

/// The program with all logging there is, and all that it has written.
struct Program {
    child: Child,
    written: watch::Sender<Vec<String>>,
}

impl Program {
    fn start(arguments: &[&str], (name, value): (&str, &str)) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_antiphon"))
            .args(arguments)
            // By its name too: what asks for a module asks louder than what asks for all.
            .env("RUST_LOG", "trace,tungstenite::protocol=trace")
            .env(name, value)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let written = watch::Sender::default();
        collect(child.stdout.take().unwrap(), &written);
        collect(child.stderr.take().unwrap(), &written);
        Self { child, written }
    }

    /// The word after `before`, once it was written.
    async fn word_after(&self, before: &str) -> String {
        let word = |lines: &Vec<String>| {
            lines.iter().find_map(|line| {
                let (_, rest) = line.split_once(before)?;
                rest.split_whitespace().next().map(str::to_owned)
            })
        };
        let mut written = self.written.subscribe();
        let lines = within(before, written.wait_for(|lines| word(lines).is_some())).await;
        word(&lines.unwrap()).unwrap()
    }

    fn end(&mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.written.borrow().join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Gone already, unless the test fails.
        _ = self.child.kill();
    }
}

fn collect(stream: impl Read + Send + 'static, written: &watch::Sender<Vec<String>>) {
    let written = written.clone();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            written.send_modify(|lines| lines.push(line));
        }
    });
}

fn is_connected(event: &Event) -> bool {
    matches!(event, Event::ConnectionStateChange(RtcPeerConnectionState::Connected))
}

fn ice_password(sdp: &str) -> String {
    let password = sdp.lines().find_map(|line| line.strip_prefix("a=ice-pwd:"));
    password.expect("a password").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend21_v25_no_log_at_any_level_shows_a_secret() {
    let user = format!("alice:{PASSWORD}");
    let relay_only_here = ["--allow-loopback-peers", "--relay-ip", "127.0.0.1"];
    let mut turn = Program::start(
        &[&["turn", "--listen", "127.0.0.1:0"][..], &relay_only_here].concat(),
        ("ANTIPHON_TURN_USERS", &user),
    );
    let turn_addr = turn.word_after("udp ").await;
    let url = format!("turn:{turn_addr}?transport=udp");
    let relay = ["--ice-server", url.as_str(), "--ice-username", "alice"];
    let mut serve = Program::start(
        &[
            &["serve", "--listen", "127.0.0.1:0", "--jwt-secret", JWT_SECRET][..],
            &relay,
        ]
        .concat(),
        ("ANTIPHON_ICE_PASSWORD", PASSWORD),
    );
    let addr = serve.word_after("serves at http://").await.parse().unwrap();
    let mut secrets = vec![PASSWORD.to_owned(), TOKEN.to_owned(), JWT_SECRET.to_owned()];

    // Over the WebSocket, until it stands.
    let mut pc = client().await;
    let mut socket = Socket::connect(addr).await;
    socket
        .send(json!({ "type": "start", "mode": "data", "offerer": "server" }))
        .await;
    drive(&mut pc, &mut socket, async |event| is_connected(&event)).await;
    for description in [pc.local_description().await, pc.remote_description().await] {
        secrets.push(ice_password(&description.unwrap().unwrap().sdp));
    }
    pc.close().await;

    // Into a room, with a token.
    let token = Grant {
        room: "stage".to_owned(),
        name: Some("Ada".to_owned()),
        sub: None,
        exp: 4e9,
        nbf: None,
        may: None,
        aud: None,
    };
    let token = token.sign(&Secret::new(JWT_SECRET.as_bytes()).unwrap());
    let mut socket = Socket::connect(addr).await;
    let sdp = capabilities().await;
    let join = json!({ "type": "join", "room": "stage", "token": token, "sdp": sdp });
    socket.send(join).await;
    socket.expect("joined").await;
    secrets.push(token.rsplit('.').next().unwrap().to_owned());
    drop(socket);

    // And by WHEP.
    let mut pc = client().await;
    let init = antiphon::RtcRtpTransceiverInit::new(antiphon::Direction::RecvOnly);
    pc.add_transceiver(antiphon::MediaKind::Video, init).await.unwrap();
    let offer = whole_offer(&mut pc).await;
    let authorization = format!("Bearer {TOKEN}");
    let headers = [
        ("Content-Type", "application/sdp"),
        ("Authorization", authorization.as_str()),
    ];
    let answer = http(addr, "POST", "/whep", &headers, &offer).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    secrets.extend([ice_password(&offer), ice_password(&answer.body)]);
    pc.set_remote_description(RtcSessionDescription::answer(answer.body.clone()))
        .await
        .unwrap();
    within("a connection", async {
        loop {
            let event = pc.next_event().await.expect("the connection lives");
            if is_connected(&event) {
                return;
            }
        }
    })
    .await;
    let session = answer.header("location").unwrap();
    assert_eq!(http(addr, "DELETE", session, &headers[1..], "").await.status, 200);
    secrets.push(session.rsplit('/').next().unwrap().to_owned());

    let written = [turn.end(), serve.end()];
    assert!(written[1].contains("TRACE"), "its dependencies speak");
    for (whose, written) in ["turn", "serve"].iter().zip(&written) {
        assert!(!written.is_empty(), "{whose} says nothing");
        for secret in &secrets {
            let shown = written.lines().find(|line| line.contains(secret.as_str()));
            assert!(shown.is_none(), "{whose} shows {secret}: {}", shown.unwrap_or_default());
        }
    }
}
