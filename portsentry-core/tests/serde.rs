//! What the feature `serde` writes, which other programs come to rely on.

use portsentry_core::{
    Event, Evidence, Instant, IpOptions, Observation, Reason, TcpFlags, TcpSegment, Timestamp,
};
use serde_json::{Value, from_value, json, to_value};

fn observation(evidence: Evidence) -> Observation {
    let (source, target) = ("192.0.2.7:40000", "[2001:db8::1]:23");
    Observation::new(source.parse().unwrap(), target.parse().unwrap(), evidence)
        .at(Instant::from_nanos(7_000_000_001))
        .stamped(Timestamp::from_nanos(1_700_000_000_000_000_001))
        .on(2)
        .with_ip_options(IpOptions::Absent)
        .with_ttl(52)
        .with_ip_id(54_321)
}

#[test]
fn an_event_is_written_and_read() {
    let segment = TcpSegment::new(TcpFlags::SYN | TcpFlags::ECE).with_sequence(7).with_window(1024);
    let observation = observation(Evidence::Segment(segment));
    let event = Event::probe(observation, Reason::AlreadyBlocked);
    let written = json!({ "probe": {
        "observation": {
            "at": 7_000_000_001_u64,
            "time": 1_700_000_000_000_000_001_i64,
            "interface": 2,
            "source": "192.0.2.7",
            "target": "2001:db8::1",
            "source_port": 40_000,
            "target_port": 23,
            "evidence": { "segment": { "flags": 0x42, "sequence": 7, "window": 1024 } },
            "ip_options": "absent",
            "ttl": 52,
            "ip_id": 54_321,
        },
        "reason": "already_blocked",
    }});
    assert_eq!(to_value(&event).unwrap(), written);
    assert_eq!(from_value::<Event>(written).unwrap(), event);
}

#[test]
fn each_kind_of_evidence_has_its_word() {
    for (evidence, word) in [
        (Evidence::Datagram, "datagram"),
        (Evidence::Connection, "connection"),
        (Evidence::Message, "message"),
    ] {
        assert_eq!(to_value(evidence).unwrap(), Value::from(word));
        assert_eq!(from_value::<Evidence>(word.into()).unwrap(), evidence);
    }
}

#[test]
fn what_cannot_be_is_not_read() {
    // Twelve bits are all there are; the data offset above them is left out.
    assert_eq!(from_value::<TcpFlags>(json!(0xf002)).unwrap(), TcpFlags::SYN);
    assert!(from_value::<TcpFlags>(json!(0x1_0002)).is_err());
    assert!(from_value::<Reason>(json!("because")).is_err());
    assert!(from_value::<Instant>(json!(-1)).is_err());
}
