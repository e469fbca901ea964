//! Tables for people: columns that line up, two spaces apart, headings in capitals.

use std::fmt::Write as _;

use anstyle::Style;

use super::{
    BOLD, DIM,
    text::{Text, visible},
};

#[derive(Debug, Default)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    /// Shown instead of a heading without rows.
    empty: &'static str,
    lines_before: Vec<Text>,
    lines_after: Vec<Text>,
}

/// One line of one style, whatever it is made of.
#[derive(Debug)]
pub struct Cell {
    text: String,
    style: Style,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, Style::new())
    }
}

impl Cell {
    pub fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: visible(&text.into()), style }
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
    pub fn line_before(&mut self, text: impl Into<Text>) {
        self.lines_before.push(text.into());
    }

    /// A line of text below the table.
    pub fn line(&mut self, text: impl Into<Text>) {
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
    use crate::output::{BAD, GOOD};

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
    fn a_row_stays_one_row_whatever_is_in_it() {
        let author = "x\u{1b}[31mRED\n7         today  root";
        let mut table = Table::new(&["REVISION", "AUTHOR", "MESSAGE"], "none");
        table.row(["6".into(), author.into(), Cell::optional(Some(author))]);
        table.row(["5".into(), Cell::styled(author, BAD), "".into()]);
        table.line_before(author);
        table.line(author);
        let text = table.render();
        assert!(!text.contains("\u{1b}[31mRED"), "{text:?}");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[2].starts_with("6         x\\u{1b}[31mRED\\n7         today  root  x\\u{1b}"), "{text}");
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
