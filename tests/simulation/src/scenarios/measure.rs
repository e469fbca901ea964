//! What is measured of a run.

use std::{ops::Range, time::Duration};

use super::Focus;
use crate::model::{Request, Run};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Requests that were answered with success before their deadline, in percent of those that were made.
    GoodputDuring,
    GoodputAfter,
    /// Of the requests to the neighbour, during the fault.
    NeighbourGoodput,
    /// Attempts for each request, during the fault and until the end.
    Attempts,
    /// Milliseconds until the application has its answer or its error, during the fault.
    P50,
    P99,
    /// The attempts that go to the endpoints with the fault, during it, in percent.
    Share,
}

/// The measures of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    values: Vec<(Measure, f64)>,
    /// Goodput in percent, for each second of the run.
    pub goodput: Vec<f64>,
}

impl Figures {
    pub fn of(run: &Run, focus: &Focus) -> Self {
        let to = |backend| move |request: &&Request| request.backend == backend;
        let own = |request: &&Request| to(focus.backend)(request) && focus.clients.contains(&request.client);
        let requests: Vec<&Request> = run.requests.iter().filter(own).collect();
        let neighbour: Vec<&Request> =
            focus.neighbour.map_or_else(Vec::new, |backend| run.requests.iter().filter(to(backend)).collect());
        let during = within(&requests, &focus.during);
        let from_fault = within(&requests, &(focus.fault.start..focus.after.end));
        let took = sorted_times(&during);
        let values = vec![
            (Measure::GoodputDuring, goodput(&during)),
            (Measure::GoodputAfter, goodput(&within(&requests, &focus.after))),
            (Measure::NeighbourGoodput, goodput(&within(&neighbour, &focus.during))),
            (Measure::Attempts, attempts(&from_fault)),
            (Measure::P50, percentile(&took, 50)),
            (Measure::P99, percentile(&took, 99)),
            (Measure::Share, share(run, focus)),
        ];
        let shown = if focus.neighbour.is_some() { &neighbour } else { &requests };
        Self { values, goodput: by_second(shown, focus.after.end) }
    }

    pub fn get(&self, measure: Measure) -> f64 {
        self.values.iter().find(|(of, _)| *of == measure).map(|(_, value)| *value).unwrap()
    }
}

fn within<'a>(requests: &[&'a Request], time: &Range<Duration>) -> Vec<&'a Request> {
    requests.iter().copied().filter(|request| time.contains(&request.arrived)).collect()
}

fn goodput(requests: &[&Request]) -> f64 {
    100.0 * requests.iter().filter(|request| request.good).count() as f64 / requests.len() as f64
}

fn attempts(requests: &[&Request]) -> f64 {
    requests.iter().map(|request| f64::from(request.attempts)).sum::<f64>() / requests.len() as f64
}

fn sorted_times(requests: &[&Request]) -> Vec<Duration> {
    let mut times: Vec<Duration> = requests.iter().map(|request| request.took()).collect();
    times.sort_unstable();
    times
}

/// Milliseconds.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    sorted.get(sorted.len() * percent / 100).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

fn share(run: &Run, focus: &Focus) -> f64 {
    let backend = focus.backend * crate::model::ENDPOINTS..(focus.backend + 1) * crate::model::ENDPOINTS;
    let (mut all, mut marked) = (0_u32, 0_u32);
    for attempt in &run.attempts {
        let counts = focus.during.contains(&attempt.sent) && focus.clients.contains(&attempt.client);
        if counts && backend.contains(&attempt.endpoint) {
            all += 1;
            marked += u32::from(focus.marked.contains(&attempt.endpoint));
        }
    }
    100.0 * f64::from(marked) / f64::from(all)
}

fn by_second(requests: &[&Request], end: Duration) -> Vec<f64> {
    let mut seconds = vec![(0_u32, 0_u32); end.as_secs() as usize];
    for request in requests {
        if let Some((all, good)) = seconds.get_mut(request.arrived.as_secs() as usize) {
            *all += 1;
            *good += u32::from(request.good);
        }
    }
    seconds.iter().map(|(all, good)| 100.0 * f64::from(*good) / f64::from(*all)).collect()
}
