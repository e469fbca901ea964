//! One check of an application, on a connection of its own.

use std::{io, net::SocketAddr};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use weft_proxy_api::policy::{CheckKind, HealthCheck};

use super::{grpc, http, state::Failure};

/// Whether the application at this address can do its work now. The whole check has the check's timeout.
///
/// # Errors
/// The cause, in words.
pub async fn probe(at: SocketAddr, check: &HealthCheck) -> Result<(), Failure> {
    let deadline = Instant::now() + check.timeout;
    let stream = match timeout_at(deadline, TcpStream::connect(at)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Failure { cause: not_connected(at, &error), is_connected: false }),
        Err(_) => {
            let cause = format!("{at} took no connection within {:?}", check.timeout);
            return Err(Failure { cause, is_connected: false });
        }
    };
    let answered = async {
        match &check.kind {
            CheckKind::Tcp => Ok(()),
            CheckKind::Http { path, host, statuses } => http::ask(stream, at, path, host.as_deref(), statuses).await,
            CheckKind::Grpc { service } => grpc::ask(stream, at, service).await,
        }
    };
    let answer = timeout_at(deadline, answered).await;
    let answer = answer.unwrap_or_else(|_| Err(format!("{} did not answer within {:?}", asked(check), check.timeout)));
    answer.map_err(|cause| Failure { cause, is_connected: true })
}

fn not_connected(at: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{at} refused the connection"),
        _ => format!("{at} cannot be connected to: {error}"),
    }
}

/// What the application was asked for, for people.
fn asked(check: &HealthCheck) -> String {
    match &check.kind {
        CheckKind::Tcp => "the connection".to_owned(),
        CheckKind::Http { path, .. } => http::name(path),
        CheckKind::Grpc { service } => grpc::name(service),
    }
}

#[cfg(test)]
mod tests;
