//! Quotations from a file, for messages.

use alloc::string::String;
use core::fmt::{self, Write as _};

/// A quotation from a file, at most 64 characters long, so that a finding stays small.
///
/// `Display` puts it between backticks. It escapes characters that could move the
/// cursor, change the writing direction or otherwise mislead a reader.
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt {
    text: String,
    is_cut: bool,
}

const LENGTH: usize = 64;

impl Excerpt {
    pub(super) fn of(text: &str) -> Self {
        let end = text.char_indices().nth(LENGTH).map(|(offset, _)| offset);
        let kept = end.and_then(|end| text.get(..end));
        Self { text: kept.unwrap_or(text).into(), is_cut: kept.is_some() }
    }

    /// Returns the text as in the file, at most 64 characters.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('`')?;
        for c in self.text.chars() {
            match c {
                '"' | '\'' | '\\' => f.write_char(c)?,
                _ => write!(f, "{}", c.escape_debug())?,
            }
        }
        f.write_str(if self.is_cut { "...`" } else { "`" })
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn quotations() {
        let check =
            |text: &str, expected: &str| assert_eq!(Excerpt::of(text).to_string(), expected);
        check("http", "`http`");
        check("it's \"C:\\x\" é日", "`it's \"C:\\x\" é日`");
        check("\x1b[2Jx\t", "`\\u{1b}[2Jx\\t`");
        check("a\u{202e}b", "`a\\u{202e}b`");
        let long = "é".repeat(64);
        check(&long, &std::format!("`{long}`"));
        check(&"é".repeat(65), &std::format!("`{long}...`"));
    }
}
