//! portsentry(8), from the table of options; the other sections are in this file.

use clap::Command;
use portsentry_config::reference::{Page, Term};

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
    "`portsentry` watches TCP and UDP ports that this host does not serve. A host that sends a \
     packet to one of them is looking for services. `portsentry` logs each such probe. After a \
     number of probes from one host it can respond: run a command that adds the host to a \
     firewall, write a line to hosts.deny, or run a program of yours.",
    "`portsentry` reads packets as they arrive and binds no port, so that a watched port looks \
     closed. It detects half-open, FIN, NULL and XMAS scans as well as connections. The \
     configuration defines the watched ports and the responses, see portsentry.conf(5). Without \
     a configuration file, `portsentry` watches some ports of services that are rarely used \
     today, and only logs.",
    "The source address of a packet can be forged. Before you enable responses, read about \
     NEVER_BLOCK, BLOCK_RATE and BLOCK_UDP in portsentry.conf(5).",
];

fn options(page: &mut Page, command: &Command) {
    for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
        let short = option.get_short().map(|short| format!("-{short}"));
        let long = option.get_long().map(|long| format!("--{long}"));
        let names: Vec<String> = short.into_iter().chain(long).collect();
        let value = value_name(option);
        let (first, rest) = option_help(option);
        page.entry(term(&names, value.as_deref()), &sentence(&first));
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

/// An option and its value: `-c, --configfile FILE`, or `FILE` without an option.
fn term(names: &[String], value: Option<&str>) -> Term {
    let mut term = Term::default();
    for (index, name) in names.iter().enumerate() {
        term = if index > 0 { term.roman(", ") } else { term }.bold(name);
    }
    match value {
        Some(value) if names.is_empty() => term.italic(value),
        Some(value) => term.roman(" ").italic(value),
        None => term,
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

/// Facts for administrators.
fn running(page: &mut Page) {
    page.heading("PRIVILEGES").paragraph(PRIVILEGES);
    page.heading("SIGNALS");
    for (signal, text) in SIGNALS {
        page.entry(Term::default().bold(signal), text);
    }
    page.heading("LOG");
    page.paragraph("Each probe is one line:").verbatim(LINE);
    for (field, text) in FIELDS {
        page.entry(Term::default().roman(field), text);
    }
    page.paragraph(
        "Lines that start with `attackalert:` show the result of a response. In the history file, \
         a local timestamp precedes the line.",
    );
    page.heading("ENVIRONMENT");
    for (variable, text) in ENVIRONMENT {
        page.entry(Term::default().bold(variable), text);
    }
    page.heading("EXIT STATUS");
    for (status, text) in EXIT_STATUS {
        page.entry(Term::default().bold(status), text);
    }
}

const PRIVILEGES: &str = "Reading packets needs the capability CAP_NET_RAW, not root. \
     Responses run with the privileges of the user that started portsentry: nft(8) and ip(8) \
     need CAP_NET_ADMIN. A second process, portsentry-resp, carries them out and opens files; it \
     exits with the first process. With CAP_NET_ADMIN it also reads which ports this host \
     forwards to containers or other hosts. The first process drops all other rights before it reads \
     packets (RUN_AS and SANDBOX in portsentry.conf(5)). The commands `check`, `replay` and \
     `generate` need no privilege, but `check` lists forwarded ports only with CAP_NET_ADMIN.";

const SIGNALS: &[(&str, &str)] = &[
    (
        "SIGHUP",
        "Reload the configuration and the ignore file, and reopen the history file. A \
         configuration with errors, or with another value of RUN_AS or SANDBOX, is \
         rejected, and the previous one remains in effect.",
    ),
    ("SIGINT, SIGTERM", "Exit, after all waiting lines are written."),
];

const LINE: &str = "\
Scan from: [192.0.2.7] (192.0.2.7) protocol: [TCP] port: [23]
type: [TCP SYN/Normal scan] IP opts: [not set] ignored: [false]
triggered: [true] noblock: [true] blocked: [false]";

const FIELDS: &[(&str, &str)] = &[
    ("ignored", "`true` if the host is in the ignore file."),
    ("triggered", "`true` once the host has sent SCAN_TRIGGER probes."),
    (
        "noblock",
        "`true` if the probe is only logged: blocking is off, or the host is never blocked.",
    ),
    ("blocked", "`true` if the host is blocked, by this probe or an earlier one."),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("TZ", "Time zone of timestamps in the history. The default is that of the system."),
    ("NO_COLOR", "If set, messages on a terminal have no colours."),
    (
        "PORTSENTRY_LOG",
        "The internal messages to log, by module, such as `portsentry_capture=debug`.",
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC, JOURNAL_STREAM",
        "Set by systemd. `portsentry` notifies it of start, reload and exit, and serves its \
         watchdog.",
    ),
];

const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "Success; for `check`, no error."),
    ("1", "Failure; the message contains the remedy."),
    ("2", "The command line is not valid."),
    ("77", "A privilege is missing."),
    ("78", "The configuration is not valid; nothing was started."),
];

const EXAMPLES: &str = "\
portsentry check                       # check the configuration
portsentry -i eth0 -c ./test.conf      # watch one interface
portsentry -D --pidfile /run/portsentry/portsentry.pid
portsentry replay --host 192.0.2.1 scan.pcap
kill -HUP \"$(cat /run/portsentry/portsentry.pid)\"";

fn files(page: &mut Page) {
    page.heading("FILES");
    for (path, text) in [
        ("/etc/portsentry/portsentry.conf", "Configuration."),
        (
            "/etc/portsentry/portsentry.ignore",
            "Hosts and networks to ignore, in the shipped configuration.",
        ),
        ("/var/log/portsentry/portsentry.history", "All probes, in the shipped configuration."),
        (
            "/run/portsentry/portsentry.blocked",
            "Blocked hosts, in the shipped configuration. Only portsentry can write to this \
             directory. In /tmp, other users could create the file.",
        ),
    ] {
        page.entry(Term::default().italic(path), text);
    }
}

const BUGS: &str = "A forged source address looks like a real one. An attacker can abuse \
     blocking after a UDP packet, or after a single TCP packet, to block other hosts.";

/// The text as a sentence, with a full stop.
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
