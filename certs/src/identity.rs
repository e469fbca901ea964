//! The live identity of a process: the SVID that it presents and the bundle that it trusts, both replaceable at any time.
//!
//! Decides nothing by itself. [`crate::tls`] configurations read it on each handshake, so that a new SVID or bundle
//! takes effect at once, without a new configuration; connections that are already up go on with what they agreed.
//! Replaced by [`crate::rotation::keep_fresh`] (SVID) and by whoever receives bundles from the control plane.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

use crate::bundle::TrustBundle;
use crate::svid::Svid;

/// Who this process is now, and whom it trusts now.
#[derive(Debug)]
pub struct Identity {
    svid: ArcSwap<Svid>,
    bundle: ArcSwap<TrustBundle>,
}

impl Identity {
    pub fn new(svid: Svid, bundle: TrustBundle) -> Arc<Self> {
        Arc::new(Self { svid: ArcSwap::from_pointee(svid), bundle: ArcSwap::from_pointee(bundle) })
    }

    pub fn svid(&self) -> Arc<Svid> {
        self.svid.load_full()
    }

    pub fn bundle(&self) -> Arc<TrustBundle> {
        self.bundle.load_full()
    }

    pub fn set_svid(&self, svid: Svid) {
        self.svid.store(Arc::new(svid));
    }

    pub fn set_bundle(&self, bundle: TrustBundle) {
        self.bundle.store(Arc::new(bundle));
    }

    /// When the current SVID expires.
    pub fn not_after(&self) -> SystemTime {
        self.svid.load().not_after()
    }
}
