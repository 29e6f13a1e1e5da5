//! UDP datagrams that this host solicited: replies to its own queries, which are not probes.
//!
//! The socket tables cannot answer this: a resolver opens and closes its socket between two
//! snapshots, and a reply may arrive after that. So the datagrams that this host sends from
//! monitored ports are captured. Nothing is open while no UDP port is monitored.
//!
//! - Datagrams that this host only forwards or bridges are not its queries, even if they are
//!   forged in its name: those arrive before they leave. Masqueraded queries are its own, because
//!   they get its address here.
//! - Only this host's datagrams fill the table of queries, which has a fixed size. Datagrams of
//!   other hosts fill a smaller one. If that is full, a reply of a local service may count as a
//!   query, but it exempts only the address and port that it was sent to.
//! - If the socket cannot be opened or read, a warning is logged, and late replies are reported as
//!   probes.
//! - A replay does not use this module.

mod flow;
mod origin;
mod pending;
mod queries;
mod sent;

pub(super) use queries::Queries;
