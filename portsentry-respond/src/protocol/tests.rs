//! Decoding returns the encoded message, and accepts nothing else.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use portsentry_core::Instant;
use portsentry_report::{Action, ActionEvent, Level, Prevented};
use proptest::prelude::*;

use super::wire::SCOPES;
use super::*;

fn event() -> impl Strategy<Value = ActionEvent> {
    let action = || prop::sample::select(Action::ALL);
    prop_oneof![
        (action(), any::<String>()).prop_map(|(action, text)| ActionEvent::Done(action, text)),
        (action(), any::<String>()).prop_map(|(action, text)| ActionEvent::Failed(action, text)),
        Just(ActionEvent::AlreadyDenied),
        Just(ActionEvent::NothingWorked),
        any::<String>().prop_map(ActionEvent::Output),
        any::<String>().prop_map(ActionEvent::NotRecorded),
        any::<String>().prop_map(ActionEvent::Refused),
        prevented().prop_map(ActionEvent::Prevented),
        prop::sample::subsequence(Action::ALL, 1..=2).prop_map(ActionEvent::Incomplete),
    ]
}

fn prevented() -> impl Strategy<Value = Prevented> {
    prop_oneof![
        Just(Prevented::NeverBlock),
        Just(Prevented::OwnAddress),
        Just(Prevented::Gateway),
        Just(Prevented::NameServer),
        any::<u16>().prop_map(|port| Prevented::Connected { port }),
        any::<u16>().prop_map(|port| Prevented::Served { port }),
        any::<u16>().prop_map(|port| Prevented::Translated { port }),
        Just(Prevented::Unknown),
        any::<u32>().prop_map(|seconds| Prevented::JustStarted { seconds }),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp]);
    let mode = prop::sample::select(vec![Mode::Stealth, Mode::Connect]);
    prop_oneof![
        (any::<u64>(), any::<SocketAddr>(), any::<SocketAddr>(), mode, protocol, any::<u32>())
            .prop_map(|(id, host, probed, mode, protocol, interface)| {
                Request::Respond(id, ProbeContext::new(host, probed, mode, protocol).on(interface))
            }),
        any::<u32>().prop_map(Request::Load),
        any::<u32>().prop_map(Request::Adopt),
        Just(Request::Close),
    ]
}

fn notice() -> impl Strategy<Value = Notice> {
    let level = (0..5_u8).prop_map(|number| Level::from_number(number).unwrap());
    prop_oneof![
        any::<String>().prop_map(|path| Notice::HistoryCreated { path }),
        (any::<String>(), any::<String>())
            .prop_map(|(path, why)| Notice::HistoryMissing { path, why }),
        (any::<String>(), any::<u64>())
            .prop_map(|(path, bytes)| Notice::RecordTruncated { path, bytes }),
        (level, any::<String>()).prop_map(|(level, text)| Notice::Message { level, text }),
    ]
}

fn ports() -> impl Strategy<Value = TranslatedPorts> {
    let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp]);
    (protocol, any::<[u16; 2]>(), any::<IpAddr>(), 0..=128_u8).prop_map(
        |(protocol, mut ports, address, length)| {
            ports.sort_unstable();
            let length = if address.is_ipv4() { length / 4 } else { length };
            let destinations = IpNet::new(address, length).unwrap().trunc();
            TranslatedPorts::new(protocol, ports[0]..=ports[1], destinations)
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let outcome = prop::sample::select(vec![Outcome::Succeeded, Outcome::Partial, Outcome::Failed]);
    let answer = prop_oneof![
        outcome.prop_map(Answer::Ended),
        (any::<u32>(), any::<u64>()).prop_map(|(limit, nanos)| {
            Answer::Refused { limit, until: Instant::from_nanos(nanos) }
        }),
        (prop::sample::select(SCOPES.to_vec()), any::<u64>()).prop_map(|(scope, nanos)| {
            Answer::Prevented { scope, until: Instant::from_nanos(nanos) }
        }),
    ];
    let bytes = || prop::collection::vec(any::<u8>(), 0..100);
    prop_oneof![
        (any::<IpAddr>(), event()).prop_map(|(host, what)| Message::Report(Report { host, what })),
        (any::<u64>(), answer).prop_map(|(id, answer)| Message::Completed(id, answer)),
        notice().prop_map(Message::Notice),
        (any::<u32>(), any::<u64>(), bytes()).prop_map(|(number, length, path)| Message::File {
            number,
            length,
            path
        }),
        bytes().prop_map(Message::Content),
        bytes().prop_map(Message::Blocked),
        bytes().prop_map(Message::History),
        (any::<bool>(), any::<bool>(), prop::collection::vec(ports(), 0..5))
            .prop_map(|(more, last, ports)| Message::Translated { more, last, ports }),
        (any::<bool>(), any::<String>())
            .prop_map(|(more, networks)| Message::NeverBlock { more, networks }),
        (any::<u32>(), any::<bool>())
            .prop_map(|(number, history)| Message::Loaded { number, history }),
        (any::<u32>(), any::<bool>(), any::<String>()).prop_map(|(number, wrong, why)| {
            let why = match wrong {
                true => LoadError::Configuration(why),
                false => LoadError::Other(why),
            };
            Message::Refused { number, why }
        }),
        (any::<u16>(), any::<u16>()).prop_map(|(not_started, not_finished)| {
            let (not_started, not_finished) = (not_started.into(), not_finished.into());
            Message::Closed(Unfinished { not_started, not_finished })
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(request in request(), message in message()) {
        prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    /// Each message therefore has one encoding, and no field is lost.
    #[test]
    fn what_is_read_would_be_written_so(
        kind in 0..14_u8,
        family in prop::sample::select(vec![4, 6_u8]),
        mut bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        for (place, value) in [(0, kind), (19, family), (24, family)] {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = value;
            }
        }
        if let Ok(request) = Request::decode(&bytes) {
            prop_assert_eq!(request.encode(), bytes.clone());
        }
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }
}

#[test]
fn texts_are_cut_between_characters() {
    let text = "é".repeat(MAX_TEXT);
    let message = |text: &str| Notice::Message { level: Level::Error, text: text.to_owned() };
    let encoded = Message::Notice(message(&text)).encode();
    assert!(encoded.len() <= MAX_MESSAGE, "{}", encoded.len());
    let Ok(Message::Notice(Notice::Message { text: cut, .. })) = Message::decode(&encoded) else {
        panic!("a line");
    };
    assert!(text.starts_with(&cut) && cut.len() > MAX_TEXT - 2);
}

#[test]
fn longer_and_shorter_bytes_are_no_message() {
    let [host, probed] = ["[2001:db8::7]:40000", "[2001:db8::1]:23"].map(|it| it.parse().unwrap());
    let probe = ProbeContext::new(host, probed, Mode::Stealth, Protocol::Tcp);
    let bytes = Request::Respond(7, probe).encode();
    assert_eq!(bytes.len(), 53);
    for length in 0..bytes.len() {
        assert_eq!(Request::decode(&bytes[..length]), Err(Malformed), "{length}");
    }
    assert_eq!(Request::decode(&[&bytes[..], &[0]].concat()), Err(Malformed));
}

#[test]
fn translated_ports_have_one_encoding() {
    let ports = TranslatedPorts::new(Protocol::Udp, 53..=54, "192.0.2.0/24".parse().unwrap());
    let message = Message::Translated { more: false, last: true, ports: vec![ports; MAX_PORTS] };
    let bytes = message.encode();
    assert_eq!(bytes.len(), 3 + MAX_PORTS * 11);
    assert_eq!(Message::decode(&bytes), Ok(message));
    // A protocol, a range that runs backwards, a prefix length, and a bit after the prefix.
    for (place, value) in [(3, 1), (4, 60), (8, 33), (13, 1)] {
        let mut bytes = bytes.clone();
        bytes[place] = value;
        assert_eq!(Message::decode(&bytes), Err(Malformed), "{place}");
    }
    assert_eq!(Message::decode(&[&bytes[..], &bytes[3..14]].concat()), Err(Malformed));
}
