//! Compares the engine with the model of its contract, without a fuzzer.

use portsentry_fuzz::replay;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn the_engine_agrees_with_the_contract(
        start in any::<[u8; 8]>(),
        operations in prop::collection::vec(any::<[u8; 6]>(), 0..150),
    ) {
        replay(&[&start[..], &operations.concat()].concat());
    }

    /// Uses rules under which most probes trigger a response.
    #[test]
    fn the_engine_agrees_with_the_contract_about_responses(
        bounds in any::<[u8; 3]>(),
        (trigger, switches) in (0_u8..3, any::<u8>()),
        operations in prop::collection::vec((0_u8..14, any::<[u8; 5]>()), 0..150),
    ) {
        let start = [bounds[0], bounds[1], bounds[2], 0xfe, 0xfe, 0, trigger, switches & 0xe4];
        let operations = operations.iter().flat_map(|(choice, rest)| [&[*choice], &rest[..]].concat());
        replay(&start.into_iter().chain(operations).collect::<Vec<u8>>());
    }

    /// Uses few hosts and ports, so that they repeat: probes are counted or go to a served
    /// port.
    #[test]
    fn the_engine_agrees_with_the_contract_about_counters(
        bounds in any::<u8>(),
        trigger in 0_u8..6,
        operations in prop::collection::vec(counting(), 0..150),
    ) {
        // A window of four seconds, or none.
        let start = [bounds, 0x37 & !(bounds & 1), 0, 0xfe, 0xfe, 0, trigger, 3];
        let serve = [14, 1, 0x01, 0x41, 0x80, 0x80];
        replay(&[&start[..], &serve, &operations.concat()].concat());
    }
}

fn counting() -> impl Strategy<Value = [u8; 6]> {
    prop_oneof![
        12 => (0_u8..7, 1_u8..3).prop_map(|(host, port)| [0, host, 0, port, 0, 0]),
        4 => (0_u8..2, 1_u8..3).prop_map(|(host, port)| [0, host, 0, port, 10, 0]),
        3 => (0_u8..7).prop_map(|time| [8, time, 0, 0, 0, 0]),
        1 => Just([13, 0, 0, 0, 0, 0]),
    ]
}
