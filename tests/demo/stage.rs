//! The demo's cluster: a new control plane, or a namespace in an existing cluster.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{
    Cluster, Context as _, ControlPlane, DEMO_IN_A_NAMESPACE, Error, Kubectl, Result, Scratch, apply_crds,
    control_plane_tools, repository,
};

/// The namespace that the demo uses when it runs in an existing cluster.
const NAME: &str = DEMO_IN_A_NAMESPACE.installation.namespace;

/// A cluster with the CRDs and the operator's permissions.
pub struct Stage {
    kubectl: Kubectl,
    namespace: String,
    operator_kubeconfig: PathBuf,
    place: Place,
}

enum Place {
    Own(Box<ControlPlane>),
    Foreign(Foreign),
}

/// An existing cluster and the manifests that the demo applied to it. When this value is dropped, it deletes the
/// resources in these manifests.
struct Foreign {
    context: String,
    kubectl: Kubectl,
    /// The applied manifests, latest first.
    applied: Vec<String>,
    /// The directory that contains the operator's kubeconfig.
    _dir: Scratch,
}

impl Stage {
    /// Starts a control plane. The operator watches all namespaces.
    pub fn own() -> Result<Self> {
        let control_plane = ControlPlane::start()?;
        control_plane.apply_crds()?;
        Ok(Self {
            kubectl: control_plane.kubectl_program().clone(),
            namespace: "default".to_owned(),
            operator_kubeconfig: control_plane.demo_kubeconfig()?,
            place: Place::Own(Box::new(control_plane)),
        })
    }

    /// Creates a namespace in the cluster that a kubeconfig context selects. The operator watches only that namespace.
    pub fn of_context(context: &str) -> Result<Self> {
        let kubectl = Kubectl::for_context(find_kubectl()?, context);
        let cluster = cluster_of(&kubectl)?;
        let dir = Scratch::new("demo")?;
        let mut foreign =
            Foreign { context: context.to_owned(), kubectl: kubectl.clone(), applied: Vec::new(), _dir: dir };
        foreign.apply_crds()?;
        let namespace = serde_json::json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAME } });
        foreign.create(namespace.to_string()).context("another demo may be running in the cluster")?;
        let rbac = DEMO_IN_A_NAMESPACE.rbac()?;
        foreign.applied.insert(0, rbac.clone());
        let installation = DEMO_IN_A_NAMESPACE.installation;
        let operator_kubeconfig = installation.kubeconfig(&rbac, &kubectl, &cluster, foreign._dir.path())?;
        Ok(Self { kubectl, namespace: NAME.to_owned(), operator_kubeconfig, place: Place::Foreign(foreign) })
    }

    /// The kubectl program with an administrator's permissions.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// The namespace of the examples.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The operator's kubeconfig, with the permissions that the chart grants.
    pub fn operator_kubeconfig(&self) -> &Path {
        &self.operator_kubeconfig
    }

    /// Additional arguments for the operator.
    pub fn operator_args(&self) -> Vec<String> {
        match &self.place {
            Place::Own(_) => Vec::new(),
            Place::Foreign(_) => vec!["--watch-namespace".to_owned(), self.namespace.clone()],
        }
    }

    /// Shell commands that configure `kubectl` for the cluster.
    pub fn how_to_use(&self) -> String {
        match &self.place {
            Place::Own(control_plane) => format!(
                "  export KUBECONFIG={}\n  alias kubectl={}",
                control_plane.kubeconfig().display(),
                self.kubectl.program().display()
            ),
            Place::Foreign(foreign) => {
                format!("  alias kubectl='kubectl --context {} --namespace {NAME}'", foreign.context)
            }
        }
    }
}

impl Foreign {
    fn create(&mut self, manifest: String) -> Result<()> {
        self.kubectl.run_with_input(&["create", "-f", "-"], &manifest)?;
        self.applied.insert(0, manifest);
        Ok(())
    }

    /// Installs the CRDs, unless they already exist. Existing CRDs are not changed, because other objects may use them.
    fn apply_crds(&mut self) -> Result<()> {
        let crds = repository().join("crds");
        let path = crds.to_string_lossy();
        if self.kubectl.run(&["get", "-f", &path]).is_ok() {
            return Ok(());
        }
        for entry in std::fs::read_dir(&crds).context(crds.display())? {
            self.applied.insert(0, std::fs::read_to_string(entry?.path())?);
        }
        apply_crds(&self.kubectl)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        for manifest in &self.applied {
            let delete = ["delete", "--ignore-not-found", "--wait=false", "-f", "-"];
            if let Err(error) = self.kubectl.run_with_input(&delete, manifest) {
                eprintln!("cannot clean up in the cluster: {error}");
            }
        }
    }
}

/// Finds the user's kubectl in `PATH`. If `PATH` contains no kubectl, returns the kubectl from the test environment.
/// The user's kubectl is preferred because the context may use credential plugins.
fn find_kubectl() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|program| program.is_file());
    found.map_or_else(|| Ok(control_plane_tools()?.join("kubectl")), Ok)
}

fn cluster_of(kubectl: &Kubectl) -> Result<Cluster> {
    let config = kubectl.run(&["config", "view", "--minify", "--flatten", "--raw", "--output=json"])?;
    let mut config: Value = serde_json::from_str(&config)?;
    let Value::Object(mut settings) = config["clusters"][0]["cluster"].take() else {
        return Err(Error::new("the context has no cluster"));
    };
    let server = settings.remove("server").context("the cluster of the context has no server")?;
    let server = server.as_str().context("the server of the cluster is not a string")?.to_owned();
    Ok(Cluster { server, settings })
}
