//! The configuration and ignore parsers through their public API: what is read
//! from well-formed files, what is found in several places at once, and that no
//! bytes whatever upset them. Malformed files one by one stand in the tests of
//! `portsentry-config`, where their rendering is checked too.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use portsentry_core::PortSet;
use portsentry_core::config::{
    self, BlockMode, Diagnostic, KEYS, Key, Problem, Settings, Severity, Span, Template,
};
use proptest::prelude::*;

fn findings(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(ToString::to_string).collect()
}

/// Parses a file that must be without a finding.
fn clean(file: &str) -> Settings {
    let parsed = config::parse(file.as_bytes());
    assert_eq!(findings(&parsed.diagnostics), [""; 0], "{file}");
    parsed.value
}

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
        RESPONSE_TIMEOUT = "5"
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
    expected.response_timeout = 5;
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
fn defaults_are_those_of_the_contract() {
    let settings = Settings::default();
    assert!(settings.tcp_ports.is_empty() && settings.udp_ports.is_empty());
    assert_eq!((settings.block_tcp, settings.block_udp), (BlockMode::Log, BlockMode::Log));
    assert_eq!((settings.scan_trigger, settings.response_timeout), (0, 30));
    assert_eq!((settings.hosts_deny_file.as_str(), settings.block_rate), ("/etc/hosts.deny", 600));
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
    // Linux hands out 32768 to 60999 for outgoing connections, other systems
    // 49152 to 65535; a resolver takes any port above 1023 for its queries.
    assert!(settings.tcp_ports.iter().all(|port| port < 32_768));
    assert!(settings.udp_ports.iter().all(|port| port < 1_024));
    // Served on many hosts, or reached by broadcasts and discovery.
    for port in
        [20, 21, 22, 25, 53, 80, 110, 111, 143, 443, 465, 514, 587, 631, 993, 995, 3306, 5432, 8080]
    {
        assert!(!settings.tcp_ports.contains(port), "TCP {port}");
    }
    for port in
        [7, 9, 53, 67, 68, 69, 111, 123, 137, 138, 161, 162, 443, 500, 513, 514, 520, 546, 547, 631]
    {
        assert!(!settings.udp_ports.contains(port), "UDP {port}");
    }
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
        &["3:2: warning: TCP_PORTS is set again: this line counts, line 1 does not"],
    );
    assert!(parsed.is_valid());
    assert_eq!(parsed.value.tcp_ports.to_string(), "3");
    assert_eq!(parsed.span_of("TCP_PORTS"), Some(Span { line: 3, column: 15, length: 1 }));
    assert_eq!(parsed.span_of("KILL_ROUTE"), None);

    // What is taken back is taken back to the default.
    let parsed = check(
        "TCP_PORTS=\"1\"\nHISTORY_FILE=\"/a\"\nHISTORY_FILE=\"\"\nRESPONSE_TIMEOUT=\"7\"\nRESPONSE_TIMEOUT=\"x\"",
        &[
            "3:1: warning: HISTORY_FILE is set again: this line counts, line 2 does not",
            "5:1: warning: RESPONSE_TIMEOUT is set again: this line counts, line 4 does not",
            "5:19: error: `x` is not a number; write digits alone",
        ],
    );
    assert_eq!((parsed.value.history_file, parsed.value.response_timeout), (None, 30));
}

#[test]
fn all_errors_are_found_in_one_run() {
    let file = concat!(
        "TCP_PORT = \"1\"\n",
        "UDP_PORTS = \"1,,0,+11,70000,20-10,5-\"\n",
        "BLOCK_TCP = \"1\"\n",
        "BLOCK_UDP = \"3\"\n",
        "RESOLVE_HOST = yes\n",
        "KILL_RUN_CMD = \"echo \"$TARGET$\"\"\n",
    );
    let parsed = config::parse(file.as_bytes());
    assert_eq!(
        findings(&parsed.diagnostics),
        [
            "1:1: error: unknown key `TCP_PORT`",
            "2:16: error: an item is missing; take out the comma too many",
            "2:17: error: port 0 cannot be watched; ports are 1 to 65535",
            "2:19: error: `+11` is not a port; write ports and ranges between commas: `1,7,10-20`",
            "2:23: error: `70000` is above 65535, the last port",
            "2:29: error: the range runs backwards; write `10-20`",
            "2:35: error: the range `5-` lacks an end; write both ends: `10-20`",
            "3:14: error: `BLOCK_TCP = \"1\"` blocks and there is no way to: set `KILL_ROUTE` or `KILL_HOSTS_DENY`",
            "4:14: error: `3` is none of `0` (log only), `1` (block) and `2` (run the command only)",
            "5:16: error: the value must stand in double quotes: `KEY = \"value\"`",
            "6:22: error: a value cannot hold a double quote; use single quotes inside it",
        ]
    );
    assert_eq!(parsed.diagnostics[4].span, Span { line: 2, column: 23, length: 5 });
    assert_eq!(parsed.value.udp_ports.to_string(), "1");
}

#[test]
fn what_is_there_but_wrong_is_not_called_missing() {
    let check = |file: &str| {
        let parsed = config::parse(file.as_bytes());
        assert_eq!(parsed.diagnostics.len(), 1, "{file}: {:?}", parsed.diagnostics);
    };
    check("TCP_PORTS = \"x\"\n");
    check("TCP_PORTS = 1\n");
    check("TCP_PORTS \"1\"\n");
    check("TCP_PORTS = \"1\"\nBLOCK_TCP = \"1\"\nKILL_ROUTE = \"route add\"\n");
    check("TCP_PORTS = \"1\"\nBLOCK_TCP = \"1\"\nKILL_HOSTS_DENY = \"ALL: $TARGET$\n");
    check("TCP_PORTS = \"1\"\nBLOCK_UDP = \"2\"\nKILL_RUN_CMD = \"a\"b\"\n");
}

#[test]
fn ignore_list_freedoms() {
    let file = concat!(
        "\u{feff}# comment\r\n",
        "\t 192.0.2.1 \t# behind it\r\n",
        "\r\n",
        "198.51.100.0/24#close\n",
        "203.0.113.0/255.255.255.128\n",
        "2001:DB8:ABCD::/48  \n",
        "::ffff:10.1.0.0/112\n",
        "::FFFF:172.16.0.1\n",
        "2001:db8::1",
    );
    let parsed = config::parse_ignore_list(file.as_bytes());
    assert_eq!(findings(&parsed.diagnostics), [""; 0]);
    let check = |address: &str, expected: bool| {
        assert_eq!(parsed.value.contains(address.parse().unwrap()), expected, "{address}");
    };
    check("192.0.2.1", true);
    check("192.0.2.2", false);
    check("198.51.100.255", true);
    check("203.0.113.127", true);
    check("203.0.113.128", false);
    check("2001:db8:abcd:ffff::", true);
    check("2001:db8:abce::", false);
    check("10.1.255.255", true);
    check("10.2.0.0", false);
    check("172.16.0.1", true);
    check("2001:db8::1", true);
    check("2001:db8::", false);
}

#[test]
fn ignore_list_warnings() {
    let check = |file: &[u8], expected: &str, inside: &str| {
        let parsed = config::parse_ignore_list(file);
        assert_eq!(findings(&parsed.diagnostics), [expected]);
        assert!(parsed.is_valid() && parsed.value.contains(inside.parse().unwrap()));
    };
    let host_bits = "1:1: warning: the address has bits behind the prefix: taken as ";
    check(b"10.1.2.3/8", &format!("{host_bits}`10.0.0.0/8`"), "10.255.0.0");
    check(b"10.1.2.3/255.255.0.0", &format!("{host_bits}`10.1.0.0/16`"), "10.1.0.0");
    check(b"1.1.1.1/0", &format!("{host_bits}`0.0.0.0/0`"), "255.255.255.255");
    check(b"2001:db8::1/64", &format!("{host_bits}`2001:db8::/64`"), "2001:db8::ffff");
    check(b"::ffff:10.0.0.1/104", &format!("{host_bits}`10.0.0.0/8`"), "10.9.9.9");
    check(
        b"10.0.0.1 # caf\xe9\n",
        "1:15: warning: these bytes are not UTF-8; save the file as UTF-8 or plain ASCII",
        "10.0.0.1",
    );
}

#[test]
fn findings_without_end_are_counted() {
    let parsed = config::parse_ignore_list("x\n".repeat(2_500).as_bytes());
    assert_eq!(parsed.diagnostics.len(), 1_001);
    assert_eq!(parsed.diagnostics[1_000].problem, Problem::More { errors: 1_500, warnings: 0 });
    // Warnings, however many, do not hide an error.
    let parsed = config::parse_ignore_list(format!("{}x", "10.0.0.1/8\n".repeat(2_500)).as_bytes());
    let errors = parsed.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    assert_eq!(findings(&errors.cloned().collect::<Vec<_>>()).len(), 1);
    assert!(!parsed.is_valid());
    // Nor errors a warning.
    let parsed = config::parse_ignore_list(format!("{}10.0.0.1/8", "x\n".repeat(2_500)).as_bytes());
    assert!(parsed.diagnostics.iter().any(|found| found.severity == Severity::Warning));
    // A line of many errors costs its length once, not once for each.
    let parsed = config::parse(format!("TCP_PORTS=\"{}\"", ",".repeat(4 << 20)).as_bytes());
    assert_eq!(parsed.diagnostics[999].span.column, 12 + 999);
}

fn ports() -> impl Strategy<Value = PortSet> {
    prop::collection::vec((1..=u16::MAX, 0_u16..50), 1..20).prop_map(|ranges| {
        let mut set = PortSet::new();
        ranges
            .iter()
            .for_each(|(first, more)| set.insert_range(*first..=first.saturating_add(*more)));
        set
    })
}

/// Text that a value can hold: no quote, no control character, not only blanks.
fn text() -> impl Strategy<Value = String> {
    "[^\"\\p{Cc}]{0,20}[^\"\\p{Cc} ][^\"\\p{Cc}]{0,20}"
}

fn template() -> impl Strategy<Value = Template> {
    (text(), text()).prop_map(|(a, b)| Template::parse(&format!("{a}$TARGET${b}$PORT$")))
}

fn networks() -> impl Strategy<Value = Vec<IpNet>> {
    let network = prop_oneof![
        (any::<[u8; 4]>(), 0_u8..=32).prop_map(|(a, p)| Ipv4Net::new(a.into(), p).unwrap().into()),
        (any::<[u8; 16]>(), 0_u8..=128)
            .prop_map(|(a, p)| Ipv6Net::new(a.into(), p).unwrap().into()),
    ];
    prop::collection::vec(network.prop_map(|network: IpNet| network.trunc()), 0..5)
}

prop_compose! {
    fn files()(
        ignore in prop::option::of(text()),
        history in prop::option::of(text()),
        blocked in prop::option::of(text()),
        hosts_deny in text(),
        banner in prop::option::of(text()),
        run_as in prop::option::of("[a-z][a-z0-9_-]{0,31}"),
        never_block in prop::option::of(networks()),
    ) -> Settings {
        let mut settings = Settings::default();
        settings.ignore_file = ignore;
        settings.history_file = history;
        settings.blocked_file = blocked;
        settings.hosts_deny_file = hosts_deny;
        settings.port_banner = banner;
        settings.run_as = run_as;
        settings.never_block = never_block;
        settings
    }
}

prop_compose! {
    fn settings()(
        mut settings in files(),
        (tcp, udp) in (ports(), ports()),
        modes in (0..3_usize, 0..3_usize),
        templates in (template(), prop::option::of(template()), text()),
        switches in any::<(bool, bool, bool)>(),
        (trigger, timeout, rate) in (any::<u16>(), 1..=3_600_u32, 0..=1_000_000_u32),
        (buffer, latency) in (prop::option::of(1..=1_024_u32), prop::option::of(1..=10_u32)),
    ) -> Settings {
        const MODES: [BlockMode; 3] = [BlockMode::Log, BlockMode::Block, BlockMode::Command];
        settings.tcp_ports = tcp;
        settings.udp_ports = udp;
        (settings.block_tcp, settings.block_udp) = (MODES[modes.0], MODES[modes.1]);
        settings.kill_route = Some(templates.0);
        settings.kill_hosts_deny = templates.1;
        settings.kill_run_cmd = Some(Template::parse(&templates.2));
        (settings.resolve_host, settings.kill_run_cmd_first, settings.sandbox) = switches;
        (settings.scan_trigger, settings.response_timeout, settings.block_rate) = (trigger, timeout, rate);
        (settings.capture_buffer, settings.capture_latency) = (buffer, latency);
        settings
    }
}

/// Pieces of real files, so that random files get past the first character.
fn scraps() -> impl Strategy<Value = Vec<u8>> {
    let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    let scrap = prop_oneof![
        prop::sample::select(names).prop_map(|name| format!("{name} = \"").into_bytes()),
        prop::sample::select(vec![
            "\"\n",
            "\n",
            "\r\n",
            " ",
            "\t",
            "#",
            "=",
            "\"",
            ",",
            "-",
            "1",
            "10-20",
            "0",
            "65536",
            "/",
            "24",
            "10.0.0.1",
            "::ffff:1.2.3.4",
            "2001:db8::",
            "%eth0",
            "255.255.0.0",
            "$TARGET$",
            "$PORT$",
            "$",
            "é",
            "日",
            "\u{feff}",
        ])
        .prop_map(|scrap| scrap.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(scrap, 0..40).prop_map(|scraps| scraps.concat())
}

/// Every place lies within the file, and the findings stand in order.
fn check_places(file: &[u8], diagnostics: &[Diagnostic]) -> Result<(), TestCaseError> {
    let text = String::from_utf8_lossy(file);
    let lines: Vec<&str> = text.split('\n').collect();
    let mut before = (0, 0);
    for Diagnostic { span, .. } in diagnostics {
        prop_assert!((1..=lines.len()).contains(&span.line), "{:?}", span);
        let length = lines[span.line - 1].chars().count();
        // One behind the last character is where something is missing.
        prop_assert!(span.column >= 1 && span.length >= 1, "{:?}", span);
        prop_assert!(span.column + span.length <= length + 2, "{:?} of {}", span, length);
        prop_assert!(before <= (span.line, span.column));
        before = (span.line, span.column);
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_is_written_reads_back(settings in settings()) {
        let parsed = config::parse(settings.to_string().as_bytes());
        prop_assert!(parsed.is_valid(), "{:?}", parsed.diagnostics);
        prop_assert_eq!(parsed.value, settings);
    }

    #[test]
    fn any_bytes_are_read(file in scraps()) {
        let parsed = config::parse(&file);
        check_places(&file, &parsed.diagnostics)?;
        if parsed.is_valid() {
            let again = config::parse(parsed.value.to_string().as_bytes());
            prop_assert_eq!(again.value, parsed.value);
        }
        let parsed = config::parse_ignore_list(&file);
        check_places(&file, &parsed.diagnostics)?;
    }

    #[test]
    fn line_ends_and_a_byte_order_mark_change_nothing(file in scraps()) {
        let unix: Vec<u8> = file.into_iter().filter(|byte| *byte != b'\r' && *byte < 0x80).collect();
        let mut dos = b"\xef\xbb\xbf".to_vec();
        for byte in &unix {
            dos.extend_from_slice(if *byte == b'\n' { b"\r\n" } else { std::slice::from_ref(byte) });
        }
        prop_assert_eq!(config::parse(&unix), config::parse(&dos));
        prop_assert_eq!(config::parse_ignore_list(&unix), config::parse_ignore_list(&dos));
    }

    #[test]
    fn networks_read_as_another_parser_reads_them(networks in networks()) {
        let file: String = networks.iter().map(|network| format!("{network}\n")).collect();
        let parsed = config::parse_ignore_list(file.as_bytes());
        prop_assert_eq!(parsed.value, networks.into_iter().collect());
    }
}
