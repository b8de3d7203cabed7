//! What is known of an app: how many groups it has and may have, the reservations of objects that are about to create
//! one, and its drift checks.

use std::collections::HashSet;
use std::time::SystemTime;

use crate::controller::keys::ObjectKey;

/// Groups per app, deleted ones not counted, unless Alibaba Cloud raised the quota (source: the limits of
/// CreateLiveMessageGroup).
pub const DEFAULT_MAX_GROUPS: u64 = 5_000;

/// What objects need to know of an app before they can create a group in it. Ordered: a list includes the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageQuery {
    /// The number of its groups: one call.
    Count,
    /// The IDs of its groups: one call for 50 of them.
    List,
}

/// Whether a create fits into an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It fits, and a place is reserved; or the group exists already and needs none.
    Fits,
    /// The app has `used` groups, reservations included, of `limit`.
    Full {
        /// Groups and reservations.
        used: u64,
        /// Groups that the app may have.
        limit: u64,
    },
    /// The answer to this query is needed first.
    Unknown(UsageQuery),
}

/// The state of one app.
#[derive(Debug, Default)]
pub struct AppState {
    /// The objects that name the app.
    pub objects: HashSet<ObjectKey>,
    used: Option<u64>,
    /// Whether `used` is a number that the service returned.
    is_counted: bool,
    /// The IDs of the groups that the last complete list contained.
    group_ids: Option<HashSet<Box<str>>>,
    reservations: HashSet<ObjectKey>,
    /// The query that the next list call answers.
    pub requested: Option<UsageQuery>,
    /// When the last drift check completed, or when the app became known.
    pub last_check: Option<SystemTime>,
}

impl AppState {
    /// Groups and reservations.
    fn taken(&self) -> Option<u64> {
        Some(self.used? + self.reservations.len() as u64)
    }

    /// Free places; `None` if the usage is unknown. An app with more groups than `limit` has a higher quota than the
    /// operator knows of: the service itself refuses what does not fit.
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

    /// The object needs its place no more.
    pub fn release(&mut self, object: &ObjectKey) {
        self.reservations.remove(object);
    }

    /// A create of this object was answered, or failed; `is_new` if the app has one group more.
    pub fn on_create(&mut self, object: &ObjectKey, group_id: &str, is_new: bool) {
        self.reservations.remove(object);
        if is_new {
            self.used = self.used.map(|used| used + 1);
            if let Some(ids) = &mut self.group_ids {
                ids.insert(group_id.into());
            }
        }
    }

    /// A group of the app was deleted.
    pub fn on_delete(&mut self, group_id: &str) {
        if let Some(ids) = &mut self.group_ids {
            ids.remove(group_id);
        }
        self.used = self.used.map(|used| used.saturating_sub(1));
    }

    /// The service returned the number of groups, and their IDs if the list was complete. Returns whether something is
    /// known that was not: then every blocked object is decided again.
    pub fn on_usage(&mut self, used: u64, group_ids: Option<HashSet<Box<str>>>) -> bool {
        let is_news = self.used.is_none() || (self.group_ids.is_none() && group_ids.is_some());
        self.used = Some(used);
        self.is_counted = true;
        if group_ids.is_some() {
            self.group_ids = group_ids;
        }
        is_news
    }

    /// The groups cannot be counted (for example without the permission to list them): the service itself refuses what
    /// does not fit.
    pub fn on_usage_unavailable(&mut self) {
        self.used.get_or_insert(0);
        self.group_ids.get_or_insert_default();
    }

    /// Whether no count is known and none is requested.
    pub fn needs_count(&self) -> bool {
        self.used.is_none() && self.requested.is_none()
    }

    /// Groups and reservations, if the service returned a number.
    pub fn usage(&self) -> Option<u64> {
        self.taken().filter(|_| self.is_counted)
    }

    /// Forgets everything but the objects: the account became another one.
    pub fn reset(&mut self) {
        let objects = std::mem::take(&mut self.objects);
        *self = Self { objects, last_check: self.last_check, ..Self::default() };
    }
}
