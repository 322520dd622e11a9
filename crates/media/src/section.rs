//! One incoming media section as negotiated: what its payload types mean.

use std::sync::Arc;

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
    /// The RIDs that may be sent, for sources to share.
    rids: Vec<Arc<str>>,
}

/// What a payload type is for. RED and FEC, once they are undone here, are such uses too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// The codec at this index.
    Media(usize),
    /// It brings packets of the codec at this index back (RFC 4588).
    Rtx(usize),
}

impl Section {
    pub(crate) fn new(id: ReceiverId, config: ReceiverConfig) -> Self {
        let depacketizers = config.codecs.iter().map(|codec| Depacketizer::new(&codec.name));
        Self {
            id,
            depacketizers: depacketizers.collect(),
            nacks: config.codecs.iter().any(|codec| codec.feedback.nack),
            rids: config.rids.iter().map(|rid| rid.as_str().into()).collect(),
            config,
        }
    }

    /// What a payload type is for, if it was negotiated.
    pub(crate) fn use_of(&self, payload_type: u8) -> Option<Use> {
        let codecs = &self.config.codecs;
        let rtx = codecs
            .iter()
            .position(|codec| codec.rtx_payload_type == Some(payload_type));
        let media = || codecs.iter().position(|codec| codec.payload_type == payload_type);
        rtx.map(Use::Rtx).or_else(|| media().map(Use::Media))
    }

    /// The codec at an index, and what finds its frames.
    #[inline]
    pub(crate) fn codec(&self, index: usize) -> Option<(&Codec, Depacketizer)> {
        Some((self.config.codecs.get(index)?, *self.depacketizers.get(index)?))
    }

    /// Whether a source may have this RID: any, where none were negotiated (RFC 8853 §5.2).
    pub(crate) fn allows_rid(&self, rid: &str) -> bool {
        self.rids.is_empty() || self.rids.iter().any(|known| &**known == rid)
    }

    /// The RID as an owned name: one that was negotiated is shared.
    pub(crate) fn rid(&self, rid: &str) -> Arc<str> {
        let known = self.rids.iter().find(|known| &***known == rid);
        known.map_or_else(|| rid.into(), Arc::clone)
    }
}
