//! How peers, producers and consumers are named, and the dense tables that hold them.

/// A peer of a [`Router`](super::Router): a number that its host gives. It is the host's own business what it means, for
/// instance a place in a table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub u64);

/// A producer of a [`Router`](super::Router); never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(Key);

/// A consumer of a [`Router`](super::Router); never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(Key);

/// A place in a table, and how many were there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

/// Names the items of a [`Table`].
pub(super) trait Name: Copy {
    fn new(key: Key) -> Self;
    fn key(self) -> Key;

    /// Its place, which another gets after it.
    fn place(self) -> u32 {
        self.key().index
    }
}

impl Name for ProducerId {
    fn new(key: Key) -> Self {
        Self(key)
    }

    fn key(self) -> Key {
        self.0
    }
}

impl Name for ConsumerId {
    fn new(key: Key) -> Self {
        Self(key)
    }

    fn key(self) -> Key {
        self.0
    }
}

/// Items side by side. A place that becomes free is used again under another name.
#[derive(Clone, Debug)]
pub(super) struct Table<N, T> {
    places: Vec<Place<N, T>>,
    free: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Place<N, T> {
    name: N,
    item: Option<T>,
}

impl<N, T> Default for Table<N, T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<N: Name, T> Table<N, T> {
    /// How many items there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Puts an item into the table.
    pub(super) fn insert(&mut self, item: T) -> N {
        if let Some(index) = self.free.pop()
            && let Some(place) = self.places.get_mut(index as usize)
        {
            place.item = Some(item);
            return place.name;
        }
        let key = Key {
            index: self.places.len() as u32,
            generation: 0,
        };
        let name = N::new(key);
        self.places.push(Place { name, item: Some(item) });
        name
    }

    /// Takes an item out. Its place gets another name, and is not used any more when there are no names left.
    pub(super) fn remove(&mut self, name: N) -> Option<T> {
        let key = name.key();
        let place = self.places.get_mut(key.index as usize)?;
        if place.name.key() != key {
            return None;
        }
        let item = place.item.take()?;
        if let Some(generation) = key.generation.checked_add(1) {
            place.name = N::new(Key { generation, ..key });
            self.free.push(key.index);
        }
        Some(item)
    }

    #[inline]
    pub(super) fn get(&self, name: N) -> Option<&T> {
        let key = name.key();
        let place = self.places.get(key.index as usize)?;
        place.item.as_ref().filter(|_| place.name.key() == key)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, name: N) -> Option<&mut T> {
        let key = name.key();
        let place = self.places.get_mut(key.index as usize)?;
        if place.name.key() != key {
            return None;
        }
        place.item.as_mut()
    }

    /// Who is in a place.
    pub(super) fn name_at(&self, place: u32) -> Option<N> {
        let place = self.places.get(place as usize)?;
        place.item.as_ref().map(|_| place.name)
    }

    /// All items to be changed, in the order of their places.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (N, &mut T)> {
        let places = self.places.iter_mut();
        places.filter_map(|place| Some((place.name, place.item.as_mut()?)))
    }

    /// All items, in the order of their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (N, &T)> {
        let places = self.places.iter();
        places.filter_map(|place| Some((place.name, place.item.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_under_another_name() {
        let mut table: Table<ProducerId, &str> = Table::default();
        let (one, two) = (table.insert("one"), table.insert("two"));
        assert_eq!((table.remove(one), table.remove(one)), (Some("one"), None));
        let three = table.insert("three");
        assert_ne!(three, one);
        assert_eq!((table.get(one), table.get(three)), (None, Some(&"three")));
        assert_eq!(table.get_mut(one), None);
        assert_eq!(table.len(), 2);
        assert_eq!(table.iter().map(|(name, _)| name).collect::<Vec<_>>(), [three, two]);
    }
}
