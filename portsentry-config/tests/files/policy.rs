//! From a configuration to the rules of the engine.

use std::path::Path;

use portsentry_config::{
    Configuration, FileError, LOCAL_PORT_RANGE, LoadError, LocalPortSource, Overrides, PortAccess,
    Source, load, load_with,
};
use portsentry_core::config::{LocalPorts, Settings};
use portsentry_core::{NetworkSet, Protocol};

use crate::Place;

#[test]
fn every_rule_comes_from_its_key() {
    let place = Place::new();
    place.file(
        "c",
        "TCP_PORTS=\"1-3\"\nUDP_PORTS=\"9\"\nIGNORE_FILE=\"i\"\nSCAN_TRIGGER=\"4\"\nBLOCK_TCP=\"1\"\n\
         KILL_ROUTE=\"r $TARGET$\"\nBLOCKED_FILE=\"b\"\nBLOCK_RATE=\"7\"\nSERVED_GRACE=\"3 min\"\nNEVER_BLOCK=\"::1\"\n",
    );
    place.file("i", "192.0.2.0/24\n");
    let policy = place.load("c").unwrap().policy("198.51.100.1".parse().unwrap());
    assert_eq!(
        (policy.tcp_ports.to_string(), policy.udp_ports.to_string()),
        ("1-3".into(), "9".into())
    );
    assert!(policy.ignore.contains("192.0.2.7".parse().unwrap()));
    // The argument replaces the key.
    assert!(policy.never_block.contains("198.51.100.1".parse().unwrap()));
    assert!(!policy.never_block.contains("::1".parse().unwrap()));
    assert_eq!((policy.scan_trigger, policy.block_rate), (4, 7));
    assert_eq!(policy.served_grace.as_secs(), 180);
    assert!(policy.block_tcp && !policy.block_udp && policy.remember_blocked);
    assert!(!policy.respond_to_self && !policy.watch_served_ports);
}

#[test]
fn the_command_line_changes_rules() {
    let place = Place::new();
    place.file("c", "TCP_PORTS=\"1\"\nBLOCK_UDP=\"2\"\nKILL_RUN_CMD=\"true\"\n");
    let overrides = Overrides::default().with_local_check(false).with_service_check(false);
    let configuration = load(&Source::file("c"), overrides, place.path()).unwrap();
    let policy = configuration.policy(NetworkSet::default());
    assert!(policy.respond_to_self && policy.watch_served_ports);
    assert!(!policy.block_tcp && policy.block_udp && !policy.remember_blocked);
}

#[test]
fn settings_of_a_program_have_a_policy_as_well() {
    let policy = Configuration::new(Settings::built_in()).policy(NetworkSet::default());
    assert!(policy.tcp_ports.contains(23) && policy.ignore.is_empty());
    assert!(!policy.respond_to_self && !policy.watch_served_ports);
}

const ALL: &str = "TCP_PORTS=\"7\"\nUDP_PORTS=\"ALL\"\n";

/// Loads `text` on a host whose kernel has this range of ports for outgoing connections.
fn load_on(range: Option<&str>, text: &str) -> Result<Configuration, LoadError> {
    let mut read = |path: &Path| match (path.to_str().unwrap(), range) {
        ("/c", _) => Ok(text.into()),
        (LOCAL_PORT_RANGE, Some(range)) => Ok(range.into()),
        (LOCAL_PORT_RANGE, None) => Err(FileError::Missing(path.into())),
        (other, _) => panic!("{other} was read"),
    };
    let overrides = Overrides::default().with_local_ports(LocalPortSource::Kernel);
    load_with(&Source::file("/c"), overrides, Path::new("/"), &mut read)
}

#[test]
fn all_ports_are_those_without_outgoing_connections() {
    let check = |configuration: &Configuration, expected: &str| {
        let policy = configuration.policy(NetworkSet::default());
        assert_eq!(policy.udp_ports.to_string(), expected);
        assert_eq!(configuration.ports(Protocol::Udp), policy.udp_ports);
        assert_eq!(policy.tcp_ports.to_string(), "7");
        assert_eq!(configuration.settings.udp_ports.to_string(), "ALL");
        for port in [0, 1, 7, 32_768, 60_999, 65_535] {
            let watched = policy.udp_ports.contains(port);
            assert_eq!(configuration.monitors(Protocol::Udp, port), watched, "{port}");
        }
    };
    let of_kernel = load_on(Some("1024\t50000\n"), ALL).unwrap();
    assert!(of_kernel.warnings.is_empty());
    check(&of_kernel, "1-1023,50001-65535");
    let place = Place::new();
    place.file("c", ALL);
    check(&place.load("c").unwrap(), "1-32767,61000-65535");
    let given = LocalPortSource::Given(LocalPorts::new(2, 65_534));
    let given = Overrides::default().with_local_ports(given);
    check(&load(&Source::file("c"), given, place.path()).unwrap(), "1,65535");
}

#[test]
fn an_unknown_range_of_outgoing_connections_is_a_warning() {
    for range in [None, Some("many"), Some("")] {
        let configuration = load_on(range, ALL).unwrap();
        let warnings = configuration.warnings.to_string();
        let expected = "/c:2:12: warning: cannot read /proc/sys/net/ipv4/ip_local_port_range; `ALL` \
                        omits 32768-60999, ";
        assert!(warnings.starts_with(expected), "{warnings}");
        assert_eq!(configuration.local_ports, LocalPorts::default());
    }
    // Without the word, the range is not read.
    assert!(load_on(None, "TCP_PORTS=\"7\"\n").unwrap().warnings.is_empty());
}

#[test]
fn all_ports_without_a_port_are_refused() {
    let Err(LoadError::Invalid(findings)) = load_on(Some("1 65535"), ALL) else {
        panic!("not refused");
    };
    let expected =
        "/c:2:12: error: `ALL` is no port here, because outgoing connections use 1-65535";
    assert!(findings.to_string().starts_with(expected), "{findings}");
}

#[test]
fn connect_mode_cannot_bind_all_ports() {
    let place = Place::new();
    place.file("c", ALL);
    let bound = Overrides::default().with_ports(PortAccess::Bound);
    let Err(LoadError::Invalid(findings)) = load(&Source::file("c"), bound, place.path()) else {
        panic!("not refused");
    };
    let expected = "c:2:12: error: --connect binds each port, and cannot bind all of them; write \
                    `1-1023`";
    assert!(findings.to_string().contains(expected), "{findings}");
    assert_eq!(findings.iter().count(), 1);
    place.file("c", "TCP_PORTS=\"1-1023\"\n");
    assert!(load(&Source::file("c"), bound, place.path()).is_ok());
}
