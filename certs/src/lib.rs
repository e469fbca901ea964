//! The identity of the mesh: who a workload is, how it proves that, and what a TLS handshake accepts.
//!
//! Everything here follows two standards: the [SPIFFE ID] and the [X509-SVID]. The crate knows nothing about HTTP,
//! Kubernetes or the control plane's protocol. It is read from the ground up:
//!
//! | module | decides |
//! |---|---|
//! | [`id`] | what a trust domain and a SPIFFE ID are |
//! | [`mod@file`] | how secrets and state reach the disk |
//! | [`x509`] | which certificates are SVIDs and which may sign them |
//! | [`svid`], [`csr`], [`bundle`] | a proof of identity, the request for one, the anchors that it is checked against |
//! | [`ca`] | what the mesh's own certificate authority signs |
//! | [`identity`] | which SVID and bundle a process uses now |
//! | [`crypto`], [`tls`], [`verify`], [`refusal`] | how a connection starts, whom it trusts, why it was refused |
//! | [`rotation`] | when an SVID is renewed |
//!
//! [SPIFFE ID]: https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md
//! [X509-SVID]: https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

pub mod bundle;
pub mod ca;
pub mod crypto;
pub mod csr;
pub mod file;
pub mod id;
pub mod identity;
pub mod refusal;
pub mod rotation;
pub mod svid;
pub mod tls;
pub mod verify;
pub mod x509;

mod key;
mod pem;

#[cfg(test)]
mod testing;

pub use bundle::{BundleError, TrustBundle};
pub use ca::{Ca, CaError, CsrRefused};
pub use csr::{CsrError, KeyRequest};
pub use id::{IdError, SpiffeId, TrustDomain};
pub use identity::Identity;
pub use refusal::{Refusal, handshake_refusal};
pub use rotation::{Clock, keep_fresh};
pub use svid::{Svid, SvidError};
pub use verify::{PeerError, WrongPeer, expect_peer, peer_id};
pub use x509::NotAnSvid;
