//! The control plane as its clients meet it: real TLS, real gRPC, in one process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "services/admin.rs"]
mod admin;
#[path = "services/discovery.rs"]
mod discovery;
mod harness;
#[path = "services/identity.rs"]
mod identity;
#[path = "services/quotas.rs"]
mod quotas;
#[path = "services/sidecar.rs"]
mod sidecar;
#[path = "services/workloads.rs"]
mod workloads;

use std::{ffi::OsString, path::Path};

use harness::Admin;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use weft_control_plane::{app::App, config::Config};

/// A control plane on free ports and a folder of its own.
struct ControlPlane {
    app: App,
    admin: Admin,
    folder: tempfile::TempDir,
}

impl ControlPlane {
    async fn start() -> Self {
        Self::on(tempfile::tempdir().unwrap()).await
    }

    async fn on(folder: tempfile::TempDir) -> Self {
        let config = config(&folder.path().join("data"));
        Self::with(folder, config).await
    }

    async fn with(folder: tempfile::TempDir, config: Config) -> Self {
        let app = App::start(config).await.unwrap();
        let admin = Admin { credentials: app.credentials.clone() };
        Self { app, admin, folder }
    }

    async fn restart(self) -> Self {
        self.app.stop().await;
        Self::on(self.folder).await
    }

    /// A join token for `account` in the namespace `shop`.
    async fn token(&self, account: &str, uses: u32) -> String {
        let request = json!({"namespace": "shop", "serviceAccount": account, "ttlSeconds": 600, "uses": uses});
        let (status, token) = self.admin.post("/v1/tokens", request).await;
        assert_eq!(status, 200, "{token}");
        token["token"].as_str().unwrap().to_owned()
    }

    async fn status(&self, workload: &str) -> Value {
        let (_, status) = self.admin.get("/v1/status").await;
        let workloads = status["workloads"].as_array().unwrap();
        workloads.iter().find(|one| one["id"] == workload).cloned().unwrap_or(Value::Null)
    }

    /// Waits until what `status` says about a workload is as wanted.
    async fn until(&self, workload: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = std::time::Instant::now();
        loop {
            let status = self.status(workload).await;
            if wanted(&status) {
                return status;
            }
            assert!(start.elapsed() < harness::DEADLINE, "{status}");
            tokio::task::yield_now().await;
        }
    }
}

impl Admin {
    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, body).await.unwrap()
    }
}

fn config(data_dir: &Path) -> Config {
    let mut args: Vec<OsString> = vec!["weft-control-plane".into(), "--data-dir".into(), data_dir.into()];
    args.extend(["--grpc-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"].map(OsString::from));
    Config::load(args).unwrap()
}
