//! How problems and failures are told: every one of them, each on its line, then what came of it.

use weft_control_plane::resources::{Problem, Severity};

use crate::{
    exit::Failure,
    output::{BAD, BOLD, DIM, WARN, notice},
};

/// Says on standard error why the command failed.
pub fn report(failure: &Failure) {
    warn(failure.problems());
    notice(&format!("{BAD}{BOLD}error:{BOLD:#}{BAD:#} {failure}"));
}

/// Lists problems on standard error, in the order of the files.
pub fn warn(problems: &[Problem]) {
    let place = |problem: &&Problem| problem.place.as_ref().map(|place| (place.line, place.column));
    let mut sorted: Vec<&Problem> = problems.iter().collect();
    sorted.sort_by_key(|problem| (problem.document, place(problem)));
    sorted.into_iter().for_each(|problem| notice(&render(problem)));
}

/// `rules.yaml:12:9: HTTPRoute shop/orders: spec.rules[0].backendRef: unknown field (did you mean "backendRefs"?)`
pub fn render(problem: &Problem) -> String {
    let Problem { object, field, reason, hint, place, severity, .. } = problem;
    let mut text = String::new();
    if let Some(place) = place {
        text += &format!("{BOLD}{place}:{BOLD:#} ");
    }
    text += &match severity {
        Severity::Error => format!("{BAD}error:{BAD:#} "),
        Severity::Warning => format!("{WARN}warning:{WARN:#} "),
    };
    for part in object.iter().map(String::as_str).chain([field.as_str()]).filter(|part| !part.is_empty()) {
        text += &format!("{part}: ");
    }
    text += reason;
    if let Some(hint) = hint {
        text += &format!("{DIM} ({hint}){DIM:#}");
    }
    text
}

#[cfg(test)]
mod tests {
    use weft_control_plane::resources::Place;

    use super::*;

    #[test]
    fn a_problem_reads_from_the_place_to_the_hint() {
        let mut problem =
            Problem::new("spec.rules[0]", "unknown field \"weigth\"").hint("did you mean \"weight\"?".to_owned());
        problem.object = Some("HTTPRoute shop/orders".to_owned());
        problem.place = Some(Place { file: "a.yaml".to_owned(), line: 3, column: 7 });
        let text = anstream::adapter::strip_str(&render(&problem)).to_string();
        assert_eq!(
            text,
            "a.yaml:3:7: error: HTTPRoute shop/orders: spec.rules[0]: unknown field \"weigth\" (did you mean \"weight\"?)"
        );
        let bare = anstream::adapter::strip_str(&render(&Problem::new("", "no kind").warning())).to_string();
        assert_eq!(bare, "warning: no kind");
    }
}
