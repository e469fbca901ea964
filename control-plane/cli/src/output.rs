//! How commands show what they found: a table for people, YAML or JSON for programs, all from one value.
//!
//! Results go to stdout, notices and errors to stderr. Colour is a matter of `anstream`, which removes it where
//! nobody would see it; `--color` overrides that. Nothing from outside reaches the terminal as it came: people are
//! shown [`Text`] and the cells of a [`Table`], programs are given [`data`], which has no control characters.

mod table;
mod text;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

pub use table::{Cell, Table};
pub use text::Text;

/// What `--output` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    Yaml,
    Json,
}

/// What `--color` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// When the output is a terminal; NO_COLOR and CLICOLOR_FORCE are honoured.
    #[default]
    Auto,
    Always,
    Never,
}

pub const BOLD: Style = Style::new().bold();
pub const DIM: Style = Style::new().dimmed();
pub const GOOD: Style = AnsiColor::Green.on_default();
pub const BAD: Style = AnsiColor::Red.on_default();
pub const WARN: Style = AnsiColor::Yellow.on_default();
pub const CALM: Style = AnsiColor::Cyan.on_default();

/// Called once, before anything is written.
pub fn set_color(color: Color) {
    match color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// Writes `value` in the format asked for; `table` is its form for people.
pub fn show<T: Serialize>(format: Format, value: &T, table: impl FnOnce(&T) -> Table) -> io::Result<()> {
    match format {
        Format::Table => write(&table(value).render()),
        Format::Json => data(&(serde_json::to_string_pretty(value)? + "\n")),
        Format::Yaml => data(&serde_saphyr::to_string(value).map_err(io::Error::other)?),
    }
}

/// Writes a line for people to stdout.
pub fn line(text: impl Into<Text>) -> io::Result<()> {
    write(&format!("{}\n", text.into().as_str()))
}

/// Writes JSON, YAML or a script to stdout.
pub fn data(text: &str) -> io::Result<()> {
    write(&escaped(text))
}

/// Tells the person something that is not the result.
pub fn notice(text: impl Into<Text>) {
    // Where nobody can be told, there is nobody to tell that either.
    let _ = writeln!(anstream::stderr().lock(), "{}", text.into().as_str());
}

/// Shows a table that is not the result, on standard error.
pub fn aside(table: &Table) {
    let _ = write!(anstream::stderr().lock(), "{}", table.render());
}

/// A reader that has seen enough (`weft get | head -1`) is not an error.
fn write(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Control characters stand only within the quotes of JSON and YAML, where this is another way to write the same.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => safe.push(character),
            // Writing to a String cannot fail.
            c if c.is_control() => _ = write!(safe, "\\u{:04x}", u32::from(c)),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_read_the_same_value_although_no_control_character_is_sent() {
        let value =
            serde_json::json!({ "author": "x\u{1b}[31mRED\nline\r\u{7f}\u{9b}1m\u{85}z", "k\u{9b}": ["\u{9b}"] });
        let json = escaped(&serde_json::to_string_pretty(&value).unwrap());
        let yaml = escaped(&serde_saphyr::to_string(&value).unwrap());
        for text in [&json, &yaml] {
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        }
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
        assert_eq!(serde_saphyr::from_str::<serde_json::Value>(&yaml).unwrap(), value, "{yaml}");
    }
}
