//! The whole program on kernels that lack newer system calls.

use std::net::{IpAddr, TcpListener};

use portsentry_testbed::{Namespace, Release, Signal, Testbed, on_old_kernel, require_root};

use crate::expected::{BLOCKED, Kind, SYN, UDP, already_blocked, denied, event};
use crate::probe::{both_families, can_connect, datagram, syn};
use crate::station::{Ended, PROGRAM, Station};

/// Blocks with all actions; the last command needs a shell and leaves a process behind.
const BLOCK: &str = r#"
TCP_PORTS = "20-30"
UDP_PORTS = "20-30"
HISTORY_FILE = "{dir}/history"
BLOCKED_FILE = "{dir}/blocked"
HOSTS_DENY_FILE = "{dir}/hosts.deny"
BLOCK_TCP = "1"
BLOCK_UDP = "1"
KILL_ROUTE = "ip route replace blackhole $TARGET$"
KILL_HOSTS_DENY = "ALL: [$TARGET$]"
KILL_RUN_CMD = "sleep 1000 > /dev/null 2>&1 & echo $! >> {dir}/did"
RESPONSE_TIMEOUT = "20"
"#;

fn is_blackholed(namespace: &Namespace, host: IpAddr) -> bool {
    let family = if host.is_ipv4() { "-4" } else { "-6" };
    let routes = namespace.ip(&[family, "route", "show", "type", "blackhole"]);
    routes.contains(&host.to_string())
}

#[test]
fn sources_are_blocked_on_old_kernels() {
    let Some(root) = require_root() else { return };
    for release in Release::ALL {
        for options in [&["-m", "raw"][..], &["-m", "pcap"]] {
            let bed = Testbed::new(root);
            let station = Station::with(&bed.host, BLOCK);
            let mut sentry = on_old_kernel(release, || station.start(options));
            for ((source, target), kind) in both_families(&bed).into_iter().zip([SYN, UDP]) {
                let service = bed.host.enter(|| TcpListener::bind((target, 8_080)));
                let _service = service.expect("listen");
                assert!(can_connect(&bed.scanner, target, 8_080));
                match kind {
                    Kind { protocol: "TCP", .. } => syn(&bed.scanner, source, target, 22),
                    _ => datagram(&bed.scanner, source, target, 22),
                }
                sentry.wait_for(&denied(source, &format!("ALL: [{source}]")));
                sentry.wait_for(&event(source, kind, 22, BLOCKED));
                assert!(is_blackholed(&bed.host, source), "{release:?} {options:?} {source}");
                // It takes some seconds, until the scanner gives up.
                let tries = options == ["-m", "raw"] && source.is_ipv4();
                assert!(!tries || !can_connect(&bed.scanner, target, 8_080), "{release:?}");
            }
            sentry.signal(Signal::HUP);
            sentry.wait_for("Configuration reloaded; changed: nothing");
            // The kernel drops its reply, but the probe arrives.
            let (source, target) = both_families(&bed)[0];
            datagram(&bed.scanner, source, target, 23);
            sentry.wait_for(&already_blocked(source));
            let ended = sentry.stop();
            assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
            assert_eq!(ended.stderr.len(), 1, "only the summary: {ended:#?}");
            assert_eq!(ended.lacks.len(), 1, "Landlock is newer: {ended:#?}");
            assert_eq!(station.lines("did").len(), 2, "{release:?} {options:?}");
        }
    }
}

#[test]
fn connect_mode_blocks_on_old_kernels() {
    let Some(root) = require_root() else { return };
    for release in Release::ALL {
        let bed = Testbed::new(root);
        let station = Station::with(&bed.host, BLOCK);
        let mut sentry = on_old_kernel(release, || station.start(&["--connect"]));
        for (source, target) in both_families(&bed) {
            assert!(can_connect(&bed.scanner, target, 22));
            sentry.wait_for(&denied(source, &format!("ALL: [{source}]")));
            sentry.wait_for_part("blocked: [true]");
            assert!(is_blackholed(&bed.host, source), "{release:?} {source}");
        }
        let ended = sentry.stop();
        assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 1), "{ended:#?}");
    }
}

#[test]
fn check_reports_the_features_that_a_kernel_lacks() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, BLOCK);
    let check = || {
        let mut command = bed.host.command(PROGRAM);
        command.arg("check").arg("-c").arg(station.path("portsentry.conf"));
        let ended = Ended::running(command);
        assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0), "{ended:#?}");
        let lines = ended.stdout.iter().filter_map(|line| line.strip_prefix("kernel"));
        lines.map(|line| line.trim_start().to_owned()).collect::<Vec<_>>()
    };
    let pidfd = "lacks pidfd_open (Linux 5.3): a thread waits for the end of each command";
    let close = "lacks close_range with CLOSE_RANGE_CLOEXEC (Linux 5.11): open files are marked \
                 one by one before each command";
    let outgoing = "lacks PACKET_IGNORE_OUTGOING (Linux 4.20): the filter drops the packets that \
                    this host sends, which costs more for each of them";
    let strict = "lacks NETLINK_GET_STRICT_CHK (Linux 4.20): whole routing tables are read to find \
                  the addresses of this host";
    assert_eq!(on_old_kernel(Release::V4_15, check), [pidfd, close, outgoing, strict]);
    assert_eq!(on_old_kernel(Release::V5_10, check), [close]);
    assert_eq!(check(), ["has every feature that portsentry uses"]);
}
