//! Measures a read of this machine's memory, in nanoseconds. The rows of the engine with
//! large tables are judged by these times.
//!
//! With dependent reads, each read returns the place of the next one, as in a list or a
//! tree. With independent reads, all places are known before, and the processor overlaps
//! as many reads as it can, as when the engine prefetches. Each read is of another cache
//! line.

use std::hint::black_box;

use portsentry_benches::{Random, Times, is_wanted};

/// A cache line.
type Line = [u64; 8];

/// Reads in a batch.
const READS: usize = 1024;

/// Number of places that are known in advance, like the packets in a batch of the engine.
const INDEPENDENT: usize = 64;

/// For each cache a size that fits, and the size of the tables of "everything at once".
const SIZES: [(&str, usize); 4] =
    [("16 KiB", 16 << 10), ("512 KiB", 512 << 10), ("8 MiB", 8 << 20), ("35 MiB", 35 << 20)];

struct Memory {
    /// The first word of each line is the index of another; together they form one cycle.
    lines: Vec<Line>,
    places: [u32; READS],
    random: Random,
    at: usize,
}

fn main() {
    Times::print_heading_of("ns per read");
    for (size, bytes) in SIZES {
        let mut memory = Memory::new(bytes / size_of::<Line>());
        for (way, read) in [
            ("dependent reads", dependent_reads as fn(&mut Memory)),
            ("independent reads", independent_reads),
        ] {
            let name = format!("memory, {size}, {way}");
            if is_wanted(&name) {
                Times::of(READS, &mut memory, Memory::choose, read).print(&name);
            }
        }
    }
}

impl Memory {
    fn new(number: usize) -> Self {
        let mut random = Random::new(1);
        // Sattolo's shuffle produces a single cycle ("An algorithm to generate a random
        // cyclic permutation", 1986).
        let mut ring: Vec<u64> = (0..number as u64).collect();
        for last in (1..number).rev() {
            ring.swap(last, random.below(last as u32) as usize);
        }
        let lines = ring.into_iter().map(|next| [next, 0, 0, 0, 0, 0, 0, 0]).collect();
        Self { lines, places: [0; READS], random, at: 0 }
    }

    /// Chooses the places of the next independent reads. Not timed.
    fn choose(&mut self) {
        let number = self.lines.len() as u32;
        self.places = std::array::from_fn(|_| self.random.below(number));
    }
}

fn dependent_reads(memory: &mut Memory) {
    for _ in 0..READS {
        memory.at = memory.lines[memory.at][0] as usize;
    }
    black_box(memory.at);
}

fn independent_reads(memory: &mut Memory) {
    for places in memory.places.chunks(INDEPENDENT) {
        let sum = places
            .iter()
            .fold(0, |sum: u64, place| sum.wrapping_add(memory.lines[*place as usize][0]));
        // The next reads depend on the results of these.
        memory.at = (memory.at + black_box(sum) as usize) % memory.lines.len();
    }
}
