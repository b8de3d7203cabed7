//! Orders objects for processing: by priority, then round robin across namespaces, then first in, first out within each
//! namespace.

use std::collections::{BTreeMap, HashMap};

use crate::controller::keys::ObjectKey;
use crate::decide::Priority;

/// The interval, in processed objects, at which one object is taken from a lower priority. The lowest and the middle
/// priority take turns, so that neither starves.
const LOWER_PRIORITY_SHARE: u64 = 10;

/// A position in a [`FairQueue`]. While a worker processes an object, the object keeps its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The turn that the object's namespace had when the object was removed. When the object is inserted again, this
    /// turn is used only if no other object of the namespace waits.
    turn: u64,
    /// The order within the namespace.
    sequence: u64,
}

impl Position {
    /// Returns the position behind all others. `sequence` must be larger than any earlier sequence number.
    pub fn last(sequence: u64) -> Self {
        Self { turn: sequence, sequence }
    }
}

/// The objects that wait for a worker, that wait for a permit of the same budget, or that are blocked by the same
/// cause.
#[derive(Debug, Default)]
pub struct FairQueue {
    levels: [Level; 3],
    served: u64,
}

/// The objects of one priority.
#[derive(Debug, Default)]
struct Level {
    namespaces: HashMap<Box<str>, Namespace>,
    turns: BTreeMap<u64, Box<str>>,
    len: usize,
}

#[derive(Debug)]
struct Namespace {
    turn: u64,
    keys: BTreeMap<u64, ObjectKey>,
}

impl FairQueue {
    /// Adds an object that is not in the queue yet.
    pub fn insert(&mut self, key: ObjectKey, priority: Priority, position: Position) {
        self.levels[priority as usize].insert(key, position);
    }

    /// Removes an object; returns the position at which it can be inserted again.
    pub fn remove(&mut self, key: &ObjectKey, priority: Priority, position: Position) -> Position {
        let turn = self.levels[priority as usize].remove(key, position.sequence);
        Position { turn: turn.unwrap_or(position.turn), sequence: position.sequence }
    }

    /// Removes and returns the next object. Its namespace gets the turn `next_turn`, which must be larger than any
    /// earlier turn.
    pub fn pop(&mut self, next_turn: u64) -> Option<ObjectKey> {
        self.served += 1;
        let lower = self.served.is_multiple_of(LOWER_PRIORITY_SHARE);
        let order: [usize; 3] = match (lower, (self.served / LOWER_PRIORITY_SHARE).is_multiple_of(2)) {
            (false, _) => [2, 1, 0],
            (true, false) => [0, 1, 2],
            (true, true) => [1, 0, 2],
        };
        order.into_iter().find_map(|level| self.levels[level].pop(next_turn))
    }

    pub fn len(&self) -> usize {
        self.levels.iter().map(|level| level.len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns all objects by priority, highest first. Within a priority, the objects are grouped by namespace in the
    /// order of the turns. Within a namespace, the object that has waited longest is first.
    pub fn in_order(&self) -> Vec<ObjectKey> {
        let levels = self.levels.iter().rev();
        let namespaces = levels.flat_map(|level| level.turns.values().filter_map(|name| level.namespaces.get(name)));
        namespaces.flat_map(|namespace| namespace.keys.values().cloned()).collect()
    }

    /// Returns how many objects are processed before an object of `namespace` that is added now, if no other object is
    /// added later. Below the highest priority, this number is an upper bound: it ignores that some objects of this
    /// priority are processed while objects of higher priorities wait.
    pub fn ahead(&self, namespace: &str, priority: Priority) -> usize {
        let counts = self.by_priority();
        let (lower, higher) = (&counts[..priority as usize], &counts[priority as usize + 1..]);
        let ahead = higher.iter().sum::<usize>() + self.levels[priority as usize].ahead(namespace);
        let shared = ahead / (LOWER_PRIORITY_SHARE - 1) as usize;
        ahead + shared.min(lower.iter().sum())
    }

    /// The number of objects of each priority, lowest first.
    pub fn by_priority(&self) -> [usize; 3] {
        self.levels.each_ref().map(|level| level.len)
    }
}

impl Level {
    fn insert(&mut self, key: ObjectKey, position: Position) {
        self.len += 1;
        if let Some(namespace) = self.namespaces.get_mut(key.namespace()) {
            namespace.keys.insert(position.sequence, key);
            return;
        }
        let name: Box<str> = key.namespace().into();
        self.turns.insert(position.turn, name.clone());
        let keys = BTreeMap::from([(position.sequence, key)]);
        self.namespaces.insert(name, Namespace { turn: position.turn, keys });
    }

    /// Returns the turn of the namespace; `None` if the object was not in the queue.
    fn remove(&mut self, key: &ObjectKey, sequence: u64) -> Option<u64> {
        let namespace = self.namespaces.get_mut(key.namespace())?;
        namespace.keys.remove(&sequence)?;
        self.len -= 1;
        let turn = namespace.turn;
        if namespace.keys.is_empty() {
            self.turns.remove(&turn);
            self.namespaces.remove(key.namespace());
        }
        Some(turn)
    }

    /// Returns how many objects `pop` removes before an object of `namespace` that is added now.
    fn ahead(&self, namespace: &str) -> usize {
        // A namespace without objects gets the last turn of the current round.
        let own = self.namespaces.get(namespace);
        let (waiting, turn) = own.map_or((0, u64::MAX), |own| (own.keys.len(), own.turn));
        // Each other namespace has one turn before each turn of this namespace. In the current round, some namespaces
        // have already had their turn.
        let others = self.namespaces.values().filter(|other| other.turn != turn);
        let turns = others.map(|other| other.keys.len().min(waiting + usize::from(other.turn < turn)));
        waiting + turns.sum::<usize>()
    }

    fn pop(&mut self, next_turn: u64) -> Option<ObjectKey> {
        let (_, name) = self.turns.pop_first()?;
        let namespace = self.namespaces.get_mut(&name)?;
        let (_, key) = namespace.keys.pop_first()?;
        self.len -= 1;
        if namespace.keys.is_empty() {
            self.namespaces.remove(&name);
        } else {
            namespace.turn = next_turn;
            self.turns.insert(next_turn, name);
        }
        Some(key)
    }
}
