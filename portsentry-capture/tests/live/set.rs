//! The set of captures follows interfaces that appear, change and disappear. Each test
//! creates its own network namespaces.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portsentry_capture::{
    CaptureOptions, Drained, Interface, LiveBackend, LiveSensor, Rejected, Selection, Sensor,
    SensorError, SensorSet, Watched,
};
use portsentry_core::Observation;
use portsentry_testbed::{Namespace, Testbed, require_root};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::sensor::{inject, syn_frame};
use crate::watch::{Method, interface, knock, targets, watch_to_marker, with_each_method};

with_each_method! {
    selections_open_the_named_interfaces,
    a_missing_privilege_is_a_startup_error,
    every_interface_is_read_through_one_descriptor,
    an_interface_that_appears_is_watched,
    many_new_interfaces_are_opened_step_by_step,
    a_failed_capture_is_retried,
    addresses_are_followed,
    a_capture_survives_a_link_that_is_down,
    an_interface_is_selected_by_its_current_name,
    a_probe_on_a_bridge_and_its_port_is_observed_once,
}

fn open(method: Method, namespace: &Namespace, names: &[&str]) -> Result<SensorSet, SensorError> {
    let selection = Selection::parse(names).expect("selection");
    let backend = method.backend(CaptureOptions::default());
    namespace.enter(|| SensorSet::builder(selection, backend).open())
}

fn watched(set: &SensorSet) -> Vec<&str> {
    set.watched().collect()
}

/// Lets the set follow changes until it watches `expected`.
#[track_caller]
pub(crate) fn follow_until(
    set: &mut SensorSet,
    namespace: &Namespace,
    expected: &[&str],
) -> Vec<Observation> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut seen = Vec::new();
    while watched(set) != expected {
        assert!(Instant::now() < deadline, "watched: {:?}, not {expected:?}", watched(set));
        let mut interest =
            [PollFd::from_borrowed_fd(set.descriptor().expect("descriptor"), PollFlags::IN)];
        poll(&mut interest, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).expect("poll");
        // Netlink reports the namespace of the calling thread.
        namespace.enter(|| set.drain(64, &mut |it| seen.push(*it))).expect("drain");
    }
    seen
}

#[track_caller]
fn marked(set: &mut SensorSet, bed: &Testbed) -> Vec<(IpAddr, u16)> {
    let to = bed.host.v6().into();
    targets(&bed.host.enter(|| watch_to_marker(set, &bed.scanner, to)))
}

fn selections_open_the_named_interfaces(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let device = bed.host.interface();
    let check = |names: &[&str], expected: &[&str]| {
        let set = open(method, &bed.host, names).expect("set");
        assert_eq!(watched(&set), expected, "{names:?}");
        assert_eq!(set.name(), expected.join(", "));
    };
    check(&["ALL"], &["lo", device]);
    check(&["ALL_NLO"], &[device]);
    if method == Method::Pcap {
        check(&["any"], &["any"]);
    }
    check(&["lo"], &["lo"]);
    check(&[device, "nosuch0", device], &[device]);
}

#[test]
fn unknown_interface_names_are_an_error() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let check = |names: &[&str], expected: &str| {
        let error = open(Method::Raw, &bed.host, names).expect_err("no such interface");
        assert_eq!(error.to_string(), expected);
    };
    check(&["nosuch0"], "nosuch0: no such interface; there are lo, host0");
    check(&["nosuch0", "host"], "nosuch0, host: no such interface; there are lo, host0");
}

fn a_missing_privilege_is_a_startup_error(method: Method) {
    let opened = std::thread::spawn(move || {
        // Capabilities belong to the thread, so the rest of the program keeps them.
        let mut sets = capabilities(None).expect("capabilities");
        sets.effective.remove(CapabilitySet::NET_RAW);
        set_capabilities(None, sets).expect("drop a capability");
        let all = Selection::parse(&["ALL"]).expect("selection");
        SensorSet::builder(all, method.backend(CaptureOptions::default())).open()
    });
    let error = opened.join().expect("thread").expect_err("no privilege");
    assert!(matches!(error, SensorError::MissingPrivilege { .. }), "{error}");
}

fn every_interface_is_read_through_one_descriptor(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut set = open(method, &bed.host, &["ALL"]).expect("set");
    let inside: SocketAddr = "127.0.0.3:24".parse().expect("address");
    knock(&bed.host, inside);
    knock(&bed.scanner, (bed.host.v4(), 23).into());
    let seen = marked(&mut set, &bed);
    // The order between interfaces is not defined: loopback may be read after the marker.
    let seen = if seen.len() == 2 { seen } else { [seen, marked(&mut set, &bed)].concat() };
    assert!(seen.contains(&(inside.ip(), 24)) && seen.contains(&(bed.host.v4().into(), 23)));
    assert_eq!(set.drain(64, &mut |_| ()).expect("drain"), Drained::Empty);
}

fn an_interface_that_appears_is_watched(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    for names in [&["ALL"][..], &["late0", "lo"]] {
        let mut set = open(method, &bed.host, names).expect("set");
        let before: Vec<String> = set.watched().map(str::to_owned).collect();
        let cable = ["late0", "netns", bed.host.name(), "type", "veth"];
        let far_end = ["peer", "name", "late1", "netns", bed.scanner.name()];
        bed.host.ip(&[&["link", "add"][..], &cable, &far_end].concat());
        bed.scanner.ip(&["address", "add", "192.0.2.2/24", "dev", "late1"]);
        bed.scanner.ip(&["link", "set", "late1", "up"]);
        // The interface is up but has no address.
        bed.host.ip(&["link", "set", "late0", "addrgenmode", "none"]);
        bed.host.ip(&["link", "set", "late0", "up"]);
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        bed.host.enter(|| set.drain(64, &mut |_| ())).expect("drain");
        assert_eq!(watched(&set), before);

        bed.host.ip(&["address", "add", "192.0.2.1/24", "dev", "late0"]);
        let mut after = before.clone();
        after.push("late0");
        follow_until(&mut set, &bed.host, &after);
        let target: IpAddr = "192.0.2.1".parse().expect("address");
        knock(&bed.scanner, (target, 23).into());
        let seen = bed.host.enter(|| watch_to_marker(&mut set, &bed.scanner, target));
        assert_eq!(targets(&seen), [(target, 23)]);
        assert_eq!(seen[0].interface, bed.host.enter(|| interface("late0").index));

        bed.host.ip(&["link", "delete", "late0"]);
        follow_until(&mut set, &bed.host, &before);
        // One probe and one marker, counted by a capture that is closed.
        assert!(set.stats().received >= 2, "{:?}", set.stats());
    }
}

fn many_new_interfaces_are_opened_step_by_step(method: Method) {
    let Some(root) = require_root() else { return };
    let namespace = Namespace::isolated(root);
    let mut set = open(method, &namespace, &["ALL"]).expect("set");
    let names: Vec<String> = (0..10).map(|number| format!("crowd{number}")).collect();
    for name in &names {
        namespace.ip(&["link", "add", name, "type", "bridge"]);
        namespace.ip(&["address", "add", "192.0.2.1/32", "dev", name]);
        namespace.ip(&["link", "set", name, "up"]);
    }
    // Each step opens only a few, so that the open ones are read in between.
    namespace.enter(|| set.drain(64, &mut |_| ())).expect("drain");
    assert!((2..8).contains(&watched(&set).len()), "{:?}", watched(&set));
    let all: Vec<&str> = ["lo"].into_iter().chain(names.iter().map(String::as_str)).collect();
    follow_until(&mut set, &namespace, &all);
}

/// A backend that fails the first time it opens an interface other than loopback.
struct Reluctant {
    backend: Box<dyn LiveBackend + Send>,
    refused: Vec<String>,
}

impl LiveBackend for Reluctant {
    fn open(
        &mut self,
        interface: Option<&Interface>,
        watched: &Arc<Watched>,
    ) -> Result<Box<dyn LiveSensor + Send>, SensorError> {
        let name = interface.expect("an interface").name.clone();
        if name == "lo" || self.refused.contains(&name) {
            return self.backend.open(interface, watched);
        }
        self.refused.push(name.clone());
        Err(SensorError::backend(name, "not yet"))
    }
}

fn a_failed_capture_is_retried(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let open = |names: &[&str]| {
        let backend = method.backend(CaptureOptions::default());
        let selection = Selection::parse(names).expect("selection");
        let reluctant = Box::new(Reluctant { backend, refused: Vec::new() });
        bed.host.enter(|| SensorSet::builder(selection, reluctant).open())
    };
    let mut set = open(&["ALL"]).expect("loopback can be opened");
    assert_eq!(watched(&set), ["lo"]);
    follow_until(&mut set, &bed.host, &["lo", bed.host.interface()]);

    let error = open(&["lo", bed.host.interface()]).expect_err("the name was given");
    assert_eq!(error.to_string(), "host0: not yet");
}

fn addresses_are_followed(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let device = bed.host.interface();
    let mut set = open(method, &bed.host, &[device]).expect("set");
    let late: IpAddr = "192.0.2.1".parse().expect("address");
    bed.host.ip(&["address", "add", "192.0.2.3/24", "dev", device]);
    bed.scanner.ip(&["address", "add", "192.0.2.2/24", "dev", bed.scanner.interface()]);

    let own = |set: &mut SensorSet, expected: bool| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while set.own_addresses().contains(late) != expected {
            assert!(Instant::now() < deadline, "the addresses were not followed");
            bed.host.enter(|| set.drain(64, &mut |_| ())).expect("drain");
        }
    };
    // An address on any interface counts: the host also replies on the wire for those of
    // loopback.
    for on in [device, "lo"] {
        bed.host.ip(&["address", "add", "192.0.2.1/32", "dev", on]);
        own(&mut set, true);
        knock(&bed.scanner, (late, 23).into());
        assert_eq!(marked(&mut set, &bed), [(late, 23)]);
        bed.host.ip(&["address", "delete", "192.0.2.1/32", "dev", on]);
        own(&mut set, false);
    }
}

fn a_capture_survives_a_link_that_is_down(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let device = bed.host.interface();
    let mut set = open(method, &bed.host, &[device]).expect("set");
    bed.host.ip(&["link", "set", device, "down"]);
    // A capture whose interface is down must not wake its reader.
    let quiet = (0..100).any(|_| {
        bed.host.enter(|| set.drain(64, &mut |_| ())).expect("drain");
        let descriptor = set.descriptor().expect("descriptor");
        let mut interest = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
        poll(&mut interest, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 })).expect("poll") == 0
    });
    assert!(quiet, "the descriptor was always readable");
    bed.host.ip(&["link", "set", device, "up"]);
    // The kernel removed the IPv6 address when the link went down.
    let v6 = format!("{}/64", bed.host.v6());
    bed.host.ip(&["address", "add", &v6, "dev", device, "nodad"]);
    follow_until(&mut set, &bed.host, &[device]);
    bed.host.enter(|| set.drain(64, &mut |_| ())).expect("drain");
    knock(&bed.scanner, (bed.host.v4(), 23).into());
    assert_eq!(marked(&mut set, &bed), [(bed.host.v4().into(), 23)]);
}

fn an_interface_is_selected_by_its_current_name(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let device = bed.host.interface();
    let mut named = open(method, &bed.host, &[device, "lo"]).expect("set");
    let mut all = open(method, &bed.host, &["ALL_NLO"]).expect("set");
    bed.host.ip(&["link", "set", device, "down"]);
    bed.host.ip(&["link", "set", device, "name", "renamed0"]);
    bed.host.ip(&["link", "set", "renamed0", "up"]);
    follow_until(&mut named, &bed.host, &["lo"]);
    follow_until(&mut all, &bed.host, &["renamed0"]);
    knock(&bed.scanner, (bed.host.v4(), 23).into());
    let to = bed.host.v4().into();
    let seen = bed.host.enter(|| watch_to_marker(&mut all, &bed.scanner, to));
    assert_eq!(targets(&seen), [(to, 23)]);
}

fn a_probe_on_a_bridge_and_its_port_is_observed_once(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let device = bed.host.interface();
    // The port keeps its addresses, so that both are captured.
    bed.host.ip(&["link", "add", "br0", "type", "bridge"]);
    bed.host.ip(&["link", "set", device, "master", "br0"]);
    bed.host.ip(&["link", "set", "br0", "up"]);
    bed.host.ip(&["address", "add", "192.0.2.1/24", "dev", "br0"]);
    bed.scanner.ip(&["address", "add", "192.0.2.2/24", "dev", bed.scanner.interface()]);
    let mut set = open(method, &bed.host, &["ALL"]).expect("set");
    assert_eq!(watched(&set), ["lo", device, "br0"]);

    let target: IpAddr = "192.0.2.1".parse().expect("address");
    for port in 20..30 {
        knock(&bed.scanner, (target, port).into());
    }
    // The sender repeats a packet with the same header fields.
    let frame = syn_frame(&[], bed.scanner.v4(), "192.0.2.1".parse().expect("address"));
    inject(&bed.scanner, &[frame.clone(), frame.clone(), frame]);
    let seen = bed.host.enter(|| watch_to_marker(&mut set, &bed.scanner, target));
    let ports = [20, 21, 22, 23, 23, 23, 23, 24, 25, 26, 27, 28, 29];
    let expected = ports.map(|port| (target, port));
    assert_eq!(targets(&seen), expected);
    let mut duplicates = 0;
    let deadline = Instant::now() + Duration::from_secs(10);
    while duplicates < 14 && Instant::now() < deadline {
        bed.host
            .enter(|| set.drain(64, &mut |it| panic!("observed twice: {it:?}")))
            .expect("drain");
        duplicates = set.stats().tally.count(Rejected::Duplicate);
    }
    assert_eq!(duplicates, 14, "thirteen probes and the marker");
}
