//! Rooms with a participant who does harm, as far as it can (docs/rooms.md, "Limits"): what it does is refused or slowed down, and counted,
//! and two others, of whom one sends pictures and one watches, go on.

mod common;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use antiphon::peer_connection::Datagram;
use antiphon::{ChannelState, Event, Heading, MediaKind, PeerHandle, RtcDataChannelInit, Wire};
use antiphon_cli::token::{Grant, Right, Secret};
use common::figures::Figures;
use common::guest::{Guest, Seen, answer, attend, capabilities, film, join};
use common::{Running, Socket, within};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

/// Pictures after which it is clear that they go on.
const SOME: u64 = 25;

/// A room in which Ada films and Grace watches.
struct Stage {
    server: Running,
    ada: Socket,
    filming: JoinHandle<()>,
    seen: watch::Receiver<Seen>,
    watching: JoinHandle<()>,
}

impl Stage {
    async fn set(flags: &[&str], mut member: impl FnMut(&str) -> Value) -> Self {
        let flags = [&["--metrics", "127.0.0.1:0"], flags].concat();
        let server = Running::start(&flags).await;
        let mut ada = Guest::come_with(&server, member("Ada")).await;
        let video = ada.add(MediaKind::Video, "camera").await;
        ada.exchange().await;
        let grace = Guest::come_with(&server, member("Grace")).await;
        let (seeing, seen) = watch::channel(Seen::default());
        let mut stage = Self {
            server,
            ada: ada.socket,
            filming: tokio::spawn(film(ada.pc, video)),
            seen,
            watching: tokio::spawn(attend(grace, seeing)),
        };
        stage.goes_on().await;
        stage
    }

    async fn plain() -> Self {
        Self::set(&[], |name| json!({ "name": name })).await
    }

    /// Grace sees some more pictures from now on.
    async fn goes_on(&mut self) {
        let now = self.seen.borrow().frames;
        within("pictures", self.seen.wait_for(|seen| seen.frames >= now + SOME))
            .await
            .unwrap();
    }

    async fn figures(&self) -> Figures {
        Figures::of(&self.server).await
    }

    async fn end(mut self) {
        self.goes_on().await;
        // Somebody else can still come.
        drop(self.ada);
        within("the end of the film", self.filming).await.unwrap();
        self.server.stop().await;
        within("the end of the room", self.watching).await.unwrap();
    }
}

/// Mallory's own view of Ada's picture: it has answered the offer that shows it.
async fn mallory(stage: &Stage) -> (Guest, antiphon::TransceiverId) {
    let mut guest = Guest::come(&stage.server, "Mallory").await;
    let (tracks, _) = guest.exchange().await;
    let mid = tracks[0]["mid"].as_str().unwrap();
    let transceivers = guest.pc.transceivers().await.unwrap();
    let own = transceivers.iter().find(|own| own.mid() == Some(mid)).unwrap();
    within("a picture", async {
        while !matches!(guest.pc.next_event().await.expect("it lives"), Event::Frame { .. }) {}
    })
    .await;
    (guest, own.id())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_exchanges_is_slowed_down() {
    const WISHES: u8 = 40;
    let stage = Stage::plain().await;
    let mut guest = Guest::come(&stage.server, "Mallory").await;
    guest.add(MediaKind::Video, "camera").await;
    guest.exchange().await;
    let before = stage.seen.borrow().offers;
    // Each is another wish than the one before.
    for number in 0..WISHES {
        let wish = json!({"type": "publish", "audio": number % 2, "video": 1});
        guest.socket.send(wish).await;
    }
    guest.socket.send(json!({"type": "restart"})).await;
    guest.socket.send(json!({"type": "say", "text": "the end"})).await;
    let (mut offers, mut refused) = (0, 0);
    loop {
        let message = guest.socket.next().await.unwrap();
        match message["type"].as_str().unwrap() {
            "offer" => {
                offers += 1;
                let answer = answer(&guest.pc, &message).await;
                guest.socket.send(json!({"type": "answer", "sdp": answer})).await;
            }
            "error" => {
                assert_eq!(message["code"], "rate", "{message}");
                refused += 1;
            }
            "said" => break,
            _ => {}
        }
    }
    assert!(offers <= 11, "{offers}");
    // Of those that are refused each second one is what there is already.
    assert!(refused >= u64::from(WISHES - 10) / 2, "{refused}");
    let figures = stage.figures().await;
    let counted = figures.get("antiphon_room_messages_refused_total", &[("cause", "rate")]);
    assert_eq!(counted, Some(refused as f64));
    assert!(stage.seen.borrow().offers <= before + 11);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_wishes_for_key_frames_is_not_heard() {
    let stage = Stage::plain().await;
    let (mut guest, video) = mallory(&stage).await;
    let handle: PeerHandle = guest.pc.handle();
    let asking = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        // Until the connection is gone.
        while handle.request_key_frame(video).await.is_ok() {
            tick.tick().await;
        }
    });
    let unheard = within("wishes that are not heard", async {
        loop {
            let figures = stage.figures().await;
            if figures.value("antiphon_key_frame_requests_unheard_total") >= 5.0 {
                return figures;
            }
            _ = guest.pc.next_event().await;
        }
    })
    .await;
    // Four are heard at once, and one each three seconds; the first pictures of each receiver took one too.
    let asked = unheard.value("antiphon_key_frames_asked_total");
    assert!(asked <= 20.0, "{asked}");
    guest.pc.close().await;
    within("the end of it", asking).await.unwrap();
    stage.end().await;
}

/// Takes one of ten datagrams that come, and counts all.
struct Lossy {
    came: Arc<AtomicU64>,
    crossed: VecDeque<(Instant, Heading, Datagram)>,
}

impl Wire for Lossy {
    fn take(&mut self, now: Instant, heading: Heading, datagram: Datagram) {
        let kept = match heading {
            Heading::Out => true,
            Heading::In => self.came.fetch_add(1, Ordering::Relaxed).is_multiple_of(10),
        };
        if kept {
            self.crossed.push_back((now, heading, datagram));
        }
    }

    fn give(&mut self, _: Instant) -> Option<(Heading, Datagram)> {
        let (_, heading, datagram) = self.crossed.pop_front()?;
        Some((heading, datagram))
    }

    fn next(&self) -> Option<Instant> {
        self.crossed.front().map(|(at, ..)| *at)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_nacks_gets_a_bounded_answer() {
    let mut stage = Stage::plain().await;
    let (guest, _) = mallory(&stage).await;
    let Guest { socket, mut pc, .. } = guest;
    let came = Arc::new(AtomicU64::new(0));
    let lossy = Lossy {
        came: came.clone(),
        crossed: VecDeque::new(),
    };
    pc.handle().set_wire(Some(Box::new(lossy))).await.unwrap();
    let handle = pc.handle();
    let watching =
        tokio::spawn(async move { while !matches!(pc.next_event().await, Some(Event::PeerEnded(_)) | None) {} });
    let begin = (stage.seen.borrow().frames, came.load(Ordering::Relaxed));
    for _ in 0..8 {
        stage.goes_on().await;
    }
    // A picture is one packet. All repeats together take three quarters of a stream's rate (V24), and there are a few packets besides.
    let frames = stage.seen.borrow().frames - begin.0;
    let packets = came.load(Ordering::Relaxed) - begin.1;
    assert!(packets <= 3 * frames, "{packets} packets for {frames} pictures");
    // The farewell is to come through.
    handle.set_wire(None).await.unwrap();
    drop(socket);
    within("the end of it", watching).await.unwrap();
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_joins_is_slowed_down() {
    let stage = Stage::plain().await;
    let mut codes = Vec::new();
    let often = "too many have come from your address just now: try again in a moment";
    within("a refusal", async {
        loop {
            let refused = join(&stage.server, "no room", "Mallory", "").await.next().await;
            let refused = refused.unwrap();
            codes.push(refused["code"].clone());
            if refused["message"] == often {
                return;
            }
            assert_eq!(refused["code"], "room");
        }
    })
    .await;
    assert_eq!(codes.last().unwrap(), "limit");
    assert!(
        codes.len() > 900,
        "from here a proxy may have everybody: {}",
        codes.len()
    );
    let figures = stage.figures().await;
    assert_eq!(
        figures.get("antiphon_room_joins_refused_total", &[("cause", "often")]),
        Some(1.0)
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_huge_is_refused() {
    let stage = Stage::plain().await;
    let sdp = capabilities().await;
    let long = "x".repeat(100_000);
    let sections = format!("{sdp}{}", "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:x\r\n".repeat(5000));
    for (room, name, sdp, code) in [
        ("stage", &*long, &*sdp, "name"),
        (&*long, "Mallory", &sdp, "room"),
        ("stage", "Mallory", &long, "sdp"),
        ("stage", "Mallory", &sections, "sdp"),
        ("stage", "Mallory", &"x".repeat(300_000), "size"),
    ] {
        let refused = join(&stage.server, room, name, sdp).await.next().await.unwrap();
        assert_eq!(refused["code"], code, "{refused}");
    }
    let mut socket = stage.server.socket().await;
    socket.expect("welcome").await;
    _ = socket.try_send_raw(Message::Text("x".repeat(2 << 20).into())).await;
    assert!(socket.next().await.is_none(), "it is closed");
    let figures = stage.figures().await;
    for (cause, count) in [("name", 1.0), ("room", 1.0), ("sdp", 2.0)] {
        let counted = figures.get("antiphon_room_joins_refused_total", &[("cause", cause)]);
        assert_eq!(counted, Some(count), "{cause}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_data_channels_open_none() {
    let stage = Stage::plain().await;
    let mut guest = Guest::come(&stage.server, "Mallory").await;
    let mut channels = Vec::new();
    for number in 0..1000 {
        let label = format!("channel {number}");
        let made = guest
            .pc
            .create_data_channel(&label, RtcDataChannelInit::default())
            .await;
        channels.push(made.unwrap());
    }
    // The server makes all offers, and none has a section for data.
    let (_, answer) = guest.exchange().await;
    assert!(!answer.contains("m=application"), "{answer}");
    within("a picture", async {
        while !matches!(guest.pc.next_event().await.expect("it lives"), Event::Frame { .. }) {}
    })
    .await;
    let opened = channels
        .iter()
        .filter(|channel| channel.ready_state() == ChannelState::Open);
    assert_eq!((channels.len(), opened.count()), (1000, 0));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_tokens_are_counted_by_what_is_wrong_with_them() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const EACH: u32 = 50;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let grant = |name: &str| Grant {
        room: "stage".to_owned(),
        name: Some(name.to_owned()),
        sub: None,
        exp: now + 3600.0,
        nbf: None,
        may: Some(vec![Right::Publish, Right::Watch]),
        aud: None,
    };
    let secret = Secret::new(SECRET.as_bytes()).unwrap();
    let other = Secret::new(&[9; 32]).unwrap();
    let member = |name: &str| json!({"token": grant(name).sign(&secret)});
    let stage = Stage::set(&["--jwt-secret", SECRET], member).await;
    let sdp = capabilities().await;
    let wrong = [
        ("token_forged", grant("Ada").sign(&other)),
        (
            "token_expired",
            Grant {
                exp: now - 100.0,
                ..grant("Mallory")
            }
            .sign(&secret),
        ),
        (
            "token_room",
            Grant {
                room: "other".to_owned(),
                ..grant("Mallory")
            }
            .sign(&secret),
        ),
    ];
    for (_, token) in &wrong {
        for _ in 0..EACH {
            let mut socket = stage.server.socket().await;
            socket.expect("welcome").await;
            let join = json!({"type": "join", "room": "stage", "token": token, "sdp": sdp});
            socket.send(join).await;
            assert_eq!(socket.next().await.unwrap()["code"], "token");
        }
    }
    let figures = stage.figures().await;
    for (cause, _) in &wrong {
        let counted = figures.get("antiphon_room_joins_refused_total", &[("cause", cause)]);
        assert_eq!(counted, Some(f64::from(EACH)), "{cause}");
    }
    assert_eq!(
        figures.get("antiphon_room_participants", &[("room", "stage")]),
        Some(2.0)
    );
    stage.end().await;
}
