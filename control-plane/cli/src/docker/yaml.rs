//! Values of a compose file as a person would write them: in one line, quoted only where they must be.

use serde_json::Value;

/// A value in YAML's flow style.
pub fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{}: {}", scalar(name), flow(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => list(items.iter().map(flow)),
        Value::String(text) => scalar(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// `[a, b]` of what is YAML already.
pub fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

/// A string that every reader of YAML, of 1.1 and of 1.2, takes for this string.
pub fn scalar(text: &str) -> String {
    const OTHERS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_./@:-".contains(&b);
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'/');
    let other = OTHERS.iter().any(|word| text.eq_ignore_ascii_case(word));
    if begins && text.bytes().all(plain) && !text.ends_with(':') && !other {
        return text.to_owned();
    }
    // What JSON quotes is quoted for YAML, too, but for the control characters that JSON leaves.
    let quoted = Value::from(text).to_string();
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    quoted.chars().map(|c| if breaks(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}

/// Text that cannot end a comment.
pub fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_is_read_as_what_it_was() {
        for text in [
            "orders",
            "weft:0.1.0",
            "a:b",
            "a: b",
            "a:",
            "8080",
            "1e3",
            "0x10",
            "yes",
            "Off",
            "null",
            "~",
            "",
            " a",
            "a b",
            "#x",
            "a#b",
            "- a",
            "*a",
            "&a",
            "!a",
            "%",
            "{a}",
            "[a]",
            "a, b",
            "\"",
            "'",
            "\\",
            "a\nb",
            "\u{1b}[2J",
            "\u{85}",
            "a\u{2028}b",
            "\u{feff}a",
            "$$x",
            "/etc/x",
            "ünï",
            "1:20:30",
            "=",
            "<<",
            "2001-01-01",
            ".5",
            "host.docker.internal=host-gateway",
            "/:z",
        ] {
            let line = format!("a: {{b: [{}], {}: 1}}", scalar(text), scalar(text));
            let read: Value = serde_saphyr::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(read["a"]["b"][0], Value::from(text), "{line}");
            assert_eq!(read["a"][text], 1, "{line}");
            assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        }
        assert_eq!(scalar("weft-control-plane:15010"), "weft-control-plane:15010");
        assert_eq!(scalar("8080"), "\"8080\"");
    }

    #[test]
    fn values_stand_in_one_line() {
        let value = serde_json::json!({"default": {"aliases": ["a", "1"]}, "x": null, "m": [1, true]});
        assert_eq!(flow(&value), r#"{default: {aliases: [a, "1"]}, x: null, m: [1, true]}"#);
    }
}
