//! Tests that no notification of the scheduler is lost. Shuttle runs the tasks that share the scheduler many times,
//! each time in a random order.
//!
//! This module compiles `shared/lock.rs` a second time, with Shuttle's lock and notifications.

#[path = "../shared/lock.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "compiled with other locks; the tests use a part of it")]
mod lock;

/// The replacements for `crate::controller::shared::sync`.
mod sync {
    use std::sync::PoisonError;

    pub use shuttle_tokio::sync::Notify;
    pub use shuttle_tokio::time::sleep_until;

    /// A Shuttle lock with the interface of `parking_lot`.
    #[derive(Debug)]
    pub struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use shuttle::future::{JoinHandle, block_on, spawn};
use shuttle_tokio::sync::Notify;

use self::lock::SharedScheduler;
use crate::controller::keys::{AccountKey, BudgetKey, Cause, ObjectKey, Requeue};
use crate::controller::scheduler::{AccountState, Scheduler, Seen};
use crate::decide::Priority;
use crate::live::Operation;
use crate::resources::LiveMessageGroup;

const OBJECTS: usize = 4;

/// The number of random orders that each of the two checks tries.
const ORDERS: usize = 1_500;

#[derive(Debug, Default)]
struct Progress {
    /// The number of steps of each object so far.
    steps: HashMap<ObjectKey, usize>,
    /// The objects that a task is processing now.
    active: HashSet<ObjectKey>,
    done: usize,
}

struct Shell {
    scheduler: SharedScheduler,
    progress: Mutex<Progress>,
    finished: Notify,
}

fn budget() -> BudgetKey {
    BudgetKey { account: AccountKey::Operator, operation: Operation::Create }
}

fn account() -> Cause {
    Cause::Account(AccountKey::Operator)
}

fn object(number: usize) -> LiveMessageGroup {
    let name = format!("g{number}");
    let metadata = json!({"namespace": "ns", "name": name, "uid": name, "generation": 1, "resourceVersion": "1"});
    serde_json::from_value(json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
        "metadata": metadata, "spec": {"appId": "demo", "groupId": name},
    }))
    .unwrap()
}

impl Shell {
    fn new() -> Self {
        let now = Instant::now();
        let mut scheduler = Scheduler::new(100, now);
        let state = AccountState { service: "live.aliyuncs.com".into(), is_usable: true, namespaces: None };
        scheduler.account_changed(&AccountKey::Operator, Some(state));
        Self { scheduler: SharedScheduler::new(scheduler), progress: Mutex::default(), finished: Notify::new() }
    }

    /// Runs the next step of an object. After its first three steps, the object waits for the account, for a delay and
    /// for a permit, in this order. After the fourth step, the object is done.
    fn step(&self, key: &ObjectKey) {
        assert!(self.progress.lock().unwrap().active.insert(key.clone()), "two tasks process {key}");
        shuttle::thread::yield_now();
        let requeue = {
            let mut progress = self.progress.lock().unwrap();
            progress.active.remove(key);
            let step = progress.steps.entry(key.clone()).or_default();
            *step += 1;
            match *step {
                1 => Requeue::blocked(account()),
                2 => Requeue::After(Duration::ZERO),
                3 => Requeue::Permit(budget()),
                _ => Requeue::Done,
            }
        };
        let is_done = requeue == Requeue::Done;
        self.scheduler.with(|scheduler, now| drop(scheduler.finish(key, Priority::Change, requeue, None, now)));
        if is_done {
            self.progress.lock().unwrap().done += 1;
            self.finished.notify_one();
        }
    }

    async fn work(&self) {
        loop {
            let work = self.scheduler.next().await;
            self.step(&work.key);
        }
    }

    async fn dispatch(&self) {
        loop {
            let budget = budget();
            self.scheduler.wait_for(&budget, |scheduler, _| scheduler.can_grant(&budget).then_some(())).await;
            if let Some(work) = self.scheduler.with(|scheduler, _| scheduler.grant(&budget)) {
                self.step(&work.key);
            }
        }
    }

    async fn load_accounts(&self) {
        loop {
            let notified = self.scheduler.accounts.notified();
            self.scheduler.with(|scheduler, _| scheduler.unblock(&account()));
            notified.await;
        }
    }

    fn observe(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let object = object(number);
            let key = ObjectKey::of(&object.metadata).unwrap();
            let seen = Seen { list: 0, is_initial: false };
            self.scheduler.with(|scheduler, now| scheduler.observe(&key, &object, seen, now));
        }
    }

    async fn wait_until_done(&self) {
        loop {
            let finished = self.finished.notified();
            if self.progress.lock().unwrap().done == OBJECTS {
                return;
            }
            finished.await;
        }
    }
}

/// Runs the tasks of the operator once, in an order that Shuttle chooses. Shuttle fails the test if all tasks wait at
/// the same time.
fn run() {
    let shell = Arc::new(Shell::new());
    let task = |work: fn(Arc<Shell>) -> futures::future::BoxFuture<'static, ()>| spawn(work(Arc::clone(&shell)));
    let tasks: Vec<JoinHandle<()>> = vec![
        task(|shell| Box::pin(async move { shell.work().await })),
        task(|shell| Box::pin(async move { shell.work().await })),
        task(|shell| Box::pin(async move { shell.dispatch().await })),
        task(|shell| Box::pin(async move { shell.load_accounts().await })),
        task(|shell| Box::pin(async move { shell.scheduler.run_timer().await })),
    ];
    for half in [0..OBJECTS / 2, OBJECTS / 2..OBJECTS] {
        let shell = Arc::clone(&shell);
        drop(spawn(async move { shell.observe(half) }));
    }
    block_on(shell.wait_until_done());
    tasks.iter().for_each(JoinHandle::abort);
}

#[test]
fn no_order_of_the_tasks_loses_a_notification() {
    shuttle::check_random(run, ORDERS);
    shuttle::check_pct(run, ORDERS, 3);
}
