//! `weft run` with a program.

use std::process::ExitStatus;

use rustix::process::Signal;

use crate::{ControlPlane, Process, free_port};

pub struct Runner {
    port: u16,
    process: Process,
}

impl Runner {
    /// Runs `command` as a workload of `service`; `{port}` in it is the port on which the program is to answer.
    pub fn start(control_plane: &ControlPlane, service: &str, command: &[&str]) -> Self {
        Self::start_with(control_plane, service, &[], command)
    }

    /// As `start`, with further flags.
    pub fn start_with(control_plane: &ControlPlane, service: &str, flags: &[&str], command: &[&str]) -> Self {
        Self::start_on(free_port(), control_plane, service, flags, command)
    }

    /// As `start_with`, where the program has been told its port in another way.
    pub fn start_on(port: u16, control_plane: &ControlPlane, service: &str, flags: &[&str], command: &[&str]) -> Self {
        let text = port.to_string();
        let mut run = control_plane.command(&["run", "--service", service, "--port", &text]);
        run.args(flags).arg("--").args(command.iter().map(|arg| arg.replace("{port}", &text)));
        Self { port, process: Process::start(service, &mut run, control_plane.folder()) }
    }

    /// Where the program itself answers, without the mesh.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub async fn ended(&mut self) -> ExitStatus {
        self.process.ended().await
    }

    /// Waits for the end, which must be a good one, and returns what the program printed.
    pub async fn output(&mut self) -> String {
        let status = self.ended().await;
        assert!(status.success(), "{status}: {:#?}", self.process.stderr());
        self.process.stdout().join("\n")
    }
}
