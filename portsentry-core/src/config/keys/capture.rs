//! Keys about live capture.

macro_rules! capture {
    ($then:ident $($rest:tt)*) => { $then! { $($rest)* Capture {

    capture_buffer: {
        name: "CAPTURE_BUFFER",
        kind: Number { min: 1, max: 1_024, unit: "MiB" },
        default: Unset { meaning: "chosen by measurement", example: "8" },
        reload: NextStart,
        summary: "Capture buffer per interface, in MiB",
        help: "A larger buffer holds longer bursts. The kernel drops packets that do not fit, and \
               portsentry counts them.",
    }
    capture_latency: {
        name: "CAPTURE_LATENCY",
        kind: Number { min: 1, max: 10, unit: "ms" },
        default: Unset { meaning: "chosen by measurement", example: "5" },
        reload: NextStart,
        summary: "Longest time that a packet waits to be read, in ms",
        help: "Packets are read in batches. A longer wait uses less CPU time.",
    }
    capture_rings: {
        name: "CAPTURE_RINGS",
        kind: Number { min: 1, max: 16, unit: "" },
        default: Value("1"),
        reload: NextStart,
        summary: "Number of rings per interface, each read by its own thread",
        help: "Raise this only if one thread cannot keep up with the packet rate and CPUs are \
               idle. A source always belongs to the same ring. All rings share CAPTURE_BUFFER. \
               More than one ring requires the method raw (-m raw) and a program that was built \
               with the feature rings.",
    }

    } } };
}
