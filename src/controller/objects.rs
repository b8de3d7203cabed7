//! Reading objects and writing their status: every call has a time-out of its own, for the client has none.

use std::time::Duration;

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, DeserializeGuard};
use serde_json::json;

use super::key::Key;
use crate::resources::{LiveMessageGroup, LiveMessageGroupStatus};

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
    #[error("{0}")]
    Kube(Box<kube::Error>),
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
        let patch: json_patch::Patch =
            serde_json::from_value(operations).map_err(|error| StoreError::from(kube::Error::SerdeError(error)))?;
        let api: Api<DeserializeGuard<LiveMessageGroup>> = Api::namespaced(self.client.clone(), key.namespace());
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let written = in_time(api.patch_status(key.name(), &params, &Patch::Json::<()>(patch))).await;
        // A test that fails and a status that is not valid are answered alike.
        if let Err(StoreError::Kube(error)) = &written
            && matches!(&**error, kube::Error::Api(refusal) if refusal.code == UNPROCESSABLE)
        {
            let now = in_time(api.get_metadata_opt(key.name())).await?;
            if now.and_then(|object| object.metadata.uid).as_deref() != Some(uid) {
                return Err(StoreError::Gone);
            }
        }
        written
    }
}

async fn in_time<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, StoreError> {
    match tokio::time::timeout(API_TIMEOUT, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(StoreError::Timeout),
    }
}
