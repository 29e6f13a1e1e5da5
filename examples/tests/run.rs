//! The examples do what their documentation promises.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread::JoinHandle;

use assert_cmd::Command;
use portsentry_testbed::{SOON, Signal, Testbed, require_root};

/// The example, built by `cargo test` together with this test.
fn path_of(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples").join(name)
}

fn example(name: &str) -> Command {
    Command::new(path_of(name))
}

/// A classic pcap file of raw IP packets: an IPv4 SYN to each of `ports`, a
/// second apart.
fn capture(folder: &tempfile::TempDir, ports: &[u16]) -> PathBuf {
    let probes: Vec<(u8, u16)> = ports.iter().map(|port| (7, *port)).collect();
    capture_of(folder, &probes)
}

/// The same with the last byte of the source for each probe.
fn capture_of(folder: &tempfile::TempDir, probes: &[(u8, u16)]) -> PathBuf {
    let mut file = Vec::new();
    file.extend_from_slice(&0xa1b2_c3d4_u32.to_le_bytes());
    file.extend_from_slice(&[2, 0, 4, 0]);
    file.extend_from_slice(&[0; 8]);
    file.extend_from_slice(&65_535_u32.to_le_bytes());
    file.extend_from_slice(&101_u32.to_le_bytes());
    for (second, (source, port)) in probes.iter().enumerate() {
        let mut packet =
            vec![0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, *source, 198, 51, 100, 1];
        let sum: u32 = packet.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        let mut segment = vec![0x9c, 0x40];
        segment.extend_from_slice(&port.to_be_bytes());
        segment.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 4, 0, 0, 0, 0, 0]);
        let pseudo: u32 = packet[12..20]
            .chunks(2)
            .chain(segment.chunks(2))
            .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
            .sum::<u32>()
            + 6
            + 20;
        let folded = (pseudo & 0xffff) + (pseudo >> 16);
        segment[16..18].copy_from_slice(&(!(folded as u16)).to_be_bytes());
        packet.extend_from_slice(&segment);
        file.extend_from_slice(&(second as u32).to_le_bytes());
        file.extend_from_slice(&0_u32.to_le_bytes());
        for _ in 0..2 {
            file.extend_from_slice(&(packet.len() as u32).to_le_bytes());
        }
        file.extend_from_slice(&packet);
    }
    let path = folder.path().join("scan.pcap");
    std::fs::write(&path, file).unwrap();
    path
}

#[test]
fn by_hand_shows_each_decision() {
    let output = example("by_hand").assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let decisions: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(
        decisions,
        [
            "1 s: 192.0.2.7 to port 23: Report, BelowTrigger",
            "2 s: 203.0.113.9 to port 23: Report, IgnoreList",
            "3 s: 192.0.2.7 to port 80: Drop, NotMonitored",
            "4 s: 192.0.2.7 to port 3389: Respond, Triggered",
            "5 s: 192.0.2.7 to port 23: Report, AlreadyBlocked",
        ]
    );
    assert_eq!(text.matches("Scan from: [192.0.2.7]").count(), 3);
    assert_eq!(text.matches("respond to 192.0.2.7").count(), 1);
}

#[test]
fn capture_report_has_a_line_for_each_source() {
    let folder = tempfile::tempdir().unwrap();
    let path = capture(&folder, &[23, 80, 23]);
    let output = example("capture_report").arg(path).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    let (first, last) = ("1970-01-01T00:00:00Z", "1970-01-01T00:00:02Z");
    assert_eq!(words, ["192.0.2.7", "3", "2", "1", first, last, "3", "TCP", "SYN/Normal", "scan"]);
}

#[test]
fn capture_report_gives_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = capture(&folder, &[23, 80, 23]);
    let output = example("capture_report").arg("--json").arg(path).assert().success();
    let found: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let expected = serde_json::json!([{
        "source": "192.0.2.7",
        "probes": 3,
        "kinds": { "TCP SYN/Normal scan": 3 },
        "ports": [23, 80],
        "targets": ["198.51.100.1"],
        "first_seen": "1970-01-01T00:00:00Z",
        "last_seen": "1970-01-01T00:00:02Z",
    }]);
    assert_eq!(found, expected);
}

/// A web service that replies to each request with one of `answers`, and returns the
/// bodies of the requests.
fn service(answers: &'static [&'static str]) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        answers.iter().map(|answer| serve_one(&listener.accept().unwrap().0, answer)).collect()
    };
    (address, std::thread::spawn(serve))
}

fn serve_one(mut stream: &TcpStream, answer: &str) -> String {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let header = header.trim().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if header.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    String::from_utf8(body).unwrap()
}

fn check_webhook(answers: &'static [&'static str], end: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = capture(&folder, &[23, 80, 23]);
    let (address, served) = service(answers);
    let output = example("webhook").arg(format!("http://{address}/hosts")).arg(path).assert();
    let output = output.success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let bodies = served.join().unwrap();
    let sent: Vec<serde_json::Value> =
        bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    assert_eq!(sent.len(), 1);
    assert_eq!((&sent[0]["source"], &sent[0]["target_port"]), (&"192.0.2.7".into(), &23.into()));
    assert_eq!(sent[0]["evidence"]["segment"]["flags"], 2);
    assert_eq!(text.lines().filter(|line| line.ends_with(end)).count(), 3, "{text}");
}

#[test]
fn the_webhook_gets_a_host_once() {
    check_webhook(&["204 No Content"], "blocked: [true]");
}

#[test]
fn a_webhook_that_refuses_leaves_the_host_unblocked() {
    check_webhook(&["503 Service Unavailable"], "blocked: [false]");
}

#[test]
fn a_program_on_tokio_sees_probes() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut sentry = bed.host.spawn(path_of("tokio_sentry"), &[]);
    sentry.wait_for_line(SOON, |line| line.starts_with("watching "));
    let refused = bed.scanner.enter(|| TcpStream::connect((bed.host.v4(), 23)).unwrap_err());
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let line = format!("Scan from: [{0}] ({0}) protocol: [TCP] port: [23]", bed.scanner.v4());
    sentry.wait_for_line(SOON, |it| it.starts_with(&line));
    sentry.signal(Signal::INT);
    assert!(sentry.wait(SOON).success());
}

#[test]
fn own_sensor_blocks_at_the_third_contact() {
    let log = "192.0.2.7 198.51.100.1 23\n".repeat(4) + "192.0.2.8 198.51.100.1 23\n";
    let output = example("own_sensor").write_stdin(log).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert_eq!(text.matches("blocking 192.0.2.7").count(), 1);
    assert_eq!(text.matches("blocking").count(), 1);
    assert_eq!(text.matches("Scan from: [192.0.2.7]").count(), 4);
    assert_eq!(text.matches("type: [Connect]").count(), 5);
    assert_eq!(text.matches("blocked: [true]").count(), 2);
}

/// The sorted lines of `sharded` with this many engines.
fn sharded(engines: &str, path: &PathBuf) -> Vec<String> {
    let output = example("sharded").arg(engines).arg(path).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn several_engines_decide_as_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let probes: Vec<(u8, u16)> =
        (0..3).flat_map(|round| (1..=8).map(move |source| (source, 20 + round))).collect();
    let path = capture_of(&folder, &probes);
    let one = sharded("1", &path);
    assert_eq!(one.iter().filter(|line| line.ends_with("blocked: [true]")).count(), 24);
    assert_eq!(one.iter().filter(|line| line.starts_with("blocking ")).count(), 8);
    assert!(one.contains(&"24 observations, 24 probes".to_owned()), "{one:?}");
    assert_eq!(sharded("4", &path), one);
}

#[test]
fn several_engines_share_one_response_rate() {
    let folder = tempfile::tempdir().unwrap();
    let probes: Vec<(u8, u16)> = (1..=15).map(|source| (source, 23)).collect();
    let lines = sharded("3", &capture_of(&folder, &probes));
    assert_eq!(lines.iter().filter(|line| line.starts_with("blocking ")).count(), 10);
    assert_eq!(lines.iter().filter(|line| line.ends_with("blocked: [false]")).count(), 5);
}
