//! Endpoints that were learned: registered workloads and resolved hosts, kept so that callers keep them while the
//! control plane restarts.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use weft_certs::SpiffeId;
use weft_proxy_api::ServiceName;

use super::{Store, StoreError, events::json};
use crate::snapshot::WorkloadPorts;

/// By the workload's id.
const REGISTRATIONS: TableDefinition<&str, &[u8]> = TableDefinition::new("registrations");
const RESOLVED: &str = "resolved";

/// One workload behind ports of a service, in the namespace of its identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    pub identity: SpiffeId,
    pub service: String,
    #[serde(flatten)]
    pub ports: WorkloadPorts,
    pub labels: BTreeMap<String, String>,
    pub zone: String,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    registration: Registration,
    #[serde(default)]
    order: u64,
}

impl Registration {
    pub fn service_name(&self) -> ServiceName {
        ServiceName::new(self.identity.namespace().unwrap_or_default(), self.service.clone())
    }
}

pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(REGISTRATIONS)?;
    Ok(())
}

impl Store {
    /// By id, each with the number that it was put with.
    pub fn registrations(&self) -> Result<BTreeMap<String, (Registration, u64)>, StoreError> {
        let table = self.read()?.open_table(REGISTRATIONS)?;
        table
            .iter()?
            .map(|entry| {
                let (id, registration) = entry?;
                let Kept { registration, order } = self.parse(registration.value())?;
                Ok((id.value().to_owned(), (registration, order)))
            })
            .collect()
    }

    /// `order` says which of the registrations with an address in common was there last.
    pub fn put_registration(&self, id: &str, registration: Registration, order: u64) -> Result<(), StoreError> {
        let kept = json(&Kept { registration, order })?;
        self.write(|transaction| {
            transaction.open_table(REGISTRATIONS)?.insert(id, kept.as_slice())?;
            Ok(())
        })
    }

    pub fn remove_registrations(&self, ids: &BTreeSet<String>) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(REGISTRATIONS)?;
            for id in ids {
                table.remove(id.as_str())?;
            }
            Ok(())
        })
    }

    /// The last good answers of DNS, by host and port.
    pub fn resolved(&self) -> Result<BTreeMap<(String, u16), Vec<SocketAddr>>, StoreError> {
        let Some(bytes) = self.meta(RESOLVED)? else { return Ok(BTreeMap::new()) };
        Ok(self.parse::<Vec<_>>(&bytes)?.into_iter().collect())
    }

    pub fn put_resolved(&self, resolved: &BTreeMap<(String, u16), Vec<SocketAddr>>) -> Result<(), StoreError> {
        self.set_meta(RESOLVED, &json(&resolved.iter().collect::<Vec<_>>())?)
    }
}
