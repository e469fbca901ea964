//! How commands show what they found: a table for people, YAML or JSON for programs, all from one value.
//!
//! Results go to stdout, notices and errors to stderr. Colour is a matter of `anstream`, which removes it where
//! nobody would see it; `--color` overrides that.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

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
    let text = match format {
        Format::Table => table(value).render(),
        Format::Json => serde_json::to_string_pretty(value)? + "\n",
        Format::Yaml => serde_saphyr::to_string(value).map_err(io::Error::other)?,
    };
    print(&text)
}

/// Writes text to stdout. A reader that has seen enough (`weft get | head -1`) is not an error.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Tells the person something that is not the result.
pub fn notice(text: &str) {
    // Where nobody can be told, there is nobody to tell that either.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Columns that line up, two spaces apart, headings in capitals.
#[derive(Debug, Default)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    /// Shown instead of a heading without rows.
    empty: &'static str,
    lines_before: Vec<String>,
    lines_after: Vec<String>,
}

#[derive(Debug)]
pub struct Cell {
    text: String,
    style: Style,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: Style::new() }
    }
}

impl Cell {
    pub fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }

    /// A dash where there is nothing to say.
    pub fn optional(text: Option<impl Into<String>>) -> Self {
        match text {
            Some(text) => text.into().into(),
            None => Self::styled("-", DIM),
        }
    }
}

impl Table {
    pub fn new(header: &[&'static str], empty: &'static str) -> Self {
        Self { header: header.to_vec(), empty, ..Self::default() }
    }

    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// A line of text above the table.
    pub fn line_before(&mut self, text: impl Into<String>) {
        self.lines_before.push(text.into());
    }

    /// A line of text below the table.
    pub fn line(&mut self, text: impl Into<String>) {
        self.lines_after.push(text.into());
    }

    pub fn render(&self) -> String {
        let mut text: String = self.lines_before.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        if self.rows.is_empty() {
            if !self.empty.is_empty() {
                text.extend([self.empty, "\n"]);
            }
        } else {
            let header: Vec<_> = self.header.iter().map(|title| Cell::styled(*title, BOLD)).collect();
            let widths = self.widths(&header);
            for row in std::iter::once(&header).chain(&self.rows) {
                render_row(&mut text, row, &widths);
            }
        }
        text.extend(self.lines_after.iter().flat_map(|line| [line.as_str(), "\n"]));
        text
    }

    fn widths(&self, header: &[Cell]) -> Vec<usize> {
        let width = |row: &[Cell], column: usize| row.get(column).map_or(0, |cell| cell.text.chars().count());
        (0..header.len())
            .map(|column| {
                let widest = self.rows.iter().map(|row| width(row, column)).max();
                widest.unwrap_or(0).max(width(header, column))
            })
            .collect()
    }
}

fn render_row(text: &mut String, row: &[Cell], widths: &[usize]) {
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        let Cell { text: content, style } = cell;
        // Writing to a String cannot fail.
        let _ = write!(text, "{style}{content}{style:#}");
        if column + 1 < row.len() {
            let padding = width.saturating_sub(content.chars().count()) + 2;
            text.extend(std::iter::repeat_n(' ', padding));
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_line_up_whatever_their_colour() {
        let mut table = Table::new(&["NAME", "STATE"], "none");
        table.row(["orders".into(), Cell::styled("closed", GOOD)]);
        table.row([Cell::styled("größer-als-alle", BAD), Cell::optional(None::<String>)]);
        table.line("2 rows");
        assert_eq!(
            plain(&table.render()),
            "NAME             STATE\norders           closed\ngrößer-als-alle  -\n2 rows\n"
        );
    }

    #[test]
    fn a_table_without_rows_says_so() {
        assert_eq!(Table::new(&["NAME"], "no resources").render(), "no resources\n");
    }

    #[test]
    fn the_heading_is_bold_only_where_colour_is_kept() {
        let mut table = Table::new(&["NAME"], "");
        table.row(["a".into()]);
        let text = table.render();
        assert!(text.starts_with("\u{1b}[1mNAME"), "{text:?}");
        assert_eq!(plain(&text), "NAME\na\n");
    }
}
