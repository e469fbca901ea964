//! Session persistence, as Gateway API has it (GEP-1619): all requests of a session go to one endpoint.

use std::time::Duration;

use http::HeaderName;

use crate::{
    proto::api::v1 as pb,
    wire::{WireError, millis, to_millis},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub carrier: Carrier,
    /// `None`: no limit.
    pub absolute: Option<Duration>,
    pub idle: Option<Duration>,
}

/// What carries the session's name from answer to request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A permanent one lasts for the absolute limit, others until the browser is closed.
    Cookie {
        name: String,
        permanent: bool,
    },
    Header(HeaderName),
}

impl From<&Session> for pb::Session {
    fn from(value: &Session) -> Self {
        let (name, in_header, permanent) = match &value.carrier {
            Carrier::Cookie { name, permanent } => (name.clone(), false, *permanent),
            Carrier::Header(name) => (name.to_string(), true, false),
        };
        Self { name, in_header, permanent, absolute_ms: to_millis(value.absolute), idle_ms: to_millis(value.idle) }
    }
}

impl TryFrom<pb::Session> for Session {
    type Error = WireError;

    fn try_from(wire: pb::Session) -> Result<Self, WireError> {
        let carrier = match wire.in_header {
            true => Carrier::Header(HeaderName::try_from(wire.name).map_err(|e| WireError::new("name", e))?),
            false => Carrier::Cookie { name: wire.name, permanent: wire.permanent },
        };
        Ok(Self { carrier, absolute: millis(wire.absolute_ms), idle: millis(wire.idle_ms) })
    }
}
