use super::*;
use crate::live::loopback::{Loopback, Seen};

const ROLES: &str = "/latest/meta-data/ram/security-credentials/";

/// Starts a metadata service with the role `live`. It supports either version 2 or version 1.
async fn service(v2: bool) -> Loopback {
    let act = move |seen: &Seen| match seen.target() {
        "/latest/api/token" if v2 => answer(200, "session-token"),
        "/latest/api/token" => answer(404, ""),
        _ if v2 && seen.header("x-aliyun-ecs-metadata-token") != Some("session-token") => answer(403, ""),
        ROLES => answer(200, "live\n"),
        "/latest/meta-data/ram/security-credentials/live" => {
            answer(200, &format!(r#"{{"Code":"Success","LastUpdated":"x",{}}}"#, key_for(21_600)))
        }
        _ => answer(404, "<html>"),
    };
    Loopback::start(act).await
}

async fn scripted(acts: Vec<Act>) -> Setup {
    Setup::new(&[]).metadata(Loopback::script(acts).await.endpoint())
}

#[tokio::test]
async fn version_2_requests_a_session_token_first() {
    let server = service(true).await;
    let setup = Setup::new(&[]).metadata(server.endpoint());
    let (issued, provider) = setup.issue().await.unwrap();
    assert_eq!((issued.credentials.access_key_id(), provider), ("STS.id", "ECS RAM role"));
    assert!(issued.lifetime.unwrap() > Duration::from_secs(21_000));
    let seen = server.seen();
    assert_eq!((seen[0].method(), seen[0].header("x-aliyun-ecs-metadata-token-ttl-seconds")), ("PUT", Some("21600")));
    assert_eq!((seen.len(), seen[1].method(), seen[2].method()), (3, "GET", "GET"));
}

#[tokio::test]
async fn version_1_is_the_fallback_unless_disabled() {
    let server = service(false).await;
    let setup = Setup::new(&[]).metadata(server.endpoint());
    assert_eq!(setup.id().await, ("STS.id".to_owned(), "ECS RAM role"));
    assert!(server.seen()[1].header("x-aliyun-ecs-metadata-token").is_none());
    let strict = setup.set("ALIBABA_CLOUD_IMDSV1_DISABLED", "true");
    let error = strict.error().await;
    assert!(error.contains("no session token: HTTP 404, and ALIBABA_CLOUD_IMDSV1_DISABLED is true"), "{error}");
}

#[tokio::test]
async fn named_role_is_not_looked_up() {
    let server = service(true).await;
    let setup = Setup::new(&[("ALIBABA_CLOUD_ECS_METADATA", "live")]).metadata(server.endpoint());
    assert_eq!(setup.id().await.0, "STS.id");
    assert_eq!(server.seen().len(), 2);
    let wrong = Setup::new(&[("ALIBABA_CLOUD_ECS_METADATA", "other/..")]).metadata(server.endpoint());
    let error = wrong.error().await;
    assert!(error.contains("from ECS RAM role: the ECS instance has no RAM role \"other/..\""), "{error}");
    assert!(server.seen()[3].target().ends_with("/other%2F.."));
}

#[tokio::test]
async fn missing_instance_or_role_is_not_configured() {
    let error = Setup::new(&[]).error().await;
    assert!(
        error.starts_with("no credentials are configured; not configured: environment (ALIBABA_CLOUD_ACCESS_KEY_ID")
    );
    assert!(error.contains("ECS RAM role (the metadata service cannot be reached"), "{error}");
    let error = scripted(vec![answer(200, "t"), answer(404, "")]).await.error().await;
    assert!(error.contains("ECS RAM role (the ECS instance has no RAM role)"), "{error}");
    let named = Setup::new(&[("ALIBABA_CLOUD_ECS_METADATA", "live")]).error().await;
    assert!(named.starts_with("no credentials from ECS RAM role: the metadata service cannot be reached"), "{named}");
}

#[tokio::test]
async fn disabled_service_receives_no_requests() {
    let server = service(true).await;
    let setup = Setup::new(&[("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "TRUE")]).metadata(server.endpoint());
    let error = setup.error().await;
    assert!(error.contains("ECS RAM role (ALIBABA_CLOUD_ECS_METADATA_DISABLED is true)"), "{error}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn errors_do_not_show_response_content() {
    let token = || answer(200, "hush-session");
    for (acts, expected) in [
        (vec![token(), answer(500, "hush")], "cannot list the RAM roles: HTTP 500"),
        (vec![token(), answer(200, "live"), answer(500, "hush")], "role \"live\": HTTP 500"),
        (vec![token(), answer(200, "live"), answer(200, "hush")], "role \"live\": the response is not JSON"),
        (
            vec![token(), answer(200, "live"), answer(200, r#"{"Code":"AssumeRoleUnauthorized","Message":"hush"}"#)],
            "role \"live\": AssumeRoleUnauthorized",
        ),
        (vec![token(), answer(200, "live"), answer(200, &format!("{{{}}}", key_for(-1)))], "have already expired"),
        (vec![token(), Act::Silence], "metadata service: the endpoint did not respond in time"),
    ] {
        let error = scripted(acts).await.error().await;
        assert!(error.starts_with("no credentials from ECS RAM role: ") && error.contains(expected), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
}
