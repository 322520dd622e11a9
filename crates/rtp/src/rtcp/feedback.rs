//! Feedback messages: NACK, PLI, FIR (RFC 4585, RFC 5104) and REMB.

use antiphon_sansio::{Full, Reader, Writer};

use super::control::FMT_AFB;
use super::raw::{PSFB, RTPFB, Raw, write_packet};
use crate::ParseError;

pub(super) const FMT_NACK: u8 = 1;
pub(super) const FMT_PLI: u8 = 1;
pub(super) const FMT_FIR: u8 = 4;

/// A packet id and the bitmask of following losses (RFC 4585 §6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NackPair {
    /// A lost sequence number.
    pub first: u16,
    /// Bit i set: `first + i + 1` is lost too.
    pub following: u16,
}

impl NackPair {
    /// The sequence numbers it names, in order, 1 to 17.
    pub fn sequences(self) -> impl Iterator<Item = u16> {
        let following = (0..16u16).filter(move |bit| self.following & (1 << bit) != 0);
        std::iter::once(self.first).chain(following.map(move |bit| self.first.wrapping_add(bit + 1)))
    }
}

/// Packs sequence numbers, given in ascending (serial) order, into pairs.
pub fn nack_pairs(sequences: impl IntoIterator<Item = u16>) -> impl Iterator<Item = NackPair> {
    let mut sequences = sequences.into_iter().peekable();
    std::iter::from_fn(move || {
        let first = sequences.next()?;
        let mut following = 0;
        while let Some(&next) = sequences.peek() {
            match next.wrapping_sub(first) {
                0 => {}
                distance @ 1..=16 => following |= 1 << (distance - 1),
                _ => break,
            }
            sequences.next();
        }
        Some(NackPair { first, following })
    })
}

/// A parsed generic NACK.
#[derive(Clone, Debug)]
pub struct Nack<'a> {
    /// Who misses packets.
    pub sender: u32,
    /// The SSRC whose packets are missing.
    pub media: u32,
    pairs: &'a [u8],
}

impl<'a> Nack<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        Ok(Self {
            sender: reader.u32()?,
            media: reader.u32()?,
            pairs: reader.rest(),
        })
    }

    /// Its pairs.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = NackPair> + use<'a> {
        self.pairs.chunks_exact(4).map(|bytes| NackPair {
            first: u16::from_be_bytes([bytes[0], bytes[1]]),
            following: u16::from_be_bytes([bytes[2], bytes[3]]),
        })
    }

    /// The sequence numbers asked for.
    pub fn sequences(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.pairs().flat_map(NackPair::sequences)
    }
}

/// Writes a generic NACK.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_nack(
    sender: u32,
    media: u32,
    pairs: impl IntoIterator<Item = NackPair>,
    out: &mut Writer<'_>,
) -> Result<(), Full> {
    write_packet(FMT_NACK, RTPFB, out, |out| {
        out.put_u32(sender)?;
        out.put_u32(media)?;
        pairs.into_iter().try_for_each(|pair| {
            out.put_u16(pair.first)?;
            out.put_u16(pair.following)
        })
    })
}

/// Picture loss indication (RFC 4585 §6.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pli {
    /// Who lost the picture.
    pub sender: u32,
    /// The SSRC whose picture was lost.
    pub media: u32,
}

impl Pli {
    pub(super) fn parse(raw: Raw<'_>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        Ok(Self {
            sender: reader.u32()?,
            media: reader.u32()?,
        })
    }
}

/// Writes a picture loss indication.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_pli(pli: Pli, out: &mut Writer<'_>) -> Result<(), Full> {
    write_packet(FMT_PLI, PSFB, out, |out| {
        out.put_u32(pli.sender)?;
        out.put_u32(pli.media)
    })
}

/// One entry of a full intra request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirEntry {
    /// Who shall send a key frame.
    pub ssrc: u32,
    /// Grows by one with each new request; repeats carry the same number.
    pub sequence: u8,
}

/// A parsed full intra request (RFC 5104 §4.3.1).
#[derive(Clone, Debug)]
pub struct Fir<'a> {
    /// The SSRC of who asks.
    pub sender: u32,
    entries: &'a [u8],
}

impl<'a> Fir<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        let sender = reader.u32()?;
        // RFC 5104 §4.3.1.2: the media source field is not used.
        reader.u32()?;
        Ok(Self {
            sender,
            entries: reader.rest(),
        })
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        put_fir(self.sender, self.entries(), out)
    }

    /// Who is asked.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = FirEntry> + use<'a> {
        self.entries.chunks_exact(8).map(|bytes| FirEntry {
            ssrc: u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            sequence: bytes[4],
        })
    }
}

/// Writes a full intra request.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_fir(sender: u32, entries: &[FirEntry], out: &mut Writer<'_>) -> Result<(), Full> {
    put_fir(sender, entries.iter().copied(), out)
}

fn put_fir(sender: u32, entries: impl IntoIterator<Item = FirEntry>, out: &mut Writer<'_>) -> Result<(), Full> {
    write_packet(FMT_FIR, PSFB, out, |out| {
        out.put_u32(sender)?;
        out.put_u32(0)?;
        entries.into_iter().try_for_each(|entry| {
            out.put_u32(entry.ssrc)?;
            out.put_u32(u32::from(entry.sequence) << 24)
        })
    })
}

/// A parsed receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03 §2.2).
#[derive(Clone, Debug)]
pub struct Remb<'a> {
    /// The SSRC of the receiver that estimates.
    pub sender: u32,
    /// Bits a second, saturated at `u64::MAX`.
    pub bitrate: u64,
    ssrcs: &'a [u8],
}

impl<'a> Remb<'a> {
    pub(super) fn is_remb(raw: Raw<'_>) -> bool {
        raw.body.get(8..12) == Some(b"REMB")
    }

    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        let sender = reader.u32()?;
        reader.take(8)?;
        let count = usize::from(reader.u8()?);
        let bits = reader.u24()?;
        let (exponent, mantissa) = (bits >> 18, u64::from(bits & 0x3_ffff));
        let bitrate = if mantissa.leading_zeros() < exponent {
            u64::MAX
        } else {
            mantissa << exponent
        };
        Ok(Self {
            sender,
            bitrate,
            ssrcs: reader.take(count * 4)?,
        })
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        put_remb(self.sender, self.bitrate, self.ssrcs(), out)
    }

    /// The streams that the estimate covers.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.ssrcs
            .chunks_exact(4)
            .map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

/// Writes a REMB for the first 255 of `ssrcs`. The wire keeps 18 significant bits of the bitrate, rounded down.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_remb(sender: u32, bitrate: u64, ssrcs: &[u32], out: &mut Writer<'_>) -> Result<(), Full> {
    put_remb(sender, bitrate, ssrcs.iter().copied().take(255), out)
}

fn put_remb(
    sender: u32,
    bitrate: u64,
    ssrcs: impl ExactSizeIterator<Item = u32>,
    out: &mut Writer<'_>,
) -> Result<(), Full> {
    let exponent = (64 - bitrate.leading_zeros()).saturating_sub(18);
    let mantissa = (bitrate >> exponent) as u32;
    write_packet(FMT_AFB, PSFB, out, |out| {
        out.put_u32(sender)?;
        out.put_u32(0)?;
        out.put_slice(b"REMB")?;
        out.put_u8(ssrcs.len() as u8)?;
        out.put_u24(exponent << 18 | mantissa)?;
        ssrcs.into_iter().try_for_each(|ssrc| out.put_u32(ssrc))
    })
}
