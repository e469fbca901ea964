//! Resources as the commands see them: JSON values of which only the key matters here.

use serde_json::Value;
use weft_control_plane::{
    admin_api::Resources,
    resources::{Key, Kind, Manifest},
};

use crate::{
    client::{AdminClient, ClientError},
    exit::Failure,
};

/// All resources, at present or as they were.
pub async fn fetch(admin: &AdminClient, revision: Option<u64>) -> Result<Vec<Value>, ClientError> {
    Ok(fetch_all(admin, revision).await?.items.iter().map(Manifest::value).collect())
}

/// The same, with what does not hold of them at present.
pub async fn fetch_all(admin: &AdminClient, revision: Option<u64>) -> Result<Resources, ClientError> {
    match revision {
        Some(revision) => admin.get(&format!("/v1/resources?revision={revision}")).await,
        None => admin.get("/v1/resources").await,
    }
}

/// The key of a document that a server or a check has found valid; `namespace` is that of documents that name none.
pub fn key(value: &Value, namespace: &str) -> Option<Key> {
    let kind: Kind = value.get("kind")?.as_str()?.parse().ok()?;
    let metadata = value.get("metadata")?;
    let name = metadata.get("name")?.as_str()?;
    let namespace = metadata.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    Some(Key::new(kind, namespace, name))
}

/// What a person names: a kind, and perhaps one object of it.
pub fn kind(text: &str) -> Result<Kind, Failure> {
    text.parse::<Kind>().map_err(|error| Failure::Usage(error.to_string()))
}

/// `orders` or `shop/orders`.
pub fn split(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_read_from_documents() {
        let value = json!({"kind": "HTTPRoute", "metadata": {"name": "orders"}});
        assert_eq!(key(&value, "shop"), Some(Key::new(Kind::HttpRoute, "shop", "orders")));
        let value = json!({"kind": "HTTPRoute", "metadata": {"name": "orders", "namespace": "other"}});
        assert_eq!(key(&value, "shop"), Some(Key::new(Kind::HttpRoute, "other", "orders")));
        let value = json!({"kind": "MeshConfig", "metadata": {"name": "default"}});
        assert_eq!(key(&value, "shop").unwrap().to_string(), "MeshConfig default");
        assert_eq!(key(&json!({"kind": "Pod", "metadata": {"name": "x"}}), "shop"), None);
    }
}
