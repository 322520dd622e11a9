//! A file that one peer plays and another records: the same frames at the same distances.

use std::io::{Cursor, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};

use antiphon::container::{Codec, Format, Reader, Sample, Track, Writer};
use antiphon::{
    Api, Direction, Event, MediaFile, MediaFileError, MediaKind, PeerConnection, PlayEnd, PlayEvent, Recorder,
    RecorderError, RtcConfiguration, RtcRtpTransceiverInit, TransceiverId,
};

/// Keeps a broken run finite; nothing is measured with it.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

const PICTURES: usize = 15;
const PACKETS: usize = 25;

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(PATIENCE, future).await;
    result.unwrap_or_else(|_| panic!("{what}: nothing within {PATIENCE:?}"))
}

/// Half a second of pictures and sound.
fn film(format: Format) -> Vec<u8> {
    let key = |n: u8| vec![0x10, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1, n];
    let tracks = vec![Track::video(Codec::Vp8, 640, 360), Track::audio(Codec::Opus, 48_000, 2)];
    let mut samples = Vec::new();
    for n in 0..PICTURES {
        let data = if n == 0 {
            key(n as u8)
        } else {
            [vec![0x31, n as u8], vec![7; 3_000]].concat()
        };
        samples.push((n * 33, 0, n as i64 * 33 * 90, data));
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
    let api = Api::builder().loopback(true).build().unwrap();
    let mut sender = api.peer_connection(RtcConfiguration::default()).await.unwrap();
    let mut receiver = api.peer_connection(RtcConfiguration::default()).await.unwrap();
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
    for (played, recorded) in [(Format::WebM, Format::Mp4), (Format::Mp4, Format::WebM)] {
        let (sender, mut receiver, [video, audio]) = within("descriptions", pair()).await;
        let film = film(played);
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
