//! The state folder: SVID and last good configuration, so that a sidecar can start while the control plane is away.
//!
//! Files are replaced as a whole and readable by their owner only. What cannot be read is left aside and said: a
//! damaged state is no worse than none.

use std::{
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use prost::Message;
use weft_certs::{Svid, file};
use weft_proxy_api::proto::discovery::{DeltaDiscoveryResponse, Resource};

pub struct StateDir {
    dir: PathBuf,
}

const SVID: &str = "svid.pem";
const CONFIGURATION: &str = "configuration.bin";
const WORKLOAD: &str = "workload-id";

impl StateDir {
    /// # Errors
    /// The folder cannot be made.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        file::create_private_dir(dir)
            .map_err(|e| anyhow::anyhow!("cannot make the state folder {}: {e}", dir.display()))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// The SVID, if it is still valid.
    pub fn svid(&self, now: SystemTime) -> Option<Svid> {
        let svid = Svid::from_pem(&self.read_text(SVID)?).map_err(|e| self.unusable(SVID, &e)).ok()?;
        if !svid.is_valid_at(now) {
            tracing::info!("the SVID in the state folder has expired");
            return None;
        }
        Some(svid)
    }

    pub fn save_svid(&self, svid: &Svid) {
        self.write(SVID, svid.to_pem().as_bytes());
    }

    /// The resources of the last good configuration, the trust bundle among them.
    pub fn configuration(&self) -> Vec<Resource> {
        let Some(bytes) = self.read(CONFIGURATION) else { return Vec::new() };
        match DeltaDiscoveryResponse::decode(bytes.as_slice()) {
            Ok(saved) => saved.resources,
            Err(error) => {
                self.unusable(CONFIGURATION, &error);
                Vec::new()
            }
        }
    }

    pub fn save_configuration(&self, resources: Vec<Resource>) {
        let saved = DeltaDiscoveryResponse { resources, ..Default::default() };
        self.write(CONFIGURATION, &saved.encode_to_vec());
    }

    /// The workload's id, which lasts as long as the folder.
    pub fn workload_id(&self, fresh: impl FnOnce() -> String) -> String {
        if let Some(id) = self.read_text(WORKLOAD).filter(|id| !id.is_empty()) {
            return id;
        }
        let id = fresh();
        self.write(WORKLOAD, id.as_bytes());
        id
    }

    fn read_text(&self, name: &str) -> Option<String> {
        String::from_utf8(self.read(name)?).map_err(|e| self.unusable(name, &e)).ok()
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        match std::fs::read(self.dir.join(name)) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.unusable(name, &error);
                None
            }
        }
    }

    /// A full disk must not stop traffic: the state is then older than it could be, and the log says so.
    fn write(&self, name: &str, bytes: &[u8]) {
        if let Err(error) = file::write_private(&self.dir.join(name), bytes) {
            tracing::error!(file = %self.dir.join(name).display(), %error, "the state folder could not be written");
        }
    }

    fn unusable(&self, name: &str, error: &dyn std::fmt::Display) {
        tracing::warn!(file = %self.dir.join(name).display(), %error, "left aside: the file cannot be used");
    }
}
