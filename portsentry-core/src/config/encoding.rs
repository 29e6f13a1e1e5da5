//! Checks of the encoding, before a line is read.

use super::Problem;
use super::diagnostic::Report;
use super::span::Line;

/// Returns whether the file starts with the byte-order mark of UTF-16. Such a file gives one
/// error; its lines are not read.
pub(super) fn is_utf16(file: &[u8]) -> bool {
    file.starts_with(b"\xff\xfe") || file.starts_with(b"\xfe\xff")
}

/// Returns whether a line can be read. Bytes that are not UTF-8 are an error, or a warning in
/// a comment, which may be in Latin-1.
pub(super) fn is_text(line: &Line<'_>, report: &mut Report) -> bool {
    let Some((before, fragment)) = line.invalid() else {
        return true;
    };
    let is_comment = is_comment_after(before.text());
    if is_comment {
        report.warning(fragment, Problem::NotUtf8);
    } else {
        report.error(fragment, Problem::NotUtf8);
    }
    is_comment
}

/// Returns whether the rest of the line after `text` is a comment.
fn is_comment_after(text: &str) -> bool {
    let mut is_quoted = false;
    text.chars().any(|c| {
        is_quoted ^= c == '"';
        c == '#' && !is_quoted
    })
}
