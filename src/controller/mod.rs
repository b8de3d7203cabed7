//! Watch, queue, reconcile, status: the loop that turns objects into groups.
//!
//! Events become keys in the `queue`; a worker reads the object and decides; what needs a call waits for a permit of
//! its operation; when one is granted the best waiting object is read and decided again, and only then called for.
//!
//! This file ties the others together and is imported by none of them; none imports one that imports it. What all steps
//! share is the `reconciler`; a step is `reconcile`, which asks for `permission`, is `sending`, and comes to an `outcome` or
//! the end of a `lifetime`; `watch`, `liveaccounts` and `sweep` bring the work.

mod accounts;
mod causes;
mod events;
mod gates;
mod holds;
mod index;
mod key;
mod lifetime;
mod line;
mod liveaccounts;
mod locked;
mod mark;
mod objects;
mod outcome;
mod pass;
mod permission;
mod places;
mod queue;
mod reconcile;
mod reconciler;
mod scrape;
mod sending;
mod standing;
mod stuck;
mod sweep;
mod swept;
mod tell;
#[cfg(test)]
mod tests;
mod wanted;
mod watch;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kube::Client;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Semaphore, watch as signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use accounts::{Account, Accounts, Common, Rate};
pub use places::GROUPS_PER_APP;
pub use reconciler::Limits;
pub use watch::Progress;

use crate::decide::Lane;
use crate::telemetry::Metrics;
use accounts::{Appeared, Granted, Slot};
use events::Events;
use objects::Objects;
use reconciler::Reconciler;
use work::{OPERATIONS, bell_or};

/// How many objects are read and decided at once: 50 calls a second of 0.2 s each keep 10 busy.
const WORKERS: usize = 16;

/// How many calls of one operation are out at once, where no budget bounds them.
const IN_FLIGHT: usize = 64;

/// How long a stop waits for what is under way: a call's time-out, and the write of its outcome.
const DRAIN: Duration = Duration::from_secs(20);

/// What a controller needs.
pub struct Config {
    /// The client of the apiserver.
    pub client: Client,
    /// The operator's own account.
    pub account: Account,
    /// What all LiveAccounts have in common.
    pub common: Common,
    /// The namespaces to watch; empty = all.
    pub namespaces: Vec<String>,
    /// How often each app is swept.
    pub sweep_interval: Duration,
    /// Its bounds.
    pub limits: Limits,
    /// Where what happens is counted.
    pub metrics: Arc<Metrics>,
    /// How far the watch is, for probes.
    pub progress: Arc<Progress>,
    /// Cancelled when the process is to end.
    pub stop: CancellationToken,
}

/// Runs until `stop` is cancelled, then lets what is under way end.
pub async fn run(config: Config) {
    let Config { client, account, common, namespaces, sweep_interval, limits, metrics, progress, stop } = config;
    scrape::preregister(&metrics);
    let events = Events::start(client.clone());
    let (accounts, appeared) = Accounts::new(account, common, client.clone());
    let reconciler = Arc::new(Reconciler::new(Objects::new(client), accounts, events, metrics, limits));
    let tasks = TaskTracker::new();
    let (listed, is_listed) = signal::channel(false);
    let scopes: Vec<Option<String>> =
        if namespaces.is_empty() { vec![None] } else { namespaces.into_iter().map(Some).collect() };
    let several = scopes.len() > 1;
    let missing = Arc::new(AtomicUsize::new(scopes.len() * 2));
    for scope in scopes {
        let (missing, listed, progress) = (Arc::clone(&missing), listed.clone(), Arc::clone(&progress));
        let done = {
            let progress = Arc::clone(&progress);
            // Both kinds are to be listed: an object that comes before its LiveAccount would say that there is none.
            move || {
                if missing.fetch_sub(1, Ordering::AcqRel) == 1 {
                    progress.set_listed();
                    listed.send_replace(true);
                }
            }
        };
        let accounts = liveaccounts::watch(Arc::clone(&reconciler), scope.clone(), done.clone());
        tokio::spawn(until(stop.clone(), accounts));
        let watching = watch::watch(Arc::clone(&reconciler), (scope, several), progress, done);
        tokio::spawn(until(stop.clone(), watching));
    }
    // Nothing is decided before every object is known: who holds a group is a question about all of them.
    let mut ready = is_listed.clone();
    tokio::select! {
        () = stop.cancelled() => return,
        _ = ready.wait_for(|listed| *listed) => {}
    }
    tracing::info!(objects = reconciler.index().len(), "listed: working");
    // Not before: the objects of half a list are no number to alert on.
    scrape::register_collector(&reconciler, sweep_interval);
    for _ in 0..WORKERS {
        tasks.spawn(until(stop.clone(), work_on(Arc::clone(&reconciler), tasks.clone())));
    }
    tasks.spawn(until(stop.clone(), dispatch_all(Arc::clone(&reconciler), appeared, stop.clone(), tasks.clone())));
    tasks.spawn(until(stop.clone(), liveaccounts::keep_statuses(Arc::clone(&reconciler))));
    tasks.spawn(until(stop.clone(), liveaccounts::end_loads(Arc::clone(&reconciler))));
    let releasing = Arc::clone(&reconciler);
    tasks.spawn(until(stop.clone(), async move { releasing.work.release_delayed().await }));
    tasks.spawn(until(stop.clone(), probe_gates(Arc::clone(&reconciler))));
    tokio::spawn(until(stop.clone(), sweep::run(Arc::clone(&reconciler), sweep_interval)));
    stop.cancelled().await;
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!("stopping with work under way: it is taken up again at the next start");
    }
}

async fn until(stop: CancellationToken, task: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = task => {}
    }
}

/// A worker: one object at a time. What it has begun it ends, even when the process is to stop.
async fn work_on(reconciler: Arc<Reconciler>, tasks: TaskTracker) {
    loop {
        let (key, lane) = reconciler.work.next().await;
        let step = tasks.spawn(Arc::clone(&reconciler).run(key, lane, None));
        if step.await.is_err() {
            tracing::error!("a worker's task failed");
        }
    }
}

/// Starts dispatchers for every account that appears; they end when it goes.
async fn dispatch_all(
    reconciler: Arc<Reconciler>,
    mut appeared: UnboundedReceiver<Appeared>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    while let Some(Appeared { id, gone }) = appeared.recv().await {
        for operation in OPERATIONS {
            let dispatching = dispatch(Arc::clone(&reconciler), Slot { account: id, operation }, tasks.clone());
            tasks.spawn(until(stop.clone(), until(gone.clone(), dispatching)));
        }
        let reconciler = Arc::clone(&reconciler);
        tokio::spawn(async move {
            gone.cancelled().await;
            reconciler.work.end_account(id);
        });
    }
}

/// Grants permits of one operation of an account, each to the best object that waits at that moment.
async fn dispatch(reconciler: Arc<Reconciler>, slot: Slot, tasks: TaskTracker) {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    loop {
        reconciler.work.someone_ready(slot).await;
        let Ok(place) = Arc::clone(&in_flight).acquire_owned().await else { return };
        let Some(account) = reconciler.accounts.by_id(slot.account) else { return };
        let turn = account.proof().turn().await;
        let permits = account.permit(slot.operation).await;
        let Some((key, lane)) = reconciler.work.take_ready(slot) else { continue };
        let granted = Granted { account, operation: slot.operation, permits, proven: turn.is_free() };
        let run = Arc::clone(&reconciler).run(key, lane, Some(granted));
        tasks.spawn(async move {
            run.await;
            drop((turn, place));
        });
    }
}

/// Wakes the probers of shut gates when their time comes.
async fn probe_gates(reconciler: Arc<Reconciler>) {
    loop {
        let bell = reconciler.gate_bell.notified();
        let (probers, next) = {
            let mut gates = reconciler.gates();
            (gates.due(Instant::now().into_std()), gates.next_due())
        };
        for key in probers {
            reconciler.work.wake(&key, Lane::Retry);
        }
        bell_or(bell, next).await;
    }
}
