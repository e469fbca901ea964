//! The temporary folder of one test: state, files and logs. Its logs are printed when the test fails.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;

/// The last lines of each log say why; all of them would hide it.
const SHOWN: usize = 60;

/// Cheap to clone; the folder goes with the last clone.
#[derive(Clone)]
pub struct Folder(Arc<Inner>);

struct Inner {
    dir: TempDir,
    logs: AtomicU32,
}

impl Folder {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("weft-tests-").tempdir().unwrap();
        fs::create_dir(dir.path().join("logs")).unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        Self(Arc::new(Inner { dir, logs: AtomicU32::new(1) }))
    }

    pub fn path(&self) -> &Path {
        self.0.dir.path()
    }

    /// For the temporary files of its processes, which go with it even when a process could not remove them.
    pub fn temporary(&self) -> PathBuf {
        self.path().join("tmp")
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A path for a log that no other process has; numbered in the order of their starts.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        let number = self.0.logs.fetch_add(1, Ordering::Relaxed);
        self.path().join("logs").join(format!("{number:02}-{name}.log"))
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut logs: Vec<_> = fs::read_dir(self.dir.path().join("logs")).unwrap().map(|e| e.unwrap().path()).collect();
        logs.sort();
        for path in logs {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            let lines: Vec<_> = text.lines().collect();
            eprintln!("--- {} ({} lines)", path.file_name().unwrap().to_string_lossy(), lines.len());
            lines[lines.len().saturating_sub(SHOWN)..].iter().for_each(|line| eprintln!("{line}"));
        }
    }
}
