//! Tests of the scheduler through its public methods, with a simulated clock.

mod breakers;
mod copies;
mod credentials;
mod edits;
mod ownership;
mod property;
mod quota;
mod usage;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::budget::{LATE_ARRIVAL, Pace};
use crate::controller::keys::{AccountKey, BudgetKey, Requeue};
use crate::controller::pass::{Blocked, Explanation, Preflight};
use crate::decide::{FailureDomain, Priority};
use crate::live::error::{ApiError, Delivery};
use crate::live::{Call, CallError, CreateOutcome, GroupChange, GroupFields, GroupRef, Operation, Reply, Response};
use crate::resources::{LiveMessageGroup, Reason, UnreadableGroup};

const MINUTE: Duration = Duration::from_secs(60);

/// A scheduler and its simulated time. The operator's credentials are already verified.
pub struct World {
    pub scheduler: Scheduler,
    pub now: Instant,
}

/// An object in namespace `ns`, created at the Unix time `created`. Its spec specifies group `one` of app `demo`.
pub fn object(name: &str, created: i64, status: Value) -> LiveMessageGroup {
    let time = jiff::Timestamp::from_second(created).unwrap().to_string();
    serde_json::from_value(json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
        "metadata": {"namespace": "ns", "name": name, "uid": name, "generation": 1, "creationTimestamp": time},
        "spec": {"appId": "demo", "groupId": "one"}, "status": status
    }))
    .unwrap()
}

/// An object whose group ID is the name of the object.
pub fn single(name: &str) -> LiveMessageGroup {
    edited(&object(name, 1, json!({})), json!({"spec": {"groupId": name}}))
}

pub fn edited(object: &LiveMessageGroup, change: Value) -> LiveMessageGroup {
    let mut value = serde_json::to_value(object).unwrap();
    json_patch::merge(&mut value, &change);
    serde_json::from_value(value).unwrap()
}

/// A status with `Ready=False` and this reason.
pub fn ready(reason: &str) -> Value {
    json!({"observedGeneration": 1, "appId": "demo", "groupId": "one", "conditions": [
        {"type": "Ready", "status": "False", "reason": reason, "message": "recorded",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
}

/// An object at generation 2 that this version of the operator cannot read.
pub fn unreadable(name: &str, status: Value) -> UnreadableGroup {
    let LiveMessageGroup { mut metadata, status, .. } = object(name, 1, status);
    metadata.generation = Some(2);
    UnreadableGroup { metadata, status: status.unwrap_or_default(), error: String::new() }
}

pub fn key(name: &str) -> ObjectKey {
    ObjectKey::new("ns", name)
}

pub fn group_of(object: &LiveMessageGroup) -> GroupRef {
    let group_id = object.group_id().unwrap().to_owned();
    GroupRef { app_id: object.spec.app_id.clone(), group_id, data_center: None }
}

pub fn create(object: &LiveMessageGroup) -> Call {
    Call::Create(group_of(object), GroupFields::default())
}

pub fn modify(object: &LiveMessageGroup) -> Call {
    Call::Modify(group_of(object), GroupChange::default())
}

pub fn answer(reply: Reply) -> Result<Response<Reply>, CallError> {
    Ok(Response { value: reply, request_id: None, status: 200 })
}

pub fn created() -> Result<Response<Reply>, CallError> {
    answer(Reply::Created(CreateOutcome::Created))
}

pub fn refused(code: &str) -> Result<Response<Reply>, CallError> {
    let (code, message) = (Some(code.to_owned()), String::new());
    let status = if code.as_deref() == Some("ResourceNotExist") { 404 } else { 400 };
    Err(CallError::Api(ApiError { status, code, message, request_id: None, retry_after: None, body_complete: true }))
}

/// A failed response from a gateway, or a truncated response.
pub fn failed(status: u16, body_complete: bool) -> Result<Response<Reply>, CallError> {
    let message = String::new();
    Err(CallError::Api(ApiError { status, code: None, message, request_id: None, retry_after: None, body_complete }))
}

pub fn lost() -> Result<Response<Reply>, CallError> {
    Err(CallError::Transport { delivery: Delivery::Unknown, message: String::new() })
}

pub fn explanation(reason: Reason) -> Explanation {
    Explanation { reason, message: reason.as_str().to_owned(), failure: None }
}

impl World {
    pub fn new(max_groups: u64) -> Self {
        // So much time has passed that calls from an earlier process can no longer arrive.
        let started = Instant::now();
        Self::of(Scheduler::new(max_groups, started), started + LATE_ARRIVAL)
    }

    /// Creates the scheduler of a process that has just started.
    pub fn just_started() -> Self {
        let now = Instant::now();
        Self::of(Scheduler::new(10, now), now)
    }

    fn of(scheduler: Scheduler, now: Instant) -> Self {
        let mut world = Self { scheduler, now };
        world.account_changed(&AccountKey::Operator);
        world.scheduler.breakers.remove_account(&AccountKey::Operator);
        world.scheduler.take_wakeups();
        world
    }

    /// Reports to the scheduler that the account has changed and uses the default endpoint.
    pub fn account_changed(&mut self, account: &AccountKey) {
        let state = AccountState { service: "live.aliyuncs.com".into(), is_usable: true, namespaces: None };
        self.scheduler.account_changed(account, Some(state));
    }

    pub fn later(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self.scheduler.tick(self.now);
        self
    }

    pub fn observe(&mut self, object: &LiveMessageGroup) {
        self.observe_in(object, Seen { list: 0, is_initial: false });
    }

    pub fn observe_in(&mut self, object: &LiveMessageGroup, seen: Seen) {
        let key = ObjectKey::of(&object.metadata).unwrap();
        self.scheduler.observe(&key, object, seen, self.now);
    }

    /// Takes the objects that wait for a worker, and returns their names in order. The objects are then active.
    pub fn served(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.scheduler.next()).map(|work| work.key.name().to_owned()).collect()
    }

    pub fn preflight(&mut self, object: &LiveMessageGroup, call: &Call, has_permit: bool) -> Preflight {
        let key = ObjectKey::of(&object.metadata).unwrap();
        let account = AccountKey::of(object);
        let request = CallRequest { object, call, account: &account, has_permit, pace: Pace::default() };
        self.scheduler.preflight(&key, request, self.now)
    }

    pub fn is_cleared(&mut self, object: &LiveMessageGroup, call: &Call) -> bool {
        matches!(self.preflight(object, call, false), Preflight::NeedsPermit { .. })
    }

    pub fn answered(&mut self, object: &LiveMessageGroup, call: &Call, result: &Result<Response<Reply>, CallError>) {
        let key = ObjectKey::of(&object.metadata).unwrap();
        self.scheduler.record_answer(&key, call, &AccountKey::of(object), result, self.now);
    }

    pub fn finish(&mut self, name: &str, requeue: Requeue) {
        let priority = Priority::Retry;
        assert!(self.scheduler.finish(&key(name), priority, requeue, None, self.now).is_none());
    }

    /// Opens the breaker after a failure of the object, and blocks the object on it.
    pub fn trip(&mut self, name: &str, breaker: &BreakerKey, reason: Reason) {
        self.scheduler.trip_breaker(&key(name), breaker, explanation(reason), self.now);
        self.finish(name, Requeue::blocked(Cause::Breaker(breaker.clone())));
    }
}
