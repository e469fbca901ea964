//! The sidecar's log: to a file, or marked on standard error. Its last lines explain an early end.

use std::{
    collections::VecDeque,
    fs::File,
    io::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    task::JoinHandle,
};

use crate::output::notice;

const REMEMBERED: usize = 20;

/// Cheap to clone; all clones write to the same place.
#[derive(Clone, Debug)]
pub struct Log {
    file: Option<Arc<File>>,
    last: Arc<Mutex<VecDeque<String>>>,
}

impl Log {
    /// # Errors
    /// The file cannot be opened.
    pub fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            let opened = File::options().append(true).create(true).open(path);
            opened.map(Arc::new).with_context(|| format!("cannot write the sidecar's log to {}", path.display()))
        };
        Ok(Self { file: file.map(open).transpose()?, last: Arc::default() })
    }

    /// Takes every line that comes from `stream`, until it ends.
    pub fn follow(&self, stream: impl AsyncRead + Send + Unpin + 'static) -> JoinHandle<()> {
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stream).split(b'\n');
            while let Ok(Some(line)) = lines.next_segment().await {
                log.write(&String::from_utf8_lossy(&line));
            }
        })
    }

    /// The last lines, to stand below a message.
    pub fn last_lines(&self) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().flat_map(|line| ["\n", line.as_str()]).collect()
    }

    fn write(&self, line: &str) {
        match &self.file {
            // A log that cannot be written must not end the program that it is about.
            Some(file) => _ = writeln!(&mut &**file, "{line}"),
            None => notice(format!("[sidecar] {line}")),
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == REMEMBERED {
            last.pop_front();
        }
        last.push_back(line.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_reach_the_file_and_the_last_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::open(Some(&path)).unwrap();
        let text: String = (0..30).map(|n| format!("line {n}\n")).collect();
        log.follow(std::io::Cursor::new(text.clone().into_bytes())).await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        let last = log.last_lines();
        assert!(last.starts_with("\nline 10\n") && last.ends_with("\nline 29"), "{last}");
    }
}
