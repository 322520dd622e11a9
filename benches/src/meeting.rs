//! Two peers of one process that meet over loopback sockets.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use antiphon::{
    Api, ApiBuilder, DataChannel, Error, Event, PeerConnection, RtcConfiguration, RtcDataChannelInit,
    RtcPeerConnectionState,
};
use futures_util::{StreamExt, stream};

/// A meeting that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many pairs meet at a time when many are wanted.
const AT_ONCE: usize = 16;

/// Peers that are reached at 127.0.0.1 and nowhere else.
pub fn loopback() -> ApiBuilder {
    Api::builder()
        .loopback(true)
        .only_addresses(Some(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]))
}

/// Two connected peers with a data channel between them.
pub struct Met {
    /// The caller's end of the channel.
    pub near: DataChannel,
    /// The callee's end of it.
    pub far: DataChannel,
    /// The caller and the callee, with what they have to say.
    pub peers: [PeerConnection; 2],
    /// From the offer until the caller's end was open.
    pub took: Duration,
}

/// Offer and answer.
///
/// # Errors
/// What either end says against them.
pub async fn describe(caller: &PeerConnection, callee: &PeerConnection) -> Result<(), Error> {
    caller.set_local_description(None).await?;
    let offer = caller.local_description().await?.ok_or(Error::Closed)?;
    callee.set_remote_description(offer).await?;
    callee.set_local_description(None).await?;
    let answer = callee.local_description().await?.ok_or(Error::Closed)?;
    caller.set_remote_description(answer).await
}

/// Makes two peers, and a channel between them.
///
/// # Errors
/// What either end says against it.
///
/// # Panics
/// If it takes longer than a minute.
pub async fn meet(callers: &Api, callees: &Api) -> Result<Met, Error> {
    let mut caller = callers.peer_connection(RtcConfiguration::default()).await?;
    let mut callee = callees.peer_connection(RtcConfiguration::default()).await?;
    let init = RtcDataChannelInit::default();
    let mut near = caller.create_data_channel("bench", init).await?;
    let began = Instant::now();
    let met = async {
        describe(&caller, &callee).await?;
        let (mut took, mut far) = (None, None);
        while took.is_none() || far.is_none() {
            tokio::select! {
                opened = near.opened(), if took.is_none() => {
                    opened?;
                    took = Some(began.elapsed());
                }
                event = caller.next_event() => if let Some(Event::IceCandidate(candidate)) = event {
                    callee.add_ice_candidate(candidate).await?;
                },
                event = callee.next_event() => match event {
                    Some(Event::IceCandidate(candidate)) => caller.add_ice_candidate(candidate).await?,
                    Some(Event::DataChannel(channel)) => far = Some(channel),
                    _ => {}
                },
            }
        }
        Ok::<_, Error>(took.zip(far).expect("the loop ended"))
    };
    let (took, far) = tokio::time::timeout(PATIENCE, met).await.expect("they meet")?;
    Ok(Met {
        near,
        far,
        peers: [caller, callee],
        took,
    })
}

/// Lets two peers with transceivers connect.
///
/// # Errors
/// What either end says against it.
///
/// # Panics
/// If it takes longer than a minute.
pub async fn connect(caller: &mut PeerConnection, callee: &mut PeerConnection) -> Result<(), Error> {
    let connected = async {
        describe(caller, callee).await?;
        let mut connected = [false; 2];
        while connected != [true; 2] {
            let (end, event) = tokio::select! {
                event = caller.next_event() => (0, event),
                event = callee.next_event() => (1, event),
            };
            match event {
                Some(Event::IceCandidate(candidate)) => [&*callee, caller][end].add_ice_candidate(candidate).await?,
                Some(Event::ConnectionStateChange(RtcPeerConnectionState::Connected)) => connected[end] = true,
                _ => {}
            }
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, connected).await.expect("they connect")
}

/// Makes many pairs, a few at a time.
///
/// # Panics
/// If one of them does not meet.
pub async fn meet_many(callers: &Api, callees: &Api, count: usize) -> Vec<Met> {
    stream::iter(0..count)
        .map(|_| meet(callers, callees))
        .buffer_unordered(AT_ONCE)
        .map(|met| met.expect("they meet"))
        .collect()
        .await
}
