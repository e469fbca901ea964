//! How problems and failures are told: every one of them, each on its line, then what came of it.

use anstyle::Effects;
use weft_control_plane::resources::{Problem, Severity};

use crate::{
    exit::Failure,
    output::{BAD, BOLD, DIM, Text, WARN, notice},
};

/// Says on standard error why the command failed.
pub fn report(failure: &Failure) {
    warn(failure.problems());
    let text = Text::paragraph(failure.to_string());
    notice(Text::styled("error:", BAD | Effects::BOLD).and(" ").and_text(&text));
}

/// Lists problems on standard error, in the order of the files.
pub fn warn(problems: &[Problem]) {
    let place = |problem: &&Problem| problem.place.as_ref().map(|place| (place.line, place.column));
    let mut sorted: Vec<&Problem> = problems.iter().collect();
    sorted.sort_by_key(|problem| (problem.document, place(problem)));
    sorted.into_iter().for_each(|problem| notice(render(problem)));
}

/// `rules.yaml:12:9: HTTPRoute shop/orders: spec.rules[0].backendRef: unknown field (did you mean "backendRefs"?)`
pub fn render(problem: &Problem) -> Text {
    let Problem { object, field, reason, hint, place, severity, .. } = problem;
    let mut text = Text::default();
    if let Some(place) = place {
        text = text.and_styled(format!("{place}:"), BOLD).and(" ");
    }
    text = match severity {
        Severity::Error => text.and_styled("error:", BAD),
        Severity::Warning => text.and_styled("warning:", WARN),
    };
    for part in object.iter().map(String::as_str).chain([field.as_str()]).filter(|part| !part.is_empty()) {
        text = text.and(format!(" {part}:"));
    }
    text = text.and(format!(" {reason}"));
    match hint {
        Some(hint) => text.and_styled(format!(" ({hint})"), DIM),
        None => text,
    }
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
        let text = anstream::adapter::strip_str(render(&problem).as_str()).to_string();
        assert_eq!(
            text,
            "a.yaml:3:7: error: HTTPRoute shop/orders: spec.rules[0]: unknown field \"weigth\" (did you mean \"weight\"?)"
        );
        let bare = anstream::adapter::strip_str(render(&Problem::new("", "no kind").warning()).as_str()).to_string();
        assert_eq!(bare, "warning: no kind");
    }

    #[test]
    fn nothing_in_a_problem_is_obeyed_by_the_terminal() {
        let bad = "x\u{1b}[31mRED\nerror: forged".to_owned();
        let mut problem = Problem::new(bad.as_str(), bad.as_str()).hint(bad.clone());
        problem.object = Some(bad.clone());
        problem.place = Some(Place { file: bad, line: 3, column: 7 });
        let text = render(&problem).as_str().to_owned();
        assert!(!text.contains('\n') && !text.contains("\u{1b}[31mRED"), "{text:?}");
        assert_eq!(text.matches("x\\u{1b}[31mRED\\nerror: forged").count(), 5, "{text}");
    }
}
