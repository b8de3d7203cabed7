//! Requests to the apiserver that read or write objects. Each request has a timeout, because the client has no timeout.
//!
//! The module may import `keys`, `leader` and `resources`. Every write tests the uid, so that it never changes an
//! object that was recreated under the same name.

use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ObjectMeta};
use kube::core::DeserializeGuard;
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use tower::timeout::error::Elapsed;

pub use super::connection::API_TIMEOUT;
use super::connection::Connections;
use super::keys::ObjectKey;
use super::leader::Leadership;
use crate::resources::{
    FIELD_MANAGER, FINALIZER, LiveAccount, LiveAccountStatus, LiveMessageGroup, LiveMessageGroupStatus, StoredGroup,
    UnreadableGroup,
};

/// The hint for an operator that lacks a permission in only one namespace.
pub const RBAC_HINT: &str = "with watchNamespaces, deleting a namespace deletes the operator's Role in that namespace \
     first, and objects with a finalizer then block the deletion of the namespace: set rbac.groupsClusterWide to true \
     in the values of the chart, or remove the finalizers";

/// The HTTP status code of the response to a JSON patch if a `test` operation in the patch fails.
const UNPROCESSABLE: u16 = 422;

#[derive(Debug)]
pub enum GetResult {
    Object(Box<LiveMessageGroup>),
    /// This version of the operator cannot deserialize the stored object.
    Unreadable(Box<UnreadableGroup>),
    /// The object does not exist.
    Gone,
}

/// Why a request to the apiserver failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No object has this uid: it was deleted, or recreated under the same name.
    #[error("the object was deleted or recreated")]
    Gone,
    /// This process is not the leader. If the write was already sent, it may still arrive at the apiserver.
    #[error("this process is not the leader")]
    NotLeader,
    /// The apiserver did not respond within [`API_TIMEOUT`].
    #[error("the apiserver did not respond within {} s", API_TIMEOUT.as_secs())]
    Timeout,
    /// Any other error of the client or the apiserver.
    #[error("{}", api_message(.0))]
    Kube(Box<kube::Error>),
}

impl ApiError {
    /// Whether the operator lacks the permission for the request.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Kube(error) if matches!(&**error, kube::Error::Api(status) if status.is_forbidden()))
    }
}

/// Returns the message of an error. For an error response from the apiserver, this is only the message in the response.
/// The client library would also append the complete response.
fn api_message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.is_not_found() => Self::Gone,
            kube::Error::Service(inner) if inner.is::<Elapsed>() => Self::Timeout,
            _ => Self::Kube(Box::new(error)),
        }
    }
}

/// Reads and writes objects through the apiserver.
#[derive(Clone)]
pub struct ApiStore {
    client: Client,
    connections: Connections,
    leadership: Leadership,
}

impl ApiStore {
    /// Creates a store that uses these connections and writes only while this process leads.
    pub fn new(connections: Connections, leadership: Leadership) -> Self {
        Self { client: connections.requests.client.clone(), connections, leadership }
    }

    /// Whether this process leads.
    pub fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// The connections to the apiserver.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Reads the current object with a quorum read, never from a cache.
    ///
    /// # Errors
    /// Returns [`ApiError::Timeout`] or [`ApiError::Kube`].
    pub async fn get(&self, key: &ObjectKey) -> Result<GetResult, ApiError> {
        let api: Api<StoredGroup> = Api::namespaced(self.client.clone(), key.namespace());
        Ok(match self.send(api.get_opt(key.name())).await? {
            None => GetResult::Gone,
            Some(StoredGroup::Readable(object)) => GetResult::Object(object),
            Some(StoredGroup::Unreadable(object)) => GetResult::Unreadable(object),
        })
    }

    /// Sends a request. If the apiserver has requested a delay, waits for the end of the delay first.
    async fn send<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
        self.connections.requests.throttle.wait().await;
        in_time(call).await
    }

    /// Sends a write if this process still leads, and drops the write as soon as the process no longer leads. If the
    /// apiserver has requested a delay, waits for the end of the delay first.
    async fn write<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
        self.connections.requests.throttle.wait().await;
        self.leadership.while_leading(in_time(call)).await.unwrap_or(Err(ApiError::NotLeader))
    }

    /// Adds or removes the operator's finalizer. The patch replaces the complete list of finalizers, so it tests the
    /// resourceVersion. Therefore, the patch cannot overwrite a concurrent change to other finalizers.
    ///
    /// # Errors
    /// Returns [`ApiError::Gone`] if the object was deleted, or [`ApiError::Kube`] if the object has changed since it
    /// was read. In the second case, the caller repeats the step.
    pub async fn set_finalizer(
        &self,
        key: &ObjectKey,
        object: &LiveMessageGroup,
        wanted: bool,
    ) -> Result<Box<LiveMessageGroup>, ApiError> {
        readable(self.patch_finalizer(key, &object.metadata, wanted).await?)
    }

    /// Removes the operator's finalizer from an object that this version of the operator cannot read.
    ///
    /// # Errors
    /// See [`ApiStore::set_finalizer`].
    pub async fn release_unreadable(&self, key: &ObjectKey, metadata: &ObjectMeta) -> Result<(), ApiError> {
        self.patch_finalizer(key, metadata, false).await.map(drop)
    }

    async fn patch_finalizer(
        &self,
        key: &ObjectKey,
        metadata: &ObjectMeta,
        wanted: bool,
    ) -> Result<StoredGroup, ApiError> {
        let mut finalizers = metadata.finalizers.clone().unwrap_or_default();
        finalizers.retain(|name| name != FINALIZER);
        if wanted {
            finalizers.push(FINALIZER.to_owned());
        }
        let change = Operation::add("/metadata/finalizers", finalizers);
        let operations = (Operation::is_uid(&metadata.uid), Operation::is_version(metadata), change);
        let written = self.patch::<LiveMessageGroup, _>(key, "", &operations).await;
        self.resolve_unprocessable(key, metadata.uid.as_deref().unwrap_or_default(), written).await
    }

    /// Returns [`ApiError::Gone`] if a patch failed because the object with this uid no longer exists. The apiserver
    /// returns the same status code for a failed test and for an invalid object, so the uid is read to distinguish
    /// the two cases.
    async fn resolve_unprocessable<T>(
        &self,
        key: &ObjectKey,
        uid: &str,
        written: Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        if let Err(ApiError::Kube(error)) = &written
            && matches!(&**error, kube::Error::Api(refusal) if refusal.code == UNPROCESSABLE)
        {
            let api: Api<DeserializeGuard<LiveMessageGroup>> = Api::namespaced(self.client.clone(), key.namespace());
            let now = self.send(api.get_metadata_opt(key.name())).await?;
            if now.and_then(|object| object.metadata.uid).as_deref() != Some(uid) {
                return Err(ApiError::Gone);
            }
        }
        written
    }

    /// Replaces the status only if the object has not changed since it was read. If two operators write at the same
    /// time, one of the writes fails. The write is a JSON patch, which can test the uid and the resourceVersion. Other
    /// types of patches succeed even if the uid is wrong.
    ///
    /// # Errors
    /// See [`ApiStore::set_finalizer`].
    pub async fn write_status(
        &self,
        key: &ObjectKey,
        object: &LiveMessageGroup,
        status: &LiveMessageGroupStatus,
    ) -> Result<Box<LiveMessageGroup>, ApiError> {
        readable(self.patch_status(key, &object.metadata, status).await?)
    }

    /// Replaces the status of an object that this version of the operator cannot read; see [`ApiStore::write_status`].
    ///
    /// # Errors
    /// See [`ApiStore::set_finalizer`].
    pub async fn write_unreadable_status(
        &self,
        key: &ObjectKey,
        metadata: &ObjectMeta,
        status: &LiveMessageGroupStatus,
    ) -> Result<(), ApiError> {
        self.patch_status(key, metadata, status).await.map(drop)
    }

    async fn patch_status(
        &self,
        key: &ObjectKey,
        metadata: &ObjectMeta,
        status: &LiveMessageGroupStatus,
    ) -> Result<StoredGroup, ApiError> {
        let change = Operation::add("/status", status);
        let operations = (Operation::is_uid(&metadata.uid), Operation::is_version(metadata), change);
        let written = self.patch::<LiveMessageGroup, _>(key, "/status", &operations).await;
        self.resolve_unprocessable(key, metadata.uid.as_deref().unwrap_or_default(), written).await
    }

    /// Replaces the status of the LiveAccount with this uid. A change to the object does not prevent the write, because
    /// only the operator writes the status.
    ///
    /// # Errors
    /// Returns [`ApiError::Gone`] if the object was deleted, or recreated under the same name.
    pub async fn write_account_status(
        &self,
        key: &ObjectKey,
        uid: &str,
        status: &LiveAccountStatus,
    ) -> Result<(), ApiError> {
        let operations = (Operation::is_uid(uid), Operation::add("/status", status));
        self.patch::<LiveAccount, IgnoredAny>(key, "/status", &operations).await.map(drop)
    }

    /// Sends a JSON patch of an object or a subresource. The patch is serialized directly, because the library would
    /// first copy all values into a JSON document.
    async fn patch<K: Resource<DynamicType = ()>, T: DeserializeOwned>(
        &self,
        key: &ObjectKey,
        subresource: &str,
        operations: &impl Serialize,
    ) -> Result<T, ApiError> {
        let (objects, name) = (K::url_path(&(), Some(key.namespace())), key.name());
        let body = serde_json::to_vec(operations).map_err(kube::Error::SerdeError)?;
        let request = Request::patch(format!("{objects}/{name}{subresource}?fieldManager={FIELD_MANAGER}"))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json-patch+json")
            .body(body)
            .map_err(kube::Error::HttpError)?;
        self.write(self.client.request(request)).await
    }

    /// Whether a namespace is terminating or does not exist.
    ///
    /// # Errors
    /// Returns an [`ApiError`] if the namespace cannot be read.
    pub async fn is_terminating(&self, namespace: &str) -> Result<bool, ApiError> {
        let found = self.namespace(namespace).await?;
        Ok(found.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some()))
    }

    /// Reads a namespace. Returns `None` if it does not exist.
    ///
    /// # Errors
    /// Returns an [`ApiError`] if the namespace cannot be read.
    pub async fn namespace(&self, name: &str) -> Result<Option<Namespace>, ApiError> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        self.send(api.get_opt(name)).await
    }
}

async fn in_time<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
    match tokio::time::timeout(API_TIMEOUT, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(ApiError::Timeout),
    }
}

/// Returns the object from the response to a write, or an error if this version of the operator cannot read the object.
fn readable(stored: StoredGroup) -> Result<Box<LiveMessageGroup>, ApiError> {
    match stored {
        StoredGroup::Readable(object) => Ok(object),
        StoredGroup::Unreadable(object) => Err(kube::Error::SerdeError(serde_json::Error::custom(object.error)).into()),
    }
}

/// An operation of a JSON patch.
#[derive(Serialize)]
struct Operation<T> {
    op: &'static str,
    path: &'static str,
    value: T,
}

impl<T> Operation<T> {
    fn add(path: &'static str, value: T) -> Self {
        Self { op: "add", path, value }
    }

    /// Tests the uid of the object.
    fn is_uid(value: T) -> Self {
        Self { op: "test", path: "/metadata/uid", value }
    }
}

impl<'a> Operation<&'a Option<String>> {
    /// Tests that the object has not changed since it was read.
    fn is_version(read: &'a ObjectMeta) -> Self {
        Self { op: "test", path: "/metadata/resourceVersion", value: &read.resource_version }
    }
}
