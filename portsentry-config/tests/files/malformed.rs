//! Malformed configurations, one error a row: name, text, `line:column`, part of
//! the message. `TCP_PORTS` is set where that is not the point, so that the
//! error of the row is the only one.

use crate::{Place, assert_error_at};

type Row = (&'static str, &'static [u8], &'static str, &'static str);

#[test]
fn every_malformed_configuration_is_refused_at_its_place() {
    for (name, text, place, message) in GRAMMAR.iter().chain(VALUES).chain(KEYS_AGAINST_KEYS) {
        let directory = Place::new();
        directory.file("portsentry.conf", text);
        let findings = directory.refused("portsentry.conf");
        assert_error_at(name, &findings, "portsentry.conf", place, message);
        assert_eq!(findings.iter().count(), 1, "{name}: more than one finding:\n{findings}");
    }
}

#[test]
fn the_table_is_large_enough_to_mean_something() {
    let rows: Vec<_> = GRAMMAR.iter().chain(VALUES).chain(KEYS_AGAINST_KEYS).collect();
    assert!(rows.len() >= 60);
    for (index, row) in rows.iter().enumerate() {
        assert!(rows[index + 1..].iter().all(|other| other.1 != row.1), "{} stands twice", row.0);
    }
}

const GRAMMAR: &[Row] = &[
    ("prose", b"TCP_PORTS=\"1\"\nwatch these ports\n", "2:7", "`=` is missing after `watch`"),
    ("key alone", b"TCP_PORTS=\"1\"\nKILL_ROUTE\n", "2:11", "`=` is missing after `KILL_ROUTE`"),
    ("no equals sign", b"TCP_PORTS \"1\"\n", "1:11", "`=` is missing after `TCP_PORTS`"),
    ("colon for equals sign", b"TCP_PORTS: \"1\"", "1:10", "`=` is missing after `TCP_PORTS`"),
    ("no key", b"TCP_PORTS=\"1\"\n = \"2\"\n", "2:2", "a key is missing"),
    ("no value", b"TCP_PORTS =\n", "1:12", "must stand in double quotes"),
    ("value without quotes", b"TCP_PORTS = 1,2\n", "1:13", "must stand in double quotes"),
    ("single quotes", b"TCP_PORTS='1'\n", "1:11", "must stand in double quotes"),
    (
        "curly quotes",
        "TCP_PORTS=\u{201c}1\u{201d}\n".as_bytes(),
        "1:11",
        "must stand in double quotes",
    ),
    ("two equals signs", b"TCP_PORTS==\"1\"\n", "1:11", "must stand in double quotes"),
    ("comment for value", b"TCP_PORTS= # \"1\"\n", "1:12", "must stand in double quotes"),
    ("unclosed", b"TCP_PORTS=\"1,2\n", "1:11", "not closed"),
    ("unclosed at the end of the file", b"TCP_PORTS=\"", "1:11", "not closed"),
    ("unclosed before a comment", b"TCP_PORTS=\"1 # one\r\n", "1:11", "not closed"),
    ("unclosed, the next line is fine", b"TCP_PORTS=\"1\nUDP_PORTS=\"2\"\n", "1:11", "not closed"),
    ("text behind", b"TCP_PORTS=\"1\" 2\n", "1:15", "may follow the closing quote"),
    ("text close behind", b"TCP_PORTS=\"1\"x # comment\n", "1:14", "may follow the closing quote"),
    ("semicolon behind", b"TCP_PORTS=\"1\";\n", "1:14", "may follow the closing quote"),
    (
        "two keys on a line",
        b"TCP_PORTS=\"1\" UDP_PORTS=\"2\"\n",
        "1:13",
        "cannot hold a double quote",
    ),
    ("quote inside", b"TCP_PORTS=\"1\"\nKILL_RUN_CMD=\"echo \"x\"\"", "2:20", "use single quotes"),
    ("escaped quote", b"TCP_PORTS=\"1\"\nPORT_BANNER=\"a\\\"b\"", "2:16", "use single quotes"),
    ("unknown key", b"TCP_PORTS=\"1\"\nFOO=\"1\"\n", "2:1", "unknown key `FOO`"),
    (
        "ports of 1.x",
        b"TCP_PORTS=\"1\"\nADVANCED_PORTS_TCP=\"1023\"\n",
        "2:1",
        "a key of portsentry 1.x; ports are listed: write `TCP_PORTS",
    ),
    (
        "exclusions of 1.x",
        b"TCP_PORTS=\"1\"\nADVANCED_EXCLUDE_UDP=\"520,138\"\n",
        "2:1",
        "a key of portsentry 1.x; take it out",
    ),
    ("mode of 1.x", b"TCP_PORTS=\"1\"\nTCP_MODE=\"atcp\"\n", "2:1", "the ports in `TCP_PORTS`"),
    ("prefix of a key", b"TCP_PORTS=\"1\"\nTCP_P=\"2\"\n", "2:1", "unknown key `TCP_P`"),
    (
        "key with more behind",
        b"TCP_PORTS=\"1\"\nTCP_PORTS2=\"2\"\n",
        "2:1",
        "unknown key `TCP_PORTS2`",
    ),
    ("small letters", b"TCP_PORTS=\"1\"\nudp_ports=\"2\"\n", "2:1", "unknown key `udp_ports`"),
    (
        "key with a blank",
        b"TCP_PORTS=\"1\"\nUDP PORTS=\"2\"\n",
        "2:5",
        "`=` is missing after `UDP`",
    ),
    (
        "key from a shell",
        b"TCP_PORTS=\"1\"\nexport UDP_PORTS=\"2\"\n",
        "2:8",
        "`=` is missing after `export`",
    ),
    (
        "key without a comment sign",
        b"TCP_PORTS=\"1\"\n;UDP_PORTS=\"2\"",
        "2:1",
        "unknown key `;UDP_PORTS`",
    ),
    ("key in Cyrillic", "TCP_PORTS=\"1\"\nT\u{421}P_PORTS=\"2\"".as_bytes(), "2:1", "unknown key"),
    ("key with an escape", b"TCP_PORTS=\"1\"\n\x1b[2J=\"2\"", "2:1", "unknown key `\\u{1b}[2J`"),
    (
        "byte-order mark twice",
        b"\xef\xbb\xbf\xef\xbb\xbfTCP_PORTS=\"1\"\nUDP_PORTS=\"1\"",
        "1:1",
        "unknown key",
    ),
    ("not UTF-8 in a value", b"TCP_PORTS=\"1\"\nPORT_BANNER=\"caf\xe9\"\n", "2:17", "not UTF-8"),
    ("not UTF-8 in a list", b"TCP_PORTS=\"1,\xff,2\"\n", "1:14", "not UTF-8"),
    ("not UTF-8 in a key", b"TCP_PORTS=\"1\"\nB\xe9=\"1\"\n", "2:2", "not UTF-8"),
    ("not UTF-8 behind the value", b"TCP_PORTS=\"1\" \xff\n", "1:15", "not UTF-8"),
    (
        "not UTF-8 behind a quoted number sign",
        b"TCP_PORTS=\"1\"\nKILL_RUN_CMD=\"# \xff\"",
        "2:17",
        "not UTF-8",
    ),
    ("UTF-16, little end first", b"\xff\xfeT\0C\0P\0", "1:1", "UTF-16"),
    ("UTF-16, big end first", b"\xfe\xff\0T\0C\0P", "1:1", "UTF-16"),
    ("Mac line ends", b"TCP_PORTS=\"1\"\rUDP_PORTS=\"2\"\r", "1:13", "cannot hold a double quote"),
];

const VALUES: &[Row] = &[
    ("no ports", b"TCP_PORTS=\"\"\n", "1:12", "value is empty"),
    ("blanks for ports", b"TCP_PORTS=\"  \"\n", "1:12", "value is empty"),
    ("comma alone before", b"TCP_PORTS=\",1\"\n", "1:12", "item is missing"),
    ("comma alone behind", b"TCP_PORTS=\"1,\"\n", "1:14", "item is missing"),
    ("two commas", b"TCP_PORTS=\"1, ,2\"\n", "1:15", "item is missing"),
    ("plus sign", b"TCP_PORTS=\"1,+11\"\n", "1:14", "`+11` is not a port"),
    ("port 0", b"TCP_PORTS=\"1,0\"\n", "1:14", "port 0 cannot be watched"),
    ("port 000", b"TCP_PORTS=\"000\"\n", "1:12", "port 0 cannot be watched"),
    ("range from 0", b"TCP_PORTS=\"0-10\"\n", "1:12", "port 0 cannot be watched"),
    ("port 65536", b"TCP_PORTS=\"1,65536\"\n", "1:14", "`65536` is above 65535"),
    ("port of many digits", b"TCP_PORTS=\"1,99999999999999999999\"\n", "1:14", "is above 65535"),
    ("range to 70000", b"TCP_PORTS=\"10-70000\"\n", "1:15", "`70000` is above 65535"),
    ("backward range", b"TCP_PORTS=\"1,20-10\"\n", "1:14", "write `10-20`"),
    ("range without last", b"TCP_PORTS=\"1,20-\"\n", "1:14", "`20-` lacks an end"),
    ("range without first", b"TCP_PORTS=\"-20,30\"\n", "1:12", "`-20` lacks an end"),
    ("hyphen alone", b"TCP_PORTS=\"-\"\n", "1:12", "`-` lacks an end"),
    ("range of three", b"TCP_PORTS=\"1-2-3\"\n", "1:14", "`2-3` is not a port"),
    ("service name", b"UDP_PORTS=\"7,tftp\"\n", "1:14", "`tftp` is not a port"),
    ("ports between blanks", b"TCP_PORTS=\"1 2\"\n", "1:12", "`1 2` is not a port"),
    ("hexadecimal", b"TCP_PORTS=\"0x17\"\n", "1:12", "`0x17` is not a port"),
    ("fraction", b"TCP_PORTS=\"1.5\"\n", "1:12", "`1.5` is not a port"),
    ("digits of another script", "TCP_PORTS=\"\u{661}\"\n".as_bytes(), "1:12", "is not a port"),
    (
        "port behind wide characters",
        "UDP_PORTS=\"1, \u{65e5}\u{672c}\"".as_bytes(),
        "1:15",
        "is not a port",
    ),
    ("en dash", "TCP_PORTS=\"1\u{2013}5\"\n".as_bytes(), "1:12", "is not a port"),
    ("NUL in ports", b"TCP_PORTS=\"1\0\"\n", "1:13", "control character \\u{0}"),
    (
        "carriage return inside",
        b"TCP_PORTS=\"1\"\nKILL_RUN_CMD=\"a\rb\"",
        "2:16",
        "control character \\u{d}",
    ),
    (
        "NUL in a command",
        b"TCP_PORTS=\"1\"\nKILL_RUN_CMD=\"a\0b\"\n",
        "2:16",
        "control character \\u{0}",
    ),
    (
        "NUL in a banner",
        b"TCP_PORTS=\"1\"\nPORT_BANNER=\"a\0\"\n",
        "2:15",
        "control character \\u{0}",
    ),
    (
        "escape in a path",
        b"TCP_PORTS=\"1\"\nHISTORY_FILE=\"/\x1b[m\"\n",
        "2:16",
        "control character \\u{1b}",
    ),
    ("switch of 2", b"TCP_PORTS=\"1\"\nRESOLVE_HOST=\"2\"\n", "2:15", "`2` is neither"),
    ("switch of yes", b"TCP_PORTS=\"1\"\nKILL_RUN_CMD_FIRST=\"yes\"\n", "2:21", "`yes` is neither"),
    ("empty switch", b"TCP_PORTS=\"1\"\nRESOLVE_HOST=\"\"\n", "2:15", "value is empty"),
    ("switch of 01", b"TCP_PORTS=\"1\"\nRESOLVE_HOST=\"01\"\n", "2:15", "`01` is neither"),
    ("mode 3", b"TCP_PORTS=\"1\"\nBLOCK_TCP=\"3\"\n", "2:12", "`3` is none of"),
    ("mode -1", b"TCP_PORTS=\"1\"\nBLOCK_UDP=\"-1\"\n", "2:12", "`-1` is none of"),
    ("mode 0 with text", b"TCP_PORTS=\"1\"\nBLOCK_UDP=\"0x\"\n", "2:12", "`0x` is none of"),
    ("empty mode", b"TCP_PORTS=\"1\"\nBLOCK_UDP=\"\"\n", "2:12", "value is empty"),
    (
        "trigger of 65536",
        b"TCP_PORTS=\"1\"\nSCAN_TRIGGER=\"65536\"\n",
        "2:15",
        "not between 0 and 65535 probes",
    ),
    ("negative trigger", b"TCP_PORTS=\"1\"\nSCAN_TRIGGER=\"-1\"\n", "2:15", "`-1` is not a number"),
    (
        "trigger with a sign",
        b"TCP_PORTS=\"1\"\nSCAN_TRIGGER=\"+1\"\n",
        "2:15",
        "`+1` is not a number",
    ),
    ("empty trigger", b"TCP_PORTS=\"1\"\nSCAN_TRIGGER=\"\"\n", "2:15", "value is empty"),
    (
        "trigger of words",
        b"TCP_PORTS=\"1\"\nSCAN_TRIGGER=\"two\"\n",
        "2:15",
        "`two` is not a number",
    ),
    (
        "time-out of nothing",
        b"TCP_PORTS=\"1\"\nRESPONSE_TIMEOUT=\"0\"\n",
        "2:19",
        "between 1 and 3600 seconds",
    ),
    (
        "time-out with a unit",
        b"TCP_PORTS=\"1\"\nRESPONSE_TIMEOUT=\"30s\"\n",
        "2:19",
        "`30s` is not a number",
    ),
    (
        "rate beyond reason",
        b"TCP_PORTS=\"1\"\nBLOCK_RATE=\"99999999999\"\n",
        "2:13",
        "between 0 and 1000000",
    ),
    ("latency of 11", b"TCP_PORTS=\"1\"\nCAPTURE_LATENCY=\"11\"\n", "2:18", "between 1 and 10 ms"),
    ("buffer of 0", b"TCP_PORTS=\"1\"\nCAPTURE_BUFFER=\"0\"\n", "2:17", "between 1 and 1024 MiB"),
    ("empty banner", b"TCP_PORTS=\"1\"\nPORT_BANNER=\"\"\n", "2:14", "value is empty"),
    ("user with a colon", b"TCP_PORTS=\"1\"\nRUN_AS=\"a:b\"\n", "2:9", "`a:b` is not a user name"),
    ("empty user", b"TCP_PORTS=\"1\"\nRUN_AS=\"\"\n", "2:9", "value is empty"),
    (
        "never block a name",
        b"TCP_PORTS=\"1\"\nNEVER_BLOCK=\"10.0.0.1, gw\"\n",
        "2:24",
        "`gw` is a host name",
    ),
    (
        "never block nothing",
        b"TCP_PORTS=\"1\"\nNEVER_BLOCK=\"10.0.0.1,,::1\"\n",
        "2:23",
        "item is missing",
    ),
    (
        "never block too long",
        b"TCP_PORTS=\"1\"\nNEVER_BLOCK=\"10.0.0.1/33\"\n",
        "2:23",
        "length `33` is above 32",
    ),
    (
        "route without target",
        b"TCP_PORTS=\"1\"\nKILL_ROUTE=\"route add $PORT$\"\n",
        "2:13",
        "`$TARGET$` is missing",
    ),
    (
        "route with half a target",
        b"TCP_PORTS=\"1\"\nKILL_ROUTE=\"route add $TARGET\"\n",
        "2:13",
        "`$TARGET$` is missing",
    ),
    (
        "target in small letters",
        b"TCP_PORTS=\"1\"\nKILL_ROUTE=\"route $target$\"\n",
        "2:13",
        "`$TARGET$` is missing",
    ),
    (
        "hosts.deny without target",
        b"TCP_PORTS=\"1\"\nKILL_HOSTS_DENY=\"ALL: ALL\"\n",
        "2:18",
        "`$TARGET$` is missing",
    ),
];

const KEYS_AGAINST_KEYS: &[Row] = &[
    ("empty file", b"", "1:1", "set `TCP_PORTS` or `UDP_PORTS`"),
    ("comments alone", b"# TCP_PORTS=\"1\"\n\n# end\n", "3:1", "set `TCP_PORTS` or `UDP_PORTS`"),
    ("no ports", b"RESOLVE_HOST=\"1\"\n", "1:1", "set `TCP_PORTS` or `UDP_PORTS`"),
    (
        "block TCP, no way to",
        b"TCP_PORTS=\"1\"\nBLOCK_TCP=\"1\"\n",
        "2:12",
        "set `KILL_ROUTE` or `KILL_HOSTS_DENY`",
    ),
    (
        "block UDP, no way to",
        b"UDP_PORTS=\"1\"\nBLOCK_UDP = \"1\"\n",
        "2:14",
        "set `KILL_ROUTE` or `KILL_HOSTS_DENY`",
    ),
    (
        "block, command alone",
        b"BLOCK_TCP=\"1\"\nTCP_PORTS=\"1\"\nKILL_RUN_CMD=\"true\"\n",
        "1:12",
        "set `KILL_ROUTE` or `KILL_HOSTS_DENY`",
    ),
    (
        "block, empty route",
        b"TCP_PORTS=\"1\"\nKILL_ROUTE=\"\"\nBLOCK_TCP=\"1\"\n",
        "3:12",
        "set `KILL_ROUTE` or `KILL_HOSTS_DENY`",
    ),
    ("command, none", b"TCP_PORTS=\"1\"\nBLOCK_TCP=\"2\"\n", "2:12", "set `KILL_RUN_CMD`"),
    (
        "command, route alone",
        b"TCP_PORTS=\"1\"\nBLOCK_UDP=\"2\"\nKILL_ROUTE=\"route $TARGET$\"\n",
        "2:12",
        "set `KILL_RUN_CMD`",
    ),
    (
        "command, blank",
        b"TCP_PORTS=\"1\"\nBLOCK_UDP=\"2\"\nKILL_RUN_CMD=\" \"\n",
        "2:12",
        "set `KILL_RUN_CMD`",
    ),
];
