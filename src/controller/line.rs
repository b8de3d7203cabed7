//! Objects in the order in which they came, each once. Every step is cheap, however many they are. Pure.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Objects that wait, first come first.
#[derive(Debug)]
pub struct Line<K> {
    order: BTreeMap<i64, K>,
    places: HashMap<K, i64>,
    next: i64,
}

impl<K> Default for Line<K> {
    fn default() -> Self {
        Self { order: BTreeMap::new(), places: HashMap::new(), next: 0 }
    }
}

impl<K: Clone + Eq + Hash> Line<K> {
    /// To the end; who waits already keeps its place.
    pub fn push(&mut self, key: &K) {
        if !self.places.contains_key(key) {
            self.places.insert(key.clone(), self.next);
            self.order.insert(self.next, key.clone());
            self.next += 1;
        }
    }

    /// To the front, also who waits already.
    pub fn push_front(&mut self, key: &K) {
        self.remove(key);
        let place = self.order.first_key_value().map_or(self.next, |(first, _)| *first) - 1;
        self.places.insert(key.clone(), place);
        self.order.insert(place, key.clone());
    }

    /// Whether it waits.
    pub fn contains(&self, key: &K) -> bool {
        self.places.contains_key(key)
    }

    /// Waits no longer.
    pub fn remove(&mut self, key: &K) {
        if let Some(place) = self.places.remove(key) {
            self.order.remove(&place);
        }
    }

    /// The first one, which stays.
    pub fn first(&self) -> Option<K> {
        self.order.first_key_value().map(|(_, key)| key.clone())
    }

    /// The first ones, at most so many, in their order.
    pub fn take(&mut self, count: usize) -> Vec<K> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some((_, key)) = self.order.pop_first()
        {
            self.places.remove(&key);
            taken.push(key);
        }
        taken
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_once_and_the_first_comes_first() {
        let mut line = Line::default();
        for key in [1, 2, 1, 3, 4] {
            line.push(&key);
        }
        line.remove(&2);
        line.push_front(&4);
        assert_eq!((line.first(), line.len()), (Some(4), 3));
        assert_eq!(line.take(2), [4, 1]);
        line.push(&1);
        assert_eq!(line.take(usize::MAX), [3, 1]);
        assert!(line.is_empty());
    }
}
