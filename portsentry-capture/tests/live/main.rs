//! Live capture of real traffic, through libpcap and through packet sockets. Each test
//! creates its own network namespaces.

#[cfg(feature = "rings")]
mod all_rings;
mod bursts;
mod fragments;
#[path = "../offline/frames.rs"]
#[allow(dead_code, reason = "other test programs use the rest")]
mod frames;
#[cfg(feature = "rings")]
mod rings;
mod sensor;
mod set;
mod solicited;
mod watch;
