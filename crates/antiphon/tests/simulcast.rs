//! Simulcast over loopback sockets, by the async handles: an encoder for each encoding, and what it is told.

mod pair;

use std::collections::BTreeMap;

use antiphon::{
    Api, Direction, EncodingId, EncodingState, Event, Frame, MediaKind, MediaStreamTrack, Output, PeerHandle,
    RtcConfiguration, RtcRtpEncodingParameters, RtcRtpTransceiverInit, TransceiverId,
};
use pair::{carry, exchange, within};
use tokio::sync::mpsc;

const LAYERS: [&str; 3] = ["q", "h", "f"];

/// A frame of VP8 as far as its header goes (RFC 6386 §9.1), so large as its encoding is.
fn picture(payload_type: u8, number: u32, scale: f64) -> Frame {
    let mut data = vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
    data.resize((2000.0 / scale) as usize, number as u8);
    Frame::new(payload_type, number * 3000, data)
}

struct Call {
    sender: PeerHandle,
    video: TransceiverId,
    receiver: mpsc::UnboundedReceiver<Event>,
    number: u32,
    _others: (PeerHandle, mpsc::UnboundedReceiver<Event>),
}

impl Call {
    async fn new() -> Self {
        let api = Api::builder().loopback(true).build().unwrap();
        let a = api.peer_connection(RtcConfiguration::default()).await.unwrap();
        let mut configuration = RtcConfiguration::default();
        configuration.settings.receive_output = Output::Packets;
        let b = api.peer_connection(configuration).await.unwrap();
        let (alice, bob) = (a.handle(), b.handle());
        let (from_alice, receiver) = (carry(a, bob.clone()), carry(b, alice.clone()));
        let init = RtcRtpTransceiverInit {
            track_id: Some("camera".into()),
            send_encodings: LAYERS.map(RtcRtpEncodingParameters::layer).into(),
            ..RtcRtpTransceiverInit::new(Direction::SendOnly)
        };
        let video = alice.add_transceiver(MediaKind::Video, init).await.unwrap();
        exchange(&alice, &bob).await;
        Self {
            sender: alice,
            video,
            receiver,
            number: 0,
            _others: (bob, from_alice),
        }
    }

    async fn states(&self) -> Vec<EncodingState> {
        let encodings = self.sender.encodings(self.video).await.unwrap();
        encodings.iter().map(|encoding| encoding.state).collect()
    }

    /// One picture of each encoding that is wanted; their names.
    async fn encode(&mut self) -> Vec<EncodingId> {
        self.number += 1;
        let mut sent = Vec::new();
        for encoding in self.sender.encodings(self.video).await.unwrap() {
            if encoding.is_wanted() {
                let payload_type = encoding.codec.expect("negotiated").payload_type;
                let scale = encoding.scale_resolution_down_by.expect("of pictures");
                let frame = picture(payload_type, self.number, scale);
                self.sender.send_frame(encoding.id, frame).await.unwrap();
                sent.push(encoding.id);
            }
        }
        sent
    }

    /// Sends pictures until so many whole ones have come of each of these layers, and asserts that none comes of another.
    async fn watch(&mut self, layers: &[&str], count: usize) {
        let mut whole: BTreeMap<String, usize> = BTreeMap::new();
        within("the layers", async {
            while layers.iter().any(|rid| whole.get(*rid).is_none_or(|had| *had < count)) {
                let sent = self.encode().await;
                assert_eq!(sent.len(), layers.len());
                let mut missing = sent.len();
                while missing > 0 {
                    let event = self.receiver.recv().await.expect("the receiver lives");
                    if let Event::Packet { packet, .. } = event
                        && packet.marker
                    {
                        let rid = packet.rid.expect("simulcast").to_string();
                        assert!(layers.contains(&&*rid), "{rid}");
                        *whole.entry(rid).or_default() += 1;
                        missing -= 1;
                    }
                }
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_encoding_arrives_and_obeys_its_parameters() {
    let mut call = Call::new().await;
    call.watch(&LAYERS, 20).await;

    let mut parameters = call.sender.get_parameters(call.video).await.unwrap();
    parameters.encodings[1].active = false;
    parameters.encodings[0].max_bitrate = Some(50_000);
    call.sender.set_parameters(call.video, parameters).await.unwrap();
    assert_eq!(call.states().await[1], EncodingState::Inactive);
    call.watch(&["q", "f"], 20).await;
    let encodings = call.sender.encodings(call.video).await.unwrap();
    let target = encodings[0].target_bitrate;
    assert!(target.is_none_or(|bps| bps <= 50_000), "{target:?}");

    call.sender.replace_track(call.video, None).await.unwrap();
    assert_eq!(call.states().await, [EncodingState::NoTrack; 3]);
    assert!(call.encode().await.is_empty());
    let refused = call.sender.send_frame(encodings[2].id, picture(96, 0, 1.0)).await;
    assert!(refused.is_err());
    let screen = MediaStreamTrack {
        kind: MediaKind::Video,
        id: "screen".into(),
        stream_ids: Vec::new(),
    };
    call.sender.replace_track(call.video, Some(screen)).await.unwrap();
    call.watch(&["q", "f"], 5).await;
}
