//! Connect mode under load: nothing is lost without a count, and the end comes
//! when it is asked for.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use portsentry_testbed::{Signal, Testbed, require_root};
use rustix::net::sockopt::set_socket_linger;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::connect::connected;
use crate::expected::LOGGED;
use crate::forgery::Forger;
use crate::station::{SOON, Sentry, Station};

const CONFIGURATION: &str = r#"
TCP_PORTS = "20-29"
UDP_PORTS = "161"
PORT_BANNER = "go away"
"#;

/// Lets this process have `number` sockets.
fn allow_sockets(number: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < number + 200) {
        let new = Rlimit { current: Some(number + 200), ..limit };
        setrlimit(Resource::Nofile, new).expect("the hard limit of open files is too low");
    }
}

/// Waits until so many probes have been told of.
#[track_caller]
fn wait_for_probes(sentry: &Sentry, number: usize) {
    let deadline = Instant::now() + SOON;
    loop {
        let lines = sentry.lines();
        let found = lines.iter().filter(|line| line.text.starts_with("Scan from: ")).count();
        if found == number {
            return;
        }
        assert!(Instant::now() < deadline, "{found} of {number}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The number before `what` in the line at the end; 0 if it is not there.
fn told(summary: &str, what: &str) -> usize {
    let part = summary.split(", ").find_map(|part| part.strip_suffix(what));
    part.map_or(0, |number| number.trim().parse().expect("a number"))
}

#[test]
fn clients_that_never_close_make_room_and_hold_up_nothing() {
    const CLIENTS: u16 = 2000;
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let sentry = station.start(&["--connect"]);
    allow_sockets(CLIENTS.into());
    let target = bed.host.v4();
    let mut clients: Vec<TcpStream> = bed.scanner.enter(|| {
        let connect = |n: u16| TcpStream::connect_timeout(&(target, 20 + n % 10).into(), SOON);
        (0..CLIENTS).map(|n| connect(n).expect("connect")).collect()
    });
    wait_for_probes(&sentry, CLIENTS.into());
    let asked = Instant::now();
    let ended = sentry.stop();
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    let summary = &ended.stderr[0];
    assert_eq!(told(summary, "banners sent"), CLIENTS.into(), "{summary}");
    // 1,024 are kept at a time; slow machines see some of those time out.
    let ended_early = told(summary, "connections closed early to make room")
        + told(summary, "connections reset because they took too long");
    assert!(ended_early >= usize::from(CLIENTS) - 1024, "{summary}");
    // Those that were closed early have it too.
    for client in &mut clients[..900] {
        let mut text = String::new();
        client.set_read_timeout(Some(SOON)).expect("time-out");
        client.read_to_string(&mut text).expect("banner");
        assert_eq!(text, "go away");
    }
}

#[test]
fn one_that_is_gone_before_it_is_accepted_is_told_of() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let sentry = station.start(&["--connect"]);
    sentry.signal(Signal::STOP);
    let there = SocketAddr::new(bed.host.v4().into(), 25);
    for _ in 0..20 {
        let stream = bed.scanner.enter(|| TcpStream::connect_timeout(&there, SOON));
        let stream = stream.expect("the kernel completes the handshake");
        // Closing resets the connection.
        set_socket_linger(&stream, Some(Duration::ZERO)).expect("linger");
    }
    sentry.signal(Signal::CONT);
    wait_for_probes(&sentry, 20);
    let ended = sentry.stop();
    let line = connected(bed.scanner.v4().into(), "TCP", 25, LOGGED);
    assert!(ended.events().iter().all(|found| *found == line), "{ended:#?}");
}

#[test]
fn a_forged_flood_gets_few_answers_and_is_counted() {
    const DATAGRAMS: u32 = 5000;
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    // Or the kernel throws away what it has no way back to.
    bed.host.ip(&["route", "add", "default", "via", &bed.scanner.v4().to_string()]);
    let sentry = station.start(&["--connect"]);
    let forger = Forger::new(&bed);
    let first = u32::from(Ipv4Addr::new(198, 18, 0, 1));
    // Each from a network of its own.
    let flood: Vec<Vec<u8>> = (0..DATAGRAMS)
        .map(|n| forger.datagram((first + (n << 8)).into(), bed.host.v4(), 161))
        .collect();
    let began = Instant::now();
    forger.send(&flood, 50_000);
    // Behind the flood, through the same socket, when there is room again.
    let last = connected(IpAddr::from(bed.scanner.v4()), "UDP", 161, LOGGED);
    while !sentry.lines().iter().any(|line| line.text == last) {
        assert!(began.elapsed() < SOON);
        crate::probe::datagram(&bed.scanner, bed.scanner.v4().into(), bed.host.v4().into(), 161);
        std::thread::sleep(Duration::from_millis(50));
    }
    let minutes = began.elapsed().as_secs() as usize / 60 + 1;
    let ended = sentry.stop();
    let told_of = ended.events().iter().filter(|line| line.contains("[198.")).count();
    let summary = &ended.stderr[0];
    let dropped = told(summary, "dropped by the kernel");
    assert!(told_of + dropped >= DATAGRAMS as usize, "{told_of} told of; {summary}");
    let (answered, held_back) =
        (told(summary, "banners sent"), told(summary, "not sent by the limits on answers"));
    assert!((1..=200 * minutes).contains(&answered), "{summary}");
    assert!(answered + held_back >= told_of && held_back > 1000, "{summary}");
}
