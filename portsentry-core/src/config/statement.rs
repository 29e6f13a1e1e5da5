//! The grammar of one line: `KEY = "value" # comment`.

use super::diagnostic::Report;
use super::span::{BLANKS, Fragment, Line};
use super::{Excerpt, Key, Problem};

/// A line that sets a key.
pub(super) struct Statement<'a> {
    /// Text before the equals sign; not necessarily a known key.
    pub(super) key: Fragment<'a>,
    /// Text between the quotes; `None` if the quotes are wrong.
    pub(super) value: Option<Fragment<'a>>,
}

/// Reads a line. `None` if it sets no key: a blank line, a comment, or a line that is
/// reported as malformed.
pub(super) fn read_statement<'a>(line: &'a Line<'_>, report: &mut Report) -> Option<Statement<'a>> {
    let text = line.fragment().trim();
    if text.is_empty() || text.text().starts_with('#') {
        return None;
    }
    let (key, rest) = text.split_before(|c| matches!(c, '=' | ':' | '"') || BLANKS.contains(&c));
    let rest = rest.trim_start();
    let Some(quoted) = rest.strip_prefix('=') else {
        report.error(rest.first_char(), Problem::MissingEquals { key: Excerpt::of(key.text()) });
        // One error is enough for a line of prose.
        return Key::find(key.text()).map(|_| Statement { key, value: None });
    };
    if key.is_empty() {
        report.error(rest.first_char(), Problem::MissingKey);
        return None;
    }
    Some(Statement { key, value: read_quoted(quoted.trim_start(), report) })
}

fn read_quoted<'a>(quoted: Fragment<'a>, report: &mut Report) -> Option<Fragment<'a>> {
    let Some(opened) = quoted.strip_prefix('"') else {
        report.error(quoted, Problem::MissingOpeningQuote);
        return None;
    };
    let (value, closed) = opened.split_before(|c| c == '"');
    let Some(after) = closed.strip_prefix('"') else {
        report.error(quoted, Problem::MissingClosingQuote);
        return None;
    };
    let after = after.trim();
    let (stray, _) = after.split_before(|c| c == '#');
    if stray.is_empty() {
        return Some(value);
    }
    if stray.text().contains('"') {
        report.error(closed.first_char(), Problem::QuoteInValue);
    } else {
        report.error(stray.trim(), Problem::TextAfterValue);
    }
    None
}
