//! Fuzz targets for the parsers of credentials files and STS responses.

use super::*;
use crate::live::credentials::http_reply::HttpReply;
use crate::live::credentials::{ini, profile};
use crate::live::fuzz::Target;

const INI: &[&str] = &[
    "[default]\ntype = access_key\naccess_key_id = id\naccess_key_secret = 'secret' # comment\n",
    "\u{feff}; comment\r\n[default]\r\ntype=sts\r\naccess_key_id:id\r\naccess_key_secret=\"s\"\r\nsecurity_token=t\r\n",
    "[other]\ntype=ecs_ram_role\nrole_name=r\n[default]\ntype=ram_role_arn\naccess_key_id=i\naccess_key_secret=s\n\
     role_arn=acs:ram::1:role/r\nrole_session_name=n\npolicy={}\n",
    "[default]\ntype=oidc_role_arn\nrole_arn=a\noidc_provider_arn=p\noidc_token_file_path=/t\n",
];

const PROFILES: &[&str] = &[
    r#"{"current":"default","profiles":[{"name":"default","mode":"AK","access_key_id":"i","access_key_secret":"s"}]}"#,
    r#"{"current":"a","profiles":[{"name":"a","mode":"ChainableRamRoleArn","source_profile":"b","ram_role_arn":"r",
        "expired_seconds":900,"enable_vpc":true},{"name":"b","mode":"StsToken","access_key_id":"i",
        "access_key_secret":"s","sts_token":"t"}]}"#,
    r#"{"profiles":[{"name":"default","mode":"OIDC","ram_role_arn":"r","oidc_provider_arn":"p","oidc_token_file":"/t"}]}"#,
    r#"{"profiles":[{"name":"default","mode":"RamRoleArn","access_key_id":"i","access_key_secret":"s",
        "ram_role_arn":"r","ram_session_name":"n","policy":"{}","external_id":"e","sts_region":"cn-x"}]}"#,
];

const ANSWERS: &[&str] = &[
    r#"{"RequestId":"1-A","AssumedRoleUser":{"Arn":"a"},"Credentials":{"AccessKeyId":"STS.i","AccessKeySecret":"s",
        "SecurityToken":"t","Expiration":"2026-01-02T04:04:05Z"}}"#,
    r#"{"Code":"Success","AccessKeyId":"i","AccessKeySecret":"s","SecurityToken":"t","Expiration":"2026-01-02T04:04:05Z"}"#,
    r#"{"RequestId":"1-A","Code":"AuthenticationFail.OIDCToken.Expired","Message":"The token has expired."}"#,
];

const WORDS: &[&str] = &[
    "[",
    "]",
    "\n",
    "\r",
    "=",
    ":",
    "#",
    ";",
    "'",
    "\"",
    " #",
    "default",
    "type",
    "access_key",
    "sts",
    "ram_role_arn",
    "ecs_ram_role",
    "oidc_role_arn",
    "access_key_id",
    "access_key_secret",
    "security_token",
    "role_arn",
    "{",
    "}",
    ",",
    "null",
    "true",
    "profiles",
    "current",
    "name",
    "mode",
    "AK",
    "StsToken",
    "ChainableRamRoleArn",
    "source_profile",
    "expired_seconds",
    "[[[[[[[[",
    "{\"a\":",
    "\\ud83d",
    "Credentials",
    "AccessKeyId",
    "Expiration",
    "SecurityToken",
    "Code",
    "Success",
    "9999-12-31T23:59:59Z",
    "-009999-01-02T01:59:59Z",
    "2026-01-02T04:04:05+25:59",
];

fn target<'a>(name: &'a str, seeds: &[&str]) -> Target<'a> {
    Target { name, seeds: seeds.iter().map(|text| text.as_bytes().to_vec()).collect(), words: WORDS }
}

#[test]
fn ini_files() {
    target("INI files", INI).run(|bytes| Some(ini::parse(std::str::from_utf8(bytes).ok()?, "default")));
}

#[test]
fn profile_files() {
    target("profile files", PROFILES).run(|bytes| Some(profile::parse_file(std::str::from_utf8(bytes).ok()?, None)));
}

#[test]
fn sts_answers() {
    let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    target("STS answers", ANSWERS).run(|bytes| {
        [200, 401].map(|status| {
            let reply = HttpReply { status, body: bytes.to_vec(), now };
            let issued = [reply.nested_credentials(), reply.credentials()];
            assert!(issued.iter().flatten().all(|issued| issued.lifetime.is_some_and(|time| !time.is_zero())));
            (issued.map(|issued| issued.map(drop)), reply.refusal())
        })
    });
}
