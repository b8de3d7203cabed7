//! The profiles of the `aliyun` command line, in `~/.aliyun/config.json`.

use std::path::PathBuf;

use futures::future::BoxFuture;
use serde_json::Value;

use super::profile_source::ProfileSource;
use super::provider::read_text;
use super::sts::Role;
use super::{Issued, Provider, ProviderEnv, ProviderError};

const DISABLED: &str = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED";
const FILE: &str = "ALIBABA_CLOUD_CONFIG_FILE";
const PROFILE: &str = "ALIBABA_CLOUD_PROFILE";

/// The maximum length of a chain of source profiles. This limit ends the recursion if profiles refer to each other.
const DEEPEST: usize = 5;

/// Reads the profile that `ALIBABA_CLOUD_PROFILE` specifies, or the current profile of the file.
#[derive(Debug)]
pub(super) struct Profiles(pub ProviderEnv);

impl Provider for Profiles {
    fn name(&self) -> &'static str {
        "profile of the aliyun command line"
    }

    fn issue(&self) -> BoxFuture<'_, Result<Issued, ProviderError>> {
        Box::pin(async {
            let source = source(&self.0)?;
            source.issue(&self.0).await
        })
    }
}

fn source(env: &ProviderEnv) -> Result<ProfileSource, ProviderError> {
    if env.flag(DISABLED) {
        return Err(ProviderError::NotConfigured(format!("{DISABLED} is true")));
    }
    let named = env.value(FILE).map(PathBuf::from);
    let asked_for = named.is_some();
    let Some(path) = named.or_else(|| env.home_path(".aliyun/config.json")) else {
        return Err(ProviderError::not_configured("the home directory is not known"));
    };
    let shown = path.display();
    let Some(text) = read_text(&path)? else {
        let missing = ProviderError::NotConfigured(format!("file {shown} does not exist"));
        return Err(if asked_for { missing.into_failed() } else { missing });
    };
    parse_file(&text, env.value(PROFILE)).unwrap_or_else(|| Err(ProviderError::Failed(format!("{shown} is not JSON"))))
}

/// Parses the profile `name`, or the current profile if `name` is `None`. Returns `None` if the file is not JSON.
pub(super) fn parse_file(text: &str, name: Option<String>) -> Option<Result<ProfileSource, ProviderError>> {
    let file: Value = serde_json::from_str(text).ok()?;
    let current = file.get("current").and_then(Value::as_str).unwrap_or("default").to_owned();
    Some(parse(&file, &name.unwrap_or(current), 0))
}

/// Parses a profile. Error messages never contain an access key or a token.
fn parse(file: &Value, name: &str, depth: usize) -> Result<ProfileSource, ProviderError> {
    let profiles = file.get("profiles").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let Some(profile) = profiles.iter().find(|profile| profile.get("name").and_then(Value::as_str) == Some(name))
    else {
        return Err(ProviderError::NotConfigured(format!("profile {name:?} does not exist")));
    };
    let text = |key: &str| profile.get(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let owned = |key: &str| text(key).map(str::to_owned);
    let needed = |key: &str| owned(key).ok_or_else(|| ProviderError::Failed(format!("profile {name:?} has no {key}")));
    let key = |token: Option<&str>| {
        let of = |key: &str| text(key).unwrap_or_default();
        ProfileSource::key(name, of("access_key_id"), of("access_key_secret"), token)
    };
    let role = || -> Result<Role, ProviderError> {
        Ok(Role {
            arn: needed("ram_role_arn")?,
            session_name: owned("ram_session_name"),
            duration_seconds: duration(profile),
            policy: owned("policy"),
            external_id: owned("external_id"),
            region: owned("sts_region"),
            vpc: profile.get("enable_vpc").and_then(Value::as_bool).unwrap_or(false),
        })
    };
    match text("mode").unwrap_or("AK") {
        "AK" => key(None),
        "StsToken" => key(Some(&needed("sts_token")?)),
        "EcsRamRole" => Ok(ProfileSource::EcsRamRole(owned("ram_role_name"))),
        "RamRoleArn" => {
            let source = key(text("sts_token")).map_err(ProviderError::into_failed)?;
            Ok(ProfileSource::Assume { role: role()?, source: Box::new(source) })
        }
        "OIDC" => Ok(ProfileSource::Oidc {
            role: role()?,
            provider_arn: needed("oidc_provider_arn")?,
            token_file: needed("oidc_token_file")?.into(),
        }),
        "ChainableRamRoleArn" if depth == DEEPEST => Err(ProviderError::Failed(format!(
            "profile {name:?} is in a chain of more than {DEEPEST} source profiles: shorten the chain, or remove the \
             cycle"
        ))),
        "ChainableRamRoleArn" => {
            let source = parse(file, &needed("source_profile")?, depth + 1).map_err(ProviderError::into_failed)?;
            Ok(ProfileSource::Assume { role: role()?, source: Box::new(source) })
        }
        mode => Err(ProviderError::Failed(format!(
            "profile {name:?} has the unsupported mode {mode:?}: use AK, StsToken, RamRoleArn, ChainableRamRoleArn, \
             EcsRamRole or OIDC"
        ))),
    }
}

fn duration(profile: &Value) -> Option<u32> {
    let seconds = profile.get("expired_seconds").and_then(Value::as_u64)?;
    u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)
}
