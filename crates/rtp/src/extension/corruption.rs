//! A few samples of the picture, by which a receiver sees whether it decodes what was encoded ("corruption-detection" of
//! libwebrtc's experiments). They say something of the picture to whoever reads headers: only for encrypted extensions.

use antiphon_sansio::{Full, Writer};

use super::{Extension, Kind};

/// Where to look, and what should be there.
///
/// ```text
/// |B|  seq index  |    std dev    | Y err | UV err|    sample 0   | ... up to 13 samples
/// ```
///
/// Alone its first byte keeps both ends in step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorruptionDetection {
    /// Whether `index` are the high seven bits of the place in the sequence (the low ones are zero), and not the low ones.
    pub high_bits: bool,
    /// Seven bits of the place in the Halton sequence of the first sample.
    pub index: u8,
    /// How far the samples are blurred: the standard deviation, 0 to 255 for 0.0 to 40.0.
    pub deviation: u8,
    /// By how much luma may differ, 0 to 15.
    pub luma_threshold: u8,
    /// By how much chroma may differ, 0 to 15.
    pub chroma_threshold: u8,
    len: u8,
    samples: [u8; CorruptionDetection::MAX_SAMPLES],
}

impl CorruptionDetection {
    /// Most samples of one packet: with them the element is as long as the one-byte form can carry.
    pub const MAX_SAMPLES: usize = 13;

    /// The samples.
    pub fn samples(&self) -> &[u8] {
        self.samples.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Sets the samples, the first [`Self::MAX_SAMPLES`].
    pub fn set_samples(&mut self, samples: &[u8]) {
        self.samples = [0; Self::MAX_SAMPLES];
        self.len = samples.len().min(Self::MAX_SAMPLES) as u8;
        for (place, sample) in self.samples.iter_mut().zip(samples) {
            *place = *sample;
        }
    }
}

impl Extension for CorruptionDetection {
    const KINDS: &'static [Kind] = &[Kind::CorruptionDetection];

    fn kind(&self) -> Kind {
        Kind::CorruptionDetection
    }

    fn parse(_: Kind, data: &[u8]) -> Option<Self> {
        let (first, rest) = data.split_first()?;
        let mut message = Self {
            high_bits: first & 0x80 != 0,
            index: first & 0x7f,
            ..Self::default()
        };
        match rest {
            [] => {}
            [deviation, thresholds, samples @ ..] if (1..=Self::MAX_SAMPLES).contains(&samples.len()) => {
                message.deviation = *deviation;
                (message.luma_threshold, message.chroma_threshold) = (thresholds >> 4, thresholds & 0xf);
                message.set_samples(samples);
            }
            _ => return None,
        }
        Some(message)
    }

    fn written_len(&self) -> usize {
        match self.len {
            0 => 1,
            samples => 3 + usize::from(samples),
        }
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        out.put_u8(u8::from(self.high_bits) << 7 | self.index & 0x7f)?;
        if self.len == 0 {
            return Ok(());
        }
        out.put_u8(self.deviation)?;
        out.put_u8((self.luma_threshold & 0xf) << 4 | self.chroma_threshold & 0xf)?;
        out.put_slice(self.samples())
    }
}
