//! The client of the Live OpenAPI (version 2016-11-01). It knows nothing of Kubernetes.

pub mod encode;
pub mod signature;
