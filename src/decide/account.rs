//! The status of a LiveAccount.

use jiff::Timestamp;

use crate::resources::{
    ConditionStatus, ConditionType, LiveAccountStatus, NextActor, ReadyEffect, Reason, get_condition, remove_condition,
    set_condition,
};

/// What was found out about an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountCondition {
    /// The reason of the conditions.
    pub reason: Reason,
    /// Their message.
    pub message: String,
}

/// The status that follows, or `None` where it is the recorded one. `groups` is `None` where it is too early to write
/// another number.
pub fn account_status(
    before: &LiveAccountStatus,
    generation: i64,
    finding: &AccountCondition,
    groups: Option<i64>,
    now: Timestamp,
) -> Option<LiveAccountStatus> {
    let mut after = before.clone();
    let AccountCondition { reason, message } = finding;
    let late = is_late(before, *reason, now);
    after.observed_generation = Some(generation);
    let conditions = &mut after.conditions;
    let ready = match reason.ready() {
        ReadyEffect::True => ConditionStatus::True,
        ReadyEffect::False => ConditionStatus::False,
        ReadyEffect::Unknown | ReadyEffect::Unchanged => ConditionStatus::Unknown,
    };
    set_condition(conditions, ConditionType::Ready, ready, *reason, message.clone(), generation, now);
    let (going_on, stuck) = match reason.next_actor() {
        NextActor::None => (false, false),
        NextActor::Operator => (true, false),
        NextActor::User => (false, true),
        NextActor::UserAfter(_) => (!late, late),
    };
    for (holds, kind) in [(going_on, ConditionType::Reconciling), (stuck, ConditionType::Stalled)] {
        if holds {
            set_condition(conditions, kind, ConditionStatus::True, *reason, message.clone(), generation, now);
        } else {
            remove_condition(conditions, kind);
        }
    }
    after.groups = groups.or(before.groups);
    (after != *before).then_some(after)
}

/// Whether `reason` has held for longer than its grace.
fn is_late(before: &LiveAccountStatus, reason: Reason, now: Timestamp) -> bool {
    let NextActor::UserAfter(grace) = reason.next_actor() else { return false };
    let of = |kind| get_condition(&before.conditions, kind).filter(|condition| condition.reason == reason.as_str());
    let since = of(ConditionType::Reconciling).map(|condition| condition.last_transition_time.0);
    of(ConditionType::Stalled).is_some()
        || since.is_some_and(|since| now.duration_since(since).as_secs() >= grace.as_secs().cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(status: &LiveAccountStatus) -> Vec<String> {
        status.conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
    }

    #[test]
    fn what_is_missing_is_a_fault_after_two_minutes_only() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let missing = AccountCondition { reason: Reason::CredentialsMissing, message: "no Secret".into() };
        let first = account_status(&LiveAccountStatus::default(), 1, &missing, Some(2), at(0)).unwrap();
        assert_eq!(words(&first), ["Ready=False CredentialsMissing", "Reconciling=True CredentialsMissing"]);
        assert_eq!((first.groups, first.observed_generation), (Some(2), Some(1)));
        assert_eq!(account_status(&first, 1, &missing, None, at(100)), None, "nothing is written twice");
        assert_eq!(account_status(&first, 1, &missing, None, at(119)), None);
        let late = account_status(&first, 1, &missing, Some(2), at(120)).unwrap();
        assert_eq!(words(&late), ["Ready=False CredentialsMissing", "Stalled=True CredentialsMissing"]);
        assert_eq!(account_status(&late, 1, &missing, None, at(121)), None, "it stays so");
        let there = AccountCondition { reason: Reason::Available, message: "there".into() };
        let healed = account_status(&late, 1, &there, None, at(122)).unwrap();
        assert_eq!((words(&healed), healed.groups), (vec!["Ready=True Available".to_owned()], Some(2)));
    }

    #[test]
    fn credentials_that_are_rejected_ask_for_a_person_at_once_and_missing_ones_after_them_get_their_time() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let told = |before: &LiveAccountStatus, reason, second| {
            let finding = AccountCondition { reason, message: reason.to_string() };
            account_status(before, 1, &finding, None, at(second)).unwrap()
        };
        let rejected = told(&LiveAccountStatus::default(), Reason::CredentialsRejected, 0);
        assert_eq!(words(&rejected), ["Ready=False CredentialsRejected", "Stalled=True CredentialsRejected"]);
        let missing = told(&rejected, Reason::CredentialsMissing, 600);
        assert_eq!(words(&missing), ["Ready=False CredentialsMissing", "Reconciling=True CredentialsMissing"]);
        assert_eq!(
            account_status(
                &missing,
                1,
                &AccountCondition { reason: Reason::CredentialsMissing, message: "CredentialsMissing".into() },
                None,
                at(719)
            ),
            None
        );
        assert!(
            words(&told(&missing, Reason::CredentialsMissing, 720))
                .contains(&"Stalled=True CredentialsMissing".to_owned())
        );
    }
}
