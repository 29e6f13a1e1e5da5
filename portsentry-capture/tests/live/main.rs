//! Live capture against real traffic, through libpcap and through packet
//! sockets, in namespaces of the tests' own.

mod bursts;
mod sensor;
mod set;
mod watch;
