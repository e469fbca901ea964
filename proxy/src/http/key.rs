//! What of a request names its user: the value of a header or of a cookie, as sticky splits, hashing balancers and
//! sessions read it. They read it alike, so that the same key means the same user everywhere.

use http::{HeaderMap, HeaderName, header};

/// The first value of the header without white space around it; an empty one is none.
pub fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    filled(headers.get(name)?.as_bytes())
}

/// The value of the first cookie of that name; an empty one is none. HTTP/2 may send a `cookie` line for each.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let lines = headers.get_all(header::COOKIE).iter();
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let value = pairs.find_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.trim_ascii_start().strip_prefix(b"=")
    });
    filled(value?)
}

fn filled(value: &[u8]) -> Option<&[u8]> {
    Some(value.trim_ascii()).filter(|value| !value.is_empty())
}
