//! Ordinary clients of real services are no scanners, although the host monitors all ports
//! and blocks at the first probe.

mod clients;
mod services;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use portsentry_testbed::{Root, SOON, Signal, Testbed, has_service, require_root, wait_until};

use crate::expected::UDP;
use crate::probe::{MARKER, datagram, port_of};
use crate::station::{Ended, Station};
use clients::{
    Results, browse, query_often, send_stream, store_often, transfer_often, visit_often,
};
use services::{FILE, Inside, Nginx, REDIRECTED, TRANSLATED, TRANSLATED_UDP};

const CONFIGURATION: &str = r#"
TCP_PORTS = "ALL"
UDP_PORTS = "ALL"
HISTORY_FILE = "{dir}/history"
BLOCKED_FILE = "{dir}/blocked"
BLOCK_TCP = "1"
BLOCK_UDP = "1"
SCAN_TRIGGER = "0"
SERVED_GRACE = "10 min"
KILL_ROUTE = "case $TARGET$ in *:*) set=v6;; *) set=v4;; esac; exec nft add element inet guard $set '{ $TARGET$ }'"
KILL_RUN_CMD = "echo $TARGET$ >> {dir}/did"
"#;

/// Number of restarts of the web server.
const RESTARTS: u32 = 50;
/// Number of FTP transfers, of requests to each translated port, and of streams.
const SERIES: u32 = 20;
/// Number of datagrams of a stream that the receiver waits for.
const STREAM: usize = 10;

/// A client with its own address.
#[derive(Debug)]
struct Guest {
    name: &'static str,
    address: IpAddr,
    results: Results,
}

/// Gives the scanner one more address for each guest.
fn invite(bed: &Testbed) -> Vec<Guest> {
    let (host, scanner) = (bed.host.interface(), bed.scanner.interface());
    bed.host.ip(&["route", "add", "198.51.100.0/24", "dev", host]);
    bed.host.ip(&["route", "add", "2001:db8::/64", "dev", host]);
    let guest = |(name, address): (&'static str, &str)| {
        let address: IpAddr = address.parse().expect("address");
        let length = if address.is_ipv4() { 32 } else { 128 };
        bed.scanner.ip(&["address", "add", &format!("{address}/{length}"), "dev", scanner]);
        Guest { name, address, results: Results::default() }
    };
    let guests = [
        ("browser", "198.51.100.10"),
        ("browser with IPv6", "2001:db8::10"),
        ("FTP client", "198.51.100.20"),
        ("client of the translated port", "198.51.100.30"),
        ("client of the redirected port", "198.51.100.31"),
        ("client of the translated UDP port", "198.51.100.32"),
        ("caller", "198.51.100.40"),
        ("storing FTP client", "198.51.100.21"),
    ];
    guests.into_iter().map(guest).collect()
}

/// Creates sets of addresses that the firewall of the host drops.
fn guard(bed: &Testbed) {
    for line in [
        "add table inet guard",
        "add set inet guard v4 { type ipv4_addr; }",
        "add set inet guard v6 { type ipv6_addr; }",
        "add chain inet guard input { type filter hook prerouting priority -300; }",
        "add rule inet guard input ip saddr @v4 drop",
        "add rule inet guard input ip6 saddr @v6 drop",
    ] {
        bed.host.run("nft", &[line]);
    }
}

#[test]
fn no_guest_is_taken_for_a_scanner() {
    let are_installed = || ["nginx", "vsftpd", "curl"].into_iter().all(has_service);
    let Some(root) = require_root().filter(|_| are_installed()) else { return };
    let bed = Testbed::new(root);
    let station = Station::in_namespace(&bed.host).up_for(Duration::from_secs(86_400));
    station.configure(CONFIGURATION);
    let guests = invite(&bed);
    guard(&bed);
    let ended = receive(root, &bed, &station, &guests);

    let report = report(&guests, &station, &ended);
    println!("{report}");
    let did = station.lines("did");
    let events = ended.events();
    for guest in &guests {
        let from = format!("Scan from: [{}] ", guest.address);
        assert!(!events.iter().any(|line| line.starts_with(&from)), "{report}");
        assert!(!did.contains(&guest.address.to_string()), "{report}");
        assert_eq!(guest.results.failed(), 0, "{report}");
        assert!(guest.results.answered() >= SERIES || guest.name == "caller", "{report}");
    }
    // The browsers came while nothing listened.
    for browser in &guests[..2] {
        assert!(browser.results.refused() >= RESTARTS / 2, "{report}");
    }

    let scanner = bed.scanner.v4();
    let from = format!("Scan from: [{scanner}] ");
    let missing: Vec<u16> = (1..=1_000)
        .filter(|port| ![21, 80].contains(port))
        .filter(|port| {
            let part = format!("protocol: [TCP] port: [{port}]");
            !events.iter().any(|line| line.starts_with(&from) && line.contains(&part))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?} {report}");
    assert_eq!(did, [scanner.to_string()], "{report}");
    let blocked = bed.host.run("nft", &["list", "set", "inet", "guard", "v4"]);
    assert!(blocked.contains(&format!("{{ {scanner} }}")), "{blocked}");
}

/// Runs the sentry and the services while the guests come and a scanner scans.
fn receive(root: Root, bed: &Testbed, station: &Station<'_>, guests: &[Guest]) -> Ended {
    let [browser, browser_v6, ftp, translated, redirected, translated_udp, caller, storing] =
        guests
    else {
        panic!("eight guests")
    };
    let host = bed.host.v4();
    let at = |port| SocketAddr::from((host, port));
    let _inside = Inside::new(root, bed);
    let mut nginx = Nginx::start(&bed.host, station);
    let mut sentry = station.start(&[]);
    let _vsftpd = services::start_ftp(&bed.host, station);

    let end = AtomicBool::new(false);
    let clients = &bed.scanner;
    thread::scope(|scope| {
        let v6 = SocketAddr::from((bed.host.v6(), 80));
        for (guest, to) in [(browser, at(80)), (browser_v6, v6)] {
            let end = &end;
            scope.spawn(move || browse(clients, guest.address, to, &guest.results, end));
        }
        let others = [
            scope.spawn(|| {
                transfer_often(clients, ftp.address, host.into(), FILE, SERIES, &ftp.results);
            }),
            scope.spawn(|| {
                visit_often(
                    clients,
                    translated.address,
                    at(TRANSLATED),
                    SERIES,
                    &translated.results,
                );
                // The redirected port leads to the web server, which is being restarted.
                visit_often(
                    clients,
                    redirected.address,
                    at(REDIRECTED),
                    5 * SERIES,
                    &redirected.results,
                );
                let to = at(TRANSLATED_UDP);
                query_often(clients, translated_udp.address, to, SERIES, &translated_udp.results);
            }),
            scope.spawn(|| call(bed, host, caller)),
            scope.spawn(|| {
                let file = station.path("ftp/file");
                store_often(clients, storing.address, host.into(), &file, SERIES, &storing.results);
            }),
        ];
        let mut scan = scan(bed);

        let pages = |browser: &Guest| browser.results.answered();
        for number in 0..RESTARTS {
            nginx.stop(if number % 2 == 0 { Signal::TERM } else { Signal::QUIT });
            nginx.run();
            let before = pages(browser);
            wait_until("a page", || pages(browser) > before || browser.results.failed() > 0);
        }
        nginx.stop(Signal::TERM);
        thread::sleep(Duration::from_secs(1));
        nginx.run();
        for other in others {
            other.join().expect("a client");
        }
        let status = scan.wait(SOON * 3);
        assert!(status.success(), "{}", scan.transcript());
        end.store(true, Ordering::Relaxed);
    });
    datagram(&bed.scanner, bed.scanner.v4().into(), host.into(), MARKER);
    sentry.wait_for_part(&port_of(UDP, MARKER));
    sentry.stop()
}

/// Scans the first thousand ports.
fn scan(bed: &Testbed) -> portsentry_testbed::Background {
    let target = bed.host.v4().to_string();
    let options = ["-sS", "-Pn", "-n", "-p1-1000", "--max-retries=0", "--min-rate=200", "-e"];
    bed.scanner.spawn("nmap", &[&options[..], &[bed.scanner.interface(), &target]].concat())
}

/// Sends streams, each to a port that is open only while the first datagrams arrive.
fn call(bed: &Testbed, host: Ipv4Addr, caller: &Guest) {
    for _ in 0..SERIES {
        thread::scope(|scope| {
            services::receive_stream(&bed.host, host, STREAM, |to| {
                scope.spawn(move || send_stream(&bed.scanner, caller.address, to, STREAM + 3));
            });
        });
    }
}

/// Returns a table of the guests with the numbers of their requests and their lines.
fn report(guests: &[Guest], station: &Station<'_>, ended: &Ended) -> String {
    let did = station.lines("did");
    let mut report = String::from("guest: answered, refused, failed; probes; responses\n");
    for Guest { name, address, results } in guests {
        let from = format!("Scan from: [{address}] ");
        let probes = ended.events().iter().filter(|line| line.starts_with(&from)).count();
        let responses = did.iter().filter(|line| **line == address.to_string()).count();
        let lines = ended.events().into_iter().filter(|line| line.starts_with(&from));
        let (answered, refused, failed) = (results.answered(), results.refused(), results.failed());
        writeln!(report, "{name}: {answered}, {refused}, {failed}; {probes}; {responses}")
            .expect("text");
        writeln!(report, "{:#?}", lines.take(3).collect::<Vec<_>>()).expect("text");
    }
    let other = ended.stdout.iter().filter(|line| !line.starts_with("Scan from: ")).take(20);
    writeln!(report, "{:#?}\n{:#?}", other.collect::<Vec<_>>(), ended.stderr).expect("text");
    report
}
