//! Tests of credentials that are temporarily missing, and of a Secret that cannot be decoded.

use super::*;

/// Issues a key that is valid for ten seconds, then fails once, then issues keys again.
#[derive(Debug, Default)]
struct IntermittentKeys(AtomicUsize);

impl Provider for IntermittentKeys {
    fn name(&self) -> &'static str {
        "fading"
    }

    fn issue(&self) -> BoxFuture<'_, Result<Issued, ProviderError>> {
        let issued = Issued {
            lifetime: Some(Duration::from_secs(10)),
            ..Issued::non_expiring(Credentials::new("id", "secret", None))
        };
        let none = self.0.fetch_add(1, Ordering::Relaxed) == 1;
        let issued = if none { Err(ProviderError::Failed("none for a moment".to_owned())) } else { Ok(issued) };
        Box::pin(std::future::ready(issued))
    }
}

#[tokio::test(start_paused = true)]
async fn object_without_credentials_continues_when_they_exist() {
    let mut new = object("room");
    json_patch::merge(&mut new, &json!({"spec": {"groupId": "room", "deletionPolicy": "Delete"}}));
    new["metadata"]["finalizers"] = json!([crate::resources::FINALIZER]);
    let stored = Arc::new(Mutex::new(new.clone()));
    let client = apiserver(move |method, path, body| {
        let stored = Arc::clone(&stored);
        async move {
            if method == Method::PATCH && path.ends_with("/status") {
                let status = body.as_array().and_then(|body| body.last()).map(|last| last["value"].clone());
                if status.as_ref().is_some_and(|status| !status["createIntent"].is_null()) {
                    // The key expires while the create intent is written.
                    tokio::time::sleep(Duration::from_secs(8)).await;
                }
                stored.lock().unwrap()["status"] = status.unwrap_or_default();
            }
            (200, stored.lock().unwrap().clone())
        }
    });
    let context = context_with(client, CredentialSource::new(Chain::of(vec![Box::new(IntermittentKeys::default())])));
    let account = context.accounts.current(&AccountKey::Operator).unwrap();
    account.wait_loaded().await;
    let of: LiveMessageGroup = serde_json::from_value(new).unwrap();
    let key = observe(&context, &of);
    let app = AppKey::new(&AccountKey::Operator, "demo");
    context.scheduler.with(|scheduler, _| scheduler.usage_known(&app, 0, Some(HashSet::new())));
    let budget = BudgetKey { account: AccountKey::Operator, operation: Operation::Create };
    let started = Instant::now();
    let work = context.scheduler.next().await;
    let permits = account.permit(budget.operation).await;
    let permit = GrantedPermit { account: Arc::clone(&account), operation: budget.operation, permits };
    reconcile::run(Arc::clone(&context), work, Some(permit)).await;
    assert_eq!(started.elapsed(), START_DELAY + Duration::from_secs(8));
    assert_eq!(
        metric_value(&context, "live_message_operator_reconcile_failures_total{reason=\"CredentialsMissing\"}"),
        Some(1.0)
    );

    start(&context);
    context.scheduler.wait_for(&budget, |scheduler, _| scheduler.can_grant(&budget).then_some(())).await;
    assert!(
        started.elapsed() < START_DELAY + Duration::from_secs(11),
        "{key} waits for a permit again after {:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn undecodable_secret_never_reaches_the_log() {
    let client = apiserver(|_, _, _| {
        let data = json!({"accessKeySecret": "not base64: hush"});
        std::future::ready((200, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {}, "data": data})))
    });
    for format in [LogFormat::Text, LogFormat::Json] {
        for requested in ["warn", "debug", "trace", "info,kube_client=trace", "kube_client::client=trace"] {
            let log = Log::default();
            let writer = log.clone();
            let filter = tracing_subscriber::EnvFilter::try_new(requested).unwrap();
            let subscriber = crate::telemetry::subscriber(format, filter, false, move || writer.clone());
            let logging = tracing::subscriber::set_default(subscriber);
            let secrets: kube::Api<k8s_openapi::api::core::v1::Secret> = kube::Api::namespaced(client.clone(), "ns");
            let error = secrets.get("key").await.unwrap_err();
            tracing::warn!("the log works");
            drop(logging);
            let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            assert!(matches!(error, kube::Error::SerdeError(_)), "{error}");
            assert!(!text.contains("hush"), "{requested}: {text}");
            assert_eq!(text.contains("the log works"), !requested.starts_with("kube_client::"), "{requested}: {text}");
        }
    }
}
