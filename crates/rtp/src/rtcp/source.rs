//! What sources say of themselves: SDES, BYE and APP (RFC 3550 §6.5 to §6.7).

use antiphon_sansio::{Full, Reader, Writer};

use super::raw::{APP, BYE, Raw, SDES, write_packet};
use crate::ParseError;

/// The type of the item that holds a prefix and a value of somebody's own (RFC 3550 §6.5.8).
const PRIV: u8 = 8;

/// A parsed source description. All chunks were walked once on parsing, so iteration cannot fail.
#[derive(Clone, Debug)]
pub struct Sdes<'a> {
    count: u8,
    body: &'a [u8],
}

/// What is said about one source.
#[derive(Clone, Debug)]
pub struct SdesChunk<'a> {
    /// The SSRC that the items describe.
    pub ssrc: u32,
    items: &'a [u8],
}

/// One item of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesItem<'a> {
    /// [`SdesItem::CNAME`] and the others.
    pub item_type: u8,
    /// Its bytes, UTF-8 by intent.
    pub value: &'a [u8],
}

impl<'a> SdesItem<'a> {
    /// The canonical name (RFC 3550 §6.5.1).
    pub const CNAME: u8 = 1;
    /// The person's name (RFC 3550 §6.5.2).
    pub const NAME: u8 = 2;
    /// The person's address for mail (RFC 3550 §6.5.3).
    pub const EMAIL: u8 = 3;
    /// The person's telephone number (RFC 3550 §6.5.4).
    pub const PHONE: u8 = 4;
    /// Where the person is (RFC 3550 §6.5.5).
    pub const LOC: u8 = 5;
    /// The program and its version (RFC 3550 §6.5.6).
    pub const TOOL: u8 = 6;
    /// A remark on the state of the source (RFC 3550 §6.5.7).
    pub const NOTE: u8 = 7;
    /// A prefix and a value of somebody's own (RFC 3550 §6.5.8).
    pub const PRIV: u8 = PRIV;
    /// The RTP stream id (RFC 8852 §4.1).
    pub const RID: u8 = 12;
    /// The id of the stream that this one repairs (RFC 8852 §4.2).
    pub const REPAIRED_RID: u8 = 13;
    /// Who captured it (RFC 8849 §8).
    pub const CCID: u8 = 14;
    /// The media section (RFC 9143 §15.1).
    pub const MID: u8 = 15;

    /// The prefix and the value of a [`Self::PRIV`] item; `None` of any other, or one whose prefix is longer than itself.
    pub fn private(&self) -> Option<(&'a [u8], &'a [u8])> {
        let (len, rest) = self.value.split_first()?;
        (self.item_type == PRIV).then(|| rest.split_at_checked(usize::from(*len)))?
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        let value = self.value.get(..255).unwrap_or(self.value);
        out.put_slice(&[self.item_type, value.len() as u8])?;
        out.put_slice(value)
    }
}

/// One chunk off the front: SSRC, items, at least one zero byte up to a word (RFC 3550 §6.5).
fn chunk<'a>(reader: &mut Reader<'a>) -> Result<SdesChunk<'a>, ParseError> {
    let ssrc = reader.u32()?;
    let all = reader.rest();
    let mut len = 0;
    loop {
        let item_type = *all.get(len).ok_or(ParseError::Short)?;
        if item_type == 0 {
            break;
        }
        len += 2 + usize::from(*all.get(len + 1).ok_or(ParseError::Short)?);
    }
    // The terminator is part of the padding to the next word; `all` begins on a word.
    reader.take((len / 4 + 1) * 4)?;
    Ok(SdesChunk {
        ssrc,
        items: &all[..len],
    })
}

impl<'a> Sdes<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        for _ in 0..raw.count {
            chunk(&mut reader)?;
        }
        Ok(Self {
            count: raw.count,
            body: raw.body,
        })
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        write_packet(self.count, SDES, out, |out| {
            self.chunks()
                .try_for_each(|chunk| write_chunk(chunk.ssrc, chunk.items(), out))
        })
    }

    /// The chunks.
    pub fn chunks(&self) -> impl Iterator<Item = SdesChunk<'a>> + use<'a> {
        let mut reader = Reader::new(self.body);
        (0..self.count).map_while(move |_| chunk(&mut reader).ok())
    }
}

impl<'a> SdesChunk<'a> {
    /// The items.
    pub fn items(&self) -> impl Iterator<Item = SdesItem<'a>> + use<'a> {
        let mut reader = Reader::new(self.items);
        std::iter::from_fn(move || {
            Some(SdesItem {
                item_type: reader.u8().ok()?,
                value: reader.vec8().ok()?,
            })
        })
    }

    /// The canonical name.
    pub fn cname(&self) -> Option<&'a [u8]> {
        self.items()
            .find(|item| item.item_type == SdesItem::CNAME)
            .map(|item| item.value)
    }
}

/// A chunk: its SSRC, its items, and zeros up to a word.
fn write_chunk<'a>(ssrc: u32, items: impl IntoIterator<Item = SdesItem<'a>>, out: &mut Writer<'_>) -> Result<(), Full> {
    out.put_u32(ssrc)?;
    let start = out.len();
    for item in items.into_iter().filter(|item| item.item_type != 0) {
        item.write(out)?;
    }
    // RFC 3550 §6.5: one to four zero bytes end the list and fill the word.
    let len = out.len() - start;
    out.put_slice(&[0; 4][..4 - len % 4])
}

/// Writes a source description: of each of the first 31 sources its SSRC and its items, each cut at 255 bytes.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_sdes(chunks: &[(u32, &[SdesItem<'_>])], out: &mut Writer<'_>) -> Result<(), Full> {
    let chunks = &chunks[..chunks.len().min(31)];
    write_packet(chunks.len() as u8, SDES, out, |out| {
        chunks
            .iter()
            .try_for_each(|(ssrc, items)| write_chunk(*ssrc, items.iter().copied(), out))
    })
}

/// Writes a source description that gives every one of `ssrcs` (the first 31) the same canonical name (cut at 255 bytes).
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_cname(ssrcs: &[u32], cname: &[u8], out: &mut Writer<'_>) -> Result<(), Full> {
    let ssrcs = &ssrcs[..ssrcs.len().min(31)];
    let item = SdesItem {
        item_type: SdesItem::CNAME,
        value: cname,
    };
    write_packet(ssrcs.len() as u8, SDES, out, |out| {
        ssrcs.iter().try_for_each(|ssrc| write_chunk(*ssrc, [item], out))
    })
}

/// A parsed goodbye.
#[derive(Clone, Debug)]
pub struct Bye<'a> {
    ssrcs: &'a [u8],
    /// Why, if said.
    pub reason: Option<&'a [u8]>,
}

impl<'a> Bye<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        let ssrcs = reader.take(usize::from(raw.count) * 4)?;
        let reason = if reader.is_empty() { None } else { Some(reader.vec8()?) };
        Ok(Self { ssrcs, reason })
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        put_bye(self.ssrcs(), self.reason, out)
    }

    /// Who leaves.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.ssrcs
            .chunks_exact(4)
            .map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

/// Writes a goodbye of the first 31 of `ssrcs`.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_bye(ssrcs: &[u32], reason: Option<&[u8]>, out: &mut Writer<'_>) -> Result<(), Full> {
    put_bye(ssrcs.iter().copied().take(31), reason, out)
}

fn put_bye(ssrcs: impl ExactSizeIterator<Item = u32>, reason: Option<&[u8]>, out: &mut Writer<'_>) -> Result<(), Full> {
    write_packet(ssrcs.len() as u8, BYE, out, |out| {
        ssrcs.into_iter().try_for_each(|ssrc| out.put_u32(ssrc))?;
        if let Some(reason) = reason {
            let reason = &reason[..reason.len().min(255)];
            out.put_u8(reason.len() as u8)?;
            out.put_slice(reason)?;
        }
        Ok(())
    })
}

/// A parsed application-defined packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct App<'a> {
    /// Five bits that the application defines.
    pub subtype: u8,
    /// Who sent it.
    pub ssrc: u32,
    /// The application's name, ASCII.
    pub name: [u8; 4],
    /// The rest, a whole number of words.
    pub data: &'a [u8],
}

impl<'a> App<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        Ok(Self {
            subtype: raw.count,
            ssrc: reader.u32()?,
            name: reader.array()?,
            data: reader.rest(),
        })
    }
}

/// Writes an application-defined packet; its data is zero-padded to a word.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_app(app: &App<'_>, out: &mut Writer<'_>) -> Result<(), Full> {
    write_packet(app.subtype, APP, out, |out| {
        out.put_u32(app.ssrc)?;
        out.put_slice(&app.name)?;
        out.put_slice(app.data)
    })
}
