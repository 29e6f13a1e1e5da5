//! A line of a file with a mark under the place, as a terminal shows it.
//!
//! The file may contain any text. Characters that could move the cursor or change the
//! writing direction are shown as escapes, tabs as blanks, and only a part of a long line
//! is shown. The mark is as wide as the text above it.

use std::borrow::Cow;
use std::iter;

use portsentry_core::config::Span;
use unicode_width::UnicodeWidthStr as _;

/// A line and a place in it, in columns of the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snippet {
    pub(crate) text: String,
    /// Number of columns before the mark.
    pub(crate) indent: usize,
    /// Number of columns of the mark, at least 1.
    pub(crate) width: usize,
}

/// Maximum number of characters of a line to show, and of those before the place.
const SHOWN: usize = 100;
const SHOWN_BEFORE: usize = 50;
const CUT: &str = "...";

/// Returns the character itself, or an escape if it does not print.
pub(crate) fn harmless(c: char) -> Cow<'static, str> {
    match c {
        '\t' => "    ".into(),
        '"' | '\'' | '\\' => c.to_string().into(),
        _ => c.escape_debug().to_string().into(),
    }
}

/// Cuts snippets out of a file. The places must be in ascending order, so that one pass
/// over the file is enough.
pub(crate) struct Snippets<'a> {
    lines: Box<dyn Iterator<Item = (&'a [u8], usize)> + 'a>,
    line: Cow<'a, str>,
    number: usize,
    /// A byte offset in the line, and the number of characters before it.
    reached: (usize, usize),
}

impl<'a> Snippets<'a> {
    pub(crate) fn of(file: &'a [u8]) -> Self {
        // Lines and columns as `portsentry_core::config` counts them.
        let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
        Self {
            lines: Box::new(file.split(|byte| *byte == b'\n').zip(1..)),
            line: Cow::default(),
            number: 0,
            reached: (0, 0),
        }
    }

    pub(crate) fn cut(&mut self, place: Span) -> Snippet {
        while self.number < place.line {
            let Some((bytes, number)) = self.lines.next() else { break };
            if number == place.line {
                self.line = String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(bytes));
            }
            self.number = number;
            self.reached = (0, 0);
        }
        let start = place.column - 1;
        // A short line is shown whole.
        let from =
            if start + place.length.min(SHOWN_BEFORE) <= SHOWN { 0 } else { start - SHOWN_BEFORE };
        let window = self.rest_from(from);
        let is_cut_after = window.chars().nth(SHOWN).is_some();

        let mut snippet = Snippet { text: String::new(), indent: 0, width: 0 };
        let before = iter::once(Cow::from(CUT)).filter(|_| from > 0).map(|cut| (cut, false));
        let shown = window
            .chars()
            .zip(from..)
            .take(SHOWN)
            .map(|(c, index)| (harmless(c), index >= start && index - start < place.length));
        let after = iter::once(Cow::from(CUT)).filter(|_| is_cut_after).map(|cut| (cut, false));
        for (text, is_marked) in before.chain(shown).chain(after) {
            if is_marked {
                snippet.width += text.width();
            } else if snippet.width == 0 {
                snippet.indent += text.width();
            }
            snippet.text += &text;
        }
        snippet.width = snippet.width.max(1);
        snippet
    }

    /// Returns the line from character number `from` on.
    fn rest_from(&mut self, from: usize) -> &str {
        let (mut offset, mut characters) = self.reached;
        if from < characters {
            (offset, characters) = (0, 0);
        }
        let mut rest = self.line[offset..].char_indices();
        let offset = rest.nth(from - characters).map_or(self.line.len(), |(more, _)| offset + more);
        self.reached = (offset, from);
        &self.line[offset..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the snippet as two lines, without blanks at the end.
    fn drawn(file: &str, line: usize, column: usize, length: usize) -> String {
        let snippet = Snippets::of(file.as_bytes()).cut(Span { line, column, length });
        format!("{}\n{}{}", snippet.text, " ".repeat(snippet.indent), "^".repeat(snippet.width))
    }

    #[test]
    fn marks_are_under_their_place() {
        let check = |file: &str, (line, column, length), expected: &str| {
            assert_eq!(drawn(file, line, column, length), expected, "{file:?}");
        };
        check("abc def\n", (1, 5, 3), "abc def\n    ^^^");
        check("a\r\nb c\r\n", (2, 3, 1), "b c\n  ^");
        check("\u{feff}abc", (1, 2, 1), "abc\n ^");
        check("abc", (1, 4, 1), "abc\n   ^");
        check("", (1, 1, 1), "\n^");
        check("\ta\tb", (1, 4, 1), "    a    b\n         ^");
        check("日本 x", (1, 4, 1), "日本 x\n     ^");
        check("x日本y", (1, 2, 2), "x日本y\n ^^^^");
        check("a\u{1b}[2Jb", (1, 6, 1), "a\\u{1b}[2Jb\n          ^");
        check("a\u{202e}b", (1, 2, 1), "a\\u{202e}b\n ^^^^^^^^");
        check("e\u{301}x", (1, 3, 1), "e\\u{301}x\n        ^");
        check("\"it's\\\"", (1, 4, 1), "\"it's\\\"\n   ^");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let line = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let expected = format!("...{}X{}...\n{}^", "a".repeat(50), "b".repeat(49), " ".repeat(53));
        assert_eq!(drawn(&line, 1, 501, 1), expected);
        // A mark that is longer than the shown part ends with it.
        let expected = format!("{}...\n{}", "a".repeat(100), "^".repeat(100));
        assert_eq!(drawn(&line, 1, 1, 600), expected);
    }

    #[test]
    fn several_places_of_one_file() {
        let long = format!("{}\nlast", "x".repeat(1_000));
        let mut snippets = Snippets::of(long.as_bytes());
        for column in [1, 90, 300, 300, 999] {
            let expected = Snippets::of(long.as_bytes()).cut(Span { line: 1, column, length: 1 });
            assert_eq!(snippets.cut(Span { line: 1, column, length: 1 }), expected, "{column}");
        }
        assert_eq!(snippets.cut(Span { line: 2, column: 1, length: 4 }).text, "last");
    }
}
