//! The groups of one app, indexed by ID, by creation order and by deletion time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Group, RETENTION};

/// The groups of an app. Each group has a sequence number in the order of creation. If a group is replaced, the new
/// group has the same number.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Group>", into = "Vec<Group>")]
pub(super) struct Groups {
    last_sequence: u64,
    sequence_by_id: HashMap<String, u64>,
    pub(super) by_sequence: BTreeMap<u64, Group>,
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
        groups.by_sequence.into_values().collect()
    }
}

impl Groups {
    pub(super) fn get(&self, id: &str) -> Option<&Group> {
        self.by_sequence.get(self.sequence_by_id.get(id)?)
    }

    pub(super) fn live_count(&self) -> usize {
        self.by_sequence.len() - self.deleted.len()
    }

    pub(super) fn put(&mut self, group: Group) {
        let sequence = match self.sequence_by_id.get(&group.id) {
            Some(sequence) => *sequence,
            None => {
                self.last_sequence += 1;
                self.sequence_by_id.insert(group.id.clone(), self.last_sequence);
                self.last_sequence
            }
        };
        let deletion = group.deleted.as_ref().map(|deletion| (deletion.at, sequence));
        if let Some(old) = self.by_sequence.insert(sequence, group).and_then(|old| old.deleted) {
            self.deleted.remove(&(old.at, sequence));
        }
        self.deleted.extend(deletion);
    }

    /// Changes a group in place and updates the index of deletions. Returns the result of `change`, or `None` if the ID
    /// is unknown.
    pub(super) fn update<T>(&mut self, id: &str, change: impl FnOnce(&mut Group) -> T) -> Option<T> {
        let sequence = *self.sequence_by_id.get(id)?;
        let group = self.by_sequence.get_mut(&sequence)?;
        if let Some(deletion) = &group.deleted {
            self.deleted.remove(&(deletion.at, sequence));
        }
        let outcome = change(group);
        if let Some(deletion) = &group.deleted {
            self.deleted.insert((deletion.at, sequence));
        }
        Some(outcome)
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Group> {
        let sequence = self.sequence_by_id.remove(id)?;
        let group = self.by_sequence.remove(&sequence)?;
        if let Some(deletion) = &group.deleted {
            self.deleted.remove(&(deletion.at, sequence));
        }
        Some(group)
    }

    /// Removes the groups that were deleted at least [`RETENTION`] ago.
    pub(super) fn purge(&mut self, now: Timestamp) {
        while let Some((at, sequence)) = self.deleted.first().copied() {
            if now.duration_since(at) < RETENTION {
                break;
            }
            self.deleted.pop_first();
            if let Some(group) = self.by_sequence.remove(&sequence) {
                self.sequence_by_id.remove(&group.id);
            }
        }
    }
}
