//! Configurations and options of portsentry 1.x are refused with their replacement.

use std::fs;
use std::process::{Command, Output};

use crate::generated::project;

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portsentry"));
    let Output { status, stderr, .. } = command.args(arguments).output().expect("portsentry");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn modes_of_1_x_are_refused_with_their_replacement() {
    for (mode, today) in [
        ("-tcp", "--connect"),
        ("-udp", "--connect"),
        ("-stcp", "stealth is the default"),
        ("-sudp", "stealth is the default"),
        ("-atcp", "TCP_PORTS = \"1-1023\""),
        ("-audp", "UDP_PORTS = \"1-1023\""),
    ] {
        let (status, printed) = run(&[mode]);
        assert_eq!(status, Some(2), "{mode}: {printed}");
        assert!(printed.contains(mode) && printed.contains(today), "{mode}: {printed}");
    }
}

#[test]
fn obsolete_keys_of_1_x_are_reported_one_by_one() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("portsentry.conf");
    let lines = [
        "TCP_PORTS=\"1,11,15,79\"",
        "ADVANCED_PORTS_TCP=\"1024\"",
        "ADVANCED_PORTS_UDP=\"1024\"",
        "ADVANCED_EXCLUDE_TCP=\"113,139\"",
        "ADVANCED_EXCLUDE_UDP=\"520,138,137,67\"",
        "RESOLVE_HOST = \"0\"",
        "BLOCK_UDP=\"0\"",
        "KILL_ROUTE=\"/sbin/route add -host $TARGET$ reject\"",
        "SCAN_TRIGGER=\"0\"",
    ];
    fs::write(&path, lines.join("\n")).expect("write");
    let (status, printed) = run(&["check", "-c", &path.display().to_string()]);
    assert_eq!(status, Some(78), "{printed}");
    let errors: Vec<&str> = printed.lines().filter(|line| line.contains(": error: ")).collect();
    assert_eq!(errors.len(), 4, "{printed}");
    for (number, error) in errors.iter().enumerate() {
        assert!(error.contains(&format!(":{}:1: error: ADVANCED_", number + 2)), "{printed}");
        assert!(error.contains("portsentry 1.x"), "{printed}");
    }
}

#[test]
fn every_key_is_in_the_migration_guide_or_is_new() {
    const NEW: [&str; 10] = [
        "SERVED_GRACE",
        "RESPONSE_TIMEOUT",
        "HOSTS_DENY_FILE",
        "NEVER_BLOCK",
        "BLOCK_RATE",
        "CAPTURE_BUFFER",
        "CAPTURE_RINGS",
        "CAPTURE_LATENCY",
        "RUN_AS",
        "SANDBOX",
    ];
    let page = fs::read_to_string(project("docs/migrating.md")).expect("page");
    for key in portsentry_core::config::KEYS {
        let stands = page.contains(&format!("`{}`", key.name));
        assert!(stands || NEW.contains(&key.name), "{} is missing", key.name);
    }
}
