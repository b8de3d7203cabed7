//! Arguments of `run` that restrict what the users of a namespace may do.

use crate::controller::NamespacePattern;
use crate::live::{Endpoint, EndpointPolicy, HostPattern};

/// The endpoints and credentials that the objects of a namespace may use.
#[derive(Debug, clap::Args)]
pub struct TenantArgs {
    /// Host that LiveAccounts may use in spec.endpoint: an IP address, a name in which `*` stands for one label, or
    /// just `*` for all hosts. To specify several hosts, repeat the flag, or separate the values with commas in the
    /// environment variable. Defaults to the hosts of the Live API. The operator's own endpoint is always permitted.
    #[arg(long, env = "LMO_ACCOUNT_ENDPOINTS", value_name = "HOST", value_delimiter = ',')]
    account_endpoints: Vec<HostPattern>,

    /// Allow http:// endpoints of LiveAccounts. Use it only with an emulator: requests are not encrypted.
    #[arg(long, env = "LMO_ACCOUNT_ALLOW_HTTP")]
    account_allow_http: bool,

    /// Namespace whose objects may use the operator's own credentials: a name, or a pattern such as team-*. To specify
    /// several namespaces, repeat the flag, or separate the values with commas in the environment variable. Objects in
    /// other namespaces need a LiveAccount.
    #[arg(
        long,
        env = "LMO_OPERATOR_CREDENTIALS_NAMESPACES",
        value_name = "NAMESPACE",
        value_delimiter = ',',
        default_value = "*"
    )]
    operator_credentials_namespaces: Vec<NamespacePattern>,
}

impl TenantArgs {
    /// The namespaces whose objects may use the operator's own credentials.
    pub fn operator_namespaces(&self) -> Vec<NamespacePattern> {
        self.operator_credentials_namespaces.clone()
    }

    /// The endpoints that LiveAccounts may use in addition to the operator's own endpoint.
    pub fn endpoint_policy(&self, own: Endpoint) -> EndpointPolicy {
        EndpointPolicy { own, hosts: self.account_endpoints.clone(), allow_http: self.account_allow_http }
    }
}
