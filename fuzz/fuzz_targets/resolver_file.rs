//! Reads any bytes as a file of name servers (`resolv.conf(5)`).
#![no_main]

use libfuzzer_sys::fuzz_target;
use portsentry_capture::name_servers;

fuzz_target!(|input: &[u8]| {
    let servers = name_servers(input);
    assert!(servers.len() <= 64);
    for (number, server) in servers.iter().enumerate() {
        assert_eq!(*server, server.to_canonical());
        assert!(!servers[..number].contains(server));
    }
    // The addresses, written as a file, are read again.
    let text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    assert_eq!(name_servers(text.as_bytes()), servers);
});
