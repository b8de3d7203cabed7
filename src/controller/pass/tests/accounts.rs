//! Accounts: missing credentials, missing permission, and an object whose account changes.

use super::*;

#[test]
fn missing_credentials_are_reported_after_two_seconds() {
    let mut scenario = Scenario::new(json!({"spec": {"accountRef": {"name": "team"}}}));
    let account = AccountKey::LiveAccount(crate::controller::keys::ObjectKey::new("ns", "team"));
    let missing = |why: Option<&str>| {
        let (account, why) = (account.clone(), why.map(str::to_owned));
        Input::Preflight(Preflight::NoCredentials(NoCredentials { account, why, retry_after: None }))
    };
    scenario.load();
    let loading = scenario.next(missing(None));
    assert_eq!(requeue(&loading), &Requeue::blocked(Cause::Account(account.clone())), "without a deadline");
    scenario.load();
    let deadline = Some(scenario.context.now + MISSING_GRACE);
    let early = scenario.next(missing(Some("none")));
    assert_eq!(requeue(&early), &Requeue::Blocked { on: Cause::Account(account.clone()), deadline });
    scenario.context.now += MISSING_GRACE;
    scenario.load();
    let late = scenario.next(missing(Some("none")));
    assert_eq!(ready_reason(&scenario.written(&late)), Some(Reason::CredentialsMissing));
    let Requeue::Blocked { deadline: Some(_), .. } = requeue(&scenario.store(&late)) else {
        panic!("Reconciling becomes Stalled without an event")
    };
}

#[test]
fn object_without_permission_reports_it_and_rests_when_stalled() {
    let mut scenario = Scenario::new(json!({}));
    scenario.load();
    let end = scenario.next(Input::Preflight(Preflight::NotPermitted));
    let written = scenario.written(&end);
    assert_eq!(ready_reason(&written), Some(Reason::CredentialsMissing));
    let message = &written.condition(ConditionType::Ready).unwrap().message;
    assert!(message.contains("namespace ns") && message.contains("--operator-credentials-namespaces"), "{message}");
    assert!(matches!(requeue(&scenario.store(&end)), Requeue::After(_)), "Reconciling becomes Stalled");
    scenario.object = written;
    scenario.context.wall += Duration::from_secs(180);
    scenario.load();
    let end = scenario.next(Input::Preflight(Preflight::NotPermitted));
    scenario.object = scenario.written(&end);
    scenario.store(&end);
    scenario.load();
    assert_eq!(requeue(&scenario.next(Input::Preflight(Preflight::NotPermitted))), &Requeue::Done);
}

#[test]
fn deletion_without_permission_releases_the_finalizer() {
    let mut scenario = Scenario::new(json!({
        "metadata": {"finalizers": [crate::resources::FINALIZER], "deletionTimestamp": "2027-01-01T00:00:00Z"},
        "spec": {"deletionPolicy": "Delete"},
        "status": {"appId": "demo", "groupId": "room", "origin": "Created"},
    }));
    assert!(matches!(scenario.load(), Effect::Preflight(Call::Describe(_))));
    assert_eq!(scenario.next(Input::Preflight(Preflight::NotPermitted)), Effect::ReleaseFinalizer);
    let released = Box::new(scenario.object.clone());
    scenario.next(Input::Patched(Ok(released)));
    let reports = scenario.pass.take_reports();
    let is_warning = |event: &EventDraft| event.event_type == EventType::Warning && event.note.contains("is retained");
    assert!(
        matches!(&reports[..], [Report::Released { .. }, Report::Event(event)] if is_warning(event)),
        "{reports:?}"
    );
}

fn account(name: &str) -> Option<Arc<AccountRecord>> {
    Some(Arc::new(AccountRecord { service: "live.aliyuncs.com".to_owned(), name: name.to_owned(), uid: String::new() }))
}

#[test]
fn call_is_not_sent_with_another_account_than_decided() {
    let mut scenario = Scenario::new(json!({}));
    scenario.context.account = account("one");
    assert!(matches!(scenario.load(), Effect::Preflight(Call::Create(..))));
    scenario.context.account = account("two");
    let again = scenario.preflight(true);
    assert_eq!(requeue(&again), &Requeue::After(Duration::ZERO));
    assert!(!scenario.pass.holds_claim());
    assert!(matches!(scenario.load(), Effect::Preflight(Call::Create(..))));
    assert!(matches!(scenario.preflight(true), Effect::Send(Call::Create(..))));
}

#[test]
fn effect_of_a_former_account_is_recorded_with_it() {
    let mut scenario = Scenario::new(json!({}));
    scenario.context.account = account("one");
    let end = scenario.answered(created());
    assert!(matches!(end, Effect::WriteStatus(_)));
    let retry = scenario.next(Input::StatusWritten(Err(WriteFailure::Failed)));
    assert!(matches!(requeue(&retry), Requeue::After(_)));
    // The user selects another account before the write is repeated.
    scenario.object.metadata.generation = Some(2);
    scenario.context.account = account("two");
    let end = scenario.load();
    let written = scenario.written(&end).status.unwrap();
    assert_eq!(
        (written.origin, written.account.map(Arc::new)),
        (Some(crate::resources::Origin::Created), account("one"))
    );
    let next = scenario.store(&end);
    assert_eq!(requeue(&next), &Requeue::After(Duration::ZERO));
    assert!(matches!(scenario.load(), Effect::Preflight(Call::Describe(_))));
}
