//! Reading wire messages: every missing or impossible field has one error that names its path.

/// Why a message from the wire cannot be a value of the domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct WireError {
    /// The path of the field, outermost first, for example `service.rules[2].split`.
    pub field: String,
    pub reason: String,
}

impl WireError {
    pub fn new(field: impl Into<String>, reason: impl ToString) -> Self {
        Self { field: field.into(), reason: reason.to_string() }
    }

    /// The same error, seen from the message that holds the failing one.
    pub(crate) fn within(self, outer: impl std::fmt::Display) -> Self {
        Self { field: format!("{outer}.{}", self.field), reason: self.reason }
    }
}

pub(crate) fn required<T>(value: Option<T>, field: &str) -> Result<T, WireError> {
    value.ok_or_else(|| WireError::new(field, "is missing"))
}

/// Converts each item and names the failing one by its index.
pub(crate) fn each<W, T>(
    items: Vec<W>,
    field: &str,
    convert: impl Fn(W) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| convert(item).map_err(|e| e.within(format_args!("{field}[{index}]"))))
        .collect()
}

/// The wire says "none" with an empty string.
pub(crate) fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A port, of the field of this name.
pub(crate) fn port(value: u32, field: &str) -> Result<u16, WireError> {
    let port = u16::try_from(value).ok().filter(|port| *port > 0);
    port.ok_or_else(|| WireError::new(field, "is from 1 to 65535"))
}

/// The wire says "none" with 0.
pub(crate) fn millis(value: u64) -> Option<std::time::Duration> {
    (value > 0).then(|| std::time::Duration::from_millis(value))
}

pub(crate) fn to_millis(value: Option<std::time::Duration>) -> u64 {
    value.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
