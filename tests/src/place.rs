//! Where the processes of an actor run: on this machine's own network, or in a network namespace.

use std::{ffi::OsStr, process::Command};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    #[default]
    Machine,
    /// By its name, as `ip netns` knows it.
    Namespace(String),
}

impl Place {
    /// A command that knows nothing of the mesh and the proxies around the test itself.
    ///
    /// The process that is started becomes the program: no wrapper is left between it and who started it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Machine => clean(program),
            Self::Namespace(name) => {
                let mut command = clean("ip");
                command.args(["netns", "exec", name]).arg(program);
                command
            }
        }
    }
}

fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let foreign = |name: &str| name.starts_with("WEFT_") || name.to_ascii_lowercase().ends_with("_proxy");
    std::env::vars().filter(|(name, _)| foreign(name)).for_each(|(name, _)| _ = command.env_remove(name));
    command
}
