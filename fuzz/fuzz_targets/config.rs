//! Reads any bytes as a configuration file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| portsentry_fuzz::check_configuration(input));
