//! The `docker` command, run with a limit of time. Decides what its failures mean to a person, and nothing else.

use std::{ffi::OsStr, io, process::Stdio, time::Duration};

use tokio::process::Command;

/// A busy engine answers late; one that never answers must not hold the command.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    #[error("there is no `docker` command here; run this where it is, or see `--model` of `weft docker init --help`")]
    Missing,
    #[error("the docker engine cannot be reached: {0}")]
    Unreachable(String),
    #[error("`docker compose` is missing: install the compose plugin of docker, 2.24 or later ({0})")]
    NoCompose(String),
    #[error("`docker {what}` has not ended after {}", humantime::format_duration(PATIENCE))]
    Late { what: String },
    #[error("`docker {what}` failed: {message}")]
    Failed { what: String, message: String },
    #[error("`docker {what}` cannot be run: {source}")]
    Run { what: String, source: io::Error },
    #[error("`docker {what}` has said what weft cannot read: {reason}")]
    Unreadable { what: String, reason: String },
}

impl DockerError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Missing | Self::Unreachable(_) => 4,
            Self::NoCompose(_)
            | Self::Late { .. }
            | Self::Failed { .. }
            | Self::Run { .. }
            | Self::Unreadable { .. } => 1,
        }
    }
}

/// What docker wrote.
pub struct Said {
    pub stdout: Vec<u8>,
    /// Where `docker logs` writes what the container's program wrote to its standard error.
    pub stderr: Vec<u8>,
}

/// Runs `docker ARGS`.
///
/// # Errors
/// It is not there, has not ended in time, or did not succeed: with its own message.
pub async fn docker<S: AsRef<OsStr>>(args: &[S]) -> Result<Said, DockerError> {
    let what = named(args);
    let mut command = Command::new("docker");
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(PATIENCE, command.output()).await {
        Err(_) => return Err(DockerError::Late { what }),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Err(DockerError::Missing),
        Ok(Err(source)) => return Err(DockerError::Run { what, source }),
        Ok(Ok(output)) => output,
    };
    if output.status.success() {
        return Ok(Said { stdout: output.stdout, stderr: output.stderr });
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failure(what, if text.is_empty() { format!("it ended with {}", output.status) } else { text }))
}

/// The words of the command up to its first flag's value: enough to know which one failed.
fn named<S: AsRef<OsStr>>(args: &[S]) -> String {
    let words = args.iter().map(|word| word.as_ref().to_string_lossy().into_owned());
    words.take_while(|word| !word.starts_with('-')).take(3).collect::<Vec<_>>().join(" ")
}

/// Docker has no codes for these, and says them differently from version to version.
fn failure(what: String, message: String) -> DockerError {
    const UNREACHABLE: [&str; 4] = [
        "Cannot connect to the Docker daemon",
        "permission denied while trying to connect",
        "error during connect",
        "failed to connect to the docker API",
    ];
    const NO_COMPOSE: [&str; 4] = [
        "is not a docker command",
        "unknown command: docker compose",
        "unknown shorthand flag",
        "unknown flag: --profile",
    ];
    if UNREACHABLE.iter().any(|sign| message.contains(sign)) {
        return DockerError::Unreachable(message);
    }
    if what.starts_with("compose") && NO_COMPOSE.iter().any(|sign| message.contains(sign)) {
        return DockerError::NoCompose(first_line(&message).to_owned());
    }
    DockerError::Failed { what, message }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart_by_what_docker_says() {
        let of = |what: &str, message: &str| failure(what.to_owned(), message.to_owned());
        let down = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?";
        assert_eq!(of("ps", down).exit_code(), 4);
        assert!(of("ps", down).to_string().contains(down));
        let old = of("compose config", "unknown shorthand flag: 'f' in -f\nSee 'docker --help'.");
        assert!(matches!(&old, DockerError::NoCompose(text) if text.ends_with("in -f")), "{old}");
        let own = of("compose config", "yaml: line 1: did not find expected node content");
        assert!(own.to_string().ends_with("line 1: did not find expected node content"), "{own}");
        assert_eq!(own.exit_code(), 1);
        assert_eq!(DockerError::Missing.exit_code(), 4);
    }

    #[test]
    fn a_command_is_named_by_its_words() {
        assert_eq!(named(&["compose", "-f", "x.yaml", "config"]), "compose");
        assert_eq!(named(&["image", "inspect", "--format", "x"]), "image inspect");
    }
}
