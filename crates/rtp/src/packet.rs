//! The RTP packet (RFC 3550 §5.1).

use std::ops::Range;

use antiphon_sansio::{Full, Reader, Writer};

use crate::ParseError;
use crate::extension::{Elements, Kind, Map, Values};

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 12;

/// The fixed fields of the header.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// |V=2|P|X|  CC   |M|     PT      |       sequence number         |
/// |                           timestamp                           |
/// |           synchronization source (SSRC) identifier            |
/// |            contributing source (CSRC) identifiers  0..15      |
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The marker bit: end of a picture, or begin of a talkspurt.
    pub marker: bool,
    /// The payload type, 7 bits.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The media clock.
    pub timestamp: u32,
    /// The SSRC of the source.
    pub ssrc: u32,
}

impl Header {
    /// Writes the fixed fields over those of a header that is there already: its first byte, its CSRC list and its
    /// extensions stay.
    #[inline]
    fn write_fixed(&self, packet: &mut [u8]) {
        let fixed = &mut packet[..HEADER_LEN];
        fixed[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        fixed[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        fixed[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
    }

    /// Writes the header: fixed fields, CSRC list (its first 15 entries) and those extensions that have a value and an
    /// identifier in `map`. The caller appends the payload, and padding by [`set_padding`].
    ///
    /// # Errors
    /// If there is no room for it in `out`.
    #[inline]
    pub fn write(&self, csrcs: &[u32], values: &Values<'_>, map: &Map, out: &mut Writer<'_>) -> Result<(), Full> {
        let start = out.len();
        let csrcs = &csrcs[..csrcs.len().min(15)];
        let fixed = out.reserve(HEADER_LEN + csrcs.len() * 4)?;
        fixed[0] = 0x80 | csrcs.len() as u8;
        self.write_fixed(fixed);
        for (slot, csrc) in fixed[HEADER_LEN..].chunks_exact_mut(4).zip(csrcs) {
            slot.copy_from_slice(&csrc.to_be_bytes());
        }
        if values.write(map, out)? {
            out.written_mut()[start] |= 0x10;
        }
        Ok(())
    }
}

/// The header of most packets of a stream, written once: the extensions that never change keep their bytes, and only the fixed
/// fields, the transport-wide number and the sending time are written anew.
///
/// ```
/// use antiphon_rtp::extension::{Kind, Map, Values};
/// use antiphon_rtp::packet::{Header, Packet, Template};
///
/// let mut map = Map::default();
/// map.insert(1, Kind::Mid);
/// map.insert(2, Kind::TransportCc);
/// let values = Values { mid: Some(b"0"), transport_sequence: Some(0), ..Values::default() };
/// let mut template = Template::new(&values, &map);
/// let header = template.fill(&Header { sequence: 7, ..Header::default() }, 9, 0);
/// let packet = Packet::parse(header)?;
/// assert_eq!((packet.header.sequence, packet.values(&map).transport_sequence), (7, Some(9)));
/// # Ok::<(), antiphon_rtp::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Template {
    bytes: [u8; Template::MAX_LEN],
    len: u8,
    /// Where the transport-wide number stands, if there is one.
    number: Option<u8>,
    /// Where the sending time stands, if there is one.
    send_time: Option<u8>,
}

impl Template {
    /// The longest header that a template holds, in bytes. Extensions that would make it longer are left out, all of them.
    pub const MAX_LEN: usize = 128;

    /// A header with those of `values` that have an identifier in `map`.
    pub fn new(values: &Values<'_>, map: &Map) -> Self {
        let mut bytes = [0; Self::MAX_LEN];
        let mut out = Writer::new(&mut bytes);
        let written = Header::default().write(&[], values, map, &mut out);
        let len = if written.is_ok() { out.len() } else { HEADER_LEN };
        if written.is_err() {
            bytes[0] &= !0x10;
        }
        let place = |kinds: [Kind; 2]| {
            let header = &bytes[..len];
            let mut elements = Packet::parse(header).ok()?.elements();
            let known = |id: u8| map.kind(id).is_some_and(|kind| kinds.contains(&kind));
            let (_, data) = elements.find(|(id, _)| known(*id))?;
            Some((data.as_ptr().addr() - header.as_ptr().addr()) as u8)
        };
        Self {
            len: len as u8,
            number: place([Kind::TransportCc, Kind::TransportCc2]),
            send_time: place([Kind::AbsSendTime; 2]),
            bytes,
        }
    }

    /// Bytes of the header.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether a packet bears a transport-wide number.
    #[inline]
    pub fn is_numbered(&self) -> bool {
        self.number.is_some()
    }

    /// Whether a packet says when it was sent.
    #[inline]
    pub fn is_timed(&self) -> bool {
        self.send_time.is_some()
    }

    /// The header of one packet, without CSRCs: `number` is its transport-wide number, `send_time` its abs-send-time in
    /// units of 2^-18 s. The one or the other is not looked at where the template has no place for it.
    #[inline]
    pub fn fill(&mut self, header: &Header, number: u16, send_time: u32) -> &[u8] {
        header.write_fixed(&mut self.bytes);
        if let Some(at) = self.number {
            self.bytes[usize::from(at)..][..2].copy_from_slice(&number.to_be_bytes());
        }
        if let Some(at) = self.send_time {
            self.bytes[usize::from(at)..][..3].copy_from_slice(&send_time.to_be_bytes()[1..]);
        }
        &self.bytes[..usize::from(self.len)]
    }
}

/// Marks a written packet as padded: sets the P bit of `packet` and fills its last `padding` bytes (RFC 3550 §5.1). The
/// padding is part of `packet` already and at least 1.
pub fn set_padding(packet: &mut [u8], padding: u8) {
    let len = packet.len();
    if padding == 0 || usize::from(padding) + HEADER_LEN > len {
        return;
    }
    packet[0] |= 0x20;
    packet[len - usize::from(padding)..].fill(0);
    packet[len - 1] = padding;
}

/// A parsed packet, borrowed from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The fixed fields.
    pub header: Header,
    csrcs: &'a [u8],
    extension: Option<(u16, &'a [u8])>,
    payload: &'a [u8],
    header_len: usize,
    padding: u8,
}

impl<'a> Packet<'a> {
    /// Parses one packet. Checks version, the room for CSRC list and extension, and the padding length (RFC 3550 §5.1);
    /// a packet that is nothing but padding is valid and has an empty payload.
    ///
    /// # Errors
    /// If one of these is not as it should be.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let (fixed, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(ParseError::Short)?;
        let flags = fixed[0];
        if flags >> 6 != 2 {
            return Err(ParseError::Version);
        }
        let header = Header {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        };
        let mut reader = Reader::new(rest);
        let csrcs = reader.take(usize::from(flags & 0xf) * 4)?;
        let extension = if flags & 0x10 != 0 {
            let [a, b, c, d] = reader.array()?;
            let words = usize::from(u16::from_be_bytes([c, d]));
            Some((u16::from_be_bytes([a, b]), reader.take(words * 4)?))
        } else {
            None
        };
        let body = reader.rest();
        let (mut padding, mut payload) = (0, body);
        if flags & 0x20 != 0 {
            padding = *body.last().ok_or(ParseError::Padding)?;
            let rest = body.len().checked_sub(usize::from(padding));
            let rest = rest.filter(|_| padding > 0).ok_or(ParseError::Padding)?;
            payload = body.get(..rest).unwrap_or_default();
        }
        Ok(Self {
            header,
            csrcs,
            extension,
            payload,
            header_len: bytes.len() - body.len(),
            padding,
        })
    }

    /// The payload, without padding.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Where the payload lies in the parsed bytes: to cut it from the owned buffer.
    #[inline]
    pub fn payload_range(&self) -> Range<usize> {
        self.header_len..self.header_len + self.payload.len()
    }

    /// Bytes of header, CSRC list and extension block.
    #[inline]
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// Bytes of padding at the end, its length byte included.
    #[inline]
    pub fn padding_len(&self) -> usize {
        usize::from(self.padding)
    }

    /// The contributing sources.
    pub fn csrcs(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.csrcs
            .chunks_exact(4)
            .map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The elements of the extension block, known or not.
    #[inline]
    pub fn elements(&self) -> Elements<'a> {
        let (profile, data) = self.extension.unwrap_or((0, &[]));
        Elements::new(profile, data)
    }

    /// The extensions that `map` knows, in one pass.
    #[inline]
    pub fn values(&self, map: &Map) -> Values<'a> {
        let mut values = Values::default();
        self.read_values(map, &mut values);
        values
    }

    /// The same into `values`, which keep what the packet does not have. For who looks at each packet: they are many bytes to move.
    #[inline]
    pub fn read_values(&self, map: &Map, values: &mut Values<'a>) {
        if let Some((profile, block)) = self.extension {
            values.take_all(profile, block, map);
        }
    }
}

/// Whether a datagram whose first byte says "RTP or RTCP" is RTCP (RFC 5761 §4: payload types 64 to 95 with the marker
/// bit, which are the RTCP types 192 to 223).
#[inline]
pub fn is_rtcp(bytes: &[u8]) -> bool {
    matches!(bytes, [_, 192..=223, ..])
}
