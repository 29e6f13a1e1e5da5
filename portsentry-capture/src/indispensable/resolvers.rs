//! The name servers of this host, from the files of its resolvers.
//!
//! `/etc/resolv.conf` often names only a local program that forwards queries: systemd-resolved on
//! 127.0.0.53, dnsmasq, unbound. Its upstream servers are in a second file in the same format.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::fs::OFlags;

/// Number of bytes of a file that are read.
const MAX_FILE: u64 = 64 * 1024;

/// Number of name servers of a file that are used. The C library uses 3.
const MAX_SERVERS: usize = 64;

/// The files that list name servers, in the format of `resolv.conf(5)`.
///
/// ```
/// use portsentry_capture::ResolverFiles;
///
/// let files = ResolverFiles::new("/etc/resolv.conf", ["/run/systemd/resolve/resolv.conf"]);
/// for (server, file) in files.read().servers {
///     println!("{server} in {}", file.display());
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverFiles {
    /// The file that the C library reads.
    main: PathBuf,
    /// Files of the upstream servers of a local forwarder. They need not exist.
    upstream: Vec<PathBuf>,
}

impl Default for ResolverFiles {
    /// Returns `/etc/resolv.conf`, and the files in which systemd-resolved, NetworkManager and
    /// dnsmasq (with `resolvconf(8)`) list the upstream servers.
    fn default() -> Self {
        Self::new(
            "/etc/resolv.conf",
            [
                "/run/systemd/resolve/resolv.conf",
                "/run/NetworkManager/no-stub-resolv.conf",
                "/run/dnsmasq/resolv.conf",
            ],
        )
    }
}

/// The result of [`ResolverFiles::read`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameServers {
    /// The servers with the file that lists each, in the order of the files.
    pub servers: Vec<(IpAddr, PathBuf)>,
    /// The local forwarders for which no file lists an upstream server.
    pub forwarders: Vec<IpAddr>,
    /// Files that exist and cannot be read, with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
}

impl ResolverFiles {
    /// Creates a list of files: the one that the C library reads, and those of the upstream
    /// servers of local forwarders.
    pub fn new<P: Into<PathBuf>>(
        main: impl Into<PathBuf>,
        upstream: impl IntoIterator<Item = P>,
    ) -> Self {
        Self { main: main.into(), upstream: upstream.into_iter().map(Into::into).collect() }
    }

    /// Reads the files now. About 10 us for each file that exists. The upstream servers are
    /// included even if the main file names no local forwarder, because programs can ask
    /// systemd-resolved without it (`nss-resolve(8)`).
    pub fn read(&self) -> NameServers {
        let mut found = NameServers::default();
        let main = found.add(&self.main);
        let upstream: Vec<IpAddr> = self.upstream.iter().flat_map(|file| found.add(file)).collect();
        let is_local = |server: &IpAddr| server.is_loopback() || server.is_unspecified();
        if upstream.iter().all(is_local) {
            found.forwarders = main.into_iter().filter(is_local).collect();
        }
        found
    }
}

impl NameServers {
    /// Adds the servers of a file, and returns them.
    fn add(&mut self, path: &PathBuf) -> Vec<IpAddr> {
        match read(path) {
            Ok(text) => {
                let servers = name_servers(&text);
                self.servers.extend(servers.iter().map(|server| (*server, path.clone())));
                servers
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                self.unreadable.push((path.clone(), error.to_string()));
                Vec::new()
            }
        }
    }
}

fn read(path: &PathBuf) -> io::Result<Vec<u8>> {
    // A pipe in this place must not block the responder.
    let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(text)
}

/// Returns the name servers in the text of `resolv.conf(5)`, each once and at most 64 of them,
/// without zones, because only addresses are compared. Never fails: the C library ignores lines
/// that it does not understand, too.
#[must_use]
pub fn name_servers(text: &[u8]) -> Vec<IpAddr> {
    let mut servers: Vec<IpAddr> = Vec::new();
    for line in text.split(|&byte| byte == b'\n') {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        if words.next() != Some(b"nameserver") {
            continue;
        }
        let server = words.next().and_then(|word| std::str::from_utf8(word).ok()).and_then(address);
        if let Some(server) = server.filter(|server| !servers.contains(server)) {
            servers.push(server);
            if servers.len() == MAX_SERVERS {
                break;
            }
        }
    }
    servers
}

/// Parses the address of a name server.
fn address(word: &str) -> Option<IpAddr> {
    let word = word.split('%').next()?;
    let address = word.parse().ok().or_else(|| short_ipv4(word).map(IpAddr::from))?;
    Some(IpAddr::to_canonical(&address))
}

/// Parses an IPv4 address with fewer than four parts, or with octal or hexadecimal parts, as the C
/// library does (`inet_aton(3)`).
fn short_ipv4(word: &str) -> Option<Ipv4Addr> {
    let mut parts = Vec::new();
    for part in word.splitn(5, '.') {
        let hexadecimal = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"));
        let (digits, radix) = match (hexadecimal, part.strip_prefix('0')) {
            (Some(digits), _) => (digits, 16),
            (None, Some(digits)) if !digits.is_empty() => (digits, 8),
            _ => (part, 10),
        };
        let is_number = digits.chars().all(|digit| digit.is_digit(radix));
        parts.push(is_number.then(|| u32::from_str_radix(digits, radix).ok())??);
    }
    let (last, first) = parts.split_last()?;
    let octets = u32::try_from(first.len()).ok().filter(|octets| *octets < 4)?;
    // The last part fills the octets that are left.
    if octets > 0 && last >> (32 - 8 * octets) != 0 {
        return None;
    }
    let mut bits = *last;
    for (place, part) in first.iter().enumerate() {
        let octet = u8::try_from(*part).ok()?;
        bits |= u32::from(octet) << (24 - 8 * place);
    }
    Some(Ipv4Addr::from(bits))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn addresses<const N: usize>(texts: [&str; N]) -> Vec<IpAddr> {
        texts.map(|text| text.parse().unwrap()).into()
    }

    #[test]
    fn name_servers_are_read_as_the_resolver_does() {
        let text = b"# nameserver 192.0.2.9\nsearch example.com\nnameserver 192.0.2.1\n\
                     nameserver\t2001:db8::53\r\n nameserver fe80::1%eth0\nnameserver x\nnameserver\n\
                     nameserver \xff\nnameserver 192.0.2.1\nnameservers 192.0.2.8\n\
                     nameserver ::ffff:192.0.2.2\nnameserver 10.1\nnameserver 010.0x1.1.8";
        let expected = ["192.0.2.1", "2001:db8::53", "fe80::1", "192.0.2.2", "10.0.0.1", "8.1.1.8"];
        assert_eq!(name_servers(text), addresses(expected));
    }

    #[test]
    fn short_ipv4_addresses_are_those_of_the_c_library() {
        let check = |word: &str, expected: Option<&str>| {
            assert_eq!(short_ipv4(word), expected.map(|it| it.parse().unwrap()), "{word}");
        };
        check("127.1", Some("127.0.0.1"));
        check("10.1.258", Some("10.1.1.2"));
        check("3232236033", Some("192.168.2.1"));
        check("0x7f000001", Some("127.0.0.1"));
        check("0", Some("0.0.0.0"));
        for word in
            ["", ".", "1.", "1.2.3.4.5", "256.1", "1.16777216", "08.1", "0x", "+1.2", "1..2"]
        {
            check(word, None);
        }
    }

    #[test]
    fn the_number_of_servers_is_bounded() {
        let text: String = (0..200).map(|last| format!("nameserver 192.0.2.{last}\n")).collect();
        assert_eq!(name_servers(text.as_bytes()).len(), MAX_SERVERS);
    }

    #[test]
    fn forwarders_without_a_known_upstream_server_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let [main, upstream] = ["main", "upstream"].map(|name| folder.path().join(name));
        let files = ResolverFiles::new(&main, [&upstream]);
        assert_eq!(files.read(), NameServers::default());
        fs::write(&main, "nameserver 127.0.0.53\n").unwrap();
        assert_eq!(files.read().forwarders, addresses(["127.0.0.53"]));
        fs::write(&upstream, "nameserver 192.0.2.53\n").unwrap();
        let found = files.read();
        assert!(found.forwarders.is_empty());
        let [local, server] = ["127.0.0.53", "192.0.2.53"].map(|it| it.parse().unwrap());
        assert_eq!(found.servers, [(local, main), (server, upstream.clone())]);
        fs::remove_file(&upstream).unwrap();
        fs::create_dir(&upstream).unwrap();
        let found = files.read();
        assert_eq!(found.unreadable.len(), 1, "{found:?}");
        assert_eq!(found.forwarders, [local]);
    }
}
