//! Nothing secret is printable.

use super::*;
use crate::live::credentials::profile_source::ProfileSource;
use crate::live::logged::logged;
use crate::live::loopback::Loopback;
use crate::live::{Call, Client, ClientOptions, GroupRef};

/// Texts that must not be found anywhere: as they are, percent-encoded, and in base64.
const HUSH: [&str; 8] = [
    "hush-secret",
    "aHVzaC1zZWNyZXQ",
    "hush/token+=",
    "hush%2Ftoken%2B%3D",
    "hush%2ftoken%2b%3d",
    "aHVzaC90b2tlbis9",
    "hush-oidc-token",
    "aHVzaC1vaWRjLXRva2Vu",
];

fn assert_clean(what: &str, text: &str) {
    for secret in HUSH {
        assert!(!text.contains(secret), "{what} shows {secret}: {text}");
    }
}

fn temporary() -> Credentials {
    Credentials::new("id", "hush-secret", Some("hush/token+="))
}

#[test]
fn no_debug_of_a_type_that_holds_a_secret_shows_it() {
    let credentials = temporary();
    let group = GroupRef { app_id: "demo".into(), group_id: "g".into(), data_center: None };
    let signed = Call::Describe(group).request().sign("h", &credentials, "2026-01-02T03:04:05Z", "n");
    assert!(signed.headers.iter().any(|(_, value)| value == "hush/token+="), "the token is in there");
    assert!(signed.signature.canonical_request.contains("hush/token+="), "and there");
    let source = CredentialSource::fixed(credentials.clone());
    let profile = ProfileSource::Key(credentials.clone());
    let place = Place::new(&[("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "hush-secret")]).env();
    for shown in [
        format!("{credentials:?} {credentials:#?}"),
        format!("{:?}", Issued::non_expiring(credentials.clone())),
        format!("{signed:?} {:?}", signed.signature),
        format!("{source:?} {profile:?} {place:?} {:?}", Chain::default_chain(&place)),
    ] {
        assert_clean("Debug", &shown);
    }
}

#[tokio::test]
async fn a_source_in_use_shows_nothing() {
    let source = CredentialSource::fixed(temporary());
    source.current().await.unwrap();
    assert_clean("Debug", &format!("{source:?}"));
}

/// A whole life at log level `trace`: the exchange, a call that is refused with an echo of everything, a renewal that
/// fails with one.
#[tokio::test]
async fn no_log_of_a_whole_life_shows_a_secret() {
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

    let place = Place::new(&[
        ("ALIBABA_CLOUD_ROLE_ARN", "r"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "p"),
        ("ALIBABA_CLOUD_STS_ENDPOINT", &sts.origin),
    ]);
    let token = place.file("token", "hush-oidc-token");
    let place = place.set("ALIBABA_CLOUD_OIDC_TOKEN_FILE", &token);
    let source = CredentialSource::new(Chain::default_chain(&place.env()));
    let credentials = source.current().await.unwrap();
    assert_eq!(credentials.security_token(), Some("hush/token+="));

    let client = Client::new(live.endpoint(), ClientOptions::default()).unwrap();
    let group = GroupRef { app_id: "demo".into(), group_id: "g".into(), data_center: None };
    let error = client.send(&Call::Describe(group), &credentials).await.unwrap_err();
    assert_clean("the error", &format!("{error} {error:?}"));
    assert!(!source.reload(&credentials).await, "STS refuses");
    assert_eq!((sts.seen().len(), live.seen().len()), (2, 1));
    tracing::debug!(?source, ?error, ?client, "the end");
    let text = log.text();
    assert!(text.contains("credentials loaded") && text.contains("could not be renewed"), "{text}");
    assert_clean("the log", &text);
}
