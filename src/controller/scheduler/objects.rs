//! Records objects from watch events, lists and responses to the operator's own writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::record::Record;
use super::{ObjectState, RecordedState, Scheduler};
use crate::controller::keys::{AccountKey, AppKey, BreakerKey, Cause, ObjectKey};
use crate::controller::pass::{Explanation, Pass};
use crate::decide::{FailureDomain, GroupKey, Priority, has_condition, is_observed, triage};
use crate::live::Service;
use crate::resources::{ConditionType, LiveMessageGroup, ManagementPolicy, UnreadableGroup};

/// Where an observed object came from: a list or a later watch event.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// The number of the list that contains the object or that preceded the watch event.
    pub list: u64,
    /// Whether the object is an item of that list; `false` if a later watch event delivered it.
    pub is_initial: bool,
}

/// An object to process, with its interrupted pass.
#[derive(Debug)]
pub struct Work {
    pub key: ObjectKey,
    pub priority: Priority,
    /// The interrupted pass to continue; `None` to begin a new pass.
    pub pass: Option<Box<Pass>>,
}

impl Scheduler {
    /// Records an object from the watch, and queues it if it has work.
    pub fn observe(&mut self, key: &ObjectKey, object: &LiveMessageGroup, seen: Seen, now: Instant) {
        if !seen.is_initial && self.is_own_write(key, object) {
            return;
        }
        let before = self.objects.get(key).map(|state| &state.record);
        let is_new = before.is_none();
        let record = Record::of(object, before, seen.list, self.service_of(object));
        let is_edited =
            before.is_none_or(|before| (&before.uid, before.generation) != (&record.uid, record.generation));
        self.replace(key, record);
        self.note_edit(key, object, is_edited);
        let Some(priority) = self.pending_work(key, object) else { return self.dequeue_settled(key) };
        if priority == Priority::Change {
            self.request_usage_for(key, object);
        } else if is_new
            && seen.is_initial
            && !object.is_deleting()
            && let Some(breaker) = self.restore_breaker(object, now)
        {
            // The object was blocked on this breaker when the previous process ended, and has not changed since.
            return self.queue.block(key, priority, Cause::Breaker(breaker));
        }
        self.queue.add(key, priority);
    }

    /// Records the time when the watch delivered a new generation, and clears it when the status reports this
    /// generation as applied. While a worker processes the object, the time is kept for [`Scheduler::take_edit`], which
    /// the worker calls after it writes the status.
    fn note_edit(&mut self, key: &ObjectKey, object: &LiveMessageGroup, is_edited: bool) {
        let (now, is_active) = (self.queue.now, self.queue.is_active(key));
        let Some(state) = self.objects.get_mut(key) else { return };
        match is_applied(object) {
            true if !is_active => state.edited = None,
            false if is_edited => state.edited = Some(now),
            _ => {}
        }
    }

    /// Returns the time since the watch delivered the current generation, if the written status reports this generation
    /// as applied. Otherwise, or if this time was already returned, returns `None`.
    pub fn take_edit(&mut self, key: &ObjectKey, written: &LiveMessageGroup) -> Option<Duration> {
        let state = self.objects.get_mut(key).filter(|_| is_applied(written))?;
        state.edited.take().map(|edited| edited.until(self.queue.now))
    }

    /// Returns the priority of the object's pending work; `None` if the object has no pending work.
    fn pending_work(&self, key: &ObjectKey, object: &LiveMessageGroup) -> Option<Priority> {
        triage(object).or_else(|| self.has_lost_group(key).then_some(Priority::Retry))
    }

    /// Whether `object` is the version that this process wrote last. The watch event for this version can be ignored,
    /// because any work that remains is queued when the step that wrote it ends.
    fn is_own_write(&self, key: &ObjectKey, object: &LiveMessageGroup) -> bool {
        let Some(state) = self.objects.get(key).filter(|state| state.is_written) else { return false };
        object.revision() == Some(state.version) && state.record.is_of(object)
    }

    /// Removes an object that has no pending work from the queue, unless the object has an interrupted pass or a drift
    /// check contradicts its status. On a standby, the queue may contain objects whose work the leader has done.
    fn dequeue_settled(&mut self, key: &ObjectKey) {
        if self.objects.get(key).is_some_and(|state| state.pass.is_none() && state.drift.is_none()) {
            self.queue.forget(key);
            self.forget_copy_if_idle(key);
        }
    }

    /// Drops the copy of an object that has no pending work.
    pub(super) fn forget_copy_if_idle(&mut self, key: &ObjectKey) {
        if !self.queue.contains(key) {
            self.copies.forget(key);
        }
    }

    /// Records an object from the watch that this version of the operator cannot read.
    pub fn observe_unreadable(&mut self, key: &ObjectKey, object: &UnreadableGroup, list: u64) {
        let before = self.objects.get(key).map(|state| &state.record);
        let account = object.status.account.as_ref();
        let account = account.map_or(AccountKey::Operator, |record| AccountKey::recorded(key.namespace(), record));
        let service = self.service_at(&account, key.namespace());
        let record = Record::unreadable(object, before, list, account, service);
        let is_known = before.is_some_and(|before| before.uid == record.uid && before.generation == record.generation);
        self.copies.forget(key);
        self.replace(key, record);
        // The abandon annotation is checked separately, because it does not change the generation.
        if !is_known || (object.is_finalizing() && object.is_abandoned()) {
            self.queue.add(key, Priority::Change);
        }
    }

    /// Updates the record of an object that the operator wrote. See [`Scheduler::refresh`]. After a write that changed
    /// nothing, no work is queued, because otherwise the write would be repeated forever. If the watch event arrived
    /// before the response, the event has already queued the object.
    pub fn written(&mut self, key: &ObjectKey, object: &LiveMessageGroup) -> bool {
        let before = self.objects.get(key).map_or(0, |state| state.version);
        let is_known = self.refresh(key, object);
        let left = self.pending_work(key, object);
        if let Some(state) = self.objects.get_mut(key).filter(|_| is_known)
            && state.version > before
            && object.revision() == Some(state.version)
        {
            (state.is_written, state.left) = (true, left);
            self.copies.written(state.version);
        }
        is_known
    }

    /// Updates the record of an object that the operator read or wrote. Returns `false` and changes nothing if the
    /// watch has not delivered an object with this UID. Without this check, a late response could restore a deleted
    /// object, and the deleted object would own its group forever.
    pub(super) fn refresh(&mut self, key: &ObjectKey, object: &LiveMessageGroup) -> bool {
        let Some(before) = self.objects.get(key).map(|state| &state.record) else { return false };
        if !before.is_of(object) {
            return false;
        }
        let known = self.objects.get(key).map_or(0, |state| state.version);
        if object.revision().is_some_and(|revision| revision < known) {
            // A newer version of the object is already recorded.
            return true;
        }
        let record = Record::of(object, Some(before), 0, self.service_of(object));
        self.replace(key, record);
        if let Some(state) = self.objects.get_mut(key) {
            state.set_version(object.revision().unwrap_or_default());
        }
        true
    }

    /// Keeps a copy of an object that this process has read or written, so that a worker does not have to read it
    /// again.
    pub fn keep_copy(&mut self, key: &ObjectKey, object: Box<LiveMessageGroup>) {
        self.keep_if(key, object, true);
    }

    /// Keeps a copy of an object that the watch delivered. After an interruption, a watch delivers old versions first,
    /// and a new leader must not act on a version that is older than the former leader's last write. Therefore, a copy
    /// is kept only if it is newer than the first write of this process. Before that write, objects are read from the
    /// apiserver.
    pub fn keep_delivered(&mut self, key: &ObjectKey, object: Box<LiveMessageGroup>) {
        let is_usable = object.revision().is_some_and(|version| self.copies.is_after_former_leader(version));
        self.keep_if(key, object, is_usable);
    }

    /// Records the version of an object. Keeps a copy of the object if the version is not outdated, the object has
    /// pending work, and `is_usable` is true.
    fn keep_if(&mut self, key: &ObjectKey, object: Box<LiveMessageGroup>, is_usable: bool) {
        let Some(state) = self.objects.get_mut(key) else { return };
        let version = object.revision().filter(|version| *version >= state.version);
        if let Some(version) = version
            && state.record.is_of(&object)
        {
            state.set_version(version);
            if is_usable && self.queue.contains(key) {
                self.copies.keep(key, object, version);
            }
        }
    }

    /// Takes the copy of an object, and checks whether a drift check contradicts the object's status. Returns `None` if
    /// there is no copy, or if the operator has read or written a newer version.
    pub fn take_copy(&mut self, key: &ObjectKey) -> Option<(Box<LiveMessageGroup>, bool)> {
        let (object, version) = self.copies.take(key)?;
        let is_newest = self.objects.get(key).is_some_and(|state| state.version == version);
        is_newest.then(|| (object, self.take_drift(key)))
    }

    /// Records whether the watch of `namespace` works; `None` stands for the watch of all namespaces. While the watch
    /// does not work, objects are read from the apiserver.
    pub fn watch_changed(&mut self, namespace: Option<&str>, works: bool) {
        self.copies.watch_changed(namespace, works);
    }

    /// Removes a deleted object. Returns its interrupted pass, which may have had an effect that the status does not
    /// record.
    pub fn remove(&mut self, key: &ObjectKey, now: Instant) -> Option<Box<Pass>> {
        self.queue.forget(key);
        self.release_waits(key, now);
        self.take_drift(key);
        let pass = self.objects.get_mut(key).and_then(|state| state.pass.take());
        self.detach(key);
        pass
    }

    /// Removes the objects of `namespace` (or of all namespaces if it is `None`) that list number `list` did not
    /// contain. They were deleted while no watch was running. Returns them with their interrupted passes.
    pub fn remove_unseen(
        &mut self,
        namespace: Option<&str>,
        list: u64,
        now: Instant,
    ) -> Vec<(ObjectKey, Option<Box<Pass>>)> {
        let is_unseen = |key: &ObjectKey, state: &ObjectState| {
            state.record.seen_in < list && namespace.is_none_or(|name| key.namespace() == name)
        };
        let gone = self.objects.iter().filter(|(key, state)| is_unseen(key, state)).map(|(key, _)| key.clone());
        let gone: Vec<ObjectKey> = gone.collect();
        gone.into_iter().map(|key| (key.clone(), self.remove(&key, now))).collect()
    }

    /// Marks an object whose recorded state a drift check contradicts, and queues it with the lowest priority.
    pub fn mark_drift(&mut self, key: &ObjectKey, recorded: RecordedState) {
        let Some(state) = self.objects.get_mut(key) else { return };
        if state.drift.replace(recorded).is_none() {
            self.drift_candidates += 1;
        }
        self.queue.add(key, Priority::Resync);
    }

    /// Clears the mark that [`Scheduler::mark_drift`] set. Returns whether the status still records the contradicted
    /// state. If it does not, the status is newer than the list of groups that the drift check used.
    pub(super) fn take_drift(&mut self, key: &ObjectKey) -> bool {
        let Some(state) = self.objects.get_mut(key) else { return false };
        let Some(contradicted) = state.drift.take() else { return false };
        let is_current = state.record.fingerprint.state == contradicted;
        self.drift_candidates -= 1;
        is_current
    }

    /// Takes the next object for a worker; `None` if no object is ready.
    pub fn next(&mut self) -> Option<Work> {
        let (key, priority) = self.queue.pop()?;
        Some(self.work(key, priority))
    }

    /// Whether an object waits for a worker.
    pub fn has_ready(&self) -> bool {
        self.queue.has_ready()
    }

    pub(super) fn work(&mut self, key: ObjectKey, priority: Priority) -> Work {
        let pass = self.objects.get_mut(&key).and_then(|state| state.pass.take());
        Work { key, priority, pass }
    }

    /// Replaces the object's record, and updates the summaries, apps and groups that refer to the object.
    fn replace(&mut self, key: &ObjectKey, mut record: Record) {
        *self.summaries.entry(record.summary).or_default() += 1;
        let app = self.enter_app(key, &mut record);
        let group = record.group.clone();
        let former = match self.objects.get_mut(key) {
            Some(state) => Some(std::mem::replace(&mut state.record, record)),
            None => {
                self.objects.insert(key.clone(), Box::new(ObjectState::new(record)));
                None
            }
        };
        if let Some(former) = &former {
            self.forget_summary(former);
            self.leave_app(key, former, app.as_ref());
            if former.group != group {
                self.leave_group(key, former.group.as_ref());
            }
        }
        self.enter_group(key, group.as_ref());
    }

    /// The service that the object may call; `None` if the object cannot call any service.
    fn service_of(&self, object: &LiveMessageGroup) -> Option<&Service> {
        self.service_at(&AccountKey::of(object), object.metadata.namespace.as_deref().unwrap_or_default())
    }

    fn service_at(&self, account: &AccountKey, namespace: &str) -> Option<&Service> {
        let account = self.accounts.get(account)?;
        account.permits(namespace).then_some(&account.service)
    }

    /// Removes the object from every index.
    fn detach(&mut self, key: &ObjectKey) {
        self.copies.forget(key);
        let Some(state) = self.objects.remove(key) else { return };
        self.forget_summary(&state.record);
        self.leave_app(key, &state.record, None);
        self.leave_group(key, state.record.group.as_ref());
    }

    fn forget_summary(&mut self, record: &Record) {
        if let Some(count) = self.summaries.get_mut(&record.summary) {
            *count -= 1;
            if *count == 0 {
                self.summaries.remove(&record.summary);
            }
        }
    }

    /// Adds the object to the app in its record, and returns the app. The record then shares the strings of the app's
    /// key.
    pub(super) fn enter_app(&mut self, key: &ObjectKey, record: &mut Record) -> Option<AppKey> {
        let entry = self.apps.entry(app_of(record)?);
        let app = entry.key().clone();
        record.share(&app);
        entry.or_default().objects.insert(key.clone());
        Some(app)
    }

    fn leave_app(&mut self, key: &ObjectKey, record: &Record, next: Option<&AppKey>) {
        let Some(app) = app_of(record) else { return };
        if next != Some(&app)
            && let Some(state) = self.apps.get_mut(&app)
        {
            state.objects.remove(key);
        }
    }

    /// Requests the usage of an object's app if the object may need a create, so that the groups are counted while the
    /// object is queued.
    fn request_usage_for(&mut self, key: &ObjectKey, object: &LiveMessageGroup) {
        let Some(record) = self.objects.get(key).map(|state| &state.record) else { return };
        let may_create = !record.is_proven()
            && !record.is_deleting
            && !object.is_paused()
            && object.management_policy() != ManagementPolicy::Observe
            && self.other_claimant(key).is_none();
        if may_create
            && let Some(app) = app_of(record)
            && self.apps.get(&app).is_some_and(super::AppState::needs_count)
        {
            self.request_usage(&app, super::UsageQuery::Count);
        }
    }

    /// Opens the breaker that the status of an unchanged object records, and returns its key. Returns `None` if the
    /// status records no breaker. A quota breaker is not restored, because the groups of the app are counted before the
    /// first create.
    fn restore_breaker(&mut self, object: &LiveMessageGroup, now: Instant) -> Option<BreakerKey> {
        let (reason, ready) = (object.ready_reason()?, object.condition(ConditionType::Ready)?);
        let domain = FailureDomain::recorded_in(object).filter(|domain| *domain != FailureDomain::Quota)?;
        let group = GroupKey::of(object)?;
        let app = AppKey::new(&AccountKey::of(object), &group.app_id);
        let breaker = BreakerKey::new(domain, app, object.spec.data_center.map(|center| center.as_str()));
        let failure = object.status.as_ref().and_then(|status| status.last_failure.clone());
        let failure = Explanation { reason, message: ready.message.clone(), failure };
        self.breakers.restore(&breaker, failure, now);
        self.queue.wakeups.timer = true;
        Some(breaker)
    }
}

/// Whether the status reports the current generation as applied.
fn is_applied(object: &LiveMessageGroup) -> bool {
    is_observed(object) && has_condition(object, ConditionType::Ready)
}

/// Returns the app of the group in the record; `None` if the record contains no group.
pub(super) fn app_of(record: &Record) -> Option<AppKey> {
    let app_id = Arc::clone(&record.group.as_ref()?.group.app_id);
    Some(AppKey { account: record.account.clone(), app_id })
}
