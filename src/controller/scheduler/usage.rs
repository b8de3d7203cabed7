//! Apps: their usage, the objects that wait for a free place, and the data that drift checks compare.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::breakers::Prober;
use super::objects::app_of;
use super::{AccountState, AppState, RecordedState, Scheduler, UsageQuery};
use crate::controller::keys::{AccountKey, AppKey, BreakerKey, BudgetKey, Cause, GroupAtService, GroupKey, ObjectKey};
use crate::controller::pass::Explanation;
use crate::live::{ErrorClass, GroupSnapshot, Operation};
use crate::resources::{DataCenter, Reason};

/// An object whose status records the state of its group.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub object: ObjectKey,
    pub group_id: Box<str>,
    /// The state of the group according to the status.
    pub state: RecordedState,
}

impl Scheduler {
    /// Requests the usage of an app. One list answers several requests.
    pub fn request_usage(&mut self, app: &AppKey, query: UsageQuery) {
        let state = self.apps.entry(app.clone()).or_default();
        if state.requested < Some(query) {
            state.requested = Some(query);
        }
        self.queue.wakeups.usage = true;
    }

    /// Drops usage requests that are no longer needed: this replica recorded them as a standby, and the previous leader
    /// has since processed all objects of the app.
    pub fn start_leading(&mut self) {
        for app in self.apps.values_mut() {
            if !app.objects.iter().any(|object| self.queue.contains(object)) {
                app.requested = None;
            }
        }
    }

    /// The apps whose usage is requested, each with the data that is needed.
    pub fn usage_requests(&self) -> Vec<(AppKey, UsageQuery)> {
        self.apps.iter().filter_map(|(app, state)| Some((app.clone(), state.requested?))).collect()
    }

    /// Records that the operator begins to list the groups of an app, for a usage request or a drift check.
    pub fn usage_query_begins(&mut self, app: &AppKey) {
        if let Some(state) = self.apps.get_mut(app) {
            state.begin_query();
        }
    }

    /// Records that a list has ended. If the list has an answer, the answer must be recorded first. See
    /// [`Scheduler::usage_query_begins`].
    pub fn usage_query_ends(&mut self, app: &AppKey) {
        if let Some(state) = self.apps.get_mut(app) {
            state.end_query();
        }
    }

    /// Records the number of groups of an app, and their IDs if the list was complete.
    pub fn usage_known(&mut self, app: &AppKey, used: u64, group_ids: Option<HashSet<Box<str>>>) {
        let answered = if group_ids.is_some() { UsageQuery::List } else { UsageQuery::Count };
        let state = self.apps.entry(app.clone()).or_default();
        state.requested = state.requested.filter(|requested| *requested > answered);
        if state.on_usage(used, group_ids) {
            self.unblock(&Cause::Quota(app.clone()));
        } else {
            self.fill_free_places(app);
        }
    }

    /// Records that the groups of an app cannot be counted. Creates are then sent without a check, and the service
    /// refuses any create that does not fit.
    pub fn usage_unavailable(&mut self, app: &AppKey) {
        let state = self.apps.entry(app.clone()).or_default();
        state.requested = None;
        state.on_usage_unavailable();
        self.unblock(&Cause::Quota(app.clone()));
    }

    /// Drops the request for usage, because the account has no usable credentials. Objects that can make calls request
    /// the usage again.
    pub fn usage_postponed(&mut self, app: &AppKey) {
        if let Some(state) = self.apps.get_mut(app) {
            state.requested = None;
        }
        self.unblock(&Cause::Quota(app.clone()));
    }

    /// Reserves the free places of an app for the objects that wait for a place, in the order of the queue.
    pub(super) fn fill_free_places(&mut self, app: &AppKey) {
        let Some(state) = self.apps.get(app) else { return };
        let Some(free) = state.free(self.max_groups) else { return };
        for key in self.queue.unblock(&Cause::Quota(app.clone()), usize::try_from(free).unwrap_or(usize::MAX)) {
            self.reserve(app, &key);
        }
    }

    fn reserve(&mut self, app: &AppKey, key: &ObjectKey) {
        if let (Some(app_state), Some(object)) = (self.apps.get_mut(app), self.objects.get_mut(key)) {
            app_state.reserve(key);
            object.held_mut().reservation = Some(app.clone());
        }
    }

    /// Whether the app is full, or its usage is unknown and has been requested.
    pub(super) fn waits_for_quota(&self, app: &AppKey) -> bool {
        self.apps.get(app).is_some_and(|state| match state.free(self.max_groups) {
            None => state.requested.is_some(),
            Some(free) => free == 0,
        })
    }

    /// Records that an account was replaced, or that it was deleted if `state` is `None`. Resets the state of the
    /// account's credentials, permissions and apps, and makes the account's objects ready again. A deleted account
    /// keeps its service, so that its objects keep their groups.
    pub fn account_changed(&mut self, account: &AccountKey, state: Option<AccountState>) {
        match state {
            Some(state) => {
                let service = state.service.clone();
                self.accounts.insert(account.clone(), state);
                self.set_service(account, &service);
            }
            None => self.set_account_usable(account, false),
        }
        for breaker in self.breakers.remove_account(account) {
            self.unblock(&Cause::Breaker(breaker));
        }
        self.breakers.credentials_unproven(account.clone());
        let apps: Vec<AppKey> = self.apps.keys().filter(|app| app.account == *account).cloned().collect();
        for app in apps {
            if let Some(state) = self.apps.get_mut(&app) {
                state.reset();
            }
            self.unblock(&Cause::Quota(app));
        }
        self.unblock(&Cause::Account(account.clone()));
        self.queue.recheck(|budget| budget.account == *account);
        self.ring_budgets(account);
    }

    /// Removes an account that was deleted and that no object references.
    pub fn account_removed(&mut self, account: &AccountKey) {
        self.account_changed(account, None);
        self.breakers.remove_account(account);
        self.accounts.remove(account);
    }

    /// Records whether an account has credentials that the service has not rejected.
    pub fn set_account_usable(&mut self, account: &AccountKey, is_usable: bool) {
        if let Some(state) = self.accounts.get_mut(account) {
            state.is_usable = is_usable;
        }
    }

    /// The group in the object's record, with the service of its account; `None` if the record has no group.
    pub fn group_of(&self, key: &ObjectKey) -> Option<Arc<GroupAtService>> {
        self.record(key)?.group.clone()
    }

    pub(super) fn ring_budgets(&mut self, account: &AccountKey) {
        let budgets = Operation::ALL.map(|operation| BudgetKey { account: account.clone(), operation });
        self.queue.wakeups.budgets.extend(budgets);
        self.queue.wakeups.accounts = true;
        self.queue.wakeups.timer = true;
    }

    /// The failure that the service reported when it rejected the credentials of an account; `None` if the service
    /// has not rejected them.
    pub fn credentials_failure(&self, account: &AccountKey) -> Option<&Explanation> {
        self.breakers.failure(&BreakerKey::Credentials(account.clone()))
    }

    /// Whether a call has shown that the service accepts the credentials of an account.
    pub fn is_proven(&self, account: &AccountKey) -> bool {
        self.breakers.is_proven(account)
    }

    /// Whether the drift check of an app may send a list call now. The drift check must wait while another call
    /// verifies the credentials.
    pub fn may_list(&mut self, app: &AppKey, now: Instant) -> bool {
        self.breakers.may_send(&app.account, &Prober::List(app.clone()), now)
    }

    /// Suspends the other calls of an account whose credentials the service rejected when the operator listed the
    /// groups of an app. See [`Scheduler::suspend_credentials`].
    pub fn suspend_credentials_for_list(&mut self, app: &AppKey, now: Instant) {
        self.breakers.suspend(&app.account, &Prober::List(app.clone()), now);
    }

    /// Records the result of a list call; `class` is `None` for a success. `rejected` is the explanation to report if
    /// the credentials were rejected.
    pub fn list_answered(
        &mut self,
        app: &AppKey,
        class: Option<ErrorClass>,
        rejected: Option<Explanation>,
        now: Instant,
    ) {
        let (key, prober) = (BreakerKey::Credentials(app.account.clone()), Prober::List(app.clone()));
        if let Some(failure) = rejected {
            return self.trip(&key, &prober, failure, now);
        }
        self.learn_from(&key, &prober, class, now);
        self.breakers.release_probe(&key, &prober, now);
        self.ring_budgets(&app.account);
    }

    /// The apps that objects reference, each with its state.
    pub fn apps(&self) -> impl Iterator<Item = (&AppKey, &AppState)> {
        self.apps.iter().filter(|(_, state)| !state.objects.is_empty())
    }

    /// The number of groups that an app may have.
    pub fn max_groups(&self) -> u64 {
        self.max_groups
    }

    /// Removes the apps that no object references.
    pub fn remove_unused_apps(&mut self) {
        self.apps.retain(|_, state| !state.objects.is_empty());
    }

    /// Removes the apps that no object references. For a new app, sets the time of the last check to `now`.
    pub fn retain_apps(&mut self, now: SystemTime) {
        self.remove_unused_apps();
        for state in self.apps.values_mut() {
            state.last_check.get_or_insert(now);
        }
    }

    /// Records that the drift check of an app is complete.
    pub fn drift_check_completed(&mut self, app: &AppKey, now: SystemTime) {
        if let Some(state) = self.apps.get_mut(app) {
            state.last_check = Some(now);
        }
    }

    /// Whether it is useful to list the groups of this app: the status of an object records the state of a group, or an
    /// object waits for a place.
    pub fn is_worth_checking(&self, app: &AppKey) -> bool {
        let has_blocked = self.queue.blocked(&Cause::Quota(app.clone())) > 0;
        has_blocked || self.recorded_objects(app).next().is_some()
    }

    /// Whether objects of this namespace may use the account.
    pub fn permits(&self, namespace: &str, account: &AccountKey) -> bool {
        self.accounts.get(account).is_none_or(|account| account.permits(namespace))
    }

    /// Whether an object of this app is in a namespace that may use the account.
    pub fn has_permitted_object(&self, app: &AppKey) -> bool {
        let is_permitted = |object: &ObjectKey| self.permits(object.namespace(), &app.account);
        self.apps.get(app).is_some_and(|state| state.objects.iter().any(is_permitted))
    }

    /// The objects of this app whose status records the state of their group.
    pub fn recorded_in(&self, app: &AppKey) -> Vec<Recorded> {
        let recorded = self.recorded_objects(app).filter_map(|(key, record)| {
            let group_id = record.group.as_ref()?.group.group_id.clone();
            Some(Recorded { object: key.clone(), group_id, state: record.fingerprint.state })
        });
        recorded.collect()
    }

    fn recorded_objects(&self, app: &AppKey) -> impl Iterator<Item = (&ObjectKey, &super::Record)> {
        let objects = self.apps.get(app).into_iter().flat_map(|state| &state.objects);
        let records = objects.filter_map(|key| Some((key, self.record(key)?)));
        records.filter(|(_, record)| record.fingerprint.state != RecordedState::None)
    }

    /// The data center of an app according to its objects; `None` for the app's own data center. An object whose group
    /// is live takes precedence, because its data center is correct.
    pub fn data_center_of(&self, app: &AppKey) -> Option<&'static str> {
        let objects = self.apps.get(app)?.objects.iter();
        let fingerprints = objects.filter_map(|key| Some(self.record(key)?.fingerprint));
        let is_live = |state| state == RecordedState::Live;
        let data_centers = fingerprints.map(|fingerprint| (is_live(fingerprint.state), fingerprint.data_center));
        data_centers.map(|(is_live, center)| (is_live, center.map(DataCenter::as_str))).max()?.1
    }

    /// The objects of this app that a listed group contradicts, each with its recorded state.
    pub fn contradicted_by(&self, app: &AppKey, group: &GroupSnapshot) -> Vec<(ObjectKey, RecordedState)> {
        let service = self.accounts.get(&app.account).map(|account| account.service.clone());
        let named = GroupKey { app_id: Arc::clone(&app.app_id), group_id: group.group_id.as_str().into() };
        let members =
            self.groups.get(&GroupAtService { service, group: named }).into_iter().flat_map(|group| group.members());
        let contradicted = members.filter_map(|key| {
            let record = self.record(key).filter(|record| app_of(record).as_ref() == Some(app))?;
            let fingerprint = record.fingerprint;
            fingerprint.is_contradicted_by(group).then(|| (key.clone(), fingerprint.state))
        });
        contradicted.collect()
    }

    /// The number of objects that reference each LiveAccount.
    pub fn objects_by_account(&self) -> HashMap<ObjectKey, usize> {
        let mut counts = HashMap::new();
        for (app, state) in self.apps() {
            if let AccountKey::LiveAccount(key) = &app.account {
                *counts.entry(key.clone()).or_default() += state.objects.len();
            }
        }
        counts
    }

    /// The number of open breakers for each reason.
    pub fn open_breakers(&self) -> HashMap<Reason, usize> {
        let mut counts = HashMap::new();
        for reason in self.breakers.reasons() {
            *counts.entry(reason).or_default() += 1;
        }
        counts
    }
}
