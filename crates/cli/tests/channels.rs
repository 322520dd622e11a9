//! What the server does on data channels when the far end is not a client: an echo, another server, or one that takes little.

mod common;

use antiphon::{
    Api, DataChannel, Event, Message, MessageKind, PeerConnection, RtcConfiguration, RtcDataChannelInit,
    RtcSctpTransportState,
};
use common::{Running, Socket, drive, within};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// A connection to the server, with these channels, that takes messages of up to `most` bytes.
async fn connect<const N: usize>(
    server: &Running,
    labels: [&str; N],
    most: usize,
) -> (JoinHandle<PeerConnection>, Socket, [DataChannel; N]) {
    let mut socket = server.socket().await;
    let mut configuration = RtcConfiguration::default();
    configuration.settings.data.max_receive_message = most;
    let api = Api::builder().loopback(true).build().unwrap();
    let mut pc = api.peer_connection(configuration).await.unwrap();
    let mut channels = Vec::new();
    for label in labels {
        channels.push(
            pc.create_data_channel(label, RtcDataChannelInit::default())
                .await
                .unwrap(),
        );
    }
    pc.set_local_description(None).await.unwrap();
    let offer = pc.local_description().await.unwrap().unwrap();
    socket
        .send(json!({ "type": "start", "mode": "data", "offerer": "browser" }))
        .await;
    socket.send(json!({ "type": "offer", "sdp": offer.sdp })).await;
    drive(&mut pc, &mut socket, async |event| {
        matches!(event, Event::SctpStateChange(RtcSctpTransportState::Connected))
    })
    .await;
    let events = tokio::spawn(async move {
        while let Some(event) = pc.next_event().await {
            if matches!(event, Event::PeerEnded(_)) {
                break;
            }
        }
        pc
    });
    let mut channels: [DataChannel; N] = channels.try_into().unwrap();
    for channel in &mut channels {
        within("open", channel.opened()).await.unwrap();
    }
    (events, socket, channels)
}

async fn hear(channel: &mut DataChannel) -> Message {
    within("a message", channel.recv()).await.expect("the channel is open")
}

async fn hear_json(channel: &mut DataChannel) -> Value {
    let message = hear(channel).await;
    assert_eq!(message.kind, MessageKind::Text);
    serde_json::from_slice(&message.data).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend10_an_echo_of_an_echo_ends() {
    let server = Running::start(&[]).await;
    let (_events, _socket, [mut echo]) = connect(&server, ["echo"], 256 * 1024).await;
    // Each message comes back to the server with another beginning, so that no two are the same.
    echo.send(Message::binary(vec![0; 8])).await.unwrap();
    let mut rounds = 0u64;
    let last = loop {
        let message = hear(&mut echo).await;
        if message.kind == MessageKind::Text {
            break message;
        }
        rounds += 1;
        assert!(rounds <= 20_000, "it would go on for ever");
        echo.send(Message::binary(rounds.to_be_bytes().to_vec())).await.unwrap();
    };
    assert_eq!(rounds, 20_000);
    let last: Value = serde_json::from_slice(&last.data).unwrap();
    assert_eq!(last["type"], "error");
    assert!(within("the end", echo.recv()).await.is_none());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend10_chat_and_file_do_not_answer_what_comes_back_of_their_own() {
    let server = Running::start(&[]).await;
    let (_events, _socket, [mut chat, mut file]) = connect(&server, ["chat", "file"], 256 * 1024).await;
    let greeting = hear(&mut chat).await;
    chat.send(greeting).await.unwrap();
    chat.send_text("good day").await.unwrap();
    // Nothing came of the greeting.
    let line = hear_json(&mut chat).await;
    assert_eq!((&line["text"], &line["you"]), (&json!("good day"), &json!(true)));

    file.send_text("what?").await.unwrap();
    let refusal = hear(&mut file).await;
    let unknown = "not a message of the file channel";
    let read: Value = serde_json::from_slice(&refusal.data).unwrap();
    assert_eq!(read, json!({ "type": "error", "message": unknown }));
    file.send(refusal).await.unwrap();
    file.send_text(r#"{"type":"received","bytes":3,"sha256":""}"#)
        .await
        .unwrap();
    file.send_text(r#"{"type":"fetch"}"#).await.unwrap();
    assert_ne!(hear_json(&mut file).await["message"], unknown);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend10_an_echo_larger_than_the_peer_takes_is_answered_by_an_error() {
    let server = Running::start(&[]).await;
    let (_events, _socket, [mut echo]) = connect(&server, ["echo"], 1000).await;
    echo.send(Message::binary(vec![1; 5000])).await.unwrap();
    let error = hear(&mut echo).await;
    let read: Value = serde_json::from_slice(&error.data).unwrap();
    assert_eq!(read["type"], "error");
    let text = read["message"].as_str().unwrap();
    assert!(text.contains("5000") && text.contains("1000"), "{text}");
    // The channel lives on; the error itself is not echoed, whoever sends it back.
    echo.send(error).await.unwrap();
    echo.send_text("still there?").await.unwrap();
    assert_eq!(hear(&mut echo).await, Message::text("still there?"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend10_two_servers_have_nothing_to_say_to_each_other() {
    let servers = [Running::start(&[]).await, Running::start(&[]).await];
    let mut sockets = [servers[0].socket().await, servers[1].socket().await];
    for socket in &mut sockets {
        socket.expect("welcome").await;
    }
    sockets[1].send(json!({ "type": "start", "mode": "data" })).await;
    sockets[0]
        .send(json!({ "type": "start", "mode": "data", "offerer": "server" }))
        .await;
    // Each is the other's client; the second report in a row that says the same ends it.
    let mut last = [Value::Null, Value::Null];
    let mut still = 0;
    while still < 4 {
        let [a, b] = &mut sockets;
        let (from, message) = tokio::select! {
            message = a.next_of_all() => (0, message),
            message = b.next_of_all() => (1, message),
        };
        let message = message.expect("the socket lives");
        match message["type"].as_str().unwrap() {
            "offer" | "answer" | "candidate" => sockets[1 - from].send(message).await,
            "stats" if !message["stats"]["sctp"].is_null() => {
                let stats = &message["stats"];
                let said = json!([stats["messages_sent"], stats["messages_received"]]);
                still = if last[from] == said { still + 1 } else { 0 };
                last[from] = said;
            }
            _ => {}
        }
    }
    // Three channels were opened, and one greeting went each way.
    for said in &last {
        assert!(
            said[0].as_u64().unwrap() <= 2 && said[1].as_u64().unwrap() <= 2,
            "{last:?}"
        );
    }
    for server in servers {
        server.stop().await;
    }
}
