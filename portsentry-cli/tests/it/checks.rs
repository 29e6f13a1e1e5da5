//! `portsentry check`: its output for valid and for invalid configurations.

use std::process::Command;

use portsentry_testbed::{malformed_configurations, malformed_ignore_lists, require_root};
use tempfile::TempDir;

use crate::station::{Ended, PROGRAM};

/// Checks a configuration and an ignore list, in a separate folder.
fn check(configuration: &str, ignore: &str, options: &[&str]) -> (Ended, String) {
    let folder = TempDir::new().expect("folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("write");
    };
    write("portsentry.conf", configuration);
    write("ignore", ignore);
    let mut command = Command::new(PROGRAM);
    command.args(["check", "-c", "portsentry.conf"]).args(options).current_dir(folder.path());
    (Ended::running(command), folder.path().display().to_string())
}

#[test]
fn a_valid_configuration_is_explained() {
    let configuration = "\
TCP_PORTS = \"1,7,10-20\"
IGNORE_FILE = \"ignore\"
HISTORY_FILE = \"/var/log/history\"
BLOCK_TCP = \"1\"
KILL_ROUTE = \"ip route add blackhole $TARGET$\"
KILL_RUN_CMD = \"true\"
KILL_RUN_CMD_FIRST = \"1\"
SCAN_TRIGGER = \"3\"
NEVER_BLOCK = \"192.0.2.0/24, 2001:db8::1\"
";
    let (ended, folder) = check(configuration, "198.51.100.0/25\n198.51.100.128/25\n::1\n", &[]);
    let expected = [
        format!("configuration  {folder}/portsentry.conf is valid"),
        "TCP ports      1,7,10-20 (13 ports)".to_owned(),
        "UDP ports      none".to_owned(),
        // Adjacent networks are merged.
        format!("ignored        2 address ranges, from {folder}/ignore"),
        "trigger        probe number 3 of a host".to_owned(),
        "TCP response   KILL_RUN_CMD, then KILL_ROUTE, at most 30 s each".to_owned(),
        "UDP response   none, log only".to_owned(),
        "never blocked  192.0.2.0/24, 2001:db8::1/128".to_owned(),
        "history        /var/log/history".to_owned(),
        "blocked file   none".to_owned(),
    ];
    // The hosts that this machine depends on differ, and the ports that it forwards.
    let of_machine = ["protected", "not protected", "not known", "translated"];
    let is_fixed = |line: &&String| !of_machine.iter().any(|label| line.starts_with(label));
    let lines: Vec<String> = ended.stdout.iter().filter(is_fixed).cloned().collect();
    let (explained, sandbox) = lines.split_at(expected.len());
    assert_eq!(explained, expected);
    // The following lines depend on the kernel.
    let labels: Vec<&str> = sandbox.iter().map(|line| line[..15].trim_end()).collect();
    assert_eq!(labels, ["runs as", "capabilities", "files", "system calls", "kernel"]);
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0), "{ended:#?}");
}

#[test]
fn the_word_all_is_not_replaced_by_numbers() {
    let configuration = "TCP_PORTS = \"ALL\"\nUDP_PORTS = \"7\"\n";
    let (ended, _) = check(configuration, "", &["--show", "TCP_PORTS"]);
    assert_eq!((ended.stdout, ended.status.code()), (vec!["ALL".to_owned()], Some(0)));

    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("range");
    let range: Vec<u16> = text.split_whitespace().map(|it| it.parse().expect("port")).collect();
    let [first, last] = range[..] else { panic!("{text}") };
    let number = 65_535 - (u32::from(last) - u32::from(first) + 1);
    let (ended, _) = check(configuration, "", &[]);
    let expected = format!(
        "TCP ports      ALL ({number} ports: all except {first}-{last}, which outgoing connections use)"
    );
    assert_eq!(ended.stdout[1], expected);
}

#[test]
fn check_prints_the_values_of_keys_for_scripts() {
    let configuration = "TCP_PORTS = \"5,1-3\"\nHISTORY_FILE = \"history\"\n";
    let keys = ["HISTORY_FILE", "TCP_PORTS", "BLOCK_TCP", "KILL_ROUTE"];
    let options: Vec<&str> = keys.iter().flat_map(|key| ["--show", key]).collect();
    let (ended, folder) = check(configuration, "", &options);
    assert_eq!(ended.stdout, [&format!("{folder}/history"), "1-3,5", "0", ""]);
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0), "{ended:#?}");

    let (ended, _) = check(configuration, "", &["--show", "HISTORYFILE"]);
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(2), 0), "{ended:#?}");
    assert!(ended.stderr.iter().any(|line| line.contains("HISTORY_FILE")), "{ended:#?}");
}

#[test]
fn the_file_that_check_prints_is_valid() {
    let configuration = "TCP_PORTS = \"011,5\"\nBLOCK_TCP = \"2\"\nKILL_RUN_CMD = \"true\"\n";
    let (ended, _) = check(configuration, "", &["-v"]);
    let file = ended.stdout.iter().position(|line| line == "As a file:").expect("a file");
    let written = ended.stdout[file + 1..].join("\n");
    let (again, _) = check(&written, "", &["-v"]);
    assert_eq!(again.status.code(), Some(0), "{again:#?}");
    assert_eq!(again.stdout[file..], ended.stdout[file..]);
}

#[test]
fn a_warning_is_not_an_error() {
    let (ended, folder) = check("TCP_PORTS = \"1\"\nTCP_PORTS = \"2\"\n", "", &[]);
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    let warning = format!("{folder}/portsentry.conf:2:1: warning: TCP_PORTS is set again");
    assert!(ended.stderr[0].starts_with(&warning), "{ended:#?}");
    assert!(ended.stdout.contains(&"TCP ports      2 (1 port)".to_owned()), "{ended:#?}");
}

/// Asserts that a configuration is refused with exactly these findings.
#[track_caller]
fn refused(configuration: &str, ignore: &str, findings: &[&str]) {
    let (ended, folder) = check(configuration, ignore, &[]);
    assert_eq!(ended.status.code(), Some(78), "{ended:#?}");
    assert_eq!(ended.stdout, [""; 0], "{ended:#?}");
    let prefix = format!("{folder}/");
    let shown: Vec<&str> =
        ended.stderr.iter().filter_map(|line| line.strip_prefix(&prefix)).collect();
    assert_eq!(shown.len(), findings.len(), "{ended:#?}");
    for (shown, finding) in shown.iter().zip(findings) {
        assert!(shown.starts_with(finding), "{shown} is not {finding}");
    }
}

#[test]
fn errors_are_reported_with_their_place() {
    refused("", "", &["portsentry.conf:1:1: error: "]);
    refused(
        "TCP_PORT = \"1\"\nUDP_PORTS = \"7,70000\"\nBLOCK_UDP = \"1\"\n",
        "",
        &[
            "portsentry.conf:1:1: error: unknown key `TCP_PORT`",
            "portsentry.conf:2:16: error: `70000` is above 65535",
            "portsentry.conf:3:14: error: ",
        ],
    );
    refused(
        "TCP_PORTS = \"1\"\nIGNORE_FILE = \"ignore\"\n",
        "192.0.2.1\n  192.0.2.256 # no\n",
        &["ignore:2:3: error: "],
    );
    // A place far down in the file, and the other line end.
    let lines = "# nothing\r\n".repeat(9_999);
    refused(&format!("{lines}TCP_PORTS = \"x\"\r\n"), "", &["portsentry.conf:10000:14: error: "]);
}

#[test]
fn a_missing_file_is_reported() {
    for words in [&["check"][..], &[]] {
        let mut command = Command::new(PROGRAM);
        command.args(words).args(["-c", "/nonexistent/portsentry.conf"]);
        let ended = Ended::running(command);
        assert_eq!(ended.status.code(), Some(78), "{words:?} {ended:#?}");
        let printed = ended.stderr.join("\n");
        assert!(printed.contains("/nonexistent/portsentry.conf"), "{words:?} {ended:#?}");
        assert_eq!(ended.stdout, [""; 0], "it must not start: {ended:#?}");
    }
}

/// Asserts that both `check` and a start refuse this configuration and only print the
/// place of the error.
#[track_caller]
fn starts_nothing(name: &str, folder: &TempDir, file: &str, place: &str) {
    let folder = folder.path();
    for words in [["check", "-c"], ["-L", "-c"]] {
        let mut command = Command::new(PROGRAM);
        command.args(words).arg("portsentry.conf").current_dir(folder);
        let ended = Ended::running(command);
        assert_eq!(ended.status.code(), Some(78), "{name}: {ended:#?}");
        let error = format!("{}/{file}:{place}: error: ", folder.display());
        let first = ended.stderr.iter().find(|line| line.contains(": error: "));
        assert!(first.is_some_and(|line| line.starts_with(&error)), "{name}: {ended:#?}");
        assert_eq!(ended.stdout, [""; 0], "{name}: it must not start");
    }
}

#[test]
fn a_malformed_file_prevents_the_start() {
    for (name, text, place, _) in malformed_configurations() {
        let folder = TempDir::new().expect("folder");
        std::fs::write(folder.path().join("portsentry.conf"), text).expect("write");
        starts_nothing(name, &folder, "portsentry.conf", place);
    }
    for (name, text, place, _) in malformed_ignore_lists() {
        let folder = TempDir::new().expect("folder");
        let configuration = "TCP_PORTS=\"1\"\nIGNORE_FILE=\"ignore\"\n";
        std::fs::write(folder.path().join("portsentry.conf"), configuration).expect("write");
        std::fs::write(folder.path().join("ignore"), text).expect("write");
        starts_nothing(name, &folder, "ignore", place);
    }
}

/// Such a host has no table of local routes yet.
#[test]
fn a_host_on_which_no_interface_was_ever_up_is_no_error() {
    if require_root().is_none() {
        return;
    }
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("portsentry.conf");
    std::fs::write(&path, "TCP_PORTS = \"1\"\n").expect("write");
    let mut command = Command::new("unshare");
    command.args(["--net", PROGRAM, "check", "-c"]).arg(&path);
    let ended = Ended::running(command);
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
}
