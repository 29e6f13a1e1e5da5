//! The program by which the kernel filters packets before they reach a capture.
//!
//! The program discards packets of open connections, of other hosts and of other ports, but no
//! packet that could be a probe. If a few fields do not decide, the packet passes, and the decoder
//! and the engine decide: the filter only saves their time. The program is written for the watched
//! addresses and ports, and replaced when they change. Its length is bounded. If a list is too
//! long, ranges are joined, and some further ports pass.
//!
//! The language of libpcap is not used. It cannot test the EtherType after a tag that the
//! kernel has removed, and it cannot search a list of ports.

mod accepted;
mod attach;
mod coarse;
#[cfg(feature = "rings")]
mod fanout;
mod matching;
mod notifications;
#[cfg(any(feature = "pcap", feature = "raw"))]
mod probes;
#[cfg_attr(
    not(feature = "rings"),
    allow(dead_code, reason = "which operations are used depends on the features")
)]
mod program;
mod sent;
#[cfg(all(test, feature = "raw"))]
mod tests;

pub(super) use accepted::{ACCEPTED_LENGTH, attach_accepted_filter};
#[cfg(feature = "rings")]
pub(super) use attach::attach_drop_all;
#[cfg(feature = "rings")]
pub(super) use fanout::attach_fanout_program;
#[cfg(feature = "raw")]
pub(super) use matching::PACKET_OTHERHOST;
pub(super) use matching::PACKET_OUTGOING;
pub(crate) use notifications::attach_local_route_filter;
#[cfg(any(feature = "pcap", feature = "raw"))]
pub(super) use probes::attach_probe_filter;
pub(super) use program::Instruction;
pub(super) use sent::{SENT_LENGTH, attach_sent_filter};
