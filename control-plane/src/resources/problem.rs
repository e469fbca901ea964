//! What is wrong with a resource, for the person who wrote it: where, what, and what was likely meant.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Index of the document in the input; `None` when it is about an object that the input does not hold.
    pub document: Option<usize>,
    /// The object's key as it is displayed, when the document says enough to know it.
    pub object: Option<String>,
    /// For example `spec.rules[0].backendRefs[1].weight`; empty for the document as a whole.
    pub field: String,
    pub reason: String,
    /// What would be right, as a sentence.
    pub hint: Option<String>,
    /// Where it stands in a file, once somebody who has the file has looked it up.
    pub place: Option<Place>,
    pub severity: Severity,
    /// The object that holds in place of this one, which has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflicts_with: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The object is refused.
    #[default]
    Error,
    /// It is accepted, but likely not what was meant.
    Warning,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    pub file: String,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

impl Problem {
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            document: None,
            object: None,
            field: field.into(),
            reason: reason.into(),
            hint: None,
            place: None,
            severity: Severity::Error,
            conflicts_with: None,
        }
    }

    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Whether both say that the same place is wrong. What they say may differ: reasons and hints name other objects,
    /// which come and go.
    pub fn is_same_place(&self, other: &Self) -> bool {
        (&self.object, &self.field, self.severity) == (&other.object, &other.field, other.severity)
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// `orders.yaml:12:9: HTTPRoute shop/orders: spec.rules[0].backendRef: unknown field (did you mean "backendRefs"?)`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.reason)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The path of a field while a document is walked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(String);

impl Path {
    pub fn spec() -> Self {
        Self("spec".into())
    }

    pub fn field(&self, name: &str) -> Self {
        match self.0.as_str() {
            "" => Self(name.into()),
            parent => Self(format!("{parent}.{name}")),
        }
    }

    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The path of what holds this field: `a.b[0]` is within `a.b`, which is within `a`.
    pub fn parent(&self) -> Option<Self> {
        let end = self.0.rfind(['.', '['])?;
        self.0.get(..end).map(|parent| Self(parent.to_owned()))
    }

    /// Whether one of the two holds the other, or both are the same.
    pub fn touches(&self, other: &Self) -> bool {
        let holds = |outer: &str, inner: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.0.is_empty() || holds(&self.0, &other.0) || holds(&other.0, &self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Path {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Collects the problems of one object, so that all of them are reported at once.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub problems: Vec<Problem>,
}

impl Report {
    pub fn error(&mut self, path: &Path, reason: impl Into<String>) {
        self.problems.push(Problem::new(path.as_str(), reason));
    }

    pub fn error_with_hint(&mut self, path: &Path, reason: impl Into<String>, hint: impl Into<Option<String>>) {
        self.problems.push(Problem::new(path.as_str(), reason).hint(hint));
    }

    pub fn warning(&mut self, path: &Path, reason: impl Into<String>) {
        self.warning_with_hint(path, reason, None);
    }

    pub fn warning_with_hint(&mut self, path: &Path, reason: impl Into<String>, hint: impl Into<Option<String>>) {
        self.problems.push(Problem::new(path.as_str(), reason).hint(hint).warning());
    }

    /// `winner` holds in place of the object.
    pub fn conflict(&mut self, path: &Path, winner: impl fmt::Display, why: impl fmt::Display, hint: &str) {
        let problem = Problem::new(path.as_str(), format!("{winner} {why}")).hint(hint.to_owned()).warning();
        self.problems.push(Problem { conflicts_with: Some(winner.to_string()), ..problem });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_one_line() {
        let mut problem = Problem::new("spec.rules[0].backendRef", "unknown field")
            .hint(Some(r#"did you mean "backendRefs"?"#.to_owned()));
        problem.object = Some("HTTPRoute shop/orders".into());
        problem.place = Some(Place { file: "orders.yaml".into(), line: 12, column: 9 });
        assert_eq!(
            problem.to_string(),
            r#"orders.yaml:12:9: HTTPRoute shop/orders: spec.rules[0].backendRef: unknown field (did you mean "backendRefs"?)"#
        );
        assert_eq!(Problem::new("", "no kind").to_string(), "no kind");
    }

    #[test]
    fn paths_know_what_holds_them() {
        let path = Path::spec().field("rules").index(0).field("name");
        assert_eq!(path.as_str(), "spec.rules[0].name");
        assert_eq!(path.parent().unwrap().as_str(), "spec.rules[0]");
        assert_eq!(path.parent().unwrap().parent().unwrap().as_str(), "spec.rules");
        assert!(path.touches(&Path::from("spec.rules[0]")));
        assert!(Path::from("spec.rules").touches(&path));
        assert!(!Path::from("spec.rules[1]").touches(&path));
        assert!(!Path::from("spec.rules[0].nam").touches(&path));
    }
}
