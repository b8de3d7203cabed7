//! The INI credentials file of the official SDKs.

use std::collections::HashMap;
use std::path::PathBuf;

use futures::future::BoxFuture;

use super::profile_source::ProfileSource;
use super::provider::read_text;
use super::sts::Role;
use super::{Issued, Provider, ProviderEnv, ProviderError};

const FILE: &str = "ALIBABA_CLOUD_CREDENTIALS_FILE";
const PROFILE: &str = "ALIBABA_CLOUD_PROFILE";

/// The default paths of the credentials file in the Python and Go SDKs, relative to the home folder.
const AT_HOME: [&str; 2] = [".alibabacloud/credentials.ini", ".alibabacloud/credentials"];

/// The supported values of the key `type`, for error messages.
const TYPES: &str = "access_key, sts, ram_role_arn, ecs_ram_role or oidc_role_arn";

/// Reads a section of the credentials file. `ALIBABA_CLOUD_PROFILE` specifies the section, which defaults to `default`.
/// `ALIBABA_CLOUD_CREDENTIALS_FILE` specifies the path. If this variable is not set, the first default path that exists
/// is used.
#[derive(Debug)]
pub(super) struct IniFile(pub ProviderEnv);

impl Provider for IniFile {
    fn name(&self) -> &'static str {
        "credentials file"
    }

    fn issue(&self) -> BoxFuture<'_, Result<Issued, ProviderError>> {
        Box::pin(async {
            let source = source(&self.0)?;
            source.issue(&self.0).await
        })
    }
}

fn source(env: &ProviderEnv) -> Result<ProfileSource, ProviderError> {
    let section = env.value(PROFILE).unwrap_or_else(|| "default".to_owned());
    if let Some(path) = env.value(FILE).map(PathBuf::from) {
        let text = read_text(&path)?;
        let text = text.ok_or_else(|| ProviderError::Failed(format!("file {} does not exist", path.display())))?;
        return parse(&text, &section);
    }
    for path in AT_HOME.iter().filter_map(|path| env.home_path(path)) {
        if let Some(text) = read_text(&path)? {
            return parse(&text, &section);
        }
    }
    Err(ProviderError::NotConfigured(format!("neither ~/{} nor ~/{} exists", AT_HOME[0], AT_HOME[1])))
}

/// Parses a section. Error messages never contain an access key or a token.
pub(super) fn parse(text: &str, section: &str) -> Result<ProfileSource, ProviderError> {
    let Some(values) = values_of(text, section) else {
        return Err(ProviderError::NotConfigured(format!("the file has no section [{section}]")));
    };
    let value = |key: &str| values.get(key).copied().filter(|value| !value.is_empty());
    let owned = |key: &str| value(key).map(str::to_owned);
    let needed =
        |key: &str| owned(key).ok_or_else(|| ProviderError::Failed(format!("section [{section}] has no {key}")));
    let key = |token: Option<&str>| {
        let of = |key: &str| value(key).unwrap_or_default();
        ProfileSource::key(section, of("access_key_id"), of("access_key_secret"), token)
    };
    let role = || -> Result<Role, ProviderError> {
        Ok(Role {
            arn: needed("role_arn")?,
            session_name: owned("role_session_name"),
            policy: owned("policy"),
            ..Role::default()
        })
    };
    match value("type") {
        Some("access_key") => key(None),
        Some("sts") => key(Some(&needed("security_token")?)),
        Some("ecs_ram_role") => Ok(ProfileSource::EcsRamRole(owned("role_name"))),
        Some("ram_role_arn") => {
            let source = key(None).map_err(ProviderError::into_failed)?;
            Ok(ProfileSource::Assume { role: role()?, source: Box::new(source) })
        }
        Some("oidc_role_arn") => Ok(ProfileSource::Oidc {
            role: role()?,
            provider_arn: needed("oidc_provider_arn")?,
            token_file: owned("oidc_token_file_path").map_or_else(|| needed("oidc_token_file"), Ok)?.into(),
        }),
        Some(other) => {
            Err(ProviderError::Failed(format!("section [{section}] has the unsupported type {other:?}: use {TYPES}")))
        }
        None => Err(ProviderError::Failed(format!("section [{section}] has no type: set type to {TYPES}"))),
    }
}

/// Returns the values of a section, or `None` if the section does not exist. Comments begin with `#` or `;`, at the
/// start of a line or after white space. Quotes around a value are removed.
fn values_of<'a>(text: &'a str, section: &str) -> Option<HashMap<&'a str, &'a str>> {
    let mut inside = false;
    let mut found = None;
    for line in text.trim_start_matches('\u{feff}').lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = name.trim() == section;
            if inside {
                found.get_or_insert_with(HashMap::new);
            }
        } else if inside
            && let Some(values) = &mut found
            && let Some((key, value)) = line.split_once(['=', ':'])
        {
            values.insert(key.trim(), unquoted(value.trim()));
        }
    }
    found
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some((inner, _)) = value.strip_prefix(quote).and_then(|rest| rest.rsplit_once(quote)) {
            return inner;
        }
    }
    let comment = [" #", " ;", "\t#", "\t;"].iter().filter_map(|start| value.find(start)).min();
    comment.map_or(value, |at| &value[..at]).trim_end()
}
