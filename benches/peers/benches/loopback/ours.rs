//! Antiphon. Its sockets ask for buffers of 4 MiB themselves.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon::{Api, DataChannel, Event, Message, PeerConnection, PeerHandle, RtcConfiguration};
use bytes::Bytes;
use tokio::sync::{Mutex, oneshot};

use super::DATAGRAM;

#[derive(Clone)]
pub struct Pair {
    ends: [Arc<Mutex<DataChannel>>; 2],
    _peers: [PeerHandle; 2],
}

fn carry(mut pc: PeerConnection, other: PeerHandle, found: oneshot::Sender<DataChannel>) {
    tokio::spawn(async move {
        let mut found = Some(found);
        while let Some(event) = pc.next_event().await {
            match event {
                Event::IceCandidate(candidate) => _ = other.add_ice_candidate(candidate).await,
                Event::DataChannel(channel) => _ = found.take().map(|found| found.send(channel)),
                _ => {}
            }
        }
    });
}

impl Pair {
    pub async fn connect() -> Self {
        let only = Some(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        let api = Api::builder().loopback(true).only_addresses(only).build().unwrap();
        let peer = || async {
            let mut configuration = RtcConfiguration::default();
            // No larger ones by path MTU discovery.
            configuration.settings.mtu = DATAGRAM;
            configuration.settings.max_mtu = DATAGRAM;
            api.peer_connection(configuration).await.unwrap()
        };
        let (a, b) = (peer().await, peer().await);
        let (alice, bob) = (a.handle(), b.handle());
        let mut near = alice.create_data_channel("bench", Default::default()).await.unwrap();
        let (unused, _none) = oneshot::channel();
        let (found, far) = oneshot::channel();
        carry(a, bob.clone(), unused);
        carry(b, alice.clone(), found);
        alice.set_local_description(None).await.unwrap();
        let offer = alice.local_description().await.unwrap().unwrap();
        bob.set_remote_description(offer).await.unwrap();
        bob.set_local_description(None).await.unwrap();
        let answer = bob.local_description().await.unwrap().unwrap();
        alice.set_remote_description(answer).await.unwrap();
        near.opened().await.unwrap();
        let far = far.await.unwrap();
        Self {
            ends: [near, far].map(|end| Arc::new(Mutex::new(end))),
            _peers: [alice, bob],
        }
    }

    pub async fn bulk(&self, message: Bytes, count: usize) {
        let (sender, size) = (self.ends[0].lock().await.sender(), message.len());
        let sending = tokio::spawn(async move {
            for _ in 0..count {
                sender.send(Message::binary(message.clone())).await.unwrap();
            }
        });
        let mut far = self.ends[1].lock().await;
        for _ in 0..count {
            let message = far.recv().await.unwrap();
            assert_eq!(message.data.len(), size);
        }
        sending.await.unwrap();
    }

    pub async fn ping(&self, message: Bytes, count: usize) -> Vec<Duration> {
        let far = self.ends[1].clone();
        let echo = tokio::spawn(async move {
            let mut far = far.lock().await;
            for _ in 0..count {
                let message = far.recv().await.unwrap();
                far.send(message).await.unwrap();
            }
        });
        let mut near = self.ends[0].lock().await;
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            near.send(Message::binary(message.clone())).await.unwrap();
            assert_eq!(near.recv().await.unwrap().data.len(), message.len());
            times.push(start.elapsed());
        }
        echo.await.unwrap();
        times
    }
}
