//! The engine with every table full takes less memory than its documentation promises.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use portsentry_core::{
    Effect, Engine, HashKey, Instant, IpOptions, Limits, Observation, Outcome, Policy, TcpFlags,
};

mod heap;

/// Memory that the documentation of `Limits::default` promises, in bytes.
const PROMISED: usize = 64 << 20;

fn host(number: u32, is_v6: bool) -> IpAddr {
    if is_v6 {
        Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(number)).into()
    } else {
        Ipv4Addr::from_bits(0x0b00_0000 + number).into()
    }
}

fn probe(source: IpAddr) -> Observation {
    let target = if source.is_ipv6() {
        IpAddr::V6(Ipv6Addr::from_bits(7))
    } else {
        IpAddr::V4(Ipv4Addr::from_bits(7))
    };
    Observation::segment((source, 40_000).into(), (target, 23).into(), TcpFlags::SYN)
        .on(1)
        .with_ip_options(IpOptions::Absent)
        .with_ttl(64)
}

#[test]
fn full_tables_take_less_memory_than_promised() {
    let before = heap::live();
    let limits = Limits::default();
    let policy = Policy {
        tcp_ports: (1..=100).collect(),
        scan_trigger: 2,
        block_tcp: true,
        remember_blocked: true,
        served_grace: Duration::from_secs(600),
        ..Policy::default()
    };
    let mut engine = Engine::new(policy, &limits, HashKey::new(7));
    for (is_v6, cap) in [(false, limits.blocked), (true, limits.blocked_v6)] {
        let numbers = 0..=u32::try_from(cap).expect("a small cap");
        engine.restore_blocked(numbers.map(|number| host(number, is_v6)));
    }
    // The table of counters has its final size from the start. Each new source probes twice,
    // which triggers a response, and twice as many responses fail as the table of failed
    // responses has entries.
    let mut now = Instant::from_secs(1_000);
    let mut sources = (1 << 24)..;
    let mut trigger = |engine: &mut Engine, now| {
        let number = sources.next().expect("the range is endless");
        let probe = probe(host(number, number % 2 == 0));
        engine.observe(&probe, now);
        engine.observe(&probe, now);
        while engine.poll_event().is_some() {}
    };
    for _ in 0..2 * limits.failed {
        trigger(&mut engine, now);
        while let Some(Effect::Respond(response)) = engine.poll_effect() {
            engine.handle_outcome(response.id, Outcome::Failed, now);
        }
        now = now.after(Duration::from_millis(1));
    }
    // From here on no response ends, and the hosts of responses in progress continue to probe.
    for _ in 0..2 * limits.responses {
        trigger(&mut engine, now);
    }
    let under_way: Vec<_> = std::iter::from_fn(|| engine.poll_effect())
        .map(|effect| match effect {
            Effect::Respond(response) => response.probe,
            _ => unreachable!("the engine has no other effect"),
        })
        .collect();
    for _ in 0..2 * limits.waiting / limits.responses {
        for probe in &under_way {
            engine.observe(probe, now);
        }
        while engine.poll_event().is_some() {}
    }
    // More sockets than are remembered.
    for number in 0..20_000 {
        let (source, target) = ((host(1, true), 40_000).into(), (host(number, true), 23).into());
        engine.observe_served(&Observation::segment(source, target, TcpFlags::SYN), now);
        engine.observe_served(&Observation::datagram(source, target), now);
        while engine.poll_event().is_some() {}
    }
    let used = heap::live() - before - size_of_val(&under_way[..]);
    let statistics = engine.statistics();
    assert_eq!(statistics.blocked, limits.blocked + limits.blocked_v6);
    assert_eq!(statistics.blocked_forgotten, 2);
    assert_eq!(statistics.responses, limits.responses);
    assert_eq!(statistics.waiting, limits.waiting);
    println!("{} KiB", used / 1024);
    assert!(used < PROMISED, "{used} bytes");
}
