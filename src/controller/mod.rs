//! The controller, which reconciles LiveMessageGroups with groups in the Live API.
//!
//! This file starts the tasks. It imports every module, and no module imports it. The modules, in dependency order:
//!
//! - `namespaces`: patterns for namespace names.
//! - `keys`: the keys of objects, accounts, apps, groups, budgets and causes.
//! - `pass`: one reconcile pass, a pure state machine.
//! - `scheduler`: decides which object is processed next, and holds the state of all waiting objects. It is pure;
//!   `shared` protects it with a lock.
//! - `leader`: leader election. Only the leader makes calls and writes objects.
//! - `activity`, `supervisor`: start the tasks of the process, and detect a task that ended early or does not respond.
//! - `connection`: the clients of the apiserver, with timeouts.
//! - `api`, `events`: read and write objects in the apiserver, and send events.
//! - `accounts`: credentials, LiveAccounts, budgets.
//! - `context`: the state that the tasks share.
//! - `reconcile`: the driver of passes.
//! - `watch`: passes watch events to the scheduler.
//! - `background`: drift checks, the status of LiveAccounts, metrics.
//!
//! For tests, `explore` runs passes and the scheduler in every order of events.

mod accounts;
mod activity;
mod api;
mod background;
mod connection;
mod context;
mod events;
#[cfg(test)]
mod explore;
mod keys;
mod leader;
mod namespaces;
mod pass;
mod reconcile;
mod scheduler;
mod shared;
mod supervisor;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch as signal;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use accounts::{Account, AccountDefaults, Accounts, Rate};
pub use connection::Connections;
pub use context::Limits;
pub use leader::{
    ElectionSettings, Elector, InvalidElectionSettings, Leadership, LeaseLost, LeaseName, Term, identity,
};
pub use namespaces::NamespacePattern;
pub use scheduler::DEFAULT_MAX_GROUPS;
pub use supervisor::{Supervisor, TaskFailure};
pub use watch::{Readiness, longest_watch};

use crate::live::Operation;
use crate::telemetry::Metrics;
use accounts::{AccountEvents, AccountStarted};
use activity::TaskName;
use api::ApiStore;
use background::metrics::{self as state_metrics, Collected};
use background::{account_status, drift_check};
use context::Context;
use events::EventSender;
use keys::{AccountKey, BudgetKey};
use scheduler::AccountState;
use watch::Scope;

/// The number of workers. If the operator makes 50 calls per second and each call takes 0.2 s, 10 workers are busy.
const WORKERS: usize = 16;

/// The operations that objects call. An object waits for a permit before each call.
const OPERATIONS: [Operation; 5] =
    [Operation::Create, Operation::Describe, Operation::Modify, Operation::Delete, Operation::Recover];

/// The maximum time that a shutdown waits for steps in progress. It is longer than the timeout of a call plus the
/// timeout of the write that records its result. Both are 10 s by default.
const DRAIN: Duration = Duration::from_secs(25);

/// The maximum time to release the Lease.
const RELEASE: Duration = Duration::from_secs(3);

/// How often a standby removes data that it no longer needs.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(30);

/// The dependencies and settings of a controller.
pub struct Config {
    /// The connections to the apiserver.
    pub connections: Connections,
    /// The operator's own account.
    pub account: Account,
    /// The settings that all LiveAccounts share.
    pub defaults: AccountDefaults,
    /// The namespaces to watch; empty for all namespaces.
    pub namespaces: Vec<String>,
    /// The namespaces whose objects may use the operator's own account.
    pub operator_namespaces: Vec<NamespacePattern>,
    /// The time between two drift checks of an app.
    pub drift_check_interval: Duration,
    /// Limits that the user configures.
    pub limits: Limits,
    /// The metrics that the controller updates.
    pub metrics: Arc<Metrics>,
    /// The state of the watches, for probes.
    pub readiness: Arc<Readiness>,
    /// Acquires the Lease; `None` if leader election is disabled.
    pub elector: Option<Elector>,
    /// Starts and monitors the tasks, and signals when the process must stop.
    pub supervisor: Supervisor,
}

/// The reason why the controller ended although no shutdown was requested.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A task ended early.
    #[error(transparent)]
    Task(#[from] TaskFailure),
    /// Another process leads, or may lead.
    #[error(transparent)]
    Lease(#[from] LeaseLost),
}

/// The leader election task.
struct Election {
    /// Canceled once every outcome is written and no call can still arrive at the Live API. The task then releases the
    /// Lease.
    may_release: CancellationToken,
    task: JoinHandle<Result<(), LeaseLost>>,
}

impl Election {
    fn start(elector: Option<Elector>) -> Self {
        let may_release = CancellationToken::new();
        let ended = may_release.clone();
        let task = tokio::spawn(async move {
            match elector {
                Some(elector) => elector.run(ended).await,
                None => {
                    ended.cancelled().await;
                    Ok(())
                }
            }
        });
        Self { may_release, task }
    }

    /// Waits until the election ends. If it ends early, the process must stop.
    async fn ended(&mut self) -> Result<(), RunError> {
        match (&mut self.task).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(TaskFailure { name: "leader election".into(), has_panicked: true }.into()),
        }
    }

    /// Releases the Lease, and returns the result of the process. `result` is the result of the tasks.
    async fn end(mut self, result: Result<(), TaskFailure>) -> Result<(), RunError> {
        self.may_release.cancel();
        let election = tokio::time::timeout(RELEASE, self.ended()).await.unwrap_or_else(|_| {
            tracing::warn!("the Lease could not be released in time; the standby waits until it expires");
            Ok(())
        });
        result?;
        election
    }
}

/// Runs the controller until the process must stop. Then waits at most 25 s for the steps in progress, and releases the
/// Lease.
///
/// # Errors
/// Returns the first task that ended early, or reports that the Lease was lost. The process must then exit.
pub async fn run(config: Config) -> Result<(), RunError> {
    let Config {
        connections,
        account,
        defaults,
        namespaces,
        operator_namespaces,
        drift_check_interval,
        limits,
        metrics,
        readiness,
        elector,
        supervisor,
    } = config;
    state_metrics::preregister(&metrics);
    let client = connections.requests.client.clone();
    let (events, sending) = EventSender::new(client.clone(), account.leadership().clone());
    // Steps that finish during a shutdown also report events.
    supervisor.spawn_to_the_end("sender of events", sending);
    let (service, permitted) = (account.service().clone(), Some(operator_namespaces.into()));
    let own = AccountState { service, is_usable: true, namespaces: permitted };
    let api = ApiStore::new(connections, account.leadership().clone());
    let (accounts, mut account_events) = Accounts::new(account, defaults, client);
    let mut context = Context::new(api, accounts, events, metrics, limits);
    context.activities = supervisor.activities.clone();
    let context = Arc::new(context);
    context.scheduler.with(|scheduler, _| scheduler.account_changed(&AccountKey::Operator, Some(own)));
    let mut listed = start_watches(&context, namespaces, &readiness, &supervisor);
    // No object is processed before all objects are listed, because the owner of a group depends on all of them.
    tokio::select! {
        () = supervisor.stop.cancelled() => return Ok(supervisor.result()?),
        _ = listed.wait_for(|listed| *listed) => {}
    }
    // The collector is registered only now, because metrics of an incomplete list could trigger alerts.
    let collected = Collected { drift_check_interval, metric_namespaces: limits.metric_namespaces };
    state_metrics::register_collector(&context, collected, &readiness);
    let mut election = Election::start(elector);
    let standby = wait_for_leadership(&context, &mut account_events.started);
    let accounts_started = tokio::select! {
        () = supervisor.stop.cancelled() => return election.end(supervisor.result()).await,
        result = election.ended() => return result,
        started = standby => started,
    };
    let objects = context.scheduler.with(|scheduler, _| {
        scheduler.start_leading();
        scheduler.len()
    });
    tracing::info!(objects, "all objects are listed; starting to reconcile");
    start_tasks(&context, accounts_started, account_events, drift_check_interval, &supervisor);
    lead(&context, &supervisor, election).await
}

/// Waits until the process must stop. Then waits for the steps in progress, and releases the Lease.
async fn lead(context: &Context, supervisor: &Supervisor, mut election: Election) -> Result<(), RunError> {
    tokio::select! {
        () = supervisor.stop.cancelled() => {}
        result = election.ended() => return result,
    }
    supervisor.tasks.close();
    let drained = async {
        supervisor.tasks.wait().await;
        context.accounts.calls_arrived().await;
    };
    tokio::select! {
        result = election.ended() => return result,
        () = drained => {}
        () = tokio::time::sleep(DRAIN) => {
            // The Lease is not released, because calls in progress may still arrive.
            tracing::warn!("stopping with steps in progress; the next process repeats them");
            return Ok(supervisor.result()?);
        }
    }
    election.end(supervisor.result()).await
}

/// Waits until this process leads. While it waits, it periodically removes data that is no longer needed. Returns the
/// accounts that need dispatchers.
async fn wait_for_leadership(
    context: &Context,
    started: &mut UnboundedReceiver<AccountStarted>,
) -> Vec<AccountStarted> {
    let mut accounts = Vec::new();
    loop {
        tokio::select! {
            _ = context.leadership.acquired() => return accounts,
            () = tokio::time::sleep(CLEANUP_INTERVAL) => {
                account_status::forget_unused(context);
                context.scheduler.with(|scheduler, _| scheduler.remove_unused_apps());
                accounts.extend(std::iter::from_fn(|| started.try_recv().ok()));
                accounts.retain(|account: &AccountStarted| !account.ended.is_cancelled());
            }
        }
    }
}

/// Starts the tasks that need a complete list of objects.
fn start_tasks(
    context: &Arc<Context>,
    accounts: Vec<AccountStarted>,
    account_events: AccountEvents,
    drift_check_interval: Duration,
    supervisor: &Supervisor,
) {
    let AccountEvents { started, loads } = account_events;
    for _ in 0..WORKERS {
        supervisor.spawn("worker", reconcile::work(Arc::clone(context), supervisor.tasks.clone()));
    }
    let dispatchers = start_dispatchers(Arc::clone(context), accounts, started, supervisor.clone());
    supervisor.spawn("start of dispatchers", dispatchers);
    supervisor.spawn("status of LiveAccounts", account_status::run(Arc::clone(context)));
    supervisor.spawn("loading of credentials", account_status::watch_loads(Arc::clone(context), loads));
    let timed = Arc::clone(context);
    supervisor.spawn("timer", async move { timed.scheduler.run_timer().await });
    supervisor.spawn("drift checks", drift_check::run(Arc::clone(context), drift_check_interval, supervisor.clone()));
}

/// Starts the watches of both kinds in every namespace. The value of the returned receiver becomes `true` when all
/// objects of both kinds are listed. No object may be reconciled before then: if its LiveAccount were not listed yet,
/// the object would report that the LiveAccount does not exist.
fn start_watches(
    context: &Arc<Context>,
    namespaces: Vec<String>,
    readiness: &Arc<Readiness>,
    supervisor: &Supervisor,
) -> signal::Receiver<bool> {
    let (listed, is_listed) = signal::channel(false);
    let namespaces: Vec<Option<String>> =
        if namespaces.is_empty() { vec![None] } else { namespaces.into_iter().map(Some).collect() };
    let is_one_of_several = namespaces.len() > 1;
    let missing = Arc::new(AtomicUsize::new(namespaces.len() * 2));
    for namespace in namespaces {
        let (missing, listed, readiness) = (Arc::clone(&missing), listed.clone(), Arc::clone(readiness));
        let on_listed = {
            let readiness = Arc::clone(&readiness);
            move || {
                if missing.fetch_sub(1, Ordering::AcqRel) == 1 {
                    readiness.set_listed();
                    listed.send_replace(true);
                }
            }
        };
        let accounts =
            watch::watch_accounts(Arc::clone(context), namespace.clone(), Arc::clone(&readiness), on_listed.clone());
        supervisor.spawn(task_name("watch of LiveAccounts", namespace.as_deref()), accounts);
        let name = task_name("watch of LiveMessageGroups", namespace.as_deref());
        let scope = Scope { namespace, is_one_of_several };
        let groups = watch::watch_groups(Arc::clone(context), scope, readiness, on_listed);
        supervisor.spawn(name, groups);
    }
    is_listed
}

fn task_name(what: &'static str, namespace: Option<&str>) -> TaskName {
    namespace.map_or(what.into(), |namespace| format!("{what} in {namespace}").into())
}

/// Starts a dispatcher for every operation of every account. The dispatchers of an account end when the account is
/// removed.
async fn start_dispatchers(
    context: Arc<Context>,
    accounts: Vec<AccountStarted>,
    mut started: UnboundedReceiver<AccountStarted>,
    supervisor: Supervisor,
) {
    let mut accounts = accounts.into_iter();
    while let Some(AccountStarted { key, ended }) = match accounts.next() {
        Some(account) => Some(account),
        None => started.recv().await,
    } {
        for operation in OPERATIONS {
            let budget = BudgetKey { account: key.clone(), operation };
            let name = format!("dispatcher of {operation} for {}", key.label());
            let dispatcher = reconcile::dispatch(Arc::clone(&context), budget, supervisor.tasks.clone());
            supervisor.spawn_until(ended.clone(), name, dispatcher);
        }
    }
}
