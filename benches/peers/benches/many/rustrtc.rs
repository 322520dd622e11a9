//! rustrtc on tokio, each peer with sockets of its own, as it comes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustrtc::{DataChannelEvent, PeerConnection, PeerConnectionEvent, RtcConfiguration};

/// Two peers with a channel between them.
pub struct Met {
    pub took: Duration,
    _channels: [Arc<rustrtc::transports::datachannel::DataChannel>; 2],
    _peers: [PeerConnection; 2],
}

pub async fn meet() -> Met {
    let peer = || {
        PeerConnection::new(RtcConfiguration {
            bind_ip: Some("127.0.0.1".to_owned()),
            disable_ipv6: true,
            ..RtcConfiguration::default()
        })
    };
    let (caller, callee) = (peer(), peer());
    let near = caller.create_data_channel("bench", None).unwrap();
    let began = Instant::now();
    let offer = caller.create_offer().await.unwrap();
    caller.set_local_description(offer).unwrap();
    caller.wait_for_gathering_complete().await;
    let offer = caller.local_description().unwrap();
    callee.set_remote_description(offer).await.unwrap();
    let answer = callee.create_answer().await.unwrap();
    callee.set_local_description(answer).unwrap();
    callee.wait_for_gathering_complete().await;
    let answer = callee.local_description().unwrap();
    caller.set_remote_description(answer).await.unwrap();
    while !matches!(near.recv().await, Some(DataChannelEvent::Open)) {}
    let took = began.elapsed();
    let far = loop {
        match callee.recv().await {
            Some(PeerConnectionEvent::DataChannel(channel)) => break channel,
            Some(_) => {}
            None => panic!("the callee is gone"),
        }
    };
    Met {
        took,
        _channels: [near, far],
        _peers: [caller, callee],
    }
}
