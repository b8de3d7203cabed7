//! Which of several objects with one identity holds the group.

use super::{GroupKey, recorded_group};
use crate::resources::{LiveMessageGroup, Reason};

/// What is known of an object that names a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim<'a> {
    /// `metadata.creationTimestamp`, in seconds.
    pub created: i64,
    /// `metadata.uid`.
    pub uid: &'a str,
    /// A call of its is out, or its effect is not recorded yet.
    pub in_flight: bool,
    /// It has a recorded origin or attempt.
    pub proven: bool,
    /// It has no origin, and its own last answer was a refusal: it holds nothing, or it would squat on the id.
    pub refused: bool,
}

/// The index of the object that holds the group: the one whose call is out, for two calls at once would be taken for one
/// another's effect; else a proven one, the oldest of several; else the oldest that was not refused, then the smaller
/// uid. `None` if none of them owns it.
pub fn holder(claims: &[Claim<'_>]) -> Option<usize> {
    let oldest = |of: &dyn Fn(&Claim<'_>) -> bool| {
        (0..claims.len()).filter(|i| of(&claims[*i])).min_by_key(|i| (claims[*i].created, claims[*i].uid))
    };
    oldest(&|claim| claim.in_flight)
        .or_else(|| oldest(&|claim| claim.proven))
        .or_else(|| oldest(&|claim| !claim.refused))
}

/// Whether the object's own last answer was a refusal, and its status records neither an origin nor a create intent.
/// `before` is the former result for this object and group: a conflict is not an answer, and an object whose refusal it
/// ended would take the group back from the owner.
pub fn is_refused(object: &LiveMessageGroup, before: bool) -> bool {
    let identity = GroupKey::of(object);
    if identity.is_none() || recorded_group(object) != identity || has_record(object) {
        return false;
    }
    match object.ready_reason() {
        Some(Reason::Conflict) => before,
        Some(reason) => is_refusal(reason),
        None => false,
    }
}

/// Whether the object has an origin or an attempt.
pub(super) fn has_record(object: &LiveMessageGroup) -> bool {
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
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim(created: i64, uid: &str, proven: bool, refused: bool) -> Claim<'_> {
        Claim { created, uid, in_flight: false, proven, refused }
    }

    #[test]
    fn a_proven_one_holds_then_the_oldest_then_the_smaller_uid() {
        assert_eq!(holder(&[claim(1, "a", false, false), claim(2, "b", true, false)]), Some(1));
        assert_eq!(holder(&[claim(2, "a", true, false), claim(1, "b", true, false)]), Some(1));
        assert_eq!(holder(&[claim(2, "a", false, false), claim(1, "b", false, false)]), Some(1));
        assert_eq!(holder(&[claim(1, "b", false, false), claim(1, "a", false, false)]), Some(1));
    }

    #[test]
    fn a_call_that_is_out_comes_before_an_older_record() {
        // A record comes back when its object stops to observe.
        let calling = Claim { in_flight: true, ..claim(2, "b", false, false) };
        assert_eq!(holder(&[claim(1, "a", true, false), calling]), Some(1));
    }

    /// An object with this status, of the group `one` of the app `demo` unless `change` says otherwise.
    fn told(status: Value, change: Value) -> LiveMessageGroup {
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
    fn an_answer_that_refuses_counts_and_nothing_else() {
        let refusals = ["GroupDeleted", "InvalidInput", "QuotaExceeded", "NotAuthorized", "AppNotFound", "Rejected"];
        for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::Conflict) {
            let object = told(ready(reason.as_str()), json!({}));
            for before in [false, true] {
                assert_eq!(is_refused(&object, before), refusals.contains(&reason.as_str()), "{reason}");
            }
        }
        // A conflict is not an answer.
        for before in [false, true] {
            assert_eq!(is_refused(&told(ready("Conflict"), json!({})), before), before);
        }
        assert!(!is_refused(&told(json!({}), json!({})), true), "it has had no answer");
    }

    #[test]
    fn a_refusal_counts_for_this_group_alone_and_for_who_has_no_record() {
        let refused = |change: Value| is_refused(&told(ready("Rejected"), change), true);
        assert!(refused(json!({})));
        assert!(!refused(json!({"status": {"origin": "Adopted"}})));
        assert!(!refused(json!({"status": {"createIntent": {"startedAt": "2026-01-01T00:00:00Z", "sent": ["a"]}}})));
        assert!(!refused(json!({"spec": {"groupId": "two"}})), "told of another group");
        assert!(!refused(json!({"spec": {"groupId": "no id"}, "status": {"groupId": null}})), "it names no group");
    }

    #[test]
    fn a_refused_one_does_not_squat() {
        assert_eq!(holder(&[claim(1, "a", false, true), claim(2, "b", false, false)]), Some(1));
        assert_eq!(holder(&[claim(1, "a", false, true)]), None);
        assert_eq!(holder(&[]), None);
    }
}
