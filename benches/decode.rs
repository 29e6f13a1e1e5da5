//! Measures the cost of decoding alone, by the form of the frame, in nanoseconds.

use std::hint::black_box;

use portsentry_benches::{Form, Scan, Times, is_wanted};
use portsentry_capture::{LinkType, decode};

/// Frames of a batch. They fit into the cache, because the memory is not measured here.
const FRAMES: usize = 256;

/// Rounds through the frames in a batch, so that reading the clock costs little.
const ROUNDS: usize = 16;

fn main() {
    Times::print_heading();
    for form in Form::ALL {
        let name = format!("decode {form:?}");
        if is_wanted(&name) {
            let mut frames: Vec<_> = Scan::new(form, 1000, 1).take(FRAMES).collect();
            assert!(frames.iter().all(|frame| decode(LinkType::Ethernet, frame).is_ok()));
            let packets = FRAMES * ROUNDS;
            Times::of(packets, frames.as_mut_slice(), |_| (), decode_all).print(&name);
        }
    }
}

fn decode_all(frames: &mut [Vec<u8>]) {
    for _ in 0..ROUNDS {
        for frame in frames.iter() {
            let _ = black_box(decode(LinkType::Ethernet, black_box(frame)));
        }
    }
}
