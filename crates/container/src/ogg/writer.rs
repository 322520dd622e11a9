//! Opus packets become pages of Ogg.

use std::io::{Seek, Write};

use antiphon_rtp::payload::opus::MAX_SAMPLES;
use bytes::Bytes;
use ogg::writing::{PacketWriteEndInfo, PacketWriter};

use crate::codec::opus;
use crate::error::WriteError;
use crate::track::{Media, Sample, Track};

/// Packets on one page: a second of audio in packets of 20 ms.
const PAGE_PACKETS: u32 = 50;
/// A longer gap, in samples at 48 kHz, is no loss but another beginning: 10 seconds.
const MAX_GAP: i64 = 480_000;
/// A packet that is later than this, in samples at 48 kHz, is not late: its source's clock was set back. One second.
const MAX_LATE: i64 = 48_000;
/// Names the one stream of the file; any number will do.
const SERIAL: u32 = 1;

/// Writes Opus packets by their times. Where packets were lost the decoder is asked to conceal them, so that sound stays in step with
/// pictures in another file.
pub(crate) struct Writer<W: Write> {
    out: PacketWriter<'static, W>,
    /// One packet waits, because the last one of the file is marked.
    waiting: Option<Bytes>,
    /// The samples of all packets written, those that wait included: never more (RFC 7845 §4.1).
    granule: u64,
    /// The time at which the samples written so far end, and the first byte of the last packet.
    next: Option<(i64, u8)>,
    /// On the page that is being filled.
    on_page: u32,
}

impl<W: Write> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("granule", &self.granule)
            .finish_non_exhaustive()
    }
}

impl<W: Write + Seek> Writer<W> {
    /// Writes both headers.
    pub(crate) fn new(out: W, track: &Track) -> Result<Self, WriteError> {
        let mut out = PacketWriter::new(out);
        let channels = match track.media {
            Media::Audio { channels } => channels,
            Media::Video { .. } => 2,
        };
        let head = match opus::is_head(&track.configuration) {
            true => track.configuration.to_vec(),
            false => opus::head(channels),
        };
        out.write_packet(head, SERIAL, PacketWriteEndInfo::EndPage, 0)?;
        // RFC 7845 §5.2: the vendor's name, and no comments.
        let vendor = b"antiphon";
        let mut tags = b"OpusTags".to_vec();
        tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
        tags.extend_from_slice(vendor);
        tags.extend_from_slice(&0u32.to_le_bytes());
        out.write_packet(tags, SERIAL, PacketWriteEndInfo::EndPage, 0)?;
        Ok(Self {
            out,
            waiting: None,
            granule: 0,
            next: None,
            on_page: 0,
        })
    }

    /// Adds a packet. A gap of up to ten seconds before it is filled with requests to conceal the loss. A packet that comes after its
    /// time, up to a second, is left out: its place is filled already.
    pub(crate) fn write(&mut self, sample: &Sample) -> Result<(), WriteError> {
        let duration = opus::duration(&sample.data);
        let Some(&toc) = sample.data.first().filter(|_| duration > 0) else {
            return Err(WriteError::Sample { codec: "opus".into() });
        };
        let mut begin = sample.time;
        if let Some((next, before)) = self.next {
            let gap = sample.time.saturating_sub(next);
            if (-MAX_LATE..=-i64::from(duration)).contains(&gap) {
                return Ok(());
            }
            if (-MAX_LATE..=MAX_GAP).contains(&gap) {
                // What is shorter than a frame is made up for when it has become one.
                begin = next.saturating_add(self.conceal(gap, before)?.into());
            }
        }
        self.put(sample.data.clone(), duration)?;
        self.next = Some((begin.saturating_add(duration.into()), toc));
        Ok(())
    }

    /// RFC 7845 §4.1: packets without audio, which tell the decoder to conceal what is missing, in the mode of the packet before and
    /// in frames of its length. Returns how many samples they make.
    fn conceal(&mut self, gap: i64, toc: u8) -> Result<u32, WriteError> {
        // RFC 6716 §3.2.5: code 3, frames of one size, which is zero.
        let toc = toc | 3;
        let (frame, gap) = (opus::duration(&[toc, 1]), gap.clamp(0, MAX_GAP) as u32);
        let mut filled = 0;
        while frame > 0 && gap - filled >= frame {
            let count = ((gap - filled) / frame).min(MAX_SAMPLES / frame);
            self.put(Bytes::from(vec![toc, count as u8]), count * frame)?;
            filled += count * frame;
        }
        Ok(filled)
    }

    fn put(&mut self, packet: Bytes, duration: u32) -> Result<(), WriteError> {
        self.flush(PacketWriteEndInfo::NormalPacket)?;
        self.granule += u64::from(duration);
        self.waiting = Some(packet);
        self.on_page += 1;
        Ok(())
    }

    /// Ends the stream and gives the writer back.
    pub(crate) fn finish(mut self) -> Result<W, WriteError> {
        self.flush(PacketWriteEndInfo::EndStream)?;
        let mut out = self.out.into_inner();
        out.flush()?;
        Ok(out)
    }

    fn flush(&mut self, end: PacketWriteEndInfo) -> Result<(), WriteError> {
        let Some(packet) = self.waiting.take() else {
            return Ok(());
        };
        let end = match end {
            PacketWriteEndInfo::NormalPacket if self.on_page == PAGE_PACKETS => {
                self.on_page = 0;
                PacketWriteEndInfo::EndPage
            }
            end => end,
        };
        Ok(self.out.write_packet(packet.to_vec(), SERIAL, end, self.granule)?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ogg::PacketReader;

    use super::*;
    use crate::track::Codec;

    /// Writes packets (time, bytes) and gives back what stands in the file: packets, and the samples that each page holds.
    fn pages(packets: impl IntoIterator<Item = (i64, Vec<u8>)>) -> (Vec<Vec<u8>>, Vec<u64>) {
        let track = Track::audio(Codec::Opus, 48_000, 2);
        let mut writer = Writer::new(Cursor::new(Vec::new()), &track).unwrap();
        for (time, data) in packets {
            let sample = Sample {
                track: 0,
                time,
                duration: None,
                key_frame: true,
                data: data.into(),
            };
            let known = opus::duration(&sample.data) > 0;
            assert_eq!(writer.write(&sample).is_ok(), known);
        }
        let mut file = writer.finish().unwrap();
        file.set_position(0);
        let mut reader = PacketReader::new(file);
        assert!(reader.read_packet().unwrap().unwrap().data.starts_with(b"OpusHead"));
        assert!(reader.read_packet().unwrap().unwrap().data.starts_with(b"OpusTags"));
        let (mut samples, mut positions, mut read) = (0, Vec::new(), Vec::new());
        while let Some(packet) = reader.read_packet().unwrap() {
            samples += u64::from(opus::duration(&packet.data));
            if packet.last_in_page() {
                assert_eq!(
                    packet.absgp_page(),
                    samples,
                    "a page says what its packets hold, no more"
                );
                positions.push(samples);
            }
            read.push(packet.data);
        }
        (read, positions)
    }

    #[test]
    fn a_lost_packet_is_concealed() {
        let packets = (0..120i64).filter(|n| *n != 100);
        let (read, positions) = pages(packets.map(|n| (n * 960, vec![31 << 3, n as u8])));
        assert_eq!(read.len(), 120, "one of them to conceal the loss");
        assert_eq!(read[5], [31 << 3, 5]);
        assert_eq!(read[100], [(31 << 3) | 3, 1]);
        assert_eq!(positions.last(), Some(&(120 * 960)));
    }

    #[test]
    fn mend14_granule_positions_count_what_is_there_and_gaps_are_concealed() {
        let pages = |packets: &mut dyn Iterator<Item = (i64, Vec<u8>)>| pages(packets).1;
        let short = |time: i64| (time, vec![0x08, 1]);
        // A second, two seconds lost, and another second: 100 frames are concealed in 17 packets of up to 120 ms.
        let lost = (0..50).map(|n| n * 960).chain((0..50).map(|n| 144_000 + n * 960));
        assert_eq!(
            pages(&mut lost.map(short)),
            [48_000, 48_000 + 96_000 + 33 * 960, 4 * 48_000]
        );
        // One packet of 60 ms, then 99 of 20 ms.
        let long = std::iter::once((0, vec![0x18, 1])).chain((0..99).map(|n| short(2_880 + n * 960)));
        assert_eq!(pages(&mut { long }), [2_880 + 49 * 960, 2_880 + 99 * 960]);
        // Half a frame missing is not concealed; two halves are a frame.
        let times = |times: &[i64]| pages(&mut times.iter().copied().map(short));
        assert_eq!(times(&[0, 960 + 480, 2 * 960 + 480]), [3 * 960]);
        assert_eq!(times(&[0, 960 + 480, 3 * 960]), [4 * 960]);
        // A late packet is left out, a duplicate too; a clock that was set back or forward begins anew.
        assert_eq!(times(&[9600, 11_520, 10_560, 11_520]), [3 * 960]);
        assert_eq!(times(&[900_000, 0, 960, 4_000_000_000]), [4 * 960]);
    }

    proptest::proptest! {
        #[test]
        fn mend14_whatever_the_times_pages_hold_what_they_say(
            steps in proptest::collection::vec((proptest::prelude::any::<i64>(), 0u8..=255, 0u8..60), 0..40),
        ) {
            pages(steps.into_iter().map(|(time, toc, count)| (time % 2_000_000, vec![toc, count])));
        }
    }
}
