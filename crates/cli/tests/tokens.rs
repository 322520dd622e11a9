//! Rooms that nobody comes into without a token: who is let in, what for, and what the others hear.

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use antiphon::{Direction, Event, MediaKind, RtcRtpTransceiverInit};
use antiphon_cli::token::{Grant, MAX_TOKEN, Right, Secret};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use common::guest::{Guest, capabilities, film};
use common::{Running, client, whole_offer, within};
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// A grant for an hour.
fn grant(name: &str, may: &[Right]) -> Grant {
    Grant {
        room: "stage".to_owned(),
        name: Some(name.to_owned()),
        sub: None,
        exp: now() + 3600.0,
        nbf: None,
        may: Some(may.to_vec()),
        aud: None,
    }
}

fn token(name: &str, may: &[Right]) -> String {
    grant(name, may).sign(&Secret::new(SECRET.as_bytes()).unwrap())
}

/// What the server answers to somebody who comes with this token, and that it closes the socket then.
async fn refusal(server: &Running, members: Value) -> Value {
    let mut join = json!({"type": "join", "room": "stage", "name": "Mallory", "sdp": capabilities().await});
    for (name, value) in members.as_object().unwrap() {
        join[name] = value.clone();
    }
    let mut socket = server.socket().await;
    socket.expect("welcome").await;
    socket.send(join).await;
    let refused = socket.next().await.unwrap();
    assert_eq!(refused["type"], "error", "{refused}");
    assert!(socket.next().await.is_none(), "the socket closes");
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_right_token_is_told_why_and_the_room_goes_on() {
    let server = Running::start(&["--jwt-secret", SECRET]).await;
    let ada = json!({"token": token("Ada", &[Right::Publish, Right::Watch])});
    let mut ada = Guest::come_with(&server, ada).await;
    assert_eq!(ada.joined["participants"][0]["name"], "Ada", "the token says so");

    let secret = Secret::new(SECRET.as_bytes()).unwrap();
    let whole = grant("Mallory", &[Right::Watch]);
    let right = whole.sign(&secret);
    let (signed, _) = right.rsplit_once('.').unwrap();
    let none = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let claims = signed.split_once('.').unwrap().1;
    let other = Secret::new(&[1; 32]).unwrap();
    for (token, why) in [
        (None, "a token is needed"),
        (Some(String::new()), "no token for a room"),
        (Some(whole.sign(&other)), "not made with the secret"),
        (Some(format!("{signed}.")), "not made with the secret"),
        (Some(format!("{none}.{claims}.")), "not signed with HS256"),
        (Some("x".repeat(MAX_TOKEN + 1)), "more than"),
        (
            Some(
                Grant {
                    exp: now() - 60.0,
                    ..whole.clone()
                }
                .sign(&secret),
            ),
            "expired",
        ),
        (
            Some(
                Grant {
                    nbf: Some(now() + 60.0),
                    ..whole.clone()
                }
                .sign(&secret),
            ),
            "not valid yet",
        ),
        (
            Some(
                Grant {
                    room: "other".to_owned(),
                    ..whole.clone()
                }
                .sign(&secret),
            ),
            "another room",
        ),
    ] {
        let refused = refusal(&server, json!({ "token": token })).await;
        assert_eq!(refused["code"], "token", "{why}");
        assert!(refused["message"].as_str().unwrap().contains(why), "{refused}");
    }
    // It is right, and was used: a name is in a room once.
    let again = refusal(&server, json!({"token": token("Ada", &[Right::Watch])})).await;
    assert_eq!(again["code"], "name");
    let record = refusal(&server, json!({"token": token("Eve", &[Right::Watch]), "record": true})).await;
    assert_eq!(record["code"], "right");
    ada.socket.send(json!({"type": "say", "text": "still here"})).await;
    assert_eq!(ada.socket.expect("said").await["text"], "still here");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_only_watch_sends_nothing_and_who_may_only_send_gets_nothing() {
    let server = Running::start(&["--jwt-secret", SECRET]).await;
    // Alone, a watcher has nothing to negotiate, and may not change that.
    let mut watcher = Guest::come_with(&server, json!({"token": token("Watcher", &[Right::Watch])})).await;
    watcher
        .socket
        .send(json!({"type": "publish", "audio": 1, "video": 0}))
        .await;
    assert_eq!(watcher.socket.expect("error").await["code"], "right");
    watcher
        .socket
        .send(json!({"type": "publish", "audio": 0, "video": 0}))
        .await;

    let mut camera = Guest::come_with(&server, json!({"token": token("Camera", &[Right::Publish])})).await;
    let video = camera.add(MediaKind::Video, "camera").await;
    assert_eq!(camera.exchange().await.0, json!([]));
    let mut ada = json!({"token": token("Ada", &[Right::Publish, Right::Watch])});
    ada["name"] = json!("ignored");
    let mut ada = Guest::come_with(&server, ada).await;
    ada.add(MediaKind::Video, "camera").await;
    assert_eq!(ada.exchange().await.0.as_array().unwrap().len(), 1);

    let mut tracks = 0;
    let filming = tokio::spawn(film(camera.pc, video));
    while tracks < 2 {
        let (told, answer) = watcher.exchange().await;
        tracks = told.as_array().unwrap().len();
        assert!(
            !answer.contains("a=sendonly") && !answer.contains("a=sendrecv"),
            "{answer}"
        );
    }
    within("pictures", async {
        while !matches!(watcher.pc.next_event().await.expect("it lives"), Event::Frame { .. }) {}
    })
    .await;
    // The camera heard of Ada, and was offered nothing of hers.
    camera.socket.send(json!({"type": "say", "text": "hello"})).await;
    loop {
        let message = camera.socket.next().await.unwrap();
        assert_ne!(message["type"], "offer", "{message}");
        if message["type"] == "said" {
            break;
        }
    }
    camera.socket.send(json!({"type": "bye"})).await;
    within("the end", filming).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_sees_who_records() {
    let server = Running::start(&["--jwt-secret", SECRET]).await;
    let mut ada = Guest::come_with(&server, json!({"token": token("Ada", &[Right::Publish, Right::Watch])})).await;
    let recorder = json!({"token": token("Tape", &[Right::Record]), "record": true});
    let recorder = Guest::come_with(&server, recorder).await;
    let entered = ada.socket.expect("entered").await;
    assert_eq!(entered["participant"]["recording"], true, "{entered}");
    assert_eq!(recorder.joined["participants"][0].get("recording"), None);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_for_a_room_is_taken_from_who_has_the_right_alone() {
    let server = Running::start(&["--jwt-secret", SECRET]).await;
    let mut publisher = client().await;
    let init = RtcRtpTransceiverInit::new(Direction::SendOnly);
    publisher.add_transceiver(MediaKind::Video, init).await.unwrap();
    let sending = whole_offer(&mut publisher).await;
    let receiving = sending.replace("a=sendonly", "a=recvonly");
    let sdp = ("Content-Type", "application/sdp");
    let bearer = |token: String| format!("Bearer {token}");
    let [publishes, watches] = [Right::Publish, Right::Watch].map(|right| bearer(token("Ada", &[right])));
    let mut elsewhere = grant("Ada", &[Right::Publish, Right::Watch]);
    elsewhere.room = "cellar".to_owned();
    let elsewhere = bearer(elsewhere.sign(&Secret::new(SECRET.as_bytes()).unwrap()));
    let post = async |path: &str, bearer: Option<&str>, offer: &str| {
        let mut headers = vec![sdp];
        headers.extend(bearer.map(|bearer| ("Authorization", bearer)));
        server.http("POST", path, &headers, offer).await
    };

    for bearer in [None, Some("Bearer nonsense"), Some(elsewhere.as_str())] {
        let refused = post("/whip?room=stage&name=Eve", bearer, &sending).await;
        assert_eq!(refused.status, 401, "{bearer:?}: {}", refused.body);
        assert!(refused.header("www-authenticate").unwrap().starts_with("Bearer"));
        let refused = post("/whep?room=stage&participant=Ada", bearer, &receiving).await;
        assert_eq!(refused.status, 401, "{bearer:?}: {}", refused.body);
    }
    let refused = post("/whip?room=stage&name=Eve", Some(&watches), &sending).await;
    assert_eq!(refused.status, 403, "{}", refused.body);

    let taken = post("/whip?room=stage&name=Eve", Some(&publishes), &sending).await;
    assert_eq!(taken.status, 201, "{}", taken.body);
    let bob = bearer(token("Bob", &[Right::Publish]));
    let refused = post("/whep?room=stage&participant=Ada", Some(&bob), &receiving).await;
    assert_eq!(refused.status, 403, "{}", refused.body);

    // A token is for one room, so nobody sees the list of all.
    assert_eq!(
        server
            .http("GET", "/rooms", &[("Authorization", &watches)], "")
            .await
            .status,
        401
    );
    let seen = server
        .http("GET", "/rooms?room=stage", &[("Authorization", &watches)], "")
        .await;
    let seen: Value = serde_json::from_str(&seen.body).unwrap();
    let name = &seen["rooms"][0]["participants"][0]["name"];
    assert_eq!(name, "Ada", "the token says so, and not the address: {seen}");
    server.stop().await;
}

#[tokio::test]
async fn a_secret_that_is_none_is_an_error_and_not_shown() {
    use antiphon_cli::args::{Args, Command};
    use antiphon_cli::server::Server;
    use clap::Parser;

    for wrong in ["short-and-secret", "@/nowhere/at/all"] {
        let args = Args::parse_from(["antiphon", "serve", "--listen", "127.0.0.1:0", "--jwt-secret", wrong]);
        let Some(Command::Serve(args)) = args.command else {
            panic!("serve")
        };
        let error = within("an answer", Server::bind(&args)).await.unwrap_err().to_string();
        assert!(
            error.starts_with("--jwt-secret: ") && !error.contains("short-and"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_the_program_lets_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let secret = format!("@{}", file.display());
    let server = Running::start(&["--jwt-secret", &secret]).await;
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_antiphon"))
        .args(["token", "--room", "stage", "--name", "Ada", "--for", "1m"])
        .env("ANTIPHON_JWT_SECRET", &secret)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let token = String::from_utf8(made.stdout).unwrap();
    let ada = Guest::come_with(&server, json!({"token": token.trim_end()})).await;
    assert_eq!(ada.joined["participants"][0]["name"], "Ada");
    drop(ada);
    within("an end", server.stop()).await;
    assert!(made.stderr.is_empty(), "{:?}", String::from_utf8_lossy(&made.stderr));
}
