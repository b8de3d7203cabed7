//! The label sets of the metrics. Label values never contain the text of a response or a message, so the number of
//! series is bounded.

use prometheus_client::encoding::EncodeLabelSet;

/// A label set with a list of its label names. The documentation of the metrics is generated from this list.
pub trait Labels: EncodeLabelSet {
    /// The names of the labels, in encoding order.
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
    /// Labels of the build information.
    BuildLabels {
        /// Version of the operator.
        version: &'static str,
    }
    /// Labels of the calls to the Live API.
    CallLabels {
        /// Name of the operation in the API.
        operation: &'static str,
        /// `OK`, or the class of the error.
        code: &'static str,
    }
    /// Labels of call durations.
    OperationLabels {
        /// Name of the operation in the API.
        operation: &'static str,
    }
    /// Labels of the metrics that are reported for each budget. A budget belongs to an account and an operation.
    BudgetLabels {
        /// `operator`, or `NAMESPACE/NAME` of a LiveAccount.
        account: String,
        /// Name of the operation in the API.
        operation: &'static str,
    }
    /// Labels of the metrics that are reported for each account.
    AccountLabels {
        /// `operator`, or `NAMESPACE/NAME` of a LiveAccount.
        account: String,
        /// Reason of the `Ready` condition of the account.
        reason: &'static str,
    }
    /// Labels of the metrics that are reported for each app.
    AppLabels {
        /// `operator`, or `NAMESPACE/NAME` of a LiveAccount.
        account: String,
        /// ID of the app.
        app: String,
    }
    /// Labels of the metrics that controller-runtime reports for each controller.
    ControllerLabels {
        /// Always [`CONTROLLER`](super::CONTROLLER).
        controller: &'static str,
    }
    /// Labels of finished reconcile passes.
    ReconcileLabels {
        /// Always [`CONTROLLER`](super::CONTROLLER).
        controller: &'static str,
        /// `success`, `requeue_after`, `awaiting_permit`, `blocked` or `error`.
        result: &'static str,
    }
    /// Labels of the work queue.
    QueueLabels {
        /// Always [`CONTROLLER`](super::CONTROLLER).
        name: &'static str,
        /// `resync`, `retry` or `change`.
        priority: &'static str,
    }
    /// Labels of metrics that are broken down by a reason.
    ReasonLabels {
        /// Reason of the condition.
        reason: &'static str,
    }
    /// Labels of the metric that counts objects by their `Ready` condition.
    GroupLabels {
        /// Status of the condition.
        ready: &'static str,
        /// Reason of the condition.
        reason: &'static str,
    }
    /// Labels of the metric that counts the objects in each namespace by their `Ready` condition.
    NamespaceLabels {
        /// Namespace of the objects. This label is not called `namespace`, because Prometheus sets the label
        /// `namespace` to the namespace of the operator.
        object_namespace: String,
        /// Status of the condition.
        ready: &'static str,
        /// Reason of the condition.
        reason: &'static str,
    }
    /// Labels of metrics that are broken down by priority.
    PriorityLabels {
        /// `resync`, `retry` or `change`.
        priority: &'static str,
    }
    /// Labels of the metric that counts objects by a condition other than `Ready`.
    ConditionLabels {
        /// Type of the condition.
        condition: &'static str,
        /// Status of the condition.
        status: &'static str,
    }
    /// Labels of changes to groups.
    ChangeLabels {
        /// Reason of the event that reports the change.
        change: &'static str,
    }
    /// Labels of completed deletions.
    OutcomeLabels {
        /// Outcome for the group, such as `Deleted` or `Retained`.
        outcome: &'static str,
    }
    /// Labels of drift checks.
    DriftCheckLabels {
        /// `success`, `failure` or `skipped`.
        result: &'static str,
    }
    /// Labels of requests to the apiserver.
    RequestLabels {
        /// HTTP status, `timeout` or `unreachable`.
        code: String,
        /// HTTP method.
        method: &'static str,
        /// Host and port of the apiserver.
        host: String,
    }
    /// Labels of the leader election.
    LeaderLabels {
        /// Name of the Lease.
        name: String,
    }
    /// Labels of watches.
    ResourceLabels {
        /// Plural name of the resource.
        resource: &'static str,
    }
}
