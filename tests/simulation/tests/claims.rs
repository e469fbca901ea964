//! What `docs/resilience.md` claims, for every seed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use weft_simulation::{
    model,
    report::{self, Result},
    scenarios::{self, Variant},
};

const SEEDS: u64 = 200;

#[test]
fn every_claim_holds_with_every_seed() {
    let results = scenarios::all().into_iter().map(|scenario| Result::of(scenario.claimed(), SEEDS));
    let broken: Vec<_> = results.flat_map(|result| result.broken()).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_document_tells_every_scenario_and_claim() {
    let results: Vec<Result> = scenarios::all().into_iter().map(|scenario| Result::of(scenario, 1)).collect();
    report::check(&results).unwrap();
}

#[test]
fn the_same_seed_is_the_same_run() {
    for_each_variant(|name, variant| {
        let once = model::run(&variant.setup, 7);
        assert!(once == model::run(&variant.setup, 7), "{name}");
        assert!(once != model::run(&variant.setup, 8), "{name}");
    });
}

#[test]
fn policies_do_not_change_what_is_asked() {
    let arrivals = |variant: &Variant| {
        let run = model::run(&variant.setup, 7);
        run.requests.iter().map(|request| (request.arrived, request.client, request.backend)).collect::<Vec<_>>()
    };
    for scenario in scenarios::all() {
        let first = arrivals(&scenario.variants[0]);
        assert!(scenario.variants.iter().all(|variant| arrivals(variant) == first), "{}", scenario.name);
    }
}

#[test]
fn every_request_ends_and_nothing_stays_in_flight() {
    for_each_variant(|name, variant| {
        let run = model::run(&variant.setup, 7);
        let most = 1 + variant.setup.policies.rule.retry.attempts;
        let limit = variant.setup.policies.rule.timeouts.request.unwrap() + variant.setup.patience;
        assert_eq!(run.in_flight_at_end, 0, "{name}");
        for request in &run.requests {
            assert!(request.attempts <= most && request.took() <= limit, "{name}: {request:?}");
        }
    });
}

fn for_each_variant(check: impl Fn(&str, &Variant)) {
    for scenario in scenarios::all() {
        for variant in &scenario.variants {
            check(&format!("{}, {}", scenario.name, variant.name), variant);
        }
    }
}
