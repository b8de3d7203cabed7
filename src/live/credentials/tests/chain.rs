use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;

use super::*;
use rstest::rstest;

const ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
const SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
const TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";

#[tokio::test]
async fn environment_comes_first_and_includes_its_token() {
    let setup = Setup::new(&[(ID, "a"), (SECRET, "b")]);
    setup.file(".aliyun/config.json", "hush: this would fail");
    assert_eq!(setup.id().await, ("a".to_owned(), "environment"));
    let (issued, _) = setup.set(TOKEN, "t\n").issue().await.unwrap();
    assert_eq!(issued.credentials.security_token(), Some("t"));
    let (issued, _) = Setup::new(&[(ID, "a"), (SECRET, "b"), (TOKEN, "")]).issue().await.unwrap();
    assert_eq!((issued.credentials.security_token(), issued.lifetime), (None, None));
}

#[rstest]
#[case(&[(ID, "a\nb"), (SECRET, "hush")], "the access key ID")]
#[case(&[(ID, "a"), (SECRET, "hush\r\nhush")], "the access key secret")]
#[case(&[(ID, "a"), (SECRET, "hush"), (TOKEN, "hush\u{7f}hush")], "the security token")]
#[tokio::test]
async fn control_characters_in_credentials_are_refused(#[case] variables: &[(&str, &str)], #[case] part: &str) {
    let error = Setup::new(variables).error().await;
    let why = "contains a line break or another control character";
    assert_eq!(error, format!("no credentials from environment: {part} {why}"));
}

#[rstest]
#[case(&[(ID, "a"), (SECRET, " ")], "ALIBABA_CLOUD_ACCESS_KEY_ID is set, but ALIBABA_CLOUD_ACCESS_KEY_SECRET is not")]
#[case(&[(SECRET, "hush")], "ALIBABA_CLOUD_ACCESS_KEY_SECRET is set, but ALIBABA_CLOUD_ACCESS_KEY_ID is not")]
#[tokio::test]
async fn incomplete_key_names_the_missing_variable(#[case] variables: &[(&str, &str)], #[case] expected: &str) {
    let error = Setup::new(variables).error().await;
    assert_eq!(error, format!("no credentials from environment: {expected}"));
}

#[tokio::test]
async fn error_lists_all_providers_in_the_official_order() {
    let error = Setup::new(&[(ID, ""), (SECRET, "")]).issue().await.unwrap_err();
    let names: Vec<&str> = error.tried().iter().map(|(name, _)| *name).collect();
    let expected = [
        "environment",
        "OIDC (RRSA)",
        "profile of the aliyun command line",
        "credentials file",
        "ECS RAM role",
        "credentials URI",
    ];
    assert_eq!(names, expected);
    let shown = error.to_string();
    assert!(expected.iter().all(|name| shown.contains(name)), "{shown}");
    assert!(shown.starts_with("no credentials are configured") && shown.len() < 1000, "{shown}");
}

#[derive(Debug, Clone)]
struct Scripted {
    name: &'static str,
    answers: Vec<Result<&'static str, ProviderError>>,
    requests: Arc<AtomicUsize>,
}

impl Provider for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn issue(&self) -> BoxFuture<'_, Result<Issued, ProviderError>> {
        let at = self.requests.fetch_add(1, Ordering::Relaxed).min(self.answers.len() - 1);
        let answer = self.answers[at].clone().map(|id| Issued::non_expiring(Credentials::new(id, "s", None)));
        Box::pin(std::future::ready(answer))
    }
}

fn scripted(name: &'static str, answers: &[Result<&'static str, ProviderError>]) -> Scripted {
    Scripted { name, answers: answers.to_vec(), requests: Arc::default() }
}

fn chain(providers: &[&Scripted]) -> Chain {
    Chain::of(providers.iter().map(|provider| Box::new((*provider).clone()) as Box<dyn Provider>).collect())
}

fn absent() -> Result<&'static str, ProviderError> {
    Err(ProviderError::not_configured("absent"))
}

fn broken() -> Result<&'static str, ProviderError> {
    Err(ProviderError::failed("broken"))
}

#[tokio::test]
async fn successful_provider_is_kept() {
    let (first, second) =
        (scripted("first", &[absent(), Ok("late")]), scripted("second", &[Ok("a"), broken(), Ok("b")]));
    let chain = chain(&[&first, &second]);
    assert_eq!(chain.issue().await.unwrap().1, "second");
    assert_eq!(chain.issue().await.unwrap_err().to_string(), "no credentials from second: broken");
    assert_eq!(chain.issue().await.unwrap().0.credentials.access_key_id(), "b");
    assert_eq!(first.requests.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn failed_provider_ends_the_chain() {
    let (first, second) = (scripted("first", &[broken(), Ok("a")]), scripted("second", &[Ok("b")]));
    let chain = chain(&[&first, &second]);
    assert_eq!(chain.issue().await.unwrap_err().tried().len(), 1);
    assert_eq!(chain.issue().await.unwrap().1, "first");
    assert_eq!(second.requests.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn kept_provider_is_replaced_when_no_longer_configured() {
    let (first, second) = (scripted("first", &[absent(), Ok("a")]), scripted("second", &[Ok("b"), absent()]));
    let chain = chain(&[&first, &second]);
    assert_eq!(chain.issue().await.unwrap().1, "second");
    assert_eq!(chain.issue().await.unwrap().1, "first");
}
