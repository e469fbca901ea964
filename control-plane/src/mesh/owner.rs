//! The task that owns the state: takes commands in turn, and publishes once for those that arrived together.

mod settle;

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use weft_proxy_api::ServiceName;

use super::{
    MeshError, Parts, Published,
    change::{self, Proposal},
};
use crate::{
    admin_api::{Action, ApplyRequest, Change, DeleteRequest, RollbackRequest},
    endpoints::{
        dns::Host,
        registration::{Holder, Leases, workload},
    },
    resources::{self, Kind, MeshServiceSpec, Objects, Problem, Source, Spec},
    snapshot::Input,
    store::{self, NewEvent, Registration, Store},
    telemetry::Metrics,
};

/// At most this many commands share one publication with the first.
const BATCH: usize = 255;
/// After expired endpoints could not be removed from the disk: time for it to get well.
const EXPIRY_RETRY: Duration = Duration::from_secs(10);

type Reply<T> = oneshot::Sender<Result<T, MeshError>>;
/// An answer that is given after the next publication.
type Answer = Box<dyn FnOnce() + Send>;

pub enum Command {
    Apply { request: ApplyRequest, now: Timestamp, reply: Reply<Change> },
    Delete { request: DeleteRequest, now: Timestamp, reply: Reply<Change> },
    Rollback { request: RollbackRequest, now: Timestamp, reply: Reply<Change> },
    Report { report: Report, reply: Reply<()> },
    Lost { id: String, holder: Holder },
    Resolved { host: Host, addresses: Vec<SocketAddr> },
}

pub struct Report {
    pub id: String,
    pub holder: Holder,
    /// `None`: it serves nothing any more.
    pub registration: Option<Registration>,
}

/// What an earlier run left.
pub struct Loaded {
    pub revision: u64,
    pub leases: Leases,
    pub input: Input,
}

/// Who writes, and why.
struct Signature {
    author: String,
    message: String,
    now: Timestamp,
    dry_run: bool,
}

pub struct Owner {
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    revision: u64,
    leases: Leases,
    /// What the next publication is made of.
    input: Input,
    published: watch::Sender<Arc<Published>>,
    hosts: watch::Sender<BTreeSet<Host>>,
    /// Services that may have come or gone since addresses were given out.
    unsettled: BTreeSet<ServiceName>,
    /// Something that is compiled has changed since the last publication.
    is_stale: bool,
}

impl Owner {
    pub async fn start(
        parts: Parts,
        Loaded { revision, leases, mut input }: Loaded,
    ) -> (Self, watch::Receiver<Arc<Published>>, watch::Receiver<BTreeSet<Host>>) {
        // Everything: a process that was killed may have written a change and no address yet.
        let mut unsettled = settle::all(&input);
        settle::settle(&parts.store, &mut input, &mut unsettled).await;
        let (hosts, wanted) = watch::channel(dns_hosts(&input.objects));
        let published = Published::new(revision, input.clone(), parts.trust_bundle);
        let (published, current) = watch::channel(Arc::new(published));
        let owner = Self {
            store: parts.store,
            metrics: parts.metrics,
            revision,
            leases,
            input,
            published,
            hosts,
            unsettled,
            is_stale: false,
        };
        owner.count();
        (owner, current, wanted)
    }

    /// Ends when nobody can send commands any more.
    pub async fn run(mut self, mut mailbox: mpsc::Receiver<Command>) {
        loop {
            let expiry = self.leases.next_expiry();
            tokio::select! {
                command = mailbox.recv() => {
                    let Some(command) = command else { return };
                    let mut answers = Vec::new();
                    answers.extend(self.take(command).await);
                    // Bounded, so that a steady stream of commands cannot put the answers off for ever.
                    for _ in 0..BATCH {
                        let Ok(command) = mailbox.try_recv() else { break };
                        answers.extend(self.take(command).await);
                    }
                    self.publish().await;
                    answers.into_iter().for_each(|answer| answer());
                }
                () = sleep_until(expiry) => {
                    self.expire().await;
                    self.publish().await;
                }
            }
        }
    }

    async fn take(&mut self, command: Command) -> Option<Answer> {
        match command {
            Command::Apply { request, now, reply } => Some(answer(reply, self.apply(request, now).await)),
            Command::Delete { request, now, reply } => Some(answer(reply, self.delete(request, now).await)),
            Command::Rollback { request, now, reply } => Some(answer(reply, self.rollback(request, now).await)),
            Command::Report { report, reply } => Some(answer(reply, self.report(report).await)),
            Command::Lost { id, holder } => {
                self.leases.lose(&id, holder, Instant::now());
                None
            }
            Command::Resolved { host, addresses } => {
                self.resolved(host, addresses).await;
                None
            }
        }
    }

    async fn apply(&mut self, request: ApplyRequest, now: Timestamp) -> Result<Change, MeshError> {
        let ApplyRequest { documents, namespace, dry_run, author, message } = request;
        let objects = resources::parse(&documents, &namespace).map_err(MeshError::Invalid)?;
        let proposal = Proposal::write(&self.input.objects, objects);
        self.commit(proposal, Signature { author, message, now, dry_run }).await
    }

    async fn delete(&mut self, request: DeleteRequest, now: Timestamp) -> Result<Change, MeshError> {
        let DeleteRequest { keys, dry_run, author, message } = request;
        let proposal = Proposal::delete(&self.input.objects, &keys)?;
        self.commit(proposal, Signature { author, message, now, dry_run }).await
    }

    async fn rollback(&mut self, request: RollbackRequest, now: Timestamp) -> Result<Change, MeshError> {
        let RollbackRequest { revision, dry_run, author, message } = request;
        let target = match revision {
            Some(revision) => revision,
            None => self.revision.checked_sub(1).ok_or(MeshError::NothingToRollBack(self.revision))?,
        };
        let documents = store::blocking(&self.store, move |store| store.documents_at(target)).await?;
        let proposal = Proposal::replace(&self.input.objects, change::read(documents, target)?);
        let message = if message.is_empty() { format!("rollback to revision {target}") } else { message };
        self.commit(proposal, Signature { author, message, now, dry_run }).await
    }

    async fn commit(&mut self, proposal: Proposal, signature: Signature) -> Result<Change, MeshError> {
        let problems = proposal.problems(&self.input.objects, self.input.workloads.implied());
        if problems.iter().any(Problem::is_error) {
            return Err(MeshError::Invalid(problems));
        }
        let Proposal { objects, changes, deltas, .. } = proposal;
        let Signature { author, message, now, dry_run } = signature;
        if !dry_run && !deltas.is_empty() {
            let services = deltas.iter().filter(|delta| delta.key.kind == Kind::MeshService);
            let services = services.filter(|delta| change::action(delta) != Action::Changed);
            let services: Vec<_> =
                services.map(|delta| ServiceName::new(&delta.key.namespace, &delta.key.name)).collect();
            let event = NewEvent { time: now, author, message, changes: deltas };
            self.revision = store::blocking(&self.store, move |store| store.apply(event)).await?;
            self.unsettled.extend(services);
            self.input.objects = Arc::new(objects);
            self.is_stale = true;
        }
        Ok(Change { revision: self.revision, dry_run, changes, warnings: problems })
    }

    async fn report(&mut self, report: Report) -> Result<(), MeshError> {
        let Report { id, holder, registration } = report;
        let Some(registration) = registration else {
            return self.remove(BTreeSet::from([id]), holder).await;
        };
        if self.leases.get(&id) != Some(&registration) {
            let (key, value, order) = (id.clone(), registration.clone(), self.leases.order(&id, &registration));
            store::blocking(&self.store, move |store| store.put_registration(&key, value, order)).await?;
            let workloads = Arc::make_mut(&mut self.input.workloads);
            if let Some(before) = self.leases.get(&id) {
                workloads.remove(&before.service_name(), &id);
                self.unsettled.insert(before.service_name());
            }
            workloads.insert(workload(&id, &registration, order));
            self.unsettled.insert(registration.service_name());
            self.is_stale = true;
        }
        self.leases.renew(id, registration, holder);
        Ok(())
    }

    async fn remove(&mut self, mut ids: BTreeSet<String>, holder: Holder) -> Result<(), MeshError> {
        ids.retain(|id| self.leases.get(id).is_some() && !self.leases.is_taken_over(id, holder));
        self.forget(ids).await
    }

    async fn expire(&mut self) {
        let expired = self.leases.expired(Instant::now());
        if let Err(error) = self.forget(expired.clone()).await {
            tracing::error!(%error, retry_in = ?EXPIRY_RETRY, "expired endpoints cannot be removed from the disk");
            self.leases.postpone(&expired, Instant::now() + EXPIRY_RETRY);
            return;
        }
        for id in &expired {
            tracing::info!(workload = id, "the sidecar was not heard of for the grace period, its endpoint is removed");
        }
    }

    async fn forget(&mut self, ids: BTreeSet<String>) -> Result<(), MeshError> {
        if ids.is_empty() {
            return Ok(());
        }
        // The disk first: a workload that is gone for callers must not be back after a restart.
        let gone = ids.clone();
        store::blocking(&self.store, move |store| store.remove_registrations(&gone)).await?;
        for id in &ids {
            if let Some(before) = self.leases.remove(id) {
                Arc::make_mut(&mut self.input.workloads).remove(&before.service_name(), id);
                self.unsettled.insert(before.service_name());
            }
        }
        self.is_stale = true;
        Ok(())
    }

    async fn resolved(&mut self, host: Host, addresses: Vec<SocketAddr>) {
        if self.input.resolved.get(&host) == Some(&addresses) {
            return;
        }
        Arc::make_mut(&mut self.input.resolved).insert(host, addresses);
        self.is_stale = true;
        // Kept for the next start: a name server that is down then must not cost the last good answer.
        let all = self.input.resolved.clone();
        if let Err(error) = store::blocking(&self.store, move |store| store.put_resolved(&all)).await {
            tracing::error!(%error, "resolved addresses were not written to the disk");
        }
    }

    async fn publish(&mut self) {
        if !std::mem::take(&mut self.is_stale) {
            return;
        }
        settle::settle(&self.store, &mut self.input, &mut self.unsettled).await;
        let start = std::time::Instant::now();
        let wanted = dns_hosts(&self.input.objects);
        if !self.input.resolved.keys().all(|host| wanted.contains(host)) {
            Arc::make_mut(&mut self.input.resolved).retain(|host, _| wanted.contains(host));
        }
        let before = self.published.borrow().clone();
        let published = before.after(self.revision, self.input.clone());
        self.metrics.compile_seconds.observe(start.elapsed().as_secs_f64());
        self.published.send_replace(Arc::new(published));
        self.hosts.send_if_modified(|hosts| std::mem::replace(hosts, wanted.clone()) != wanted);
        self.count();
    }

    fn count(&self) {
        let count = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        self.metrics.revision.set(i64::try_from(self.revision).unwrap_or(i64::MAX));
        self.metrics.workloads.set(count(self.input.workloads.len()));
    }
}

/// The hosts of all MeshServices that are found by DNS.
fn dns_hosts(objects: &Objects) -> BTreeSet<Host> {
    objects
        .of_kind(Kind::MeshService)
        .filter_map(|object| match &object.spec {
            Spec::MeshService(MeshServiceSpec { source: Source::Dns(dns), .. }) => Some((dns.host.clone(), dns.port)),
            _ => None,
        })
        .collect()
}

fn answer<T: Send + 'static>(reply: Reply<T>, result: Result<T, MeshError>) -> Answer {
    // Who asked may have gone; what was done stays done.
    Box::new(move || drop(reply.send(result)))
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
