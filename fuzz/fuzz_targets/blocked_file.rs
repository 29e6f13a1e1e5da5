//! Any bytes as a blocked file.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../portsentry-cli/src/respond/blocked_record.rs"]
#[allow(unreachable_pub, reason = "it is public in the program")]
mod blocked_record;

use blocked_record::{OddRecord, Restored, write_record};

fn written(restored: &Restored) -> Vec<u8> {
    let mut bytes = Vec::new();
    restored.hosts.iter().for_each(|host| write_record(&mut bytes, *host));
    bytes
}

fuzz_target!(|input: &[u8]| match Restored::read(input) {
    Ok(restored) => {
        assert!(restored.torn < 18, "more than an unfinished record");
        assert_eq!(written(&restored), &input[..input.len() - restored.torn]);
    }
    Err(OddRecord { records, offset }) => {
        // What stands before is whole, and what comes next is no record.
        let before = Restored::read(&input[..offset]).expect("records");
        assert_eq!((before.hosts.len(), before.torn), (records, 0));
        assert_eq!(written(&before), &input[..offset]);
        let family = [input[offset], input[offset + 1]];
        assert!(![2, 10].contains(&u16::from_ne_bytes(family)), "{family:?}");
    }
});
