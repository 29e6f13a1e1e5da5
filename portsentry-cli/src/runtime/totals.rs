//! Sums the counters of sensors and engines for the summary.

use std::collections::BTreeMap;

use portsentry_capture::{ConnectStats, InterfaceLoss, Rejected, SensorStats};
use portsentry_core::{Reason, Statistics};
use portsentry_report::{ConnectSummary, Evictions, Summary};

use super::shard::ShardStats;

/// Returns the summary of a run with these shards.
pub(crate) fn live_summary(shards: Vec<ShardStats>) -> Summary {
    let (mut sensors, mut connect) = (SensorStats::default(), None);
    let (mut probes, mut prevented, mut evictions) = (0, 0, Evictions::default());
    let mut lookups_skipped = 0;
    let mut losses = BTreeMap::<String, u64>::new();
    for shard in shards {
        let queries = sensors.queries;
        sensors.merge(&shard.sensors);
        // Each shard sees the queries of all shards.
        sensors.queries = queries.most(&shard.sensors.queries);
        // Bound sockets are one shard.
        connect = connect.or(shard.answers);
        for InterfaceLoss { interface, packets, .. } in shard.losses {
            *losses.entry(interface).or_default() += packets;
        }
        probes += shard.engine.probes();
        prevented += shard.engine.decided(Reason::Prevented);
        evictions.sources += shard.engine.sources_evicted;
        evictions.blocked += shard.engine.blocked_forgotten;
        lookups_skipped += shard.lookups.skipped + shard.lookups.failed;
    }
    Summary {
        connect: connect.as_ref().map(connect_summary),
        dropped: Some(sensors.dropped_by_kernel + sensors.dropped_by_interface),
        losses: losses.into_iter().map(|(interface, packets)| (packets, interface)).collect(),
        evictions,
        prevented,
        lookups_skipped,
        ..of_sensors(&sensors, probes)
    }
}

/// Returns the summary of a replay.
pub(crate) fn replay_summary(sensors: &SensorStats, engine: &Statistics) -> Summary {
    let evictions =
        Evictions { sources: engine.sources_evicted, blocked: engine.blocked_forgotten };
    Summary { evictions, ..of_sensors(sensors, engine.probes()) }
}

fn of_sensors(sensors: &SensorStats, probes: u64) -> Summary {
    let malformed = sensors.tally.iter().filter(|(kind, count)| kind.is_malformed() && *count > 0);
    Summary {
        packets: sensors.received,
        probes,
        undecodable: malformed.map(|(kind, count)| (count, kind.to_string())).collect(),
        incomplete_datagrams: sensors.reassembly.expired + sensors.reassembly.evicted,
        refused_fragments: sensors.reassembly.refused,
        decided_early: sensors.reassembly.unfinished,
        solicited: sensors.tally.count(Rejected::SolicitedReply),
        queries_missed: sensors.queries.missed,
        queries_evicted: sensors.queries.evicted,
        lost_between_rings: sensors.rings.lost,
        ..Summary::default()
    }
}

fn connect_summary(stats: &ConnectStats) -> ConnectSummary {
    ConnectSummary {
        connections: stats.connections,
        datagrams: stats.datagrams,
        banners: stats.banners + stats.answers,
        limited: stats.held_back,
        unreachable: stats.unreachable,
        without_descriptor: stats.turned_away,
        timed_out: stats.timed_out,
        evicted: stats.displaced,
        accept_failed: stats.accept_failed,
        notices_lost: stats.notices_lost,
    }
}

#[cfg(test)]
mod tests {
    use portsentry_capture::LookupStats;

    use super::*;

    #[test]
    fn shards_are_summed_except_their_common_queries() {
        let shard = |packets, seen, lost| {
            let mut sensors = SensorStats::default();
            sensors.received = packets;
            (sensors.queries.seen, sensors.queries.missed) = (seen, seen);
            sensors.rings.lost = lost;
            let loss = InterfaceLoss::new("eth0", packets);
            let engine = Statistics::default();
            let mut lookups = LookupStats::default();
            (lookups.skipped, lookups.failed) = (lost, 1);
            ShardStats { sensors, losses: vec![loss], answers: None, engine, lookups }
        };
        let summary = live_summary(vec![shard(3, 7, 1), shard(4, 8, 0), shard(5, 6, 2)]);
        assert_eq!((summary.packets, summary.queries_missed), (12, 8));
        assert_eq!(summary.lookups_skipped, 6);
        assert_eq!((summary.lost_between_rings, summary.losses), (3, vec![(12, "eth0".into())]));
    }
}
