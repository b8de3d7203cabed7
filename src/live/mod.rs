//! The client of the Live API, version 2016-11-01. It does not depend on Kubernetes.

pub mod access_key;
mod bounded;
pub mod client;
pub mod credentials;
pub mod encode;
pub mod endpoint;
pub mod error;
pub mod http;
pub mod operation;
pub mod request;
pub mod response;
mod service_clock;
pub mod signature;
pub mod transport;
pub mod xml;

#[cfg(test)]
pub(crate) mod logged;
#[cfg(test)]
pub(crate) mod loopback;

pub use access_key::Credentials;
pub use client::{Client, ClientOptions};
pub use endpoint::{Endpoint, Service};
pub use error::{CallError, ErrorClass};
pub use http::{CaBundle, HttpClientError, HttpOptions};
pub use operation::{Call, GroupChange, GroupFields, GroupRef, Operation};
pub use response::{CreateOutcome, GroupSnapshot, Reply, Response};
