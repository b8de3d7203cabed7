//! The state of an app: its usage, the reservations of objects that are about to create a group, and its last drift
//! check.

use std::collections::HashSet;
use std::time::SystemTime;

use crate::controller::keys::ObjectKey;

/// The default maximum number of groups per app, not counting deleted groups. Alibaba Cloud can raise the quota of an
/// app (source: the limits of CreateLiveMessageGroup).
pub const DEFAULT_MAX_GROUPS: u64 = 5_000;

/// The usage data that objects need before they can create a group in an app. `List` includes the data of `Count`, so
/// `List` compares as greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageQuery {
    /// The number of groups, which requires one call.
    Count,
    /// The IDs of the groups, which require one call per 50 groups.
    List,
}

/// Whether a create fits into an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// The create fits and a place is reserved, or the group already exists and needs no place.
    Fits,
    /// The app is full: it has `used` groups and reservations, and at most `limit` are allowed.
    Full {
        /// The number of groups and reservations.
        used: u64,
        /// The number of groups that the app may have.
        limit: u64,
    },
    /// The answer to this query is needed first.
    Unknown(UsageQuery),
}

#[derive(Debug, Default)]
pub struct AppState {
    pub objects: HashSet<ObjectKey>,
    used: Option<u64>,
    /// The number of groups that objects have created and that `used` might not include. They are not added to `used`:
    /// if `used` exceeds the limit, the app must have a higher quota, and only a count from the service can show that.
    added: u64,
    /// Whether `used` is a count that the service returned, rather than an assumption.
    is_counted: bool,
    /// The IDs of the groups in the last complete list; `None` before the first one, empty if the groups cannot be
    /// listed.
    group_ids: Option<HashSet<Box<str>>>,
    reservations: HashSet<ObjectKey>,
    /// The number of queries in progress. There can be several, because a requested query and a drift check can
    /// overlap.
    queries: u32,
    /// The groups that objects have created since the first query in progress began. The answers to the queries might
    /// not include these groups.
    created: HashSet<Box<str>>,
    /// The query that the next list call must answer; `None` if no query is requested.
    pub requested: Option<UsageQuery>,
    /// When the last drift check completed, or when the app was first seen.
    pub last_check: Option<SystemTime>,
}

impl AppState {
    /// The number of groups and reservations.
    fn taken(&self) -> Option<u64> {
        Some(self.used? + self.added + self.reservations.len() as u64)
    }

    /// The number of free places; `None` if the usage is unknown. An app with more groups than `limit` must have a
    /// higher quota, so it counts as unlimited, and the service refuses the creates that do not fit.
    pub fn free(&self, limit: u64) -> Option<u64> {
        let taken = self.taken()?;
        Some(if self.used > Some(limit) { u64::MAX } else { limit.saturating_sub(taken) })
    }

    /// Reserves a place for the group that `object` is about to create.
    pub fn try_reserve(&mut self, object: &ObjectKey, group_id: &str, limit: u64) -> Fit {
        if self.reservations.contains(object) {
            return Fit::Fits;
        }
        let (Some(used), Some(free)) = (self.taken(), self.free(limit)) else { return Fit::Unknown(UsageQuery::Count) };
        if free > 0 {
            self.reservations.insert(object.clone());
            return Fit::Fits;
        }
        match &self.group_ids {
            Some(ids) if ids.contains(group_id) => Fit::Fits,
            Some(_) => Fit::Full { used, limit },
            None => Fit::Unknown(UsageQuery::List),
        }
    }

    /// Reserves a place for an object that waited for one.
    pub fn reserve(&mut self, object: &ObjectKey) {
        self.reservations.insert(object.clone());
    }

    /// Releases the object's reservation.
    pub fn release(&mut self, object: &ObjectKey) {
        self.reservations.remove(object);
    }

    /// Records the result of the object's create. `is_new` is true if the create added a group to the app.
    pub fn on_create(&mut self, object: &ObjectKey, group_id: &str, is_new: bool) {
        self.reservations.remove(object);
        if is_new {
            // A list may have contained the group before the answer to the create arrived.
            let is_counted = self.group_ids.as_ref().is_some_and(|ids| ids.contains(group_id));
            self.added += u64::from(!is_counted);
            if let Some(ids) = &mut self.group_ids {
                ids.insert(group_id.into());
            }
            if self.queries > 0 {
                self.created.insert(group_id.into());
            }
        }
    }

    /// Records the deletion of a group of the app.
    pub fn on_delete(&mut self, group_id: &str) {
        if let Some(ids) = &mut self.group_ids {
            ids.remove(group_id);
        }
        self.created.remove(group_id);
        match self.added.checked_sub(1) {
            Some(added) => self.added = added,
            None => self.used = self.used.map(|used| used.saturating_sub(1)),
        }
    }

    /// Begins a query. The pages of the list are read one after the other, so the answer might not include groups that
    /// are created during the query.
    pub fn begin_query(&mut self) {
        self.queries += 1;
    }

    /// Ends a query. If the query has an answer, the answer must be recorded first.
    pub fn end_query(&mut self) {
        self.queries = self.queries.saturating_sub(1);
        if self.queries == 0 {
            self.created = HashSet::default();
        }
    }

    /// Records the number of groups, and their IDs if the list was complete. Returns `true` if the usage or the list of
    /// IDs was unknown before. Every blocked object must then be processed again.
    pub fn on_usage(&mut self, used: u64, group_ids: Option<HashSet<Box<str>>>) -> bool {
        let is_news = self.used.is_none() || (self.group_ids.is_none() && group_ids.is_some());
        self.is_counted = true;
        self.used = Some(used);
        // Without the IDs, the operator cannot determine whether `used` already includes the created groups. Counting
        // these groups twice is harmless: at worst, it causes a list call, which returns the exact number.
        self.added = self.created.len() as u64;
        if let Some(mut ids) = group_ids {
            ids.extend(self.created.iter().cloned());
            self.added = (ids.len() as u64).saturating_sub(used);
            self.group_ids = Some(ids);
        }
        is_news
    }

    /// Records that the groups cannot be counted, for example because the permission to list them is missing. Creates
    /// are then sent without a check, and the service refuses any create that does not fit.
    pub fn on_usage_unavailable(&mut self) {
        self.used.get_or_insert(0);
        self.group_ids.get_or_insert_default();
    }

    /// Whether the number of groups is unknown and has not been requested.
    pub fn needs_count(&self) -> bool {
        self.used.is_none() && self.requested.is_none()
    }

    /// The number of groups and reservations; `None` until the service has reported a count.
    pub fn usage(&self) -> Option<u64> {
        self.taken().filter(|_| self.is_counted)
    }

    /// Forgets the usage and the reservations, because the account was replaced. Keeps the objects, the time of the
    /// last drift check, and the number of queries that have not ended.
    pub fn reset(&mut self) {
        let objects = std::mem::take(&mut self.objects);
        *self = Self { objects, last_check: self.last_check, queries: self.queries, ..Self::default() };
    }
}
