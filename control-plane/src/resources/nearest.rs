//! "Did you mean": which known name a wrong one was likely meant to be.

/// The known name that is closest to `text`, if any is close enough to have been meant.
pub(crate) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = text.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for name in known {
        let score = strsim::jaro_winkler(&lower, &name.to_lowercase());
        let typo = strsim::damerau_levenshtein(&lower, &name.to_lowercase()) <= allowed_edits(&lower);
        // Of equally close names the first wins, so that the answer does not depend on chance.
        if (typo || score >= 0.88) && best.is_none_or(|(highest, _)| score > highest) {
            best = Some((score, name));
        }
    }
    best.map(|(_, name)| name)
}

/// One slip in a short word, up to three in a long one.
fn allowed_edits(text: &str) -> usize {
    (text.chars().count() / 3).clamp(1, 3)
}

pub(crate) fn did_you_mean<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(text, known).map(|name| format!("did you mean {name:?}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_another_word_is_not() {
        let known = ["backendRefs", "filters", "matches", "name", "timeouts"];
        assert_eq!(nearest("backendRef", known), Some("backendRefs"));
        assert_eq!(nearest("backends", known), Some("backendRefs"));
        assert_eq!(nearest("mathces", known), Some("matches"));
        assert_eq!(nearest("Name", known), Some("name"));
        assert_eq!(nearest("retry", known), None);
        assert_eq!(nearest("", known), None);
    }
}
