//! The life of a group: create, describe, modify, delete, recover.

use jiff::Timestamp;

use super::{App, Deletion, Group, State, check, epoch};
use crate::emulator::answer::{Answer, Value};
use crate::emulator::error::ApiError;
use crate::emulator::request::Params;

impl State {
    /// Never fails on an id that exists: the answer tells, and nothing is overwritten.
    pub(super) fn create_group(&mut self, params: &Params, now: Timestamp) -> Result<Answer, ApiError> {
        let mut group = Group::new(check::group_id(params)?, now);
        group.name = check::text(params, "GroupName", check::NAME_BYTES)?;
        group.info = check::text(params, "GroupInfo", check::INFO_BYTES)?;
        group.creator = check::user_id(params, "CreatorId")?;
        group.administrators = check::administrators(params, "Administrators")?;
        let limit = self.groups_per_app;
        let app = self.app_for_groups(params, now)?;
        let answer = Answer::new().with("GroupId", group.id.as_str());
        if let Some(existing) = app.group(&group.id) {
            let deleted = existing.deleted.is_some();
            return Ok(answer.with("AlreadyExists", true).with("AlreadyDelete", deleted));
        }
        has_room(app, limit)?;
        app.put_group(group);
        Ok(answer.with("AlreadyExists", false).with("AlreadyDelete", false))
    }

    /// A deleted group is described too, until it is purged.
    pub(super) fn describe_group(&mut self, params: &Params, now: Timestamp) -> Result<Answer, ApiError> {
        let id = check::group_id(params)?;
        let group = self.app_for_groups(params, now)?.group(id).ok_or_else(|| no_group(id))?;
        let answer = summary(group);
        Ok(match &group.deleted {
            Some(deletion) => answer.with("Deletatime", epoch(deletion.at)).with("Deletor", deletion.by.as_str()),
            None => answer
                .with("TotalTimes", 0)
                .with("OnlineUserCounts", 0)
                .with("MsgAmount", Value::Object(Answer::new()))
                .with("SuperLargeGroup", false),
        })
    }

    /// Changes what its flag says and nothing else. A flag without its value clears the value.
    pub(super) fn modify_group(&mut self, params: &Params, now: Timestamp) -> Result<Answer, ApiError> {
        let id = check::group_id(params)?;
        let administrators = match check::flag(params, "ModifyAdmin")? {
            true => Some(check::administrators(params, "AdminList")?),
            false => None,
        };
        let info = match check::flag(params, "ModifyInfo")? {
            true => Some(check::text(params, "GroupInfo", check::INFO_BYTES)?),
            false => None,
        };
        let app = self.app_for_groups(params, now)?;
        if app.group(id).is_none_or(|group| group.deleted.is_some()) {
            return Err(no_group(id));
        }
        app.groups.change(id, |group| {
            if let Some(administrators) = administrators {
                group.administrators = administrators;
            }
            if let Some(info) = info {
                group.info = info;
            }
        });
        Ok(Answer::new())
    }

    /// Idempotent: a group deleted before keeps its first deletion, one that never existed is no error.
    pub(super) fn delete_group(&mut self, params: &Params, now: Timestamp) -> Result<Answer, ApiError> {
        let id = check::group_id(params)?;
        let by = check::user_id(params, "OperatorId")?;
        let app = self.app_for_groups(params, now)?;
        app.groups.change(id, |group| {
            group.deleted.get_or_insert(Deletion { at: now, by });
        });
        Ok(Answer::new().with("GroupId", id))
    }

    /// Makes a deleted group live again, if the app has room for it; a live one stays as it is.
    pub(super) fn recover_group(&mut self, params: &Params, now: Timestamp) -> Result<Answer, ApiError> {
        let id = check::group_id(params)?;
        let limit = self.groups_per_app;
        let app = self.app_for_groups(params, now)?;
        let group = app.group(id).ok_or_else(|| no_group(id))?;
        if group.deleted.is_some() {
            has_room(app, limit)?;
            app.groups.change(id, |group| group.deleted = None);
        }
        Ok(Answer::new().with("GroupId", id))
    }

    /// The app of a group operation, without the groups whose 30 days are over.
    pub(super) fn app_for_groups(&mut self, params: &Params, now: Timestamp) -> Result<&mut App, ApiError> {
        let app = self.app_of(params)?;
        if app.disabled {
            return Err(ApiError::no_auth(format_args!("the app {} is disabled", app.id)));
        }
        app.groups.purge(now);
        Ok(app)
    }
}

/// The fields Describe and the lists have in common.
pub(super) fn summary(group: &Group) -> Answer {
    Answer::new()
        .with("GroupId", group.id.as_str())
        .with("CreatorId", group.creator.as_str())
        .with("AdminList", group.administrators.as_slice())
        .with("Createtime", epoch(group.created))
        .with("GroupName", group.name.as_str())
        .with("GroupInfo", group.info.as_str())
        .with("Delete", group.deleted.is_some())
}

fn has_room(app: &App, limit: usize) -> Result<(), ApiError> {
    if app.live_groups() >= limit { Err(ApiError::too_many_groups(limit)) } else { Ok(()) }
}

fn no_group(id: &str) -> ApiError {
    ApiError::resource_not_exist(format_args!("the group {id}"))
}
