//! The trust bundle on the wire; the domain type is `weft_certs::TrustBundle`.

use weft_certs::TrustBundle;

use crate::{proto::api::v1 as pb, wire::WireError};

pub fn to_wire(bundle: &TrustBundle) -> pb::TrustBundle {
    pb::TrustBundle {
        trust_domain: bundle.trust_domain().to_string(),
        anchors_der: bundle.anchors().iter().map(|anchor| anchor.to_vec()).collect(),
    }
}

pub fn from_wire(wire: pb::TrustBundle) -> Result<TrustBundle, WireError> {
    let trust_domain = wire.trust_domain.parse().map_err(|e| WireError::new("trust_domain", e))?;
    let anchors = wire.anchors_der.into_iter().map(Into::into).collect();
    TrustBundle::new(trust_domain, anchors).map_err(|e| WireError::new("anchors_der", e))
}
