//! Live capture against real traffic, through libpcap and through packet
//! sockets, in namespaces of the tests' own.

#[cfg(feature = "rings")]
mod all_rings;
mod answers;
mod bursts;
#[path = "../offline/frames.rs"]
#[allow(dead_code, reason = "it serves other tests too")]
mod frames;
#[cfg(feature = "rings")]
mod rings;
mod sensor;
mod set;
mod watch;
