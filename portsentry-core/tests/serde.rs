//! The forms that the feature `serde` writes, on which other programs depend.

use portsentry_core::{
    Engine, Event, EventRecord, Evidence, HashKey, Instant, IpOptions, Limits, Observation, Policy,
    Reason, TcpFlags, TcpSegment, Timestamp,
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
            "accepted": false,
        },
        "reason": "already_blocked",
    }});
    assert_eq!(to_value(&event).unwrap(), written);
    assert_eq!(from_value::<Event>(written).unwrap(), event);
}

#[test]
fn each_kind_of_evidence_has_a_name() {
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
fn invalid_values_are_rejected() {
    // Twelve bits are valid; the data offset above them is dropped.
    assert_eq!(from_value::<TcpFlags>(json!(0xf002)).unwrap(), TcpFlags::SYN);
    assert!(from_value::<TcpFlags>(json!(0x1_0002)).is_err());
    assert!(from_value::<Reason>(json!("because")).is_err());
    assert!(from_value::<Instant>(json!(-1)).is_err());
}

#[test]
fn later_fields_may_be_absent() {
    let written = json!({
        "source": "192.0.2.7",
        "target": "198.51.100.1",
        "target_port": 23,
        "evidence": { "segment": { "flags": 2, "mss": 1460 } },
        "payload": 17,
    });
    let read = from_value::<Observation>(written).unwrap();
    let (source, target) = ("192.0.2.7:0", "198.51.100.1:23");
    let expected =
        Observation::segment(source.parse().unwrap(), target.parse().unwrap(), TcpFlags::SYN);
    assert_eq!(read, expected);
}

#[test]
fn a_policy_and_limits_are_written_and_read() {
    let policy = Policy {
        tcp_ports: [1, 7, 8, 9].into_iter().collect(),
        ignore: "10.0.0.0/8 192.0.2.7 2001:db8::/32".parse().unwrap(),
        trigger_window: Some(core::time::Duration::from_secs(60)),
        ..Policy::default()
    };
    let written = to_value(&policy).unwrap();
    assert_eq!(written["tcp_ports"], "1,7-9");
    assert_eq!(written["ignore"], json!(["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]));
    assert_eq!(from_value::<Policy>(written).unwrap(), policy);
    let short = json!({ "udp_ports": "53", "never_block": ["::1"], "block_udp": true });
    let policy = from_value::<Policy>(short).unwrap();
    assert!(
        policy.udp_ports.contains(53)
            && policy.never_block.contains([0_u16, 0, 0, 0, 0, 0, 0, 1].into())
    );
    assert!(from_value::<Policy>(json!({ "tcp_ports": "0" })).is_err());
    assert!(from_value::<Policy>(json!({ "ignore": ["10.0.0.0/33"] })).is_err());

    let limits = Limits::default().blocked(7).response_timeout(None);
    assert_eq!(from_value::<Limits>(to_value(&limits).unwrap()).unwrap(), limits);
    assert_eq!(from_value::<Limits>(json!({ "blocked": 7 })).unwrap().blocked, 7);
}

#[test]
fn statistics_name_their_reasons() {
    let policy = Policy { tcp_ports: [23].into_iter().collect(), ..Policy::default() };
    let mut engine = Engine::new(policy, &Limits::default(), HashKey::new(1));
    let mut seen = observation(Evidence::Segment(TcpSegment::new(TcpFlags::SYN)));
    engine.observe(&seen, Instant::default());
    seen.target_port = 24;
    engine.observe(&seen, Instant::default());
    let mut sum = engine.statistics();
    sum.merge(&engine.statistics());
    assert_eq!(sum.iter().filter(|(_, count)| *count > 0).count(), 2);
    let written = to_value(sum).unwrap();
    assert_eq!((&written["observations"], &written["reasons"]["log_only"]), (&json!(4), &json!(2)));
    // Each has the name that serde writes.
    for reason in Reason::ALL {
        assert_eq!(to_value(reason).unwrap(), reason.to_string());
        assert_eq!(to_value(reason).unwrap(), reason.name());
    }
}

#[test]
fn records_contain_only_known_values() {
    let segment = TcpSegment::new(TcpFlags::FIN | TcpFlags::PSH | TcpFlags::URG);
    let event = Event::probe(observation(Evidence::Segment(segment)), Reason::BelowTrigger);
    let record = EventRecord::new(&event).with_interface("eth0").with_host("web1");
    let expected = concat!(
        r#"{"schema":1,"timestamp":"2023-11-14T22:13:20.000000Z","event_type":"probe","#,
        r#""engine":"portsentry","host":"web1","seq":812,"in_iface":"eth0","#,
        r#""src_ip":"192.0.2.7","src_port":40000,"src_name":"scanner.example","#,
        r#""dest_ip":"2001:db8::1","dest_port":23,"proto":"TCP","probe":{"kind":"xmas","#,
        r#""flags":"FPU","ip_options":false,"mode":"stealth","verdict":"counted","#,
        r#""ignored":false,"triggered":false}}"#,
    );
    let record = record.with_sequence(812).with_name("scanner.example");
    assert_eq!(serde_json::to_string(&record).unwrap(), expected);

    let seen = observation(Evidence::Message);
    for (event, expected) in [
        (
            Event::served_port(&seen),
            json!({ "event_type": "served_port", "src_ip": "192.0.2.7", "dest_ip": "2001:db8::1",
                "dest_port": 23, "proto": "UDP" }),
        ),
        (
            Event::served_port_suppressed(4),
            json!({ "event_type": "served_port_suppressed", "suppressed": { "packets": 4 } }),
        ),
        (
            Event::rate_limited(4, 600),
            json!({ "event_type": "rate_limited", "suppressed": { "probes": 4, "limit": 600 } }),
        ),
        (
            Event::overloaded(4),
            json!({ "event_type": "overloaded", "suppressed": { "probes": 4 } }),
        ),
    ] {
        let record = EventRecord::new(&event).stamped(Timestamp::from_nanos(1_999));
        let mut expected = expected;
        expected["schema"] = json!(1);
        expected["engine"] = json!("portsentry");
        expected["timestamp"] = json!("1970-01-01T00:00:00.000001Z");
        assert_eq!(to_value(record).unwrap(), expected);
    }
}
