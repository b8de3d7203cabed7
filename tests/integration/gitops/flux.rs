//! Runs the real kustomize-controller of Flux with the Git repository of a test. The tests do not run
//! source-controller. Instead, they serve the files of the repository on loopback and write the status of the
//! GitRepository.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::objects::{Objects, install_all_crds, install_flux_crds};
use crate::support::{Context as _, ControlPlane, Error, Process, Result, Scratch, flux_tools, shared_control_plane};
use crate::world::{PATIENCE, World};

/// The name of the GitRepository. `flux bootstrap` creates a GitRepository with this name.
const GIT_REPOSITORY: &str = "flux-system";

/// The timeout in seconds for a Kustomization to reach a state. The controller polls its objects every 5 s.
const FLUX_PATIENCE: u64 = 2 * PATIENCE;

/// A running kustomize-controller, and the HTTP server from which it downloads artifacts.
pub struct Flux {
    process: Process,
    artifacts: Scratch,
    url: String,
    _dir: Scratch,
}

impl Flux {
    /// Installs the CRDs of Flux and starts the controller.
    pub fn start(control_plane: &ControlPlane) -> Result<Self> {
        install_flux_crds(control_plane)?;
        Self::start_controller(control_plane)
    }

    /// Returns the controller on the shared control plane, which has the CRDs of all projects. The first call starts
    /// the controller.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Flux, String>> = OnceLock::new();
        let start = || {
            install_all_crds()?;
            Self::start_controller(shared_control_plane()?)
        };
        SHARED.get_or_init(|| start().map_err(|error: Error| error.to_string())).as_ref().map_err(Error::new)
    }

    fn start_controller(control_plane: &ControlPlane) -> Result<Self> {
        let (artifacts, dir) = (Scratch::new("artifacts")?, Scratch::new("flux")?);
        let url = serve(artifacts.path().to_owned())?;
        let args =
            ["--metrics-addr=127.0.0.1:0", "--health-addr=127.0.0.1:0", "--requeue-dependency=1s", "--log-level=info"];
        let env = [("KUBECONFIG", control_plane.kubeconfig().into()), ("TMPDIR", dir.path().into())];
        let program = flux_tools()?.join("kustomize-controller");
        let process = Process::spawn(&program, &args, &env, &dir.join("kustomize-controller.log"))?;
        Ok(Self { process, artifacts, url, _dir: dir })
    }
}

/// Serves the files in a directory on loopback until the test process ends, and returns the URL.
fn serve(dir: PathBuf) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // An error is ignored, because the controller retries a failed download.
            let _ = answer(stream, &dir);
        }
    });
    Ok(url)
}

fn answer(stream: TcpStream, dir: &Path) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut request, mut header) = (String::new(), String::new());
    stream.read_line(&mut request)?;
    while stream.read_line(&mut header)? > 2 {
        header.clear();
    }
    let name = request.split(' ').nth(1).context("not a request")?.trim_start_matches('/');
    let content = std::fs::read(dir.join(name)).context(name)?;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", content.len());
    stream.get_mut().write_all(&[head.as_bytes(), &content].concat())?;
    Ok(())
}

/// A Git repository in the namespace of a world.
pub struct Repository<'a> {
    flux: &'a Flux,
    pub objects: Objects,
    pub namespace: String,
}

impl<'a> Repository<'a> {
    pub async fn new(world: &World<'_>, flux: &'a Flux) -> Result<Self> {
        let objects = Objects::new(world.control_plane).await?;
        Ok(Self { flux, objects, namespace: world.namespace.clone() })
    }

    /// Replaces the content of the repository. Each file is given as its path and its content.
    pub async fn push(&self, files: &[(&str, String)]) -> Result<()> {
        let work_tree = Scratch::new("repository")?;
        for (path, content) in files {
            let file = work_tree.join(path);
            std::fs::create_dir_all(file.parent().unwrap_or(work_tree.path()))?;
            std::fs::write(&file, content).context(path)?;
        }
        let packed = Command::new("tar").arg("-czf").arg("-").arg("-C").arg(work_tree.path()).arg(".").output()?;
        if !packed.status.success() {
            return Err(Error::new(format!("tar: {}", String::from_utf8_lossy(&packed.stderr))));
        }
        let digest: String = Sha256::digest(&packed.stdout).iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{}-{digest}.tar.gz", self.namespace);
        self.flux.artifacts.write(&name, &packed.stdout)?;

        let repository = self.object("source.toolkit.fluxcd.io/v1", "GitRepository", GIT_REPOSITORY);
        let mut created = repository.clone();
        created["spec"] = json!({"interval": "1h", "url": "https://git.example.com/team/repository"});
        self.objects.apply(&created).await?;
        let artifact = json!({
            "path": name, "url": format!("{}/{name}", self.flux.url), "revision": format!("main@sha256:{digest}"),
            "digest": format!("sha256:{digest}"), "lastUpdateTime": "2026-01-01T00:00:00Z",
        });
        self.objects.set_status(&repository, json!({"observedGeneration": 1, "artifact": artifact})).await
    }

    /// Returns an object that is in the namespace of the repository and has no spec.
    pub fn object(&self, version: &str, kind: &str, name: &str) -> Value {
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": self.namespace}})
    }

    /// Returns a Kustomization that is in the namespace of the repository and has no spec.
    pub fn kustomization(&self, name: &str) -> Value {
        self.object("kustomize.toolkit.fluxcd.io/v1", "Kustomization", name)
    }

    /// Creates a Kustomization for the directory `path`. The Kustomization waits for its objects and retries every
    /// second.
    pub async fn create_kustomization(&self, name: &str, path: &str) -> Result<()> {
        let mut object = self.kustomization(name);
        object["spec"] = json!({
            "interval": "1h", "retryInterval": "1s", "timeout": "60s", "path": path, "prune": true, "wait": true,
            "deletionPolicy": "WaitForTermination", "sourceRef": {"kind": "GitRepository", "name": GIT_REPOSITORY},
        });
        self.objects.apply(&object).await
    }

    /// Waits until the Kustomization has applied the content of the repository and reports that all objects are ready.
    pub async fn ready(&self, world: &World<'_>, name: &str) -> Result<()> {
        let repository = self.object("source.toolkit.fluxcd.io/v1", "GitRepository", GIT_REPOSITORY);
        let repository = self.objects.get(&repository).await?.context("no GitRepository")?;
        let revision = &repository["status"]["artifact"]["revision"];
        self.wait(world, name, "to be ready", |object| {
            object["status"]["lastAppliedRevision"] == *revision && ready_condition(object)["status"] == "True"
        })
        .await
    }

    /// Waits until the Kustomization reports that it is not ready, with this reason and a message that contains `says`.
    pub async fn reports(&self, world: &World<'_>, name: &str, reason: &str, says: &str) -> Result<()> {
        self.wait(world, name, &format!("to report {reason}: {says}"), |object| {
            let ready = ready_condition(object);
            ready["status"] == "False"
                && ready["reason"] == reason
                && ready["message"].as_str().is_some_and(|message| message.contains(says))
        })
        .await
    }

    async fn wait(&self, world: &World<'_>, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<()> {
        let get = async || Ok::<_, Error>(self.objects.get(&self.kustomization(name)).await?.unwrap_or_default());
        let what = format!("Kustomization {name} {what}");
        let found = world.until(&what, FLUX_PATIENCE, async || {
            let object = get().await?;
            // Read the generation from the condition, because Flux updates `status.observedGeneration` only after a
            // success.
            let is_current = ready_condition(&object)["observedGeneration"] == object["metadata"]["generation"];
            Ok(is_current && holds(&object))
        });
        let Err(error) = found.await else { return Ok(()) };
        let (log, of) = (self.flux.process.log(), format!(r#""namespace":"{}""#, self.namespace));
        let log: Vec<&str> = log.lines().rev().filter(|line| line.contains(&of)).take(5).collect();
        Err(Error::new(format!("{error}\n{}\nlast lines of its log:\n{}", get().await?["status"], log.join("\n"))))
    }
}

fn ready_condition(kustomization: &Value) -> &Value {
    let conditions = kustomization["status"]["conditions"].as_array();
    conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready").unwrap_or(&Value::Null)
}
