//! Amounts with a unit: sizes as Kubernetes writes them (`64Ki`, `1Mi`), and percentages with decimals (`0.5`).

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;
use weft_proxy_api::policy::MILLION;

/// The `format`s under which the schemas are known.
pub const SIZE_FORMAT: &str = "weft-size";
pub const PERCENT_FORMAT: &str = "weft-percent";

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

/// A share of requests: a number, or a text such as `"0.5"`, since decimals are lost in some readers of YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Percent {
    pub per_million: u32,
}

const UNITS: [(&str, u64); 6] =
    [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];

/// # Errors
/// What a size looks like, in words.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let with_unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (digits, unit) = with_unit.unwrap_or((text, 1));
    let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
    let bytes = number.and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| format!("{text:?} is not a size: write it as 512, 64Ki or 1Mi"))
}

/// # Errors
/// What a percentage looks like, in words.
pub fn parse_percent(value: &Value) -> Result<Percent, String> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => String::new(),
    };
    let wrong = || format!("{value} is not a percentage: from 0 to 100, with up to four decimals");
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(decimals) || decimals.len() > 4 {
        return Err(wrong());
    }
    let per_million: Option<u32> = format!("{whole}{decimals:0<4}").parse().ok();
    let per_million = per_million.filter(|share| *share <= MILLION).ok_or_else(wrong)?;
    Ok(Percent { per_million })
}

impl Percent {
    pub const ALL: Self = Self { per_million: MILLION };
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_size(&text).map(Self)
    }
}

impl TryFrom<Value> for Percent {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        parse_percent(&value)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": SIZE_FORMAT, "pattern": "^[0-9]+(Ki|Mi|Gi|k|M|G)?$"})
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true, "format": PERCENT_FORMAT})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("64Ki", 65_536), ("1Mi", 1 << 20), ("2Gi", 2 << 30), ("5k", 5000)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "Ki", "1.5Mi", "-1", "+1", "64 Ki", "64kb", "99999999999999Gi"] {
            assert!(parse_size(bad).unwrap_err().contains("64Ki"), "{bad}");
        }
    }

    #[test]
    fn percentages_have_decimals() {
        let shares = [
            (json!(0), 0),
            (json!(100), MILLION),
            (json!("0.5"), 5000),
            (json!(0.5), 5000),
            (json!("0.0001"), 1),
            (json!("33.3333"), 333_333),
        ];
        for (value, per_million) in shares {
            assert_eq!(parse_percent(&value), Ok(Percent { per_million }), "{value}");
        }
        for bad in [
            json!(101),
            json!(-1),
            json!("0.00001"),
            json!("100.0001"),
            json!(".5"),
            json!("5%"),
            json!("1."),
            json!([1]),
        ] {
            assert!(parse_percent(&bad).unwrap_err().contains("from 0 to 100"), "{bad}");
        }
    }
}
