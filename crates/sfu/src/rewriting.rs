//! The front of a payload under other numbers.

use antiphon_media::Front;
use antiphon_rtp::payload::vp8;

use crate::facts::{Body, Vp9};

/// What is added to the running numbers of a payload format, so that they go on where the source before ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shifts {
    /// TL0PICIDX, 8 bits.
    pub(crate) base_picture: u8,
    /// KEYIDX, 5 bits.
    pub(crate) key_picture: u8,
}

impl Body {
    /// The running number of the picture, and its bits.
    pub(crate) fn picture_id(&self) -> Option<(u16, u32)> {
        match self {
            Self::Vp8(descriptor, _) => descriptor.picture_id.map(|id| match id {
                vp8::PictureId::Short(id) => (id.into(), 7),
                vp8::PictureId::Long(id) => (id, 15),
            }),
            Self::Vp9(vp9) => vp9.picture_id.map(|(id, long)| (id, if long { 15 } else { 7 })),
            Self::Plain | Self::Padding => None,
        }
    }

    /// TL0PICIDX.
    pub(crate) fn base_picture(&self) -> Option<u8> {
        match self {
            Self::Vp8(descriptor, _) => descriptor.tl0_picture_index,
            Self::Vp9(vp9) => vp9.layer.and_then(|(_, index)| index),
            Self::Plain | Self::Padding => None,
        }
    }

    /// KEYIDX.
    pub(crate) fn key_picture(&self) -> Option<u8> {
        match self {
            Self::Vp8(descriptor, _) => descriptor.key_index,
            _ => None,
        }
    }

    /// What stands at the front of the payload instead; `None`: it stays. Picture ids have 15 bits whatever the source
    /// has, so that a source may change its mind, and another one have another.
    pub(crate) fn front(&self, picture: Option<u64>, shifts: Shifts) -> Option<Front> {
        match self {
            Self::Vp8(descriptor, len) => {
                let written = vp8::Descriptor {
                    picture_id: picture.map(|id| vp8::PictureId::Long(id as u16 & 0x7fff)),
                    tl0_picture_index: descriptor
                        .tl0_picture_index
                        .map(|index| index.wrapping_add(shifts.base_picture)),
                    key_index: descriptor
                        .key_index
                        .map(|index| index.wrapping_add(shifts.key_picture) & 0x1f),
                    ..*descriptor
                };
                let mut bytes = [0; vp8::MAX_DESCRIPTOR];
                let written_len = written.write(&mut bytes);
                (written != *descriptor).then(|| Front::new(bytes.get(..written_len).unwrap_or_default(), *len))
            }
            Self::Vp9(vp9) => vp9.front(picture, shifts),
            Self::Plain | Self::Padding => None,
        }
    }
}

impl Vp9 {
    fn front(&self, picture: Option<u64>, shifts: Shifts) -> Option<Front> {
        let mut bytes = [0; Front::MAX_LEN];
        let mut len = 0;
        let mut put = |byte: u8| {
            if let Some(place) = bytes.get_mut(len) {
                *place = byte;
                len += 1;
            }
        };
        let mut replaced = 1;
        let mut changed = false;
        put(self.flags);
        if let (Some((id, long)), Some(picture)) = (self.picture_id, picture) {
            let ours = picture as u16 & 0x7fff;
            let [high, low] = (0x8000 | ours).to_be_bytes();
            put(high);
            put(low);
            replaced += 1 + u8::from(long);
            changed |= !long || ours != id;
        }
        if let Some((byte, Some(index))) = self.layer {
            put(byte);
            put(index.wrapping_add(shifts.base_picture));
            replaced += 2;
            changed |= shifts.base_picture != 0;
        }
        changed.then(|| Front::new(bytes.get(..len).unwrap_or_default(), replaced))
    }
}
