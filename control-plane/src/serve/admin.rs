//! The admin API: HTTPS with a bearer token, JSON in and out. Messages and paths are those of `admin_api`.
//!
//! Here are the connections, the credentials and the one map from errors to answers; `handlers` has the paths. Nothing
//! but `/live` and `/ready` is served to who has no token, not even whether a path exists.

mod handlers;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use jiff::Timestamp;
use tokio::sync::mpsc;
use weft_certs::{Ca, Clock};

use super::listener::Connection;
use crate::{
    admin_api::ApiError,
    fleet::Fleet,
    mesh::{Mesh, MeshError},
    resources::Problem,
    store::{Store, StoreError, equal_in_constant_time, sha256},
    tasks::Tasks,
    telemetry::Metrics,
};

/// A peer that sends its request head slower than this holds a connection for nothing.
const HEADERS: Duration = Duration::from_secs(10);

/// What the handlers work on.
pub struct Admin {
    pub mesh: Mesh,
    pub store: Arc<Store>,
    pub fleet: Arc<Fleet>,
    pub ca: Arc<Ca>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    pub started: Timestamp,
    pub token_sha256: String,
}

/// Any failure of a request, on its way to becoming an [`ApiError`].
pub struct Failure {
    status: StatusCode,
    error: String,
    problems: Vec<Problem>,
}

/// Serves until the control plane stops, then lets requests in flight end.
pub async fn serve(mut connections: mpsc::Receiver<Connection>, admin: Arc<Admin>, tasks: Tasks) {
    let service = TowerToHyperService::new(router(admin));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS);
    let graceful = GracefulShutdown::new();
    loop {
        let connection = tokio::select! {
            connection = connections.recv() => connection,
            () = tasks.stopped() => None,
        };
        let Some(connection) = connection else { break };
        let serving = graceful.watch(http.serve_connection(TokioIo::new(connection), service.clone()));
        let end = tasks.clone();
        tasks.spawn_to_end(async move {
            tokio::select! {
                served = serving => if let Err(error) = served {
                    tracing::debug!(%error, "an admin connection ended early");
                },
                () = end.drained() => tracing::warn!("an admin request did not end in time"),
            }
        });
    }
    graceful.shutdown().await;
}

fn router(admin: Arc<Admin>) -> Router {
    let protected = handlers::routes()
        .fallback(|| async { Failure::not_found("there is no such path") })
        .method_not_allowed_fallback(|| async {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "the path does not take this method")
        })
        .layer(middleware::from_fn_with_state(admin.clone(), require_token));
    handlers::open_routes().merge(protected).with_state(admin)
}

async fn require_token(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Result<Response, Failure> {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer "));
    // Digests are compared, and in constant time, so that the time of an answer says nothing about the token.
    let is_known = token.is_some_and(|token| equal_in_constant_time(&sha256(token.trim()), &admin.token_sha256));
    if is_known {
        return Ok(next.run(request).await);
    }
    admin.metrics.admin_unauthorized.inc();
    let reason = match token {
        Some(_) => "the token is not valid",
        None => "credentials are needed: Authorization: Bearer <token of admin.yaml>",
    };
    Err(Failure::new(StatusCode::UNAUTHORIZED, reason))
}

impl Failure {
    fn new(status: StatusCode, error: impl ToString) -> Self {
        Self { status, error: error.to_string(), problems: Vec::new() }
    }

    fn not_found(error: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Json(ApiError { error: self.error, problems: self.problems });
        match self.status {
            StatusCode::UNAUTHORIZED => (self.status, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response(),
            status => (status, body).into_response(),
        }
    }
}

/// The one map from what went wrong to what is answered.
impl From<MeshError> for Failure {
    fn from(error: MeshError) -> Self {
        let text = error.to_string();
        let (status, problems) = match error {
            MeshError::Invalid(problems) => (StatusCode::UNPROCESSABLE_ENTITY, problems),
            MeshError::Unreadable { problems, .. } => (StatusCode::CONFLICT, problems),
            MeshError::NotFound(_) => (StatusCode::NOT_FOUND, Vec::new()),
            MeshError::NothingToRollBack(_) => (StatusCode::CONFLICT, Vec::new()),
            MeshError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, Vec::new()),
            MeshError::Store(StoreError::NoRevision { .. }) => (StatusCode::NOT_FOUND, Vec::new()),
            MeshError::Store(StoreError::DiskFull) => (StatusCode::INSUFFICIENT_STORAGE, Vec::new()),
            MeshError::Store(
                StoreError::Locked(_)
                | StoreError::Damaged { .. }
                | StoreError::Format { .. }
                | StoreError::Broken
                | StoreError::Failed(_),
            ) => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
        };
        if status.is_server_error() {
            tracing::error!(error = text, "an admin request failed");
        }
        Self { status, error: text, problems }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        MeshError::from(error).into()
    }
}

impl From<Infallible> for Failure {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
