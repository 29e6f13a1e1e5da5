//! Reads any bytes as the life of an engine.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| portsentry_fuzz::replay(input));
