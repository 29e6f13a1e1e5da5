//! The decoder compared with a second one: both find the same packet in any bytes, or
//! both find none.

use portsentry_capture::LinkType;
use proptest::prelude::*;

use crate::frames::*;
use crate::oracle::{ours, theirs};

fn transport() -> impl Strategy<Value = (u8, Vec<u8>)> {
    prop_oneof![
        (0..0x1000u16).prop_map(|flags| (TCP, tcp(flags))),
        (0..=10u8).prop_map(|words| (TCP, tcp_with_options(words))),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|payload| (UDP, udp(&payload))),
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)),
    ]
}

/// Generates extension headers before a transport header.
fn extended() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let kinds = prop::sample::select(vec![
        HOP_BY_HOP,
        ROUTING,
        FRAGMENT,
        FRAGMENT,
        AUTHENTICATION,
        DESTINATION,
        DESTINATION,
    ]);
    let one = (kinds, prop_oneof![Just(0u8), 0..6u8, any::<u8>()]);
    let chain =
        prop_oneof![prop::collection::vec(one.clone(), 0..4), prop::collection::vec(one, 6..11)];
    (transport(), chain).prop_map(|(start, chain)| {
        chain.into_iter().fold(start, |(next, rest), (kind, units)| {
            let header = match kind {
                FRAGMENT if units % 4 == 3 => fragment(next, u16::from(units) * 8, false, &rest),
                FRAGMENT => fragment(next, 0, units % 4 == 2, &rest),
                ROUTING if units < 6 => routing(next, u8::from(units == 5), &rest),
                AUTHENTICATION => authentication(next, units, &rest),
                _ => extension(next, units, &rest),
            };
            (kind, header)
        })
    })
}

fn packet() -> impl Strategy<Value = (bool, Vec<u8>)> {
    prop_oneof![
        (0..=10u8, transport()).prop_map(|(words, (protocol, payload))| {
            (false, ipv4_with_options(words, protocol, &payload))
        }),
        (0..=6u8, transport()).prop_map(|(units, (protocol, payload))| {
            (false, ipv4(AUTHENTICATION, &authentication(protocol, units, &payload)))
        }),
        extended().prop_map(|(next, payload)| (true, ipv6(next, &payload))),
    ]
}

/// Generates a valid frame, overwrites bytes of it and cuts or pads it. Most frames get
/// correct checksums after bytes are overwritten.
fn frame() -> impl Strategy<Value = (LinkType, Vec<u8>)> {
    let tags = prop::collection::vec(prop::sample::select(vec![0x8100u16, 0x88a8, 0x9100]), 0..4);
    let link = prop::sample::select(LINKS.to_vec());
    let whole = (link, tags, packet()).prop_map(|(link, tags, (is_v6, packet))| {
        let inner = if is_v6 { 0x86dd } else { 0x0800 };
        let (ether_type, tagged) =
            tags.into_iter().fold((inner, packet.clone()), |(ether_type, rest), outer| {
                (outer, tag(ether_type, &rest))
            });
        let frame = match link {
            LinkType::Ethernet => ethernet(ether_type, &tagged),
            LinkType::LinuxSll => sll(1, ether_type, &tagged),
            LinkType::LinuxSll2 => sll2(1, ether_type, &tagged),
            _ => framed(link, is_v6, &packet),
        };
        let header = frame.len() - packet.len();
        (link, frame, header)
    });
    let cut = prop_oneof![3 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    let writes = prop::collection::vec((0..110usize, any::<u8>()), 0..4);
    let seal = prop::bool::weighted(0.8);
    (whole, cut, 0..8usize, writes, seal).prop_map(|(whole, cut, padding, writes, seal)| {
        let (link, mut frame, header) = whole;
        for (at, byte) in writes {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        if seal {
            let packet = frame.split_off(header);
            frame.extend(sealed(packet));
        }
        match cut {
            Some(at) => frame.truncate(at.index(frame.len() + 1)),
            None => frame.resize(frame.len() + padding, 0xff),
        }
        (link, frame)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn both_decoders_agree((link, frame) in frame()) {
        prop_assert_eq!(ours(link, &frame), theirs(link, &frame));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        link in prop::sample::select(LINKS.to_vec()),
    ) {
        prop_assert_eq!(ours(link, &bytes), theirs(link, &bytes));
    }
}

/// The property above is meaningful only if many frames are valid and many are not.
#[test]
fn generated_frames_are_valid_and_invalid() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let decoded = (0..1000)
        .filter(|_| {
            let (link, bytes) = frame().new_tree(&mut runner).unwrap().current();
            ours(link, &bytes).is_some()
        })
        .count();
    assert!((150..850).contains(&decoded), "{decoded} of 1000 frames decode");
}
