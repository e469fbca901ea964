//! Everything that a pick reads, as it is at one moment.

use std::sync::Arc;

use weft_proxy_api::policy::LoadBalancer;

use super::{Endpoint, pool::Pool, table::Table, zone::Zones};

/// How much ejection may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Of the endpoints that are not reported unhealthy; 1 to 100.
    pub(super) max_ejected_percent: u32,
    pub(super) min_available: u32,
}

#[derive(Debug)]
pub(super) struct Set {
    pub(super) settings: LoadBalancer,
    pub(super) limits: Limits,
    pub(super) everyone: Pool,
    /// Those that are not reported unhealthy; `None`: they all are not, or all are.
    healthy: Option<Pool>,
    pub(super) zones: Option<Zones>,
    pub(super) table: Option<Arc<Table>>,
}

impl Set {
    /// `before` has a table that may be good still.
    pub(super) fn new(
        settings: LoadBalancer,
        limits: Limits,
        endpoints: Arc<[Arc<Endpoint>]>,
        before: Option<&Self>,
    ) -> Self {
        let everyone = Pool::new(endpoints);
        let healthy = everyone.iter().filter(|endpoint| endpoint.healthy).count();
        let healthy = (0 < healthy && healthy < everyone.len()).then(|| everyone.only(|endpoint| endpoint.healthy));
        let by_zone = settings.zone_min_healthy_percent.is_some();
        let zones = by_zone.then(|| Zones::new(&everyone, healthy.as_ref().unwrap_or(&everyone))).flatten();
        let known = before.and_then(|before| before.table.clone());
        let table = match known.filter(|table| table.is_for(&settings.algorithm, &everyone)) {
            Some(table) => Some(table),
            None => Table::new(&settings.algorithm, &everyone).map(Arc::new),
        };
        Self { settings, limits, everyone, healthy, zones, table }
    }

    /// The endpoints that are not reported unhealthy. When all are, the report is doubted, and it is all of them.
    pub(super) fn usable(&self) -> &Pool {
        self.healthy.as_ref().unwrap_or(&self.everyone)
    }

    pub(super) fn is_usable(&self, endpoint: &Endpoint) -> bool {
        endpoint.healthy || self.healthy.is_none()
    }

    /// How many of the usable endpoints may be left out at a time: never all of them.
    pub(super) fn max_ejected(&self) -> usize {
        let of = self.usable().len();
        let percent = self.limits.max_ejected_percent.min(100) as usize;
        (of * percent / 100).min(of.saturating_sub(self.limits.min_available.max(1) as usize))
    }

    /// The endpoint of that tag.
    pub(super) fn tagged(&self, tag: u64) -> Option<&Arc<Endpoint>> {
        self.everyone.iter().find(|endpoint| endpoint.tag == tag)
    }
}
