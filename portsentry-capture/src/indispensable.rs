//! Hosts that must not be blocked, because this host depends on them.

mod following;
mod resolvers;
mod routes;

use std::fmt;
use std::path::PathBuf;

use ipnet::IpNet;

pub use following::IndispensableHosts;
pub use resolvers::{NameServers, ResolverFiles, name_servers};
pub use routes::{Change, Gateway, RouteTables};

/// A host or network that this host depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct IndispensableHost {
    /// The address, or a whole network of this host.
    pub network: IpNet,
    /// The reason.
    pub role: Role,
}

/// Reason why this host depends on another one. `Display` describes it in a few words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// An address of this host.
    OwnAddress,
    /// The gateway of a route.
    #[non_exhaustive]
    Gateway {
        /// Routing table and interface.
        gateway: Gateway,
        /// The shortest destination that is routed to it in this table; `None` for a nexthop
        /// object.
        destination: Option<IpNet>,
    },
    /// A name server.
    #[non_exhaustive]
    NameServer {
        /// The file that lists it.
        file: PathBuf,
    },
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnAddress => f.write_str("own address"),
            Self::Gateway { gateway: Gateway { table, .. }, destination } => {
                match destination {
                    None => f.write_str("gateway of a nexthop object")?,
                    Some(network) if network.prefix_len() == 0 => f.write_str("default gateway")?,
                    Some(network) => write!(f, "gateway of {network}")?,
                }
                // 254 is the table that `ip route` shows (`RT_TABLE_MAIN`).
                match table {
                    Some(table) if *table != 254 => write!(f, " in table {table}"),
                    _ => Ok(()),
                }
            }
            Self::NameServer { file } => write!(f, "name server in {}", file.display()),
        }
    }
}
