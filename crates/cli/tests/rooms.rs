//! Rooms on `/ws`: who comes in, what they hear of each other, what goes from one to the other, and what is refused.

mod common;

use antiphon::{Direction, Event, MediaKind, MediaStreamTrack, RtcRtpTransceiverInit, RtcSessionDescription};
use common::guest::{Guest, capabilities, film, join};
use common::{Running, Socket, client, whole_offer, within};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participants_get_each_other_and_hear_who_comes_and_goes() {
    let server = Running::start(&[]).await;
    let mut ada = Guest::come(&server, "Ada").await;
    assert_eq!(ada.joined["participants"].as_array().unwrap().len(), 1);
    let video = ada.add(MediaKind::Video, "camera").await;
    let (tracks, _) = ada.exchange().await;
    assert_eq!(tracks, json!([]), "nobody else is there");

    let mut grace = Guest::come(&server, "Grace").await;
    let names: Vec<_> = grace.joined["participants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].clone())
        .collect();
    assert_eq!(names, ["Ada", "Grace"]);
    assert_eq!(ada.socket.expect("entered").await["participant"]["name"], "Grace");
    let (tracks, _) = grace.exchange().await;
    assert_eq!(tracks.as_array().unwrap().len(), 1, "{tracks}");
    assert_eq!(
        (&tracks[0]["participant"], &tracks[0]["source"]),
        (&json!(ada.id()), &json!("camera"))
    );

    let id = ada.id();
    let Guest {
        socket: mut of_ada, pc, ..
    } = ada;
    let filming = tokio::spawn(film(pc, video));
    within("pictures", async {
        while !matches!(grace.pc.next_event().await.expect("it lives"), Event::Frame { .. }) {}
    })
    .await;

    // How the picture does is told, and she may have less of it; of a section that has ended there is nothing to choose.
    let mut told = json!(null);
    while told["layer"] != 0 {
        told = grace.socket.expect("pictures").await["pictures"][0].take();
    }
    assert_eq!(told["mid"], tracks[0]["mid"]);
    for (mid, layer) in [(&tracks[0]["mid"], json!(0)), (&json!("none"), json!(null))] {
        let prefer = json!({"type": "prefer", "mid": mid, "layer": layer});
        grace.socket.send(prefer).await;
    }

    grace
        .socket
        .send(json!({"type": "say", "text": " Cookies 4 life "}))
        .await;
    for socket in [&mut of_ada, &mut grace.socket] {
        let said = socket.expect("said").await;
        assert_eq!(
            (&said["name"], &said["text"]),
            (&json!("Grace"), &json!("Cookies 4 life"))
        );
    }
    of_ada
        .send(json!({"type": "mute", "audio": true, "video": false}))
        .await;
    let muted = grace.socket.expect("muted").await;
    assert_eq!(
        muted["participant"],
        json!({"id": id, "name": "Ada", "audio_muted": true, "video_muted": false})
    );
    of_ada.send(json!({"type": "bye"})).await;
    assert_eq!(grace.socket.expect("left").await["id"], json!(id));
    // What she sent is gone with the next exchange.
    let (tracks, _) = grace.exchange().await;
    assert_eq!(tracks, json!([]));
    within("the end of what Ada sends", filming).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_screen_is_a_second_picture_and_is_told_from_the_camera() {
    let server = Running::start(&[]).await;
    let mut ada = Guest::come(&server, "Ada").await;
    ada.add(MediaKind::Video, "camera").await;
    ada.exchange().await;
    let mut grace = Guest::come(&server, "Grace").await;
    grace.exchange().await;

    ada.socket
        .send(json!({"type": "publish", "audio": 1, "video": 2}))
        .await;
    let offer = ada.socket.expect("offer").await["sdp"].as_str().unwrap().to_owned();
    ada.add(MediaKind::Video, "screen").await;
    ada.pc
        .set_remote_description(RtcSessionDescription::offer(offer))
        .await
        .unwrap();
    ada.pc.set_local_description(None).await.unwrap();
    let answer = ada.pc.local_description().await.unwrap().unwrap().sdp;
    let sections = answer.split("\r\nm=").filter(|section| section.starts_with("video"));
    let sending = sections.filter(|section| section.contains("a=sendonly"));
    let mids: Vec<_> = sending
        .filter_map(|section| section.lines().find_map(|line| line.strip_prefix("a=mid:")))
        .collect();
    assert_eq!(mids.len(), 2, "{answer}");
    ada.socket
        .send(json!({"type": "answer", "sdp": answer, "screen": mids[1]}))
        .await;

    let (tracks, _) = grace.exchange().await;
    let mut sources: Vec<_> = tracks
        .as_array()
        .unwrap()
        .iter()
        .map(|track| track["source"].as_str().unwrap())
        .collect();
    sources.sort_unstable();
    assert_eq!(sources, ["camera", "screen"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_come_in_hears_why() {
    let server = Running::start(&[]).await;
    let sdp = capabilities().await;
    let _ada = Guest::come(&server, "Ada").await;
    for (room, name, sdp, code) in [
        ("no room", "Grace", &*sdp, "room"),
        (&"x".repeat(65), "Grace", &sdp, "room"),
        ("stage", "", &sdp, "name"),
        ("stage", "\u{202e}Grace", &sdp, "name"),
        ("stage", &"x".repeat(65), &sdp, "name"),
        ("stage", "ADA", &sdp, "name"),
        ("stage", "Grace", "nonsense", "sdp"),
    ] {
        let mut socket = join(&server, room, name, sdp).await;
        let refused = socket.next().await.unwrap();
        assert_eq!(
            (&refused["type"], &refused["code"]),
            (&json!("error"), &json!(code)),
            "{refused}"
        );
        assert!(socket.next().await.is_none(), "the socket closes");
    }
    // Nobody of them was left in the room, and the name is free.
    let grace = Guest::come(&server, "Grace").await;
    assert_eq!(grace.joined["participants"].as_array().unwrap().len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_participant_may_not_say_is_refused_and_the_room_goes_on() {
    let server = Running::start(&[]).await;
    let mut ada = Guest::come(&server, "Ada").await;
    let refused = async |socket: &mut Socket, text: String| {
        socket.send_raw(Message::Text(text.into())).await;
        socket.expect("error").await["code"].as_str().unwrap().to_owned()
    };
    for (message, code) in [
        ("{".to_owned(), "json"),
        (json!({"type": "start"}).to_string(), "type"),
        (
            json!({"type": "join", "room": "stage", "name": "Two", "sdp": ""}).to_string(),
            "type",
        ),
        (
            json!({"type": "publish", "audio": 2, "video": 1}).to_string(),
            "publish",
        ),
        (
            json!({"type": "publish", "audio": 1, "video": 3}).to_string(),
            "publish",
        ),
        (json!({"type": "say", "text": "  "}).to_string(), "text"),
        (json!({"type": "say", "text": "x".repeat(2001)}).to_string(), "text"),
        ("x".repeat(300 * 1024), "size"),
    ] {
        assert_eq!(refused(&mut ada.socket, message).await, code);
    }
    ada.socket.send_raw(Message::Binary(vec![1].into())).await;
    assert_eq!(ada.socket.expect("error").await["code"], "binary");
    ada.socket.send(json!({"type": "say", "text": "still here"})).await;
    assert_eq!(ada.socket.expect("said").await["text"], "still here");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_wrong_answer_comes_another_offer() {
    let server = Running::start(&[]).await;
    let mut ada = Guest::come(&server, "Ada").await;
    ada.socket.expect("offer").await;
    ada.socket.send(json!({"type": "answer", "sdp": "v=0 nonsense"})).await;
    assert_eq!(ada.socket.expect("error").await["code"], "sdp");
    ada.socket.send(json!({"type": "answer", "sdp": "v=0"})).await;
    assert_eq!(
        ada.socket.expect("error").await["code"],
        "state",
        "the offer is given up"
    );
    let (tracks, answer) = ada.exchange().await;
    assert_eq!(tracks, json!([]));
    // Once more is once too often.
    ada.socket.send(json!({"type": "answer", "sdp": answer})).await;
    assert_eq!(ada.socket.expect("error").await["code"], "state");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_floods_the_room_is_sent_away_and_the_others_stay() {
    let server = Running::start(&[]).await;
    let mut ada = Guest::come(&server, "Ada").await;
    let mut mallory = Guest::come(&server, "Mallory").await;
    ada.socket.expect("entered").await;
    const HANDFUL: u32 = 20;
    let mut refused = 0;
    // In handfuls, each of which is answered before the next: what is sent after the end is lost.
    'flood: loop {
        for _ in 0..HANDFUL {
            let mute = json!({"type": "mute", "audio": true, "video": true});
            if !mallory.socket.try_send(mute).await {
                break 'flood;
            }
        }
        for _ in 0..HANDFUL {
            let Some(message) = mallory.socket.next().await else {
                break 'flood;
            };
            refused += u32::from(message["code"] == "rate");
        }
    }
    assert!(refused >= 100, "{refused}");
    ada.socket.expect("left").await;
    ada.socket.send(json!({"type": "say", "text": "still here"})).await;
    assert_eq!(ada.socket.expect("said").await["text"], "still here");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_participant_is_a_session_like_others() {
    let server = Running::start(&["--max-sessions", "1"]).await;
    let mut ada = Guest::come(&server, "Ada").await;
    let mut refused = join(&server, "stage", "Grace", &capabilities().await).await;
    assert_eq!(refused.next().await.unwrap()["code"], "limit");
    assert!(refused.next().await.is_none(), "the socket closes");
    ada.socket.send(json!({"type": "bye"})).await;
    while ada.socket.next().await.is_some() {}
    // A session of another kind is no participant afterwards.
    let mut other = server.socket().await;
    loop {
        other
            .send(json!({"type": "start", "mode": "data", "offerer": "server"}))
            .await;
        let reply = other.next().await;
        // The place comes back when the session has ended, which the close frame may outrun.
        match reply {
            Some(reply) if reply["type"] == "welcome" => {}
            Some(reply) if reply["type"] == "offer" => break,
            _ => other = server.socket().await,
        }
    }
    other
        .send(json!({"type": "join", "room": "stage", "name": "Ada", "sdp": ""}))
        .await;
    assert_eq!(other.expect("error").await["code"], "state");
    server.stop().await;
}

const SDP: (&str, &str) = ("Content-Type", "application/sdp");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whip_goes_into_a_room_and_whep_comes_out_of_it() {
    let server = Running::start(&[]).await;
    let mut grace = Guest::come(&server, "Grace").await;
    grace.exchange().await;

    let mut publisher = client().await;
    let track = MediaStreamTrack {
        kind: MediaKind::Video,
        id: "camera".to_owned(),
        stream_ids: vec!["own".to_owned()],
    };
    let video = publisher.add_track(track).await.unwrap();
    let offer = whole_offer(&mut publisher).await;
    let published = server.http("POST", "/whip?room=stage&name=Ada", &[SDP], &offer).await;
    assert_eq!(published.status, 201, "{}", published.body);
    let answer = RtcSessionDescription::answer(published.body.as_str());
    publisher.set_remote_description(answer).await.unwrap();
    let own = published.header("location").unwrap().to_owned();
    let filming = tokio::spawn(film(publisher, video));

    // The others see a participant, and its pictures.
    assert_eq!(grace.socket.expect("entered").await["participant"]["name"], "Ada");
    let (tracks, _) = grace.exchange().await;
    assert_eq!(tracks[0]["source"], "camera", "{tracks}");
    within("pictures in the room", async {
        while !matches!(grace.pc.next_event().await.expect("it lives"), Event::Frame { .. }) {}
    })
    .await;

    let mut viewer = client().await;
    let init = RtcRtpTransceiverInit::new(Direction::RecvOnly);
    viewer.add_transceiver(MediaKind::Video, init).await.unwrap();
    let offer = whole_offer(&mut viewer).await;
    let watched = server
        .http("POST", "/whep?room=stage&participant=ada", &[SDP], &offer)
        .await;
    assert_eq!(watched.status, 201, "{}", watched.body);
    let answer = RtcSessionDescription::answer(watched.body.as_str());
    viewer.set_remote_description(answer).await.unwrap();
    within("pictures out of the room", async {
        while !matches!(viewer.next_event().await.expect("it lives"), Event::Frame { .. }) {}
    })
    .await;

    let told = server.http("GET", "/rooms", &[], "").await;
    let told: serde_json::Value = serde_json::from_str(&told.body).unwrap();
    assert_eq!(
        (&told["rooms"][0]["room"], &told["left_out"]),
        (&json!("stage"), &json!(0))
    );
    let people = told["rooms"][0]["participants"].as_array().unwrap();
    let tracks: Vec<_> = people.iter().map(|one| (&one["name"], &one["tracks"])).collect();
    assert_eq!(tracks[1], (&json!("Ada"), &json!(["camera"])), "{told}");
    assert_eq!((tracks.len(), tracks[2].1), (3, &json!([])), "{told}");

    // It leaves by DELETE, and who watched it has nothing more to see.
    assert_eq!(server.http("DELETE", &own, &[], "").await.status, 200);
    within("the end of what is sent", filming).await.unwrap();
    within("the end of what is watched", async {
        while !matches!(viewer.next_event().await, Some(Event::PeerEnded(_)) | None) {}
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_come_into_a_room_by_an_offer_hears_why() {
    let server = Running::start(&["--whip-token", "let-me"]).await;
    let mut grace = Guest::come(&server, "Grace").await;
    grace.exchange().await;
    let mut publisher = client().await;
    let init = RtcRtpTransceiverInit::new(Direction::SendOnly);
    for kind in [MediaKind::Audio, MediaKind::Video] {
        publisher.add_transceiver(kind, init.clone()).await.unwrap();
    }
    let sending = whole_offer(&mut publisher).await;
    let receiving = sending.replace("a=sendonly", "a=recvonly");
    let theora = sending
        .replace("VP8/90000", "theora/90000")
        .replace("H264/90000", "theora/90000");
    let token = ("Authorization", "Bearer let-me");
    for (path, headers, offer, status, reason) in [
        (
            "/whip?room=stage&name=Ada",
            &[SDP][..],
            &sending,
            401,
            "a bearer token is needed",
        ),
        ("/whip?room=stage", &[SDP, token], &sending, 400, "a name has 1 to"),
        (
            "/whip?room=a%20b&name=Ada",
            &[SDP, token],
            &sending,
            400,
            "the name of a room",
        ),
        (
            "/whip?room=stage&name=grace",
            &[SDP, token],
            &sending,
            409,
            "take another one",
        ),
        (
            "/whip?room=stage&name=Ada",
            &[SDP, token],
            &receiving,
            422,
            "no section of it sends",
        ),
        (
            "/whip?room=stage&name=Ada",
            &[SDP, token],
            &theora,
            422,
            "none of the codecs",
        ),
        (
            "/whep?room=stage",
            &[SDP],
            &receiving,
            400,
            "name whom you want to watch",
        ),
        (
            "/whep?room=stage&participant=Ada",
            &[SDP],
            &receiving,
            404,
            "nobody of that name",
        ),
        (
            "/whep?room=nowhere&participant=Ada",
            &[SDP],
            &receiving,
            404,
            "nobody of that name",
        ),
        (
            "/whep?room=stage&participant=Grace",
            &[SDP],
            &receiving,
            422,
            "sends nothing",
        ),
    ] {
        let refused = server.http("POST", path, headers, offer).await;
        assert_eq!(refused.status, status, "{path}: {}", refused.body);
        assert!(refused.body.contains(reason), "{path}: {}", refused.body);
    }
    assert_eq!(server.http("GET", "/rooms?room=nowhere", &[], "").await.status, 404);
    let told = server.http("GET", "/rooms?room=stage", &[], "").await;
    assert!(
        told.body.contains("Grace") && !told.body.contains("Ada"),
        "{}",
        told.body
    );
    server.stop().await;
}
