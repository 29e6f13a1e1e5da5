//! Hosts that this host depends on, while its network changes: three packets in the name of each
//! must cause no response, and an ordinary scanner must be blocked.

mod connections;
mod network;

use std::net::IpAddr;

use portsentry_testbed::Testbed;

use crate::expected::{BLOCKED, LOGGED, SYN, event};
use crate::forgery::Forger;
use crate::station::{Sentry, Station};

pub(crate) const BLOCK: &str = r#"
TCP_PORTS = "20-30"
UDP_PORTS = "20-30"
BLOCKED_FILE = "{dir}/blocked"
BLOCK_TCP = "1"
BLOCK_UDP = "1"
BLOCK_RATE = "0"
KILL_ROUTE = "echo $TARGET$ >> {dir}/did"
"#;

/// A sentry that blocks at the first probe, and a sender of packets in the name of any host.
pub(crate) struct Bench<'a> {
    pub(crate) bed: &'a Testbed,
    pub(crate) station: Station<'a>,
    forger: Forger<'a>,
    sentry: Sentry,
    /// Number of ordinary scanners so far.
    scanners: u8,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(bed: &'a Testbed) -> Self {
        let station = Station::with(&bed.host, BLOCK);
        let sentry = station.start(&[]);
        Self::of(bed, station, sentry)
    }

    pub(crate) fn of(bed: &'a Testbed, station: Station<'a>, sentry: Sentry) -> Self {
        Self { bed, station, forger: Forger::new(bed), sentry, scanners: 0 }
    }

    /// Sends three SYNs in the name of `host`, and then one of an ordinary scanner. Returns the
    /// number of responses to `host`.
    #[track_caller]
    pub(crate) fn responses_to(&mut self, host: IpAddr) -> usize {
        let target = |host: IpAddr| match host.is_ipv4() {
            true => IpAddr::from(self.bed.host.v4()),
            false => self.bed.host.v6().into(),
        };
        self.scanners += 1;
        let scanner = IpAddr::from([198, 18, 0, self.scanners]);
        let ports = [20, 21, 22];
        let mut frames: Vec<_> = ports.map(|port| self.forger.syn(host, target(host), port)).into();
        frames.push(self.forger.syn(scanner, target(scanner), 23));
        self.forger.send(&frames, 1_000);
        self.sentry.wait_until("the response to the scanner", || {
            self.station.lines("did").contains(&scanner.to_string())
        });
        self.sentry.wait_for(&event(scanner, SYN, 23, BLOCKED));
        let did = self.station.lines("did");
        did.iter().filter(|line| **line == host.to_string()).count()
    }

    /// Asserts that `host` has no response, and that its packets are logged.
    #[track_caller]
    pub(crate) fn spares(&mut self, host: IpAddr, what: &str) {
        assert_eq!(self.responses_to(host), 0, "responses to {host}: {what}");
        let lines = self.sentry.lines();
        for port in [20, 21, 22] {
            let logged = event(host, SYN, port, LOGGED);
            assert!(lines.iter().any(|line| line.text == logged), "{logged}: {what}");
        }
    }

    /// Returns the sentry at the end of the test.
    pub(crate) fn into_sentry(self) -> Sentry {
        self.sentry
    }
}
