//! One request of a rule with a cache: what is kept for it, before it is sent and when it has failed.

use std::{sync::Arc, time::Instant};

use http::{HeaderValue, Response, request::Parts};

use super::{
    Outbound,
    degrade::{ByFallback, copy_of},
    forward::Passage,
};
use crate::{
    error::ProxyError,
    http::{
        answer,
        body::Body,
        cache::{CACHE_STATUS, Cache, Forwarded, Kept, Key},
        headers::REQUEST_ID,
        proxy_status::{PROXY_STATUS, ProxyStatus},
    },
    mesh::compile::{Forward, Share, To},
    telemetry::{Exchange, metrics::Direction},
};

pub(super) struct Cached<'a> {
    cache: &'a Arc<Cache>,
    key: Key,
    kept: Kept,
    request: Parts,
    /// Of other backends for the same target.
    others: Vec<Key>,
}

impl<'a> Cached<'a> {
    pub fn find(cache: &'a Arc<Cache>, share: &Share, passage: &Passage<'a>) -> Self {
        let key = |share: &Share| Key::new(label(share), passage.to.host.as_bytes(), &passage.parts);
        let (key_of, Forward { shares, .. }) = (key(share), passage.forward);
        let others = match passage.parts.method.is_safe() {
            true => Vec::new(),
            false => shares.iter().map(key).collect(),
        };
        let kept = cache.find(&key_of, &passage.parts, Instant::now());
        Self { cache, key: key_of, kept, request: copy_of(&passage.parts), others }
    }

    /// The answer without asking.
    pub fn hit(&self, cx: &Outbound) -> Option<Response<Body>> {
        let Kept::Fresh(entry) = &self.kept else { return None };
        cx.metrics.shaping.cached("hit");
        Some(entry.hit(&self.request, Instant::now()))
    }

    /// Whether there is something to give in the place of a failure.
    pub fn may_stand_in(&self) -> bool {
        matches!(self.kept, Kept::Stale(Some(_)))
    }

    /// What the caller gets: what is kept, in the place of a failure; else what came, which is kept if it may be.
    pub fn after(
        self,
        sent: Result<Response<Body>, ProxyError>,
        cx: &Outbound,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, ProxyError> {
        let failed = match &sent {
            Ok(response) => Some(response.status()).filter(|status| matches!(status.as_u16(), 500 | 502 | 503 | 504)),
            Err(error) => error.kind.is_of_the_backend().then(|| error.kind.meaning().status),
        };
        if let (Kept::Stale(Some(entry)), Some(status)) = (&self.kept, failed) {
            let now = Instant::now();
            let received = sent.as_ref().ok().map(Response::status);
            let mut response = entry.stand_in(&self.request, received, now);
            let why = why(&sent, entry.lifetime().age(now).as_secs());
            response.headers_mut().append(PROXY_STATUS, why);
            if let Some(id) = self.request.headers.get(REQUEST_ID) {
                response.headers_mut().insert(REQUEST_ID, id.clone());
            }
            if let Err(error) = &sent {
                exchange.failed(error, &cx.metrics);
            }
            exchange.replaced(status);
            cx.metrics.shaping.cached("stale");
            cx.metrics.shaping.degraded("stored");
            return Ok(response);
        }
        cx.metrics.shaping.cached("miss");
        sent.map(|response| self.keep(response))
    }

    fn keep(self, response: Response<Body>) -> Response<Body> {
        // No other backend's answer may be kept as this one's.
        if response.extensions().get::<ByFallback>().is_some() {
            return response;
        }
        if response.status().is_success() || response.status().is_redirection() {
            self.others.iter().for_each(|key| self.cache.forget(key));
        }
        let (mut response, is_kept) = self.cache.record(&self.key, &self.request, response);
        if self.cache.settings().serve_fresh {
            let forwarded = match self.kept {
                Kept::Nothing(why) => why,
                Kept::Fresh(_) | Kept::Stale(_) => Forwarded::Stale,
            };
            response.headers_mut().append(CACHE_STATUS, forwarded.status(is_kept));
        }
        response
    }
}

fn label(share: &Share) -> &str {
    match &share.to {
        To::Backend { backend, .. } => &backend.label,
        To::Nowhere(_) => "",
    }
}

/// What failed, and that a kept answer of this age stands in.
fn why(sent: &Result<Response<Body>, ProxyError>, age: u64) -> HeaderValue {
    let status = ProxyStatus::new(answer::name(Direction::Outbound));
    let stored = format!("answered by a stored answer that is {age} s old");
    match sent {
        Ok(response) => {
            let details = format!("the backend answered {}, {stored}", response.status().as_u16());
            status.received_status(response.status()).details(&details).to_header_value()
        }
        Err(error) => {
            let details = format!("{}, {stored}", error.details);
            status.error(error.kind.meaning().proxy_status).details(&details).to_header_value()
        }
    }
}
