//! A sentry on the host of a testbed, with a folder for its files, and probes from the
//! scanner.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use portsentry_testbed::{Background, SOON, Testbed};
use tempfile::TempDir;

/// A running sentry.
pub(crate) struct Watch<'a> {
    pub(crate) bed: &'a Testbed,
    pub(crate) folder: TempDir,
    pub(crate) process: Background,
}

impl<'a> Watch<'a> {
    /// Starts the sentry and waits until it watches UDP ports 1000 to 9999. `{dir}` in
    /// configuration and options is replaced by its folder.
    #[track_caller]
    pub(crate) fn start(bed: &'a Testbed, configuration: &str, options: &[&str]) -> Self {
        let folder = TempDir::new().expect("folder");
        let expand = |text: &str| text.replace("{dir}", &folder.path().display().to_string());
        let path = folder.path().join("portsentry.conf");
        // The machine may have been up for a short time only.
        let ports = "UDP_PORTS = \"1000-9999\"\nHISTORY_FILE = \"{dir}/history\"\n\
                     SERVED_GRACE = \"0\"\n";
        fs::write(&path, expand(ports) + &expand(configuration)).expect("configuration");
        let mut command = bed.host.command(env!("CARGO_BIN_EXE_portsentry"));
        command.arg("-c").arg(path).args(options.iter().map(|option| expand(option)));
        // The notification of the service manager works with every kind of log.
        let manager = UnixDatagram::bind(folder.path().join("notify")).expect("notify socket");
        manager.set_read_timeout(Some(SOON)).expect("timeout");
        command.env("NOTIFY_SOCKET", folder.path().join("notify"));
        let watch = Self { bed, folder, process: Background::spawn(command) };
        let mut state = [0; 256];
        let length = manager.recv(&mut state).expect("the sentry watches");
        assert!(state[..length].starts_with(b"READY=1\n"), "{:?}", &state[..length]);
        watch
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sends one datagram to each port, from the scanner's own address.
    pub(crate) fn probe(&self, ports: RangeInclusive<u16>) {
        self.probe_from(self.bed.scanner.v4().into(), ports);
    }

    pub(crate) fn probe_from(&self, source: IpAddr, ports: RangeInclusive<u16>) {
        let target: IpAddr =
            if source.is_ipv4() { self.bed.host.v4().into() } else { self.bed.host.v6().into() };
        let socket = self.bed.scanner.enter(|| UdpSocket::bind((source, 0))).expect("bind");
        for port in ports {
            // A closed port makes the next call fail, and then the probe is sent again.
            if socket.send_to(b"probe", (target, port)).is_err() {
                socket.send_to(b"probe", (target, port)).expect("send");
            }
        }
    }
}

/// Adds an address to the scanner, in the network of both ends; each `number` gives another
/// one.
pub(crate) fn further_address(bed: &Testbed, number: usize) -> Ipv4Addr {
    let [a, b, c, _] = bed.host.v4().octets();
    let free = (1..=254).map(|last| Ipv4Addr::new(a, b, c, last));
    let taken = [bed.host.v4(), bed.scanner.v4()];
    let address = free.filter(|it| !taken.contains(it)).nth(number).expect("an address");
    bed.scanner.ip(&["address", "add", &format!("{address}/24"), "dev", bed.scanner.interface()]);
    address
}

/// Returns the ports in lines about probes, in order. The last line does not count if it is
/// incomplete.
pub(crate) fn ports(text: &str) -> Vec<u16> {
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines
        .filter(|line| line.contains("Scan from: ["))
        .map(|line| {
            let (_, rest) = line.split_once("port: [").expect("port");
            rest.split_once(']').expect("port").0.parse().expect("number")
        })
        .collect()
}

/// Returns the text of a file, or an empty string if it does not exist.
pub(crate) fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
