//! The paths of the admin API: each translates a message into a call, and its result into a message.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Query, Request, State, rejection::BytesRejection},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use weft_certs::SpiffeId;
use weft_proxy_api::name::is_label;

use super::{Admin, Failure};
use crate::{
    admin_api::{
        ApplyRequest, Change, DeleteRequest, ObjectChange, Resources, Revision, RollbackRequest, Token, TokenRequest,
    },
    mesh,
    store::{self, Account, Event, NewToken},
};

mod view;

const BODY_LIMIT: usize = 8 << 20;
const LONGEST_TOKEN_LIFE: Duration = Duration::from_secs(366 * 24 * 3600);
const MOST_TOKEN_USES: u32 = 1_000_000;
/// Revisions that are told to who names no number.
const DEFAULT_HISTORY: usize = 100;

type Shared = State<Arc<Admin>>;
type Answer<T> = Result<Json<T>, Failure>;

/// Served without credentials: for whoever watches over the process, and without any fact about the mesh.
pub fn open_routes() -> Router<Arc<Admin>> {
    Router::new().route("/live", get(|| async { "live\n" })).route("/ready", get(|| async { "ready\n" }))
}

pub fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/v1/apply", post(apply))
        .route("/v1/delete", post(delete))
        .route("/v1/rollback", post(rollback))
        .route("/v1/resources", get(resources))
        .route("/v1/history", get(history))
        .route("/v1/status", get(view::status))
        .route("/v1/services/{namespace}/{service}/endpoints", get(view::endpoints))
        .route("/v1/services/{namespace}/{service}/routes", get(view::routes))
        .route("/v1/circuits", get(view::circuits))
        .route("/v1/tokens", post(create_token))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// A JSON body whose errors are told as JSON, too.
struct Body<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let bytes = Bytes::from_request(request, state).await.map_err(unread)?;
        let body = serde_json::from_slice(&bytes)
            .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, format!("the body is not as expected: {error}")))?;
        Ok(Self(body))
    }
}

fn unread(rejection: BytesRejection) -> Failure {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a request may have {} MiB", BODY_LIMIT >> 20))
        }
        status => Failure::new(status, rejection.body_text()),
    }
}

async fn apply(State(admin): Shared, Body(request): Body<ApplyRequest>) -> Answer<Change> {
    check_signature(&request.author, &request.message)?;
    Ok(Json(admin.mesh.apply(request, now(&admin)?).await?))
}

async fn delete(State(admin): Shared, Body(request): Body<DeleteRequest>) -> Answer<Change> {
    check_signature(&request.author, &request.message)?;
    Ok(Json(admin.mesh.delete(request, now(&admin)?).await?))
}

async fn rollback(State(admin): Shared, Body(request): Body<RollbackRequest>) -> Answer<Change> {
    check_signature(&request.author, &request.message)?;
    Ok(Json(admin.mesh.rollback(request, now(&admin)?).await?))
}

/// The history is shown on terminals, a line for each revision.
fn check_signature(author: &str, message: &str) -> Result<(), Failure> {
    for (what, text) in [("author", author), ("message", message)] {
        if text.contains(char::is_control) {
            let reason = format!("the {what} has a control character, such as a line break");
            return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, reason));
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct At {
    revision: Option<u64>,
}

async fn resources(
    State(admin): Shared,
    at: Result<Query<At>, axum::extract::rejection::QueryRejection>,
) -> Answer<Resources> {
    let Query(At { revision }) = at.map_err(|error| Failure::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let published = admin.mesh.published();
    let Some(revision) = revision else {
        let items = published.objects().iter().map(|object| object.manifest.clone()).collect();
        return Ok(Json(Resources { revision: published.revision, items, problems: published.problems().to_vec() }));
    };
    let documents = store::blocking(&admin.store, move |store| store.documents_at(revision)).await?;
    Ok(Json(Resources { revision, items: documents.into_values().collect(), problems: Vec::new() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Newest {
    limit: Option<usize>,
}

async fn history(
    State(admin): Shared,
    newest: Result<Query<Newest>, axum::extract::rejection::QueryRejection>,
) -> Answer<Vec<Revision>> {
    let Query(Newest { limit }) = newest.map_err(|error| Failure::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let limit = limit.unwrap_or(DEFAULT_HISTORY);
    let events = store::blocking(&admin.store, move |store| store.history(limit)).await?;
    Ok(Json(events.into_iter().map(revision).collect()))
}

fn revision(event: Event) -> Revision {
    let changes =
        event.changes.iter().map(|delta| ObjectChange { key: delta.key.clone(), action: mesh::action(delta) });
    Revision {
        changes: changes.collect(),
        revision: event.revision,
        time: event.time,
        author: event.author,
        message: event.message,
    }
}

async fn create_token(State(admin): Shared, Body(request): Body<TokenRequest>) -> Answer<Token> {
    let now = now(&admin)?;
    let new = new_token(request, &admin, now)?;
    let (spiffe_id, expires, uses) = (new.account.spiffe_id.to_string(), new.expires, new.uses);
    tracing::info!(id = spiffe_id, %expires, uses, services = ?new.services, "made a join token");
    let token = store::blocking(&admin.store, move |store| store.create_token(new, now)).await?;
    Ok(Json(Token { token: token.to_string(), spiffe_id, expires, uses }))
}

fn new_token(request: TokenRequest, admin: &Admin, now: Timestamp) -> Result<NewToken, Failure> {
    let refuse = |reason: String| Failure::new(StatusCode::UNPROCESSABLE_ENTITY, reason);
    let TokenRequest { namespace, service_account, services, ttl_seconds, uses } = request;
    for (what, name) in [("namespace", &namespace), ("service account", &service_account)] {
        if !is_label(name) {
            return Err(refuse(format!("{what} {name:?} is not a DNS label (lower-case letters, digits and '-')")));
        }
    }
    let in_namespace = |service: String| {
        let name = service.strip_prefix(&format!("{namespace}/")).unwrap_or(&service);
        let problem = || refuse(format!("{service:?} is not a service of the namespace {namespace}"));
        if is_label(name) { Ok(name.to_owned()) } else { Err(problem()) }
    };
    let services = if services.is_empty() { vec![service_account.clone()] } else { services };
    let ttl = Duration::from_secs(ttl_seconds);
    if ttl.is_zero() || ttl > LONGEST_TOKEN_LIFE {
        return Err(refuse("a token lives from 1 second to 366 days".to_owned()));
    }
    if !(1..=MOST_TOKEN_USES).contains(&uses) {
        return Err(refuse(format!("a token has from 1 to {MOST_TOKEN_USES} uses")));
    }
    let spiffe_id = SpiffeId::workload(admin.ca.trust_domain(), &namespace, &service_account)
        .map_err(|error| refuse(error.to_string()))?;
    Ok(NewToken {
        services: services.into_iter().map(in_namespace).collect::<Result<_, _>>()?,
        account: Account { namespace, service_account, spiffe_id },
        expires: now.checked_add(ttl).map_err(|error| refuse(error.to_string()))?,
        uses,
    })
}

async fn metrics(State(admin): Shared) -> Result<impl IntoResponse, Failure> {
    let text = admin.metrics.encode().map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

fn now(admin: &Admin) -> Result<Timestamp, Failure> {
    Timestamp::try_from(admin.clock.now()).map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error))
}
