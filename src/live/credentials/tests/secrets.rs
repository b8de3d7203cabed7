//! Tests that no output shows secrets.

use super::*;
use crate::live::credentials::profile_source::ProfileSource;
use crate::live::logged::logged;
use crate::live::loopback::Loopback;
use crate::live::{Call, Client, ClientOptions, GroupRef};

/// The secrets in plain text, percent-encoded and in base64.
const SECRETS: [&str; 8] = [
    "hush-secret",
    "aHVzaC1zZWNyZXQ",
    "hush/token+=",
    "hush%2Ftoken%2B%3D",
    "hush%2ftoken%2b%3d",
    "aHVzaC90b2tlbis9",
    "hush-oidc-token",
    "aHVzaC1vaWRjLXRva2Vu",
];

fn assert_redacted(output: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{output} shows {secret}: {text}");
    }
}

fn temporary() -> Credentials {
    Credentials::new("id", "hush-secret", Some("hush/token+="))
}

#[test]
fn debug_output_of_types_with_secrets_is_redacted() {
    let credentials = temporary();
    let group = GroupRef { app_id: "demo".into(), group_id: "g".into(), data_center: None };
    let signed = Call::Describe(group).request().sign("h", &credentials, "2026-01-02T03:04:05Z", "n");
    assert!(signed.headers.iter().any(|(_, value)| value == "hush/token+="), "the headers contain the token");
    assert!(signed.signature.canonical_request.contains("hush/token+="), "the canonical request contains the token");
    let source = CredentialSource::fixed(credentials.clone());
    let profile = ProfileSource::Key(credentials.clone());
    let setup = Setup::new(&[("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "hush-secret")]).env();
    for shown in [
        format!("{credentials:?} {credentials:#?}"),
        format!("{:?}", Issued::non_expiring(credentials.clone())),
        format!("{signed:?} {:?}", signed.signature),
        format!("{source:?} {profile:?} {setup:?} {:?}", Chain::default_chain(&setup)),
    ] {
        assert_redacted("Debug", &shown);
    }
}

#[tokio::test]
async fn debug_output_of_a_source_in_use_is_redacted() {
    let source = CredentialSource::fixed(temporary());
    source.current().await.unwrap();
    assert_redacted("Debug", &format!("{source:?}"));
}

/// Covers an exchange, a refused call and a failed renewal at log level `trace`. Both error responses contain the
/// secrets.
#[tokio::test]
async fn trace_log_shows_no_secrets() {
    let log = logged();
    let echo = "hush-secret hush/token+= hush%2Ftoken%2B%3D aHVzaC90b2tlbis9";
    let given = format!(
        r#"{{"Credentials":{{"AccessKeyId":"STS.id","AccessKeySecret":"hush-secret","SecurityToken":"hush/token+=","Expiration":"{}"}}}}"#,
        in_seconds(3600)
    );
    let refused = format!(
        r#"{{"Code":"AuthenticationFail.OIDCToken.Invalid","Message":"{echo} hush-oidc-token","RequestId":"r"}}"#
    );
    let sts = Loopback::script(vec![answer(200, &given), answer(401, &refused)]).await;
    let rejected = format!(r#"{{"Code":"SignatureDoesNotMatch","Message":"{echo}","RequestId":"r"}}"#);
    let live = Loopback::script(vec![answer(400, &rejected)]).await;

    let setup = Setup::new(&[
        ("ALIBABA_CLOUD_ROLE_ARN", "r"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "p"),
        ("ALIBABA_CLOUD_STS_ENDPOINT", &sts.origin),
    ]);
    let token = setup.file("token", "hush-oidc-token");
    let setup = setup.set("ALIBABA_CLOUD_OIDC_TOKEN_FILE", &token);
    let source = CredentialSource::new(Chain::default_chain(&setup.env()));
    let credentials = source.current().await.unwrap();
    assert_eq!(credentials.security_token(), Some("hush/token+="));

    let client = Client::new(live.endpoint(), ClientOptions::default()).unwrap();
    let group = GroupRef { app_id: "demo".into(), group_id: "g".into(), data_center: None };
    let error = client.send(&Call::Describe(group), &credentials).await.unwrap_err();
    assert_redacted("the error", &format!("{error} {error:?}"));
    assert!(!source.reload(&credentials).await, "STS refuses");
    assert_eq!((sts.seen().len(), live.seen().len()), (2, 1));
    tracing::debug!(?source, ?error, ?client, "the end");
    let text = log.text();
    assert!(text.contains("credentials loaded") && text.contains("could not be renewed"), "{text}");
    assert_redacted("the log", &text);
}
