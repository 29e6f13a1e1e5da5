//! Mutated frames through decoder and engine: no frame causes a panic, and memory does
//! not grow.
//!
//! The seeds are those of the fuzzers, the frames of `PORTSENTRY_CAPTURES` and of
//! tcpdump's own tests, if they exist. `PORTSENTRY_MUTANTS` sets the number of mutants,
//! `PORTSENTRY_SEED` the seed of the random numbers.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use portsentry_benches::Random;
use portsentry_capture::{
    ChecksumState, Decoder, Frame, LinkType, Rejected, Tally, martian_source,
};
use portsentry_core::{Effect, Engine, HashKey, Instant, Limits, Outcome, Policy, Timestamp};

mod heap;

const LINKS: [LinkType; 5] = [
    LinkType::Ethernet,
    LinkType::RawIp,
    LinkType::BsdLoopback,
    LinkType::LinuxSll,
    LinkType::LinuxSll2,
];

const CHECKSUMS: [ChecksumState; 3] =
    [ChecksumState::Unknown, ChecksumState::Valid, ChecksumState::NotReady];

fn number(variable: &str, default: u64) -> u64 {
    let wanted = std::env::var(variable).ok();
    wanted.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Returns the files in a folder, sorted; none if the folder does not exist.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
    files.sort();
    files
}

/// Returns the frames of a pcap file (`pcap-savefile(5)`), and none of any other file.
fn frames_of(bytes: &[u8]) -> Vec<(LinkType, Vec<u8>)> {
    let Some((header, mut rest)) = bytes.split_at_checked(24) else { return Vec::new() };
    let is_big = match header[..4] {
        [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => true,
        [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => false,
        _ => return Vec::new(),
    };
    let word = |bytes: &[u8]| {
        let bytes = bytes.try_into().expect("four bytes");
        if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    let Some(link) = LinkType::from_dlt((word(&header[20..]) & 0xffff) as i32) else {
        return Vec::new();
    };
    let mut frames = Vec::new();
    while let Some((record, tail)) = rest.split_at_checked(16) {
        let Some((frame, tail)) = tail.split_at_checked(word(&record[8..12]) as usize) else {
            break;
        };
        frames.push((link, frame.to_vec()));
        rest = tail;
    }
    frames
}

/// Returns all frames to mutate.
fn seeds() -> Vec<(LinkType, Vec<u8>)> {
    let read = |path: &PathBuf| fs::read(path).expect("read");
    let mut seeds: Vec<_> = files(&project("fuzz/corpus/decode"))
        .iter()
        .map(read)
        .map(|bytes| (LINKS[usize::from(bytes[0] & 0x7f) % LINKS.len()], bytes[1..].to_vec()))
        .collect();
    let captures = std::env::var_os("PORTSENTRY_CAPTURES").map(PathBuf::from);
    let folders = [
        Some(project("fuzz/corpus/capture_file")),
        captures,
        Some(project("target/tcpdump-captures")),
    ];
    for folder in folders.into_iter().flatten() {
        seeds.extend(files(&folder).iter().filter(|path| path.is_file()).flat_map(|path| {
            // The first frames of a long file are enough.
            frames_of(&read(path)).into_iter().take(200)
        }));
    }
    seeds
}

/// Changes a frame in one to six places.
fn mutate(random: &mut Random, frame: &mut Vec<u8>, other: &[u8]) {
    const ODD: [u8; 10] = [0, 1, 4, 5, 0x0f, 0x45, 0x60, 0x7f, 0x80, 0xff];
    for _ in 0..=random.below(6) {
        // Headers are mutated more often than payload.
        let reach = if random.below(4) == 0 { frame.len() } else { frame.len().min(80) };
        let at = random.below(reach.max(1) as u32) as usize;
        match (random.below(9), frame.get_mut(at)) {
            (0 | 1, Some(byte)) => *byte ^= 1 << random.below(8),
            (2 | 3, Some(byte)) => *byte = ODD[random.below(ODD.len() as u32) as usize],
            (4, Some(byte)) => *byte = random.below(256) as u8,
            (5, _) => frame.truncate(at),
            (6, _) => frame.extend_from_slice(&other[..other.len().min(at)]),
            (7, Some(_)) => {
                let length = (frame.len() - at).min(other.len());
                frame[at..at + length].copy_from_slice(&other[..length]);
            }
            (8, Some(_)) => {
                let piece: Vec<u8> = frame[at..].iter().copied().take(8).collect();
                frame.splice(at..at, piece);
            }
            _ => frame.extend_from_slice(&ODD),
        }
    }
    frame.truncate(65_536);
}

#[test]
fn mutants_cause_no_panic_and_no_growth() {
    let (mutants, seed) = (number("PORTSENTRY_MUTANTS", 1_000_000), number("PORTSENTRY_SEED", 7));
    let seeds = seeds();
    let mut random = Random::new(seed);
    let policy = Policy {
        tcp_ports: (1..=u16::MAX).collect(),
        udp_ports: (1..=u16::MAX).collect(),
        scan_trigger: 2,
        block_tcp: true,
        block_udp: true,
        remember_blocked: true,
        // No limit, so that the tables that responses fill become full.
        block_rate: 0,
        ..Policy::default()
    };
    let mut limits = Limits::default();
    // Small enough for the tables to be full within the first half.
    (limits.sources, limits.failed) = (1 << 12, 1 << 8);
    (limits.blocked, limits.blocked_v6) = (1 << 8, 1 << 8);
    let mut engine = Engine::new(policy.clone(), &limits, HashKey::new(seed.into()));
    let (mut decoder, mut tally) = (Decoder::new(), Tally::default());
    let (mut frame, mut decoded, mut events) = (Vec::with_capacity(1 << 17), 0, 0);
    let mut most = [0; 2];

    for number in 0..mutants {
        if number % 4096 == 0 {
            // Alternates between counting sources and responding at the first probe.
            let scan_trigger = 1 + (number / 4096 % 2) as u16;
            engine.set_policy(Policy { scan_trigger, ..policy.clone() });
        }
        let pick = |random: &mut Random| &seeds[random.below(seeds.len() as u32) as usize];
        let (mut link, original) = pick(&mut random).clone();
        frame.clear();
        frame.extend_from_slice(&original);
        let (_, other) = pick(&mut random);
        mutate(&mut random, &mut frame, other);
        if random.below(16) == 0 {
            link = LINKS[random.below(5) as usize];
        }
        let checksum = CHECKSUMS[random.below(3) as usize];
        let wire_length = frame.len() + random.below(4) as usize / 3 * 40;
        // Milliseconds; one time in a thousand is 0, as from a wrong clock.
        let now = match random.below(1_000) {
            0 => Instant::from_nanos(0),
            _ => Instant::from_nanos(1_000_000 * number),
        };
        let time = Timestamp::from_nanos(random.next_u64().cast_signed());

        let loopback = link.marks_loopback(&frame);
        let admit = |source, _| match martian_source(source, loopback) {
            true => Err(Rejected::MartianSource),
            false => Ok(()),
        };
        let whole = Frame::new(link, &frame).with_wire_length(wire_length).with_checksum(checksum);
        match decoder.decode(&whole, now, admit) {
            Ok(mut packet) => {
                decoded += 1;
                // Mutants of few frames have few sources; the tables must see many.
                if packet.source.is_ipv4() {
                    packet.source = Ipv4Addr::from_bits(random.next_u64() as u32).into();
                }
                engine.observe(&packet.observation(time, 1).at(now), now);
                engine.handle_timeout(now);
            }
            Err(rejected) => tally.add(rejected),
        }
        while let Some(effect) = engine.poll_effect() {
            if let Effect::Respond(response) = effect {
                let outcome =
                    if random.below(2) == 0 { Outcome::Succeeded } else { Outcome::Failed };
                engine.handle_outcome(response.id, outcome, now);
            }
        }
        events += std::iter::from_fn(|| engine.poll_event()).count() as u64;
        let half = &mut most[usize::from(number >= mutants / 2)];
        *half = heap::live().max(*half);
    }

    assert_eq!(decoded + tally.total(), mutants, "each mutant is counted once");
    assert!(events > mutants / 50, "only {events} events: do the mutants reach the engine?");
    println!(
        "{mutants} mutants of {} frames, seed {seed}: {decoded} decoded, {events} events, \
         {} and {} KiB at most in the first and the second half, fragments {:?}",
        seeds.len(),
        most[0] / 1024,
        most[1] / 1024,
        decoder.stats(),
    );
    // Fragments may take 8 MiB at any time; every other table has its final size long
    // before the second half.
    let bound = if mutants < 1_000_000 { 8 << 20 } else { 512 << 10 };
    assert!(most[1] < most[0] + bound, "grew from {} to {} bytes", most[0], most[1]);
}
