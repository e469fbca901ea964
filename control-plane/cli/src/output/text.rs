//! Text for people. Names, authors, causes and reasons come from outside; whatever is in them is read, and never
//! obeyed by the terminal.
//!
//! A [`Text`] can only be made by the functions here, and only a [`Text`] or a table's cell is written as text: so
//! every control character that is not a style of our own has been made visible.

use std::fmt::Write as _;

use anstyle::Style;

/// One line, or the lines of [`Text::paragraph`], with the escape sequences of its own styles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(String);

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        Self::default().and(text.into())
    }
}

impl Text {
    pub fn styled(text: impl AsRef<str>, style: Style) -> Self {
        Self::default().and_styled(text, style)
    }

    /// Keeps line ends. What follows one is indented, so that no line can pass for one that starts a message.
    pub fn paragraph(text: impl AsRef<str>) -> Self {
        let lines: Vec<_> = text.as_ref().split('\n').map(visible).collect();
        Self(lines.join("\n  "))
    }

    pub fn and(self, text: impl AsRef<str>) -> Self {
        self.and_text(&Self(visible(text.as_ref())))
    }

    pub fn and_styled(mut self, text: impl AsRef<str>, style: Style) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{style}{}{style:#}", visible(text.as_ref()));
        self
    }

    pub fn and_text(mut self, text: &Self) -> Self {
        self.0 += &text.0;
        self
    }

    /// Ready to be written to a terminal, or through `anstream` to something else.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `text` with its control characters as a programmer would write them: `\n`, `\u{1b}`.
pub fn visible(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            c if c.is_control() && c.is_ascii() => safe.extend(c.escape_default()),
            c if c.is_control() || reorders(c) => safe.extend(c.escape_unicode()),
            c => safe.push(c),
        }
    }
    safe
}

/// Line ends of Unicode, and marks that show what follows in another order than it is written in.
fn reorders(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::BAD;

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        assert_eq!(visible("x\u{1b}[31mRED\nline"), "x\\u{1b}[31mRED\\nline");
        assert_eq!(visible("\r\t\u{7f}\u{9b}1m\u{202e}"), "\\r\\t\\u{7f}\\u{9b}1m\\u{202e}");
        assert_eq!(visible("größer 10 % \"a\" \\ 日本"), "größer 10 % \"a\" \\ 日本");
    }

    #[test]
    fn every_way_to_make_text_makes_it_safe() {
        let bad = "a\u{1b}]0;title\u{7}\nb";
        let made = [
            Text::from(bad),
            Text::from(bad.to_owned()),
            Text::styled(bad, BAD),
            Text::default().and(bad),
            Text::default().and_styled(bad, BAD),
            Text::default().and_text(&bad.into()),
        ];
        for text in made {
            let own = [BAD.render().to_string(), BAD.render_reset().to_string()];
            let rest = own.iter().fold(text.as_str().to_owned(), |rest, sequence| rest.replace(sequence, ""));
            assert_eq!(rest, "a\\u{1b}]0;title\\u{7}\\nb");
        }
    }

    #[test]
    fn the_further_lines_of_a_paragraph_are_indented() {
        assert_eq!(Text::paragraph("a\nerror: b\u{1b}[2J").as_str(), "a\n  error: b\\u{1b}[2J");
    }
}
