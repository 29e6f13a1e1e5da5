//! The last words: a line of what was seen, found and lost, and one for each
//! interface that lost anything.

use std::collections::BTreeMap;
use std::fmt;

use portsentry_capture::{ConnectStats, InterfaceLoss, Rejected, SensorStats};
use portsentry_core::Statistics;

use super::shard::ShardStats;

/// What a run amounted to. `Display` gives the lines, without the last newline.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) sensors: SensorStats,
    pub(crate) losses: Vec<InterfaceLoss>,
    /// In connect mode, what became of what was taken.
    pub(crate) answers: Option<ConnectStats>,
    pub(crate) probes: u64,
    /// Entries that a full table of the engine has given up.
    pub(crate) evictions: Evictions,
    /// Whether a kernel could have dropped packets: not so for files.
    pub(crate) live: bool,
}

/// What had to make room for others.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Evictions {
    /// Sources whose probes were counted.
    sources: u64,
    /// Hosts of the blocked set, which are acted on again.
    blocked: u64,
}

impl From<Statistics> for Evictions {
    fn from(engine: Statistics) -> Self {
        Self { sources: engine.sources_evicted, blocked: engine.blocked_forgotten }
    }
}

impl Summary {
    /// Of a run with these shards: the sums.
    pub(crate) fn of(shards: Vec<ShardStats>) -> Self {
        let (mut sensors, mut answers) = (SensorStats::default(), None);
        let (mut probes, mut evictions) = (0, Evictions::default());
        let mut losses = BTreeMap::<String, u64>::new();
        for shard in shards {
            let queries = sensors.queries;
            sensors.merge(&shard.sensors);
            // Each shard sees all of them.
            sensors.queries = queries.most(&shard.sensors.queries);
            // Bound sockets are one shard.
            answers = answers.or(shard.answers);
            for InterfaceLoss { interface, packets } in shard.losses {
                *losses.entry(interface).or_default() += packets;
            }
            probes += shard.engine.probes();
            evictions.sources += shard.engine.sources_evicted;
            evictions.blocked += shard.engine.blocked_forgotten;
        }
        let losses = losses.into_iter();
        let losses =
            losses.map(|(interface, packets)| InterfaceLoss { interface, packets }).collect();
        Self { sensors, losses, answers, probes, evictions, live: true }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sensors, losses, answers, probes, evictions, live } = self;
        match answers {
            None => write!(f, "{} packets seen, {probes} probes", sensors.received)?,
            Some(ConnectStats { connections, datagrams, .. }) => {
                write!(f, "{connections} connections and {datagrams} datagrams, {probes} probes")?;
            }
        }
        if *live {
            let dropped = sensors.dropped_by_kernel + sensors.dropped_by_interface;
            write!(f, ", {dropped} dropped by the kernel")?;
        }
        let malformed = sensors.tally.iter().filter(|(kind, _)| kind.is_malformed());
        let mut kinds = Vec::new();
        let mut undecodable = 0;
        for (kind, count) in malformed.filter(|(_, count)| *count > 0) {
            undecodable += count;
            kinds.push(format!("{count} {kind}"));
        }
        write!(f, ", {undecodable} undecodable")?;
        if !kinds.is_empty() {
            write!(f, " ({})", kinds.join(", "))?;
        }
        // Fragments whose rest did not come in time, or had to make room.
        let unfinished = sensors.reassembly.expired + sensors.reassembly.evicted;
        if unfinished > 0 {
            write!(f, ", {unfinished} fragmented datagrams never completed")?;
        }
        if evictions.sources > 0 {
            write!(f, ", {} sources counted anew for want of room", evictions.sources)?;
        }
        if evictions.blocked > 0 {
            write!(f, ", {} blocked hosts forgotten for want of room", evictions.blocked)?;
        }
        write_queries(f, sensors)?;
        if sensors.rings.lost > 0 {
            write!(f, ", {} probes lost between rings", sensors.rings.lost)?;
        }
        if let Some(answers) = answers {
            write_answers(f, answers)?;
        }
        for InterfaceLoss { interface, packets } in losses {
            write!(f, "\n{packets} packets dropped by the kernel on interface {interface}")?;
        }
        Ok(())
    }
}

fn write_queries(f: &mut fmt::Formatter<'_>, sensors: &SensorStats) -> fmt::Result {
    let answered = sensors.tally.count(Rejected::SolicitedReply);
    let exceptional = [
        (answered, "answers to this host's own queries"),
        (sensors.queries.missed, "datagrams of this host not seen in time"),
        (sensors.queries.evicted, "queries of this host forgotten early to make room"),
    ];
    for (count, what) in exceptional.iter().filter(|(count, _)| *count > 0) {
        write!(f, ", {count} {what}")?;
    }
    Ok(())
}

fn write_answers(f: &mut fmt::Formatter<'_>, answers: &ConnectStats) -> fmt::Result {
    write!(f, ", {} banners sent", answers.banners + answers.answers)?;
    let exceptional = [
        (answers.held_back, "not sent by the limits on answers"),
        (answers.unreachable, "not sent because the peer had gone"),
        (answers.turned_away, "not sent for want of descriptors"),
        (answers.timed_out, "connections reset because they took too long"),
        (answers.displaced, "connections closed early to make room"),
        (answers.accept_failed, "connections that could not be taken"),
        (answers.notices_lost, "lines about those lost"),
    ];
    for (count, what) in exceptional.iter().filter(|(count, _)| *count > 0) {
        write!(f, ", {count} {what}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of nine packets and two probes in a file.
    fn summary(sensors: &SensorStats, evictions: Evictions) -> String {
        let sensors = SensorStats { received: 9, ..sensors.clone() };
        let losses = Vec::new();
        Summary { sensors, losses, answers: None, probes: 2, evictions, live: false }.to_string()
    }

    #[test]
    fn what_made_room_for_others_is_told() {
        let evictions = Evictions { sources: 3, blocked: 4 };
        assert_eq!(
            summary(&SensorStats::default(), evictions),
            "9 packets seen, 2 probes, 0 undecodable, 3 sources counted anew for want of room, \
             4 blocked hosts forgotten for want of room"
        );
    }

    #[test]
    fn fragments_that_came_to_nothing_are_told() {
        let mut sensors = SensorStats::default();
        let summary = |sensors: &SensorStats| summary(sensors, Evictions::default());
        assert_eq!(summary(&sensors), "9 packets seen, 2 probes, 0 undecodable");
        (sensors.reassembly.expired, sensors.reassembly.evicted) = (2, 1);
        assert_eq!(
            summary(&sensors),
            "9 packets seen, 2 probes, 0 undecodable, 3 fragmented datagrams never completed"
        );
    }

    #[test]
    fn queries_and_losses_are_told_where_there_were_any() {
        let mut sensors = SensorStats { received: 9, dropped_by_kernel: 8, ..Default::default() };
        sensors.tally.add(Rejected::SolicitedReply);
        (sensors.queries.missed, sensors.queries.evicted) = (4, 5);
        let loss =
            |interface: &str, packets| InterfaceLoss { interface: interface.into(), packets };
        let losses = vec![loss("eth0", 7), loss("lo", 1)];
        let evictions = Evictions::default();
        let summary = Summary { sensors, losses, answers: None, probes: 2, evictions, live: true };
        let lines = "9 packets seen, 2 probes, 8 dropped by the kernel, 0 undecodable, \
             1 answers to this host's own queries, 4 datagrams of this host not seen in time, \
             5 queries of this host forgotten early to make room\n\
             7 packets dropped by the kernel on interface eth0\n\
             1 packets dropped by the kernel on interface lo";
        assert_eq!(summary.to_string(), lines);
    }

    /// Packets, probes and losses are summed; queries of this host were seen by each.
    #[test]
    fn several_shards_are_summed() {
        let shard = |packets, seen, lost| {
            let mut sensors = SensorStats { received: packets, ..SensorStats::default() };
            (sensors.queries.seen, sensors.queries.missed) = (seen, seen);
            sensors.rings.lost = lost;
            let loss = InterfaceLoss { interface: "eth0".into(), packets };
            let engine = Statistics::default();
            ShardStats { sensors, losses: vec![loss], answers: None, engine }
        };
        let summary = Summary::of(vec![shard(3, 7, 1), shard(4, 8, 0), shard(5, 6, 2)]);
        assert_eq!(
            summary.to_string(),
            "12 packets seen, 0 probes, 0 dropped by the kernel, 0 undecodable, \
             8 datagrams of this host not seen in time, 3 probes lost between rings\n\
             12 packets dropped by the kernel on interface eth0"
        );
    }

    #[test]
    fn what_did_not_happen_in_connect_mode_is_left_out() {
        let answers = ConnectStats {
            connections: 7,
            datagrams: 5,
            banners: 4,
            answers: 2,
            ..ConnectStats::default()
        };
        let mut summary = Summary {
            sensors: SensorStats::default(),
            losses: Vec::new(),
            answers: Some(answers),
            probes: 12,
            evictions: Evictions::default(),
            live: true,
        };
        let line = "7 connections and 5 datagrams, 12 probes, 0 dropped by the kernel, \
                    0 undecodable, 6 banners sent";
        assert_eq!(summary.to_string(), line);
        summary.answers = Some(ConnectStats { held_back: 3, displaced: 1, ..answers });
        let more = ", 3 not sent by the limits on answers, 1 connections closed early to make room";
        assert_eq!(summary.to_string(), line.to_owned() + more);
    }
}
