//! The summary that the program prints at its end.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Numbers of a run. `Display` gives the lines, without the last line end: one for the
/// whole run, and one for each interface that lost packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Packets that the sensors read.
    pub packets: u64,
    /// In connect mode, the numbers of the bound sockets, in place of `packets`.
    pub connect: Option<ConnectSummary>,
    /// Probes that were reported.
    pub probes: u64,
    /// Packets that the kernel dropped; `None` if no kernel could, as in a replay.
    pub dropped: Option<u64>,
    /// Number of packets that could not be decoded, with their kind.
    pub undecodable: Vec<(u64, String)>,
    /// Fragmented datagrams that never completed in time or in memory.
    pub incomplete_datagrams: u64,
    /// Entries that full tables had to evict.
    pub evictions: Evictions,
    /// Solicited datagrams: replies to queries of this host.
    pub solicited: u64,
    /// Datagrams of this host that its sensor has missed.
    pub queries_missed: u64,
    /// Queries of this host that the full table has evicted.
    pub queries_evicted: u64,
    /// Probes that were lost on their way to another ring.
    pub lost_between_rings: u64,
    /// Packets that the kernel dropped, with the interface.
    pub losses: Vec<(u64, String)>,
}

/// Entries of the engine that full tables had to evict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evictions {
    /// Sources whose probes were counted.
    pub sources: u64,
    /// Hosts of the blocked set, which can be responded to again.
    pub blocked: u64,
}

/// Numbers of bound sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectSummary {
    /// Connections accepted.
    pub connections: u64,
    /// Datagrams received.
    pub datagrams: u64,
    /// Banners sent, over both protocols.
    pub banners: u64,
    /// Banners that the limits on replies held back.
    pub limited: u64,
    /// Banners to peers that had gone.
    pub unreachable: u64,
    /// Connections without a banner, because no descriptor was left.
    pub without_descriptor: u64,
    /// Connections that were reset because they took too long.
    pub timed_out: u64,
    /// Connections that were closed early to make room.
    pub evicted: u64,
    /// Connections that could not be accepted.
    pub accept_failed: u64,
    /// Notices about such connections that were lost.
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
                (self.incomplete_datagrams, "fragmented datagrams never completed"),
                (self.evictions.sources, "sources evicted from the full counter table"),
                (self.evictions.blocked, "hosts evicted from the full table of blocked hosts"),
                (self.solicited, "answers to this host's own queries"),
                (self.queries_missed, "datagrams of this host not seen in time"),
                (self.queries_evicted, "queries of this host forgotten early to make room"),
                (self.lost_between_rings, "probes lost between rings"),
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
                (self.limited, "not sent by the limits on answers"),
                (self.unreachable, "not sent because the peer had gone"),
                (self.without_descriptor, "not sent because no descriptor was left"),
                (self.timed_out, "connections reset because they took too long"),
                (self.evicted, "connections closed early to make room"),
                (self.accept_failed, "connections that could not be accepted"),
                (self.notices_lost, "lines about those lost"),
            ],
        )
    }
}

/// Writes the counts that are not zero.
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

    /// Nine packets and two probes in a file.
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
            &Summary { incomplete_datagrams: 5, evictions, ..of_file() },
            "9 packets seen, 2 probes, 0 undecodable, 5 fragmented datagrams never completed, \
             3 sources evicted from the full counter table, \
             4 hosts evicted from the full table of blocked hosts",
        );
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
            losses: vec![(7, "eth0".into()), (1, "lo".into())],
            ..of_file()
        };
        check(
            &summary,
            "9 packets seen, 2 probes, 8 dropped by the kernel, 0 undecodable, \
             1 answers to this host's own queries, 4 datagrams of this host not seen in time, \
             5 queries of this host forgotten early to make room, 3 probes lost between rings\n\
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
        let more = ", 3 not sent by the limits on answers, 1 connections closed early to make room";
        check(&summary, &(line.to_string() + more));
    }
}
