//! The summary that the program prints when it exits.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Counts of a run. `Display` writes one line for the whole run, and one for each
/// interface that lost packets, without the last line end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of packets that the sensors read.
    pub packets: u64,
    /// Counts of the bound sockets in connect mode; replaces `packets`.
    pub connect: Option<ConnectSummary>,
    /// Number of reported probes.
    pub probes: u64,
    /// Number of probes without a response, to protect this host and its users.
    pub prevented: u64,
    /// Number of packets that the kernel dropped; `None` in a replay.
    pub dropped: Option<u64>,
    /// Number of packets that could not be decoded, for each kind.
    pub undecodable: Vec<(u64, String)>,
    /// Number of fragmented datagrams that never completed.
    pub incomplete_datagrams: u64,
    /// Number of fragments that were not stored because the memory for them was full.
    pub refused_fragments: u64,
    /// Number of incomplete datagrams whose first fragment was decided on like a whole packet.
    pub decided_early: u64,
    /// Entries evicted from full tables.
    pub evictions: Evictions,
    /// Number of solicited datagrams: replies to queries of this host.
    pub solicited: u64,
    /// Number of outgoing datagrams that the sensor missed.
    pub queries_missed: u64,
    /// Number of queries of this host that were evicted from the full table.
    pub queries_evicted: u64,
    /// Number of probes that were lost on their way to another ring.
    pub lost_between_rings: u64,
    /// Number of probes for which the kernel was not asked whether it has a socket.
    pub lookups_skipped: u64,
    /// Number of packets that the kernel dropped, for each interface with losses.
    pub losses: Vec<(u64, String)>,
}

/// Number of entries evicted from the full tables of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evictions {
    /// Sources whose probes were counted.
    pub sources: u64,
    /// Hosts of the blocked set, which can be responded to again.
    pub blocked: u64,
}

/// Counts of the bound sockets. A field is the number of such connections or banners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectSummary {
    /// Connections accepted.
    pub connections: u64,
    /// Datagrams received.
    pub datagrams: u64,
    /// Banners sent, over both protocols.
    pub banners: u64,
    /// Banners that the reply limits suppressed.
    pub limited: u64,
    /// Banners that were not sent because the peer was unreachable.
    pub unreachable: u64,
    /// Connections without a banner, because no file descriptor was free.
    pub without_descriptor: u64,
    /// Connections that were reset after a timeout.
    pub timed_out: u64,
    /// Connections that were closed early because too many were open.
    pub evicted: u64,
    /// Connections that could not be accepted.
    pub accept_failed: u64,
    /// Notices about failed connections that were lost.
    pub notices_lost: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let probes = self.probes;
        match self.connect {
            None => write!(f, "{} packets seen, {probes} probes", self.packets)?,
            Some(ConnectSummary { connections, datagrams, .. }) => {
                write!(f, "{connections} connections and {datagrams} datagrams, {probes} probes")?;
            }
        }
        if let Some(dropped) = self.dropped {
            write!(f, ", {dropped} dropped by the kernel")?;
        }
        self.write_undecodable(f)?;
        write_positive(
            f,
            &[
                (self.prevented, "probes without a response to protect this host"),
                (self.incomplete_datagrams, "fragmented datagrams never completed"),
                (self.refused_fragments, "fragments not stored because their memory was full"),
                (self.decided_early, "incomplete datagrams decided by their first fragment"),
                (self.evictions.sources, "sources evicted from the full counter table"),
                (self.evictions.blocked, "hosts evicted from the full table of blocked hosts"),
                (self.solicited, "replies to queries of this host"),
                (self.queries_missed, "outgoing datagrams missed by the sensor"),
                (self.queries_evicted, "queries evicted from the full query table"),
                (self.lost_between_rings, "probes lost between rings"),
                (self.lookups_skipped, "packets not looked up in the socket tables"),
            ],
        )?;
        if let Some(connect) = &self.connect {
            connect.write_replies(f)?;
        }
        for (packets, interface) in &self.losses {
            write!(f, "\n{packets} packets dropped by the kernel on interface {interface}")?;
        }
        Ok(())
    }
}

impl Summary {
    fn write_undecodable(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = &self.undecodable;
        let sum: u64 = kinds.iter().map(|(count, _)| count).sum();
        write!(f, ", {sum} undecodable")?;
        for (number, (count, kind)) in kinds.iter().enumerate() {
            let before = if number == 0 { " (" } else { ", " };
            write!(f, "{before}{count} {kind}")?;
        }
        f.write_str(if kinds.is_empty() { "" } else { ")" })
    }
}

impl ConnectSummary {
    fn write_replies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ", {} banners sent", self.banners)?;
        write_positive(
            f,
            &[
                (self.limited, "not sent because of the reply limits"),
                (self.unreachable, "not sent because the peer was unreachable"),
                (self.without_descriptor, "not sent because no file descriptor was free"),
                (self.timed_out, "connections reset after a timeout"),
                (self.evicted, "connections closed early because too many were open"),
                (self.accept_failed, "connections that could not be accepted"),
                (self.notices_lost, "lines about them lost"),
            ],
        )
    }
}

/// Writes the counts above zero.
fn write_positive(f: &mut fmt::Formatter<'_>, counts: &[(u64, &str)]) -> fmt::Result {
    for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
        write!(f, ", {count} {what}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    #[track_caller]
    fn check(summary: &Summary, expected: &str) {
        assert_eq!(summary.to_string(), expected);
    }

    /// Returns the summary of a file with nine packets and two probes.
    fn of_file() -> Summary {
        Summary { packets: 9, probes: 2, ..Summary::default() }
    }

    #[test]
    fn counts_of_zero_are_omitted_except_four() {
        check(&of_file(), "9 packets seen, 2 probes, 0 undecodable");
        let live = Summary { dropped: Some(0), ..of_file() };
        check(&live, "9 packets seen, 2 probes, 0 dropped by the kernel, 0 undecodable");
    }

    #[test]
    fn evictions_and_incomplete_datagrams_are_counted() {
        let evictions = Evictions { sources: 3, blocked: 4 };
        check(
            &Summary {
                incomplete_datagrams: 5,
                refused_fragments: 6,
                decided_early: 7,
                evictions,
                ..of_file()
            },
            "9 packets seen, 2 probes, 0 undecodable, 5 fragmented datagrams never completed, \
             6 fragments not stored because their memory was full, \
             7 incomplete datagrams decided by their first fragment, \
             3 sources evicted from the full counter table, \
             4 hosts evicted from the full table of blocked hosts",
        );
    }

    #[test]
    fn prevented_responses_are_counted() {
        let expected = "9 packets seen, 2 probes, 0 undecodable, 1 probes without a response to protect this host";
        check(&Summary { prevented: 1, ..of_file() }, expected);
    }

    #[test]
    fn kinds_of_undecodable_packets_are_listed() {
        let undecodable = vec![(1, "truncated".into()), (2, "bad checksum".into())];
        let expected = "9 packets seen, 2 probes, 3 undecodable (1 truncated, 2 bad checksum)";
        check(&Summary { undecodable, ..of_file() }, expected);
    }

    #[test]
    fn queries_and_interfaces_with_losses_are_listed() {
        let summary = Summary {
            dropped: Some(8),
            solicited: 1,
            queries_missed: 4,
            queries_evicted: 5,
            lost_between_rings: 3,
            lookups_skipped: 6,
            losses: vec![(7, "eth0".into()), (1, "lo".into())],
            ..of_file()
        };
        check(
            &summary,
            "9 packets seen, 2 probes, 8 dropped by the kernel, 0 undecodable, \
             1 replies to queries of this host, 4 outgoing datagrams missed by the sensor, \
             5 queries evicted from the full query table, 3 probes lost between rings, \
             6 packets not looked up in the socket tables\n\
             7 packets dropped by the kernel on interface eth0\n\
             1 packets dropped by the kernel on interface lo",
        );
    }

    #[test]
    fn connect_mode_counts_connections_and_banners() {
        let connect =
            ConnectSummary { connections: 7, datagrams: 5, banners: 6, ..Default::default() };
        let mut summary =
            Summary { connect: Some(connect), probes: 12, dropped: Some(0), ..Default::default() };
        let line = "7 connections and 5 datagrams, 12 probes, 0 dropped by the kernel, \
                    0 undecodable, 6 banners sent";
        check(&summary, line);
        summary.connect = Some(ConnectSummary { limited: 3, evicted: 1, ..connect });
        let more = ", 3 not sent because of the reply limits, \
                    1 connections closed early because too many were open";
        check(&summary, &(line.to_string() + more));
    }
}
