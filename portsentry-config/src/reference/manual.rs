//! portsentry.conf(5), from the table of keys.

use portsentry_core::config::{DefaultValue, KEYS, Key};
use roff::{bold, italic, roman};

use super::page::Page;

pub(super) fn page() -> String {
    let mut page = Page::new("portsentry.conf", "5", "configuration of portsentry");
    page.heading("DESCRIPTION");
    for paragraph in DESCRIPTION {
        page.paragraph(paragraph);
    }
    page.heading("KEYS");
    for key in KEYS {
        describe(&mut page, key);
    }
    page.heading("PLACEHOLDERS").paragraph(PLACEHOLDERS);
    for (placeholder, text) in [
        ("$TARGET$", "The address of the host."),
        ("$PORT$", "The port it probed."),
        ("$MODE$", "`stealth` or `connect`."),
    ] {
        page.entry(vec![bold(placeholder)], text);
    }
    page.heading("THE IGNORE FILE").paragraph(IGNORE_FILE);
    page.heading("EXAMPLE").verbatim(EXAMPLE);
    page.heading("FILES");
    page.entry(vec![italic("/etc/portsentry/portsentry.conf")], "Read unless -c names another.");
    page.see_also(&[("portsentry", "8"), ("nft", "8"), ("hosts_access", "5")]);
    page.source()
}

const DESCRIPTION: &[&str] = &[
    "The file holds lines of `KEY = \"value\"`. Blanks around the key and the equals sign, empty \
     lines, and comments, which begin with # and may follow a value, are fine. A value cannot \
     hold a double quote. Keys are exact; a key given twice counts the second time, with a \
     warning.",
    "Relative paths are relative to the directory that `portsentry` was started in. An empty \
     path, command or hosts.deny line is the same as none.",
    "`portsentry check` shows every error of the file in one run, each with its place; \
     `portsentry` starts nothing while there is one. After a change, SIGHUP makes a running \
     `portsentry` read the file again.",
];

fn describe(page: &mut Page, key: &Key) {
    let term = vec![bold(key.name), roman(" = \""), italic(key.kind.to_string()), roman("\"")];
    page.entry(term, &format!("{}.", key.summary));
    if !key.help.is_empty() {
        page.more(key.help);
    }
    page.more(&match key.default {
        DefaultValue::Value(value) => format!("Default: `{value}`"),
        DefaultValue::Unset { meaning, .. } => format!("Default: unset; {meaning}."),
        _ => return,
    });
}

const PLACEHOLDERS: &str = "These are replaced wherever they stand in KILL_ROUTE, \
     KILL_HOSTS_DENY and KILL_RUN_CMD. Commands are run by /bin/sh, so pipes and redirections \
     work in them; they find the same in the variables PORTSENTRY_TARGET, PORTSENTRY_PORT, \
     PORTSENTRY_MODE and PORTSENTRY_PROTOCOL.";

const IGNORE_FILE: &str = "One address or network a line, IPv4 or IPv6, with a prefix length or, \
     for IPv4, a dotted mask: 192.0.2.1, 198.51.100.0/24, 203.0.113.0/255.255.255.0, \
     2001:db8::/32. Comments begin with # and may follow an address. Host names are errors. A \
     probe by a host in it is logged with ignored: [true], and nothing else comes of it.";

const EXAMPLE: &str = "\
TCP_PORTS    = \"1,7,9,11,15,23,79,111,135,139,445,1433,3389,5900\"
UDP_PORTS    = \"7,9,69,161\"
IGNORE_FILE  = \"/etc/portsentry/portsentry.ignore\"
HISTORY_FILE = \"/var/log/portsentry/portsentry.history\"
BLOCKED_FILE = \"/run/portsentry/portsentry.blocked\"
BLOCK_TCP    = \"1\"
SCAN_TRIGGER = \"3\"
KILL_ROUTE   = \"ip route replace blackhole $TARGET$\"";
