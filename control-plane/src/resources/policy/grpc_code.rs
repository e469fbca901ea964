//! The status codes of gRPC by their names (`google.rpc.Code`).

use crate::resources::{
    nearest::did_you_mean,
    problem::{Path, Report},
};

/// The number of a code is its place.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

pub(super) const OK: u32 = 0;

pub(super) fn read_grpc_code(name: &str, path: &Path, report: &mut Report) -> Option<u32> {
    let place = (0..).zip(NAMES).find(|(_, known)| *known == name).map(|(number, _)| number);
    if place.is_none() {
        let hint = did_you_mean(name, NAMES).unwrap_or_else(|| "write it as UNAVAILABLE".into());
        report.error_with_hint(path, format!("there is no gRPC code {name:?}"), hint);
    }
    place
}
