//! fail2ban with the shipped filter and jail.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use portsentry_testbed::{Background, SOON, Testbed, has_service, require_root, wait_until};
use tempfile::TempDir;

use crate::generated::{output, project};
use crate::watch::{Watch, further_address};

/// Copies the configuration of the Debian package and adds the shipped files and some
/// settings of the test.
fn configuration(folder: &Path, history: &Path) {
    output(Command::new("cp").arg("-r").arg("/etc/fail2ban").arg(folder));
    let folder = folder.join("fail2ban");
    // This jail is for a service that does not run here.
    let _ = fs::remove_file(folder.join("jail.d/defaults-debian.conf"));
    for (shipped, path) in [
        ("filter.conf", "filter.d/portsentry-history.conf"),
        ("jail.conf", "jail.d/portsentry.conf"),
    ] {
        let shipped = project("packaging/fail2ban").join(shipped);
        fs::copy(shipped, folder.join(path)).expect("copy");
    }
    let jail = format!(
        "[DEFAULT]\nbanaction_allports = nftables-allports\n\
         [portsentry-history]\nenabled = true\nlogpath = {}\n",
        history.display()
    );
    fs::write(folder.join("jail.d/test.local"), jail).expect("jail");
    fs::write(folder.join("fail2ban.local"), "[Definition]\ndbfile = None\n").expect("server");
}

#[test]
fn exactly_the_triggered_scanners_are_banned() {
    let Some(root) = require_root().filter(|_| has_service("fail2ban-server")) else { return };
    let bed = Testbed::new(root);
    let [patient, ignored, last] = [0, 1, 2].map(|number| further_address(&bed, number));
    let (first, v6) = (IpAddr::from(bed.scanner.v4()), IpAddr::from(bed.scanner.v6()));
    let lists = "SCAN_TRIGGER = \"3\"\nIGNORE_FILE = \"{dir}/portsentry.ignore\"\n";
    let folder = TempDir::new().expect("folder");
    fs::write(folder.path().join("ignore"), format!("{ignored}\n")).expect("ignore file");
    let lists = lists
        .replace("{dir}/portsentry.ignore", &folder.path().join("ignore").display().to_string());
    let watch = Watch::start(&bed, &lists, &[]);

    configuration(folder.path(), &watch.path("history"));
    let etc = folder.path().join("fail2ban").display().to_string();
    let socket = folder.path().join("socket").display().to_string();
    let pid = folder.path().join("pid").display().to_string();
    let paths = ["-c", &etc, "-s", &socket, "-p", &pid];
    let server = [&["-f", "-x", "--logtarget", "stdout"], &paths[..], &["start"]].concat();
    let mut server: Background = bed.host.spawn("fail2ban-server", &server);
    server.wait_for_line(SOON * 2, |line| line.contains("Jail 'portsentry-history' started"));

    let service = bed.host.enter(|| TcpListener::bind((bed.host.v4(), 22))).expect("listen");
    watch.probe_from(first, 2_000..=2_002);
    watch.probe_from(patient.into(), 2_000..=2_001);
    watch.probe_from(ignored.into(), 2_000..=2_009);
    watch.probe_from(v6, 2_000..=2_002);
    // Lines are read in order: once this source is banned, all lines were read.
    watch.probe_from(last.into(), 2_000..=2_002);
    let banned = || {
        let get = [&paths[..], &["get", "portsentry-history", "banip"]].concat();
        let mut banned: Vec<IpAddr> = output(Command::new("fail2ban-client").args(get))
            .split_whitespace()
            .map(|word| word.parse().expect("address"))
            .collect();
        banned.sort();
        banned
    };
    wait_until("the last scanner is banned", || banned().contains(&last.into()));
    let mut expected = [first, v6, last.into()];
    expected.sort();
    assert_eq!(banned(), expected);

    // A banned source cannot connect; another one can.
    let connect = |from: IpAddr| {
        let limit = std::time::Duration::from_millis(500);
        bed.scanner.enter(|| connect_from(from, bed.host.v4().into(), limit))
    };
    assert!(connect(patient.into()), "not banned");
    assert!(!connect(last.into()), "banned");
    drop(service);
}

/// Returns whether a connection from this address can be made.
fn connect_from(from: IpAddr, to: IpAddr, limit: std::time::Duration) -> bool {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
    bind(&socket, &std::net::SocketAddr::new(from, 0)).expect("bind");
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(limit)).expect("time limit");
    let connected = connect(&socket, &std::net::SocketAddr::new(to, 22)).is_ok();
    drop(TcpStream::from(socket));
    connected
}

/// Returns a pseudo-random number that is the same in every run.
fn draw(state: &mut u32, below: u32) -> u32 {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*state >> 8) % below
}

#[test]
fn the_filter_matches_exactly_the_lines_of_triggered_sources() {
    if !has_service("fail2ban-regex") {
        return;
    }
    const NAMES: [&str; 4] =
        ["", "scanner.example.org", "<unknown>", "ignored-false.triggered-true"];
    const TYPES: [&str; 5] = [
        "TCP SYN/Normal scan",
        "TCP NULL scan",
        "TCP XMAS scan",
        "TCP FIN scan",
        "Unknown Type: TCP Packet Flags: SYN: 1 FIN: 1 ACK: 0 PSH: 0 URG: 0 RST: 0",
    ];
    // The possible ends of a line, and whether fail2ban must ban the source.
    const ENDS: [(&str, bool); 6] = [
        ("ignored: [true] triggered: [unset] noblock: [unset] blocked: [unset]", false),
        ("ignored: [false] triggered: [false] noblock: [unset] blocked: [unset]", false),
        ("ignored: [true] triggered: [true] noblock: [true] blocked: [false]", false),
        ("ignored: [false] triggered: [true] noblock: [true] blocked: [false]", true),
        ("ignored: [false] triggered: [true] noblock: [false] blocked: [true]", true),
        ("ignored: [false] triggered: [true] noblock: [false] blocked: [false]", true),
    ];
    let (mut history, mut expected, mut state) = (String::new(), Vec::new(), 1);
    for number in 0..1_000 {
        let mut pick = |below: usize| draw(&mut state, below as u32) as usize;
        let host = match pick(3) {
            0 => format!("2001:db8::{:x}", number + 1),
            _ => format!("198.51.{}.{}", number / 250, number % 250 + 1),
        };
        let name = Some(NAMES[pick(4)]).filter(|name| !name.is_empty()).unwrap_or(&host);
        let options = if host.contains(':') { "unknown" } else { ["set", "not set"][pick(2)] };
        let (protocol, scan) = match pick(4) {
            0 => ("UDP", ["UDP", "Connect"][pick(2)]),
            _ => ("TCP", TYPES[pick(5)]),
        };
        let (end, banned) = ENDS[pick(6)];
        let port = pick(65_535) + 1;
        let _ = writeln!(
            history,
            "2026-11-22T17:27:{:02}.{:03}+0000 Scan from: [{host}] ({name}) protocol: [{protocol}] \
             port: [{port}] type: [{scan}] IP opts: [{options}] {end}",
            number / 20,
            number % 1_000,
        );
        if banned {
            expected.push(host);
        }
    }
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("history");
    fs::write(&path, history).expect("history");
    let matched = output(
        Command::new("fail2ban-regex")
            .args(["-o", "ip"])
            .arg(&path)
            .arg(project("packaging/fail2ban/filter.conf")),
    );
    let matched: Vec<&str> = matched.lines().collect();
    assert!((300..700).contains(&expected.len()), "the lines must be a mixture");
    assert_eq!(matched, expected);
}
