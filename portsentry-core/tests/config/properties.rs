//! Random settings and random bytes.

use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use portsentry_core::PortSet;
use portsentry_core::config::{self, BlockMode, Diagnostic, KEYS, PortList, Settings, Template};
use proptest::prelude::*;

fn ports() -> impl Strategy<Value = PortList> {
    let listed = prop::collection::vec((1..=u16::MAX, 0_u16..50), 1..20).prop_map(|ranges| {
        let mut set = PortSet::new();
        ranges
            .iter()
            .for_each(|(first, more)| set.insert_range(*first..=first.saturating_add(*more)));
        PortList::from(set)
    });
    prop_oneof![9 => listed, 1 => Just(PortList::All)]
}

/// Text that a value can contain: no quote, no control character, not only blanks.
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
        (trigger, timeout, rate) in (any::<u16>(), 1..=3_600_u64, 0..=1_000_000_u32),
        grace in 0..=86_400_u64,
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
        (settings.scan_trigger, settings.block_rate) = (trigger, rate);
        settings.response_timeout = Duration::from_secs(timeout);
        settings.served_grace = Duration::from_secs(grace);
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
            "ALL",
            "0",
            "65536",
            "/",
            "24",
            "min",
            "d",
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

/// Returns all places are within the file, and the findings are in order.
fn check_places(file: &[u8], diagnostics: &[Diagnostic]) -> Result<(), TestCaseError> {
    let text = String::from_utf8_lossy(file);
    let lines: Vec<&str> = text.split('\n').collect();
    let mut before = (0, 0);
    for Diagnostic { span, .. } in diagnostics {
        prop_assert!((1..=lines.len()).contains(&span.line), "{:?}", span);
        let length = lines[span.line - 1].chars().count();
        // One column after the last character marks missing text.
        prop_assert!(span.column >= 1 && span.length >= 1, "{:?}", span);
        prop_assert!(span.column + span.length <= length + 2, "{:?} of {}", span, length);
        prop_assert!(before <= (span.line, span.column));
        before = (span.line, span.column);
    }
    Ok(())
}

proptest! {
    #[test]
    fn written_settings_read_back(settings in settings()) {
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
