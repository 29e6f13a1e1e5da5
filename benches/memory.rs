//! What a read of this machine's memory takes, in nanoseconds: what the rows of the
//! engine with large tables are to be judged by.
//!
//! One behind the other, each read says where the next one is, as a list or a tree has
//! it. Side by side, all places are known before: the processor begins as many reads as
//! it can, as when the engine looks ahead. Each read is of another cache line.

use std::hint::black_box;

use portsentry_benches::{Random, Times, is_wanted};

/// A cache line.
type Line = [u64; 8];

/// Reads in a batch.
const READS: usize = 1024;

/// Reads whose places are known at once: as many packets as the engine takes together.
const SIDE_BY_SIDE: usize = 64;

/// For each cache one that fits, and the tables of "everything at once".
const SIZES: [(&str, usize); 4] =
    [("16 KiB", 16 << 10), ("512 KiB", 512 << 10), ("8 MiB", 8 << 20), ("35 MiB", 35 << 20)];

struct Memory {
    /// The first word of each is the number of another: one ring through all.
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
            ("one behind the other", one_behind_the_other as fn(&mut Memory)),
            ("side by side", side_by_side),
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
        // Sattolo's shuffle, which leaves a single ring ("An algorithm to generate a
        // random cyclic permutation", 1986).
        let mut ring: Vec<u64> = (0..number as u64).collect();
        for last in (1..number).rev() {
            ring.swap(last, random.below(last as u32) as usize);
        }
        let lines = ring.into_iter().map(|next| [next, 0, 0, 0, 0, 0, 0, 0]).collect();
        Self { lines, places: [0; READS], random, at: 0 }
    }

    /// Where to read next side by side. Not timed.
    fn choose(&mut self) {
        let number = self.lines.len() as u32;
        self.places = std::array::from_fn(|_| self.random.below(number));
    }
}

fn one_behind_the_other(memory: &mut Memory) {
    for _ in 0..READS {
        memory.at = memory.lines[memory.at][0] as usize;
    }
    black_box(memory.at);
}

fn side_by_side(memory: &mut Memory) {
    for places in memory.places.chunks(SIDE_BY_SIDE) {
        let sum = places
            .iter()
            .fold(0, |sum: u64, place| sum.wrapping_add(memory.lines[*place as usize][0]));
        // The next ones wait until these have come.
        memory.at = (memory.at + black_box(sum) as usize) % memory.lines.len();
    }
}
