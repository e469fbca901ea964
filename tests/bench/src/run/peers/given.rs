//! A peer that only some machines have, started by a recipe: a file with the command line of each side.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use tokio::process::Command;

use super::{Order, Running};

/// Words may hold `{listen}`, `{to}`, `{cert}`, `{key}`, `{ca}`, `{folder}` (empty, of this process alone), and `{bench}`
/// for the name in the certificate. Both sides must verify certificates; that the inbound side does is checked.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    #[serde(skip)]
    pub name: String,
    pub outbound: Vec<String>,
    pub inbound: Vec<String>,
}

impl Recipe {
    pub fn read(name: &str, file: &Path) -> anyhow::Result<Self> {
        let what = || format!("the recipe of {name}, {}", file.display());
        let text = std::fs::read_to_string(file).with_context(what)?;
        Ok(Self { name: name.to_owned(), ..serde_json::from_str(&text).with_context(what)? })
    }

    pub async fn start(&self, order: &Order<'_>) -> anyhow::Result<Running> {
        let certificates = &order.site.certificates;
        Running::of_commands(order, &self.name, order.front, |place| {
            let words = if place.accepts_tls() { &self.inbound } else { &self.outbound };
            let values = [
                ("{listen}", place.listen.to_string()),
                ("{to}", place.to.to_string()),
                ("{cert}", certificates.certificate.display().to_string()),
                ("{key}", certificates.key.display().to_string()),
                ("{ca}", certificates.ca.display().to_string()),
                ("{folder}", place.folder.display().to_string()),
                ("{bench}", crate::run::certificates::NAME.to_owned()),
            ];
            let mut words = words.iter().map(|word| fill(word, &values));
            let mut command = Command::new(words.next().context("a recipe with an empty command line")?);
            command.args(words);
            Ok(command)
        })
        .await
    }
}

fn fill(word: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(word.to_owned(), |word, (name, value)| word.replace(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_filled_in() {
        let values = [("{listen}", "127.0.0.1:1".to_owned()), ("{to}", "127.0.0.1:2".to_owned())];
        assert_eq!(fill("{listen}->{to}", &values), "127.0.0.1:1->127.0.0.1:2");
    }

    #[test]
    fn a_recipe_has_two_sides_and_nothing_unknown() {
        assert!(serde_json::from_str::<Recipe>(r#"{"outbound": ["a"], "inbound": ["b"]}"#).is_ok());
        assert!(serde_json::from_str::<Recipe>(r#"{"outbound": ["a"]}"#).is_err());
        assert!(serde_json::from_str::<Recipe>(r#"{"outbound": [], "inbound": [], "port": 1}"#).is_err());
    }
}
