//! Whether the local application can do its work on a port: the port takes part in balancing only while it can.
//!
//! What is checked comes from the control plane, and may change at any time. Nothing else is said by it: the application
//! accepts connections. An application that is connected to elsewhere, for its checks, must still accept connections
//! where its traffic goes. Called by `app`; the outcome goes into the reports.

mod grpc;
mod http;
mod plan;
mod probe;
mod state;

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

pub use state::Health;

use self::{
    plan::{Planned, plan},
    probe::probe,
    state::{CLOSELY, Progress, rest},
};
use crate::mesh::Store;

/// What watches one port of the application.
pub struct Watcher {
    pub app: SocketAddr,
    /// The port at which others reach it: its endpoint's.
    pub endpoint_port: u16,
    pub store: Arc<Store>,
    /// Told when the application could not be reached.
    pub missed: watch::Sender<()>,
    /// Of all ports.
    pub health: watch::Sender<Vec<Health>>,
    /// Which of them this one is.
    pub index: usize,
}

/// One check that goes on.
struct Running {
    planned: Planned,
    health: watch::Receiver<Health>,
    _task: AbortOnDropHandle<()>,
}

/// What is known of an application before its first check.
pub fn unknown() -> Health {
    Health::Unhealthy { cause: "it has not been checked yet".to_owned() }
}

impl Watcher {
    /// Checks for as long as it is polled.
    pub async fn run(self) {
        let mut told = self.store.subscribe();
        let turned = Arc::new(Notify::new());
        let mut checks = Vec::new();
        loop {
            if let Some(wanted) = self.wanted() {
                checks = self.take_over(checks, wanted, &turned);
            }
            let health = conclude(&checks);
            self.health.send_if_modified(|all| match all.get_mut(self.index) {
                Some(before) if *before != health => {
                    *before = health;
                    true
                }
                _ => false,
            });
            tokio::select! {
                _ = told.changed() => {}
                () = turned.notified() => {}
            }
        }
    }

    /// `None`: the control plane has not said anything about this workload's endpoint yet, so that it may be that more is
    /// asked of it than an open port.
    fn wanted(&self) -> Option<Vec<Planned>> {
        let enforced = self.store.inbound();
        let enforced = enforced.as_ref().as_ref()?;
        let is_known = enforced.ports.iter().any(|port| port.port == self.endpoint_port);
        is_known.then(|| plan(&enforced.health_checks, self.app, self.endpoint_port))
    }

    /// Checks that are still wanted go on. Others start where the application stands: new rules alone do not take an
    /// application out.
    fn take_over(&self, mut before: Vec<Running>, wanted: Vec<Planned>, turned: &Arc<Notify>) -> Vec<Running> {
        let mut one = |planned: Planned| match before.iter().position(|running| running.planned == planned) {
            Some(at) => before.swap_remove(at),
            None => self.start(planned, turned.clone()),
        };
        wanted.into_iter().map(&mut one).collect()
    }

    fn start(&self, planned: Planned, turned: Arc<Notify>) -> Running {
        let known = self.health.borrow().get(self.index).cloned();
        let (says, health) = watch::channel(known.unwrap_or_else(unknown));
        let task = tokio::spawn(check(planned.clone(), self.missed.subscribe(), says, turned));
        Running { planned, health, _task: AbortOnDropHandle::new(task) }
    }
}

/// Healthy while every check says so; else what the first one says that does not.
fn conclude(checks: &[Running]) -> Health {
    let unhealthy = checks.iter().map(|check| check.health.borrow().clone()).find(|it| *it != Health::Healthy);
    match unhealthy {
        Some(unhealthy) => unhealthy,
        None if checks.is_empty() => unknown(),
        None => Health::Healthy,
    }
}

/// Checks again and again, and at once when the application was `missed`.
async fn check(planned: Planned, mut missed: watch::Receiver<()>, says: watch::Sender<Health>, turned: Arc<Notify>) {
    let Planned { at, check } = planned;
    let mut progress = Progress::new(says.borrow().clone(), &check);
    loop {
        let outcome = probe(at, &check).await;
        progress.record(&outcome);
        if *says.borrow() != *progress.health() {
            let before = says.send_replace(progress.health().clone());
            log(at, &before, progress.health());
            turned.notify_one();
        }
        let rest = rest(&outcome, check.interval);
        // However often it is missed.
        let least = rest.min(CLOSELY);
        sleep(least).await;
        let _ = timeout(rest - least, missed.changed()).await;
    }
}

fn log(app: SocketAddr, before: &Health, now: &Health) {
    match (before, now) {
        (_, Health::Healthy) => tracing::info!(%app, "the application is healthy"),
        (Health::Healthy, Health::Unhealthy { cause }) => tracing::warn!(%app, "the application is unhealthy: {cause}"),
        (_, Health::Unhealthy { cause }) => tracing::debug!(%app, "the application is still unhealthy: {cause}"),
    }
}

#[cfg(test)]
mod tests;
