//! Sockets from `/proc` (`proc_pid_net(5)`), for kernels without sock_diag.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portsentry_core::Protocol;

use super::Socket;

/// The state of a TCP socket that listens, as the tables write it.
const LISTEN: &str = "0A";
/// The state of a UDP socket that is not connected.
const CLOSE: &str = "07";

/// Reads all connections to find the few sockets that serve: the tables cannot
/// be asked by state.
pub(super) fn sockets() -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for (protocol, state, tables) in
        [(Protocol::Tcp, LISTEN, ["tcp", "tcp6"]), (Protocol::Udp, CLOSE, ["udp", "udp6"])]
    {
        for table in tables {
            // That of the thread: `/proc/net` is that of the process's first one.
            match fs::read_to_string(format!("/proc/thread-self/net/{table}")) {
                Ok(text) => sockets.extend(parse(&text, protocol, state)),
                // A kernel without IPv6 has no such table.
                Err(error) if error.kind() == io::ErrorKind::NotFound && table.ends_with('6') => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(sockets)
}

fn parse<'a>(
    table: &'a str,
    protocol: Protocol,
    state: &'a str,
) -> impl Iterator<Item = Socket> + 'a {
    table.lines().skip(1).filter_map(move |line| {
        let mut words = line.split_ascii_whitespace();
        // `sl: local_address rem_address st ...`
        let (local, _, found) = (words.nth(1)?, words.next()?, words.next()?);
        let (address, port) = local.split_once(':')?;
        let (address, port) = (parse_address(address)?, u16::from_str_radix(port, 16).ok()?);
        (found == state && port != 0).then_some(Socket { protocol, address, port, v6_only: None })
    })
}

/// Words of 32 bits as the host reads them, in hexadecimal digits.
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
    fn addresses() {
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
    fn lines() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n\
             \x20  0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0\n\
             \x20  1: 00000000:0017 00000000:0000 01 00000000:00000000 00:00000000 00000000 0\n\
             \x20  2: 00000000:0000 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0\n\
             nonsense\n\n";
        let found: Vec<_> = parse(table, Protocol::Tcp, LISTEN).collect();
        let address = Ipv4Addr::UNSPECIFIED.into();
        assert_eq!(found, [Socket { protocol: Protocol::Tcp, address, port: 22, v6_only: None }]);
    }
}
