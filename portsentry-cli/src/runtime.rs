//! The running sentry: resources, events and rights.

pub(crate) mod background;
mod decider;
#[cfg(not(feature = "rings"))]
mod one_ring;
mod open_sensors;
pub(crate) mod sandbox;
mod sensors;
mod sentry;
mod served;
mod service;
mod session;
mod shard;
#[cfg(feature = "rings")]
mod shards;
mod signals;
mod totals;
mod workers;

pub(crate) use background::Background;
#[cfg(not(feature = "rings"))]
pub(crate) use one_ring::{Shards, SourceHash};
pub(crate) use open_sensors::{Watching, rings};
#[cfg(feature = "rings")]
pub(crate) use portsentry_capture::SourceHash;
pub(crate) use sentry::{Heartbeat, Sentry};
pub(crate) use served::ServedPorts;
pub(crate) use service::Manager;
pub(crate) use session::{PreparedConfig, Session, policy};
pub(crate) use shard::{Shard, limits};
#[cfg(feature = "rings")]
pub(crate) use shards::Shards;
pub(crate) use signals::Signals;
pub(crate) use totals::replay_summary;
pub(crate) use workers::Workers;
