//! The error type of the test environment. `Display` and `Debug` both print its message unchanged.

use std::fmt;

/// The description of a failure. It has several lines if it contains the log of a server.
pub struct Error(String);

/// The result type of the test environment.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Adds lines after the text.
    pub fn with_note(self, note: &str) -> Self {
        Self(format!("{}\n{note}", self.0))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// Prints the message unchanged, because a test that fails with `?` prints its error with Debug. The derived
// implementation would escape the line breaks, which makes a log unreadable.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// This does not conflict with `impl From<T> for T`, because Error does not implement std::error::Error. The `anyhow`
// crate does the same.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Adds a description of the failed operation to an error.
pub trait Context<T> {
    /// Prefixes the error with "`what`: ".
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error(format!("{what}: {error}")))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Error(what.to_string()))
    }
}
