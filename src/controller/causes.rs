//! Which gates a call stands behind, and what its result says about them.

use super::accounts::AccountKey;
use super::gates::GateKey;
use crate::decide::GateKind;
use crate::live::{Call, ErrorClass, GroupRef, Operation};
use crate::resources::Reason;

/// What a result says about a gate.
pub(super) enum Says {
    Open,
    Shut,
    Nothing,
}

pub(super) fn says(gate: GateKind, class: Option<ErrorClass>) -> Says {
    let own = match gate {
        GateKind::Credentials => ErrorClass::CredentialsRejected,
        GateKind::Authorization(_) => ErrorClass::NotAuthorized,
        GateKind::App => ErrorClass::NotFound,
        GateKind::Quota => ErrorClass::QuotaExceeded,
    };
    match class {
        None => Says::Open,
        Some(class) if class == own => Says::Shut,
        // The service looks at the credentials first, then at the permission, the app, and its quota last.
        Some(ErrorClass::NotAuthorized) if gate == GateKind::Credentials => Says::Open,
        Some(ErrorClass::NotFound) if matches!(gate, GateKind::Credentials | GateKind::Authorization(_)) => Says::Open,
        Some(ErrorClass::QuotaExceeded) => Says::Open,
        Some(ErrorClass::InvalidInput) if gate == GateKind::Credentials => Says::Open,
        Some(_) => Says::Nothing,
    }
}

/// The gates a call stands behind.
pub(super) fn gates_of(call: &Call, account: &AccountKey) -> Vec<GateKey> {
    let Some(group) = group_of(call) else { return Vec::new() };
    let center = group.data_center.as_deref();
    let more: &[GateKind] = match call {
        Call::Create(..) => &[GateKind::App, GateKind::Quota],
        Call::Recover(_) => &[GateKind::Quota],
        _ => &[],
    };
    let kinds =
        [GateKind::Credentials, GateKind::Authorization(call.operation())].into_iter().chain(more.iter().copied());
    kinds.map(|kind| gate_of(kind, account, &group.app_id, center)).collect()
}

/// The gate of a cause, for an app of an account, in a data center.
pub(super) fn gate_of(kind: GateKind, account: &AccountKey, app_id: &str, data_center: Option<&str>) -> GateKey {
    let scope = match kind {
        GateKind::Credentials => String::new(),
        // Permissions are granted per operation and app.
        GateKind::Authorization(_) => app_id.to_owned(),
        GateKind::App | GateKind::Quota => format!("{app_id}@{}", data_center.unwrap_or_default()),
    };
    GateKey { kind, scope: account.scoped(&scope) }
}

/// The gate behind which an object with this reason, told in these words, waits.
pub(super) fn gate_kind(reason: Reason, message: &str) -> Option<GateKind> {
    match reason {
        Reason::CredentialsRejected => Some(GateKind::Credentials),
        Reason::NotAuthorized => {
            let operation = Operation::ALL.into_iter().find(|operation| message.contains(operation.as_str()));
            Some(GateKind::Authorization(operation.unwrap_or(Operation::Create)))
        }
        Reason::AppNotFound => Some(GateKind::App),
        Reason::QuotaExceeded => Some(GateKind::Quota),
        _ => None,
    }
}

pub(super) fn group_of(call: &Call) -> Option<&GroupRef> {
    match call {
        Call::Create(group, _)
        | Call::Describe(group)
        | Call::Modify(group, _)
        | Call::Delete(group, _)
        | Call::Recover(group) => Some(group),
        Call::ListByPage(_) => None,
    }
}
