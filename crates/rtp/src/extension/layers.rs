//! What a sender spends on which layer ("video-layers-allocation00" of libwebrtc's experiments).

use antiphon_sansio::{Full, Reader, Writer};

use super::{Extension, Kind};

const STREAMS: usize = 4;
const SPATIAL: usize = 4;

/// What a sender spends on each spatial and temporal layer of each of its RTP streams, so that a forwarder can choose. It
/// stands in packets of key frames, and where it changes.
///
/// ```text
/// |RID| NS| sl_bm |                 this stream's index, streams less one, layers if the same for all
/// |sl0_bm |sl1_bm | sl2.. | sl3.. | if sl_bm is 0: two streams a byte
/// |#tl|#tl|#tl|#tl|                 temporal layers less one, of each spatial layer of each stream
/// : kbit/s of each temporal layer : LEB128, each with what is below it
/// : width-1 | height-1 | fps      : 5 bytes for each spatial layer, may be absent
/// ```
///
/// No layer at all, which says that nothing is sent, is the one byte 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VideoLayersAllocation {
    /// The index of the stream that carries it, 0 to 3.
    pub stream: u8,
    streams: [[Option<Layer>; SPATIAL]; STREAMS],
    count: u8,
}

/// What is spent on one spatial layer of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    temporal: u8,
    kbps: [u32; Layer::MAX_TEMPORAL],
    /// How large and how fast its pictures are; of all layers or of none.
    pub resolution: Option<Resolution>,
}

/// How large and how fast the pictures of a layer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Pixels in a line, 1 to 65536.
    pub width: u32,
    /// Lines, 1 to 65536.
    pub height: u32,
    /// Most frames a second, 0 to 255.
    pub max_framerate: u8,
}

impl Layer {
    /// Most temporal layers of a spatial layer.
    pub const MAX_TEMPORAL: usize = 4;

    /// A layer whose temporal layers need so many kbit/s, each with those below it: 1 to 4 of them, others are left out.
    pub fn new(kbps: &[u32]) -> Self {
        let mut layer = Self {
            temporal: kbps.len().clamp(1, Self::MAX_TEMPORAL) as u8,
            ..Self::default()
        };
        for (place, rate) in layer.kbps.iter_mut().zip(kbps) {
            *place = *rate;
        }
        layer
    }

    /// The kbit/s that each temporal layer needs with those below it, 1 to 4 of them.
    pub fn kbps(&self) -> &[u32] {
        self.kbps.get(..usize::from(self.temporal)).unwrap_or_default()
    }
}

/// A number of seven bits a byte, low ones first, of at most 32 bits (AV1 bitstream specification §4.10.5).
fn leb128(reader: &mut Reader<'_>) -> Option<u32> {
    let mut value = 0u64;
    for shift in (0..35).step_by(7) {
        let byte = reader.u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).ok();
        }
    }
    None
}

fn leb128_len(value: u32) -> usize {
    (32 - value.leading_zeros()).div_ceil(7).max(1) as usize
}

fn put_leb128(mut value: u32, out: &mut Writer<'_>) -> Result<(), Full> {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80)?;
        value >>= 7;
    }
    out.put_u8(value as u8)
}

impl VideoLayersAllocation {
    /// An allocation without layers, for a stream of this index (0 to 3) among so many (1 to 4).
    pub fn new(stream: u8, streams: u8) -> Self {
        Self {
            stream: stream & 3,
            count: streams.clamp(1, STREAMS as u8),
            ..Self::default()
        }
    }

    /// How many streams it speaks of, 1 to 4; 0 if it says that nothing is sent.
    pub fn stream_count(&self) -> u8 {
        self.count
    }

    /// A spatial layer of a stream, if it is sent.
    pub fn layer(&self, stream: u8, spatial: u8) -> Option<&Layer> {
        self.streams
            .get(usize::from(stream))?
            .get(usize::from(spatial))?
            .as_ref()
    }

    /// Sets a spatial layer (0 to 3) of a stream; `false` if there is no such stream or layer.
    pub fn set_layer(&mut self, stream: u8, spatial: u8, layer: Option<Layer>) -> bool {
        let there = stream < self.count;
        let slot = self.streams.get_mut(usize::from(stream));
        match slot.and_then(|layers| layers.get_mut(usize::from(spatial))) {
            Some(slot) if there => {
                *slot = layer;
                true
            }
            _ => false,
        }
    }

    /// All layers that are sent: stream, spatial layer and what is spent, in the order of the wire.
    pub fn layers(&self) -> impl Iterator<Item = (u8, u8, &Layer)> {
        (0u8..).zip(&self.streams).flat_map(|(stream, layers)| {
            (0u8..)
                .zip(layers)
                .filter_map(move |(spatial, layer)| Some((stream, spatial, layer.as_ref()?)))
        })
    }

    /// The spatial layers of a stream, one bit each.
    fn mask(&self, stream: usize) -> u8 {
        let layers = self.streams.get(stream).into_iter().flatten();
        (0..)
            .zip(layers)
            .fold(0, |mask, (bit, layer)| mask | u8::from(layer.is_some()) << bit)
    }

    /// The mask that all streams have, if they have one.
    fn common_mask(&self) -> Option<u8> {
        let first = self.mask(0);
        (0..usize::from(self.count))
            .all(|stream| self.mask(stream) == first)
            .then_some(first)
    }

    fn says_nothing(&self) -> bool {
        self.layers().next().is_none()
    }

    /// Whether the layers' sizes are written: that of all.
    fn writes_resolutions(&self) -> bool {
        self.layers().all(|(_, _, layer)| layer.resolution.is_some())
    }
}

impl Extension for VideoLayersAllocation {
    const KINDS: &'static [Kind] = &[Kind::VideoLayersAllocation];

    fn kind(&self) -> Kind {
        Kind::VideoLayersAllocation
    }

    fn parse(_: Kind, data: &[u8]) -> Option<Self> {
        if data == [0] {
            return Some(Self::default());
        }
        let mut reader = Reader::new(data);
        let bits = reader.u8().ok()?;
        let mut all = Self::new(bits >> 6, (bits >> 4 & 3) + 1);
        let count = usize::from(all.count);
        let mut masks = [bits & 0xf; STREAMS];
        if bits & 0xf == 0 {
            let [first, second] = [reader.u8().ok()?, if count > 2 { reader.u8().ok()? } else { 0 }];
            masks = [first >> 4, first & 0xf, second >> 4, second & 0xf];
        }
        // Two bits for each layer, then the rates of each: the numbers of temporal layers are read ahead of them.
        let layers: u32 = masks.iter().take(count).map(|mask| mask.count_ones()).sum();
        let mut temporal = reader.take((layers as usize).div_ceil(4)).ok()?.iter();
        let (mut bits, mut left) = (0, 0);
        for (mask, layers) in masks.iter().zip(&mut all.streams).take(count) {
            for (_, layer) in (0..).zip(layers).filter(|(bit, _)| mask & 1 << bit != 0) {
                if left == 0 {
                    (bits, left) = (*temporal.next()?, 4);
                }
                let mut rates = [0; Layer::MAX_TEMPORAL];
                let count = usize::from(bits >> 6) + 1;
                (bits, left) = (bits << 2, left - 1);
                for rate in rates.iter_mut().take(count) {
                    *rate = leb128(&mut reader)?;
                }
                *layer = Some(Layer::new(rates.get(..count)?));
            }
        }
        if reader.remaining() == layers as usize * 5 {
            for layer in all.streams.iter_mut().flatten().flatten() {
                layer.resolution = Some(Resolution {
                    width: u32::from(reader.u16().ok()?) + 1,
                    height: u32::from(reader.u16().ok()?) + 1,
                    max_framerate: reader.u8().ok()?,
                });
            }
        }
        if layers == 0 {
            all = Self::default();
        }
        reader.is_empty().then_some(all)
    }

    fn written_len(&self) -> usize {
        if self.says_nothing() {
            return 1;
        }
        let masks = match self.common_mask() {
            Some(1..) => 0,
            _ => usize::from(self.count).div_ceil(2),
        };
        let layers = self.layers().count();
        let rates = self.layers().flat_map(|(_, _, layer)| layer.kbps());
        let sizes = if self.writes_resolutions() { 5 * layers } else { 0 };
        1 + masks + layers.div_ceil(4) + rates.map(|rate| leb128_len(*rate)).sum::<usize>() + sizes
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        if self.says_nothing() {
            return out.put_u8(0);
        }
        let common = self.common_mask().unwrap_or(0);
        out.put_u8((self.stream & 3) << 6 | (self.count.saturating_sub(1) & 3) << 4 | common)?;
        if common == 0 {
            for stream in (0..usize::from(self.count)).step_by(2) {
                out.put_u8(self.mask(stream) << 4 | self.mask(stream + 1))?;
            }
        }
        let mut layers = self
            .layers()
            .map(|(_, _, layer)| layer.temporal.saturating_sub(1))
            .peekable();
        while layers.peek().is_some() {
            let four = (0..4).fold(0, |bits, _| bits << 2 | layers.next().unwrap_or(0));
            out.put_u8(four)?;
        }
        for rate in self.layers().flat_map(|(_, _, layer)| layer.kbps()) {
            put_leb128(*rate, out)?;
        }
        if self.writes_resolutions() {
            for resolution in self.layers().filter_map(|(_, _, layer)| layer.resolution) {
                out.put_u16(resolution.width.saturating_sub(1).min(0xffff) as u16)?;
                out.put_u16(resolution.height.saturating_sub(1).min(0xffff) as u16)?;
                out.put_u8(resolution.max_framerate)?;
            }
        }
        Ok(())
    }
}
