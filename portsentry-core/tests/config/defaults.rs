//! Values without a file.

use std::time::Duration;

use portsentry_core::config::{BlockMode, Key, LocalPorts, Settings};

use crate::clean;

#[test]
fn defaults_are_those_of_the_contract() {
    let settings = Settings::default();
    assert!(settings.tcp_ports.is_empty() && settings.udp_ports.is_empty());
    assert_eq!((settings.block_tcp, settings.block_udp), (BlockMode::Log, BlockMode::Log));
    assert_eq!((settings.scan_trigger, settings.response_timeout), (0, Duration::from_secs(30)));
    assert_eq!((settings.hosts_deny_file.as_str(), settings.block_rate), ("/etc/hosts.deny", 600));
    assert_eq!(settings.served_grace, Duration::from_secs(600));
    assert_eq!((settings.resolve_host, settings.kill_run_cmd_first), (false, false));
    let unset = [
        "IGNORE_FILE",
        "HISTORY_FILE",
        "BLOCKED_FILE",
        "KILL_ROUTE",
        "KILL_HOSTS_DENY",
        "KILL_RUN_CMD",
        "PORT_BANNER",
        "NEVER_BLOCK",
        "CAPTURE_BUFFER",
        "CAPTURE_LATENCY",
        "RUN_AS",
    ];
    for name in unset {
        assert_eq!(Key::find(name).unwrap().value(&settings), None, "{name}");
    }
}

#[test]
fn built_in_settings_only_log_and_keep_clear_of_ordinary_traffic() {
    let settings = Settings::built_in();
    assert_eq!(clean(&settings.to_string()), settings);
    assert_eq!((settings.block_tcp, settings.block_udp), (BlockMode::Log, BlockMode::Log));
    let [tcp_ports, udp_ports] =
        [&settings.tcp_ports, &settings.udp_ports].map(|it| it.ports(LocalPorts::default()));
    // Linux hands out 32768 to 60999 for outgoing connections, other systems
    // 49152 to 65535; a resolver takes any port above 1023 for its queries.
    assert!(tcp_ports.iter().all(|port| port < 32_768));
    assert!(udp_ports.iter().all(|port| port < 1_024));
    // Served on many hosts, or reached by broadcasts and discovery.
    for port in
        [20, 21, 22, 25, 53, 80, 110, 111, 143, 443, 465, 514, 587, 631, 993, 995, 3306, 5432, 8080]
    {
        assert!(!tcp_ports.contains(port), "TCP {port}");
    }
    for port in
        [7, 9, 53, 67, 68, 69, 111, 123, 137, 138, 161, 162, 443, 500, 513, 514, 520, 546, 547, 631]
    {
        assert!(!udp_ports.contains(port), "UDP {port}");
    }
}
