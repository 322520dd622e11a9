//! From a file to a WHIP endpoint.

use std::sync::Arc;
use std::time::Duration;

use antiphon::container::{Codec, Track};
use antiphon::{
    CodecCapability, Direction, Event, MediaCapabilities, MediaFile, MediaFileError, MediaKind, PeerConnection,
    PlayEnd, PlayEvent, Playback, RtcPeerConnectionState, RtcRtpTransceiverInit, TransceiverId, whip,
};
use tokio::time::{sleep, timeout};

use super::args::{PlayArgs, url};
use super::{CONNECT_LIMIT, KINDS, StreamError, line, over, tell};
use crate::stop::Stop;
use crate::text::print_line;

/// What is sent at first, before the path has said what it carries: files are what they are, and most need more than a call.
const FIRST_BITRATE: u64 = 4_000_000;
/// What the pacer still holds when the last frame is handed over is sent within this.
const LAST_FRAMES: Duration = Duration::from_millis(500);

/// How a file was played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Frames and packets of sound that were sent.
    pub sent: u64,
    /// Those that found no room.
    pub refused: u64,
}

/// Runs `antiphon play` until the file's end, the duration, or a signal.
///
/// # Errors
/// Any [`StreamError`].
pub async fn play(args: PlayArgs) -> Result<Played, StreamError> {
    let stop = Stop::new()?;
    let name = args.file.display().to_string();
    let bad = |source| StreamError::Play {
        file: name.clone(),
        source,
    };
    let path = args.file.clone();
    let opened = tokio::task::spawn_blocking(move || MediaFile::open(path)).await;
    let file = opened.map_err(std::io::Error::other)?.map_err(bad)?;
    let chosen = chosen(file.tracks());
    if chosen.is_empty() {
        let names: Vec<&str> = file.tracks().iter().map(|track| track.codec.name()).collect();
        return Err(StreamError::File {
            file: name,
            why: format!("nothing in it can be sent: it has {}", names.join(", ")),
        });
    }
    let url = url(&args.to, "whip");
    let endpoint = args.server.endpoint(&url)?;
    let mut configuration = args.server.configuration(&endpoint).await?;
    configuration.settings.media.start_bitrate = FIRST_BITRATE;
    let mut capabilities = MediaCapabilities::recording();
    let codecs = |kind| chosen.iter().filter(move |(own, _)| *own == kind);
    let own = |track: &&(MediaKind, usize)| &file.tracks()[track.1];
    capabilities
        .video
        .retain(|codec| codecs(MediaKind::Video).any(|track| carries(codec, own(&track))));
    capabilities
        .audio
        .retain(|codec| codecs(MediaKind::Audio).any(|track| carries(codec, own(&track))));
    configuration.settings.capabilities = Arc::new(capabilities);
    let mut pc = args.server.api(&url)?.peer_connection(configuration).await?;
    let mut places = Vec::new();
    for (kind, index) in &chosen {
        let mut init = RtcRtpTransceiverInit::new(Direction::SendOnly);
        init.streams = vec!["antiphon".into()];
        // Janus takes no `a=msid` without it.
        init.track_id = Some(kind.to_string());
        places.push((*index, pc.add_transceiver(*kind, init).await?));
    }
    let what: Vec<&str> = chosen
        .iter()
        .map(|(_, index)| file.tracks()[*index].codec.name())
        .collect();
    let what = what.join(" and ");
    let session = endpoint.connect(&mut pc).await?;
    let result = send(
        &mut pc,
        &session,
        file.looping(args.looping),
        &places,
        args.duration,
        stop,
        &what,
    )
    .await;
    // The server hears that it is over, whatever came of it; but first what failed counts.
    let closed = session.close().await;
    pc.close().await;
    let (played, end) = match result {
        Ok(ended) => ended,
        Err(StreamError::Play { source, .. }) => return Err(bad(source)),
        Err(error) => return Err(error),
    };
    if let PlayEnd::Bad(error) = end {
        return Err(bad(MediaFileError::Read(error)));
    }
    closed?;
    let Played { sent, refused } = played;
    print_line(match refused {
        0 => format!("played {name}: {sent} frames and packets of {what}"),
        _ => format!("played {name}: {sent} frames and packets of {what}; for {refused} more the path had no room"),
    });
    Ok(played)
}

/// The first track of each kind that RTP can carry.
fn chosen(tracks: &[Track]) -> Vec<(MediaKind, usize)> {
    KINDS
        .into_iter()
        .filter_map(|kind| {
            let fits = |track: &Track| {
                track.is_video() == (kind == MediaKind::Video)
                    && MediaCapabilities::recording()
                        .codecs(kind)
                        .iter()
                        .any(|codec| carries(codec, track))
            };
            Some((kind, tracks.iter().position(fits)?))
        })
        .collect()
}

/// Whether a track can be sent as this: of H.264 in the profile that it has, if it says which, and in slices of any size.
fn carries(codec: &CodecCapability, track: &Track) -> bool {
    let is_it = codec.name.eq_ignore_ascii_case(track.codec.name()) && codec.clock_rate == track.clock_rate;
    if !is_it || track.codec != Codec::H264 {
        return is_it;
    }
    // ISO/IEC 14496-15 §5.3.3.1: version, profile, compatibility, level.
    let profile = track
        .configuration
        .get(1)
        .map(|profile| format!("profile-level-id={profile:02x}"));
    codec.parameters.contains("packetization-mode=1")
        && profile.is_none_or(|profile| codec.parameters.contains(&profile))
}

/// Sends until it is over; how it ended.
async fn send(
    pc: &mut PeerConnection,
    session: &whip::Session,
    file: MediaFile,
    places: &[(usize, TransceiverId)],
    limit: Option<Duration>,
    stop: Stop,
    what: &str,
) -> Result<(Played, PlayEnd), StreamError> {
    let peer = pc.handle();
    let started = file.play(&peer, places).await.map_err(|source| StreamError::Play {
        file: String::new(),
        source,
    });
    let mut playback: Playback = started?;
    let progress = line();
    progress.set_message(format!("{what}: connecting"));
    let connecting = sleep(CONNECT_LIMIT);
    let (limit, stopped) = (over(limit), stop.asked("stopping"));
    tokio::pin!(connecting, limit, stopped);
    let mut connected = false;
    let mut asked = false;
    loop {
        tokio::select! {
            event = pc.next_event() => match event {
                Some(Event::IceCandidate(candidate)) => tell(session, candidate.as_ref()).await,
                Some(Event::ConnectionStateChange(RtcPeerConnectionState::Failed)) => {
                    return Err(if connected { StreamError::Broken } else { StreamError::NoConnection });
                }
                Some(Event::PeerEnded(_)) | None => return Err(StreamError::Broken),
                Some(_) => {}
            },
            event = playback.next_event() => match event {
                Some(PlayEvent::Started) => {
                    connected = true;
                    progress.set_message(format!("{what}: playing"));
                }
                Some(PlayEvent::Ended { end, frames_sent, frames_refused }) => {
                    if matches!(end, PlayEnd::Closed) {
                        return Err(StreamError::Broken);
                    }
                    // An error means that the time is over, as it should be: events still have to be read meanwhile.
                    _ = timeout(LAST_FRAMES, async { while pc.next_event().await.is_some() {} }).await;
                    progress.finish_and_clear();
                    return Ok((Played { sent: frames_sent, refused: frames_refused }, end));
                }
                Some(_) => {}
                None => return Err(StreamError::Broken),
            },
            () = &mut connecting, if !connected => return Err(StreamError::NoConnection),
            () = &mut limit, if !asked => { asked = true; playback.stop(); }
            () = &mut stopped, if !asked => { asked = true; playback.stop(); }
        }
    }
}
