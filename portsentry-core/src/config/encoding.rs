//! Text or not: what is checked before a line is read.

use super::Problem;
use super::diagnostic::Report;
use super::span::Line;

/// Whether the file begins with the byte-order mark of UTF-16. Nothing of such a
/// file can be read, and one error about it is enough.
pub(super) fn is_utf16(file: &[u8]) -> bool {
    file.starts_with(b"\xff\xfe") || file.starts_with(b"\xfe\xff")
}

/// Whether a line can be read. Bytes that are not UTF-8 are an error, but for
/// those in a comment: a comment in Latin-1 is worth a warning, no more.
pub(super) fn is_text(line: &Line<'_>, report: &mut Report) -> bool {
    let Some((before, place)) = line.invalid() else {
        return true;
    };
    let is_comment = is_comment_after(before.text());
    if is_comment {
        report.warning(place, Problem::NotUtf8);
    } else {
        report.error(place, Problem::NotUtf8);
    }
    is_comment
}

/// Whether what follows `text` on its line is a comment.
fn is_comment_after(text: &str) -> bool {
    let mut is_quoted = false;
    text.chars().any(|c| {
        is_quoted ^= c == '"';
        c == '#' && !is_quoted
    })
}
