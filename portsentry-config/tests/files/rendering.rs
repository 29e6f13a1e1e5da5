//! The form in which findings are shown.

use portsentry_config::Style;
use proptest::prelude::*;

use crate::Place;

/// Returns the text that is shown for a refused file, without its directory.
fn shown(text: &[u8], style: Style) -> String {
    let place = Place::new();
    place.file("portsentry.conf", text);
    let directory = format!("{}/", place.path().display());
    place.refused("portsentry.conf").render(style).replace(&directory, "")
}

#[test]
fn plain() {
    let text =
        "TCP_PORT = \"1,7\"\nUDP_PORTS=\"7,70000\" # and more\nUDP_PORTS\t= \"\u{65e5},x\"\n";
    let expected = "\
portsentry.conf:1:1: error: unknown key `TCP_PORT`
    TCP_PORT = \"1,7\"
    ^~~~~~~~
    help: did you mean `TCP_PORTS`?
portsentry.conf:2:14: error: `70000` is above 65535, the highest port
    UDP_PORTS=\"7,70000\" # and more
                 ^~~~~
portsentry.conf:3:1: warning: UDP_PORTS is set again: this line overrides line 2
    UDP_PORTS    = \"\u{65e5},x\"
    ^~~~~~~~~
portsentry.conf:3:14: error: `\u{65e5}` is not a port; write ports and ranges, separated by commas: `1,7,10-20`
    UDP_PORTS    = \"\u{65e5},x\"
                    ^~
portsentry.conf:3:16: error: `x` is not a port; write ports and ranges, separated by commas: `1,7,10-20`
    UDP_PORTS    = \"\u{65e5},x\"
                       ^
";
    assert_eq!(shown(text.as_bytes(), Style::Plain), expected);
}

#[test]
fn coloured() {
    let expected = "\
\x1b[1mportsentry.conf:1:1: \x1b[1;31merror:\x1b[0m unknown key `TCP_PORT`
    TCP_PORT=\"1\"
    \x1b[1;31m^~~~~~~~\x1b[0m
    \x1b[1mhelp:\x1b[0m did you mean `TCP_PORTS`?
\x1b[1mportsentry.conf:2:11: \x1b[1;31merror:\x1b[0m the value must be in double quotes: `KEY = \"value\"`
    UDP_PORTS=1
    \x1b[1;31m          ^\x1b[0m
";
    let drawn = shown(b"TCP_PORT=\"1\"\nUDP_PORTS=1", Style::Coloured);
    assert_eq!(drawn, expected.replace("\x1b[1;31m          ^", "          \x1b[1;31m^"));
}

#[test]
fn findings_above_the_limit_are_counted() {
    let text = "x\n".repeat(1_200);
    let drawn = shown(text.as_bytes(), Style::Plain);
    // The 1201st error is that no port is set.
    assert!(
        drawn.ends_with(
            "portsentry.conf: error: 201 more errors and 0 more warnings are not shown\n"
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Hostile files: the text contains only printable characters and line ends.
    #[test]
    fn nothing_harmful_reaches_the_terminal(
        text in prop::collection::vec(
            prop_oneof![
                any::<u8>().prop_map(|byte| vec![byte]),
                Just(b"\x1b]0;title\x07".to_vec()),
                Just("\u{202e}\u{2066}\u{200b}\u{85}".as_bytes().to_vec()),
                Just(b"TCP_PORTS=\"".to_vec()),
                Just(b"\"\r\n".to_vec()),
            ], 1..60),
    ) {
        let text = [b"=".to_vec(), text.concat()].concat();
        let drawn = shown(&text, Style::Plain);
        let harmful = |c: char| {
            (c.is_control() && c != '\n') || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        prop_assert!(!drawn.contains(harmful), "{:?}", drawn);
        // A finding is a head and a line with its mark under it.
        let mut lines = drawn.lines();
        while let Some(head) = lines.next() {
            prop_assert!(head.starts_with("portsentry.conf"), "{}", head);
            if head.contains("more errors") { continue }
            prop_assert!(lines.next().is_some_and(|line| line.starts_with("    ")));
            prop_assert!(lines.next().is_some_and(|mark| mark.trim_start().trim_end_matches('~') == "^"));
            let mut ahead = lines.clone();
            if ahead.next().is_some_and(|line| line.starts_with("    help: ")) { lines = ahead }
        }
    }
}
