//! A control plane in a folder of its own, for the tests of the commands that need one.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

/// Ended with the test.
pub struct Mesh {
    pub folder: TempDir,
    pub control_plane: Child,
}

impl Mesh {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        let listen = ["--grpc-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let mut control_plane = command(&folder)
            .args(["control-plane", "--data-dir", "cp"])
            .args(listen)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(control_plane.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("weft-control-plane ready grpc="), "{line}");
        Self { folder, control_plane }
    }

    /// `weft` in the folder, with this control plane.
    pub fn weft(&self) -> Command {
        command(&self.folder)
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        let _ = self.control_plane.kill();
        let _ = self.control_plane.wait();
    }
}

fn command(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    let own = std::env::vars_os().map(|(name, _)| name);
    own.filter(|name| name.to_string_lossy().starts_with("WEFT_")).for_each(|name| _ = command.env_remove(name));
    for name in ["NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    command
        .current_dir(folder.path())
        .env("WEFT_CONFIG", "cp/admin.yaml")
        .env("TMPDIR", folder.path().join("tmp"))
        .stdin(Stdio::null());
    command
}
