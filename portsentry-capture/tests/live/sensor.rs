//! One sensor and real traffic. Each test creates its own network namespaces.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use portsentry_capture::{
    CaptureOptions, Interface, LiveSensor, PcapSensor, Rejected, Sensor, SensorError, Watched,
    clock,
};
use portsentry_core::{Evidence, IpOptions, ScanKind};
use portsentry_testbed::{Namespace, Testbed, require_root};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::frames::{TCP, ipv4, sealed, tcp, with};
use crate::watch::{
    Method, interface, knock, targets, watch_to_marker, watch_until, with_each_method,
};

with_each_method! {
    a_probe_is_observed_once_with_all_fields,
    all_probes_of_a_scan_are_observed,
    all_probes_of_a_fragmented_scan_are_observed,
    link_local_addresses_are_watched,
    connections_of_this_host_are_not_observed,
    loopback_packets_are_observed_once,
    tagged_frames_are_observed,
    frames_for_other_hosts_are_not_observed,
    packets_that_no_stack_accepts_are_counted_only,
    own_addresses_can_change,
    a_tun_device_is_watched,
    children_do_not_inherit_the_capture,
    a_missing_privilege_is_named,
    a_deleted_interface_is_an_error,
}

/// Returns all ports at all addresses of the calling thread's namespace.
fn watched() -> Arc<Watched> {
    let own = Interface::own_addresses(&Interface::all().expect("interfaces")).expect("routes");
    Arc::new(Watched::all_ports(own))
}

/// Opens a sensor in the calling thread's namespace.
fn open(method: Method, interface: &Interface) -> Result<Box<dyn LiveSensor + Send>, SensorError> {
    method.backend(CaptureOptions::default()).open(Some(interface), &watched())
}

fn sensor_on(method: Method, namespace: &Namespace, name: &str) -> Box<dyn LiveSensor + Send> {
    namespace.enter(|| open(method, &interface(name)).expect("sensor"))
}

fn a_probe_is_observed_once_with_all_fields(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut sensor = sensor_on(method, &bed.host, bed.host.interface());
    let index = bed.host.enter(|| interface(bed.host.interface()).index);
    let (before, monotonic_before) = (now(), clock::monotonic());
    for (host, scanner) in [
        (IpAddr::V4(bed.host.v4()), IpAddr::V4(bed.scanner.v4())),
        (IpAddr::V6(bed.host.v6()), IpAddr::V6(bed.scanner.v6())),
    ] {
        knock(&bed.scanner, (host, 23).into());
        let local = bed.scanner.enter(|| {
            let socket = UdpSocket::bind((scanner, 0)).expect("bind");
            socket.send_to(b"hello", (host, 69)).expect("send");
            socket.local_addr().expect("address")
        });
        let seen = watch_to_marker(sensor.as_mut(), &bed.scanner, host);
        assert_eq!(targets(&seen), [(host, 23), (host, 69)]);
        for it in &seen {
            assert_eq!((it.source, it.interface, it.ttl), (scanner, index, Some(64)));
            let options = if host.is_ipv4() { IpOptions::Absent } else { IpOptions::Unknown };
            assert_eq!(it.ip_options, options);
            let time = it.time.as_nanos();
            assert!((before..=now()).contains(&time), "{before} {time} {}", now());
            let monotonic = monotonic_before..=clock::monotonic();
            assert!(monotonic.contains(&it.at), "{monotonic:?} {:?}", it.at);
        }
        assert_eq!(seen[0].kind(), ScanKind::Syn);
        assert_eq!((seen[1].kind(), seen[1].source_port), (ScanKind::Udp, local.port()));
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock");
    since.as_nanos().try_into().expect("nanoseconds")
}

fn all_probes_of_a_scan_are_observed(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut sensor = sensor_on(method, &bed.host, bed.host.interface());
    let host = bed.host.v4().to_string();
    for (scan, kind) in [("-sS", ScanKind::Syn), ("-sN", ScanKind::Null), ("-sX", ScanKind::Xmas)] {
        bed.scanner.run("nmap", &["-n", "-Pn", scan, "-p", "1-1000", "--max-retries", "0", &host]);
        let mut seen = watch_to_marker(sensor.as_mut(), &bed.scanner, bed.host.v4().into());
        // The sensors of several rings have no common order.
        let in_order = seen.is_sorted_by_key(|it| it.at);
        assert!(in_order || method.rings() > 1, "{scan}: arrival times went back");
        seen.retain(|it| it.kind() == kind);
        seen.sort_by_key(|it| it.target_port);
        seen.dedup_by_key(|it| it.target_port);
        assert_eq!(seen.len(), 1000, "{scan}: {:?}", sensor.stats());
    }
    assert_eq!(sensor.stats().dropped_by_kernel, 0);
}

fn all_probes_of_a_fragmented_scan_are_observed(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut sensor = sensor_on(method, &bed.host, bed.host.interface());
    let host = bed.host.v4().to_string();
    for size in ["8", "16"] {
        let arguments = ["-n", "-Pn", "-sS", "--mtu", size, "-p", "1-200", "--max-retries", "0"];
        bed.scanner.run("nmap", &[&arguments[..], &[&host]].concat());
        let mut seen = watch_to_marker(sensor.as_mut(), &bed.scanner, bed.host.v4().into());
        seen.retain(|it| it.kind() == ScanKind::Syn);
        seen.sort_by_key(|it| it.target_port);
        seen.dedup_by_key(|it| it.target_port);
        assert_eq!(seen.len(), 200, "{size} bytes: {:?}", sensor.stats());
    }
    assert_eq!(sensor.stats().reassembly.completed, 400);
}

fn link_local_addresses_are_watched(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    bed.host.ip(&["address", "add", "169.254.7.7/16", "dev", bed.host.interface()]);
    bed.scanner.ip(&["address", "add", "169.254.8.8/16", "dev", bed.scanner.interface()]);
    let mut sensor = sensor_on(method, &bed.host, bed.host.interface());
    let host = bed.host.enter(|| interface(bed.host.interface()));
    let link_local = host.addresses.iter().find_map(|it| match it.network.addr() {
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
        _ => None,
    });
    let link_local = link_local.expect("an fe80:: address");
    let scope = bed.scanner.enter(|| interface(bed.scanner.interface()).index);
    knock(&bed.scanner, SocketAddrV6::new(link_local, 23, 0, scope).into());
    knock(&bed.scanner, "169.254.7.7:23".parse().expect("address"));
    let seen = watch_to_marker(sensor.as_mut(), &bed.scanner, bed.host.v4().into());
    assert_eq!(targets(&seen), [("169.254.7.7".parse().expect("v4"), 23), (link_local.into(), 23)]);
}

fn connections_of_this_host_are_not_observed(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut sensor = sensor_on(method, &bed.host, bed.host.interface());
    let listener =
        bed.scanner.enter(|| TcpListener::bind((bed.scanner.v4(), 0)).expect("listener"));
    let at = listener.local_addr().expect("address");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        stream.write_all(&vec![7; 1 << 20]).expect("write");
    });
    let mut stream = bed.host.enter(|| TcpStream::connect(at).expect("connect"));
    let mut received = Vec::new();
    stream.read_to_end(&mut received).expect("read");
    server.join().expect("server");
    assert_eq!(received.len(), 1 << 20);
    knock(&bed.host, (bed.scanner.v4(), 1).into());

    let seen = watch_to_marker(sensor.as_mut(), &bed.scanner, bed.host.v4().into());
    assert_eq!(seen, []);
    // The kernel filtered them out: only the marker reached the sensor.
    assert_eq!(probes_received(sensor.as_mut()), 1);
}

fn loopback_packets_are_observed_once(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut sensor = sensor_on(method, &bed.host, "lo");
    let places: [SocketAddr; 4] = [
        "127.0.0.1:23".parse().expect("address"),
        "127.77.0.5:23".parse().expect("address"),
        "[::1]:23".parse().expect("address"),
        (bed.host.v4(), 23).into(),
    ];
    for at in places {
        knock(&bed.host, at);
        let seen = watch_to_marker(sensor.as_mut(), &bed.host, Ipv4Addr::LOCALHOST.into());
        assert_eq!(targets(&seen), [(at.ip(), 23)]);
    }
}

/// Returns an Ethernet frame with these VLAN tags and an IPv4 SYN to port 23.
pub(crate) fn syn_frame(tags: &[u16], source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 7]);
    }
    let addresses = [source.octets(), target.octets()].concat();
    frame.extend([8, 0]);
    frame.extend(sealed(with(&ipv4(TCP, &tcp(2)), 12, &addresses)));
    frame
}

pub(crate) fn inject(from: &Namespace, frames: &[Vec<u8>]) {
    from.enter(|| {
        let mut wire = pcap::Capture::from_device(from.interface()).unwrap().open().unwrap();
        for frame in frames {
            wire.sendpacket(frame.as_slice()).unwrap();
        }
    });
}

fn tagged_frames_are_observed(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut sensor = sensor_on(method, &bed.host, bed.host.interface());
    let (source, target) = (bed.scanner.v4(), bed.host.v4());
    let tags: [&[u16]; 6] =
        [&[], &[0x8100], &[0x88a8], &[0x9100], &[0x88a8, 0x8100], &[0x9100, 0x8100]];
    for tags in tags {
        inject(&bed.scanner, &[syn_frame(tags, source, target)]);
        let seen = watch_to_marker(sensor.as_mut(), &bed.scanner, target.into());
        assert_eq!(targets(&seen), [(target.into(), 23)], "{tags:04x?}");
    }
    inject(&bed.scanner, &[syn_frame(&[0x88a8, 0x8100, 0x8100], source, target)]);
    assert_eq!(watch_to_marker(sensor.as_mut(), &bed.scanner, target.into()), []);
    assert_eq!(sensor.stats().tally.count(Rejected::TooManyVlanTags), 1);
}

fn frames_for_other_hosts_are_not_observed(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    // Another capture may have set this mode.
    bed.host.ip(&["link", "set", bed.host.interface(), "promisc", "on"]);
    let mut sensor = sensor_on(method, &bed.host, bed.host.interface());
    let mut frame = syn_frame(&[], bed.scanner.v4(), bed.host.v4());
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0x77, 0x77]);
    inject(&bed.scanner, &[frame]);
    assert_eq!(watch_to_marker(sensor.as_mut(), &bed.scanner, bed.host.v4().into()), []);
}

fn packets_that_no_stack_accepts_are_counted_only(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut sensor = sensor_on(method, &bed.host, bed.host.interface());
    let (host, scanner) = (bed.host.v4(), bed.scanner.v4());
    let mut broadcast = host.octets();
    broadcast[3] = 255;
    let address = |text: &str| text.parse::<Ipv4Addr>().expect("address");
    let forged = ["127.0.0.1", "0.0.0.0", "224.0.0.1", "239.1.2.3", "255.255.255.255"];
    let elsewhere = ["127.0.0.1", "255.255.255.255", "224.0.0.251", "192.0.2.99"];

    let mut frames: Vec<_> = forged.iter().map(|it| syn_frame(&[], address(it), host)).collect();
    frames.extend(elsewhere.iter().map(|it| syn_frame(&[], scanner, address(it))));
    frames.push(syn_frame(&[], scanner, broadcast.into()));
    let mut bad_offset = syn_frame(&[], scanner, host);
    bad_offset[46] = 0x40;
    frames.push(bad_offset);
    inject(&bed.scanner, &frames);

    assert_eq!(watch_to_marker(sensor.as_mut(), &bed.scanner, host.into()), []);
    let stats = sensor.stats();
    let count = |kind| usize::try_from(stats.tally.count(kind)).expect("count");
    assert_eq!(count(Rejected::MartianSource), forged.len());
    assert_eq!(count(Rejected::TcpDataOffset), 1);
    // 127.0.0.1 is an address of this host, but not on this interface. The kernel filters out
    // the others.
    assert_eq!(count(Rejected::NotForThisHost), 1);
    let filtered = elsewhere.len();
    assert_eq!(probes_received(sensor.as_mut()), (frames.len() - filtered) as u64 + 1);
}

/// Returns the number of packets that reached the sensor, without the multicast reports of
/// a new interface, which have extension headers (RFC 3810).
fn probes_received(sensor: &mut dyn Sensor) -> u64 {
    let stats = sensor.stats();
    stats.received - stats.tally.count(Rejected::OtherTransport)
}

fn own_addresses_can_change(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut sensor = sensor_on(method, &bed.host, bed.host.interface());
    let late: Ipv4Addr = "192.0.2.50".parse().expect("address");
    let frames = [syn_frame(&[], bed.scanner.v4(), late)];
    inject(&bed.scanner, &frames);
    assert_eq!(watch_to_marker(sensor.as_mut(), &bed.scanner, bed.host.v4().into()), []);
    bed.host.ip(&["address", "add", "192.0.2.50/32", "dev", bed.host.interface()]);
    sensor.set_watched(bed.host.enter(watched));
    inject(&bed.scanner, &frames);
    let seen = watch_to_marker(sensor.as_mut(), &bed.scanner, bed.host.v4().into());
    assert_eq!(targets(&seen), [(late.into(), 23)]);
}

#[test]
fn any_names_the_interface() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut sensor = bed
        .host
        .enter(|| PcapSensor::open_any(CaptureOptions::default(), watched()).expect("sensor"));
    let index = |name: &str| bed.host.enter(|| interface(name).index);
    let outside: IpAddr = bed.host.v6().into();
    let inside: IpAddr = "127.0.0.9".parse().expect("address");
    knock(&bed.scanner, (outside, 23).into());
    knock(&bed.host, (inside, 24).into());
    inject(&bed.scanner, &[syn_frame(&[], Ipv4Addr::LOCALHOST, bed.host.v4())]);
    let seen = watch_to_marker(&mut sensor, &bed.scanner, outside);
    let places: Vec<_> = seen.iter().map(|it| (it.target, it.interface)).collect();
    assert_eq!(places, [(outside, index(bed.host.interface())), (inside, index("lo"))]);
    assert_eq!(sensor.stats().tally.count(Rejected::MartianSource), 1);
}

/// Creates `tun0` and sets it up. For each line on stdin, sends it one SYN for 10.77.0.1:23.
const TUN_FEEDER: &str = r#"
import fcntl, os, struct, subprocess, time
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH", b"tun0", 0x0001 | 0x1000))
subprocess.run(["ip", "link", "set", "tun0", "up"], check=True)
subprocess.run(["ip", "address", "add", "10.77.0.1/24", "dev", "tun0"], check=True)
print("up", flush=True)
syn = bytes.fromhex("45000028000900003206742b0a4d00020a4d0001")
syn += bytes.fromhex("9c400017000000010000000050020400faed0000")
while True:
    os.write(tun, syn)
    time.sleep(0.05)
"#;

fn a_tun_device_is_watched(method: Method) {
    let Some(root) = require_root() else { return };
    let namespace = Namespace::isolated(root);
    let mut feeder = namespace.spawn("python3", &["-c", TUN_FEEDER]);
    feeder.wait_for_line(std::time::Duration::from_secs(10), |line| line == "up");
    let mut sensor = sensor_on(method, &namespace, "tun0");
    let seen = watch_until(sensor.as_mut(), |seen| seen.len() >= 3);
    for it in seen {
        assert_eq!((it.target, it.target_port), ("10.77.0.1".parse().expect("address"), 23));
        assert_eq!(it.source, "10.77.0.2".parse::<IpAddr>().expect("address"));
        assert!(matches!(it.evidence, Evidence::Segment(_)));
    }
}

fn children_do_not_inherit_the_capture(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let sensor = sensor_on(method, &bed.host, "lo");
    let flags = fcntl_getfd(sensor.descriptor().expect("descriptor")).expect("flags");
    assert!(flags.contains(FdFlags::CLOEXEC));
}

fn a_missing_privilege_is_named(method: Method) {
    let opened = thread::spawn(move || {
        // Capabilities belong to the thread, so the rest of the program keeps them.
        let mut sets = capabilities(None).expect("capabilities");
        sets.effective.remove(CapabilitySet::NET_RAW);
        set_capabilities(None, sets).expect("drop a capability");
        open(method, &interface("lo")).err()
    });
    let error = opened.join().expect("thread").expect("no privilege");
    assert!(
        matches!(error, SensorError::MissingPrivilege { capability: "CAP_NET_RAW", .. }),
        "{error}"
    );
    assert!(error.to_string().starts_with("lo: CAP_NET_RAW"), "{error}");
}

fn a_deleted_interface_is_an_error(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let (mut sensor, gone) = bed.host.enter(|| {
        let device = interface(bed.host.interface());
        (open(method, &device).expect("sensor"), device)
    });
    bed.host.ip(&["link", "delete", bed.host.interface()]);
    bed.host.enter(|| {
        let error = (0..100).find_map(|_| sensor.drain(64, &mut |_| ()).err());
        assert!(matches!(error, Some(SensorError::InterfaceGone { .. })), "{error:?}");
        let error = open(method, &gone).err().expect("no such interface");
        assert!(matches!(error, SensorError::InterfaceGone { .. }), "{error:?}");
    });
}
