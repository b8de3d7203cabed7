//! Property tests of the whole scheduler: objects are added and removed, calls fail for every shared cause, and
//! accounts change. After every step, the cause of each blocked object still exists. When all faults end, every object
//! becomes idle.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::resources::FINALIZER;

const LIMIT: u64 = 3;

#[derive(Debug, Clone)]
enum Step {
    Observe { object: usize, status: usize },
    Remove(usize),
    Serve,
    Finish { object: usize, end: End },
    Call { object: usize, code: usize },
    Usage(u64),
    UsageUnavailable,
    Drift(usize),
    AccountChanged,
    AccountUsable,
    Pass(u64),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Done,
    After(u64),
    Owner,
    Account,
    Trip(usize),
    Preflight,
}

/// Returns twelve objects in three namespaces. Two objects reference each group.
fn objects() -> Vec<LiveMessageGroup> {
    let build = |number: i64| {
        let (namespace, name) = (format!("ns{}", number % 3), format!("o{number}"));
        let change = json!({"metadata": {"namespace": namespace, "finalizers": [FINALIZER]},
            "spec": {"groupId": format!("g{}", number / 2)}});
        edited(&object(&name, number, json!({})), change)
    };
    (0..12).map(build).collect()
}

fn statuses(object: &LiveMessageGroup) -> Vec<LiveMessageGroup> {
    let group = object.group_id().unwrap();
    let with = |mut status: Value| {
        status["groupId"] = json!(group);
        edited(object, json!({"status": status}))
    };
    let origin = json!({"appId": "demo", "origin": "Created"});
    let mut all = vec![object.clone(), with(origin)];
    all.extend(["Conflict", "GroupDeleted", "ServiceError"].map(|reason| with(ready(reason))));
    all
}

const CODES: [Option<&str>; 6] = [
    None,
    Some("ErrorTooManyGroups"),
    Some("ResourceNotExist"),
    Some("Forbidden.RAM"),
    Some("ServerError"),
    Some("InvalidAccessKeyId.NotFound"),
];

fn breakers() -> Vec<BreakerKey> {
    let app = AppKey::new(&AccountKey::Operator, "demo");
    vec![
        BreakerKey::Credentials(AccountKey::Operator),
        BreakerKey::Permission(app.clone(), Operation::Create),
        BreakerKey::App(app.clone(), None),
        BreakerKey::Quota(app, None),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let object = 0..12_usize;
    let end = prop_oneof![
        Just(End::Done),
        (0..100_u64).prop_map(End::After),
        Just(End::Owner),
        Just(End::Account),
        (0..4_usize).prop_map(End::Trip),
        Just(End::Preflight),
    ];
    let step = prop_oneof![
        4 => (object.clone(), 0..5_usize).prop_map(|(object, status)| Step::Observe { object, status }),
        1 => object.clone().prop_map(Step::Remove),
        6 => Just(Step::Serve),
        6 => (object.clone(), end).prop_map(|(object, end)| Step::Finish { object, end }),
        3 => (object.clone(), 0..CODES.len()).prop_map(|(object, code)| Step::Call { object, code }),
        1 => (0..5_u64).prop_map(Step::Usage),
        1 => Just(Step::UsageUnavailable),
        1 => object.prop_map(Step::Drift),
        1 => Just(Step::AccountChanged),
        1 => Just(Step::AccountUsable),
        2 => (0..100_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..150)
}

struct History {
    world: World,
    objects: Vec<LiveMessageGroup>,
    active: BTreeSet<ObjectKey>,
    /// Whether a worker is notified that objects are ready.
    is_notified: bool,
}

impl History {
    fn new() -> Self {
        Self { world: World::new(LIMIT), objects: objects(), active: BTreeSet::new(), is_notified: false }
    }

    fn key(&self, number: usize) -> ObjectKey {
        ObjectKey::of(&self.objects[number].metadata).unwrap()
    }

    fn take(&mut self, work: Option<Work>) -> Result<(), TestCaseError> {
        if let Some(work) = work {
            prop_assert!(self.active.insert(work.key.clone()), "two workers on {}", work.key);
        }
        Ok(())
    }

    fn finish(&mut self, key: &ObjectKey, requeue: Requeue) {
        if self.active.remove(key) {
            self.world.scheduler.finish(key, Priority::Retry, requeue, None, self.world.now);
        }
    }

    fn preflight(&mut self, number: usize, has_permit: bool) -> Requeue {
        let object = self.objects[number].clone();
        match self.world.preflight(&object, &create(&object), has_permit) {
            Preflight::NeedsPermit { budget, .. } => Requeue::Permit(budget),
            Preflight::Delayed(delay) => Requeue::After(delay),
            Preflight::Blocked(Blocked { on, .. }) => Requeue::blocked(on),
            Preflight::Cleared | Preflight::OwnerChanged | Preflight::NoCredentials(_) | Preflight::NotPermitted => {
                Requeue::After(Duration::ZERO)
            }
        }
    }

    fn end(&mut self, number: usize, end: End) {
        let key = self.key(number);
        if !self.active.contains(&key) {
            return;
        }
        let requeue = match end {
            End::Done => Requeue::Done,
            End::After(seconds) => Requeue::After(Duration::from_secs(seconds)),
            End::Owner => {
                let group = self.world.scheduler.record(&key).and_then(|record| record.group.clone());
                group.map_or(Requeue::Done, |group| Requeue::blocked(Cause::Owner(group)))
            }
            End::Account => Requeue::blocked(Cause::Account(AccountKey::Operator)),
            End::Trip(breaker) => {
                let breaker = breakers()[breaker].clone();
                let failure = explanation(Reason::Rejected);
                self.world.scheduler.trip_breaker(&key, &breaker, failure, self.world.now);
                Requeue::blocked(Cause::Breaker(breaker))
            }
            End::Preflight => self.preflight(number, false),
        };
        self.finish(&key, requeue);
    }

    fn apply(&mut self, step: Step) -> Result<(), TestCaseError> {
        let app = AppKey::new(&AccountKey::Operator, "demo");
        match step {
            Step::Observe { object, status } => {
                let object = statuses(&self.objects[object])[status].clone();
                self.world.observe(&object);
            }
            Step::Remove(number) => {
                let key = self.key(number);
                self.world.scheduler.remove(&key, self.world.now);
            }
            Step::Serve => {
                let budget = BudgetKey { account: AccountKey::Operator, operation: Operation::Create };
                let work = self.world.scheduler.next();
                // A worker that takes an object notifies the next worker if more objects are ready.
                self.is_notified = self.world.scheduler.has_ready();
                let work = work.or_else(|| self.world.scheduler.grant(&budget));
                self.take(work)?;
            }
            Step::Finish { object, end } => self.end(object, end),
            Step::Call { object, code } => {
                if self.active.contains(&self.key(object)) && self.preflight(object, true) != Requeue::Done {
                    let result = CODES[code].map_or_else(created, refused);
                    let object = self.objects[object].clone();
                    self.world.answered(&object, &create(&object), &result);
                }
            }
            Step::Usage(used) => self.world.scheduler.usage_known(&app, used, Some(Default::default())),
            Step::UsageUnavailable => self.world.scheduler.usage_unavailable(&app),
            Step::Drift(number) => {
                let key = self.key(number);
                self.world.scheduler.mark_drift(&key, RecordedState::Live);
            }
            Step::AccountChanged => self.world.account_changed(&AccountKey::Operator),
            Step::AccountUsable => self.world.scheduler.unblock(&Cause::Account(AccountKey::Operator)),
            Step::Pass(seconds) => drop(self.world.later(Duration::from_secs(seconds))),
        }
        Ok(())
    }

    /// Checks the invariants that hold after every step.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let scheduler = &self.world.scheduler;
        for (key, state) in &scheduler.objects {
            if let Some(cause) = scheduler.queue.blocked_on(key) {
                let holds = match cause {
                    Cause::Account(_) => true,
                    Cause::Owner(_) => scheduler.other_claimant(key).is_some(),
                    Cause::Breaker(breaker) => scheduler.breakers.failure(breaker).is_some(),
                    Cause::Quota(app) => scheduler.waits_for_quota(app),
                };
                prop_assert!(holds, "{} is blocked on {:?}, which is gone", key, cause);
                prop_assert!(state.held.is_none(), "{} is blocked and holds {:?}", key, state.held);
            }
        }
        let depths = scheduler.depths();
        prop_assert_eq!(depths.active, self.active.len());
        let waits_for_probe =
            breakers().iter().any(|breaker| scheduler.queue.blocked(&Cause::Breaker(breaker.clone())) > 0);
        prop_assert!(!waits_for_probe || scheduler.next_deadline().is_some(), "no probe is scheduled");
        self.is_notified |= self.world.scheduler.take_wakeups().workers;
        prop_assert!(self.is_notified || !self.world.scheduler.has_ready(), "no worker is notified of a ready object");
        Ok(())
    }

    /// Ends all faults: every call succeeds, the usage is known, and the account is usable. Checks that every object
    /// becomes idle.
    fn check_that_all_become_idle(&mut self) -> Result<(), TestCaseError> {
        let app = AppKey::new(&AccountKey::Operator, "demo");
        self.world.scheduler.retain_apps(std::time::SystemTime::now());
        for _ in 0..400 {
            for key in std::mem::take(&mut self.active) {
                self.world.scheduler.finish(&key, Priority::Retry, Requeue::Done, None, self.world.now);
            }
            self.world.scheduler.usage_known(&app, 0, Some(Default::default()));
            self.world.scheduler.unblock(&Cause::Account(AccountKey::Operator));
            let budget = BudgetKey { account: AccountKey::Operator, operation: Operation::Create };
            while let Some(work) = self.world.scheduler.next().or_else(|| self.world.scheduler.grant(&budget)) {
                self.active.insert(work.key.clone());
                let number = self.objects.iter().position(|of| ObjectKey::of(&of.metadata).as_ref() == Some(&work.key));
                let object = self.objects[number.unwrap()].clone();
                let requeue = if self.world.scheduler.other_claimant(&work.key).is_some() {
                    Requeue::Done
                } else if Preflight::Cleared == self.world.preflight(&object, &create(&object), true) {
                    self.world.answered(&object, &create(&object), &created());
                    self.world.scheduler.refresh(&work.key, &statuses(&object)[1]);
                    Requeue::Done
                } else {
                    self.preflight(number.unwrap(), false)
                };
                self.finish(&work.key, requeue);
            }
            // Objects that wait for the owner of their group count as idle.
            let depths = self.world.scheduler.queue.depths();
            let owned: usize = self
                .world
                .scheduler
                .groups
                .keys()
                .map(|group| self.world.scheduler.queue.blocked(&Cause::Owner(Arc::clone(group))))
                .sum();
            if depths == (Depths { blocked: owned, ..empty() }) {
                return Ok(());
            }
            self.world.later(Duration::from_secs(60));
        }
        let left = self.world.scheduler.queue.depths();
        prop_assert!(false, "left after all faults ended: {:?}", left);
        Ok(())
    }
}

fn empty() -> Depths {
    Depths { ready: [0; 3], delayed: 0, blocked: 0, permits: vec![], active: 0 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_blocked_without_a_cause(steps in steps()) {
        let mut history = History::new();
        for step in steps {
            history.apply(step)?;
            history.check()?;
        }
        history.check_that_all_become_idle()?;
    }

    #[test]
    fn removed_objects_leave_no_state(steps in steps()) {
        let mut history = History::new();
        for step in steps {
            history.apply(step)?;
        }
        for number in 0..history.objects.len() {
            let key = history.key(number);
            history.world.scheduler.remove(&key, history.world.now);
        }
        for key in std::mem::take(&mut history.active) {
            history.world.scheduler.finish(&key, Priority::Retry, Requeue::Done, None, history.world.now);
        }
        let scheduler = &mut history.world.scheduler;
        scheduler.retain_apps(std::time::SystemTime::now());
        prop_assert_eq!(scheduler.depths(), empty());
        prop_assert!(scheduler.objects.is_empty() && scheduler.groups.is_empty() && scheduler.apps.is_empty());
        prop_assert!(scheduler.summaries.is_empty() && scheduler.drift_candidates() == 0);
    }
}
