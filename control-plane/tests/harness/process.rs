//! The real binary, on free ports and a given data folder.

use std::{path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};
use weft_control_plane::admin_api::AdminCredentials;

use crate::harness::{Admin, DEADLINE};

pub struct Process {
    pub child: Child,
    pub admin: Admin,
}

impl Process {
    /// Starts the real binary and waits for its ready line.
    pub async fn start(data_dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_weft-control-plane"))
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--grpc-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log", "warn"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().expect("a ready line");
        assert!(line.starts_with("weft-control-plane ready grpc=127.0.0.1:"), "{line}");
        let credentials: AdminCredentials =
            serde_saphyr::from_str(&std::fs::read_to_string(data_dir.join("admin.yaml")).unwrap()).unwrap();
        assert!(line.ends_with(&format!(" admin={}", credentials.address)), "{line}");
        Self { child, admin: Admin { credentials } }
    }
}
