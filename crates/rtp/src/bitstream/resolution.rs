//! The size of a picture.

use super::bits::Bits;

/// Width and height of a picture, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resolution {
    /// Pixels in a row, as they are to be shown: cropping is done, scaling is not. Up to 65536.
    pub width: u32,
    /// Rows of pixels, likewise. Up to 65536.
    pub height: u32,
}

/// The size of a picture behind its cropping window, which is read: it counts in samples of colour, and in pairs of lines where a picture
/// has two `fields` (ITU-T H.264 §7.4.2.1.1, H.265 §7.4.3.2.1, H.266 §7.4.3.4).
pub(crate) fn cropped(bits: &mut Bits<'_>, size: [u32; 2], chroma: u32, fields: u32) -> Option<Resolution> {
    let [left, right, top, bottom] = if bits.flag()? {
        [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?]
    } else {
        [0; 4]
    };
    let unit_x = if matches!(chroma, 1 | 2) { 2 } else { 1 };
    let unit_y = if chroma == 1 { 2 } else { 1 } * fields;
    let crop = |size: u32, a: u32, b: u32, unit: u32| size.checked_sub(a.checked_add(b)?.checked_mul(unit)?);
    let [width, height] = size;
    Some(Resolution {
        width: crop(width, left, right, unit_x)?,
        height: crop(height, top, bottom, unit_y)?,
    })
}
