//! The engine against the model of its contract, without a fuzzer.

use portsentry_fuzz::replay;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn agrees_with_the_contract(
        start in any::<[u8; 8]>(),
        operations in prop::collection::vec(any::<[u8; 6]>(), 0..150),
    ) {
        replay(&[&start[..], &operations.concat()].concat());
    }

    /// Rules that let most probes through to a response.
    #[test]
    fn agrees_with_the_contract_about_responses(
        bounds in any::<[u8; 3]>(),
        (trigger, switches) in (0_u8..3, any::<u8>()),
        operations in prop::collection::vec((0_u8..14, any::<[u8; 5]>()), 0..150),
    ) {
        let start = [bounds[0], bounds[1], bounds[2], 0xfe, 0xfe, 0, trigger, switches & 0xe4];
        let operations = operations.iter().flat_map(|(choice, rest)| [&[*choice], &rest[..]].concat());
        replay(&start.into_iter().chain(operations).collect::<Vec<u8>>());
    }
}
