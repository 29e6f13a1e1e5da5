//! The two ends of a testbed reach each other and nothing else, and nothing remains
//! after a test.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use portsentry_testbed::{Background, Namespace, Signal, Stream, Testbed, require_root};

#[test]
fn both_families_work_immediately() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    for address in [IpAddr::V4(bed.host.v4()), IpAddr::V6(bed.host.v6())] {
        let listener = bed.host.enter(|| TcpListener::bind((address, 0)).expect("bind"));
        let at = listener.local_addr().expect("address");
        let server = thread::spawn(move || {
            let (mut stream, peer) = listener.accept().expect("accept");
            stream.write_all(b"hello").expect("write");
            peer.ip()
        });
        let mut stream = bed.scanner.enter(|| TcpStream::connect(at).expect("connect"));
        let mut greeting = String::new();
        stream.read_to_string(&mut greeting).expect("read");
        assert_eq!(greeting, "hello");
        let peer = server.join().expect("server");
        assert!([IpAddr::V4(bed.scanner.v4()), IpAddr::V6(bed.scanner.v6())].contains(&peer));
    }
}

#[test]
fn packets_cannot_leave_the_namespaces() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let outside = SocketAddr::from(([192, 0, 2, 1], 53));
    let sent = bed.scanner.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("bind");
        socket.send_to(b"out", outside)
    });
    assert_eq!(sent.expect_err("no route").kind(), std::io::ErrorKind::NetworkUnreachable);
}

#[test]
fn a_dropped_namespace_is_removed() {
    let Some(root) = require_root() else { return };
    let namespace = Namespace::isolated(root);
    let name = namespace.name().to_owned();
    let listed = || {
        let output = Command::new("ip").args(["netns", "list"]).output().expect("ip");
        String::from_utf8_lossy(&output.stdout).contains(&name)
    };
    assert!(listed());
    drop(namespace);
    assert!(!listed());
}

#[test]
fn commands_run_inside_the_namespace() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let addresses = bed.host.run("ip", &["-brief", "address", "show"]);
    assert!(addresses.contains(&bed.host.v4().to_string()), "{addresses}");
    assert!(addresses.contains(&bed.host.v6().to_string()), "{addresses}");
    assert!(!addresses.contains(&bed.scanner.v4().to_string()), "{addresses}");
}

#[test]
fn a_command_sees_the_wanted_uptime() {
    let Some(root) = require_root() else { return };
    let namespace = Namespace::isolated(root);
    for wanted in [60, 3_600, 30 * 86_400] {
        let mut command = namespace.command_with_uptime("cat", Duration::from_secs(wanted));
        let output = command.arg("/proc/uptime").output().expect("cat");
        let text = String::from_utf8_lossy(&output.stdout);
        let (seconds, _) = text.split_once('.').expect("seconds with a fraction");
        let seconds: u64 = seconds.parse().expect("a number");
        // The machine may be busy.
        assert!((wanted - 1..wanted + 20).contains(&seconds), "{seconds} instead of {wanted}");
    }
}

#[test]
#[should_panic(expected = "no-such-scanner is not installed")]
fn the_panic_names_a_missing_tool() {
    let Some(root) = require_root() else { panic!("no-such-scanner is not installed (skipped)") };
    Namespace::isolated(root).command("no-such-scanner");
}

fn shell(script: &str) -> Background {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    Background::spawn(command)
}

const SOON: Duration = Duration::from_secs(10);

#[test]
fn lines_are_found_in_order_in_both_streams() {
    let mut process = shell("echo one; echo two; echo three");
    assert_eq!(process.wait_for_line(SOON, |line| line.contains("one")).stream, Stream::Stdout);
    assert_eq!(process.wait_for_line(SOON, |line| line.starts_with('t')).text, "two");
    assert_eq!(process.wait_for_line(SOON, |line| line.starts_with('t')).text, "three");

    // The two streams are read by two threads, in an undefined order.
    let mut process = shell("echo one; echo two >&2; exit 3");
    assert_eq!(process.wait_for_line(SOON, |line| line == "two").stream, Stream::Stderr);
    assert_eq!(process.wait(SOON).code(), Some(3));
    assert_eq!((process.stdout(), process.stderr()), ("one\n".into(), "two\n".into()));
}

#[test]
#[should_panic(expected = "no such line in time")]
fn a_missing_line_fails_the_test() {
    shell("echo one; exec sleep 60").wait_for_line(Duration::from_millis(50), |line| line == "two");
}

#[test]
fn a_signal_is_delivered_and_a_drop_kills() {
    let mut process =
        shell("trap 'echo caught; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
    process.wait_for_line(SOON, |line| line == "ready");
    process.signal(Signal::TERM);
    process.wait_for_line(SOON, |line| line == "caught");
    assert!(process.wait(SOON).success());

    let mut stubborn = shell("trap '' TERM; echo ready; exec sleep 60");
    stubborn.wait_for_line(SOON, |line| line == "ready");
    let (pid, started) = (stubborn.pid(), Instant::now());
    drop(stubborn);
    assert!(started.elapsed() < SOON);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}
