//! What users get to read when they write something wrong: whole lines, with place, field, reason and hint.

mod access;
mod documents;
mod failures;
mod health;
mod layers;
mod policies;
mod rate_limits;
mod relations;
mod round_trip;
mod route_policies;
mod routes;
mod tls;

use std::collections::BTreeSet;

use super::*;

/// The documents, each problem as a person sees it. Objects among themselves are checked only when each is valid.
fn problems(yaml: &str) -> Vec<String> {
    let documents = match read_yaml("in.yaml", yaml) {
        Ok(documents) => documents,
        Err(problems) => return problems.iter().map(Problem::to_string).collect(),
    };
    let values: Vec<serde_json::Value> = documents.iter().map(|document| document.value.clone()).collect();
    let mut problems = match parse(&values, "shop") {
        Err(problems) => problems,
        Ok(objects) => relations::checked(objects, &BTreeSet::new()),
    };
    place(&mut problems, &documents);
    problems.iter().map(Problem::to_string).collect()
}

/// Runs a table of YAML and the lines that it must lead to.
#[track_caller]
fn refuses(cases: &[(&str, &[&str])]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(yaml, expected)| (yaml, expected, problems(yaml)))
        .filter(|(_, expected, found)| found != *expected)
        .map(|(yaml, expected, found)| {
            format!("{yaml}\n--- expected\n{}\n--- found\n{}\n", expected.join("\n"), found.join("\n"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n=======\n"));
}

/// The objects of a YAML that must be right by itself.
#[track_caller]
fn objects(yaml: &str) -> Vec<Object> {
    let documents = read_yaml("in.yaml", yaml).unwrap();
    let values: Vec<serde_json::Value> = documents.into_iter().map(|document| document.value).collect();
    parse(&values, "shop").unwrap_or_else(|problems| panic!("{}", problems[0]))
}
