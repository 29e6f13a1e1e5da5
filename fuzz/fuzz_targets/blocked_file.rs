//! Reads any bytes as a blocked file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portsentry_respond::{Hosts, OddRecord, Restored, encode_records};

fuzz_target!(|input: &[u8]| match Restored::read(input.to_vec()) {
    Ok(restored) => {
        assert!(restored.torn < 18, "more bytes than an unfinished record");
        assert_eq!(records_of(&restored.hosts), &input[..input.len() - restored.torn]);
    }
    Err(OddRecord { records, offset }) => {
        // The records before the error are whole, and the next bytes are not a record.
        let before = Restored::read(input[..offset].to_vec()).expect("records");
        assert_eq!((before.hosts.len(), before.torn), (records, 0));
        assert_eq!(records_of(&before.hosts), &input[..offset]);
        let family = [input[offset], input[offset + 1]];
        assert!(![2, 10].contains(&u16::from_ne_bytes(family)), "{family:?}");
    }
});

/// Encodes the addresses that were read.
fn records_of(hosts: &Hosts) -> Vec<u8> {
    let addresses: Vec<_> = hosts.iter().collect();
    assert_eq!((addresses.len(), addresses.is_empty()), (hosts.len(), hosts.is_empty()));
    let records = encode_records(&addresses);
    assert_eq!(hosts.clone().into_records(), records);
    records
}
