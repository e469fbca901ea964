//! The client of the admin API: one HTTPS connection per call, the control plane's identity verified, JSON both ways.
//!
//! Decides how a failure is explained: which address, and what the person can do. What is asked is the commands'.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use weft_certs::{SpiffeId, TrustBundle, TrustDomain, tls};
use weft_control_plane::admin_api::{AdminCredentials, ApiError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// More than any mesh's resources; what is larger is not the control plane.
const MAX_ANSWER_BYTES: usize = 256 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "no admin.yaml found (looked for {}): name the one that `weft control-plane` wrote into its data folder, \
         with --config FILE or WEFT_CONFIG",
        .looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NotConfigured { looked: Vec<PathBuf> },
    #[error("cannot read {}: {source} (it is written by `weft control-plane` into its data folder)", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is not a valid admin.yaml: {reason}", .path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error("the trust anchor in admin.yaml is not usable: {0}")]
    TrustAnchor(String),
    #[error(
        "cannot reach the control plane at {address}: {source}\n\
         Is it running? Start it with `weft control-plane --data-dir DIR`, or point --config at another admin.yaml"
    )]
    Unreachable { address: String, source: io::Error },
    #[error("the control plane at {address} did not answer within {}", humantime::format_duration(*.after))]
    Timeout { address: String, after: Duration },
    #[error("the connection to the control plane at {address} failed: {reason}")]
    Broken { address: String, reason: String },
    #[error(
        "the control plane at {address} refuses the token in admin.yaml: it is from another data folder, or was replaced"
    )]
    Unauthorized { address: String },
    /// The resources do not hold; the problems are to be listed.
    #[error("{}", .0.error)]
    Invalid(ApiError),
    #[error("{error}")]
    Refused { status: StatusCode, error: String },
    #[error("the control plane at {address} answered what this version of weft does not understand: {reason}")]
    Answer { address: String, reason: String },
}

impl ClientError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotConfigured { .. }
            | Self::Unreadable { .. }
            | Self::Malformed { .. }
            | Self::TrustAnchor(_)
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::Unauthorized { .. } => 4,
            Self::Invalid(_) => 3,
            Self::Refused { .. } | Self::Answer { .. } => 1,
        }
    }

    /// Whether the control plane may be there again later, with the same credentials.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. } | Self::Broken { .. })
    }
}

#[derive(Clone)]
pub struct AdminClient {
    credentials: Arc<AdminCredentials>,
    tls: Arc<ClientConfig>,
}

impl AdminClient {
    pub fn new(credentials: AdminCredentials) -> Result<Self, ClientError> {
        let unusable = |e: &dyn std::fmt::Display| ClientError::TrustAnchor(e.to_string());
        let trust_domain: TrustDomain = credentials.trust_domain.parse().map_err(|e| unusable(&e))?;
        let bundle = TrustBundle::from_pem_for(&trust_domain, &credentials.trust_anchor).map_err(|e| unusable(&e))?;
        let expected = SpiffeId::control_plane(&trust_domain);
        let tls = tls::bootstrap_client_config(bundle, expected, &[b"http/1.1"]);
        Ok(Self { credentials: Arc::new(credentials), tls })
    }

    pub fn credentials(&self) -> &AdminCredentials {
        &self.credentials
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Whether it takes requests. The token is not looked at.
    pub async fn ready(&self) -> Result<(), ClientError> {
        let response = timeout(CALL_TIMEOUT, self.send(Method::GET, "/ready", Bytes::new())).await;
        let status = response.map_err(|_| self.timed_out(CALL_TIMEOUT))??.status();
        if status.is_success() { Ok(()) } else { Err(self.broken(&format_args!("/ready answered {status}"))) }
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|e| self.broken(&e))?;
        self.call(Method::POST, path, body.into()).await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
        let answer = async {
            let response = self.send(method, path, body).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            Ok((status, body.map_err(|e| self.broken(&e))?.to_bytes()))
        };
        let (status, body) = timeout(CALL_TIMEOUT, answer).await.map_err(|_| self.timed_out(CALL_TIMEOUT))??;
        self.read(status, &body)
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        let stream = self.connect().await?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|e| self.broken(&e))?;
        // Ends with the response's body; its error is the response's error.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.credentials.address)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.credentials.token))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|e| self.broken(&e))?;
        sender.send_request(request).await.map_err(|e| self.broken(&e))
    }

    async fn connect(&self) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ClientError> {
        let address = &self.credentials.address;
        let connecting = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(self.tls.clone()).connect(tls::no_sni(), stream).await
        };
        timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| self.timed_out(CONNECT_TIMEOUT))?
            .map_err(|source| ClientError::Unreachable { address: address.clone(), source })
    }

    fn read<T: DeserializeOwned>(&self, status: StatusCode, body: &[u8]) -> Result<T, ClientError> {
        let address = &self.credentials.address;
        if status.is_success() {
            return serde_json::from_slice(body)
                .map_err(|e| ClientError::Answer { address: address.clone(), reason: e.to_string() });
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(ClientError::Unauthorized { address: address.clone() });
        }
        Err(match serde_json::from_slice::<ApiError>(body) {
            Ok(error) if !error.problems.is_empty() => ClientError::Invalid(error),
            Ok(error) => ClientError::Refused { status, error: error.error },
            Err(_) => ClientError::Answer { address: address.clone(), reason: format!("status {status}") },
        })
    }

    fn broken(&self, reason: &dyn std::fmt::Display) -> ClientError {
        ClientError::Broken { address: self.credentials.address.clone(), reason: reason.to_string() }
    }

    fn timed_out(&self, after: Duration) -> ClientError {
        ClientError::Timeout { address: self.credentials.address.clone(), after }
    }
}
