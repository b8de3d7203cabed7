//! Tests of deletions: their time limits and their reports.

use super::*;
use crate::live::GroupSnapshot;

/// Creates a scenario in which an object and the group that it created are being deleted.
pub fn deletion() -> Scenario {
    Scenario::new(json!({
        "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "generation": 2,
            "finalizers": [crate::resources::FINALIZER]},
        "spec": {"deletionPolicy": "Delete"},
        "status": {"observedGeneration": 2, "appId": "demo", "groupId": "room", "origin": "Created",
            "createTime": "2026-01-01T00:00:00Z"},
    }))
}

pub fn unreachable() -> Result<Response<Reply>, CallError> {
    Err(CallError::Transport { delivery: Delivery::Unknown, message: "no answer".to_owned() })
}

/// Retries the deletion once per minute for the given number of minutes, and answers each call with `answer`. Returns
/// true as soon as the pass checks the namespace, and false if it does not.
fn retries(scenario: &mut Scenario, minutes: u64, answer: &Result<Response<Reply>, CallError>) -> bool {
    for _ in 0..minutes {
        scenario.context.now += Duration::from_secs(60);
        if scenario.load() == Effect::CheckNamespace {
            return true;
        }
        if matches!(scenario.pass.stage, Stage::Preflight(_)) {
            scenario.preflight(true);
            let end = scenario.next(Input::Answer { result: answer.clone(), progress: None });
            if matches!(end, Effect::WriteStatus(_)) {
                let Requeue::After(delay) = requeue(&scenario.store(&end)).clone() else { panic!("it is not retried") };
                assert!(delay <= Duration::from_secs(300), "{delay:?}");
            }
        }
    }
    false
}

#[test]
fn unreachable_deletion_is_released_after_an_hour() {
    let mut scenario = deletion();
    assert!(!retries(&mut scenario, 59, &unreachable()));
    assert!(!retries(&mut scenario, 1, &refused("ServerError")), "the Live API answers: the clock restarts");
    assert!(!retries(&mut scenario, 59, &unreachable()));
    assert!(retries(&mut scenario, 2, &unreachable()));
    assert!(matches!(scenario.next(Input::Namespace { is_terminating: false }), Effect::Preflight(_)));
    scenario.preflight(true);
    let end = scenario.next(Input::Answer { result: unreachable(), progress: None });
    assert!(
        matches!(requeue(&end), Requeue::After(delay) if *delay >= Duration::from_secs(1)),
        "it is not retried at once"
    );
    scenario.context.now += Duration::from_secs(300);
    assert_eq!(scenario.load(), Effect::CheckNamespace);
    assert_eq!(scenario.next(Input::Namespace { is_terminating: true }), Effect::ReleaseFinalizer);
    let released = Box::new(scenario.object.clone());
    scenario.next(Input::Patched(Ok(released)));
    let reports = scenario.pass.take_reports();
    assert!(reports.iter().any(|report| matches!(report, Report::Released { outcome: TIMED_OUT })), "{reports:?}");
    let is_warning = |event: &EventDraft| event.event_type == EventType::Warning && event.note.contains("for 3600 s");
    assert!(reports.iter().any(|report| matches!(report, Report::Event(event) if is_warning(event))), "{reports:?}");
}

#[test]
fn deleted_group_is_not_reported_as_orphaned() {
    let delete = || {
        let mut scenario = deletion();
        scenario.load();
        scenario.preflight(true);
        let group = GroupSnapshot { create_time: "2026-01-01T00:00:00Z".parse().ok(), ..GroupSnapshot::default() };
        let described = Ok(Response { value: Reply::Group(group), request_id: None, status: 200 });
        let effect = scenario.next(Input::Answer { result: described, progress: None });
        assert!(matches!(effect, Effect::Preflight(Call::Delete(_))), "{effect:?}");
        scenario.preflight(true);
        let deleted = Ok(Response { value: Reply::Done, request_id: Some("r2".to_owned()), status: 200 });
        assert_eq!(scenario.next(Input::Answer { result: deleted, progress: None }), Effect::ReleaseFinalizer);
        // The finalizer is removed, but the answer is lost.
        scenario.next(Input::Patched(Err(WriteFailure::Failed)));
        scenario
    };
    // The watch delivers the deletion, and the scheduler removes the pass.
    assert_eq!(delete().pass.unrecorded_group(), None);
    // The object is read before the watch delivers the deletion.
    let mut scenario = delete();
    scenario.context.now += Duration::from_secs(60);
    scenario.next(Input::Start);
    scenario.next(Input::Gone);
    let reports = scenario.pass.take_reports();
    assert!(!reports.iter().any(|report| matches!(report, Report::Orphaned { .. })), "{reports:?}");
    // The object is recreated under the same name before the watch delivers the deletion.
    let mut scenario = delete();
    scenario.context.now += Duration::from_secs(60);
    scenario.object = object(json!({"metadata": {"uid": "again"}}));
    scenario.load();
    let reports = scenario.pass.take_reports();
    assert!(!reports.iter().any(|report| matches!(report, Report::Orphaned { .. })), "{reports:?}");
}

#[test]
fn deletion_of_a_group_is_decided_from_a_read_object() {
    let mut scenario = deletion();
    assert_eq!(scenario.next(Input::Start), Effect::Load);
    assert!(matches!(scenario.read(true), Effect::Preflight(Call::Describe(_))));
    scenario.preflight(true);
    let group = GroupSnapshot { create_time: "2026-01-01T00:00:00Z".parse().ok(), ..GroupSnapshot::default() };
    let described = Ok(Response { value: Reply::Group(group), request_id: None, status: 200 });
    assert_eq!(scenario.next(Input::Answer { result: described, progress: None }), Effect::Read);
    scenario.object.spec.deletion_policy = None;
    assert_eq!(scenario.read(false), Effect::ReleaseFinalizer, "the policy was edited after the copy was delivered");
}
