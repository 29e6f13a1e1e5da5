//! Capture under load: bursts, long lists of ports, and filters that change while packets
//! arrive.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use pnet_packet::ipv4::{self, Ipv4Packet};
use pnet_packet::tcp::{self, TcpPacket};
use portsentry_capture::{
    CaptureOptions, Drained, Interface, LiveSensor, Selection, Sensor, SensorError, SensorSet,
    Watched,
};
use portsentry_core::{Evidence, Observation, PortSet};
use portsentry_testbed::{Namespace, Testbed, require_root};

use crate::set::follow_until;
use crate::watch::{Method, interface, watch_until, with_each_method};

with_each_method! {
    a_burst_to_an_idle_reader_is_kept,
    a_trickle_to_a_sleeping_reader_is_kept,
    dropped_packets_are_counted,
    losses_remain_after_their_interface_is_gone,
    long_port_lists_give_the_same_observations,
    no_packet_is_lost_when_the_filter_changes,
    without_memory_for_a_filter_all_packets_are_read,
    a_buffer_that_is_too_large_is_an_error,
}

fn all_ports(namespace: &Namespace) -> Arc<Watched> {
    let interfaces = namespace.enter(|| Interface::all().expect("interfaces"));
    Arc::new(Watched::all_ports(Interface::own_addresses(&interfaces).expect("routes")))
}

fn open(
    method: Method,
    namespace: &Namespace,
    mebibytes: u32,
    watched: &Arc<Watched>,
) -> Result<Box<dyn LiveSensor + Send>, SensorError> {
    let options = CaptureOptions::default().with_buffer(mebibytes);
    namespace.enter(|| {
        let interface = interface(namespace.interface());
        method.backend(options).open(Some(&interface), watched)
    })
}

/// Sends SYNs over a raw link, all with different sequence numbers.
struct Sender {
    wire: pcap::Capture<pcap::Active>,
    frame: Vec<u8>,
    ends: (Ipv4Addr, Ipv4Addr),
}

/// Returns the numbers of the packets that a [`Sender`] sent, in ascending order: under load
/// packets may overtake each other between processors.
fn numbers(seen: &[Observation]) -> Vec<u32> {
    let mut numbers: Vec<u32> = seen.iter().map(sequence).collect();
    numbers.sort_unstable();
    numbers
}

fn sequence(observation: &Observation) -> u32 {
    match observation.evidence {
        Evidence::Segment(segment) => segment.sequence,
        other => panic!("{other:?}"),
    }
}

impl Sender {
    fn new(bed: &Testbed) -> Self {
        let wire = bed
            .scanner
            .enter(|| pcap::Capture::from_device(bed.scanner.interface()).expect("device").open());
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 40, 0, 9, 0, 0, 50, 6, 0, 0]);
        frame.extend(bed.scanner.v4().octets());
        frame.extend(bed.host.v4().octets());
        frame.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0]);
        let checksum = ipv4::checksum(&Ipv4Packet::new(&frame[14..]).expect("header"));
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        Self { wire: wire.expect("wire"), frame, ends: (bed.scanner.v4(), bed.host.v4()) }
    }

    fn send(&mut self, number: u32, port: u16) {
        self.frame[34..36].copy_from_slice(&(number as u16).to_be_bytes());
        self.frame[36..38].copy_from_slice(&port.to_be_bytes());
        self.frame[38..42].copy_from_slice(&number.to_be_bytes());
        let segment = TcpPacket::new(&self.frame[34..]).expect("header");
        let checksum = tcp::ipv4_checksum(&segment, &self.ends.0, &self.ends.1);
        self.frame[50..52].copy_from_slice(&checksum.to_be_bytes());
        self.wire.sendpacket(self.frame.as_slice()).expect("send");
    }
}

fn a_burst_to_an_idle_reader_is_kept(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut sensor =
        open(method, &bed.host, CaptureOptions::default().buffer, &all_ports(&bed.host))
            .expect("sensor");
    let mut sender = Sender::new(&bed);
    for burst in [1_000_u16, 10_000] {
        for number in 1..=burst {
            sender.send(number.into(), number);
        }
        let seen = watch_until(sensor.as_mut(), |seen| seen.len() >= burst.into());
        assert_eq!(numbers(&seen), (1..=burst.into()).collect::<Vec<_>>());
    }
    assert_eq!(sensor.stats().dropped_by_kernel, 0);
}

/// Each packet fills a separate block if the kernel has closed the previous block.
fn a_trickle_to_a_sleeping_reader_is_kept(method: Method) {
    // One mebibyte has four blocks with libpcap, and 64 with raw sensors, which rings share.
    let packets: u32 = match method {
        Method::Pcap => 3,
        Method::Raw => 60,
        #[cfg(feature = "rings")]
        Method::Rings => 12,
    };
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let latency = Duration::from_millis(1);
    let options = CaptureOptions::default().with_buffer(1).with_latency(latency);
    let watched = all_ports(&bed.host);
    let opened = bed.host.enter(|| {
        let interface = interface(bed.host.interface());
        method.backend(options).open(Some(&interface), &watched)
    });
    let mut sensor = opened.expect("sensor");
    let mut sender = Sender::new(&bed);
    for number in 0..packets {
        sender.send(number, 23);
        // Longer than the tick of the slowest kernels, 10 ms, which is the shortest block time.
        thread::sleep(Duration::from_millis(15));
    }
    let seen = watch_until(sensor.as_mut(), |seen| seen.len() >= packets as usize);
    assert_eq!(numbers(&seen), (0..packets).collect::<Vec<_>>());
    assert_eq!(sensor.stats().dropped_by_kernel, 0);
}

fn dropped_packets_are_counted(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut sensor = open(method, &bed.host, 1, &all_ports(&bed.host)).expect("sensor");
    let mut sender = Sender::new(&bed);
    let sent = 20_000;
    for number in 0..sent {
        sender.send(number, 23);
    }
    let mut seen = Vec::new();
    let mut read = |sensor: &mut dyn Sensor| {
        let new = watch_until(sensor, |new| !new.is_empty());
        seen.extend(numbers(&new));
        let stats = sensor.stats();
        (stats.received, stats.dropped_by_kernel)
    };
    // The stored packets can be read immediately; then there is room for the next.
    let (received, dropped) = read(sensor.as_mut());
    assert!(received > 1_000 && dropped > 1_000, "{received} received, {dropped} dropped");
    sender.send(sent, 23);
    let (mut received, mut dropped) = read(sensor.as_mut());
    while received + dropped < u64::from(sent) + 1 {
        (received, dropped) = read(sensor.as_mut());
    }
    assert_eq!(received + dropped, u64::from(sent) + 1);
    // No observed packet is counted as dropped, and none is observed twice.
    let distinct: BTreeSet<u32> = seen.iter().copied().collect();
    assert_eq!((distinct.len(), seen.len() as u64), (seen.len(), received));
}

fn losses_remain_after_their_interface_is_gone(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let options = CaptureOptions::default().with_buffer(1);
    let selection = Selection::parse(&["ALL"]).expect("selection");
    let opened = bed.host.enter(|| SensorSet::builder(selection, method.backend(options)).open());
    let mut set = opened.expect("set");
    assert_eq!(set.losses(), []);
    let mut sender = Sender::new(&bed);
    for number in 0..20_000 {
        sender.send(number, 23);
    }
    let lost = set.losses();
    let names: Vec<&str> = lost.iter().map(|it| it.interface.as_str()).collect();
    assert_eq!(names, [bed.host.interface()], "no losses on loopback");
    assert!((1_000..20_000).contains(&lost[0].packets), "{lost:?}");
    assert_eq!(set.stats().dropped_by_kernel, lost[0].packets);

    bed.host.ip(&["link", "delete", bed.host.interface()]);
    follow_until(&mut set, &bed.host, &["lo"]);
    assert_eq!(set.losses(), lost);
}

/// Returns the first `number` odd ports.
fn odd_ports(number: u16) -> PortSet {
    (0..number).map(|it| 2 * it + 1).collect()
}

fn long_port_lists_give_the_same_observations(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let watched = all_ports(&bed.host);
    let mut sensor = open(method, &bed.host, 8, &watched).expect("sensor");
    let mut sender = Sender::new(&bed);
    let tried: Vec<u16> = (1..1_200).chain((1_200..65_535).filter(|it| it % 61 == 0)).collect();
    for (round, number) in [1, 500, 5_000, 32_768].into_iter().enumerate() {
        let first = round as u32 * 100_000;
        let tcp_ports = odd_ports(number);
        sensor.set_watched(Arc::new(Watched::new(
            watched.addresses.clone(),
            tcp_ports.clone(),
            PortSet::new(),
        )));
        for (index, port) in tried.iter().enumerate() {
            sender.send(first + index as u32, *port);
        }
        let mut expected: Vec<u16> =
            tried.iter().copied().filter(|it| tcp_ports.contains(*it)).collect();
        // Without the packets that the previous filter let through.
        let is_watched =
            |it: &&Observation| tcp_ports.contains(it.target_port) && sequence(it) >= first;
        let seen = watch_until(sensor.as_mut(), |seen| {
            seen.iter().filter(is_watched).count() >= expected.len()
        });
        let mut found: Vec<u16> = seen.iter().filter(is_watched).map(|it| it.target_port).collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "{number} ports");
        if number < 32_768 {
            assert!(seen.len() < tried.len(), "{number} ports: the filter dropped nothing");
        }
    }
}

fn no_packet_is_lost_when_the_filter_changes(method: Method) {
    /// Number of sent packets that are not yet read: far fewer than the buffer can hold.
    const IN_FLIGHT: usize = 300;

    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let watched = all_ports(&bed.host);
    let mut sensor = open(method, &bed.host, 8, &watched).expect("sensor");
    let mut sender = Sender::new(&bed);
    let lists = [1, 300, 7, 3_000].map(|number| {
        let mut watched = Watched::clone(&watched);
        watched.tcp_ports = odd_ports(number);
        Arc::new(watched)
    });
    let (done, arrived) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut seen = Vec::new();
    let sent = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                if sent < arrived.load(Ordering::Relaxed) + IN_FLIGHT {
                    sender.send(sent as u32, 1);
                    sent += 1;
                } else {
                    thread::yield_now();
                }
            }
            sent
        });
        for list in lists.iter().cycle().take(40) {
            sensor.set_watched(Arc::clone(list));
            while sensor.drain(1024, &mut |it| seen.push(*it)).expect("drain") == Drained::More {}
            arrived.store(seen.len(), Ordering::Relaxed);
        }
        done.store(true, Ordering::Relaxed);
        sending.join().expect("sender")
    });
    let left = sent - seen.len();
    if left > 0 {
        let rest = watch_until(sensor.as_mut(), |rest| rest.len() >= left);
        seen.extend(rest);
    }
    assert_eq!(sensor.stats().dropped_by_kernel, 0);
    let expected: Vec<u32> = (0..sent as u32).collect();
    assert!(numbers(&seen) == expected, "{} of {sent} were observed", seen.len());
}

fn without_memory_for_a_filter_all_packets_are_read(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let watched = all_ports(&bed.host);
    let only = |port: u16| {
        let mut watched = Watched::clone(&watched);
        watched.tcp_ports = [port].into_iter().collect();
        Arc::new(watched)
    };
    let mut sensor = open(method, &bed.host, 1, &only(1)).expect("sensor");
    let limit = "/proc/sys/net/core/optmem_max";
    if bed.host.enter(|| std::fs::write(limit, "64")).is_err() {
        println!("skipped: this kernel has one {limit} for all namespaces");
        return;
    }
    // The filter for port 1 cannot be replaced and must be removed.
    sensor.set_watched(only(3));
    let mut sender = Sender::new(&bed);
    for port in 1..=4 {
        sender.send(port.into(), port);
    }
    let seen = watch_until(sensor.as_mut(), |seen| seen.len() >= 4);
    let ports: BTreeSet<u16> = seen.iter().map(|it| it.target_port).collect();
    assert_eq!(ports, BTreeSet::from([1, 2, 3, 4]));
}

fn a_buffer_that_is_too_large_is_an_error(method: Method) {
    // libpcap retries with a smaller buffer and reports no error.
    if method == Method::Pcap {
        return;
    }
    let Some(root) = require_root() else { return };
    let host = Namespace::isolated(root);
    let error = open(method, &host, 1 << 20, &Arc::default()).err().expect("a tebibyte");
    assert_eq!(
        error.to_string(),
        "lo: the kernel has no memory for a capture buffer of 1048576 MiB; \
         lower CAPTURE_BUFFER"
    );
}
