//! Supervises the tasks that run for the lifetime of the process.
//!
//! The module imports `activity`. Its invariant: a task that ends early or panics stops the process, and a task that
//! makes no progress fails the liveness probe.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::activity::{Activities, TaskName};

/// How long a task may be runnable without making progress.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// A task that ended early or panicked. Such a failure stops the process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the task \"{name}\" {}: report this bug", if *.has_panicked { "panicked" } else { "ended" })]
pub struct TaskFailure {
    /// The name of the task, for messages.
    pub name: TaskName,
    /// Whether the task panicked. If not, its future completed.
    pub has_panicked: bool,
}

/// Starts and monitors the tasks of the process.
#[derive(Debug, Clone)]
pub struct Supervisor {
    /// Canceled when the process must stop.
    pub stop: CancellationToken,
    /// The tasks that a shutdown waits for.
    pub tasks: TaskTracker,
    /// The progress of the tasks.
    pub activities: Activities,
    failure: Arc<Mutex<Option<TaskFailure>>>,
}

impl Supervisor {
    /// Creates a supervisor without tasks. The process stops when `stop` is canceled.
    pub fn new(stop: CancellationToken) -> Self {
        Self { stop, tasks: TaskTracker::new(), activities: Activities::default(), failure: Arc::default() }
    }

    /// Starts a task that runs until the process stops.
    pub fn spawn(&self, name: impl Into<TaskName>, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_until(CancellationToken::new(), name, task);
    }

    /// Starts a task that runs until `ended` is canceled or the process stops.
    pub fn spawn_until(
        &self,
        ended: CancellationToken,
        name: impl Into<TaskName>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let (stop, supervised) = (self.stop.clone(), self.supervise(ended.clone(), name.into(), task));
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = ended.cancelled() => {}
                () = supervised => {}
            }
        });
    }

    /// Starts a task that continues during a shutdown, until the process exits.
    pub fn spawn_to_the_end(&self, name: impl Into<TaskName>, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.supervise(CancellationToken::new(), name.into(), task));
    }

    /// Runs a task, and stops the process if the task panics or ends early.
    fn supervise(
        &self,
        ended: CancellationToken,
        name: TaskName,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let supervisor = self.clone();
        let monitored = self.activities.monitor(name.clone(), AssertUnwindSafe(task).catch_unwind());
        async move {
            let has_panicked = monitored.await.is_err();
            if has_panicked || !(ended.is_cancelled() || supervisor.stop.is_cancelled()) {
                supervisor.fail(TaskFailure { name, has_panicked });
            }
        }
    }

    fn fail(&self, failure: TaskFailure) {
        tracing::error!(
            task = &*failure.name,
            has_panicked = failure.has_panicked,
            "task ended early, stopping the process"
        );
        self.failure.lock().get_or_insert(failure);
        self.stop.cancel();
    }

    /// Checks that every task is still running or has ended as intended.
    ///
    /// # Errors
    /// Returns the first task that ended early.
    pub fn result(&self) -> Result<(), TaskFailure> {
        self.failure.lock().clone().map_or(Ok(()), Err)
    }

    /// Checks that every task makes progress. The liveness probe calls this function. A waiting task counts as alive,
    /// for example while the apiserver is unavailable.
    ///
    /// # Errors
    /// Returns the name of a task that has been runnable for a minute without progress.
    pub fn live(&self) -> Result<(), String> {
        let Some((name, time)) = self.activities.stuck(STUCK_AFTER) else { return Ok(()) };
        Err(format!("the task \"{name}\" has made no progress for {} s", time.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn stopped(supervisor: &Supervisor) {
        tokio::time::timeout(Duration::from_secs(10), supervisor.stop.cancelled()).await.expect("the supervisor stops");
    }

    #[tokio::test]
    async fn task_that_ends_or_panics_stops_the_process_by_name() {
        let supervisor = Supervisor::new(CancellationToken::new());
        supervisor.spawn("waits", std::future::pending());
        supervisor.spawn("returns", async {});
        stopped(&supervisor).await;
        let error = supervisor.result().unwrap_err().to_string();
        assert_eq!(error, "the task \"returns\" ended: report this bug");
        supervisor.tasks.close();
        supervisor.tasks.wait().await;

        for to_the_end in [false, true] {
            let supervisor = Supervisor::new(CancellationToken::new());
            let task = async { panic!("injected") };
            if to_the_end {
                supervisor.spawn_to_the_end("panics", task);
            } else {
                supervisor.spawn("panics", task);
            }
            stopped(&supervisor).await;
            let error = supervisor.result().unwrap_err().to_string();
            assert_eq!(error, "the task \"panics\" panicked: report this bug");
        }
    }

    #[tokio::test]
    async fn end_of_an_account_or_of_the_process_is_no_failure() {
        let supervisor = Supervisor::new(CancellationToken::new());
        let ended = CancellationToken::new();
        let removed = ended.clone();
        // When an account is removed, its dispatcher can end on its own before the supervisor ends it.
        supervisor.spawn_until(ended.clone(), "notices", async move { removed.cancel() });
        supervisor.spawn_until(ended.clone(), "waits", std::future::pending());
        let stop = supervisor.stop.clone();
        supervisor.spawn_to_the_end("sender", async move { stop.cancelled().await });
        ended.cancelled().await;
        tokio::task::yield_now().await;
        assert!(!supervisor.stop.is_cancelled());
        supervisor.stop.cancel();
        supervisor.tasks.close();
        supervisor.tasks.wait().await;
        tokio::task::yield_now().await;
        assert_eq!(supervisor.result(), Ok(()));
    }
}
