//! Leases of the rate limits that this sidecar shares with others: asked for all the time, sooner where they run short.
//!
//! One report, one answer, then the next report: so that the control plane always knows what this sidecar may hold. While
//! it is away, each limit is enforced by itself (`policy::rate_limit::Shared`), which the log and a metric say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use weft_proxy_api::proto::quota::v1::{self as pb, quotas_client::QuotasClient};

use super::{Backoff, channel};
use crate::{
    mesh::{Store, limits::Limits},
    policy::rate_limit::{Demand, Lease, Shared},
};

/// How often leases are renewed that do not run short.
const TURN: Duration = Duration::from_secs(1);
/// A lease is never believed for longer.
const LONGEST: Duration = Duration::from_secs(60);
/// Between two reports, however short they run.
const PAUSE: Duration = Duration::from_millis(50);

pub struct Quota {
    pub channel: Channel,
    pub workload: String,
    pub store: Arc<Store>,
}

impl Quota {
    /// Asks for leases for as long as it is polled.
    pub async fn run(self) {
        tokio::join!(self.renew(), self.watch());
    }

    async fn renew(&self) {
        let mut backoff = Backoff::default();
        let mut changed = self.store.subscribe();
        loop {
            if shared(&self.store).is_none() {
                if changed.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let ended = self.session(&mut backoff).await;
            tracing::debug!("the stream of leases ended: {ended}");
            backoff.wait().await;
        }
    }

    /// Ends with the stream, or when there is no shared limit any more.
    async fn session(&self, backoff: &mut Backoff) -> String {
        let (reports, outgoing) = mpsc::channel(1);
        let mut client = QuotasClient::new(self.channel.clone());
        let mut answers = match client.lease(ReceiverStream::new(outgoing)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return channel::reason(&status),
        };
        let mut changed = self.store.subscribe();
        let mut known = BTreeSet::new();
        while let Some(limits) = shared(&self.store) {
            let (report, sent) = (self.report(&limits, &mut known), Instant::now());
            if reports.send(report).await.is_err() {
                return "the connection was lost".to_owned();
            }
            match answers.message().await {
                Ok(Some(leases)) => take(&limits, leases, sent),
                ended => return end(ended),
            }
            backoff.reset();
            let short = limits.short();
            tokio::select! {
                () = tokio::time::sleep(TURN) => {}
                () = short.notified() => tokio::time::sleep(PAUSE).await,
                Ok(()) = changed.changed() => {}
                ended = answers.message() => return end(ended),
            }
        }
        "no limit is shared any more".to_owned()
    }

    /// `known` are the limits that this stream has reported; what came before is not its matter.
    fn report(&self, limits: &Limits, known: &mut BTreeSet<String>) -> pb::QuotaReport {
        let demand = |(name, shared): (&str, &Shared)| {
            let came = shared.report();
            let is_first = known.insert(name.to_owned());
            let Demand { let_through, refused } = if is_first { Demand::default() } else { came };
            pb::Demand { limit: name.to_owned(), let_through, refused }
        };
        pb::QuotaReport { workload: self.workload.clone(), demands: limits.shared().map(demand).collect() }
    }

    /// Says how each limit is enforced.
    async fn watch(&self) {
        let mut before: BTreeMap<String, bool> = BTreeMap::new();
        let mut turn = tokio::time::interval(TURN);
        loop {
            turn.tick().await;
            let limits = self.store.limits().clone();
            let now = Instant::now();
            let mut leased = BTreeMap::new();
            for (name, shared) in limits.iter().flat_map(|limits| limits.shared()) {
                let is_leased = shared.is_leased(now);
                self.store.limit_metrics().leased(name, is_leased);
                if before.get(name).is_some_and(|before| *before != is_leased) {
                    say(name, shared, is_leased);
                }
                leased.insert(name.to_owned(), is_leased);
            }
            before = leased;
        }
    }
}

fn say(limit: &str, shared: &Shared, is_leased: bool) {
    let sharers = shared.sharers();
    match is_leased {
        true => tracing::info!(limit, sharers, "the rate limit is shared by leases of the control plane"),
        false => tracing::warn!(
            limit,
            sharers,
            "the control plane leases nothing of the rate limit: this sidecar enforces its part of it by itself"
        ),
    }
}

fn shared(store: &Store) -> Option<Arc<Limits>> {
    store.limits().clone().filter(|limits| limits.shared().next().is_some())
}

fn take(limits: &Limits, leases: pb::QuotaLeases, sent: Instant) {
    let leases: BTreeMap<&str, &pb::Lease> = leases.leases.iter().map(|lease| (lease.limit.as_str(), lease)).collect();
    for (name, shared) in limits.shared() {
        if let Some(pb::Lease { requests, sharers, valid_ms, .. }) = leases.get(name) {
            let valid = Duration::from_millis(*valid_ms).min(LONGEST);
            shared.renew(Lease { requests: *requests, sharers: *sharers, until: sent + valid });
        }
    }
}

fn end<T>(ended: Result<Option<T>, tonic::Status>) -> String {
    match ended {
        Ok(Some(_)) => "an answer came that was not asked for".to_owned(),
        Ok(None) => "the control plane closed it".to_owned(),
        Err(status) => channel::reason(&status),
    }
}
