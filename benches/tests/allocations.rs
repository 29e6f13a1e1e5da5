//! Nothing is allocated per packet once buffers and tables have their size.
//!
//! Only the allocations of the test's thread are counted, because the test harness has
//! other threads.
#![allow(unsafe_code, reason = "a global allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Read;
use std::net::Ipv4Addr;

use portsentry_benches::{Form, Scan, Workload};
use portsentry_capture::{CaptureFile, Drained, LinkType, Sensor, decode};
use portsentry_core::{Engine, HashKey, Instant, IpOptions, Limits, Observation, Policy, TcpFlags};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, with a counter.
struct Counting;

// SAFETY: every call is passed unchanged to the system's allocator. Counting does not
// allocate: the counter is initialized by a constant and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller promises a valid layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that `alloc` returned `pointer` for `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns the number of allocations of this thread within `work`.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn allocations_are_counted() {
    assert_eq!(allocations(|| ()), 0);
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(7)))), 1);
    let mut grows = Vec::with_capacity(1);
    assert_eq!(allocations(|| grows.extend([1, 2, 3])), 1);
}

#[test]
fn decoding_and_deciding_do_not_allocate() {
    for workload in Workload::ALL.iter().filter(|workload| workload.is_small()) {
        let mut load = workload.start();
        for _ in 0..20 {
            load.receive();
            let mut events = 0;
            assert_eq!(allocations(|| events = load.process()), 0, "{}", workload.name);
            assert!(events > 0, "{}", workload.name);
        }
    }
}

/// Memory does not grow with the number of sources: when the counters are full, new
/// sources evict others.
#[test]
fn sources_beyond_the_counters_do_not_allocate() {
    let policy =
        Policy { tcp_ports: [23].into_iter().collect(), scan_trigger: 3, ..Policy::default() };
    let mut limits = Limits::default();
    limits.sources = 1 << 12;
    let mut engine = Engine::new(policy, &limits, HashKey::new(1));
    let mut observe = |first: u32| {
        let probes: Vec<_> = (first..first + 64).map(probe).collect();
        let counted = allocations(|| engine.observe_batch(&probes, Instant::from_secs(1)));
        let mut events = 0;
        while engine.poll_event().is_some() {
            events += 1;
        }
        assert_eq!(events, probes.len());
        counted
    };
    observe(0);
    let counted: usize = (64..100_000).step_by(64).map(&mut observe).sum();
    assert_eq!(counted, 0);
    let statistics = engine.statistics();
    assert!(statistics.sources <= 1 << 12, "{statistics:?}");
    assert!(statistics.sources_evicted > 90_000, "{statistics:?}");
}

fn probe(source: u32) -> Observation {
    let source = (Ipv4Addr::from_bits(source), 40_000).into();
    Observation::segment(source, (Ipv4Addr::new(192, 0, 2, 1), 23).into(), TcpFlags::SYN)
        .on(2)
        .with_ip_options(IpOptions::Absent)
        .with_ttl(57)
        .with_ip_id(1)
}

#[test]
fn decoding_does_not_allocate_for_any_form() {
    for form in Form::ALL {
        let frames: Vec<_> = Scan::new(form, 1_000, 1).take(100).collect();
        let decoded = || assert!(frames.iter().all(|f| decode(LinkType::Ethernet, f).is_ok()));
        assert_eq!(allocations(decoded), 0, "{form:?}");
    }
}

/// A pcap file of a given number of records, never in memory as a whole.
struct Endless {
    record: Vec<u8>,
    position: usize,
    left: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.position == self.record.len() && self.left > 0 {
            (self.position, self.left) = (0, self.left - 1);
        }
        let rest = &self.record[self.position..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.position += length;
        Ok(length)
    }
}

#[test]
fn reading_a_capture_file_does_not_allocate() {
    let header: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1];
    let mut scan = Scan::new(Form::Ipv4Syn, 1, 1);
    let frame = scan.next().unwrap();
    let length = frame.len() as u32;
    let words =
        |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let record = [words(&[1_700_000_000, 0, length, length]), frame].concat();
    let start = std::io::Cursor::new(words(&header));
    let reader = start.chain(Endless { position: record.len(), record, left: 100_000 });

    let mut file = CaptureFile::from_reader("endless", reader).unwrap();
    let mut packets = 0;
    // The first read fills the buffer, and enlarges it for a record that it cuts.
    file.drain(10_000, &mut |_| packets += 1).unwrap();
    let counted =
        allocations(|| while file.drain(4_096, &mut |_| packets += 1).unwrap() == Drained::More {});
    assert_eq!((counted, packets), (0, 100_000));
}
