//! Which gates a call stands behind, and what its result says about them.

use super::accounts::AccountKey;
use super::gates::GateKey;
use crate::decide::GateKind;
use crate::live::{Call, ErrorClass, GroupRef, Operation};
use crate::resources::Reason;

/// What a result says about a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
            let operation =
                Operation::ALL.into_iter().find(|operation| message.contains(&format!("live:{operation} ")));
            Some(GateKind::Authorization(operation.unwrap_or(Operation::Create)))
        }
        Reason::AppNotFound => Some(GateKind::App),
        Reason::QuotaExceeded => Some(GateKind::Quota),
        _ => None,
    }
}

/// Whether objects with this reason wait behind a gate, of whatever operation.
pub(super) fn is_gated(reason: Reason) -> bool {
    gate_kind(reason, "").is_some()
}

pub(super) fn group_of(call: &Call) -> Option<&GroupRef> {
    match call {
        Call::Create(group, _)
        | Call::Describe(group)
        | Call::Modify(group, _)
        | Call::Delete(group)
        | Call::Recover(group) => Some(group),
        Call::ListByPage(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::key::Key;
    use crate::live::{GroupChange, GroupFields};

    const GATES: [GateKind; 4] =
        [GateKind::Credentials, GateKind::Authorization(Operation::Create), GateKind::App, GateKind::Quota];

    #[test]
    fn an_answer_shuts_its_own_gate_and_opens_those_that_the_service_looks_at_before() {
        use Says::{Nothing, Open, Shut};
        let table = [
            (None, [Open, Open, Open, Open]),
            (Some(ErrorClass::CredentialsRejected), [Shut, Nothing, Nothing, Nothing]),
            (Some(ErrorClass::NotAuthorized), [Open, Shut, Nothing, Nothing]),
            (Some(ErrorClass::NotFound), [Open, Open, Shut, Nothing]),
            (Some(ErrorClass::QuotaExceeded), [Open, Open, Open, Shut]),
            (Some(ErrorClass::InvalidInput), [Open, Nothing, Nothing, Nothing]),
            (Some(ErrorClass::Throttled), [Nothing; 4]),
            (Some(ErrorClass::ServiceError), [Nothing; 4]),
            (Some(ErrorClass::Unreachable), [Nothing; 4]),
            (Some(ErrorClass::ClockSkew), [Nothing; 4]),
            (Some(ErrorClass::NonceUsed), [Nothing; 4]),
            (Some(ErrorClass::Resent), [Nothing; 4]),
            (Some(ErrorClass::CredentialsMissing), [Nothing; 4]),
            (Some(ErrorClass::Rejected), [Nothing; 4]),
        ];
        for (class, expected) in table {
            assert_eq!(GATES.map(|gate| says(gate, class)), expected, "{class:?}");
        }
    }

    #[test]
    fn a_call_stands_behind_the_causes_that_can_refuse_it() {
        use GateKind::{Authorization, Credentials, Quota};
        let group = || GroupRef { app_id: "demo".into(), group_id: "room".into(), data_center: None };
        for (call, expected) in [
            (Call::Create(group(), GroupFields::default()), GATES.to_vec()),
            (Call::Recover(group()), vec![Credentials, Authorization(Operation::Recover), Quota]),
            (Call::Describe(group()), vec![Credentials, Authorization(Operation::Describe)]),
            (Call::Modify(group(), GroupChange::default()), vec![Credentials, Authorization(Operation::Modify)]),
            (Call::Delete(group()), vec![Credentials, Authorization(Operation::Delete)]),
        ] {
            let gates = gates_of(&call, &AccountKey::Own);
            assert_eq!(gates.iter().map(|gate| gate.kind).collect::<Vec<_>>(), expected, "{call:?}");
            assert_eq!(group_of(&call), Some(&group()));
        }
    }

    #[test]
    fn a_gate_is_one_of_the_account_of_an_app_or_of_an_app_in_its_data_center() {
        let team = AccountKey::Named(Key::new("ns", "team"));
        let scopes = |account: &AccountKey, center| GATES.map(|kind| gate_of(kind, account, "demo", center).scope);
        assert_eq!(scopes(&AccountKey::Own, None), ["", "demo", "demo@", "demo@"]);
        let shanghai = ["ns/team|", "ns/team|demo", "ns/team|demo@cn-shanghai", "ns/team|demo@cn-shanghai"];
        assert_eq!(scopes(&team, Some("cn-shanghai")), shanghai);
    }

    #[test]
    fn who_waits_behind_a_gate_is_known_by_the_recorded_reason_and_its_message() {
        let told =
            "the credentials may not call live:ModifyLiveMessageGroup for app \"demo\" (NoAuth): grant it in RAM";
        let waiting: Vec<(Reason, GateKind)> =
            Reason::ALL.iter().filter_map(|reason| Some((*reason, gate_kind(*reason, told)?))).collect();
        let expected = [
            (Reason::QuotaExceeded, GateKind::Quota),
            (Reason::NotAuthorized, GateKind::Authorization(Operation::Modify)),
            (Reason::AppNotFound, GateKind::App),
            (Reason::CredentialsRejected, GateKind::Credentials),
        ];
        assert_eq!(waiting, expected);
    }
}
