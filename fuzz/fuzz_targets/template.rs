//! Reads any bytes as the template of a command, with an address and a port.
//!
//! The first byte chooses the mode and the IP version, two bytes are the port, sixteen the
//! address; the rest is the text.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(([choice, high, low], rest)) = input.split_first_chunk() else { return };
    let Some((address, text)) = rest.split_first_chunk::<16>() else { return };
    let address = match *address {
        [a, b, c, d, ..] if choice & 1 == 0 => [a, b, c, d].into(),
        octets => octets.into(),
    };
    let port = u16::from_be_bytes([*high, *low]);
    portsentry_fuzz::check_template(&String::from_utf8_lossy(text), address, port, choice & 2 == 0);
});
