//! Determines the owner of a group that several objects reference.

use super::records_group_of_spec;
use crate::resources::{LiveMessageGroup, Reason, Uid};

/// The properties of an object that determine whether the object owns the group in its spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// `metadata.creationTimestamp`, in seconds.
    pub created: i64,
    /// `metadata.uid`.
    pub uid: Uid,
    /// Whether a call for the object is in flight, or the status does not yet record the result of an answered call.
    pub in_flight: bool,
    /// Whether the status of the object records an origin or a create intent.
    pub proven: bool,
    /// Whether the object can call the Live API, regardless of the state of its account. An object cannot call the Live
    /// API if its calls are refused (see [`is_refused`]), if it is paused, or if it is being deleted.
    pub may_call: bool,
}

/// Returns the index of the object that owns the group, or `None` if no object owns it.
///
/// An object with a call in flight comes first. Otherwise, a second object could attribute the result of that call to
/// itself. Next come objects whose status records an origin or a create intent, and then objects that can call the Live
/// API. If several objects have the same rank in this order, the oldest one is the owner. If they are equally old, the
/// owner is the one with the smallest uid.
pub fn holder(claims: &[Claim]) -> Option<usize> {
    let oldest = |of: &dyn Fn(&Claim) -> bool| {
        (0..claims.len()).filter(|i| of(&claims[*i])).min_by_key(|i| (claims[*i].created, &claims[*i].uid))
    };
    oldest(&|claim| claim.in_flight)
        .or_else(|| oldest(&|claim| claim.proven))
        .or_else(|| oldest(&|claim| claim.may_call))
}

/// Whether the next call for the object is expected to fail, because its last call was refused or its account has no
/// usable credentials. If `has_record` is set, the object keeps its group and does not count as refused.
///
/// `before` is the previous result of this function for the same object and group. If the reason is `Conflict`, the
/// function returns `before`, because a conflict does not indicate how the Live API would answer. If the object no
/// longer counted as refused, it would take the group back from its owner.
pub fn is_refused(object: &LiveMessageGroup, has_record: bool, before: bool) -> bool {
    if !records_group_of_spec(object) || has_record {
        return false;
    }
    match object.ready_reason() {
        Some(Reason::Conflict) => before,
        Some(reason) => is_refusal(reason),
        None => false,
    }
}

/// Whether the status records an origin or a create intent.
pub fn has_record(object: &LiveMessageGroup) -> bool {
    object.origin().is_some() || object.create_intent().is_some()
}

fn is_refusal(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::GroupDeleted
            | Reason::InvalidInput
            | Reason::QuotaExceeded
            | Reason::NotAuthorized
            | Reason::AppNotFound
            | Reason::Rejected
            | Reason::CredentialsMissing
            | Reason::CredentialsRejected
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim(created: i64, uid: &str, proven: bool, cannot_call: bool) -> Claim {
        Claim { created, uid: uid.into(), in_flight: false, proven, may_call: !cannot_call }
    }

    #[test]
    fn owner_is_proven_then_oldest_then_smallest_uid() {
        assert_eq!(holder(&[claim(1, "a", false, false), claim(2, "b", true, false)]), Some(1));
        assert_eq!(holder(&[claim(2, "a", true, false), claim(1, "b", true, false)]), Some(1));
        assert_eq!(holder(&[claim(2, "a", false, false), claim(1, "b", false, false)]), Some(1));
        assert_eq!(holder(&[claim(1, "b", false, false), claim(1, "a", false, false)]), Some(1));
    }

    #[test]
    fn in_flight_call_comes_before_an_older_record() {
        // The older object claims the group again when its managementPolicy is no longer Observe. At that time, a call
        // for the younger object can be in flight.
        let calling = Claim { in_flight: true, ..claim(2, "b", false, false) };
        assert_eq!(holder(&[claim(1, "a", true, false), calling]), Some(1));
    }

    /// Returns an object for the group `one` in the app `demo`, with `status` and `change` merged into the object.
    fn with_status(status: Value, change: Value) -> LiveMessageGroup {
        let recorded = json!({"appId": "demo", "groupId": "one"});
        let mut object = json!({
            "metadata": {"name": "room"}, "spec": {"appId": "demo", "groupId": "one"}, "status": recorded,
        });
        json_patch::merge(&mut object, &json!({"status": status}));
        json_patch::merge(&mut object, &change);
        serde_json::from_value(object).unwrap()
    }

    fn ready(reason: &str) -> Value {
        let time = "2026-01-01T00:00:00Z";
        json!({"conditions": [
            {"type": "Ready", "status": "False", "reason": reason, "message": "", "lastTransitionTime": time}]})
    }

    #[test]
    fn only_refusals_count_as_refused() {
        let refusals = [
            "GroupDeleted",
            "InvalidInput",
            "QuotaExceeded",
            "NotAuthorized",
            "AppNotFound",
            "Rejected",
            "CredentialsMissing",
            "CredentialsRejected",
        ];
        for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::Conflict) {
            let object = with_status(ready(reason.as_str()), json!({}));
            for before in [false, true] {
                assert_eq!(
                    is_refused(&object, has_record(&object), before),
                    refusals.contains(&reason.as_str()),
                    "{reason}"
                );
            }
        }
        // If the reason is `Conflict`, the previous result is kept.
        for before in [false, true] {
            assert_eq!(is_refused(&with_status(ready("Conflict"), json!({})), false, before), before);
        }
        assert!(!is_refused(&with_status(json!({}), json!({})), false, true), "no answer");
    }

    #[test]
    fn refusal_counts_only_without_a_record_and_for_its_group() {
        let refused = |change: Value| {
            let object = with_status(ready("Rejected"), change);
            is_refused(&object, has_record(&object), true)
        };
        assert!(refused(json!({})));
        assert!(!refused(json!({"status": {"origin": "Adopted"}})));
        assert!(!refused(json!({"status": {"createIntent": {"startedAt": "2026-01-01T00:00:00Z", "sent": ["a"]}}})));
        assert!(!refused(json!({"spec": {"groupId": "two"}})), "the status describes another group");
        assert!(
            !refused(json!({"spec": {"groupId": "no id"}, "status": {"groupId": null}})),
            "the spec names no valid group"
        );
    }

    #[test]
    fn refused_object_does_not_own_the_group() {
        assert_eq!(holder(&[claim(1, "a", false, true), claim(2, "b", false, false)]), Some(1));
        assert_eq!(holder(&[claim(1, "a", false, true)]), None);
        assert_eq!(holder(&[]), None);
    }
}
