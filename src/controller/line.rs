//! A waiting line, first in first out, in which each stands once and may be anywhere when it leaves.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// The line. Nothing in it takes longer because it is long: behind one gate may stand every object there is.
#[derive(Debug)]
pub struct Line<K> {
    order: BTreeMap<u64, K>,
    places: HashMap<K, u64>,
    next: u64,
}

impl<K> Default for Line<K> {
    fn default() -> Self {
        Self { order: BTreeMap::new(), places: HashMap::new(), next: 0 }
    }
}

impl<K: Clone + Eq + Hash> Line<K> {
    /// Puts `key` at the end, if it does not stand in the line already.
    pub fn join(&mut self, key: &K) {
        if self.places.contains_key(key) {
            return;
        }
        self.places.insert(key.clone(), self.next);
        self.order.insert(self.next, key.clone());
        self.next += 1;
    }

    /// Takes `key` out, wherever it stands.
    pub fn leave(&mut self, key: &K) {
        if let Some(place) = self.places.remove(key) {
            self.order.remove(&place);
        }
    }

    /// Takes out who stands first.
    pub fn pop(&mut self) -> Option<K> {
        let (_, key) = self.order.pop_first()?;
        self.places.remove(&key);
        Some(key)
    }

    /// Whether nobody stands in it.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// All of them, in order.
    pub fn into_all(self) -> Vec<K> {
        self.order.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_once_and_the_first_goes_first() {
        let mut line = Line::default();
        for key in ["a", "b", "a", "c", "d"] {
            line.join(&key);
        }
        line.leave(&"c");
        line.leave(&"nobody");
        assert_eq!(line.pop(), Some("a"));
        line.join(&"a");
        assert_eq!(line.into_all(), ["b", "d", "a"]);
    }
}
