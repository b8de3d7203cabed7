//! The types of conditions, and pure functions that read and change a list of conditions.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Reason;

/// The maximum length of a condition message, in characters. It is the limit of `metav1.Condition`.
pub(super) const MESSAGE_MAX_CHARS: usize = 32_768;

/// The condition types that the operator writes, in the order in which the status lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// The group matches the spec, as far as the Live API allows. This condition is always present.
    Ready,
    /// The operator is working on the object: for example, the object is queued, or a call is throttled or retried.
    /// This condition is present only while it is true.
    Reconciling,
    /// Manual intervention is required. This condition is present only while it is true, and never together with
    /// `Reconciling`.
    Stalled,
    /// The group existed and no longer exists. This condition is present only while it is true.
    Degraded,
    /// Whether the group matches every field of the spec. If the condition is false, its message lists the fields that
    /// do not match.
    InSync,
    /// The object is paused by its annotation. This condition is present only while it is true.
    Paused,
}

impl ConditionType {
    /// All types, in the order in which the status lists them.
    pub const ALL: &'static [ConditionType] = &[
        ConditionType::Ready,
        ConditionType::Reconciling,
        ConditionType::Stalled,
        ConditionType::Degraded,
        ConditionType::InSync,
        ConditionType::Paused,
    ];

    /// The value of the condition's `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            ConditionType::Ready => "Ready",
            ConditionType::Reconciling => "Reconciling",
            ConditionType::Stalled => "Stalled",
            ConditionType::Degraded => "Degraded",
            ConditionType::InSync => "InSync",
            ConditionType::Paused => "Paused",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// The condition is true.
    True,
    /// The condition is false.
    False,
    /// The operator cannot determine whether the condition is true.
    Unknown,
}

impl ConditionStatus {
    /// The value of the condition's `status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        }
    }

    /// Returns the status of a recorded condition. Any value other than `True` and `False` counts as `Unknown`.
    pub fn of(condition: &Condition) -> Self {
        match condition.status.as_str() {
            "True" => ConditionStatus::True,
            "False" => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        }
    }
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns the condition of this type, or `None` if the list has no such condition.
pub fn get_condition(list: &[Condition], kind: ConditionType) -> Option<&Condition> {
    list.iter().find(|c| c.type_ == kind.as_str())
}

/// Removes the condition of this type. Returns whether the list contained the condition.
pub fn remove_condition(list: &mut Vec<Condition>, kind: ConditionType) -> bool {
    let before = list.len();
    list.retain(|c| c.type_ != kind.as_str());
    list.len() != before
}

/// Sets the condition of this type.
///
/// - `lastTransitionTime` becomes `now` only if the condition is new or its status changes. Repeating a call therefore
///   changes nothing. `now` is truncated to whole seconds, because the apiserver does not store fractions.
/// - The list is sorted in the order of [`ConditionType::ALL`]. Conditions that other clients have set come last, in
///   their original order.
/// - A message is cut to 32,768 characters, which is the limit of the CRD. The apiserver would refuse a status with a
///   longer message.
pub fn set_condition(
    list: &mut Vec<Condition>,
    kind: ConditionType,
    status: ConditionStatus,
    reason: Reason,
    message: impl Into<String>,
    observed_generation: i64,
    now: Timestamp,
) {
    let mut message = message.into();
    if let Some((cut, _)) = message.char_indices().nth(MESSAGE_MAX_CHARS) {
        message.truncate(cut);
    }
    let kept = get_condition(list, kind)
        .filter(|old| old.status == status.as_str())
        .map(|old| old.last_transition_time.clone());
    let condition = Condition {
        type_: kind.as_str().to_owned(),
        status: status.as_str().to_owned(),
        reason: reason.as_str().to_owned(),
        message,
        observed_generation: Some(observed_generation),
        last_transition_time: kept.unwrap_or_else(|| whole_seconds(now)),
    };
    match list.iter_mut().find(|c| c.type_ == condition.type_) {
        Some(existing) => *existing = condition,
        None => list.push(condition),
    }
    list.sort_by_key(|c| ConditionType::ALL.iter().position(|known| known.as_str() == c.type_).unwrap_or(usize::MAX));
}

fn whole_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millisecond(second * 1000 + 250).unwrap()
    }

    fn set(list: &mut Vec<Condition>, kind: ConditionType, status: ConditionStatus, message: &str, now: Timestamp) {
        set_condition(list, kind, status, Reason::Created, message, 3, now);
    }

    #[test]
    fn transition_time_changes_only_with_the_status() {
        let mut list = Vec::new();
        set(&mut list, ConditionType::Ready, ConditionStatus::True, "a", at(10));
        set(&mut list, ConditionType::Ready, ConditionStatus::True, "b", at(20));
        assert_eq!((list.len(), list[0].message.as_str()), (1, "b"));
        assert_eq!(list[0].last_transition_time.0.as_second(), 10);
        set(&mut list, ConditionType::Ready, ConditionStatus::False, "b", at(30));
        assert_eq!(list[0].last_transition_time.0, Timestamp::from_second(30).unwrap());
    }

    #[test]
    fn repeated_set_changes_nothing_after_a_round_trip() {
        let mut list = Vec::new();
        set(&mut list, ConditionType::Ready, ConditionStatus::True, "a", at(10));
        let stored: Vec<Condition> = serde_json::from_value(serde_json::to_value(&list).unwrap()).unwrap();
        assert_eq!(stored, list);
        let mut again = stored.clone();
        set(&mut again, ConditionType::Ready, ConditionStatus::True, "a", at(99));
        assert_eq!(again, stored);
    }

    #[test]
    fn ready_is_first_and_foreign_conditions_are_last() {
        let mut list = Vec::new();
        for foreign in ["example.com/B", "example.com/A"] {
            list.push(Condition {
                type_: foreign.into(),
                status: "True".into(),
                reason: "R".into(),
                message: String::new(),
                observed_generation: None,
                last_transition_time: Time(at(1)),
            });
        }
        for kind in ConditionType::ALL.iter().rev() {
            set(&mut list, *kind, ConditionStatus::True, "", at(1));
        }
        let order: Vec<_> = list.iter().map(|c| c.type_.as_str()).collect();
        assert_eq!(
            order,
            ["Ready", "Reconciling", "Stalled", "Degraded", "InSync", "Paused", "example.com/B", "example.com/A"]
        );
    }

    #[test]
    fn remove_returns_whether_there_was_a_condition() {
        let mut list = Vec::new();
        set(&mut list, ConditionType::Stalled, ConditionStatus::True, "", at(1));
        assert!(remove_condition(&mut list, ConditionType::Stalled));
        assert!(!remove_condition(&mut list, ConditionType::Stalled));
        assert!(get_condition(&list, ConditionType::Stalled).is_none());
    }

    #[test]
    fn long_message_is_cut_between_characters() {
        let mut list = Vec::new();
        set(&mut list, ConditionType::Ready, ConditionStatus::True, &"群".repeat(40_000), at(1));
        assert_eq!(list[0].message.chars().count(), MESSAGE_MAX_CHARS);
    }
}
