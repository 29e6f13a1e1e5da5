//! Values of well-formed files.

use std::time::Duration;

use portsentry_core::config::{self, BlockMode, PortList, Settings, Span, Template};

use crate::{clean, findings};

#[test]
fn every_key_reaches_its_field() {
    let settings = clean(
        r#"
        TCP_PORTS = "1,7,10-20"
        UDP_PORTS = "9"
        IGNORE_FILE = "/etc/ignore"
        HISTORY_FILE = "/var/history"
        BLOCKED_FILE = "/var/blocked"
        RESOLVE_HOST = "1"
        BLOCK_TCP = "1"
        BLOCK_UDP = "2"
        KILL_ROUTE = "route add $TARGET$"
        KILL_HOSTS_DENY = "ALL: $TARGET$ # seen on $PORT$"
        KILL_RUN_CMD = "logger '$TARGET$:$PORT$' | cat > /dev/null"
        KILL_RUN_CMD_FIRST = "1"
        SCAN_TRIGGER = "65535"
        PORT_BANNER = "** GO AWAY **"
        SERVED_GRACE = "1h"
        RESPONSE_TIMEOUT = "5min"
        HOSTS_DENY_FILE = "/tmp/hosts.deny"
        NEVER_BLOCK = "192.0.2.1, 198.51.100.0/24 2001:db8::/32"
        BLOCK_RATE = "0"
        CAPTURE_BUFFER = "16"
        CAPTURE_RINGS = "4"
        CAPTURE_LATENCY = "10"
        RUN_AS = "portsentry"
        SANDBOX = "0"
        "#,
    );
    let mut expected = Settings::default();
    expected.tcp_ports = [1, 7].into_iter().chain(10..=20).collect();
    expected.udp_ports = [9].into_iter().collect();
    expected.ignore_file = Some("/etc/ignore".into());
    expected.history_file = Some("/var/history".into());
    expected.blocked_file = Some("/var/blocked".into());
    expected.resolve_host = true;
    expected.block_tcp = BlockMode::Block;
    expected.block_udp = BlockMode::Command;
    expected.kill_route = Some(Template::parse("route add $TARGET$"));
    expected.kill_hosts_deny = Some(Template::parse("ALL: $TARGET$ # seen on $PORT$"));
    expected.kill_run_cmd = Some(Template::parse("logger '$TARGET$:$PORT$' | cat > /dev/null"));
    expected.kill_run_cmd_first = true;
    expected.scan_trigger = 65_535;
    expected.port_banner = Some("** GO AWAY **".into());
    expected.served_grace = Duration::from_secs(3_600);
    expected.response_timeout = Duration::from_secs(300);
    expected.hosts_deny_file = "/tmp/hosts.deny".into();
    expected.never_block = Some(vec![
        "192.0.2.1/32".parse().unwrap(),
        "198.51.100.0/24".parse().unwrap(),
        "2001:db8::/32".parse().unwrap(),
    ]);
    expected.block_rate = 0;
    expected.capture_buffer = Some(16);
    expected.capture_rings = 4;
    expected.capture_latency = Some(10);
    expected.run_as = Some("portsentry".into());
    expected.sandbox = false;
    assert_eq!(settings, expected);
}

#[test]
fn freedoms_of_the_file() {
    let check = |file: &str| {
        let settings = clean(file);
        assert_eq!(settings.tcp_ports.to_string(), "1,7,10-20", "{file:?}");
        assert_eq!(settings.kill_route, None, "{file:?}");
    };
    check("TCP_PORTS=\"1,7,10-20\"\n");
    check("TCP_PORTS=\"1,7,10-20\"");
    check("TCP_PORTS=\"1,7,10-20\"\r\n\r\n");
    check("\u{feff}TCP_PORTS=\"1,7,10-20\"\n");
    check(
        "\u{feff}# comment\r\n\t # indented \"comment\"\r\n  \t \r\n TCP_PORTS\t = \t\"1,7,10-20\"\t \r\n",
    );
    check("TCP_PORTS=\"1,7,10-20\" # a \"quoted\" comment");
    check("TCP_PORTS=\"1,7,10-20\"# a comment");
    check("TCP_PORTS=\" 1 , 007,\t10-20 ,7, 11 , 0012-000000013 \"");
    check("TCP_PORTS=\"20,19,18,17,16,15,14,13,12,11,10,7,1\"");
    check("TCP_PORTS=\"10 - 20,1,7\"");
    check("KILL_ROUTE=\"\"\nTCP_PORTS=\"1,7,10-20\"\nIGNORE_FILE=\"\"\nBLOCKED_FILE=\" \"");
    check(&format!("#{}\nTCP_PORTS=\"1,7,10-20{}\"\n", "x".repeat(5_000), ",1".repeat(5_000)));
    check("# caf\u{e9} \u{1b}[31m \0\nTCP_PORTS=\"1,7,10-20\"");
}

#[test]
fn all_ports_have_one_word() {
    for value in ["ALL", " ALL\t"] {
        let settings = clean(&format!("TCP_PORTS=\"{value}\"\n"));
        assert_eq!((settings.tcp_ports, settings.udp_ports.is_empty()), (PortList::All, true));
    }
    let text = clean("UDP_PORTS=\"ALL\"\n").to_string();
    assert!(text.contains("UDP_PORTS = \"ALL\"\n"), "{text}");
}

#[test]
fn an_empty_list_is_not_the_default() {
    assert_eq!(clean("TCP_PORTS=\"1\"\n").never_block, None);
    assert_eq!(clean("TCP_PORTS=\"1\"\nNEVER_BLOCK=\"\"").never_block, Some(Vec::new()));
    assert_eq!(clean("TCP_PORTS=\"1\"\nHOSTS_DENY_FILE=\"\"").hosts_deny_file, "/etc/hosts.deny");
}

#[test]
fn the_later_of_two_counts() {
    let check = |file: &str, expected: &[&str]| {
        let parsed = config::parse(file.as_bytes());
        assert_eq!(findings(&parsed.diagnostics), expected);
        parsed
    };
    let parsed = check(
        "TCP_PORTS=\"1,2\"\nUDP_PORTS=\"5\"\n TCP_PORTS = \"3\"\n",
        &["3:2: warning: TCP_PORTS is set again: this line overrides line 1"],
    );
    assert!(parsed.is_valid());
    assert_eq!(parsed.value.tcp_ports.to_string(), "3");
    assert_eq!(parsed.span_of("TCP_PORTS"), Some(Span { line: 3, column: 15, length: 1 }));
    assert_eq!(parsed.span_of("KILL_ROUTE"), None);

    // A value that is removed or invalid leaves the default.
    let parsed = check(
        "TCP_PORTS=\"1\"\nHISTORY_FILE=\"/a\"\nHISTORY_FILE=\"\"\nRESPONSE_TIMEOUT=\"7\"\nRESPONSE_TIMEOUT=\"x\"",
        &[
            "3:1: warning: HISTORY_FILE is set again: this line overrides line 2",
            "5:1: warning: RESPONSE_TIMEOUT is set again: this line overrides line 4",
            "5:19: error: `x` is not a duration; write a number of seconds, or a number with a unit: `30`, `30s`, `5min`, `2h` or `1d`",
        ],
    );
    assert_eq!(
        (parsed.value.history_file, parsed.value.response_timeout),
        (None, Duration::from_secs(30))
    );
}

#[test]
fn durations_have_units_and_are_written_as_seconds() {
    let check = |written: &str, seconds: u64| {
        let settings = clean(&format!("TCP_PORTS=\"1\"\nRESPONSE_TIMEOUT=\"{written}\"\n"));
        assert_eq!(settings.response_timeout, Duration::from_secs(seconds), "{written}");
        // A file of an earlier version keeps its form.
        assert!(settings.to_string().contains(&format!("RESPONSE_TIMEOUT = \"{seconds}\"\n")));
    };
    check("30", 30);
    check("3600", 3_600);
    check("45s", 45);
    check("2 min", 120);
    check("1h", 3_600);
}
