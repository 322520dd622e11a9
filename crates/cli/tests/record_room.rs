//! `antiphon record --room`: a file for each participant, from its first frame until it leaves, and an index of them.

mod common;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use antiphon::MediaKind;
use antiphon_cli::token::{Grant, Right, Secret};
use antiphon_container::{Codec, Reader};
use common::guest::{Guest, film};
use common::{Running, Socket, within};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn token(name: &str, may: &[Right]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let grant = Grant {
        room: "stage".to_owned(),
        name: Some(name.to_owned()),
        sub: None,
        exp: now + 3600.0,
        nbf: None,
        may: Some(may.to_vec()),
        aud: None,
    };
    grant.sign(&Secret::new(SECRET.as_bytes()).unwrap())
}

/// Somebody who sends pictures until it leaves.
async fn filming(server: &Running, name: &str) -> (Socket, JoinHandle<()>) {
    let members = json!({"token": token(name, &[Right::Publish, Right::Watch])});
    let mut guest = Guest::come_with(server, members).await;
    let video = guest.add(MediaKind::Video, "camera").await;
    guest.exchange().await;
    (guest.socket, tokio::spawn(film(guest.pc, video)))
}

async fn leave((mut socket, filming): (Socket, JoinHandle<()>)) {
    socket.send(json!({"type": "bye"})).await;
    within("the end", filming).await.unwrap();
}

fn record(server: &Running, folder: &Path, token: Option<&str>) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    command.args(["record", "--room", "stage", &format!("http://{}", server.addr)]);
    command.arg(folder).env_remove("ANTIPHON_TOKEN");
    if let Some(token) = token {
        command.env("ANTIPHON_TOKEN", token);
    }
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

async fn ended(child: Child) -> Output {
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    within("an exit", waiting).await.unwrap()
}

/// The lines of the index, once they are as `wanted` says.
async fn index(folder: &Path, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let look = async {
        loop {
            tick.tick().await;
            let Ok(text) = std::fs::read_to_string(folder.join("index.json")) else {
                continue;
            };
            let index: Value = serde_json::from_str(&text).expect("it is whole at every moment");
            assert_eq!(index["room"], "stage");
            let recordings = index["recordings"].as_array().unwrap();
            if wanted(recordings) {
                return recordings.clone();
            }
        }
    };
    within("an index", look).await
}

/// How many samples a file has, all of them pictures, the first a key frame.
fn samples(path: &Path) -> u64 {
    let mut reader = Reader::new(BufReader::new(File::open(path).unwrap())).unwrap();
    assert_eq!(reader.tracks().len(), 1);
    assert_eq!(reader.tracks()[0].codec, Codec::Vp8);
    let mut count = 0;
    while let Some(sample) = reader.next_sample().unwrap() {
        assert!(sample.key_frame || count > 0);
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_participant_becomes_a_file_that_ends_when_it_leaves() {
    let server = Running::start(&["--jwt-secret", SECRET]).await;
    let folder = tempfile::tempdir().unwrap();
    let tape = folder.path().join("tape");
    let ada = filming(&server, "Ada Lovelace").await;
    let grace = filming(&server, "Grace").await;
    let child = record(&server, &tape, Some(&token("Tape", &[Right::Record])));
    let pid = child.id().to_string();
    let both = index(&tape, |recordings| recordings.len() == 2).await;
    let mut names: Vec<_> = both.iter().map(|one| one["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Ada Lovelace", "Grace"]);
    assert!(
        both.iter().all(|one| one["to"].is_null() && one["shows"] == "camera"),
        "{both:?}"
    );

    leave(ada).await;
    let one = index(&tape, |recordings| recordings.iter().any(|one| !one["to"].is_null())).await;
    let ended_first = one.iter().find(|one| !one["to"].is_null()).unwrap();
    assert_eq!(ended_first["name"], "Ada Lovelace");
    let file = tape.join(ended_first["file"].as_str().unwrap());
    assert_eq!(
        samples(&file),
        ended_first["written"].as_u64().unwrap(),
        "it can be played now"
    );

    // Who comes back is another participant.
    let again = filming(&server, "Ada Lovelace").await;
    index(&tape, |recordings| recordings.len() == 3).await;

    // Ctrl-C.
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = ended(child).await;
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .starts_with("recorded 3 files in ")
    );
    let all = index(&tape, |recordings| recordings.len() == 3).await;
    for one in &all {
        let file = one["file"].as_str().unwrap();
        assert!(
            ["-ada-lovelace.webm", "-grace.webm"]
                .iter()
                .any(|end| file.ends_with(end)),
            "{file}"
        );
        assert!(one["from"].as_f64().unwrap() <= one["to"].as_f64().unwrap());
        let written = one["written"].as_u64().unwrap();
        assert!(written > 0);
        assert_eq!(samples(&tape.join(file)), written, "{file}");
    }
    let ids: std::collections::BTreeSet<_> = all.iter().map(|one| one["participant"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 3);
    leave(again).await;
    leave(grace).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_record_is_told_so_and_leaves_nothing_behind() {
    let server = Running::start(&["--jwt-secret", SECRET]).await;
    let folder = tempfile::tempdir().unwrap();
    let tape = folder.path().join("tape");
    let watcher = token("Eve", &[Right::Publish, Right::Watch]);
    for (token, why) in [
        (None, "a token is needed"),
        (Some(&*watcher), "your token does not let you record"),
    ] {
        let output = ended(record(&server, &tape, token)).await;
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(why), "{said}");
        assert!(!tape.exists());
    }
    server.stop().await;
}
