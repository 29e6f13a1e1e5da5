//! The running sentry: what it opens, waits for and gives up.

pub(crate) mod background;
mod decider;
mod open_sensors;
pub(crate) mod sandbox;
mod sensors;
mod sentry;
mod service;
mod session;
mod shard;
mod shards;
mod signals;
mod totals;
mod workers;

pub(crate) use background::Background;
pub(crate) use decider::ServedPorts;
pub(crate) use open_sensors::Watching;
pub(crate) use sentry::{Heartbeat, Sentry};
pub(crate) use service::Manager;
pub(crate) use session::{PreparedConfig, Session, policy};
pub(crate) use shard::Shard;
pub(crate) use shards::Shards;
pub(crate) use signals::Signals;
pub(crate) use totals::replay_summary;
pub(crate) use workers::Workers;
