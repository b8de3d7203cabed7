//! The servers of a control plane and their arguments.

use std::net::TcpListener;
use std::path::Path;

use super::error::{Context as _, Result};
use super::process::Process;
use super::scratch::Scratch;

/// The file name of the audit log, which contains one JSON object per line.
pub const AUDIT_LOG: &str = "audit.jsonl";

/// The controllers that affect the operator. They delete the contents of deleted namespaces and the dependents of
/// deleted objects, create the default ServiceAccounts, and aggregate the roles `view`, `edit` and `admin`. Other
/// controllers would only slow down the tests.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,serviceaccount-controller,\
                           root-ca-certificate-publisher-controller,clusterrole-aggregation-controller";

/// The level of detail of the audit log. The log contains the writes of all ServiceAccounts except those in
/// `kube-system`, which the controllers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// The apiserver writes no audit log.
    Off,
    /// The audit log contains requests and response statuses, without objects.
    Names,
    /// The audit log also contains the objects.
    Whole,
}

impl Audit {
    fn policy(self) -> Option<String> {
        let level = match self {
            Self::Off => return None,
            Self::Names => "Metadata",
            Self::Whole => "RequestResponse",
        };
        Some(format!(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
             - {{level: None, userGroups: ['system:serviceaccounts:kube-system']}}\n\
             - {{level: {level}, userGroups: ['system:serviceaccounts'], \
                 verbs: [create, update, patch, delete, deletecollection]}}\n\
             - {{level: None}}\n"
        ))
    }
}

/// The ports of the servers.
#[derive(Clone, Copy)]
pub struct Ports {
    /// The port of etcd for clients.
    pub etcd: u16,
    /// The port of etcd for peers.
    pub peer: u16,
    /// The port of the apiserver.
    pub apiserver: u16,
    /// The health port of the controller-manager.
    pub controllers: u16,
}

impl Ports {
    /// Selects free ports.
    pub fn pick() -> Result<Self> {
        // The listeners stay open until all ports are selected, so that the ports differ.
        let held = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0"));
        let mut ports = [0; 4];
        for (port, listener) in ports.iter_mut().zip(&held) {
            let listener = listener.as_ref().context("no free port on loopback")?;
            *port = listener.local_addr()?.port();
        }
        let [etcd, peer, apiserver, controllers] = ports;
        Ok(Self { etcd, peer, apiserver, controllers })
    }
}

pub fn start_etcd(tools: &Path, dir: &Scratch, ports: Ports) -> Result<Process> {
    let client = format!("http://127.0.0.1:{}", ports.etcd);
    let peer = format!("http://127.0.0.1:{}", ports.peer);
    let args = [
        "--name=test".to_owned(),
        format!("--data-dir={}", dir.join("etcd").display()),
        // The data is temporary and does not have to survive a crash.
        "--unsafe-no-fsync".to_owned(),
        // The benchmark creates 200,000 objects, for which the default quota of 2 GiB may be too small.
        "--quota-backend-bytes=8589934592".to_owned(),
        "--log-level=warn".to_owned(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=test={peer}"),
    ];
    Process::spawn(&tools.join("etcd"), &args, &[], &dir.join("etcd.log"))
}

/// Starts the apiserver. `controllers` specifies whether kube-controller-manager will run too.
pub fn start_apiserver(
    tools: &Path,
    dir: &Scratch,
    ports: Ports,
    (audit, controllers): (Audit, bool),
) -> Result<Process> {
    let file = |name: &str| dir.join(name).display().to_string();
    let mut args = vec![
        format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", ports.apiserver),
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--cert-dir={}", file("pki")),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--anonymous-auth=false".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--api-audiences=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        "--profiling=false".to_owned(),
    ];
    if !controllers {
        // This plugin rejects a pod if its ServiceAccount does not exist. The controllers would create the `default`
        // ServiceAccount of each namespace, but they do not run.
        args.push("--disable-admission-plugins=ServiceAccount".to_owned());
    }
    if let Some(policy) = audit.policy() {
        let policy = dir.write("audit-policy.yaml", policy)?;
        args.push(format!("--audit-policy-file={}", policy.display()));
        // In blocking mode, the apiserver writes the log line of a request before the request completes.
        args.extend([format!("--audit-log-path={}", file(AUDIT_LOG)), "--audit-log-mode=blocking".to_owned()]);
    }
    Process::spawn(&tools.join("kube-apiserver"), &args, &[], &dir.join("kube-apiserver.log"))
}

/// Starts the controllers, each with its own ServiceAccount and permissions.
pub fn start_controllers(tools: &Path, dir: &Scratch, ports: Ports, kubeconfig: &Path) -> Result<Process> {
    let file = |name: &str| dir.join(name).display().to_string();
    let config = kubeconfig.display();
    let args = [
        format!("--kubeconfig={config}"),
        format!("--authentication-kubeconfig={config}"),
        format!("--authorization-kubeconfig={config}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", ports.controllers),
        format!("--cert-dir={}", file("pki")),
        "--use-service-account-credentials".to_owned(),
        format!("--service-account-private-key-file={}", file("sa.key")),
        format!("--root-ca-file={}", file("ca.crt")),
        format!("--controllers={CONTROLLERS}"),
        "--leader-elect=false".to_owned(),
        "--profiling=false".to_owned(),
    ];
    Process::spawn(&tools.join("kube-controller-manager"), &args, &[], &dir.join("kube-controller-manager.log"))
}
