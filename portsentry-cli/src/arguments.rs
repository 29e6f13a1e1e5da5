//! The command line.
//!
//! One table, read by clap, defines parsing, help and errors. The code that
//! uses an option defines its effect.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use portsentry_core::config::KEYS;
use portsentry_report::Importance;

use portsentry_output::Syslog;

/// Text of `-V` after the name.
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
  portsentry -i eth0 -c ./test.conf       watch one interface with a different configuration
  portsentry -x 'veth*' -x docker0        watch all interfaces except those of containers
  portsentry check -c ./test.conf         show what would be watched, and all errors
  portsentry replay scan.pcap             show what would have been detected

Exit status: 0 success, 1 failure, 2 invalid command line, 77 missing privilege, 78 invalid configuration.";

/// Options of the running sentry.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct WatchOptions {
    /// Watch invisibly: capture packets, bind no port (default)
    ///
    /// Ports stay closed, and the first packet of a probe is detected, with any TCP flags.
    #[arg(long)]
    pub(crate) stealth: bool,

    /// Bind the ports and accept connections, optionally with a reply (PORT_BANNER). Half-open
    /// scans are not detected
    #[arg(long, conflicts_with = "stealth")]
    pub(crate) connect: bool,

    /// With --connect: bind only to this address (repeat for more) [default: all of this host]
    #[arg(long, value_name = "ADDR")]
    pub(crate) bind: Vec<IpAddr>,

    /// Capture method
    #[arg(short, long, value_name = "METHOD", default_value_t, value_enum)]
    pub(crate) method: Method,

    /// Interface to watch: a name (repeat for more), any, ALL, or ALL_NLO, which leaves out
    /// loopback [default: ALL_NLO; with the method raw, ALL]
    ///
    /// ALL and ALL_NLO include interfaces that appear later, and cannot be combined with names. A
    /// named interface that is missing is opened when it appears; if no named interface exists,
    /// this is an error. The interface any is one capture on all interfaces; with the method raw it
    /// means ALL.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) interface: Vec<String>,

    /// Interface to exclude from ALL or ALL_NLO (repeat for more); a * at its end matches
    /// any characters
    ///
    /// Cannot be combined with explicitly named interfaces.
    #[arg(short = 'x', long, value_name = "NAME")]
    pub(crate) exclude: Vec<String>,

    /// Treat packets that this host sends to itself like those of other hosts. With blocking on,
    /// this host may block itself
    ///
    /// By default such packets are logged but never trigger a response.
    #[arg(short = 'L', long)]
    pub(crate) disable_local_check: bool,

    /// Watch ports even if a local program serves them
    ///
    /// By default a packet to a port that a program of this host serves on that address is ignored.
    /// The kernel's socket tables show which ports are served; portsentry binds no port to find
    /// out. Ports that this host forwards count as served, too. Replies to UDP queries of this host are always ignored.
    #[arg(short = 'S', long)]
    pub(crate) disable_service_check: bool,

    /// Output of the log (repeat for both)
    ///
    /// If a service manager reads standard output, each line has its severity as a prefix.
    #[arg(short, long, value_name = "WHERE", default_value = "stdout", action = ArgAction::Append)]
    pub(crate) logoutput: Vec<LogOutput>,

    /// Socket of the system logger
    #[arg(long, value_name = "PATH", default_value = Syslog::DEFAULT_PATH)]
    pub(crate) syslog_socket: PathBuf,

    /// Run in the background, and log only to the system log
    ///
    /// The command exits once the sentry watches. Startup errors are still printed and reflected in
    /// the exit status.
    #[arg(short = 'D', long)]
    pub(crate) daemon: bool,

    /// File that holds the process id while portsentry runs
    #[arg(long, value_name = "PATH")]
    pub(crate) pidfile: Option<PathBuf>,

    /// Configuration file and log level.
    #[command(flatten)]
    pub(crate) general: GeneralOptions,
}

/// Options that every command has.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct GeneralOptions {
    /// Configuration file [default: /etc/portsentry/portsentry.conf; if it is missing, a built-in
    /// one that only logs]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) configfile: Option<PathBuf>,

    /// Log debug lines as well, including the effective configuration
    #[arg(short, long)]
    pub(crate) debug: bool,

    /// Log more, such as which hosts were ignored
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

impl GeneralOptions {
    /// Returns the importance of the least important lines to log.
    pub(crate) const fn importance(&self) -> Importance {
        match (self.debug, self.verbose) {
            (true, _) => Importance::Debug,
            (false, true) => Importance::Verbose,
            (false, false) => Importance::Notice,
        }
    }
}

/// Capture method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// libpcap
    #[cfg_attr(feature = "pcap", default)]
    Pcap,
    /// Packet sockets, without a library
    #[cfg_attr(not(feature = "pcap"), default)]
    Raw,
}

/// Output of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogOutput {
    /// Standard output, errors to standard error
    Stdout,
    /// The system log, facility daemon
    Syslog,
}

/// A command that runs instead of the sentry.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check the configuration and the ignore file, and show what would be watched
    Check(CheckOptions),
    /// Show what would have been detected in capture files
    Replay(ReplayOptions),
    /// Write a manual page, completions or a configuration to standard output
    Generate(GenerateOptions),
}

/// Options of `portsentry check`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct CheckOptions {
    /// Print only the value of this key, for scripts (repeat for more); an empty line if it has
    /// none
    #[arg(long, value_name = "KEY", value_parser = key_names(), hide_possible_values = true)]
    pub(crate) show: Vec<String>,

    /// Configuration to use.
    #[command(flatten)]
    pub(crate) general: GeneralOptions,
}

/// Options of `portsentry replay`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ReplayOptions {
    /// Capture file, pcap or pcapng, of any age; several files are read in order
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Address or network to treat as this host (repeat for more) [default: every destination]
    #[arg(long, value_name = "ADDR|CIDR", value_parser = parse_host)]
    pub(crate) host: Vec<IpNet>,

    /// Treat packets that a host sends to itself like other packets
    #[arg(short = 'L', long)]
    pub(crate) disable_local_check: bool,

    /// Configuration to use. Replay never responds: `BLOCK_TCP` and `BLOCK_UDP` count as 0.
    #[command(flatten)]
    pub(crate) general: GeneralOptions,
}

/// Options of `portsentry generate`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GenerateOptions {
    /// Document to write
    #[arg(value_name = "WHAT")]
    pub(crate) document: Document,
}

/// A document that can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Document {
    /// Manual page portsentry(8)
    Man,
    /// Manual page portsentry.conf(5)
    ConfMan,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
    /// Configuration file with comments
    Config,
    /// Reference of all options and keys, in Markdown
    Reference,
}

/// Returns the names of all keys, which completions offer.
fn key_names() -> PossibleValuesParser {
    PossibleValuesParser::new(KEYS.iter().map(|key| key.name))
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
    fn the_table_is_valid() {
        Arguments::command().debug_assert();
    }

    #[track_caller]
    fn refuse(words: &str, fragment: &str) {
        let error = Arguments::try_parse_from(words.split(' ')).unwrap_err().to_string();
        assert!(error.contains(fragment), "{error}");
    }

    #[test]
    fn invalid_words_are_refused() {
        refuse("portsentry --stealth --stealth", "cannot be used multiple times");
        refuse("portsentry --connect --connect", "cannot be used multiple times");
        refuse("portsentry --stealth --connect", "cannot be used with");
        refuse("portsentry --connect --bind 10.0.0.0/8", "invalid IP address");
        refuse("portsentry -m fast", "[possible values: pcap, raw]");
        refuse("portsentry --tcp", "--tcp");
        refuse("portsentry replay", "FILE");
        refuse("portsentry replay x --host 10.0.0.0/33", "192.0.2.1");
        refuse("portsentry -L check", "check");
    }

    #[test]
    fn options_repeat_where_the_contract_allows_it() {
        let words = "portsentry -i eth0 --interface eth1 -x veth* --exclude docker0 -l stdout -l stdout \
                     -LSdv -m raw -c x.conf";
        let arguments = Arguments::try_parse_from(words.split(' ')).unwrap();
        assert_eq!(arguments.watch.interface, ["eth0", "eth1"]);
        assert_eq!(arguments.watch.exclude, ["veth*", "docker0"]);
        assert_eq!(arguments.watch.method, Method::Raw);
        assert_eq!(arguments.watch.logoutput.len(), 2);
        assert!(arguments.watch.disable_local_check && arguments.watch.disable_service_check);
        assert!(arguments.watch.general.debug && arguments.watch.general.verbose);

        let words = "portsentry --connect --bind ::1 --bind 192.0.2.1 -i eth0 -m pcap";
        let arguments = Arguments::try_parse_from(words.split(' ')).unwrap();
        assert!(arguments.watch.connect && !arguments.watch.stealth);
        let addresses: [IpAddr; 2] = ["::1", "192.0.2.1"].map(|address| address.parse().unwrap());
        assert_eq!(arguments.watch.bind, addresses);
    }
}
