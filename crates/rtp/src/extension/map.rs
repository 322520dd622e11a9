//! Which identifier stands for which extension in one media section (RFC 8285 §5).

use super::Kind;

/// Identifiers from 1 to this have their place in the map itself: all that the one-byte form can carry (RFC 8285 §4.2).
const LOW: usize = 14;
/// The others, of which the first, 15, is never used.
const HIGH: usize = 255 - LOW;

/// Which identifier stands for which extension, as negotiated for one media section (RFC 8285 §5).
///
/// Each section of each peer has some of these, so it is small; only who uses identifiers above 14 pays for a table of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Map {
    low: [Option<Kind>; LOW],
    ids: [u8; Kind::ALL.len()],
    one_byte_only: bool,
    high: Option<Box<[Option<Kind>; HIGH]>>,
}

impl std::fmt::Debug for Map {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Map {
    /// Lets `id` stand for `kind`. Id 0 is padding and id 15 is no identifier in the one-byte form (RFC 8285 §4.2); both
    /// are ignored. An extension that is mapped twice keeps being read under both and is written under the later one.
    pub fn insert(&mut self, id: u8, kind: Kind) {
        if id == 0 || id == 15 {
            return;
        }
        let index = usize::from(id) - 1;
        let slot = match index.checked_sub(LOW) {
            None => self.low.get_mut(index),
            Some(index) => self.high.get_or_insert_with(|| Box::new([None; HIGH])).get_mut(index),
        };
        if let Some(slot) = slot {
            *slot = Some(kind);
            self.ids[kind as usize] = id;
        }
    }

    /// Like [`Self::insert`] by URI. Returns whether the extension is known here.
    pub fn insert_uri(&mut self, id: u8, uri: &str) -> bool {
        let kind = Kind::from_uri(uri);
        if let Some(kind) = kind {
            self.insert(id, kind);
        }
        kind.is_some()
    }

    /// Makes an extension unknown again.
    pub fn remove(&mut self, kind: Kind) {
        self.ids[kind as usize] = 0;
        let high = self.high.iter_mut().flat_map(|high| high.iter_mut());
        for slot in self.low.iter_mut().chain(high) {
            if *slot == Some(kind) {
                *slot = None;
            }
        }
    }

    /// What `id` stands for.
    #[inline]
    pub fn kind(&self, id: u8) -> Option<Kind> {
        let index = usize::from(id).wrapping_sub(1);
        match self.low.get(index) {
            Some(kind) => *kind,
            None => *self.high.as_ref()?.get(index.wrapping_sub(LOW))?,
        }
    }

    /// The same for the identifiers of the one-byte form, 1 to 14.
    #[inline]
    pub(super) fn low_kind(&self, id: u8) -> Option<Kind> {
        *self.low.get(usize::from(id).wrapping_sub(1))?
    }

    /// Whether what is written takes the one-byte form alone, since the peer did not agree to a mixture (`a=extmap-allow-mixed`,
    /// RFC 8285 §4.1.2 and §6): an element that needs the two-byte form is then left out. Both forms are always read.
    pub fn set_one_byte_only(&mut self, only: bool) {
        self.one_byte_only = only;
    }

    /// Whether elements that need the two-byte form are left out of what is written.
    #[inline]
    pub fn is_one_byte_only(&self) -> bool {
        self.one_byte_only
    }

    /// The identifier of `kind`.
    #[inline]
    pub fn id(&self, kind: Kind) -> Option<u8> {
        match self.ids[kind as usize] {
            0 => None,
            id => Some(id),
        }
    }

    /// All identifiers and what they stand for.
    pub fn iter(&self) -> impl Iterator<Item = (u8, Kind)> + '_ {
        (0..=255u8).filter_map(|id| self.kind(id).map(|kind| (id, kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_small_and_takes_every_identifier() {
        assert!(size_of::<Map>() <= 48, "{}", size_of::<Map>());
        let mut map = Map::default();
        for id in 0..=255 {
            map.insert(id, Kind::ALL[usize::from(id) % Kind::ALL.len()]);
        }
        let taken: Vec<u8> = map.iter().map(|(id, _)| id).collect();
        assert_eq!(taken, (1..15).chain(16..=255).collect::<Vec<u8>>());
        assert_eq!((map.kind(0), map.kind(15)), (None, None));
        assert_eq!(map.id(Kind::Mid), Some(250), "the later one");
        assert_eq!((map.kind(25), map.kind(250)), (Some(Kind::Mid), Some(Kind::Mid)));
        map.remove(Kind::Mid);
        assert_eq!((map.id(Kind::Mid), map.kind(25), map.kind(250)), (None, None, None));
    }
}
