//! What users write: the custom resources, their conditions and reasons.
