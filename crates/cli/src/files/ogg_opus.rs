//! Ogg encapsulation of Opus (RFC 7845).

use std::io::{self, Write};

use bytes::Bytes;
use ogg::writing::{PacketWriteEndInfo, PacketWriter};

/// Packets on one page: a second of audio in packets of 20 ms.
const PAGE_PACKETS: u32 = 50;
/// The longest packet, in samples at 48 kHz: 120 ms (RFC 6716 §3.4, R5).
const MAX_DURATION: u32 = 5_760;
/// A longer gap, in samples at 48 kHz, is no loss but another beginning: 10 seconds.
const MAX_GAP: i32 = 480_000;
/// A packet that is later than this, in samples at 48 kHz, is not late: its source's clock was set back. One second.
const MAX_LATE: i32 = 48_000;

/// Writes Opus packets as they come from RTP. Where packets were lost the decoder is asked to conceal them, so audio and video
/// stay together.
pub struct OggOpusWriter<W: Write> {
    out: PacketWriter<'static, W>,
    serial: u32,
    /// One packet waits, because the last one of the file is marked.
    waiting: Option<Bytes>,
    /// The samples of all packets written, those that wait included: never more (RFC 7845 §4.1).
    granule: u64,
    /// The RTP timestamp at which the samples written so far end, and the first byte of the last packet.
    next: Option<(u32, u8)>,
    /// On the page that is being filled.
    on_page: u32,
    packets: u32,
}

impl<W: Write> std::fmt::Debug for OggOpusWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OggOpusWriter")
            .field("granule", &self.granule)
            .field("packets", &self.packets)
            .finish_non_exhaustive()
    }
}

impl<W: Write> OggOpusWriter<W> {
    /// Writes both headers. `serial` names the stream within the file; any number will do.
    ///
    /// # Errors
    /// What the writer says.
    pub fn new(out: W, serial: u32, channels: u8) -> io::Result<Self> {
        let mut out = PacketWriter::new(out);
        // RFC 7845 §5.1: version 1, channels, pre-skip, input rate, output gain, mapping family 0.
        let mut head = b"OpusHead\x01".to_vec();
        head.push(channels);
        head.extend_from_slice(&0u16.to_le_bytes());
        head.extend_from_slice(&48_000u32.to_le_bytes());
        head.extend_from_slice(&[0, 0, 0]);
        out.write_packet(head, serial, PacketWriteEndInfo::EndPage, 0)?;
        // RFC 7845 §5.2: the vendor's name, and no comments.
        let vendor = b"antiphon";
        let mut tags = b"OpusTags".to_vec();
        tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
        tags.extend_from_slice(vendor);
        tags.extend_from_slice(&0u32.to_le_bytes());
        out.write_packet(tags, serial, PacketWriteEndInfo::EndPage, 0)?;
        Ok(Self {
            out,
            serial,
            waiting: None,
            granule: 0,
            next: None,
            on_page: 0,
            packets: 0,
        })
    }

    /// Adds a packet with its RTP timestamp (48 kHz, RFC 7587 §4.1). A gap of up to ten seconds before it is filled with requests to
    /// conceal the loss. A packet that comes after its time, up to a second, is left out: its place is filled already.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_packet(&mut self, timestamp: u32, packet: Bytes) -> io::Result<()> {
        let duration = duration(&packet);
        let Some(&toc) = packet.first().filter(|_| duration > 0) else {
            return Ok(());
        };
        let mut begin = timestamp;
        if let Some((next, before)) = self.next {
            let gap = timestamp.wrapping_sub(next) as i32;
            if (-MAX_LATE..=-(duration as i32)).contains(&gap) {
                return Ok(());
            }
            if (-MAX_LATE..=MAX_GAP).contains(&gap) {
                // What is shorter than a frame is made up for when it has become one.
                begin = next.wrapping_add(self.conceal(gap, before)?);
            }
        }
        self.put(packet, duration)?;
        self.next = Some((begin.wrapping_add(duration), toc));
        self.packets += 1;
        Ok(())
    }

    /// RFC 7845 §4.1: packets without audio, which tell the decoder to conceal what is missing, in the mode of the packet before and
    /// in frames of its length. Returns how many samples they make.
    fn conceal(&mut self, gap: i32, toc: u8) -> io::Result<u32> {
        // RFC 6716 §3.2.5: code 3, frames of one size, which is zero.
        let toc = toc | 3;
        let (frame, gap) = (duration(&[toc, 1]), gap.max(0) as u32);
        let mut filled = 0;
        while frame > 0 && gap - filled >= frame {
            let count = ((gap - filled) / frame).min(MAX_DURATION / frame);
            self.put(Bytes::from(vec![toc, count as u8]), count * frame)?;
            filled += count * frame;
        }
        Ok(filled)
    }

    fn put(&mut self, packet: Bytes, duration: u32) -> io::Result<()> {
        self.flush(PacketWriteEndInfo::NormalPacket)?;
        self.granule += u64::from(duration);
        self.waiting = Some(packet);
        self.on_page += 1;
        Ok(())
    }

    /// Packets taken.
    pub fn packets(&self) -> u32 {
        self.packets
    }

    /// Ends the stream and gives the writer back.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush(PacketWriteEndInfo::EndStream)?;
        let mut out = self.out.into_inner();
        out.flush()?;
        Ok(out)
    }

    fn flush(&mut self, end: PacketWriteEndInfo) -> io::Result<()> {
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
        self.out.write_packet(packet.to_vec(), self.serial, end, self.granule)
    }
}

/// How long an Opus packet plays, in samples at 48 kHz; zero if it is not one (RFC 6716 §3.1, §3.2).
fn duration(packet: &[u8]) -> u32 {
    let Some(&toc) = packet.first() else { return 0 };
    let config = u32::from(toc >> 3);
    let frame = match config {
        0..=11 => [480, 960, 1920, 2880][config as usize % 4],
        12..=15 => [480, 960][config as usize % 2],
        _ => [120, 240, 480, 960][config as usize % 4],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1).map_or(0, |count| u32::from(count & 0x3f)),
    };
    // RFC 6716 §3.4 (R5): at most 120 ms.
    if frame * frames <= MAX_DURATION {
        frame * frames
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ogg::PacketReader;

    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration(&[]), 0);
        assert_eq!(duration(&[31 << 3]), 960, "CELT full band, 20 ms");
        assert_eq!(duration(&[(31 << 3) | 1]), 1920);
        assert_eq!(duration(&[3 << 3]), 2880, "SILK, 60 ms");
        assert_eq!(duration(&[(31 << 3) | 3, 6]), 5_760);
        assert_eq!(duration(&[(31 << 3) | 3, 7]), 0, "longer than 120 ms");
        assert_eq!(duration(&[(31 << 3) | 3]), 0);
    }

    #[test]
    fn the_file_reads_back() {
        let mut writer = OggOpusWriter::new(Vec::new(), 7, 2).unwrap();
        for n in 0..120u32 {
            // Packet 100 was lost.
            if n != 100 {
                let timestamp = (u32::MAX - 5_000).wrapping_add(n * 960);
                writer
                    .write_packet(timestamp, Bytes::from(vec![31 << 3, n as u8]))
                    .unwrap();
            }
        }
        writer.write_packet(0, Bytes::new()).unwrap();
        assert_eq!(writer.packets(), 119);
        let file = writer.finish().unwrap();
        let mut reader = PacketReader::new(Cursor::new(file));
        assert!(reader.read_packet().unwrap().unwrap().data.starts_with(b"OpusHead"));
        assert!(reader.read_packet().unwrap().unwrap().data.starts_with(b"OpusTags"));
        let mut packets = Vec::new();
        while let Some(packet) = reader.read_packet().unwrap() {
            packets.push(packet);
        }
        assert_eq!(packets.len(), 120, "one of them to conceal the loss");
        assert_eq!(packets[5].data, [31 << 3, 5]);
        assert_eq!(packets[100].data, [(31 << 3) | 3, 1]);
        let last = packets.last().unwrap();
        assert!(last.last_in_stream());
        assert_eq!(last.absgp_page(), 120 * 960);
    }

    /// Writes packets (timestamp, bytes) and reads them back: the samples that each page holds, its granule position, and whether
    /// they always agree.
    fn pages(packets: impl IntoIterator<Item = (u32, Vec<u8>)>) -> Vec<u64> {
        let mut writer = OggOpusWriter::new(Vec::new(), 7, 2).unwrap();
        for (timestamp, packet) in packets {
            writer.write_packet(timestamp, packet.into()).unwrap();
        }
        let file = writer.finish().unwrap();
        let mut reader = PacketReader::new(Cursor::new(file));
        for _ in 0..2 {
            reader.read_packet().unwrap().unwrap();
        }
        let (mut samples, mut positions) = (0, Vec::new());
        while let Some(packet) = reader.read_packet().unwrap() {
            samples += u64::from(duration(&packet.data));
            if packet.last_in_page() {
                assert_eq!(
                    packet.absgp_page(),
                    samples,
                    "a page says what its packets hold, no more"
                );
                positions.push(samples);
            }
        }
        positions
    }

    #[test]
    fn mend14_granule_positions_count_what_is_there_and_gaps_are_concealed() {
        let short = |timestamp: u32| (timestamp, vec![0x08, 1]);
        // A second, two seconds lost, and another second: 100 frames are concealed in 17 packets of up to 120 ms.
        let lost = (0..50).map(|n| n * 960).chain((0..50).map(|n| 144_000 + n * 960));
        assert_eq!(pages(lost.map(short)), [48_000, 48_000 + 96_000 + 33 * 960, 4 * 48_000]);
        // One packet of 60 ms, then 99 of 20 ms.
        let long = std::iter::once((0, vec![0x18, 1])).chain((0..99).map(|n| short(2_880 + n * 960)));
        assert_eq!(pages(long), [2_880 + 49 * 960, 2_880 + 99 * 960]);
        // Half a frame missing is not concealed; two halves are a frame.
        assert_eq!(pages([short(0), short(960 + 480), short(2 * 960 + 480)]), [3 * 960]);
        assert_eq!(pages([short(0), short(960 + 480), short(3 * 960)]), [4 * 960]);
        // A late packet is left out, a duplicate too; a clock that was set back or forward begins anew.
        assert_eq!(
            pages([short(9600), short(11_520), short(10_560), short(11_520)]),
            [3 * 960]
        );
        assert_eq!(
            pages([short(900_000), short(0), short(960), short(4_000_000_000)]),
            [4 * 960]
        );
    }

    proptest::proptest! {
        #[test]
        fn mend14_whatever_the_timestamps_pages_hold_what_they_say(
            steps in proptest::collection::vec((proptest::prelude::any::<u32>(), 0u8..=255, 0u8..60), 0..40),
        ) {
            pages(steps.into_iter().map(|(timestamp, toc, count)| (timestamp % 2_000_000, vec![toc, count])));
        }
    }
}
