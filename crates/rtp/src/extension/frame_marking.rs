//! Where a frame begins and ends, what it may be dropped for, and its layers, beside an encrypted payload (RFC 9626).

use antiphon_sansio::{Full, Writer};

use super::{Extension, Kind};

/// The marks of one packet (RFC 9626 §3.1, §3.2).
///
/// ```text
/// |S|E|I|D|B| TID |   LID         |    TL0PICIDX  |
/// |S|E|I|D|0 0 0 0|
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameMarking {
    /// S: the first packet of a frame.
    pub start: bool,
    /// E: the last packet of a frame.
    pub end: bool,
    /// I: the frame can be decoded without any before it.
    pub independent: bool,
    /// D: no other frame needs this one.
    pub discardable: bool,
    /// B: spatial layers above need nothing of temporal layers above.
    pub base_layer_sync: bool,
    /// TID: the temporal layer, 0 to 7.
    pub temporal_id: u8,
    /// Which layers it belongs to; `None` for a stream without layers.
    pub layer: Option<FrameLayer>,
}

/// The layers of a packet in the long form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameLayer {
    /// LID: the spatial and quality layer, whose bits the codec defines.
    pub layer_id: u8,
    /// TL0PICIDX: counts the frames of temporal layer 0; `None` if it was left away.
    pub tl0_picture_index: Option<u8>,
}

impl Extension for FrameMarking {
    const KINDS: &'static [Kind] = &[Kind::FrameMarking];

    fn kind(&self) -> Kind {
        Kind::FrameMarking
    }

    fn parse(_: Kind, data: &[u8]) -> Option<Self> {
        let (bits, layer) = match *data {
            [bits] => (bits, None),
            [bits, layer_id] => (bits, Some((layer_id, None))),
            [bits, layer_id, index] => (bits, Some((layer_id, Some(index)))),
            _ => return None,
        };
        let bit = |n: u8| bits & 0x80 >> n != 0;
        Some(Self {
            start: bit(0),
            end: bit(1),
            independent: bit(2),
            discardable: bit(3),
            base_layer_sync: bit(4),
            temporal_id: bits & 7,
            layer: layer.map(|(layer_id, tl0_picture_index)| FrameLayer {
                layer_id,
                tl0_picture_index,
            }),
        })
    }

    fn written_len(&self) -> usize {
        match self.layer {
            None => 1,
            Some(layer) => 2 + usize::from(layer.tl0_picture_index.is_some()),
        }
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        let flags = [
            self.start,
            self.end,
            self.independent,
            self.discardable,
            self.base_layer_sync,
        ];
        let flags = flags.iter().fold(0, |bits, flag| bits << 1 | u8::from(*flag));
        out.put_u8(flags << 3 | self.temporal_id & 7)?;
        if let Some(layer) = self.layer {
            out.put_u8(layer.layer_id)?;
            if let Some(index) = layer.tl0_picture_index {
                out.put_u8(index)?;
            }
        }
        Ok(())
    }
}
