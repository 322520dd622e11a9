//! The test pattern to a WHIP endpoint, in several sizes at once.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use antiphon::{
    Direction, Event, Frame, MediaCapabilities, MediaKind, OutgoingEncoding, PeerConnection, PeerHandle, Rid,
    RtcPeerConnectionState, RtcRtpEncodingParameters, RtcRtpTransceiverInit, TransceiverId, whip,
};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::args::{PatternArgs, url};
use super::{CONNECT_LIMIT, StreamError, line, over, tell};
use crate::sources::pattern::FRAME_RATE;
use crate::sources::sizes::{SIZES, Sizes, Wanted};
use crate::sources::{AudioCodec, EncodeError, Studio};
use crate::stop::Stop;
use crate::text::print_line;

/// What is sent at first, before the path has said what it carries.
const FIRST_BITRATE: u64 = 1_000_000;

/// How many frames of each size were sent, in the order of [`SIZES`].
pub type Painted = [u64; SIZES.len()];

/// Runs `antiphon pattern` until the duration is over, or a signal comes.
///
/// # Errors
/// Any [`StreamError`].
pub async fn pattern(args: PatternArgs) -> Result<Painted, StreamError> {
    let stop = Stop::new()?;
    let url = url(&args.to, "whip");
    let endpoint = args.server.endpoint(&url)?;
    let mut configuration = args.server.configuration(&endpoint).await?;
    configuration.settings.media.start_bitrate = FIRST_BITRATE;
    let mut capabilities = MediaCapabilities::default();
    capabilities
        .video
        .retain(|codec| codec.name.eq_ignore_ascii_case("VP8"));
    capabilities
        .audio
        .retain(|codec| codec.name.eq_ignore_ascii_case("opus"));
    configuration.settings.capabilities = Arc::new(capabilities);
    let mut pc = args.server.api(&url)?.peer_connection(configuration).await?;
    let sound = pc.add_transceiver(MediaKind::Audio, init(MediaKind::Audio, 0)).await?;
    let picture = pc
        .add_transceiver(MediaKind::Video, init(MediaKind::Video, usize::from(args.layers)))
        .await?;
    let session = endpoint.connect(&mut pc).await?;
    let result = send(&mut pc, &session, sound, picture, args.duration, stop).await;
    // The server hears that it is over, whatever came of it; but first what failed counts.
    let closed = session.close().await;
    pc.close().await;
    let painted = result?;
    closed?;
    let sizes = SIZES.iter().zip(painted).filter(|(_, frames)| *frames > 0);
    let sizes = sizes.map(|(size, frames)| {
        let (width, height) = size.pixels();
        format!("{frames} frames of {width}x{height}")
    });
    print_line(format!("published: {}", sizes.collect::<Vec<_>>().join(", ")));
    Ok(painted)
}

/// A transceiver that sends, pictures in so many sizes.
fn init(kind: MediaKind, layers: usize) -> RtcRtpTransceiverInit {
    let mut init = RtcRtpTransceiverInit::new(Direction::SendOnly);
    init.streams = vec!["antiphon".into()];
    // Janus takes no `a=msid` without it.
    init.track_id = Some(kind.to_string());
    let sizes = SIZES.iter().take(layers);
    init.send_encodings = sizes
        .map(|size| RtcRtpEncodingParameters {
            rid: (layers > 1).then(|| size.rid.to_owned()),
            max_bitrate: Some(size.max_bitrate),
            scale_resolution_down_by: Some(size.down as f64),
            ..RtcRtpEncodingParameters::default()
        })
        .collect();
    init
}

/// The size of an encoding: of one without a name the first.
fn size_of(encoding: &OutgoingEncoding) -> Option<usize> {
    let Some(rid) = &encoding.id.rid else { return Some(0) };
    SIZES
        .iter()
        .position(|size| Rid::new(size.rid.as_bytes()).as_ref() == Some(rid))
}

/// What of the sizes is to be encoded now.
fn wanted(encodings: &[OutgoingEncoding]) -> Vec<Wanted> {
    let wanted = encodings.iter().filter(|encoding| encoding.is_wanted());
    wanted
        .filter_map(|encoding| {
            let size = size_of(encoding)?;
            Some(Wanted {
                size,
                bps: encoding.target_bitrate.unwrap_or(FIRST_BITRATE / 3),
                max_framerate: encoding.max_framerate,
            })
        })
        .collect()
}

/// Draws, encodes, and sends what comes of it. The encoders come back.
async fn paint(
    peer: &PeerHandle,
    picture: TransceiverId,
    mut sizes: Sizes,
    number: u64,
    painted: &mut Painted,
) -> Result<Sizes, StreamError> {
    let encodings = peer.encodings(picture).await?;
    let wanted = wanted(&encodings);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let work = tokio::task::spawn_blocking(move || {
        let coded = sizes.paint(number, clock, &wanted)?;
        Ok::<_, EncodeError>((sizes, coded))
    });
    let (sizes, coded) = work.await.map_err(std::io::Error::other)??;
    let timestamp = (number * u64::from(90_000 / FRAME_RATE)) as u32;
    for (size, data) in coded {
        let encoding = encodings.iter().find(|encoding| size_of(encoding) == Some(size));
        let Some((id, codec)) = encoding.and_then(|own| Some((own.id, own.codec.as_ref()?))) else {
            continue;
        };
        let mut frame = Frame::new(codec.payload_type, timestamp, data);
        frame.key_frame = true;
        match peer.send_frame(id, frame).await {
            Ok(()) => painted[size] += 1,
            Err(antiphon::Error::Closed) => return Err(StreamError::Broken),
            // It was paused a moment ago, or its queue is full: that costs this frame.
            Err(error) => tracing::debug!(%error, size, "a frame was refused"),
        }
    }
    Ok(sizes)
}

/// Sends music until the peer is gone.
async fn music(peer: PeerHandle, sound: TransceiverId, studio: Studio) {
    let mut feed = studio.audio(AudioCodec::Opus);
    let Ok(Some(payload_type)) = peer.payload_type(sound, "opus").await else {
        return;
    };
    loop {
        match feed.recv().await {
            Ok(packet) => {
                let frame = Frame::new(payload_type, packet.timestamp, packet.data);
                if matches!(peer.send_frame(sound, frame).await, Err(antiphon::Error::Closed)) {
                    return;
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// What goes on, for a person.
fn words(painted: &Painted) -> String {
    let sizes = SIZES.iter().zip(painted).map(|(size, frames)| {
        let (width, height) = size.pixels();
        format!("{width}x{height}: {frames}")
    });
    format!("frames of {}", sizes.collect::<Vec<_>>().join(", "))
}

async fn send(
    pc: &mut PeerConnection,
    session: &whip::Session,
    sound: TransceiverId,
    picture: TransceiverId,
    limit: Option<Duration>,
    stop: Stop,
) -> Result<Painted, StreamError> {
    let peer = pc.handle();
    let progress = line();
    progress.set_message("connecting");
    let connecting = sleep(CONNECT_LIMIT);
    let (limit, stopped) = (over(limit), stop.asked("stopping"));
    tokio::pin!(connecting, limit, stopped);
    let mut ticks = interval(Duration::from_secs(1) / FRAME_RATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut painted = Painted::default();
    let mut connected = None;
    // With a task of its own, which ends with it.
    let mut player = tokio::task::JoinSet::new();
    let mut sizes = Sizes::default();
    loop {
        tokio::select! {
            event = pc.next_event() => match event {
                Some(Event::IceCandidate(candidate)) => tell(session, candidate.as_ref()).await,
                Some(Event::ConnectionStateChange(RtcPeerConnectionState::Connected)) if connected.is_none() => {
                    connected = Some(Instant::now());
                    player.spawn(music(peer.clone(), sound, Studio::new()));
                }
                Some(Event::ConnectionStateChange(RtcPeerConnectionState::Failed)) => {
                    return Err(if connected.is_some() { StreamError::Broken } else { StreamError::NoConnection });
                }
                Some(Event::PeerEnded(_)) | None => return Err(StreamError::Broken),
                Some(_) => {}
            },
            _ = ticks.tick() => if let Some(began) = connected {
                let number = (began.elapsed().as_secs_f64() * f64::from(FRAME_RATE)).round() as u64;
                sizes = paint(&peer, picture, sizes, number, &mut painted).await?;
                progress.set_message(words(&painted));
            },
            () = &mut connecting, if connected.is_none() => return Err(StreamError::NoConnection),
            () = &mut limit => return Ok(painted),
            () = &mut stopped => return Ok(painted),
        }
    }
}
