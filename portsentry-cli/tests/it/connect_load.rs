//! Connect mode under load: every loss is counted, and the sentry ends in time.
//!
//! With `PORTSENTRY_LOAD=full`, as in `make load-connect`, the load is that of a large
//! machine, and the tests print their figures.

use std::env;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use portsentry_testbed::{SOON, Signal, Testbed, holds_soon, require_root};
use rustix::net::sockopt::set_socket_linger;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::connect::connected;
use crate::expected::LOGGED;
use crate::forgery::Forger;
use crate::station::{Ended, Sentry, Station};

const CONFIGURATION: &str = r#"
TCP_PORTS = "20-29"
UDP_PORTS = "161"
PORT_BANNER = "go away"
"#;

/// Returns `usual`, or `full` under full load.
fn scale(usual: usize, full: usize) -> usize {
    if env::var_os("PORTSENTRY_LOAD").is_some_and(|it| it == "full") { full } else { usual }
}

/// Raises the limit of this process to `number` sockets.
fn allow_sockets(number: usize) {
    let number = number as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < number + 200) {
        let new = Rlimit { current: Some(number + 200), ..limit };
        setrlimit(Resource::Nofile, new).expect("the hard limit of open files is too low");
    }
}

/// Waits until `number` probes have been logged.
#[track_caller]
fn wait_for_probes(sentry: &Sentry, number: usize) {
    let logged =
        || sentry.lines().iter().filter(|line| line.text.starts_with("Scan from: ")).count();
    assert!(holds_soon(|| logged() == number), "{} of {number}", logged());
}

/// Reads a number of `/proc/PID/status`, such as `VmHWM`, in KiB.
fn status(sentry: &Sentry, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", sentry.pid())).expect("status");
    let line = text.lines().find(|line| line.starts_with(key)).expect("the key");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

/// Returns the processor time of the sentry so far, in ticks (`proc_pid_stat(5)`).
fn ticks(sentry: &Sentry) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/stat", sentry.pid())).expect("stat");
    let (_, numbers) = text.rsplit_once(") ").expect("a name in parentheses");
    let numbers: Vec<&str> = numbers.split(' ').collect();
    numbers[11..13].iter().map(|number| number.parse::<u64>().expect("a number")).sum()
}

/// Stops the sentry and asserts that it ends within 2 s.
#[track_caller]
fn stop(sentry: Sentry) -> Ended {
    let asked = Instant::now();
    let ended = sentry.stop();
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    println!("{}; ended in {:?}", ended.stderr.join("; "), asked.elapsed());
    ended
}

/// Connects to each of `ports` and disconnects, on several threads.
fn connect_to_all(bed: &Testbed, ports: &[u16]) {
    const THREADS: usize = 8;
    let target = bed.host.v4();
    bed.scanner.enter(|| {
        std::thread::scope(|scope| {
            for part in ports.chunks(ports.len().div_ceil(THREADS)) {
                scope.spawn(move || {
                    for port in part {
                        TcpStream::connect_timeout(&(target, *port).into(), SOON).expect("connect");
                    }
                });
            }
        });
    });
}

#[test]
fn a_burst_of_connections_is_logged() {
    let number = scale(3000, 50_000);
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let sentry = station.start(&["--connect"]);
    let ports: Vec<u16> = (20..=29).cycle().take(number).collect();
    let start = Instant::now();
    connect_to_all(&bed, &ports);
    let connected = start.elapsed();
    wait_for_probes(&sentry, number);
    let (logged, memory) = (start.elapsed(), status(&sentry, "VmHWM"));
    println!("{number} connections made in {connected:?}, logged after {logged:?}; {memory} KiB");
    assert!(memory < 64 * 1024, "{memory} KiB");
    stop(sentry);
}

#[test]
fn idle_ports_cost_nothing_however_many_are_bound() {
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let number = scale(2000, hard.saturating_sub(1200).min(65_535) as usize) as u16;
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, &format!("TCP_PORTS = \"1-{number}\"\n"));
    let start = Instant::now();
    let sentry = station.start(&["--connect"]);
    let (ready, before) = (start.elapsed(), ticks(&sentry));
    assert!(ready < Duration::from_secs(5), "{ready:?}");
    // A fixed wait, because the test measures the idle sentry.
    std::thread::sleep(Duration::from_secs(1));
    let idle = ticks(&sentry) - before;
    connect_to_all(&bed, &(1..=number).collect::<Vec<u16>>());
    wait_for_probes(&sentry, number.into());
    let memory = status(&sentry, "VmHWM");
    println!("{number} ports: ready in {ready:?}, {idle} ticks a second idle, {memory} KiB");
    assert!(idle <= 1 && memory < 64 * 1024);
    let ended = stop(sentry);
    let source = bed.scanner.v4().into();
    let mut expected: Vec<String> =
        (1..=number).map(|port| connected(source, "TCP", port, LOGGED)).collect();
    let mut found = ended.events();
    expected.sort_unstable();
    found.sort_unstable();
    assert!(found == expected, "each port once");
}

/// Returns the number before `what` in the summary, or 0 if `what` is missing.
fn count_of(summary: &str, what: &str) -> usize {
    let part = summary.split(", ").find_map(|part| part.strip_suffix(what));
    part.map_or(0, |number| number.trim().parse().expect("a number"))
}

#[test]
fn clients_that_never_close_are_disconnected_and_delay_nothing() {
    let number = scale(2000, 5000);
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let sentry = station.start(&["--connect"]);
    allow_sockets(number);
    let target = bed.host.v4();
    let mut clients: Vec<TcpStream> = bed.scanner.enter(|| {
        let ports = (20..=29).cycle().take(number);
        let connect = |port: u16| TcpStream::connect_timeout(&(target, port).into(), SOON);
        ports.map(|port| connect(port).expect("connect")).collect()
    });
    wait_for_probes(&sentry, number);
    let ended = stop(sentry);
    let summary = &ended.stderr[0];
    assert_eq!(count_of(summary, "banners sent"), number, "{summary}");
    // 1,024 connections are kept at a time; on a slow machine some of these time out.
    let ended_early = count_of(summary, "connections closed early because too many were open")
        + count_of(summary, "connections reset after a timeout");
    assert!(ended_early >= number - 1024, "{summary}");
    // Connections that were closed early got the banner, too.
    for client in &mut clients[..900] {
        let mut text = String::new();
        client.set_read_timeout(Some(SOON)).expect("time-out");
        client.read_to_string(&mut text).expect("banner");
        assert_eq!(text, "go away");
    }
}

#[test]
fn a_connection_reset_before_it_is_accepted_is_logged() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let sentry = station.start(&["--connect"]);
    sentry.signal(Signal::STOP);
    let there = SocketAddr::new(bed.host.v4().into(), 25);
    for _ in 0..20 {
        let stream = bed.scanner.enter(|| TcpStream::connect_timeout(&there, SOON));
        let stream = stream.expect("the kernel completes the handshake");
        // The close resets the connection.
        set_socket_linger(&stream, Some(Duration::ZERO)).expect("linger");
    }
    sentry.signal(Signal::CONT);
    wait_for_probes(&sentry, 20);
    let ended = sentry.stop();
    let line = connected(bed.scanner.v4().into(), "TCP", 25, LOGGED);
    assert!(ended.events().iter().all(|found| *found == line), "{ended:#?}");
}

#[test]
fn a_forged_flood_gets_few_replies_and_is_counted() {
    let number = scale(5000, 100_000);
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    // Without a route back, the kernel would discard the datagrams.
    bed.host.ip(&["route", "add", "default", "via", &bed.scanner.v4().to_string()]);
    let sentry = station.start(&["--connect"]);
    let forger = Forger::new(&bed);
    let first = u32::from(Ipv4Addr::new(198, 18, 0, 1));
    // Each source is in a different network, as long as there are unused ones.
    let flood: Vec<Vec<u8>> = (0..number as u32)
        .map(|n| forger.datagram((first + (n << 8) % (1 << 25)).into(), bed.host.v4(), 161))
        .collect();
    let scanner = format!("[{}]", bed.scanner.v4());
    let start = Instant::now();
    forger.send(&flood, 50_000);
    // This datagram follows the flood through the same socket when there is space again.
    let last = connected(IpAddr::from(bed.scanner.v4()), "UDP", 161, LOGGED);
    while !sentry.lines().iter().any(|line| line.text == last) {
        assert!(start.elapsed() < SOON);
        crate::probe::datagram(&bed.scanner, bed.scanner.v4().into(), bed.host.v4().into(), 161);
        std::thread::sleep(Duration::from_millis(50));
    }
    let minutes = start.elapsed().as_secs() as usize / 60 + 1;
    let memory = status(&sentry, "VmHWM");
    assert!(memory < 64 * 1024, "{memory} KiB");
    let ended = stop(sentry);
    let logged = ended.events().iter().filter(|line| !line.contains(&scanner)).count();
    let summary = &ended.stderr[0];
    let dropped = count_of(summary, "dropped by the kernel");
    assert!(logged + dropped >= number, "{logged} logged; {summary}");
    let (answered, held_back) = (
        count_of(summary, "banners sent"),
        count_of(summary, "not sent because of the reply limits"),
    );
    assert!((1..=200 * minutes).contains(&answered), "{summary}");
    assert!(answered + held_back >= logged && held_back > 1000, "{summary}");
}
