//! `webrtc`, on tokio's runtime as it comes but for the sockets' buffers; its driver among the application's tasks, or on reactors of
//! its own.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, SettingEngineBuilder,
};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime, default_runtime,
};

use super::{DATAGRAM, KERNEL_BUFFER, SEND_BUFFER};

/// What DTLS 1.2 with AES-GCM adds to a packet of SCTP: record header, explicit nonce, tag.
const DTLS_OVERHEAD: usize = 13 + 8 + 16;

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The built-in runtime; sockets get larger buffers.
#[derive(Debug)]
struct LargeBuffers(Arc<dyn Runtime>);

impl Runtime for LargeBuffers {
    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> std::io::Result<Arc<dyn AsyncUdpSocket>> {
        let socket = socket2::Socket::from(socket);
        socket.set_recv_buffer_size(KERNEL_BUFFER)?;
        socket.set_send_buffer_size(KERNEL_BUFFER)?;
        self.0.wrap_udp_socket(socket.into())
    }

    fn spawn(&self, future: Task<()>) -> Box<dyn JoinHandle> {
        self.0.spawn(future)
    }

    fn spawn_reactor(&self, reactors: usize, future: Task<()>) -> Box<dyn JoinHandle> {
        self.0.spawn_reactor(reactors, future)
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> std::io::Result<Arc<dyn AsyncTcpListener>> {
        self.0.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote_addr: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = std::io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        self.0.connect_tcp(remote_addr)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        self.0.resolve_host(host)
    }

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> Task<()> {
        self.0.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.0.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.0.block_on(future);
    }

    fn yield_now(&self) -> Task<()> {
        self.0.yield_now()
    }
}

#[derive(Clone)]
struct Handler {
    gathered: mpsc::UnboundedSender<()>,
    channels: mpsc::UnboundedSender<Arc<dyn DataChannel>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.send(());
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let _ = self.channels.send(channel);
    }
}

struct Peer {
    connection: Arc<dyn PeerConnection>,
    gathered: mpsc::UnboundedReceiver<()>,
    channels: mpsc::UnboundedReceiver<Arc<dyn DataChannel>>,
}

async fn peer(reactors: usize) -> Peer {
    let (gathered_sender, gathered) = mpsc::unbounded_channel();
    let (channel_sender, channels) = mpsc::unbounded_channel();
    let settings = SettingEngineBuilder::new()
        .with_sctp_mtu((DATAGRAM - DTLS_OVERHEAD) as u32)
        .build();
    let connection = PeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().build())
        .with_media_engine(MediaEngine::default())
        .with_setting_engine(settings)
        .with_handler(Arc::new(Handler {
            gathered: gathered_sender,
            channels: channel_sender,
        }))
        .with_runtime(Arc::new(LargeBuffers(default_runtime().unwrap())))
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
        .with_data_channel_send_buffer_limit(SEND_BUFFER)
        .with_dedicated_reactor_pool_size(reactors)
        .build()
        .await
        .unwrap();
    Peer {
        connection: Arc::new(connection),
        gathered,
        channels,
    }
}

#[derive(Clone)]
pub struct Pair {
    ends: [Arc<dyn DataChannel>; 2],
    _peers: [Arc<dyn PeerConnection>; 2],
}

async fn next_message(channel: &dyn DataChannel) -> BytesMut {
    loop {
        if let DataChannelEvent::OnMessage(message) = channel.poll().await.unwrap() {
            return message.data;
        }
    }
}

impl Pair {
    pub async fn connect(reactors: usize) -> Self {
        let (mut a, mut b) = (peer(reactors).await, peer(reactors).await);
        let near = a.connection.create_data_channel("bench", None).await.unwrap();
        let offer = a.connection.create_offer(None).await.unwrap();
        a.connection.set_local_description(offer).await.unwrap();
        a.gathered.recv().await.unwrap();
        let offer = a.connection.local_description().await.unwrap();
        b.connection.set_remote_description(offer).await.unwrap();
        let answer = b.connection.create_answer(None).await.unwrap();
        b.connection.set_local_description(answer).await.unwrap();
        b.gathered.recv().await.unwrap();
        let answer = b.connection.local_description().await.unwrap();
        a.connection.set_remote_description(answer).await.unwrap();
        while !matches!(near.poll().await.unwrap(), DataChannelEvent::OnOpen) {}
        let far = b.channels.recv().await.unwrap();
        Self {
            ends: [near, far],
            _peers: [a.connection, b.connection],
        }
    }

    pub async fn bulk(&self, message: Bytes, count: usize) {
        let (near, size) = (self.ends[0].clone(), message.len());
        // Its other events are taken meanwhile, so that they hold nothing up.
        let events = near.clone();
        let events = tokio::spawn(async move { while events.poll().await.is_some() {} });
        let sending = tokio::spawn(async move {
            for _ in 0..count {
                near.send(BytesMut::from(&message[..])).await.unwrap();
            }
        });
        for _ in 0..count {
            assert_eq!(next_message(&*self.ends[1]).await.len(), size);
        }
        sending.await.unwrap();
        events.abort();
        let _ = events.await;
    }

    pub async fn ping(&self, message: Bytes, count: usize) -> Vec<Duration> {
        let far = self.ends[1].clone();
        let echo = tokio::spawn(async move {
            for _ in 0..count {
                let message = next_message(&*far).await;
                far.send(message).await.unwrap();
            }
        });
        let near = &*self.ends[0];
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            near.send(BytesMut::from(&message[..])).await.unwrap();
            assert_eq!(next_message(near).await.len(), message.len());
            times.push(start.elapsed());
        }
        echo.await.unwrap();
        times
    }
}
