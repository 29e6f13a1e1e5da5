//! Keys about responses to probes.

macro_rules! respond {
    ($then:ident $($rest:tt)*) => { $then! { $($rest)* Respond {

    block_tcp: {
        name: "BLOCK_TCP",
        kind: BlockMode,
        default: Value("0"),
        reload: Live,
        summary: "Response to a TCP probe",
        help: "0: log only. 1: block the host with KILL_ROUTE and KILL_HOSTS_DENY, at least one of \
               which must be set, and run KILL_RUN_CMD if it is set. 2: run KILL_RUN_CMD only, \
               which must be set.",
    }
    block_udp: {
        name: "BLOCK_UDP",
        kind: BlockMode,
        default: Value("0"),
        reload: Live,
        summary: "Response to a UDP probe",
        help: "Values as for BLOCK_TCP. The source address of a UDP probe is easily forged: with 1 \
               or 2, an attacker can make this host respond to any address.",
    }
    kill_route: {
        name: "KILL_ROUTE",
        kind: Command { needs_target: true },
        default: Unset {
            meaning: "no route or firewall command is run",
            example: "case $TARGET$ in *:*) s=scanners6;; *) s=scanners4;; esac; \
                      exec nft add element inet portsentry $s { $TARGET$ }",
        },
        reload: Live,
        summary: "Command that blocks a host",
        help: "Run by /bin/sh -c. Must contain $TARGET$. $TARGET$, $PORT$ and $MODE$ (stealth or \
               connect) are replaced. The host is blocked if the command exits with status 0.",
    }
    kill_hosts_deny: {
        name: "KILL_HOSTS_DENY",
        kind: HostsDenyLine,
        default: Unset { meaning: "hosts.deny is not changed", example: "ALL: [$TARGET$]" },
        reload: Live,
        summary: "Line for HOSTS_DENY_FILE that blocks a host",
        help: "Must contain $TARGET$. The placeholders are those of KILL_ROUTE.",
    }
    hosts_deny_file: {
        name: "HOSTS_DENY_FILE",
        kind: Path,
        default: Value("/etc/hosts.deny"),
        reload: Live,
        summary: "File to which KILL_HOSTS_DENY is added",
        help: "Must not be a symbolic link, and must not be writable by other users.",
    }
    kill_run_cmd: {
        name: "KILL_RUN_CMD",
        kind: Command { needs_target: false },
        default: Unset {
            meaning: "no further command is run",
            example: "logger -t portsentry-alarm 'port $PORT$ probed by $TARGET$'",
        },
        reload: Live,
        summary: "Command to run for a host in addition to blocking",
        help: "Run by /bin/sh -c. The placeholders are those of KILL_ROUTE.",
    }
    kill_run_cmd_first: {
        name: "KILL_RUN_CMD_FIRST",
        kind: Switch,
        default: Value("0"),
        reload: Live,
        summary: "Whether KILL_RUN_CMD runs before blocking",
        help: "1: before KILL_ROUTE and KILL_HOSTS_DENY. 0: after them.",
    }
    response_timeout: {
        name: "RESPONSE_TIMEOUT",
        kind: Duration { min: time::Duration::from_secs(1), max: time::Duration::from_secs(3_600) },
        default: Value("30"),
        reload: Live,
        summary: "Time limit of each action of a response",
        help: "portsentry kills a command that runs longer, with all its child processes. The \
               action counts as failed.",
    }
    blocked_file: {
        name: "BLOCKED_FILE",
        kind: Path,
        default: Unset {
            meaning: "portsentry responds to each triggered probe of a host",
            example: "/run/portsentry/portsentry.blocked",
        },
        reload: Live,
        summary: "File that stores blocked hosts",
        help: "portsentry never responds again to a host in this file, even after a restart. It \
               lists a host when all actions have succeeded. \
               The file and its directory must not be writable by other users. \
               Missing directories are created.",
    }
    never_block: {
        name: "NEVER_BLOCK",
        kind: Networks,
        default: Unset {
            meaning: "own addresses (not with -L), gateways of all routes, name servers",
            example: "192.0.2.0/24, 2001:db8::/32",
        },
        reload: Live,
        summary: "Networks to which portsentry never responds",
        help: "Addresses and networks, separated by commas or blanks. Their probes are logged. A \
               list replaces the default, except for own addresses, to which portsentry never \
               responds. With an empty list, any other host can be blocked. By default portsentry \
               reads the routes of all tables and the files of name servers before each response, \
               so changes count immediately. portsentry check lists these hosts.",
    }
    block_rate: {
        name: "BLOCK_RATE",
        kind: Number { min: 0, max: 1_000_000, unit: "hosts per minute" },
        default: Value("600"),
        reload: Live,
        summary: "Maximum number of new hosts per minute that cause a response",
        help: "Probes of further hosts are only logged. The limit bounds the effect of a flood \
               with forged sources. 0 means no limit.",
    }

    } } };
}
