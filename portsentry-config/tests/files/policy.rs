//! From a configuration to the rules of the engine.

use portsentry_config::{Configuration, Overrides, Source, load};
use portsentry_core::NetworkSet;
use portsentry_core::config::Settings;

use crate::Place;

#[test]
fn every_rule_comes_from_its_key() {
    let place = Place::new();
    place.file(
        "c",
        "TCP_PORTS=\"1-3\"\nUDP_PORTS=\"9\"\nIGNORE_FILE=\"i\"\nSCAN_TRIGGER=\"4\"\nBLOCK_TCP=\"1\"\n\
         KILL_ROUTE=\"r $TARGET$\"\nBLOCKED_FILE=\"b\"\nBLOCK_RATE=\"7\"\nNEVER_BLOCK=\"::1\"\n",
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
