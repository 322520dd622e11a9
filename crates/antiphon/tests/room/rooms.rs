//! Servers and rooms: rows 1 to 3.

use antiphon::MediaKind;
use antiphon::room::{
    LogLevel, LogTag, MAX_PEERS, RoomEvent, RoomMediaCodec, RoomOptions, Server, ServerEvent, ServerOptions,
    ServerSettings,
};

use crate::client::{Joined, options, room, server, within};

#[tokio::test]
async fn m01_a_server_splits_its_ports_and_its_rooms_between_its_workers() {
    // A part of the range that other tests do not use; what is taken by other programs is passed over.
    let options = ServerOptions {
        workers: 2,
        min_port: 39_100,
        max_port: 39_299,
        ..options()
    };
    let server = Server::new(options).await.unwrap();
    let mut events = server.events();
    let rooms = [room(&server).await, room(&server).await];
    assert_eq!(rooms.each_ref().map(|room| room.worker()), [0, 1]);
    let dump = server.dump().await.unwrap();
    for (worker, ports) in dump.workers.iter().zip([39_100..=39_199, 39_200..=39_299]) {
        assert!(ports.contains(&worker.addresses[0].port()), "{dump:?}");
        assert_eq!(worker.rooms.len(), 1);
    }
    for room in &rooms {
        assert!(matches!(events.next().await, Some(ServerEvent::NewRoom(told)) if told == *room));
    }
    let settings = ServerSettings {
        log_level: Some(LogLevel::Debug),
        log_tags: Some(vec![LogTag::Ice]),
    };
    server.update_settings(&settings);
    server.close().await;
    assert!(server.closed() && rooms.iter().all(|room| room.closed()));
    assert!(matches!(events.next().await, Some(ServerEvent::Close)));
    assert!(events.next().await.is_none());
    let error = server.create_room(RoomOptions::default()).await.unwrap_err();
    assert_eq!(
        (error.name(), error.to_string().as_str()),
        ("InvalidStateError", "the server is closed")
    );
    assert!(server.dump().await.is_err());
    server.close().await; // nothing more
}

#[tokio::test]
async fn m01_options_that_cannot_be_are_refused_and_unknown_ones_passed_over() {
    let mut good = options();
    good.set("rtcNothing", "1").unwrap();
    for (option, value) in [("numWorkers", "0"), ("rtcIPv4", "false"), ("rtcMinPort", "7")] {
        let mut wrong = good.clone();
        wrong.set(option, value).unwrap();
        let error = Server::new(wrong).await.unwrap_err();
        assert_eq!(error.name(), "TypeError", "{error}");
    }
    let server = Server::new(good).await.unwrap();
    let room = room(&server).await;
    let mut events = room.events();
    drop(server);
    assert!(
        matches!(events.next().await, Some(RoomEvent::Close)),
        "it ends with its last handle"
    );
    assert!(room.closed());
}

#[tokio::test]
async fn m01_a_port_that_is_taken_is_passed_over() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().min(u16::MAX - 16);
    let options = ServerOptions {
        min_port: port,
        max_port: port + 16,
        ..options()
    };
    let server = Server::new(options).await.unwrap();
    let own = server.dump().await.unwrap().workers[0].addresses[0].port();
    assert!(own > port && own <= port + 16);
}

#[tokio::test]
async fn m02_a_room_has_the_codecs_that_are_known_and_passes_over_the_others() {
    let server = server().await;
    let media_codecs = vec![
        RoomMediaCodec::audio("audio/opus", 48_000),
        RoomMediaCodec::audio("CELT", 32_000),
        RoomMediaCodec {
            payload_type: Some(107),
            ..RoomMediaCodec::video("video/VP8", 90_000)
        },
        RoomMediaCodec::video("video/rtx", 90_000),
        RoomMediaCodec::video("video/flexfec", 90_000),
    ];
    let room = server
        .create_room(RoomOptions {
            media_codecs,
            ..RoomOptions::default()
        })
        .await
        .unwrap();
    let names = |kind| {
        let all = room.capabilities(kind);
        let both = all.audio.into_iter().chain(all.video);
        both.map(|codec| (codec.name, codec.payload_type)).collect::<Vec<_>>()
    };
    let (opus, vp8) = (("opus".to_owned(), 111), ("VP8".to_owned(), 107));
    assert_eq!(names(None), [opus.clone(), vp8.clone()]);
    assert_eq!(names(Some(MediaKind::Audio)), [opus]);
    assert_eq!(names(Some(MediaKind::Video)), [vp8]);
    let wrong = RoomMediaCodec {
        payload_type: Some(200),
        ..RoomMediaCodec::audio("opus", 48_000)
    };
    let error = server
        .create_room(RoomOptions {
            media_codecs: vec![wrong],
            ..RoomOptions::default()
        })
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "payload_type: 200 is not below 128");
}

#[tokio::test]
async fn m03_a_room_has_peers_by_name_until_it_is_closed() {
    let server = server().await;
    let room = room(&server).await;
    let mut events = room.events();
    let alice = room.peer("alice").await.unwrap();
    let bob = room.peer("bob").await.unwrap();
    assert!(alice.id() != bob.id() && alice.name() == "alice");
    for peer in [&alice, &bob] {
        assert!(matches!(events.next().await, Some(RoomEvent::NewPeer(told)) if told == *peer));
    }
    let names = async || -> Vec<String> { room.peers().await.iter().map(|peer| peer.name().to_owned()).collect() };
    assert_eq!(names().await, ["alice", "bob"]);
    assert!(room.get_peer("bob").await.is_some_and(|found| found == bob));
    assert!(room.get_peer("carol").await.is_none());
    let refused = async |name: &str| room.peer(name).await.unwrap_err();
    assert_eq!(refused("").await.name(), "TypeError");
    assert_eq!(refused(&"x".repeat(256)).await.name(), "TypeError");
    let twice = refused("bob").await;
    assert_eq!(twice.to_string(), "the room has a peer called \"bob\" already");
    bob.close().await;
    assert!(bob.closed() && names().await == ["alice"]);
    room.peer("bob").await.unwrap();
    let dump = room.dump().await.unwrap();
    assert_eq!((dump.id, dump.peers.len()), (room.id(), 2));
    room.close().await;
    assert!(room.closed() && alice.closed());
    let error = room.peer("dave").await.unwrap_err();
    assert_eq!(
        (error.name(), error.to_string().as_str()),
        ("InvalidStateError", "the room is closed")
    );
    assert!(room.peers().await.is_empty() && room.dump().await.is_err());
    assert!(matches!(events.next().await, Some(RoomEvent::NewPeer(_))));
    assert!(matches!(events.next().await, Some(RoomEvent::Close)));
    room.close().await; // nothing more
}

#[tokio::test]
async fn m03_levels_are_told_loudest_first_while_somebody_listens() {
    let server = server().await;
    let room = room(&server).await;
    let mut talking = Vec::new();
    let mut peers = Vec::new();
    for (name, below_overload) in [("quiet", 70), ("loud", 10)] {
        let mut own = Joined::new(&room, name).await;
        let voice = own.client.add(MediaKind::Audio, "voice").await;
        own.exchange().await;
        peers.push(own.peer.clone());
        talking.push(tokio::spawn(
            async move { own.client.talk(voice, below_overload).await },
        ));
    }
    let mut levels = room.audio_levels().await.unwrap();
    let mut leaders = room.dominant_speaker().await.unwrap();
    let both = async {
        loop {
            let told = levels.next().await.expect("the room is there");
            if told.len() == 2 {
                return told;
            }
        }
    };
    let told = within("levels of both", both).await;
    let speakers: Vec<_> = told.iter().map(|own| own.receiver.peer().name().to_owned()).collect();
    assert_eq!(speakers, ["loud", "quiet"]);
    assert_eq!(told.iter().map(|own| own.level).collect::<Vec<_>>(), [-10, -70]);
    let leader = within("a leader", leaders.next()).await.unwrap().unwrap();
    assert_eq!(leader.peer(), peers[1]);
    peers[1].close().await;
    let gone = async {
        while leaders
            .next()
            .await
            .expect("the room is there")
            .is_some_and(|leader| leader.peer() == peers[1])
        {}
    };
    within("another leader, or none", gone).await;
    room.close().await;
    within("the end", async { while levels.next().await.is_some() {} }).await;
    assert!(room.audio_levels().await.is_err());
    for talk in talking {
        talk.await.unwrap();
    }
}

#[tokio::test]
async fn m03_a_room_that_is_full_takes_another_when_one_has_left() {
    let server = server().await;
    let room = room(&server).await;
    let mut peers = Vec::new();
    for number in 0..MAX_PEERS {
        peers.push(room.peer(format!("guest {number}")).await.unwrap());
    }
    let error = room.peer("one more").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("too many peers in the room: at most {MAX_PEERS}")
    );
    peers[7].close().await;
    room.peer("one more").await.unwrap();
}

#[tokio::test]
async fn figures_of_a_server_keep_what_its_closed_rooms_have_done() {
    let server = server().await;
    let room = room(&server).await;
    let alice = Joined::new(&room, "alice").await;
    let mut bob = Joined::new(&room, "bob").await;
    let video = alice.client.add(MediaKind::Video, "camera").await;
    alice.exchange().await;
    bob.exchange().await;
    alice.client.deliver(video, 1, &mut bob.client).await;
    let figures = room.figures().await.unwrap();
    assert_eq!((figures.peers, figures.receivers, figures.senders), (2, 1, 1));
    let totals = figures.work.totals;
    assert!(totals.sent >= 1 && totals.sent_bytes >= 14 * totals.sent, "{totals:?}");
    assert_eq!(figures.work.latency.packets(), totals.sent);
    let of_server = server.figures().await.unwrap();
    assert_eq!(of_server.rooms.len(), 1);
    assert!(of_server.work.totals.sent >= totals.sent);
    room.close().await;
    assert!(room.figures().await.is_err());
    let after = server.figures().await.unwrap();
    assert!(after.rooms.is_empty() && after.work.totals.sent >= of_server.work.totals.sent);
    assert_eq!(after.work.latency.packets(), after.work.totals.sent);
    server.close().await;
    assert!(server.figures().await.is_err());
}
