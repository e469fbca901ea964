//! What differs between the input of one snapshot and that of the next.

use std::sync::Arc;

use super::{Input, WorkloadEndpoint};
use crate::resources::Difference;

pub(super) struct Change<'a> {
    pub before: &'a Input,
    pub after: &'a Input,
    pub objects: Vec<Difference<'a>>,
    /// Workloads as they were, and as they are; one that has changed is in both.
    pub gone: Vec<&'a Arc<WorkloadEndpoint>>,
    pub come: Vec<&'a Arc<WorkloadEndpoint>>,
}

impl<'a> Change<'a> {
    pub fn between(before: &'a Input, after: &'a Input) -> Self {
        let objects = match Arc::ptr_eq(&before.objects, &after.objects) {
            true => Vec::new(),
            false => before.objects.differences(&after.objects),
        };
        let (gone, come) = match Arc::ptr_eq(&before.workloads, &after.workloads) {
            true => (Vec::new(), Vec::new()),
            false => before.workloads.differences(&after.workloads),
        };
        Self { before, after, objects, gone, come }
    }
}
