//! A peer that sends every frame back, cut into packets anew, and plays and hears keys of a telephone:
//! `echo_frames offer|answer CODEC [red] [flexfec] [ulpfec]`, for instance `echo_frames answer VP9`. With one of the last words it
//! takes redundancy of this kind and sends it: RED of two sounds, a repair packet for two of pictures.
//!
//! Nothing is decoded or encoded here: what a browser encodes goes through depacketizer and packetizer, and whether it decodes that
//! shows that both are right. `cargo xtask test --only live` runs it.
//!
//! Signalling goes over standard input and output, one description a line, with all candidates in it and line breaks as `\n`. On
//! standard output: `offer SDP` or `answer SDP`; `state STATE`; each second `counts RECEIVED KEY-FRAMES SENT LOST SOUNDS`, and of
//! each kind `repaired audio|video LOST FEC-RECEIVED RECOVERED FEC-SENT`; `key CHARACTER MILLISECONDS` for each that was heard;
//! `error WHY`. On standard input: the peer's description, `play TONES`, and `stop`.

use std::collections::HashMap;
use std::time::Duration;

use antiphon::{
    Api, DEFAULT_TONE_GAP, Direction, Event, FecAmount, Frame, MediaCapabilities, MediaKind, PeerConnection,
    RedDistance, Redundancy, RtcConfiguration, RtcRtpTransceiverInit, RtcSessionDescription, SendRedundancy, TonePhase,
    TransceiverId,
};
use bytes::Bytes;
use tokio::sync::mpsc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Each key is to be heard so long that a page finds its two tones.
const TONE: Duration = Duration::from_millis(600);
/// 20 ms of silence in Opus: sound for the keys to stand beside.
const SILENCE: &[u8] = &[0xf8, 0xff, 0xfe];

#[derive(Default)]
struct Counts {
    received: u64,
    key_frames: u64,
    sent: u64,
    lost: u64,
    sounds: u64,
}

struct Echo {
    pc: PeerConnection,
    audio: Option<TransceiverId>,
    /// Whether sound goes in RED.
    red: bool,
    counts: Counts,
    /// Under which payload type the peer takes what came under another.
    numbers: HashMap<(TransceiverId, u8), Option<u8>>,
    sounds: u32,
}

impl Echo {
    /// Says our description, once all candidates are in it.
    async fn describe(&self) -> Result<(), Failure> {
        if let Some(own) = self.pc.local_description().await? {
            let text = own.sdp.replace("\r\n", "\\n");
            println!("{} {text}", own.sdp_type);
        }
        Ok(())
    }

    async fn number(&mut self, transceiver: TransceiverId, received: u8) -> Result<Option<u8>, Failure> {
        if let Some(known) = self.numbers.get(&(transceiver, received)) {
            return Ok(*known);
        }
        let all = self.pc.transceivers().await?;
        let number = all.iter().find(|own| own.id() == transceiver).and_then(|own| {
            let codec = own
                .receive()?
                .codecs
                .iter()
                .find(|codec| codec.payload_type == received)?;
            let back = own.send()?.codecs.iter().find(|sent| sent.decodes(codec))?;
            Some(back.payload_type)
        });
        self.numbers.insert((transceiver, received), number);
        Ok(number)
    }

    async fn take(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::IceCandidate(None) => self.describe().await?,
            Event::ConnectionStateChange(state) => println!("state {state}"),
            Event::Frame {
                transceiver,
                frame,
                discontinuity,
                ..
            } if Some(transceiver) != self.audio => {
                self.counts.received += 1;
                self.counts.key_frames += u64::from(frame.key_frame);
                self.counts.lost += u64::from(discontinuity && self.counts.received > 1);
                if let Some(payload_type) = self.number(transceiver, frame.payload_type).await? {
                    match self.pc.send_frame(transceiver, Frame { payload_type, ..frame }).await {
                        Ok(()) => self.counts.sent += 1,
                        Err(error) => println!("error {error}"),
                    }
                }
            }
            Event::Frame { .. } => self.counts.sounds += 1,
            Event::Packet { .. } => println!("error no frame could be made of a packet"),
            // Who watches itself asks itself.
            Event::KeyFrameRequested(encoding) => self.pc.request_key_frame(encoding.transceiver).await?,
            Event::Tone { tone, .. } => {
                if let (TonePhase::Ended { lasted, .. }, Some(key)) = (tone.phase, tone.key()) {
                    println!("key {key} {}", lasted.as_millis());
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Says what has come and gone.
    async fn count(&self) -> Result<(), Failure> {
        let Counts {
            received,
            key_frames,
            sent,
            lost,
            sounds,
        } = self.counts;
        println!("counts {received} {key_frames} {sent} {lost} {sounds}");
        let stats = self.pc.get_stats().await?;
        for kind in ["audio", "video"] {
            let received = stats.inbound_rtp().find(|own| own.kind == kind);
            let sent = stats.outbound_rtp().find(|own| own.kind == kind);
            let (lost, fec, recovered) = received.map_or((0, 0, 0), |own| {
                (own.packets_lost, own.fec_packets_received, own.packets_recovered)
            });
            let sent = sent.map_or(0, |own| own.fec_packets_sent);
            println!("repaired {kind} {lost} {fec} {recovered} {sent}");
        }
        Ok(())
    }

    /// An answer has the order of the offer, in which Chromium's RED is behind Opus; and Chromium sends RED only to who prefers it.
    async fn prefer_red(&self, audio: TransceiverId) -> Result<(), Failure> {
        if self.red {
            let names = ["audio/red", "audio/opus", "audio/telephone-event"];
            let names = names.map(str::to_owned).to_vec();
            self.pc.set_codec_preferences(audio, names).await?;
        }
        Ok(())
    }

    async fn command(&mut self, line: &str) -> Result<(), Failure> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let sdp = || rest.replace("\\n", "\r\n");
        match word {
            "offer" => {
                self.pc
                    .set_remote_description(RtcSessionDescription::offer(sdp()))
                    .await?;
                for transceiver in self.pc.transceivers().await? {
                    if transceiver.kind() == MediaKind::Audio {
                        self.audio = Some(transceiver.id());
                        self.prefer_red(transceiver.id()).await?;
                    }
                    self.pc.set_direction(transceiver.id(), Direction::SendRecv).await?;
                }
                self.pc.set_local_description(None).await?;
            }
            "answer" => {
                self.pc
                    .set_remote_description(RtcSessionDescription::answer(sdp()))
                    .await?
            }
            "play" => {
                let audio = self.audio.ok_or("there is no sound")?;
                self.pc.insert_dtmf(audio, rest, TONE, DEFAULT_TONE_GAP).await?;
            }
            other => return Err(format!("unknown word {other:?}").into()),
        }
        Ok(())
    }

    /// Sound for the keys to stand beside, once it may be sent.
    async fn silence(&mut self) -> Result<(), Failure> {
        let Some(audio) = self.audio else { return Ok(()) };
        if let Some(payload_type) = self.pc.payload_type(audio, "opus").await? {
            self.sounds += 1;
            let frame = Frame::new(payload_type, self.sounds * 960, Bytes::from_static(SILENCE));
            // Not before the peer has answered.
            let _ = self.pc.send_frame(audio, frame).await;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next().ok_or("offer or answer?")?;
    let codec = arguments.next().ok_or("which codec?")?;
    let mut configuration = RtcConfiguration::default();
    let mut capabilities = MediaCapabilities::recording();
    capabilities.video.retain(|own| own.name.eq_ignore_ascii_case(&codec));
    let kinds: Vec<String> = arguments.collect();
    let has = |kind: &str| kinds.iter().any(|own| own == kind);
    capabilities = capabilities.with_redundancy(Redundancy {
        red: has("red"),
        flexfec_03: has("flexfec"),
        ulpfec: has("ulpfec"),
        ..Redundancy::default()
    });
    configuration.settings.media.redundancy = SendRedundancy {
        red: RedDistance::Fixed(2),
        fec: FecAmount::Percent(50),
    };
    configuration.settings.capabilities = capabilities.into();
    let pc = Api::new()?.peer_connection(configuration).await?;
    let mut echo = Echo {
        pc,
        audio: None,
        red: has("red"),
        counts: Counts::default(),
        numbers: HashMap::new(),
        sounds: 0,
    };
    if role == "offer" {
        let both = || RtcRtpTransceiverInit::new(Direction::SendRecv);
        echo.audio = Some(echo.pc.add_transceiver(MediaKind::Audio, both()).await?);
        echo.pc.add_transceiver(MediaKind::Video, both()).await?;
        echo.pc.set_local_description(None).await?;
    }
    // Standard input has no waiting that ends early: a thread of its own reads it.
    let (read, mut lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if read.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut sound = tokio::time::interval(Duration::from_millis(20));
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        let done = tokio::select! {
            event = echo.pc.next_event() => match event {
                Some(event) => echo.take(event).await,
                None => break,
            },
            line = lines.recv() => match line.as_deref() {
                None | Some("stop") => break,
                Some(line) => echo.command(line).await,
            },
            _ = sound.tick() => echo.silence().await,
            _ = second.tick() => echo.count().await,
        };
        if let Err(error) = done {
            println!("error {error}");
        }
    }
    echo.pc.close().await;
    Ok(())
}
