//! A server for tests, and clients in the place of browsers.

use std::net::Ipv4Addr;
use std::time::Duration;

use antiphon::extension::AudioLevel;
use antiphon::room::{
    Events, OfferOptions, Peer, Room, RoomOptions, RtcAddress, RtcPeerConnection, RtcPeerConnectionEvent,
    RtcPeerConnectionOptions, Server, ServerOptions,
};
use antiphon::{
    Api, Direction, Event, Frame, MediaKind, MediaStreamTrack, PeerConnection, RtcConfiguration, RtcRtpTransceiverInit,
    RtcSessionDescription, TransceiverId,
};

/// Keeps a broken run finite; nothing is measured with it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: nothing within {PATIENCE:?}"))
}

/// A server on loopback, with ports that the system chooses.
pub(crate) fn options() -> ServerOptions {
    ServerOptions {
        workers: 1,
        rtc_ipv4: RtcAddress::Only(Ipv4Addr::LOCALHOST),
        rtc_ipv6: RtcAddress::Off,
        min_port: 0,
        max_port: 0,
        ..ServerOptions::default()
    }
}

pub(crate) async fn server() -> Server {
    Server::new(options()).await.unwrap()
}

pub(crate) async fn room(server: &Server) -> Room {
    server.create_room(RoomOptions::browsers()).await.unwrap()
}

/// The next event that `wanted` finds something in.
pub(crate) async fn first<E, T>(events: &mut Events<E>, mut wanted: impl FnMut(E) -> Option<T>) -> T {
    let find = async {
        loop {
            let event = events.next().await.expect("it is not closed");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    within("an event", find).await
}

/// A browser, as far as a room is concerned.
pub(crate) struct Client {
    pub(crate) pc: PeerConnection,
}

impl Client {
    pub(crate) async fn new() -> Self {
        let api = Api::builder().loopback(true).build().unwrap();
        let pc = api.peer_connection(RtcConfiguration::default()).await.unwrap();
        Self { pc }
    }

    /// What it can, by an offer of a connection that is made for this alone.
    pub(crate) async fn capabilities() -> String {
        let own = Self::new().await;
        for kind in [MediaKind::Audio, MediaKind::Video] {
            let init = RtcRtpTransceiverInit::new(Direction::RecvOnly);
            own.pc.add_transceiver(kind, init).await.unwrap();
        }
        own.pc.create_offer(Default::default()).await.unwrap().sdp
    }

    /// It sends a track from the next answer on.
    pub(crate) async fn add(&self, kind: MediaKind, id: &str) -> TransceiverId {
        let track = MediaStreamTrack {
            kind,
            id: id.to_owned(),
            stream_ids: vec!["home".to_owned()],
        };
        self.pc.add_track(track).await.unwrap()
    }

    pub(crate) async fn answer(&self, offer: RtcSessionDescription) -> RtcSessionDescription {
        self.pc.set_remote_description(offer).await.unwrap();
        self.pc.set_local_description(None).await.unwrap();
        self.pc.local_description().await.unwrap().unwrap()
    }

    /// Sends sound that is so loud until the server ends the connection.
    pub(crate) async fn talk(&mut self, audio: TransceiverId, below_overload: u8) {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        for number in 0u32.. {
            tokio::select! {
                _ = tick.tick() => {
                    let Ok(Some(opus)) = self.pc.payload_type(audio, "opus").await else { continue };
                    let mut frame = Frame::new(opus, number * 960, vec![0xf8, 1, 2, 3]);
                    frame.extensions.audio_level = Some(AudioLevel { below_overload, voice: true });
                    // Before the connection stands it goes nowhere.
                    _ = self.pc.send_frame(audio, frame).await;
                }
                event = self.pc.next_event() => if matches!(event, Some(Event::PeerEnded(_)) | None) {
                    return;
                },
            }
        }
    }

    /// Sends pictures until the server ends the connection. Each can be decoded alone.
    pub(crate) async fn film(&mut self, video: TransceiverId) {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        for number in 0u32.. {
            tokio::select! {
                _ = tick.tick() => self.picture(video, number).await,
                event = self.pc.next_event() => if matches!(event, Some(Event::PeerEnded(_)) | None) {
                    return;
                },
            }
        }
    }

    /// Sends a picture that can be decoded alone, and says its number in its last bytes.
    pub(crate) async fn picture(&self, video: TransceiverId, number: u32) {
        // Without a payload type nothing is negotiated yet, or not any more.
        if let Ok(Some(vp8)) = self.pc.payload_type(video, "VP8").await {
            let mut data = vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
            data.extend(number.to_be_bytes());
            // Before the connection stands it goes nowhere.
            _ = self
                .pc
                .send_frame(video, Frame::new(vp8, number.wrapping_mul(3000), data))
                .await;
        }
    }

    /// Sends a picture of each layer that is wanted, each of another size, which can be decoded alone: its last bytes are the number, and the
    /// place of the layer in the first of them.
    pub(crate) async fn pictures(&self, video: TransceiverId, number: u32) {
        for (place, encoding) in (0u8..).zip(self.pc.encodings(video).await.unwrap()) {
            let Some(codec) = encoding.codec.as_ref().filter(|_| encoding.is_wanted()) else {
                continue;
            };
            let mut data = vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, place, 0x68, place];
            data.extend((u32::from(place) << 24 | number).to_be_bytes());
            let frame = Frame::new(codec.payload_type, number.wrapping_mul(3000), data);
            // Before the connection stands it goes nowhere.
            _ = self.pc.send_frame(encoding.id, frame).await;
        }
    }

    /// Sends a picture until another client has it. Returns which pictures that one got meanwhile, and where.
    pub(crate) async fn deliver(&self, video: TransceiverId, number: u32, to: &mut Self) -> (Vec<u32>, TransceiverId) {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        let mut got = Vec::new();
        let deliver = async {
            loop {
                tokio::select! {
                    _ = tick.tick() => self.picture(video, number).await,
                    event = to.pc.next_event() => if let Event::Frame { transceiver, frame, .. } = event.expect("it is open") {
                        let (_, tail) = frame.data.split_at(10);
                        got.push(u32::from_be_bytes(tail.try_into().unwrap()));
                        if got.last() == Some(&number) {
                            return transceiver;
                        }
                    },
                }
            }
        };
        let transceiver = within("a picture", deliver).await;
        (got, transceiver)
    }
}

/// Somebody in a room: both ends of the connection.
pub(crate) struct Joined {
    pub(crate) peer: Peer,
    pub(crate) pc: RtcPeerConnection,
    pub(crate) events: Events<RtcPeerConnectionEvent>,
    pub(crate) client: Client,
}

impl Joined {
    /// A peer that has told its capabilities; nothing is offered yet.
    pub(crate) async fn new(room: &Room, name: &str) -> Self {
        Self::layered(room, name, &[]).await
    }

    /// One that is asked to send its pictures in these layers.
    pub(crate) async fn layered(room: &Room, name: &str, rids: &[&str]) -> Self {
        let peer = room.peer(name).await.unwrap();
        let options = RtcPeerConnectionOptions {
            simulcast: rids.iter().map(|rid| (*rid).to_owned()).collect(),
            ..RtcPeerConnectionOptions::new(&peer)
        };
        let pc = RtcPeerConnection::new(options).await.unwrap();
        let events = pc.events();
        pc.set_capabilities(Client::capabilities().await).await.unwrap();
        Self {
            peer,
            pc,
            events,
            client: Client::new().await,
        }
    }

    /// Our offer, set, with candidates, as the client gets it.
    pub(crate) async fn offer(&self) -> RtcSessionDescription {
        let offer = self.pc.create_offer(OfferOptions::default()).await.unwrap();
        within("candidates", self.pc.set_local_description(offer))
            .await
            .unwrap();
        self.pc.local_description().await.unwrap().unwrap()
    }

    /// A whole exchange.
    pub(crate) async fn exchange(&self) {
        let offer = self.offer().await;
        let answer = self.client.answer(offer).await;
        self.pc.set_remote_description(answer).await.unwrap();
    }

    /// Waits until the room asks for an exchange, and makes it.
    pub(crate) async fn renegotiate(&mut self) {
        self.negotiation_needed().await;
        self.exchange().await;
    }

    pub(crate) async fn negotiation_needed(&mut self) {
        let needed = |event| (event == RtcPeerConnectionEvent::NegotiationNeeded).then_some(());
        first(&mut self.events, needed).await;
    }
}
