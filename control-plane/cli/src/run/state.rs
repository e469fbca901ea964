//! The sidecar's folder: a temporary one that goes with `weft run`, or one that the person keeps.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tempfile::TempDir;
use weft_certs::file;

use crate::temporary;

const ANCHOR: &str = "trust-anchor.pem";
const TOKEN: &str = "join-token";

#[derive(Debug)]
pub enum State {
    Kept(PathBuf),
    Temporary(TempDir),
}

/// What the sidecar is told by file rather than by flag: flags can be seen by every user of the machine.
#[derive(Debug)]
pub struct Files {
    pub anchor: PathBuf,
    pub token: Option<PathBuf>,
}

impl State {
    /// # Errors
    /// The folder cannot be made.
    pub fn open(kept: Option<&Path>) -> anyhow::Result<Self> {
        match kept {
            Some(path) => {
                file::create_private_dir(path).with_context(|| format!("cannot create {}", path.display()))?;
                Ok(Self::Kept(path.to_owned()))
            }
            None => Ok(Self::Temporary(temporary::folder("weft-run-")?)),
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    /// Whether an earlier sidecar has left its state here, with which another can start by itself.
    pub fn has_history(&self) -> bool {
        let entries = std::fs::read_dir(self.path()).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).any(|name| name != ANCHOR && name != TOKEN)
    }

    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, anchor: &str, token: Option<&str>) -> anyhow::Result<Files> {
        let write = |name: &str, text: &str| {
            let path = self.path().join(name);
            file::write_private(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
            anyhow::Ok(path)
        };
        Ok(Files { anchor: write(ANCHOR, anchor)?, token: token.map(|token| write(TOKEN, token)).transpose()? })
    }
}

impl Files {
    /// The sidecar has its identity: what is used up need not lie around.
    pub fn forget_token(&self) -> io::Result<()> {
        match &self.token {
            Some(path) => std::fs::remove_file(path),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_goes_and_a_kept_one_stays() {
        let parent = tempfile::tempdir().unwrap();
        let kept = State::open(Some(&parent.path().join("a/b"))).unwrap();
        let temporary = State::open(None).unwrap();
        let (kept_path, temporary_path) = (kept.path().to_owned(), temporary.path().to_owned());
        assert!(temporary_path.is_dir());
        drop((kept, temporary));
        assert!(kept_path.is_dir());
        assert!(!temporary_path.exists());
    }

    #[test]
    fn the_token_is_forgotten_and_does_not_count_as_history() {
        let state = State::open(None).unwrap();
        let files = state.write("anchor", Some("token")).unwrap();
        assert!(!state.has_history());
        files.forget_token().unwrap();
        assert!(!files.token.unwrap().exists());
        std::fs::write(state.path().join("svid.pem"), "").unwrap();
        assert!(state.has_history());
    }
}
