//! How the numbers of a picture mean colours ("color-space" of libwebrtc's experiments), with and without what a display for
//! high dynamic range needs.

use antiphon_sansio::{Full, Reader, Writer};

use super::{Extension, Kind};

const SHORT_LEN: usize = 4;
const LONG_LEN: usize = 28;

/// How the numbers of a picture mean colours. It stands in the last packet of a key frame, or where it changes.
///
/// ```text
/// |   primaries   |   transfer    |    matrix     | 0 0 |range|h.s|v.s|
/// |         luminance_max         |         luminance_min         |
/// |        primary_r.x, .y        |        primary_g.x, .y        | ...
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColorSpace {
    /// The primaries, numbered as in ITU-T H.273 §8.1.
    pub primaries: u8,
    /// The transfer characteristics, numbered as in ITU-T H.273 §8.2.
    pub transfer: u8,
    /// The matrix coefficients, numbered as in ITU-T H.273 §8.3.
    pub matrix: u8,
    /// 0 unknown, 1 limited, 2 full, 3 what the matrix says.
    pub range: u8,
    /// Where chroma lies between luma samples, left to right: 0 unknown, 1 with the left one, 2 half way.
    pub horizontal_siting: u8,
    /// The same from top to bottom.
    pub vertical_siting: u8,
    /// What a display for high dynamic range needs.
    pub hdr: Option<HdrMetadata>,
}

/// A colour by its x and y in the CIE 1931 diagram, in units of 0.00002.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chromaticity {
    /// The x of the diagram, 0 to 50000.
    pub x: u16,
    /// The y of the diagram, 0 to 50000.
    pub y: u16,
}

impl Chromaticity {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            x: reader.u16().ok()?,
            y: reader.u16().ok()?,
        })
    }

    fn write(self, out: &mut Writer<'_>) -> Result<(), Full> {
        out.put_u16(self.x)?;
        out.put_u16(self.y)
    }
}

/// The display that the picture was mastered on (SMPTE ST 2086), and how bright it gets (CTA-861.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HdrMetadata {
    /// The brightest of the mastering display, in candela a square metre.
    pub luminance_max: u16,
    /// The darkest of the mastering display, in units of 0.0001 candela a square metre.
    pub luminance_min: u16,
    /// The red of the mastering display.
    pub red: Chromaticity,
    /// The green of the mastering display.
    pub green: Chromaticity,
    /// The blue of the mastering display.
    pub blue: Chromaticity,
    /// The white of the mastering display.
    pub white: Chromaticity,
    /// The brightest pixel of all, in candela a square metre.
    pub max_content_light_level: u16,
    /// The brightest frame on average, in candela a square metre.
    pub max_frame_average_light_level: u16,
}

impl Extension for ColorSpace {
    const KINDS: &'static [Kind] = &[Kind::ColorSpace];

    fn kind(&self) -> Kind {
        Kind::ColorSpace
    }

    fn parse(_: Kind, data: &[u8]) -> Option<Self> {
        if !matches!(data.len(), SHORT_LEN | LONG_LEN) {
            return None;
        }
        let mut reader = Reader::new(data);
        let [primaries, transfer, matrix, bits] = reader.array().ok()?;
        let hdr = if reader.is_empty() {
            None
        } else {
            Some(HdrMetadata {
                luminance_max: reader.u16().ok()?,
                luminance_min: reader.u16().ok()?,
                red: Chromaticity::read(&mut reader)?,
                green: Chromaticity::read(&mut reader)?,
                blue: Chromaticity::read(&mut reader)?,
                white: Chromaticity::read(&mut reader)?,
                max_content_light_level: reader.u16().ok()?,
                max_frame_average_light_level: reader.u16().ok()?,
            })
        };
        Some(Self {
            primaries,
            transfer,
            matrix,
            range: bits >> 4 & 3,
            horizontal_siting: bits >> 2 & 3,
            vertical_siting: bits & 3,
            hdr,
        })
    }

    fn written_len(&self) -> usize {
        if self.hdr.is_some() { LONG_LEN } else { SHORT_LEN }
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        let bits = (self.range & 3) << 4 | (self.horizontal_siting & 3) << 2 | self.vertical_siting & 3;
        out.put_slice(&[self.primaries, self.transfer, self.matrix, bits])?;
        let Some(hdr) = &self.hdr else { return Ok(()) };
        out.put_u16(hdr.luminance_max)?;
        out.put_u16(hdr.luminance_min)?;
        for colour in [hdr.red, hdr.green, hdr.blue, hdr.white] {
            colour.write(out)?;
        }
        out.put_u16(hdr.max_content_light_level)?;
        out.put_u16(hdr.max_frame_average_light_level)
    }
}
