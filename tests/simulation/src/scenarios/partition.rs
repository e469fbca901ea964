//! A third of the clients and a third of the endpoints do not reach each other.

use weft_proxy_api::policy::{Algorithm, RetryBudget};

use super::{CALLERS, Focus, Measure, Picture, Scenario, Variant, at_least, at_most, seconds};
use crate::model::{Fault, Kind, Policies, Setup};

pub fn scenario() -> Scenario {
    let in_turn = || Policies::none().balanced_by(Algorithm::RoundRobin);
    let ewma = || Policies::none().balanced_by(Algorithm::PeakEwma);
    let retrying = |policies: Policies| policies.retrying(2, RetryBudget::default());
    let variant = |name, policies| Variant { name, setup: setup(policies) };
    Scenario {
        name: "partition",
        title: "A partition",
        story: "A third of the callers does not reach three of the ten endpoints, for twenty seconds: what they send there \
                is lost. They wait 250 ms for an attempt and a second in all. Measured are these callers.",
        focus: Focus {
            clients: 0..CALLERS / 3,
            backend: 0,
            neighbour: None,
            marked: 0..3,
            fault: seconds(3)..seconds(23),
            during: seconds(3)..seconds(23),
            after: seconds(23)..seconds(26),
        },
        variants: vec![
            variant("round robin", in_turn()),
            variant("round robin, ejection", in_turn().ejecting()),
            variant("round robin, at most 10 % ejected", in_turn().ejecting().at_most(10)),
            variant("round robin, retries", retrying(in_turn())),
            variant("round robin, ejection, retries", retrying(in_turn().ejecting())),
            variant("peak EWMA", ewma()),
            variant("peak EWMA, ejection, retries", retrying(ewma().ejecting())),
        ],
        columns: &[Measure::GoodputDuring, Measure::GoodputAfter, Measure::Share, Measure::Attempts, Measure::P99],
        picture: Picture::Goodput,
        claims: vec![
            at_most("round robin", Measure::GoodputDuring, 75.0),
            at_least("round robin, ejection", Measure::GoodputDuring, 78.0),
            at_least("round robin, retries", Measure::GoodputDuring, 97.0),
            at_least("peak EWMA, ejection, retries", Measure::GoodputDuring, 99.0),
            at_most("peak EWMA, ejection, retries", Measure::Attempts, 1.2),
        ],
        findings: &[
            "Retries hide nearly all of it, at the price of 250 ms for each attempt that was lost; ejection halves that price. \
             Ejection alone comes late: five timeouts in a row, with half a request per second and endpoint.",
            "Where at most 10 % may be ejected (Envoy's default; weft's is 50 %), two of the three stay in use.",
            "Peak EWMA takes a failure for an answer that took twice as long, and forgets that in ten seconds: the three \
             endpoints keep a third of their share.",
        ],
    }
}

fn setup(policies: Policies) -> Setup {
    let partition =
        Fault { kind: Kind::Silence, during: seconds(3)..seconds(23), endpoints: 0..3, clients: 0..CALLERS / 3 };
    Setup { faults: vec![partition], ..Setup::of(policies, seconds(26)) }
}
