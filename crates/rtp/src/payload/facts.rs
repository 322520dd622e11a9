//! What is known of a whole frame beside its bytes.

use crate::bitstream::Resolution;

/// What payload headers and bitstream tell of a frame: which layers of its stream it belongs to, and what may be done without it.
/// Of a format without layers, and of sound, everything is as by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FrameFacts {
    /// The highest spatial layer in the picture, from 0. A frame is the whole picture: all layer frames of its timestamp.
    pub spatial: u8,
    /// The temporal layer, from 0. A frame needs none of a higher layer.
    pub temporal: u8,
    /// Whether no other frame needs it: it may be dropped alone.
    pub discardable: bool,
    /// Whether a receiver of lower temporal layers may go up to this layer here.
    pub switching_point: bool,
    /// The running number of the picture, where the payload format has one: of 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// The running number of the last picture of temporal layer 0 (TL0PICIDX), where the payload format has one.
    pub base_picture_index: Option<u8>,
    /// The picture's size. Key frames tell it; other frames have `None`.
    pub resolution: Option<Resolution>,
}
