use super::*;
use crate::controller::scheduler::breakers::{BreakerEffect, PROBE_INTERVAL, QUICK_PROBE_INTERVAL, effect_of};
use crate::live::ErrorClass;

pub fn app() -> AppKey {
    AppKey::new(&AccountKey::Operator, "demo")
}

fn permission(operation: Operation) -> BreakerKey {
    BreakerKey::Permission(app(), operation)
}

/// Creates a scheduler in which these objects are active. Each object has its own group.
pub fn world_of(names: &[&str]) -> (World, Vec<LiveMessageGroup>) {
    let mut world = World::new(10_000);
    let objects: Vec<LiveMessageGroup> = names.iter().map(|name| single(name)).collect();
    objects.iter().for_each(|object| world.observe(object));
    world.scheduler.usage_known(&app(), 0, None);
    assert_eq!(world.served().len(), names.len());
    (world, objects)
}

fn blocked_on(world: &mut World, object: &LiveMessageGroup, call: &Call) -> Option<Cause> {
    match world.preflight(object, call, false) {
        Preflight::Blocked(Blocked { on, .. }) => Some(on),
        _ => None,
    }
}

/// Fails every probe for this number of minutes. Returns the minute of each probe.
fn probe_minutes(
    world: &mut World,
    breaker: &BreakerKey,
    call: fn(&LiveMessageGroup) -> Call,
    minutes: u64,
) -> Vec<u64> {
    let mut probes = Vec::new();
    for second in 1..=minutes * 60 {
        for name in world.later(Duration::from_secs(1)).served() {
            let object = single(&name);
            assert!(world.is_cleared(&object, &call(&object)), "the probe is admitted");
            probes.push(second / 60);
            world.trip(&name, breaker, Reason::NotAuthorized);
        }
    }
    probes
}

#[test]
fn hundred_objects_make_one_probe_a_minute() {
    let names: Vec<String> = (0..100).map(|number| format!("o{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut world, objects) = world_of(&names);
    let breaker = permission(Operation::Create);
    world.trip("o0", &breaker, Reason::NotAuthorized);
    for (object, name) in objects.iter().zip(&names).skip(1) {
        let on = blocked_on(&mut world, object, &create(object)).unwrap();
        assert_eq!(on, Cause::Breaker(breaker.clone()));
        world.finish(name, Requeue::blocked(on));
    }
    assert_eq!(probe_minutes(&mut world, &breaker, create, 5), [1, 2, 3, 4, 5]);
}

#[test]
fn app_breaker_is_probed_less_and_less_often() {
    for breaker in [BreakerKey::App(app(), None), BreakerKey::Quota(app(), None)] {
        let (mut world, _) = world_of(&["a"]);
        world.trip("a", &breaker, Reason::AppNotFound);
        assert_eq!(probe_minutes(&mut world, &breaker, create, 60), [1, 3, 7, 15, 25, 35, 45, 55]);
    }
}

#[test]
fn success_unblocks_all_in_order() {
    let (mut world, objects) = world_of(&["c", "a", "b"]);
    let breaker = permission(Operation::Create);
    for name in ["c", "a", "b"] {
        world.trip(name, &breaker, Reason::NotAuthorized);
    }
    assert_eq!(world.later(MINUTE).served(), ["c"], "one probe");
    assert!(!world.is_cleared(&objects[1], &create(&objects[1])));
    world.answered(&objects[0], &create(&objects[0]), &created());
    assert_eq!(world.served(), ["a", "b"]);
    assert!(world.is_cleared(&objects[1], &create(&objects[1])));
    assert!(world.scheduler.open_breakers().is_empty());
}

#[test]
fn probe_without_an_answer_is_replaced() {
    let (mut world, _) = world_of(&["a", "b"]);
    let breaker = permission(Operation::Create);
    world.trip("a", &breaker, Reason::NotAuthorized);
    world.trip("b", &breaker, Reason::NotAuthorized);
    assert_eq!(world.later(MINUTE).served(), ["a"]);
    assert_eq!(world.later(Duration::from_secs(44)).served(), Vec::<String>::new());
    assert_eq!(world.later(Duration::from_secs(1)).served(), ["b"]);
}

#[test]
fn inconclusive_probes_repeat_soon_then_each_minute() {
    let (mut world, objects) = world_of(&["a", "b"]);
    let breaker = permission(Operation::Create);
    for name in ["a", "b"] {
        world.trip(name, &breaker, Reason::NotAuthorized);
    }
    let mut probes = Vec::new();
    for second in 1..=200 {
        for name in world.later(Duration::from_secs(1)).served() {
            let object = &objects[usize::from(name == "b")];
            assert!(world.is_cleared(object, &create(object)));
            world.answered(object, &create(object), &lost());
            world.finish(&name, Requeue::blocked(Cause::Breaker(breaker.clone())));
            probes.push(format!("{second} {name}"));
        }
    }
    assert_eq!(probes, ["60 a", "65 b", "70 a", "75 b", "135 a", "195 b"]);
    // When an answer shows that the cause persists, the short intervals apply again to inconclusive probes.
    assert_eq!(world.later(MINUTE).served(), ["a"]);
    world.trip("a", &breaker, Reason::NotAuthorized);
    assert_eq!(world.later(MINUTE).served(), ["b"]);
    world.answered(&objects[1], &create(&objects[1]), &lost());
    world.finish("b", Requeue::blocked(Cause::Breaker(breaker)));
    assert_eq!(world.later(QUICK_PROBE_INTERVAL).served(), ["a"]);
}

#[test]
fn probes_of_a_breaker_take_turns_between_namespaces() {
    let mut world = World::new(10_000);
    let breaker = permission(Operation::Create);
    let mut block = |name: &str, namespace: &str| {
        world.observe(&edited(&single(name), json!({"metadata": {"namespace": namespace}})));
        assert_eq!(world.served(), [name]);
        let key = ObjectKey::new(namespace, name);
        world.scheduler.trip_breaker(&key, &breaker, explanation(Reason::NotAuthorized), world.now);
        let requeue = Requeue::blocked(Cause::Breaker(breaker.clone()));
        assert!(world.scheduler.finish(&key, Priority::Change, requeue, None, world.now).is_none());
    };
    for number in 0..100 {
        block(&format!("large{number}"), "large");
    }
    block("small", "small");
    let probes: Vec<String> = (0..2).flat_map(|_| world.later(MINUTE).served()).collect();
    assert_eq!(probes, ["large0", "small"]);
}

#[test]
fn breaker_rechecks_only_objects_of_its_account() {
    let mut world = World::new(10);
    let of = |name: &str, account: &str| {
        let object = edited(&single(name), json!({"spec": {"accountRef": {"name": account}}}));
        let budget = BudgetKey { account: AccountKey::of(&object), operation: Operation::Create };
        (object, budget)
    };
    let (mine, others) = (of("mine", "mine"), of("others", "others"));
    for (object, budget) in [&mine, &others] {
        world.account_changed(&budget.account);
        world.observe(object);
        world.served();
        world.finish(object.metadata.name.as_deref().unwrap(), Requeue::Permit(budget.clone()));
    }
    let account = &mine.1.account;
    let failing = of("failing", "mine").0;
    world.observe(&failing);
    assert_eq!(world.served(), ["failing"]);
    world.trip("failing", &BreakerKey::Credentials(account.clone()), Reason::CredentialsRejected);
    assert_eq!(world.served(), ["mine"]);
    world.finish("mine", Requeue::Permit(mine.1.clone()));
    world.account_changed(account);
    let mut served = world.served();
    served.sort();
    assert_eq!(served, ["failing", "mine"]);
    assert_eq!(world.scheduler.queue.awaiting_permit(&others.1), 1, "it is not read again");
}

#[test]
fn forced_reconcile_probes_next_once_a_minute() {
    let (mut world, objects) = world_of(&["a", "b", "c"]);
    let breaker = BreakerKey::App(app(), None);
    for name in ["a", "b", "c"] {
        world.trip(name, &breaker, Reason::AppNotFound);
    }
    probe_minutes(&mut world, &breaker, create, 10);
    let annotations = json!({"metadata": {"annotations": {"live.alibabacloud.com/reconcile-requested-at": "now"}}});
    let forced = edited(&objects[2], annotations);
    world.observe(&forced);
    assert_eq!(world.served(), ["c"]);
    assert!(world.is_cleared(&forced, &create(&forced)), "the last probe was three minutes ago");
    world.trip("c", &breaker, Reason::AppNotFound);
    world.observe(&forced);
    assert_eq!(world.served(), ["c"]);
    let on = blocked_on(&mut world, &forced, &create(&forced)).unwrap();
    world.finish("c", Requeue::blocked(on));
    assert_eq!(world.later(MINUTE - Duration::from_secs(1)).served(), Vec::<String>::new());
    assert_eq!(world.later(Duration::from_secs(1)).served(), ["c"], "before a and b");
}

#[test]
fn free_places_are_probed_one_by_one() {
    let (mut world, objects) = world_of(&["a", "b", "c"]);
    let breaker = BreakerKey::Quota(app(), None);
    for name in ["a", "b", "c"] {
        world.trip(name, &breaker, Reason::QuotaExceeded);
    }
    world.later(MINUTE);
    for (number, name) in ["a", "b"].iter().enumerate() {
        assert_eq!(world.served(), [*name]);
        world.answered(&objects[number], &create(&objects[number]), &created());
        world.finish(name, Requeue::Done);
        world.later(Duration::ZERO);
    }
    assert_eq!(world.served(), ["c"]);
    world.answered(&objects[2], &create(&objects[2]), &created());
    world.finish("c", Requeue::Done);
    assert!(world.scheduler.open_breakers().is_empty(), "no object waits for a place");
}

#[test]
fn restored_breaker_blocks_all_but_one() {
    let mut world = World::new(10_000);
    for name in ["a", "b", "c"] {
        let mut status = ready("NotAuthorized");
        status["groupId"] = json!(name);
        status["lastFailure"] = json!({"operation": "ModifyLiveMessageGroup", "code": "Forbidden.RAM"});
        let object = edited(&single(name), json!({"status": status}));
        world.observe_in(&object, Seen { list: 1, is_initial: true });
    }
    assert_eq!(world.served(), Vec::<String>::new());
    assert_eq!(world.later(Duration::ZERO).served(), ["a"]);
    let failure = world.scheduler.breakers.failure(&permission(Operation::Modify)).unwrap();
    assert_eq!((failure.reason, failure.message.as_str()), (Reason::NotAuthorized, "recorded"));
    let a = edited(&single("a"), json!({"status": {"observedGeneration": 1}}));
    assert!(world.is_cleared(&a, &Call::Describe(group_of(&a))), "the probe may make the calls before the change");
}

#[test]
fn repeated_list_restores_no_closed_breaker() {
    let mut world = World::new(10_000);
    let seen = |list| Seen { list, is_initial: true };
    let object = edited(&single("a"), json!({"status": {"groupId": "a"}}));
    world.observe_in(&object, seen(1));
    assert_eq!(world.served(), ["a"]);
    world.finish("a", Requeue::Done);
    let mut status = ready("AppNotFound");
    status["groupId"] = json!("a");
    world.observe_in(&edited(&object, json!({"status": status})), seen(2));
    assert!(world.scheduler.open_breakers().is_empty());
    assert_eq!(world.served(), ["a"]);
}

#[test]
fn object_blocked_by_one_breaker_probes_no_other() {
    let (mut world, objects) = world_of(&["a", "b"]);
    let (credentials, missing) = (BreakerKey::Credentials(AccountKey::Operator), BreakerKey::App(app(), None));
    world.trip("a", &missing, Reason::AppNotFound);
    world.trip("b", &missing, Reason::AppNotFound);
    assert_eq!(world.later(MINUTE).served(), ["a"]);
    world.scheduler.trip_breaker(&key("x"), &credentials, explanation(Reason::CredentialsRejected), world.now);
    let on = blocked_on(&mut world, &objects[0], &create(&objects[0])).unwrap();
    assert_eq!(on, Cause::Breaker(credentials.clone()));
    world.finish("a", Requeue::blocked(on));
    assert_eq!(world.later(Duration::ZERO).served(), ["b"], "the app is probed by another object");
    let on = blocked_on(&mut world, &objects[1], &create(&objects[1])).unwrap();
    world.finish("b", Requeue::blocked(on));
    assert_eq!(world.later(MINUTE).served(), ["a"], "the credentials are probed when they are due");
}

#[test]
fn edited_probe_is_replaced_by_another_object() {
    let (mut world, objects) = world_of(&["a", "b"]);
    let breaker = BreakerKey::App(app(), None);
    world.trip("a", &breaker, Reason::AppNotFound);
    world.trip("b", &breaker, Reason::AppNotFound);
    assert_eq!(world.later(MINUTE).served(), ["a"]);
    let moved = edited(&objects[0], json!({"metadata": {"generation": 2}, "spec": {"appId": "other"}}));
    world.observe(&moved);
    world.preflight(&moved, &create(&moved), false);
    assert_eq!(world.later(Duration::ZERO).served(), ["b"]);
}

#[test]
fn removed_probe_is_replaced_and_idle_breaker_closes_when_due() {
    let (mut world, objects) = world_of(&["a", "b"]);
    let breaker = permission(Operation::Create);
    world.trip("a", &breaker, Reason::NotAuthorized);
    world.trip("b", &breaker, Reason::NotAuthorized);
    assert_eq!(world.later(MINUTE).served(), ["a"]);
    world.scheduler.remove(&key("a"), world.now);
    assert_eq!(world.later(Duration::ZERO).served(), ["b"]);
    world.trip("b", &breaker, Reason::NotAuthorized);
    world.scheduler.remove(&key("b"), world.now);
    world.later(MINUTE / 2);
    world.observe(&objects[0]);
    assert!(!world.is_cleared(&objects[0], &create(&objects[0])), "a new object does not probe");
    world.later(MINUTE);
    assert!(world.scheduler.open_breakers().is_empty(), "a breaker without blocked objects closes");
}

#[test]
fn waiting_for_a_permission_blocks_the_calls_before_it() {
    let (mut world, objects) = world_of(&["a", "b", "c"]);
    let observed = |object: &LiveMessageGroup| edited(object, json!({"status": {"observedGeneration": 1}}));
    let [a, b, c] = [&objects[0], &objects[1], &objects[2]].map(observed);
    world.trip("a", &permission(Operation::Modify), Reason::NotAuthorized);
    let on = blocked_on(&mut world, &b, &modify(&b)).unwrap();
    world.finish("b", Requeue::blocked(on));
    let describe = |object: &LiveMessageGroup| Call::Describe(group_of(object));
    assert!(world.is_cleared(&c, &describe(&c)), "it may not need the permission");
    world.observe(&edited(&b, json!({"metadata": {"annotations": {"a": "b"}}})));
    world.scheduler.queue.wake(&key("b"), Priority::Retry);
    assert_eq!(world.served(), ["b"]);
    assert!(!world.is_cleared(&b, &describe(&b)));
    world.finish("b", Requeue::blocked(Cause::Breaker(permission(Operation::Modify))));
    assert_eq!(world.later(MINUTE).served(), ["a"]);
    assert!(world.is_cleared(&a, &describe(&a)), "the probe may make the call");
}

#[test]
fn tripped_breaker_recalls_waiting_objects_of_its_account_only() {
    let (mut world, _) = world_of(&["a", "b"]);
    let team = AccountKey::LiveAccount(key("team"));
    let permit = |account: AccountKey| Requeue::Permit(BudgetKey { account, operation: Operation::Create });
    world.finish("a", permit(AccountKey::Operator));
    world.finish("b", permit(team.clone()));
    let breaker = BreakerKey::Credentials(team);
    world.scheduler.trip_breaker(&key("x"), &breaker, explanation(Reason::CredentialsRejected), world.now);
    assert_eq!(world.served(), ["b"]);
}

#[test]
fn changed_account_closes_its_breakers() {
    let (mut world, _) = world_of(&["a"]);
    world.trip("a", &permission(Operation::Create), Reason::NotAuthorized);
    world.account_changed(&AccountKey::LiveAccount(key("team")));
    assert_eq!(world.served(), Vec::<String>::new());
    world.account_changed(&AccountKey::Operator);
    assert_eq!(world.served(), ["a"]);
    assert!(!world.scheduler.is_proven(&AccountKey::Operator));
}

#[test]
fn cause_that_ends_during_the_write_does_not_block() {
    let (mut world, objects) = world_of(&["a", "b"]);
    let breaker = permission(Operation::Create);
    world.trip("a", &breaker, Reason::NotAuthorized);
    let on = blocked_on(&mut world, &objects[1], &create(&objects[1])).unwrap();
    assert_eq!(world.later(MINUTE).served(), ["a"]);
    world.answered(&objects[0], &create(&objects[0]), &created());
    world.finish("b", Requeue::blocked(on));
    assert_eq!(world.later(Duration::ZERO).served(), ["b"]);
}

#[test]
fn answer_affects_the_breakers_that_it_passed() {
    use BreakerEffect::{Close, Inconclusive, Trip};
    use FailureDomain::{App, Authorization, Credentials, Quota};
    let permission = Authorization(Operation::Create);
    for (class, expected) in [
        (None, [Close; 4]),
        (Some(ErrorClass::CredentialsRejected), [Trip, Inconclusive, Inconclusive, Inconclusive]),
        (Some(ErrorClass::NotAuthorized), [Close, Trip, Inconclusive, Inconclusive]),
        (Some(ErrorClass::NotFound), [Close, Close, Trip, Inconclusive]),
        (Some(ErrorClass::QuotaExceeded), [Close, Close, Close, Trip]),
        (Some(ErrorClass::InvalidInput), [Close, Inconclusive, Inconclusive, Inconclusive]),
        (Some(ErrorClass::Throttled), [Inconclusive; 4]),
        (Some(ErrorClass::Unreachable), [Inconclusive; 4]),
    ] {
        assert_eq!([Credentials, permission, App, Quota].map(|domain| effect_of(domain, class)), expected, "{class:?}");
    }
    assert_eq!(PROBE_INTERVAL, MINUTE);
}
