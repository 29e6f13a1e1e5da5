//! Keys about the log and the history.

macro_rules! report {
    ($then:ident $($rest:tt)*) => { $then! { $($rest)* Report {

    history_file: {
        name: "HISTORY_FILE",
        kind: Path,
        default: Unset {
            meaning: "no history is kept",
            example: "/var/log/portsentry/portsentry.history",
        },
        reload: Live,
        summary: "File to which each probe is appended",
        help: "One line per probe, with the time. portsentry never truncates the file, and reopens \
               it on SIGHUP, for log rotation. Missing directories are created.",
    }
    resolve_host: {
        name: "RESOLVE_HOST",
        kind: Switch,
        default: Value("0"),
        reload: Live,
        summary: "Whether to look up host names",
        help: "Lookups run in the background with a timeout. They may reveal to the operator of \
               the source's DNS zone that the probe was noticed.",
    }

    } } };
}
