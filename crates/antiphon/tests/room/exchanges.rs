//! Connections and their exchanges: rows 8 to 14.

use antiphon::room::{
    CloseReason, OfferOptions, PeerEvent, RtcPeerConnection, RtcPeerConnectionEvent, RtcPeerConnectionOptions,
};
use antiphon::{Direction, MediaKind, RtcRtpTransceiverInit, RtcSessionDescription, RtcSignalingState, SdpType};

use crate::client::{Client, Joined, first, room, server, within};

#[tokio::test]
async fn m08_a_connection_is_a_peers_only_one() {
    let server = server().await;
    let room = room(&server).await;
    let peer = room.peer("alice").await.unwrap();
    let options = RtcPeerConnectionOptions::new(&peer);
    let pc = RtcPeerConnection::new(options.clone()).await.unwrap();
    assert_eq!(*pc.peer(), peer);
    let error = RtcPeerConnection::new(options.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), "the peer has a connection already");
    peer.close().await;
    assert!(pc.closed());
    let error = RtcPeerConnection::new(options).await.unwrap_err();
    assert_eq!(
        (error.name(), error.to_string().as_str()),
        ("InvalidStateError", "the peer is closed")
    );
}

#[tokio::test]
async fn m08_a_bitrate_that_is_asked_for_stands_in_the_offer() {
    let server = server().await;
    let room = room(&server).await;
    let peer = room.peer("alice").await.unwrap();
    let options = RtcPeerConnectionOptions {
        max_bitrate: Some(400_000),
        ..RtcPeerConnectionOptions::new(&peer)
    };
    let pc = RtcPeerConnection::new(options).await.unwrap();
    pc.set_capabilities(Client::capabilities().await).await.unwrap();
    let offer = pc.create_offer(OfferOptions::default()).await.unwrap();
    assert_eq!(offer.sdp.matches("b=TIAS:400000\r\n").count(), 2, "{}", offer.sdp);
    pc.set_local_description(offer).await.unwrap();
    let set = pc.local_description().await.unwrap().unwrap();
    assert_eq!(set.sdp.matches("b=TIAS:400000\r\n").count(), 2);
}

#[tokio::test]
async fn m09_capabilities_are_told_once_and_make_the_transport() {
    let server = server().await;
    let room = room(&server).await;
    let peer = room.peer("alice").await.unwrap();
    let pc = RtcPeerConnection::new(RtcPeerConnectionOptions::new(&peer))
        .await
        .unwrap();
    let error = pc.set_capabilities("not SDP").await.unwrap_err();
    assert!(error.to_string().starts_with("invalid capabilities SDP: "), "{error}");
    assert!(peer.capabilities().await.unwrap().is_none() && peer.transports().await.unwrap().is_empty());
    let mut events = peer.events();
    let sdp = Client::capabilities().await;
    pc.set_capabilities(sdp.clone()).await.unwrap();
    assert!(matches!(events.next().await, Some(PeerEvent::NewTransport(_))));
    assert!(matches!(events.next().await, Some(PeerEvent::Capabilities(_))));
    assert_eq!(peer.transports().await.unwrap().len(), 1);
    let error = pc.set_capabilities(sdp.clone()).await.unwrap_err();
    assert_eq!(error.name(), "InvalidStateError");
    pc.close(None).await;
    let error = pc.set_capabilities(sdp).await.unwrap_err();
    assert_eq!(
        (error.name(), error.to_string().as_str()),
        ("InvalidStateError", "the connection is closed")
    );
}

#[tokio::test]
async fn m10_the_server_offers_when_it_is_neither_busy_nor_unstable() {
    let server = server().await;
    let room = room(&server).await;
    let peer = room.peer("alice").await.unwrap();
    let pc = RtcPeerConnection::new(RtcPeerConnectionOptions::new(&peer))
        .await
        .unwrap();
    let create = async |audio, video| {
        let options = OfferOptions {
            offer_to_receive_audio: audio,
            offer_to_receive_video: video,
        };
        pc.create_offer(options).await
    };
    let error = create(1, 1).await.unwrap_err();
    assert_eq!(error.to_string(), "set_capabilities comes before the first offer");
    pc.set_capabilities(Client::capabilities().await).await.unwrap();
    let error = pc.create_answer().await.unwrap_err();
    assert_eq!(error.to_string(), "cannot create an answer in signalling state stable");
    assert_eq!(
        create(9, 9).await.unwrap_err().to_string(),
        "too many tracks of one peer: at most 16"
    );
    let offer = create(2, 1).await.unwrap();
    assert_eq!(offer.sdp.matches("m=audio").count(), 2);
    assert_eq!(offer.sdp.matches("m=video").count(), 1);
    assert!(offer.sdp.contains("a=ice-lite\r\n"));
    let error = create(1, 1).await.unwrap_err();
    assert_eq!(error.name(), "InvalidStateError");
    assert!(error.to_string().contains("reset()"), "busy: {error}");
    pc.set_local_description(offer).await.unwrap();
    let error = create(1, 1).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot create an offer in signalling state have-local-offer"
    );
    let error = pc.create_answer().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot create an answer in signalling state have-local-offer"
    );
    pc.reset().await.unwrap();
    let offer = create(0, 1).await.unwrap();
    assert_eq!(offer.sdp.matches("a=recvonly").count(), 1, "{}", offer.sdp);
    pc.close(None).await;
    assert_eq!(create(1, 1).await.unwrap_err().name(), "InvalidStateError");
}

#[tokio::test]
async fn m11_descriptions_that_do_not_fit_the_state_are_refused_by_type_and_state() {
    let server = server().await;
    let room = room(&server).await;
    let own = Joined::new(&room, "alice").await;
    let empty = |sdp_type| RtcSessionDescription::new(sdp_type, "");
    let local = async |sdp_type| {
        own.pc
            .set_local_description(empty(sdp_type))
            .await
            .unwrap_err()
            .to_string()
    };
    let remote = async |sdp_type| {
        own.pc
            .set_remote_description(empty(sdp_type))
            .await
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        local(SdpType::Offer).await,
        "cannot set a local offer in signalling state stable"
    );
    assert_eq!(
        remote(SdpType::Answer).await,
        "cannot set a remote answer in signalling state stable"
    );
    let theirs =
        "cannot set a remote offer in signalling state stable: the server makes the offers and the client answers";
    assert_eq!(remote(SdpType::Offer).await, theirs);
    let offer = own.pc.create_offer(OfferOptions::default()).await.unwrap();
    let edited = RtcSessionDescription::offer(format!("{}a=x\r\n", offer.sdp));
    let error = own.pc.set_local_description(edited).await.unwrap_err();
    assert_eq!(error.name(), "InvalidModificationError");
    assert_eq!(
        local(SdpType::Answer).await,
        "cannot set a local answer in signalling state stable"
    );
    own.pc.set_local_description(offer).await.unwrap();
    assert_eq!(
        local(SdpType::Offer).await,
        "cannot set a local offer in signalling state have-local-offer"
    );
    let early = "cannot set a remote pranswer in signalling state have-local-offer";
    assert_eq!(remote(SdpType::PrAnswer).await, early);
    let offer = own.pc.local_description().await.unwrap().unwrap();
    let answer = own.client.answer(offer).await;
    own.pc.set_remote_description(answer).await.unwrap();
    assert_eq!(own.pc.signaling_state().await.unwrap(), RtcSignalingState::Stable);
    assert!(
        remote(SdpType::Offer).await.contains("the server makes the offers"),
        "nor later"
    );
}

#[tokio::test]
async fn m11_answers_add_and_remove_receivers_and_a_mid_stays_what_it_is() {
    let server = server().await;
    let room = room(&server).await;
    let own = Joined::new(&room, "alice").await;
    let mut events = own.peer.events();
    own.exchange().await;
    assert!(own.peer.rtp_receivers().await.unwrap().is_empty(), "it sends nothing");
    let audio = own.client.add(MediaKind::Audio, "voice").await;
    own.client.add(MediaKind::Video, "camera").await;
    own.exchange().await;
    let receiver = |event| match event {
        PeerEvent::NewRtpReceiver(receiver) => Some(receiver),
        _ => None,
    };
    let voice = first(&mut events, receiver).await;
    let camera = first(&mut events, receiver).await;
    assert_eq!([voice.kind(), camera.kind()], [MediaKind::Audio, MediaKind::Video]);
    assert_eq!(own.peer.rtp_receivers().await.unwrap().len(), 2);
    let parameters = camera.rtp_parameters().await.unwrap();
    assert_eq!(parameters.track.as_deref(), Some("camera"));
    assert_eq!(parameters.codecs[0].name, "VP8");
    own.exchange().await;
    assert!(!voice.closed() && !camera.closed(), "nothing has changed");

    own.client.pc.remove_track(audio).await.unwrap();
    own.exchange().await;
    assert!(voice.closed() && !camera.closed());
    assert_eq!(
        voice.rtp_parameters().await.unwrap_err().to_string(),
        "no such receiver"
    );

    let offer = own.offer().await;
    let mut answer = own.client.answer(offer).await;
    answer.sdp = answer.sdp.replacen("a=mid:", "a=mid:other", 1);
    let error = own.pc.set_remote_description(answer).await.unwrap_err();
    assert!(error.to_string().contains("mid"), "{error}");
    assert!(!camera.closed(), "a wrong answer changes nothing");
}

#[tokio::test]
async fn m12_changes_of_the_room_are_told_once_for_all_of_half_a_second() {
    let server = server().await;
    let room = room(&server).await;
    let mut alice = Joined::new(&room, "alice").await;
    alice.exchange().await;
    let bob = Joined::new(&room, "bob").await;
    bob.client.add(MediaKind::Audio, "voice").await;
    bob.client.add(MediaKind::Video, "camera").await;
    bob.exchange().await;
    alice.negotiation_needed().await;
    let offer = alice.offer().await;
    assert_eq!(offer.sdp.matches("a=sendonly").count(), 2, "both tracks: {}", offer.sdp);
    // While the exchange is under way bob leaves: nothing is told before its end.
    bob.peer.close().await;
    let answer = alice.client.answer(offer).await;
    alice.pc.set_remote_description(answer).await.unwrap();
    let mut told = Vec::new();
    while told.last() != Some(&RtcPeerConnectionEvent::NegotiationNeeded) {
        told.push(within("news", alice.events.next()).await.unwrap());
    }
    let states = [RtcSignalingState::HaveLocalOffer, RtcSignalingState::Stable];
    let mut expected: Vec<_> = states.map(RtcPeerConnectionEvent::SignalingStateChange).into();
    expected.push(RtcPeerConnectionEvent::NegotiationNeeded);
    assert_eq!(
        told, expected,
        "bob's tracks were told once, and his leaving after the exchange"
    );
    let offer = alice.offer().await;
    assert_eq!(offer.sdp.matches("a=sendonly").count(), 0, "{}", offer.sdp);
    let answer = alice.client.answer(offer).await;
    alice.pc.set_remote_description(answer).await.unwrap();
    // A restart of ICE is a reason too.
    alice.pc.restart_ice().await.unwrap();
    alice.renegotiate().await;
}

#[tokio::test]
async fn m13_a_wrong_answer_is_followed_by_reset_and_success() {
    let server = server().await;
    let room = room(&server).await;
    let mut own = Joined::new(&room, "alice").await;
    own.client.add(MediaKind::Video, "camera").await;
    let offer = own.offer().await;
    for wrong in ["not SDP", "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"] {
        let error = own
            .pc
            .set_remote_description(RtcSessionDescription::answer(wrong))
            .await
            .unwrap_err();
        assert_ne!(error.name(), "InvalidStateError", "{error}");
    }
    assert_eq!(
        own.pc.signaling_state().await.unwrap(),
        RtcSignalingState::HaveLocalOffer
    );
    assert!(own.peer.dump().await.unwrap().is_busy);
    own.pc.reset().await.unwrap();
    assert_eq!(own.pc.signaling_state().await.unwrap(), RtcSignalingState::Stable);
    assert!(!own.peer.dump().await.unwrap().is_busy);
    own.renegotiate().await; // what was not told is still needed
    assert_eq!(own.peer.rtp_receivers().await.unwrap().len(), 1);
    let settled = own.pc.local_description().await.unwrap();

    // A client takes our offer and its own answer, as browsers do, and only what it sends us is wrong. To it no section may change.
    let second = Joined::new(&room, "bob").await;
    let voice = second.client.add(MediaKind::Audio, "voice").await;
    second.exchange().await;
    let mids = |offer: &RtcSessionDescription| {
        let lines = offer.sdp.lines().filter(|line| line.starts_with("a=mid:"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    own.negotiation_needed().await;
    let given_up = own.offer().await;
    let mut wrong = own.client.answer(given_up.clone()).await;
    wrong.sdp.truncate(wrong.sdp.rfind("m=").unwrap());
    own.pc.set_remote_description(wrong).await.unwrap_err();
    own.pc.reset().await.unwrap();
    assert_eq!(
        own.pc.local_description().await.unwrap(),
        settled,
        "what was given up counts no more"
    );
    // Meanwhile one track ends and another begins.
    second.client.pc.remove_track(voice).await.unwrap();
    second.client.add(MediaKind::Video, "camera").await;
    second.exchange().await;
    own.negotiation_needed().await;
    let again = own.offer().await;
    assert_eq!(mids(&again)[..mids(&given_up).len()], mids(&given_up));
    assert_eq!(mids(&again).len(), mids(&given_up).len() + 1);
    let answer = own.client.answer(again).await;
    own.pc.set_remote_description(answer).await.unwrap();

    let credentials = |offer: &RtcSessionDescription| {
        let line = offer.sdp.lines().find(|line| line.starts_with("a=ice-ufrag:"));
        line.unwrap().to_owned()
    };
    own.pc.restart_ice().await.unwrap();
    own.negotiation_needed().await;
    let restarted = own.offer().await;
    assert_ne!(credentials(&offer), credentials(&restarted));
    assert!(
        restarted.sdp.contains("a=candidate:"),
        "gathered anew: {}",
        restarted.sdp
    );
    let answer = own.client.answer(restarted).await;
    own.pc.set_remote_description(answer).await.unwrap();
    own.pc.reset().await.unwrap(); // nothing to give up
    assert_eq!(own.pc.signaling_state().await.unwrap(), RtcSignalingState::Stable);
}

#[tokio::test]
async fn m14_a_client_that_goes_closes_the_connection_and_its_peer() {
    let server = server().await;
    let room = room(&server).await;
    let own = Joined::new(&room, "alice").await;
    assert!(own.pc.local_description().await.unwrap().is_none());
    assert!(own.pc.remote_description().await.unwrap().is_none());
    let transport = own.peer.transports().await.unwrap().remove(0);
    let mut states = transport.events();
    let Joined {
        peer,
        pc,
        mut events,
        client,
    } = own;
    let offer = pc.create_offer(OfferOptions::default()).await.unwrap();
    pc.set_local_description(offer).await.unwrap();
    let offer = pc.local_description().await.unwrap().unwrap();
    assert_eq!(offer.sdp_type, SdpType::Offer);
    let answer = client.answer(offer).await;
    pc.set_remote_description(answer.clone()).await.unwrap();
    assert_eq!(
        pc.remote_description().await.unwrap().unwrap().sdp_type,
        SdpType::Answer
    );
    let connected = |event| match event {
        antiphon::room::TransportEvent::DtlsStateChange(state) => (state.as_str() == "connected").then_some(()),
        _ => None,
    };
    first(&mut states, connected).await;
    client.pc.close().await;
    let closed = |event| match event {
        RtcPeerConnectionEvent::Close(reason) => Some(reason),
        _ => None,
    };
    assert_eq!(first(&mut events, closed).await, Some(CloseReason::ByPeer));
    assert!(pc.closed() && peer.closed() && transport.closed());
    assert!(room.get_peer("alice").await.is_none());

    let other = Joined::new(&room, "bob").await;
    let Joined { pc, mut events, .. } = other;
    pc.close(Some("out of chairs")).await;
    let reason = first(&mut events, closed).await;
    assert_eq!(
        reason.map(|reason| reason.to_string()).as_deref(),
        Some("out of chairs")
    );
    assert!(events.next().await.is_none());
    pc.close(None).await; // nothing more
}

#[tokio::test]
async fn a_client_that_takes_no_offers_makes_one_itself_to_send_or_to_watch() {
    let server = server().await;
    let room = room(&server).await;
    let connect = async |name: &str| {
        let peer = room.peer(name).await.unwrap();
        let options = RtcPeerConnectionOptions {
            subscribe: false,
            ..RtcPeerConnectionOptions::new(&peer)
        };
        (RtcPeerConnection::new(options).await.unwrap(), peer)
    };
    let offer = async |client: &Client| {
        client.pc.set_local_description(None).await.unwrap();
        client.pc.local_description().await.unwrap().unwrap().sdp
    };
    let (publishing, publisher) = connect("publisher").await;
    let sender = Client::new().await;
    let video = sender.add(MediaKind::Video, "camera").await;
    let answer = publishing.answer_offer(offer(&sender).await, None).await.unwrap();
    assert!(
        answer.sdp.contains("a=candidate:") && answer.sdp.contains("a=recvonly"),
        "{}",
        answer.sdp
    );
    sender.pc.set_remote_description(answer).await.unwrap();
    assert_eq!(publisher.rtp_receivers().await.unwrap().len(), 1);
    let error = publishing.answer_offer(offer(&Client::new().await).await, None).await;
    assert!(error.is_err(), "there is one offer");

    // Who comes as others do gets it, and so does who watches by an offer of its own.
    let joined = Joined::new(&room, "bob").await;
    joined.exchange().await;
    let mut other = joined.client;
    let (watching, watcher) = connect("watcher").await;
    let mut viewer = Client::new().await;
    for kind in [MediaKind::Video, MediaKind::Audio] {
        let init = RtcRtpTransceiverInit::new(Direction::RecvOnly);
        viewer.pc.add_transceiver(kind, init).await.unwrap();
    }
    let answer = watching
        .answer_offer(offer(&viewer).await, Some(&publisher))
        .await
        .unwrap();
    assert!(
        answer.sdp.contains("a=sendonly") && answer.sdp.contains("a=inactive"),
        "{}",
        answer.sdp
    );
    viewer.pc.set_remote_description(answer).await.unwrap();
    assert_eq!(watcher.rtp_senders().await.unwrap().len(), 1);
    sender.deliver(video, 1, &mut other).await;
    sender.deliver(video, 2, &mut viewer).await;

    // What the room has no codec for is an answer to nothing.
    let (strange, _) = connect("strange").await;
    let theora = Client::new().await;
    theora.add(MediaKind::Video, "camera").await;
    let sdp = offer(&theora)
        .await
        .replace("VP8/90000", "theora/90000")
        .replace("H264/90000", "theora/90000");
    let error = strange.answer_offer(sdp, None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no section of the offer has one of the codecs of the room"
    );

    // One whose offers are ours makes none, and nobody watches who is not there.
    let peer = room.peer("eve").await.unwrap();
    let pc = RtcPeerConnection::new(RtcPeerConnectionOptions::new(&peer))
        .await
        .unwrap();
    let error = pc.answer_offer(Client::capabilities().await, None).await.unwrap_err();
    assert_eq!(error.name(), "InvalidStateError");
    publisher.close().await;
    let (late, _) = connect("late").await;
    let error = late
        .answer_offer(Client::capabilities().await, Some(&publisher))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the peer is closed");
}
