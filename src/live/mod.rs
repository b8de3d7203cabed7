//! The client of the Live OpenAPI (version 2016-11-01). It knows nothing of Kubernetes.

pub mod client;
pub mod credentials;
pub mod encode;
pub mod endpoint;
pub mod error;
pub mod operation;
pub mod request;
pub mod response;
pub mod signature;
pub mod transport;
pub mod xml;

#[cfg(test)]
pub(crate) mod logged;
#[cfg(test)]
pub(crate) mod loopback;

pub use client::{Answer, Client, ClientOptions};
pub use credentials::Credentials;
pub use endpoint::Endpoint;
pub use error::{CallError, ErrorClass};
pub use operation::{Call, GroupChange, GroupFields, GroupRef, Operation};
pub use response::{CreateOutcome, GroupSnapshot, Reply};
pub use transport::{CaBundle, HttpOptions};
