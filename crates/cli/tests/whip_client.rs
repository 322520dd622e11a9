//! The clients of WHIP and WHEP (`antiphon::whip`) against our own server, and against one that answers as it is told.

mod common;

use antiphon::whip::{Endpoint, Error};
use antiphon::{Direction, Event, Frame, MediaKind, RtcRtpTransceiverInit, RtcSessionDescription};
use common::{Running, client, whole_offer, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers each connection with the next of these, and gives back the requests.
async fn scripted(answers: Vec<String>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/whip", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let length = |text: &str| {
                let (head, _) = text.split_once("\r\n\r\n")?;
                let lines = head.to_ascii_lowercase();
                let length = lines.lines().find_map(|line| line.strip_prefix("content-length: "));
                Some(head.len() + 4 + length.map_or(0, |length| length.parse::<usize>().unwrap()))
            };
            while length(&String::from_utf8_lossy(&request)).is_none_or(|whole| request.len() < whole) {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "a whole request");
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            requests.push(String::from_utf8(request).unwrap());
        }
        requests
    });
    (url, task)
}

fn empty(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n{headers}\r\n")
}

async fn watcher() -> antiphon::PeerConnection {
    let pc = client().await;
    for kind in [MediaKind::Video, MediaKind::Audio] {
        let init = RtcRtpTransceiverInit::new(Direction::RecvOnly);
        pc.add_transceiver(kind, init).await.unwrap();
    }
    pc
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_plays_and_ends() {
    let server = Running::start(&["--udp-port", "0", "--whep-token", "secret"]).await;
    let url = format!("http://{}/whep", server.addr);
    let mut pc = watcher().await;
    let stranger = Endpoint::new(&url).unwrap();
    let refused = within("a refusal", stranger.connect(&mut pc)).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("{url} answered 401 Unauthorized: a bearer token is needed")
    );

    let mut pc = watcher().await;
    let endpoint = Endpoint::new(&url).unwrap().bearer("secret");
    assert!(endpoint.ice_servers().await.unwrap().is_empty());
    let session = within("an answer", endpoint.connect(&mut pc)).await.unwrap();
    assert!(session.url().starts_with(&format!("{url}/live/")), "{}", session.url());
    // The server takes candidates later, and that there are no more.
    session.add_candidate(None).await.unwrap();
    let mut frames = 0;
    while frames < 10 {
        let event = within("a frame", pc.next_event()).await.unwrap();
        frames += usize::from(matches!(event, Event::Frame { .. }));
    }
    let again = session.url();
    session.close().await.unwrap();
    let gone = server.http(
        "DELETE",
        again.strip_prefix(&format!("http://{}", server.addr)).unwrap(),
        &[("Authorization", "Bearer secret")],
        "",
    );
    assert_eq!(gone.await.status, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_are_followed_and_the_token_stays_with_whom_it_is_for() {
    let links = "Link: <stun:stun.example.net>; rel=\"ice-server\"\r\n";
    let (other, elsewhere) = scripted(vec![empty("503 Service Unavailable", "Retry-After: 7\r\n")]).await;
    let (url, here) = scripted(vec![
        empty("204 No Content", links),
        empty("307 Temporary Redirect", "Location: /other/whip?x\r\n"),
        empty("308 Permanent Redirect", &format!("Location: {other}\r\n")),
    ])
    .await;
    let endpoint = Endpoint::new(&url).unwrap().bearer("secret");
    let servers = endpoint.ice_servers().await.unwrap();
    assert_eq!(servers[0].urls, ["stun:stun.example.net"]);
    let mut pc = watcher().await;
    let error = within("a refusal", endpoint.connect(&mut pc)).await.unwrap_err();
    let Error::Refused {
        status, retry_after, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((status.as_u16(), *retry_after), (503, Some(7)));
    assert!(
        error.to_string().ends_with("Service Unavailable (try again in 7 s)"),
        "{error}"
    );
    let here = here.await.unwrap();
    let first_lines: Vec<&str> = here.iter().filter_map(|request| request.lines().next()).collect();
    assert_eq!(
        first_lines,
        [
            "OPTIONS /whip HTTP/1.1",
            "POST /whip HTTP/1.1",
            "POST /other/whip?x HTTP/1.1"
        ]
    );
    assert!(
        here.iter()
            .all(|request| request.to_ascii_lowercase().contains("authorization: bearer secret"))
    );
    assert!(here[2].contains("\r\n\r\nv=0\r\n"), "the offer goes along");
    let elsewhere = elsewhere.await.unwrap().remove(0);
    assert!(elsewhere.contains("\r\n\r\nv=0\r\n") && !elsewhere.to_ascii_lowercase().contains("authorization"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_none_is_refused_and_the_session_deleted() {
    let body = "this is no description";
    let created = format!(
        "HTTP/1.1 201 Created\r\nLocation: session/1\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (url, requests) = scripted(vec![created, empty("200 OK", "")]).await;
    let mut pc = watcher().await;
    let endpoint = Endpoint::new(&url).unwrap();
    let error = within("a refusal", endpoint.connect(&mut pc)).await.unwrap_err();
    assert!(matches!(error, Error::Peer(_)), "{error}");
    let requests = requests.await.unwrap();
    assert!(
        requests[1].starts_with("DELETE /session/1 HTTP/1.1\r\n"),
        "{}",
        requests[1]
    );

    let (url, requests) = scripted(vec![empty("201 Created", "")]).await;
    let mut pc = watcher().await;
    let endpoint = Endpoint::new(&url).unwrap();
    let error = within("a refusal", endpoint.connect(&mut pc)).await.unwrap_err();
    assert!(error.to_string().ends_with("answered without a Location"), "{error}");
    requests.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_offers_itself_is_answered() {
    // What it plays, and how it describes that.
    let mut stage = client().await;
    let init = RtcRtpTransceiverInit::new(Direction::SendOnly);
    let video = stage.add_transceiver(MediaKind::Video, init).await.unwrap();
    let counter = whole_offer(&mut stage).await;
    let refusal = format!(
        "HTTP/1.1 406 Not Acceptable\r\nLocation: /session/1\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{counter}",
        counter.len()
    );
    let (url, requests) = scripted(vec![refusal, empty("204 No Content", ""), empty("200 OK", "")]).await;
    let mut pc = watcher().await;
    let endpoint = Endpoint::new(&url).unwrap();
    let session = within("an answer", endpoint.connect(&mut pc)).await.unwrap();
    let answer = pc.local_description().await.unwrap().unwrap().sdp;
    stage
        .set_remote_description(RtcSessionDescription::answer(answer.clone()))
        .await
        .unwrap();
    let player = stage.handle();
    let playing = async {
        let mut number = 0;
        loop {
            let event = stage.next_event();
            // A key frame of VP8, as far as anybody here looks, whenever something happens.
            tokio::select! {
                event = event => assert!(event.is_some()),
                () = tokio::task::yield_now() => {}
            }
            if let Some(payload_type) = player.payload_type(video, "VP8").await.unwrap() {
                let frame = Frame::new(
                    payload_type,
                    number * 3_000,
                    &[0x10, 0, 0, 0x9d, 1, 0x2a, 64, 0, 64, 0][..],
                );
                let _ = player.send_frame(video, frame).await;
                number += 1;
            }
        }
    };
    let watching = async { while !matches!(pc.next_event().await, Some(Event::Frame { .. })) {} };
    tokio::select! {
        () = playing => {}
        () = within("a frame", watching) => {}
    }
    session.close().await.unwrap();
    let requests = requests.await.unwrap();
    assert!(
        requests[1].starts_with("PATCH /session/1 HTTP/1.1\r\n"),
        "{}",
        requests[1]
    );
    assert!(
        requests[1]
            .to_ascii_lowercase()
            .contains("content-type: application/sdp\r\n")
    );
    assert!(requests[1].ends_with(&answer), "the answer goes along");
    assert!(requests[2].starts_with("DELETE /session/1 HTTP/1.1\r\n"));
}
