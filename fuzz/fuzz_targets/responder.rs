//! Reads any bytes as a message between the packet process and the responder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portsentry_respond::protocol::{MAX_MESSAGE, Message, Request};

fuzz_target!(|input: &[u8]| {
    // A message that decodes is encoded to the same bytes.
    if let Ok(request) = Request::decode(input) {
        assert_eq!(request.encode(), input);
    }
    if let Ok(message) = Message::decode(input) {
        assert_eq!(message.encode(), input);
        assert!(input.len() <= MAX_MESSAGE);
    }
});
