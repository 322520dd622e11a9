//! IVF, the plain container that every VP8 tool reads.

use std::io::{self, Seek, SeekFrom, Write};

/// Writes VP8 frames as IVF with a 90 kHz clock.
///
/// Nothing is written before the first key frame: it tells the size of the picture, and no decoder can start earlier.
#[derive(Debug)]
pub struct IvfWriter<W: Write + Seek> {
    out: W,
    frames: u32,
    first: Option<u32>,
    last: u32,
    time: u64,
}

impl<W: Write + Seek> IvfWriter<W> {
    /// Writes to `out`, which stands at its beginning.
    pub fn new(out: W) -> Self {
        Self {
            out,
            frames: 0,
            first: None,
            last: 0,
            time: 0,
        }
    }

    /// Adds a frame with its RTP timestamp. `false` if it was left out because no key frame has come yet.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_frame(&mut self, timestamp: u32, frame: &[u8]) -> io::Result<bool> {
        if self.first.is_none() {
            let Some((width, height)) = key_frame_size(frame) else {
                return Ok(false);
            };
            self.write_header(width, height)?;
            self.first = Some(timestamp);
            self.last = timestamp;
        }
        // RTP timestamps wrap; frames come in order, so the signed difference is the step.
        let step = timestamp.wrapping_sub(self.last) as i32;
        self.time = self.time.saturating_add_signed(i64::from(step));
        self.last = timestamp;
        let length = u32::try_from(frame.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&self.time.to_le_bytes())?;
        self.out.write_all(frame)?;
        self.frames += 1;
        Ok(true)
    }

    /// Writes the length into the header and gives the writer back.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(mut self) -> io::Result<W> {
        if self.first.is_some() {
            self.out.seek(SeekFrom::Start(24))?;
            // In units of the clock, as FFmpeg writes and reads it; libvpx, whose format this is, once meant frames, and its tools
            // do not look. The last frame is taken to last as long as the others do.
            let mean = self.time / u64::from(self.frames.max(2) - 1);
            let length = u32::try_from(self.time + mean).unwrap_or(u32::MAX);
            self.out.write_all(&length.to_le_bytes())?;
            self.out.seek(SeekFrom::End(0))?;
        }
        self.out.flush()?;
        Ok(self.out)
    }

    /// Frames written.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    fn write_header(&mut self, width: u16, height: u16) -> io::Result<()> {
        let mut header = [0; 32];
        header[..4].copy_from_slice(b"DKIF");
        header[6..8].copy_from_slice(&32u16.to_le_bytes());
        header[8..12].copy_from_slice(b"VP80");
        header[12..14].copy_from_slice(&width.to_le_bytes());
        header[14..16].copy_from_slice(&height.to_le_bytes());
        header[16..20].copy_from_slice(&90_000u32.to_le_bytes());
        header[20..24].copy_from_slice(&1u32.to_le_bytes());
        self.out.write_all(&header)
    }
}

/// Width and height, if this is a VP8 key frame (RFC 6386 §9.1).
fn key_frame_size(frame: &[u8]) -> Option<(u16, u16)> {
    if frame.first()? & 1 != 0 || frame.get(3..6)? != [0x9d, 0x01, 0x2a] {
        return None;
    }
    let size = |at: usize| Some(u16::from_le_bytes([*frame.get(at)?, *frame.get(at + 1)?]) & 0x3fff);
    Some((size(6)?, size(8)?))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const KEY: [u8; 10] = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];

    #[test]
    fn header_frames_and_length() {
        let mut writer = IvfWriter::new(Cursor::new(Vec::new()));
        assert!(!writer.write_frame(0, &[0x11, 1, 2]).unwrap(), "an inter frame first");
        assert!(writer.write_frame(u32::MAX - 1_000, &KEY).unwrap());
        assert!(writer.write_frame(1_999, &[0x11, 1, 2]).unwrap());
        let file = writer.finish().unwrap().into_inner();
        assert_eq!(&file[..4], b"DKIF");
        assert_eq!(&file[8..12], b"VP80");
        assert_eq!(u16::from_le_bytes([file[12], file[13]]), 640);
        assert_eq!(u16::from_le_bytes([file[14], file[15]]), 360);
        assert_eq!(u32::from_le_bytes(file[24..28].try_into().unwrap()), 6_000);
        let second = 32 + 12 + KEY.len();
        assert_eq!(u32::from_le_bytes(file[second..second + 4].try_into().unwrap()), 3);
        assert_eq!(
            u64::from_le_bytes(file[second + 4..second + 12].try_into().unwrap()),
            3_000
        );
        assert_eq!(file.len(), second + 12 + 3);
    }

    #[test]
    fn nothing_received_nothing_written() {
        assert!(
            IvfWriter::new(Cursor::new(Vec::new()))
                .finish()
                .unwrap()
                .into_inner()
                .is_empty()
        );
    }
}
