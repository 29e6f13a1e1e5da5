//! Calls that the sandbox refuses, tried through a hook that release builds do not have.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use portsentry_testbed::{Background, SOON, Signal, Testbed, require_root};

use super::CONFIGURATION;
use crate::station::{Ended, PROGRAM, Station};

/// Runs a sentry that carries out the trial in its sandbox, and returns its output.
fn tried(station: &Station<'_>, trial: &str) -> Ended {
    let trial = station.expand(trial);
    let mut process = Background::spawn(trying(station.command(&["-m", "raw"]), &trial));
    let seen = format!("trial: {trial}: ");
    // The sentry reports the result and continues, or the kernel kills it.
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let reported = process.lines().iter().any(|line| line.text.starts_with(&seen));
        if reported && process.lines().iter().any(|line| line.text.ends_with("listening.")) {
            process.signal(Signal::TERM);
            return Ended::of(&mut process);
        }
        let status = fs::read_to_string(format!("/proc/{}/stat", process.pid()));
        if status.map_or(true, |stat| stat.contains(") Z ")) {
            return Ended::of(&mut process);
        }
        assert!(std::time::Instant::now() < deadline, "{trial}: {process:#?}");
        std::thread::yield_now();
    }
}

/// Returns whether this kernel supports every layer of the sandbox; prints the reason if not.
///
/// # Panics
///
/// Panics if a layer is missing and every test must run.
fn kernel_has_all() -> bool {
    let folder = tempfile::TempDir::new().expect("folder");
    let path = folder.path().join("portsentry.conf");
    fs::write(&path, "TCP_PORTS = \"1\"\n").expect("write");
    let mut command = Command::new(PROGRAM);
    command.args(["check", "-c"]).arg(path);
    let ended = Ended::running(command);
    let lack = ended.stdout.iter().find(|line| line.contains("not supported here"));
    let Some(lack) = lack else { return true };
    let required = std::env::var_os("PORTSENTRY_REQUIRE_PRIVILEGED").is_some_and(|it| it == "1");
    assert!(!required, "{lack}, and PORTSENTRY_REQUIRE_PRIVILEGED=1");
    println!("skipped: {lack}");
    false
}

#[test]
fn unneeded_files_and_calls_are_refused_inside() {
    let Some(root) = require_root().filter(|_| kernel_has_all()) else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let service = bed.host.enter(|| TcpListener::bind("127.0.0.1:8080")).expect("listen");
    let check = |trial: &str, expected: &str| {
        let ended = tried(&station, trial);
        let printed = format!("trial: {}: {expected}", station.expand(trial));
        assert!(ended.stderr.contains(&printed), "{printed}: {ended:#?}");
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    };
    const REFUSED: &str = "Permission denied (os error 13)";
    const UNKNOWN: &str = "Function not implemented (os error 38)";
    // Permitted calls show that the trial reports success.
    check("read /etc/hosts", "done");
    check("thread", "done");
    check("read {dir}/portsentry.conf", REFUSED);
    check("read {dir}/blocked", REFUSED);
    check("read /etc/shadow", REFUSED);
    check("read /root/.bashrc", REFUSED);
    check("read /proc/1/environ", REFUSED);
    check("read /proc/sys/net/ipv4/ip_local_port_range", REFUSED);
    check("read /proc/sys/kernel/osrelease", REFUSED);
    check("read /proc/meminfo", REFUSED);
    check("read /proc/self/../sys/kernel/osrelease", REFUSED);
    check("list /proc/sys", REFUSED);
    check("list /proc", REFUSED);
    // Its own folder, with the sockets of its network, remains.
    check("read /proc/self/net/packet", "done");
    check("read /etc/passwd", REFUSED);
    check("write {dir}/history", REFUSED);
    check("write /etc/hosts", REFUSED);
    check("create {dir}/new", REFUSED);
    check("create /tmp/portsentry-new", REFUSED);
    check("list {dir}", REFUSED);
    check("remove {dir}/history", UNKNOWN);
    check("connect 127.0.0.1:8080", REFUSED);
    check("listen 127.0.0.1:8081", REFUSED);
    // AF_VSOCK, AF_ALG.
    check("socket 40", UNKNOWN);
    check("socket 38", UNKNOWN);
    check("kill 1", UNKNOWN);
    drop(service);

    let ends = |trial: &str| {
        let ended = tried(&station, trial);
        assert_eq!(ended.status.signal(), Some(Signal::SYS.as_raw()), "{trial}: {ended:#?}");
    };
    ends("exec /bin/true");
    ends("replace /bin/true");
    ends("root /");
    ends("user");

    station.configure(&format!("{CONFIGURATION}SANDBOX = \"0\""));
    let ended = tried(&station, "read /etc/passwd");
    assert!(ended.stderr.contains(&"trial: read /etc/passwd: done".to_owned()), "{ended:#?}");
}

#[test]
fn a_replay_can_read_captures_and_no_other_file() {
    if !kernel_has_all() {
        return;
    }
    let folder = tempfile::TempDir::new().expect("folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("portsentry.conf"), "TCP_PORTS = \"1\"\n").expect("write");
    fs::write(path("empty.pcap"), crate::forgery::capture(&[])).expect("write");
    let check = |trial: &str, expected: &str| {
        let trial = trial.replace("{dir}", &folder.path().display().to_string());
        let mut command = Command::new(PROGRAM);
        command.arg("replay").arg(path("empty.pcap")).arg("-c").arg(path("portsentry.conf"));
        let ended = Ended::running(trying(command, &trial));
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
        assert!(ended.stderr.contains(&format!("trial: {trial}: {expected}")), "{ended:#?}");
    };
    check("read {dir}/empty.pcap", "done");
    check("read {dir}/portsentry.conf", "Permission denied (os error 13)");
    check("write {dir}/empty.pcap", "Permission denied (os error 13)");
}

fn trying(mut command: Command, trial: &str) -> Command {
    command.env("PORTSENTRY_TRIAL", trial);
    command
}
