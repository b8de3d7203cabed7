use super::*;
use crate::live::credentials::sts::Role;
use crate::live::loopback::{Loopback, answer_with};
use rstest::rstest;

const TOKEN: &str = "eyJhbGciOi.hush+oidc/token=.sig";

/// Creates a setup for RRSA with a token file and the given STS endpoint.
fn rrsa(sts: &str) -> Setup {
    let setup = Setup::new(&[
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/live"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/ack"),
        ("ALIBABA_CLOUD_STS_ENDPOINT", sts),
    ]);
    let path = setup.file("token", &format!("{TOKEN}\n"));
    setup.set("ALIBABA_CLOUD_OIDC_TOKEN_FILE", &path)
}

#[tokio::test]
async fn token_is_sent_in_the_body_of_an_unsigned_request() {
    let sts = Loopback::script(vec![sts_response(3600)]).await;
    let (issued, provider) = rrsa(&sts.origin).issue().await.unwrap();
    assert_eq!((issued.credentials.access_key_id(), provider), ("STS.id", "OIDC (RRSA)"));
    assert_eq!(issued.credentials.security_token(), Some("hush-token"));
    let left = issued.lifetime.unwrap().as_secs();
    assert!((3590..=3600).contains(&left), "{left}");
    let seen = &sts.seen()[0];
    assert_eq!((seen.method(), seen.header("content-type")), ("POST", Some("application/x-www-form-urlencoded")));
    assert!(seen.target().starts_with("/?Action=AssumeRoleWithOIDC&Format=JSON&Timestamp="), "{}", seen.target());
    assert!(seen.target().ends_with("&Version=2015-04-01"));
    assert_eq!(
        seen.body,
        "DurationSeconds=3600&OIDCProviderArn=acs%3Aram%3A%3A1%3Aoidc-provider%2Fack\
         &OIDCToken=eyJhbGciOi.hush%2Boidc%2Ftoken%3D.sig&RoleArn=acs%3Aram%3A%3A1%3Arole%2Flive\
         &RoleSessionName=live-message-operator"
    );
    assert!(!seen.head.contains("hush") && seen.header("authorization").is_none(), "{}", seen.head);
}

#[tokio::test]
async fn token_file_is_read_at_every_exchange() {
    let sts = Loopback::script(vec![sts_response(3600)]).await;
    let setup = rrsa(&sts.origin).set("ALIBABA_CLOUD_ROLE_SESSION_NAME", "mine");
    let chain = Chain::default_chain(&setup.env());
    chain.issue().await.unwrap();
    setup.file("token", "rotated-token");
    chain.issue().await.unwrap();
    let seen = sts.seen();
    assert!(seen[0].body.contains("hush%2Boidc") && seen[0].body.ends_with("RoleSessionName=mine"));
    assert!(seen[1].body.contains("OIDCToken=rotated-token"), "{}", seen[1].body);
}

#[tokio::test]
async fn exchanges_share_a_client_and_no_connection() {
    let sts = Loopback::script(vec![sts_response(3600)]).await;
    let env = rrsa(&sts.origin).env();
    let first = env.http_client().unwrap();
    let second = allocation_counter::measure(|| drop(env.clone().http_client().unwrap()));
    assert!(second.bytes_max < 1024, "a second client takes {} bytes", second.bytes_max);
    for _ in 0..2 {
        first.get(&sts.origin).send().await.unwrap().bytes().await.unwrap();
    }
    assert_eq!(sts.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn lifetime_is_measured_on_the_clock_of_sts() {
    let body = r#"{"Credentials":{"AccessKeyId":"i","AccessKeySecret":"s","SecurityToken":"t","Expiration":"2001-09-06T09:49:37Z"}}"#;
    let sts = Loopback::script(vec![answer_with(200, "date: Thu, 06 Sep 2001 08:49:37 GMT\r\n", body)]).await;
    let (issued, _) = rrsa(&sts.origin).issue().await.unwrap();
    assert_eq!(issued.lifetime, Some(Duration::from_secs(3600)), "expired long ago on the local clock");
}

#[rstest]
#[case(
    answer(
        401,
        r#"{"Code":"AuthenticationFail.OIDCToken.Expired","Message":"echo hush+oidc/token","RequestId":"r1"}"#
    ),
    "AuthenticationFail.OIDCToken.Expired (HTTP 401): the token has expired"
)]
#[case(
    answer(401, r#"{"Code":"AuthenticationFail.NoPermission","Message":"x","RequestId":"r2"}"#),
    "AuthenticationFail.NoPermission (HTTP 401): the trust policy of the role"
)]
#[case(answer(401, r#"{"Code":"AuthenticationFail.OIDCToken.AudienceNotMatch"}"#), "must be sts.aliyuncs.com")]
#[case(answer(400, r#"{"Code":"eyJhbGciOi.hush+oidc/token=.sig"}"#), "HTTP 400")]
#[case(answer(502, "<html>hush+oidc/token</html>"), "HTTP 502")]
#[case(answer(500, ""), "HTTP 500")]
#[case(answer(200, "<html>hush+oidc/token</html>"), "the response is not JSON")]
#[case(answer(200, ""), "the response is not JSON")]
#[case(answer(200, "{}"), "the response has no Credentials")]
#[case(answer(200, r#"{"Credentials":{"AccessKeyId":"hush"}}"#), "the response has no AccessKeySecret")]
#[case(
    answer(
        200,
        r#"{"Credentials":{"AccessKeyId":"hush","AccessKeySecret":"hush","SecurityToken":"hush","Expiration":"soon"}}"#
    ),
    "the Expiration in the response is not a valid time"
)]
#[case(sts_response(-5), "have already expired")]
#[case(Act::SendAndClose(Vec::new()), "the connection was lost")]
#[case(Act::SendAndClose(b"HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\n{".to_vec()), "the response is truncated")]
#[case(Act::Silence, "did not respond in time")]
#[case(answer_with(302, "location: http://127.0.0.1:1/\r\n", ""), "HTTP 302")]
#[tokio::test]
async fn sts_refusal_is_reported_without_its_text(#[case] act: Act, #[case] expected: &str) {
    let sts = Loopback::script(vec![act]).await;
    let error = rrsa(&sts.origin).issue().await.unwrap_err();
    let shown = error.to_string();
    assert!(shown.starts_with("no credentials from OIDC (RRSA): AssumeRoleWithOIDC: "), "{shown}");
    assert!(shown.contains(expected), "{shown}");
    assert!(!format!("{shown} {error:?}").contains("hush"), "{error:?}");
    assert_eq!(sts.seen().len(), 1, "no hidden retries");
}

#[rstest]
#[case(&[], "sts.aliyuncs.com")]
#[case(&[("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true")], "sts.aliyuncs.com")]
#[case(&[("ALIBABA_CLOUD_STS_REGION", "cn-beijing")], "sts.cn-beijing.aliyuncs.com")]
#[case(&[("ALIBABA_CLOUD_STS_REGION", "cn-beijing"), ("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "True")],
    "sts-vpc.cn-beijing.aliyuncs.com")]
#[case(&[("ALIBABA_CLOUD_STS_REGION", "cn-beijing"), ("ALIBABA_CLOUD_STS_ENDPOINT", "sts.example")], "sts.example")]
#[case(&[("ALIBABA_CLOUD_STS_ENDPOINT", " "), ("ALIBABA_CLOUD_STS_REGION", "")], "sts.aliyuncs.com")]
#[tokio::test]
async fn sts_endpoint_follows_the_official_variables(#[case] variables: &[(&str, &str)], #[case] host: &str) {
    let env = Setup::new(variables).env();
    let endpoint = sts::endpoint(&env, &Role::default()).unwrap();
    assert_eq!(endpoint.to_string(), format!("https://{host}"));
}

#[tokio::test]
async fn plain_http_to_sts_requires_the_flag() {
    let lookup = |name: &str| (name == "ALIBABA_CLOUD_STS_ENDPOINT").then(|| "http://127.0.0.1:1".to_owned());
    let env = ProviderEnv::new(lookup, None, HttpOptions::default(), false);
    let refused = sts::endpoint(&env, &Role::default()).unwrap_err();
    assert!(matches!(refused, ProviderError::Failed(why) if why.contains("plain http")));
}

#[tokio::test]
async fn missing_variable_is_not_configured_and_missing_token_fails() {
    let partly = Setup::new(&[("ALIBABA_CLOUD_ROLE_ARN", "a"), ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "t")]);
    assert!(partly.error().await.contains("OIDC (RRSA) (ALIBABA_CLOUD_OIDC_PROVIDER_ARN is not set)"));
    let setup = rrsa("http://127.0.0.1:1");
    let unreachable = setup.error().await;
    assert!(unreachable.contains("AssumeRoleWithOIDC: cannot connect to the endpoint"), "{unreachable}");
    let path = setup.file("token", " \n");
    assert!(setup.error().await.contains(&format!("token file {path} contains no token of")));
    std::fs::remove_file(&path).unwrap();
    assert!(setup.error().await.contains(&format!("token file {path} does not exist")));
}
