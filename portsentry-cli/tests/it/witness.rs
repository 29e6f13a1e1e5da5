//! What was really sent, as `tcpdump` sees it on the scanner's side.

use std::time::Duration;

use portsentry_testbed::{Background, Namespace};

use crate::probe::MARKER;
use crate::station::SOON;

/// A `tcpdump` at the scanner's end of the cable.
#[derive(Debug)]
pub(crate) struct Witness {
    tcpdump: Background,
}

impl Witness {
    /// Watches packets that the scanner sends and that match `filter`, and the
    /// marker.
    #[track_caller]
    pub(crate) fn start(scanner: &Namespace, filter: &str) -> Self {
        let filter = format!("({filter}) or udp dst port {MARKER}");
        let interface = scanner.interface();
        let options = ["-i", interface, "-Q", "out", "-n", "-l", "--immediate-mode", "-s", "128"];
        let mut tcpdump = scanner.spawn("tcpdump", &[&options[..], &[filter.as_str()]].concat());
        tcpdump.wait_for_line(SOON, |line| line.contains("listening on"));
        Self { tcpdump }
    }

    #[track_caller]
    pub(crate) fn wait_for_port(&mut self, port: u16, within: Duration) {
        self.tcpdump.wait_for_line(within, |line| destination_port(line) == Some(port));
    }

    /// Destination ports of all packets so far but the markers, in order.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let stdout = self.tcpdump.stdout();
        stdout.lines().filter_map(destination_port).filter(|port| *port != MARKER).collect()
    }
}

/// The port in `IP 10.1.2.3.40000 > 10.1.2.4.23: Flags [S], ...`.
fn destination_port(line: &str) -> Option<u16> {
    let (_, target) = line.split_once(" > ")?;
    let (target, _) = target.split_once(": ")?;
    target.rsplit_once('.')?.1.parse().ok()
}
