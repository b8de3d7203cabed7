//! The groups of one app, found by id, by age and by the time of their deletion.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Group, RETENTION};

/// The groups of an app: by id, by order of creation, and the deleted ones by time of deletion.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Group>", into = "Vec<Group>")]
pub(super) struct Groups {
    next_number: u64,
    numbers: HashMap<String, u64>,
    pub(super) by_number: BTreeMap<u64, Group>,
    deleted: BTreeSet<(Timestamp, u64)>,
}

impl From<Vec<Group>> for Groups {
    fn from(list: Vec<Group>) -> Self {
        let mut groups = Self::default();
        list.into_iter().for_each(|group| groups.put(group));
        groups
    }
}

impl From<Groups> for Vec<Group> {
    fn from(groups: Groups) -> Self {
        groups.by_number.into_values().collect()
    }
}

impl Groups {
    pub(super) fn get(&self, id: &str) -> Option<&Group> {
        self.by_number.get(self.numbers.get(id)?)
    }

    pub(super) fn live(&self) -> usize {
        self.by_number.len() - self.deleted.len()
    }

    pub(super) fn put(&mut self, group: Group) {
        let number = match self.numbers.get(&group.id) {
            Some(number) => *number,
            None => {
                self.next_number += 1;
                self.numbers.insert(group.id.clone(), self.next_number);
                self.next_number
            }
        };
        let deletion = group.deleted.as_ref().map(|deletion| (deletion.at, number));
        if let Some(old) = self.by_number.insert(number, group).and_then(|old| old.deleted) {
            self.deleted.remove(&(old.at, number));
        }
        self.deleted.extend(deletion);
    }

    /// Changes a group in place; `None` when there is none of that id.
    pub(super) fn change<T>(&mut self, id: &str, change: impl FnOnce(&mut Group) -> T) -> Option<T> {
        let number = *self.numbers.get(id)?;
        let group = self.by_number.get_mut(&number)?;
        if let Some(deletion) = &group.deleted {
            self.deleted.remove(&(deletion.at, number));
        }
        let outcome = change(group);
        if let Some(deletion) = &group.deleted {
            self.deleted.insert((deletion.at, number));
        }
        Some(outcome)
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Group> {
        let number = self.numbers.remove(id)?;
        let group = self.by_number.remove(&number)?;
        if let Some(deletion) = &group.deleted {
            self.deleted.remove(&(deletion.at, number));
        }
        Some(group)
    }

    /// Forgets the groups deleted 30 days ago or earlier.
    pub(super) fn purge(&mut self, now: Timestamp) {
        while let Some((at, number)) = self.deleted.first().copied() {
            if now.duration_since(at) < RETENTION {
                break;
            }
            self.deleted.pop_first();
            if let Some(group) = self.by_number.remove(&number) {
                self.numbers.remove(&group.id);
            }
        }
    }
}
