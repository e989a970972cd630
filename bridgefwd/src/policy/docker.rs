//! Which Docker engine is asked for the names of networks and containers, as users write it: `auto`,
//! `no`, or the path of its socket.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::failure::{Failure, Result};

/// Which engine is asked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum DockerChoice {
    /// That of this network namespace, where there is one.
    #[default]
    Auto,
    /// None.
    No,
    /// The one that listens there. It has to be there when the daemon starts.
    Socket(PathBuf),
}

impl DockerChoice {
    /// With a path that is the same wherever it is read.
    #[must_use]
    pub fn absolute(self) -> Self {
        match self {
            // Of an empty path there is none, and that is refused before.
            Self::Socket(path) => Self::Socket(std::path::absolute(&path).unwrap_or(path)),
            other => other,
        }
    }
}

impl FromStr for DockerChoice {
    type Err = Failure;

    /// A path may be one of the current folder, or have `unix://` before it as in `DOCKER_HOST`.
    fn from_str(text: &str) -> Result<Self> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        match text {
            "auto" => Ok(Self::Auto),
            "no" => Ok(Self::No),
            _ if path.is_empty() || path.contains("://") || path.contains(char::is_control) => {
                Err(Failure::usage(format!(
                    "{text:?} is no Docker engine: give the path of its socket, auto or no"
                )))
            }
            _ => Ok(Self::Socket(path.into())),
        }
    }
}

impl fmt::Display for DockerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::No => f.write_str("no"),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_a_word_or_a_path() {
        for (text, shown) in [
            ("auto", "auto"),
            ("no", "no"),
            ("/run/docker.sock", "/run/docker.sock"),
            ("unix:///run/docker.sock", "/run/docker.sock"),
            ("./no", "./no"),
        ] {
            assert_eq!(text.parse::<DockerChoice>().unwrap().to_string(), shown);
        }
        for wrong in ["", "unix://", "tcp://192.0.2.1:2375", "a\nb"] {
            let why = wrong.parse::<DockerChoice>().unwrap_err();
            assert_eq!(why.exit_status(), 2);
            assert!(why.to_string().contains("the path of its socket"), "{why}");
        }
    }
}
