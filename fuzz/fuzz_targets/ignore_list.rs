//! Reads any bytes as an ignore list.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| portsentry_fuzz::check_ignore_list(input));
