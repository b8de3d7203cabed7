//! The reasons of conditions. One table lists each reason with its effect on `Ready`, the party that must act next, and
//! the documentation.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long credentials may be missing before manual intervention is required. A single `kubectl apply` may create the
/// object before its credentials.
const CREDENTIALS_GRACE: Duration = Duration::from_secs(120);

/// The effect of a reason on the condition `Ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyEffect {
    /// `Ready=True`.
    True,
    /// `Ready=False`.
    False,
    /// `Ready=Unknown`.
    Unknown,
    /// `Ready` is unchanged if this generation has already been applied. Otherwise, `Ready` becomes `Unknown`, because
    /// `kubectl wait` must not succeed after an edit until the edit is applied.
    Unchanged,
}

/// The party that must act next. This value determines whether the condition `Reconciling` or `Stalled` is true. At
/// most one of these two conditions is true, and the operator removes a condition that is not true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextActor {
    /// No action is needed, so neither `Reconciling` nor `Stalled` is true.
    None,
    /// The operator acts automatically: `Reconciling=True`.
    Operator,
    /// Manual intervention by the user is required: `Stalled=True`.
    User,
    /// The operator acts automatically until this duration has passed since the reason was first written. After that,
    /// manual intervention is required.
    UserAfter(Duration),
}

/// Text that is not a [`Reason`] in this version of the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a condition reason of this version")]
pub struct UnknownReason(pub String);

/// Generates the enum and its methods from one table, so that they stay consistent.
macro_rules! reasons {
    ($($name:ident: $ready:expr, $progress:expr, $doc:literal;)+) => {
        /// The reason of a condition: a stable word in CamelCase that scripts and alerts can match.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $doc] $name,)+
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// The value of the condition's `reason`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name),)+ }
            }

            /// The effect on the condition `Ready`.
            pub const fn ready(self) -> ReadyEffect {
                match self { $(Reason::$name => $ready,)+ }
            }

            /// The party that must act next.
            pub const fn next_actor(self) -> NextActor {
                match self { $(Reason::$name => $progress,)+ }
            }

            /// The cause and the remedy, in one line, for the user documentation.
            pub const fn doc(self) -> &'static str {
                match self { $(Reason::$name => $doc,)+ }
            }
        }

        impl FromStr for Reason {
            type Err = UnknownReason;

            fn from_str(text: &str) -> Result<Self, UnknownReason> {
                match text {
                    $(stringify!($name) => Ok(Reason::$name),)+
                    other => Err(UnknownReason(other.to_owned())),
                }
            }
        }
    };
}

reasons! {
    Pending: ReadyEffect::Unknown, NextActor::Operator,
        "The operator has not reconciled the object yet. If this persists, check that the operator is running and \
         watches this namespace.";
    Queued: ReadyEffect::Unchanged, NextActor::Operator,
        "The object waits because of the rate limit of the Live API: 50 calls per second for each account and operation. No action is needed.";
    Applying: ReadyEffect::Unchanged, NextActor::Operator,
        "The operator sent a change to the Live API, which has not responded yet. No action is needed.";
    Created: ReadyEffect::True, NextActor::None,
        "The operator created the group.";
    AlreadyExists: ReadyEffect::True, NextActor::None,
        "The group already existed, and the operator adopted it. Unless managementPolicy is CreateOnly, the operator \
         keeps groupInfo and administrators in sync with the spec.";
    Recovered: ReadyEffect::True, NextActor::None,
        "The group had been deleted, and the operator recovered it.";
    Observed: ReadyEffect::True, NextActor::None,
        "The group exists. The operator observes it and never changes it.";
    Available: ReadyEffect::True, NextActor::None,
        "The credentials of the LiveAccount exist, and Alibaba Cloud has not rejected them.";
    GroupDeleted: ReadyEffect::False, NextActor::User,
        "The group was deleted, and the Live API blocks its ID until about 30 days after the deletion. Edit \
         spec.groupId (every field may be edited now), or set spec.deletedGroupPolicy to Recover. To recreate the \
         group with the same ID, request a reconcile pass when the ID is free again.";
    GroupNotFound: ReadyEffect::False, NextActor::User,
        "The group does not exist, and managementPolicy Observe does not allow the operator to create it. Create the group, or set spec.managementPolicy to Manage.";
    InvalidInput: ReadyEffect::False, NextActor::User,
        "The Live API refused a value of the spec. Correct the value that the message names (every field may be edited \
         while no group exists).";
    InvalidSpec: ReadyEffect::False, NextActor::User,
        "This version of the operator cannot read the stored object. Update the operator, or correct the object.";
    QuotaExceeded: ReadyEffect::False, NextActor::User,
        "The app has as many groups as its quota allows. Delete groups that are not needed, or request a higher quota from Alibaba Cloud; the operator retries automatically.";
    NotAuthorized: ReadyEffect::False, NextActor::User,
        "The credentials are valid but lack the permission for this call. Grant the RAM action that the message names.";
    AppNotFound: ReadyEffect::False, NextActor::User,
        "The account has no app with this appId in this dataCenter. Create the app, or correct spec.appId (every field may be edited while no group exists).";
    CredentialsRejected: ReadyEffect::False, NextActor::User,
        "Alibaba Cloud rejected the access key, its secret or its security token. Renew the credentials; the operator reads them again automatically.";
    CredentialsMissing: ReadyEffect::False, NextActor::UserAfter(CREDENTIALS_GRACE),
        "The operator has no credentials for the object. Create the LiveAccount, Secret or ServiceAccount that the message names. For the first 2 minutes the object is Reconciling, not Stalled.";
    ClockSkew: ReadyEffect::Unchanged, NextActor::Operator,
        "The clock of the operator differs from the clock of the Live API. The operator compensates for the difference and retries. If this persists, fix the time synchronization of the node.";
    Throttled: ReadyEffect::Unchanged, NextActor::Operator,
        "The Live API throttles the account. The operator slows down and retries automatically. Other clients of the same account share its limit.";
    ServiceError: ReadyEffect::Unchanged, NextActor::Operator,
        "The Live API failed, or its response cannot be read. The operator retries with increasing delays. If this persists, check for a proxy that changes responses, or contact Alibaba Cloud.";
    Unreachable: ReadyEffect::Unchanged, NextActor::Operator,
        "The Live API cannot be reached, or did not respond in time. The operator retries with increasing delays. If \
         this persists, check DNS, the egress rules, the proxy, the TLS certificates and the endpoint.";
    Rejected: ReadyEffect::False, NextActor::User,
        "The Live API refused the call with an error that the operator does not recognize. Read the error in the \
         message and correct its cause; the operator retries every few minutes.";
    Conflict: ReadyEffect::False, NextActor::User,
        "Another object owns the group with this appId and group ID; the message names that object. Delete one of the \
         two objects, or edit the spec of this object. If the fields are immutable because the status of this object \
         records a group, set spec.managementPolicy of this object to Observe.";
    InSync: ReadyEffect::Unchanged, NextActor::None,
        "Every field of the spec matches the group.";
    ImmutableFieldsDiffer: ReadyEffect::Unchanged, NextActor::None,
        "The adopted group differs from the spec in fields that the Live API cannot change; the message names them. Create a new object with the values of the group, or accept the difference.";
    UpdateIgnored: ReadyEffect::Unchanged, NextActor::None,
        "The Live API accepted a change twice, but the group still shows the old value. The operator tries again when the spec changes or a reconcile pass is requested, and updates the condition when the group shows the new value.";
    Paused: ReadyEffect::Unchanged, NextActor::None,
        "The annotation live.alibabacloud.com/paused is \"true\". The operator makes no calls except for a deletion. Remove the annotation to resume.";
}

impl Reason {
    /// Whether the reason also sets `Degraded=True`: the group existed and no longer exists.
    pub const fn degraded(self) -> bool {
        matches!(self, Reason::GroupDeleted)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_fit_the_condition_schema() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(*reason));
            assert!(reason.as_str().chars().all(|c| c.is_ascii_alphanumeric()), "{reason}");
        }
        assert_eq!("Nonsense".parse::<Reason>(), Err(UnknownReason("Nonsense".into())));
    }

    #[test]
    fn only_failures_have_a_next_actor() {
        for reason in Reason::ALL {
            match reason.ready() {
                ReadyEffect::True => assert_eq!(reason.next_actor(), NextActor::None, "{reason}"),
                ReadyEffect::False | ReadyEffect::Unknown => {
                    assert_ne!(reason.next_actor(), NextActor::None, "{reason}")
                }
                ReadyEffect::Unchanged => {}
            }
        }
    }

    #[test]
    fn temporary_failures_never_stall() {
        for reason in [Reason::Throttled, Reason::ServiceError, Reason::Unreachable, Reason::ClockSkew, Reason::Queued]
        {
            assert_eq!(
                (reason.ready(), reason.next_actor()),
                (ReadyEffect::Unchanged, NextActor::Operator),
                "{reason}"
            );
        }
    }

    #[test]
    fn documentation_is_one_line_each() {
        for reason in Reason::ALL {
            assert!(reason.doc().ends_with('.') && !reason.doc().contains('\n'), "{reason}");
        }
    }
}
