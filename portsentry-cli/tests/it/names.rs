//! Names of hosts, from a separate name server for each test.

use std::net::{IpAddr, UdpSocket};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use portsentry_testbed::{Testbed, require_root};

use crate::blocking::Etc;
use crate::expected::{LOGGED, UDP, named_event};
use crate::probe::{both_families, datagram};
use crate::station::{Sentry, Station};

const CONFIGURATION: &str = r#"
UDP_PORTS = "20-30"
HISTORY_FILE = "{dir}/history"
RESOLVE_HOST = "1"
"#;

/// The answer of the name server.
#[derive(Clone, Debug)]
enum Answer {
    /// One PTR record; dots separate labels.
    Name(&'static str),
    /// There is no such name.
    Nothing,
    /// No reply.
    Silence,
}

/// A name server on the loopback interface of the namespace.
struct NameServer {
    socket: UdpSocket,
    thread: Option<JoinHandle<()>>,
    stop: mpsc::Sender<()>,
}

impl NameServer {
    fn start(bed: &Testbed, answers: Vec<(IpAddr, Answer)>) -> Self {
        let socket = bed.host.enter(|| UdpSocket::bind("127.0.0.1:53")).expect("bind");
        let answers: Vec<_> =
            answers.into_iter().map(|(host, answer)| (reverse_name(host), answer)).collect();
        let serving = socket.try_clone().expect("clone");
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, client)) = serving.recv_from(&mut query) {
                if stopped.try_recv().is_ok() {
                    return;
                }
                let known = answers.iter().find(|(name, _)| query[12..length].starts_with(name));
                let answer = known.map_or(&Answer::Nothing, |(_, answer)| answer);
                if let Some(reply) = reply(&query[..length], answer) {
                    serving.send_to(&reply, client).expect("send");
                }
            }
        });
        Self { socket, thread: Some(thread), stop }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        // An empty datagram wakes the thread.
        let _ = self.socket.send_to(b"", self.socket.local_addr().expect("address"));
        let _ = self.thread.take().expect("thread").join();
    }
}

/// Returns the name for the reverse lookup of the address (RFC 1035 section 3.5, RFC 3596
/// section 2.5), in wire format.
fn reverse_name(host: IpAddr) -> Vec<u8> {
    let name = match host {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    };
    wire_name(&name)
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.') {
        wire.push(label.len() as u8);
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// Returns the reply to a query (RFC 1035 section 4.1), or `None` for silence.
fn reply(query: &[u8], answer: &Answer) -> Option<Vec<u8>> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0)? + 5;
    let question = &query[12..end];
    let (code, records) = match answer {
        Answer::Silence => return None,
        Answer::Nothing => (3, 0),
        Answer::Name(_) => (0, 1),
    };
    let mut reply = query[..2].to_vec();
    reply.extend([0x85, 0x80 | code, 0, 1, 0, records, 0, 0, 0, 0]);
    reply.extend(question);
    if let Answer::Name(name) = answer {
        let name = wire_name(name);
        // A pointer to the name in the question, PTR, IN, and one minute to live.
        reply.extend([0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 60, 0, name.len() as u8]);
        reply.extend(name);
    }
    Some(reply)
}

/// Starts a name server that gives `answers`, and a sentry that uses it.
fn sentry(bed: &Testbed, answers: Vec<(IpAddr, Answer)>) -> (Station<'_>, Etc, NameServer, Sentry) {
    let etc = Etc::of(&bed.host);
    etc.write("resolv.conf", "nameserver 127.0.0.1\n");
    etc.write("nsswitch.conf", "hosts: files dns\n");
    let server = NameServer::start(bed, answers);
    let station = Station::with(&bed.host, CONFIGURATION);
    let sentry = station.start(&[]);
    (station, etc, server, sentry)
}

#[test]
fn only_valid_host_names_are_logged() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let check = |answer: Answer, shown: &str| {
        let hosts = both_families(&bed);
        let answers = hosts.map(|(source, _)| (source, answer.clone())).to_vec();
        let (station, _etc, _server, mut sentry) = sentry(&bed, answers);
        let mut expected = Vec::new();
        for (source, target) in hosts {
            datagram(&bed.scanner, source, target, 20);
            expected.push(named_event(source, shown, UDP, 20, LOGGED));
            sentry.wait_for(expected.last().expect("line"));
        }
        assert_eq!(sentry.stop().events(), expected, "{answer:?}");
        assert_eq!(station.history(), expected);
    };
    check(Answer::Name("scanner-7.example.net"), "scanner-7.example.net");
    check(Answer::Nothing, "<unknown>");
    check(Answer::Name("x]\nScan from: [192"), "<unknown>");
    check(Answer::Name("a b.example.net"), "<unknown>");
    check(Answer::Name("%s%n.example.net"), "<unknown>");
}

#[test]
fn an_unanswered_lookup_delays_only_its_own_host() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let [(mute, target), (named, target_v6)] = both_families(&bed);
    let answers = vec![(mute, Answer::Silence), (named, Answer::Name("scanner.example.net"))];
    let (_station, _etc, _server, mut sentry) = sentry(&bed, answers);
    let sent = std::time::Instant::now();
    datagram(&bed.scanner, mute, target, 20);
    datagram(&bed.scanner, mute, target, 21);
    datagram(&bed.scanner, named, target_v6, 20);
    let prompt = sentry.wait_for(&named_event(named, "scanner.example.net", UDP, 20, LOGGED));
    let late = sentry.wait_for(&named_event(mute, "<unknown>", UDP, 20, LOGGED));
    sentry.wait_for(&named_event(mute, "<unknown>", UDP, 21, LOGGED));
    let (prompt, late) = (prompt.at.duration_since(sent), late.at.duration_since(sent));
    assert!(prompt < Duration::from_millis(1_500), "{prompt:?}");
    assert!((1_900..4_000).contains(&late.as_millis()), "{late:?}");
    sentry.stop();
}
