//! Ogg encapsulation of Opus (RFC 7845).

use std::io::{self, Write};

use bytes::Bytes;
use ogg::writing::{PacketWriteEndInfo, PacketWriter};

/// Packets on one page: a second of sound in packets of 20 ms.
const PAGE_PACKETS: u32 = 50;

/// Writes Opus packets as they come from RTP.
pub struct OggOpusWriter<W: Write> {
    out: PacketWriter<'static, W>,
    serial: u32,
    /// One packet waits, because the last one of the file is marked.
    waiting: Option<Bytes>,
    granule: u64,
    last: Option<u32>,
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
            last: None,
            packets: 0,
        })
    }

    /// Adds a packet with its RTP timestamp (48 kHz, RFC 7587 §4.1). Where packets were lost the position jumps, so sound and picture
    /// stay together.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_packet(&mut self, timestamp: u32, packet: Bytes) -> io::Result<()> {
        let duration = duration(&packet);
        if duration == 0 {
            return Ok(());
        }
        self.flush(PacketWriteEndInfo::NormalPacket)?;
        // The position of a packet is that of its end (RFC 7845 §4).
        let step = match self.last {
            Some(last) => timestamp.wrapping_sub(last),
            None => 0,
        };
        if step < u32::MAX / 2 {
            self.granule = self.granule.max(u64::from(duration)) + u64::from(step);
            self.last = Some(timestamp);
        }
        self.waiting = Some(packet);
        self.packets += 1;
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
            PacketWriteEndInfo::NormalPacket if self.packets.is_multiple_of(PAGE_PACKETS) => {
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
    if frame * frames <= 5_760 { frame * frames } else { 0 }
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
        assert_eq!(packets.len(), 119);
        assert_eq!(packets[5].data, [31 << 3, 5]);
        let last = packets.last().unwrap();
        assert!(last.last_in_stream());
        assert_eq!(last.absgp_page(), 120 * 960);
    }
}
