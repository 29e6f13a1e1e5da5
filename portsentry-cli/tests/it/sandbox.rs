//! Rights of the packet process once it watches, inspected from outside and tried from
//! inside.

#[cfg(debug_assertions)]
mod trials;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use portsentry_testbed::{Signal, Testbed, require_root};

use crate::connect::connected;
use crate::expected::{BLOCKED, LOGGED, SYN, UDP, event};
use crate::probe::{both_families, can_connect, datagram, syn};
use crate::station::{Ended, Sentry, Station, copy_of_program, open_to_all};

const CONFIGURATION: &str = r#"
TCP_PORTS = "20-30"
UDP_PORTS = "20-30"
HISTORY_FILE = "{dir}/history"
BLOCKED_FILE = "{dir}/blocked"
RESOLVE_HOST = "1"
BLOCK_TCP = "2"
KILL_RUN_CMD = "echo $TARGET$ >> {dir}/did"
"#;

const NET_RAW: u64 = 1 << 13;
const NET_BIND_SERVICE: u64 = 1 << 10;

/// Returns a field of a `status` file in `/proc`.
#[track_caller]
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let words: Vec<&str> = line.expect(name).split_whitespace().collect();
    words.join(" ")
}

/// Returns the status file of each thread of a process.
fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("tasks").flatten();
    tasks.map(|task| fs::read_to_string(task.path().join("status")).expect("status")).collect()
}

#[track_caller]
fn check_rights(sentry: &Sentry, kept: u64) {
    let threads = threads(sentry.pid());
    assert!(threads.len() >= 6, "too few threads for reporter and lookups: {}", threads.len());
    for status in &threads {
        for (name, expected) in
            [("CapPrm", kept), ("CapEff", kept), ("CapBnd", 0), ("CapInh", 0), ("CapAmb", 0)]
        {
            let found = u64::from_str_radix(&field(status, name), 16).expect("a number");
            assert_eq!(found, expected, "{name}: {status}");
        }
        assert_eq!(field(status, "NoNewPrivs"), "1", "{status}");
        assert_eq!(field(status, "Seccomp"), "2", "{status}");
    }
    // Responses run with the rights that the sentry was started with.
    let own = fs::read_to_string("/proc/self/status").expect("status");
    let responder = fs::read_to_string(format!("/proc/{}/status", sentry.responder()));
    let responder = responder.expect("status");
    for name in ["CapEff", "CapBnd", "NoNewPrivs", "Seccomp", "Uid"] {
        assert_eq!(field(&responder, name), field(&own, name), "{name}");
    }
}

#[test]
fn unused_rights_are_dropped() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    for (options, kept) in [
        (&["-m", "pcap"][..], NET_RAW),
        (&["-m", "raw"], NET_RAW),
        (&["--connect"], NET_BIND_SERVICE),
    ] {
        let sentry = station.start(options);
        // The lookup threads start with the first configuration.
        sentry.wait_until("threads", || threads(sentry.pid()).len() >= 6);
        check_rights(&sentry, kept);
        sentry.stop();
    }
    if cfg!(feature = "rings") {
        station.configure(&format!("{CONFIGURATION}CAPTURE_RINGS = \"4\""));
        let sentry = station.start(&["-m", "raw"]);
        sentry.wait_until("threads", || threads(sentry.pid()).len() >= 10);
        check_rights(&sentry, NET_RAW);
        sentry.stop();
    }
    station.configure(&format!("{CONFIGURATION}SANDBOX = \"0\""));
    let sentry = station.start(&[]);
    let own = fs::read_to_string("/proc/self/status").expect("status");
    for status in threads(sentry.pid()) {
        for name in ["CapEff", "NoNewPrivs", "Seccomp"] {
            assert_eq!(field(&status, name), field(&own, name), "{name}");
        }
    }
    let printed = "The packet process keeps all its rights (SANDBOX = \"0\")";
    assert_eq!(sentry.stop().stderr[0], printed);

    // With another user the process keeps only this capability, even without a sandbox.
    station.configure(&format!("{CONFIGURATION}SANDBOX = \"0\"\nRUN_AS = \"65534\""));
    let sentry = station.start(&[]);
    for status in threads(sentry.pid()) {
        assert_eq!(field(&status, "CapPrm"), format!("{NET_RAW:016x}"));
        assert_eq!(field(&status, "Uid"), "65534 65534 65534 65534");
    }
    sentry.stop();
}

#[test]
fn only_the_history_file_is_open() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let sentry = station.start(&[]);
    let folder = format!("/proc/{}", sentry.pid());
    let mut files = BTreeSet::new();
    for descriptor in fs::read_dir(format!("{folder}/fd")).expect("fd").flatten() {
        let leads_to = fs::read_link(descriptor.path()).unwrap_or_default();
        if leads_to.starts_with(station.path("")) {
            let number = descriptor.file_name().into_string().expect("number");
            let info = fs::read_to_string(format!("{folder}/fdinfo/{number}")).expect("fdinfo");
            // O_APPEND and O_WRONLY, both octal: existing lines cannot be overwritten.
            let flags = u32::from_str_radix(&field(&info, "flags"), 8).expect("flags");
            assert_eq!(flags & 0o2003, 0o2001, "{info}");
            files.insert(leads_to);
        }
    }
    assert_eq!(files, BTreeSet::from([station.path("history")]));
    sentry.stop();
}

/// Covers all functions of a sentry, with a folder that only root can enter and a user that
/// is not root.
#[test]
fn everything_works_as_another_user() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let as_nobody = format!("{CONFIGURATION}RESOLVE_HOST = \"0\"\nRUN_AS = \"65534\"\n");
    let station = Station::with(&bed.host, &as_nobody);
    let [(v4, target_v4), (v6, target_v6)] = both_families(&bed);
    let mut sentry = station.start(&["--pidfile", &station.expand("{dir}/pid")]);
    for status in threads(sentry.pid()) {
        assert_eq!(field(&status, "Uid"), "65534 65534 65534 65534");
        assert_eq!(field(&status, "Gid"), "65534 65534 65534 65534");
        assert_eq!(field(&status, "Groups"), "65534");
        assert_eq!(field(&status, "CapEff"), format!("{NET_RAW:016x}"));
    }
    assert_eq!(station.lines("pid"), [sentry.pid().to_string()]);
    syn(&bed.scanner, v4, target_v4, 22);
    sentry.wait_for(&event(v4, SYN, 22, BLOCKED));
    assert_eq!(station.lines("did"), [v4.to_string()]);

    // The history is moved away, and the configuration names other ports.
    fs::rename(station.path("history"), station.path("history.1")).expect("rename");
    station.configure(&format!("{as_nobody}UDP_PORTS = \"40-50\""));
    sentry.signal(Signal::HUP);
    sentry.wait_for("Configuration reloaded; changed: UDP_PORTS");
    datagram(&bed.scanner, v6, target_v6, 42);
    sentry.wait_for(&event(v6, UDP, 42, LOGGED));

    // Another interface appears, on which the user may capture.
    bed.scanner.ip(&[
        "link",
        "add",
        "late1",
        "type",
        "veth",
        "peer",
        "name",
        "late0",
        "netns",
        bed.host.name(),
    ]);
    bed.scanner.ip(&["address", "add", "192.0.2.2/24", "dev", "late1"]);
    bed.scanner.ip(&["link", "set", "late1", "up"]);
    bed.host.ip(&["link", "set", "late0", "up"]);
    bed.host.ip(&["address", "add", "192.0.2.1/24", "dev", "late0"]);
    let (from, to) = ("192.0.2.2".parse().expect("address"), "192.0.2.1".parse().expect("address"));
    let line = event(from, UDP, 43, LOGGED);
    sentry.wait_until("the late interface", || {
        datagram(&bed.scanner, from, to, 43);
        sentry.lines().iter().any(|it| it.text == line)
    });
    let ended = sentry.stop();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    assert_eq!(ended.stderr.len(), 1, "only the summary: {ended:#?}");
    assert_eq!(station.history()[0], event(v6, UDP, 42, LOGGED));
    assert_eq!(station.lines("history.1").len(), 1);
    assert_eq!(fs::read(station.path("blocked")).expect("read").len(), 6);
    for file in ["history", "history.1", "blocked"] {
        assert_eq!(fs::metadata(station.path(file)).expect(file).uid(), 0, "{file}");
    }
    assert!(!station.path("pid").exists());
}

#[test]
fn a_reload_binds_new_ports_as_another_user() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let named = "TCP_PORTS = \"20\"\nRUN_AS = \"65534\"\n";
    let station = Station::with(&bed.host, named);
    let [(source, target), _] = both_families(&bed);
    let mut sentry = station.start(&["--connect"]);
    assert!(can_connect(&bed.scanner, target, 20) && !can_connect(&bed.scanner, target, 21));
    station.configure(&format!("{named}TCP_PORTS = \"20,21\""));
    sentry.signal(Signal::HUP);
    sentry.wait_for("Configuration reloaded; changed: TCP_PORTS");
    assert!(can_connect(&bed.scanner, target, 21));
    sentry.wait_for(&connected(source, "TCP", 21, LOGGED));
    sentry.stop();
}

#[test]
fn dropped_rights_do_not_return() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let [(source, target), _] = both_families(&bed);
    let mut sentry = station.start(&[]);
    for (more, key) in [("RUN_AS = \"nobody\"", "RUN_AS"), ("SANDBOX = \"0\"", "SANDBOX")] {
        station.configure(&format!("{CONFIGURATION}UDP_PORTS = \"40\"\n{more}"));
        sentry.signal(Signal::HUP);
        sentry.wait_for(&format!("{key} has changed: restart needed"));
        sentry.wait_for("The new configuration was rejected; the previous one remains in effect.");
        // The reload is refused as a whole: the old ports and responses remain.
        datagram(&bed.scanner, source, target, 22);
        sentry.wait_for_part("port: [22]");
    }
    syn(&bed.scanner, source, target, 23);
    sentry.wait_for_part("blocked: [true]");
    assert_eq!(station.lines("did"), [source.to_string()]);
    sentry.stop();
}

/// Simulates a kernel or a container without support for sandboxes.
#[test]
fn missing_sandbox_layers_are_reported_and_everything_else_works() {
    use seccompiler::{SeccompAction, SeccompFilter, apply_filter};
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let [(source, target), _] = both_families(&bed);
    // The processes that a thread starts inherit its filter.
    std::thread::scope(|scope| {
        let container = scope.spawn(|| {
            let unknown = [libc::SYS_landlock_create_ruleset, libc::SYS_capset, libc::SYS_seccomp];
            let filter: seccompiler::BpfProgram = SeccompFilter::new(
                unknown.map(|call| (call, Vec::new())).into_iter().collect(),
                SeccompAction::Allow,
                SeccompAction::Errno(libc::ENOSYS.cast_unsigned()),
                std::env::consts::ARCH.try_into().expect("architecture"),
            )
            .and_then(TryInto::try_into)
            .expect("filter");
            apply_filter(&filter).expect("seccomp");
            let mut sentry = station.start(&[]);
            syn(&bed.scanner, source, target, 22);
            sentry.wait_for_part("blocked: [true]");
            let ended = sentry.stop();
            let unknown = "Function not implemented (os error 38)";
            let expected = format!(
                "The sandbox is incomplete here, without capabilities ({unknown}), \
                 Landlock (not in this kernel), seccomp (Error calling `seccomp`: {unknown})"
            );
            assert_eq!(ended.lacks, [expected], "{ended:#?}");
        });
        container.join().expect("the test");
    });
    assert_eq!(station.lines("did"), [source.to_string()]);
}

#[test]
fn without_descriptors_a_reload_is_refused() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let quiet = format!("{CONFIGURATION}RESOLVE_HOST = \"0\"\n");
    let station = Station::with(&bed.host, &quiet);
    let [(source, target), _] = both_families(&bed);
    let mut sentry = station.start(&[]);
    let pid = sentry.pid().to_string();
    let limit = |descriptors: &str| {
        let limit = format!("--nofile={descriptors}");
        bed.host.run("prlimit", &["--pid", &pid, &limit]);
    };
    // The process has more open, and does not open and close the lowest ones.
    limit("6:4096");
    station.configure(&format!("{quiet}UDP_PORTS = \"40\""));
    sentry.signal(Signal::HUP);
    sentry.wait_for("cannot receive the history file: Too many open files (os error 24)");
    sentry.wait_for("The new configuration was rejected; the previous one remains in effect.");
    limit("4096:4096");
    datagram(&bed.scanner, source, target, 22);
    sentry.wait_for(&event(source, UDP, 22, LOGGED));
    sentry.signal(Signal::HUP);
    sentry.wait_for("Configuration reloaded; changed: UDP_PORTS");
    datagram(&bed.scanner, source, target, 40);
    sentry.wait_for(&event(source, UDP, 40, LOGGED));
    sentry.stop();
    assert_eq!(station.history().len(), 2);
}

#[test]
fn an_unavailable_user_is_an_error() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, "TCP_PORTS = \"20\"\nRUN_AS = \"no-such-user\"\n");
    let ended = Ended::running(station.command(&[]));
    assert_eq!(ended.status.code(), Some(78), "{ended:#?}");
    assert!(ended.stderr.join("\n").contains("there is no user `no-such-user`"), "{ended:#?}");

    station.configure("TCP_PORTS = \"20\"\nRUN_AS = \"daemon\"\n");
    open_to_all(&station.path(""));
    let program = copy_of_program(&station.path(""));
    let mut command = bed.host.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.args(["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"]);
    command.arg(&program).arg("-c").arg(station.path("portsentry.conf"));
    let ended = Ended::running(command);
    assert_eq!(ended.status.code(), Some(77), "{ended:#?}");
    // The first line is about the ports that are not known without CAP_NET_ADMIN.
    assert!(ended.stderr[1].contains("cannot become the user daemon"), "{ended:#?}");
}
