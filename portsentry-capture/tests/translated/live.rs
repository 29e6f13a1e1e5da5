//! Changes of rules, single connections, and everything that cannot be read.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use portsentry_capture::{LegacyTables, TranslationMonitor, tracked_connection, translations};
use portsentry_core::Protocol;
use portsentry_testbed::{Namespace, Testbed, require_root, wait_until};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

#[test]
fn changes_are_noticed_before_the_command_ends() {
    let Some(root) = require_root() else { return };
    let host = Namespace::isolated(root);
    let mut monitor = host.enter(TranslationMonitor::open).expect("monitor");
    assert!(!monitor.changed().expect("read"));
    for command in [
        "add table ip t",
        "add chain ip t c { type nat hook prerouting priority dstnat; }",
        "add rule ip t c tcp dport 80 redirect",
        "add set ip t s { type inet_service; }",
        "add element ip t s { 80 }",
        "delete element ip t s { 80 }",
        "flush chain ip t c",
        "delete table ip t",
    ] {
        host.run("nft", &[command]);
        assert!(monitor.changed().expect("read"), "{command}");
        assert!(!monitor.changed().expect("read"), "{command}");
    }
}

#[test]
fn lost_notifications_count_as_a_change() {
    let Some(root) = require_root() else { return };
    let host = Namespace::isolated(root);
    let mut monitor = host.enter(TranslationMonitor::open).expect("monitor");
    let elements: Vec<String> = (1..60_000).map(|port| port.to_string()).collect();
    let set = format!(
        "table ip t {{ set s {{ type inet_service\nelements = {{ {} }}\n}}\n}}",
        elements.join(", ")
    );
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), set).expect("write");
    host.run("nft", &["-f", &file.path().display().to_string()]);
    assert!(monitor.changed().expect("read"));
    assert!(!monitor.changed().expect("read"));
}

#[test]
fn a_connection_is_looked_up_by_its_addresses_and_ports() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    bed.host.run(
        "nft",
        &["table inet t { chain c { type nat hook prerouting priority dstnat
            tcp dport 80 redirect to :99
            udp dport 53 redirect to :99
        }
        }"],
    );
    let ends = |port: u16, target: u16| {
        [
            (SocketAddr::from((bed.scanner.v4(), port)), SocketAddr::from((bed.host.v4(), target))),
            (SocketAddr::from((bed.scanner.v6(), port)), SocketAddr::from((bed.host.v6(), target))),
        ]
    };
    let translated = |protocol, (source, target)| {
        bed.host.enter(|| tracked_connection(protocol, source, target)).map(|it| it.translated)
    };
    for (sent, other) in ends(4000, 53).into_iter().zip(ends(4000, 54)) {
        let socket = bed.scanner.enter(|| UdpSocket::bind(sent.0)).expect("bind");
        // The second datagram shows that the first was handled.
        socket.send_to(b"x", sent.1).expect("send");
        socket.send_to(b"x", other.1).expect("send");
        wait_until("the datagram is tracked", || translated(Protocol::Udp, sent).expect("answer"));
        assert!(!translated(Protocol::Udp, other).expect("answer"), "{other:?}");
        assert!(!translated(Protocol::Tcp, sent).expect("answer"), "{sent:?}");
    }
    // A query of the host itself, and its reply.
    for (peer, own) in ends(5300, 4001) {
        let socket = bed.host.enter(|| UdpSocket::bind(own)).expect("bind");
        socket.send_to(b"x", peer).expect("send");
        let reply = bed.host.enter(|| tracked_connection(Protocol::Udp, peer, own));
        let reply = reply.expect("answer");
        assert_eq!((reply.translated, reply.connected), (false, true), "{peer:?}");
    }
    // The kernel removes a connection that is refused.
    let _service = bed.host.enter(|| TcpListener::bind("[::]:99")).expect("listen");
    for (sent, other) in ends(4000, 80).into_iter().zip(ends(4001, 80)) {
        let _connected = bed.scanner.enter(|| {
            let family = match sent.0 {
                SocketAddr::V4(_) => AddressFamily::INET,
                SocketAddr::V6(_) => AddressFamily::INET6,
            };
            let socket = socket(family, SocketType::STREAM, None).expect("socket");
            bind(&socket, &sent.0).expect("bind");
            connect(&socket, &sent.1).expect("connect");
            socket
        });
        assert!(translated(Protocol::Tcp, sent).expect("answer"), "{sent:?}");
        assert!(!translated(Protocol::Tcp, other).expect("answer"), "{other:?}");
    }
}

#[test]
fn tables_of_iptables_legacy_are_reported() {
    let Some(root) = require_root() else { return };
    let host = Namespace::isolated(root);
    let legacy = || host.enter(translations).expect("rules").legacy;
    assert_eq!(legacy(), LegacyTables::Absent);
    host.run("iptables-legacy", &["-t", "filter", "-S"]);
    assert_eq!(legacy(), LegacyTables::Absent);
    host.run("ip6tables-legacy", &["-t", "nat", "-S"]);
    assert_eq!(legacy(), LegacyTables::Present);
}
