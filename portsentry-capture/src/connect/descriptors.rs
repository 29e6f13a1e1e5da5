//! Raises the limit of open files as far as needed.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::SensorError;

/// Number of descriptors for everything except sockets: logs, files, and the pipes of commands.
const RESERVE: usize = 96;

/// Minimum number of open connections. With fewer, a handful of slow peers would prevent the
/// banner for all others.
const FEWEST_CONNECTIONS: usize = 16;

/// Raises the limit for `ports` sockets and, if possible, `connections` open connections.
/// Returns the number of connections for which there are descriptors.
///
/// # Errors
///
/// [`SensorError::DescriptorLimit`] if the limit does not even suffice for
/// [`FEWEST_CONNECTIONS`].
pub(super) fn make_room(ports: usize, connections: usize) -> Result<usize, SensorError> {
    make_room_in(&mut Kernel, ports, connections)
}

/// The limit of open files; a trait, so that tests can replace the kernel.
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
    // Uses the first limit that the kernel grants. A limit above the hard limit needs
    // CAP_SYS_RESOURCE, and `fs.nr_open` is the maximum.
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

    /// Arguments: soft, hard and privileged limit; number of ports; the returned number of
    /// connections, or the numbers in the error (needed, allowed); the soft limit afterwards.
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
        // The limit suffices and is not changed.
        check([10_000, 10_000, 0], 1000, Ok(1024), 10_000);
        // The wanted number is below the hard limit.
        check([1024, 524_288, 0], 1000, Ok(1024), 2120);
        check([1024, 524_288, 0], 65_535, Ok(1024), 66_655);
        // Above the hard limit, with the privilege.
        check([256, 256, 1_048_576], 1000, Ok(1024), 2120);
        // Fewer connections than wanted.
        check([1024, 2000, 0], 1000, Ok(904), 2000);
        check([1112, 1112, 0], 1000, Ok(16), 1112);
        // Above the hard limit, but fewer than wanted.
        check([256, 256, 1112], 1000, Ok(16), 1112);
        // Less than the minimum.
        check([1111, 1111, 0], 1000, Err((1112, 1111)), 1111);
        check([256, 256, 0], 1000, Err((1112, 256)), 256);
        check([100, 256, 0], 1000, Err((1112, 256)), 256);
    }
}
