//! When an app is swept, and what holds up whom.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

use super::*;
use crate::controller::accounts::{AccountKey, Rate};
use crate::live::credentials::CredentialSource;
use crate::live::loopback::{Act, Loopback, answer};
use crate::live::{Client, ClientOptions, Credentials, GroupRef};

#[test]
fn an_app_is_due_once_an_interval_at_its_own_phase_whenever_it_is_asked() {
    let interval = Duration::from_secs(600);
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let due = start + until_due("demo", interval, start);
    for seconds in [1, 10, 100] {
        let now = due - Duration::from_secs(seconds);
        assert_eq!(now + until_due("demo", interval, now), due);
    }
    assert_eq!(until_due("demo", interval, due), interval);
    assert_ne!(until_due("demo", interval, start), until_due("other", interval, start));
}

#[test]
fn none_of_many_apps_is_missed_or_swept_twice_however_the_moments_fall() {
    let interval = Duration::from_secs(60);
    let apps: Vec<String> = (0..300).map(|number| format!("app{number}")).collect();
    let start = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
    let mut random = fastrand::Rng::with_seed(7);
    let mut swept = vec![0; apps.len()];
    let mut looked = start;
    while looked < start + 3 * interval {
        let now = (looked + Duration::from_micros(random.u64(0..40_000))).min(start + 3 * interval);
        for (app, swept) in apps.iter().zip(&mut swept) {
            *swept += u32::from(was_due(app, interval, looked, now));
        }
        looked = now;
    }
    assert!(swept.iter().all(|swept| *swept == 3), "{:?}", swept.iter().collect::<HashSet<_>>());
    // The clock was set back: what was swept is not swept again.
    assert!(!was_due("demo", interval, start, start - 2 * interval));
}

/// Lets the other tasks go on until so many are under way.
async fn until_under_way(under_way: &Mutex<UnderWay>, count: usize) {
    for _ in 0..100 {
        tokio::task::yield_now().await;
        if locked(under_way).len() == count {
            return;
        }
    }
    panic!("{:?}", locked(under_way));
}

#[tokio::test]
async fn a_sweep_is_not_begun_twice_and_one_that_panics_is_begun_again() {
    let (under_way, begun) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
    let task: Task = (App::new(&AccountKey::Own, "demo"), None);
    begin(&under_way, task.clone(), async { panic!("a defect in a sweep") });
    until_under_way(&under_way, 0).await;

    let (end, ending) = tokio::sync::watch::channel(());
    for _ in 0..2 {
        let (begun, mut ending) = (Arc::clone(&begun), ending.clone());
        begin(&under_way, task.clone(), async move {
            begun.fetch_add(1, Ordering::Relaxed);
            drop(ending.changed().await);
        });
    }
    begin(&under_way, (task.0.clone(), Some(Want::Count)), async {});
    assert_eq!(locked(&under_way).len(), 2);
    until_under_way(&under_way, 1).await;
    assert_eq!(begun.load(Ordering::Relaxed), 1);
    drop(end);
    until_under_way(&under_way, 0).await;
}

#[tokio::test]
async fn a_list_that_hangs_with_unproven_credentials_holds_the_others_up_for_its_time_out_and_not_for_its_next_try() {
    let act = |seen: &crate::live::loopback::Seen| {
        if seen.number == 0 { Act::Silence } else { answer(200, r#"{"RequestId":"r"}"#) }
    };
    let (server, patience) = (Loopback::start(act).await, Duration::from_millis(300));
    let mut options = ClientOptions::default();
    options.http.request_timeout = patience;
    let client = Client::new(server.endpoint(), options).unwrap();
    let credentials = CredentialSource::fixed(Credentials::new("id", "secret", None));
    let account = Arc::new(Account::new(client, credentials, Rate::Unlimited));
    let of = ListRequest { app_id: "demo".into(), data_center: None, page_number: 1, page_size: PAGE_SIZE };
    let lister = Arc::clone(&account);
    let listing = tokio::spawn(async move { page(&lister, Call::ListByPage(of), false).await });
    while server.seen().is_empty() {
        tokio::task::yield_now().await;
    }

    let sent = Instant::now();
    let turn = account.proof().turn().await;
    assert!(!turn.is_free(), "nothing has shown yet that the credentials are good");
    assert_eq!(server.seen().len(), 1, "one call at a time");
    let recover = Call::Recover(GroupRef { app_id: "demo".into(), group_id: "g".into(), data_center: None });
    account.send(&recover, account.permit(Operation::Recover).await).await.unwrap();
    assert_eq!(server.seen().len(), 2, "the list waits for its next try");
    assert!(sent.elapsed() < patience + Duration::from_secs(1), "{:?}", sent.elapsed());
    assert!(account.proof().turn().await.is_free() && !listing.is_finished());
    listing.abort();
}
