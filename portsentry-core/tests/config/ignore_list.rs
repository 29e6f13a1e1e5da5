//! The ignore list.

use portsentry_core::config;

use crate::findings;

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
    let host_bits = "1:1: warning: the address has bits after the prefix: using ";
    check(b"10.1.2.3/8", &format!("{host_bits}`10.0.0.0/8`"), "10.255.0.0");
    check(b"10.1.2.3/255.255.0.0", &format!("{host_bits}`10.1.0.0/16`"), "10.1.0.0");
    check(b"1.1.1.1/0", &format!("{host_bits}`0.0.0.0/0`"), "255.255.255.255");
    check(b"2001:db8::1/64", &format!("{host_bits}`2001:db8::/64`"), "2001:db8::ffff");
    check(b"::ffff:10.0.0.1/104", &format!("{host_bits}`10.0.0.0/8`"), "10.9.9.9");
    check(
        b"10.0.0.1 # caf\xe9\n",
        "1:15: warning: these bytes are not UTF-8; save the file as UTF-8 or ASCII",
        "10.0.0.1",
    );
}
