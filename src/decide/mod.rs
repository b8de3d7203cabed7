//! The pure core: what to do next for one object. No I/O, no clock, no Kubernetes client.
