//! The limit of open files, raised as far as it is needed.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::SensorError;

/// Descriptors kept for everything but sockets: logs, files, and the pipes of
/// programs that are started.
const RESERVE: usize = 96;

/// Open connections that there must be room for; with fewer, a handful of slow
/// readers would cut off everybody else's banner.
const FEWEST_CONNECTIONS: usize = 16;

/// Makes room for `ports` sockets and at best `connections` open connections.
/// Gives how many connections there is room for.
///
/// # Errors
///
/// [`SensorError::DescriptorLimit`] when not even a few connections would fit.
pub(super) fn make_room(ports: usize, connections: usize) -> Result<usize, SensorError> {
    make_room_in(&mut Kernel, ports, connections)
}

/// What the kernel allows; a trait, so that a test can stand in for it.
trait Limits {
    fn get(&self) -> Rlimit;
    fn set(&mut self, limit: Rlimit) -> Result<(), Errno>;
}

struct Kernel;

impl Limits for Kernel {
    fn get(&self) -> Rlimit {
        getrlimit(Resource::Nofile)
    }

    fn set(&mut self, limit: Rlimit) -> Result<(), Errno> {
        setrlimit(Resource::Nofile, limit)
    }
}

fn make_room_in(
    limits: &mut impl Limits,
    ports: usize,
    connections: usize,
) -> Result<usize, SensorError> {
    let wanted = (ports + RESERVE + connections) as u64;
    let needed = (ports + RESERVE + FEWEST_CONNECTIONS.min(connections)) as u64;
    let Rlimit { current: Some(current), maximum } = limits.get() else { return Ok(connections) };
    if current >= wanted {
        return Ok(connections);
    }
    let hard = maximum.unwrap_or(u64::MAX);
    // The first that the kernel grants. Above the hard limit it takes
    // CAP_SYS_RESOURCE, and more than `fs.nr_open` nobody gets.
    let mut allowed = current;
    for limit in [wanted.max(current), needed.max(hard).min(wanted), hard.min(wanted)] {
        let new = Rlimit { current: Some(limit), maximum: maximum.map(|it| it.max(limit)) };
        if limits.set(new).is_ok() {
            allowed = limit;
            break;
        }
    }
    if allowed < needed {
        return Err(SensorError::DescriptorLimit { ports, needed, allowed });
    }
    let room = allowed - (ports + RESERVE) as u64;
    Ok(usize::try_from(room).map_or(connections, |room| room.min(connections)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake {
        current: u64,
        hard: u64,
        privileged_up_to: u64,
    }

    impl Limits for Fake {
        fn get(&self) -> Rlimit {
            Rlimit { current: Some(self.current), maximum: Some(self.hard) }
        }

        fn set(&mut self, limit: Rlimit) -> Result<(), Errno> {
            let (current, hard) = (limit.current.unwrap(), limit.maximum.unwrap());
            assert!(current <= hard, "the kernel refuses a soft limit above the hard one");
            assert!(current >= self.current && hard >= self.hard, "a limit is never lowered");
            if hard > self.hard && hard > self.privileged_up_to {
                return Err(Errno::PERM);
            }
            (self.current, self.hard) = (current, hard);
            Ok(())
        }
    }

    /// Soft, hard and privileged limit; ports; the connections there is room
    /// for, or what is said to be needed and allowed; the soft limit then.
    #[track_caller]
    fn check(limits: [u64; 3], ports: usize, room: Result<usize, (u64, u64)>, after: u64) {
        let [current, hard, privileged_up_to] = limits;
        let mut fake = Fake { current, hard, privileged_up_to };
        let found = make_room_in(&mut fake, ports, 1024).map_err(|error| match error {
            SensorError::DescriptorLimit { needed, allowed, .. } => (needed, allowed),
            other => panic!("{other}"),
        });
        assert_eq!((found, fake.current), (room, after));
    }

    #[test]
    fn the_limit_is_raised_as_far_as_needed_and_no_further() {
        // Enough already: not touched.
        check([10_000, 10_000, 0], 1000, Ok(1024), 10_000);
        // Up to what is wanted, below the hard limit.
        check([1024, 524_288, 0], 1000, Ok(1024), 2120);
        check([1024, 524_288, 0], 65_535, Ok(1024), 66_655);
        // Past the hard limit with the privilege for it.
        check([256, 256, 1_048_576], 1000, Ok(1024), 2120);
        // As many connections as still fit.
        check([1024, 2000, 0], 1000, Ok(904), 2000);
        check([1112, 1112, 0], 1000, Ok(16), 1112);
        // Past the hard limit, but not as far as wanted.
        check([256, 256, 1112], 1000, Ok(16), 1112);
        // Not even a few.
        check([1111, 1111, 0], 1000, Err((1112, 1111)), 1111);
        check([256, 256, 0], 1000, Err((1112, 256)), 256);
        check([100, 256, 0], 1000, Err((1112, 256)), 256);
    }
}
