//! One Compose project of a test: brought up from its files, asked, and taken down with all that it made.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::Value;
use weft_tests::{Finished, Folder};

/// Images are built in it, the first time.
const LIMIT: Duration = Duration::from_mins(5);

/// The folder of an example.
pub fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/docker").canonicalize().unwrap()
}

pub struct Project {
    pub name: String,
    pub folder: Folder,
    directory: PathBuf,
    files: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Project {
    /// Nothing is started. `files` are those of `directory`.
    pub fn new(directory: &Path, files: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            name: format!("weft-test-{}-{number}", std::process::id()),
            folder: Folder::new(),
            directory: directory.to_owned(),
            files: files.iter().map(|&file| file.to_owned()).collect(),
            environment: Vec::new(),
        }
    }

    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Its files are those of its own folder.
    pub fn in_its_folder(&mut self) {
        self.directory = self.folder.path().to_owned();
    }

    /// Other files from now on.
    pub fn with_files(&mut self, files: &[&str]) {
        self.files = files.iter().map(|&file| file.to_owned()).collect();
    }

    /// `docker compose` for this project.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["compose", "--ansi", "never", "--project-name", &self.name]);
        self.files.iter().for_each(|file| _ = command.args(["--file", file]));
        command.args(args).current_dir(&self.directory);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub async fn compose(&self, args: &[&str]) -> Finished {
        Finished::of(self.command(args), b"", LIMIT).await
    }

    /// Brings all of it up, healthy.
    pub async fn up(&self) {
        self.compose(&["up", "--detach", "--wait"]).await.expect_ok();
    }

    /// Runs a command in a service's container.
    pub async fn exec(&self, service: &str, words: &[&str]) -> Finished {
        self.exec_with(service, words, b"").await
    }

    pub async fn exec_with(&self, service: &str, words: &[&str], input: &[u8]) -> Finished {
        let words = [&["exec", "-T", service], words].concat();
        Finished::of(self.command(&words), input, LIMIT).await
    }

    /// `weft` in the control plane's container.
    pub async fn weft(&self, words: &[&str], input: &[u8]) -> Finished {
        self.exec_with("control-plane", &[&["weft"], words].concat(), input).await
    }

    /// The log of a service's container.
    pub async fn log(&self, service: &str) -> String {
        let Finished { stdout, stderr, .. } = self.compose(&["logs", "--no-log-prefix", service]).await;
        stdout + &stderr
    }

    /// What the engine knows of a service's container.
    pub async fn inspect(&self, service: &str) -> Value {
        let id = self.compose(&["ps", "--all", "--quiet", service]).await.expect_ok();
        let text = docker(&["inspect", id.trim()]).await.expect_ok();
        serde_json::from_str::<Value>(&text).unwrap()[0].take()
    }

    /// Where a service is in the project's network.
    pub async fn address(&self, service: &str) -> String {
        let container = self.inspect(service).await;
        let network = container["NetworkSettings"]["Networks"].as_object().unwrap().values().next().unwrap();
        network["IPAddress"].as_str().unwrap().to_owned()
    }

    /// The bridge of the project's network, on this machine.
    pub async fn bridge(&self) -> String {
        let id = docker(&["network", "inspect", "--format", "{{.Id}}", &format!("{}_default", self.name)]).await;
        format!("br-{}", &id.expect_ok()[..12])
    }

    /// Takes down all of it; returns what is left.
    pub async fn down(&self) -> String {
        self.compose(&["down", "--volumes", "--remove-orphans"]).await.expect_ok();
        let label = format!("label=com.docker.compose.project={}", self.name);
        let mut left = String::new();
        for list in [&["ps", "--all"][..], &["network", "ls"], &["volume", "ls"]] {
            left += &docker(&[list, &["--quiet", "--filter", &label]].concat()).await.expect_ok();
        }
        left
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.command(&["ps", "--all"]).status();
            let _ = self.command(&["logs", "--tail", "30"]).status();
        }
        let down = ["down", "--volumes", "--remove-orphans", "--timeout", "1"];
        let _ = self.command(&down).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

pub async fn docker(args: &[&str]) -> Finished {
    let mut command = Command::new("docker");
    command.args(args);
    Finished::of(command, b"", LIMIT).await
}

/// `127.0.0.1` with the port.
pub fn on_this_machine(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
