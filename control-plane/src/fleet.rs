//! What the sidecars say about themselves: who is connected, what each has acknowledged, its open circuits.
//!
//! Knowledge for people only; nothing that is compiled depends on it, so that it needs no turn in `mesh`. It also keeps
//! which identity a workload's id belongs to: the first that used it. Called by the gRPC services, read by the admin API.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;
use weft_certs::SpiffeId;
use weft_proxy_api::Kind;

pub struct Fleet {
    grace: Duration,
    sidecars: Mutex<BTreeMap<String, Sidecar>>,
}

/// One sidecar, by its workload's id.
#[derive(Clone, Debug)]
pub struct Sidecar {
    pub identity: SpiffeId,
    /// Open streams of either kind.
    pub streams: u32,
    /// The revision that it has taken in full.
    pub acknowledged: Option<u64>,
    /// Resources that it refused, with the reason.
    pub rejected: BTreeMap<(Kind, String), String>,
    pub circuits: Vec<Circuit>,
    /// Why its application is not healthy; empty while it is.
    pub cause: String,
    pub svid_not_after: Option<Timestamp>,
    pub version: String,
    last_seen: Instant,
}

/// One circuit of a sidecar, as it reported it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circuit {
    pub backend: String,
    pub endpoint: Option<String>,
    /// `closed`, `open` or `half-open`.
    pub state: &'static str,
    pub cause: String,
    pub since: Timestamp,
    pub times_opened: u64,
    pub dry_run: bool,
}

/// The id is in use by a workload of another identity.
#[derive(Debug, thiserror::Error)]
#[error("the workload id {0:?} belongs to another identity")]
pub struct ForeignId(String);

impl Fleet {
    /// Sidecars that were not heard of for `grace` are forgotten.
    pub fn new(grace: Duration) -> Self {
        Self { grace, sidecars: Mutex::default() }
    }

    /// Binds a restored workload's id to its identity before anyone connects.
    pub fn restore(&self, id: &str, identity: &SpiffeId) {
        self.lock().entry(id.to_owned()).or_insert_with(|| Sidecar::new(identity.clone()));
    }

    /// A stream of this workload has begun; it ends with what this returns.
    pub fn connect(self: &Arc<Self>, id: &str, identity: &SpiffeId) -> Result<Presence, ForeignId> {
        let mut sidecars = self.lock();
        self.forget(&mut sidecars);
        let sidecar = sidecars.entry(id.to_owned()).or_insert_with(|| Sidecar::new(identity.clone()));
        if sidecar.identity != *identity {
            return Err(ForeignId(id.to_owned()));
        }
        sidecar.streams += 1;
        Ok(Presence { fleet: self.clone(), id: id.to_owned() })
    }

    fn update(&self, id: &str, change: impl FnOnce(&mut Sidecar)) {
        if let Some(sidecar) = self.lock().get_mut(id) {
            change(sidecar);
            sidecar.last_seen = Instant::now();
        }
    }

    pub fn sidecars(&self) -> BTreeMap<String, Sidecar> {
        let mut sidecars = self.lock();
        self.forget(&mut sidecars);
        sidecars.clone()
    }

    fn forget(&self, sidecars: &mut BTreeMap<String, Sidecar>) {
        sidecars.retain(|_, sidecar| sidecar.streams > 0 || sidecar.last_seen.elapsed() < self.grace);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Sidecar>> {
        // Every update leaves the map whole, so that a panic elsewhere is no reason to stop.
        self.sidecars.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open stream of a sidecar.
pub struct Presence {
    fleet: Arc<Fleet>,
    id: String,
}

impl Presence {
    pub fn update(&self, change: impl FnOnce(&mut Sidecar)) {
        self.fleet.update(&self.id, change);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.update(|sidecar| sidecar.streams = sidecar.streams.saturating_sub(1));
    }
}

impl Sidecar {
    fn new(identity: SpiffeId) -> Self {
        Self {
            identity,
            streams: 0,
            acknowledged: None,
            rejected: BTreeMap::new(),
            circuits: Vec::new(),
            cause: String::new(),
            svid_not_after: None,
            version: String::new(),
            last_seen: Instant::now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_belongs_to_the_identity_that_used_it_first() {
        let fleet = Arc::new(Fleet::new(Duration::from_secs(30)));
        let (orders, other) =
            ("spiffe://t/ns/a/sa/orders".parse().unwrap(), "spiffe://t/ns/a/sa/other".parse().unwrap());
        let _first = fleet.connect("id", &orders).unwrap();
        assert!(fleet.connect("id", &other).is_err());
        let _second = fleet.connect("id", &orders).unwrap();
        assert_eq!(fleet.sidecars()["id"].streams, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_sidecar_is_forgotten_after_the_grace_period() {
        let fleet = Arc::new(Fleet::new(Duration::from_secs(30)));
        let presence = fleet.connect("id", &"spiffe://t/ns/a/sa/orders".parse().unwrap()).unwrap();
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(fleet.sidecars().len(), 1, "it is connected");
        drop(presence);
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(fleet.sidecars().is_empty());
    }
}
