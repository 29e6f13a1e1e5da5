//! Rules of administrators, of container engines and of Kubernetes.

use std::path::PathBuf;

use portsentry_capture::{LegacyTables, Translations, translations};
use portsentry_testbed::{Namespace, Testbed, require_root};

use crate::dump;
use crate::kernel::{Target, probe, record};

/// Rules, and the result of reading them.
struct Case {
    name: &'static str,
    /// Lines for `nft -f -`, or for `iptables-nft` and `ip6tables-nft` if they start with their
    /// options.
    rules: &'static str,
    expected: Expected,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Exactly the ports that the kernel translates.
    Exact,
    /// These ports, and others under conditions that cannot be read.
    More,
    /// No ports: this number of rules names none.
    Unknown(usize),
}

use Expected::{Exact, More, Unknown};

const CASES: &[Case] = &[
    Case { name: "nothing", rules: "table ip t {\n}", expected: Exact },
    Case {
        name: "redirect",
        rules: "table ip t { chain c { type nat hook prerouting priority dstnat;
            tcp dport 8080 redirect to :80
            udp dport { 5, 8-10, 65534-65535 } redirect to :53
            tcp dport 1000-1001 redirect to :1024
            udp dport > 40000 redirect to :1
        } }",
        expected: Exact,
    },
    Case {
        name: "comparisons",
        rules: "table inet t { chain c { type nat hook prerouting priority dstnat;
            tcp dport < 5 redirect to :99
            udp dport <= 5 redirect to :99
            tcp dport >= 65535 redirect to :99
            udp dport 200-1000 udp dport != 443 redirect to :99
            tcp dport { 80, 443 } tcp dport != { 1-100 } redirect to :99
            ip daddr != 203.0.113.5 tcp dport 8080 redirect to :99
            ip daddr != { 203.0.113.0/29, 10.0.0.0/8 } tcp dport 8081 redirect to :99
            tcp dport & 0xfffe == 30080 redirect to :99
        } }",
        expected: More,
    },
    Case {
        name: "destinations",
        rules: "table inet t { chain c { type nat hook prerouting priority dstnat;
            ip daddr 203.0.113.5 tcp dport 80 dnat ip to 192.0.2.1
            ip daddr 203.0.113.8/29 udp dport 53 dnat ip to 192.0.2.1
            ip daddr 203.0.113.0/24 tcp dport 443 dnat ip to 192.0.2.1
            ip daddr { 203.0.113.9, 198.51.100.1 } udp dport 80 dnat ip to 192.0.2.1
            ip6 daddr 2001:db8::/16 tcp dport 90 dnat ip6 to 2001:db8:1::1
            ip6 daddr ::/0 tcp dport 91 dnat ip6 to 2001:db8:1::1
            meta nfproto ipv4 tcp dport 100 redirect to :99
            meta protocol ip6 udp dport 100 redirect to :99
            tcp dport 101 dnat ip to 192.0.2.1
            tcp dport 150 dnat ip6 to [2001:db8:1::1]:1
            ip daddr 203.0.113.9 ip protocol udp dnat ip to 192.0.2.1
        } }",
        expected: Exact,
    },
    Case {
        name: "address",
        rules: "table ip t { chain c { type nat hook prerouting priority dstnat;
            ip daddr 203.0.113.5 dnat to 192.0.2.1
        } }",
        expected: Exact,
    },
    Case {
        name: "maps",
        rules: "table ip t {
            map ports { type inet_service : ipv4_addr; elements = { 80 : 192.0.2.1, 443 : 192.0.2.2 } }
            map pairs { type ipv4_addr . inet_service : ipv4_addr . inet_service; flags interval
                elements = { 203.0.113.5 . 90-91 : 192.0.2.1 . 80, 203.0.113.0-203.0.113.255 . 100 : 192.0.2.1 . 1 } }
            map none { type inet_service : ipv4_addr; }
            chain c { type nat hook prerouting priority dstnat;
                dnat to tcp dport map @ports
                meta l4proto udp dnat to ip daddr . udp dport map @pairs
                dnat to tcp dport map @none
                dnat to tcp dport map { 1 : 192.0.2.1, 4-5 : 192.0.2.2 }
                meta l4proto udp redirect to :udp dport map { 8080 : 80, 8081 : 81 }
            } }",
        expected: Exact,
    },
    Case {
        name: "jumps",
        rules: "table ip t {
            chain leaf { tcp dport { 80, 81 } redirect to :99; udp dport 53 redirect to :99; }
            chain middle { tcp dport 81-200 goto leaf; udp dport 80 jump leaf; jump last; }
            chain last { ip daddr 203.0.113.5 jump leaf; }
            chain c { type nat hook prerouting priority dstnat;
                meta l4proto tcp jump middle
                ip daddr 203.0.113.9 udp dport vmap { 53 : goto leaf, 100-200 : accept }
            } }
            table ip unused { chain x { tcp dport 1-1000 redirect to :99; } }
            table ip asleep { flags dormant
                chain c { type nat hook prerouting priority dstnat; tcp dport 1-1000 redirect to :99; } }
            table ip local { chain c { type nat hook output priority -100; tcp dport 1-1000 redirect to :99; } }",
        expected: Exact,
    },
    Case {
        name: "other-conditions",
        rules: "table ip t {
            set s { type ifname . inet_service; elements = { nonesuch . 81 } }
            chain c { type nat hook prerouting priority dstnat;
            ip saddr 192.0.2.77 tcp dport 80 redirect to :99
            iifname . tcp dport @s redirect to :99
            tcp sport 7 tcp dport 90 redirect to :99
            tcp dport 443 tcp flags fin redirect to :99
            udp dport 53 meta mark 7 redirect to :99
            udp dport 100 limit rate 1/day burst 5 packets counter log redirect to :99
            tcp dport 22 accept
            tcp dport 1-22 redirect to :99
        } }",
        expected: More,
    },
    Case {
        name: "without-ports",
        rules: "table ip t { chain c { type nat hook prerouting priority dstnat;
            iifname \"nonesuch\" redirect
            tcp dport != 22 ip saddr 192.0.2.77 dnat to 192.0.2.1
            ip daddr != 10.0.0.0/8 ip saddr 192.0.2.77 dnat to 192.0.2.1
        } }",
        expected: Unknown(3),
    },
    Case {
        name: "transparent-proxy",
        rules: "table ip t { chain c { type filter hook prerouting priority mangle;
            meta mark 7 tcp dport 80 tproxy to :99 accept
        } }",
        expected: More,
    },
    Case {
        name: "netavark",
        rules: "table inet netavark {
            chain PREROUTING { type nat hook prerouting priority dstnat; policy accept;
                fib daddr type local jump NETAVARK-HOSTPORT-DNAT
            }
            chain NETAVARK-HOSTPORT-DNAT {
                tcp dport 8080 jump nv_2f259bab_10_88_0_0_nm16_dnat
                ip daddr 203.0.113.5 udp dport 100-101 jump nv_2f259bab_10_88_0_0_nm16_dnat
            }
            chain NETAVARK-HOSTPORT-SETMARK { meta mark set meta mark | 0x00002000; }
            chain nv_2f259bab_10_88_0_0_nm16_dnat {
                ip saddr 10.88.0.0/16 tcp dport 8080 jump NETAVARK-HOSTPORT-SETMARK
                ip saddr 127.0.0.1 tcp dport 8080 jump NETAVARK-HOSTPORT-SETMARK
                tcp dport 8080 dnat ip to 10.88.0.2:80
                ip daddr 203.0.113.5 udp dport 100-101 dnat ip to 10.88.0.2:100-101
            } }",
        expected: More,
    },
    Case {
        name: "docker",
        rules: "-t nat -N DOCKER
            -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
            -t nat -A DOCKER -i docker0 -j RETURN
            -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
            -t nat -A DOCKER -d 203.0.113.5/32 ! -i docker0 -p udp -m udp --dport 53 -j DNAT --to-destination 172.17.0.3:53
            -6 -t nat -A PREROUTING -p tcp -m tcp --dport 8081 -j DNAT --to-destination [2001:db8:1::2]:80",
        expected: Exact,
    },
    Case {
        name: "iptables",
        rules: "-t nat -A PREROUTING -p tcp -m multiport --dports 1,5:9,443 -j REDIRECT --to-ports 99
            -t nat -A PREROUTING -p udp -m multiport ! --dports 1:65000 -d 203.0.113.0/24 -j REDIRECT --to-ports 99
            -t nat -A PREROUTING -p udp --dport 100:200 -j DNAT --to-destination 192.0.2.1
            -t nat -A PREROUTING ! -d 203.0.113.5/32 -p tcp --dport 90 -j DNAT --to-destination 192.0.2.1
            -t nat -A PREROUTING -d 203.0.113.9/32 -p tcp -j NETMAP --to 192.0.2.0/32
            -t nat -A PREROUTING -p udp -m multiport --ports 8080 -j REDIRECT --to-ports 99",
        expected: Exact,
    },
    Case {
        name: "kube-proxy-iptables",
        rules: "-t nat -N KUBE-SERVICES
            -t nat -N KUBE-NODEPORTS
            -t nat -N KUBE-EXT-A
            -t nat -N KUBE-SVC-A
            -t nat -N KUBE-SEP-A
            -t nat -N KUBE-SEP-B
            -t nat -A PREROUTING -m comment --comment portals -j KUBE-SERVICES
            -t nat -A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment x -m tcp --dport 443 -j KUBE-SVC-A
            -t nat -A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
            -t nat -A KUBE-NODEPORTS -p tcp -m comment --comment x -m tcp --dport 30080 -j KUBE-EXT-A
            -t nat -A KUBE-EXT-A -j KUBE-SVC-A
            -t nat -A KUBE-SVC-A -m statistic --mode random --probability 0.5 -j KUBE-SEP-A
            -t nat -A KUBE-SVC-A -j KUBE-SEP-B
            -t nat -A KUBE-SEP-A -p tcp -m tcp -j DNAT --to-destination 10.0.0.1:8080
            -t nat -A KUBE-SEP-B -p tcp -m tcp -j DNAT --to-destination 10.0.0.2:8080",
        expected: Exact,
    },
    Case {
        name: "kube-proxy-nft",
        rules: "table ip kube-proxy {
            set nodeport-ips { type ipv4_addr; elements = { 203.0.113.5 } }
            map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
            map service-nodeports { type inet_proto . inet_service : verdict; }
            chain endpoint-a { ip saddr 10.0.0.1 meta mark set 1; meta l4proto tcp dnat to 10.0.0.1:8080; }
            chain endpoint-b { meta l4proto tcp dnat to 10.0.0.2:8080; }
            chain service-a { ip daddr 10.96.0.1 tcp dport 443 meta mark set 1
                numgen random mod 2 vmap { 0 : goto endpoint-a, 1 : goto endpoint-b }
            }
            chain external-a { meta mark set 1; goto service-a; }
            chain services { ip daddr . meta l4proto . th dport vmap @service-ips
                ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports; }
            chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
            }
            add element ip kube-proxy service-ips { 10.96.0.1 . tcp . 443 : goto service-a }
            add element ip kube-proxy service-nodeports { tcp . 30080 : goto external-a }",
        expected: Exact,
    },
];

/// Puts the rules in force.
fn apply(host: &Namespace, rules: &str) {
    if rules.starts_with("table") {
        // nft(8) wants a line for each end of a block.
        host.run("nft", &[&rules.replace("} }", "}\n}").replace("; }", "\n}")]);
        return;
    }
    for line in rules.lines() {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let program = match words.first() {
            Some(&"-6") => {
                words.remove(0);
                "ip6tables-nft"
            }
            _ => "iptables-nft",
        };
        host.run(program, &words);
    }
}

fn includes(found: &Translations, (protocol, address, port): Target) -> bool {
    found.ports.iter().any(|ports| ports.includes(protocol, address, port))
}

#[test]
fn rules_are_read_as_the_kernel_executes_them() {
    let Some(root) = require_root() else { return };
    for Case { name, rules, expected } in CASES {
        let bed = Testbed::new(root);
        record(&bed);
        apply(&bed.host, rules);
        let (sent, translated) = probe(&bed);
        let found = bed.host.enter(translations).expect("rules");
        let read = sent.iter().copied().filter(|target| includes(&found, *target)).collect();
        let missing: Vec<_> = translated.difference(&read).collect();
        let more: Vec<_> = read.difference(&translated).collect();
        assert!(missing.is_empty(), "{name}: not read: {missing:?}\n{found:?}");
        match expected {
            Exact => assert!(more.is_empty(), "{name}: not translated: {more:?}\n{found:?}"),
            More => assert!(!read.is_empty(), "{name}: {found:?}"),
            Unknown(_) => assert!(read.is_empty(), "{name}: {found:?}"),
        }
        let unknown = if let Unknown(rules) = expected { *rules } else { 0 };
        assert_eq!(found.unknown_rules.len(), unknown, "{name}: {found:?}");
        assert!(!found.incomplete && found.legacy == LegacyTables::Absent, "{name}: {found:?}");
        println!("{name}: {} translated, {} read", translated.len(), read.len());

        // The same messages, read by this test.
        let bytes = dump::of(&bed.host);
        assert_eq!(Translations::of_dump(&bytes), found, "{name}");
    }
}

/// Writes the messages about each of the rules, as seeds for fuzzing: into the folder in
/// `PORTSENTRY_DUMPS`, if it is set.
#[test]
fn dumps_for_fuzzing_are_written() {
    let Some(root) = require_root() else { return };
    let Some(folder) = std::env::var_os("PORTSENTRY_DUMPS").map(PathBuf::from) else { return };
    for Case { name, rules, .. } in CASES {
        let host = Namespace::isolated(root);
        apply(&host, rules);
        std::fs::write(folder.join(name), dump::of(&host)).expect("write");
    }
}
