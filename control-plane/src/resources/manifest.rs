//! A document as JSON text: a fraction of what it takes as a tree of values, and ready to be stored and sent.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Manifest(Arc<RawValue>);

impl Manifest {
    /// As a tree, to be read field by field.
    pub fn value(&self) -> Value {
        // The text was JSON when this was made.
        serde_json::from_str(self.0.get()).unwrap_or_default()
    }
}

impl From<&Value> for Manifest {
    fn from(value: &Value) -> Self {
        // A tree of JSON values has no form that its text lacks, so that writing it cannot fail.
        Self(to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned()).into())
    }
}

/// The order of fields is no difference.
impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get() || self.value() == other.value()
    }
}

impl Serialize for Manifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::<RawValue>::deserialize(deserializer)?.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_stored_and_sent_as_the_document_itself() {
        let value = json!({"kind": "MeshService", "spec": {"ports": [{"port": 80}]}});
        let manifest = Manifest::from(&value);
        let text = serde_json::to_string(&vec![manifest.clone()]).unwrap();
        assert_eq!(text, format!("[{value}]"));
        assert_eq!(serde_json::from_str::<Vec<Manifest>>(&text).unwrap(), std::slice::from_ref(&manifest));
        assert_eq!(manifest.value(), value);
    }

    #[test]
    fn the_order_of_fields_is_no_difference() {
        let (one, other) = (json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1}));
        assert_eq!(Manifest::from(&one), Manifest::from(&other));
        assert_ne!(Manifest::from(&one), Manifest::from(&json!({"a": 1})));
    }
}
