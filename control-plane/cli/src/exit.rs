//! How a command ends: the exit codes of `weft`, and the failure that each one stands for.
//!
//! The codes are a contract with scripts; [`HELP`] is their documentation in `weft --help`. Every command returns
//! `Result<Exit, Failure>`; `main` prints the failure and exits.

use std::process::ExitCode;

use weft_control_plane::resources::Problem;

use crate::{client::ClientError, docker::DockerError};

pub const HELP: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage: an unknown flag or a missing argument
  3  refused: the resources do not hold, nothing was changed
  4  the control plane, or docker, cannot be reached, or refuses the credentials
  5  `weft diff` found differences
`weft run` exits with the code of the program that it ran, or with 128 + N when signal N ended it.";

/// A command that did what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    Differs,
    /// `weft check` that has shown its problems as data.
    Refused,
    /// `weft check --docker` that has shown its problems.
    Unwell,
    /// `weft run`: the program's own code.
    Program(u8),
}

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Usage(String),
    /// With every problem, each already placed in its file.
    #[error("{}, nothing was changed", count(.0.len(), "problem"))]
    Refused(Vec<Problem>),
    /// As `Refused`, where nothing would have been changed anyway.
    #[error("{} found", count(.0.len(), "problem"))]
    Invalid(Vec<Problem>),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error("{}", chain(.0))]
    Other(#[from] anyhow::Error),
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => 0,
            Exit::Unwell => 1,
            Exit::Refused => 3,
            Exit::Differs => 5,
            Exit::Program(code) => code,
        }
    }
}

impl Failure {
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused(_) | Self::Invalid(_) => 3,
            Self::Client(error) => error.exit_code(),
            Self::Docker(error) => error.exit_code(),
            Self::Other(_) => 1,
        }
    }

    /// The problems to list before the message.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Refused(problems) | Self::Invalid(problems) => problems,
            Self::Usage(_) | Self::Client(_) | Self::Docker(_) | Self::Other(_) => &[],
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.into())
    }
}

/// An error with its causes. Many name theirs in their own text, and it is not said twice.
fn chain(error: &anyhow::Error) -> String {
    error
        .chain()
        .skip(1)
        .map(ToString::to_string)
        .fold(error.to_string(), |said, cause| if said.contains(&cause) { said } else { format!("{said}: {cause}") })
}

/// What the process exits with.
pub fn code(result: &Result<Exit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => ExitCode::from(u8::from(*exit)),
        Err(failure) => ExitCode::from(failure.code()),
    }
}

/// `1 problem`, `2 problems`.
pub fn count(n: usize, noun: &str) -> String {
    match n {
        1 => format!("1 {noun}"),
        n => format!("{n} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_named_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read: {source}")]
        struct Names {
            source: std::io::Error,
        }
        let source = || std::io::Error::other("the disk is gone");
        let shown = |error: anyhow::Error| Failure::Other(error).to_string();
        assert_eq!(shown(anyhow::Error::new(Names { source: source() })), "cannot read: the disk is gone");
        assert_eq!(shown(anyhow::Error::new(source()).context("cannot write")), "cannot write: the disk is gone");
    }

    #[test]
    fn every_end_has_the_code_that_the_help_documents() {
        assert_eq!(u8::from(Exit::Done), 0);
        assert_eq!(u8::from(Exit::Unwell), 1);
        assert_eq!(u8::from(Exit::Refused), 3);
        assert_eq!(u8::from(Exit::Differs), 5);
        assert_eq!(u8::from(Exit::Program(143)), 143);
        assert_eq!(Failure::Other(anyhow::anyhow!("x")).code(), 1);
        assert_eq!(Failure::Usage(String::new()).code(), 2);
        assert_eq!(Failure::Refused(Vec::new()).code(), 3);
        assert_eq!(Failure::Invalid(Vec::new()).code(), 3);
        assert_eq!(Failure::Client(ClientError::Unauthorized { address: String::new() }).code(), 4);
        assert_eq!(Failure::Docker(DockerError::Missing).code(), 4);
        for code in 0..=5 {
            assert!(HELP.contains(&format!("\n  {code}  ")), "{code} is documented");
        }
    }
}
