//! One kept connection that speaks JSON: to the control plane's admin API, or to a sidecar's admin listener.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use weft_certs::{SpiffeId, TrustBundle, tls};

pub struct Client {
    address: SocketAddr,
    /// Of a control plane; a sidecar's admin listener speaks plain HTTP.
    admin: Option<Admin>,
    sender: SendRequest<Full<Bytes>>,
}

struct Admin {
    tls: Arc<ClientConfig>,
    authorization: String,
}

impl Client {
    pub async fn plain(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self { address, admin: None, sender: connect(address, None).await? })
    }

    pub async fn admin(address: SocketAddr, trust_anchor: &str, token: &str) -> anyhow::Result<Self> {
        let bundle = TrustBundle::from_pem(trust_anchor)?;
        let expected = SpiffeId::control_plane(bundle.trust_domain());
        let tls = tls::bootstrap_client_config(bundle, expected, &[b"http/1.1"]);
        let sender = connect(address, Some(tls.clone())).await?;
        Ok(Self { address, admin: Some(Admin { tls, authorization: format!("Bearer {token}") }), sender })
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        self.exchange(Method::GET, path, Bytes::new()).await
    }

    pub async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.post_text(path, serde_json::to_vec(body)?.into()).await
    }

    /// As `post`, with a body that is JSON already.
    pub async fn post_text(&mut self, path: &str, body: Bytes) -> anyhow::Result<Value> {
        self.exchange(Method::POST, path, body).await
    }

    async fn exchange(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, self.admin.as_ref().map_or("", |admin| &admin.authorization))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        // The other side closes a connection that was idle for a while.
        if self.sender.ready().await.is_err() {
            self.sender = connect(self.address, self.admin.as_ref().map(|admin| admin.tls.clone())).await?;
        }
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{path}: {status}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).with_context(|| path.to_owned())
    }
}

async fn connect(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    match tls {
        None => over(TcpStream::connect(address).await?).await,
        Some(tls) => over(weft_tests::connect(address, tls).await?).await,
    }
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
