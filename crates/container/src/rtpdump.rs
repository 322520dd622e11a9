//! rtpdump: packets as they were on the wire, with the time at which each came (the format of the RTP tools, which Wireshark and
//! libwebrtc write too).

use std::io::{Read, Seek, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use bytes::Bytes;

use crate::error::{ReadError, WriteError};
use crate::input::Input;

/// What each file begins with.
const MAGIC: &[u8] = b"#!rtpplay1.0 ";
/// The longest first line: magic, address, port, and the newline.
const MAX_LINE: usize = 96;
/// The longest packet: what two bytes count, less the eight of its header.
pub const MAX_PACKET_BYTES: usize = u16::MAX as usize - 8;

/// One packet of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dumped {
    /// When it came, from the start of the dump, in whole milliseconds: up to 49 days.
    pub offset: Duration,
    /// Whether it is RTCP; else it is RTP.
    pub is_rtcp: bool,
    /// How long the packet was, in bytes: more than `data` has where only its beginning was dumped.
    pub length: usize,
    /// The packet, or its beginning.
    pub data: Bytes,
}

/// Reads an rtpdump file.
#[derive(Debug)]
pub struct Reader<R> {
    input: Input<R>,
    start: Duration,
    source: SocketAddrV4,
}

impl<R: Read + Seek> Reader<R> {
    /// Opens a dump and reads its header.
    ///
    /// # Errors
    /// [`ReadError`], with the byte at which the file is not what it should be.
    pub fn new(input: R) -> Result<Self, ReadError> {
        let mut input = Input::new(input)?;
        let mut line = [0; MAX_LINE];
        let len = input.peek(&mut line)?;
        let line = &line[..len];
        if !line.starts_with(MAGIC) {
            return Err(ReadError::UnknownFormat);
        }
        let end = line.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| input.malformed("the first line has no end"))?;
        input.skip(end as u64 + 1, "the first line")?;
        let [a, b, c, d, e, f, g, h, address @ .., i, j, _, _] = input.array::<16>("the header")?;
        let seconds = u32::from_be_bytes([a, b, c, d]);
        let micros = u32::from_be_bytes([e, f, g, h]);
        Ok(Self {
            input,
            start: Duration::from_secs(seconds.into()) + Duration::from_micros(micros.into()),
            source: SocketAddrV4::new(Ipv4Addr::from(address), u16::from_be_bytes([i, j])),
        })
    }

    /// When the dump began, from the start of 1970.
    pub fn start(&self) -> Duration {
        self.start
    }

    /// Where its packets came from; all zeros in many files.
    pub fn source(&self) -> SocketAddrV4 {
        self.source
    }

    /// The next packet; `None` at the end.
    ///
    /// # Errors
    /// [`ReadError`]. What came before is good; nothing comes after it.
    pub fn next_packet(&mut self) -> Result<Option<Dumped>, ReadError> {
        if self.input.is_at_end() {
            return Ok(None);
        }
        let offset = self.input.position();
        let [a, b, c, d, e, f, g, h] = self.input.array("a packet's header")?;
        let Some(size) = u16::from_be_bytes([a, b]).checked_sub(8) else {
            let what = "a packet is shorter than its header";
            return Err(ReadError::Malformed { offset, what });
        };
        let data = self.input.bytes(size.into(), "a packet", MAX_PACKET_BYTES)?;
        let length = usize::from(u16::from_be_bytes([c, d]));
        Ok(Some(Dumped {
            offset: Duration::from_millis(u32::from_be_bytes([e, f, g, h]).into()),
            is_rtcp: length == 0,
            length: length.max(data.len()),
            data,
        }))
    }
}

/// Writes an rtpdump file.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Begins a dump: when it begins, from the start of 1970, and where its packets come from.
    ///
    /// # Errors
    /// [`WriteError::Io`] if `out` does not take the header.
    pub fn new(mut out: W, start: Duration, source: SocketAddrV4) -> Result<Self, WriteError> {
        out.write_all(MAGIC)?;
        writeln!(out, "{}/{}", source.ip(), source.port())?;
        // 32 bits of seconds; they wrap in 2106.
        out.write_all(&(start.as_secs() as u32).to_be_bytes())?;
        out.write_all(&start.subsec_micros().to_be_bytes())?;
        out.write_all(&source.ip().octets())?;
        out.write_all(&source.port().to_be_bytes())?;
        out.write_all(&[0; 2])?;
        Ok(Self { out })
    }

    /// Adds a packet. Of RTCP the length is that of its data.
    ///
    /// # Errors
    /// [`WriteError::TooLarge`] if it is longer than [`MAX_PACKET_BYTES`] or comes later than the format can say; the file is as it
    /// was before. [`WriteError::Io`] if `out` does not take it.
    pub fn write(&mut self, packet: &Dumped) -> Result<(), WriteError> {
        let too_large = |what, limit| WriteError::TooLarge { what, limit };
        let size = u16::try_from(packet.data.len() + 8);
        let size = size.map_err(|_| too_large("a packet", MAX_PACKET_BYTES as u64))?;
        let length = match packet.is_rtcp {
            true => 0,
            false => u16::try_from(packet.length.max(packet.data.len())).unwrap_or(u16::MAX),
        };
        let offset = u32::try_from(packet.offset.as_millis());
        let offset = offset.map_err(|_| too_large("a packet's time in milliseconds", u32::MAX.into()))?;
        self.out.write_all(&size.to_be_bytes())?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&offset.to_be_bytes())?;
        Ok(self.out.write_all(&packet.data)?)
    }

    /// Ends the dump and gives the writer back.
    ///
    /// # Errors
    /// [`WriteError::Io`] if `out` does not take the rest.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.out.flush()?;
        Ok(self.out)
    }
}
