//! A connection to an endpoint for a connection of the application that is carried as bytes.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use http::{HeaderMap, Uri};
use tokio::io::{AsyncRead, ReadBuf};
use weft_proxy_api::policy::DEFAULT_CONNECT_TIMEOUT;

use super::{
    Outbound,
    admit::{Admitted, admit},
    attempt::{self, Repeat, Tried, explained, outcome, unsent},
    forward::pick,
};
use crate::{
    balance::{self, Affinity, Endpoint, Picked, Source},
    error::{Kind, ProxyError},
    mesh::{
        Backend,
        backend::Leave,
        compile::{Action, Rule},
    },
    net::Io,
    policy::{
        Outcome,
        bulkhead::Place,
        retry::{Decision, Safety},
    },
};

#[derive(Debug)]
pub(super) struct Upstream {
    pub io: Io,
    pub label: Arc<str>,
    /// Its place at the endpoint, which it holds until it ends.
    pub picked: Picked,
    /// Its place among what the backend may be given at a time, as one request.
    pub place: Option<Place>,
}

/// Connects to an endpoint of the rule, to another one if that fails. Nothing of the application's is sent meanwhile, so
/// that any of them may have it.
pub(super) async fn connect(cx: &Outbound, rule: &Rule, peer: IpAddr) -> Result<Upstream, ProxyError> {
    let Action::Forward(forward) = &rule.action else {
        let details = format_args!("{} redirects requests, and the connection carries none", rule.origin);
        return Err(ProxyError::new(Kind::NotHttp, details));
    };
    let share = pick(forward, &HeaderMap::new(), None, &rule.origin)?;
    let now = Instant::now();
    // Nothing else limits how long a connection may wait, and none should longer than it may take to be made.
    let until = now + DEFAULT_CONNECT_TIMEOUT;
    let Admitted { backend, leave, .. } = admit(share, &rule.origin, now, Some(until)).await?;
    let source = Source { peer, workload: &cx.workload };
    let key = balance::key(&backend.settings.load_balancer.algorithm, &HeaderMap::new(), &Uri::default(), source);
    let affinity = Affinity { session: None, key };
    let safety = Safety { idempotent: false, is_grpc: false };
    let repeat = Repeat::new(&backend, &rule.policies.retry, safety, &cx.metrics);
    let (mut made, mut avoid) = (0, None::<Arc<Endpoint>>);
    loop {
        made += 1;
        let picked = attempt::pick(&backend, avoid.as_deref(), affinity, Instant::now())?;
        let endpoint = picked.endpoint().clone();
        let connect = async {
            let (room, limit) = cx.pool.room(backend.connecting()).await?;
            cx.client.bytes(&endpoint.target, limit, room).await
        };
        let error = match Box::pin(connect).await {
            Ok(io) => return Ok(accept(&backend, leave, (io, picked))),
            Err(error) => error,
        };
        attempt::end(&backend, picked, outcome(&error));
        match repeat.decide(unsent(&backend, &error), Tried { made, is_whole: true, left: None }) {
            Decision::Again { wait, .. } => Box::pin(tokio::time::sleep(wait)).await,
            Decision::Answer(stop) => {
                backend.finish(leave.guard, outcome(&error), Instant::now());
                return Err(explained(&backend, error, made, stop));
            }
        }
        avoid = Some(endpoint);
    }
}

/// A connection that is there has succeeded: how the bytes on it fare says nothing about the endpoint.
fn accept(backend: &Arc<Backend>, leave: Leave, (io, mut picked): (Io, Picked)) -> Upstream {
    let now = Instant::now();
    picked.head_arrived(now);
    let transition = picked.record(Outcome::Success, now, rand::random());
    backend.report(Some(&picked.endpoint().id), transition);
    backend.finish(leave.guard, Outcome::Success, now);
    Upstream { io, label: backend.label.clone(), picked, place: leave.place }
}

impl AsyncRead for Upstream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}
