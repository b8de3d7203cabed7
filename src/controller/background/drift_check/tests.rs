//! Tests of the schedule of drift checks and of overlapping tasks.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::controller::keys::AccountKey;

fn app(id: &str) -> AppKey {
    AppKey::new(&AccountKey::Operator, id)
}

#[test]
fn each_app_is_due_once_per_interval_at_its_own_time() {
    let interval = Duration::from_secs(600);
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let due = start + until_due(&app("demo"), interval, start);
    for seconds in [1, 10, 100] {
        let now = due - Duration::from_secs(seconds);
        assert_eq!(now + until_due(&app("demo"), interval, now), due);
    }
    assert_eq!(until_due(&app("demo"), interval, due), interval);
    assert_ne!(until_due(&app("demo"), interval, start), until_due(&app("other"), interval, start));
}

#[test]
fn each_app_is_checked_exactly_once_per_interval() {
    let interval = Duration::from_secs(60);
    let apps: Vec<AppKey> = (0..300).map(|number| app(&format!("app{number}"))).collect();
    let start = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
    let mut random = fastrand::Rng::with_seed(7);
    let mut checked = vec![0; apps.len()];
    let mut looked = start;
    while looked < start + 3 * interval {
        let now = (looked + Duration::from_micros(random.u64(0..40_000))).min(start + 3 * interval);
        for (app, checked) in apps.iter().zip(&mut checked) {
            *checked += u32::from(was_due(app, interval, looked, now));
        }
        looked = now;
    }
    assert!(checked.iter().all(|checked| *checked == 3), "{:?}", checked.iter().collect::<HashSet<_>>());
    // If the clock is set back, no app is checked again.
    assert!(!was_due(&app("demo"), interval, start, start - 2 * interval));
}

#[test]
fn list_beyond_the_group_limit_is_too_long() {
    assert!(!is_too_long(10_000, 200, 5_000));
    assert!(is_too_long(10_001, 200, 5_000), "too many IDs");
    assert!(is_too_long(50, 202, 5_000), "pages that repeat the same IDs");
    assert!(!is_too_long(usize::MAX, u32::MAX, u64::MAX), "no maximum");
}

/// Yields to other tasks until `count` tasks are in progress.
async fn until_in_progress(in_progress: &Mutex<HashSet<Task>>, count: usize) {
    for _ in 0..100 {
        tokio::task::yield_now().await;
        if in_progress.lock().len() == count {
            return;
        }
    }
    panic!("{:?}", in_progress.lock());
}

#[tokio::test]
async fn check_in_progress_is_not_started_twice() {
    let (in_progress, begun) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
    let task: Task = (app("demo"), None);
    start(&TaskTracker::new(), &in_progress, task.clone(), async { panic!("a defect in a check") });
    until_in_progress(&in_progress, 0).await;

    let (end, ending) = tokio::sync::watch::channel(());
    for _ in 0..2 {
        let (begun, mut ending) = (Arc::clone(&begun), ending.clone());
        start(&TaskTracker::new(), &in_progress, task.clone(), async move {
            begun.fetch_add(1, Ordering::Relaxed);
            drop(ending.changed().await);
        });
    }
    start(&TaskTracker::new(), &in_progress, (task.0.clone(), Some(UsageQuery::Count)), async {});
    assert_eq!(in_progress.lock().len(), 2);
    until_in_progress(&in_progress, 1).await;
    assert_eq!(begun.load(Ordering::Relaxed), 1);
    drop(end);
    until_in_progress(&in_progress, 0).await;
}

#[tokio::test]
async fn shutdown_waits_for_checks_in_progress() {
    let (tasks, in_progress) = (TaskTracker::new(), Arc::default());
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    start(&tasks, &in_progress, (app("demo"), None), async move { drop(ended.await) });
    tasks.close();
    assert!(tokio::time::timeout(Duration::from_millis(50), tasks.wait()).await.is_err());
    drop(end);
    tasks.wait().await;
}
