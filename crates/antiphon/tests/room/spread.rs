//! Rooms over several workers: what crosses from one to another, and for how long.

use antiphon::room::{CrossingDump, Room, RoomOptions, RtpReceiver, Server, ServerOptions};
use antiphon::{MediaKind, TransceiverId};

use crate::client::{Joined, first, options, within};

/// A server with two workers, and a room over both.
async fn spread() -> (Server, Room) {
    let server = Server::new(ServerOptions {
        workers: 2,
        ..options()
    })
    .await
    .unwrap();
    let room = server
        .create_room(RoomOptions::browsers().over_all_workers())
        .await
        .unwrap();
    (server, room)
}

/// Somebody with a camera.
async fn joined(room: &Room, name: &str) -> (Joined, TransceiverId) {
    let own = Joined::new(room, name).await;
    let camera = own.client.add(MediaKind::Video, "camera").await;
    own.exchange().await;
    (own, camera)
}

/// The number of the receiver that somebody's camera is.
async fn receiver(own: &Joined) -> u64 {
    own.peer.rtp_receivers().await.unwrap()[0].id()
}

async fn crossings(room: &Room) -> Vec<CrossingDump> {
    room.dump().await.unwrap().crossings
}

/// Each of them shows a picture to each other.
async fn all_see_all(all: &mut [(Joined, TransceiverId)], number: &mut u32) {
    for from in 0..all.len() {
        for to in (0..all.len()).filter(|to| *to != from) {
            *number += 1;
            let [(from, camera), (to, _)] = all.get_disjoint_mut([from, to]).unwrap();
            from.client.deliver(*camera, *number, &mut to.client).await;
        }
    }
}

#[tokio::test]
async fn a_track_crosses_once_and_while_somebody_there_gets_it() {
    let (_server, room) = spread().await;
    let mut all = Vec::new();
    for name in ["alice", "bob", "carol", "dave"] {
        all.push(joined(&room, name).await);
    }
    for (own, _) in &all {
        own.exchange().await;
    }
    let dump = room.dump().await.unwrap();
    let home = room.worker();
    let workers: Vec<_> = dump.peers.iter().map(|peer| peer.worker).collect();
    assert_eq!(workers, [home, 1 - home, home, 1 - home], "where the fewest are");
    let mut number = 0;
    all_see_all(&mut all, &mut number).await;
    // Two of them get each at the other worker, and it crosses once.
    let mut expected = Vec::new();
    for ((own, _), worker) in all.iter().zip(workers) {
        expected.push(CrossingDump {
            receiver: receiver(own).await,
            worker: 1 - worker,
            active: true,
        });
    }
    assert_eq!(crossings(&room).await, expected);
    // What came from clients, and what crossed: one of each for each picture, for which three got it.
    let totals = room.figures().await.unwrap().work.totals;
    assert!(totals.packets > 0 && totals.sent > totals.packets, "{totals:?}");

    // Where all have it switched off, nothing crosses for a while.
    let of_alice = receiver(&all[0].0).await;
    for (own, _) in [&all[1], &all[3]] {
        let senders = own.peer.rtp_senders().await.unwrap();
        let sender = senders
            .iter()
            .find(|own| own.associated_rtp_receiver().id() == of_alice);
        sender.unwrap().disable(true).await.unwrap();
    }
    let state = async || crossings(&room).await.into_iter().find(|own| own.receiver == of_alice);
    assert_eq!(state().await.map(|own| own.active), Some(false));
    let senders = all[3].0.peer.rtp_senders().await.unwrap();
    let sender = senders
        .iter()
        .find(|own| own.associated_rtp_receiver().id() == of_alice);
    sender.unwrap().enable(true).await.unwrap();
    assert_eq!(state().await.map(|own| own.active), Some(true));
    let [(alice, camera), (dave, _)] = all.get_disjoint_mut([0, 3]).unwrap();
    alice.client.deliver(*camera, 1_000_000, &mut dave.client).await;

    // The last of a worker leaves, and nothing crosses any more.
    let (dave, _) = all.pop().unwrap();
    let (bob, _) = all.remove(1);
    dave.peer.close().await;
    assert_eq!(crossings(&room).await.len(), 3, "bob is there yet");
    bob.peer.close().await;
    assert_eq!(crossings(&room).await, []);
    all_see_all(&mut all, &mut number).await;

    // Somebody comes there again.
    all.push(joined(&room, "erin").await);
    for (own, _) in &all {
        own.exchange().await;
    }
    all_see_all(&mut all, &mut number).await;
    let dump = room.dump().await.unwrap();
    assert_eq!(dump.peers.last().map(|peer| peer.worker), Some(1 - home));
    assert_eq!(dump.crossings.len(), 3);
}

#[tokio::test]
async fn who_is_heard_is_judged_over_the_whole_room() {
    let (_server, room) = spread().await;
    let mut talkers = Vec::new();
    for (name, below_overload) in [("alice", 50), ("bob", 10)] {
        let own = Joined::new(&room, name).await;
        let voice = own.client.add(MediaKind::Audio, "voice").await;
        own.exchange().await;
        talkers.push((own, voice, below_overload));
    }
    // Only bob has exchanged since the other was there.
    let of_bob = receiver(&talkers[1].0).await;
    let crosses = async || crossings(&room).await.iter().any(|own| own.receiver == of_bob);
    assert_eq!((crossings(&room).await.len(), crosses().await), (1, false));
    let mut levels = room.audio_levels().await.unwrap();
    let mut leaders = room.dominant_speaker().await.unwrap();
    let peers: Vec<_> = talkers.iter().map(|(own, ..)| own.peer.clone()).collect();
    assert!(crosses().await, "the room's own worker hears bob");
    for (own, voice, below_overload) in talkers {
        let mut client = own.client;
        tokio::spawn(async move { client.talk(voice, below_overload).await });
    }
    let heard = first(&mut levels, |levels| (levels.len() == 2).then_some(levels));
    let heard = heard.await;
    let order: Vec<_> = heard.iter().map(|level| level.receiver.peer()).collect();
    assert_eq!(order, [peers[1].clone(), peers[0].clone()]);
    let is_bob = |leader: Option<RtpReceiver>| leader.filter(|own| own.peer() == peers[1]).map(drop);
    first(&mut leaders, is_bob).await;
    // Nobody listens any more: nothing needs to cross.
    drop((levels, leaders));
    within("the crossing ends", async {
        while crosses().await {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    room.close().await;
}
