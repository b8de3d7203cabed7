//! The operations on apps. There is none that deletes one.

use jiff::Timestamp;

use super::{App, DataCenter, State, check, epoch};
use crate::emulator::answer::Answer;
use crate::emulator::error::ApiError;
use crate::emulator::request::Params;
use crate::live::signature::sha256_hex;

/// The most apps `CreateLiveMessageApp` makes: the documented limit of an account.
const APPS: usize = 300;

/// Entries on a page of `ListLiveMessageApps`; the documents do not tell the number.
const APP_PAGE: usize = 50;

impl State {
    /// The app a call names, if it is in the data center the call names, if any.
    pub(super) fn app_of(&mut self, params: &Params) -> Result<&mut App, ApiError> {
        let id = check::required(params, "AppId")?;
        let center = check::data_center(params)?;
        match self.apps.get_mut(id) {
            Some(app) if center.is_none_or(|center| center == app.data_center) => Ok(app),
            Some(_) => Err(ApiError::resource_not_exist(format_args!("the app {id} in this data center"))),
            None => Err(ApiError::resource_not_exist(format_args!("the app {id}"))),
        }
    }

    pub(super) fn create_app(&mut self, account: &str, params: &Params, now: Timestamp) -> Result<Answer, ApiError> {
        let name = params.get("AppName").unwrap_or_default();
        if !name.is_empty() && !(2..=16).contains(&name.chars().count()) {
            return Err(ApiError::input_invalid("AppName", "must be 2 to 16 characters"));
        }
        let (audit_type, audit_url) = audit(params)?;
        let callback_url = check::public_url(params, "EventCallbackUrl")?;
        let message_life_cycle = check::number(params, "MsgLifeCycle", 0..=2, Some(0))?;
        let center = check::data_center(params)?.unwrap_or_default();
        if self.apps.values().filter(|app| app.is_visible_to(account)).count() >= APPS {
            return Err(ApiError::input_invalid("AppName", format_args!("there are {APPS} apps already")));
        }
        let mut app = App::new(self.new_app_id(now), center, now);
        app.account = Some(account.to_owned());
        app.name = name.to_owned();
        app.audit_type = audit_type;
        app.audit_url = audit_url;
        app.callback_url = callback_url;
        app.message_life_cycle = message_life_cycle;
        let answer = Answer::new()
            .with("AppId", app.id.as_str())
            .with("AppKey", secret(&app, "key").as_str())
            .with("AppSign", secret(&app, "sign").as_str())
            .with("DataCenter", center.name());
        self.put_app(app);
        Ok(answer)
    }

    /// An id of eight characters that is not taken.
    fn new_app_id(&self, now: Timestamp) -> String {
        let mut seed = self.apps.len();
        loop {
            let id = sha256_hex(format!("{now}/{seed}").as_bytes())[..8].to_owned();
            if !self.apps.contains_key(&id) {
                return id;
            }
            seed += 1;
        }
    }

    pub(super) fn describe_app(&mut self, params: &Params) -> Result<Answer, ApiError> {
        let app = self.app_of(params)?;
        Ok(common(app)
            .with("AuditType", app.audit_type)
            .with("AuditUrl", app.audit_url.as_str())
            .with("EventCallbackUrl", app.callback_url.as_str())
            .with("Disable", app.disabled))
    }

    /// By order of creation. The token is the number of entries already listed; absent, 0 or -1 for the first page.
    pub(super) fn list_apps(&mut self, account: &str, params: &Params) -> Result<Answer, ApiError> {
        let descending = check::number(params, "SortType", 1..=2, None)? == 2;
        let center = check::data_center(params)?;
        let skip = usize::try_from(check::number(params, "NextPageToken", -1..=i64::MAX, Some(-1))?).unwrap_or(0);
        let wanted = |app: &&App| {
            app.is_visible_to(account) && center.is_none_or(|center: DataCenter| center == app.data_center)
        };
        let mut apps: Vec<&App> = self.apps.values().filter(wanted).collect();
        apps.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        if descending {
            apps.reverse();
        }
        let end = skip.saturating_add(APP_PAGE);
        let more = apps.len() > end;
        // `Disable` is a string here and a boolean elsewhere: so the documents have it.
        let entry = |app: &App| common(app).with("Disable", if app.disabled { "true" } else { "false" });
        let page: Vec<Answer> = apps.into_iter().skip(skip).take(APP_PAGE).map(entry).collect();
        let answer = Answer::new().with("HasMore", more);
        let answer = if more { answer.with("NextPageToken", i64::try_from(end).unwrap_or(i64::MAX)) } else { answer };
        Ok(answer.with("AppList", page))
    }

    pub(super) fn modify_app_audit(&mut self, params: &Params, now: Timestamp) -> Result<Answer, ApiError> {
        let (audit_type, audit_url) = audit(params)?;
        let app = self.app_of(params)?;
        app.audit_type = audit_type;
        app.audit_url = audit_url;
        app.modified = now;
        Ok(changed(app)
            .with("AuditType", app.audit_type)
            .with("AuditUrl", app.audit_url.as_str())
            .with("AuditNeedAuthentication", false))
    }

    pub(super) fn modify_app_callback(&mut self, params: &Params, now: Timestamp) -> Result<Answer, ApiError> {
        let url = check::public_url(params, "EventCallbackUrl")?;
        let app = self.app_of(params)?;
        app.callback_url = url;
        app.modified = now;
        Ok(changed(app)
            .with("EventCallbackUrl", app.callback_url.as_str())
            .with("EventCallbackNeedAuthentication", false))
    }

    pub(super) fn modify_app_disable(&mut self, params: &Params, now: Timestamp) -> Result<Answer, ApiError> {
        let disabled = check::flag(params, "Disable")?;
        let app = self.app_of(params)?;
        app.disabled = disabled;
        app.modified = now;
        Ok(changed(app).with("Disable", disabled))
    }
}

fn audit(params: &Params) -> Result<(i64, String), ApiError> {
    let kind = check::number(params, "AuditType", 0..=2, Some(0))?;
    let url = check::public_url(params, "AuditUrl")?;
    if kind == 2 && url.is_empty() {
        return Err(ApiError::input_invalid("AuditUrl", "is required when AuditType is 2"));
    }
    Ok((kind, url))
}

fn common(app: &App) -> Answer {
    Answer::new()
        .with("AppId", app.id.as_str())
        .with("AppName", app.name.as_str())
        .with("AppKey", secret(app, "key").as_str())
        .with("AppSign", secret(app, "sign").as_str())
        .with("CreateTime", epoch(app.created))
        .with("ModifyTime", epoch(app.modified))
        .with("DataCenter", app.data_center.name())
        .with("MsgLifeCycle", app.message_life_cycle)
}

fn changed(app: &App) -> Answer {
    Answer::new().with("AppId", app.id.as_str()).with("AppSign", secret(app, "sign").as_str())
}

/// `AppKey` and `AppSign` are made from the id: no secret of anybody, the same in every run.
fn secret(app: &App, kind: &str) -> String {
    sha256_hex(format!("emulator/{kind}/{}", app.id).as_bytes())[..32].to_owned()
}
