//! A file of any format, written.

use std::io::{Seek, Write};

use crate::error::WriteError;
use crate::format::Format;
use crate::track::{Codec, Sample, Track};
use crate::{MAX_SAMPLE_BYTES, annex_b, ivf, mp4, obu, ogg, webm};

/// Writes tracks and samples to a file of any format.
///
/// A file that was not [finished](Self::finish) can be played nevertheless: WebM up to the last sample, MP4 up to the last whole
/// second or so, Ogg up to the last page, the others up to the last sample.
#[derive(Debug)]
pub struct Writer<W: Write + Seek> {
    kind: Kind<W>,
    tracks: Vec<Track>,
}

#[derive(Debug)]
enum Kind<W: Write + Seek> {
    Ivf(ivf::Writer<W>),
    Ogg(ogg::Writer<W>),
    WebM(webm::Writer<W>),
    Mp4(mp4::Writer<W>),
    AnnexB(annex_b::Writer<W>),
    Obu(obu::Writer<W>),
}

impl<W: Write + Seek> Writer<W> {
    /// Begins a file of `format` with these tracks in `out`, which is empty and stands at its beginning. H.264, H.265 and AV1 need
    /// their configuration in WebM and MP4 ([`Track::of_key_frame`]).
    ///
    /// # Errors
    /// [`WriteError`], if the format cannot hold these tracks or `out` does not take the header.
    pub fn new(out: W, format: Format, tracks: Vec<Track>) -> Result<Self, WriteError> {
        let most = format.max_tracks();
        if tracks.is_empty() || tracks.len() > most {
            let format = format.name();
            return Err(WriteError::TrackCount { format, most });
        }
        for track in &tracks {
            if !format.holds(&track.codec) || track.clock_rate == 0 {
                return Err(WriteError::Codec {
                    format: format.name(),
                    codec: track.codec.to_string(),
                });
            }
            let needs = matches!(track.codec, Codec::H264 | Codec::H265 | Codec::Av1);
            if needs && most > 1 && track.configuration.is_empty() {
                let codec = track.codec.to_string();
                return Err(WriteError::NoConfiguration { codec });
            }
            if track.configuration.len() > crate::MAX_CONFIGURATION_BYTES {
                return Err(WriteError::TooLarge {
                    what: "a track's configuration",
                    limit: crate::MAX_CONFIGURATION_BYTES as u64,
                });
            }
        }
        let kind = match format {
            Format::Ivf => Kind::Ivf(ivf::Writer::new(out, &tracks[0])?),
            Format::Ogg => Kind::Ogg(ogg::Writer::new(out, &tracks[0])?),
            Format::WebM => Kind::WebM(webm::Writer::new(out, &tracks)?),
            Format::Mp4 => Kind::Mp4(mp4::Writer::new(out, &tracks)?),
            Format::H264 | Format::H265 => Kind::AnnexB(annex_b::Writer::new(out)),
            Format::Obu => Kind::Obu(obu::Writer::new(out)),
        };
        Ok(Self { kind, tracks })
    }

    /// The tracks that were given.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Adds a sample. Those of one track come in the order of decoding, those of several about in that of their times.
    ///
    /// # Errors
    /// [`WriteError::NoTrack`], [`WriteError::TooLarge`] and [`WriteError::Sample`] are about this sample: the file is as it was
    /// before. After [`WriteError::Io`] the file is as far as it came.
    pub fn write(&mut self, sample: &Sample) -> Result<(), WriteError> {
        let Some(track) = self.tracks.get(sample.track) else {
            return Err(WriteError::NoTrack { track: sample.track });
        };
        if sample.data.len() > MAX_SAMPLE_BYTES {
            return Err(WriteError::TooLarge {
                what: "a sample",
                limit: MAX_SAMPLE_BYTES as u64,
            });
        }
        match &mut self.kind {
            Kind::Ivf(writer) => writer.write(track, sample),
            Kind::Ogg(writer) => writer.write(sample),
            Kind::WebM(writer) => writer.write(track, sample),
            Kind::Mp4(writer) => writer.write(track, sample),
            Kind::AnnexB(writer) => writer.write(sample),
            Kind::Obu(writer) => writer.write(track, sample),
        }
    }

    /// Ends the file (lengths, places to jump to) and gives it back.
    ///
    /// # Errors
    /// [`WriteError::Io`] if `out` does not take the rest.
    pub fn finish(self) -> Result<W, WriteError> {
        match self.kind {
            Kind::Ivf(writer) => writer.finish(),
            Kind::Ogg(writer) => writer.finish(),
            Kind::WebM(writer) => writer.finish(),
            Kind::Mp4(writer) => writer.finish(&self.tracks),
            Kind::AnnexB(writer) => writer.finish(),
            Kind::Obu(writer) => writer.finish(),
        }
    }
}
