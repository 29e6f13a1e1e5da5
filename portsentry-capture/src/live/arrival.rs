//! Monotonic arrival times of captured packets.
//!
//! The kernel stamps packets with the wall clock, which may be stepped. Detection compares
//! monotonic times only. So the age of a packet is subtracted from the monotonic time of the
//! reading, and the result is limited to what is possible: a packet does not arrive after it
//! is read, nor before an earlier packet of the same sensor.

use portsentry_core::{Instant, Timestamp};

use crate::clock;

/// Both clocks at one reading of a sensor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    monotonic: Instant,
    wall: Timestamp,
}

impl Reading {
    /// Reads both clocks. About 40 ns, so call it once for each batch of packets.
    pub(super) fn now() -> Self {
        Self { monotonic: clock::monotonic(), wall: clock::wall() }
    }

    /// Returns the wall-clock time of the reading.
    pub(super) fn wall(self) -> Timestamp {
        self.wall
    }

    /// Returns the monotonic time of the reading.
    pub(super) fn monotonic(self) -> Instant {
        self.monotonic
    }
}

/// Arrival times of one sensor, which never go back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arrivals {
    last: Instant,
}

impl Arrivals {
    /// Returns the monotonic arrival time of the next packet, which the kernel stamped with
    /// `stamp` and which is read at `reading`.
    #[inline]
    pub(super) fn next(&mut self, stamp: Timestamp, reading: Reading) -> Instant {
        let age = reading.wall.as_nanos().saturating_sub(stamp.as_nanos());
        // A stamp later than the reading: the wall clock was set back, or the packet came
        // after the clocks were read.
        let age = u64::try_from(age).unwrap_or(0);
        let arrival = Instant::from_nanos(reading.monotonic.as_nanos().saturating_sub(age));
        self.last = arrival.max(self.last);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn reading(monotonic: u64, wall: i64) -> Reading {
        let (monotonic, wall) = (Instant::from_nanos(monotonic), Timestamp::from_nanos(wall));
        Reading { monotonic, wall }
    }

    /// Arrival times of a burst of packets with these stamps, read at `reading`.
    fn burst(arrivals: &mut Arrivals, stamps: &[i64], reading: Reading) -> Vec<u64> {
        let stamps = stamps.iter().map(|nanos| Timestamp::from_nanos(*nanos));
        stamps.map(|stamp| arrivals.next(stamp, reading).as_nanos()).collect()
    }

    #[test]
    fn packets_of_a_burst_keep_their_distances() {
        let mut arrivals = Arrivals::default();
        let found = burst(&mut arrivals, &[100, 150, 150, 400], reading(9_000, 1_000));
        assert_eq!(found, [8_100, 8_150, 8_150, 8_400]);
        let found = burst(&mut arrivals, &[1_200, 1_900], reading(10_000, 2_000));
        assert_eq!(found, [9_200, 9_900]);
    }

    #[test]
    fn a_stepped_wall_clock_never_moves_arrivals_back_or_beyond_the_reading() {
        let hour = 3_600 * SECOND;
        for step in [hour, -hour, SECOND / 1_000, -SECOND / 1_000, i64::MAX, i64::MIN] {
            let (start, wall) = (7_200 * SECOND.unsigned_abs(), 50 * hour);
            let mut arrivals = Arrivals::default();
            let mut previous = 0;
            // The clock is stepped in the middle of the second burst, before it is read.
            let after = wall.saturating_add(step);
            let bursts = [
                (start, wall, [wall - 30, wall - 20, wall - 10]),
                (start + 90, after.saturating_add(90), [wall + 10, wall + 20, after]),
                (start + 200, after.saturating_add(200), [after; 3]),
            ];
            for (monotonic, wall, stamps) in bursts {
                for arrival in burst(&mut arrivals, &stamps, reading(monotonic, wall)) {
                    assert!(arrival >= previous, "step {step}: {arrival} after {previous}");
                    assert!(arrival <= monotonic, "step {step}: {arrival} read at {monotonic}");
                    previous = arrival;
                }
            }
            assert!(previous >= start - 10, "step {step}: the first burst was not stepped");
        }
    }

    #[test]
    fn packets_older_than_the_monotonic_clock_arrive_at_its_origin() {
        let found = burst(&mut Arrivals::default(), &[0], reading(5, 9));
        assert_eq!(found, [0]);
    }
}
