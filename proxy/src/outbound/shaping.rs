//! The requests of a rule that does more than send them. In this order: CORS, faults, the cache,
//! copies; and what
//! answers if the backend does not (`degrade`).

use std::time::{Duration, Instant};

use http::{HeaderValue, Response, StatusCode, header, request::Parts};

use super::{
    Outbound,
    attempt::Deadline,
    cached::Cached,
    degrade,
    forward::{self, Fallback, Passage},
    mirror,
};
use crate::{
    error::{Kind, ProxyError},
    http::{
        answer,
        body::Body,
        headers::REQUEST_ID,
        proxy_status::{PROXY_STATUS, ProxyStatus},
    },
    mesh::{Shaping, compile::Rule},
    policy::{Cors, Fault, cors, fault::Failure},
    telemetry::{Exchange, metrics::Direction},
};

pub(super) async fn send(
    shaping: &Shaping,
    passage: Passage<'_>,
    exchange: &mut Exchange,
) -> Result<Response<Body>, ProxyError> {
    let Some(cors) = &shaping.cors else { return shaped(shaping, passage, exchange).await };
    let Passage { cx, rule, parts, .. } = &passage;
    if cors::asked_about(&parts.method, &parts.headers).is_some() {
        return Ok(preflight(cors, rule, parts));
    }
    let (cx, origin) = (*cx, parts.headers.get(header::ORIGIN).cloned());
    let request_id = parts.headers.get(REQUEST_ID).cloned().unwrap_or(HeaderValue::from_static(""));
    let result = shaped(shaping, passage, exchange).await;
    // A page can read an error only if it may read the answer.
    let mut response = result.unwrap_or_else(|error| {
        exchange.failed(&error, &cx.metrics);
        answer::failure(&error, Direction::Outbound, exchange.is_grpc, &request_id)
    });
    cors.apply(origin.as_ref(), response.headers_mut());
    Ok(response)
}

/// The answer to a preflight: the backend is not asked.
fn preflight(cors: &Cors, rule: &Rule, request: &Parts) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = cors.preflight(&request.headers);
    let details = format!("the preflight is answered by {}", rule.origin);
    let reason = ProxyStatus::new(answer::name(Direction::Outbound)).details(&details);
    own(&mut response, reason.to_header_value(), request);
    response
}

/// Everything but CORS.
async fn shaped(
    shaping: &Shaping,
    mut passage: Passage<'_>,
    exchange: &mut Exchange,
) -> Result<Response<Body>, ProxyError> {
    if let Some(fault) = &shaping.fault
        && let Some(failure) = inject(fault, passage.cx, passage.rule, &passage.parts, exchange).await?
    {
        return Ok(failure);
    }
    let share = passage.share()?;
    let may_stand_in = passage.switch.is_none() && !exchange.is_grpc;
    let cached = shaping.cache.as_ref().filter(|_| may_stand_in).map(|cache| Cached::find(cache, share, &passage));
    if let Some(hit) = cached.as_ref().and_then(|cached| cached.hit(passage.cx)) {
        return Ok(hit);
    }
    mirror::copy(&shaping.mirrors, &mut passage, &mut rand::rng());

    let (cx, rule, method) = (passage.cx, passage.rule, passage.parts.method.clone());
    let request_id = passage.parts.headers.get(REQUEST_ID).cloned();
    let fallback = match &cached {
        Some(cached) if cached.may_stand_in() => Fallback::NotNeeded,
        _ => Fallback::Allowed,
    };
    let mut sent = forward::send(passage, share, fallback, exchange).await;
    if let Some(cached) = cached {
        sent = cached.after(sent, cx, exchange);
    }
    match (sent, &shaping.fixed) {
        (Err(error), Some(fixed)) if may_stand_in && error.kind.is_of_the_backend() => {
            exchange.failed(&error, &cx.metrics);
            exchange.replaced(error.kind.meaning().status);
            cx.metrics.shaping.degraded("fixed_response");
            let mut response = degrade::fixed(fixed, &method, &error, &rule.origin);
            if let Some(id) = request_id {
                response.headers_mut().insert(REQUEST_ID, id);
            }
            Ok(response)
        }
        (sent, _) => sent,
    }
}

/// Has the request wait, and perhaps fail, where the rule's policy says so. None of it is told to a circuit: no backend
/// has done anything.
async fn inject(
    fault: &Fault,
    cx: &Outbound,
    rule: &Rule,
    parts: &Parts,
    exchange: &mut Exchange,
) -> Result<Option<Response<Body>>, ProxyError> {
    let injected = fault.decide(&parts.headers, &mut rand::rng());
    if let Some(delay) = injected.delay {
        cx.metrics.shaping.fault("delay");
        wait(delay, rule, parts, exchange.started()).await?;
    }
    let Some(failure) = injected.abort else { return Ok(None) };
    cx.metrics.shaping.fault("abort");
    let details = format!("fault injected by {}", rule.origin);
    exchange.note(|record| record.error = Some(format!("fault: {details}")));
    Ok(Some(failed(failure, &details, exchange.is_grpc, parts)))
}

/// The delay counts against the request's own time, as a slow backend would.
async fn wait(delay: Duration, rule: &Rule, parts: &Parts, started: Instant) -> Result<(), ProxyError> {
    let over = Deadline::start(&rule.policies.timeouts, &parts.headers, started).at();
    let until = Instant::now() + delay;
    match over.filter(|over| *over < until) {
        None => tokio::time::sleep_until(until.into()).await,
        Some(over) => {
            tokio::time::sleep_until(over.into()).await;
            let details =
                format_args!("the request's time ran out in a delay of {delay:?} injected by {}", rule.origin);
            return Err(ProxyError::new(Kind::ResponseTimeout, details));
        }
    }
    Ok(())
}

fn failed(failure: Failure, details: &str, is_grpc: bool, request: &Parts) -> Response<Body> {
    let mut response = match is_grpc {
        true => answer::grpc(failure.grpc_code, details),
        false => answer::text(failure.status, &format!("weft: {details}\n")),
    };
    let reason = ProxyStatus::new(answer::name(Direction::Outbound)).error("proxy_internal_response");
    own(&mut response, reason.details(details).to_header_value(), request);
    response
}

/// Marks an answer that did not come from a backend.
fn own(response: &mut Response<Body>, reason: HeaderValue, request: &Parts) {
    let headers = response.headers_mut();
    headers.insert(PROXY_STATUS, reason);
    if let Some(id) = request.headers.get(REQUEST_ID) {
        headers.insert(REQUEST_ID, id.clone());
    }
}

#[cfg(test)]
mod tests;
