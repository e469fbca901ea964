//! The `Proxy-Status` field (RFC 9209): why weft, and not the application, answered.
//!
//! Which error it is, is decided by the error map; here it is only written down, as a structured field (RFC 8941).

use http::{HeaderName, HeaderValue, StatusCode};

pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Details are for people; a longer text, which may quote the request, is cut.
const MAX_TEXT: usize = 512;

/// One member of the field.
#[derive(Clone, Copy, Debug)]
pub struct ProxyStatus<'a> {
    proxy: &'static str,
    error: Option<&'static str>,
    details: &'a str,
    next_hop: Option<&'a str>,
    received_status: Option<StatusCode>,
}

impl<'a> ProxyStatus<'a> {
    /// `proxy` is how this proxy calls itself: a token of RFC 8941, such as `weft-outbound`.
    pub fn new(proxy: &'static str) -> Self {
        Self { proxy, error: None, details: "", next_hop: None, received_status: None }
    }

    /// One of the types that RFC 9209 §2.3 registers, for example `connection_refused`, `destination_unavailable` or
    /// `http_response_timeout`.
    pub fn error(self, error: &'static str) -> Self {
        Self { error: Some(error), ..self }
    }

    /// For people: what happened, in one sentence.
    pub fn details(self, details: &'a str) -> Self {
        Self { details, ..self }
    }

    /// The backend or the address that the request was, or was to be, sent to.
    pub fn next_hop(self, next_hop: &'a str) -> Self {
        Self { next_hop: Some(next_hop), ..self }
    }

    /// The status that the next hop answered with.
    pub fn received_status(self, status: StatusCode) -> Self {
        Self { received_status: Some(status), ..self }
    }

    pub fn to_header_value(self) -> HeaderValue {
        let mut text = String::from(self.proxy);
        if let Some(error) = self.error {
            text.push_str("; error=");
            text.push_str(error);
        }
        if let Some(next_hop) = self.next_hop {
            push_string(&mut text, "next-hop", next_hop);
        }
        if let Some(status) = self.received_status {
            text.push_str("; received-status=");
            text.push_str(status.as_str());
        }
        if !self.details.is_empty() {
            push_string(&mut text, "details", self.details);
        }
        // Only printable ASCII was written, so that this cannot fail.
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(self.proxy))
    }
}

/// A parameter whose value is a string of RFC 8941 §3.3.3: printable ASCII, with `"` and `\` escaped. What it cannot
/// hold is dropped, and a line break becomes a space.
fn push_string(text: &mut String, name: &str, value: &str) {
    text.push_str("; ");
    text.push_str(name);
    text.push_str("=\"");
    for c in value.chars().take(MAX_TEXT) {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' | '\t' => text.push(' '),
            ' '..='~' => text.push(c),
            _ => {}
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn everything_that_is_known_is_written() {
        let status = ProxyStatus::new("weft")
            .error("http_response_timeout")
            .next_hop("10.0.0.1:8080")
            .received_status(StatusCode::BAD_GATEWAY)
            .details("no answer from \"orders\" in 5 s");
        assert_eq!(
            status.to_header_value(),
            concat!(
                r#"weft; error=http_response_timeout; next-hop="10.0.0.1:8080"; received-status=502; "#,
                r#"details="no answer from \"orders\" in 5 s""#
            )
        );
        assert_eq!(
            ProxyStatus::new("weft").error("proxy_internal_error").to_header_value(),
            "weft; error=proxy_internal_error"
        );
    }

    #[test]
    fn what_a_structured_field_cannot_hold_is_dropped() {
        let value =
            ProxyStatus::new("weft").error("destination_not_found").details("a\r\nx: 1 \u{0} caf\u{e9} \\ \u{7f}");
        assert_eq!(value.to_header_value(), r#"weft; error=destination_not_found; details="a x: 1  caf \\ ""#);
    }

    proptest! {
        #[test]
        fn any_text_can_be_undone_from_its_string(details in any::<String>()) {
            let value = ProxyStatus::new("weft").error("x").details(&details).to_header_value();
            let text = value.to_str().expect("printable ASCII");
            let Some(inner) = text.strip_prefix("weft; error=x; details=\"") else {
                prop_assert!(details.is_empty());
                return Ok(());
            };
            let inner = inner.strip_suffix('"').expect("a closed string");
            let mut unescaped = String::new();
            let mut chars = inner.chars();
            while let Some(c) = chars.next() {
                prop_assert!(c != '"', "an unescaped quote in {inner}");
                unescaped.push(if c == '\\' { chars.next().expect("an escaped character") } else { c });
            }
            let kept: String = details.chars().take(MAX_TEXT).filter(|c| matches!(c, '\n' | '\t' | ' '..='~'))
                .map(|c| if c < ' ' { ' ' } else { c }).collect();
            prop_assert_eq!(unescaped, kept);
        }
    }
}
