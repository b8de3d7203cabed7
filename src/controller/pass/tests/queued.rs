//! Reports of long waits for a permit.

use super::*;
use crate::decide::triage;

impl Scenario {
    /// Answers the preflight with an expected wait of `seconds` for a permit, and returns the next effect.
    fn expect_wait(&mut self, seconds: u64) -> Effect {
        let wait = Duration::from_secs(seconds);
        self.next(Input::Preflight(Preflight::NeedsPermit { budget: budget(), wait }))
    }
}

/// The message of `Reconciling`.
fn reconciling(object: &LiveMessageGroup) -> &str {
    &object.condition(ConditionType::Reconciling).unwrap().message
}

#[test]
fn long_wait_is_reported_once_with_its_expected_end() {
    let mut scenario = Scenario::new(json!({}));
    scenario.load();
    assert_eq!(requeue(&scenario.expect_wait(29)), &Requeue::Permit(budget()), "a short wait is not reported");
    scenario.load();
    let report = scenario.expect_wait(100);
    let written = scenario.written(&report);
    assert_eq!(ready_reason(&written), Some(Reason::Queued));
    // The scenario begins at 08:00:00.
    assert!(
        reconciling(&written).contains("expected at about 08:01:40Z. No action is needed."),
        "{}",
        reconciling(&written)
    );
    let end = scenario.store(&report);
    assert_eq!(end, Effect::Finish(Finish { requeue: Requeue::Permit(budget()), is_retry: false }));
    assert_eq!(triage(&scenario.object), Some(Priority::Change), "after a restart it precedes retries, as before");
    scenario.load();
    assert_eq!(requeue(&scenario.expect_wait(70)), &Requeue::Permit(budget()), "the report is not repeated");
    let created = scenario.answered(created());
    assert_eq!(ready_reason(&scenario.written(&created)), Some(Reason::Created));
}

#[test]
fn edit_of_a_queued_object_is_reported_again() {
    let mut scenario = Scenario::new(json!({}));
    scenario.load();
    let report = scenario.expect_wait(100);
    scenario.store(&report);
    scenario.object.metadata.generation = Some(2);
    scenario.load();
    let report = scenario.expect_wait(50);
    assert!(reconciling(&scenario.written(&report)).contains("08:00:50Z"));
}

#[test]
fn change_of_a_ready_object_is_reported_after_two_seconds() {
    let mut scenario = Scenario::new(json!({}));
    let created = scenario.answered(created());
    scenario.store(&created);
    scenario.object.metadata.generation = Some(2);
    scenario.object.spec.group_name = Some("Lobby".to_owned());
    assert!(matches!(scenario.load(), Effect::Preflight(_)));
    assert!(matches!(scenario.expect_wait(1), Effect::Finish(_)));
    scenario.load();
    let report = scenario.expect_wait(2);
    assert_eq!(ready_reason(&scenario.written(&report)), Some(Reason::Queued), "Ready=True must not hide the change");
}

#[test]
fn long_wait_between_two_calls_is_not_reported() {
    let mut scenario = Scenario::new(json!({}));
    let exists = Response { value: Reply::Created(CreateOutcome::AlreadyExists), request_id: None, status: 200 };
    assert!(matches!(scenario.answered(Ok(exists)), Effect::Preflight(Call::Describe(_))));
    assert_eq!(requeue(&scenario.expect_wait(100)), &Requeue::Permit(budget()), "the facts of the pass are kept");
}

#[test]
fn failed_report_changes_nothing() {
    let mut scenario = Scenario::new(json!({}));
    scenario.load();
    scenario.expect_wait(100);
    let waits = scenario.next(Input::StatusWritten(Err(WriteFailure::Failed)));
    assert_eq!(requeue(&waits), &Requeue::Permit(budget()));
    assert_eq!(scenario.next(Input::Start), Effect::Read, "the copy may be outdated");
}

#[test]
fn failure_is_not_replaced_by_a_report() {
    let mut scenario = Scenario::new(json!({}));
    let failed = scenario.answered(refused("InternalError"));
    scenario.store(&failed);
    let Some(until) = scenario.pass.not_before else { panic!("a retry is scheduled") };
    scenario.context.now = until;
    assert!(matches!(scenario.load(), Effect::Preflight(Call::Create(..))));
    assert_eq!(requeue(&scenario.expect_wait(100)), &Requeue::Permit(budget()));
}

#[test]
fn wait_does_not_restart_the_timeout_of_a_deletion() {
    let mut scenario = deletion::deletion();
    scenario.load();
    scenario.preflight(true);
    let failed = scenario.next(Input::Answer { result: deletion::unreachable(), progress: None });
    scenario.store(&failed);
    let stall = scenario.pass.stall;
    assert!(stall.is_some());
    // An edit to an object that is being deleted also creates a new generation.
    scenario.object.metadata.generation = Some(3);
    scenario.context.now += Duration::from_secs(60);
    scenario.load();
    let report = scenario.expect_wait(100);
    scenario.store(&report);
    assert_eq!(scenario.pass.stall, stall);
}

#[test]
fn wait_of_a_day_is_reported_with_the_date() {
    let mut scenario = Scenario::new(json!({}));
    scenario.load();
    let report = scenario.expect_wait(100_000);
    assert!(reconciling(&scenario.written(&report)).contains("at about 2027-01-16T11:46:40Z. No"));
}
