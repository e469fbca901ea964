//! The weft pair: a control plane of its own, and a sidecar with one worker per side, with default policies and metrics.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use rustls::ClientConfig;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use weft_certs::{Ca, Identity, SpiffeId, TrustBundle, tls};

use super::{Order, Protocol, Running, Shape, Side, tunnel::Tunnel};
use crate::{
    run::{
        process::{Process, address},
        site::Site,
    },
    scale::client::Client,
};

/// The service in front of the application: what the load says in `Host`.
pub const SERVICE: &str = "web";
const ANY: &str = "127.0.0.1:0";
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// What travels between the sidecars is what the load speaks.
    Plain,
    /// The service is declared to speak HTTP/2: requests that came as HTTP/1.1 travel as that, to the application too.
    Http2App,
    AccessLog,
}

impl Variant {
    /// What a sidecar says that it speaks to another one.
    fn alpn(self, order: &Order<'_>) -> &'static [u8] {
        match (self, order.front) {
            _ if order.shape == Shape::Tunnel => b"weft-tcp",
            (Self::Plain | Self::AccessLog, Protocol::H1) => b"weft-http/1.1",
            (Self::Http2App, _) | (_, Protocol::H2) => b"weft-h2",
        }
    }
}

pub async fn start(order: &Order<'_>, variant: Variant) -> anyhow::Result<Running> {
    let mut control_plane = ControlPlane::start(order.site).await?;
    let app = order.app.address(if variant == Variant::Http2App { Protocol::H2 } else { order.front });
    control_plane.apply(&resources(order.shape, variant, app)).await?;

    let mut running = Running::nothing(app);
    if order.shape != Shape::Hop {
        let serve = ["--service", SERVICE, "--app", &app.to_string()];
        let inbound = control_plane.sidecar(order.site, SERVICE, &serve).await?;
        running.inbound = Some((inbound.inbound, control_plane.client_of_the_mesh(variant.alpn(order))?));
        running.sides.push(inbound.side("inbound"));
        running._keep.push(Box::new(inbound.process));
    }
    let outbound = control_plane.sidecar(order.site, "caller", &[]).await?;
    running.entry = outbound.outbound;
    if order.shape == Shape::Tunnel {
        let tunnel = Tunnel::through(outbound.outbound, format!("{SERVICE}:80")).await?;
        running.entry = tunnel.address;
        running._keep.push(Box::new(tunnel));
    }
    running.sides.insert(0, outbound.side(if order.shape == Shape::Hop { "hop" } else { "outbound" }));
    running._keep.push(Box::new(outbound.process));
    running._keep.push(Box::new(control_plane));
    Ok(running)
}

fn resources(shape: Shape, variant: Variant, app: SocketAddr) -> Vec<Value> {
    let version = "weft.dev/v1alpha1";
    let service =
        |spec| json!({ "apiVersion": version, "kind": "MeshService", "metadata": { "name": SERVICE }, "spec": spec });
    let mut resources = Vec::new();
    if shape == Shape::Hop {
        resources.push(service(json!({ "static": [{ "address": app.to_string() }] })));
    } else if shape == Shape::Tunnel || variant == Variant::Http2App {
        let protocol = if shape == Shape::Tunnel { "tcp" } else { "http2" };
        let ports = json!([{ "port": 80, "protocol": protocol }]);
        resources.push(service(json!({ "ports": ports, "workloads": { "service": SERVICE } })));
    }
    if variant == Variant::AccessLog {
        let metadata = json!({ "name": "default" });
        let spec = json!({ "accessLog": true });
        resources.push(json!({ "apiVersion": version, "kind": "MeshConfig", "metadata": metadata, "spec": spec }));
    }
    resources
}

struct ControlPlane {
    client: Client,
    grpc: SocketAddr,
    folder: PathBuf,
    _process: Process,
}

/// What of `admin.yaml` is needed here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credentials {
    trust_anchor: String,
    token: String,
}

struct Sidecar {
    outbound: SocketAddr,
    inbound: SocketAddr,
    ready_after: Duration,
    process: Process,
}

impl Sidecar {
    fn side(&self, name: &'static str) -> Side {
        Side { name, process: self.process.id(), ready_after: self.ready_after }
    }
}

impl ControlPlane {
    async fn start(site: &Site) -> anyhow::Result<Self> {
        let folder = site.fresh_folder("weft")?;
        let data = folder.join("control-plane");
        let mut command = Command::new(&site.programs.control_plane);
        command.arg("--data-dir").arg(&data).args(["--grpc-listen", ANY, "--admin-listen", ANY]);
        let mut process = Process::start("control-plane", command, &folder)?;
        let (line, _) = process.announces("weft-control-plane ready").await?;
        let credentials: Credentials = serde_saphyr::from_str(&fs::read_to_string(data.join("admin.yaml"))?)?;
        fs::write(folder.join("anchor.pem"), &credentials.trust_anchor)?;
        let client = Client::admin(address(&line, "admin")?, &credentials.trust_anchor, &credentials.token).await?;
        Ok(Self { client, grpc: address(&line, "grpc")?, folder, _process: process })
    }

    async fn apply(&mut self, documents: &[Value]) -> anyhow::Result<()> {
        if !documents.is_empty() {
            let request = json!({ "documents": documents, "namespace": "default", "author": "weft-bench" });
            self.client.post("/v1/apply", &request).await?;
        }
        Ok(())
    }

    async fn sidecar(&mut self, site: &Site, account: &str, flags: &[&str]) -> anyhow::Result<Sidecar> {
        let wanted = json!({ "namespace": "default", "serviceAccount": account, "ttlSeconds": 3600, "uses": 1 });
        let token = self.client.post("/v1/tokens", &wanted).await?;
        let token = token.get("token").and_then(Value::as_str).context("a token without its text")?;
        let folder = site.fresh_folder(&format!("weft-{account}"))?;
        let mut command = Command::new(&site.programs.weft_proxy);
        command
            .args(["--workers", "1", "--control-plane", &self.grpc.to_string(), "--trust-anchor"])
            .arg(self.anchor())
            .arg("--state-dir")
            .arg(folder.join("state"))
            .args(["--outbound-listen", ANY, "--inbound-listen", ANY, "--admin-listen", ANY])
            .args(flags)
            .env("WEFT_JOIN_TOKEN", token);
        let mut process = Process::start("weft-proxy", command, &folder)?;
        let (line, ready_after) = process.announces("weft-proxy ready").await?;
        Ok(Sidecar { outbound: address(&line, "outbound")?, inbound: address(&line, "inbound")?, ready_after, process })
    }

    /// Someone with an SVID of this mesh, signed by its own authority.
    fn client_of_the_mesh(&self, alpn: &[u8]) -> anyhow::Result<Arc<ClientConfig>> {
        let bundle = TrustBundle::from_pem(&fs::read_to_string(self.anchor())?)?;
        let trust_domain = bundle.trust_domain().clone();
        let id = SpiffeId::workload(&trust_domain, "default", "caller")?;
        let authority = Ca::open(&self.folder.join("control-plane/ca"), trust_domain, SystemTime::now())?;
        let svid = authority.issue(&id, LIFETIME, SystemTime::now())?;
        Ok(tls::client_config(&Identity::new(svid, bundle), &[alpn]))
    }

    fn anchor(&self) -> PathBuf {
        Path::new(&self.folder).join("anchor.pem")
    }
}
