//! The command-line syntax of apps, groups, tokens and denials.

use std::str::FromStr;

use jiff::Timestamp;
use secrecy::SecretString;

use super::key::is_account;
use super::state::DataCenter;

/// An app that exists at startup: `[ACCOUNT/]APPID[@DATACENTER]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSpec {
    /// The owning account; `None` if every account can see the app.
    pub account: Option<String>,
    /// `AppId`.
    pub id: String,
    /// The data center. Defaults to `cn-shanghai`.
    pub data_center: DataCenter,
}

impl FromStr for AppSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, center) = text.split_once('@').unwrap_or((text, DataCenter::default().name()));
        let (account, id) = match path.split_once('/') {
            Some((account, id)) => (Some(account), id),
            None => (None, path),
        };
        if id.is_empty() || id.contains('/') || !account.is_none_or(is_account) {
            return Err("expected [ACCOUNT/]APPID[@DATACENTER], where ACCOUNT is an account ID (digits)".to_owned());
        }
        Ok(Self { account: account.map(str::to_owned), id: id.to_owned(), data_center: center.parse()? })
    }
}

/// A group that exists at startup: `APPID/GROUPID[:deleted]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSpec {
    /// `AppId`. If there is no [`AppSpec`] for the app, the app is created in `cn-shanghai`.
    pub app: String,
    /// The ID of the group, `GroupId`.
    pub id: String,
    /// Whether the group is deleted. Its deletion time is the time when the emulator starts.
    pub deleted: bool,
}

impl FromStr for GroupSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, deleted) = match text.strip_suffix(":deleted") {
            Some(path) => (path, true),
            None => (text, false),
        };
        let (app, id) = path.split_once('/').unwrap_or_default();
        let is_valid_id = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if app.is_empty() || !is_valid_id {
            return Err("expected APPID/GROUPID[:deleted], where GROUPID is 1 to 64 letters and digits".to_owned());
        }
        Ok(Self { app: app.to_owned(), id: id.to_owned(), deleted })
    }
}

/// The token of a temporary key: `ID:TOKEN[@EXPIRY]`.
#[derive(Debug, Clone)]
pub struct TokenSpec {
    /// The ID of the access key that the token makes temporary.
    pub id: String,
    /// The value that requests must carry.
    pub token: SecretString,
    /// When the token expires; `None` if it does not expire. `EXPIRY` is a time in RFC 3339 format.
    pub expires: Option<Timestamp>,
}

impl FromStr for TokenSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, rest) = text.split_once(':').unwrap_or_default();
        let dated = rest.rsplit_once('@').and_then(|(token, time)| Some((token, time.parse().ok()?)));
        let (token, expires) = dated.map_or((rest, None), |(token, time)| (token, Some(time)));
        if id.is_empty() || token.is_empty() {
            return Err("expected ID:TOKEN[@EXPIRY]".to_owned());
        }
        Ok(Self { id: id.to_owned(), token: SecretString::from(token.to_owned()), expires })
    }
}

/// A permission that a key lacks: `ID[/APPID]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The ID of the access key.
    pub access_key_id: String,
    /// The app for which calls are denied; `None` if every call of the key is denied.
    pub app: Option<String>,
}

impl FromStr for Denial {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, app) = match text.split_once('/') {
            Some((id, app)) => (id, Some(app)),
            None => (text, None),
        };
        if id.is_empty() || app == Some("") {
            return Err("expected ID[/APPID]".to_owned());
        }
        Ok(Self { access_key_id: id.to_owned(), app: app.map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::AccessKey;
    use secrecy::ExposeSecret as _;

    #[test]
    fn documented_specs_parse() {
        let app: AppSpec = "demo@ap-southeast-1".parse().unwrap();
        assert_eq!((app.id.as_str(), app.data_center), ("demo", DataCenter::Singapore));
        assert_eq!("demo".parse::<AppSpec>().unwrap().data_center, DataCenter::Shanghai);
        let app: AppSpec = "42/demo@ap-southeast-1".parse().unwrap();
        assert_eq!((app.account.as_deref(), app.id.as_str()), (Some("42"), "demo"));
        let group: GroupSpec = "demo/g1:deleted".parse().unwrap();
        assert_eq!((group.app.as_str(), group.id.as_str(), group.deleted), ("demo", "g1", true));
        let key: AccessKey = "id:se:cret".parse().unwrap();
        assert_eq!((key.id.as_str(), key.secret.expose_secret()), ("id", "se:cret"));
        let token: TokenSpec = "id:to@ken@2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!((token.token.expose_secret(), token.expires.is_some()), ("to@ken", true));
        assert_eq!("id:to@ken".parse::<TokenSpec>().unwrap().token.expose_secret(), "to@ken");
        assert_eq!("id/demo".parse::<Denial>().unwrap().app.as_deref(), Some("demo"));
    }

    #[test]
    fn malformed_specs_are_rejected() {
        assert!("demo@eu-central-1".parse::<AppSpec>().is_err());
        assert!("@cn-shanghai".parse::<AppSpec>().is_err());
        assert!("stage/demo".parse::<AppSpec>().is_err());
        assert!("42/a/b".parse::<AppSpec>().is_err());
        assert!("demo".parse::<GroupSpec>().is_err());
        assert!("demo/a-b".parse::<GroupSpec>().is_err());
        assert!("id".parse::<AccessKey>().is_err());
        assert!("id:".parse::<TokenSpec>().is_err());
        assert!("id/".parse::<Denial>().is_err());
    }
}
