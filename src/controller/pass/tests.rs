//! The machine itself: retries, backoff, and what outlives a step.
