//! Connections that are being answered: banner, end of stream, the peer's end
//! of stream, close.
//!
//! The order matters. A socket that is closed while unread data wait is reset
//! (RFC 9293 section 3.6.1), and a reset may overtake the banner; so what the
//! peer sends is read, and thrown away, until he closes too. He may not, and
//! may not read either: the time of each is limited, and so is their number.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use portsentry_core::Instant;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt};

use crate::reactor::{EventSet, Watch};

/// Bytes of the peer's that are read before his patience counts for nothing.
const MOST_READ: usize = 64 * 1024;

/// What became of connections that were to get the banner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ConnectionOutcomes {
    /// The kernel has taken the whole banner.
    pub(super) banner_sent: u64,
    /// The peer had gone before that.
    pub(super) gone: u64,
    /// Reset, because time was up.
    pub(super) timed_out: u64,
    /// Closed to make room for a later one.
    pub(super) displaced: u64,
}

/// The connections that are open, the oldest first.
///
/// A ring: each connection has a number, and its place is the number modulo
/// the capacity. One that is still there when the numbers have come round
/// makes room.
#[derive(Debug)]
pub(super) struct Connections {
    places: Box<[Option<Open>]>,
    /// The number of the next one.
    next: u64,
    /// No open connection has a lower number.
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

/// How far an open connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The peer's window is closed.
    Unsent,
    /// The banner is on its way, and the peer has not closed.
    Lingering,
    /// Nothing more to do.
    Over,
}

impl Connections {
    /// Room for `capacity` connections, each for at most `patience`.
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

    /// Advances the connection with this token, which is ready.
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

    /// Resets the connections whose time is up. Gives when the next one's is.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        // Older ones have been displaced.
        self.oldest = self.oldest.max(self.next.saturating_sub(self.places.len() as u64));
        while self.oldest < self.next {
            let number = self.oldest;
            let place = self.place(number)?;
            match place {
                Some(open) if open.number == number && open.deadline > now => {
                    return Some(open.deadline);
                }
                Some(open) if open.number == number => {
                    // Forgotten by the kernel too, with what it has not sent yet.
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
                // Can fail only if the peer has gone, which reading tells too.
                let _ = shutdown(&self.socket, Shutdown::Write);
            }
        }
        self.read_away()
    }

    fn read_away(&mut self) -> Progress {
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

    struct Bench {
        events: EventSet,
        listener: TcpListener,
        connections: Connections,
    }

    impl Bench {
        fn new(capacity: usize) -> Self {
            Self {
                events: EventSet::new().unwrap(),
                listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
                connections: Connections::new(capacity, PATIENCE),
            }
        }

        /// A client that gets `banner` at `second`.
        fn client(&mut self, banner: &[u8], second: u64) -> TcpStream {
            let client = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let (socket, _) = self.listener.accept().unwrap();
            let (banner, now) = (banner.into(), Instant::from_secs(second));
            self.connections.send_banner(socket.into(), &banner, now, &self.events, FIRST).unwrap();
            client
        }

        /// Lets whatever is ready go on until `done`.
        fn run_until(&mut self, mut done: impl FnMut(&Connections) -> bool) {
            while !done(&self.connections) {
                let ready: Ready<8> = self.events.wait(Duration::from_secs(10)).unwrap();
                assert!(ready.count() > 0, "nothing happened: {:?}", self.connections.outcomes);
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
    fn the_banner_arrives_whole_even_if_the_peer_talks() {
        let mut bench = Bench::new(4);
        let mut client = bench.client(b"go away\n", 1);
        client.write_all(&[b'x'; 1000]).unwrap();
        let mut text = Vec::new();
        client.read_to_end(&mut text).unwrap();
        assert_eq!(text, b"go away\n");
        client.shutdown(Shutdown::Write).unwrap();
        bench.run_until(|it| open(it) == 0);
        assert_eq!(
            bench.connections.outcomes,
            ConnectionOutcomes { banner_sent: 1, ..ConnectionOutcomes::default() }
        );
    }

    #[test]
    fn a_slow_reader_gets_a_banner_that_no_buffer_holds() {
        let mut bench = Bench::new(4);
        let banner: Vec<u8> = (0..16_000_000_u32).map(|n| (n % 251) as u8).collect();
        let client = bench.client(&banner, 1);
        let place = bench.connections.places.iter().flatten().next().expect("it waits");
        assert!(
            place.sent < banner.len(),
            "{} bytes",
            socket_send_buffer_size(&place.socket).unwrap()
        );
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            (&client).read_to_end(&mut text).map(|_| text)
        });
        bench.run_until(|it| open(it) == 0);
        assert!(reader.join().unwrap().unwrap() == banner, "other bytes");
        assert_eq!(
            bench.connections.outcomes,
            ConnectionOutcomes { banner_sent: 1, ..ConnectionOutcomes::default() }
        );
    }

    #[test]
    fn one_that_never_reads_is_reset_when_its_time_is_up() {
        let mut bench = Bench::new(4);
        let mut client = bench.client(&vec![0; 16_000_000], 1);
        assert_eq!(bench.connections.expire(Instant::from_secs(5)), Some(Instant::from_secs(6)));
        assert_eq!(open(&bench.connections), 1);
        assert_eq!(bench.connections.expire(Instant::from_secs(6)), None);
        assert_eq!(open(&bench.connections), 0);
        assert_eq!(bench.connections.outcomes.timed_out, 1);
        let error = std::io::copy(&mut client, &mut std::io::sink()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn the_oldest_makes_room_and_keeps_its_banner() {
        let mut bench = Bench::new(2);
        let mut clients: Vec<TcpStream> = (0..5).map(|n| bench.client(b"banner", n)).collect();
        assert_eq!(open(&bench.connections), 2);
        assert_eq!(bench.connections.outcomes.displaced, 3);
        for client in &mut clients {
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            assert_eq!(text, "banner");
        }
        assert_eq!(bench.connections.expire(Instant::from_secs(5)), Some(Instant::from_secs(8)));
        assert_eq!(bench.connections.expire(Instant::from_secs(9)), None);
        assert_eq!(bench.connections.outcomes.timed_out, 2);
    }

    #[test]
    fn one_that_talks_without_end_is_cut_off() {
        let mut bench = Bench::new(2);
        let mut client = bench.client(b"banner", 1);
        let talker = std::thread::spawn(move || while client.write_all(&[0; 4096]).is_ok() {});
        bench.run_until(|it| open(it) == 0);
        talker.join().unwrap();
    }
}
