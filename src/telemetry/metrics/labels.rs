//! The label sets of the metrics. Their values are words of a fixed list, or names of objects that only an administrator
//! makes; never a text that an answer or a user may have filled in.

use prometheus_client::encoding::EncodeLabelSet;

/// A set of labels that tells their names.
pub trait Labels: EncodeLabelSet {
    /// Their names.
    const NAMES: &'static [&'static str];
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $field:ident: $type:ty,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub struct $name { $($(#[$about])* pub $field: $type,)+ }

        impl Labels for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field),)+];
        }
    )+};
}

labels! {
    /// Of the program.
    BuildLabels {
        /// Its version.
        version: &'static str,
    }
    /// Of calls to the Live API.
    CallLabels {
        /// The API's name of the operation.
        operation: &'static str,
        /// `OK`, or the class of the error.
        code: &'static str,
    }
    /// Of an operation.
    OperationLabels {
        /// The API's name of the operation.
        operation: &'static str,
    }
    /// Of what an account may call.
    BudgetLabels {
        /// The account.
        account: String,
        /// The API's name of the operation.
        operation: &'static str,
    }
    /// Of an account.
    AccountLabels {
        /// The account.
        account: String,
        /// The reason of its `Ready` condition.
        reason: &'static str,
    }
    /// Of an app.
    AppLabels {
        /// The account.
        account: String,
        /// The app's id.
        app: String,
    }
    /// Of steps of the work queue.
    ReconcileLabels {
        /// The lane.
        lane: &'static str,
        /// What came of it.
        result: &'static str,
    }
    /// Of a lane of the work queue.
    LaneLabels {
        /// The lane.
        lane: &'static str,
    }
    /// Of a condition's reason.
    ReasonLabels {
        /// The reason.
        reason: &'static str,
    }
    /// Of objects by their `Ready` condition.
    GroupLabels {
        /// Its status.
        ready: &'static str,
        /// Its reason.
        reason: &'static str,
    }
    /// Of objects by another condition.
    ConditionLabels {
        /// Its type.
        condition: &'static str,
        /// Its status.
        status: &'static str,
    }
    /// Of what was done to groups.
    ChangeLabels {
        /// The reason of the event that tells it.
        change: &'static str,
    }
    /// Of objects that were deleted.
    OutcomeLabels {
        /// What became of the group.
        outcome: &'static str,
    }
    /// Of sweeps.
    SweepLabels {
        /// How it ended.
        result: &'static str,
    }
    /// Of requests to the apiserver.
    RequestLabels {
        /// The HTTP method.
        method: &'static str,
        /// The HTTP status, or why there was none.
        code: String,
    }
    /// Of watches.
    ResourceLabels {
        /// What is watched.
        resource: &'static str,
    }
}
