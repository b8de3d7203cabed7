use super::*;
use serde_json::json;

const NOW: i64 = 1_700_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn token(claims: &Json) -> String {
    let part = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.c2ln", part(&json!({"alg": "RS256"})), part(claims))
}

fn params(changes: &[(&str, &str)]) -> Params {
    let token = token(&json!({"aud": ["sts.aliyuncs.com"], "exp": NOW + 1, "sub": "system:serviceaccount:a:b"}));
    let mut all = vec![
        ("RoleArn", "acs:ram::42:role/operator"),
        ("OIDCProviderArn", "acs:ram::42:oidc-provider/ack"),
        ("RoleSessionName", "a-session"),
        ("OIDCToken", token.as_str()),
    ];
    all.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    all.iter().chain(changes).copied().collect()
}

fn code(changes: &[(&str, &str)]) -> String {
    let sts = Sts::new(vec!["acs:ram::42:role/operator".parse().unwrap()], None);
    let error = sts.assume(Operation::AssumeRoleWithOidc, &params(changes), now(), now()).unwrap_err();
    format!("{} {}", error.status, error.code)
}

#[test]
fn oidc_token_gives_a_key_of_the_role_account() {
    let sts = Sts::new(Vec::new(), None);
    let (key, payload) = sts.assume(Operation::AssumeRoleWithOidc, &params(&[]), now(), now()).unwrap();
    assert!(key.id.starts_with("STS.") && key.account() == "42");
    assert_eq!(key.expires, Timestamp::from_second(NOW + 3600).ok());
    let Some(Value::Object(credentials)) = payload.get("Credentials") else { panic!("{payload:?}") };
    assert_eq!(credentials.get("Expiration"), Some(&Value::from("2023-11-14T23:13:20Z")));
    assert_eq!(credentials.get("AccessKeyId"), Some(&Value::from(key.id.as_str())));
    let one_audience = token(&json!({"aud": "sts.aliyuncs.com", "exp": NOW + 1}));
    assert!(sts.assume(Operation::AssumeRoleWithOidc, &params(&[("OIDCToken", &one_audience)]), now(), now()).is_ok());
}

#[test]
fn key_lifetime_is_bounded_by_configuration() {
    let expires = |longest: Option<u64>, requested: &str| {
        let sts = Sts::new(Vec::new(), longest.map(Duration::from_secs));
        let params = params(&[("DurationSeconds", requested)]);
        let key = sts.assume(Operation::AssumeRole, &params, now(), now()).unwrap().0;
        key.expires.unwrap().as_second() - NOW
    };
    assert_eq!(expires(None, "900"), 900);
    assert_eq!(expires(Some(5), "900"), 5);
    assert_eq!(expires(Some(1000), "900"), 900);
    assert_eq!(code(&[("DurationSeconds", "899")]), "400 InvalidParameter.DurationSeconds");
    assert_eq!(code(&[("DurationSeconds", "3601")]), "400 InvalidParameter.DurationSeconds");
}

#[test]
fn invalid_requests_have_distinct_error_codes() {
    assert_eq!(code(&[("RoleArn", "")]), "400 MissingRoleArn");
    assert_eq!(code(&[("OIDCToken", "")]), "400 MissingOIDCToken");
    assert_eq!(code(&[("OIDCProviderArn", "ack")]), "400 InvalidParameter.OIDCProviderArn");
    assert_eq!(code(&[("RoleArn", "operator")]), "400 InvalidParameter.RoleArn");
    assert_eq!(code(&[("RoleSessionName", "a")]), "400 InvalidParameter.RoleSessionName");
    assert_eq!(code(&[("RoleArn", "acs:ram::42:role/other")]), "401 AuthenticationFail.NoPermission");
    let invalid = "401 AuthenticationFail.OIDCToken.Invalid";
    let endless = token(&json!({"aud": "sts.aliyuncs.com"}));
    for bad in ["abc", "a.b.c", "not a token", &endless, &"a".repeat(20_001)] {
        assert_eq!(code(&[("OIDCToken", bad)]), invalid);
    }
    let old = token(&json!({"aud": "sts.aliyuncs.com", "exp": NOW}));
    assert_eq!(code(&[("OIDCToken", &old)]), "401 AuthenticationFail.OIDCToken.Expired");
    let other = token(&json!({"aud": ["kubernetes"], "exp": NOW + 1}));
    assert_eq!(code(&[("OIDCToken", &other)]), "401 AuthenticationFail.OIDCToken.AudienceNotMatch");
}

#[test]
fn session_key_is_renewed_at_half_life_or_when_unusable() {
    let mut sts = Sts::new(Vec::new(), Some(Duration::from_secs(100)));
    let mut id = |second: i64, usable: bool| {
        let now = Timestamp::from_second(NOW + second).unwrap();
        sts.session_key("role", "42", Duration::from_secs(3600), now, |_| usable).id
    };
    let first = id(0, true);
    assert_eq!(id(49, true), first);
    let second = id(50, true);
    assert_ne!(second, first);
    assert_ne!(id(51, false), second);
}
