//! What every part of a run needs: where the programs are, where files may be written, who everyone is.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Context;
use tempfile::TempDir;

use super::{
    certificates::Certificates,
    tools::{self, Tools},
};

pub struct Site {
    pub tools: Tools,
    pub programs: Programs,
    pub certificates: Certificates,
    folder: TempDir,
    folders: AtomicU32,
}

/// What is built from this repository.
#[derive(Clone)]
pub struct Programs {
    pub weft_proxy: PathBuf,
    pub control_plane: PathBuf,
    pub bare: PathBuf,
    pub server: PathBuf,
}

impl Site {
    pub fn new(tools: Tools, programs: Programs) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("weft-bench-").tempdir()?;
        let certificates = Certificates::make(folder.path())?;
        Ok(Self { tools, programs, certificates, folder, folders: AtomicU32::new(1) })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// By program.
    pub fn versions(&self) -> BTreeMap<String, String> {
        let mut versions = self.tools.versions();
        let weft = tools::version(&self.programs.weft_proxy, "--version");
        versions.extend(weft.map(|version| ("weft".to_owned(), version)));
        versions
    }

    /// Bytes, by program. What a program loads from the system's shared libraries is not in them.
    pub fn binaries(&self) -> BTreeMap<String, u64> {
        let programs = [
            ("weft-proxy", Some(&*self.programs.weft_proxy)),
            ("weft-control-plane", Some(&*self.programs.control_plane)),
            ("bare", Some(&*self.programs.bare)),
            ("envoy", self.tools.envoy().ok()),
            ("haproxy", self.tools.haproxy().ok()),
        ];
        let size = |(name, path): (&str, Option<&Path>)| Some((name.to_owned(), std::fs::metadata(path?).ok()?.len()));
        programs.into_iter().filter_map(size).collect()
    }

    pub fn fresh_folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let number = self.folders.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.path().join(format!("{number:03}-{name}"));
        std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }
}
