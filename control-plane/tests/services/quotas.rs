//! Leases of shared rate limits.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use weft_certs::Identity;
use weft_proxy_api::proto::quota::v1::{Demand, QuotaLeases, QuotaReport, quotas_client::QuotasClient};

use crate::{
    ControlPlane,
    sidecar::{Reports, connect, join, serving},
};

struct Leases {
    reports: mpsc::Sender<QuotaReport>,
    answers: Streaming<QuotaLeases>,
    workload: String,
}

impl Leases {
    async fn open(mesh: &ControlPlane, identity: &Arc<Identity>, workload: &str) -> Self {
        let (reports, queue) = mpsc::channel(1);
        let mut client = QuotasClient::new(connect(mesh, Some(identity)).await.unwrap());
        let answers = client.lease(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Self { reports, answers, workload: workload.to_owned() }
    }

    /// The limits of which something is leased, and how many workloads share each.
    async fn ask(&mut self, limits: &[&str]) -> Result<Vec<(String, u32)>, Status> {
        let demand = |limit: &&str| Demand { limit: (*limit).to_owned(), let_through: 0, refused: 1 };
        let demands = limits.iter().map(demand).collect();
        self.reports.send(QuotaReport { workload: self.workload.clone(), demands }).await.unwrap();
        let answer = tokio::time::timeout(crate::harness::DEADLINE, self.answers.message()).await.expect("in time")?;
        let leases = answer.expect("the stream goes on").leases;
        assert!(leases.iter().all(|lease| lease.valid_ms == 5000), "{leases:?}");
        Ok(leases.into_iter().map(|lease| (lease.limit, lease.sharers)).collect())
    }
}

async fn limit(mesh: &ControlPlane, service: &str) {
    let limits = json!([
        {"requests": 10, "interval": "1s", "shared": true},
        {"requests": 10, "interval": "1s", "name": "own"},
    ]);
    let policy = json!({
        "apiVersion": "weft.dev/v1alpha1", "kind": "RateLimitPolicy",
        "metadata": {"name": service, "namespace": "shop"},
        "spec": {"targetRef": {"kind": "Service", "name": service}, "limits": limits},
    });
    let (status, answer) =
        mesh.admin.post("/v1/apply", json!({"documents": [policy], "namespace": "shop", "author": "test"})).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn workloads_lease_what_they_share_and_nothing_else() {
    let mesh = ControlPlane::start().await;
    let (orders, cart) = (join(&mesh, "orders").await, join(&mesh, "cart").await);
    let mut streams = Vec::new();
    for (identity, id, service, port) in
        [(&orders, "orders-1", "orders", 4001), (&orders, "orders-2", "orders", 4002), (&cart, "cart-1", "cart", 4003)]
    {
        let mut reports = Reports::open(&mesh, identity, id).await;
        assert_eq!(reports.send(serving(service, port)).await.unwrap(), "");
        streams.push(reports);
    }
    limit(&mesh, "orders").await;
    limit(&mesh, "cart").await;
    let all = ["shop/orders/0", "shop/orders/own", "shop/cart/0", "shop/none/0"];
    let shared_by = |limit: &str, sharers| Ok(vec![(limit.to_owned(), sharers)]);
    let same = |found: Result<Vec<(String, u32)>, Status>, limit: &str, sharers| {
        assert_eq!(found.map_err(|status| status.to_string()), shared_by(limit, sharers));
    };
    let mut first = Leases::open(&mesh, &orders, "orders-1").await;
    same(first.ask(&all).await, "shop/orders/0", 1);
    let mut second = Leases::open(&mesh, &orders, "orders-2").await;
    same(second.ask(&all).await, "shop/orders/0", 2);
    same(first.ask(&all).await, "shop/orders/0", 2);
    let mut other = Leases::open(&mesh, &cart, "cart-1").await;
    same(other.ask(&all).await, "shop/cart/0", 1);
    assert!(second.ask(&[]).await.unwrap().is_empty());
    same(first.ask(&all).await, "shop/orders/0", 1);
    // It serves nothing that it would have told of.
    let mut caller = Leases::open(&mesh, &cart, "cart-2").await;
    assert!(caller.ask(&all).await.unwrap().is_empty());
}

#[tokio::test]
async fn nobody_leases_for_the_workload_of_another() {
    let mesh = ControlPlane::start().await;
    let (orders, cart) = (join(&mesh, "orders").await, join(&mesh, "cart").await);
    let mut reports = Reports::open(&mesh, &orders, "orders-1").await;
    reports.send(serving("orders", 4001)).await.unwrap();
    let mut theirs = Leases::open(&mesh, &cart, "orders-1").await;
    assert_eq!(theirs.ask(&[]).await.unwrap_err().code(), Code::PermissionDenied);
    let mut bad = Leases::open(&mesh, &cart, "../etc").await;
    assert_eq!(bad.ask(&[]).await.unwrap_err().code(), Code::InvalidArgument);
}
