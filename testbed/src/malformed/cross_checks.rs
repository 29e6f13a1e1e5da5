//! Configurations whose keys contradict each other.

use super::Malformed;

pub(super) const CROSS_CHECKS: &[Malformed] = &[
    ("empty file", b"", "1:1", "set `TCP_PORTS` or `UDP_PORTS`"),
    ("comments alone", b"# TCP_PORTS=\"1\"\n\n# end\n", "3:1", "set `TCP_PORTS` or `UDP_PORTS`"),
    ("no ports", b"RESOLVE_HOST=\"1\"\n", "1:1", "set `TCP_PORTS` or `UDP_PORTS`"),
    (
        "block TCP, no action",
        b"TCP_PORTS=\"1\"\nBLOCK_TCP=\"1\"\n",
        "2:12",
        "set `KILL_ROUTE` or `KILL_HOSTS_DENY`",
    ),
    (
        "block UDP, no action",
        b"UDP_PORTS=\"1\"\nBLOCK_UDP = \"1\"\n",
        "2:14",
        "set `KILL_ROUTE` or `KILL_HOSTS_DENY`",
    ),
    (
        "block, command alone",
        b"BLOCK_TCP=\"1\"\nTCP_PORTS=\"1\"\nKILL_RUN_CMD=\"true\"\n",
        "1:12",
        "set `KILL_ROUTE` or `KILL_HOSTS_DENY`",
    ),
    (
        "block, empty route",
        b"TCP_PORTS=\"1\"\nKILL_ROUTE=\"\"\nBLOCK_TCP=\"1\"\n",
        "3:12",
        "set `KILL_ROUTE` or `KILL_HOSTS_DENY`",
    ),
    ("command, none", b"TCP_PORTS=\"1\"\nBLOCK_TCP=\"2\"\n", "2:12", "set `KILL_RUN_CMD`"),
    (
        "command, route alone",
        b"TCP_PORTS=\"1\"\nBLOCK_UDP=\"2\"\nKILL_ROUTE=\"route $TARGET$\"\n",
        "2:12",
        "set `KILL_RUN_CMD`",
    ),
    (
        "command, blank",
        b"TCP_PORTS=\"1\"\nBLOCK_UDP=\"2\"\nKILL_RUN_CMD=\" \"\n",
        "2:12",
        "set `KILL_RUN_CMD`",
    ),
];
