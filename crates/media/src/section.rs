//! What was negotiated for one incoming media section, and what a payload type in it is for.

use antiphon_rtp::fec::Format;
use antiphon_rtp::payload::Depacketizer;

use crate::config::{Codec, ReceiverConfig};
use crate::event::ReceiverId;

/// What was negotiated for a receiver. Its sources share it.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) id: ReceiverId,
    pub(crate) config: ReceiverConfig,
    /// Of each codec in `config`, in the same order.
    depacketizers: Vec<Depacketizer>,
    /// Whether NACK was negotiated, for whichever of the codecs: all of them share one row of numbers.
    pub(crate) nacks: bool,
    /// Of each codec in `config`: what it is for, if it is none of media.
    wrappers: Vec<Option<Use>>,
    /// Whether RED or forward error correction was negotiated.
    pub(crate) repairs: bool,
    /// How packets are protected, if they are.
    pub(crate) fec: Option<Format>,
}

/// What a payload type is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// The codec at this index.
    Media(usize),
    /// It brings packets of the codec at this index back (RFC 4588).
    Rtx(usize),
    /// It holds several payloads (RFC 2198).
    Red,
    /// It protects packets.
    Fec(Format),
}

/// What an encoding is for that is no codec of media.
fn wrapper(codec: &Codec) -> Option<Use> {
    if codec.name.eq_ignore_ascii_case("red") {
        return Some(Use::Red);
    }
    Format::new(&codec.name).map(Use::Fec)
}

impl Section {
    pub(crate) fn new(id: ReceiverId, config: ReceiverConfig) -> Self {
        let depacketizers = config.codecs.iter().map(|codec| Depacketizer::new(&codec.name));
        let wrappers: Vec<_> = config.codecs.iter().map(wrapper).collect();
        let fec = wrappers.iter().flatten().find_map(|wrapper| match wrapper {
            Use::Fec(format) => Some(*format),
            _ => None,
        });
        Self {
            id,
            depacketizers: depacketizers.collect(),
            nacks: config.codecs.iter().any(|codec| codec.feedback.nack),
            repairs: wrappers.iter().any(Option::is_some),
            fec,
            wrappers,
            config,
        }
    }

    /// What a payload type is for, if it was negotiated.
    pub(crate) fn use_of(&self, payload_type: u8) -> Option<Use> {
        let codecs = &self.config.codecs;
        let rtx = codecs
            .iter()
            .position(|codec| codec.rtx_payload_type == Some(payload_type));
        rtx.map(Use::Rtx).or_else(|| {
            let index = codecs.iter().position(|codec| codec.payload_type == payload_type)?;
            let wrapper = self.wrappers.get(index).copied().flatten();
            Some(wrapper.unwrap_or(Use::Media(index)))
        })
    }

    /// The payload type of the first codec of media.
    pub(crate) fn first_media(&self) -> Option<u8> {
        let media = self.config.codecs.iter().zip(&self.wrappers);
        media
            .into_iter()
            .find(|(_, wrapper)| wrapper.is_none())
            .map(|(codec, _)| codec.payload_type)
    }

    /// The codec at an index, and what finds its frames.
    #[inline]
    pub(crate) fn codec(&self, index: usize) -> Option<(&Codec, Depacketizer)> {
        Some((self.config.codecs.get(index)?, *self.depacketizers.get(index)?))
    }

    /// The place of a source among the simulcast layers of the section, in the order of the description.
    pub(crate) fn layer(&self, ssrc: u32, rid: Option<&[u8]>) -> Option<u8> {
        if let Some(rid) = rid {
            let place = self.config.rids.iter().position(|known| known.as_bytes() == rid)?;
            return u8::try_from(place).ok();
        }
        let source = self.config.sources.iter().find(|source| source.ssrc == ssrc)?;
        source.layer
    }

    /// Whether a source may have this RID: any, where none were negotiated (RFC 8853 §5.2).
    pub(crate) fn allows_rid(&self, rid: &[u8]) -> bool {
        let rids = &self.config.rids;
        rids.is_empty() || rids.iter().any(|known| known.as_bytes() == rid)
    }
}
