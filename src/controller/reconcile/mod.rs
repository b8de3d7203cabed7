//! The driver executes the effects of a [`Pass`], and then returns the object to the scheduler.
//!
//! The module owns only the step in progress. It may import every module of the controller except `watch` and
//! `background`. Its invariant: each arm of [`Reconcile::step`] executes one effect and makes no decisions.

mod call;
mod read;
mod report;
mod unreadable;
mod write;

pub use report::CHANGES;

use std::any::Any;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::accounts::{Account, GrantedPermit};
use super::context::Context;
use super::keys::{BudgetKey, ObjectKey, Requeue};
use super::pass::{Effect, Finish, Input, Pass, StepContext};
use super::scheduler::Work;
use crate::decide::Priority;
use crate::resources::AccountRecord;

/// The maximum number of calls of one operation that are in flight at the same time. It matters only for accounts that
/// have no rate limit. For other accounts, the number of permits is lower.
const MAX_IN_FLIGHT: usize = 64;

/// The delay before an object is reconciled again after a panic.
const AFTER_PANIC: Duration = Duration::from_secs(60);

/// One step of a pass. It starts when a worker or a permit is available, and ends when the object must wait or the pass
/// is complete.
struct Reconcile {
    context: Arc<Context>,
    key: ObjectKey,
    priority: Priority,
    pass: Box<Pass>,
    /// The account that the call uses; `None` before the preflight.
    account: Option<Arc<Account>>,
    /// The account that the object's next call uses; `None` if no such account is available.
    record: Option<Arc<AccountRecord>>,
    permit: Option<GrantedPermit>,
}

/// Runs a worker, which processes one object at a time. A shutdown does not interrupt a step in progress.
pub async fn work(context: Arc<Context>, tasks: TaskTracker) {
    loop {
        let work = context.scheduler.next().await;
        let step = tasks.spawn(run(Arc::clone(&context), work, None));
        if step.await.is_err() {
            tracing::error!("a worker's task failed");
        }
    }
}

/// Grants the permits of one budget. Each permit goes to the object that is first in the queue when the permit becomes
/// available.
pub async fn dispatch(context: Arc<Context>, budget: BudgetKey, tasks: TaskTracker) {
    let in_flight = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    loop {
        context.scheduler.wait_for(&budget, |scheduler, _| scheduler.can_grant(&budget).then_some(())).await;
        let Ok(place) = Arc::clone(&in_flight).acquire_owned().await else { return };
        let Some(account) = context.accounts.current(&budget.account) else { return };
        let permits = account.permit(budget.operation).await;
        let Some(work) = context.scheduler.with(|scheduler, _| scheduler.grant(&budget)) else { continue };
        let permit = GrantedPermit { account, operation: budget.operation, permits };
        let step = run(Arc::clone(&context), work, Some(permit));
        tasks.spawn(async move {
            step.await;
            drop(place);
        });
    }
}

/// Runs one step for an object. A panic affects only this object.
pub async fn run(context: Arc<Context>, work: Work, permit: Option<GrantedPermit>) {
    let Work { key, priority, pass } = work;
    let (started, metrics) = (Instant::now(), Arc::clone(&context.metrics));
    let empty = tracing::field::Empty;
    let span = tracing::info_span!("reconcile", object = %key, account = empty, operation = empty);
    let pass = pass.unwrap_or_default();
    let reconcile = Reconcile {
        context: Arc::clone(&context),
        key: key.clone(),
        priority,
        pass,
        account: None,
        record: None,
        permit,
    };
    let step = context.activities.monitor(format!("reconcile of {key}"), reconcile.step().instrument(span.clone()));
    let result = match AssertUnwindSafe(step).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            let _entered = span.entered();
            tracing::error!(error = message_of(&*panic), "reconcile pass panicked: report this bug");
            metrics.reconciles.panicked();
            let requeue = Requeue::After(AFTER_PANIC);
            context.scheduler.with(|scheduler, now| scheduler.finish(&key, Priority::Retry, requeue, None, now));
            "error"
        }
    };
    metrics.reconciles.observe_reconcile(result, started.elapsed());
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown")
}

impl Reconcile {
    /// Executes the effects of the pass until the step ends. Returns the result for the metrics.
    async fn step(mut self) -> &'static str {
        let mut input = Input::Start;
        loop {
            let effect = self.pass.next(input, &self.step_context());
            self.report();
            input = match effect {
                Effect::Load | Effect::Read => {
                    let loaded = if effect == Effect::Load { self.load().await } else { self.read().await };
                    match loaded {
                        ControlFlow::Continue(input) => input,
                        ControlFlow::Break(requeue) => return self.leave(requeue),
                    }
                }
                Effect::CheckNamespace => self.check_namespace().await,
                Effect::SetFinalizer(wanted) => self.set_finalizer(wanted).await,
                Effect::ReleaseFinalizer => self.set_finalizer(false).await,
                Effect::Preflight(call) => self.preflight(&call).await,
                Effect::PersistIntent(status) => self.persist_intent(&status).await,
                Effect::Send(call) => self.send(&call).await,
                Effect::WriteStatus(status) => self.write_status(&status).await,
                Effect::Finish(finish) => return self.finish(finish),
            };
        }
    }

    /// Returns the name of the other object that owns the group. If this object is being deleted, returns the name of
    /// the object that would take over the group. Returns `None` if there is no such object.
    fn owner(&self) -> Option<String> {
        let owner = self.context.scheduler.with(|scheduler, _| scheduler.other_claimant(&self.key));
        owner.map(|owner| owner.name)
    }

    fn step_context(&self) -> StepContext {
        let (group, owner, delayed, now) = self.context.scheduler.with(|scheduler, now| {
            (scheduler.group_of(&self.key), scheduler.other_claimant(&self.key), scheduler.delayed(), now)
        });
        let wall = jiff::Timestamp::now();
        StepContext {
            now,
            wall,
            service: self.account.as_ref().map_or(Some(wall), |account| account.server_now()),
            account: self.record.clone(),
            group,
            owner,
            delayed,
            jitter: 0.75 + fastrand::f64() / 2.0,
            finalizer_timeout: self.context.finalizer_timeout,
            unreachable_finalizer_timeout: self.context.unreachable_finalizer_timeout,
        }
    }

    fn finish(mut self, finish: Finish) -> &'static str {
        if finish.is_retry {
            self.priority = Priority::Retry;
        }
        if finish.requeue == Requeue::Done {
            self.pass = Box::default();
        }
        self.leave(finish.requeue)
    }

    /// Returns the object and its pass to the scheduler.
    fn leave(self, requeue: Requeue) -> &'static str {
        let Self { context, key, priority, mut pass, .. } = self;
        let result = result_label(&requeue);
        let object = pass.take_object();
        let kept = pass.is_begun().then_some(pass);
        let orphan = context.scheduler.with(|scheduler, now| {
            let orphan = scheduler.finish(&key, priority, requeue, kept, now);
            if let Some(object) = object {
                scheduler.keep_copy(&key, object);
            }
            orphan
        });
        if let Some(pass) = orphan {
            report::orphaned(&context, &key, &pass);
        }
        result
    }
}

/// The metric label of a step's result.
fn result_label(requeue: &Requeue) -> &'static str {
    match requeue {
        Requeue::Done => "success",
        Requeue::After(_) => "requeue_after",
        Requeue::Permit(_) => "awaiting_permit",
        Requeue::Blocked { .. } => "blocked",
    }
}

/// Reports the group of a removed object if the object's pass created or changed the group and no status records this.
pub fn report_removed(context: &Context, key: &ObjectKey, pass: Option<&Pass>) {
    if let Some(pass) = pass {
        report::orphaned(context, key, pass);
    }
}
