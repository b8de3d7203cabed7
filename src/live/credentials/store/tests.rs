//! Tests of credential renewal, in virtual time.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use tokio::time::{advance, sleep};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Issues `key0`, `key1`, and so on. Each request takes one second, and each key is valid for an hour.
#[derive(Debug, Default)]
struct Sts {
    requests: AtomicUsize,
    /// Requests with this number or a higher one fail.
    fails_from: Option<usize>,
    /// Requests with a lower number fail.
    fails_until: usize,
    same: bool,
    panics: bool,
    non_expiring: bool,
}

#[derive(Debug, Clone)]
struct Handle(Arc<Sts>);

impl Provider for Handle {
    fn name(&self) -> &'static str {
        "sts"
    }

    fn issue(&self) -> BoxFuture<'_, Result<Issued, ProviderError>> {
        Box::pin(async {
            let number = self.0.requests.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_secs(1)).await;
            assert!(!self.0.panics, "a defect");
            if number < self.0.fails_until || self.0.fails_from.is_some_and(|from| number >= from) {
                return Err(ProviderError::failed("down"));
            }
            let id = if self.0.same { "key".to_owned() } else { format!("key{number}") };
            let lifetime = (!self.0.non_expiring).then_some(HOUR);
            Ok(Issued { lifetime, ..Issued::non_expiring(Credentials::new(&id, "s", Some("t"))) })
        })
    }
}

fn source(sts: Sts) -> (CredentialSource, Arc<Sts>) {
    let sts = Arc::new(sts);
    (CredentialSource::new(Chain::of(vec![Box::new(Handle(Arc::clone(&sts)))])), sts)
}

async fn id(source: &CredentialSource) -> String {
    source.current().await.unwrap().access_key_id().to_owned()
}

fn requests(sts: &Sts) -> usize {
    sts.requests.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn concurrent_callers_share_one_exchange() {
    let (source, sts) = source(Sts::default());
    let callers = (0..50).map(|_| id(&source));
    let ids = futures::future::join_all(callers).await;
    assert!(ids.iter().all(|id| id == "key0"));
    assert_eq!(requests(&sts), 1);
}

#[tokio::test(start_paused = true)]
async fn dropped_caller_does_not_end_the_exchange() {
    let (source, sts) = source(Sts::default());
    assert!(tokio::time::timeout(Duration::from_millis(10), source.current()).await.is_err());
    assert_eq!(id(&source).await, "key0");
    assert_eq!(requests(&sts), 1);
}

#[tokio::test(start_paused = true)]
async fn current_credentials_are_used_during_renewal() {
    let (source, sts) = source(Sts::default());
    id(&source).await;
    advance(Duration::from_secs(41 * 60)).await;
    assert_eq!((id(&source).await, requests(&sts)), ("key0".to_owned(), 1));
    advance(Duration::from_secs(5 * 60)).await;
    let before = Instant::now();
    assert_eq!(id(&source).await, "key0");
    assert_eq!(before.elapsed(), Duration::ZERO, "no wait");
    sleep(Duration::from_secs(2)).await;
    assert_eq!((id(&source).await, requests(&sts)), ("key1".to_owned(), 2));
}

#[tokio::test(start_paused = true)]
async fn failed_renewal_keeps_credentials_until_they_expire() {
    let (source, sts) = source(Sts { fails_from: Some(1), ..Sts::default() });
    id(&source).await;
    let start = Instant::now();
    let mut tries = Vec::new();
    while start.elapsed() < HOUR - Duration::from_secs(2) {
        assert_eq!(id(&source).await, "key0", "after {:?}", start.elapsed());
        tries.push(requests(&sts));
        sleep(Duration::from_secs(10)).await;
    }
    assert!((15..40).contains(&requests(&sts)), "about one per minute: {}", requests(&sts));
    advance(Duration::from_secs(30)).await;
    assert_eq!(source.current().await.unwrap_err().to_string(), "no credentials from sts: down");
}

#[tokio::test(start_paused = true)]
async fn error_is_repeated_until_the_next_attempt() {
    let (source, sts) = source(Sts { fails_until: 2, ..Sts::default() });
    source.current().await.unwrap_err();
    let wait = source.next_try();
    assert!(wait >= Duration::from_millis(750) && wait <= Duration::from_millis(1250), "{wait:?}");
    for _ in 0..100 {
        source.current().await.unwrap_err();
    }
    assert_eq!(requests(&sts), 1);
    advance(wait).await;
    source.current().await.unwrap_err();
    assert_eq!(requests(&sts), 2);
    assert!(source.next_try() > Duration::from_millis(1499));
    advance(source.next_try()).await;
    assert_eq!(id(&source).await, "key2");
    assert_eq!(source.next_try(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn concurrent_callers_share_one_reload() {
    let (source, sts) = source(Sts::default());
    let old = source.current().await.unwrap();
    let all = futures::future::join_all((0..50).map(|_| source.reload(&old))).await;
    assert!(all.iter().all(|other| *other));
    assert_eq!((id(&source).await, requests(&sts)), ("key1".to_owned(), 2));
    assert!(source.reload(&old).await, "a late caller gets the new credentials");
    let new = source.current().await.unwrap();
    assert!(!source.reload(&new).await, "no second reload");
    assert_eq!(requests(&sts), 2);
    advance(RELOAD_INTERVAL).await;
    assert!(source.reload(&new).await);
}

#[tokio::test(start_paused = true)]
async fn unchanged_credentials_after_reload_are_reported() {
    let (source, sts) = source(Sts { same: true, non_expiring: true, ..Sts::default() });
    let old = source.current().await.unwrap();
    assert!(!source.reload(&old).await);
    assert!(!source.reload(&old).await);
    assert_eq!(requests(&sts), 2);
    assert_eq!(id(&source).await, "key", "a probe may still use them");
}

#[tokio::test(start_paused = true)]
async fn failed_reload_of_rejected_credentials_is_reported() {
    let (source, _) = source(Sts { fails_from: Some(1), ..Sts::default() });
    let old = source.current().await.unwrap();
    assert!(!source.reload(&old).await);
    assert_eq!(id(&source).await, "key0");
}

#[tokio::test(start_paused = true)]
async fn non_expiring_credentials_are_never_renewed() {
    let (source, sts) = source(Sts { non_expiring: true, ..Sts::default() });
    id(&source).await;
    advance(HOUR * 24 * 365).await;
    assert_eq!((id(&source).await, requests(&sts)), ("key0".to_owned(), 1));
}

#[tokio::test(start_paused = true)]
async fn panicking_provider_is_a_failure() {
    let (source, sts) = source(Sts { panics: true, ..Sts::default() });
    let error = source.current().await.unwrap_err().to_string();
    assert!(error.contains("a provider panicked"), "{error}");
    source.current().await.unwrap_err();
    assert_eq!(requests(&sts), 1);
}

/// A provider that issues credentials until they are removed.
#[derive(Debug)]
struct Emptied(Arc<std::sync::atomic::AtomicBool>);

impl Provider for Emptied {
    fn name(&self) -> &'static str {
        "place"
    }

    fn issue(&self) -> BoxFuture<'_, Result<Issued, ProviderError>> {
        let empty = self.0.load(Ordering::Relaxed);
        let issued = Issued::refreshable(Credentials::new("id", "s", None), Duration::from_secs(120));
        Box::pin(std::future::ready(if empty { Err(ProviderError::not_configured("it is empty")) } else { Ok(issued) }))
    }
}

#[tokio::test(start_paused = true)]
async fn removed_and_rejected_credentials_are_retried_soon() {
    let empty = Arc::default();
    let chain = Chain::of(vec![Box::new(Emptied(Arc::clone(&empty)))]);
    let source = CredentialSource::with_longest_wait(chain, Duration::from_secs(24));
    let rejected = source.current().await.unwrap();
    empty.store(true, Ordering::Relaxed);
    assert!(!source.reload(&rejected).await);
    assert!(source.source_removed().is_some());
    // The credentials are available again long before the regular refresh.
    empty.store(false, Ordering::Relaxed);
    for _ in 0..3 {
        sleep(source.next_try() + Duration::from_secs(1)).await;
        source.current().await.unwrap();
    }
    assert!(source.source_removed().is_none());
}

#[tokio::test(start_paused = true)]
async fn removed_credentials_remain_usable() {
    let empty = Arc::default();
    let chain = Chain::of(vec![Box::new(Emptied(Arc::clone(&empty)))]);
    let source = CredentialSource::with_longest_wait(chain, Duration::from_secs(24));
    assert_eq!(source.held_key_id(), None);
    source.current().await.unwrap();
    assert_eq!((source.held_key_id().as_deref(), source.source_removed()), (Some("id"), None));
    empty.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(121)).await;
    source.current().await.unwrap();
    tokio::task::yield_now().await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(source.source_removed().unwrap().tried()[0].1, ProviderError::not_configured("it is empty"));
    assert_eq!(source.current().await.unwrap().access_key_id(), "id", "usable to finish existing work");
    for _ in 0..10 {
        sleep(Duration::from_secs(30)).await;
        source.current().await.unwrap();
        assert!(source.next_try() <= Duration::from_secs(24));
    }
}
