//! Keys about the watched ports.

macro_rules! watch {
    ($then:ident $($rest:tt)*) => { $then! { $($rest)* Watch {

    tcp_ports: {
        name: "TCP_PORTS",
        kind: Ports,
        default: Unset { meaning: "no TCP port is watched", example: "1,7,10-20" },
        reload: Live,
        summary: "TCP ports to watch",
        help: "Ports 1 to 65535 and inclusive ranges, separated by commas; or the word ALL, in \
               stealth mode. ALL is each port except those that this host uses for outgoing \
               connections, net.ipv4.ip_local_port_range, as they are at the start or reload. At \
               least one of TCP_PORTS and UDP_PORTS must be set.",
    }
    udp_ports: {
        name: "UDP_PORTS",
        kind: Ports,
        default: Unset { meaning: "no UDP port is watched", example: "1,7,10-20" },
        reload: Live,
        summary: "UDP ports to watch",
        help: "Same syntax as TCP_PORTS. portsentry also reads the datagrams that this host sends \
               from these ports, to recognise late replies to its own queries. With --connect, \
               omit ports above 1023: the queries of this host need them.",
    }
    served_grace: {
        name: "SERVED_GRACE",
        kind: Duration { min: time::Duration::ZERO, max: time::Duration::from_secs(86_400) },
        default: Value("10 min"),
        reload: Live,
        summary: "Time for which a port counts as served after its service has ended",
        help: "Clients of a service that restarts are not scanners. Also, portsentry does not \
               respond while the host has been up for less than this time, because services are \
               still starting. Packets that no client sends, such as NULL scans, count at any \
               time. 0 means neither. With -S, no port counts as served.",
    }
    port_banner: {
        name: "PORT_BANNER",
        kind: Text,
        default: Unset { meaning: "nothing is sent", example: "** This port is watched **" },
        reload: Live,
        summary: "Text that connect mode sends to each client",
        help: "Has no effect in stealth mode.",
    }

    } } };
}
