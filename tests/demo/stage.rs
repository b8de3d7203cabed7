//! Where the demo plays: on a control plane of its own, or in a namespace of somebody's cluster.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{
    Cluster, Context as _, ControlPlane, Error, Helm, Installation, Kubectl, Result, Scratch, apply_crds,
    control_plane_tools, repository,
};

/// Namespace, release and ServiceAccount of the demo in somebody's cluster.
const NAME: &str = "live-message-operator-demo";

/// A cluster that is ready for the operator: CRDs applied, permissions granted.
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

/// What is to be taken away again from somebody's cluster.
struct Foreign {
    context: String,
    kubectl: Kubectl,
    /// The manifests, the latest first.
    applied: Vec<String>,
    /// The operator's kubeconfig lies here.
    _dir: Scratch,
}

impl Stage {
    /// A control plane of its own; the operator works in all of its namespaces.
    pub fn own() -> Result<Self> {
        let control_plane = ControlPlane::start()?;
        control_plane.apply_crds()?;
        Ok(Self {
            kubectl: control_plane.kubectl_program().clone(),
            namespace: "default".to_owned(),
            operator_kubeconfig: control_plane.operator_kubeconfig("default", &[])?,
            place: Place::Own(Box::new(control_plane)),
        })
    }

    /// A namespace of the cluster of this kubeconfig context. The operator works in that namespace only: what else is in
    /// the cluster must not get to know the emulator.
    pub fn of_context(context: &str) -> Result<Self> {
        let kubectl = Kubectl::for_context(find_kubectl()?, context);
        let cluster = cluster_of(&kubectl)?;
        let dir = Scratch::new("demo")?;
        let mut foreign =
            Foreign { context: context.to_owned(), kubectl: kubectl.clone(), applied: Vec::new(), _dir: dir };
        foreign.apply_crds()?;
        let namespace = serde_json::json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAME } });
        foreign.create(namespace.to_string()).context("is another demo running in that cluster?")?;
        let installation = Installation { release: NAME, namespace: NAME, watch: &[NAME], flags: &[] };
        let helm = Helm::new()?;
        foreign.applied.insert(0, installation.rbac(&helm)?);
        let operator_kubeconfig = installation.kubeconfig(&helm, &kubectl, &cluster, foreign._dir.path())?;
        Ok(Self { kubectl, namespace: NAME.to_owned(), operator_kubeconfig, place: Place::Foreign(foreign) })
    }

    /// kubectl as an administrator.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Where the examples go.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The operator's, with the chart's permissions.
    pub fn operator_kubeconfig(&self) -> &Path {
        &self.operator_kubeconfig
    }

    /// What the operator must be told.
    pub fn operator_args(&self) -> Vec<String> {
        match &self.place {
            Place::Own(_) => Vec::new(),
            Place::Foreign(_) => vec!["--watch-namespace".to_owned(), self.namespace.clone()],
        }
    }

    /// Lines for a shell, after which `kubectl` is this cluster's.
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

    /// Leaves definitions alone that are there already: other objects may live by them.
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

/// The user's own kubectl, which knows the user's login plugins; else the one of the test environment.
fn find_kubectl() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|program| program.is_file());
    found.map_or_else(|| Ok(control_plane_tools()?.join("kubectl")), Ok)
}

fn cluster_of(kubectl: &Kubectl) -> Result<Cluster> {
    let config = kubectl.run(&["config", "view", "--minify", "--flatten", "--raw", "--output=json"])?;
    let mut config: Value = serde_json::from_str(&config)?;
    let Value::Object(mut settings) = config["clusters"][0]["cluster"].take() else {
        return Err(Error::new("the context names no cluster"));
    };
    let server = settings.remove("server").context("the context's cluster has no server")?;
    let server = server.as_str().context("the context's server is no text")?.to_owned();
    Ok(Cluster { server, settings })
}
