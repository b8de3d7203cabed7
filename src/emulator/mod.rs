//! The Live API on loopback: for tests, demos and users' pipelines.
