//! Virtual addresses that services have been given, kept so that a service has the same one after a restart: programs
//! hold on to what they resolved, and of two services that want one place, neither may move.

use std::{collections::BTreeMap, net::Ipv4Addr};

use redb::{ReadableTable, TableDefinition, TableError, WriteTransaction};
use weft_proxy_api::ServiceName;

use super::{Store, StoreError};

/// By `<namespace>/<service>`.
const VIRTUAL_ADDRESSES: TableDefinition<&str, u32> = TableDefinition::new("virtual_addresses");

/// What is different from what was kept before.
#[derive(Clone, Debug, Default)]
pub struct AddressChanges {
    pub given: Vec<(ServiceName, Ipv4Addr)>,
    pub taken_back: Vec<ServiceName>,
}

pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(VIRTUAL_ADDRESSES)?;
    Ok(())
}

impl Store {
    pub fn virtual_addresses(&self) -> Result<BTreeMap<ServiceName, Ipv4Addr>, StoreError> {
        let table = match self.read()?.open_table(VIRTUAL_ADDRESSES) {
            // Made by a version that gave out none.
            Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
            table => table?,
        };
        table
            .iter()?
            .map(|entry| {
                let (service, address) = entry?;
                let service = service.value().parse().map_err(|error| self.damaged(error))?;
                Ok((service, Ipv4Addr::from(address.value())))
            })
            .collect()
    }

    pub fn put_virtual_addresses(&self, changes: &AddressChanges) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(VIRTUAL_ADDRESSES)?;
            for service in &changes.taken_back {
                table.remove(service.to_string().as_str())?;
            }
            for (service, address) in &changes.given {
                table.insert(service.to_string().as_str(), u32::from(*address))?;
            }
            Ok(())
        })
    }
}

impl AddressChanges {
    pub fn is_empty(&self) -> bool {
        self.given.is_empty() && self.taken_back.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> ServiceName {
        ServiceName::new("shop", name)
    }

    #[test]
    fn they_last_until_they_are_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weft.redb");
        let (one, other) = (Ipv4Addr::new(240, 1, 2, 3), Ipv4Addr::new(240, 1, 2, 4));
        let store = Store::open(&file).unwrap();
        let given = vec![(service("a"), one), (service("b"), other)];
        store.put_virtual_addresses(&AddressChanges { given, taken_back: Vec::new() }).unwrap();
        // What is taken back may be given out in the same moment.
        let changes = AddressChanges { given: vec![(service("c"), one)], taken_back: vec![service("a")] };
        store.put_virtual_addresses(&changes).unwrap();
        drop(store);
        let store = Store::open(&file).unwrap();
        assert_eq!(store.virtual_addresses().unwrap(), [(service("b"), other), (service("c"), one)].into());
    }

    #[test]
    fn a_store_of_an_earlier_version_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("weft.redb")).unwrap();
        store.write(|transaction| Ok(transaction.delete_table(VIRTUAL_ADDRESSES)?)).unwrap();
        assert!(store.virtual_addresses().unwrap().is_empty());
        let given = vec![(service("a"), Ipv4Addr::new(240, 1, 2, 3))];
        store.put_virtual_addresses(&AddressChanges { given, taken_back: Vec::new() }).unwrap();
        assert_eq!(store.virtual_addresses().unwrap().len(), 1);
    }
}
