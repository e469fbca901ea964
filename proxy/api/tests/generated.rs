//! The checked-in gRPC code is what the `.proto` files say.
//!
//! `WEFT_REGENERATE=1 cargo test -p weft-proxy-api --test generated` rewrites it. Nobody needs protoc:
//! the compiler is a Rust library.

#![allow(clippy::expect_used)] // a test may panic

use std::{fs, path::Path};

const PROTOS: [&str; 5] = [
    "envoy/service/discovery/v3/discovery.proto",
    "weft/api/v1/api.proto",
    "weft/identity/v1/identity.proto",
    "weft/quota/v1/quota.proto",
    "weft/workload/v1/workload.proto",
];

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked_in = root.join("src/generated");
    let fresh = tempfile::tempdir().expect("a temporary folder");

    let descriptors = protox::compile(PROTOS, [root.join("proto")]).expect("the protos compile");
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(fresh.path())
        .compile_fds(descriptors)
        .expect("code is generated");

    for file in fs::read_dir(fresh.path()).expect("the folder is read") {
        let file = file.expect("an entry is read");
        let now = fs::read_to_string(file.path()).expect("generated code is text");
        let target = checked_in.join(file.file_name());
        if std::env::var_os("WEFT_REGENERATE").is_some() {
            fs::write(&target, &now).expect("generated code is written");
        }
        let before = fs::read_to_string(&target).unwrap_or_default();
        assert!(
            before == now,
            "{} differs from its .proto: run WEFT_REGENERATE=1 cargo test -p weft-proxy-api --test generated",
            target.display()
        );
    }
}
