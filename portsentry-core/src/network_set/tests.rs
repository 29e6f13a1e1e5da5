use super::*;
use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;

fn networks(list: &str) -> NetworkSet {
    list.split_whitespace().map(|network| network.parse::<IpNet>().unwrap()).collect()
}

#[test]
fn membership() {
    let check = |list: &str, address: &str, expected: bool| {
        let found = networks(list).contains(address.parse().unwrap());
        assert_eq!(found, expected, "{address} in {list}");
    };
    check("", "1.2.3.4", false);
    check("10.0.0.0/8", "9.255.255.255", false);
    check("10.0.0.0/8", "10.0.0.0", true);
    check("10.0.0.0/8", "10.255.255.255", true);
    check("10.0.0.0/8", "11.0.0.0", false);
    check("10.1.2.3/8", "10.200.0.1", true);
    check("0.0.0.0/0", "255.255.255.255", true);
    check("0.0.0.0/0", "0.0.0.0", true);
    check("0.0.0.0/0", "::1", false);
    check("::/0", "::1", true);
    check("::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true);
    check("::/0", "1.2.3.4", false);
    check("::/0", "::ffff:1.2.3.4", false);
    check("1.2.3.4/32", "::ffff:1.2.3.4", true);
    check("::ffff:10.0.0.0/104", "10.9.8.7", true);
    check("::ffff:10.0.0.0/104", "11.0.0.0", false);
    check("::ffff:0:0/96", "203.0.113.1", true);
    check("10.0.0.0/8 10.1.0.0/16", "10.255.0.0", true);
    check("2001:db8::/32", "2001:db8:ffff:ffff::1", true);
    check("2001:db8::/32", "2001:db9::", false);
}

#[test]
fn neighbours_and_overlaps_are_merged() {
    let check = |list: &str, expected: usize| assert_eq!(networks(list).len(), expected, "{list}");
    check("", 0);
    check("10.0.0.0/9 10.128.0.0/9", 1);
    check("10.0.0.0/9 10.0.0.0/8 10.3.0.0/16", 1);
    check("10.0.0.0/32 10.0.0.2/32", 2);
    check("255.255.255.255/32 0.0.0.0/0", 1);
    check("255.255.255.255/32 0.0.0.0/32", 2);
    check("::ffff:10.0.0.0/120 10.0.1.0/24", 1);
    check("::/1 8000::/1", 1);
    check("::/0 0.0.0.0/0", 2);
}

/// Close addresses, so that networks and lookups often match.
fn v4() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        (0_u32..1 << 12).prop_map(|low| Ipv4Addr::from(0x0a00_0000 + low)),
        any::<u32>().prop_map(Ipv4Addr::from),
    ]
}

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    prop_oneof![
        (0_u128..1 << 12).prop_map(|low| Ipv6Addr::from((0x2001_0db8 << 96) + low)),
        (0_u128..1 << 12).prop_map(|low| Ipv6Addr::from(low << 116)),
        v4().prop_map(|address| address.to_ipv6_mapped()),
        any::<u128>().prop_map(Ipv6Addr::from),
    ]
}

fn network() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (v4(), 0_u8..=32).prop_map(|(a, p)| Ipv4Net::new(a, p).unwrap().into()),
        (v4(), 20_u8..=32).prop_map(|(a, p)| Ipv4Net::new(a, p).unwrap().into()),
        (v6(), 0_u8..=128).prop_map(|(a, p)| Ipv6Net::new(a, p).unwrap().into()),
        (v6(), 90_u8..=128).prop_map(|(a, p)| Ipv6Net::new(a, p).unwrap().into()),
    ]
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![v4().prop_map(IpAddr::from), v6().prop_map(IpAddr::from)]
}

/// Returns the definition, bit by bit: the first `prefix` bits are equal. IPv4 addresses are
/// mapped by RFC 4291. Only a network inside the mapped range contains them.
fn holds(network: &IpNet, address: IpAddr) -> bool {
    let wide = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address),
    };
    let prefix = network.prefix_len() + if network.addr().is_ipv4() { 96 } else { 0 };
    let is_mapped = |bits: u128| bits >> 32 == 0xffff;
    let (network, address) = (wide(network.addr()), wide(address));
    let agree = (0..prefix).all(|bit| (network ^ address) >> (127 - bit) & 1 == 0);
    agree && (!is_mapped(address) || (prefix >= 96 && is_mapped(network)))
}

proptest! {
    #[test]
    fn agrees_with_a_linear_search(
        list in prop::collection::vec(network(), 0..12),
        asked in prop::collection::vec(address(), 1..40),
    ) {
        let networks: NetworkSet = list.iter().copied().collect();
        let edges = list.iter().flat_map(|network| [network.network(), network.broadcast()]);
        for address in edges.chain(asked.iter().copied()) {
            let expected = list.iter().any(|network| holds(network, address));
            prop_assert_eq!(networks.contains(address), expected, "{}", address);
        }
        let all: Vec<IpAddr> = list
            .iter()
            .flat_map(|network| [network.network(), network.broadcast()])
            .chain(asked.iter().copied())
            .collect();
        // The last batch is rarely full.
        for addresses in all.chunks(NetworkSet::BATCH) {
            let held = networks.contain_each(addresses.iter().copied().enumerate());
            for (bit, address) in addresses.iter().enumerate() {
                prop_assert_eq!(held >> bit & 1 == 1, networks.contains(*address));
            }
            prop_assert_eq!(held & !(u64::MAX >> (64 - addresses.len())), 0);
        }
        prop_assert!(networks.len() <= list.len());
        prop_assert_eq!(networks.is_empty(), list.is_empty());

        let ranges: Vec<_> = networks.ranges().collect();
        prop_assert_eq!(ranges.len(), networks.len());
        prop_assert!(ranges.is_sorted_by(|a, b| a.end() < b.start()));
        // Both ends are members, except an IPv4-mapped one: `::/80` ends with one.
        let ends = ranges.iter().flat_map(|range| [*range.start(), *range.end()]);
        for end in ends.filter(|end| end.to_canonical() == *end) {
            prop_assert!(list.iter().any(|network| holds(network, end)), "{}", end);
        }
    }
}
