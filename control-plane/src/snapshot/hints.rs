//! "Did you mean" for names that sidecars ask for and that do not exist.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use weft_proxy_api::ServicePort;

use crate::resources::Catalog;

/// What was found, so that it is sought once, however many ask and however often. Holds for as long as there are the
/// same services and ports.
#[derive(Debug, Default)]
pub(super) struct Hints(Mutex<BTreeMap<ServicePort, Option<String>>>);

/// Unknown names that are given a hint: a search goes over all services, and sidecars choose what they ask for. One
/// sidecar has a few of them, and all have the same.
const MOST: usize = 256;

impl Hints {
    /// The service that was likely meant by an unknown name, with its port where only that is wrong.
    /// With very many unknown names, the last of them have none.
    pub fn nearest(&self, name: &ServicePort, catalog: Catalog<'_>) -> Option<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hint) = known.get(name) {
            return hint.clone();
        }
        if known.len() >= MOST {
            return None;
        }
        let hint = search(name, catalog);
        known.insert(name.clone(), hint.clone());
        hint
    }
}

fn search(name: &ServicePort, catalog: Catalog<'_>) -> Option<String> {
    let service = name.service_name();
    match catalog.ports(&service).first() {
        Some(port) => Some(service.port(port.number).to_string()),
        None => catalog.nearest(&service).map(|name| name.to_string()),
    }
}
