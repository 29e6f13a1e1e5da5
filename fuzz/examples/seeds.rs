//! Writes the seed corpora of the fuzz targets into `fuzz/corpus`.
//!
//! `cargo run -p portsentry-fuzz --example seeds`
#![allow(dead_code, reason = "the tests use the other builders")]

use std::path::Path;
use std::{fs, io};

use formats::Order::{Big, Little};
use formats::{MICROS, NANOS};
use frames::*;
use portsentry_core::config::{KEYS, Settings, ValueKind};

#[path = "../offline/formats.rs"]
mod formats;
#[path = "../offline/frames.rs"]
mod frames;

const SYN: u16 = 0x002;

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let targets = [
        ("decode", decode()),
        ("reassembly", reassembly()),
        ("capture_file", capture_file()),
        ("config", config()),
        ("ignore_list", ignore_list()),
        ("engine", engine()),
        ("frames", frames()),
        ("blocked_file", blocked_file()),
        ("kernel_messages", kernel_messages()),
        ("resolver_file", resolver_file()),
        ("template", template()),
    ];
    for (target, seeds) in targets {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in seeds {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}

/// Frames, each after the number of its link type.
fn decode() -> Vec<(String, Vec<u8>)> {
    let syn = tcp(SYN);
    let chain = extension(
        FRAGMENT,
        0,
        &fragment(AUTHENTICATION, 0, false, &{
            authentication(DESTINATION, 4, &extension(ROUTING, 0, &routing(TCP, 0, &syn)))
        }),
    );
    let packets = [
        ("tcp4", false, ipv4(TCP, &tcp_with_options(5))),
        ("tcp4-options", false, ipv4_with_options(10, TCP, &syn)),
        ("udp4", false, ipv4(UDP, &udp(b"query"))),
        ("icmp4", false, ipv4(1, &[8, 0, 0, 0, 0, 0, 0, 0])),
        ("fragment4", false, with(&ipv4(TCP, &syn), 6, &[0x20, 0])),
        ("ah4", false, ipv4(AUTHENTICATION, &authentication(UDP, 4, &udp(&[])))),
        ("tcp6", true, ipv6(TCP, &syn)),
        ("udp6-length-0", true, ipv6(UDP, &with(&udp(b"query"), 4, &[0, 0]))),
        ("hop-by-hop6", true, ipv6(HOP_BY_HOP, &extension(TCP, 0, &syn))),
        ("jumbo6", true, with(&ipv6(HOP_BY_HOP, &extension(TCP, 0, &syn)), 4, &[0, 0])),
        ("fragment6", true, ipv6(FRAGMENT, &fragment(TCP, 8, true, &syn))),
        ("chain6", true, ipv6(HOP_BY_HOP, &chain)),
    ];
    let mut seeds = Vec::new();
    for (name, is_v6, packet) in packets {
        for (number, link) in (0u8..).zip(LINKS) {
            let frame = framed(link, is_v6, &packet);
            seeds.push((
                format!("{name}-{link:?}").to_lowercase(),
                [&[number | 0x80], &frame[..]].concat(),
            ));
        }
    }
    let two_tags = tag(0x8100, &tag(0x86dd, &ipv6(TCP, &syn)));
    let tagged = [
        ("vlan", ethernet(0x8100, &tag(0x0800, &ipv4(TCP, &syn)))),
        ("qinq", ethernet(0x88a8, &two_tags)),
        ("three-tags", ethernet(0x9100, &tag(0x88a8, &two_tags))),
    ];
    seeds.extend(tagged.map(|(name, frame)| (name.into(), [&[0x80], &frame[..]].concat())));
    seeds
}

/// Fragments in the format of the target, followed by the bytes of a datagram.
fn reassembly() -> Vec<(String, Vec<u8>)> {
    // Protocols, as the target numbers them.
    const TCP_NUMBER: u8 = 0;
    const UDP_NUMBER: u8 = 1;
    const OPTIONS_NUMBER: u8 = 3;
    // Offset in units of 8 bytes, more fragments, length; in a datagram of 40 bytes.
    type Order = (u8, bool, u8);
    let scripts: [(&str, &[Order]); 8] = [
        ("two", &[(0, true, 24), (3, false, 16)]),
        ("backwards", &[(4, false, 8), (3, true, 8), (0, true, 24)]),
        ("copies", &[(0, true, 24), (0, true, 24), (3, true, 8), (3, true, 8), (4, false, 8)]),
        ("overlap", &[(0, true, 24), (2, true, 16), (4, false, 8)]),
        ("inside", &[(0, true, 24), (1, true, 8), (3, false, 16)]),
        ("teardrop", &[(0, true, 32), (1, false, 8)]),
        ("odd", &[(0, true, 29), (3, false, 16)]),
        ("two-ends", &[(0, true, 24), (4, false, 8), (3, false, 8)]),
    ];
    let datagrams = [
        ("udp4", 2, UDP_NUMBER, ipv4(UDP, &udp(&[b'x'; 32]))[20..].to_vec()),
        ("tcp4", 0, TCP_NUMBER, ipv4(TCP, &tcp_with_options(5))[20..].to_vec()),
        ("udp6", 1, UDP_NUMBER, ipv6(UDP, &udp(&[b'x'; 32]))[40..].to_vec()),
        ("tcp6", 1, TCP_NUMBER, ipv6(TCP, &tcp_with_options(5))[40..].to_vec()),
        ("options6", 1, OPTIONS_NUMBER, {
            ipv6(DESTINATION, &extension(UDP, 1, &udp(&[b'x'; 16])))[40..].to_vec()
        }),
    ];
    let mut seeds = Vec::new();
    for (name, choice, protocol, datagram) in datagrams {
        for (script, orders) in scripts {
            let mut seed = vec![choice, orders.len() as u8];
            for (unit, more, length) in orders {
                seed.extend([protocol, *unit, u8::from(*more), *length, 0]);
            }
            seed.extend(&datagram);
            seeds.push((format!("{name}-{script}"), seed));
        }
    }
    seeds
}

/// Capture files of every format.
fn capture_file() -> Vec<(String, Vec<u8>)> {
    let syn = ethernet(0x0800, &ipv4(TCP, &tcp(SYN)));
    let raw = ipv6(UDP, &udp(b"who"));
    let mut seeds = Vec::new();
    for order in [Little, Big] {
        for (unit, magic) in [("micros", MICROS), ("nanos", NANOS)] {
            let file = [
                order.pcap_header(magic, 1),
                order.pcap_record(250_000, syn.len(), &syn),
                order.pcap_record(250_001, 60, &syn),
            ];
            seeds.push((format!("pcap-{unit}-{order:?}").to_lowercase(), file.concat()));
        }
        let options = [order.option(2, b"eth0"), order.option(9, &[0x94]), order.option(0, b"")];
        let file = [
            order.section(),
            order.interface(1, 96, &options),
            order.interface(101, 0, &[]),
            order.block(0x0bad, b"unknown"),
            order.packet(0, 1 << 50, syn.len(), &syn),
            order.packet(1, 1_700_000_000_000_000, raw.len(), &raw),
            order.simple_packet(syn.len(), &syn),
            order.block(5, &order.u32s(&[0, 0, 0])),
        ];
        seeds.push((format!("pcapng-{order:?}").to_lowercase(), file.concat()));
        seeds.push((format!("pcapng-cut-{order:?}").to_lowercase(), {
            let whole = file.concat();
            whole[..whole.len() - 60].to_vec()
        }));
    }
    let record = Little.pcap_record(7, syn.len(), &syn);
    let record = [&record[..16], &[0; 8], &record[16..]].concat();
    seeds.push(("pcap-modified".into(), [Little.pcap_header(0xa1b2_cd34, 1), record].concat()));
    let sections = [
        Little.section(),
        Little.interface(1, 0, &[]),
        Little.packet(0, 0, syn.len(), &syn),
        Big.section(),
        Big.interface(101, 0, &[]),
        Big.packet(0, 0, raw.len(), &raw),
    ];
    seeds.push(("pcapng-sections".into(), sections.concat()));
    seeds
}

/// Configurations: every key, every permitted notation, and mistakes of every kind.
fn config() -> Vec<(String, Vec<u8>)> {
    let every_key: String = KEYS
        .iter()
        .map(|key| {
            let value = match key.kind {
                ValueKind::Ports => "1, 7,10-20",
                ValueKind::Networks => "192.0.2.0/24 2001:db8::/32, 198.51.100.7",
                ValueKind::Path => "/run/portsentry/file",
                ValueKind::Number { .. } => "10",
                ValueKind::Duration { .. } => "10 min",
                ValueKind::User => "nobody",
                ValueKind::Switch | ValueKind::BlockMode => "1",
                _ => "respond to $TARGET$ for $PORT$ by $MODE$",
            };
            format!("{} = \"{value}\"\n", key.name)
        })
        .collect();
    let mistakes = "TCP_PORTS = \"0,70000,20-10,5-,,x\"\nTCP_PORT=\"1\"\nBLOCK_TCP = \"3\"\n\
                    KILL_ROUTE = \"drop\" x\nUDP_PORTS = \"1\nSCAN_TRIGGER = \"65536\"\n\
                    NEVER_BLOCK = \"010.1.1.1, ::1%lo, 10.0.0.1/33, $HOST$\"\n";
    let durations: String =
        ["1h", "030s", "5\tmin", "2d", "99999999999999999999", "9999999999999999d", "1.5h", "s"]
            .map(|duration| format!("RESPONSE_TIMEOUT = \"{duration}\"\n"))
            .concat();
    let freedoms =
        "\u{feff}  # comment\r\n\t TCP_PORTS\t=  \"011,11\"  # why\r\n\r\nTCP_PORTS=\"9\"";
    let latin1 = b"TCP_PORTS = \"1\" # f\xfcr alle\nPORT_BANNER = \"f\xfcr\"\n";
    vec![
        ("built-in".into(), Settings::built_in().to_string().into()),
        ("every-key".into(), every_key.into()),
        ("durations".into(), durations.into()),
        ("mistakes".into(), mistakes.into()),
        ("freedoms".into(), freedoms.into()),
        ("all-ports".into(), "TCP_PORTS = \" ALL \"\nUDP_PORTS = \"1, ALL, all\"\n".into()),
        ("latin1".into(), latin1.into()),
        ("utf16".into(), b"\xff\xfeT\0C\0P\0".into()),
        (
            "empty-values".into(),
            "TCP_PORTS = \"1\"\nKILL_ROUTE = \"\"\nNEVER_BLOCK = \"\"\n".into(),
        ),
    ]
}

/// Ignore lists.
fn ignore_list() -> Vec<(String, Vec<u8>)> {
    let good = "\u{feff}127.0.0.1/8 # loopback\r\n::1\n\n 192.0.2.1/255.255.255.0\t\n\
                2001:DB8::/32\n::ffff:192.0.2.7\n::ffff:10.0.0.0/104\n0.0.0.0/0\n::/0";
    let mistakes = "192.0.2\n192.0.2.1/33\n192.0.2.1/255.0.255.0\n::1%lo\nlocalhost\n\
                    010.0.0.1\n192.0.2.1, 192.0.2.2\n::ffff:1.2.3.4/95\n2001:db8::/255.0.0.0\n/8\n";
    vec![
        ("good".into(), good.into()),
        ("mistakes".into(), mistakes.into()),
        ("latin1".into(), b"192.0.2.1 # B\xfcro\n192.0.2.\xfc\n".into()),
        ("utf16".into(), b"\xfe\xff\0".into()),
    ]
}

/// Lives of an engine, in the format of `portsentry_fuzz::Script`.
fn engine() -> Vec<(String, Vec<u8>)> {
    const TAKE: [u8; 6] = [9, 0, 0, 0, 0, 0];
    const TIMEOUT: [u8; 6] = [13, 0, 0, 0, 0, 0];
    let probe = |host, port| [0, host, 0, port, 0, 0];
    let datagram = |host, port| [0, host, 0, port, 10, 0];
    let wait = |choice| [8, choice, 0, 0, 0, 0];
    let succeed = |number| [11, number, 0, 0, 0, 0];
    let fail = |number| [12, number, 0, 0, 0, 0];
    let succeed_in_part = |number: u8| [11, 0x40 | number, 0, 0, 0, 0];
    let serve = |socket| [14, 1, socket, 0x80, 0x80, 0x80];
    let rules = |trigger, switches| [15, 0xfe, 0xfe, 0, trigger, switches];
    let life = |bounds: u8, window: u8, trigger: u8, switches: u8, operations: &[[u8; 6]]| {
        let start = [bounds, window, 0, 0xfe, 0xfe, 0x24, trigger, switches];
        [&start[..], &operations.concat()].concat()
    };
    // Switches: 0 blocks and remembers, 4 blocks without a blocked set, 3 logs only, 0x20
    // allows one response a minute. Waits: 4 is 5 s, 6 is a minute, 15 is one second back.
    let waiting = [probe(0, 1), probe(0, 2), datagram(6, 3), TAKE, probe(0, 4), TAKE];
    let ended = [succeed(0), probe(0, 5), fail(1), probe(6, 1), wait(4), probe(6, 1), succeed(0)];
    let counted = [probe(0, 1), probe(1, 1), wait(3), probe(0, 2), wait(15), probe(0, 3)];
    let crowd: Vec<_> = (0..12).chain([0, 3]).map(|host| probe(host, 1)).collect();
    let served = [serve(0x01), probe(0, 1), probe(0, 1), datagram(0, 1), probe(6, 1)];
    let limited = [probe(0, 1), probe(1, 1), probe(6, 1), wait(6), TIMEOUT, probe(1, 1)];
    let restored = [[14, 0, 0, 0, 0, 0], probe(0, 1), [14, 12, 0, 0, 0, 0], probe(6, 1)];
    let in_part = [
        [probe(0, 1), TAKE, succeed_in_part(0), probe(0, 2), wait(4)],
        [probe(0, 3), probe(0, 4), TAKE, fail(0), wait(5)],
        [probe(0, 5), TAKE, succeed(0), wait(6), probe(0, 6)],
    ]
    .concat();
    let changed = [probe(0, 1), rules(2, 0), probe(0, 1), rules(0, 3), probe(0, 1), TAKE];
    vec![
        ("responses".into(), life(0xf0, 0x30, 0, 0, &[&waiting[..], &ended].concat())),
        ("in-part".into(), life(0xf0, 0x30, 0, 0, &in_part)),
        ("without-memory".into(), life(0xf0, 0x30, 0, 4, &[&waiting[..], &ended].concat())),
        ("small".into(), life(0x03, 0x00, 0, 0, &[&waiting[..], &ended].concat())),
        ("counted".into(), life(0xf0, 0x33, 2, 3, &counted)),
        ("crowd".into(), life(0x01, 0x30, 3, 3, &crowd)),
        ("served".into(), life(0xf0, 0x30, 0, 3, &[&served[..], &[wait(6), TIMEOUT]].concat())),
        ("limited".into(), life(0xf0, 0x30, 0, 0x20, &limited)),
        ("restored".into(), life(0x00, 0x30, 0, 0, &restored)),
        ("new-rules".into(), life(0xf0, 0x30, 1, 0, &changed)),
    ]
}

/// Frames in the format of the target: each after its five bytes.
fn frames() -> Vec<(String, Vec<u8>)> {
    let frame = |link: usize, kernel: u8, cut: u8, wait: u8, bytes: &[u8]| {
        let [high, low] = (bytes.len() as u16).to_be_bytes();
        [&[link as u8 + 5 * kernel, cut, wait, high, low], bytes].concat()
    };
    let (syn, query) = (tcp_with_options(5), udp(&[b'x'; 32]));
    let halves = |is_v6: bool| {
        if is_v6 {
            [
                ipv6(FRAGMENT, &fragment(UDP, 0, true, &query[..24])),
                ipv6(FRAGMENT, &fragment(UDP, 24, false, &query[24..])),
            ]
        } else {
            let whole = ipv4(TCP, &syn);
            [
                resealed(with(&ipv4(TCP, &whole[20..44]), 6, &[0x20, 0])),
                resealed(with(&ipv4(TCP, &whole[44..]), 6, &[0, 3])),
            ]
        }
    };
    let mut seeds = Vec::new();
    for (number, link) in LINKS.into_iter().enumerate() {
        for is_v6 in [false, true] {
            let [first, last] = halves(is_v6).map(|half| framed(link, is_v6, &half));
            let version = if is_v6 { 6 } else { 4 };
            let mut add = |name: &str, frames: &[Vec<u8>]| {
                seeds.push((format!("{name}{version}-{link:?}").to_lowercase(), frames.concat()));
            };
            let plain = |wait, bytes: &[u8]| frame(number, 0, 0, wait, bytes);
            add("halves", &[plain(0, &first), plain(1, &last)]);
            add("backwards", &[plain(0, &last), plain(0, &first)]);
            add("too-late", &[plain(0, &first), plain(61, &last), plain(0, &first)]);
            add("cut", &[frame(number, 1, 4, 0, &first), frame(number, 2, 9, 0, &last)]);
        }
    }
    seeds
}

/// Returns an IPv4 packet with the checksum of its header recomputed.
fn resealed(mut packet: Vec<u8>) -> Vec<u8> {
    packet[10..12].copy_from_slice(&[0, 0]);
    let sum = !ones_sum(&[&packet[..20]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Blocked files: complete, cut, invalid, and of portsentry 1.x.
fn blocked_file() -> Vec<(String, Vec<u8>)> {
    let v4 = [&2_u16.to_ne_bytes()[..], &SOURCE_V4].concat();
    let v6 = [&10_u16.to_ne_bytes()[..], &v6(1)].concat();
    let whole = [&v4[..], &v6, &v4].concat();
    vec![
        ("empty".into(), Vec::new()),
        ("torn-v4".into(), whole[..whole.len() - 1].to_vec()),
        ("torn-v6".into(), [&v4[..], &v6[..5]].concat()),
        ("torn-family".into(), [&whole[..], &[2]].concat()),
        ("odd".into(), [&whole[..], &[0xff; 6]].concat()),
        ("other-byte-order".into(), [&2_u16.to_be_bytes()[..], &SOURCE_V4].concat()),
        ("text".into(), b"Host: 192.0.2.1/192.0.2.1 Port: 23 TCP Blocked\n".to_vec()),
        ("whole".into(), whole),
    ]
}

/// Templates, each after the choice byte, the port and the address.
fn template() -> Vec<(String, Vec<u8>)> {
    let texts = [
        ("route", "ip route replace blackhole $TARGET$"),
        ("all", "logger $TARGET$:$PORT$ by $MODE$ $TARGET$"),
        ("shared-dollars", "$MODE$PORT$TARGET$PORT$$TARGET$TARGET$"),
        ("shell", "for i in $HOME $1 $? $$; do echo \\$i '$TARGET$'; done # $target$"),
        ("not-ascii", "\u{e9}$PORT$\u{e9}$TARGET"),
    ];
    let seed = |choice: u8, text: &str| [&[choice, 0, 23], &v6(7)[..], text.as_bytes()].concat();
    let seeds = (0..).zip(texts).map(|(choice, (name, text))| (name.into(), seed(choice, text)));
    seeds.collect()
}

/// Messages about routes and rules, as the kernel of a little-endian host writes them.
fn kernel_messages() -> Vec<(String, Vec<u8>)> {
    let attribute = |kind: u8, value: &[u8]| {
        let length = 4 + value.len() as u8;
        [&[length, 0, kind, 0], value].concat()
    };
    let table = |number: u32| attribute(15, &number.to_le_bytes());
    let route = |family: u8, prefix: u8, kind: u8, number: u32, address: &[u8]| {
        let header = [family, prefix, 0, 0, 255, 2, 254, kind, 0, 0, 0, 0];
        let payload = [&header[..], &table(number), &attribute(1, address)].concat();
        [&[24, 0, payload.len() as u8], &payload[..]].concat()
    };
    let rule = |number: u32, mark: u32| {
        let header = [2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        let mark = attribute(10, &mark.to_le_bytes());
        let payload = [&header[..], &table(number), &mark].concat();
        [&[32, 0, payload.len() as u8], &payload[..]].concat()
    };
    let link = {
        let header = [0, 0, 1, 0, 2, 0, 0, 0, 0x43, 0x10, 1, 0, 0, 0, 0, 0];
        let kind = attribute(18, &attribute(1, b"veth"));
        let payload = [&header[..], &attribute(3, b"eth0"), &kind].concat();
        [&[16, 0, payload.len() as u8], &payload[..]].concat()
    };
    let address = {
        let header = [2, 24, 128, 0, 2, 0, 0, 0];
        let local = attribute(2, &[192, 0, 2, 1]);
        let broadcast = attribute(4, &[192, 0, 2, 255]);
        let payload = [&header[..], &local, &broadcast].concat();
        [&[20, 0, payload.len() as u8], &payload[..]].concat()
    };
    let loopback =
        [route(2, 8, 2, 255, &[127, 0, 0, 0]), route(2, 32, 3, 255, &[127, 255, 255, 255])];
    let marked = [rule(100, 1), route(2, 16, 2, 100, &[10, 9, 0, 0])];
    let wide = [route(10, 64, 2, 70_000, &v6(0)), route(10, 128, 4, 255, &v6(1))];
    let via = |family: u8, gateway: &[u8]| {
        let header = [family, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        let interface = attribute(4, &2_u32.to_le_bytes());
        let payload = [&header[..], &table(77), &attribute(5, gateway), &interface].concat();
        [&[24, 0, payload.len() as u8], &payload[..]].concat()
    };
    let several = {
        let header = [2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        let hop = |gateway: &[u8]| {
            let length = 8 + gateway.len().next_multiple_of(4);
            let mut hop = [&[length as u8, 0, 0, 0, 2, 0, 0, 0], gateway].concat();
            hop.resize(length, 0);
            hop
        };
        let other_family = attribute(18, &[&[10, 0], &v6(3)[..]].concat());
        let hops = [hop(&attribute(5, &[192, 0, 2, 1])), hop(&other_family)].concat();
        let payload = [&header[..], &attribute(9, &hops)].concat();
        [&[24, 0, payload.len() as u8], &payload[..]].concat()
    };
    let nexthop = {
        let header = [2, 0, 3, 0, 0, 0, 0, 0];
        let interface = attribute(5, &2_u32.to_le_bytes());
        let payload = [&header[..], &interface, &attribute(6, &[192, 0, 2, 9])].concat();
        [&[104, 0, payload.len() as u8], &payload[..]].concat()
    };
    let gateways = [via(2, &[192, 0, 2, 1]), via(10, &v6(1)), several, nexthop];
    [
        ("gateways", gateways.concat()),
        ("loopback", loopback.concat()),
        ("marked", marked.concat()),
        ("ipv6", wide.concat()),
        ("interface", [link, address].concat()),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

/// Files of name servers.
fn resolver_file() -> Vec<(String, Vec<u8>)> {
    [
        (
            "forwarder",
            "# stub\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch example.com\n",
        ),
        ("upstream", "nameserver 192.0.2.1\nnameserver 2001:db8::53\nnameserver fe80::1%eth0\n"),
        ("forms", "nameserver\t10.1\r\n nameserver 0x7f.010.2\nnameserver ::ffff:192.0.2.2 x\n"),
        ("wrong", "nameserver\nnameserver x\nnameserver 1.2.3.4.5\nnameservers 192.0.2.9\n\0\n"),
    ]
    .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
    .into()
}
