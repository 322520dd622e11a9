//! `webrtc`, on tokio's runtime with one thread: a task that takes what the publisher sends and writes it to a track for each viewer.
//! It has retransmissions and transport-wide feedback; it neither estimates nor paces, unless one adds that.

use std::sync::{Arc, Mutex};

use rtc::interceptor::Registry;
use rtc::peer_connection::configuration::interceptor_registry::{
    configure_nack, configure_rtcp_reports, configure_simulcast_extension_headers, configure_twcc,
};
use rtc::peer_connection::configuration::media_engine::MIME_TYPE_VP8;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use webrtc::media_stream::MediaStreamTrack;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState,
};
use webrtc::runtime::default_runtime;

/// The first stream's; the others count on from it.
const SSRC: u32 = 1000;
/// VP8, as its media engine has it.
const PAYLOAD_TYPE: u8 = 96;

type Tracks = Arc<Mutex<Arc<Vec<(u32, Arc<TrackLocalStaticRTP>)>>>>;

#[derive(Clone)]
struct Handler {
    gathered: mpsc::UnboundedSender<()>,
    tracks: Tracks,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.send(());
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let tracks = self.tracks.clone();
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                let TrackRemoteEvent::OnRtpPacket(mut packet) = event else {
                    continue;
                };
                let all = tracks.lock().expect("nobody panics").clone();
                // The identifiers of its extensions are those of the connection that it came by.
                packet.header.extension = false;
                packet.header.extensions.clear();
                packet.header.payload_type = PAYLOAD_TYPE;
                for (ssrc, track) in all.iter() {
                    packet.header.ssrc = *ssrc;
                    let _ = track.write_rtp(packet.clone()).await;
                }
            }
        });
    }
}

pub struct Forwarder {
    runtime: Runtime,
    tracks: Tracks,
    peers: Vec<Arc<dyn PeerConnection>>,
}

impl Forwarder {
    pub fn new() -> Self {
        let mut builder = Builder::new_multi_thread();
        Self {
            runtime: builder.worker_threads(1).enable_all().build().expect("a runtime"),
            tracks: Arc::default(),
            peers: Vec::new(),
        }
    }
}

async fn connection(handler: Handler) -> Arc<dyn PeerConnection> {
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
        .with_handler(Arc::new(handler))
        .with_runtime(default_runtime().unwrap())
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
        .build()
        .await
        .unwrap();
    Arc::new(connection)
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
    let [stream, id, label] = ["stream", "track", "label"].map(|name| format!("{name}-{ssrc}"));
    let kind = RtpCodecKind::Video;
    let track = MediaStreamTrack::new(stream, id, label, kind, vec![encoding]);
    Arc::new(TrackLocalStaticRTP::new(track))
}

impl super::Server for Forwarder {
    fn offer(&mut self, sends: bool) -> String {
        let (gathered, mut gathers) = mpsc::unbounded_channel();
        let handler = Handler {
            gathered,
            tracks: self.tracks.clone(),
        };
        let own = sends.then(|| (SSRC + self.peers.len() as u32, track(SSRC + self.peers.len() as u32)));
        let given = own.clone();
        // On the runtime's thread, as an application would.
        let made = self.runtime.spawn(async move {
            let connection = connection(handler).await;
            match given {
                Some((_, track)) => {
                    connection.add_track(track as Arc<dyn TrackLocal>).await.unwrap();
                }
                None => {
                    let init = RTCRtpTransceiverInit {
                        direction: RTCRtpTransceiverDirection::Recvonly,
                        ..Default::default()
                    };
                    let added = connection.add_transceiver_from_kind(RtpCodecKind::Video, Some(init));
                    added.await.unwrap();
                }
            }
            let offer = connection.create_offer(None).await.unwrap();
            connection.set_local_description(offer).await.unwrap();
            gathers.recv().await.unwrap();
            let offer = connection.local_description().await.unwrap();
            (connection, offer.sdp)
        });
        let (connection, offer) = self.runtime.block_on(made).expect("nobody panics");
        self.peers.push(connection);
        if let Some(own) = own {
            let mut tracks = self.tracks.lock().expect("nobody panics");
            let mut all = tracks.to_vec();
            all.push(own);
            *tracks = Arc::new(all);
        }
        offer
    }

    fn answer(&mut self, sdp: String) {
        let connection = self.peers.last().expect("one was offered").clone();
        let taken = self.runtime.spawn(async move {
            let answer = RTCSessionDescription::answer(sdp).unwrap();
            connection.set_remote_description(answer).await.unwrap();
        });
        self.runtime.block_on(taken).expect("nobody panics");
    }
}
