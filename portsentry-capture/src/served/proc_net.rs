//! Reads sockets from `/proc` (`proc_pid_net(5)`), for kernels without sock_diag.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portsentry_core::Protocol;

use super::Socket;

/// State of a TCP socket that listens, in the notation of the tables.
const LISTEN: &str = "0A";
/// States of a UDP socket that is not connected, and of one that is.
const CLOSE: &str = "07";
const ESTABLISHED: &str = "01";
/// State of a TCP connection that this host opens.
const SYN_SENT: &str = "02";

/// Returns the sockets that may serve a port. Reads all connections to find them, because the
/// tables cannot be filtered by state.
pub(super) fn sockets() -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for (protocol, tables) in [(Protocol::Tcp, ["tcp", "tcp6"]), (Protocol::Udp, ["udp", "udp6"])] {
        for table in tables {
            sockets.extend(parse(&read(table)?, protocol));
        }
    }
    Ok(sockets)
}

/// Returns whether `port` has a TCP connection to `peer` that this host may have accepted.
pub(super) fn is_connected(port: u16, peer: IpAddr) -> io::Result<bool> {
    for table in ["tcp", "tcp6"] {
        let text = read(table)?;
        let mut lines = text.lines().skip(1);
        if lines.any(|line| connection(line).is_some_and(|found| found == (port, peer))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the text of a table.
fn read(table: &str) -> io::Result<String> {
    // The namespace of the calling thread; `/proc/net` is that of the main thread.
    match fs::read_to_string(format!("/proc/thread-self/net/{table}")) {
        // A kernel without IPv6 has no such table.
        Err(error) if error.kind() == io::ErrorKind::NotFound && table.ends_with('6') => {
            Ok(String::new())
        }
        result => result,
    }
}

/// Parses the port and the peer of a connection.
fn connection(line: &str) -> Option<(u16, IpAddr)> {
    let mut words = line.split_ascii_whitespace();
    let (local, remote, state) = (words.nth(1)?, words.next()?, words.next()?);
    let (_, port) = parse_end(local)?;
    let (peer, _) = parse_end(remote)?;
    (![LISTEN, CLOSE, SYN_SENT].contains(&state)).then_some((port, peer.to_canonical()))
}

fn parse(table: &str, protocol: Protocol) -> impl Iterator<Item = Socket> {
    table.lines().skip(1).filter_map(move |line| {
        let mut words = line.split_ascii_whitespace();
        // `sl: local_address rem_address st ...`
        let (local, remote, state) = (words.nth(1)?, words.next()?, words.next()?);
        let peer = match (protocol, state) {
            (Protocol::Tcp, LISTEN) | (Protocol::Udp, CLOSE) => None,
            (Protocol::Udp, ESTABLISHED) => Some(parse_end(remote)?),
            _ => return None,
        };
        let (address, port) = parse_end(local)?;
        (port != 0).then_some(Socket { protocol, address, port, v6_only: None, peer })
    })
}

fn parse_end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    Some((parse_address(address)?, u16::from_str_radix(port, 16).ok()?))
}

/// Parses the hexadecimal digits of an address: words of 32 bits in host byte order.
fn parse_address(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = digits.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match digits.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut octets = [0; 16];
            for (at, chunk) in octets.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_are_parsed() {
        let check = |digits: &str, expected: Option<&str>| {
            let expected = expected.map(|text| text.parse::<IpAddr>().unwrap());
            assert_eq!(parse_address(digits), expected, "{digits}");
        };
        check("00000000", Some("0.0.0.0"));
        check("0100007F", Some("127.0.0.1"));
        check("00000000000000000000000000000000", Some("::"));
        check("00000000000000000000000001000000", Some("::1"));
        check("B80D0120000000000000000001000000", Some("2001:db8::1"));
        check("0000000000000000FFFF00000100007F", Some("::ffff:127.0.0.1"));
        check("", None);
        check("0100007", None);
        check("0100007G", None);
        check("ÄÄÄÄ", None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn serving_sockets_are_parsed() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n\
             \x20  0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0\n\
             \x20  1: 0100007F:0017 0200007F:0035 01 00000000:00000000 00:00000000 00000000 0\n\
             \x20  2: 00000000:0018 00000000:0000 07 00000000:00000000 00:00000000 00000000 0\n\
             \x20  3: 00000000:0000 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0\n\
             nonsense\n\n";
        let any: IpAddr = Ipv4Addr::UNSPECIFIED.into();
        let found = |protocol| parse(table, protocol).collect::<Vec<_>>();
        let socket =
            |protocol, address, port, peer| Socket { protocol, address, port, v6_only: None, peer };
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        assert_eq!(found(tcp), [socket(tcp, any, 22, None)]);
        let peer = Some((Ipv4Addr::new(127, 0, 0, 2).into(), 53));
        let connected = socket(udp, Ipv4Addr::LOCALHOST.into(), 23, peer);
        assert_eq!(found(udp), [connected, socket(udp, any, 24, None)]);
    }
}
