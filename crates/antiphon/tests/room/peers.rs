//! Peers, their receivers, senders and transports: rows 4 to 7.

use antiphon::room::{PeerEvent, RoomOptions, RtpReceiverEvent, RtpSenderEvent, TransportEvent};
use antiphon::{MediaKind, RtcSessionDescription};

use crate::client::{Client, Joined, first, room, server, within};

#[tokio::test]
async fn m04_every_receiver_of_a_peer_is_a_sender_of_every_other() {
    let server = server().await;
    let room = room(&server).await;
    let alice = Joined::new(&room, "alice").await;
    let capabilities = alice.peer.capabilities().await.unwrap().unwrap();
    let names: Vec<_> = capabilities
        .audio
        .iter()
        .chain(&capabilities.video)
        .map(|own| own.name.clone())
        .collect();
    assert_eq!(names, ["opus", "VP8", "H264"]);
    let error = alice
        .peer
        .set_capabilities(Client::capabilities().await)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the capabilities of the peer are set already");
    alice.client.add(MediaKind::Audio, "voice").await;
    alice.client.add(MediaKind::Video, "camera").await;
    alice.exchange().await;

    // One that comes later gets everything at once.
    let carol = room.peer("carol").await.unwrap();
    let mut events = carol.events();
    carol.set_capabilities(Client::capabilities().await).await.unwrap();
    let senders = carol.rtp_senders().await.unwrap();
    assert_eq!(senders.len(), 2);
    for sender in &senders {
        let told = first(&mut events, |event| match event {
            PeerEvent::NewRtpSender(sender) => Some(sender),
            _ => None,
        });
        assert_eq!(told.await.id(), sender.id());
        assert_eq!(sender.associated_rtp_receiver().peer(), alice.peer);
        assert_eq!(sender.peer(), carol);
        assert!(!sender.active().await.unwrap(), "it has no connection");
    }
    // One that is there gets what comes, and so does the first of the second.
    let bob = Joined::new(&room, "bob").await;
    bob.client.add(MediaKind::Video, "camera").await;
    bob.exchange().await;
    assert_eq!(alice.peer.rtp_senders().await.unwrap().len(), 1);
    assert_eq!(bob.peer.rtp_senders().await.unwrap().len(), 2);
    assert_eq!(carol.rtp_senders().await.unwrap().len(), 3);
    let dump = alice.peer.dump().await.unwrap();
    assert_eq!(
        (dump.receivers.len(), dump.senders.len(), dump.name.as_str()),
        (2, 1, "alice")
    );
    assert!(dump.has_capabilities && dump.signaling_state.is_some() && !dump.is_busy);

    alice.peer.close().await;
    assert!(senders.iter().all(|sender| sender.closed()));
    assert_eq!(carol.rtp_senders().await.unwrap().len(), 1);
    assert!(bob.peer.rtp_senders().await.unwrap().is_empty());
    carol.close().await;
    let closed = |event| matches!(event, PeerEvent::Close).then_some(());
    first(&mut events, closed).await;
    assert!(events.next().await.is_none());
    assert!(carol.rtp_senders().await.is_err());
}

#[tokio::test]
async fn m04_a_peer_without_the_codec_gets_a_sender_that_is_never_negotiated() {
    let server = server().await;
    let room = server.create_room(RoomOptions::browsers()).await.unwrap();
    let alice = Joined::new(&room, "alice").await;
    alice.client.add(MediaKind::Video, "camera").await;
    alice.exchange().await;
    let deaf = room.peer("bob").await.unwrap();
    let sound = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
        c=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n";
    let capabilities = deaf.set_capabilities(sound).await.unwrap();
    assert!(capabilities.video.is_empty());
    let options = antiphon::room::RtcPeerConnectionOptions::new(&deaf);
    let pc = antiphon::room::RtcPeerConnection::new(options).await.unwrap();
    assert_eq!(deaf.rtp_senders().await.unwrap().len(), 1);
    let offer = pc.create_offer(Default::default()).await.unwrap();
    assert!(!offer.sdp.contains("m=video"), "{}", offer.sdp);
}

#[tokio::test]
async fn m05_a_receiver_tells_changes_and_hands_out_packets() {
    let server = server().await;
    let room = room(&server).await;
    let mut alice = Joined::new(&room, "alice").await;
    let camera = alice.client.add(MediaKind::Video, "camera").await;
    alice.exchange().await;
    let receiver = alice.peer.rtp_receivers().await.unwrap().remove(0);
    assert_eq!(
        (receiver.kind(), receiver.peer()),
        (MediaKind::Video, alice.peer.clone())
    );
    let mut events = receiver.events();
    alice
        .client
        .pc
        .set_streams(camera, vec!["office".to_owned()])
        .await
        .unwrap();
    alice.exchange().await;
    let Some(RtpReceiverEvent::ParametersChange(parameters)) = within("a change", events.next()).await else {
        panic!("the track goes on in another stream");
    };
    assert_eq!(parameters.streams, ["office"]);
    assert_eq!(parameters, receiver.rtp_parameters().await.unwrap());

    let mut packets = receiver.packets().await.unwrap();
    let filming = tokio::spawn(async move { alice.client.film(camera).await });
    let packet = within("a packet", packets.next()).await.unwrap();
    assert!(
        parameters
            .codecs
            .iter()
            .any(|codec| codec.payload_type == packet.payload_type)
    );
    alice.peer.close().await;
    within("the end", async { while packets.next().await.is_some() {} }).await;
    assert!(matches!(events.next().await, Some(RtpReceiverEvent::Close)));
    assert!(receiver.packets().await.is_err());
    filming.await.unwrap();
}

#[tokio::test]
async fn m06_a_sender_is_disabled_and_enabled_without_an_exchange() {
    let server = server().await;
    let room = room(&server).await;
    let alice = Joined::new(&room, "alice").await;
    let camera = alice.client.add(MediaKind::Video, "camera").await;
    alice.exchange().await;
    let mut bob = Joined::new(&room, "bob").await;
    let sender = bob.peer.rtp_senders().await.unwrap().remove(0);
    let mut events = sender.events();
    bob.exchange().await;
    let Some(RtpSenderEvent::ParametersChange(parameters)) = events.next().await else {
        panic!("it is negotiated");
    };
    assert!(matches!(events.next().await, Some(RtpSenderEvent::ActiveChange(true))));
    assert!(sender.active().await.unwrap());
    assert_eq!(parameters.streams, [format!("peer-{}-home", alice.peer.id())]);
    let mid = parameters.mid.clone().unwrap();

    let mut carol = Joined::new(&room, "carol").await;
    carol.exchange().await;
    let (_, transceiver) = alice.client.deliver(camera, 1, &mut bob.client).await;
    let rows = bob.client.pc.transceivers().await.unwrap();
    let row = rows.iter().find(|row| row.id() == transceiver).unwrap();
    assert_eq!(row.mid(), Some(mid.as_str()));
    assert_eq!(row.remote_streams(), parameters.streams);

    let [told] = bob.peer.deliveries().await.unwrap().try_into().unwrap();
    assert_eq!(
        (told.sender, told.kind, &told.mid),
        (sender.id(), MediaKind::Video, &Some(mid))
    );
    assert_eq!(told.delivery, sender.delivery().await.unwrap());
    assert_eq!(told.delivery.layer.map(|layer| layer.encoding), Some(0), "it comes");
    assert!(!told.is_starved);
    sender.set_preferred_layers(0, 0).await.unwrap();

    sender.disable(true).await.unwrap();
    assert!(matches!(events.next().await, Some(RtpSenderEvent::ActiveChange(false))));
    assert!(!sender.active().await.unwrap());
    for number in 2..6 {
        alice.client.deliver(camera, number, &mut carol.client).await;
    }
    sender.disable(true).await.unwrap(); // no change, nothing to tell
    sender.enable(false).await.unwrap();
    assert!(sender.active().await.unwrap(), "told to nobody, but done");
    let (got, resumed) = alice.client.deliver(camera, 6, &mut bob.client).await;
    assert!(got.iter().all(|number| [1, 6].contains(number)), "{got:?}");
    assert_eq!(resumed, transceiver);

    alice.peer.close().await;
    assert!(matches!(events.next().await, Some(RtpSenderEvent::Close)));
    assert!(sender.enable(true).await.is_err());
    assert!(sender.set_preferred_layers(0, 0).await.is_err());
    assert_eq!(bob.peer.deliveries().await.unwrap(), []);
}

#[tokio::test]
async fn m07_a_transport_tells_its_states_and_limits_the_client() {
    let server = server().await;
    let room = room(&server).await;
    let mut own = Joined::new(&room, "alice").await;
    let transport = own.peer.transports().await.unwrap().remove(0);
    let mut events = transport.events();
    own.exchange().await;
    let mut told = Vec::new();
    let is_whole = |told: &[TransportEvent]| {
        let connected =
            |event: &_| matches!(event, TransportEvent::DtlsStateChange(state) if state.as_str() == "connected");
        let moved = |event: &_| matches!(event, TransportEvent::IceSelectedTupleChange { .. });
        told.iter().any(connected) && told.iter().any(moved)
    };
    while !is_whole(&told) {
        told.push(within("a state", events.next()).await.unwrap());
    }
    assert!(
        told.iter()
            .any(|event| matches!(event, TransportEvent::IceStateChange(_))),
        "{told:?}"
    );
    let dump = transport.dump().await.unwrap();
    let stats = dump.stats.transport().unwrap();
    assert_eq!(
        (dump.id, stats.ice_role, stats.dtls_role),
        (transport.id(), "controlled", "server")
    );
    assert_eq!(stats.dtls_state, "connected");
    assert!(stats.remote_certificate_id.is_some() && stats.selected_candidate_pair_id.is_some());
    assert!(
        dump.ice_local_candidates
            .iter()
            .any(|candidate| candidate.contains("127.0.0.1")),
        "{dump:?}"
    );
    assert!(
        dump.ice_local_candidates
            .iter()
            .any(|candidate| candidate.contains("tcptype passive")),
        "{dump:?}"
    );

    let ufrag = stats.ice_local_username_fragment.clone();
    transport.set_max_bitrate(Some(300_000)).await.unwrap();
    transport.change_ufrag_pwd().await.unwrap();
    own.negotiation_needed().await;
    let offer: RtcSessionDescription = own.offer().await;
    assert!(offer.sdp.contains("b=TIAS:300000\r\n"));
    let answer = own.client.answer(offer).await;
    own.pc.set_remote_description(answer).await.unwrap();
    let dump = transport.dump().await.unwrap();
    assert_eq!(dump.max_bitrate, Some(300_000));
    assert_ne!(dump.stats.transport().unwrap().ice_local_username_fragment, ufrag);
    own.peer.close().await;
    let closed = |event| matches!(event, TransportEvent::Close).then_some(());
    first(&mut events, closed).await;
    assert!(transport.closed() && transport.dump().await.is_err());
}
