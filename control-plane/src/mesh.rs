//! The heart of the control plane: resources, workloads and resolved addresses, and what sidecars are told of them.
//!
//! One task, `owner`, owns all of it and takes every change in turn; [`Mesh`] is the handle that everyone else holds.
//! A change is checked, then on the disk, then published, then answered, in this order: whoever got an answer can rely
//! on sidecars being told. Changes that arrive together are published together. What is published is compiled when a
//! sidecar asks for it, and kept for as long as changes do not touch it.

mod change;
mod encoded;
mod owner;
mod published;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use weft_certs::TrustBundle;
use weft_proxy_api::ServiceName;

use crate::{
    admin_api::{ApplyRequest, Change, DeleteRequest, RollbackRequest},
    endpoints::{
        dns::{Host, Resolved},
        registration::{Holder, Leases},
    },
    fleet::Fleet,
    resources::{Key, Problem},
    snapshot::{Input, VirtualAddresses},
    store::{Documents, Registration, Store, StoreError},
    tasks::Tasks,
    telemetry::Metrics,
};
pub use change::action;
use owner::{Command, Loaded, Owner, Report};
pub use published::Published;

/// More waiting changes than this make their senders wait.
const MAILBOX: usize = 256;

#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    #[error("{}", summary(.0))]
    Invalid(Vec<Problem>),
    #[error("there is no {0}")]
    NotFound(Key),
    #[error("there is no revision before {0} to go back to")]
    NothingToRollBack(u64),
    #[error("{key} of revision {revision} is not valid any more")]
    Unreadable { key: Key, revision: u64, problems: Vec<Problem> },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the control plane is stopping")]
    Stopping,
}

/// A handle on the mesh. Cheap to clone.
#[derive(Clone)]
pub struct Mesh {
    commands: mpsc::Sender<Command>,
    published: watch::Receiver<Arc<Published>>,
    hosts: watch::Receiver<BTreeSet<Host>>,
}

/// What a mesh is started with.
pub struct Parts {
    pub store: Arc<Store>,
    pub fleet: Arc<Fleet>,
    pub metrics: Arc<Metrics>,
    pub trust_bundle: TrustBundle,
    pub endpoint_grace: Duration,
    pub tasks: Tasks,
}

/// What the store holds at the start.
struct Kept {
    revision: u64,
    documents: Documents,
    registrations: BTreeMap<String, (Registration, u64)>,
    resolved: Resolved,
    virtual_addresses: BTreeMap<ServiceName, Ipv4Addr>,
}

impl Kept {
    fn read(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            revision: store.revision()?,
            documents: store.documents()?,
            registrations: store.registrations()?,
            resolved: store.resolved()?,
            virtual_addresses: store.virtual_addresses()?,
        })
    }
}

impl Mesh {
    /// Loads what the store holds, compiles it, and starts the owner, which ends with the last handle.
    ///
    /// # Errors
    /// The store cannot be read, or holds what is no resource any more.
    pub async fn start(parts: Parts) -> Result<Self, MeshError> {
        let kept = crate::store::blocking(&parts.store, Kept::read).await?;
        let objects = change::read(kept.documents, kept.revision)?;
        let mut leases = Leases::new(parts.endpoint_grace);
        for (id, registration) in kept.registrations {
            parts.fleet.restore(&id, &registration.0.identity);
            leases.restore(id, registration, tokio::time::Instant::now());
        }
        let input = Input {
            objects: Arc::new(objects.into_iter().collect()),
            workloads: Arc::new(leases.iter().collect()),
            resolved: Arc::new(kept.resolved),
            virtual_addresses: VirtualAddresses::restore(kept.virtual_addresses),
        };
        let (commands, mailbox) = mpsc::channel(MAILBOX);
        let tasks = parts.tasks.clone();
        let loaded = Loaded { revision: kept.revision, leases, input };
        let (owner, published, hosts) = Owner::start(parts, loaded).await;
        tasks.spawn_to_end(owner.run(mailbox));
        Ok(Self { commands, published, hosts })
    }

    /// What is true now.
    pub fn published(&self) -> Arc<Published> {
        self.published.borrow().clone()
    }

    /// Follows what is true.
    pub fn watch(&self) -> watch::Receiver<Arc<Published>> {
        self.published.clone()
    }

    /// The hosts that DNS is to be asked for.
    pub fn wanted_hosts(&self) -> watch::Receiver<BTreeSet<Host>> {
        self.hosts.clone()
    }

    pub async fn apply(&self, request: ApplyRequest, now: Timestamp) -> Result<Change, MeshError> {
        self.ask(|reply| Command::Apply { request, now, reply }).await
    }

    pub async fn delete(&self, request: DeleteRequest, now: Timestamp) -> Result<Change, MeshError> {
        self.ask(|reply| Command::Delete { request, now, reply }).await
    }

    pub async fn rollback(&self, request: RollbackRequest, now: Timestamp) -> Result<Change, MeshError> {
        self.ask(|reply| Command::Rollback { request, now, reply }).await
    }

    /// The workload serves, as described; answered when its endpoint is on the disk and published.
    pub async fn register(&self, id: &str, holder: Holder, registration: Registration) -> Result<(), MeshError> {
        let report = Report { id: id.to_owned(), holder, registration: Some(registration) };
        self.ask(|reply| Command::Report { report, reply }).await
    }

    /// The workload serves nothing any more.
    pub async fn leave(&self, id: &str, holder: Holder) -> Result<(), MeshError> {
        let report = Report { id: id.to_owned(), holder, registration: None };
        self.ask(|reply| Command::Report { report, reply }).await
    }

    /// The workload's report stream broke: its grace period begins.
    pub async fn lose(&self, id: &str, holder: Holder) {
        // Fails only when the mesh is stopping, and the next start gives everyone a grace period anyway.
        let _ = self.commands.send(Command::Lost { id: id.to_owned(), holder }).await;
    }

    pub async fn resolved(&self, host: Host, addresses: Vec<SocketAddr>) {
        let _ = self.commands.send(Command::Resolved { host, addresses }).await;
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, MeshError>>) -> Command,
    ) -> Result<T, MeshError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| MeshError::Stopping)?;
        answer.await.map_err(|_| MeshError::Stopping)?
    }
}

fn summary(problems: &[Problem]) -> String {
    match problems.len() {
        1 => "1 problem, nothing was changed".to_owned(),
        count => format!("{count} problems, nothing was changed"),
    }
}

#[cfg(test)]
pub(crate) mod tests;
