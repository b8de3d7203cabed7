//! Objects of any kind as JSON, and the CRDs of Flux, Argo CD and External Secrets.

use std::sync::OnceLock;
use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::support::{Context as _, ControlPlane, Error, Result, gitops_crds, shared_control_plane, wait_for};

/// The CRDs of Flux, with the paths at which the apiserver serves them.
const FLUX: (&str, &[&str]) = (
    "flux.yaml",
    &[
        "kustomize.toolkit.fluxcd.io/v1/kustomizations",
        "helm.toolkit.fluxcd.io/v2/helmreleases",
        "source.toolkit.fluxcd.io/v1/gitrepositories",
        "source.toolkit.fluxcd.io/v1/ocirepositories",
        "source.toolkit.fluxcd.io/v1/buckets",
        "source.toolkit.fluxcd.io/v1/externalartifacts",
    ],
);
const ARGO_CD: (&str, &[&str]) = ("argo-cd.yaml", &["argoproj.io/v1alpha1/applications"]);
const EXTERNAL_SECRETS: (&str, &[&str]) = ("external-secrets.yaml", &["external-secrets.io/v1/externalsecrets"]);

/// Installs the CRDs of all projects on the shared control plane. Only the first call installs them.
pub fn install_all_crds() -> Result<()> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let install = || {
        let control_plane = shared_control_plane()?;
        [FLUX, ARGO_CD, EXTERNAL_SECRETS].into_iter().try_for_each(|crds| install_crds(control_plane, crds))
    };
    INSTALLED.get_or_init(|| install().map_err(|error: Error| error.to_string())).clone().map_err(Error::new)
}

/// Installs the CRDs of Flux.
pub fn install_flux_crds(control_plane: &ControlPlane) -> Result<()> {
    install_crds(control_plane, FLUX)
}

fn install_crds(control_plane: &ControlPlane, (file, served): (&str, &[&str])) -> Result<()> {
    let path = gitops_crds()?.join(file).display().to_string();
    // Validation would download the OpenAPI schema, which is slow on a busy machine.
    control_plane.kubectl(&["apply", "--server-side", "--validate=false", "-f", &path])?;
    let mut answer = String::from("none yet");
    let ready = wait_for(&format!("the CRDs of {file} to be served"), Duration::from_secs(90), || {
        let get = |path: &&str| control_plane.kubectl(&["get", &format!("--raw=/apis/{path}?limit=1")]).map(drop);
        Ok(served.iter().try_for_each(get).map_err(|error| answer = error.to_string()).ok())
    });
    ready.map_err(|error| Error::new(format!("{error}\nlast response: {answer}")))
}

/// The field manager of the tests.
const MANAGER: &str = "gitops-test";

/// A client for objects of any kind.
pub struct Objects(kube::Client);

impl Objects {
    pub async fn new(control_plane: &ControlPlane) -> Result<Self> {
        Ok(Self(control_plane.client().await?))
    }

    /// Returns the API for the kind and the namespace of an object, and the name of the object.
    fn api<'o>(&self, object: &'o Value) -> Result<(Api<DynamicObject>, &'o str)> {
        let text = |value: &'o Value| value.as_str().context(format_args!("not an object: {object}"));
        let (group, version) =
            text(&object["apiVersion"])?.split_once('/').unwrap_or(("", text(&object["apiVersion"])?));
        let kind = GroupVersionKind::gvk(group, version, text(&object["kind"])?);
        let resource = ApiResource::from_gvk(&kind);
        let api = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.0.clone(), namespace, &resource),
            None => Api::all_with(self.0.clone(), &resource),
        };
        Ok((api, text(&object["metadata"]["name"])?))
    }

    /// Creates or changes an object.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        let (api, name) = self.api(object)?;
        let parameters = PatchParams::apply(MANAGER).force();
        api.patch(name, &parameters, &Patch::Apply(object)).await.map(drop).context(object)
    }

    /// Validates an object without storing it. An unknown field is an error.
    pub async fn validate(&self, object: &Value) -> Result<()> {
        let (api, name) = self.api(object)?;
        let parameters = PatchParams::apply(MANAGER).force().dry_run().validation_strict();
        api.patch(name, &parameters, &Patch::Apply(object)).await.map(drop).context(object)
    }

    /// Writes the status of an existing object, as the controller of the object would do.
    pub async fn set_status(&self, object: &Value, status: Value) -> Result<()> {
        let (api, name) = self.api(object)?;
        let patch = Patch::Merge(json!({ "status": status }));
        api.patch_status(name, &PatchParams::default(), &patch).await.map(drop).context(object)
    }

    /// Changes fields of an existing object with a merge patch.
    pub async fn patch(&self, object: &Value, patch: Value) -> Result<()> {
        let (api, name) = self.api(object)?;
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop).context(object)
    }

    /// Reads an object, if it exists. `object` needs only its kind, name and namespace.
    pub async fn get(&self, object: &Value) -> Result<Option<Value>> {
        let (api, name) = self.api(object)?;
        let stored = api.get_opt(name).await.context(object)?;
        Ok(stored.map(serde_json::to_value).transpose()?)
    }

    /// Deletes an object without waiting until it is gone.
    pub async fn delete(&self, object: &Value) -> Result<()> {
        let (api, name) = self.api(object)?;
        api.delete(name, &DeleteParams::default()).await.map(drop).context(object)
    }
}
