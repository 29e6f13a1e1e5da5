//! Checks any text as the template of a command.

use std::net::IpAddr;

use portsentry_core::Mode;
use portsentry_core::config::{self, Template};

/// Expands `text` and compares the result with a replacement of each placeholder in turn.
/// A text that is valid in a configuration must be the same after parsing.
///
/// # Panics
///
/// Panics if the results differ, or if the probe adds characters to the command that are
/// not a part of an address or a port.
pub fn check_template(text: &str, target: IpAddr, port: u16, stealth: bool) {
    let (mode, word) =
        if stealth { (Mode::Stealth, "stealth") } else { (Mode::Connect, "connect") };
    let template = Template::parse(text);
    let expanded = template.expand(target, port, mode);

    let address = target.to_string();
    assert!(address.bytes().all(|byte| byte.is_ascii_hexdigit() || b".:".contains(&byte)));
    let in_turn = text
        .replace("$TARGET$", &address)
        .replace("$PORT$", &port.to_string())
        .replace("$MODE$", word);
    assert_eq!(expanded, in_turn);
    assert_eq!(template.mentions_target(), text.contains("$TARGET$"));

    let file = format!("TCP_PORTS = \"1\"\nKILL_RUN_CMD = \"{text}\"\n");
    let parsed = config::parse(file.as_bytes());
    // A quote in the text would end the value.
    if parsed.is_valid() && !text.contains('"') && !text.trim().is_empty() {
        let read = parsed.value.kill_run_cmd.as_ref().map(Template::as_str);
        assert_eq!(read, Some(text));
    }
}
