//! The network: what sidecars and people can ask over it.
//!
//! Translates between messages and `mesh`; decides who may ask, and nothing about the answer. `listener` is below both
//! servers: `grpc` (discovery, identity, workloads, quotas) and `admin`.

pub mod admin;
pub mod discovery;
pub mod grpc;
pub mod identity;
pub mod listener;
pub mod quotas;
pub mod workloads;

use weft_certs::{SpiffeId, TrustDomain};

/// The workload that a connection has proved to be.
fn workload<T>(request: &tonic::Request<T>, trust_domain: &TrustDomain) -> Result<SpiffeId, tonic::Status> {
    let peer = request.extensions().get::<listener::Peer>();
    let proved = peer.and_then(|peer| Some((peer.identity.clone()?, &peer.life)));
    let (identity, life) =
        proved.ok_or_else(|| tonic::Status::unauthenticated("a client certificate (an SVID) is needed"))?;
    if life.is_over() {
        return Err(tonic::Status::unauthenticated(format!(
            "the SVID of {identity} has expired: connect with a new one"
        )));
    }
    if identity.trust_domain() != trust_domain || identity.service_account().is_none() {
        return Err(tonic::Status::permission_denied(format!("{identity} is not a workload of {trust_domain}")));
    }
    Ok(identity)
}

/// What may be a workload's id: it becomes a name in discovery, in logs and on the disk.
fn check_workload_id(id: &str) -> Result<(), tonic::Status> {
    let is_safe = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !(1..=128).contains(&id.len()) || !id.bytes().all(is_safe) {
        return Err(tonic::Status::invalid_argument(
            "the workload id must have 1 to 128 letters, digits, '-', '_' or '.'",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use weft_certs::Clock;

    use super::*;

    #[test]
    fn a_workload_is_who_has_proved_it_and_still_can() {
        let trust_domain: TrustDomain = "weft.local".parse().unwrap();
        let now = SystemTime::now();
        let ask = |identity: Option<SpiffeId>, left: Duration| {
            let life = listener::Life::until(now + left, Clock::from_fn(move || now));
            let mut request = tonic::Request::new(());
            request.extensions_mut().insert(listener::Peer { address: "127.0.0.1:1".parse().unwrap(), identity, life });
            workload(&request, &trust_domain).map_err(|status| status.code())
        };
        let orders = SpiffeId::workload(&trust_domain, "shop", "orders").unwrap();
        assert_eq!(ask(Some(orders.clone()), Duration::from_secs(1)), Ok(orders.clone()));
        assert_eq!(ask(Some(orders), Duration::ZERO), Err(tonic::Code::Unauthenticated));
        assert_eq!(ask(None, Duration::from_secs(1)), Err(tonic::Code::Unauthenticated));
        let foreign = SpiffeId::workload(&"other.test".parse().unwrap(), "shop", "orders").unwrap();
        assert_eq!(ask(Some(foreign), Duration::from_secs(1)), Err(tonic::Code::PermissionDenied));
    }
}
