//! Outputs that accept no lines for a while: capture continues, the other outputs get every
//! line, and lost lines are counted and reported.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use portsentry_testbed::{SOON, Signal, Testbed, require_root, wait_until};
use rustix::process::{Pid, kill_process};

use crate::expected::{BLOCKED, LOGGED, SYN, UDP, blocked_in_part, event};
use crate::forgery::Forger;
use crate::probe::{both_families, datagram, syn};
use crate::station::{Sentry, Station, only_child};

const CONFIGURATION: &str = r#"
UDP_PORTS = "1-65535"
HISTORY_FILE = "{dir}/disk/log/history"
"#;

/// Returns the events in a history without time stamps; each line must be complete.
fn history(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| line.get(29..).unwrap_or_default().to_owned()).collect()
}

/// Runs shell commands in the sentry's mount namespace, for example on the history in
/// `disk`.
fn run_inside(sentry: &Sentry, station: &Station<'_>, commands: &str) {
    let mut shell = Command::new("nsenter");
    shell.args(["--mount", "--target", &sentry.pid().to_string()]);
    let output = shell.args(["sh", "-euc", &station.expand(commands)]).output().expect("nsenter");
    assert!(output.status.success(), "{commands}: {output:?}");
}

/// Runs several commands while the responder is suspended, so that it sees only their common
/// result.
fn run_as_one(sentry: &Sentry, station: &Station<'_>, commands: &str) {
    let responder = only_child(sentry.pid());
    kill_process(responder, Signal::STOP).expect("kill");
    run_inside(sentry, station, commands);
    kill_process(responder, Signal::CONT).expect("kill");
}

/// A fault of the history file, and its expected effect.
struct Fault {
    name: &'static str,
    /// Shell commands that cause the fault; `{dir}` is the station's folder.
    strike: &'static str,
    heal: &'static str,
    /// The error message, with `{file}` for the history.
    message: Option<&'static str>,
    /// Whether lines during the fault are lost.
    lost: bool,
    /// The file that contains the lines afterwards.
    kept: &'static str,
    /// Whether earlier lines are lost with the file.
    recreated: bool,
}

const FAULTS: [Fault; 8] = [
    Fault {
        name: "a disk of 1 MiB is full",
        // The filler also fills the rest of the history's last page.
        strike: "cat /dev/zero > {dir}/disk/filler 2>/dev/null || true
                 while printf 'Not a line of a sentry, but it takes the room that one would.\\n' \
                     >> {dir}/disk/log/history 2>/dev/null; do :; done",
        heal: "rm {dir}/disk/filler; echo >> {dir}/disk/log/history",
        message: Some("Cannot write to history file {file}: No space left on device (os error 28)"),
        lost: true,
        kept: "disk/log/history",
        recreated: false,
    },
    Fault {
        name: "removed",
        strike: "rm {dir}/disk/log/history",
        heal: "",
        message: None,
        lost: false,
        kept: "disk/log/history",
        recreated: true,
    },
    Fault {
        name: "removed with its folder",
        strike: "rm -r {dir}/disk/log",
        heal: "",
        message: None,
        lost: false,
        kept: "disk/log/history",
        recreated: true,
    },
    Fault {
        name: "renamed",
        strike: "mv {dir}/disk/log/history {dir}/disk/log/history.1",
        heal: "",
        message: None,
        lost: false,
        kept: "disk/log/history.1",
        recreated: false,
    },
    Fault {
        name: "replaced by a directory",
        strike: "rm {dir}/disk/log/history; mkdir {dir}/disk/log/history",
        heal: "rmdir {dir}/disk/log/history",
        message: Some(
            "history file {file} was removed, and a new one cannot be created: Is a directory (os error 21)",
        ),
        lost: false,
        kept: "disk/log/history",
        recreated: true,
    },
    Fault {
        name: "replaced by another user's link",
        strike: "echo untouched > {dir}/victim; rm {dir}/disk/log/history
                 ln -s {dir}/victim {dir}/disk/log/history
                 chown --no-dereference 65534 {dir}/disk/log/history",
        heal: "[ \"$(cat {dir}/victim)\" = untouched ]; rm {dir}/disk/log/history",
        message: Some(
            "history file {file} was removed, and a new one cannot be created: it is a symbolic link owned by another user; remove it or change its owner to root",
        ),
        lost: false,
        kept: "disk/log/history",
        recreated: true,
    },
    Fault {
        name: "replaced by a pipe that nobody reads",
        strike: "rm {dir}/disk/log/history; mkfifo {dir}/disk/log/history",
        heal: "rm {dir}/disk/log/history",
        message: Some(
            "history file {file} was removed, and a new one cannot be created: No such device or address (os error 6)",
        ),
        lost: false,
        kept: "disk/log/history",
        recreated: true,
    },
    Fault {
        name: "removed from a disk that is read-only then",
        strike: "rm {dir}/disk/log/history; mount -t tmpfs -o ro none {dir}/disk/log",
        heal: "umount {dir}/disk/log",
        message: Some(
            "history file {file} was removed, and a new one cannot be created: Read-only file system (os error 30)",
        ),
        lost: false,
        kept: "disk/log/history",
        recreated: true,
    },
];

#[test]
fn a_history_recovers_from_every_fault() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    for fault in FAULTS {
        check_fault(&bed, &fault);
    }
}

/// Starts a sentry with a separate disk of 1 MiB in `disk`.
fn sentry_with_disk(station: &Station<'_>) -> Sentry {
    fs::create_dir(station.path("disk")).expect("folder");
    let mut command = Command::new("unshare");
    let sentry = station.command(&[]);
    command.args(["--mount", "sh", "-euc"]);
    command.arg(station.expand("mount -t tmpfs -o size=1m none {dir}/disk; exec \"$@\""));
    command.arg("sh").arg(sentry.get_program()).args(sentry.get_args());
    Sentry::watching(command)
}

/// Returns a path of the station as seen in the sentry's mount namespace.
fn inside(sentry: &Sentry, station: &Station<'_>, name: &str) -> PathBuf {
    let folder = format!("/proc/{}/root{}", sentry.pid(), station.path("").display());
    Path::new(&folder).join(name)
}

fn check_fault(bed: &Testbed, fault: &Fault) {
    let name = fault.name;
    let station = Station::with(&bed.host, CONFIGURATION);
    let (source, target): (IpAddr, IpAddr) = (bed.scanner.v4().into(), bed.host.v4().into());
    let mut sentry = sentry_with_disk(&station);
    let folder = inside(&sentry, &station, "");
    let path = |name: &str| folder.join(name);
    let mut probe = |port| {
        datagram(&bed.scanner, source, target, port);
        sentry.wait_for(&event(source, UDP, port, LOGGED));
    };
    let events = |ports: &[u16]| -> Vec<String> {
        ports.iter().map(|port| event(source, UDP, *port, LOGGED)).collect()
    };

    probe(1);
    wait_until(name, || history(&path("disk/log/history")) == events(&[1]));
    run_as_one(&sentry, &station, fault.strike);
    let mut probe = |port| {
        datagram(&bed.scanner, source, target, port);
        sentry.wait_for(&event(source, UDP, port, LOGGED));
    };
    for port in 2..=6 {
        probe(port);
    }
    let printed = |sentry: &Sentry, part: &str| {
        let lines = sentry.lines();
        lines.iter().rfind(|line| line.text.contains(part)).map(|line| line.text.clone())
    };
    let file = station.path("disk/log/history").display().to_string();
    if let Some(message) = fault.message {
        let message = message.replace("{file}", &file);
        wait_until(name, || printed(&sentry, &message).is_some());
    }
    run_inside(&sentry, &station, fault.heal);
    datagram(&bed.scanner, source, target, 7);
    sentry.wait_for(&event(source, UDP, 7, LOGGED));
    if fault.lost {
        let back = format!("history file {file} works again; 5 lines were lost");
        wait_until(name, || printed(&sentry, "works again").is_some());
        assert_eq!(printed(&sentry, "works again"), Some(back), "{name}");
    } else {
        wait_until(name, || history(&path(fault.kept)).last() == events(&[7]).last());
    }
    let before: &[u16] = if fault.recreated { &[] } else { &[1] };
    let after: &[u16] = if fault.lost { &[7] } else { &[2, 3, 4, 5, 6, 7] };
    let mut kept = history(&path(fault.kept));
    kept.retain(|line| line.starts_with("Scan from: "));
    assert_eq!(kept, events(&[before, after].concat()), "{name}");
    let ended = sentry.stop();
    assert_eq!(ended.status.code(), Some(0), "{name}");
    assert_eq!(ended.events(), events(&[1, 2, 3, 4, 5, 6, 7]), "{name}");
    let warned = ended.stderr.iter().any(|line| line.ends_with("was removed; created a new one"));
    assert_eq!(warned, fault.recreated, "{name}");
}

#[test]
fn a_full_disk_damages_neither_the_blocked_file_nor_hosts_deny() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(
        &bed.host,
        r#"
TCP_PORTS = "20-30"
UDP_PORTS = "20-30"
BLOCKED_FILE = "{dir}/disk/blocked"
HOSTS_DENY_FILE = "{dir}/disk/hosts.deny"
BLOCK_TCP = "1"
BLOCK_UDP = "2"
KILL_ROUTE = "true $TARGET$"
KILL_HOSTS_DENY = "ALL: $TARGET$"
KILL_RUN_CMD = "true"
"#,
    );
    let [(first, target), (second, target_v6)] = both_families(&bed);
    let mut sentry = sentry_with_disk(&station);
    let path = |sentry: &Sentry, name| inside(sentry, &station, name);
    let denied = "ALL: 192.0.2.99\n";
    fs::write(path(&sentry, "disk/hosts.deny"), denied).expect("write");
    run_inside(&sentry, &station, "cat /dev/zero > {dir}/disk/filler 2>/dev/null || true");
    syn(&bed.scanner, first, target, 22);
    sentry.wait_for(&event(first, SYN, 22, BLOCKED));
    datagram(&bed.scanner, second, target_v6, 22);
    sentry.wait_for(&event(second, UDP, 22, BLOCKED));
    assert_eq!(fs::read(path(&sentry, "disk/blocked")).expect("read"), b"");
    assert_eq!(fs::read_to_string(path(&sentry, "disk/hosts.deny")).expect("read"), denied);

    // The action that failed is tried again.
    run_inside(&sentry, &station, "rm {dir}/disk/filler");
    sentry.wait_until("the first host is recorded", || {
        syn(&bed.scanner, first, target, 23);
        fs::read(path(&sentry, "disk/blocked")).expect("read").len() == 6
    });
    assert_eq!(
        fs::read_to_string(path(&sentry, "disk/hosts.deny")).expect("read"),
        format!("{denied}ALL: {first}\n")
    );
    let ended = sentry.stop();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    let full = "No space left on device (os error 28)";
    let blocked = station.path("disk/blocked").display().to_string();
    let deny = station.path("disk/hosts.deny").display().to_string();
    assert_eq!(
        ended.stderr[..3],
        [
            format!("KILL_HOSTS_DENY for {first}: {deny}: {full}"),
            blocked_in_part(first, "KILL_HOSTS_DENY"),
            format!(
                "Responded to host {second}, but cannot record it; after a restart, portsentry \
                 responds to it again: {blocked}: {full}"
            ),
        ],
        "{ended:#?}"
    );
}

/// A sentry whose standard output is read only by the test.
struct Unread {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Unread {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("spawn");
        let mut output = BufReader::with_capacity(64, child.stdout.take().expect("stdout"));
        let mut line = String::new();
        while line != "Portsentry is now active and listening.\n" {
            line.clear();
            assert_ne!(output.read_line(&mut line).expect("read"), 0, "the sentry has ended");
        }
        Self { child, output }
    }

    /// Stops the sentry, and returns its exit status and its standard error.
    fn stop(&mut self) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("kill");
        let mut status = None;
        wait_until("the end", || {
            status = self.child.try_wait().expect("wait");
            status.is_some()
        });
        let mut printed = String::new();
        self.child.stderr.take().expect("stderr").read_to_string(&mut printed).expect("read");
        (status.expect("ended").code(), printed)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Number of lines that exceeds the capacity of a pipe and of the output queue.
const MANY: u16 = 64_000;

/// Sends one datagram to each port up to `last`.
fn flood(bed: &Testbed, last: u16) {
    let forger = Forger::new(bed);
    let frames: Vec<_> =
        (1..=last).map(|port| forger.datagram(bed.scanner.v4(), bed.host.v4(), port)).collect();
    forger.send(&frames, 20_000);
}

#[test]
fn an_unread_output_costs_the_history_no_line() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let path = station.path("disk/log/history");
    let mut sentry = Unread::start(station.command(&[]));
    flood(&bed, MANY);
    wait_until("the whole history", || history(&path).len() == usize::from(MANY));
    // Only now is the output read: it contains the kept lines, then the number of lost ones.
    let Unread { child, output } = &mut sentry;
    let pid = Pid::from_child(child);
    let mut messages = BufReader::new(child.stderr.take().expect("stderr")).lines();
    let mut next_with =
        |part: &str| messages.find_map(|line| line.ok().filter(|line| line.contains(part)));
    assert_eq!(
        next_with("Cannot write").as_deref(),
        Some("Cannot write to standard output: no program reads it")
    );
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let lines = output.lines().map(|line| line.expect("read"));
            lines.filter(|line| line.starts_with("Scan from: ")).count()
        });
        let back = next_with("works again").expect("works again");
        kill_process(pid, Signal::TERM).expect("kill");
        let events = reading.join().expect("reader");
        let lost: usize = back
            .strip_prefix("standard output works again; ")
            .and_then(|rest| rest.strip_suffix(" lines were lost")?.parse().ok())
            .unwrap_or_else(|| panic!("{back}"));
        assert!(events > 40_000, "only {events} lines were kept");
        assert_eq!(events + lost, usize::from(MANY));
    });
    assert_eq!(sentry.child.wait().expect("wait").code(), Some(0));
}

#[test]
fn stuck_or_closed_outputs_do_not_prevent_the_end() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let path = station.path("disk/log/history");

    // Both streams go to one full pipe that is not read.
    let sentry = station.command(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(sentry.get_program()).args(sentry.get_args());
    let mut sentry = Unread::start(shell);
    flood(&bed, 2_000);
    wait_until("the whole history", || history(&path).len() == 2_000);
    let (status, _) = sentry.stop();
    assert_eq!(status, Some(0));

    // The reader of the pipe has exited.
    let mut sentry = Unread::start(station.command(&[]));
    let Unread { output, .. } = &mut sentry;
    let closed = std::mem::replace(
        output.get_mut(),
        Command::new("true")
            .stdout(Stdio::piped())
            .spawn()
            .map(|mut child| {
                child.wait().expect("wait");
                child.stdout.take().expect("stdout")
            })
            .expect("spawn"),
    );
    drop(closed);
    let (source, target): (IpAddr, IpAddr) = (bed.scanner.v4().into(), bed.host.v4().into());
    for port in [4_001, 4_002] {
        datagram(&bed.scanner, source, target, port);
        let line = event(source, UDP, port, LOGGED);
        wait_until("a line", || history(&path).last() == Some(&line));
    }
    let (status, printed) = sentry.stop();
    assert_eq!(status, Some(0), "{printed}");
    let broken = "Cannot write to standard output: Broken pipe (os error 32)\n";
    assert!(printed.starts_with(broken), "{printed}");
    // The two events and the last line.
    assert!(printed.contains("3 lines could not be written"), "{printed}");
}

#[test]
fn messages_wait_until_the_logger_is_back() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let socket = station.path("log");
    let logger = || {
        let _ = fs::remove_file(&socket);
        let logger = UnixDatagram::bind(&socket).expect("bind");
        logger.set_read_timeout(Some(SOON)).expect("timeout");
        logger
    };
    let wait_for = |logger: &UnixDatagram, line: &str| {
        let mut buffer = [0; 2048];
        let mut seen = Vec::new();
        loop {
            let length =
                logger.recv(&mut buffer).unwrap_or_else(|e| panic!("{line}: {e}, {seen:?}"));
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let (_, text) = text.split_once("]: ").expect("a tag");
            if text == line {
                return seen;
            }
            seen.push(text.to_owned());
        }
    };
    let (source, target): (IpAddr, IpAddr) = (bed.scanner.v4().into(), bed.host.v4().into());
    let first = logger();
    let path = socket.to_str().expect("path").to_owned();
    let mut sentry = station.start(&["-l", "stdout", "-l", "syslog", "--syslog-socket", &path]);
    let line = |port| event(source, UDP, port, LOGGED);
    let mut probe = |port| {
        datagram(&bed.scanner, source, target, port);
        sentry.wait_for(&line(port));
    };
    probe(1);
    wait_for(&first, &line(1));
    drop(first);
    for port in 2..=50 {
        probe(port);
    }
    let second = logger();
    let waited = wait_for(&second, &line(50));
    assert_eq!(waited, (2..=49).map(line).collect::<Vec<_>>());
    assert_eq!(sentry.stop().status.code(), Some(0));
}
