//! Reads any bytes as a capture file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portsentry_capture::{CaptureFile, Drained, Sensor, SensorStats};

/// Returns the number of observations, the statistics, and the error that ended the file.
fn read(input: &[u8], budget: usize) -> Option<(u64, SensorStats, Option<String>)> {
    let mut file = CaptureFile::from_reader("fuzz", input).ok()?;
    let mut observed = 0;
    let error = loop {
        match file.drain(budget, &mut |_| observed += 1) {
            Ok(Drained::More) => {}
            Ok(Drained::End) => break None,
            Ok(other) => panic!("a file never has to wait for packets: {other:?}"),
            Err(error) => break Some(error.to_string()),
        }
    };
    assert_eq!(file.drain(1, &mut |_| panic!("packet after the end")).ok(), Some(Drained::End));
    Some((observed, file.stats(), error))
}

fuzz_target!(|input: &[u8]| {
    let Some((observed, stats, error)) = read(input, usize::MAX) else { return };
    assert_eq!(observed + stats.tally.total(), stats.received, "each packet is counted once");
    assert_eq!(read(input, 1), Some((observed, stats, error)), "the budget changes the result");
});
