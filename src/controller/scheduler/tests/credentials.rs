//! Tests of unverified and rejected credentials. One call must verify new credentials before other calls are sent.

use super::breakers::{app, world_of};
use super::*;

#[test]
fn unproven_credentials_allow_one_call() {
    let (mut world, objects) = world_of(&["a", "b"]);
    world.account_changed(&AccountKey::Operator);
    world.scheduler.usage_known(&app(), 0, None);
    let budget = BudgetKey { account: AccountKey::Operator, operation: Operation::Create };
    for (object, name) in objects.iter().zip(["a", "b"]) {
        assert!(world.is_cleared(object, &create(object)), "unproven credentials block nothing");
        world.finish(name, Requeue::Permit(budget.clone()));
    }
    assert!(world.scheduler.grant(&budget).is_some());
    let sent = world.preflight(&objects[0], &create(&objects[0]), true);
    assert_eq!(sent, Preflight::Cleared);
    assert!(!world.scheduler.can_grant(&budget) && world.scheduler.grant(&budget).is_none());
    assert!(!world.scheduler.may_list(&app(), world.now));
    world.answered(&objects[0], &create(&objects[0]), &created());
    assert!(world.scheduler.can_grant(&budget) && world.scheduler.is_proven(&AccountKey::Operator));
    assert!(world.scheduler.may_list(&app(), world.now));
}

#[test]
fn failed_proof_lets_the_next_object_try() {
    let (mut world, objects) = world_of(&["a", "b"]);
    world.account_changed(&AccountKey::Operator);
    world.scheduler.usage_known(&app(), 0, None);
    let budget = BudgetKey { account: AccountKey::Operator, operation: Operation::Create };
    world.finish("b", Requeue::Permit(budget.clone()));
    world.preflight(&objects[0], &create(&objects[0]), true);
    assert!(!world.scheduler.can_grant(&budget));
    world.answered(&objects[0], &create(&objects[0]), &lost());
    world.finish("a", Requeue::After(MINUTE));
    assert!(world.scheduler.can_grant(&budget));
}

#[test]
fn rejected_credentials_stop_calls_before_the_reload() {
    let (mut world, objects) = world_of(&["a", "b", "c"]);
    let budget = BudgetKey { account: AccountKey::Operator, operation: Operation::Create };
    world.finish("c", Requeue::Permit(budget.clone()));
    world.scheduler.suspend_credentials(&key("a"), &AccountKey::Operator, world.now);
    assert!(!world.scheduler.can_grant(&budget), "no further permit is granted");
    let granted_before = world.preflight(&objects[1], &create(&objects[1]), true);
    assert!(matches!(granted_before, Preflight::NeedsPermit { .. }), "{granted_before:?}");
    let renewed = Err(CallError::Resent(
        crate::live::error::RetryHint::NewCredentials,
        match refused("x") {
            Err(CallError::Api(error)) => error,
            _ => unreachable!(),
        },
    ));
    world.answered(&objects[0], &create(&objects[0]), &renewed);
    world.finish("a", Requeue::After(Duration::ZERO));
    assert!(world.scheduler.can_grant(&budget), "the next call proves the new ones");
}
