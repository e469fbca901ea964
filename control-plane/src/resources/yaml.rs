//! YAML to documents with positions, and back. The only module that knows the YAML library: `serde-saphyr`, chosen for
//! the line and column that it gives for every node, not only for what it refuses itself.

use std::{collections::HashMap, fmt};

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Number, Value};
use serde_saphyr::{MessageFormatter, Spanned, UserMessageFormatter};

use super::problem::{Path, Place, Problem};

/// One YAML document, and where each of its fields stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub value: Value,
    file: String,
    start: Position,
    positions: HashMap<String, Position>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    line: u32,
    column: u32,
}

impl Document {
    /// Where `field` stands, or the nearest field around it: what is missing is missing there.
    pub fn locate(&self, field: &str) -> Place {
        let mut path = Some(Path::from(field));
        let position = loop {
            match path {
                None => break self.start,
                Some(at) => match self.positions.get(at.as_str()) {
                    Some(position) => break *position,
                    None => path = at.parent(),
                },
            }
        };
        Place { file: self.file.clone(), line: position.line, column: position.column }
    }
}

/// Fills in where each problem stands, from its document and field.
pub fn place(problems: &mut [Problem], documents: &[Document]) {
    for problem in problems {
        if let Some(document) = problem.document.and_then(|index| documents.get(index)) {
            problem.place = Some(document.locate(&problem.field));
        }
    }
}

/// Reads the documents of a file; empty ones are left out. `file` is only the name that places are given in.
///
/// # Errors
/// The text is not YAML, a mapping has the same key twice, or a value has no equal in JSON.
pub fn read_yaml(file: &str, text: &str) -> Result<Vec<Document>, Vec<Problem>> {
    let options = serde_saphyr::options! {
        // YAML 1.1 reads `no` and `on` as booleans: a header value of Norway would become `false`.
        strict_booleans: true,
        // `010` is a port to some and a mode to others: it is text, and where a number is asked for, an error.
        leading_zero_numbers_as_strings: true,
        with_snippet: false,
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
    };
    let nodes: Vec<Node> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|e| vec![syntax_problem(file, &e)])?;
    let documents = nodes.into_iter().filter(|node| !matches!(node.0.value, Tree::Null));
    Ok(documents.map(|node| document(file, node)).collect())
}

/// Writes documents as YAML, each with its keys in the usual order.
pub fn to_yaml(values: &[Value]) -> String {
    let documents: Vec<String> = values.iter().map(|value| one_to_yaml(&ordered(value))).collect();
    documents.join("---\n")
}

fn one_to_yaml(value: &Value) -> String {
    // JSON values have no form that YAML lacks, so that writing them cannot fail.
    let text = serde_saphyr::to_string(value).unwrap_or_default();
    if text.ends_with('\n') { text } else { text + "\n" }
}

const ORDER: [&str; 6] = ["apiVersion", "kind", "metadata", "spec", "namespace", "name"];

/// `apiVersion`, `kind`, `metadata`, `spec` first, and in the metadata the namespace and the name.
fn ordered(value: &Value) -> Value {
    let Value::Object(fields) = value else { return value.clone() };
    let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
    sorted.sort_by_key(|(key, _)| ORDER.iter().position(|first| first == key).unwrap_or(ORDER.len()));
    let order = |(key, value): (&String, &Value)| {
        let value = if key == "metadata" { ordered(value) } else { value.clone() };
        (key.clone(), value)
    };
    Value::Object(sorted.into_iter().map(order).collect())
}

fn syntax_problem(file: &str, error: &serde_saphyr::Error) -> Problem {
    // The formatter that speaks to users; the default one names settings of the library.
    let message = UserMessageFormatter.format_message(error.without_snippet()).into_owned();
    let location = error.location();
    let number = |number: Option<u64>| number.map_or(1, |number| u32::try_from(number).unwrap_or(u32::MAX));
    let place = Place {
        file: file.to_owned(),
        line: number(location.map(|at| at.line())),
        column: number(location.map(|at| at.column())),
    };
    Problem { place: Some(place), ..Problem::new("", message) }
}

fn document(file: &str, node: Node) -> Document {
    let mut positions = HashMap::new();
    let start = node.position();
    let value = node.into_value(&Path::default(), &mut positions);
    Document { value, file: file.to_owned(), start, positions }
}

/// A YAML node with its position. Every field is known by the position of its key, every item by its own.
struct Node(Spanned<Tree>);

enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Fields(Vec<(Spanned<String>, Node)>),
}

impl Node {
    fn position(&self) -> Position {
        position(&self.0)
    }

    fn into_value(self, path: &Path, positions: &mut HashMap<String, Position>) -> Value {
        match self.0.value {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(value),
            Tree::Number(value) => Value::Number(value),
            Tree::Text(value) => Value::String(value),
            Tree::List(items) => {
                let item = |(index, node): (usize, Node)| {
                    let path = path.index(index);
                    positions.insert(path.as_str().to_owned(), node.position());
                    node.into_value(&path, positions)
                };
                Value::Array(items.into_iter().enumerate().map(item).collect())
            }
            Tree::Fields(fields) => {
                let mut map = Map::new();
                for (key, node) in fields {
                    let path = path.field(&key.value);
                    positions.insert(path.as_str().to_owned(), position(&key));
                    let value = node.into_value(&path, positions);
                    map.insert(key.value, value);
                }
                Value::Object(map)
            }
        }
    }
}

fn position<T>(spanned: &Spanned<T>) -> Position {
    let at = &spanned.referenced;
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Position { line: number(at.line()), column: number(at.column()) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Node)
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> de::Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Tree, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("infinity and NaN are not allowed"))?;
        Ok(Tree::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = access.next_entry()? {
            fields.push(field);
        }
        Ok(Tree::Fields(fields))
    }
}

#[cfg(test)]
mod tests;
