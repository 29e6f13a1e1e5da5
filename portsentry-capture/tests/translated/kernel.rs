//! The kernel's own answer: it records the original destination of each packet that arrives, and
//! whether a rule has translated it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use portsentry_core::Protocol;
use portsentry_testbed::{Testbed, wait_until};

/// Protocol, destination and port of a packet.
pub(crate) type Target = (Protocol, IpAddr, u16);

/// Ports that packets are sent to.
pub(crate) const PORTS: [u16; 32] = [
    1, 4, 5, 6, 8, 9, 10, 22, 53, 79, 80, 81, 90, 91, 99, 100, 101, 150, 200, 201, 443, 999, 1000,
    1001, 1024, 8080, 8081, 30080, 30081, 40000, 65534, 65535,
];

/// Addresses of the host: the one of the testbed, and more.
pub(crate) const SECOND: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
pub(crate) const THIRD: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// Chains around those that translate: the first notes the port of a packet, the second adds the
/// packet to sets.
const RECORDER: &str = "
table inet recorder {
  set arrived4 { type inet_proto . ipv4_addr . mark; flags dynamic; size 65535; }
  set arrived6 { type inet_proto . ipv6_addr . mark; flags dynamic; size 65535; }
  set translated4 { type inet_proto . ipv4_addr . mark; flags dynamic; size 65535; }
  set translated6 { type inet_proto . ipv6_addr . mark; flags dynamic; size 65535; }
  chain note {
    type filter hook prerouting priority -160
    iifname host0 ct mark set th dport map { PORTS }
  }
  chain record {
    type filter hook prerouting priority 100
    ct mark 0 accept
    ct status dnat add @translated4 { meta l4proto . ct original ip daddr . ct mark }
    ct status dnat add @translated6 { meta l4proto . ct original ip6 daddr . ct mark }
    add @arrived4 { meta l4proto . ct original ip daddr . ct mark }
    add @arrived6 { meta l4proto . ct original ip6 daddr . ct mark }
  }
}";

/// Starts to record, and gives the host more addresses.
pub(crate) fn record(bed: &Testbed) {
    let ports = PORTS.map(|port| format!("{port} : {port}")).join(", ");
    bed.host.run("nft", &[&RECORDER.replace("PORTS", &ports)]);
    for address in [SECOND, THIRD] {
        bed.host.ip(&["address", "add", &format!("{address}/32"), "dev", "lo"]);
        bed.scanner.ip(&["route", "add", &address.to_string(), "via", &bed.host.v4().to_string()]);
    }
}

/// Sends a packet to each port of the host, for each protocol and address. Returns all targets,
/// and those that the kernel has translated.
pub(crate) fn probe(bed: &Testbed) -> (BTreeSet<Target>, BTreeSet<Target>) {
    let addresses: [IpAddr; 4] =
        [bed.host.v4().into(), SECOND.into(), THIRD.into(), bed.host.v6().into()];
    let mut sent = BTreeSet::new();
    bed.scanner.enter(|| {
        for address in addresses {
            let unspecified = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            for port in PORTS {
                let target = SocketAddr::from((address, port));
                let socket = UdpSocket::bind(unspecified).expect("bind");
                socket.send_to(b"x", target).expect("send");
                // The SYN is sent before the time is over.
                let _ = TcpStream::connect_timeout(&target, Duration::from_millis(1));
                sent.extend([(Protocol::Udp, address, port), (Protocol::Tcp, address, port)]);
            }
        }
    });
    let recorded = |set: &str| -> BTreeSet<Target> {
        ["4", "6"].iter().flat_map(|family| elements(bed, &format!("{set}{family}"))).collect()
    };
    wait_until("all packets arrive", || recorded("arrived").is_superset(&sent));
    let translated = recorded("translated").intersection(&sent).copied().collect();
    (sent, translated)
}

fn elements(bed: &Testbed, set: &str) -> Vec<Target> {
    let text = bed.host.run("nft", &["-j", "list", "set", "inet", "recorder", set]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let objects = json["nftables"].as_array().expect("a list");
    let set = objects.iter().find_map(|object| object.get("set")).expect("the set");
    let elements = set.get("elem").and_then(|it| it.as_array()).into_iter().flatten();
    elements
        .filter_map(|element| {
            let key = element.get("elem").map_or(element, |element| &element["val"]);
            let fields = key["concat"].as_array().expect("three fields");
            let protocol = match (fields[0].as_str(), fields[0].as_u64()) {
                (Some("tcp"), _) | (_, Some(6)) => Protocol::Tcp,
                (Some("udp"), _) | (_, Some(17)) => Protocol::Udp,
                _ => return None,
            };
            let address = fields[1].as_str()?.parse().ok()?;
            Some((protocol, address, fields[2].as_u64()?.try_into().ok()?))
        })
        .collect()
}
