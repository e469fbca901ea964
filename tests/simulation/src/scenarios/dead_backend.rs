//! One backend is gone, and its callers call another one, too.

use super::{CALLERS, Focus, Measure, Picture, Scenario, Variant, at_least, at_most, seconds};
use crate::model::{ENDPOINTS, Fault, Kind, Policies, Setup};

pub fn scenario() -> Scenario {
    let variant = |name, policies| Variant { name, setup: setup(policies) };
    Scenario {
        name: "dead-backend",
        title: "A dead backend",
        story: "Nothing comes back from one backend any more, for 15 seconds. An application can have four calls under way \
                at a time; it makes five a second to this backend and two to a healthy one, its neighbour. Callers wait \
                a second. Times and goodput afterwards are those of the dead backend.",
        focus: Focus {
            clients: 0..CALLERS,
            backend: 0,
            neighbour: Some(1),
            marked: 0..ENDPOINTS,
            fault: seconds(3)..seconds(18),
            during: seconds(3)..seconds(18),
            after: seconds(18)..seconds(28),
        },
        variants: vec![
            variant("timeouts only", Policies::none()),
            variant("circuit breaker", Policies::none().breaking()),
            variant("bulkhead", Policies::none().limited_to(2)),
            variant("circuit breaker, bulkhead", Policies::none().breaking().limited_to(2)),
        ],
        columns: &[Measure::NeighbourGoodput, Measure::P50, Measure::P99, Measure::GoodputAfter],
        picture: Picture::Goodput,
        claims: vec![
            at_most("timeouts only", Measure::NeighbourGoodput, 85.0),
            at_least("circuit breaker", Measure::NeighbourGoodput, 93.0),
            at_most("circuit breaker", Measure::P50, 1.0),
            at_least("bulkhead", Measure::NeighbourGoodput, 99.0),
        ],
        findings: &[
            "Calls to the dead backend take all four places of the application, and those to its neighbour come too late. The \
             bulkhead (two requests at a time, none waits) leaves room from the first moment on. The circuit breaker needs \
             some seconds until half of its window are failures, and then fails in no time.",
            "It costs: the wait of an open circuit doubles with each probe that fails, so that the backend is left alone for \
             some more seconds after it is back; after a long outage that is up to a minute (`open_max`). A bulkhead alone \
             has no memory.",
        ],
    }
}

fn setup(mut policies: Policies) -> Setup {
    // The callers give up after a second, and an attempt may take as long.
    policies.rule.timeouts.backend_request = None;
    let dead =
        Fault { kind: Kind::Silence, during: seconds(3)..seconds(18), endpoints: 0..ENDPOINTS, clients: 0..CALLERS };
    let mesh = Setup::of(policies, seconds(28));
    let mut backends = mesh.backends.clone();
    backends[1].callers = 0..CALLERS;
    backends[1].rate = 2.0;
    Setup { faults: vec![dead], backends, slots: Some(4), ..mesh }
}
