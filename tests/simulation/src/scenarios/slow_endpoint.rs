//! One endpoint of ten takes twenty times as long.

use weft_proxy_api::policy::Algorithm;

use super::{CALLERS, Focus, Measure, Picture, Scenario, Variant, at_least, at_most, seconds};
use crate::model::{Fault, Kind, Policies, Setup};

pub fn scenario() -> Scenario {
    let variant = |name, policies| Variant { name, setup: setup(policies) };
    Scenario {
        name: "slow-endpoint",
        title: "A slow endpoint",
        story: "One endpoint of ten takes twenty times as long as the others, for \
                15 seconds. Callers wait a second. Measured from three seconds after the beginning.",
        focus: Focus {
            clients: 0..CALLERS,
            backend: 0,
            neighbour: None,
            marked: 0..1,
            fault: seconds(3)..seconds(18),
            during: seconds(6)..seconds(18),
            after: seconds(18)..seconds(20),
        },
        variants: vec![
            variant("round robin", Policies::none().balanced_by(Algorithm::RoundRobin)),
            variant("least request", Policies::none().balanced_by(Algorithm::LeastRequest)),
            variant("peak EWMA", Policies::none().balanced_by(Algorithm::PeakEwma)),
            variant("round robin, ejection", Policies::none().balanced_by(Algorithm::RoundRobin).ejecting()),
        ],
        columns: &[Measure::Share, Measure::GoodputDuring, Measure::P50, Measure::P99],
        picture: Picture::Bars(Measure::P99),
        claims: vec![
            at_least("round robin", Measure::P99, 990.0),
            at_most("peak EWMA", Measure::P99, 250.0),
            at_most("peak EWMA", Measure::Share, 1.5),
            at_least("peak EWMA", Measure::GoodputDuring, 98.5),
        ],
        findings: &[
            "Round robin gives the endpoint more than it can do, so that all of its share is late. Peak EWMA lets each client \
             find out once, and leaves it alone.",
            "Least request sees little of it: a client with five requests per second seldom has one under way when it picks.",
            "Ejection is late: it takes five timeouts in a row, and each client sends this endpoint half a request per \
             second. Rates, of failures or of slow calls, do not apply at all to so few: `minimumRequests` is 20 in ten \
             seconds.",
        ],
    }
}

fn setup(mut policies: Policies) -> Setup {
    policies.rule.timeouts.backend_request = None;
    let slow = Fault { kind: Kind::Slow(20.0), during: seconds(3)..seconds(18), endpoints: 0..1, clients: 0..CALLERS };
    let mut mesh = Setup::of(policies, seconds(20));
    mesh.backends[0].queue = usize::MAX;
    Setup { faults: vec![slow], ..mesh }
}
