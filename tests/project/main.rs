//! Tests of the project's documents and workflows: the API reference, the diagrams, the commands and versions in the
//! documents, the translation of the README, and the GitHub workflows.
//!
//! `UPDATE_DOCS=1 cargo test --test project` updates docs/api.md.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed precondition fails the test")]

mod api;
mod commands;
mod diagrams;
mod markdown;
mod translation;
mod versions;
mod workflows;

use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
