//! Any bytes as what packet process and responder say to each other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portsentry_cli::responder::protocol::{MAX_MESSAGE, Message, Request};

fuzz_target!(|input: &[u8]| {
    // What is taken is what would have been sent, to the last byte.
    if let Ok(request) = Request::decode(input) {
        assert_eq!(request.encode(), input);
    }
    if let Ok(message) = Message::decode(input) {
        assert_eq!(message.encode(), input);
        assert!(input.len() <= MAX_MESSAGE);
    }
});
