//! Interfaces that appear and disappear leak neither descriptors nor memory maps. The test
//! counts those of the whole process, so it is the only one in this program.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use portsentry_capture::{LiveBackend, PcapBackend, RawBackend, Selection, Sensor, SensorSet};
use portsentry_core::Observation;
use portsentry_testbed::{Testbed, require_root};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn fifty_interfaces_in_turn_leak_nothing() {
    let Some(root) = require_root() else { return };
    let pcap: Box<dyn LiveBackend + Send> = Box::<PcapBackend>::default();
    let raw: Box<dyn LiveBackend + Send> = Box::<RawBackend>::default();
    for (method, backend) in [("pcap", pcap), ("raw", raw)] {
        let bed = Testbed::new(root);
        let all = Selection::parse(&["ALL"]).expect("selection");
        let mut set = bed.host.enter(|| SensorSet::builder(all, backend).open()).expect("set");
        let mut before = None;
        for number in 1..=50 {
            let name = format!("late{number}");
            let target: IpAddr = [192, 0, 2, 1].into();
            let cable = [&name, "netns", bed.host.name(), "type", "veth"];
            let far_end = ["peer", "name", "far0", "netns", bed.scanner.name()];
            bed.host.ip(&[&["link", "add"][..], &cable, &far_end].concat());
            bed.scanner.ip(&["address", "add", "192.0.2.2/24", "dev", "far0"]);
            bed.scanner.ip(&["link", "set", "far0", "up"]);
            bed.host.ip(&["address", "add", "192.0.2.1/24", "dev", &name]);
            bed.host.ip(&["link", "set", &name, "up"]);
            bed.host.enter(|| follow(&mut set, |set| set.watched().any(|it| it == name)));
            let probe = bed.scanner.enter(|| UdpSocket::bind("192.0.2.2:0")).expect("bind");
            probe.send_to(b"probe", (target, number)).expect("send");
            let seen = bed.host.enter(|| first_observation(&mut set));
            assert_eq!((seen.target, seen.target_port), (target, number), "{method}: {name}");
            bed.host.ip(&["link", "delete", &name]);
            bed.host.enter(|| follow(&mut set, |set| set.watched().count() == 2));
            // The first interface may leave resources that are created only once.
            let held = held();
            assert_eq!(*before.get_or_insert(held), held, "{method}: after {name}");
        }
    }
}

/// Lets the set follow changes until `done`.
#[track_caller]
fn follow(set: &mut SensorSet, done: impl Fn(&SensorSet) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done(set) {
        assert!(Instant::now() < deadline, "watched: {}", set.name());
        read(set, &mut |_| ());
    }
}

#[track_caller]
fn first_observation(set: &mut SensorSet) -> Observation {
    let deadline = Instant::now() + PATIENCE;
    let mut first = None;
    while first.is_none() {
        assert!(Instant::now() < deadline, "no observation in time");
        read(set, &mut |it| first = first.or(Some(*it)));
    }
    first.expect("seen")
}

/// Waits until a capture is readable, and drains the set.
fn read(set: &mut SensorSet, sink: &mut dyn FnMut(&Observation)) {
    let mut interest =
        [PollFd::from_borrowed_fd(set.descriptor().expect("descriptor"), PollFlags::IN)];
    poll(&mut interest, Some(&Timespec { tv_sec: 1, tv_nsec: 0 })).expect("poll");
    set.drain(64, sink).expect("drain");
}

/// Returns the numbers of descriptors and of mapped rings of this process.
fn held() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").expect("descriptors").count();
    let maps = fs::read_to_string("/proc/self/maps").expect("mappings");
    (descriptors, maps.lines().filter(|line| line.contains("socket:[")).count())
}
