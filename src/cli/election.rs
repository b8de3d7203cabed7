//! The arguments for leader election.

use std::sync::Arc;
use std::time::Duration;

use super::UsageError;
use super::run::{parse_interval, parse_namespace};
use crate::controller::{ElectionSettings, Elector, Leadership, LeaseName, identity};
use crate::telemetry::Metrics;

/// Arguments of the leader election.
#[derive(Debug, clap::Args)]
pub struct ElectionArgs {
    /// Enable leader election with a Lease, so that only one replica makes calls while the others stand by. Without
    /// leader election, run only one process of the operator. The process makes its first call 6 seconds after it
    /// starts.
    #[arg(long, env = "LMO_LEADER_ELECT")]
    leader_elect: bool,

    /// How long a standby waits for a renewal of the Lease before it takes over. Must be at least 5 seconds longer than
    /// --leader-elect-renew-deadline, and at most 10m.
    #[arg(long, env = "LMO_LEADER_ELECT_LEASE_DURATION", value_name = "DURATION", default_value = "15s",
        value_parser = parse_interval)]
    leader_elect_lease_duration: Duration,

    /// How long the leader continues after its last renewal of the Lease before it stops making calls and exits.
    #[arg(long, env = "LMO_LEADER_ELECT_RENEW_DEADLINE", value_name = "DURATION", default_value = "10s",
        value_parser = parse_interval)]
    leader_elect_renew_deadline: Duration,

    /// Interval between two renewals of the Lease. A standby reads the Lease twice as often.
    #[arg(long, env = "LMO_LEADER_ELECT_RETRY_PERIOD", value_name = "DURATION", default_value = "2s",
        value_parser = parse_interval)]
    leader_elect_retry_period: Duration,

    /// Name of the Lease. Must be the same for all replicas of an operator.
    #[arg(long, env = "LMO_LEADER_ELECT_RESOURCE_NAME", value_name = "NAME", default_value = "live-message-operator")]
    leader_elect_resource_name: String,

    /// Namespace of the Lease. Defaults to the namespace of the pod or, outside a pod, to the namespace of the current
    /// context in the kubeconfig.
    #[arg(long, env = "LMO_LEADER_ELECT_RESOURCE_NAMESPACE", value_name = "NAMESPACE", value_parser = parse_namespace)]
    leader_elect_resource_namespace: Option<String>,
}

impl ElectionArgs {
    /// Checks the arguments that depend on each other.
    pub fn settings(&self) -> Result<ElectionSettings, UsageError> {
        let settings = ElectionSettings {
            lease_duration: self.leader_elect_lease_duration,
            renew_deadline: self.leader_elect_renew_deadline,
            retry_period: self.leader_elect_retry_period,
        };
        settings.check().map_err(|error| UsageError(error.to_string()))
    }

    /// Returns the elector and the leadership of this process. If leader election is disabled, there is no elector, and
    /// this process is always the leader.
    pub fn elector(
        &self,
        settings: ElectionSettings,
        client: kube::Client,
        own_namespace: &str,
        metrics: &Arc<Metrics>,
    ) -> (Option<Elector>, Leadership) {
        if !self.leader_elect {
            return (None, Leadership::always());
        }
        let namespace = self.leader_elect_resource_namespace.as_deref().unwrap_or(own_namespace).to_owned();
        let name = LeaseName { namespace, name: self.leader_elect_resource_name.clone() };
        let (elector, leadership) = Elector::new(client, name, identity(&host_name()), settings, Arc::clone(metrics));
        (Some(elector), leadership)
    }
}

/// Returns the name of the pod or of the machine.
fn host_name() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let machine = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = variable("POD_NAME").or_else(|| variable("HOSTNAME")).or_else(machine);
    name.map_or_else(|| "live-message-operator".to_owned(), |name| name.trim().to_owned())
}
