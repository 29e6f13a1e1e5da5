//! Commands and lines with placeholders for the facts of a probe.

use alloc::string::String;
use core::fmt::{self, Write as _};

use crate::Mode;

/// A text with any number of placeholders: `$TARGET$`, `$PORT$` and `$MODE$`.
///
/// Every text is a template. A dollar sign that starts none of the three is kept, so
/// that shell variables work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
}

impl Template {
    /// Creates a template from the text in the configuration.
    pub fn parse(text: &str) -> Self {
        Self { text: text.into() }
    }

    /// Returns the text with all placeholders replaced: by the address of the host, the port
    /// that it probed, and `stealth` or `connect`.
    ///
    /// The output of `target` is neither scanned for placeholders nor quoted. Pass an
    /// address, never a name that a remote party chose.
    pub fn expand(&self, target: impl fmt::Display, port: u16, mode: Mode) -> String {
        let mut expanded = String::with_capacity(self.text.len() + 32);
        for piece in pieces(&self.text) {
            // Writing to a string fails only if `target` does.
            let _ = match piece {
                Piece::Text(text) => expanded.write_str(text),
                Piece::Target => write!(expanded, "{target}"),
                Piece::Port => write!(expanded, "{port}"),
                Piece::Mode => expanded.write_str(match mode {
                    Mode::Stealth => "stealth",
                    Mode::Connect => "connect",
                }),
            };
        }
        expanded
    }

    /// Returns whether it contains `$TARGET$`.
    pub fn mentions_target(&self) -> bool {
        pieces(&self.text).any(|piece| matches!(piece, Piece::Target))
    }

    /// Returns the text that was passed to [`parse`](Self::parse).
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Offset and text of each apparent placeholder that is none: capitals between two
    /// dollar signs.
    pub(super) fn unknown_placeholders(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut offset = 0;
        pieces(&self.text).filter_map(move |piece| {
            let start = offset;
            offset += piece.source().len();
            let Piece::Text(text) = piece else { return None };
            let name = text.strip_prefix('$')?;
            let closed = matches!(
                Piece::first_of(self.text.get(offset..)?),
                Some(Piece::Text(rest)) if rest.starts_with('$')
            );
            let is_name = name.starts_with(|c: char| c.is_ascii_uppercase())
                && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            (closed && is_name).then_some((start, self.text.get(start..=offset)?))
        })
    }
}

#[derive(Clone, Copy)]
enum Piece<'a> {
    Text(&'a str),
    Target,
    Port,
    Mode,
}

/// Two placeholders may share a dollar sign, as in `$PORT$TARGET$`. The one that comes
/// first in this list gets it; the rest of the other is text.
const PLACEHOLDERS: [Piece<'static>; 3] = [Piece::Target, Piece::Port, Piece::Mode];

/// Returns the pieces of `text`, in order; joined, they are `text` again.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    core::iter::from_fn(move || {
        let piece = Piece::first_of(rest)?;
        rest = rest.get(piece.source().len()..)?;
        Some(piece)
    })
}

impl<'a> Piece<'a> {
    /// Returns the first piece of `text`: a placeholder, or the text up to the next dollar
    /// sign.
    fn first_of(text: &'a str) -> Option<Self> {
        first_placeholder(text, &PLACEHOLDERS).or_else(|| {
            let second = text.char_indices().skip(1).find(|(_, c)| *c == '$');
            let end = second.map_or(text.len(), |(offset, _)| offset);
            text.get(..end).filter(|piece| !piece.is_empty()).map(Self::Text)
        })
    }

    /// Returns the text of the piece.
    fn source(&self) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Target => "$TARGET$",
            Self::Port => "$PORT$",
            Self::Mode => "$MODE$",
        }
    }
}

/// Returns the first placeholder of `among` that `text` starts with, unless its last dollar
/// sign belongs to one that comes before it in the list.
fn first_placeholder(text: &str, among: &[Piece<'static>]) -> Option<Piece<'static>> {
    let (last, before) = among.split_last()?;
    let begins = text.starts_with(last.source())
        && text
            .get(last.source().len() - 1..)
            .is_none_or(|shared| first_placeholder(shared, before).is_none());
    if begins { Some(*last) } else { first_placeholder(text, before) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn expansion() {
        let check = |text: &str, expected: &str| {
            let address = core::net::Ipv4Addr::new(192, 0, 2, 1);
            assert_eq!(Template::parse(text).expand(address, 23, Mode::Stealth), expected);
        };
        check("", "");
        check("no placeholder", "no placeholder");
        check("$TARGET$", "192.0.2.1");
        check("$TARGET$$PORT$$MODE$", "192.0.2.123stealth");
        check(
            "ip route add blackhole $TARGET$/32 # $PORT$",
            "ip route add blackhole 192.0.2.1/32 # 23",
        );
        check("$PORT$TARGET$", "$PORT192.0.2.1");
        check("$MODE$PORT$TARGET$", "stealthPORT192.0.2.1");
        check("$TARGET$TARGET$", "192.0.2.1TARGET$");
        check("$HOME$TARGET$", "$HOME192.0.2.1");
        check("$$TARGET$$", "$192.0.2.1$");
        check("$TARGET", "$TARGET");
        check("$target$ $TARGET $PORT", "$target$ $TARGET $PORT");
        check("é$PORT$é", "é23é");
        let connect = Template::parse("$MODE$").expand("", 0, Mode::Connect);
        assert_eq!(connect, "connect");
    }

    #[test]
    fn apparent_placeholders() {
        let check = |text: &str, expected: &[(usize, &str)]| {
            let template = Template::parse(text);
            assert_eq!(template.unknown_placeholders().collect::<Vec<_>>(), expected, "{text}");
        };
        check("$TARGET$ $PORT$ $MODE$", &[]);
        check("$HOME/bin $1 $? $$ $", &[]);
        check("$HOME$TARGET$", &[]);
        check("cmd $IP$ $PORTS$", &[(4, "$IP$"), (9, "$PORTS$")]);
        check("$ip$ $A B$", &[]);
    }

    proptest! {
        #[test]
        fn expands_like_replacing_each_in_turn(
            pieces in prop::collection::vec(
                prop_oneof![
                    Just("$TARGET$"), Just("$PORT$"), Just("$MODE$"), Just("$"), Just("TARGET$"),
                    Just("PORT$"), Just("MODE$"), Just(" é"),
                ], 0..12),
        ) {
            let text = pieces.concat();
            let expected = text.replace("$TARGET$", "::1").replace("$PORT$", "7").replace("$MODE$", "stealth");
            let template = Template::parse(&text);
            prop_assert_eq!(template.expand("::1", 7, Mode::Stealth), expected);
            prop_assert_eq!(template.mentions_target(), text.contains("$TARGET$"));
            prop_assert_eq!(template.as_str(), text);
        }
    }
}
