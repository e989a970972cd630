//! What can go wrong, by who has to act; decides the exit status.

use std::fmt;

/// Result of everything that ends at a user.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a command did not do what it was asked. The text names the thing, what is wrong with it, and
/// what to do.
#[derive(Debug)]
pub enum Failure {
    /// It could not be done. Exit status 1.
    Failed(String),
    /// It was asked wrongly. Exit status 2.
    Usage(String),
    /// No daemon answers. Exit status 3.
    NoDaemon(String),
}

impl Failure {
    /// Exit status of the process.
    #[must_use]
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NoDaemon(_) => 3,
        }
    }

    /// It could not be done.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    /// It was asked wrongly.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::Usage(text) | Self::NoDaemon(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    /// With its whole chain of causes.
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => Self::Failed(format!("{error:#}")),
        }
    }
}
