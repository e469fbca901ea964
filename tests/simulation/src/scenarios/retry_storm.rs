//! All endpoints of a backend are overloaded for a while: with retries, that can last for good.

use weft_proxy_api::policy::RetryBudget;

use super::{CALLERS, Focus, Measure, Picture, Scenario, Variant, at_least, at_most, seconds};
use crate::model::{ENDPOINTS, Fault, Kind, NO_BUDGET, Policies, Setup};

pub fn storm() -> Scenario {
    let variant = |name, policies| Variant { name, setup: setup(policies, 6.5) };
    Scenario {
        name: "retry-storm",
        title: "A retry storm",
        story: "The endpoints are 65 % busy. For ten seconds, each request takes them three times as long. Callers \
                wait 250 ms for an attempt and a second in all.",
        focus: focus(),
        variants: vec![
            variant("no retries", Policies::none()),
            variant("3 retries, no budget", Policies::none().retrying(3, NO_BUDGET)),
            variant("3 retries, 20 % and 3/s", Policies::none().retrying(3, budget(3))),
            variant("3 retries, 20 %", Policies::none().retrying(3, budget(0))),
            variant("no budget, circuit breakers", Policies::none().retrying(3, NO_BUDGET).ejecting().breaking()),
            variant("20 % and 3/s, circuit breakers", Policies::none().retrying(3, budget(3)).ejecting().breaking()),
        ],
        columns: &[Measure::GoodputDuring, Measure::GoodputAfter, Measure::Attempts, Measure::P99],
        picture: Picture::Goodput,
        claims: vec![
            at_most("3 retries, no budget", Measure::GoodputAfter, 5.0),
            at_least("3 retries, 20 % and 3/s", Measure::GoodputAfter, 98.0),
            // 20 %, and 3/s beside 6.5 requests per second; a little is left from before the fault.
            at_most("3 retries, 20 % and 3/s", Measure::Attempts, 1.67),
            at_least("20 % and 3/s, circuit breakers", Measure::GoodputAfter, 98.0),
        ],
        findings: &[
            "Without a budget, the storm feeds itself: long after its cause is gone, nobody gets an answer, since every \
             endpoint works on attempts that were given up. Only less load would end it.",
            "With a budget it ends. While the backend is overloaded no policy brings answers back: retries do not help \
             there, they only must not harm.",
            "A circuit breaker ends it, too, even without a budget, and it refuses requests for that.",
        ],
    }
}

/// The same with less room, so that the floor of the budget decides.
pub fn floor() -> Scenario {
    let variant = |name, policies| Variant { name, setup: setup(policies, 8.0) };
    Scenario {
        name: "retry-floor",
        title: "A retry storm, and the floor of the budget",
        story: "The same with endpoints that are 80 % busy, by a hundred callers with eight requests per second each.",
        focus: focus(),
        variants: vec![
            variant("3 retries, 20 % and 3/s", Policies::none().retrying(3, budget(3))),
            variant("3 retries, 20 % and 1/s", Policies::none().retrying(3, budget(1))),
            variant("3 retries, 20 %", Policies::none().retrying(3, budget(0))),
            variant("20 % and 3/s, circuit breakers", Policies::none().retrying(3, budget(3)).ejecting().breaking()),
        ],
        columns: &[Measure::GoodputDuring, Measure::GoodputAfter, Measure::Attempts],
        picture: Picture::Goodput,
        claims: vec![at_least("20 % and 3/s, circuit breakers", Measure::GoodputAfter, 50.0)],
        findings: &[
            "`minPerSecond` is for each sidecar. Beside eight requests per second, three retries are 37 % more, and 80 % of \
             what the endpoints can take, times 1.2 + 3/8, is more than they can: with the default the storm mostly stays. \
             The budget protects a backend of many small callers only if the floor is small, too.",
            "The budget is one of ten seconds, and a second can use it up. All sidecars do so when the fault begins, and again \
             every ten seconds, in step: that is the second collapse in the picture, also with 20 % alone.",
            "Circuit breakers end this storm with every seed. With one of 200 (180) the next one begins by itself, ten seconds \
             later: by chance some requests are late, and the budget that nobody has used for ten seconds sends all of \
             them again at once.",
        ],
    }
}

fn budget(min_per_second: u32) -> RetryBudget {
    RetryBudget { percent: 20, min_per_second }
}

fn focus() -> Focus {
    Focus {
        clients: 0..CALLERS,
        backend: 0,
        neighbour: None,
        marked: 0..ENDPOINTS,
        fault: seconds(3)..seconds(13),
        during: seconds(3)..seconds(13),
        after: seconds(25)..seconds(30),
    }
}

fn setup(policies: Policies, rate: f64) -> Setup {
    let overload =
        Fault { kind: Kind::Slow(3.0), during: seconds(3)..seconds(13), endpoints: 0..ENDPOINTS, clients: 0..CALLERS };
    let mut mesh = Setup::of(policies, seconds(30));
    mesh.backends[0].rate = rate;
    Setup { faults: vec![overload], ..mesh }
}
