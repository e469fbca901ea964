//! What is answered when a service is not to be had: kept answers, and one that is written down.

use http::{HeaderName, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::policy::{Cache, FixedResponse};

use super::{amounts::Size, check_positive};
use crate::resources::{
    duration::Duration,
    problem::{Path, Report},
    route::read_header,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WrittenCache {
    #[serde(default)]
    serve_fresh: bool,
    stale_if_error: Option<Duration>,
    max_size: Option<Size>,
    max_entry_size: Option<Size>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct WrittenResponse {
    #[schemars(range(min = 200, max = 599))]
    status: Option<u16>,
    #[serde(default)]
    headers: Vec<WrittenHeader>,
    #[serde(default)]
    body: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenHeader {
    name: String,
    value: String,
}

impl WrittenCache {
    pub fn read(self, path: &Path, report: &mut Report) -> Cache {
        if let Some(stale) = self.stale_if_error {
            check_positive(stale, &path.field("staleIfError"), report);
        }
        let all = self.max_size.map_or(Cache::DEFAULT_MAX_BYTES, |size| size.0);
        // A small cache is not one that could hold nothing of the default size.
        let entry = self.max_entry_size.map_or(Cache::DEFAULT_MAX_ENTRY_BYTES.min(all), |size| size.0);
        if all == 0 {
            let reason = match self.stale_if_error {
                Some(_) => "no answer could be kept, so that staleIfError has none to give",
                None => "no answer could be kept",
            };
            report.error(&path.field("maxSize"), reason);
        } else if entry == 0 {
            report.error(&path.field("maxEntrySize"), "no answer could be kept");
        } else if entry > all {
            let reason = "one answer may not be larger than all together (cache.maxSize)";
            report.error(&path.field("maxEntrySize"), reason);
        }
        Cache {
            serve_fresh: self.serve_fresh,
            stale_if_error: self.stale_if_error.map(|stale| stale.0),
            max_bytes: all,
            max_entry_bytes: entry,
        }
    }
}

impl WrittenResponse {
    pub fn read(self, path: &Path, report: &mut Report) -> FixedResponse {
        let status = self.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK);
        let without = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
        if !self.body.is_empty() && without.contains(&status) {
            let reason = format!("a response with the status {} has no body (RFC 9110)", status.as_u16());
            report.error(&path.field("body"), reason);
        }
        let headers: Vec<(HeaderName, HeaderValue)> = (0..)
            .zip(self.headers)
            .filter_map(|(index, WrittenHeader { name, value })| {
                read_header(&name, &value, &path.field("headers").index(index), report)
            })
            .collect();
        FixedResponse { status, headers, body: self.body.into() }
    }
}
