//! `webrtc`, on tokio's runtime as it comes: a task that gives the packets, and one for each track that comes. It has retransmissions and
//! transport-wide feedback; it neither estimates nor paces, unless one adds that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rtc::interceptor::Registry;
use rtc::peer_connection::configuration::interceptor_registry::{
    configure_nack, configure_rtcp_reports, configure_simulcast_extension_headers, configure_twcc,
};
use rtc::peer_connection::configuration::media_engine::MIME_TYPE_VP8;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use webrtc::media_stream::MediaStreamTrack;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCPeerConnectionState,
};
use webrtc::runtime::default_runtime;

use super::{Received, STREAMS, Schedule, payload};

/// The first stream's; the others count on from it.
const SSRC: u32 = 1000;
/// VP8, as its media engine has it.
const PAYLOAD_TYPE: u8 = 96;

#[derive(Clone)]
struct Handler {
    gathered: mpsc::UnboundedSender<()>,
    connected: mpsc::UnboundedSender<()>,
    received: Arc<Received>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.send(());
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            let _ = self.connected.send(());
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let received = self.received.clone();
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    received.note(&packet.payload);
                }
            }
        });
    }
}

struct Peer {
    connection: Arc<dyn PeerConnection>,
    gathered: mpsc::UnboundedReceiver<()>,
    connected: mpsc::UnboundedReceiver<()>,
}

async fn peer(received: &Arc<Received>) -> Peer {
    let (gathered_sender, gathered) = mpsc::unbounded_channel();
    let (connected_sender, connected) = mpsc::unbounded_channel();
    let mut engine = MediaEngine::default();
    engine.register_default_codecs().unwrap();
    let registry = configure_nack(Registry::new(), &mut engine);
    configure_simulcast_extension_headers(&mut engine).unwrap();
    let registry = configure_twcc(registry, &mut engine).unwrap();
    let registry = configure_rtcp_reports(registry);
    let connection = PeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().build())
        .with_media_engine(engine)
        .with_interceptor_registry(registry)
        .with_handler(Arc::new(Handler {
            gathered: gathered_sender,
            connected: connected_sender,
            received: received.clone(),
        }))
        .with_runtime(default_runtime().unwrap())
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
        .build()
        .await
        .unwrap();
    Peer {
        connection: Arc::new(connection),
        gathered,
        connected,
    }
}

fn track(ssrc: u32) -> Arc<TrackLocalStaticRTP> {
    let codec = RTCRtpCodec {
        mime_type: MIME_TYPE_VP8.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: vec![],
    };
    let coding = RTCRtpCodingParameters {
        ssrc: Some(ssrc),
        ..Default::default()
    };
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: coding,
        codec,
        ..Default::default()
    };
    let names = ["stream", "track", "label"].map(|name| format!("{name}-{ssrc}"));
    let [stream, id, label] = names;
    let kind = RtpCodecKind::Video;
    Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
        stream,
        id,
        label,
        kind,
        vec![encoding],
    )))
}

pub struct Pair {
    tracks: Vec<Arc<TrackLocalStaticRTP>>,
    /// The number of each one's next packet.
    numbers: [AtomicU16; STREAMS],
    received: Arc<Received>,
    _peers: [Arc<dyn PeerConnection>; 2],
}

impl Pair {
    pub async fn connect() -> Self {
        let received = Arc::new(Received::default());
        let (mut a, mut b) = (peer(&received).await, peer(&received).await);
        let tracks: Vec<_> = (0..STREAMS as u32).map(|n| track(SSRC + n)).collect();
        for track in &tracks {
            a.connection
                .add_track(track.clone() as Arc<dyn TrackLocal>)
                .await
                .unwrap();
        }
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
        a.connected.recv().await.unwrap();
        b.connected.recv().await.unwrap();
        Self {
            tracks,
            numbers: [const { AtomicU16::new(1000) }; STREAMS],
            received,
            _peers: [a.connection, b.connection],
        }
    }

    pub fn received(&self) -> &Received {
        &self.received
    }

    pub async fn send(&self, window: Duration) -> u64 {
        let (mut schedule, mut sent) = (Schedule::new(window), 0);
        while let Some(at) = schedule.next() {
            sleep_until(at.into()).await;
            while let Some(stream) = schedule.take_due(Instant::now()) {
                let sequence_number = self.numbers[stream].fetch_add(1, Ordering::Relaxed);
                let header = rtp::header::Header {
                    version: 2,
                    payload_type: PAYLOAD_TYPE,
                    sequence_number,
                    timestamp: u32::from(sequence_number / 10) * 3000,
                    marker: sequence_number % 10 == 9,
                    ssrc: SSRC + stream as u32,
                    ..Default::default()
                };
                let packet = rtp::packet::Packet {
                    header,
                    payload: payload().into(),
                };
                sent += u64::from(self.tracks[stream].write_rtp(packet).await.is_ok());
            }
        }
        sent
    }
}
