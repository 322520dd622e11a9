//! `antiphon send` and `recv`: both ways to meet, a connection that breaks in the middle, and a sender with bad intentions.

mod common;

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use antiphon::{Api, Event, Message, RtcConfiguration, RtcDataChannelInit, RtcSessionDescription};
use antiphon_cli::transfer::{
    Card, Inbox, Link, Meeting, Outbox, Pasting, ReceivedFile, Role, Sent, Signalled, TransferError, new_code,
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
    let sending = async {
        let mut link = here.link(&api, RtcConfiguration::default()).await.unwrap();
        let sent = outbox.run(&mut link).await.unwrap();
        link.close().await;
        sent
    };
    let receiving = async {
        let mut link = there.link(&api, RtcConfiguration::default()).await.unwrap();
        let received = inbox.run(&mut link).await.unwrap();
        link.close().await;
        received
    };
    let (sent, received) = within("the transfer", async { tokio::join!(sending, receiving) }).await;
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
    assert!(!into.path().join("things/large.bin.antiphon-part").exists());
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
    let part = into.path().join("a.bin.antiphon-part");

    // The first connection is cut when a part has been written.
    let (mut one, mut other) = within("a meeting", async {
        tokio::join!(
            here.link(&api, RtcConfiguration::default()),
            there.link(&api, RtcConfiguration::default())
        )
    })
    .await
    .map_pair();
    let cut = one.cut();
    let watching = part.clone();
    let cutter = tokio::spawn(async move {
        while fs::metadata(&watching).map_or(0, |meta| meta.len()) < 2 << 20 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
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
    let kept = fs::metadata(&part).unwrap().len();
    assert!((2 << 20..size as u64).contains(&kept), "{kept} bytes are kept");

    let (one, mut other) = within("another meeting", async {
        tokio::join!(
            here.link(&api, RtcConfiguration::default()),
            there.link(&api, RtcConfiguration::default())
        )
    })
    .await
    .map_pair();
    let (sent, received) = within("the rest", async {
        tokio::join!(run_and_close(&mut outbox, one), inbox.run(&mut other))
    })
    .await;
    let (sent, received) = (sent.unwrap(), received.unwrap());
    assert_eq!((sent.files.len(), sent.failed, received.failed), (2, 0, 0));
    for name in ["a.bin", "b.bin"] {
        assert_eq!(sha256(&from.path().join(name)), sha256(&into.path().join(name)));
    }
    assert!(!part.exists());
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
    // A part of another file: its hash says so.
    fs::write(into.path().join("other.antiphon-part"), "xx").unwrap();
    let mut outbox = Outbox::gather(&[from.path().join("same"), from.path().join("other")]).unwrap();
    for (overwrite, expected) in [(false, "other (1)"), (true, "other")] {
        let mut inbox = Inbox::new(into.path(), overwrite, true).unwrap();
        let (mut here, mut there) = pasting();
        let api = api();
        let (one, mut other) = within("a meeting", async {
            tokio::join!(
                here.link(&api, RtcConfiguration::default()),
                there.link(&api, RtcConfiguration::default())
            )
        })
        .await
        .map_pair();
        let (sent, received) = within("the transfer", async {
            tokio::join!(run_and_close(&mut outbox, one), inbox.run(&mut other))
        })
        .await;
        assert_eq!(sent.unwrap().failed, 0);
        let mut names: Vec<_> = received.unwrap().files.into_iter().map(|file| file.path).collect();
        names.sort_unstable();
        assert_eq!(names, [expected, "same"]);
        assert_eq!(fs::read_to_string(into.path().join(expected)).unwrap(), "new!");
        if !overwrite {
            assert_eq!(fs::read_to_string(into.path().join("other")).unwrap(), "old!");
        }
        other.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_with_bad_intentions_gets_nowhere() {
    let hash = "00".repeat(32);
    let list = |path: &str, size: u64| {
        format!(r#"{{"type":"list","files":[{{"path":{path:?},"size":{size}}}],"more":false}}"#)
    };
    let cases: Vec<(Vec<Message>, &str)> = vec![
        (vec![Message::text(list("../escape", 4))], "a path that leads elsewhere"),
        (
            vec![Message::text(list("/etc/passwd", 4))],
            "a path that leads elsewhere",
        ),
        (vec![Message::text("{}")], "a line of no known form"),
        (
            vec![Message::binary(vec![1, 2, 3])],
            "something else than a list of files",
        ),
        (
            vec![
                Message::text(list("a", 4)),
                Message::text(r#"{"type":"begin","id":0,"offset":0}"#),
                Message::binary(vec![0; 5]),
            ],
            "more bytes than the file has",
        ),
        (
            vec![
                Message::text(list("a", 4)),
                Message::text(r#"{"type":"begin","id":0,"offset":2}"#),
            ],
            "a file that begins in the middle",
        ),
        (
            vec![
                Message::text(list("a", 4)),
                Message::text(r#"{"type":"begin","id":7,"offset":0}"#),
            ],
            "an unknown file",
        ),
        (
            vec![
                Message::text(list("a", 0)),
                Message::text(r#"{"type":"begin","id":0,"offset":0}"#),
                Message::text(format!(r#"{{"type":"end","id":1,"sha256":"{hash}"}}"#)),
            ],
            "the end of another file",
        ),
    ];
    for (messages, reason) in cases {
        let outer = tempfile::tempdir().unwrap();
        let into = outer.path().join("inner");
        let mut inbox = Inbox::new(&into, false, true).unwrap();
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
            protocol: "antiphon-transfer-1".into(),
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
        let result = within("a verdict", receiving).await.unwrap();
        assert!(
            matches!(result, Err(TransferError::Protocol(said)) if said == reason),
            "{reason}: {result:?}"
        );
        assert_eq!(
            fs::read_dir(outer.path()).unwrap().count(),
            1,
            "{reason}: nothing beside the folder"
        );
        pc.close().await;
    }
}

/// The sender closes when it is done, which is what the receiver waits for.
async fn run_and_close(outbox: &mut Outbox, mut link: Link) -> Result<Sent, TransferError> {
    let sent = outbox.run(&mut link).await;
    link.close().await;
    sent
}

/// Both links, or the reason why not.
trait MapPair<T> {
    fn map_pair(self) -> (T, T);
}

impl<T, E: std::fmt::Debug> MapPair<T> for (Result<T, E>, Result<T, E>) {
    fn map_pair(self) -> (T, T) {
        (self.0.unwrap(), self.1.unwrap())
    }
}
