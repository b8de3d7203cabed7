//! The handlers of the admin API for access keys and groups.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::AdminError;
use crate::emulator::key::{AccessKey, DEFAULT_ACCOUNT, is_account};
use crate::emulator::metadata;
use crate::emulator::service::Core;
use crate::emulator::state::{Deletion, Group};

/// The body of `PUT /keys/ID`. Absent fields do not change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyChange {
    secret: Option<String>,
    account: Option<String>,
    token: Option<String>,
    expires: Option<Timestamp>,
    active: Option<bool>,
}

/// The body of `PUT /groups/APP/GROUP`. Absent fields do not change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupChange {
    name: Option<String>,
    info: Option<String>,
    creator: Option<String>,
    administrators: Option<Vec<String>>,
    created: Option<Timestamp>,
    deleted: Option<DeletedChange>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum DeletedChange {
    Flag(bool),
    Deletion(Deletion),
}

fn not_found(kind: &str) -> AdminError {
    AdminError::not_found(format!("the {kind} does not exist"))
}

pub(super) fn keys(core: &Core) -> Value {
    let mut keys: Vec<&AccessKey> = core.verifier.keys().collect();
    keys.sort_by(|a, b| a.id.cmp(&b.id));
    keys.into_iter().map(key_json).collect()
}

pub(super) fn key(core: &Core, id: &str) -> Result<Value, AdminError> {
    core.verifier.key(id).map(key_json).ok_or_else(|| not_found("key"))
}

fn key_json(key: &AccessKey) -> Value {
    json!({
        "id": key.id,
        "account": key.account(),
        "active": !key.inactive,
        "temporary": key.token.is_some(),
        "expires": key.expires,
    })
}

pub(super) fn put_key(core: &mut Core, id: &str, change: KeyChange) -> Result<(), AdminError> {
    let existing = core.verifier.key(id).cloned();
    let mut key = match (existing, &change.secret) {
        (Some(key), _) => key,
        (None, Some(_)) => AccessKey::new(id, ""),
        (None, None) => return Err(AdminError::bad_request("a new access key needs a secret".to_owned())),
    };
    if change.secret.as_deref() == Some("") || change.token.as_deref() == Some("") {
        return Err(AdminError::bad_request("secret and token must not be empty"));
    }
    if id.is_empty() || !change.account.as_deref().is_none_or(is_account) {
        return Err(AdminError::bad_request("an access key needs an ID, and its account ID must consist of digits"));
    }
    key.secret = change.secret.map_or(key.secret, SecretString::from);
    key.account = change.account.or(key.account);
    key.token = change.token.map(SecretString::from).or(key.token);
    key.expires = change.expires.or(key.expires);
    key.inactive = change.active.map_or(key.inactive, |active| !active);
    core.verifier.put_key(key);
    Ok(())
}

pub(super) fn delete_key(core: &mut Core, id: &str) -> Result<Value, AdminError> {
    core.verifier.remove_key(id).as_ref().map(key_json).ok_or_else(|| not_found("key"))
}

pub(super) fn group(core: &Core, app: &str, id: &str) -> Result<Value, AdminError> {
    let app = core.state.app(app).ok_or_else(|| not_found("app"))?;
    Ok(json!(app.group(id).ok_or_else(|| not_found("group"))?))
}

pub(super) fn put_group(
    core: &mut Core,
    app: &str,
    id: &str,
    change: GroupChange,
    now: Timestamp,
) -> Result<(), AdminError> {
    let app = core.state.app_mut(app).ok_or_else(|| not_found("app"))?;
    if !(1..=64).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(AdminError::bad_request("a group ID must be 1 to 64 letters and digits"));
    }
    let mut group = app.group(id).cloned().unwrap_or_else(|| Group::new(id, now));
    group.name = change.name.unwrap_or(group.name);
    group.info = change.info.unwrap_or(group.info);
    group.creator = change.creator.unwrap_or(group.creator);
    group.administrators = change.administrators.unwrap_or(group.administrators);
    group.created = change.created.unwrap_or(group.created);
    group.deleted = match change.deleted {
        None => group.deleted,
        Some(DeletedChange::Flag(false)) => None,
        Some(DeletedChange::Flag(true)) => group.deleted.or(Some(Deletion { at: now, by: String::new() })),
        Some(DeletedChange::Deletion(deletion)) => Some(deletion),
    };
    app.put_group(group);
    Ok(())
}

pub(super) fn purge_group(core: &mut Core, app: &str, id: &str) -> Result<Value, AdminError> {
    let app = core.state.app_mut(app).ok_or_else(|| not_found("app"))?;
    Ok(json!(app.purge_group(id).ok_or_else(|| not_found("group"))?))
}

pub(super) fn credentials(core: &mut Core, account: Option<&str>, now: Timestamp) -> Result<Value, AdminError> {
    let account = account.unwrap_or(DEFAULT_ACCOUNT);
    if !is_account(account) {
        return Err(AdminError::bad_request("an account ID must consist of digits"));
    }
    let key = core.session_key(&format!("account/{account}"), account, now);
    Ok(metadata::credentials_json(&key, now))
}
