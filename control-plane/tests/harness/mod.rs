//! A client of the admin API, as the `weft` command is one: it trusts the anchor of `admin.yaml` and nothing else.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use weft_certs::{SpiffeId, TrustBundle, tls};
use weft_control_plane::admin_api::AdminCredentials;

/// For whatever is waited for; far more than any of it takes.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct Admin {
    pub credentials: AdminCredentials,
}

impl Admin {
    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, Value::Null).await.unwrap()
    }

    /// A connection of its own for each request, so that a server that dies fails exactly one.
    pub async fn send(&self, method: Method, path: &str, body: Value) -> anyhow::Result<(StatusCode, Value)> {
        self.connect().await?.send(method, path, body).await
    }

    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let bundle = TrustBundle::from_pem(&self.credentials.trust_anchor)?;
        let expected = SpiffeId::control_plane(bundle.trust_domain());
        let connector = TlsConnector::from(tls::bootstrap_client_config(bundle, expected, &[b"http/1.1"]));
        let tcp = TcpStream::connect(&self.credentials.address).await?;
        let stream = connector.connect(tls::no_sni(), tcp).await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // Its error comes out of the request, too.
            let _ = connection.await;
        }));
        Ok(Connection { sender, token: self.credentials.token.clone(), _connection: connection })
    }
}

pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    token: String,
    _connection: AbortOnDropHandle<()>,
}

impl Connection {
    pub async fn send(&mut self, method: Method, path: &str, body: Value) -> anyhow::Result<(StatusCode, Value)> {
        let mut request = Request::builder().method(method).uri(path).header("host", "control-plane");
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        let body = if body.is_null() { Bytes::new() } else { serde_json::to_vec(&body)?.into() };
        let response = self.sender.send_request(request.body(Full::new(body))?).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::String(String::from_utf8(bytes.to_vec())?))))
    }
}

/// A MeshService with one static address, as an apply request.
pub fn apply_service(name: &str, address: &str) -> Value {
    apply(vec![serde_json::json!({
        "apiVersion": "weft.dev/v1alpha1", "kind": "MeshService", "metadata": {"name": name},
        "spec": {"static": [{"address": address}]},
    })])
}

pub fn apply(documents: Vec<Value>) -> Value {
    serde_json::json!({"documents": documents, "namespace": "shop", "author": "ada", "message": "test"})
}
