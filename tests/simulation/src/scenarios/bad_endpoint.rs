//! One endpoint of ten answers with 503 at once.

use std::time::Duration;

use weft_proxy_api::policy::{Algorithm, RetryBudget};

use super::{CALLERS, Focus, Measure, Picture, Scenario, Variant, at_least, at_most, seconds};
use crate::model::{Backend, Fault, Kind, Policies, Setup};

pub fn scenario() -> Scenario {
    let variant = |name, policies| Variant { name, setup: setup(policies) };
    Scenario {
        name: "bad-endpoint",
        title: "An endpoint that fails fast",
        story: "One endpoint of ten answers everything with 503 at once, for ten \
                seconds. Ten busy callers send fifty requests per second each, which the endpoints answer in 120 ms.",
        focus: Focus {
            clients: 0..CALLERS,
            backend: 0,
            neighbour: None,
            marked: 0..1,
            fault: seconds(3)..seconds(13),
            during: seconds(3)..seconds(13),
            after: seconds(13)..seconds(16),
        },
        variants: vec![
            variant("round robin", Policies::none().balanced_by(Algorithm::RoundRobin)),
            variant("least request", Policies::none().balanced_by(Algorithm::LeastRequest)),
            variant("peak EWMA", Policies::none().balanced_by(Algorithm::PeakEwma)),
            variant("least request, ejection", Policies::none().balanced_by(Algorithm::LeastRequest).ejecting()),
            variant("peak EWMA, ejection", Policies::none().balanced_by(Algorithm::PeakEwma).ejecting()),
            variant(
                "peak EWMA, ejection, retries",
                Policies::none().balanced_by(Algorithm::PeakEwma).ejecting().retrying(2, RetryBudget::default()),
            ),
        ],
        columns: &[Measure::Share, Measure::GoodputDuring, Measure::GoodputAfter, Measure::P99],
        picture: Picture::Goodput,
        claims: vec![
            at_least("least request", Measure::Share, 12.0),
            at_most("least request, ejection", Measure::Share, 2.0),
            at_most("peak EWMA", Measure::Share, 1.5),
            at_least("peak EWMA, ejection, retries", Measure::GoodputDuring, 99.5),
        ],
        findings: &[
            "Who fails at once never has anything under way: balancing by load alone draws half as much traffic again to this \
             endpoint. Peak EWMA counts failures as slow answers and does not fall for it, and ejection ends it for all.",
            "Beside peak EWMA ejection adds nothing here. Only retries answer the rest.",
        ],
    }
}

fn setup(mut policies: Policies) -> Setup {
    policies.rule.timeouts.backend_request = None;
    let bad = Fault { kind: Kind::Errors(1.0), during: seconds(3)..seconds(13), endpoints: 0..1, clients: 0..CALLERS };
    let mut mesh = Setup::of(policies, seconds(16));
    mesh.backends[0] = Backend {
        workers: 20,
        service_time: Duration::from_millis(120),
        callers: 0..10,
        rate: 50.0,
        ..mesh.backends[0].clone()
    };
    Setup { faults: vec![bad], ..mesh }
}
