//! A file that one peer plays and another records: the same frames at the same distances.

use std::io::{Cursor, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};

use antiphon::container::{Codec, Format, Media, Reader, Rotation, Sample, Track, Writer};
use antiphon::extension::VideoOrientation;
use antiphon::{
    Api, Direction, Event, Frame, MediaCapabilities, MediaFile, MediaFileError, MediaKind, PeerConnection, PlayEnd,
    PlayEvent, Recorder, RecorderError, RtcConfiguration, RtcRtpTransceiverInit, TransceiverId,
};

/// Keeps a broken run finite; nothing is measured with it.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

const PICTURES: usize = 16;
const PACKETS: usize = 25;

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(PATIENCE, future).await;
    result.unwrap_or_else(|_| panic!("{what}: nothing within {PATIENCE:?}"))
}

/// A key frame of VP8, as far as anybody here looks.
fn key(n: u8) -> Vec<u8> {
    vec![0x10, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1, n]
}

/// Half a second of pictures and sound.
fn film(format: Format) -> Vec<u8> {
    film_of(format, Rotation::None, |n| n)
}

/// The same, with pictures that are to be turned, and each of them shown at another place.
fn film_of(format: Format, turn: Rotation, shown: fn(usize) -> usize) -> Vec<u8> {
    let mut tracks = vec![Track::video(Codec::Vp8, 640, 360), Track::audio(Codec::Opus, 48_000, 2)];
    if let Media::Video { rotation, .. } = &mut tracks[0].media {
        *rotation = turn;
    }
    let mut samples = Vec::new();
    for n in 0..PICTURES {
        let data = if n == 0 {
            key(n as u8)
        } else {
            [vec![0x31, n as u8], vec![7; 3_000]].concat()
        };
        samples.push((n * 33, 0, shown(n) as i64 * 33 * 90, data));
    }
    for n in 0..PACKETS {
        samples.push((n * 20, 1, n as i64 * 960, vec![0xf8, n as u8, 1]));
    }
    samples.sort_by_key(|(ms, ..)| *ms);
    let mut writer = Writer::new(Cursor::new(Vec::new()), format, tracks).unwrap();
    for (_, track, time, data) in samples {
        let key_frame = track == 1 || data[0] == 0x10;
        writer
            .write(&Sample {
                track,
                time,
                duration: None,
                key_frame,
                data: data.into(),
            })
            .unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// By track: each sample's distance from the first one, and its bytes.
fn read(file: Vec<u8>) -> Vec<Vec<(i64, bytes::Bytes)>> {
    let mut reader = Reader::new(Cursor::new(file)).unwrap();
    let mut samples = vec![Vec::new(); reader.tracks().len()];
    while let Some(sample) = reader.next_sample().unwrap() {
        samples[sample.track].push((sample.time, sample.data));
    }
    for track in &mut samples {
        let first = track[0].0;
        track.iter_mut().for_each(|(time, _)| *time -= first);
    }
    samples
}

/// A file in memory that outlives its writer.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Cursor<Vec<u8>>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Memory {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.lock().unwrap().seek(to)
    }
}

/// One that sends a picture and sound, and one that receives them.
async fn pair() -> (PeerConnection, PeerConnection, [TransceiverId; 2]) {
    pair_of(MediaCapabilities::shared_default()).await
}

/// The same, both with these capabilities.
async fn pair_of(capabilities: Arc<MediaCapabilities>) -> (PeerConnection, PeerConnection, [TransceiverId; 2]) {
    let api = Api::builder().loopback(true).build().unwrap();
    let mut configuration = RtcConfiguration::default();
    configuration.settings.capabilities = capabilities;
    let mut sender = api.peer_connection(configuration.clone()).await.unwrap();
    let mut receiver = api.peer_connection(configuration).await.unwrap();
    let init = || RtcRtpTransceiverInit {
        direction: Direction::SendOnly,
        ..Default::default()
    };
    let video = sender.add_transceiver(MediaKind::Video, init()).await.unwrap();
    let audio = sender.add_transceiver(MediaKind::Audio, init()).await.unwrap();
    let described = async |pc: &mut PeerConnection| {
        pc.set_local_description(None).await.unwrap();
        while !matches!(pc.next_event().await, Some(Event::IceCandidate(None)) | None) {}
        pc.local_description().await.unwrap().unwrap()
    };
    let offer = described(&mut sender).await;
    receiver.set_remote_description(offer).await.unwrap();
    let answer = described(&mut receiver).await;
    sender.set_remote_description(answer).await.unwrap();
    (sender, receiver, [video, audio])
}

#[tokio::test]
async fn a_film_that_is_played_is_recorded_as_it_was() {
    // After the first one each third picture is decoded before the two that are shown before it.
    let reordered: fn(usize) -> usize = |n| match n {
        0 => 0,
        n if n % 3 == 1 => n + 2,
        n => n - 1,
    };
    for (played, recorded, shown) in [
        (Format::WebM, Format::Mp4, (|n| n) as fn(usize) -> usize),
        (Format::Mp4, Format::WebM, |n| n),
        (Format::WebM, Format::Mp4, reordered),
    ] {
        let (sender, mut receiver, [video, audio]) = within("descriptions", pair()).await;
        let film = film_of(played, Rotation::None, shown);
        let file = MediaFile::new(Cursor::new(film.clone())).unwrap();
        assert_eq!(file.format(), played);
        let target = Memory::default();
        let mut recorder = Recorder::new(target.clone(), recorded);
        let feed = recorder.feed(receiver.handle());
        let mut playback = file.play(&sender.handle(), &[(0, video), (1, audio)]).await.unwrap();
        let mut frames = 0;
        while frames < PICTURES + PACKETS {
            let event = within("frames", receiver.next_event()).await.expect("the peer stays");
            frames += usize::from(matches!(event, Event::Frame { .. }));
            feed.handle_event(&event);
        }
        let mut events = Vec::new();
        while let Some(event) = within("the end", playback.next_event()).await {
            events.push(event);
        }
        let total = (PICTURES + PACKETS) as u64;
        assert!(matches!(events[0], PlayEvent::Started), "{events:?}");
        assert!(
            matches!(events[1], PlayEvent::Ended { end: PlayEnd::File, frames_sent, frames_refused: 0 } if frames_sent == total),
            "{events:?}"
        );
        let stats = within("the recording", recorder.finish()).await.unwrap();
        assert_eq!((stats.written, stats.dropped, stats.without_track), (total, 0, 0));
        let bytes = target.0.lock().unwrap().get_ref().clone();
        assert_eq!(Format::of_bytes(&bytes), Some(recorded));
        let [mut was, mut is] = [read(film), read(bytes)];
        // The tracks stand in the order in which the peer was told of them.
        for samples in [&mut was, &mut is] {
            samples.sort_by_key(Vec::len);
        }
        for (was, is) in was.iter().zip(&is) {
            assert_eq!(was.len(), is.len());
            for ((time, data), (again, bytes)) in was.iter().zip(is) {
                assert_eq!(data, bytes);
                // WebM tells whole milliseconds.
                assert!(time.abs_diff(*again) <= 90, "{time} became {again}");
            }
        }
    }
}

#[tokio::test]
async fn a_film_goes_round_pauses_and_is_stopped() {
    let (sender, mut receiver, [video, _]) = within("descriptions", pair()).await;
    let file = MediaFile::new(Cursor::new(film(Format::WebM))).unwrap().looping(true);
    let mut playback = file.play(&sender.handle(), &[(0, video)]).await.unwrap();
    let (mut last, mut looped, mut steps) = (None, 0, Vec::new());
    while looped < 2 || steps.len() < 2 * PICTURES {
        tokio::select! {
            event = within("frames", receiver.next_event()) => if let Some(Event::Frame { frame, .. }) = event {
                let before = last.replace(frame.timestamp);
                steps.extend(before.map(|before: u32| frame.timestamp.wrapping_sub(before)));
            },
            event = playback.next_event() => looped += usize::from(matches!(event, Some(PlayEvent::Looped))),
        }
    }
    // One frame is as long as the one before it, from round to round.
    assert!(steps.iter().all(|step| *step == 33 * 90), "{steps:?}");
    playback.pause();
    playback.stop();
    playback.resume();
    let end = loop {
        match within("the end", playback.next_event()).await {
            Some(PlayEvent::Ended { end, .. }) => break end,
            Some(_) => {}
            None => panic!("no end was told"),
        }
    };
    assert!(matches!(end, PlayEnd::Stopped));
    assert!(playback.next_event().await.is_none());
}

#[tokio::test]
async fn what_cannot_be_played_is_said_before_anything_is_sent() {
    let (sender, receiver, [video, audio]) = within("descriptions", pair()).await;
    let film = || MediaFile::new(Cursor::new(film(Format::WebM))).unwrap();
    let refused = async |to: &[(usize, TransceiverId)]| film().play(&sender.handle(), to).await.unwrap_err();
    let error = refused(&[(0, audio)]).await;
    assert!(
        matches!(&error, MediaFileError::Codec { codec, .. } if codec == "VP8"),
        "{error}"
    );
    assert!(matches!(
        refused(&[(7, video)]).await,
        MediaFileError::NoTrack { track: 7 }
    ));
    let bad = MediaFile::new(Cursor::new(b"RIFF".to_vec())).unwrap_err();
    assert!(matches!(bad, MediaFileError::Read(_)));
    assert!(matches!(
        Recorder::create("film.txt"),
        Err(RecorderError::UnknownFormat)
    ));
    let mut recorder = Recorder::new(Memory::default(), Format::WebM);
    let _feed = recorder.feed(receiver.handle());
    assert!(matches!(recorder.finish().await, Err(RecorderError::Nothing)));
}

/// Records so many frames that come, and nothing else.
async fn record(receiver: &mut PeerConnection, feed: &antiphon::Feed, frames: usize) {
    let mut seen = 0;
    while seen < frames {
        let event = within("frames", receiver.next_event()).await.expect("the peer stays");
        seen += usize::from(matches!(event, Event::Frame { .. }));
        feed.handle_event(&event);
    }
}

fn rotation(target: &Memory) -> Rotation {
    let bytes = target.0.lock().unwrap().get_ref().clone();
    let reader = Reader::new(Cursor::new(bytes)).unwrap();
    let mut pictures = reader.tracks().iter().filter(|track| track.is_video());
    pictures.next().expect("a picture").rotation()
}

#[tokio::test]
async fn a_picture_that_is_turned_is_so_at_the_other_end_if_both_agreed_to_tell() {
    let recording = Arc::new(MediaCapabilities::recording());
    for (capabilities, played, recorded, arrives) in [
        (recording.clone(), Format::WebM, Format::Mp4, Rotation::Quarter),
        (recording.clone(), Format::Mp4, Format::WebM, Rotation::Quarter),
        (recording, Format::Mp4, Format::Ivf, Rotation::None),
        // The extension is in nobody's default.
        (
            MediaCapabilities::shared_default(),
            Format::WebM,
            Format::Mp4,
            Rotation::None,
        ),
    ] {
        let told = capabilities
            .video_extensions
            .iter()
            .any(|extension| extension.uri.ends_with("orientation"));
        let (sender, mut receiver, [video, _]) = within("descriptions", pair_of(capabilities)).await;
        let file = MediaFile::new(Cursor::new(film_of(played, Rotation::Quarter, |n| n))).unwrap();
        let target = Memory::default();
        let mut recorder = Recorder::new(target.clone(), recorded);
        let feed = recorder.feed(receiver.handle());
        let _playback = file.play(&sender.handle(), &[(0, video)]).await.unwrap();
        record(&mut receiver, &feed, PICTURES).await;
        let stats = within("the recording", recorder.finish()).await.unwrap();
        assert_eq!(rotation(&target), arrives, "{recorded}");
        // IVF has no place for it, and that is counted.
        let lost = if told && arrives == Rotation::None { PICTURES } else { 0 };
        assert_eq!(stats.turned, lost as u64, "{recorded}");
    }
}

#[tokio::test]
async fn a_picture_that_is_turned_later_is_recorded_and_counted() {
    let recording = Arc::new(MediaCapabilities::recording());
    let (sender, mut receiver, [video, _]) = within("descriptions", pair_of(recording)).await;
    let target = Memory::default();
    let mut recorder = Recorder::new(target.clone(), Format::WebM);
    let feed = recorder.feed(receiver.handle());
    let sender = sender.handle();
    let payload_type = within("the path", async {
        while sender.connection_state().await.unwrap().as_str() != "connected" {
            tokio::task::yield_now().await;
        }
        sender.payload_type(video, "VP8").await.unwrap().unwrap()
    });
    let payload_type = payload_type.await;
    // Upright, on its side from the third frame on, of which only the fourth says it again, and upright for the last.
    for (number, turns) in [Some(0), None, Some(1), Some(1), None, Some(0)].into_iter().enumerate() {
        let mut frame = Frame::new(
            payload_type,
            number as u32 * 3_000,
            bytes::Bytes::from(key(number as u8)),
        );
        frame.key_frame = true;
        frame.extensions.video_orientation = turns.map(|quarter_turns| VideoOrientation {
            quarter_turns,
            ..VideoOrientation::default()
        });
        sender.send_frame(video, frame).await.unwrap();
    }
    record(&mut receiver, &feed, 6).await;
    let stats = within("the recording", recorder.finish()).await.unwrap();
    assert_eq!((stats.written, stats.turned), (6, 3));
    assert_eq!(rotation(&target), Rotation::None);
}
