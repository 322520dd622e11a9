//! The extensions that come with few packets: known, carried on as they came, and read by who asks.

use std::fmt;
use std::sync::Arc;

use antiphon_sansio::Writer;

use super::{
    ColorSpace, CorruptionDetection, Extension, FrameMarking, FrameTrackingId, GenericFrameDescriptor,
    InbandComfortNoise, Kind, NtpTimestamp, VideoContentType, VideoLayersAllocation, VideoTiming, dependency,
};

/// Whether the data of an element is what its kind says it is. Of a [`Kind::DependencyDescriptor`] only that is asked which
/// needs no structure.
pub fn is_well_formed(kind: Kind, data: &[u8]) -> bool {
    fn is<T: Extension>(kind: Kind, data: &[u8]) -> bool {
        T::parse(kind, data).is_some()
    }
    match kind {
        Kind::Mid | Kind::Rid | Kind::RepairedRid | Kind::CsrcAudioLevel | Kind::AudioLevel => !data.is_empty(),
        Kind::TransportCc => data.len() == 2,
        Kind::TransportCc2 => matches!(data.len(), 2 | 4),
        Kind::AbsSendTime | Kind::TransmissionOffset | Kind::PlayoutDelay => data.len() == 3,
        Kind::VideoOrientation => data.len() == 1,
        Kind::AbsCaptureTime => matches!(data.len(), 8 | 16),
        Kind::VideoContentType => is::<VideoContentType>(kind, data),
        Kind::VideoTiming => is::<VideoTiming>(kind, data),
        Kind::ColorSpace => is::<ColorSpace>(kind, data),
        Kind::VideoLayersAllocation => is::<VideoLayersAllocation>(kind, data),
        Kind::DependencyDescriptor => dependency::FrameStart::parse(data).is_some(),
        Kind::GenericFrameDescriptor | Kind::GenericFrameDescriptor01 => is::<GenericFrameDescriptor>(kind, data),
        Kind::FrameMarking => is::<FrameMarking>(kind, data),
        Kind::CorruptionDetection => is::<CorruptionDetection>(kind, data),
        Kind::InbandComfortNoise => is::<InbandComfortNoise>(kind, data),
        Kind::VideoFrameTrackingId => is::<FrameTrackingId>(kind, data),
        Kind::Ntp64 | Kind::Ntp56 => is::<NtpTimestamp>(kind, data),
    }
}

/// Where the data of an element lies.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    at: u16,
    /// At most 255. No byte is without meaning, so that a packet's places are made by a few wide writes.
    len: u16,
}

/// The elements of one packet that have no field in [`Values`](super::Values), borrowed from it: one of each kind.
#[derive(Clone, Copy, Default)]
pub struct Others<'a> {
    block: &'a [u8],
    /// One bit for each kind that is there.
    there: u16,
    places: [Place; Kind::OTHERS],
}

impl<'a> Others<'a> {
    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.there == 0
    }

    /// The data of an element; `None` if it is not there, or has a field in [`Values`](super::Values).
    #[inline]
    pub fn get(&self, kind: Kind) -> Option<&'a [u8]> {
        let index = kind.other()?;
        if self.there & 1 << index == 0 {
            return None;
        }
        let place = self.places.get(index)?;
        self.block.get(usize::from(place.at)..)?.get(..usize::from(place.len))
    }

    /// An element, read. `None` if it is not there, or not of its form.
    pub fn read<T: Extension>(&self) -> Option<T> {
        T::KINDS
            .iter()
            .find_map(|kind| self.get(*kind).and_then(|data| T::parse(*kind, data)))
    }

    /// All of them, as they came.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &'a [u8])> + Clone + use<'a> {
        let all = *self;
        let mut left = self.there;
        std::iter::from_fn(move || {
            // One bit at a time: most packets have none of these.
            while left != 0 {
                let index = left.trailing_zeros() as usize;
                left &= left - 1;
                let kind = *Kind::ALL.get(Kind::FIELDS + index)?;
                if let Some(data) = all.get(kind) {
                    return Some((kind, data));
                }
            }
            None
        })
    }

    /// Notes an element of `block`. A kind that comes twice counts as it came last; one without data is not there.
    #[inline]
    pub(super) fn note(&mut self, kind: Kind, block: &'a [u8], data: &'a [u8]) {
        // `data` lies in `block`, which is no longer than a packet.
        let at = data.as_ptr().addr().wrapping_sub(block.as_ptr().addr());
        let (Some(index), Ok(at), len @ 1..=255) = (kind.other(), u16::try_from(at), data.len()) else {
            return;
        };
        if let Some(place) = self.places.get_mut(index) {
            *place = Place { at, len: len as u16 };
            self.block = block;
            self.there |= 1 << index;
        }
    }
}

impl PartialEq for Others<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.there == other.there && self.iter().eq(other.iter())
    }
}

impl Eq for Others<'_> {}

impl fmt::Debug for Others<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Bytes of elements that are kept without memory of their own: a dependency descriptor with a frame's own differences, and
/// a video timing beside it.
const INLINE: usize = 22;

/// Elements that have no field in [`Values`](super::Values), owned: what is to be written, and what a forwarder keeps of a
/// packet until it is sent. Two words and a half; what does not fit in them, which is what comes with a key frame, is shared.
///
/// ```
/// use antiphon_rtp::extension::{Kind, Map, OwnedOthers, Values, VideoContentType};
/// use antiphon_rtp::packet::{Header, Packet};
///
/// let mut map = Map::default();
/// map.insert(7, Kind::VideoContentType);
/// let mut others = OwnedOthers::default();
/// assert!(others.put(&VideoContentType(1)));
/// let values = Values { others: others.borrow(), ..Values::default() };
/// let mut buffer = [0; 100];
/// let mut out = antiphon_sansio::Writer::new(&mut buffer);
/// Header::default().write(&[], &values, &map, &mut out)?;
/// let packet = Packet::parse(out.finish())?;
/// assert_eq!(packet.values(&map).others.read(), Some(VideoContentType(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct OwnedOthers(Store);

/// Kind, length and data of each element, one behind the other.
#[derive(Clone)]
enum Store {
    Inline { len: u8, bytes: [u8; INLINE] },
    Shared(Arc<[u8]>),
}

impl Default for OwnedOthers {
    fn default() -> Self {
        Self(Store::Inline {
            len: 0,
            bytes: [0; INLINE],
        })
    }
}

impl OwnedOthers {
    /// Most bytes of all elements together, two for each and their data; those that go beyond are left out. A structure of a
    /// dependency descriptor and an allocation of layers fit, and a peer cannot make a header as long as a packet.
    pub const MAX_LEN: usize = 512;

    fn bytes(&self) -> &[u8] {
        match &self.0 {
            Store::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Store::Shared(bytes) => bytes,
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Store::Inline { len: 0, .. })
    }

    /// The bytes that they take in a header, at most: two for each, and their data.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Store::Inline { len, .. } => usize::from(*len),
            Store::Shared(bytes) => bytes.len(),
        }
    }

    /// A copy of those that are borrowed.
    #[inline]
    pub fn of(others: &Others<'_>) -> Self {
        if others.is_empty() {
            Self::default()
        } else {
            Self::collect(others.iter())
        }
    }

    fn collect<'a>(elements: impl Iterator<Item = (Kind, &'a [u8])> + Clone) -> Self {
        fn put(out: &mut impl Extend<u8>, kind: Kind, data: &[u8]) {
            out.extend([kind as u8, data.len() as u8]);
            out.extend(data.iter().copied());
        }
        let len: usize = elements.clone().map(|(_, data)| 2 + data.len()).sum();
        if len > INLINE {
            let mut all = Vec::with_capacity(len.min(Self::MAX_LEN));
            for (kind, data) in elements {
                if all.len() + 2 + data.len() <= Self::MAX_LEN {
                    put(&mut all, kind, data);
                }
            }
            return Self(Store::Shared(all.into()));
        }
        let mut bytes = [0; INLINE];
        let mut at = 0;
        for (kind, data) in elements {
            if let Some([first, second, place @ ..]) = bytes.get_mut(at..at + 2 + data.len()) {
                (*first, *second) = (kind as u8, data.len() as u8);
                place.copy_from_slice(data);
                at += 2 + data.len();
            }
        }
        Self(Store::Inline { len: at as u8, bytes })
    }

    /// Sets the data of one element, 1 to 255 bytes; without data it is taken away. A kind that has a field in
    /// [`Values`](super::Values) is left alone.
    pub fn set(&mut self, kind: Kind, data: &[u8]) {
        if kind.other().is_none() || data.len() > 255 {
            return;
        }
        let before = self.borrow();
        let kept = before.iter().filter(|(other, _)| *other != kind);
        *self = Self::collect(kept.chain((!data.is_empty()).then_some((kind, data))));
    }

    /// Sets one element; `false` if it is longer than an element can be.
    pub fn put<T: Extension>(&mut self, extension: &T) -> bool {
        let mut buffer = [0; 255];
        let mut out = Writer::new(&mut buffer);
        let fits = extension.write(&mut out).is_ok();
        if fits {
            self.set(extension.kind(), out.finish());
        }
        fits
    }

    /// Takes one element away.
    pub fn remove(&mut self, kind: Kind) {
        self.set(kind, &[]);
    }

    /// The elements, borrowed.
    pub fn borrow(&self) -> Others<'_> {
        let block = self.bytes();
        let mut others = Others::default();
        let mut rest = block;
        while let [kind, len, behind @ ..] = rest {
            let Some((data, behind)) = behind.split_at_checked(usize::from(*len)) else {
                break;
            };
            if let Some(kind) = Kind::ALL.get(usize::from(*kind)) {
                others.note(*kind, block, data);
            }
            rest = behind;
        }
        others
    }
}

impl PartialEq for OwnedOthers {
    fn eq(&self, other: &Self) -> bool {
        self.borrow() == other.borrow()
    }
}

impl Eq for OwnedOthers {}

impl fmt::Debug for OwnedOthers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrow().fmt(f)
    }
}
