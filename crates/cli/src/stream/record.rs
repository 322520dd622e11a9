//! From a WHEP endpoint to a file.

use std::sync::Arc;
use std::time::Duration;

use antiphon::container::{Codec, Format};
use antiphon::{
    Direction, Event, Feed, MediaCapabilities, MediaKind, Output, PeerConnection, RecordStats, Recorder, RecorderError,
    RtcPeerConnectionState, RtcRtpTransceiverInit, whip,
};
use tokio::time::{interval, sleep};

use super::args::{RecordArgs, url};
use super::{CONNECT_LIMIT, KINDS, StreamError, line, over, tell};
use crate::stop::Stop;
use crate::text::print_line;

/// How often the figures are shown anew.
const TICK: Duration = Duration::from_millis(250);

/// Runs `antiphon record` until the stream's end, the duration, or a signal.
///
/// # Errors
/// Any [`StreamError`]. What was received until then is in the file.
pub async fn record(args: RecordArgs) -> Result<RecordStats, StreamError> {
    let stop = Stop::new()?;
    let name = args.file.display().to_string();
    let wrong = |source| StreamError::Record {
        file: name.clone(),
        source,
    };
    let extension = args.file.extension().and_then(|extension| extension.to_str());
    let format = extension.and_then(Format::of_extension);
    let format = format.ok_or_else(|| wrong(RecorderError::UnknownFormat))?;
    if !args.overwrite && args.file.exists() {
        return Err(StreamError::File {
            file: name,
            why: "there is such a file already; --overwrite replaces it".to_owned(),
        });
    }
    let url = url(&args.from, "whep");
    let endpoint = args.server.endpoint(&url)?;
    let mut configuration = args.server.configuration(&endpoint).await?;
    let capabilities = capabilities(format);
    let kinds = kinds(format, &capabilities);
    configuration.settings.capabilities = Arc::new(capabilities);
    configuration.settings.receive_output = Output::Frames;
    let mut pc = args.server.api(&url)?.peer_connection(configuration).await?;
    for kind in kinds {
        pc.add_transceiver(kind, RtcRtpTransceiverInit::new(Direction::RecvOnly))
            .await?;
    }
    let session = endpoint.connect(&mut pc).await?;
    // Only now, so that a server that refuses costs no file.
    let mut recorder = match Recorder::create(&args.file) {
        Ok(recorder) => recorder,
        Err(error) => {
            _ = session.close().await;
            return Err(wrong(error));
        }
    };
    let feed = recorder.feed(pc.handle());
    let result = receive(&mut pc, &session, &recorder, &feed, args.duration, stop).await;
    drop(feed);
    // Each of these is done whatever came of the others; what failed first is told.
    let closed = session.close().await;
    pc.close().await;
    let finished = recorder.finish().await.map_err(wrong);
    result?;
    let stats = finished?;
    closed?;
    print_line(format!(
        "recorded {name}: {} frames and packets{}",
        stats.written,
        left_out(&stats)
    ));
    Ok(stats)
}

/// What is asked for: all that the format can hold.
pub(super) fn capabilities(format: Format) -> MediaCapabilities {
    let mut capabilities = MediaCapabilities::recording();
    for codecs in [&mut capabilities.audio, &mut capabilities.video] {
        codecs.retain(|codec| format.holds(&Codec::of_name(&codec.name)));
    }
    capabilities
}

/// Sound and picture, or which of them a format of one track has.
fn kinds(format: Format, capabilities: &MediaCapabilities) -> Vec<MediaKind> {
    let held = KINDS.into_iter().filter(|kind| !capabilities.codecs(*kind).is_empty());
    // The formats of one track that hold pictures hold no sound.
    held.take(format.max_tracks()).collect()
}

fn left_out(stats: &RecordStats) -> String {
    let RecordStats {
        before_key_frame,
        without_track,
        other_codec,
        turned,
        dropped,
        ..
    } = stats;
    let left = [
        (before_key_frame, "that need frames which did not come"),
        (without_track, "of tracks that came too late"),
        (other_codec, "in another codec than their track began with"),
        (dropped, "for which the disk was too slow"),
    ];
    let told = left.iter().filter(|(count, _)| **count > 0);
    let mut text: String = told.map(|(count, why)| format!("; left out: {count} {why}")).collect();
    if *turned > 0 {
        text +=
            &format!("; {turned} lie otherwise than they were filmed, for the file cannot say that the picture turns");
    }
    text
}

/// Takes events until it is over.
async fn receive(
    pc: &mut PeerConnection,
    session: &whip::Session,
    recorder: &Recorder,
    feed: &Feed,
    limit: Option<Duration>,
    stop: Stop,
) -> Result<(), StreamError> {
    let progress = line();
    let mut connected = false;
    let mut tick = interval(TICK);
    let connecting = sleep(CONNECT_LIMIT);
    let stopped = stop.asked("stopping");
    tokio::pin!(connecting, stopped);
    let time = over(limit);
    tokio::pin!(time);
    loop {
        tokio::select! {
            event = pc.next_event() => {
                let Some(event) = event else { return Err(StreamError::Broken) };
                feed.handle_event(&event);
                match event {
                    Event::IceCandidate(candidate) => tell(session, candidate.as_ref()).await,
                    Event::ConnectionStateChange(RtcPeerConnectionState::Connected) => connected = true,
                    Event::ConnectionStateChange(RtcPeerConnectionState::Failed) if connected => {
                        return Err(StreamError::Broken);
                    }
                    Event::ConnectionStateChange(RtcPeerConnectionState::Failed) => {
                        return Err(StreamError::NoConnection);
                    }
                    // The stream has ended, and the file with it.
                    Event::PeerEnded(_) => return Ok(()),
                    _ => {}
                }
            }
            _ = tick.tick() => progress.set_message(match connected {
                true => format!("{} frames and packets", recorder.stats().written),
                false => "connecting".to_owned(),
            }),
            () = &mut connecting, if !connected => return Err(StreamError::NoConnection),
            () = &mut time => return Ok(()),
            () = &mut stopped => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_asked_what_it_holds() {
        let of = |format: Format| kinds(format, &capabilities(format));
        assert_eq!(of(Format::WebM), [MediaKind::Audio, MediaKind::Video]);
        assert_eq!(of(Format::Ogg), [MediaKind::Audio]);
        assert_eq!(of(Format::Ivf), [MediaKind::Video]);
        let only = capabilities(Format::H264).video;
        assert!(!only.is_empty() && only.iter().all(|codec| codec.name == "H264"));
    }
}
