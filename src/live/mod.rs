//! A client for the Live API, version 2016-11-01. It does not depend on Kubernetes.

pub mod access_key;
mod bounded;
pub mod client;
mod concealment;
pub mod credentials;
mod document;
pub mod encode;
pub mod endpoint;
pub mod endpoint_policy;
pub mod error;
pub mod http;
mod lenient;
mod memory;
pub mod operation;
pub mod request;
pub mod response;
mod service_clock;
pub mod signature;
pub mod transport;
mod xml;

#[cfg(test)]
pub(crate) mod fuzz;
#[cfg(test)]
pub(crate) mod logged;
#[cfg(test)]
pub(crate) mod loopback;

pub use access_key::Credentials;
pub use client::{Client, ClientOptions};
pub use concealment::conceal;
pub use endpoint::{Endpoint, Service};
pub use endpoint_policy::{EndpointPolicy, HostPattern};
pub use error::{CallError, ErrorClass};
pub use http::{CaBundle, HttpClientError, HttpOptions};
pub use memory::ResponseMemory;
pub use operation::{Call, GroupChange, GroupFields, GroupRef, Operation};
pub use response::{CreateOutcome, GroupSnapshot, Reply, Response};
