//! The admin API's messages, shared by the server (`serve::admin`) and its client, the CLI.
//!
//! HTTPS with a bearer token; JSON in and out. A failure is `ApiError` with a 4xx or 5xx status.
//!
//! | method and path | in | out |
//! |---|---|---|
//! | `POST /v1/apply` | [`ApplyRequest`] | [`Change`], 422 [`ApiError`] with every problem |
//! | `POST /v1/delete` | [`DeleteRequest`] | [`Change`] |
//! | `POST /v1/rollback` | [`RollbackRequest`] | [`Change`] |
//! | `GET /v1/resources?revision=N` | | [`Resources`]: all of them, as they were written |
//! | `GET /v1/history?limit=N` | | `Vec<Revision>`, newest first, 100 without a limit |
//! | `GET /v1/status` | | [`Status`] |
//! | `GET /v1/services/{namespace}/{service}/endpoints` | | `Vec<EndpointStatus>` |
//! | `GET /v1/services/{namespace}/{service}/routes` | | [`Routes`] |
//! | `GET /v1/circuits` | | `Vec<CircuitStatus>` |
//! | `POST /v1/tokens` | [`TokenRequest`] | [`Token`] |
//!
//! Without credentials: `GET /live` and `GET /ready` only. `GET /metrics` takes the token as well.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    resources::{Key, Manifest, Problem},
    snapshot::WorkloadPort,
};

/// Resources to write, all or nothing, as one revision.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplyRequest {
    /// One JSON object per YAML document; problems name them by index.
    pub documents: Vec<serde_json::Value>,
    /// The namespace of documents that name none.
    pub namespace: String,
    /// Check and say what would change, without changing it.
    #[serde(default)]
    pub dry_run: bool,
    pub author: String,
    #[serde(default)]
    pub message: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeleteRequest {
    pub keys: Vec<Key>,
    #[serde(default)]
    pub dry_run: bool,
    pub author: String,
    #[serde(default)]
    pub message: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackRequest {
    /// `None`: the revision before the current one.
    pub revision: Option<u64>,
    #[serde(default)]
    pub dry_run: bool,
    pub author: String,
    #[serde(default)]
    pub message: String,
}

/// What a write did. When nothing changed, no revision was made and `revision` is the current one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub revision: u64,
    pub dry_run: bool,
    pub changes: Vec<ObjectChange>,
    /// What was accepted, but is likely not what was meant.
    #[serde(default)]
    pub warnings: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    pub key: Key,
    pub action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    Created,
    Changed,
    Deleted,
    Unchanged,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    pub revision: u64,
    pub time: Timestamp,
    pub author: String,
    pub message: String,
    pub changes: Vec<ObjectChange>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    pub revision: u64,
    /// Ordered by kind, namespace, name.
    pub items: Vec<Manifest>,
    /// What does not hold at present, for example a route whose service has gone.
    pub problems: Vec<Problem>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub version: String,
    pub trust_domain: String,
    pub revision: u64,
    pub started: Timestamp,
    pub issuer_not_after: Timestamp,
    pub workloads: Vec<WorkloadStatus>,
    pub problems: Vec<Problem>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    pub id: String,
    pub spiffe_id: String,
    pub service: Option<String>,
    /// Of the first of its ports.
    pub address: Option<String>,
    #[serde(default)]
    pub ports: Vec<WorkloadPort>,
    pub labels: BTreeMap<String, String>,
    /// Its streams are open.
    pub connected: bool,
    /// Its application is healthy and it takes part in balancing, at all of its ports.
    pub serving: bool,
    /// Why its application is not healthy, in words; empty while it is.
    #[serde(default)]
    pub cause: String,
    /// The revision of the configuration that it has acknowledged in full.
    pub acknowledged: Option<u64>,
    /// Resources that it refused, with the reason.
    pub rejected: Vec<String>,
    pub svid_not_after: Option<Timestamp>,
    pub version: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    pub id: String,
    pub port: u16,
    pub address: String,
    /// `None`: outside the mesh, reached in plaintext.
    pub spiffe_id: Option<String>,
    /// It takes part in balancing.
    pub healthy: bool,
    /// Why it does not, in words, where its sidecar has said so.
    #[serde(default)]
    pub cause: String,
    pub labels: BTreeMap<String, String>,
    pub source: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Routes {
    pub service: String,
    /// Its virtual addresses, under which programs whose traffic is intercepted reach it.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    pub ports: Vec<PortRoutes>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortRoutes {
    pub port: u16,
    pub routes: Vec<RouteLine>,
}

/// One route in order of precedence, in words.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteLine {
    pub matches: String,
    /// For example `shop/orders-v1:80 90 %`, or `redirect 302 https://…`.
    pub to: Vec<String>,
    pub sticky: Option<String>,
    pub from: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CircuitStatus {
    /// The sidecar that holds the circuit.
    pub workload: String,
    /// The service of that sidecar, or its SPIFFE ID when it serves nothing.
    pub caller: String,
    pub backend: String,
    pub endpoint: Option<String>,
    /// `closed`, `open` or `half-open`.
    pub state: String,
    pub cause: String,
    pub since: Timestamp,
    pub times_opened: u64,
    /// Every request passes, whatever the state.
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenRequest {
    pub namespace: String,
    pub service_account: String,
    /// Services that a workload of this account may register; empty: the one of the account's name.
    #[serde(default)]
    pub services: Vec<String>,
    pub ttl_seconds: u64,
    pub uses: u32,
}

/// The only time that the secret is shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    pub token: String,
    pub spiffe_id: String,
    pub expires: Timestamp,
    pub uses: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiError {
    pub error: String,
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// How a client reaches this API: the content of `admin.yaml`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdminCredentials {
    pub address: String,
    pub grpc_address: String,
    pub trust_domain: String,
    /// PEM.
    pub trust_anchor: String,
    pub token: String,
}
