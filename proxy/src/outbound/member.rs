//! One endpoint of a service, as an application reaches it by its address: headless services, StatefulSets.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use weft_proxy_api::{Endpoint, Leads, ServicePort};

use super::Outbound;
use crate::{error::ProxyError, mesh::Destination};

/// Holds the destination that is made for the connection, for as long as nothing of it changes.
pub(super) struct Member {
    address: SocketAddr,
    pub(super) service: ServicePort,
    made: Mutex<Made>,
}

#[derive(Clone)]
struct Made {
    endpoint: Endpoint,
    /// Whose policies it has.
    of: Option<Arc<Destination>>,
    destination: Arc<Destination>,
}

impl Member {
    pub(super) async fn new(
        cx: &Outbound,
        address: SocketAddr,
        service: ServicePort,
        endpoint: Endpoint,
    ) -> Result<Self, ProxyError> {
        let made = Self::make(cx, &service, endpoint).await?;
        Ok(Self { address, service, made: Mutex::new(made) })
    }

    /// What the address leads to now. An address that has left the service keeps the endpoint that it was: who is
    /// connected stays, and whoever answers must prove the same identity.
    pub(super) async fn destination(&self, cx: &Outbound) -> Result<Arc<Destination>, ProxyError> {
        let made = self.lock().clone();
        let endpoint = match cx.mesh.leads(self.address, cx.discovery_timeout).await {
            Ok(Leads::Member { service, endpoint }) if service == self.service => endpoint,
            _ => made.endpoint.clone(),
        };
        let of = cx.mesh.known(&self.service).and_then(Result::ok);
        let is_same = match (&of, &made.of) {
            (Some(now), Some(before)) => Arc::ptr_eq(now, before),
            (None, _) => true,
            (Some(_), None) => false,
        };
        if endpoint == made.endpoint && is_same {
            return Ok(made.destination);
        }
        let made = Self::make(cx, &self.service, endpoint).await?;
        *self.lock() = made.clone();
        Ok(made.destination)
    }

    pub(super) fn current(&self) -> Arc<Destination> {
        self.lock().destination.clone()
    }

    async fn make(cx: &Outbound, service: &ServicePort, endpoint: Endpoint) -> Result<Made, ProxyError> {
        let destination = cx.mesh.member(service, endpoint.clone(), cx.discovery_timeout).await?;
        Ok(Made { endpoint, of: cx.mesh.known(service).and_then(Result::ok), destination })
    }

    fn lock(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
