//! The background mode (`-D`), and the notifications of a service manager.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};

use portsentry_testbed::{Background, SOON, Signal, Testbed, require_root, wait_until};
use rustix::process::{Pid, kill_process, test_kill_process};
use tempfile::TempDir;

use crate::watch::{ports, text};

const PROGRAM: &str = env!("CARGO_BIN_EXE_portsentry");

/// Creates a folder with a configuration, and a socket of that name in it.
fn folder(socket: &str) -> (TempDir, UnixDatagram) {
    let folder = TempDir::new().expect("folder");
    let configuration = "UDP_PORTS = \"1000-1100\"\nHISTORY_FILE = \"history\"\n";
    fs::write(folder.path().join("portsentry.conf"), configuration).expect("configuration");
    let socket = UnixDatagram::bind(folder.path().join(socket)).expect("socket");
    socket.set_read_timeout(Some(SOON)).expect("timeout");
    (folder, socket)
}

fn receive(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).expect("a message");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// Starts the program in the background, in `folder`.
fn start(bed: &Testbed, folder: &Path, options: &[&str]) -> Output {
    let mut command = bed.host.command(PROGRAM);
    command.args(["-D", "--pidfile", "pid", "--syslog-socket"]).arg(folder.join("log"));
    command.args(options).current_dir(folder).output().expect("start")
}

#[test]
fn the_command_returns_once_the_sentry_watches() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let (folder, log) = folder("log");
    let folder = folder.path();
    let output = start(&bed, folder, &["-c", "portsentry.conf"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0), "{output:?}");

    let number = text(&folder.join("pid"));
    let pid = Pid::from_raw(number.trim().parse().expect("a number")).expect("a pid");
    assert_eq!(fs::read_link(format!("/proc/{}/cwd", number.trim())).expect("cwd"), Path::new("/"));
    // The sentry must already watch, so the test does not wait.
    let target = (bed.host.v4(), 1_007);
    let socket = bed.scanner.enter(|| std::net::UdpSocket::bind((bed.scanner.v4(), 0)));
    socket.expect("bind").send_to(b"probe", target).expect("send");
    let line = std::iter::repeat_with(|| receive(&log))
        .find(|message| message.contains("Scan from: ["))
        .expect("a line");
    assert!(line.starts_with("<29>"), "{line}");
    assert!(line.contains(&format!(" portsentry[{}]: Scan from: [", number.trim())), "{line}");

    kill_process(pid, Signal::TERM).expect("kill");
    wait_until("the end", || test_kill_process(pid).is_err());
    assert!(!folder.join("pid").exists());
    // The path was relative to the folder of the start.
    assert_eq!(ports(&text(&folder.join("history"))), [1_007]);
}

#[test]
fn startup_errors_are_reported_to_the_caller() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let (folder, _log) = folder("log");
    let folder = folder.path();
    fs::write(folder.join("bad.conf"), "UDP_PORTS = \"x\"\n").expect("configuration");
    let cases = [
        (["-c", "bad.conf", "-i", "ALL"], 78, "bad.conf:1:14: error: "),
        (["-c", "portsentry.conf", "-i", "nosuch0"], 1, "nosuch0: no such interface"),
    ];
    for (options, status, words) in cases {
        let output = start(&bed, folder, &options);
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{printed}");
        assert!(printed.contains(words), "{printed}");
        assert!(!folder.join("pid").exists());
    }
}

#[test]
fn the_service_manager_is_notified_of_the_state() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let (folder, manager) = folder("notify");
    let mut command: Command = bed.host.command(PROGRAM);
    command.args(["-c", "portsentry.conf"]).current_dir(folder.path());
    command.env("NOTIFY_SOCKET", folder.path().join("notify")).env("WATCHDOG_USEC", "200000");
    let mut process = Background::spawn(command);

    let status = "STATUS=Watching 0 TCP and 101 UDP ports";
    let next = |wanted: &str| {
        std::iter::repeat_with(|| receive(&manager))
            .find(|state| state.lines().any(|line| line == wanted))
            .unwrap_or_default()
    };
    assert!(next("READY=1").lines().any(|line| line == status));
    for _ in 0..3 {
        next("WATCHDOG=1");
    }
    process.signal(Signal::HUP);
    assert!(next("RELOADING=1").contains("MONOTONIC_USEC="));
    assert!(next("READY=1").lines().any(|line| line == status));
    process.signal(Signal::TERM);
    next("STOPPING=1");
    assert!(process.wait(SOON).success());
}
