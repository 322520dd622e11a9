//! What a receiver asks an encoder or a sender for beside key frames: rates (RFC 5104), slices and reference pictures
//! (RFC 4585), a sender report at once (RFC 6051), and what an application has agreed upon.

use antiphon_sansio::{Full, Reader, Writer};

use super::entries::{Entries, Entry};
use super::raw::{PSFB, RTPFB, Raw, write_packet};
use crate::ParseError;

pub(super) const FMT_TMMBR: u8 = 3;
pub(super) const FMT_TMMBN: u8 = 4;
pub(super) const FMT_SR_REQUEST: u8 = 5;
pub(super) const FMT_SLI: u8 = 2;
pub(super) const FMT_RPSI: u8 = 3;
pub(super) const FMT_AFB: u8 = 15;

/// The rate that one stream may have at most (RFC 5104 §4.2.1.1).
///
/// ```text
/// |                              SSRC                             |
/// | MxTBR Exp |  MxTBR Mantissa                 |Measured Overhead|
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// In a request the stream that is limited, in a notification who limits it.
    pub ssrc: u32,
    /// Bits a second; the wire keeps 17 significant bits, rounded down.
    pub bitrate: u64,
    /// Bytes of headers that were measured on each packet, 9 bits.
    pub overhead: u16,
}

impl Entry for RateLimit {
    const LEN: usize = 8;

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (ssrc, bits) = (reader.u32().ok()?, reader.u32().ok()?);
        let (exponent, mantissa) = (bits >> 26, u64::from(bits >> 9 & 0x1_ffff));
        Some(Self {
            ssrc,
            bitrate: if mantissa.leading_zeros() < exponent {
                u64::MAX
            } else {
                mantissa << exponent
            },
            overhead: (bits & 0x1ff) as u16,
        })
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        let exponent = (64 - self.bitrate.leading_zeros()).saturating_sub(17);
        let mantissa = (self.bitrate >> exponent) as u32;
        out.put_u32(self.ssrc)?;
        out.put_u32(exponent << 26 | mantissa << 9 | u32::from(self.overhead & 0x1ff))
    }
}

/// A parsed TMMBR, a request to stay below rates, or TMMBN, which says what limits are kept (RFC 5104 §4.2.1, §4.2.2).
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimits<'a> {
    /// Who asks or says so.
    pub sender: u32,
    /// The limits, one for each stream.
    pub limits: Entries<'a, RateLimit>,
}

impl<'a> RateLimits<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        let sender = reader.u32()?;
        // RFC 5104 §4.2.1.2: the media source field is not used.
        reader.u32()?;
        Ok(Self {
            sender,
            limits: Entries::wire(reader.rest()),
        })
    }
}

fn write_limits(format: u8, packet: &RateLimits<'_>, out: &mut Writer<'_>) -> Result<(), Full> {
    write_packet(format, RTPFB, out, |out| {
        out.put_u32(packet.sender)?;
        out.put_u32(0)?;
        packet.limits.write(out)
    })
}

/// Writes a temporary maximum media stream bit rate request.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_tmmbr(request: &RateLimits<'_>, out: &mut Writer<'_>) -> Result<(), Full> {
    write_limits(FMT_TMMBR, request, out)
}

/// Writes a temporary maximum media stream bit rate notification.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_tmmbn(notification: &RateLimits<'_>, out: &mut Writer<'_>) -> Result<(), Full> {
    write_limits(FMT_TMMBN, notification, out)
}

/// A run of macroblocks that were lost (RFC 4585 §6.3.2.2).
///
/// ```text
/// |         First           |        Number           | PictureID |
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostSlice {
    /// The first macroblock, 13 bits.
    pub first: u16,
    /// How many, 13 bits.
    pub number: u16,
    /// The low six bits of the picture's number.
    pub picture_id: u8,
}

impl Entry for LostSlice {
    const LEN: usize = 4;

    fn read(bytes: &[u8]) -> Option<Self> {
        let bits = u32::read(bytes)?;
        Some(Self {
            first: (bits >> 19) as u16,
            number: (bits >> 6 & 0x1fff) as u16,
            picture_id: (bits & 0x3f) as u8,
        })
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        let (first, number) = (u32::from(self.first & 0x1fff), u32::from(self.number & 0x1fff));
        out.put_u32(first << 19 | number << 6 | u32::from(self.picture_id & 0x3f))
    }
}

/// A parsed slice loss indication (RFC 4585 §6.3.2).
#[derive(Clone, Debug, PartialEq)]
pub struct SliceLoss<'a> {
    /// Who lost them.
    pub sender: u32,
    /// The SSRC whose slices were lost.
    pub media: u32,
    /// What was lost.
    pub slices: Entries<'a, LostSlice>,
}

impl<'a> SliceLoss<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        Ok(Self {
            sender: reader.u32()?,
            media: reader.u32()?,
            slices: Entries::wire(reader.rest()),
        })
    }
}

/// Writes a slice loss indication.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_sli(loss: &SliceLoss<'_>, out: &mut Writer<'_>) -> Result<(), Full> {
    write_packet(FMT_SLI, PSFB, out, |out| {
        out.put_u32(loss.sender)?;
        out.put_u32(loss.media)?;
        loss.slices.write(out)
    })
}

/// Which picture shall be, or was, taken for reference (RFC 4585 §6.3.3).
///
/// ```text
/// |      PB       |0| Payload Type|    Native RPSI bit string     |
/// |   defined per codec          ...                | Padding (0) |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferencePicture<'a> {
    /// Who says so.
    pub sender: u32,
    /// The SSRC of the pictures.
    pub media: u32,
    /// The payload type by which the bits are to be read, 7 bits.
    pub payload_type: u8,
    /// The bits, as the codec defines them.
    pub bits: &'a [u8],
    /// How many bits of the last byte do not count, 0 to 7.
    pub spare: u8,
}

impl<'a> ReferencePicture<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        let (sender, media) = (reader.u32()?, reader.u32()?);
        let (padding, payload_type) = (reader.u8()?, reader.u8()? & 0x7f);
        let rest = reader.rest();
        let kept = rest
            .len()
            .checked_sub(usize::from(padding / 8))
            .ok_or(ParseError::Padding)?;
        if kept == 0 && padding % 8 > 0 {
            return Err(ParseError::Padding);
        }
        Ok(Self {
            sender,
            media,
            payload_type,
            bits: rest.get(..kept).unwrap_or_default(),
            spare: padding % 8,
        })
    }
}

/// Writes a reference picture selection indication.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_rpsi(picture: &ReferencePicture<'_>, out: &mut Writer<'_>) -> Result<(), Full> {
    // The bits go on to the next word.
    let fill = (picture.bits.len() + 2).next_multiple_of(4) - (picture.bits.len() + 2);
    write_packet(FMT_RPSI, PSFB, out, |out| {
        out.put_u32(picture.sender)?;
        out.put_u32(picture.media)?;
        out.put_u8(fill as u8 * 8 + picture.spare % 8)?;
        out.put_u8(picture.payload_type & 0x7f)?;
        out.put_slice(picture.bits)
    })
}

/// A wish for a sender report at once, so that sound and picture can be put in step (RFC 6051 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReportRequest {
    /// The SSRC of who asks.
    pub sender: u32,
    /// The SSRC that shall report.
    pub media: u32,
}

impl SenderReportRequest {
    pub(super) fn parse(raw: Raw<'_>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        Ok(Self {
            sender: reader.u32()?,
            media: reader.u32()?,
        })
    }
}

/// Writes a wish for a sender report.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_sender_report_request(request: SenderReportRequest, out: &mut Writer<'_>) -> Result<(), Full> {
    write_packet(FMT_SR_REQUEST, RTPFB, out, |out| {
        out.put_u32(request.sender)?;
        out.put_u32(request.media)
    })
}

/// What two applications have agreed upon (RFC 4585 §6.4), but for REMB, which has a type of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplicationFeedback<'a> {
    /// Who sends it.
    pub sender: u32,
    /// The SSRC that it is about.
    pub media: u32,
    /// The rest, which often begins with a name of four letters.
    pub data: &'a [u8],
}

impl<'a> ApplicationFeedback<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        Ok(Self {
            sender: reader.u32()?,
            media: reader.u32()?,
            data: reader.rest(),
        })
    }
}

/// Writes application layer feedback; its data is zero-padded to a word.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_application_feedback(feedback: &ApplicationFeedback<'_>, out: &mut Writer<'_>) -> Result<(), Full> {
    write_packet(FMT_AFB, PSFB, out, |out| {
        out.put_u32(feedback.sender)?;
        out.put_u32(feedback.media)?;
        out.put_slice(feedback.data)
    })
}
