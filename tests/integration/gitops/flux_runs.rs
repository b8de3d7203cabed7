//! Tests that the real kustomize-controller applies the examples, waits for objects, reports failures and prunes
//! objects.

use std::collections::BTreeSet;

use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::flux::{Flux, Repository};
use super::sops::EncryptedSecret;
use super::{example, manifests};
use crate::support::{Context as _, ControlPlane, Result, Scratch, repository as root};
use crate::world::{PATIENCE, World, app};

/// The names of the Kustomizations in the example.
const OPERATOR: &str = "live-message-operator";
const GROUPS: &str = "live-message-groups";

/// The name of the Kustomization in the other tests.
const TEAM: &str = "team";

const LIVE_MESSAGE_GROUP: &str = "apiVersion: live.alibabacloud.com/v1alpha1\nkind: LiveMessageGroup\n";

/// Returns the path and the content of a file in the directory `groups`. The file contains a LiveMessageGroup with
/// these fields in its spec.
fn group(world: &World<'_>, name: &str, spec: &str) -> (String, String) {
    let metadata = format!("metadata: {{name: {name}, namespace: {}}}\n", world.namespace);
    (format!("groups/{name}.yaml"), format!("{LIVE_MESSAGE_GROUP}{metadata}spec: {{{spec}}}\n"))
}

/// Pushes LiveMessageGroups, each with its name and spec.
async fn push(world: &World<'_>, repository: &Repository<'_>, groups: &[(&str, &str)]) -> Result<()> {
    let mut files = vec![("groups/kustomization.yaml".to_owned(), "resources: []\n".to_owned())];
    if !groups.is_empty() {
        files = groups.iter().map(|(name, spec)| group(world, name, spec)).collect();
    }
    let files: Vec<(&str, String)> = files.iter().map(|(path, content)| (path.as_str(), content.clone())).collect();
    repository.push(&files).await
}

/// Reads the files in `examples/gitops/groups`, and replaces their namespace with the namespace of the world.
fn example_groups(world: &World<'_>) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(example("groups"))? {
        let file = file?;
        let content = std::fs::read_to_string(file.path())?;
        // Replace the name of the Namespace, and the field `namespace` in `kustomization.yaml`.
        let content = content.replace("name: team\n", &format!("name: {}\n", world.namespace));
        let content = content.replace("namespace: team\n", &format!("namespace: {}\n", world.namespace));
        files.push((format!("groups/{}", file.file_name().to_string_lossy()), content));
    }
    Ok(files)
}

/// Moves an object from the examples to a world's namespace.
fn moved(mut object: Value, namespace: &str) -> Value {
    let field = if object["kind"] == "Namespace" { "name" } else { "namespace" };
    object["metadata"][field] = json!(namespace);
    object
}

/// The repository of the example for Flux: the operator, its encrypted credentials and the groups.
struct ExampleRepository {
    operator: String,
    credentials: String,
    groups: Vec<(String, String)>,
}

impl ExampleRepository {
    fn new(world: &World<'_>, credentials: &EncryptedSecret) -> Result<Self> {
        let operator = manifests("flux/operator/operator.yaml")?.into_iter();
        let operator = operator.map(|object| moved(object, &world.namespace).to_string()).collect::<Vec<_>>();
        Ok(Self {
            operator: operator.join("\n---\n"),
            credentials: credentials.yaml.clone(),
            groups: example_groups(world)?,
        })
    }

    async fn push(&self, repository: &Repository<'_>) -> Result<()> {
        let mut files = vec![
            ("operator/operator.yaml", self.operator.clone()),
            ("operator/credentials.yaml", self.credentials.clone()),
        ];
        files.extend(self.groups.iter().map(|(path, content)| (path.as_str(), content.clone())));
        repository.push(&files).await
    }

    /// Removes a document from `groups.yaml`.
    fn remove(&mut self, name: &str) -> Result<()> {
        let (_, groups) =
            self.groups.iter_mut().find(|(path, _)| path.ends_with("/groups.yaml")).context("no groups.yaml")?;
        let line = format!("  name: {name}\n");
        assert!(groups.contains(&line), "{groups}");
        *groups = groups.split("---\n").filter(|document| !document.contains(&line)).collect::<Vec<_>>().join("---\n");
        Ok(())
    }
}

/// Creates the Kustomizations of the example in the namespace of the world. Flux retries every second.
async fn create_example_kustomizations(repository: &Repository<'_>) -> Result<()> {
    let kustomizations = manifests("flux/kustomizations.yaml")?;
    let names: Vec<&Value> = kustomizations.iter().map(|object| &object["metadata"]["name"]).collect();
    assert_eq!(names, [OPERATOR, GROUPS]);
    for mut object in kustomizations {
        object["spec"]["retryInterval"] = json!("1s");
        repository.objects.apply(&moved(object, &repository.namespace)).await?;
    }
    Ok(())
}

/// Reports in the status that the chart and its release are ready. Normally, source-controller and helm-controller
/// write this status, but the tests do not run them.
async fn finish_helm_release(world: &World<'_>, repository: &Repository<'_>) -> Result<()> {
    for (version, kind) in
        [("source.toolkit.fluxcd.io/v1", "OCIRepository"), ("helm.toolkit.fluxcd.io/v2", "HelmRelease")]
    {
        let object = repository.object(version, kind, OPERATOR);
        world
            .until(&format!("{kind} to exist"), PATIENCE, async || Ok(repository.objects.get(&object).await?.is_some()))
            .await?;
        let ready = json!({
            "type": "Ready", "status": "True", "reason": "Succeeded", "message": "done", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        repository.objects.set_status(&object, json!({"observedGeneration": 1, "conditions": [ready]})).await?;
    }
    Ok(())
}

#[tokio::test]
async fn flux_applies_the_examples_in_order() -> Result<()> {
    let mut world = World::new(&[]).await?;
    let repository = Repository::new(&world, Flux::shared()?).await?;
    let credentials = EncryptedSecret::create(&world.namespace, ("LTAIexample", "from-git"))?;
    repository.objects.apply(&credentials.key(&world.namespace)).await?;
    let mut example = ExampleRepository::new(&world, &credentials)?;
    example.push(&repository).await?;
    create_example_kustomizations(&repository).await?;

    repository.reports(&world, GROUPS, "DependencyNotReady", OPERATOR).await?;
    assert!(world.list().await?.is_empty(), "Flux applied the groups before the operator was ready");
    finish_helm_release(&world, &repository).await?;
    repository.ready(&world, OPERATOR).await?;
    assert_decrypted(&repository).await?;

    world.start()?;
    repository.ready(&world, GROUPS).await?;
    for name in ["lobby", "rehearsal"] {
        world.ready(name, "True", "Created").await?;
    }
    assert_no_drift(&world, &example).await?;

    // Flux must not delete `rehearsal`, because the group would be deleted with the object. The object therefore has
    // the annotation `prune: disabled`.
    example.remove("lobby")?;
    example.remove("rehearsal")?;
    example.push(&repository).await?;
    repository.ready(&world, GROUPS).await?;
    world.until("lobby to be gone", PATIENCE, async || Ok(world.api.get_opt("lobby").await?.is_none())).await?;
    assert!(world.api.get("rehearsal").await?.metadata.deletion_timestamp.is_none());
    assert_eq!(world.emulator.calls("DeleteLiveMessageGroup")?, 0);
    Ok(())
}

/// Asserts that the Secret contains a credentials file with the access key that was encrypted.
async fn assert_decrypted(repository: &Repository<'_>) -> Result<()> {
    let secret = repository.object("v1", "Secret", "alibaba-cloud-credentials");
    let secret = repository.objects.get(&secret).await?.context("Flux did not create the Secret")?;
    let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret)?;
    let file = secret.data.unwrap_or_default().remove("credentials.ini").context("no credentials.ini")?;
    let file = String::from_utf8(file.0)?;
    assert_eq!(file, "[default]\ntype = access_key\naccess_key_id = LTAIexample\naccess_key_secret = from-git\n",);
    Ok(())
}

/// Asserts that `kubectl diff` finds no difference after Flux and the operator are done, that another field manager can
/// apply the same files without a conflict, and that the operator owns only the status and the finalizer.
async fn assert_no_drift(world: &World<'_>, example: &ExampleRepository) -> Result<()> {
    let dir = Scratch::new("groups")?;
    std::fs::create_dir(dir.join("groups"))?;
    for (path, content) in &example.groups {
        dir.write(path, content)?;
    }
    let path = dir.join("groups").display().to_string();
    world.control_plane.kubectl(&["diff", "-k", &path])?;
    let apply = ["apply", "--server-side", "--field-manager=argocd-controller", "-k", &path];
    world.control_plane.kubectl(&apply)?;
    world.control_plane.kubectl(&["diff", "-k", &path])?;
    let mut managers = BTreeSet::new();
    for object in world.list().await? {
        for entry in object.managed_fields() {
            let manager = entry.manager.clone().unwrap_or_default();
            let fields = entry.fields_v1.as_ref().context("no fields")?.0.to_string();
            if manager == "live-message-operator" {
                let owns_spec = fields.contains("\"f:spec\"") || fields.contains("\"f:annotations\"");
                assert!(!owns_spec, "the operator owns {fields}");
            }
            managers.insert(manager);
        }
    }
    let expected = ["argocd-controller", "kustomize-controller", "live-message-operator"].map(String::from);
    assert_eq!(managers, BTreeSet::from(expected));
    Ok(())
}

#[tokio::test]
async fn flux_reports_a_failed_group_and_recovers() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    let repository = Repository::new(&world, Flux::shared()?).await?;
    push(&world, &repository, &[("lobby", "appId: demo"), ("lost", "appId: nowhere")]).await?;
    repository.create_kustomization(TEAM, "./groups").await?;
    let failed = format!("LiveMessageGroup/{}/lost status: 'Failed'", world.namespace);
    repository.reports(&world, TEAM, "HealthCheckFailed", &failed).await?;
    world.ready("lobby", "True", "Created").await?;

    push(&world, &repository, &[("lobby", "appId: demo"), ("lost", "appId: demo")]).await?;
    repository.ready(&world, TEAM).await?;
    world.ready("lost", "True", "Created").await?;

    // With `force: true`, Flux would replace the object. Without it, Flux reports the validation error of the CRD.
    let before = world.api.get("lobby").await?;
    push(&world, &repository, &[("lobby", "appId: other"), ("lost", "appId: demo")]).await?;
    repository.reports(&world, TEAM, "ReconciliationFailed", "immutable").await?;
    assert_eq!(world.api.get("lobby").await?.uid(), before.uid());
    // Suspend the Kustomization. Otherwise, Flux would retry every second until all tests end.
    repository.objects.patch(&repository.kustomization(TEAM), json!({"spec": {"suspend": true}})).await
}

#[tokio::test]
async fn flux_prunes_and_waits_for_finalizers() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    let repository = Repository::new(&world, Flux::shared()?).await?;
    let (retained, deleted) = ("appId: demo", "appId: demo, deletionPolicy: Delete");
    push(&world, &repository, &[("kept", retained), ("closed", deleted), ("last", deleted)]).await?;
    repository.create_kustomization(TEAM, "./groups").await?;
    repository.ready(&world, TEAM).await?;

    push(&world, &repository, &[("last", deleted)]).await?;
    repository.ready(&world, TEAM).await?;
    world.until("two objects to be gone", PATIENCE, async || Ok(world.list().await?.len() == 1)).await?;
    assert_eq!(world.calls("DeleteLiveMessageGroup", "closed")?, 1);
    assert_eq!(world.calls("DeleteLiveMessageGroup", "kept")?, 0);

    // While the group cannot be deleted, the finalizer keeps the object, and Flux waits for its deletion.
    world.emulator.faults(&["DeleteLiveMessageGroup:error=ServerError"])?;
    repository.objects.delete(&repository.kustomization(TEAM)).await?;
    let refused = async || Ok(world.calls("DeleteLiveMessageGroup", "last")? > 0);
    world.until("a refused call", PATIENCE, refused).await?;
    assert!(world.api.get("last").await?.metadata.deletion_timestamp.is_some());
    let kustomization = async || repository.objects.get(&repository.kustomization(TEAM)).await;
    assert!(kustomization().await?.is_some(), "Flux did not wait for the object");
    world.emulator.faults(&[])?;
    world.until("the Kustomization to be gone", PATIENCE, async || Ok(kustomization().await?.is_none())).await?;
    assert!(world.list().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn operator_and_groups_recover_when_crds_arrive() -> Result<()> {
    let control_plane = ControlPlane::start()?;
    let flux = Flux::start(&control_plane)?;
    let mut world = World::on(&control_plane, app(), &[]).await?;
    world.start()?;
    let repository = Repository::new(&world, &flux).await?;
    let (path, lobby) = group(&world, "lobby", "appId: demo");
    let mut files = vec![(path, lobby)];
    for file in std::fs::read_dir(root().join("crds"))? {
        let file = file?;
        files.push((format!("crds/{}", file.file_name().to_string_lossy()), std::fs::read_to_string(file.path())?));
    }
    let files: Vec<(&str, String)> = files.iter().map(|(path, content)| (path.as_str(), content.clone())).collect();
    repository.push(&files).await?;

    repository.create_kustomization(TEAM, "./groups").await?;
    repository.reports(&world, TEAM, "ReconciliationFailed", "no matches for kind \"LiveMessageGroup\"").await?;
    let waiting = async || Ok(world.log().contains("CustomResourceDefinition"));
    world.until("the operator to report the missing CRDs", PATIENCE, waiting).await?;
    repository.create_kustomization("crds", "./crds").await?;
    repository.ready(&world, "crds").await?;
    repository.ready(&world, TEAM).await?;
    world.ready("lobby", "True", "Created").await?;
    assert!(world.operator.as_mut().context("no operator")?.process.exited()?.is_none());
    Ok(())
}
