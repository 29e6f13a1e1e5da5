//! Reads any bytes as a dump of the rules of a packet filter.
//!
//! The seeds are dumps of the kernel. The test `dumps_for_fuzzing_are_written` of
//! `portsentry-capture` writes them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portsentry_capture::Translations;

fuzz_target!(|dump: &[u8]| {
    let found = Translations::of_dump(dump);
    assert!(found.ports.is_sorted());
    assert!(found.ports.iter().all(|ports| ports.first <= ports.last));
    // Each result has a rule of at least this size.
    assert!(dump.len() > 64 || found.ports.is_empty() && found.unknown_rules.is_empty());
    // Rules and elements that occur twice mean the same.
    let twice = Translations::of_dump(&[dump, dump].concat());
    if !found.incomplete && !twice.incomplete && is_whole(dump) {
        assert!(found.ports.iter().all(|ports| {
            let (protocol, address) = (ports.protocol, ports.destinations.addr());
            twice.ports.iter().any(|it| it.includes(protocol, address, ports.first))
        }));
    }
});

/// Returns whether a dump ends with a message. Otherwise, its last bytes and the first bytes of
/// another dump can form one.
fn is_whole(mut dump: &[u8]) -> bool {
    while let Some(length) = dump.first_chunk::<4>() {
        let length = u32::from_ne_bytes(*length) as usize;
        match dump.get(length.next_multiple_of(4)..) {
            Some(rest) if length >= 16 => dump = rest,
            _ => return false,
        }
    }
    dump.is_empty()
}
