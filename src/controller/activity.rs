//! Detects tasks that make no progress: tasks that were woken but are not polled, and tasks whose poll does not return.
//!
//! The module imports no other module of the controller. A waiting task counts as alive, regardless of how long it
//! waits.

use std::borrow::Cow;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The name of a task, for messages.
pub type TaskName = Cow<'static, str>;

/// The tasks that are monitored.
#[derive(Debug, Clone, Default)]
pub struct Activities(Arc<Mutex<Tasks>>);

#[derive(Debug, Default)]
struct Tasks {
    last_id: u64,
    by_id: HashMap<u64, Arc<Activity>>,
}

impl Activities {
    /// Monitors a task until it ends or is dropped.
    pub fn monitor<F: Future>(&self, name: impl Into<TaskName>, task: F) -> Monitored<F> {
        let activity = Arc::new(Activity { name: name.into(), state: Mutex::default() });
        let mut tasks = self.0.lock();
        tasks.last_id += 1;
        let id = tasks.last_id;
        tasks.by_id.insert(id, Arc::clone(&activity));
        drop(tasks);
        Monitored { task: Box::pin(task), activity, waker: None, registration: Registration { of: self.clone(), id } }
    }

    /// Returns the task that has been runnable the longest, and for how long, or `None` if that does not exceed
    /// `limit`. A task is runnable from the moment it is woken until its next poll returns. The time restarts when the
    /// poll begins.
    pub fn stuck(&self, limit: Duration) -> Option<(TaskName, Duration)> {
        let tasks = self.0.lock();
        let runnable = tasks.by_id.values().filter_map(|task| Some((task.name.clone(), task.state.lock().since()?)));
        let (name, since) = runnable.min_by_key(|(_, since)| *since)?;
        Some((name, since.elapsed())).filter(|(_, time)| *time > limit)
    }
}

#[derive(Debug)]
struct Activity {
    name: TaskName,
    state: Mutex<ActivityState>,
}

#[derive(Debug, Default)]
struct ActivityState {
    woken: Option<Instant>,
    polled: Option<Instant>,
}

impl ActivityState {
    fn since(&self) -> Option<Instant> {
        self.polled.or(self.woken)
    }
}

impl Activity {
    fn set_polled(&self) {
        *self.state.lock() = ActivityState { woken: None, polled: Some(Instant::now()) };
    }

    fn set_pending(&self) {
        self.state.lock().polled = None;
    }

    fn set_woken(&self) {
        self.state.lock().woken.get_or_insert_with(Instant::now);
    }
}

/// A task that records when it is woken and polled.
#[derive(Debug)]
pub struct Monitored<F> {
    task: Pin<Box<F>>,
    activity: Arc<Activity>,
    /// The waker of the runtime, and the task's waker, which wraps the waker of the runtime.
    waker: Option<(Waker, Waker)>,
    #[expect(dead_code, reason = "dropping it ends the monitoring")]
    registration: Registration,
}

/// Ends the monitoring when it is dropped.
#[derive(Debug)]
struct Registration {
    of: Activities,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.of.0.lock().by_id.remove(&self.id);
    }
}

/// A waker that also records that the task is runnable.
struct NotingWaker {
    activity: Arc<Activity>,
    runtime: Waker,
}

impl Wake for NotingWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.activity.set_woken();
        self.runtime.wake_by_ref();
    }
}

impl<F: Future> Future for Monitored<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let waker = match &self.waker {
            Some((runtime, waker)) if runtime.will_wake(context.waker()) => waker.clone(),
            _ => {
                let (activity, runtime) = (Arc::clone(&self.activity), context.waker().clone());
                let waker = Waker::from(Arc::new(NotingWaker { activity, runtime: runtime.clone() }));
                self.waker = Some((runtime, waker.clone()));
                waker
            }
        };
        self.activity.set_polled();
        let result = self.task.as_mut().poll(&mut Context::from_waker(&waker));
        self.activity.set_pending();
        result
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::sync::Notify;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn blocked_task_is_stuck_and_a_waiting_one_is_not() {
        let activities = Activities::default();
        let waiting = activities.monitor("waiting", std::future::pending::<()>());
        tokio::spawn(waiting);
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let blocks = tokio::spawn(activities.monitor("blocking", async move { blocked.recv().unwrap_or_default() }));
        tokio::time::sleep(3 * LIMIT).await;
        let (name, time) = activities.stuck(LIMIT).unwrap();
        assert!(name == "blocking" && time > LIMIT, "{name} {time:?}");
        drop(release);
        blocks.await.unwrap();
        assert_eq!(activities.stuck(Duration::ZERO), None, "the waiting task is alive");
    }

    #[tokio::test]
    async fn task_that_is_woken_but_never_polled_is_stuck() {
        let (activities, notify) = (Activities::default(), Notify::new());
        let mut task = Box::pin(activities.monitor("starved", notify.notified()));
        assert!(task.as_mut().now_or_never().is_none());
        tokio::time::sleep(2 * LIMIT).await;
        assert_eq!(activities.stuck(LIMIT), None);
        notify.notify_one();
        tokio::time::sleep(2 * LIMIT).await;
        assert_eq!(activities.stuck(LIMIT).unwrap().0, "starved");
        assert!(task.as_mut().now_or_never().is_some());
        drop(task);
        assert_eq!(activities.stuck(Duration::ZERO), None);
    }

    #[tokio::test]
    async fn wake_during_a_poll_is_not_lost() {
        let activities = Activities::default();
        let mut context = Context::from_waker(Waker::noop());
        let spins = activities.monitor(
            "spins",
            std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                Poll::<()>::Pending
            }),
        );
        let mut spins = Box::pin(spins);
        assert!(spins.as_mut().poll(&mut context).is_pending());
        tokio::time::sleep(2 * LIMIT).await;
        assert_eq!(activities.stuck(LIMIT).unwrap().0, "spins");
    }
}
