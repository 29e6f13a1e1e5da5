//! UDP datagrams that this host solicited: replies to its own queries, which are not probes.
//!
//! The socket tables cannot answer this: a resolver opens and closes its socket between two
//! snapshots, and a reply may arrive after that. So the datagrams that this host sends from
//! monitored ports are captured. Nothing is open while no UDP port is monitored.

#[cfg(any(feature = "pcap", feature = "raw"))]
mod flow;
#[cfg(any(feature = "pcap", feature = "raw"))]
mod pending;
#[cfg(any(feature = "pcap", feature = "raw"))]
mod queries;
#[cfg(any(feature = "pcap", feature = "raw"))]
mod sent;
#[cfg(not(any(feature = "pcap", feature = "raw")))]
mod stub;

#[cfg(any(feature = "pcap", feature = "raw"))]
pub(super) use queries::Queries;
#[cfg(not(any(feature = "pcap", feature = "raw")))]
pub(super) use stub::Queries;
