//! Several rings for each interface: each source is observed by exactly one of them, for any
//! choice of the kernel.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portsentry_capture::{
    CaptureOptions, Interface, LiveBackend, LiveSensor, Selection, Sensor, SensorSet, SensorStats,
    Watched,
};
use portsentry_core::Observation;
use portsentry_testbed::{Background, Namespace, Testbed, require_root};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::all_rings::{AllRings, HASH, RINGS, backends};
use crate::frames::{TCP, ipv4, ipv6, sealed, tcp, with};
use crate::watch::interface;

/// Enough blocks even if each packet fills one: a busy machine may close blocks early.
fn roomy() -> CaptureOptions {
    CaptureOptions::default().with_buffer(64)
}

/// One set of captures for each ring, all for the same interfaces.
struct Sets<'a> {
    namespace: &'a Namespace,
    sets: Vec<SensorSet>,
    /// Numbers of the rings that observed each source.
    seen: BTreeMap<IpAddr, Vec<usize>>,
}

impl<'a> Sets<'a> {
    fn open(namespace: &'a Namespace, names: &[&str]) -> Self {
        let selection = Selection::parse(names).expect("selection");
        let sets = namespace.enter(|| {
            let backends = backends(roomy()).into_iter();
            let open = |backend| SensorSet::builder(selection.clone(), backend).open();
            backends.map(|backend| open(backend).expect("set")).collect()
        });
        Self { namespace, sets, seen: BTreeMap::new() }
    }

    fn drain(&mut self) {
        let Self { namespace, sets, seen } = self;
        namespace.enter(|| {
            for (ring, set) in sets.iter_mut().enumerate() {
                let mut keep = |it: &Observation| seen.entry(it.source).or_default().push(ring);
                set.drain(4096, &mut keep).expect("drain");
            }
        });
    }

    /// Drains the sets until `enough` returns true.
    #[track_caller]
    fn drain_until(&mut self, what: &str, enough: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !enough(self) {
            assert!(Instant::now() < deadline, "{what}: {:#?}", self.seen);
            let mut interest: Vec<PollFd<'_>> = self
                .sets
                .iter()
                .map(|set| PollFd::from_borrowed_fd(set.descriptor().expect("fd"), PollFlags::IN))
                .collect();
            poll(&mut interest, Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 })).expect("poll");
            self.drain();
        }
    }

    /// Checks that each source is observed as often as `sources` contains it, by its own ring,
    /// and that there are no other observations.
    #[track_caller]
    fn check(&mut self, sources: &[IpAddr]) {
        let mut expected = BTreeMap::<IpAddr, Vec<usize>>::new();
        for source in sources {
            expected.entry(*source).or_default().push(HASH.ring(*source, RINGS));
        }
        self.drain_until("probes", |sets| {
            sets.seen.values().map(Vec::len).sum::<usize>() >= sources.len()
        });
        assert_eq!(self.seen, expected);
        self.seen.clear();
    }

    fn sum(&mut self) -> SensorStats {
        let mut sum = SensorStats::default();
        self.sets.iter_mut().for_each(|set| sum.merge(&set.stats()));
        sum
    }
}

/// Returns sources of both families, some with adjacent addresses.
fn sources(count: u32) -> Vec<IpAddr> {
    let v4 = (0..count).map(|n| {
        let far = 0x0b00_0000 + n.wrapping_mul(0x0123_4567) % 0x7000_0000;
        let close = 0x5db8_0000 + n;
        IpAddr::from(Ipv4Addr::from_bits(if n % 2 == 0 { far } else { close }))
    });
    let v6 = (0..count).map(|n| {
        let n = u128::from(n);
        IpAddr::from(Ipv6Addr::from_bits(0x2a02 << 112 | n << 64 | n.wrapping_mul(0x9e37)))
    });
    v4.chain(v6).collect()
}

/// Returns a frame with these VLAN tags and a SYN to port 23.
fn frame(tags: &[u16], source: IpAddr, bed: &Testbed) -> Vec<u8> {
    let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 7]);
    }
    let (ether_type, packet) = match source {
        IpAddr::V4(source) => {
            let addresses = [source.octets(), bed.host.v4().octets()].concat();
            ([8, 0], with(&ipv4(TCP, &tcp(2)), 12, &addresses))
        }
        IpAddr::V6(source) => {
            let addresses = [source.octets(), bed.host.v6().octets()].concat();
            ([0x86, 0xdd], with(&ipv6(TCP, &tcp(2)), 8, &addresses))
        }
    };
    frame.extend(ether_type);
    frame.extend(sealed(packet));
    frame
}

fn inject(bed: &Testbed, tags: &[u16], sources: &[IpAddr]) {
    bed.scanner.enter(|| {
        let device = bed.scanner.interface();
        let mut wire = pcap::Capture::from_device(device).unwrap().open().unwrap();
        for source in sources {
            wire.sendpacket(frame(tags, *source, bed).as_slice()).unwrap();
        }
    });
}

/// The ring also matches for frames with VLAN tags, so no packet is handed on.
#[test]
fn the_kernel_and_the_process_choose_the_same_ring() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut sets = Sets::open(&bed.host, &[bed.host.interface()]);
    let sources = sources(150);
    let tags: [&[u16]; 6] =
        [&[], &[0x8100], &[0x88a8], &[0x9100], &[0x88a8, 0x8100], &[0x9100, 0x8100]];
    for tags in tags {
        inject(&bed, tags, &sources);
        sets.check(&sources);
        assert_eq!(sets.sum().rings.handed_on, 0, "{tags:04x?}");
    }
    for set in &mut sets.sets {
        assert!(set.stats().received > 0, "a ring without packets");
    }
}

#[test]
fn loopback_is_distributed_over_the_rings() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut sets = Sets::open(&bed.host, &["lo"]);
    let sources: Vec<IpAddr> = (1..=60).map(|n| Ipv4Addr::new(127, 0, n, 3 * n).into()).collect();
    bed.host.enter(|| {
        for source in &sources {
            let socket = UdpSocket::bind((*source, 0)).expect("bind");
            // No socket is bound to the port; the error may be returned immediately.
            let _ = socket.send_to(b"?", (Ipv4Addr::LOCALHOST, 69));
        }
    });
    sets.drain_until("probes", |sets| sources.iter().all(|it| sets.seen.contains_key(it)));
    for source in &sources {
        assert_eq!(sets.seen[source], [HASH.ring(*source, RINGS)], "{source}");
    }
    assert_eq!(sets.sum().rings.handed_on, 0);
}

/// Creates `tun0` and sets it up. For each line on stdin, sends it a SYN for 10.77.0.1:23
/// from each of 100 sources.
const TUN_FEEDER: &str = r#"
import fcntl, os, struct, subprocess, sys
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH", b"tun0", 0x0001 | 0x1000))
subprocess.run(["ip", "link", "set", "tun0", "up"], check=True)
subprocess.run(["ip", "address", "add", "10.77.0.1/24", "dev", "tun0"], check=True)
def sealed(packet, at, pseudo=b""):
    both = pseudo + packet
    total = sum(struct.unpack(">%dH" % (len(both) // 2), both))
    total = (total & 0xffff) + (total >> 16)
    total = ~((total & 0xffff) + (total >> 16)) & 0xffff
    return packet[:at] + struct.pack(">H", total) + packet[at + 2:]
print("up", flush=True)
for line in sys.stdin:
    for n in range(100):
        pair = bytes([11, n, 7, 2 * n, 10, 77, 0, 1])
        header = sealed(bytes.fromhex("45000028000900003206") + b"\0\0" + pair, 10)
        syn = bytes.fromhex("9c400017000000010000000050020400") + b"\0\0\0\0"
        os.write(tun, header + sealed(syn, 16, pair + b"\0\x06\0\x14"))
"#;

/// A link type without a header.
#[test]
fn a_tun_device_is_distributed_over_the_rings() {
    let Some(root) = require_root() else { return };
    let namespace = Namespace::isolated(root);
    let mut command = namespace.command("python3");
    let (reader, writer) = std::io::pipe().expect("pipe");
    command.args(["-c", TUN_FEEDER]);
    let mut feeder = Background::spawn_with_input(command, OwnedFd::from(reader).into());
    feeder.wait_for_line(Duration::from_secs(10), |line| line == "up");
    let mut sets = Sets::open(&namespace, &["tun0"]);
    rustix::io::write(&writer, b"go\n").expect("write");
    let sources: Vec<IpAddr> =
        (0..100).map(|n| Ipv4Addr::new(11, n, 7, (2 * u16::from(n)) as u8).into()).collect();
    sets.check(&sources);
    assert_eq!(sets.sum().rings.handed_on, 0);
}

/// Makes the kernel deliver all packets of a group to the first ring. Standard input is a
/// socket of the group.
const MISDIRECT: &str = r#"
import ctypes, socket, struct
member = socket.socket(fileno=0)
always_0 = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0))
member.setsockopt(263, 22, struct.pack("HL", 1, ctypes.addressof(always_0)))
"#;

fn misdirect(bed: &Testbed, rings: &[Box<dyn LiveSensor + Send>]) {
    let member = rings[0].descriptor().expect("descriptor").try_clone_to_owned().expect("clone");
    let mut command = bed.host.command("python3");
    let status = command.args(["-c", MISDIRECT]).stdin(member).status().expect("python3");
    assert!(status.success());
}

/// Tries to join a group. Standard input is a socket of the group.
const JOIN: &str = r#"
import errno, socket, struct, sys
member = socket.socket(fileno=0)
group = struct.unpack("I", member.getsockopt(263, 18, 4))[0]
own = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
own.bind((sys.argv[1], 3))
try:
    own.setsockopt(263, 18, group)
except OSError as error:
    print(errno.errorcode[error.errno])
"#;

#[test]
fn another_process_cannot_join_a_group() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let device = bed.host.interface();
    let watched: Arc<Watched> = Arc::default();
    let mut all = AllRings::new(roomy());
    let mut rings = Vec::new();
    bed.host.enter(|| {
        for backend in &mut all.0 {
            rings.push(backend.open(Some(&interface(device)), &watched).expect("ring"));
        }
    });
    let member = rings[0].descriptor().expect("descriptor").try_clone_to_owned().expect("clone");
    let mut command = bed.host.command("python3");
    let output = command.args(["-c", JOIN, device]).stdin(member).output().expect("python3");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "ENOSPC", "{output:?}");
}

/// The kernel delivers every packet to the first ring.
#[test]
fn misdirected_packets_are_handed_to_their_ring() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let device = bed.host.interface();
    let mut backends = backends(roomy());
    let (mut rings, mut handoff) = (Vec::new(), Vec::new());
    bed.host.enter(|| {
        let own = Interface::own_addresses(&Interface::all().expect("interfaces")).expect("routes");
        let watched = Arc::new(Watched::all_ports(own));
        for backend in &mut backends {
            rings.push(backend.open(Some(&interface(device)), &watched).expect("ring"));
            handoff.push(backend.auxiliary_sensor().expect("a handoff sensor"));
        }
    });
    misdirect(&bed, &rings);

    let sources = sources(200);
    inject(&bed, &[], &sources);
    let misdirected = sources.iter().filter(|it| HASH.ring(**it, RINGS) != 0).count() as u64;
    assert!(misdirected > 100, "{misdirected}");

    let mut seen = BTreeMap::<IpAddr, Vec<usize>>::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while seen.values().map(Vec::len).sum::<usize>() < sources.len() {
        assert!(Instant::now() < deadline, "{} of {}", seen.len(), sources.len());
        let descriptors = rings.iter().map(|it| it.descriptor());
        let descriptors = descriptors.chain(handoff.iter().map(|it| it.descriptor()));
        let mut interest: Vec<PollFd<'_>> = descriptors
            .map(|it| PollFd::from_borrowed_fd(it.expect("descriptor"), PollFlags::IN))
            .collect();
        poll(&mut interest, Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 })).expect("poll");
        for number in 0..usize::from(RINGS) {
            let mut keep = |it: &Observation| seen.entry(it.source).or_default().push(number);
            rings[number].drain(4096, &mut keep).expect("drain");
            handoff[number].drain(4096, &mut keep).expect("drain");
        }
    }
    for source in &sources {
        assert_eq!(seen.remove(source), Some(vec![HASH.ring(*source, RINGS)]), "{source}");
    }
    assert_eq!(seen, BTreeMap::new());
    let mut sum = SensorStats::default();
    rings.iter_mut().for_each(|ring| sum.merge(&ring.stats()));
    assert_eq!((sum.rings.handed_on, sum.rings.lost), (misdirected, 0));
}

/// More packets than a handoff queue can hold: every packet is either handed on or counted
/// as lost.
#[test]
fn losses_of_a_full_handoff_queue_are_counted() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let device = bed.host.interface();
    let mut backends = backends(roomy());
    let mut rings: Vec<_> = bed.host.enter(|| {
        let own = Interface::own_addresses(&Interface::all().expect("interfaces")).expect("routes");
        let watched = Arc::new(Watched::all_ports(own));
        let device = interface(device);
        backends.iter_mut().map(|it| it.open(Some(&device), &watched).expect("ring")).collect()
    });
    let mut handoff: Vec<_> =
        backends.iter_mut().map(|it| it.auxiliary_sensor().expect("a handoff sensor")).collect();
    misdirect(&bed, &rings);

    // A source that belongs to another ring than the one that receives it.
    let receiver = 0;
    let source = sources(200).into_iter().find(|it| HASH.ring(*it, RINGS) != receiver);
    let source = source.expect("a source");
    let owner = HASH.ring(source, RINGS);
    let mut sent = 0_u64;
    let mut stats = SensorStats::default();
    while stats.rings.lost == 0 {
        inject(&bed, &[], &[source; 1_000]);
        sent += 1_000;
        assert!(sent < 100_000, "no losses: {stats:?}");
        let deadline = Instant::now() + Duration::from_secs(10);
        while stats.received < sent {
            assert!(Instant::now() < deadline, "{stats:?}");
            let descriptor = rings[receiver].descriptor().expect("descriptor");
            let mut interest = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
            poll(&mut interest, Some(&Timespec { tv_sec: 1, tv_nsec: 0 })).expect("poll");
            rings[receiver]
                .drain(4096, &mut |it| panic!("observation of another ring: {it:?}"))
                .expect("drain");
            stats = rings[receiver].stats();
        }
    }
    assert_eq!(stats.rings.handed_on + stats.rings.lost, sent);
    // Unread observations count as lost until they are read.
    assert_eq!(handoff[owner].stats().rings.lost, stats.rings.handed_on);
    let mut read = 0;
    handoff[owner].drain(1, &mut |_| read += 1).expect("drain");
    assert_eq!(read, stats.rings.handed_on);
    assert_eq!(handoff[owner].stats().rings.lost, 0);
}

/// Packets that arrive when only the first set has opened an interface remain until the
/// others have opened it.
#[test]
fn packets_wait_until_all_rings_are_open() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let (device, sources) = (bed.host.interface(), sources(50));
    let mut backends = backends(roomy());
    let watched = bed.host.enter(|| {
        let own = Interface::own_addresses(&Interface::all().expect("interfaces")).expect("routes");
        Arc::new(Watched::all_ports(own))
    });
    let mut open = |number: usize| {
        bed.host.enter(|| backends[number].open(Some(&interface(device)), &watched).expect("ring"))
    };
    let mut rings = vec![open(0)];
    inject(&bed, &[], &sources);
    rings.extend((1..usize::from(RINGS)).map(open));
    let mut seen = BTreeMap::<IpAddr, Vec<usize>>::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while seen.len() < sources.len() {
        assert!(Instant::now() < deadline, "{} of {}", seen.len(), sources.len());
        for (number, ring) in rings.iter_mut().enumerate() {
            let mut keep = |it: &Observation| seen.entry(it.source).or_default().push(number);
            ring.drain(4096, &mut keep).expect("drain");
        }
        std::thread::yield_now();
    }
    for source in &sources {
        assert_eq!(seen[source], [HASH.ring(*source, RINGS)], "{source}");
    }
}

/// Each source keeps its ring when an interface is renamed, or goes down and up again.
#[test]
fn a_source_keeps_its_ring_when_the_interface_changes() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let device = bed.host.interface();
    let sources: Vec<IpAddr> = sources(50).into_iter().filter(IpAddr::is_ipv4).collect();
    let mut sets = Sets::open(&bed.host, &["ALL_NLO"]);
    inject(&bed, &[], &sources);
    sets.check(&sources);

    let watch = |sets: &mut Sets<'_>, name: Option<&str>| {
        sets.drain_until("interfaces", |sets| sets.sets.iter().all(|set| set.watched().eq(name)));
    };
    let is = |sets: &mut Sets<'_>, name: &str| {
        inject(&bed, &[], &sources);
        sets.check(&sources);
        assert_eq!(sets.sum().rings.handed_on, 0, "{name}");
    };
    bed.host.ip(&["link", "set", device, "down"]);
    bed.host.ip(&["link", "set", device, "name", "other0"]);
    bed.host.ip(&["link", "set", "other0", "up"]);
    watch(&mut sets, Some("other0"));
    is(&mut sets, "renamed");

    bed.host.ip(&["link", "set", "other0", "down"]);
    bed.host.ip(&["link", "set", "other0", "up"]);
    is(&mut sets, "up again");

    bed.host.ip(&["link", "delete", "other0"]);
    watch(&mut sets, None);
    assert_eq!(sets.sum().rings.lost, 0);
}
