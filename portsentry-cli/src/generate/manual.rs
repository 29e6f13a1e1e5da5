//! portsentry(8). What each option means comes from the table of options; the
//! sections around it stand here.

use clap::Command;
use portsentry_config::reference::{Page, option_term};
use roff::{bold, italic, roman};

use super::{command_line, option_default, option_help, option_values, value_name};

pub(super) fn page() -> String {
    let command = command_line();
    let mut page = Page::new("portsentry", "8", "notice port scans, and respond to them");
    synopsis(&mut page);
    description(&mut page);
    page.heading("OPTIONS");
    options(&mut page, &command);
    commands(&mut page, &command);
    running(&mut page);
    page.heading("EXAMPLES");
    page.verbatim(EXAMPLES);
    files(&mut page);
    page.heading("BUGS").paragraph(BUGS);
    page.see_also(&[("portsentry.conf", "5"), ("nft", "8"), ("fail2ban", "1"), ("pcap", "3pcap")]);
    page.source()
}

fn synopsis(page: &mut Page) {
    page.heading("SYNOPSIS");
    page.paragraph("`portsentry` [options]");
    for (command, operands) in
        [("check", "[options]"), ("replay", "[options] file ..."), ("generate", "what")]
    {
        page.paragraph(&format!("`portsentry {command}` {operands}"));
    }
}

fn description(page: &mut Page) {
    page.heading("DESCRIPTION");
    for paragraph in DESCRIPTION {
        page.paragraph(paragraph);
    }
}

const DESCRIPTION: &[&str] = &[
    "`portsentry` watches TCP and UDP ports that this host does not serve. Nobody has business \
     there, so whoever sends a packet to one of them is looking for services. Each such probe is \
     logged, and a host that sends enough of them can be answered: by a command such as one that \
     adds it to a firewall, by a line in hosts.deny, or by a program of your own.",
    "It reads packets as they arrive and binds nothing, so that a watched port looks as closed \
     as any other. Half-open, FIN, NULL and XMAS scans are seen as well as connections. What is \
     watched, and what a probe leads to, stands in the configuration, see portsentry.conf(5). \
     Without one, some ports that no host serves any more are watched, and probes are only \
     logged.",
    "The source of a packet can be forged. Before you turn responses on, read about NEVER_BLOCK, \
     BLOCK_RATE and BLOCK_UDP in portsentry.conf(5).",
];

fn options(page: &mut Page, command: &Command) {
    for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
        let short = option.get_short().map(|short| format!("-{short}"));
        let long = option.get_long().map(|long| format!("--{long}"));
        let names: Vec<String> = short.into_iter().chain(long).collect();
        let value = value_name(option);
        let (first, rest) = option_help(option);
        let term = match &value {
            Some(value) if names.is_empty() => vec![italic(value)],
            value => option_term(&names, value.as_deref()),
        };
        page.entry(term, &sentence(&first));
        for paragraph in rest {
            page.more(&sentence(&paragraph));
        }
        for (value, help) in option_values(option) {
            page.more(&format!("`{value}`: {}", sentence(&lower_first(&help))));
        }
        if let Some(default) = option_default(option) {
            page.more(&format!("Default: `{default}`"));
        }
    }
}

fn commands(page: &mut Page, command: &Command) {
    page.heading("COMMANDS");
    for subcommand in command.get_subcommands() {
        let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
        page.subheading(&format!("portsentry {}", subcommand.get_name()));
        page.paragraph(&sentence(&about));
        options(page, subcommand);
    }
}

/// What someone who runs it has to know.
fn running(page: &mut Page) {
    page.heading("PRIVILEGES").paragraph(PRIVILEGES);
    page.heading("SIGNALS");
    for (signal, text) in SIGNALS {
        page.entry(vec![bold(*signal)], text);
    }
    page.heading("LOG");
    page.paragraph("Each probe is one line:").verbatim(LINE);
    for (field, text) in FIELDS {
        page.entry(vec![roman(*field)], text);
    }
    page.paragraph(
        "Lines that begin `attackalert:` tell what a response did. In the history file a local \
         time stamp stands before the line.",
    );
    page.heading("ENVIRONMENT");
    for (variable, text) in ENVIRONMENT {
        page.entry(vec![bold(*variable)], text);
    }
    page.heading("EXIT STATUS");
    for (status, text) in EXIT_STATUS {
        page.entry(vec![bold(*status)], text);
    }
}

const PRIVILEGES: &str = "To read packets it needs the capability CAP_NET_RAW, not root. \
     Responses run with the privileges that portsentry was started with: nft(8) and ip(8) need \
     CAP_NET_ADMIN. They are carried out by a second process, portsentry-resp, which also opens \
     files and ends with the first one; that one reads the packets, and gives up all other \
     rights before (RUN_AS and SANDBOX in portsentry.conf(5)). The commands `check`, `replay` \
     and `generate` need no privilege.";

const SIGNALS: &[(&str, &str)] = &[
    (
        "SIGHUP",
        "Read configuration and ignore file again, and open the history file again. A \
         configuration with errors, or with another RUN_AS or SANDBOX, is refused, and the one in \
         force stays.",
    ),
    ("SIGINT, SIGTERM", "End, after all that was noticed has been written."),
];

const LINE: &str = "\
Scan from: [192.0.2.7] (192.0.2.7) protocol: [TCP] port: [23]
type: [TCP SYN/Normal scan] IP opts: [not set] ignored: [false]
triggered: [true] noblock: [true] blocked: [false]";

const FIELDS: &[(&str, &str)] = &[
    ("ignored", "`true` if the host stands in the ignore file."),
    ("triggered", "`true` once the host has sent SCAN_TRIGGER probes."),
    (
        "noblock",
        "`true` if the probe is only logged: blocking is off, or the host is never blocked.",
    ),
    ("blocked", "`true` if the host is blocked, by this probe or an earlier one."),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("TZ", "The time zone of time stamps in the history; otherwise that of the system."),
    ("NO_COLOR", "If set, messages on a terminal have no colours."),
    (
        "PORTSENTRY_LOG",
        "Which messages about the inside of the program are logged, by module, such as \
         `portsentry_capture=debug`.",
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC, JOURNAL_STREAM",
        "Set by systemd: it is told when portsentry is ready, reloads or ends, and that it is \
         alive.",
    ),
];

const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "It ended in good order, or `check` found no error."),
    ("1", "It failed; the message says what to do."),
    ("2", "The command line is wrong."),
    ("77", "A privilege is missing."),
    ("78", "The configuration is wrong; nothing was started."),
];

const EXAMPLES: &str = "\
portsentry check                       # is the configuration right?
portsentry -i eth0 -c ./test.conf      # watch one interface
portsentry -D --pidfile /run/portsentry/portsentry.pid
portsentry replay --host 192.0.2.1 scan.pcap
kill -HUP \"$(cat /run/portsentry/portsentry.pid)\"";

fn files(page: &mut Page) {
    page.heading("FILES");
    for (path, text) in [
        ("/etc/portsentry/portsentry.conf", "Configuration."),
        ("/etc/portsentry/portsentry.ignore", "Hosts that are let be, as shipped."),
        ("/var/log/portsentry/portsentry.history", "All probes, as shipped."),
        (
            "/run/portsentry/portsentry.blocked",
            "Hosts that were blocked, as shipped. A directory that only portsentry can write to: \
             not /tmp, where others could put a file of their own.",
        ),
    ] {
        page.entry(vec![italic(path)], text);
    }
}

const BUGS: &str = "A forged source looks like a real one: blocking on the word of a UDP packet, \
     or of a single TCP packet, can be turned against others.";

/// With a full stop, as whole sentences have.
fn sentence(text: &str) -> String {
    if text.is_empty() || text.ends_with(['.', ')', ']']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
