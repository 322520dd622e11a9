//! Pages of Ogg become Opus packets with their times.

use std::collections::VecDeque;
use std::io::{Read, Seek};

use bytes::Bytes;
use ogg::reading::{BasePacketReader, OggReadError, PageParser};

use crate::codec::opus;
use crate::error::ReadError;
use crate::input::Input;
use crate::track::{Codec, Sample, Track};
use crate::{MAX_CONFIGURATION_BYTES, MAX_SAMPLE_BYTES};

/// Comments may have a picture of the record's cover in them.
const MAX_COMMENT_BYTES: u64 = 64 << 20;

/// Reads the first stream of Opus in an Ogg file, and passes over all others.
pub(crate) struct Reader<R> {
    input: Input<R>,
    tracks: [Track; 1],
    serial: u32,
    packets: BasePacketReader,
    /// Bytes of pages since the last whole packet.
    pending: u64,
    /// The page with the header of Opus.
    first: u64,
    /// The time of the next packet; `None` before the first page is whole.
    time: Option<i64>,
    /// Packets of the first page, whose time is known once its last one is.
    held: VecDeque<Bytes>,
    ended: bool,
}

impl<R> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}

/// A page of Ogg, but for its contents.
struct Page {
    serial: u32,
    begins_stream: bool,
    header: [u8; 27],
    segments: Vec<u8>,
    len: u64,
}

impl<R: Read + Seek> Reader<R> {
    pub(crate) fn new(mut input: Input<R>) -> Result<Self, ReadError> {
        // RFC 3533 §6: the beginnings of all streams stand first.
        let (first, serial, head) = loop {
            if input.is_at_end() {
                return Err(ReadError::NoTracks);
            }
            let offset = input.position();
            let page = read_header(&mut input)?;
            if !page.begins_stream {
                return Err(ReadError::NoTracks);
            }
            let contents = input.take(page.len, "a page", usize::MAX)?;
            if contents.starts_with(b"OpusHead") {
                if !opus::is_head(&contents) || contents.len() > MAX_CONFIGURATION_BYTES {
                    let what = "the header of Opus";
                    return Err(ReadError::Malformed { offset, what });
                }
                break (offset, page.serial, contents);
            }
        };
        let mut track = Track::audio(Codec::Opus, 48_000, opus::channels(&head));
        track.configuration = head.into();
        let mut reader = Self {
            input,
            tracks: [track],
            serial,
            packets: BasePacketReader::new(),
            pending: 0,
            first,
            time: None,
            held: VecDeque::new(),
            ended: false,
        };
        reader.rewind()?;
        Ok(reader)
    }

    pub(crate) fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    pub(crate) fn rewind(&mut self) -> Result<(), ReadError> {
        self.packets = BasePacketReader::new();
        (self.pending, self.time, self.ended) = (0, None, false);
        self.held.clear();
        self.input.seek(self.first)?;
        // RFC 7845 §5: header and comments stand before the sound, on pages of their own.
        for start in [&b"OpusHead"[..], b"OpusTags"] {
            match self.next_packet(MAX_COMMENT_BYTES)? {
                Some(packet) if packet.data.starts_with(start) => {}
                Some(_) => return Err(self.input.malformed("the header or the comments of Opus are missing")),
                None => return Err(self.input.truncated("the header and the comments of Opus")),
            }
        }
        Ok(())
    }

    pub(crate) fn next_sample(&mut self) -> Result<Option<Sample>, ReadError> {
        if self.time.is_none() {
            self.begin()?;
        }
        let data = match self.held.pop_front() {
            Some(data) => data,
            None => match self.next_packet(MAX_SAMPLE_BYTES as u64)? {
                Some(packet) => packet.data.into(),
                None => return Ok(None),
            },
        };
        let duration = opus::duration(&data);
        let time = self.time.unwrap_or_default();
        self.time = Some(time.saturating_add(duration.into()));
        Ok(Some(Sample {
            track: 0,
            time,
            duration: Some(duration),
            key_frame: true,
            data,
        }))
    }

    /// RFC 7845 §4: the position of the first page is that of its end, which tells where its packets begin.
    fn begin(&mut self) -> Result<(), ReadError> {
        let mut samples = 0i64;
        let pre_skip = i64::from(opus::pre_skip(&self.tracks[0].configuration));
        self.time = Some(-pre_skip);
        loop {
            let packet = match self.next_packet(MAX_SAMPLE_BYTES as u64) {
                Ok(Some(packet)) => packet,
                // What is whole is handed out first.
                Ok(None) | Err(_) if !self.held.is_empty() => return Ok(()),
                Ok(None) => return Ok(()),
                Err(error) => return Err(error),
            };
            samples += i64::from(opus::duration(&packet.data));
            let (is_last, ends, position) = (packet.last_in_page(), packet.last_in_stream(), packet.absgp_page());
            self.held.push_back(packet.data.into());
            if is_last {
                // RFC 7845 §4.4: the last page may hold more than its position says.
                let begin = i64::try_from(position).unwrap_or(0).saturating_sub(samples);
                if begin > 0 && !ends {
                    self.time = Some(begin.saturating_sub(pre_skip));
                }
                return Ok(());
            }
        }
    }

    /// The next packet of the stream; `None` at its end.
    fn next_packet(&mut self, limit: u64) -> Result<Option<ogg::Packet>, ReadError> {
        loop {
            if let Some(packet) = self.packets.read_packet() {
                self.pending = 0;
                return Ok(Some(packet));
            }
            if self.input.is_at_end() || self.ended {
                return Ok(None);
            }
            let offset = self.input.position();
            let page = read_header(&mut self.input)?;
            if page.serial != self.serial {
                self.input.skip(page.len, "a page")?;
                continue;
            }
            if page.segments.is_empty() {
                continue;
            }
            if page.begins_stream && offset != self.first {
                // Another stream of the same number begins: a chain's next link.
                self.ended = true;
                return Ok(None);
            }
            self.pending += page.len;
            if self.pending > limit {
                let what = "a packet";
                return Err(ReadError::TooLarge { offset, what, limit });
            }
            let malformed = |error: OggReadError| ReadError::Malformed {
                offset,
                what: match error {
                    OggReadError::HashMismatch(..) => "a page's checksum does not fit",
                    _ => "the pages do not fit together",
                },
            };
            let (mut parser, _) = PageParser::new(page.header).map_err(malformed)?;
            parser.parse_segments(page.segments);
            let contents = self.input.take(page.len, "a page", usize::MAX)?;
            let page = parser.parse_packet_data(contents).map_err(malformed)?;
            self.packets.push_page(page).map_err(malformed)?;
        }
    }
}

/// RFC 3533 §6.
fn read_header<R: Read + Seek>(input: &mut Input<R>) -> Result<Page, ReadError> {
    let offset = input.position();
    let header: [u8; 27] = input.array("a page's header")?;
    if &header[..4] != b"OggS" || header[4] != 0 {
        return Err(ReadError::Malformed {
            offset,
            what: "here should be a page of Ogg",
        });
    }
    let segments = input.take(u64::from(header[26]), "a page's header", 255)?;
    Ok(Page {
        serial: u32::from_le_bytes([header[14], header[15], header[16], header[17]]),
        begins_stream: header[5] & 2 != 0,
        len: segments.iter().map(|segment| u64::from(*segment)).sum(),
        header,
        segments,
    })
}
