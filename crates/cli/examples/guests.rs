//! Many participants of one room of `antiphon serve`, in one process: `guests URL ROOM COUNT`, for instance
//! `guests http://127.0.0.1:8080 stage 46`.
//!
//! Each sends sound and a small picture, and takes what all others send, without decoding it. Once a second a line of JSON tells what came
//! so far: `seen` is for each guest the tracks of others by kind, with the fewest frames that came of one of them; the other numbers are
//! sums over all guests. It ends when its standard input does. `cargo xtask test --only party` loads a server with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use antiphon::stats::RtcStats;
use antiphon::{
    Api, Direction, Event, Frame, MediaKind, MediaStreamTrack, PeerConnection, RtcConfiguration, RtcRtpTransceiverInit,
    RtcSessionDescription, TransceiverId,
};
use antiphon_cli::sources::vp8::Vp8Encoder;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use ropus::{Application, Bitrate, Channels, Encoder};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{interval, sleep};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

const KINDS: [MediaKind; 2] = [MediaKind::Audio, MediaKind::Video];
const WIDTH: usize = 160;
const HEIGHT: usize = 90;
/// What a picture takes at most, about: one packet.
const PICTURE_BYTES: usize = 900;
const PICTURE: Duration = Duration::from_millis(200);
/// Few large packets of sound: who loads a machine with many wants it to be the server's work.
const SOUND: Duration = Duration::from_millis(60);
const SOUND_SAMPLES: u32 = 2880;
const SOUND_BITS: u32 = 16_000;
/// Encoded once for all, and repeated.
const LOOP: usize = 20;
/// Guests come one after the other.
const BETWEEN: Duration = Duration::from_millis(100);

/// What all guests send.
struct Reel {
    pictures: Vec<Bytes>,
    sound: Vec<Bytes>,
}

impl Reel {
    fn record() -> Result<Self, Failure> {
        let mut encoder = Vp8Encoder::new(WIDTH, HEIGHT, PICTURE_BYTES).map_err(|error| error.to_string())?;
        let mut pictures = Vec::new();
        for number in 0..LOOP {
            let pixels = (0..WIDTH * HEIGHT).flat_map(|at| {
                let (x, y) = (at % WIDTH, at / WIDTH);
                [x + number * 8, y * 2, x / 2 + y].map(|value| value as u8)
            });
            let frame = encoder.encode(&pixels.collect::<Vec<u8>>());
            pictures.push(frame.map_err(|error| error.to_string())?);
        }
        let encoder = Encoder::builder(48_000, Channels::Mono, Application::Voip).bitrate(Bitrate::Bits(SOUND_BITS));
        let mut encoder = encoder.build().map_err(|error| format!("{error:?}"))?;
        let mut sound = Vec::new();
        let mut packet = [0; 1275];
        for number in 0..LOOP {
            // A tone of 400 Hz that begins anew with each packet, which has a whole number of its waves.
            let samples =
                (0..SOUND_SAMPLES).map(|at| ((at as f32 / 120.0 * std::f32::consts::TAU).sin() * 6000.0) as i16);
            let size = encoder.encode(&samples.collect::<Vec<i16>>(), &mut packet);
            let size = size.map_err(|error| format!("packet {number}: {error:?}"))?;
            sound.push(Bytes::copy_from_slice(&packet[..size]));
        }
        Ok(Self { pictures, sound })
    }
}

/// What a guest has seen and heard.
#[derive(Debug, Default)]
struct Tally {
    /// Of each track that comes: its kind, and whole frames.
    tracks: BTreeMap<TransceiverId, (MediaKind, u64)>,
}

impl Tally {
    /// How many tracks of a kind there are, and how many frames came of the one that brought fewest.
    fn of(&self, kind: MediaKind) -> Value {
        let own = self.tracks.values().filter(|(own, _)| *own == kind);
        json!({"tracks": own.clone().count(), "least": own.map(|(_, frames)| *frames).min()})
    }
}

/// One participant.
struct Guest {
    socket: Socket,
    pc: PeerConnection,
    audio: TransceiverId,
    video: TransceiverId,
    tally: Tally,
}

impl Guest {
    async fn come(api: &Api, url: &str, room: &str, name: &str) -> Result<Self, Failure> {
        let able = api.peer_connection(RtcConfiguration::default()).await?;
        for kind in KINDS {
            able.add_transceiver(kind, RtcRtpTransceiverInit::new(Direction::SendRecv))
                .await?;
        }
        let sdp = able.create_offer(Default::default()).await?.sdp;
        able.close().await;
        let (mut socket, _) = connect_async(format!("{}/ws", url.replacen("http", "ws", 1))).await?;
        let join = json!({"type": "join", "room": room, "name": name, "sdp": sdp});
        socket.send(Message::Text(join.to_string().into())).await?;
        let pc = api.peer_connection(RtcConfiguration::default()).await?;
        let track = |kind, id: &str| MediaStreamTrack {
            kind,
            id: id.to_owned(),
            stream_ids: vec!["own".to_owned()],
        };
        let audio = pc.add_track(track(MediaKind::Audio, "voice")).await?;
        let video = pc.add_track(track(MediaKind::Video, "camera")).await?;
        Ok(Self {
            socket,
            pc,
            audio,
            video,
            tally: Tally::default(),
        })
    }

    /// Takes part until the server ends it. `asked`: who wants to know what came so far.
    async fn attend(mut self, reel: &Reel, mut asked: mpsc::Receiver<oneshot::Sender<Value>>) -> Result<(), Failure> {
        let (mut pictures, mut sounds) = (interval(PICTURE), interval(SOUND));
        let (mut shown, mut heard) = (0, 0);
        loop {
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => self.take(&serde_json::from_str(&text)?).await?,
                    Some(Ok(Message::Close(_))) | None => return Err("the server has closed the socket".into()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error.into()),
                },
                event = self.pc.next_event() => match event {
                    Some(Event::Frame { transceiver, .. }) => {
                        if let Some((_, frames)) = self.tally.tracks.get_mut(&transceiver) {
                            *frames += 1;
                        }
                    }
                    Some(Event::PeerEnded(end)) => return Err(format!("the server has ended the connection: {end:?}").into()),
                    Some(_) => {}
                    None => return Err("the connection is gone".into()),
                },
                _ = pictures.tick() => {
                    let step = (PICTURE.as_millis() * 90) as u32;
                    self.send(self.video, "VP8", shown, step, &reel.pictures).await;
                    shown += 1;
                }
                _ = sounds.tick() => {
                    self.send(self.audio, "opus", heard, SOUND_SAMPLES, &reel.sound).await;
                    heard += 1;
                }
                Some(who) = asked.recv() => {
                    // Who does not wait any more needs no answer.
                    _ = who.send(self.told().await?);
                }
            }
        }
    }

    async fn send(&self, on: TransceiverId, codec: &str, number: u32, step: u32, reel: &[Bytes]) {
        // Before the connection stands it goes nowhere.
        if let Ok(Some(payload_type)) = self.pc.payload_type(on, codec).await {
            let data = reel[number as usize % reel.len()].clone();
            _ = self
                .pc
                .send_frame(on, Frame::new(payload_type, number.wrapping_mul(step), data))
                .await;
        }
    }

    async fn take(&mut self, message: &Value) -> Result<(), Failure> {
        match message["type"].as_str() {
            Some("offer") => {
                let offer = RtcSessionDescription::offer(message["sdp"].as_str().unwrap_or_default());
                self.pc.set_remote_description(offer).await?;
                self.pc.set_local_description(None).await?;
                let answer = self.pc.local_description().await?.map(|answer| answer.sdp);
                let answer = json!({"type": "answer", "sdp": answer});
                self.socket.send(Message::Text(answer.to_string().into())).await?;
                let receiving = self
                    .pc
                    .transceivers()
                    .await?
                    .into_iter()
                    .filter(|own| own.receive().is_some());
                let now: BTreeMap<_, _> = receiving.map(|own| (own.id(), (own.kind(), 0))).collect();
                self.tally.tracks.retain(|id, _| now.contains_key(id));
                for (id, track) in now {
                    self.tally.tracks.entry(id).or_insert(track);
                }
            }
            Some("error") => eprintln!("the server: {}", message["message"]),
            _ => {}
        }
        Ok(())
    }

    /// What came so far, and what was sent.
    async fn told(&self) -> Result<Value, Failure> {
        let (mut sent, mut received, mut lost) = (0, 0, 0);
        for stat in &self.pc.get_stats().await?.entries {
            match stat {
                RtcStats::OutboundRtp(own) => sent += own.packets_sent,
                RtcStats::InboundRtp(own) => {
                    received += own.packets_received;
                    lost += own.packets_lost.max(0);
                }
                _ => {}
            }
        }
        let [audio, video] = KINDS.map(|kind| self.tally.of(kind));
        Ok(json!({"audio": audio, "video": video, "sent": sent, "received": received, "lost": lost}))
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, room, count] = arguments.as_slice() else {
        return Err("usage: guests URL ROOM COUNT".into());
    };
    let reel = Arc::new(Reel::record()?);
    let api = Api::builder().loopback(true).build()?;
    let mut guests = Vec::new();
    for number in 1..=count.parse::<usize>()? {
        let guest = Guest::come(&api, url.trim_end_matches('/'), room, &format!("guest {number}")).await?;
        let (ask, asked) = mpsc::channel(1);
        let reel = reel.clone();
        let attending = tokio::spawn(async move {
            if let Err(error) = guest.attend(&reel, asked).await {
                eprintln!("guest {number}: {error}");
            }
        });
        guests.push((ask, attending));
        sleep(BETWEEN).await;
    }
    let mut end = [0; 1];
    let mut input = tokio::io::stdin();
    let mut second = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = input.read(&mut end) => return Ok(()),
            _ = second.tick() => {}
        }
        let mut all = Vec::new();
        for (ask, _) in &guests {
            let (answer, answered) = oneshot::channel();
            if ask.send(answer).await.is_ok()
                && let Ok(told) = answered.await
            {
                all.push(told);
            }
        }
        let sum = |field: &str| all.iter().filter_map(|own| own[field].as_i64()).sum::<i64>();
        let seen = all.iter().map(|own| json!([own["audio"], own["video"]]));
        let line = json!({
            "guests": all.len(),
            "seen": seen.collect::<Vec<_>>(),
            "sent": sum("sent"),
            "received": sum("received"),
            "lost": sum("lost"),
        });
        println!("{line}");
    }
}
