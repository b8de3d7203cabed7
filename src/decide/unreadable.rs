//! Decides the next step for an object that this version of the operator cannot read.

use std::time::Duration;

use jiff::Timestamp;

use super::deletion::stalled_since;
use crate::resources::{ABANDON_ANNOTATION, Reason, UnreadableGroup};

/// The next step for an unreadable object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnreadableAction {
    /// Report this message in the status.
    Report(String),
    /// Remove the finalizer, and report this message as an event. The group is retained.
    Release {
        /// The note of the event.
        message: String,
        /// `true` if the namespace is terminating and the finalizer timeout has passed. `false` if a user has set the
        /// abandon annotation.
        has_timed_out: bool,
    },
}

/// Returns the time until the operator may remove the finalizer of an object in a terminating namespace. Returns `None`
/// if the object is not being deleted or does not have the operator's finalizer.
///
/// The timeout starts when the object is deleted or when its `Stalled` condition becomes `True`, whichever is later. If
/// the status does not yet report the current generation as unreadable, the function returns the full timeout.
pub fn time_until_release(object: &UnreadableGroup, timeout: Duration, now: Timestamp) -> Option<Duration> {
    let since = stalled_since(&object.metadata, &object.status, Reason::InvalidSpec);
    let passed = since.and_then(|since| Duration::try_from(now.duration_since(since)).ok()).unwrap_or_default();
    object.is_finalizing().then(|| timeout.saturating_sub(passed))
}

/// Decides the next step for an unreadable object. `timed_out` is the finalizer timeout if the namespace is terminating
/// and the timeout has passed. Otherwise, it is `None`.
///
/// The group is never deleted, because the deletion policy of an unreadable object is not known.
pub fn decide_unreadable(object: &UnreadableGroup, timed_out: Option<Duration>) -> UnreadableAction {
    let error = &object.error;
    if !object.is_finalizing() {
        return UnreadableAction::Report(format!(
            "The stored object cannot be read: {error}. Correct the object, or update the operator."
        ));
    }
    let why = if object.is_abandoned() {
        format!("the annotation {ABANDON_ANNOTATION} is \"true\"")
    } else if let Some(timeout) = timed_out {
        format!("the namespace is terminating, and the object could not be read for {} s: {error}", timeout.as_secs())
    } else {
        return UnreadableAction::Report(format!(
            "The object is being deleted, but the operator cannot read it: {error}. Correct the object, update the \
             operator, or set the annotation {ABANDON_ANNOTATION} to \"true\" to finish the deletion and retain the \
             group."
        ));
    };
    let group = match (&object.status.group_id, &object.status.app_id) {
        (Some(group), Some(app)) => format!("Group {group} of app {app}"),
        _ => "The group of an unreadable object".to_owned(),
    };
    let message = format!("{group} is retained: {why}. Delete the group if it is not needed.");
    UnreadableAction::Release { message, has_timed_out: !object.is_abandoned() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::decide::unreadable_status;
    use crate::resources::FINALIZER;

    const TIMEOUT: Duration = Duration::from_secs(600);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Returns an unreadable object that was deleted at second 100, with `change` merged into its metadata.
    fn object(change: Value) -> UnreadableGroup {
        let mut metadata = json!({"name": "room", "generation": 2, "finalizers": [FINALIZER],
            "deletionTimestamp": at(100).to_string()});
        json_patch::merge(&mut metadata, &change);
        let (metadata, error) = (serde_json::from_value(metadata).unwrap(), "a field of another version".to_owned());
        UnreadableGroup { metadata, error, ..UnreadableGroup::default() }
    }

    fn abandoned() -> Value {
        json!({"annotations": {ABANDON_ANNOTATION: "true"}})
    }

    #[test]
    fn unreadable_object_keeps_its_finalizer_and_says_what_to_do() {
        let UnreadableAction::Report(message) = decide_unreadable(&object(json!({})), None) else { panic!("released") };
        for remedy in ["Correct the object", "update the operator", "live.alibabacloud.com/abandon"] {
            assert!(message.contains(remedy), "{message}");
        }
        for idle in [json!({"deletionTimestamp": null}), json!({"finalizers": null})] {
            let mut object = object(idle);
            object.metadata.annotations = Some([(ABANDON_ANNOTATION.to_owned(), "true".to_owned())].into());
            let action = decide_unreadable(&object, Some(TIMEOUT));
            assert!(matches!(&action, UnreadableAction::Report(text) if !text.contains("abandon")), "{action:?}");
            assert_eq!(time_until_release(&object, TIMEOUT, at(9999)), None);
        }
    }

    #[test]
    fn abandoned_or_timed_out_object_loses_its_finalizer() {
        let mut one = object(abandoned());
        (one.status.group_id, one.status.app_id) = (Some("one".to_owned()), Some("demo".to_owned()));
        for (object, timed_out, start, part) in [
            (one, None, "Group one of app demo is retained", "abandon is \"true\""),
            (object(json!({})), Some(TIMEOUT), "The group of an unreadable object is retained", "for 600 s: a field"),
        ] {
            let action = decide_unreadable(&object, timed_out);
            let UnreadableAction::Release { message, has_timed_out } = action else { panic!("{action:?}") };
            assert!(message.starts_with(start) && message.contains(part), "{message}");
            assert_eq!(has_timed_out, timed_out.is_some());
        }
    }

    #[test]
    fn timeout_begins_with_the_first_report_of_the_deletion() {
        let mut object = object(json!({}));
        assert_eq!(time_until_release(&object, TIMEOUT, at(9999)), Some(TIMEOUT), "it was not reported yet");
        object.status = unreadable_status(object.status, 1, String::new(), at(50)).unwrap();
        assert_eq!(time_until_release(&object, TIMEOUT, at(9999)), Some(TIMEOUT), "the deletion was not reported yet");
        object.status = unreadable_status(object.status, 2, String::new(), at(200)).unwrap();
        assert_eq!(time_until_release(&object, TIMEOUT, at(300)), Some(Duration::from_secs(400)), "since the deletion");
        assert_eq!(time_until_release(&object, TIMEOUT, at(700)), Some(Duration::ZERO));
    }
}
