//! What an account does about its credentials.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;

use super::*;
use crate::controller::accounts::{Granted, Own};
use crate::controller::key::Key;
use crate::live::credentials::{Chain, Issued, Provider, ProviderError};
use crate::live::loopback::{Loopback, Seen, answer};
use crate::live::{ClientOptions, GroupRef};

/// Gives the keys `key0`, `key1`, …, the last of them for ever; none at all if it has none.
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

/// A service that knows one key.
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
    Account::new(client, source, Rate::Unlimited)
}

async fn call(account: &Account) -> Result<Response<Reply>, CallError> {
    let call = Call::Recover(GroupRef { app_id: "demo".into(), group_id: "g".into(), data_center: None });
    account.send(&call, account.permit(Operation::Recover).await).await
}

#[tokio::test]
async fn rejected_credentials_are_loaded_again_and_the_next_call_is_made_with_the_new_ones() {
    let server = service("key1").await;
    let account = account(&server, 2);
    let error = call(&account).await.unwrap_err();
    assert!(matches!(error, CallError::Resent(RetryHint::NewCredentials, _)), "{error:?}");
    assert_eq!(server.seen().len(), 1, "one permit, one request");
    assert!(!account.proof().turn().await.is_free(), "the new ones are not proven");
    call(&account).await.unwrap();
    assert!(account.proof().turn().await.is_free());
}

#[tokio::test]
async fn credentials_that_are_rejected_again_are_reported() {
    let server = service("unknown").await;
    let account = account(&server, 9);
    assert_eq!(call(&account).await.unwrap_err().class(), ErrorClass::Resent);
    for _ in 0..3 {
        assert_eq!(call(&account).await.unwrap_err().class(), ErrorClass::CredentialsRejected);
    }
}

#[tokio::test]
async fn the_same_credentials_once_more_are_reported() {
    let server = service("unknown").await;
    let account = account(&server, 1);
    assert_eq!(call(&account).await.unwrap_err().class(), ErrorClass::CredentialsRejected);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn without_credentials_nothing_is_sent_and_no_permit_is_used() {
    let server = service("key0").await;
    let account = account(&server, 0);
    let error = call(&account).await.unwrap_err();
    assert_eq!((error.class(), error.may_have_arrived()), (ErrorClass::CredentialsMissing, false));
    let missing = account.missing_credentials(false).unwrap();
    assert_eq!(missing.why.as_deref(), Some("no credentials from keys: none left"));
    assert!(missing.again > Some(Duration::ZERO));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_rejection_is_told_until_a_call_succeeds() {
    let server = service("key1").await;
    let keys = Keys { count: 2, given: AtomicUsize::new(0) };
    let source = CredentialSource::new(Chain::of(vec![Box::new(keys)]));
    let wrong = service("other").await;
    let account = account(&wrong, 1);
    assert_eq!(account.proof().rejection(), None);
    call(&account).await.unwrap_err();
    assert!(account.proof().rejection().unwrap().contains("(InvalidAccessKeyId.NotFound)"));
    assert!(account.proof().was_just_rejected() && !account.proof().is_proven());

    let client = Client::new(server.endpoint(), ClientOptions::default()).unwrap();
    let healed = Account::new(client, source, Rate::Unlimited);
    call(&healed).await.unwrap_err();
    call(&healed).await.unwrap();
    assert_eq!((healed.proof().rejection(), healed.proof().is_proven()), (None, true));
}

#[tokio::test]
async fn whoever_is_of_the_operators_own_account_shares_its_budget() {
    let server = service("key0").await;
    let own = account(&server, 1);
    let (number, endpoint) = (Some("42".to_owned()), "e".to_owned());
    let (budgets, credentials) = (own.budgets(), own.credentials().clone());
    let numbers = Arc::new(Numbers::new(Rate::Unlimited, Some(Own { budgets, credentials, number, endpoint })));
    let named = |number: Option<&str>, endpoint: &str| {
        let source = CredentialSource::new(Chain::of(vec![Box::new(Keys { count: 1, given: AtomicUsize::new(0) })]));
        let client = Client::new(server.endpoint(), ClientOptions::default()).unwrap();
        let (numbers, number, endpoint) = (Arc::clone(&numbers), number.map(str::to_owned), endpoint.to_owned());
        let key = AccountKey::Named(Key::new("ns", "name"));
        Account::named(AccountId(1), key, client, source, Share { numbers, number, endpoint })
    };
    let shares = |account: &Account| Arc::ptr_eq(&account.budgets(), &own.budgets());
    assert!(shares(&named(Some("42"), "e")));
    assert!(!shares(&named(Some("43"), "e")));
    assert!(!shares(&named(Some("42"), "elsewhere")), "its answers may be anybody's");
    // By the key, whichever of the two is known first.
    let by_key = named(None, "e");
    call(&by_key).await.unwrap();
    assert!(!shares(&by_key), "the operator's own key is not known yet");
    call(&own).await.unwrap();
    assert!(shares(&by_key));
}

#[tokio::test]
async fn accounts_of_one_key_share_a_budget_and_messages_name_the_account() {
    let server = service("key0").await;
    let numbers = Arc::new(Numbers::new(Rate::Unlimited, None));
    let named = |name: &str, keys: usize, number: Option<&str>| {
        let source = CredentialSource::new(Chain::of(vec![Box::new(Keys { count: keys, given: AtomicUsize::new(0) })]));
        let client = Client::new(server.endpoint(), ClientOptions::default()).unwrap();
        let key = AccountKey::Named(Key::new("ns", name));
        let share =
            Share { numbers: Arc::clone(&numbers), number: number.map(str::to_owned), endpoint: "e".to_owned() };
        Account::named(AccountId(1), key, client, source, share)
    };
    let (one, two, other, none) =
        (named("one", 1, None), named("two", 1, None), named("o", 1, Some("42")), named("n", 0, None));
    for account in [&one, &two, &other] {
        call(account).await.unwrap();
    }
    assert!(Arc::ptr_eq(&one.budgets(), &two.budgets()), "the access key id stands for the number");
    assert!(!Arc::ptr_eq(&one.budgets(), &other.budgets()));
    assert_eq!(none.missing_credentials(false), Some(Missing { why: None, again: None }), "nobody has loaded them yet");
    none.loaded().await;
    let why = none.missing_credentials(false).unwrap().why;
    assert_eq!(why.as_deref(), Some("LiveAccount n has no credentials: keys: none left"));
}

#[tokio::test]
async fn a_permit_of_before_a_rejection_goes_back_unless_it_is_to_prove_the_credentials() {
    let server = service("key0").await;
    let account = Arc::new(account(&server, 1));
    let recover = Call::Recover(GroupRef { app_id: "demo".into(), group_id: "g".into(), data_center: None });
    let granted = async || {
        let (operation, proven) = (Operation::Recover, account.proof().turn().await.is_free());
        let permits = account.permit(operation).await;
        Granted { account: Arc::clone(&account), operation, permits, proven }
    };
    assert!(granted().await.for_call(&recover, &account).is_some(), "the one that proves them");
    call(&account).await.unwrap();
    let of_before = granted().await;
    assert!(granted().await.for_call(&recover, &account).is_some());
    account.proof().learn(ErrorClass::CredentialsRejected);
    assert!(of_before.for_call(&recover, &account).is_none());
    assert!(granted().await.for_call(&recover, &account).is_some(), "and the one that proves them again");
}
