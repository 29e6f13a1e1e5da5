//! Malformed ignore lists, one error a row: name, text, `line:column`, part of
//! the message.

use crate::{Place, assert_error_at};

type Row = (&'static str, &'static [u8], &'static str, &'static str);

#[test]
fn every_malformed_ignore_list_is_refused_at_its_place() {
    for (name, text, place, message) in ROWS {
        let directory = Place::new();
        directory.file("portsentry.conf", "TCP_PORTS=\"1\"\nIGNORE_FILE=\"portsentry.ignore\"\n");
        directory.file("portsentry.ignore", text);
        let findings = directory.refused("portsentry.conf");
        assert_error_at(name, &findings, "portsentry.ignore", place, message);
        assert_eq!(findings.iter().count(), 1, "{name}: more than one finding:\n{findings}");
    }
}

const ROWS: &[Row] = &[
    ("host name", b"192.0.2.1\nexample.com\n", "2:1", "`example.com` is a host name"),
    ("short host name", b"localhost\n", "1:1", "`localhost` is a host name"),
    ("host name with prefix", b"gateway/24\n", "1:1", "`gateway` is a host name"),
    ("zone", b"fe80::1%eth0\n", "1:1", "`fe80::1%eth0` has a zone"),
    ("zone and prefix", b"fe80::%1/64\n", "1:1", "has a zone"),
    ("octal", b"192.0.2.010\n", "1:1", "has a leading zero"),
    ("octal, shortened", b"010.1\n", "1:1", "has a leading zero"),
    ("leading zeros", b"192.000.002.001\n", "1:1", "has a leading zero"),
    ("shortened", b"10.1\n", "1:1", "`10.1` is shortened"),
    ("shortened network", b" 10/8\n", "1:2", "`10` is shortened"),
    ("shortened network of three", b"192.168.1/24\n", "1:1", "`192.168.1` is shortened"),
    ("number", b"3232235777\n", "1:1", "is shortened"),
    ("hexadecimal", b"0x7f000001\n", "1:1", "is not an address"),
    ("number too large", b"192.0.2.256\n", "1:1", "`192.0.2.256` is not an address"),
    ("five numbers", b"192.0.2.1.5\n", "1:1", "is not an address"),
    ("dot at the end", b"192.0.2.\n", "1:1", "is not an address"),
    ("wildcard", b"192.0.2.*\n", "1:1", "is not an address"),
    ("range", b"192.0.2.1-192.0.2.9\n", "1:1", "is not an address"),
    ("address and port", b"192.0.2.1:80\n", "1:1", "is not an address"),
    ("brackets", b"[2001:db8::1]\n", "1:1", "is not an address"),
    ("quotes", b"\"192.0.2.1\"\n", "1:1", "is not an address"),
    ("IPv6 of nine groups", b"1:2:3:4:5:6:7:8:9\n", "1:1", "is not an address"),
    ("IPv6 with two gaps", b"2001::db8::1\n", "1:1", "is not an address"),
    ("IPv6 group too large", b"2001:db8::12345\n", "1:1", "is not an address"),
    ("IPv6 too short", b"2001:db8\n", "1:1", "is not an address"),
    ("prefix alone", b"/24\n", "1:1", "is not an address"),
    ("prefix of nothing", b"192.0.2.0/\n", "1:11", "is not a prefix length"),
    ("prefix of words", b"192.0.2.0/all\n", "1:11", "`all` is not a prefix length"),
    ("signed prefix", b"192.0.2.0/+24\n", "1:11", "`+24` is not a prefix length"),
    ("negative prefix", b"192.0.2.0/-1\n", "1:11", "`-1` is not a prefix length"),
    ("octal prefix", b"10.0.0.0/08\n", "1:10", "`08` is not a prefix length"),
    ("two prefixes", b"10.0.0.0/8/16\n", "1:10", "`8/16` is not a prefix length"),
    ("prefix of 33", b"192.0.2.0/33\n", "1:11", "`33` is above 32"),
    ("prefix of many digits", b"192.0.2.0/99999999999\n", "1:11", "is above 32"),
    ("prefix of 129", b"2001:db8::/129\n", "1:12", "`129` is above 128"),
    ("mask with a hole", b"192.0.2.0/255.0.255.0\n", "1:11", "`255.0.255.0` is not a netmask"),
    ("mask upside down", b"192.0.2.0/0.0.0.255\n", "1:11", "`0.0.0.255` is not a netmask"),
    ("mask shortened", b"192.0.2.0/255.255\n", "1:11", "`255.255` is not a netmask"),
    ("octal mask", b"192.0.2.0/255.255.255.000\n", "1:11", "is not a netmask"),
    ("mask on IPv6", b"2001:db8::/255.255.0.0\n", "1:12", "takes a prefix length, not a mask"),
    ("mapped, mask", b"::ffff:10.0.0.0/255.0.0.0\n", "1:17", "takes a prefix length, not a mask"),
    ("mapped, prefix of IPv4", b"::ffff:10.0.0.0/8\n", "1:1", "IPv4-mapped address is 96 to 128"),
    ("list with commas", b"192.0.2.1, 192.0.2.2\n", "1:10", "one address or network a line"),
    ("list with blanks", b"192.0.2.1 192.0.2.2\n", "1:11", "one address or network a line"),
    ("comma at the end", b"192.0.2.1,\n", "1:10", "one address or network a line"),
    ("text behind", b"192.0.2.1 the printer\n", "1:11", "one address or network a line"),
    ("blanks around the slash", b"192.0.2.0 / 24\n", "1:11", "one address or network a line"),
    ("last line, no newline", b"192.0.2.1\n192.0.2.300", "2:1", "`192.0.2.300` is not an address"),
    ("CRLF", b"# list\r\n192.0.2.1/x\r\n", "2:11", "`x` is not a prefix length"),
    ("NUL", b"192.0.2.1\0\n", "1:1", "`192.0.2.1\\0` is not an address"),
    (
        "Mac line ends",
        b"192.0.2.1\r192.0.2.2\r",
        "1:1",
        "`192.0.2.1\\r192.0.2.2` is not an address",
    ),
    ("not UTF-8", b"192.0.2.1\n\xff\n", "2:1", "not UTF-8"),
    ("UTF-16", b"\xff\xfe1\0.\0", "1:1", "UTF-16"),
    ("assignment", b"IGNORE=\"192.0.2.1\"\n", "1:1", "is not an address"),
];
