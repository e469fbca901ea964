//! The program that `weft run` runs: its environment, its signals, its end.

use std::{
    ffi::{OsStr, OsString},
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
};

use anyhow::Context;
use rustix::process::Signal;
use tokio::process::{Child, Command};

use super::sidecar::signal;

#[derive(Debug)]
pub struct Program {
    child: Child,
}

impl Program {
    /// Input and outputs are this process's own, untouched.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &[OsString], outbound: SocketAddr) -> anyhow::Result<Self> {
        let (program, args) = command.split_first().context("no program to run")?;
        let mut command = Command::new(program);
        command.args(args).kill_on_drop(true);
        std::env::vars_os().map(|(name, _)| name).filter(|name| is_secret(name)).for_each(|name| {
            command.env_remove(name);
        });
        for (name, value) in environment(outbound, |name| std::env::var_os(name)) {
            command.env(name, value);
        }
        let child = command.spawn().with_context(|| format!("cannot start {}", program.to_string_lossy()))?;
        Ok(Self { child })
    }

    /// Waits for its end. Cancel-safe.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// Passes a signal on; a program that is gone already has no use for it.
    pub fn signal(&self, which: Signal) {
        if let Some(pid) = self.child.id() {
            let _ = signal(pid, which);
        }
    }

    pub async fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        self.child.start_kill()?;
        Ok(self.child.wait().await?)
    }
}

/// The exit code as a shell has it: the program's own, or 128 + N for signal N.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// What leads to the right to change the mesh, or to join it. It is for `weft run`, not for what that runs.
fn is_secret(variable: &OsStr) -> bool {
    let variable = variable.to_string_lossy();
    variable == "WEFT_CONFIG" || variable.starts_with("WEFT_JOIN_TOKEN")
}

/// What tells the program about the mesh. Requests to this machine itself stay outside, unless the person says otherwise.
fn environment(outbound: SocketAddr, existing: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, OsString)> {
    let proxy = format!("http://{outbound}");
    let mut variables: Vec<(&'static str, OsString)> =
        ["HTTP_PROXY", "http_proxy", "WEFT_OUTBOUND"].map(|name| (name, proxy.clone().into())).into();
    if existing("NO_PROXY").is_none() && existing("no_proxy").is_none() {
        variables.extend(["NO_PROXY", "no_proxy"].map(|name| (name, "localhost,127.0.0.1,::1".into())));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_told_of_the_outbound_proxy() {
        let outbound = "127.0.0.1:4000".parse().unwrap();
        let fresh = environment(outbound, |_| None);
        let value = |name: &str| fresh.iter().find(|(n, _)| *n == name).unwrap().1.to_str().unwrap().to_owned();
        for name in ["HTTP_PROXY", "http_proxy", "WEFT_OUTBOUND"] {
            assert_eq!(value(name), "http://127.0.0.1:4000");
        }
        assert_eq!(value("NO_PROXY"), "localhost,127.0.0.1,::1");
        let set = environment(outbound, |name| (name == "no_proxy").then(|| "x".into()));
        assert!(set.iter().all(|(name, _)| !name.eq_ignore_ascii_case("no_proxy")), "what is set is kept");
    }

    #[test]
    fn exit_codes_are_those_of_shells() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }

    #[tokio::test]
    async fn the_programs_own_code_and_signals_are_seen() {
        let outbound = "127.0.0.1:4000".parse().unwrap();
        let of = |script: &str| ["sh", "-c", script].map(OsString::from);
        let mut program = Program::start(&of("exit 7"), outbound).unwrap();
        assert_eq!(exit_code(program.ended().await.unwrap()), 7);
        let mut program = Program::start(&of("exec sleep 600"), outbound).unwrap();
        program.signal(Signal::TERM);
        assert_eq!(exit_code(program.ended().await.unwrap()), 143);
        let missing = Program::start(&["/nonexistent/weft".into()], outbound).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/weft"), "{missing}");
    }
}
