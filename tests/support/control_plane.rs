//! A real etcd, kube-apiserver and kube-controller-manager. They listen on free loopback ports, and their data is in a
//! temporary directory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::error::{Context as _, Error, Result};
use super::helm::Helm;
use super::kubeconfig::{Access, Cluster};
use super::kubectl::Kubectl;
use super::process::{Process, wait_for};
use super::rbac::{DEMO, Installation};
use super::scratch::Scratch;
use super::servers::{AUDIT_LOG, Audit, Ports, start_apiserver, start_controllers, start_etcd};
use super::{pki, repository, tools};

/// The timeout for a server to become ready. This takes 3 s on an idle machine, and up to a minute while a compiler
/// runs.
const READY: Duration = Duration::from_secs(120);

/// Returns the control plane of this test run. The first call starts it. Tests share it, and each uses its own
/// namespace. A test that stops the apiserver must start its own control plane.
pub fn shared_control_plane() -> Result<&'static ControlPlane> {
    static SHARED: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
    let start = || ControlPlane::start_with(Parts { audit: Audit::Names, controllers: true });
    SHARED.get_or_init(|| start().map_err(|error| error.to_string())).as_ref().map_err(Error::new)
}

/// Optional parts of a control plane.
#[derive(Clone, Copy)]
struct Parts {
    audit: Audit,
    controllers: bool,
}

/// A running etcd and kube-apiserver, and optionally kube-controller-manager. When this value is dropped or the test
/// process ends, the servers are stopped and their data is removed.
pub struct ControlPlane {
    // This is the first field, so that the controllers stop before the servers that they call.
    _controllers: Option<Process>,
    apiserver: Mutex<Process>,
    etcd: Process,
    kubectl: Kubectl,
    cluster: Cluster,
    kubeconfig: PathBuf,
    tools: PathBuf,
    ports: Ports,
    parts: Parts,
    crds: Mutex<bool>,
    // This is the last field, so that the servers stop before the directory that they write to is removed.
    dir: Scratch,
}

impl ControlPlane {
    /// Starts etcd and the apiserver and waits until they are ready. This takes 3 to 4 s on an idle machine. Does not
    /// start controllers, so a namespace is never removed and has no default ServiceAccount.
    pub fn start() -> Result<Self> {
        Self::start_with(Parts { audit: Audit::Off, controllers: false })
    }

    /// Like [`start`](Self::start), with an audit log of the writes that ServiceAccounts make: see
    /// [`audit_log`](Self::audit_log).
    pub fn start_audited() -> Result<Self> {
        Self::start_with(Parts { audit: Audit::Whole, controllers: false })
    }

    fn start_with(parts: Parts) -> Result<Self> {
        let tools = tools::control_plane()?;
        let mut attempts = 3;
        loop {
            attempts -= 1;
            match Self::start_once(tools.clone(), parts) {
                // Retry, because another process may have bound a port after it was selected.
                Err(error) if attempts > 0 && error.to_string().contains("address already in use") => {}
                done => return done,
            }
        }
    }

    fn start_once(tools: PathBuf, parts: Parts) -> Result<Self> {
        let dir = Scratch::new("control-plane")?;
        let ports = Ports::pick()?;
        let pki = pki::make(&dir)?;
        let cluster = Cluster::new(format!("https://127.0.0.1:{}", ports.apiserver), &pki.ca);
        let kubeconfig = |name: &str, (certificate, key): &(String, String)| {
            dir.write(name, cluster.kubeconfig(Access::Certificate(certificate, key), "default")?)
        };
        let admin = kubeconfig("admin.kubeconfig", &pki.admin)?;
        let kubectl = Kubectl::new(tools.join("kubectl"), admin.clone());
        let mut etcd = start_etcd(&tools, &dir, ports)?;
        let mut apiserver = start_apiserver(&tools, &dir, ports, (parts.audit, parts.controllers))?;
        wait_ready(&kubectl, &mut [&mut etcd, &mut apiserver])?;
        let mut controllers = None;
        if parts.controllers {
            let config = kubeconfig("controllers.kubeconfig", &pki.controllers)?;
            let process = controllers.insert(start_controllers(&tools::controller_manager()?, &dir, ports, &config)?);
            wait_working(&kubectl, process)?;
        }
        let (apiserver, crds) = (Mutex::new(apiserver), Mutex::new(false));
        Ok(Self {
            _controllers: controllers,
            apiserver,
            etcd,
            kubectl,
            cluster,
            kubeconfig: admin,
            tools,
            ports,
            parts,
            crds,
            dir,
        })
    }

    /// The URL of the apiserver: `https://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.cluster.server
    }

    /// The administrator's kubeconfig, for setup and assertions. The operator uses
    /// [`operator_kubeconfig`](Self::operator_kubeconfig).
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A directory for the files of the test run. It is removed with the control plane.
    pub fn dir(&self) -> &Scratch {
        &self.dir
    }

    /// The kubectl program with an administrator's permissions.
    pub fn kubectl_program(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Runs kubectl as an administrator and returns its stdout. The error contains its stderr.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl.run(args)
    }

    /// Like [`kubectl`](Self::kubectl), but with `input` on stdin (`-f -`).
    pub fn kubectl_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        self.kubectl.run_with_input(args, input)
    }

    /// Creates an administrator's client for the current runtime. It must not outlive the runtime.
    pub async fn client(&self) -> Result<kube::Client> {
        client(&self.kubeconfig).await
    }

    /// Creates an empty namespace and returns its name.
    pub fn namespace(&self) -> Result<String> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("test-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.kubectl(&["create", "namespace", &name])?;
        Ok(name)
    }

    /// Installs the CRDs in `crds/` and waits until they are served. Only the first call has an effect.
    pub fn apply_crds(&self) -> Result<()> {
        let mut applied = lock(&self.crds);
        if !*applied {
            apply_crds(&self.kubectl)?;
            *applied = true;
        }
        Ok(())
    }

    /// Creates a kubeconfig for an operator in `namespace`. It contains a token of the operator's ServiceAccount, which
    /// has exactly the RBAC permissions of the chart. `watch` is the chart's `watchNamespaces`. An empty list selects
    /// the whole cluster.
    pub fn operator_kubeconfig(&self, namespace: &str, watch: &[&str]) -> Result<PathBuf> {
        self.operator_kubeconfig_with(namespace, watch, &[])
    }

    /// Like [`operator_kubeconfig`](Self::operator_kubeconfig), with additional Helm flags.
    pub fn operator_kubeconfig_with(&self, namespace: &str, watch: &[&str], flags: &[&str]) -> Result<PathBuf> {
        // Use one release name per namespace. The names of ClusterRoles contain it, so tests do not share ClusterRoles.
        let release = format!("lmo-{namespace}");
        let installation = Installation { release: &release, namespace, watch, flags };
        let rbac = installation.rbac(&Helm::new()?)?;
        installation.kubeconfig(&rbac, &self.kubectl, &self.cluster, self.dir.path())
    }

    /// Creates a kubeconfig for the operator of the demo.
    pub fn demo_kubeconfig(&self) -> Result<PathBuf> {
        DEMO.installation.kubeconfig(&DEMO.rbac()?, &self.kubectl, &self.cluster, self.dir.path())
    }

    /// Kills the apiserver. Connections are refused until [`start_apiserver`](Self::start_apiserver) restarts it.
    pub fn stop_apiserver(&self) -> Result<()> {
        lock(&self.apiserver).sigkill()
    }

    /// Restarts the apiserver with the same port and the same data, and waits until it is ready.
    pub fn start_apiserver(&self) -> Result<()> {
        let mut apiserver = lock(&self.apiserver);
        let Parts { audit, controllers } = self.parts;
        *apiserver = start_apiserver(&self.tools, &self.dir, self.ports, (audit, controllers))?;
        wait_ready(&self.kubectl, &mut [&mut apiserver])
    }

    /// Suspends the apiserver with SIGSTOP. Connections stay open, but clients receive no responses.
    pub fn pause_apiserver(&self) -> Result<()> {
        lock(&self.apiserver).sigstop()
    }

    /// Resumes the apiserver with SIGCONT.
    pub fn resume_apiserver(&self) -> Result<()> {
        lock(&self.apiserver).sigcont()
    }

    /// Returns the audit events (`audit.k8s.io/v1`) of all writes that ServiceAccounts have made so far. The events
    /// contain the objects only if the control plane was started with [`start_audited`](Self::start_audited).
    pub fn audit_log(&self) -> Result<Vec<Value>> {
        self.audit_lines(|_| true)
    }

    /// Like [`audit_log`](Self::audit_log), but only for one namespace.
    pub fn audit_log_of(&self, namespace: &str) -> Result<Vec<Value>> {
        let of = format!(r#""namespace":"{namespace}""#);
        self.audit_lines(|line| line.contains(&of))
    }

    fn audit_lines(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<Value>> {
        let path = self.dir.join(AUDIT_LOG);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.context(path.display())?,
        };
        // Skip the last line if it is incomplete.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = complete.lines().filter(|line| wanted(line));
        lines.map(|line| serde_json::from_str(line).context(line)).collect()
    }

    /// The process IDs of etcd and the apiserver.
    pub fn pids(&self) -> [u32; 2] {
        [self.etcd.pid(), lock(&self.apiserver).pid()]
    }
}

/// Creates a client for the current runtime.
async fn client(kubeconfig: &Path) -> Result<kube::Client> {
    // An error means that another test has installed the provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

/// Installs the CRDs in `crds/` and waits until they are served.
pub fn apply_crds(kubectl: &Kubectl) -> Result<()> {
    let crds = repository().join("crds");
    let path = crds.to_string_lossy();
    if !crds.is_dir() {
        return Err(Error::new(format!("{path} is missing: run `make crds`")));
    }
    kubectl.run(&["apply", "--server-side", "-f", &path])?;
    // kubectl fails immediately if a CRD has no conditions yet. The apiserver writes the conditions shortly after the
    // CRD is created, and serves the objects even later.
    let mut answer = String::from("none yet");
    let served =
        |kind: &str| kubectl.run(&["get", &format!("--raw=/apis/live.alibabacloud.com/v1alpha1/{kind}?limit=1")]);
    let established = wait_for("the CustomResourceDefinitions to be established", Duration::from_secs(120), || {
        let result = kubectl.run(&["wait", "--for=condition=Established", "--timeout=10s", "-f", &path]);
        let result = result.and_then(|_| served("livemessagegroups")).and_then(|_| served("liveaccounts"));
        Ok(result.map_err(|error| answer = error.to_string()).ok())
    });
    established.map(drop).map_err(|error| Error::new(format!("{error}\nlast response: {answer}")))
}

fn wait_ready(kubectl: &Kubectl, servers: &mut [&mut Process]) -> Result<()> {
    let mut answer = String::from("none yet");
    let ready = wait_for("the control plane to be ready", READY, || {
        for server in &mut *servers {
            if let Some(status) = server.exited()? {
                return Err(Error::new(format!("a server of the control plane exited: {status}")));
            }
        }
        // The apiserver creates the first namespace shortly after it is ready.
        let result = kubectl.run(&["get", "--raw=/readyz", "--request-timeout=2s"]);
        let result = result.and_then(|_| kubectl.run(&["get", "namespace", "default", "--request-timeout=2s"]));
        Ok(result.map_err(|error| answer = error.to_string()).ok())
    });
    let tails = || servers.iter().map(|server| server.log_tail()).collect::<Vec<_>>().join("\n");
    ready.map(drop).map_err(|error| Error::new(format!("{error}\nlast response: {answer}\n{}", tails())))
}

/// Waits for the first object that the controllers create.
fn wait_working(kubectl: &Kubectl, controllers: &mut Process) -> Result<()> {
    let working = wait_for("the controllers to work", READY, || {
        if let Some(status) = controllers.exited()? {
            return Err(Error::new(format!("kube-controller-manager exited: {status}")));
        }
        Ok(kubectl.run(&["get", "serviceaccount", "default", "--namespace=default", "--request-timeout=2s"]).ok())
    });
    working.map(drop).map_err(|error| Error::new(format!("{error}\n{}", controllers.log_tail())))
}

// A poisoned lock is ignored, because a panic in a test leaves the state consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
