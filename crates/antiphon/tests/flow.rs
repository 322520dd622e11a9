//! What data channels promise besides carrying messages: back-pressure both ways, and the streams that they can be.

mod pair;

use std::time::Duration;

use antiphon::{
    Api, ChannelState, DataChannel, Message, PeerHandle, RtcConfiguration, RtcDataChannelInit, TrySendError,
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use pair::{connected, within};

/// Two ends of one channel, and the handles that keep their connections.
async fn pair() -> (DataChannel, DataChannel, [PeerHandle; 2]) {
    connected(RtcConfiguration::default()).await
}

#[tokio::test]
async fn nothing_is_sent_before_the_channel_is_open() {
    let api = Api::builder().loopback(true).build().unwrap();
    let peer = api.peer_connection(RtcConfiguration::default()).await.unwrap();
    let init = RtcDataChannelInit::default();
    let channel = peer.create_data_channel("flow", init).await.unwrap();
    assert!(matches!(
        channel.try_send(Message::text("too early")),
        Err(TrySendError::Refused(antiphon::Error::Peer(error))) if error.name() == "InvalidStateError"
    ));
}

#[tokio::test]
async fn a_slow_reader_stops_the_sender_and_loses_nothing() {
    const SIZE: usize = 16 * 1024;
    let (near, mut far, _handles) = pair().await;
    let sender = near.sender();
    let (done, mut counted) = mpsc::unbounded_channel();
    // Far more than all windows and buffers of both ends hold.
    const MESSAGES: u32 = 4_000;
    let sending = tokio::spawn(async move {
        for n in 0..MESSAGES {
            let mut data = vec![0; SIZE];
            data[..4].copy_from_slice(&n.to_be_bytes());
            sender.send(Message::binary(data)).await.unwrap();
            done.send(n).unwrap();
        }
    });
    // Nobody reads. The sender comes to a stand: no message is taken for a second, long before the last.
    let mut taken = 0;
    while let Ok(Some(n)) = tokio::time::timeout(Duration::from_secs(1), counted.recv()).await {
        taken = n;
    }
    assert!(
        taken < MESSAGES - 1,
        "{taken} messages of {SIZE} bytes were taken from a sender whose reader sleeps"
    );
    assert!(near.buffered_amount() >= 256 * 1024, "{}", near.buffered_amount());
    let more = Message::binary(vec![0xff; SIZE]);
    let mut extra = 0;
    let back = loop {
        match near.try_send(more.clone()) {
            Ok(()) => extra += 1,
            Err(TrySendError::Full(back)) => break back,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(back, more);
    assert!(extra <= 1024 * 1024 / SIZE, "{extra} more until nothing was taken");

    for n in 0..MESSAGES {
        let mut message = within("a message", far.recv()).await.unwrap();
        while message == more {
            extra -= 1;
            message = within("a message", far.recv()).await.unwrap();
        }
        assert_eq!(message.data.len(), SIZE);
        assert_eq!(message.data[..4], n.to_be_bytes());
    }
    assert_eq!(extra, 0);
    sending.await.unwrap();
}

#[tokio::test]
async fn what_was_handed_over_is_sent_before_the_end() {
    let (near, mut far, _handles) = pair().await;
    let mut sent = 0u32;
    // Up to the high-water mark at once, then the end.
    while near.try_send(Message::binary(vec![sent as u8; 5_000])).is_ok() {
        sent += 1;
    }
    assert!(sent > 100);
    near.close();
    near.close();
    assert!(matches!(
        near.try_send(Message::text("too late")),
        Err(TrySendError::Refused(_))
    ));
    let mut received = 0;
    // The channel is a stream of messages, too.
    while let Some(message) = within("a message", far.next()).await {
        assert_eq!(message, Message::binary(vec![received as u8; 5_000]));
        received += 1;
    }
    assert_eq!(received, sent);
}

#[tokio::test]
async fn bytes_flow_through_both_ends_at_once() {
    const LEN: usize = 3_000_000;
    let (near, far, _handles) = pair().await;
    let mut echo = far.into_byte_stream();
    let echoing = tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(&mut echo);
        tokio::io::copy(&mut reader, &mut writer).await.unwrap()
    });
    let (mut reader, mut writer) = tokio::io::split(near.into_byte_stream());
    let bytes: Vec<u8> = (0..LEN).map(|n| (n * n / 7) as u8).collect();
    let expected = bytes.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(&bytes).await.unwrap();
        writer.flush().await.unwrap();
        writer
    });
    let mut back = vec![0; LEN];
    within("all of it", reader.read_exact(&mut back)).await.unwrap();
    assert!(back == expected);
    let mut writer = writing.await.unwrap();
    writer.shutdown().await.unwrap();
    assert_eq!(within("the end", echoing).await.unwrap(), LEN as u64);
    assert_eq!(within("the end", reader.read(&mut [0; 8])).await.unwrap(), 0);
    assert!(writer.write_all(b"closed").await.is_err());
}

#[tokio::test]
async fn messages_that_the_peer_does_not_take_are_refused() {
    let (near, mut far, _handles) = pair().await;
    let error = near.send_binary(vec![0; 400_000_000]).await.unwrap_err();
    assert!(matches!(error, antiphon::Error::Peer(error) if error.name() == "TypeError"));
    // Nobody waits for a reader that is gone.
    near.send_text("still here").await.unwrap();
    assert_eq!(within("a message", far.recv()).await, Some(Message::text("still here")));
    drop(far);
    for n in 0..2_000u32 {
        within("a message", near.send_binary(vec![n as u8; 10_000]))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_answer_leaves_with_its_acknowledgement() {
    const PINGS: u64 = 500;
    let (mut near, mut far, handles) = pair().await;
    let echo = tokio::spawn(async move {
        while let Some(message) = far.recv().await {
            far.send(message).await.unwrap();
        }
    });
    let packets = async || {
        let mut sent = 0;
        for handle in &handles {
            sent += handle.get_stats().await.unwrap().transport().unwrap().packets_sent;
        }
        sent
    };
    let before = packets().await;
    for _ in 0..PINGS {
        near.send_binary(vec![7; 64]).await.unwrap();
        within("the answer", near.recv()).await.unwrap();
    }
    let sent = packets().await - before;
    println!("{sent} datagrams for {PINGS} questions and answers");
    // A question and its answer take a datagram each; acknowledgements of their own would double that.
    assert!(sent < 3 * PINGS, "{sent} datagrams");
    near.close();
    echo.await.unwrap();
}

#[tokio::test]
async fn what_has_arrived_can_be_read_after_the_channel_is_closed() {
    let (near, mut far, _handles) = pair().await;
    // More than a handle holds, and less than the receive window.
    for n in 0..40u8 {
        let message = Message::binary(vec![n; 16 * 1024]);
        within("room", near.send(message)).await.unwrap();
    }
    near.close();
    within("the end", far.closed()).await;
    assert_eq!(far.ready_state(), ChannelState::Closed);
    for n in 0..40u8 {
        let message = within("more", far.recv()).await.expect("all of it");
        assert_eq!((message.data.len(), message.data[0]), (16 * 1024, n));
    }
    assert_eq!(far.recv().await, None);
}

/// One message of 64 MiB, through a receive buffer of one.
async fn large() -> (DataChannel, DataChannel, [PeerHandle; 2], Bytes) {
    let mut configuration = RtcConfiguration::default();
    let data = &mut configuration.settings.data;
    data.partial_delivery = true;
    data.receive_buffer = 1 << 20;
    data.send_buffer = 65 << 20;
    let (near, far, handles) = connected(configuration).await;
    let message: Bytes = (0..64 << 20).map(|n: u32| (n % 253) as u8).collect();
    within("room", near.send_binary(message.clone())).await.unwrap();
    (near, far, handles, message)
}

#[tokio::test]
async fn a_message_of_any_size_is_read_as_it_comes() {
    let (near, far, _handles, message) = large().await;
    near.close();
    let mut stream = far.into_byte_stream();
    let mut buffer = vec![0; 300_000];
    let mut at = 0;
    loop {
        let len = within("more", stream.read(&mut buffer)).await.unwrap();
        if len == 0 {
            break;
        }
        assert!(buffer[..len] == message[at..at + len], "the bytes at {at}");
        at += len;
    }
    assert_eq!(at, message.len());
}

#[tokio::test]
async fn a_reader_of_whole_messages_refuses_what_comes_in_pieces() {
    let (near, mut far, _handles, _message) = large().await;
    assert_eq!(within("the end", far.recv()).await, None);
    assert_eq!(far.ready_state(), ChannelState::Closed);
    drop(near);
}
