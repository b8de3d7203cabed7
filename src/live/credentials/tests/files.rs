//! Tests of the command-line profiles and the INI file.

use super::*;
use crate::live::loopback::{Loopback, Seen};
use rstest::rstest;

const CONFIG: &str = ".aliyun/config.json";

fn config(profiles: &str) -> String {
    format!(r#"{{"current":"default","profiles":[{profiles}],"meta_path":""}}"#)
}

#[rstest]
#[case(r#"{"name":"default","mode":"AK","access_key_id":"ak","access_key_secret":"hush"}"#, "ak", None)]
#[case(r#"{"name":"default","access_key_id":"ak","access_key_secret":"hush","sts_token":"ignored"}"#, "ak", None)]
#[case(
    r#"{"name":"default","mode":"StsToken","access_key_id":"ak","access_key_secret":"hush","sts_token":"t"}"#,
    "ak",
    Some("t")
)]
#[tokio::test]
async fn profile_with_key_returns_credentials(#[case] profile: &str, #[case] id: &str, #[case] token: Option<&str>) {
    let setup = Setup::new(&[]);
    setup.file(CONFIG, &config(profile));
    let (issued, provider) = setup.issue().await.unwrap();
    assert_eq!((issued.credentials.access_key_id(), issued.credentials.security_token()), (id, token));
    assert_eq!((issued.lifetime, provider), (None, "profile of the aliyun command line"));
}

#[tokio::test]
async fn variables_select_file_and_profile() {
    let setup = Setup::new(&[("ALIBABA_CLOUD_PROFILE", "b")]);
    let two = r#"{"name":"default","mode":"AK","access_key_id":"one","access_key_secret":"hush"},
        {"name":"b","mode":"AK","access_key_id":"two","access_key_secret":"hush"}"#;
    let path = setup.file("elsewhere.json", &config(two));
    let setup = setup.set("ALIBABA_CLOUD_CONFIG_FILE", &path);
    assert_eq!(setup.id().await.0, "two");
    let disabled = setup.set("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true");
    assert!(disabled.error().await.contains("(ALIBABA_CLOUD_CLI_PROFILE_DISABLED is true)"));
    let gone = Setup::new(&[("ALIBABA_CLOUD_CONFIG_FILE", "/nowhere/config.json")]);
    assert!(gone.error().await.contains("command line: file /nowhere/config.json does not exist"));
}

#[rstest]
#[case("hush not json", "is not JSON")]
#[case(r#"{"name":"default","mode":"CloudSSO","access_token":"hush"}"#, "has the unsupported mode \"CloudSSO\"")]
#[case(r#"{"name":"default","mode":"External","process_command":"hush"}"#, "has the unsupported mode \"External\"")]
#[case(r#"{"name":"default","mode":"OAuth","oauth_refresh_token":"hush"}"#, "has the unsupported mode \"OAuth\"")]
#[case(r#"{"name":"default","mode":"AK","access_key_id":"ak"}"#, "has no access_key_secret")]
#[case(r#"{"name":"default","mode":"AK","access_key_secret":"hush"}"#, "has an access_key_secret but no access_key_id")]
#[case(r#"{"name":"default","mode":"StsToken","access_key_id":"ak","access_key_secret":"hush"}"#, "has no sts_token")]
#[case(r#"{"name":"default","mode":"RamRoleArn","ram_role_arn":"r"}"#, "has no access key")]
#[case(
    r#"{"name":"default","mode":"RamRoleArn","access_key_id":"ak","access_key_secret":"hush"}"#,
    "has no ram_role_arn"
)]
#[case(r#"{"name":"default","mode":"OIDC","ram_role_arn":"r"}"#, "has no oidc_provider_arn")]
#[case(r#"{"name":"default","mode":"ChainableRamRoleArn","ram_role_arn":"r"}"#, "has no source_profile")]
#[case(
    r#"{"name":"default","mode":"ChainableRamRoleArn","ram_role_arn":"r","source_profile":"x"}"#,
    "profile \"x\" does not exist"
)]
#[case(
    r#"{"name":"default","mode":"ChainableRamRoleArn","ram_role_arn":"r","source_profile":"default"}"#,
    "more than 5 source profiles"
)]
#[case(r#"{"name":"default","mode":"EcsRamRole"}"#, "the metadata service cannot be reached")]
#[tokio::test]
async fn unusable_profile_reports_the_reason(#[case] profile: &str, #[case] expected: &str) {
    let setup = Setup::new(&[]);
    setup.file(CONFIG, &config(profile));
    let error = setup.error().await;
    assert!(error.starts_with("no credentials from profile of the aliyun command line: "), "{error}");
    assert!(error.contains(expected) && !error.contains("hush"), "{error}");
}

#[rstest]
#[case(&config(r#"{"name":"other","mode":"AK"}"#), "profile \"default\" does not exist")]
#[case(&config(r#"{"name":"default","mode":"AK","access_key_id":"","access_key_secret":""}"#), "has no access key")]
#[case("{}", "profile \"default\" does not exist")]
#[tokio::test]
async fn absent_or_empty_profile_is_not_configured(#[case] text: &str, #[case] expected: &str) {
    let setup = Setup::new(&[]);
    setup.file(CONFIG, text);
    let error = setup.error().await;
    assert!(
        error.contains(&format!("profile of the aliyun command line ({}", "")) && error.contains(expected),
        "{error}"
    );
    setup.file(".alibabacloud/credentials.ini", "[default]\ntype=access_key\naccess_key_id=i\naccess_key_secret=s");
    assert_eq!(setup.id().await, ("i".to_owned(), "credentials file"));
}

#[tokio::test]
async fn role_is_assumed_with_a_signed_call() {
    let sts = Loopback::script(vec![sts_response(3600)]).await;
    let setup = Setup::new(&[("ALIBABA_CLOUD_STS_ENDPOINT", &sts.origin)]);
    setup.file(CONFIG, &config(
        r#"{"name":"default","mode":"ChainableRamRoleArn","source_profile":"a","ram_role_arn":"acs:ram::1:role/x",
            "ram_session_name":"me","expired_seconds":900,"external_id":"e"},
           {"name":"a","mode":"RamRoleArn","access_key_id":"ak","access_key_secret":"hush","ram_role_arn":"acs:ram::1:role/a"}"#,
    ));
    assert_eq!(setup.id().await.0, "STS.id");
    let seen = sts.seen();
    assert_eq!(seen.len(), 2, "the role of the source profile is assumed first");
    assert!(seen[0].header("authorization").unwrap().starts_with("ACS3-HMAC-SHA256 Credential=ak,"));
    assert!(seen[0].target().contains("RoleArn=acs%3Aram%3A%3A1%3Arole%2Fa&RoleSessionName=live-message-operator"));
    assert_eq!(
        (seen[1].header("x-acs-action"), seen[1].header("x-acs-version")),
        (Some("AssumeRole"), Some("2015-04-01"))
    );
    assert_eq!(seen[1].header("x-acs-security-token"), Some("hush-token"));
    let expected = "/?DurationSeconds=900&ExternalId=e&RoleArn=acs%3Aram%3A%3A1%3Arole%2Fx&RoleSessionName=me";
    assert_eq!(seen[1].target(), expected);
}

#[tokio::test]
async fn refused_role_is_reported_by_its_code() {
    let body = r#"{"Code":"NoPermission","Message":"hush","RequestId":"r"}"#;
    let sts = Loopback::script(vec![answer(403, body)]).await;
    let setup = Setup::new(&[("ALIBABA_CLOUD_STS_ENDPOINT", &sts.origin)]);
    setup.file(
        CONFIG,
        &config(r#"{"name":"default","mode":"RamRoleArn","access_key_id":"ak","access_key_secret":"hush","ram_role_arn":"r"}"#),
    );
    let error = setup.error().await;
    assert!(error.contains("AssumeRole: NoPermission (HTTP 403)") && !error.contains("hush"), "{error}");
}

#[tokio::test]
async fn profile_uses_a_token_file_or_the_instance_role() {
    let sts = Loopback::script(vec![sts_response(3600)]).await;
    let setup = Setup::new(&[("ALIBABA_CLOUD_STS_ENDPOINT", &sts.origin)]);
    let token = setup.file("token", "the-token");
    setup.file(CONFIG, &config(&format!(
        r#"{{"name":"default","mode":"OIDC","ram_role_arn":"r","oidc_provider_arn":"p","oidc_token_file":"{token}"}}"#
    )));
    assert_eq!(setup.id().await.0, "STS.id");
    assert!(sts.seen()[0].body.contains("OIDCToken=the-token"));
    let instance = |seen: &Seen| match seen.method() {
        "PUT" => answer(200, "t"),
        _ => answer(200, &format!("{{{}}}", key_for(600))),
    };
    let metadata = Loopback::start(instance).await;
    let setup = Setup::new(&[]).metadata(metadata.endpoint());
    setup.file(CONFIG, &config(r#"{"name":"default","mode":"EcsRamRole","ram_role_name":"live"}"#));
    assert_eq!(setup.id().await.1, "profile of the aliyun command line");
    assert!(metadata.seen()[1].target().ends_with("/live"));
}

const INI: &str = "\u{feff}# a comment\n[other]\ntype = access_key\naccess_key_id = wrong\n\n[default]\r\n; another\r\n\
    enable = true\r\ntype = access_key   # its kind\r\naccess_key_id: \"ak\"\r\naccess_key_secret = hu#sh=\r\n\n\
    [temporary]\ntype=sts\naccess_key_id=tk\naccess_key_secret=hush\nsecurity_token='tok'\n";

#[tokio::test]
async fn ini_file_is_found_by_default_paths_and_variable() {
    for path in [".alibabacloud/credentials.ini", ".alibabacloud/credentials"] {
        let setup = Setup::new(&[]);
        setup.file(path, INI);
        let (issued, provider) = setup.issue().await.unwrap();
        assert_eq!((issued.credentials.access_key_id(), provider), ("ak", "credentials file"));
        assert_eq!(issued.credentials.access_key_secret(), "hu#sh=");
    }
    let setup = Setup::new(&[("ALIBABA_CLOUD_PROFILE", "temporary")]);
    let path = setup.file("mine.ini", INI);
    let (issued, _) = setup.set("ALIBABA_CLOUD_CREDENTIALS_FILE", &path).issue().await.unwrap();
    assert_eq!(issued.credentials.security_token(), Some("tok"));
    let gone = Setup::new(&[("ALIBABA_CLOUD_CREDENTIALS_FILE", "/nowhere")]).error().await;
    assert!(gone.contains("no credentials from credentials file: file /nowhere does not exist"), "{gone}");
}

#[rstest]
#[case("[default]\naccess_key_id=i", "has no type")]
#[case("[default]\ntype=rsa_key_pair\nprivate_key_file=hush", "has the unsupported type \"rsa_key_pair\"")]
#[case("[default]\ntype=access_key\naccess_key_id=i", "has no access_key_secret")]
#[case("[default]\ntype=sts\naccess_key_id=i\naccess_key_secret=hush", "has no security_token")]
#[case("[default]\ntype=ram_role_arn\naccess_key_id=i\naccess_key_secret=hush", "has no role_arn")]
#[case("[default]\ntype=oidc_role_arn\nrole_arn=r\noidc_provider_arn=p", "has no oidc_token_file")]
#[case("[default]\ntype=ecs_ram_role\nrole_name=r", "the metadata service cannot be reached")]
#[tokio::test]
async fn unusable_section_reports_the_reason(#[case] text: &str, #[case] expected: &str) {
    let setup = Setup::new(&[]);
    setup.file(".alibabacloud/credentials", text);
    let error = setup.error().await;
    assert!(error.starts_with("no credentials from credentials file: ") && error.contains(expected), "{error}");
    assert!(!error.contains("hush"), "{error}");
}

#[tokio::test]
async fn section_assumes_a_role_by_key_or_token_file() {
    let sts = Loopback::script(vec![sts_response(3600)]).await;
    let setup = Setup::new(&[("ALIBABA_CLOUD_STS_ENDPOINT", &sts.origin)]);
    let token = setup.file("token", "the-token");
    let role = "[default]\ntype=ram_role_arn\naccess_key_id=i\naccess_key_secret=s\nrole_arn=r\nrole_session_name=n";
    setup.file(".alibabacloud/credentials", role);
    assert_eq!(setup.id().await.0, "STS.id");
    let oidc = "[default]\ntype=oidc_role_arn\nrole_arn=r\noidc_provider_arn=p\noidc_token_file_path=";
    setup.file(".alibabacloud/credentials", &format!("{oidc}{token}"));
    assert_eq!(setup.id().await.0, "STS.id");
    assert!(sts.seen()[0].header("authorization").is_some() && sts.seen()[1].body.contains("the-token"));
    setup.file(".alibabacloud/credentials", "[elsewhere]\ntype=access_key");
    assert!(setup.error().await.contains("credentials file (the file has no section [default])"));
}
