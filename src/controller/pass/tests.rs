//! Tests of one pass: the effects that it requests, step by step.

mod accounts;
mod deletion;
mod queued;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::controller::keys::{AccountKey, BreakerKey, BudgetKey, Cause, GroupAtService};
use crate::live::error::{ApiError, Delivery};
use crate::live::{CallError, CreateOutcome, Operation, Reply, Response};
use crate::resources::AccountRecord;

/// A pass with its object and a simulated clock.
struct Scenario {
    pass: Pass,
    object: LiveMessageGroup,
    context: StepContext,
}

fn object(change: Value) -> LiveMessageGroup {
    let mut object = json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
        "metadata": {"namespace": "ns", "name": "room", "uid": "u1", "generation": 1},
        "spec": {"appId": "demo", "groupId": "room"},
    });
    json_patch::merge(&mut object, &change);
    serde_json::from_value(object).unwrap()
}

fn group() -> GroupAtService {
    let group = GroupKey { app_id: "demo".into(), group_id: "room".into() };
    GroupAtService { service: Some("live.aliyuncs.com".into()), group }
}

fn refused(code: &str) -> Result<Response<Reply>, CallError> {
    let (code, message) = (Some(code.to_owned()), String::new());
    let error = ApiError { status: 400, code, message, request_id: None, retry_after: None, body_complete: true };
    Err(CallError::Api(error))
}

fn created() -> Result<Response<Reply>, CallError> {
    Ok(Response { value: Reply::Created(CreateOutcome::Created), request_id: Some("r1".to_owned()), status: 200 })
}

fn budget() -> BudgetKey {
    BudgetKey { account: AccountKey::Operator, operation: Operation::Create }
}

impl Scenario {
    fn new(change: Value) -> Self {
        let wall = jiff::Timestamp::from_second(1_800_000_000).unwrap();
        let context = StepContext {
            now: Instant::now(),
            wall,
            service: Some(wall),
            account: None,
            group: Some(Arc::new(group())),
            owner: None,
            delayed: 0,
            jitter: 1.0,
            finalizer_timeout: Duration::from_secs(600),
            unreachable_finalizer_timeout: Duration::from_secs(3600),
        };
        Self { pass: Pass::new(), object: object(change), context }
    }

    fn next(&mut self, input: Input) -> Effect {
        self.pass.next(input, &self.context)
    }

    /// Starts a step and reads the object.
    fn load(&mut self) -> Effect {
        let effect = self.next(Input::Start);
        assert!(matches!(effect, Effect::Load | Effect::Read), "{effect:?}");
        self.read(false)
    }

    fn read(&mut self, is_copy: bool) -> Effect {
        self.next(Input::Read { object: Box::new(self.object.clone()), has_drifted: false, is_copy })
    }

    fn preflight(&mut self, has_permit: bool) -> Effect {
        let answer = if has_permit {
            Preflight::Cleared
        } else {
            Preflight::NeedsPermit { budget: budget(), wait: Duration::ZERO }
        };
        self.next(Input::Preflight(answer))
    }

    /// Advances the pass of a new object until its create is answered.
    fn answered(&mut self, result: Result<Response<Reply>, CallError>) -> Effect {
        assert!(matches!(self.load(), Effect::Preflight(Call::Create(..))));
        assert!(matches!(self.preflight(true), Effect::Send(Call::Create(..))));
        self.next(Input::Answer { result, progress: None })
    }

    /// The object with the status that this effect writes.
    fn written(&mut self, effect: &Effect) -> LiveMessageGroup {
        let Effect::WriteStatus(status) = effect else { panic!("{effect:?}") };
        let mut object = self.object.clone();
        object.status = Some((**status).clone());
        object
    }

    fn store(&mut self, effect: &Effect) -> Effect {
        self.object = self.written(effect);
        let stored = Box::new(self.object.clone());
        self.next(Input::StatusWritten(Ok(stored)))
    }
}

fn requeue(effect: &Effect) -> &Requeue {
    let Effect::Finish(Finish { requeue, .. }) = effect else { panic!("{effect:?}") };
    requeue
}

fn ready_reason(status: &LiveMessageGroup) -> Option<Reason> {
    status.ready_reason()
}

#[test]
fn new_object_waits_for_a_permit_and_is_created() {
    let mut scenario = Scenario::new(json!({}));
    assert!(matches!(scenario.load(), Effect::Preflight(Call::Create(..))));
    assert_eq!(requeue(&scenario.preflight(false)), &Requeue::Permit(budget()));
    assert!(!scenario.pass.holds_claim());
    let end = scenario.answered(created());
    assert!(scenario.pass.holds_claim(), "the claim lasts until the effect is recorded");
    assert_eq!(ready_reason(&scenario.written(&end)), Some(Reason::Created));
    assert_eq!(requeue(&scenario.store(&end)), &Requeue::Done);
    assert!(!scenario.pass.holds_claim());
    let reports = scenario.pass.take_reports();
    assert!(matches!(&reports[..], [Report::Event(event)] if event.reason == "Created"), "{reports:?}");
    assert_eq!(requeue(&scenario.load()), &Requeue::Done, "a settled object needs no call");
}

#[test]
fn finalizer_and_intent_precede_a_create_with_delete_policy() {
    let mut scenario = Scenario::new(json!({"spec": {"deletionPolicy": "Delete"}}));
    assert_eq!(scenario.load(), Effect::SetFinalizer(true));
    scenario.object = object(json!({"spec": {"deletionPolicy": "Delete"},
        "metadata": {"finalizers": [crate::resources::FINALIZER]}}));
    let patched = Box::new(scenario.object.clone());
    assert!(matches!(scenario.next(Input::Patched(Ok(patched))), Effect::Preflight(Call::Create(..))));
    let Effect::PersistIntent(status) = scenario.preflight(true) else { panic!("the intent is recorded first") };
    assert!(status.create_intent.is_some());
    let failed = scenario.next(Input::Patched(Err(WriteFailure::Failed)));
    assert!(matches!(requeue(&failed), Requeue::After(_)), "nothing is sent before the intent is recorded");
    assert!(!scenario.pass.holds_claim());
}

#[test]
fn failed_write_to_a_copy_is_repeated_at_once_after_a_read() {
    let mut scenario = Scenario::new(json!({"spec": {"deletionPolicy": "Delete"}}));
    assert_eq!(scenario.next(Input::Start), Effect::Load);
    assert_eq!(scenario.read(true), Effect::SetFinalizer(true));
    let failed = scenario.next(Input::Patched(Err(WriteFailure::Failed)));
    assert_eq!(requeue(&failed), &Requeue::After(Duration::ZERO));
    assert_eq!(scenario.next(Input::Start), Effect::Read);
    assert_eq!(scenario.read(false), Effect::SetFinalizer(true));
    let failed = scenario.next(Input::Patched(Err(WriteFailure::Failed)));
    assert_eq!(requeue(&failed), &Requeue::After(Duration::from_secs(1)), "the object was not outdated");
}

#[test]
fn failed_status_write_repeats_the_write_and_not_the_call() {
    let mut scenario = Scenario::new(json!({}));
    let end = scenario.answered(created());
    let failed = scenario.next(Input::StatusWritten(Err(WriteFailure::Failed)));
    assert_eq!(requeue(&failed), &Requeue::After(Duration::from_secs(1)));
    assert!(scenario.pass.holds_claim());
    let again = scenario.load();
    assert_eq!(again, end);
    assert_eq!(requeue(&scenario.store(&again)), &Requeue::After(Duration::ZERO), "one more reconcile follows");
}

#[test]
fn edit_during_a_failed_write_is_decided_again() {
    let mut scenario = Scenario::new(json!({}));
    scenario.answered(created());
    scenario.next(Input::StatusWritten(Err(WriteFailure::Failed)));
    scenario.object = object(json!({"metadata": {"generation": 2}}));
    let effect = scenario.load();
    let status = scenario.written(&effect);
    assert_eq!(status.status.as_ref().and_then(|status| status.observed_generation), Some(2));
    assert_eq!(status.origin(), Some(&crate::resources::Origin::Created), "the effect is kept");
}

#[test]
fn clock_skew_is_retried_twice_at_once() {
    let mut scenario = Scenario::new(json!({}));
    for _ in 0..2 {
        let end = scenario.answered(refused("InvalidTimeStamp.Expired"));
        assert_eq!(requeue(&end), &Requeue::After(Duration::ZERO), "nothing is written");
    }
    let end = scenario.answered(refused("InvalidTimeStamp.Expired"));
    assert_eq!(ready_reason(&scenario.written(&end)), Some(Reason::ClockSkew));
    assert_eq!(requeue(&scenario.store(&end)), &Requeue::After(Duration::from_secs(1)));
}

#[test]
fn delays_double_up_to_a_limit() {
    let mut scenario = Scenario::new(json!({}));
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(scenario.pass.backoff(&scenario.context), Duration::from_secs(seconds));
    }
    scenario.pass.failures = u32::MAX;
    scenario.context.delayed = 1_000;
    assert_eq!(
        scenario.pass.backoff(&scenario.context),
        Duration::from_secs(100),
        "all objects together retry ten times per second"
    );
    scenario.context.delayed = 100_000;
    assert_eq!(scenario.pass.backoff(&scenario.context), Duration::from_secs(300));
}

#[test]
fn late_event_does_not_shorten_a_backoff_but_an_edit_does() {
    let mut scenario = Scenario::new(json!({}));
    let end = scenario.answered(refused("ServerError"));
    let waits = requeue(&scenario.store(&end)).clone();
    assert_eq!(waits, Requeue::After(Duration::from_secs(1)));
    assert_eq!(requeue(&scenario.load()), &Requeue::After(Duration::from_secs(1)));
    let mut edited = scenario.object.clone();
    edited.metadata.generation = Some(2);
    scenario.object = edited;
    assert!(matches!(scenario.load(), Effect::Preflight(_)));
}

#[test]
fn shared_cause_trips_a_breaker_and_blocks() {
    let mut scenario = Scenario::new(json!({}));
    let end = scenario.answered(refused("NoAuth"));
    let app = super::super::keys::AppKey::new(&AccountKey::Operator, "demo");
    let breaker = BreakerKey::Permission(app, Operation::Create);
    let reports = scenario.pass.take_reports();
    assert!(
        matches!(&reports[..], [Report::Failed(_), Report::Tripped { breaker: tripped, .. }] if *tripped == breaker),
        "{reports:?}"
    );
    let failure = scenario.written(&end).status.unwrap().last_failure.unwrap();
    assert_eq!((failure.operation.as_deref(), &*failure.code), (Some("CreateLiveMessageGroup"), "NoAuth"));
    assert_eq!(requeue(&scenario.store(&end)), &Requeue::blocked(Cause::Breaker(breaker)));
}

#[test]
fn conflict_blocks_on_the_owner() {
    let mut scenario = Scenario::new(json!({}));
    scenario.context.owner = Some(crate::decide::Holder { name: "ns/old".into(), has_origin: true });
    let end = scenario.load();
    assert_eq!(ready_reason(&scenario.written(&end)), Some(Reason::Conflict));
    assert_eq!(requeue(&scenario.store(&end)), &Requeue::blocked(Cause::Owner(Arc::new(group()))));
}

#[test]
fn owner_that_appears_before_the_call_stops_it() {
    let mut scenario = Scenario::new(json!({}));
    scenario.load();
    scenario.context.owner = Some(crate::decide::Holder { name: "ns/old".into(), has_origin: true });
    let end = scenario.next(Input::Preflight(Preflight::OwnerChanged));
    assert_eq!(ready_reason(&scenario.written(&end)), Some(Reason::Conflict));
}

#[test]
fn effect_for_a_removed_or_edited_object_is_reported() {
    let mut scenario = Scenario::new(json!({}));
    scenario.answered(created());
    assert_eq!(requeue(&scenario.next(Input::StatusWritten(Err(WriteFailure::Gone)))), &Requeue::Done);
    let reports = scenario.pass.take_reports();
    assert!(matches!(&reports[..], [Report::Orphaned { event: None, .. }]), "{reports:?}");

    let mut scenario = Scenario::new(json!({}));
    scenario.answered(created());
    scenario.next(Input::StatusWritten(Err(WriteFailure::Failed)));
    scenario.object = object(json!({"metadata": {"generation": 2}, "spec": {"groupId": "other"}}));
    scenario.load();
    let reports = scenario.pass.take_reports();
    assert!(matches!(&reports[..], [Report::Orphaned { event: Some(_), .. }]), "{reports:?}");
}

#[test]
fn lost_answer_keeps_the_claim_until_it_is_recorded() {
    let mut scenario = Scenario::new(json!({}));
    let lost = CallError::Transport { delivery: Delivery::Unknown, message: "no answer".to_owned() };
    let end = scenario.answered(Err(lost));
    assert!(scenario.pass.holds_claim());
    assert_eq!(ready_reason(&scenario.written(&end)), Some(Reason::Unreachable));
    scenario.store(&end);
    assert!(!scenario.pass.holds_claim());
}

#[test]
fn stalled_deletion_is_rechecked_every_minute() {
    let deletion = json!({
        "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "generation": 2,
            "finalizers": [crate::resources::FINALIZER]},
        "spec": {"deletionPolicy": "Delete"},
        "status": {"observedGeneration": 2, "appId": "demo", "groupId": "room", "origin": "Created",
            "createTime": "2026-01-01T00:00:00Z"},
    });
    let mut scenario = Scenario::new(deletion);
    assert!(matches!(scenario.load(), Effect::Preflight(Call::Describe(_))));
    assert!(matches!(scenario.preflight(true), Effect::Send(Call::Describe(_))));
    let end = scenario.next(Input::Answer { result: refused("NoAuth"), progress: None });
    let blocked = scenario.store(&end);
    let Requeue::Blocked { deadline, .. } = requeue(&blocked) else { panic!("{blocked:?}") };
    assert_eq!(*deadline, Some(scenario.context.now + Duration::from_secs(60)));
    scenario.context.now += Duration::from_secs(600);
    assert_eq!(scenario.load(), Effect::CheckNamespace);
    assert_eq!(scenario.next(Input::Namespace { is_terminating: true }), Effect::ReleaseFinalizer);
    let released = Box::new(scenario.object.clone());
    assert_eq!(requeue(&scenario.next(Input::Patched(Ok(released)))), &Requeue::Done);
    let reports = scenario.pass.take_reports();
    assert!(reports.iter().any(|report| matches!(report, Report::Released { outcome: TIMED_OUT })), "{reports:?}");
}
