//! The status of a LiveAccount.

use jiff::Timestamp;

use crate::resources::{
    AccountQueue, ConditionStatus, ConditionType, LiveAccountStatus, NextActor, ReadyEffect, Reason, get_condition,
    remove_condition, set_condition,
};

/// The state of an account, as reported in the conditions of its LiveAccount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountCondition {
    /// The reason of the conditions.
    pub reason: Reason,
    /// The message of the conditions: what happened and what to do.
    pub message: String,
}

/// The numbers in the status of a LiveAccount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountNumbers {
    /// The number of LiveMessageGroups that reference the account.
    pub groups: i64,
    /// The LiveMessageGroups that wait because of the account's rate limit; `None` if the wait is short.
    pub queue: Option<AccountQueue>,
}

impl AccountNumbers {
    /// Whether the status contains these numbers.
    pub fn are_recorded(&self, status: &LiveAccountStatus) -> bool {
        (status.groups, &status.queue) == (Some(self.groups), &self.queue)
    }
}

/// Returns the new status, or `None` if it equals the recorded one. If `numbers` is `None`, the recorded numbers are
/// kept.
pub fn account_status(
    before: &LiveAccountStatus,
    generation: i64,
    finding: &AccountCondition,
    numbers: Option<&AccountNumbers>,
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
    let (is_reconciling, is_stalled) = match reason.next_actor() {
        NextActor::None => (false, false),
        NextActor::Operator => (true, false),
        NextActor::User => (false, true),
        NextActor::UserAfter(_) => (!late, late),
    };
    for (holds, kind) in [(is_reconciling, ConditionType::Reconciling), (is_stalled, ConditionType::Stalled)] {
        if holds {
            set_condition(conditions, kind, ConditionStatus::True, *reason, message.clone(), generation, now);
        } else {
            remove_condition(conditions, kind);
        }
    }
    if let Some(AccountNumbers { groups, queue }) = numbers {
        (after.groups, after.queue) = (Some(*groups), queue.clone());
    }
    (after != *before).then_some(after)
}

/// Whether the grace period of `reason` is over.
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

    fn conditions(status: &LiveAccountStatus) -> Vec<String> {
        status.conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
    }

    #[test]
    fn missing_credentials_stall_after_two_minutes() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let missing = AccountCondition { reason: Reason::CredentialsMissing, message: "no Secret".into() };
        let two = AccountNumbers { groups: 2, queue: None };
        let first = account_status(&LiveAccountStatus::default(), 1, &missing, Some(&two), at(0)).unwrap();
        assert_eq!(conditions(&first), ["Ready=False CredentialsMissing", "Reconciling=True CredentialsMissing"]);
        assert_eq!((first.groups, first.observed_generation), (Some(2), Some(1)));
        assert_eq!(account_status(&first, 1, &missing, None, at(100)), None, "an unchanged status is not written");
        assert_eq!(account_status(&first, 1, &missing, None, at(119)), None);
        let late = account_status(&first, 1, &missing, Some(&two), at(120)).unwrap();
        assert_eq!(conditions(&late), ["Ready=False CredentialsMissing", "Stalled=True CredentialsMissing"]);
        assert_eq!(account_status(&late, 1, &missing, None, at(121)), None, "Stalled remains");
        let available = AccountCondition { reason: Reason::Available, message: "there".into() };
        let after = account_status(&late, 1, &available, None, at(122)).unwrap();
        assert_eq!((conditions(&after), after.groups), (vec!["Ready=True Available".to_owned()], Some(2)));
    }

    #[test]
    fn queue_is_recorded_and_removed() {
        let available = AccountCondition { reason: Reason::Available, message: "there".into() };
        let status_after = |before: &LiveAccountStatus, numbers: Option<&AccountNumbers>| {
            account_status(before, 1, &available, numbers, Timestamp::UNIX_EPOCH)
        };
        let queue = AccountQueue { waiting: 3500, expected_end: "2026-07-01T14:03:20Z".to_owned() };
        let busy = AccountNumbers { groups: 5000, queue: Some(queue.clone()) };
        let during = status_after(&LiveAccountStatus::default(), Some(&busy)).unwrap();
        assert!(during.queue == Some(queue) && busy.are_recorded(&during));
        assert_eq!(status_after(&during, None), None);
        let idle = AccountNumbers { groups: 5000, queue: None };
        assert!(!idle.are_recorded(&during));
        assert_eq!(status_after(&during, Some(&idle)).unwrap().queue, None);
    }

    #[test]
    fn rejected_credentials_stall_without_a_grace_period() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let status_after = |before: &LiveAccountStatus, reason, second| {
            let finding = AccountCondition { reason, message: reason.to_string() };
            account_status(before, 1, &finding, None, at(second)).unwrap()
        };
        let rejected = status_after(&LiveAccountStatus::default(), Reason::CredentialsRejected, 0);
        assert_eq!(conditions(&rejected), ["Ready=False CredentialsRejected", "Stalled=True CredentialsRejected"]);
        let missing = status_after(&rejected, Reason::CredentialsMissing, 600);
        assert_eq!(conditions(&missing), ["Ready=False CredentialsMissing", "Reconciling=True CredentialsMissing"]);
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
            conditions(&status_after(&missing, Reason::CredentialsMissing, 720))
                .contains(&"Stalled=True CredentialsMissing".to_owned())
        );
    }
}
