//! The operations on apps. The API has no operation that deletes an app.

use jiff::Timestamp;

use super::{App, DataCenter, State, check, epoch_seconds};
use crate::emulator::error::ApiError;
use crate::emulator::payload::Payload;
use crate::emulator::request::Params;
use crate::live::signature::sha256_hex;

/// The documented maximum number of apps per account.
const MAX_APPS: usize = 300;

/// The page size of `ListLiveMessageApps`. This is an assumption, because it is not documented.
const APPS_PER_PAGE: usize = 50;

impl State {
    /// Finds the app of a call. If the call has the parameter `DataCenter`, the app must be in that data center.
    pub(super) fn app_from_params(&mut self, params: &Params) -> Result<&mut App, ApiError> {
        let id = check::required(params, "AppId")?;
        let center = check::data_center(params)?;
        match self.apps.get_mut(id) {
            Some(app) if center.is_none_or(|center| center == app.data_center) => Ok(app),
            Some(_) => Err(ApiError::resource_not_exist(format_args!("the app {id} in this data center"))),
            None => Err(ApiError::resource_not_exist(format_args!("the app {id}"))),
        }
    }

    pub(super) fn create_app(&mut self, account: &str, params: &Params, now: Timestamp) -> Result<Payload, ApiError> {
        let name = params.get("AppName").unwrap_or_default();
        if !name.is_empty() && !(2..=16).contains(&name.chars().count()) {
            return Err(ApiError::input_invalid("AppName", "must be 2 to 16 characters"));
        }
        let (audit_type, audit_url) = audit_settings(params)?;
        let callback_url = check::public_url(params, "EventCallbackUrl")?;
        let message_life_cycle = check::number(params, "MsgLifeCycle", 0..=2, Some(0))?;
        let center = check::data_center(params)?.unwrap_or_default();
        if self.apps.values().filter(|app| app.is_visible_to(account)).count() >= MAX_APPS {
            return Err(ApiError::input_invalid("AppName", format_args!("the account already has {MAX_APPS} apps")));
        }
        let mut app = App::new(self.new_app_id(now), center, now);
        app.account = Some(account.to_owned());
        app.name = name.to_owned();
        app.audit_type = audit_type;
        app.audit_url = audit_url;
        app.callback_url = callback_url;
        app.message_life_cycle = message_life_cycle;
        let payload = Payload::new()
            .with("AppId", app.id.as_str())
            .with("AppKey", derived_secret(&app, "key").as_str())
            .with("AppSign", derived_secret(&app, "sign").as_str())
            .with("DataCenter", center.name());
        self.put_app(app);
        Ok(payload)
    }

    /// Returns an unused ID of eight hexadecimal digits.
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

    pub(super) fn describe_app(&mut self, params: &Params) -> Result<Payload, ApiError> {
        let app = self.app_from_params(params)?;
        Ok(app_fields(app)
            .with("AuditType", app.audit_type)
            .with("AuditUrl", app.audit_url.as_str())
            .with("EventCallbackUrl", app.callback_url.as_str())
            .with("Disable", app.disabled))
    }

    /// Lists apps in the order of creation. The token is the number of apps on the previous pages. If the token is
    /// absent, 0 or -1, the first page is returned.
    pub(super) fn list_apps(&mut self, account: &str, params: &Params) -> Result<Payload, ApiError> {
        let descending = check::number(params, "SortType", 1..=2, None)? == 2;
        let center = check::data_center(params)?;
        let skip = usize::try_from(check::number(params, "NextPageToken", -1..=i64::MAX, Some(-1))?).unwrap_or(0);
        let is_listed = |app: &&App| {
            app.is_visible_to(account) && center.is_none_or(|center: DataCenter| center == app.data_center)
        };
        let mut apps: Vec<&App> = self.apps.values().filter(is_listed).collect();
        apps.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        if descending {
            apps.reverse();
        }
        let end = skip.saturating_add(APPS_PER_PAGE);
        let more = apps.len() > end;
        // `Disable` is documented as a string in this operation and as a boolean in the others.
        let entry = |app: &App| app_fields(app).with("Disable", if app.disabled { "true" } else { "false" });
        let page: Vec<Payload> = apps.into_iter().skip(skip).take(APPS_PER_PAGE).map(entry).collect();
        let payload = Payload::new().with("HasMore", more);
        let payload =
            if more { payload.with("NextPageToken", i64::try_from(end).unwrap_or(i64::MAX)) } else { payload };
        Ok(payload.with("AppList", page))
    }

    pub(super) fn modify_app_audit(&mut self, params: &Params, now: Timestamp) -> Result<Payload, ApiError> {
        let (audit_type, audit_url) = audit_settings(params)?;
        let app = self.app_from_params(params)?;
        app.audit_type = audit_type;
        app.audit_url = audit_url;
        app.modified = now;
        Ok(app_identity(app)
            .with("AuditType", app.audit_type)
            .with("AuditUrl", app.audit_url.as_str())
            .with("AuditNeedAuthentication", false))
    }

    pub(super) fn modify_app_callback(&mut self, params: &Params, now: Timestamp) -> Result<Payload, ApiError> {
        let url = check::public_url(params, "EventCallbackUrl")?;
        let app = self.app_from_params(params)?;
        app.callback_url = url;
        app.modified = now;
        Ok(app_identity(app)
            .with("EventCallbackUrl", app.callback_url.as_str())
            .with("EventCallbackNeedAuthentication", false))
    }

    pub(super) fn modify_app_disable(&mut self, params: &Params, now: Timestamp) -> Result<Payload, ApiError> {
        let disabled = check::flag(params, "Disable")?;
        let app = self.app_from_params(params)?;
        app.disabled = disabled;
        app.modified = now;
        Ok(app_identity(app).with("Disable", disabled))
    }
}

fn audit_settings(params: &Params) -> Result<(i64, String), ApiError> {
    let kind = check::number(params, "AuditType", 0..=2, Some(0))?;
    let url = check::public_url(params, "AuditUrl")?;
    if kind == 2 && url.is_empty() {
        return Err(ApiError::input_invalid("AuditUrl", "is required when AuditType is 2"));
    }
    Ok((kind, url))
}

fn app_fields(app: &App) -> Payload {
    Payload::new()
        .with("AppId", app.id.as_str())
        .with("AppName", app.name.as_str())
        .with("AppKey", derived_secret(app, "key").as_str())
        .with("AppSign", derived_secret(app, "sign").as_str())
        .with("CreateTime", epoch_seconds(app.created))
        .with("ModifyTime", epoch_seconds(app.modified))
        .with("DataCenter", app.data_center.name())
        .with("MsgLifeCycle", app.message_life_cycle)
}

fn app_identity(app: &App) -> Payload {
    Payload::new().with("AppId", app.id.as_str()).with("AppSign", derived_secret(app, "sign").as_str())
}

/// Returns `AppKey` or `AppSign`. They are derived from the app's ID, so they are not confidential and are the same in
/// every run.
fn derived_secret(app: &App, kind: &str) -> String {
    sha256_hex(format!("emulator/{kind}/{}", app.id).as_bytes())[..32].to_owned()
}
