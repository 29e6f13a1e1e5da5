//! Places in a file: lines, and fragments of lines that know their position.
//!
//! All functions that read a part of the file take a [`Fragment`], so that they can
//! report the place of an error.

use alloc::borrow::Cow;
use alloc::string::String;
use core::cell::Cell;
use core::ops::Range;

/// A place in a file: a part of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Line, from 1.
    pub line: usize,
    /// Column of the first character, from 1. Counted in characters (Unicode scalar
    /// values), without a byte-order mark. Bytes that are not UTF-8 count as the characters
    /// by which [`String::from_utf8_lossy`] replaces them.
    pub column: usize,
    /// Number of characters, at least 1.
    pub length: usize,
}

impl Span {
    /// Returns the first character of a line.
    pub(super) const fn start_of(line: usize) -> Self {
        Self { line, column: 1, length: 1 }
    }
}

/// One line, without its end.
pub(super) struct Line<'a> {
    number: usize,
    text: Cow<'a, str>,
    /// Offset of the first byte sequence that was not UTF-8.
    invalid: Option<usize>,
    /// A byte offset, and the number of characters before it. Most spans are computed
    /// from left to right. Counting on from here makes the cost of a line with many errors
    /// linear in its length.
    counted: Cell<(usize, usize)>,
}

/// Returns the lines of a file, separated by LF or CRLF; the last line end may be missing. A
/// byte-order mark before the first line is removed.
pub(super) fn lines(file: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let file = file.strip_suffix(b"\n").unwrap_or(file);
    file.split(|byte| *byte == b'\n').zip(1..).map(|(bytes, number)| Line::new(bytes, number))
}

impl<'a> Line<'a> {
    fn new(bytes: &'a [u8], number: usize) -> Self {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let (text, invalid) = match core::str::from_utf8(bytes) {
            Ok(text) => (Cow::Borrowed(text), None),
            Err(error) => (String::from_utf8_lossy(bytes), Some(error.valid_up_to())),
        };
        Self { number, text, invalid, counted: Cell::new((0, 0)) }
    }

    /// Creates a line that is not from a file.
    pub(super) fn of_text(text: &'a str) -> Self {
        Self::new(text.as_bytes(), 0)
    }

    /// Returns the line number, from 1.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Returns the whole line.
    pub(super) fn fragment(&self) -> Fragment<'_> {
        Fragment { line: self, start: 0, text: &self.text }
    }

    /// If the line contains bytes that are not UTF-8: the text before the first of them, and
    /// its replacement character.
    pub(super) fn invalid(&self) -> Option<(Fragment<'_>, Fragment<'_>)> {
        let (before, rest) = self.fragment().split_at(self.invalid?)?;
        Some((before, rest.first_char()))
    }

    fn span(&self, range: Range<usize>) -> Span {
        let (mut offset, mut characters) = self.counted.get();
        if range.start < offset {
            (offset, characters) = (0, 0);
        }
        let count =
            |range: Range<usize>| self.text.get(range).map_or(0, |text| text.chars().count());
        characters += count(offset..range.start);
        self.counted.set((range.start, characters));
        let length = count(range).max(1);
        Span { line: self.number, column: characters + 1, length }
    }
}

/// A part of a line that knows its position.
#[derive(Clone, Copy)]
pub(super) struct Fragment<'a> {
    line: &'a Line<'a>,
    start: usize,
    text: &'a str,
}

/// Characters that are allowed around keys, values and items.
pub(super) const BLANKS: [char; 2] = [' ', '\t'];

impl<'a> Fragment<'a> {
    pub(super) fn text(self) -> &'a str {
        self.text
    }

    pub(super) fn is_empty(self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn span(self) -> Span {
        self.line.span(self.start..self.start + self.text.len())
    }

    /// Splits before the byte at `offset`; `None` if no character starts there.
    pub(super) fn split_at(self, offset: usize) -> Option<(Self, Self)> {
        let (before, after) = self.text.split_at_checked(offset)?;
        Some((
            Self { text: before, ..self },
            Self { start: self.start + offset, text: after, ..self },
        ))
    }

    /// Splits before the first character for which `stop` returns true, or at the end.
    pub(super) fn split_before(self, stop: impl FnMut(char) -> bool) -> (Self, Self) {
        let offset = self.text.find(stop).unwrap_or(self.text.len());
        self.split_at(offset).unwrap_or((self, self))
    }

    /// Splits at the first `separator`, which is in neither part.
    pub(super) fn split_once(self, separator: char) -> Option<(Self, Self)> {
        let (before, after) = self.split_at(self.text.find(separator)?)?;
        Some((before, after.strip_prefix(separator)?))
    }

    /// Returns the parts between separators: one more than there are separators.
    pub(super) fn split(self, separator: char) -> impl Iterator<Item = Self> {
        let mut rest = Some(self);
        core::iter::from_fn(move || {
            let current = rest?;
            let (item, after) = match current.split_once(separator) {
                Some((item, after)) => (item, Some(after)),
                None => (current, None),
            };
            rest = after;
            Some(item)
        })
    }

    /// Returns the words between blanks, none of them empty.
    pub(super) fn words(self) -> impl Iterator<Item = Self> {
        let mut rest = self;
        core::iter::from_fn(move || {
            let (word, after) = rest.trim().split_before(|c| BLANKS.contains(&c));
            rest = after;
            (!word.is_empty()).then_some(word)
        })
    }

    pub(super) fn strip_prefix(self, prefix: char) -> Option<Self> {
        let text = self.text.strip_prefix(prefix)?;
        Some(Self { start: self.start + prefix.len_utf8(), text, ..self })
    }

    /// Returns the fragment without the blanks around it.
    pub(super) fn trim(self) -> Self {
        let trimmed = self.trim_start();
        Self { text: trimmed.text.trim_end_matches(BLANKS), ..trimmed }
    }

    /// Returns the fragment without the blanks before it.
    pub(super) fn trim_start(self) -> Self {
        let text = self.text.trim_start_matches(BLANKS);
        Self { start: self.start + self.text.len() - text.len(), text, ..self }
    }

    /// Returns the first character; empty if the fragment is.
    pub(super) fn first_char(self) -> Self {
        let end = self.text.chars().next().map_or(0, char::len_utf8);
        self.split_at(end).map_or(self, |(first, _)| first)
    }

    /// Returns each character for which `wanted` returns true.
    pub(super) fn chars_that(
        self,
        wanted: impl Fn(char) -> bool,
    ) -> impl Iterator<Item = (char, Self)> {
        self.text.char_indices().filter(move |(_, c)| wanted(*c)).filter_map(move |(offset, c)| {
            let (_, rest) = self.split_at(offset)?;
            Some((c, rest.first_char()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn lines_of_a_file() {
        let check = |file: &[u8], expected: &[&str]| {
            let found: Vec<_> = lines(file).map(|line| line.text.to_string()).collect();
            assert_eq!(found, expected, "{file:?}");
        };
        check(b"", &[""]);
        check(b"a", &["a"]);
        check(b"a\n", &["a"]);
        check(b"a\r\nb\r\n", &["a", "b"]);
        check(b"a\n\nb\n\n", &["a", "", "b", ""]);
        check(b"\xef\xbb\xbfa\nb", &["a", "b"]);
        check(b"a\rb\n", &["a\rb"]);
    }

    #[test]
    fn columns_are_characters() {
        let line = Line::of_text("ä\tb, 日本 ,c");
        let spans: Vec<_> = line
            .fragment()
            .split(',')
            .map(|item| (item.span().column, item.span().length))
            .collect();
        assert_eq!(spans, vec![(1, 3), (5, 4), (10, 1)]);
        // From right to left, and an empty fragment.
        assert_eq!(line.fragment().span().column, 1);
        assert_eq!(
            line.fragment().split_at(0).unwrap().0.span(),
            Span { line: 0, column: 1, length: 1 }
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_one_character() {
        let line = Line::new(b"ab\xff\xfec", 7);
        let span = line.invalid().unwrap().1.span();
        assert_eq!(span, Span { line: 7, column: 3, length: 1 });
    }

    #[test]
    fn words_between_blanks() {
        let line = Line::of_text(" a\t bc  ");
        let words: Vec<_> = line.fragment().words().map(|w| (w.span().column, w.text())).collect();
        assert_eq!(words, vec![(2, "a"), (5, "bc")]);
    }
}
