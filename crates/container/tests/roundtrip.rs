//! What is written is read the same, in every format and codec; what is cut is told; and no bytes make a reader panic.

use std::io::Cursor;

use antiphon_container::{
    Codec, Format, Media, ReadError, Reader, Rotation, Sample, Track, WriteError, Writer, rtpdump,
};
use bytes::Bytes;
use proptest::prelude::*;

/// Parameter sets of 640x360, as libopenh264 writes them.
const SPS: [u8; 13] = [
    0x67, 0x42, 0xc0, 0x1e, 0x8c, 0x8d, 0x40, 0x50, 0x17, 0xfc, 0xb0, 0x0f, 0x08,
];
const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];
/// Parameter sets of 1280x720, as x265 writes them.
const VPS_265: [u8; 24] = [
    0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03,
    0x00, 0x5d, 0x95, 0x98, 0x09,
];
const SPS_265: [u8; 30] = [
    0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x5d, 0xa0,
    0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93, 0x2b, 0xc0,
];
const PPS_265: [u8; 4] = [0x44, 0x01, 0xc1, 0x72];

fn units(units: &[&[u8]]) -> Vec<u8> {
    units
        .iter()
        .flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat())
        .collect()
}

/// A frame that the codec's own bits say to be a key frame or not.
fn frame(codec: &Codec, key: bool, filling: &[u8]) -> Bytes {
    let mut filling = filling.to_vec();
    filling.push(0x55);
    match codec {
        Codec::Vp8 if key => [&[0x10, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1][..], &filling].concat(),
        Codec::Vp8 => [&[0x11][..], &filling].concat(),
        // Profile 0, 640x360.
        Codec::Vp9 if key => [&[0x82, 0x49, 0x83, 0x42, 0, 0x27, 0xf0, 0x16, 0x70][..], &filling].concat(),
        Codec::Vp9 => [&[0x86][..], &filling].concat(),
        Codec::H264 if key => units(&[&SPS, &PPS, &[&[0x65, 0x88][..], &safe(&filling)].concat()]),
        Codec::H264 => units(&[&[&[0x41, 0x9a][..], &safe(&filling)].concat()]),
        Codec::H265 if key => {
            let slice = [&[0x26, 1, 0x80][..], &safe(&filling)].concat();
            units(&[&VPS_265, &SPS_265, &PPS_265, &slice])
        }
        Codec::H265 => units(&[&[&[0x02, 1, 0xd0][..], &safe(&filling)].concat()]),
        Codec::Av1 => {
            // A reduced still picture's sequence header of 640x360, then a frame.
            let sequence = [0x0a, 7, 0x18, 0x26, 0x67, 0xfd, 0x9c, 0x01, 0x00];
            let mut unit = if key { sequence.to_vec() } else { Vec::new() };
            unit.extend_from_slice(&[0x32, 1 + filling.len() as u8, if key { 0x10 } else { 0x30 }]);
            unit.extend_from_slice(&filling);
            unit
        }
        // 20 ms of CELT.
        Codec::Opus => [&[0xf8][..], &filling].concat(),
        _ => filling,
    }
    .into()
}

/// Without anything that looks like a start code.
fn safe(filling: &[u8]) -> Vec<u8> {
    filling.iter().map(|byte| byte | 1).collect()
}

/// A track that can be written in every format that holds its codec.
fn track(codec: Codec) -> Track {
    match codec {
        Codec::H264 | Codec::H265 => Track::of_key_frame(codec.clone(), &frame(&codec, true, &[])).unwrap(),
        Codec::Av1 => {
            let mut track = Track::video(Codec::Av1, 640, 360);
            track.configuration = vec![0x81, 0, 0, 0].into();
            track
        }
        codec if codec.is_video() => Track::video(codec, 640, 360),
        Codec::L16 => Track::audio(Codec::L16, 44_100, 1),
        codec => Track::audio(codec, 8_000, 2),
    }
}

/// Samples of a track, each 20 ms after the one before it but for gaps.
fn samples(index: usize, track: &Track, steps: &[(u8, bool, Vec<u8>)]) -> Vec<Sample> {
    let tick = i64::from(track.clock_rate) / 50;
    let mut time = 0;
    let mut samples = Vec::new();
    for (n, (gap, key, filling)) in steps.iter().enumerate() {
        let key_frame = n == 0 || *key || !track.is_video();
        samples.push(Sample {
            track: index,
            time,
            duration: None,
            key_frame,
            data: frame(&track.codec, key_frame, filling),
        });
        time += tick * (1 + i64::from(gap % 4 / 3) * i64::from(*gap));
    }
    samples
}

fn write(format: Format, tracks: &[Track], samples: &[Sample]) -> Vec<u8> {
    let mut writer = Writer::new(Cursor::new(Vec::new()), format, tracks.to_vec()).unwrap();
    for sample in samples {
        writer.write(sample).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Tracks, samples, and what ended them.
type Everything = (Vec<Track>, Vec<Sample>, Option<ReadError>);

/// Everything that a file gives, up to its end or its error.
fn read(file: &[u8]) -> Result<Everything, ReadError> {
    let mut reader = Reader::new(Cursor::new(file))?;
    let tracks = reader.tracks().to_vec();
    let mut samples = Vec::new();
    loop {
        match reader.next_sample() {
            Ok(Some(sample)) => samples.push(sample),
            Ok(None) => break Ok((tracks, samples, None)),
            Err(error) => break Ok((tracks, samples, Some(error))),
        }
    }
}

/// What of a sample every format keeps.
fn kept(samples: &[Sample], track: usize) -> Vec<(i64, bool, Bytes)> {
    let own = samples.iter().filter(|sample| sample.track == track);
    own.map(|sample| (sample.time, sample.key_frame, sample.data.clone()))
        .collect()
}

const CODECS: [Codec; 10] = [
    Codec::Vp8,
    Codec::Vp9,
    Codec::Av1,
    Codec::H264,
    Codec::H265,
    Codec::Opus,
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::L16,
];
const FORMATS: [Format; 7] = [
    Format::WebM,
    Format::Mp4,
    Format::Ogg,
    Format::Ivf,
    Format::H264,
    Format::H265,
    Format::Obu,
];

fn steps() -> impl Strategy<Value = Vec<(u8, bool, Vec<u8>)>> {
    let filling = prop::collection::vec(any::<u8>(), 0..60);
    prop::collection::vec((any::<u8>(), prop::bool::weighted(0.1), filling), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_codec_comes_back_from_every_format_that_holds_it(steps in steps(), cut in any::<prop::sample::Index>()) {
        for format in FORMATS {
            for codec in CODECS.into_iter().filter(|codec| format.holds(codec)) {
                let track = track(codec);
                // Byte streams and OBUs have no times, and Ogg fills gaps.
                let has_times = matches!(format, Format::WebM | Format::Mp4 | Format::Ivf);
                let steps: Vec<_> = match has_times {
                    true => steps.clone(),
                    false => steps.iter().map(|(_, key, filling)| (0, *key, filling.clone())).collect(),
                };
                let written = samples(0, &track, &steps);
                let file = write(format, std::slice::from_ref(&track), &written);
                prop_assert_eq!(Format::of_bytes(&file), Some(format));
                let (tracks, read, error) = read(&file).unwrap();
                prop_assert!(error.is_none(), "{:?}", error);
                let codec = &track.codec;
                prop_assert_eq!((&tracks[0].codec, tracks[0].clock_rate), (codec, track.clock_rate));
                if has_times {
                    prop_assert_eq!(tracks[0].media, track.media, "{} in {}", codec, format);
                    prop_assert_eq!(kept(&read, 0), kept(&written, 0), "{} in {}", codec, format);
                } else {
                    let data = |samples: &[Sample]| -> Vec<_> { kept(samples, 0).into_iter().map(|kept| (kept.1, kept.2)).collect() };
                    prop_assert_eq!(data(&read), data(&written), "{} in {}", codec, format);
                }
                // Of a file that is cut everything before the cut comes, and then the truth.
                let at = cut.index(file.len());
                if let Ok((_, part, error)) = self::read(&file[..at]) {
                    let whole = kept(&read, 0);
                    let part = kept(&part, 0);
                    let least = match codec {
                        // The cut may fall into a unit, which then ends there.
                        Codec::H264 | Codec::H265 | Codec::Av1 if !has_times => part.len().saturating_sub(1),
                        _ => part.len(),
                    };
                    prop_assert_eq!(&part[..least], &whole[..least], "{} in {}", codec, format);
                    if let Some(offset) = error.and_then(|error| error.offset()) {
                        prop_assert!(offset <= at as u64);
                    }
                }
            }
        }
    }

    #[test]
    fn sound_and_pictures_stay_in_step(
        video in steps(), sound in steps(), turns in 0u8..4, skip in 0u16..4_000, late in 0i64..3_000, codec in 0usize..5,
    ) {
        let mut first = track(CODECS[codec].clone());
        if let Media::Video { rotation, .. } = &mut first.media {
            *rotation = Rotation::of_quarter_turns(turns);
        }
        let mut second = track(Codec::Opus);
        let mut head = b"OpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0".to_vec();
        // Whole milliseconds, which WebM can tell.
        let skip = skip / 48 * 48;
        head[10..12].copy_from_slice(&skip.to_le_bytes());
        second.configuration = head.into();
        let tracks = [first, second];
        let mut all = samples(0, &tracks[0], &video);
        all.iter_mut().for_each(|sample| sample.time += late * 90);
        let mut heard = samples(1, &tracks[1], &sound);
        heard.iter_mut().for_each(|sample| sample.time -= i64::from(skip));
        all.extend(heard);
        all.sort_by_key(|sample| sample.time * 720_000 / i64::from(tracks[sample.track].clock_rate));
        for format in [Format::WebM, Format::Mp4] {
            let file = write(format, &tracks, &all);
            let (read_tracks, read, error) = read(&file).unwrap();
            prop_assert!(error.is_none());
            prop_assert_eq!(&read_tracks[1], &tracks[1]);
            prop_assert_eq!(read_tracks[0].media, tracks[0].media);
            for track in 0..2 {
                prop_assert_eq!(kept(&read, track), kept(&all, track), "{}", format);
            }
            // The second time as the first.
            let mut reader = Reader::new(Cursor::new(&file)).unwrap();
            for _ in 0..2 {
                let again: Vec<_> = std::iter::from_fn(|| reader.next_sample().unwrap()).collect();
                prop_assert_eq!(&again, &read);
                reader.rewind().unwrap();
            }
        }
    }

    #[test]
    fn pictures_that_are_shown_in_another_order_keep_it(keys in prop::collection::vec(any::<bool>(), 4..60)) {
        let track = track(Codec::H264);
        let mut written = samples(0, &track, &keys.iter().map(|_| (0, false, vec![1])).collect::<Vec<_>>());
        // Every fourth is decoded before the three that are shown before it.
        for group in written[1..].chunks_exact_mut(4) {
            let times = [group[3].time, group[0].time, group[1].time, group[2].time];
            group.iter_mut().zip(times).for_each(|(sample, time)| sample.time = time);
        }
        for format in [Format::WebM, Format::Mp4] {
            let (_, read, error) = read(&write(format, std::slice::from_ref(&track), &written)).unwrap();
            prop_assert!(error.is_none());
            prop_assert_eq!(kept(&read, 0), kept(&written, 0), "{}", format);
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(
        format in 0..FORMATS.len(), steps in steps(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
    ) {
        let format = FORMATS[format];
        let codec = CODECS.into_iter().find(|codec| format.holds(codec)).unwrap();
        let track = track(codec);
        let mut file = write(format, std::slice::from_ref(&track), &samples(0, &track, &steps));
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok((_, samples, _)) = read(&file) {
            let bytes: usize = samples.iter().map(|sample| sample.data.len()).sum();
            prop_assert!(bytes <= 4 * file.len() + 1_000 * samples.len());
        }
    }

    /// V20: containers have fallen over what a peer sent. Here any bytes at any times are written, or left out with an error, and the
    /// file is whole.
    #[test]
    fn v20_mend21_any_frames_and_times_are_written_or_left_out(
        frames in prop::collection::vec((any::<i64>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 0..50),
    ) {
        for format in FORMATS {
            for codec in CODECS.into_iter().filter(|codec| format.holds(codec)) {
                let track = track(codec);
                let mut writer = Writer::new(Cursor::new(Vec::new()), format, vec![track.clone()]).unwrap();
                for (time, key_frame, data) in &frames {
                    let (time, key_frame, data) = (*time, *key_frame, data.clone().into());
                    let result = writer.write(&Sample { track: 0, time, duration: None, key_frame, data });
                    let refused = matches!(result, Err(WriteError::Sample { .. }));
                    prop_assert!(result.is_ok() || refused && matches!(track.codec, Codec::Opus | Codec::Av1));
                }
                let file = writer.finish().unwrap().into_inner();
                if let Ok((tracks, ..)) = read(&file) {
                    prop_assert_eq!(&tracks[0].codec, &track.codec);
                }
            }
        }
    }

    #[test]
    fn noise_behind_a_beginning_is_no_file(start in 0..FORMATS.len() + 1, noise in prop::collection::vec(any::<u8>(), 0..600)) {
        let starts: [&[u8]; 8] = [
            &[0x1a, 0x45, 0xdf, 0xa3],
            b"\0\0\0\x08ftyp\0\0\x01\0moov",
            b"OggS\0\x02",
            b"DKIF\0\0\x20\0VP80",
            &[0, 0, 0, 1, 0x67],
            &[0, 0, 0, 1, 0x40, 1],
            &[0x12, 0],
            b"",
        ];
        let _ = read(&[starts[start], &noise].concat());
    }

    #[test]
    fn dumped_packets_come_back(
        packets in prop::collection::vec((any::<u32>(), any::<bool>(), prop::collection::vec(any::<u8>(), 1..200), 0usize..50), 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let start = std::time::Duration::new(1_800_000_000, 5_000);
        let source = "10.1.2.3:4567".parse().unwrap();
        let mut writer = rtpdump::Writer::new(Vec::new(), start, source).unwrap();
        let packets: Vec<_> = packets
            .into_iter()
            .map(|(ms, is_rtcp, data, more)| rtpdump::Dumped {
                offset: std::time::Duration::from_millis(ms.into()),
                is_rtcp,
                length: data.len() + if is_rtcp { 0 } else { more },
                data: data.into(),
            })
            .collect();
        for packet in &packets {
            writer.write(packet).unwrap();
        }
        let file = writer.finish().unwrap();
        let mut reader = rtpdump::Reader::new(Cursor::new(&file)).unwrap();
        prop_assert_eq!((reader.start(), reader.source()), (start, source));
        let read: Vec<_> = std::iter::from_fn(|| reader.next_packet().unwrap()).collect();
        prop_assert_eq!(&read, &packets);
        if let Ok(mut reader) = rtpdump::Reader::new(Cursor::new(&file[..cut.index(file.len())])) {
            let read: Vec<_> = std::iter::from_fn(|| reader.next_packet().ok().flatten()).collect();
            prop_assert_eq!(&read[..], &packets[..read.len()]);
        }
    }
}

#[test]
fn what_cannot_be_written_is_refused_before_anything_is() {
    let refused = |format, tracks: Vec<Track>| Writer::new(Cursor::new(Vec::new()), format, tracks).unwrap_err();
    assert!(matches!(
        refused(Format::Ogg, vec![track(Codec::Vp8)]),
        WriteError::Codec { .. }
    ));
    assert!(matches!(
        refused(Format::Mp4, vec![track(Codec::G722)]),
        WriteError::Codec { .. }
    ));
    assert!(matches!(
        refused(Format::Ivf, vec![track(Codec::Vp8); 2]),
        WriteError::TrackCount { most: 1, .. }
    ));
    assert!(matches!(
        refused(Format::WebM, Vec::new()),
        WriteError::TrackCount { .. }
    ));
    let bare = Track::video(Codec::H264, 640, 360);
    assert!(matches!(
        refused(Format::Mp4, vec![bare]),
        WriteError::NoConfiguration { .. }
    ));
    let mut writer = Writer::new(Cursor::new(Vec::new()), Format::WebM, vec![track(Codec::Vp8)]).unwrap();
    let mut sample = samples(0, &track(Codec::Vp8), &[(0, true, vec![])]).remove(0);
    sample.track = 1;
    assert!(matches!(writer.write(&sample), Err(WriteError::NoTrack { track: 1 })));
}

#[test]
fn a_bad_file_tells_where_it_is_bad() {
    let file = write(
        Format::Ivf,
        &[track(Codec::Vp8)],
        &samples(0, &track(Codec::Vp8), &[(0, true, vec![]), (0, true, vec![])]),
    );
    let (_, samples, error) = read(&file[..file.len() - 1]).unwrap();
    assert_eq!(samples.len(), 1);
    let error = error.unwrap();
    assert!(matches!(error, ReadError::Truncated { .. }));
    // The header, the first frame and its header, the second one's header.
    assert_eq!(error.offset(), Some(32 + (12 + 11) + 12));
    assert!(matches!(read(b"RIFF....").unwrap_err(), ReadError::UnknownFormat));
}

/// V20: a rate of nought in the header of an IVF file has made a reader divide by it. Here each number of each header may be nought, or as
/// large as it can be.
#[test]
fn v20_no_number_of_a_header_makes_a_reader_fall_over() {
    /// Bytes that are tried of each file: headers, tables, and the first samples.
    const TRIED: usize = 1500;
    for format in FORMATS {
        for codec in CODECS.into_iter().filter(|codec| format.holds(codec)) {
            let track = track(codec);
            let steps = [(0, true, vec![7; 20]), (0, false, vec![8; 30])];
            let file = write(format, std::slice::from_ref(&track), &samples(0, &track, &steps));
            for at in 0..file.len().min(TRIED) {
                for (len, with) in [(1, 0), (2, 0), (4, 0), (8, 0), (1, 0xff), (4, 0xff), (8, 0xff)] {
                    let mut bad = file.clone();
                    let end = bad.len().min(at + len);
                    bad[at..end].fill(with);
                    let _ = read(&bad);
                }
            }
        }
    }
    let vp8 = track(Codec::Vp8);
    let file = write(
        Format::Ivf,
        std::slice::from_ref(&vp8),
        &samples(0, &vp8, &[(0, true, vec![])]),
    );
    for number in [16..20, 20..24] {
        let mut bad = file.clone();
        bad[number.clone()].fill(0);
        let error = read(&bad).unwrap_err();
        assert!(matches!(error, ReadError::Malformed { .. }), "{number:?}: {error}");
    }
}

/// The parameter sets of a key frame come from the configuration where the file keeps them there alone.
#[test]
fn key_frames_gain_the_parameter_sets_that_they_lack() {
    let track = track(Codec::H264);
    let bare = Sample {
        track: 0,
        time: 0,
        duration: None,
        key_frame: true,
        data: units(&[&[9, 0xf0], &[0x65, 0x88, 0x81]]).into(),
    };
    for format in [Format::WebM, Format::Mp4] {
        let (_, read, _) = read(&write(
            format,
            std::slice::from_ref(&track),
            std::slice::from_ref(&bare),
        ))
        .unwrap();
        assert_eq!(
            read[0].data,
            units(&[&[9, 0xf0], &SPS, &PPS, &[0x65, 0x88, 0x81]]),
            "{format}"
        );
    }
}
