//! How an object stands, in a few bytes: what metrics count.

use crate::resources::{ConditionStatus, ConditionType, LiveMessageGroup, Reason};

/// The conditions that are counted besides `Ready`, each with the status that is worth counting.
pub const COUNTED: [(ConditionType, ConditionStatus); 5] = [
    (ConditionType::Reconciling, ConditionStatus::True),
    (ConditionType::Stalled, ConditionStatus::True),
    (ConditionType::Degraded, ConditionStatus::True),
    (ConditionType::Paused, ConditionStatus::True),
    (ConditionType::InSync, ConditionStatus::False),
];

/// How an object stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The status of its condition `Ready`.
    pub ready: ConditionStatus,
    /// The reason of that; `None` for one of another version.
    pub reason: Option<Reason>,
    /// Which of [`COUNTED`] it has.
    pub has: [bool; COUNTED.len()],
}

impl Standing {
    /// How this object stands.
    pub fn of(object: &LiveMessageGroup) -> Self {
        let status = |kind| object.condition(kind).map(ConditionStatus::of);
        Self {
            ready: status(ConditionType::Ready).unwrap_or(ConditionStatus::Unknown),
            reason: object
                .condition(ConditionType::Ready)
                .map_or(Some(Reason::Pending), |ready| ready.reason.parse().ok()),
            has: COUNTED.map(|(kind, counted)| status(kind) == Some(counted)),
        }
    }

    /// How an object stands that cannot be read: as its status is going to say.
    pub fn unreadable() -> Self {
        let has = COUNTED.map(|(kind, _)| kind == ConditionType::Stalled);
        Self { ready: ConditionStatus::False, reason: Some(Reason::InvalidSpec), has }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_counted_by_its_conditions() {
        let condition = |kind: ConditionType, status: &str| {
            json!({"type": kind.as_str(), "status": status, "reason": "Conflict", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let standing = |conditions: Vec<serde_json::Value>| -> Standing {
            let object = json!({
                "metadata": {"name": "room"}, "spec": {"appId": "demo"}, "status": {"conditions": conditions},
            });
            Standing::of(&serde_json::from_value(object).unwrap())
        };
        for (number, (kind, counted)) in COUNTED.into_iter().enumerate() {
            for status in ["True", "False", "Unknown"] {
                let counts = status == counted.as_str();
                let expected: Vec<bool> = (0..COUNTED.len()).map(|other| counts && other == number).collect();
                assert_eq!(standing(vec![condition(kind, status)]).has[..], expected, "{}={status}", kind.as_str());
            }
        }
        assert_eq!(standing(vec![]).has, [false; COUNTED.len()]);
        let unreadable = Standing::unreadable();
        assert_eq!(COUNTED.map(|(kind, _)| kind == ConditionType::Stalled), unreadable.has);
        assert_eq!(unreadable.has.iter().filter(|has| **has).count(), 1);
    }
}
