//! Tests of an account: rejected and reloaded credentials, and shared budgets.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;

use super::*;
use crate::budget::{LATE_ARRIVAL, PermitOutcome, START_DELAY, busiest_second, simulated_hours};
use crate::controller::accounts::OperatorAccount;
use crate::controller::keys::ObjectKey;
use crate::live::credentials::{Chain, Issued, Provider, ProviderError};
use crate::live::error::ApiError;
use crate::live::loopback::{Act, Loopback, Seen, answer, install_tls};
use crate::live::{ClientOptions, Endpoint, GroupRef};

/// Issues `count` different keys (`key0`, `key1`, …), then repeats the last one. Fails if `count` is 0.
#[derive(Debug)]
struct Keys {
    count: usize,
    given: AtomicUsize,
}

impl Provider for Keys {
    fn name(&self) -> &'static str {
        "keys"
    }

    fn issue(&self) -> BoxFuture<'_, Result<Issued, ProviderError>> {
        let number = self.given.fetch_add(1, Ordering::Relaxed).min(self.count.saturating_sub(1));
        let key = Issued::non_expiring(Credentials::new(&format!("key{number}"), "secret", None));
        let issued = if self.count == 0 { Err(ProviderError::Failed("none left".to_owned())) } else { Ok(key) };
        Box::pin(std::future::ready(issued))
    }
}

/// Starts a service that accepts only the key `known`.
async fn service(known: &'static str) -> Loopback {
    let act = move |seen: &Seen| {
        let good = seen.header("authorization").is_some_and(|header| header.contains(&format!("Credential={known},")));
        if good {
            answer(200, r#"{"RequestId":"r"}"#)
        } else {
            answer(404, r#"{"Code":"InvalidAccessKeyId.NotFound"}"#)
        }
    };
    Loopback::start(act).await
}

fn account(server: &Loopback, keys: usize) -> Account {
    let keys = Keys { count: keys, given: AtomicUsize::new(0) };
    let source = CredentialSource::new(Chain::of(vec![Box::new(keys)]));
    let client = Client::new(server.endpoint(), ClientOptions::default()).unwrap();
    Account::new(client, source, Rate::Unlimited).led_by(&Leadership::leading_until(None))
}

async fn call(account: &Account) -> Result<Response<Reply>, CallError> {
    let call = Call::Recover(GroupRef { app_id: "demo".into(), group_id: "g".into(), data_center: None });
    account.reload_if_rejected(account.send(&call, account.permit(Operation::Recover).await).await).await
}

#[tokio::test]
async fn rejected_credentials_are_reloaded_before_the_next_call() {
    let server = service("key1").await;
    let account = account(&server, 2);
    let error = call(&account).await.unwrap_err();
    assert!(matches!(error, CallError::Resent(RetryHint::NewCredentials, _)), "{error:?}");
    assert_eq!(server.seen().len(), 1, "one permit, one request");
    call(&account).await.unwrap();
}

#[tokio::test]
async fn process_that_does_not_lead_sends_nothing() {
    let server = service("key0").await;
    let account = account(&server, 1);
    let permits = account.permit(Operation::Recover).await;
    // The renew deadline passes after the permits are granted and before the call is sent.
    let account = account.led_by(&Leadership::leading_until(Some(Instant::now())));
    let recover = Call::Recover(GroupRef { app_id: "demo".into(), group_id: "g".into(), data_center: None });
    let error = account.reload_if_rejected(account.send(&recover, permits).await).await.unwrap_err();
    assert!(!error.may_have_arrived(), "{error:?}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn call_in_flight_is_dropped_at_the_renew_deadline() {
    let server = Loopback::start(|_: &Seen| Act::Silence).await;
    let term = Duration::from_millis(500);
    let account = account(&server, 1).led_by(&Leadership::leading_until(Some(Instant::now() + term)));
    let (started, error) = (Instant::now(), call(&account).await.unwrap_err());
    assert!(error.is_undecided() && error.to_string().contains("no longer the leader"), "{error:?}");
    assert_eq!(server.seen().len(), 1);
    assert!(started.elapsed() < Duration::from_secs(5), "the timeout of the call did not end it");
}

#[tokio::test]
async fn rejection_is_known_before_the_reload() {
    let server = service("key1").await;
    let account = account(&server, 2);
    let recover = Call::Recover(GroupRef { app_id: "demo".into(), group_id: "g".into(), data_center: None });
    let sent = account.send(&recover, account.permit(Operation::Recover).await).await;
    assert!(sent.is_rejected());
    assert_eq!(account.access_key_id().as_deref(), Some("key0"));
    assert!(account.reload_if_rejected(sent).await.is_err());
    assert_eq!(account.access_key_id().as_deref(), Some("key1"));
}

#[tokio::test]
async fn credentials_rejected_twice_are_reported() {
    let server = service("unknown").await;
    let account = account(&server, 9);
    assert_eq!(call(&account).await.unwrap_err().class(), ErrorClass::Resent);
    for _ in 0..3 {
        assert_eq!(call(&account).await.unwrap_err().class(), ErrorClass::CredentialsRejected);
    }
}

#[tokio::test]
async fn unchanged_credentials_are_reported() {
    let server = service("unknown").await;
    let account = account(&server, 1);
    assert_eq!(call(&account).await.unwrap_err().class(), ErrorClass::CredentialsRejected);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn account_without_credentials_sends_nothing() {
    let server = service("key0").await;
    let account = account(&server, 0);
    let error = call(&account).await.unwrap_err();
    assert_eq!((error.class(), error.may_have_arrived()), (ErrorClass::CredentialsMissing, false));
    let unavailable = account.unavailable(false).unwrap();
    assert_eq!(unavailable.why.as_deref(), Some("no credentials from keys: none left"));
    assert!(unavailable.retry_after > Some(Duration::ZERO));
    assert!(server.seen().is_empty());
}

#[test]
fn failure_of_a_gateway_keeps_the_permit() {
    let failed = |status: u16, code: Option<&str>, body_complete: bool| {
        let (code, message) = (code.map(str::to_owned), String::new());
        let answer = ApiError { status, code, message, request_id: None, retry_after: None, body_complete };
        permit_outcome(&Err(CallError::Api(answer)))
    };
    for (status, body_complete) in [(502, true), (503, true), (504, true), (200, false)] {
        assert_eq!(failed(status, None, body_complete), PermitOutcome::Lost, "{status}");
    }
    assert_eq!(failed(400, Some("InputInvalid"), true), PermitOutcome::Answered);
    assert_eq!(failed(503, Some("Throttling"), true), PermitOutcome::Throttled(None));
}

#[tokio::test]
async fn live_account_of_the_operators_number_shares_its_budget() {
    let server = service("key0").await;
    let own = account(&server, 1);
    let (number, service) = (Some("42".to_owned()), own.service().clone());
    let (budgets, credentials) = (own.budgets(), own.credentials().clone());
    let registry =
        Arc::new(BudgetRegistry::new(Rate::Unlimited, Some(OperatorAccount { budgets, credentials, number, service })));
    let named = |number: Option<&str>, endpoint: Endpoint| {
        let source = CredentialSource::new(Chain::of(vec![Box::new(Keys { count: 1, given: AtomicUsize::new(0) })]));
        let client = Client::new(endpoint, ClientOptions::default()).unwrap();
        let (registry, number) = (Arc::clone(&registry), number.map(str::to_owned));
        let key = AccountKey::LiveAccount(ObjectKey::new("ns", "name"));
        Account::of_live_account(key, client, source, SharedBudget { registry, number })
    };
    let shares = |account: &Account| Arc::ptr_eq(&account.budgets(), &own.budgets());
    assert!(shares(&named(Some("42"), server.endpoint())));
    assert!(!shares(&named(Some("43"), server.endpoint())));
    let elsewhere = Endpoint::parse("live.aliyuncs.com", false).unwrap();
    assert!(!shares(&named(Some("42"), elsewhere)), "another host is another service");
    // If the account ID of a LiveAccount is not set, accounts are matched by access key ID, no matter which account
    // loads its key first.
    let by_key = named(None, server.endpoint());
    call(&by_key).await.unwrap();
    assert!(!shares(&by_key), "the operator's own key is not known yet");
    call(&own).await.unwrap();
    assert!(shares(&by_key));
}

#[tokio::test]
async fn accounts_of_one_key_share_a_budget() {
    let server = service("key0").await;
    let registry = Arc::new(BudgetRegistry::new(Rate::Unlimited, None));
    let named = |name: &str, keys: usize, number: Option<&str>| {
        let source = CredentialSource::new(Chain::of(vec![Box::new(Keys { count: keys, given: AtomicUsize::new(0) })]));
        let client = Client::new(server.endpoint(), ClientOptions::default()).unwrap();
        let key = AccountKey::LiveAccount(ObjectKey::new("ns", name));
        let (registry, number) = (Arc::clone(&registry), number.map(str::to_owned));
        Account::of_live_account(key, client, source, SharedBudget { registry, number })
    };
    let (one, two, other, none) =
        (named("one", 1, None), named("two", 1, None), named("o", 1, Some("42")), named("n", 0, None));
    for account in [&one, &two, &other] {
        call(account).await.unwrap();
    }
    assert!(Arc::ptr_eq(&one.budgets(), &two.budgets()), "the access key ID replaces the number");
    assert!(!Arc::ptr_eq(&one.budgets(), &other.budgets()));
    let loading = Unavailable { why: None, retry_after: None };
    assert_eq!(none.unavailable(false), Some(loading), "the credentials are being loaded");
    none.wait_loaded().await;
    let why = none.unavailable(false).unwrap().why;
    assert_eq!(why.as_deref(), Some("LiveAccount n has no credentials: keys: none left"));
}

/// Creates the account of a LiveAccount for a test that needs no server. `keys` is the number of different keys that
/// the account's [`Keys`] provider issues.
fn offline(registry: &Arc<BudgetRegistry>, number: Option<&str>, keys: usize) -> Account {
    install_tls();
    let source = CredentialSource::new(Chain::of(vec![Box::new(Keys { count: keys, given: AtomicUsize::new(0) })]));
    let client = Client::new(Endpoint::parse("live.aliyuncs.com", false).unwrap(), ClientOptions::default()).unwrap();
    let shared = SharedBudget { registry: Arc::clone(registry), number: number.map(str::to_owned) };
    Account::of_live_account(AccountKey::LiveAccount(ObjectKey::new("ns", "name")), client, source, shared)
}

fn limited() -> Arc<BudgetRegistry> {
    Arc::new(BudgetRegistry::new(Rate::PerSecond(50), None))
}

async fn rotate(account: &Account) {
    let used = account.credentials().current().await.unwrap();
    assert!(account.credentials().reload(&used).await, "there is another key");
}

#[tokio::test(start_paused = true)]
async fn own_and_shared_budget_grant_500_permits_in_10_s() {
    let account = offline(&limited(), Some("42"), 1);
    let started = Instant::now();
    for _ in 0..500 {
        account.permit(Operation::Create).await.complete(PermitOutcome::Answered);
    }
    let span = started.elapsed() - START_DELAY;
    assert!(span >= Duration::from_millis(9980) && span < Duration::from_millis(10_100), "{span:?}");
}

#[tokio::test(start_paused = true)]
async fn throttled_account_does_not_slow_another_of_its_id() {
    let registry = limited();
    let (claimant, other) = (offline(&registry, Some("42"), 1), offline(&registry, Some("42"), 1));
    // A response can request a longer delay, but the client limits the delay to 60 s.
    let limited = Duration::from_secs(60);
    claimant.permit(Operation::Create).await.complete(PermitOutcome::Throttled(Some(limited)));
    let throttled = Instant::now();
    assert!(claimant.rate(Operation::Create) < Some(50.0));
    assert_eq!(other.rate(Operation::Create), Some(50.0));
    for _ in 0..100 {
        other.permit(Operation::Create).await.complete(PermitOutcome::Answered);
    }
    assert!(throttled.elapsed() < Duration::from_millis(2200), "{:?}", throttled.elapsed());
    drop(claimant.permit(Operation::Create).await);
    assert!((60_000..60_100).contains(&throttled.elapsed().as_millis()), "{:?}", throttled.elapsed());
}

#[tokio::test(start_paused = true)]
async fn accounts_of_one_id_share_their_permits() {
    let registry = limited();
    let (one, other) = (offline(&registry, Some("42"), 1), offline(&registry, Some("42"), 1));
    let end = Instant::now() + START_DELAY + Duration::from_secs(10);
    let caller = async |account: &Account| {
        let mut calls = 0_usize;
        while Instant::now() < end {
            account.permit(Operation::Create).await.complete(PermitOutcome::Answered);
            calls += 1;
        }
        calls
    };
    let (one, other) = tokio::join!(caller(&one), caller(&other));
    assert!(one.abs_diff(other) <= 1 && (480..=502).contains(&(one + other)), "{one} and {other}");
}

#[tokio::test(start_paused = true)]
async fn new_key_waits_for_calls_of_the_old_key() {
    let registry = limited();
    let [account, other, user_of_new_key] = [(); 3].map(|()| offline(&registry, None, 2));
    for account in [&account, &other, &user_of_new_key] {
        account.credentials().current().await.unwrap();
    }
    rotate(&user_of_new_key).await;
    for account in [&account, &user_of_new_key] {
        drop(account.permit(Operation::Create).await);
    }
    let mut out = Vec::new();
    for _ in 0..50 {
        let mut permits = other.permit(Operation::Create).await;
        permits.mark_sent();
        out.push(permits);
    }
    rotate(&account).await;
    assert!(Arc::ptr_eq(&account.budgets(), &user_of_new_key.budgets()), "the new key has free permits");
    let returned = Instant::now() + Duration::from_secs(9);
    let (next, ()) = tokio::join!(account.permit(Operation::Create), async {
        sleep_until(returned).await;
        out.clear();
    });
    drop(next);
    assert!(returned.elapsed() >= LATE_ARRIVAL + Duration::from_secs(1), "{:?}", returned.elapsed());
}

#[tokio::test(start_paused = true)]
async fn edited_account_continues_with_its_budgets() {
    let registry = limited();
    let edited =
        |former: &Account, number: Option<&str>, cap| offline(&registry, number, 1).with_cap(cap).succeeding(former);
    let before = offline(&registry, Some("42"), 1);
    before.permit(Operation::Create).await.complete(PermitOutcome::Throttled(Some(Duration::from_secs(60))));
    let throttled = Instant::now();
    let after = edited(&before, Some("42"), None);
    assert!(Arc::ptr_eq(&after.own, &before.own) && Arc::ptr_eq(&after.budgets(), &before.budgets()));
    drop(after.permit(Operation::Create).await);
    assert!(throttled.elapsed() >= Duration::from_secs(60), "an edit does not end the requested delay");

    let (renumbered, capped) = (edited(&before, Some("43"), None), edited(&before, Some("42"), Some(5)));
    assert_eq!(renumbered.shared_budgets().needed(Instant::now()).len(), 2, "calls of both numbers may arrive");
    assert_eq!(capped.rate(Operation::Create), Some(5.0));
    assert!(Arc::ptr_eq(&edited(&before, None, None).budgets(), &before.budgets()), "the key is not known yet");
}

#[tokio::test(start_paused = true)]
async fn rotations_never_exceed_the_limit_at_the_receiver() {
    // At 50 calls per second, these calls take 40 s. The interval between two reloads of the credentials must be at
    // least 30 s.
    const CALLS_OF_A_KEY: usize = 2_000;
    let registry = limited();
    let accounts = [(); 2].map(|()| offline(&registry, None, usize::MAX));
    for account in &accounts {
        account.credentials().current().await.unwrap();
    }
    let (start, mut random) = (Instant::now(), fastrand::Rng::with_seed(11));
    let (length, mut arrived) = (simulated_hours(1), Vec::<u64>::new());
    while start.elapsed() < length {
        let mut permits = accounts[random.usize(0..2)].permit(Operation::Create).await;
        permits.mark_sent();
        let sent = start.elapsed();
        let (answer, outcome) = match random.u32(0..100) {
            0..10 => (Duration::from_secs(10), PermitOutcome::Lost),
            10..14 => (Duration::from_millis(random.u64(0..10_000)), PermitOutcome::Lost),
            _ => (Duration::from_millis(random.u64(0..200)), PermitOutcome::Answered),
        };
        let latest = if outcome == PermitOutcome::Lost { answer + LATE_ARRIVAL } else { answer };
        let latest = u64::try_from(latest.as_micros()).unwrap();
        let after = Duration::from_micros(if random.bool() { latest } else { random.u64(0..=latest) });
        arrived.push(u64::try_from((sent + after).as_micros()).unwrap());
        tokio::spawn(async move {
            tokio::time::sleep(answer).await;
            permits.complete(outcome);
        });
        if arrived.len().is_multiple_of(CALLS_OF_A_KEY) {
            for account in &accounts {
                rotate(account).await;
            }
        }
    }
    arrived.sort_unstable();
    let most = busiest_second(&arrived);
    let (calls, rotations) = (arrived.len(), arrived.len() / CALLS_OF_A_KEY);
    println!("{calls} calls with {rotations} rotations in {length:?}, busiest second {most}");
    assert!(most <= 50 && rotations > 10, "{most} in one second, {rotations} rotations");
}
