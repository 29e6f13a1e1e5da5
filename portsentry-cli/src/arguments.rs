//! What was typed on the command line.
//!
//! One table, read by clap, gives parsing, help and errors. What the words
//! mean for the sentry is decided where they are used.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::report::Syslog;

/// What `-V` prints behind the name.
pub(crate) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (Rust, BSD-2-Clause, Linux)");

/// Detect and respond to port scans against this host in real time.
#[derive(Debug, Parser)]
#[command(
    name = "portsentry",
    bin_name = "portsentry",
    disable_version_flag = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = EXAMPLES
)]
pub(crate) struct Arguments {
    /// Without a command the sentry runs, with these options.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Options of the sentry.
    #[command(flatten)]
    pub(crate) watch: WatchOptions,

    /// Print the version and exit.
    #[arg(short = 'V', long)]
    pub(crate) version: bool,
}

const EXAMPLES: &str = "\
Examples:
  portsentry                              watch with /etc/portsentry/portsentry.conf
  portsentry -i eth0 -c ./test.conf       watch one interface with another configuration
  portsentry -x 'veth*' -x docker0        watch all interfaces but those of containers
  portsentry check -c ./test.conf         say what would be watched, and what is wrong
  portsentry replay scan.pcap             show what would have been detected

Exit status: 0 fine, 1 failed, 2 wrong usage, 77 a privilege is missing, 78 the configuration is wrong.";

/// Options of the running sentry.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct WatchOptions {
    /// Watch without being seen: read packets, bind nothing (default)
    #[arg(long)]
    pub(crate) stealth: bool,

    /// How to read packets
    #[arg(short, long, value_name = "METHOD", default_value_t, value_enum)]
    pub(crate) method: Method,

    /// Interface to watch: a name (repeat for more), any, ALL, or ALL_NLO, which leaves out
    /// loopback [default: ALL_NLO; with the method raw, ALL]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) interface: Vec<String>,

    /// Interface to leave out of ALL or ALL_NLO (repeat for more); a * at its end stands for
    /// any characters
    #[arg(short = 'x', long, value_name = "NAME")]
    pub(crate) exclude: Vec<String>,

    /// Treat packets that this host sends to itself like those of others. With blocking on,
    /// this host may block itself
    #[arg(short = 'L', long)]
    pub(crate) disable_local_check: bool,

    /// Watch ports even where a local program serves them
    #[arg(short = 'S', long)]
    pub(crate) disable_service_check: bool,

    /// Where the log goes (repeat for both)
    #[arg(short, long, value_name = "WHERE", default_value = "stdout", action = ArgAction::Append)]
    pub(crate) logoutput: Vec<LogOutput>,

    /// Socket of the system's logger
    #[arg(long, value_name = "PATH", default_value = Syslog::DEFAULT_PATH)]
    pub(crate) syslog_socket: PathBuf,

    /// Run in the background, and log to the system's log alone
    #[arg(short = 'D', long)]
    pub(crate) daemon: bool,

    /// File to write the process's number to, while it runs
    #[arg(long, value_name = "PATH")]
    pub(crate) pidfile: Option<PathBuf>,

    /// What configuration to use, and how much to say.
    #[command(flatten)]
    pub(crate) general: GeneralOptions,
}

/// Options that every command has.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct GeneralOptions {
    /// Configuration file [default: /etc/portsentry/portsentry.conf, or without it a built-in
    /// one that only logs]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) configfile: Option<PathBuf>,

    /// Log debug lines too, the effective configuration among them
    #[arg(short, long)]
    pub(crate) debug: bool,

    /// Log more, such as which hosts were ignored
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// How packets are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// libpcap
    #[cfg_attr(feature = "pcap", default)]
    Pcap,
    /// Packet sockets of our own, for which no library is needed
    #[cfg_attr(not(feature = "pcap"), default)]
    Raw,
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogOutput {
    /// Standard output, errors to standard error
    Stdout,
    /// The system's log, facility daemon
    Syslog,
}

/// What to do instead of watching.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say whether configuration and ignore file are right, and what would be watched
    Check(CheckOptions),
    /// Show what would have been detected in capture files
    Replay(ReplayOptions),
}

/// Options of `portsentry check`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct CheckOptions {
    /// Which configuration.
    #[command(flatten)]
    pub(crate) general: GeneralOptions,
}

/// Options of `portsentry replay`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ReplayOptions {
    /// Capture file, pcap or pcapng, of any age; several are read one after the other
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Address or network that stands for this host (repeat for more); without it every
    /// destination does
    #[arg(long, value_name = "ADDR|CIDR", value_parser = parse_host)]
    pub(crate) host: Vec<IpNet>,

    /// Treat packets that a host sends to itself like others
    #[arg(short = 'L', long)]
    pub(crate) disable_local_check: bool,

    /// Which configuration. Replay never responds: `BLOCK_TCP` and `BLOCK_UDP` count as 0.
    #[command(flatten)]
    pub(crate) general: GeneralOptions,
}

fn parse_host(text: &str) -> Result<IpNet, &'static str> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "not an IP address or network, such as 192.0.2.1 or 2001:db8::/64")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_table_is_sound() {
        Arguments::command().debug_assert();
    }

    #[track_caller]
    fn refuse(words: &str, fragment: &str) {
        let error = Arguments::try_parse_from(words.split(' ')).unwrap_err().to_string();
        assert!(error.contains(fragment), "{error}");
    }

    #[test]
    fn wrong_words_are_refused() {
        refuse("portsentry --stealth --stealth", "cannot be used multiple times");
        refuse("portsentry -m fast", "[possible values: pcap, raw]");
        refuse("portsentry --tcp", "--tcp");
        refuse("portsentry replay", "FILE");
        refuse("portsentry replay x --host 10.0.0.0/33", "192.0.2.1");
        refuse("portsentry -L check", "check");
    }

    #[test]
    fn options_repeat_where_the_contract_says_so() {
        let words = "portsentry -i eth0 --interface eth1 -x veth* --exclude docker0 -l stdout -l stdout \
                     -LSdv -m raw -c x.conf";
        let arguments = Arguments::try_parse_from(words.split(' ')).unwrap();
        assert_eq!(arguments.watch.interface, ["eth0", "eth1"]);
        assert_eq!(arguments.watch.exclude, ["veth*", "docker0"]);
        assert_eq!(arguments.watch.method, Method::Raw);
        assert_eq!(arguments.watch.logoutput.len(), 2);
        assert!(arguments.watch.disable_local_check && arguments.watch.disable_service_check);
        assert!(arguments.watch.general.debug && arguments.watch.general.verbose);
    }
}
