//! Keys about the probes that count.

macro_rules! detect {
    ($then:ident $($rest:tt)*) => { $then! { $($rest)* Detect {

    ignore_file: {
        name: "IGNORE_FILE",
        kind: Path,
        default: Unset {
            meaning: "no host is ignored",
            example: "/etc/portsentry/portsentry.ignore",
        },
        reload: Live,
        summary: "File with hosts and networks to ignore",
        help: "One IPv4 or IPv6 address or network per line, with a prefix length or, for IPv4, a \
               dotted mask. Comments start with #. The file must exist.",
    }
    scan_trigger: {
        name: "SCAN_TRIGGER",
        kind: Number { min: 0, max: 65_535, unit: "probes" },
        default: Value("0"),
        reload: Live,
        summary: "Number of the probe from one host that triggers a response",
        help: "Earlier probes are logged with triggered: [false] and cause no response. 0 and 1 \
               both mean the first probe.",
    }

    } } };
}
