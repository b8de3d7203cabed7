//! What GitOps tools make of the objects.

mod examples;
