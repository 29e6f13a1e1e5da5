//! portsentry.conf(5), from the table of keys.

use portsentry_core::config::{DefaultValue, Key, Section};

use super::page::{Page, Term};

pub(super) fn page() -> String {
    let mut page = Page::new("portsentry.conf", "5", "configuration of portsentry");
    page.heading("DESCRIPTION");
    for paragraph in DESCRIPTION {
        page.paragraph(paragraph);
    }
    page.heading("KEYS");
    for section in Section::ALL {
        page.subheading(&section.to_string());
        section.keys().for_each(|key| describe(&mut page, key));
    }
    page.heading("PLACEHOLDERS").paragraph(PLACEHOLDERS);
    for (placeholder, text) in [
        ("$TARGET$", "The address of the host."),
        ("$PORT$", "The port that it probed."),
        ("$MODE$", "`stealth` or `connect`."),
    ] {
        page.entry(Term::default().bold(placeholder), text);
    }
    page.heading("THE IGNORE FILE").paragraph(IGNORE_FILE);
    page.heading("EXAMPLE").verbatim(EXAMPLE);
    page.heading("FILES");
    let path = Term::default().italic("/etc/portsentry/portsentry.conf");
    page.entry(path, "The configuration file, unless -c names another.");
    page.see_also(&[("portsentry", "8"), ("nft", "8"), ("hosts_access", "5")]);
    page.source()
}

const DESCRIPTION: &[&str] = &[
    "The file consists of lines of the form `KEY = \"value\"`. Blanks around the key and the \
     equals sign, empty lines and comments are allowed. A comment starts with # and may follow \
     a value. A value cannot contain a double quote. Names of keys must be exact. If a key is \
     set twice, the later line counts, with a warning.",
    "A duration is a number with the unit `s`, `min`, `h` or `d`. Without a unit it is a number \
     of seconds: `30`, `30s` and `5min` are valid.",
    "Relative paths are relative to the directory in which `portsentry` was started. An empty \
     path, command or hosts.deny line is the same as none.",
    "`portsentry check` shows all errors of the file, each with its place. `portsentry` does not \
     start while the file has an error. SIGHUP makes a running `portsentry` reload the file. The \
     new value of a key applies immediately, unless its description states otherwise.",
];

fn describe(page: &mut Page, key: &Key) {
    let kind = key.kind.to_string();
    let term = Term::default().bold(key.name).roman(" = \"").italic(&kind).roman("\"");
    page.entry(term, &format!("{}.", key.summary));
    if !key.help.is_empty() {
        page.more(key.help);
    }
    if let Some(note) = key.reload.note() {
        page.more(note);
    }
    page.more(&match key.default {
        DefaultValue::Value(value) => format!("Default: `{value}`"),
        DefaultValue::Unset { meaning, .. } => format!("Default: unset; {meaning}."),
        _ => return,
    });
}

const PLACEHOLDERS: &str = "These are replaced in KILL_ROUTE, KILL_HOSTS_DENY and KILL_RUN_CMD. \
     /bin/sh runs the commands, so that pipes and redirections work. A command can also use \
     the variables PORTSENTRY_TARGET, PORTSENTRY_PORT, PORTSENTRY_MODE and PORTSENTRY_PROTOCOL.";

const IGNORE_FILE: &str = "One IPv4 or IPv6 address or network per line, with a prefix length or, \
     for IPv4, a dotted mask: 192.0.2.1, 198.51.100.0/24, 203.0.113.0/255.255.255.0, \
     2001:db8::/32. Comments start with # and may follow an address. Host names are errors. A \
     probe from an address in the file is logged with ignored: [true] and has no other effect.";

const EXAMPLE: &str = "\
TCP_PORTS    = \"1,7,9,11,15,23,79,111,135,139,445,1433,3389,5900\"
UDP_PORTS    = \"7,9,69,161\"
IGNORE_FILE  = \"/etc/portsentry/portsentry.ignore\"
HISTORY_FILE = \"/var/log/portsentry/portsentry.history\"
BLOCKED_FILE = \"/run/portsentry/portsentry.blocked\"
BLOCK_TCP    = \"1\"
SCAN_TRIGGER = \"3\"
KILL_ROUTE   = \"ip route replace blackhole $TARGET$\"";
