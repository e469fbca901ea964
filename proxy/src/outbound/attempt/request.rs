//! The request as the next hop gets it, for as many attempts as it takes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header, request::Parts};
use http_body::Body as _;
use tokio::sync::Notify;
use weft_proxy_api::policy::Retry;

use super::deadline::Deadline;
use crate::{
    error::{Kind, ProxyError},
    http::{
        body::{Body, End, Hold},
        headers,
        limited::{Limited, Limits, Of},
        pool::Keep,
        replay::Recorder,
        upgrade,
    },
    net::Hop,
    policy::retry::Safety,
};

/// Attempts of a gRPC call before this one (gRFC A6).
const PREVIOUS_RPC_ATTEMPTS: &str = "grpc-previous-rpc-attempts";

/// The request as the next hop gets it.
pub(in super::super) fn prepare(
    mut parts: Parts,
    body: Body,
    hop: Hop,
    switch: Option<&mut upgrade::Switch>,
) -> Result<Request<Body>, ProxyError> {
    match hop {
        Hop::Http1 | Hop::Http1Streams => {
            parts.version = Version::HTTP_11;
            // `Host` says it: an authority in the target would travel in HTTP/2 as it came, with what is in it.
            if parts.uri.authority().is_some() {
                parts.uri = parts.uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
            }
            headers::join_cookies(&mut parts.headers);
            if let Some(switch) = switch {
                switch.ask_by_upgrade(&mut parts);
            }
        }
        Hop::Http2 => {
            let host = parts.headers.remove(header::HOST);
            let authority = host.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
            let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
            let uri = Uri::builder().scheme("http").authority(authority).path_and_query(path).build();
            parts.version = Version::HTTP_2;
            parts.uri = uri.map_err(|error| {
                ProxyError::new(Kind::BadRequest, format_args!("the request's target is not valid: {error}"))
            })?;
        }
    }
    Ok(Request::from_parts(parts, body))
}

/// How far the caller is with its request, in one attempt. `None`: there is nothing to be waited for.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Option<Arc<Upload>>);

#[derive(Debug, Default)]
struct Upload {
    is_whole: AtomicBool,
    is_broken: AtomicBool,
    /// Present where somebody waits for the end.
    ended: Option<Notify>,
}

impl Sent {
    pub(super) fn is_whole(&self) -> bool {
        self.0.as_ref().is_none_or(|upload| upload.is_whole.load(Ordering::Relaxed))
    }

    pub(super) fn is_broken(&self) -> bool {
        self.0.as_ref().is_some_and(|upload| upload.is_broken.load(Ordering::Relaxed))
    }

    /// Resolves when the request was sent whole.
    pub(super) async fn whole(&self) {
        let Some(Upload { ended: Some(ended), .. }) = self.0.as_deref() else { return };
        while !self.is_whole() {
            ended.notified().await;
        }
    }
}

impl Hold for Sent {
    fn ended(self: Box<Self>, end: End<'_>) {
        let Some(upload) = &self.0 else { return };
        match end {
            End::Complete { .. } => upload.is_whole.store(true, Ordering::Relaxed),
            End::Failed => upload.is_broken.store(true, Ordering::Relaxed),
            End::Dropped => {}
        }
        if let Some(ended) = &upload.ended {
            ended.notify_one();
        }
    }
}

/// A request that may be sent more than once.
pub(super) struct Outgoing {
    pub(super) request: Request<Body>,
    /// Of the newest attempt.
    pub(super) sent: Sent,
    pub(super) keep: Keep,
    /// Keeps its body, where that may be of use.
    recorder: Option<Recorder>,
    has_body: bool,
    watches_sending: bool,
    pub(super) is_grpc: bool,
    /// Attempts that the caller has made, as it says.
    made_before: u32,
}

impl Outgoing {
    pub(super) fn new(
        mut request: Request<Body>,
        policy: &Retry,
        safety: Safety,
        limits: Option<Limits>,
        deadline: &Deadline,
    ) -> Self {
        let has_body = !request.body().is_end_stream();
        let may_repeat = request.method() != Method::CONNECT && policy.attempts > 0;
        let keeps_body = has_body && may_repeat && safety.may_repeat(policy);
        let mut recorder = None;
        if has_body && (limits.is_some() || keeps_body) {
            let mut body = std::mem::replace(request.body_mut(), Body::empty());
            if let Some(limits) = limits {
                body = Limited::body(body, Limits { total: None, ..limits }, Of::Request);
            }
            if keeps_body {
                match Recorder::new(body, policy.max_body_bytes) {
                    Ok(kept) => {
                        body = Body::replay(kept.replay());
                        recorder = Some(kept);
                    }
                    Err(longer) => body = longer,
                }
            }
            *request.body_mut() = body;
        }
        // A request without a body may have reached nobody, whatever it is.
        let keep = if may_repeat && (!has_body || recorder.is_some()) { Keep::Head } else { Keep::Nothing };
        let watches_sending = deadline.watches_sending();
        let (sent, is_grpc) = (Sent::default(), safety.is_grpc);
        let mut outgoing = Self { request, sent, keep, recorder, has_body, watches_sending, is_grpc, made_before: 0 };
        outgoing.watch();
        deadline.tell(outgoing.request.headers_mut());
        outgoing
    }

    /// Has it known when the body was sent whole, where anybody asks.
    fn watch(&mut self) {
        self.sent = Sent::default();
        if !self.has_body && !self.watches_sending {
            return;
        }
        let ended = self.watches_sending.then(Notify::new);
        self.sent = Sent(Some(Arc::new(Upload { ended, ..Upload::default() })));
        let body = std::mem::replace(self.request.body_mut(), Body::empty());
        *self.request.body_mut() = body.holding(Box::new(self.sent.clone()));
    }

    /// Whether all of it is there to be sent again, after an attempt that did not leave it `untouched`.
    pub(super) fn is_whole(&self, untouched: bool) -> bool {
        let has_kept = || self.recorder.as_ref().map_or(!self.has_body, Recorder::is_kept);
        untouched || self.keep == Keep::Head && has_kept()
    }

    /// Makes it ready for another attempt, of which there were `made`.
    pub(super) fn again(&mut self, made: u32, untouched: bool, deadline: &Deadline) {
        if !untouched {
            *self.request.body_mut() =
                self.recorder.as_ref().map_or_else(Body::empty, |recorder| Body::replay(recorder.replay()));
            self.watch();
        }
        self.count(made);
        deadline.tell(self.request.headers_mut());
    }

    fn count(&mut self, made: u32) {
        let headers = self.request.headers_mut();
        let is_first = !headers.contains_key(headers::ATTEMPT_COUNT);
        headers.insert(headers::ATTEMPT_COUNT, (made + 1).into());
        if !self.is_grpc {
            return;
        }
        if is_first {
            self.made_before = number(headers, PREVIOUS_RPC_ATTEMPTS);
        }
        headers.insert(PREVIOUS_RPC_ATTEMPTS, self.made_before.saturating_add(made).into());
    }

    /// The same once more, to be sent beside this one. `None` in the place of one whose body has not come whole.
    pub(super) fn twin(&self) -> Twin {
        let mut head = Request::new(());
        self.request.method().clone_into(head.method_mut());
        self.request.uri().clone_into(head.uri_mut());
        *head.version_mut() = self.request.version();
        self.request.headers().clone_into(head.headers_mut());
        let Self { recorder, has_body, watches_sending, is_grpc, .. } = self;
        Twin {
            head,
            recorder: recorder.clone(),
            has_body: *has_body,
            watches_sending: *watches_sending,
            is_grpc: *is_grpc,
        }
    }
}

/// What is needed to send a request beside another attempt of it.
pub(super) struct Twin {
    head: Request<()>,
    recorder: Option<Recorder>,
    has_body: bool,
    watches_sending: bool,
    is_grpc: bool,
}

impl Twin {
    /// The request, once all of its body is here.
    pub(super) fn outgoing(&self, made: u32, deadline: &Deadline) -> Option<Outgoing> {
        let body = match &self.recorder {
            Some(recorder) if recorder.is_whole() => Body::replay(recorder.replay()),
            None if !self.has_body => Body::empty(),
            _ => return None,
        };
        let Self { has_body, watches_sending, is_grpc, .. } = *self;
        let request = self.head.clone().map(|()| body);
        let (sent, recorder) = (Sent::default(), self.recorder.clone());
        let (keep, made_before) = (Keep::Nothing, 0);
        let mut twin = Outgoing { request, sent, keep, recorder, has_body, watches_sending, is_grpc, made_before };
        twin.watch();
        twin.count(made);
        deadline.tell(twin.request.headers_mut());
        Some(twin)
    }
}

fn number(headers: &HeaderMap, name: &str) -> u32 {
    headers.get(name).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
}
