//! Findings at several places of one file.

use portsentry_core::config::{self, Problem, Severity, Span};

use crate::findings;

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
            "2:16: error: an item is missing; remove the extra comma",
            "2:17: error: port 0 cannot be watched; ports are 1 to 65535",
            "2:19: error: `+11` is not a port; write ports and ranges, separated by commas: `1,7,10-20`",
            "2:23: error: `70000` is above 65535, the highest port",
            "2:29: error: the range runs backwards; write `10-20`",
            "2:35: error: the range `5-` lacks an end; write both ends: `10-20`",
            "3:14: error: `BLOCK_TCP = \"1\"` needs an action that blocks; set `KILL_ROUTE` or `KILL_HOSTS_DENY`",
            "4:14: error: `3` is none of `0` (log only), `1` (block) and `2` (run the command only)",
            "5:16: error: the value must be in double quotes: `KEY = \"value\"`",
            "6:22: error: a value cannot contain a double quote; use single quotes inside it",
        ]
    );
    assert_eq!(parsed.diagnostics[4].span, Span { line: 2, column: 23, length: 5 });
    assert_eq!(parsed.value.udp_ports.to_string(), "1");
}

#[test]
fn an_invalid_value_is_not_reported_as_missing() {
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
fn findings_above_the_limit_are_counted() {
    let parsed = config::parse_ignore_list("x\n".repeat(2_500).as_bytes());
    assert_eq!(parsed.diagnostics.len(), 1_001);
    let more = &parsed.diagnostics[1_000].problem;
    assert!(matches!(more, Problem::More { errors: 1_500, warnings: 0, .. }), "{more}");
    // Many warnings do not hide an error.
    let parsed = config::parse_ignore_list(format!("{}x", "10.0.0.1/8\n".repeat(2_500)).as_bytes());
    let errors = parsed.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    assert_eq!(findings(&errors.cloned().collect::<Vec<_>>()).len(), 1);
    assert!(!parsed.is_valid());
    // Many errors do not hide a warning.
    let parsed = config::parse_ignore_list(format!("{}10.0.0.1/8", "x\n".repeat(2_500)).as_bytes());
    assert!(parsed.diagnostics.iter().any(|found| found.severity == Severity::Warning));
    // The cost of a line with many errors is linear in its length.
    let parsed = config::parse(format!("TCP_PORTS=\"{}\"", ",".repeat(4 << 20)).as_bytes());
    assert_eq!(parsed.diagnostics[999].span.column, 12 + 999);
}
