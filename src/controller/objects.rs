//! Reading objects and writing their status: every call has a time-out of its own, for the client has none.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, DeserializeGuard};
use serde_json::json;

use super::key::Key;
use crate::resources::{FINALIZER, LiveAccount, LiveAccountStatus, LiveMessageGroup, LiveMessageGroupStatus};

/// The name under which the operator writes.
pub const FIELD_MANAGER: &str = "live-message-operator";

/// A call to the apiserver is given up after this long.
pub const API_TIMEOUT: Duration = Duration::from_secs(10);

/// The HTTP status of a patch whose test fails.
const UNPROCESSABLE: u16 = 422;

/// What a read found.
#[derive(Debug)]
pub enum Found {
    /// The object.
    Object(Box<LiveMessageGroup>),
    /// It is stored in a form this version cannot read.
    Unreadable {
        /// Its uid and generation.
        identity: (String, i64),
        /// Its status, as far as it can be read.
        status: Box<LiveMessageGroupStatus>,
        /// What is wrong with it.
        error: String,
    },
    /// There is none.
    Gone,
}

/// Why a call to the apiserver failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No object of this uid: it was deleted, or made again under the same name.
    #[error("the object is gone or was replaced")]
    Gone,
    /// No answer within [`API_TIMEOUT`].
    #[error("the apiserver did not answer within {} s", API_TIMEOUT.as_secs())]
    Timeout,
    /// Anything else.
    #[error("{}", told(.0))]
    Kube(Box<kube::Error>),
}

impl StoreError {
    /// Whether the operator lacks the permission.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Kube(error) if matches!(&**error, kube::Error::Api(status) if status.is_forbidden()))
    }
}

/// An error as a person reads it: the library adds all of the answer to the server's own words.
fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl From<kube::Error> for StoreError {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.is_not_found() => Self::Gone,
            _ => Self::Kube(Box::new(error)),
        }
    }
}

/// The objects in the apiserver.
#[derive(Clone)]
pub struct Objects {
    client: Client,
}

impl Objects {
    /// Through `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Reads an object as it is now (a quorum read, never a cache).
    ///
    /// # Errors
    /// [`StoreError::Timeout`] or [`StoreError::Kube`].
    pub async fn get(&self, key: &Key) -> Result<Found, StoreError> {
        let api: Api<DeserializeGuard<LiveMessageGroup>> = Api::namespaced(self.client.clone(), key.namespace());
        match in_time(api.get_opt(key.name())).await? {
            None => Ok(Found::Gone),
            Some(DeserializeGuard(Ok(object))) => Ok(Found::Object(Box::new(object))),
            Some(DeserializeGuard(Err(invalid))) => {
                let resource = ApiResource::erase::<LiveMessageGroup>(&());
                let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), key.namespace(), &resource);
                let Some(raw) = in_time(api.get_opt(key.name())).await? else { return Ok(Found::Gone) };
                let status = raw.data.get("status").cloned().unwrap_or_default();
                Ok(Found::Unreadable {
                    identity: (raw.metadata.uid.unwrap_or_default(), raw.metadata.generation.unwrap_or_default()),
                    status: Box::new(serde_json::from_value(status).unwrap_or_default()),
                    error: invalid.error,
                })
            }
        }
    }

    /// Adds the operator's finalizer, or takes it away. The patch tests the resourceVersion: finalizers of others are
    /// neither lost nor brought back.
    ///
    /// # Errors
    /// [`StoreError::Gone`] where there is no such object any more; an object that changed meanwhile is an error too,
    /// and the step is to be taken again.
    pub async fn set_finalizer(
        &self,
        key: &Key,
        object: &LiveMessageGroup,
        wanted: bool,
    ) -> Result<LiveMessageGroup, StoreError> {
        let mut finalizers = object.metadata.finalizers.clone().unwrap_or_default();
        finalizers.retain(|name| name != FINALIZER);
        if wanted {
            finalizers.push(FINALIZER.to_owned());
        }
        let operations = json!([
            {"op": "test", "path": "/metadata/uid", "value": object.metadata.uid},
            {"op": "test", "path": "/metadata/resourceVersion", "value": object.metadata.resource_version},
            {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
        ]);
        let api: Api<LiveMessageGroup> = Api::namespaced(self.client.clone(), key.namespace());
        let written = in_time(api.patch(key.name(), &params(), &Patch::Json::<()>(json_patch(operations)?))).await;
        self.told_apart(key, object.metadata.uid.as_deref().unwrap_or_default(), written).await
    }

    /// The apiserver answers a failed test and an object that is not valid alike: tells a test of the uid apart.
    async fn told_apart<T>(&self, key: &Key, uid: &str, written: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Kube(error)) = &written
            && matches!(&**error, kube::Error::Api(refusal) if refusal.code == UNPROCESSABLE)
        {
            let api: Api<DeserializeGuard<LiveMessageGroup>> = Api::namespaced(self.client.clone(), key.namespace());
            let now = in_time(api.get_metadata_opt(key.name())).await?;
            if now.and_then(|object| object.metadata.uid).as_deref() != Some(uid) {
                return Err(StoreError::Gone);
            }
        }
        written
    }

    /// Records an attempt: a status that holds only for the object as it was read, so that of two operators one fails.
    ///
    /// # Errors
    /// As [`Objects::set_finalizer`].
    pub async fn record(
        &self,
        key: &Key,
        object: &LiveMessageGroup,
        status: &LiveMessageGroupStatus,
    ) -> Result<LiveMessageGroup, StoreError> {
        let operations = json!([
            {"op": "test", "path": "/metadata/uid", "value": object.metadata.uid},
            {"op": "test", "path": "/metadata/resourceVersion", "value": object.metadata.resource_version},
            {"op": "add", "path": "/status", "value": status},
        ]);
        let api: Api<LiveMessageGroup> = Api::namespaced(self.client.clone(), key.namespace());
        let written =
            in_time(api.patch_status(key.name(), &params(), &Patch::Json::<()>(json_patch(operations)?))).await;
        self.told_apart(key, object.metadata.uid.as_deref().unwrap_or_default(), written).await
    }

    /// Replaces the status of the LiveAccount with this uid; see [`Objects::write_status`].
    ///
    /// # Errors
    /// [`StoreError::Gone`] where there is no such object any more, or another one.
    pub async fn write_account_status(
        &self,
        key: &Key,
        uid: &str,
        status: &LiveAccountStatus,
    ) -> Result<(), StoreError> {
        let operations = json!([
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "add", "path": "/status", "value": status},
        ]);
        let api: Api<DeserializeGuard<LiveAccount>> = Api::namespaced(self.client.clone(), key.namespace());
        in_time(api.patch_status(key.name(), &params(), &Patch::Json::<()>(json_patch(operations)?))).await.map(drop)
    }

    /// Whether a namespace is going away.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_terminating(&self, namespace: &str) -> Result<bool, StoreError> {
        let found = self.namespace(namespace).await?;
        Ok(found.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some()))
    }

    /// A namespace, where there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn namespace(&self, name: &str) -> Result<Option<Namespace>, StoreError> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        in_time(api.get_opt(name)).await
    }

    /// Replaces the status of the object with this uid, whatever else has changed of it: the operator is the only
    /// writer. The patch tests the uid, for an apiserver accepts a foreign one in any other form.
    ///
    /// # Errors
    /// [`StoreError::Gone`] where there is no such object any more.
    pub async fn write_status(
        &self,
        key: &Key,
        uid: &str,
        status: &LiveMessageGroupStatus,
    ) -> Result<DeserializeGuard<LiveMessageGroup>, StoreError> {
        let operations = json!([
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "add", "path": "/status", "value": status},
        ]);
        let api: Api<DeserializeGuard<LiveMessageGroup>> = Api::namespaced(self.client.clone(), key.namespace());
        let written =
            in_time(api.patch_status(key.name(), &params(), &Patch::Json::<()>(json_patch(operations)?))).await;
        self.told_apart(key, uid, written).await
    }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

fn json_patch(operations: serde_json::Value) -> Result<json_patch::Patch, StoreError> {
    serde_json::from_value(operations).map_err(|error| StoreError::from(kube::Error::SerdeError(error)))
}

async fn in_time<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, StoreError> {
    match tokio::time::timeout(API_TIMEOUT, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(StoreError::Timeout),
    }
}
