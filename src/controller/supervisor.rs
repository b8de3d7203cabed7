//! The supervision of the tasks that run as long as the process.
//!
//! Imports `activity`. Its invariant: no such task ends unnoticed. One that ends early or panics stops the process; one
//! that makes no progress fails the liveness probe.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::activity::{Activities, TaskName};

/// How long a task may be runnable without progress.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// Why the process ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the task \"{name}\" {}: this is a defect, please report it", if *.has_panicked { "panicked" } else { "ended" })]
pub struct TaskFailure {
    /// The name of the task.
    pub name: TaskName,
    /// Whether it panicked, rather than ended.
    pub has_panicked: bool,
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Supervisor {
    /// Cancelled when the process must stop.
    pub stop: CancellationToken,
    /// The tasks whose end a shutdown waits for.
    pub tasks: TaskTracker,
    /// The progress of the tasks.
    pub activities: Activities,
    failure: Arc<Mutex<Option<TaskFailure>>>,
}

impl Supervisor {
    /// Supervises the tasks of a process that `stop` ends.
    pub fn new(stop: CancellationToken) -> Self {
        Self { stop, tasks: TaskTracker::new(), activities: Activities::default(), failure: Arc::default() }
    }

    /// Starts a task that runs until the process stops.
    pub fn spawn(&self, name: impl Into<TaskName>, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_until(CancellationToken::new(), name, task);
    }

    /// Starts a task that runs until `ended` is cancelled or the process stops.
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

    /// Starts a task that continues while the process stops, and ends with it.
    pub fn spawn_to_the_end(&self, name: impl Into<TaskName>, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.supervise(CancellationToken::new(), name.into(), task));
    }

    /// Runs a task, and stops the process if it ends before it should.
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
        tracing::error!(task = &*failure.name, has_panicked = failure.has_panicked, "a task ended, the process stops");
        self.failure.lock().get_or_insert(failure);
        self.stop.cancel();
    }

    /// The first task that ended early.
    ///
    /// # Errors
    /// That task.
    pub fn result(&self) -> Result<(), TaskFailure> {
        self.failure.lock().clone().map_or(Ok(()), Err)
    }

    /// Whether the tasks make progress, for the liveness probe. An unavailable apiserver does not count: a task that
    /// waits is alive.
    ///
    /// # Errors
    /// The name of a task that has been runnable for a minute without progress.
    pub fn live(&self) -> Result<(), String> {
        let Some((name, time)) = self.activities.stuck(STUCK_AFTER) else { return Ok(()) };
        Err(format!("the task \"{name}\" has made no progress for {} s", time.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn stopped(supervisor: &Supervisor) {
        tokio::time::timeout(Duration::from_secs(10), supervisor.stop.cancelled()).await.expect("nothing stops it");
    }

    #[tokio::test]
    async fn task_that_ends_or_panics_stops_the_process_by_name() {
        let supervisor = Supervisor::new(CancellationToken::new());
        supervisor.spawn("waits", std::future::pending());
        supervisor.spawn("returns", async {});
        stopped(&supervisor).await;
        let error = supervisor.result().unwrap_err().to_string();
        assert_eq!(error, "the task \"returns\" ended: this is a defect, please report it");
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
            assert_eq!(error, "the task \"panics\" panicked: this is a defect, please report it");
        }
    }

    #[tokio::test]
    async fn end_of_an_account_or_of_the_process_is_no_failure() {
        let supervisor = Supervisor::new(CancellationToken::new());
        let ended = CancellationToken::new();
        let removed = ended.clone();
        // A dispatcher can notice the removal of its account before the token does.
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
