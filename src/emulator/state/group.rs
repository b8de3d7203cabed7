//! The operations on one group: create, describe, modify, delete, recover.

use jiff::Timestamp;

use super::{App, Deletion, Group, State, check, epoch_seconds};
use crate::emulator::error::ApiError;
use crate::emulator::payload::{Payload, Value};
use crate::emulator::request::Params;

impl State {
    /// Creates a group. If a group with this ID exists, nothing changes, and the call succeeds. The response then has
    /// `AlreadyExists` set to true.
    pub(super) fn create_group(&mut self, params: &Params, now: Timestamp) -> Result<Payload, ApiError> {
        let mut group = Group::new(check::group_id(params)?, now);
        group.name = check::text(params, "GroupName", check::MAX_NAME_BYTES)?;
        group.info = check::text(params, "GroupInfo", check::MAX_INFO_BYTES)?;
        group.creator = check::user_id(params, "CreatorId")?;
        group.administrators = check::administrators(params, "Administrators")?;
        let limit = self.groups_per_app;
        let app = self.enabled_app(params, now)?;
        let payload = Payload::new().with("GroupId", group.id.as_str());
        if let Some(existing) = app.group(&group.id) {
            let deleted = existing.deleted.is_some();
            return Ok(payload.with("AlreadyExists", true).with("AlreadyDelete", deleted));
        }
        check_quota(app, limit)?;
        app.put_group(group);
        Ok(payload.with("AlreadyExists", false).with("AlreadyDelete", false))
    }

    /// Returns a live group, or a deleted group until it is purged.
    pub(super) fn describe_group(&mut self, params: &Params, now: Timestamp) -> Result<Payload, ApiError> {
        let id = check::group_id(params)?;
        let group = self.enabled_app(params, now)?.group(id).ok_or_else(|| group_not_found(id))?;
        let payload = group_fields(group);
        Ok(match &group.deleted {
            Some(deletion) => {
                payload.with("Deletatime", epoch_seconds(deletion.at)).with("Deletor", deletion.by.as_str())
            }
            None => payload
                .with("TotalTimes", 0)
                .with("OnlineUserCounts", 0)
                .with("MsgAmount", Value::Object(Payload::new()))
                .with("SuperLargeGroup", false),
        })
    }

    /// Changes the fields whose flags are set. If the flag of a field is set and the value of the field is absent or
    /// empty, the field is cleared.
    pub(super) fn modify_group(&mut self, params: &Params, now: Timestamp) -> Result<Payload, ApiError> {
        let id = check::group_id(params)?;
        let administrators = match check::flag(params, "ModifyAdmin")? {
            true => Some(check::administrators(params, "AdminList")?),
            false => None,
        };
        let info = match check::flag(params, "ModifyInfo")? {
            true => Some(check::text(params, "GroupInfo", check::MAX_INFO_BYTES)?),
            false => None,
        };
        let app = self.enabled_app(params, now)?;
        if app.group(id).is_none_or(|group| group.deleted.is_some()) {
            return Err(group_not_found(id));
        }
        app.groups.update(id, |group| {
            if let Some(administrators) = administrators {
                group.administrators = administrators;
            }
            if let Some(info) = info {
                group.info = info;
            }
        });
        Ok(Payload::new())
    }

    /// Deletes a group. The operation is idempotent: a second deletion changes nothing, and an unknown group is not an
    /// error.
    pub(super) fn delete_group(&mut self, params: &Params, now: Timestamp) -> Result<Payload, ApiError> {
        let id = check::group_id(params)?;
        let by = check::user_id(params, "OperatorId")?;
        let app = self.enabled_app(params, now)?;
        app.groups.update(id, |group| {
            group.deleted.get_or_insert(Deletion { at: now, by });
        });
        Ok(Payload::new().with("GroupId", id))
    }

    /// Recovers a deleted group if the quota allows it. A live group does not change.
    pub(super) fn recover_group(&mut self, params: &Params, now: Timestamp) -> Result<Payload, ApiError> {
        let id = check::group_id(params)?;
        let limit = self.groups_per_app;
        let app = self.enabled_app(params, now)?;
        let group = app.group(id).ok_or_else(|| group_not_found(id))?;
        if group.deleted.is_some() {
            check_quota(app, limit)?;
            app.groups.update(id, |group| group.deleted = None);
        }
        Ok(Payload::new().with("GroupId", id))
    }

    /// Finds the app of a group operation and purges its expired groups. Returns an error if the app is disabled.
    pub(super) fn enabled_app(&mut self, params: &Params, now: Timestamp) -> Result<&mut App, ApiError> {
        let app = self.app_from_params(params)?;
        if app.disabled {
            return Err(ApiError::no_auth(format_args!("the app {} is disabled", app.id)));
        }
        app.groups.purge(now);
        Ok(app)
    }
}

/// Returns the response fields that Describe and the list operations have in common.
pub(super) fn group_fields(group: &Group) -> Payload {
    Payload::new()
        .with("GroupId", group.id.as_str())
        .with("CreatorId", group.creator.as_str())
        .with("AdminList", group.administrators.as_slice())
        .with("Createtime", epoch_seconds(group.created))
        .with("GroupName", group.name.as_str())
        .with("GroupInfo", group.info.as_str())
        .with("Delete", group.deleted.is_some())
}

fn check_quota(app: &App, limit: usize) -> Result<(), ApiError> {
    if app.live_groups() >= limit { Err(ApiError::too_many_groups(limit)) } else { Ok(()) }
}

fn group_not_found(id: &str) -> ApiError {
    ApiError::resource_not_exist(format_args!("the group {id}"))
}
