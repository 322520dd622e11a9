//! `antiphon send` and `recv`: both ways to meet, a connection that breaks in the middle, and a sender with bad intentions.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use antiphon::{Api, Event, Message, RtcConfiguration, RtcDataChannelInit, RtcSessionDescription};
use antiphon_cli::code::new_code;
use antiphon_cli::transfer::{
    Card, Inbox, Link, Meeting, Outbox, Pasting, Received, ReceivedFile, Role, Sent, Signalled, TransferError,
};
use common::{Running, within};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

fn api() -> Api {
    Api::builder().loopback(true).build().unwrap()
}

fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

fn sha256(path: &Path) -> String {
    Sha256::digest(fs::read(path).unwrap())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A folder with a deep file, an empty one and a large one.
fn sources() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("things/deep/er")).unwrap();
    fs::write(folder.path().join("things/deep/er/small.txt"), "small").unwrap();
    fs::write(folder.path().join("things/empty"), "").unwrap();
    fs::write(folder.path().join("things/large.bin"), noise(3_000_001, 1)).unwrap();
    folder
}

fn pasting() -> (Meeting, Meeting) {
    let (offers, offered) = mpsc::channel::<String>();
    let (answers, answered) = mpsc::channel::<String>();
    let gone = |_| std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    (
        Meeting::Pasting(Pasting::new(
            Role::Sender,
            move |line| offers.send(line.into()).unwrap(),
            move || answered.recv().map_err(gone),
        )),
        Meeting::Pasting(Pasting::new(
            Role::Receiver,
            move |line| answers.send(line.into()).unwrap(),
            move || offered.recv().map_err(gone),
        )),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_by_pasted_lines() {
    let (from, into) = (sources(), tempfile::tempdir().unwrap());
    let mut outbox = Outbox::gather(&[from.path().join("things")]).unwrap();
    assert_eq!((outbox.files(), outbox.bytes()), (3, 3_000_006));
    let mut inbox = Inbox::new(into.path(), false, true).unwrap();
    let (mut here, mut there) = pasting();
    let api = api();
    let (one, mut other) = meet(&api, &mut here, &mut there).await;
    let (sent, received) = within("the transfer", async {
        tokio::join!(run_and_close(&mut outbox, one), inbox.run(&mut other))
    })
    .await;
    let (sent, received) = (sent.unwrap(), received.unwrap());
    other.close().await;
    assert_eq!((sent.failed, received.failed), (0, 0));
    assert_eq!(sent.files.len(), 3);
    for file in &sent.files {
        let other = ReceivedFile {
            path: file.path.clone(),
            sha256: file.sha256.clone(),
        };
        assert!(received.files.contains(&other), "{file:?}");
        assert_eq!(sha256(&from.path().join(&file.path)), file.sha256);
        assert_eq!(sha256(&into.path().join(&file.path)), file.sha256);
    }
    assert_eq!(parts(&into.path().join("things")), Vec::<PathBuf>::new());
}

/// The files in a folder that are not whole yet.
fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.to_string_lossy().ends_with(".antiphon-part"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_goes_on_where_it_was() {
    let server = Running::start(&[]).await;
    let url = format!("ws://{}", server.addr);
    let code = new_code();
    let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let size = 24 << 20;
    fs::write(from.path().join("a.bin"), noise(size, 2)).unwrap();
    fs::write(from.path().join("b.bin"), noise(50_000, 3)).unwrap();
    let mut outbox = Outbox::gather(&[from.path().join("a.bin"), from.path().join("b.bin")]).unwrap();
    let mut inbox = Inbox::new(into.path(), false, true).unwrap();
    let mut here = Meeting::Signalled(Signalled::new(&url, &code, Role::Sender).unwrap());
    let mut there = Meeting::Signalled(Signalled::new(&url, &code, Role::Receiver).unwrap());
    let api = api();

    // The first connection is cut when a part has been written.
    let (mut one, mut other) = meet(&api, &mut here, &mut there).await;
    let (cut, mut taken) = (one.cut(), inbox.taken());
    let cutter = tokio::spawn(async move {
        taken.wait_for(|bytes| *bytes >= 2 << 20).await.unwrap();
        cut.close().await;
    });
    let (sent, received) = within("the break", async {
        tokio::join!(outbox.run(&mut one), inbox.run(&mut other))
    })
    .await;
    cutter.await.unwrap();
    assert!(matches!(sent, Err(TransferError::Broken)), "{sent:?}");
    assert!(matches!(received, Err(TransferError::Broken)), "{received:?}");
    other.close().await;
    let kept = fs::metadata(&parts(into.path())[0]).unwrap().len();
    assert!((2 << 20..size as u64).contains(&kept), "{kept} bytes are kept");

    let (one, mut other) = meet(&api, &mut here, &mut there).await;
    let (sent, received) = within("the rest", async {
        tokio::join!(run_and_close(&mut outbox, one), inbox.run(&mut other))
    })
    .await;
    let (sent, received) = (sent.unwrap(), received.unwrap());
    assert_eq!((sent.files.len(), sent.failed, received.failed), (2, 0, 0));
    for name in ["a.bin", "b.bin"] {
        assert_eq!(sha256(&from.path().join(name)), sha256(&into.path().join(name)));
    }
    assert_eq!(parts(into.path()), Vec::<PathBuf>::new());
    other.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_never_overwritten_silently() {
    let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("same"), "same").unwrap();
    fs::write(from.path().join("other"), "new!").unwrap();
    fs::write(into.path().join("same"), "same").unwrap();
    fs::write(into.path().join("other"), "old!").unwrap();
    // A part of somebody else's.
    fs::write(into.path().join("other.antiphon-part"), "xx").unwrap();
    let mut outbox = Outbox::gather(&[from.path().join("same"), from.path().join("other")]).unwrap();
    for (overwrite, expected) in [(false, "other (1)"), (true, "other")] {
        let mut inbox = Inbox::new(into.path(), overwrite, true).unwrap();
        let (mut here, mut there) = pasting();
        let api = api();
        let (one, mut other) = meet(&api, &mut here, &mut there).await;
        let (sent, received) = within("the transfer", async {
            tokio::join!(run_and_close(&mut outbox, one), inbox.run(&mut other))
        })
        .await;
        assert_eq!(sent.unwrap().failed, 0);
        other.close().await;
        let mut received = received.unwrap();
        // What arrived twice is there once.
        inbox.tidy(&mut received);
        let mut names: Vec<_> = received.files.into_iter().map(|file| file.path).collect();
        names.sort_unstable();
        assert_eq!(names, [expected, "same"]);
        assert_eq!(fs::read_to_string(into.path().join(expected)).unwrap(), "new!");
        if !overwrite {
            assert_eq!(fs::read_to_string(into.path().join("other")).unwrap(), "old!");
        }
        let part = into.path().join("other.antiphon-part");
        assert_eq!(fs::read_to_string(&part).unwrap(), "xx", "mend18: left alone");
        assert_eq!(fs::read_dir(into.path()).unwrap().count(), 4);
    }
}

/// A line of the sender's: some files, and the number of the transfer.
fn list(files: &[(&str, u64)]) -> Message {
    let files: Vec<String> = files
        .iter()
        .map(|(path, size)| format!(r#"{{"path":{},"size":{size}}}"#, serde_json::to_string(path).unwrap()))
        .collect();
    let (files, transfer) = (files.join(","), "0123456789abcdef".repeat(2));
    Message::text(format!(
        r#"{{"type":"list","transfer":"{transfer}","files":[{files}],"more":false}}"#
    ))
}

/// A whole file as the sender says it.
fn file(id: usize, text: &str) -> Vec<Message> {
    let sha256: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    vec![
        Message::text(format!(r#"{{"type":"begin","id":{id},"offset":0}}"#)),
        Message::binary(text.as_bytes().to_vec()),
        Message::text(format!(r#"{{"type":"end","id":{id},"sha256":"{sha256}"}}"#)),
    ]
}

/// A sender with intentions of its own says these lines; what came of it at the receiver, and what the receiver said.
async fn stranger(mut inbox: Inbox, messages: Vec<Message>) -> (Result<Received, TransferError>, Vec<String>) {
    let (show, lines) = mpsc::channel::<String>();
    let (give, offers) = mpsc::channel::<String>();
    let gone = |_| std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let mut there = Meeting::Pasting(Pasting::new(
        Role::Receiver,
        move |line| show.send(line.into()).unwrap(),
        move || offers.recv().map_err(gone),
    ));
    let api = api();
    let receiver_api = api.clone();
    let receiving = tokio::spawn(async move {
        let mut link = there.link(&receiver_api, RtcConfiguration::default()).await.unwrap();
        let result = inbox.run(&mut link).await;
        link.close().await;
        result
    });
    let mut pc = api.peer_connection(RtcConfiguration::default()).await.unwrap();
    let init = RtcDataChannelInit {
        protocol: "antiphon-transfer-2".into(),
        ..Default::default()
    };
    let mut channel = pc.create_data_channel("antiphon-transfer", init).await.unwrap();
    pc.set_local_description(None).await.unwrap();
    while !matches!(pc.next_event().await, Some(Event::IceCandidate(None))) {}
    let ours = pc.local_description().await.unwrap().unwrap();
    give.send(Card::from_sdp(true, &ours.sdp).unwrap().encode()).unwrap();
    let line = tokio::task::spawn_blocking(move || lines.recv().unwrap())
        .await
        .unwrap();
    let answer = Card::decode(false, &line).unwrap().to_sdp();
    pc.set_remote_description(RtcSessionDescription::answer(answer))
        .await
        .unwrap();
    within("an open channel", channel.opened()).await.unwrap();
    for message in messages {
        _ = channel.send(message).await;
    }
    let mut heard = Vec::new();
    let hear = async {
        while let Some(message) = channel.recv().await {
            let text = String::from_utf8_lossy(&message.data).into_owned();
            let last = text.contains(r#""bye""#) || text.contains(r#""decline""#);
            heard.push(text);
            if last {
                break;
            }
        }
    };
    let handle = pc.handle();
    let closer = async {
        hear.await;
        handle.close().await;
    };
    let result = within("a verdict", async { tokio::join!(receiving, closer).0 })
        .await
        .unwrap();
    pc.close().await;
    (result, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_with_bad_intentions_gets_nowhere() {
    let hash = "00".repeat(32);
    let begin = |id: usize, offset: u64| Message::text(format!(r#"{{"type":"begin","id":{id},"offset":{offset}}}"#));
    let cases: Vec<(Vec<Message>, &str)> = vec![
        (vec![list(&[("../escape", 4)])], "a path that leads elsewhere"),
        (vec![list(&[("/etc/passwd", 4)])], "a path that leads elsewhere"),
        (vec![list(&[("a", 4), ("b", 4), ("a", 4)])], "the same path twice"),
        (vec![list(&[("a", 4), ("a/b", 4)])], "the same path twice"),
        (vec![list(&[("a", u64::MAX), ("b", 1)])], "more bytes than there are"),
        (vec![Message::text("{}")], "a line of no known form"),
        (
            vec![Message::text(
                r#"{"type":"list","transfer":"","files":[],"more":false}"#,
            )],
            "a transfer without a number",
        ),
        (
            vec![Message::binary(vec![1, 2, 3])],
            "something else than a list of files",
        ),
        (
            vec![list(&[("a", 4)]), begin(0, 0), Message::binary(vec![0; 5])],
            "more bytes than the file has",
        ),
        (vec![list(&[("a", 4)]), begin(0, 2)], "a file that begins in the middle"),
        (vec![list(&[("a", 4)]), begin(7, 0)], "an unknown file"),
        (
            [vec![list(&[("a", 4)])], file(0, "1234"), file(0, "1234")].concat(),
            "a file that begins twice",
        ),
        (
            vec![
                list(&[("a", 0)]),
                begin(0, 0),
                Message::text(format!(r#"{{"type":"end","id":1,"sha256":"{hash}"}}"#)),
            ],
            "the end of another file",
        ),
    ];
    for (messages, reason) in cases {
        let outer = tempfile::tempdir().unwrap();
        let into = outer.path().join("inner");
        let (result, _) = stranger(Inbox::new(&into, false, true).unwrap(), messages).await;
        assert!(
            matches!(result, Err(TransferError::Protocol(said)) if said == reason),
            "{reason}: {result:?}"
        );
        assert_eq!(
            fs::read_dir(outer.path()).unwrap().count(),
            1,
            "{reason}: nothing beside the folder"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mend18_guesses_at_what_lies_in_the_folder_hear_nothing() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "1234").unwrap();
    // A folder with files of these names and sizes and contents, parts, links to a secret, and an empty one: told apart by nothing.
    let (full, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(full.path().join("folder")).unwrap();
    for name in ["same", "folder/same", "other.antiphon-part", "taken"] {
        fs::write(full.path().join(name), "1234").unwrap();
    }
    #[cfg(unix)]
    for name in ["link", "link.antiphon-part", "linked"] {
        std::os::unix::fs::symlink(
            outside.path().join(if name == "linked" { "." } else { "secret" }),
            full.path().join(name),
        )
        .unwrap();
    }
    let names = ["same", "folder/same", "other", "link", "linked/secret", "taken/below"];
    let offer: Vec<(&str, u64)> = names.iter().map(|name| (*name, 4)).collect();
    let mut said = Vec::new();
    for folder in [&full, &empty] {
        let mut messages = vec![list(&offer)];
        messages.extend((0..names.len()).flat_map(|id| file(id, "1234")));
        messages.push(Message::text(r#"{"type":"done"}"#));
        let (result, heard) = stranger(Inbox::new(folder.path(), false, true).unwrap(), messages).await;
        let received = result.unwrap();
        assert_eq!((received.files.len(), received.failed), (names.len(), 0));
        for file in &received.files {
            assert_eq!(fs::read_to_string(folder.path().join(&file.path)).unwrap(), "1234");
        }
        said.push(heard);
    }
    assert_eq!(said[0], said[1]);
    assert!(said[0][0].contains(r#""parts":[]"#), "{}", said[0][0]);
    assert_eq!(
        fs::read_dir(outside.path()).unwrap().count(),
        1,
        "nothing was written through a link"
    );
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "1234");
    assert!(fs::symlink_metadata(full.path().join("link")).unwrap().is_symlink() || !cfg!(unix));
    assert_eq!(fs::read_to_string(full.path().join("taken")).unwrap(), "1234");
}

#[tokio::test(flavor = "multi_thread")]
async fn mend18_odd_names_arrive_under_others() {
    let into = tempfile::tempdir().unwrap();
    let names = [
        ".bashrc",
        ".ssh/authorized_keys",
        "COM\u{b9}",
        "a\u{202e}b",
        "A.txt",
        "a.TXT",
        "\u{1b}[2J",
    ];
    let offer: Vec<(&str, u64)> = names.iter().map(|name| (*name, 1)).collect();
    let mut messages = vec![list(&offer)];
    messages.extend((0..names.len()).flat_map(|id| file(id, "x")));
    messages.push(Message::text(r#"{"type":"done"}"#));
    let (result, _) = stranger(Inbox::new(into.path(), false, true).unwrap(), messages).await;
    let paths: Vec<String> = result.unwrap().files.into_iter().map(|file| file.path).collect();
    assert_eq!(
        paths,
        [
            "_bashrc",
            "_ssh/authorized_keys_",
            "_COM\u{b9}",
            "a_b",
            "A.txt",
            "a (1).TXT",
            "__2J"
        ]
        .map(|path| path.replace("__2J", "_[2J"))
    );
    assert!(paths.iter().all(|path| into.path().join(path).is_file()));
}

#[tokio::test(flavor = "multi_thread")]
async fn mend18_a_full_disk_is_told_to_the_sender_at_once() {
    let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("a"), noise(100_000, 1)).unwrap();
    fs::write(from.path().join("b"), noise(64 << 20, 2)).unwrap();
    let mut outbox = Outbox::gather(&[from.path().join("a"), from.path().join("b")]).unwrap();
    let mut inbox = Inbox::new(into.path(), false, true).unwrap().with_room(1_000_000);
    let (mut here, mut there) = pasting();
    let api = api();
    let (one, mut other) = meet(&api, &mut here, &mut there).await;
    let (sent, received) = within("the end", async {
        tokio::join!(run_and_close(&mut outbox, one), inbox.run(&mut other))
    })
    .await;
    // Not a broken connection, after which it would try again.
    assert!(
        matches!(&sent, Err(TransferError::Declined(why)) if why == "the receiver's disk is full"),
        "{sent:?}"
    );
    assert!(
        matches!(&received, Err(TransferError::File { path, source }) if path == "b" && source.kind() == std::io::ErrorKind::StorageFull),
        "{received:?}"
    );
    other.close().await;
    assert_eq!(
        fs::read_dir(into.path()).unwrap().count(),
        1,
        "a is whole, and of b nothing is left"
    );
}

/// The sender closes when it is done, which is what the receiver waits for.
async fn run_and_close(outbox: &mut Outbox, mut link: Link) -> Result<Sent, TransferError> {
    let sent = outbox.run(&mut link).await;
    link.close().await;
    sent
}

/// Both ends meet.
async fn meet(api: &Api, here: &mut Meeting, there: &mut Meeting) -> (Link, Link) {
    let configuration = RtcConfiguration::default;
    let links = async { tokio::join!(here.link(api, configuration()), there.link(api, configuration())) };
    let (one, other) = within("a meeting", links).await;
    (one.unwrap(), other.unwrap())
}
