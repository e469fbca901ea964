//! Redirected connections: whatever an unmodified application opens, carried to where its address leads.
//!
//! | the address leads to | the connection |
//! |---|---|
//! | a service, by a virtual address | is HTTP, or bytes, as the port is declared or the connection shows |
//! | one endpoint of a service | the same, to this endpoint alone |
//! | nothing of the mesh | passes as it is, or is refused, as the mesh is configured |

use std::{net::SocketAddr, sync::Arc};

use tokio::net::{TcpListener, TcpStream};
use weft_proxy_api::{Leads, inbound::Egress, virtual_address::is_virtual};

use super::{
    Aim, Outbound,
    carry::{Caller, OUTSIDE, Way, carry, finish, refuse},
    member::Member,
};
use crate::{
    error::{Kind, ProxyError},
    net::{self, Io, Socket, copy::join, listener},
    telemetry::{Carriage, carriage::refused, metrics::Direction},
};

/// Accepts connections for as long as the process runs.
pub async fn run(cx: Arc<Outbound>, listener: TcpListener) {
    loop {
        let (stream, peer, open) =
            listener::admit(&listener, &cx.metrics, Direction::Outbound, cx.max_connections).await;
        let cx = cx.clone();
        tokio::spawn(async move {
            intercept(cx, stream, peer).await;
            drop(open);
        });
    }
}

async fn intercept(cx: Arc<Outbound>, stream: TcpStream, peer: SocketAddr) {
    let _place = cx.drain.place();
    let to = net::original_dst(&stream);
    let io = Io::Plain(Socket::new(stream));
    let Some(to) = to else {
        let error = ProxyError::new(Kind::Loop, "the connection was not redirected here: it names no destination");
        return refuse(&cx, Caller::new(io, peer.ip(), peer.to_string()), error).await;
    };
    if cx.client.is_own(peer, to) {
        let details = "the sidecar's own connection was redirected to itself: its user must be exempt from redirection";
        return refuse(&cx, Caller::new(io, peer.ip(), to.to_string()), ProxyError::new(Kind::Loop, details)).await;
    }
    match lead(&cx, to).await {
        Ok(Some(way)) => Box::pin(carry(cx, Caller::new(io, peer.ip(), to.to_string()), way)).await,
        Ok(None) => pass(&cx, io, to).await,
        Err(error) => refuse(&cx, Caller::new(io, peer.ip(), to.to_string()), error).await,
    }
}

/// The way from that address; `None`: it is outside the mesh, and may be reached.
async fn lead(cx: &Outbound, to: SocketAddr) -> Result<Option<Way>, ProxyError> {
    let limit = cx.discovery_timeout;
    let leads = match cx.mesh.leads(to, limit).await {
        Ok(leads) => leads,
        Err(_) if is_virtual(to.ip()) => {
            let details = format_args!("the control plane has not said which service has the virtual address {to}");
            return Err(ProxyError::new(Kind::NoConfiguration, details));
        }
        // What the mesh was never said to have passes like anything else that is outside.
        Err(_) => Leads::Outside,
    };
    match leads {
        Leads::Service(name) => Ok(Some((cx.mesh.destination(&name, limit).await?, Aim::Service(name)))),
        Leads::Member { service, endpoint } => {
            let member = Member::new(cx, to, service, endpoint).await?;
            Ok(Some((member.current(), Aim::Member(member))))
        }
        Leads::Outside if is_virtual(to.ip()) => {
            Err(ProxyError::new(Kind::UnknownService, format_args!("no service has the virtual address {to}")))
        }
        Leads::Outside => match cx.mesh.inbound().as_ref().as_ref().map(|enforced| enforced.egress) {
            Some(Egress::Deny) => {
                let details = format_args!("{to} is not in the mesh, and the mesh lets nothing out (egress: deny)");
                Err(ProxyError::new(Kind::EgressDenied, details))
            }
            Some(Egress::Allow) | None => Ok(None),
        },
    }
}

/// A connection that leaves the mesh, as it is.
async fn pass(cx: &Outbound, client: Io, to: SocketAddr) {
    let said: Arc<str> = to.to_string().into();
    match cx.client.outside(to).await {
        Ok(io) => {
            let direction = Direction::Outbound;
            let mut carriage = Carriage::begin(direction, said, OUTSIDE.into(), &cx.metrics, &cx.access_log);
            carriage.with(to, None);
            finish(join(client.into(), io.into(), &mut carriage.moved).await, &mut carriage);
        }
        Err(error) => {
            tracing::debug!(%to, %error, "an address outside the mesh cannot be reached");
            refused(Direction::Outbound, &said, &error, &cx.metrics, &cx.access_log);
            client.abort();
        }
    }
}
