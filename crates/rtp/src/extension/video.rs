//! Extensions of one small number that speak of a picture: how it is turned, what it shows, which one it is.

use antiphon_sansio::{Full, Writer};

use super::{Extension, Kind};

/// Camera orientation (3GPP TS 26.114 §7.4.5).
///
/// ```text
/// |0 0 0 0|C|F|R R|
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VideoOrientation {
    /// Whether it is the camera at the back.
    pub back_camera: bool,
    /// Whether the picture is mirrored.
    pub flipped: bool,
    /// Clockwise quarter turns to apply, 0 to 3.
    pub quarter_turns: u8,
}

impl VideoOrientation {
    #[inline]
    pub(super) fn from_bits(bits: u8) -> Self {
        Self {
            back_camera: bits & 0b1000 != 0,
            flipped: bits & 0b0100 != 0,
            quarter_turns: bits & 0b0011,
        }
    }

    #[inline]
    pub(super) fn bits(self) -> u8 {
        u8::from(self.back_camera) << 3 | u8::from(self.flipped) << 2 | self.quarter_turns & 3
    }
}

/// What the picture shows ("video-content-type" of libwebrtc's experiments). It stands in the last packet of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VideoContentType(
    /// 0 a camera's picture, 1 a screen; other numbers have had meanings in experiments.
    pub u8,
);

impl VideoContentType {
    /// Whether it is a screen, whose text shall stay sharp.
    pub fn is_screen(self) -> bool {
        self.0 & 1 != 0
    }
}

impl Extension for VideoContentType {
    const KINDS: &'static [Kind] = &[Kind::VideoContentType];

    fn kind(&self) -> Kind {
        Kind::VideoContentType
    }

    fn parse(_: Kind, data: &[u8]) -> Option<Self> {
        let &[number] = data else { return None };
        Some(Self(number))
    }

    fn written_len(&self) -> usize {
        1
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        out.put_u8(self.0)
    }
}

/// The number of a frame, by which a test finds it again at the other end ("video-frame-tracking-id" of libwebrtc's
/// experiments). It stands in the first packet of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameTrackingId {
    /// As libwebrtc writes it.
    Short(u16),
    /// As its description has it since 2024.
    Long(u32),
}

impl Extension for FrameTrackingId {
    const KINDS: &'static [Kind] = &[Kind::VideoFrameTrackingId];

    fn kind(&self) -> Kind {
        Kind::VideoFrameTrackingId
    }

    fn parse(_: Kind, data: &[u8]) -> Option<Self> {
        match *data {
            [a, b] => Some(Self::Short(u16::from_be_bytes([a, b]))),
            [a, b, c, d] => Some(Self::Long(u32::from_be_bytes([a, b, c, d]))),
            _ => None,
        }
    }

    fn written_len(&self) -> usize {
        match self {
            Self::Short(_) => 2,
            Self::Long(_) => 4,
        }
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        match *self {
            Self::Short(id) => out.put_u16(id),
            Self::Long(id) => out.put_u32(id),
        }
    }
}
