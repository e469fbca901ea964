//! Durations as Gateway API writes them (GEP-2257): `10s`, `500ms`, `1m30s`.

use std::{borrow::Cow, fmt, str::FromStr, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The `format` under which the schema of a duration is known.
pub(super) const FORMAT: &str = "weft-duration";

/// A duration in a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration(pub time::Duration);

/// Parses a duration of Gateway API.
///
/// # Errors
/// What a duration looks like, in words.
pub fn parse_duration(text: &str) -> Result<time::Duration, String> {
    let duration = gateway_api::Duration::from_str(text)
        .map_err(|_| format!("{text:?} is not a duration: write it as 500ms, 10s or 1m30s"))?;
    let millis = u64::try_from(duration.as_millis()).map_err(|_| format!("{text:?} is too long"))?;
    Ok(time::Duration::from_millis(millis))
}

impl TryFrom<String> for Duration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_duration(&text).map(Self)
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.to_string()
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match gateway_api::Duration::try_from(self.0) {
            Ok(duration) => duration.fmt(f),
            // Out of what the format can say; never made by parsing.
            Err(_) => write!(f, "{}ms", self.0.as_millis()),
        }
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": FORMAT,
            "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_gateway_api() {
        for (text, millis) in [("0s", 0), ("500ms", 500), ("10s", 10_000), ("1m30s", 90_000), ("1h", 3_600_000)] {
            assert_eq!(parse_duration(text), Ok(time::Duration::from_millis(millis)), "{text}");
            assert_eq!(Duration(time::Duration::from_millis(millis)).to_string(), text);
        }
        for bad in ["", "10", "10 s", "1d", "-1s", "1.5s", "s", "1s1s1s1s1s"] {
            assert!(parse_duration(bad).unwrap_err().contains("500ms"), "{bad}");
        }
    }
}
