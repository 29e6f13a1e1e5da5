//! What the feature `serde` writes, which other programs come to rely on.

use portsentry_core::{
    Event, Evidence, Instant, IpOptions, Observation, Probe, Reason, TcpFlags, TcpSegment,
    Timestamp,
};
use serde_json::{Value, from_value, json, to_value};

fn observation(evidence: Evidence) -> Observation {
    Observation {
        time: Timestamp::from_nanos(1_700_000_000_000_000_001),
        interface: 2,
        source: [192, 0, 2, 7].into(),
        target: "2001:db8::1".parse().unwrap(),
        source_port: 40_000,
        target_port: 23,
        evidence,
        ip_options: IpOptions::Absent,
        ttl: 52,
        ip_id: 54_321,
    }
}

#[test]
fn an_event_is_written_and_read() {
    let segment = TcpSegment { flags: TcpFlags::SYN | TcpFlags::ECE, sequence: 7, window: 1024 };
    let observation = observation(Evidence::Segment(segment));
    let event = Event::Probe(Probe { observation, reason: Reason::AlreadyBlocked });
    let written = json!({ "probe": {
        "observation": {
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
    assert_eq!(to_value(event).unwrap(), written);
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
