//! Three endpoints of ten crash.

use weft_proxy_api::policy::RetryBudget;

use super::{CALLERS, Focus, Measure, Picture, Scenario, Variant, at_least, at_most, seconds};
use crate::model::{Fault, Kind, Policies, Setup};

pub fn scenario() -> Scenario {
    let variant = |name, policies| Variant { name, setup: setup(policies) };
    Scenario {
        name: "crash",
        title: "A crash",
        story: "The processes of three of ten endpoints are gone for twelve seconds: what was under way is reset, and \
                connections are refused.",
        focus: Focus {
            clients: 0..CALLERS,
            backend: 0,
            neighbour: None,
            marked: 0..3,
            fault: seconds(3)..seconds(15),
            during: seconds(3)..seconds(15),
            after: seconds(15)..seconds(18),
        },
        variants: vec![
            variant("no policies", Policies::none()),
            variant("ejection", Policies::none().ejecting()),
            variant("retries", Policies::none().retrying(2, RetryBudget::default())),
            variant("ejection, retries", Policies::none().ejecting().retrying(2, RetryBudget::default())),
        ],
        columns: &[Measure::GoodputDuring, Measure::GoodputAfter, Measure::Attempts, Measure::Share],
        picture: Picture::Goodput,
        claims: vec![
            at_most("no policies", Measure::GoodputDuring, 85.0),
            at_least("retries", Measure::GoodputDuring, 99.0),
        ],
        findings: &[
            "A connection that was refused reached nobody: it is tried elsewhere at once, whatever the method, and does not \
             count against the budget.",
            "With few requests per client, peak EWMA and ejection are slow to leave these endpoints: a refusal counts twice \
             the usual latency, which is forgotten before the next one, and five in a row take their time.",
        ],
    }
}

fn setup(policies: Policies) -> Setup {
    let crash = Fault { kind: Kind::Crash, during: seconds(3)..seconds(15), endpoints: 0..3, clients: 0..CALLERS };
    Setup { faults: vec![crash], ..Setup::of(policies, seconds(18)) }
}
