//! A connection into the mesh of which it is not agreed that it carries requests: found out, and carried as what it is.
//!
//! Called for redirected connections and for what is inside a `CONNECT` tunnel. Requests go on in `forward`; anything
//! else is joined with a connection to an endpoint.

use std::{net::IpAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::uri::Authority;
use weft_proxy_api::{ServicePort, destination::Protocol};

use super::{
    Aim, Connection, Outbound, serve,
    upstream::{self, Upstream},
};
use crate::{
    error::{Kind, ProxyError},
    http::{http1, refuse},
    mesh::{Destination, compile::Rule, speech::First},
    net::{
        Io,
        copy::{Broken, End, join},
        detect::{Hello, Seen},
        opening::{Ended, Opening, Server, hello, listen},
    },
    telemetry::{Carriage, carriage::refused, metrics::Direction},
    tls,
};

/// What stands in the place of a backend where there is none.
pub(super) const OUTSIDE: &str = "outside";
/// What is read of a client before it is known what it speaks.
const AHEAD: usize = 4 << 10;

/// Where a connection into the mesh goes, and where its requests do.
pub(super) type Way = (Arc<Destination>, Aim);

/// A connection of the application, and what was read of it.
pub(super) struct Caller {
    pub io: Io,
    pub ahead: BytesMut,
    pub peer: IpAddr,
    /// Where it wants to go, as it says it.
    pub to: Arc<str>,
}

impl Caller {
    pub fn new(io: Io, peer: IpAddr, to: impl Into<Arc<str>>) -> Self {
        Self { io, ahead: BytesMut::with_capacity(AHEAD), peer, to: to.into() }
    }
}

/// Carries what is inside a `CONNECT` tunnel. Requests to what is not of the mesh are told so one by one.
pub(super) async fn tunnel(cx: Arc<Outbound>, connection: http1::Connection, peer: IpAddr, authority: Authority) {
    let name = ServicePort::from_host(authority.host(), authority.port_u16(), &cx.namespace);
    let destination = match name {
        Ok(name) => cx.mesh.destination(&name, cx.discovery_timeout).await.ok(),
        Err(_) => None,
    };
    let Some(destination) = destination else {
        return serve(Arc::new(Connection::new(cx, Aim::Tunnel(authority), peer)), connection).await;
    };
    let (io, ahead) = connection.into_parts();
    let caller = Caller { io, ahead: ahead.into(), peer, to: authority.as_str().into() };
    carry(cx, caller, (destination, Aim::Tunnel(authority))).await;
}

/// Carries the connection as what it is.
pub(super) async fn carry(cx: Arc<Outbound>, mut caller: Caller, (destination, aim): Way) {
    match open(&cx, &mut caller, &destination).await {
        Ok(Carried::Requests) => {
            let io = http1::Connection::read_ahead(caller.io, caller.ahead);
            serve(Arc::new(Connection::new(cx, aim, caller.peer)), io).await;
        }
        Ok(Carried::Bytes(upstream, said)) => carry_bytes(&cx, caller, *upstream, said).await,
        Err(Ended::Client(error)) => {
            tracing::debug!(to = %caller.to, %error, "the client broke off before it said anything");
        }
        Err(Ended::Server(error)) => refuse(&cx, caller, error).await,
    }
}

/// Refuses the connection and says why: in HTTP, if that is what the client speaks, and else in the log and the metrics.
pub(super) async fn refuse(cx: &Outbound, caller: Caller, error: ProxyError) {
    let Caller { io, ahead, to, .. } = caller;
    tracing::warn!(%to, reason = error.kind.meaning().label, "a connection was refused: {error}");
    refused(Direction::Outbound, &to, &error, &cx.metrics, &cx.access_log);
    refuse::refuse(io, ahead, Direction::Outbound, &error, &cx.metrics).await;
}

enum Carried {
    /// HTTP; the request's path decides all the rest.
    Requests,
    /// Anything else, to this endpoint, which has said something already.
    Bytes(Box<Upstream>, Bytes),
}

/// Finds out what the connection carries, as far as nobody has declared it, and connects for bytes.
async fn open(cx: &Outbound, caller: &mut Caller, destination: &Destination) -> Result<Carried, Ended> {
    match destination.protocol {
        Protocol::Http1 | Protocol::Http2 | Protocol::Grpc => Ok(Carried::Requests),
        Protocol::Tcp => opaque(cx, caller.peer, destination, Server::NotYet).await,
        Protocol::Tls => {
            let hello = hello(&mut caller.io, &mut caller.ahead, tls::is_of_the_mesh).await?;
            tls(cx, caller.peer, destination, (hello, Server::NotYet)).await
        }
        Protocol::Detect if destination.speech.first() == First::Server => {
            opaque(cx, caller.peer, destination, Server::NotYet).await
        }
        Protocol::Detect => overhear(cx, caller, destination).await,
    }
}

async fn overhear(cx: &Outbound, caller: &mut Caller, destination: &Destination) -> Result<Carried, Ended> {
    // A server that speaks first is heard also where a policy for requests will refuse it: otherwise both would wait.
    let rule = destination.opaque().or_else(|| destination.rules.first());
    let peer = caller.peer;
    let connect = async {
        let rule = rule.ok_or_else(|| not_http(destination))?;
        upstream::connect(cx, rule, peer).await
    };
    let expects_client = destination.opaque_rule.is_none() || destination.speech.first() == First::Client;
    match listen(&mut caller.io, &mut caller.ahead, expects_client, connect).await? {
        Opening::Server(upstream, said) => {
            destination.speech.learn(First::Server);
            match destination.opaque_rule {
                Some(_) => Ok(Carried::Bytes(Box::new(upstream), said.freeze())),
                None => Err(Ended::Server(not_http(destination))),
            }
        }
        Opening::Client(seen, server) => {
            destination.speech.learn(First::Client);
            match seen {
                Seen::Http1 | Seen::Http2 => Ok(Carried::Requests),
                Seen::Tls if !destination.tls_routes.is_empty() => {
                    let hello = hello(&mut caller.io, &mut caller.ahead, tls::is_of_the_mesh).await?;
                    tls(cx, caller.peer, destination, (hello, server)).await
                }
                Seen::Tls | Seen::Opaque | Seen::Undecided { .. } => opaque(cx, caller.peer, destination, server).await,
            }
        }
    }
}

async fn opaque(
    cx: &Outbound,
    peer: IpAddr,
    destination: &Destination,
    server: Server<Upstream>,
) -> Result<Carried, Ended> {
    let rule = destination.opaque().ok_or_else(|| Ended::Server(not_http(destination)))?;
    connected(cx, peer, rule, server).await
}

async fn tls(
    cx: &Outbound,
    peer: IpAddr,
    destination: &Destination,
    (hello, server): (Hello, Server<Upstream>),
) -> Result<Carried, Ended> {
    let name = hello.server_name.as_deref();
    let rule = destination.tls(name).ok_or_else(|| {
        let asked = name.map_or_else(|| "no server name".to_owned(), |name| format!("the server name {name:?}"));
        let details = format_args!("no TLSRoute of {} is for {asked}", destination.name);
        Ended::Server(ProxyError::new(Kind::NoRoute, details))
    })?;
    // What was connected to meanwhile is right only where names decide nothing.
    let server = if destination.tls_routes.is_empty() { server } else { Server::NotYet };
    connected(cx, peer, rule, server).await
}

async fn connected(cx: &Outbound, peer: IpAddr, rule: &Rule, server: Server<Upstream>) -> Result<Carried, Ended> {
    let upstream = server.or_connect(upstream::connect(cx, rule, peer)).await?;
    Ok(Carried::Bytes(Box::new(upstream), Bytes::new()))
}

fn not_http(destination: &Destination) -> ProxyError {
    let details = format_args!(
        "{} takes HTTP only, since its port is declared so or has routes for requests, and the connection is not HTTP",
        destination.name
    );
    ProxyError::new(Kind::NotHttp, details)
}

async fn carry_bytes(cx: &Outbound, caller: Caller, upstream: Upstream, said: Bytes) {
    let Upstream { io, label, picked, place: _place } = upstream;
    let mut carriage = Carriage::begin(Direction::Outbound, caller.to, label, &cx.metrics, &cx.access_log);
    let target = &picked.endpoint().target;
    carriage.with(target.address, target.identity.as_ref());
    let client = End { io: caller.io, ahead: caller.ahead.freeze() };
    finish(join(client, End { io, ahead: said }, &mut carriage.moved).await, &mut carriage);
}

pub(super) fn finish(joined: Result<(), Broken>, carriage: &mut Carriage) {
    if let Err(broken) = joined {
        tracing::debug!(%broken, "a connection broke");
        carriage.broke(broken.to_string());
    }
}
