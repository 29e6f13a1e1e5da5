//! Open connections: send the banner, end the stream, wait for the peer's end of stream, close.
//!
//! The order matters. The kernel resets a socket that is closed with unread data (RFC 9293
//! section 3.6.1), and a reset may overtake the banner. So the data of the peer are read and
//! discarded until it closes too. A peer may never read or close, so the time and the number of
//! connections are limited.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use portsentry_core::Instant;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt};

use crate::reactor::{EventSet, Watch};

/// Maximum number of bytes read from a peer before the connection is closed.
const MOST_READ: usize = 64 * 1024;

/// Outcomes of connections to which the banner is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ConnectionOutcomes {
    /// Number of connections of which the kernel accepted the complete banner.
    pub(super) banner_sent: u64,
    /// Number of connections that the peer closed before that.
    pub(super) gone: u64,
    /// Number of connections reset because they took too long.
    pub(super) timed_out: u64,
    /// Number of connections closed to make room for a later one.
    pub(super) displaced: u64,
}

/// The open connections, the oldest first.
///
/// A ring: each connection has a number, and its place is the number modulo the capacity. If
/// a new connection needs the place of an old one, the old one is closed.
#[derive(Debug)]
pub(super) struct Connections {
    places: Box<[Option<Open>]>,
    /// Number of the next connection.
    next: u64,
    /// Lower bound for the numbers of open connections.
    oldest: u64,
    patience: Duration,
    pub(super) outcomes: ConnectionOutcomes,
}

#[derive(Debug)]
struct Open {
    number: u64,
    socket: OwnedFd,
    banner: Arc<[u8]>,
    sent: usize,
    read: usize,
    deadline: Instant,
}

/// Progress of an open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// A part of the banner is not sent, because the peer does not read.
    Unsent,
    /// The banner is sent, and the peer has not closed.
    Lingering,
    /// The connection can be closed.
    Over,
}

impl Connections {
    /// Creates room for `capacity` connections, each open for at most `patience`.
    pub(super) fn new(capacity: usize, patience: Duration) -> Self {
        Self {
            places: (0..capacity.max(1)).map(|_| None).collect(),
            next: 0,
            oldest: 0,
            patience,
            outcomes: ConnectionOutcomes::default(),
        }
    }

    /// Sends `banner` to a new connection. If the peer does not accept all of it immediately,
    /// adds the connection to `events`; its token is `first_token` plus its number.
    pub(super) fn send_banner(
        &mut self,
        socket: OwnedFd,
        banner: &Arc<[u8]>,
        now: Instant,
        events: &EventSet,
        first_token: u64,
    ) -> Result<(), Errno> {
        let banner = Arc::clone(banner);
        let deadline = now.after(self.patience);
        let mut open = Open { number: self.next, socket, banner, sent: 0, read: 0, deadline };
        let interest = match open.advance(&mut self.outcomes) {
            Progress::Over => return Ok(()),
            Progress::Unsent => Watch::Out,
            Progress::Lingering => Watch::In,
        };
        events.add(&open.socket, first_token + open.number, interest)?;
        self.next += 1;
        let place = open.number;
        if let Some(place) = self.place(place)
            && place.replace(open).is_some()
        {
            self.outcomes.displaced += 1;
        }
        Ok(())
    }

    /// Advances the connection with this token, whose socket is ready.
    pub(super) fn advance(&mut self, token: u64, events: &EventSet, first_token: u64) {
        let number = token - first_token;
        let mut outcomes = self.outcomes;
        let Some(place) = self.place(number) else { return };
        let Some(open) = place.as_mut().filter(|open| open.number == number) else { return };
        let unsent = open.sent < open.banner.len();
        match open.advance(&mut outcomes) {
            Progress::Lingering if unsent => {
                if events.modify(&open.socket, token, Watch::In).is_err() {
                    *place = None;
                }
            }
            Progress::Over => *place = None,
            Progress::Unsent | Progress::Lingering => {}
        }
        self.outcomes = outcomes;
    }

    /// Resets the connections whose time is over. Returns the deadline of the next one.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        // Newer connections have taken the places of older ones.
        self.oldest = self.oldest.max(self.next.saturating_sub(self.places.len() as u64));
        while self.oldest < self.next {
            let number = self.oldest;
            let place = self.place(number)?;
            match place {
                Some(open) if open.number == number && open.deadline > now => {
                    return Some(open.deadline);
                }
                Some(open) if open.number == number => {
                    // The kernel also discards unsent data and sends a reset.
                    let _ = sockopt::set_socket_linger(&open.socket, Some(Duration::ZERO));
                    *place = None;
                    self.outcomes.timed_out += 1;
                }
                _ => {}
            }
            self.oldest += 1;
        }
        None
    }

    fn place(&mut self, number: u64) -> Option<&mut Option<Open>> {
        let index = number % self.places.len() as u64;
        self.places.get_mut(usize::try_from(index).ok()?)
    }
}

impl Open {
    fn advance(&mut self, outcomes: &mut ConnectionOutcomes) -> Progress {
        while let Some(rest @ [_, ..]) = self.banner.get(self.sent..) {
            match send(&self.socket, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => self.sent += sent,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Progress::Unsent,
                Err(_) => {
                    outcomes.gone += 1;
                    return Progress::Over;
                }
            }
            if self.sent == self.banner.len() {
                outcomes.banner_sent += 1;
                // Fails only if the peer closed the connection, which the next read reports.
                let _ = shutdown(&self.socket, Shutdown::Write);
            }
        }
        self.discard_input()
    }

    fn discard_input(&mut self) -> Progress {
        let mut scratch = [0; 4096];
        while self.read < MOST_READ {
            match recv(self.socket.as_fd(), &mut scratch, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Progress::Over,
                Ok((_, read)) => self.read += read,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Progress::Lingering,
                Err(_) => return Progress::Over,
            }
        }
        Progress::Over
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};

    use rustix::net::sockopt::socket_send_buffer_size;

    use super::*;
    use crate::reactor::Ready;

    const PATIENCE: Duration = Duration::from_secs(5);
    const FIRST: u64 = 7;

    struct Fixture {
        events: EventSet,
        listener: TcpListener,
        connections: Connections,
    }

    impl Fixture {
        fn new(capacity: usize) -> Self {
            Self {
                events: EventSet::new().unwrap(),
                listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
                connections: Connections::new(capacity, PATIENCE),
            }
        }

        /// Connects a client to which `banner` is sent at `second`.
        fn client(&mut self, banner: &[u8], second: u64) -> TcpStream {
            let client = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let (socket, _) = self.listener.accept().unwrap();
            let (banner, now) = (banner.into(), Instant::from_secs(second));
            self.connections.send_banner(socket.into(), &banner, now, &self.events, FIRST).unwrap();
            client
        }

        /// Advances ready connections until `done` returns true.
        fn run_until(&mut self, mut done: impl FnMut(&Connections) -> bool) {
            while !done(&self.connections) {
                let ready: Ready<8> = self.events.wait(Duration::from_secs(10)).unwrap();
                assert!(
                    ready.count() > 0,
                    "no connection became ready: {:?}",
                    self.connections.outcomes
                );
                for token in ready.tokens() {
                    self.connections.advance(token, &self.events, FIRST);
                }
            }
        }
    }

    fn open(connections: &Connections) -> usize {
        connections.places.iter().flatten().count()
    }

    #[test]
    fn the_banner_arrives_complete_although_the_peer_sends() {
        let mut fixture = Fixture::new(4);
        let mut client = fixture.client(b"go away\n", 1);
        client.write_all(&[b'x'; 1000]).unwrap();
        let mut text = Vec::new();
        client.read_to_end(&mut text).unwrap();
        assert_eq!(text, b"go away\n");
        client.shutdown(Shutdown::Write).unwrap();
        fixture.run_until(|it| open(it) == 0);
        assert_eq!(
            fixture.connections.outcomes,
            ConnectionOutcomes { banner_sent: 1, ..ConnectionOutcomes::default() }
        );
    }

    #[test]
    fn a_slow_reader_gets_a_banner_larger_than_any_buffer() {
        let mut fixture = Fixture::new(4);
        let banner: Vec<u8> = (0..16_000_000_u32).map(|n| (n % 251) as u8).collect();
        let client = fixture.client(&banner, 1);
        let place = fixture.connections.places.iter().flatten().next().expect("open connection");
        assert!(
            place.sent < banner.len(),
            "{} bytes",
            socket_send_buffer_size(&place.socket).unwrap()
        );
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            (&client).read_to_end(&mut text).map(|_| text)
        });
        fixture.run_until(|it| open(it) == 0);
        assert!(reader.join().unwrap().unwrap() == banner, "the banner was changed");
        assert_eq!(
            fixture.connections.outcomes,
            ConnectionOutcomes { banner_sent: 1, ..ConnectionOutcomes::default() }
        );
    }

    #[test]
    fn a_peer_that_never_reads_is_reset_after_its_time() {
        let mut fixture = Fixture::new(4);
        let mut client = fixture.client(&vec![0; 16_000_000], 1);
        assert_eq!(fixture.connections.expire(Instant::from_secs(5)), Some(Instant::from_secs(6)));
        assert_eq!(open(&fixture.connections), 1);
        assert_eq!(fixture.connections.expire(Instant::from_secs(6)), None);
        assert_eq!(open(&fixture.connections), 0);
        assert_eq!(fixture.connections.outcomes.timed_out, 1);
        let error = std::io::copy(&mut client, &mut std::io::sink()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn the_oldest_is_closed_and_keeps_its_banner() {
        let mut fixture = Fixture::new(2);
        let mut clients: Vec<TcpStream> = (0..5).map(|n| fixture.client(b"banner", n)).collect();
        assert_eq!(open(&fixture.connections), 2);
        assert_eq!(fixture.connections.outcomes.displaced, 3);
        for client in &mut clients {
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            assert_eq!(text, "banner");
        }
        assert_eq!(fixture.connections.expire(Instant::from_secs(5)), Some(Instant::from_secs(8)));
        assert_eq!(fixture.connections.expire(Instant::from_secs(9)), None);
        assert_eq!(fixture.connections.outcomes.timed_out, 2);
    }

    #[test]
    fn a_peer_that_sends_without_end_is_closed() {
        let mut fixture = Fixture::new(2);
        let mut client = fixture.client(b"banner", 1);
        let talker = std::thread::spawn(move || while client.write_all(&[0; 4096]).is_ok() {});
        fixture.run_until(|it| open(it) == 0);
        talker.join().unwrap();
    }
}
