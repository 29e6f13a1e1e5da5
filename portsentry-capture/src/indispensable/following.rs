//! The hosts that this host depends on, kept up to date.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use netlink_packet_core::NLM_F_REPLACE;

use super::resolvers::{NameServers, ResolverFiles};
use super::routes::{Change, RouteTables};
use super::{IndispensableHost, Role};
use crate::interfaces::LocalRoutes;
use crate::netlink::rtnetlink::{
    RTM_GETADDR, RTM_GETNEXTHOP, RTM_GETROUTE, RTM_NEWROUTE, RTN_UNICAST,
};
use crate::netlink::{self, Notifications, ROUTE};

/// Groups of `linux/rtnetlink.h`: `RTMGRP_LINK`; addresses, routes and rules of IPv4; addresses,
/// routes and rules of IPv6; `RTNLGRP_NEXTHOP`.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 1 << 7 | 0x100 | 0x400 | 1 << 18 | 1 << 31;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Time for which a host remains indispensable after its route or file entry disappeared: an
/// interface that restarts loses its gateway for a moment, and a file is rewritten in two steps.
const LINGER: Duration = Duration::from_secs(60);

/// Maximum number of hosts that linger; the oldest is dropped first.
const MAX_LINGERING: usize = 1024;

/// Time after which a failed read of the tables is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A read of the tables is followed by a pause of this number of times its duration.
const PAUSE: u32 = 50;

/// The hosts that this host depends on: its own addresses, the gateways of all unicast routes in
/// all tables, and its name servers. Anyone can forge packets with these sources, so they should
/// never be blocked.
///
/// [`refresh`](Self::refresh) brings them up to date. It misses no change, because the kernel
/// queues a notification before the system call of the change returns. New addresses and gateways
/// are taken from the notification itself, so a router with a million routes does not read them
/// all again. Hosts that are no longer needed stay in the list for a minute.
#[derive(Debug)]
pub struct IndispensableHosts {
    files: ResolverFiles,
    notifications: Notifications,
    tables: RouteTables,
    servers: NameServers,
    /// Hosts that are no longer needed, and the time until which they stay.
    lingering: Vec<(IndispensableHost, Instant)>,
    /// Whether the tables may contain hosts that are no longer needed.
    stale: bool,
    /// Whether hosts may be missing in the tables.
    incomplete: bool,
    /// Time of the last read of the tables, and its duration.
    read: (Instant, Duration),
}

impl IndispensableHosts {
    /// Starts to follow the routes of the network namespace of the calling thread, and the usual
    /// files of name servers. Nine netlink dumps: about 300 us on a host, about a second on a
    /// router with all routes of the Internet.
    ///
    /// # Errors
    ///
    /// If the kernel does not list interfaces or routes. No privilege is needed.
    pub fn open() -> io::Result<Self> {
        Self::with_files(ResolverFiles::default())
    }

    /// Like [`open`](Self::open), with other files of name servers.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn with_files(files: ResolverFiles) -> io::Result<Self> {
        // Opens the socket first, so that no change in between is missed.
        let notifications = Notifications::subscribe(ROUTE, GROUPS)?;
        let started = Instant::now();
        let tables = read_tables()?;
        Ok(Self {
            servers: files.read(),
            files,
            notifications,
            tables,
            lingering: Vec::new(),
            stale: false,
            incomplete: false,
            read: (started, started.elapsed()),
        })
    }

    /// Applies all changes until now. Returns whether the list has changed. About 50 us without
    /// changes: one system call for the routes, and a read of each file.
    ///
    /// # Errors
    ///
    /// If the kernel does not list interfaces or routes. The list is then that of the last call.
    pub fn refresh(&mut self) -> io::Result<bool> {
        let now = Instant::now();
        let mut changed = self.read_files(now);
        let expired = self.lingering.len();
        self.lingering.retain(|(_, until)| now < *until);
        changed |= self.lingering.len() < expired;
        let (incomplete, added) = self.read_notifications()?;
        changed |= added;
        self.incomplete |= incomplete;
        if self.incomplete || self.due().is_some_and(|due| due <= now) {
            changed |= self.read_tables(now)?;
        }
        Ok(changed)
    }

    /// Reads all tables again. Returns whether they have changed.
    fn read_tables(&mut self, now: Instant) -> io::Result<bool> {
        // In case of an error: not again for a second, except before a response.
        self.read = (now, RETRY / PAUSE);
        (self.stale, self.incomplete) = (true, true);
        let tables = read_tables()?;
        (self.stale, self.incomplete) = (false, false);
        self.read = (now, now.elapsed());
        if tables == self.tables {
            return Ok(false);
        }
        let before = std::mem::replace(&mut self.tables, tables);
        self.linger(hosts_of(&before), now);
        Ok(true)
    }

    /// Returns the time at which to call [`refresh`](Self::refresh) without a notification.
    pub fn due(&self) -> Option<Instant> {
        let (at, duration) = self.read;
        self.stale.then(|| at + duration * PAUSE)
    }

    /// Returns the roles of `host`, if this host depends on it. A host can have several.
    pub fn roles_of(&self, host: IpAddr) -> impl Iterator<Item = Role> + '_ {
        let host = host.to_canonical();
        let lingering = self.lingering.iter().map(|(it, _)| it.clone());
        let all = hosts_of(&self.tables).chain(servers_of(&self.servers)).chain(lingering);
        all.filter(move |it| it.network.contains(&host)).map(|it| it.role)
    }

    /// Returns all hosts with their roles, sorted.
    pub fn list(&self) -> Vec<IndispensableHost> {
        let lingering = self.lingering.iter().map(|(it, _)| it.clone());
        let current = hosts_of(&self.tables).chain(servers_of(&self.servers));
        let mut list: Vec<IndispensableHost> = current.chain(lingering).collect();
        list.sort_unstable();
        list.dedup();
        list
    }

    /// Returns all networks, sorted, with or without those of this host. Networks that are parts
    /// of others are left out.
    pub fn networks(&self, with_own: bool) -> Vec<IpNet> {
        let wanted = |it: &IndispensableHost| with_own || it.role != Role::OwnAddress;
        let networks = self.list().into_iter().filter(wanted).map(|it| it.network);
        // Sorted, a network directly follows the one that contains it, or another one in it.
        let mut outer: Vec<IpNet> = Vec::new();
        for network in networks {
            if !outer.last().is_some_and(|last| last.contains(&network)) {
                outer.push(network);
            }
        }
        outer
    }

    /// Returns the name servers as the files list them.
    pub fn name_servers(&self) -> &NameServers {
        &self.servers
    }

    fn read_files(&mut self, now: Instant) -> bool {
        let mut servers = self.files.read();
        if servers == self.servers {
            return false;
        }
        for (file, why) in &servers.unreadable {
            let path = file.display();
            if !self.servers.unreadable.iter().any(|(known, _)| known == file) {
                log::warn!("cannot read the name servers in {path}: {why}");
            }
            // The servers that were read before are still in use.
            let known = self.servers.servers.iter().filter(|(_, known)| known == file);
            servers.servers.extend(known.cloned());
        }
        let before = std::mem::replace(&mut self.servers, servers);
        self.linger(servers_of(&before), now);
        true
    }

    /// Applies the waiting notifications. Returns whether hosts may be missing afterwards, and
    /// whether an address or a gateway was added.
    fn read_notifications(&mut self) -> io::Result<(bool, bool)> {
        let (tables, stale) = (&mut self.tables, &mut self.stale);
        let (mut added, mut incomplete) = (false, false);
        let lost = self.notifications.drain(|kind, flags, payload| {
            // A message about a route that replaces another one does not contain that one.
            *stale |= kind == RTM_NEWROUTE && flags & NLM_F_REPLACE != 0;
            match tables.add(kind, payload) {
                Ok(Change::None) => {}
                Ok(Change::Added) => added = true,
                Ok(Change::Removed) => *stale = true,
                Ok(Change::Incomplete) | Err(_) => incomplete = true,
            }
        })?;
        Ok((lost || incomplete, added))
    }

    /// Keeps the hosts of `before` that are no longer needed for a while.
    fn linger(&mut self, before: impl IntoIterator<Item = IndispensableHost>, now: Instant) {
        let current: BTreeSet<IndispensableHost> =
            hosts_of(&self.tables).chain(servers_of(&self.servers)).collect();
        // An address that is no longer one of this host is that of any other host.
        let gone = before.into_iter().filter(|it| it.role != Role::OwnAddress);
        for host in gone.filter(|host| !current.contains(host)) {
            self.lingering.retain(|(known, _)| *known != host);
            if self.lingering.len() >= MAX_LINGERING {
                self.lingering.remove(0);
            }
            self.lingering.push((host, now + LINGER));
        }
    }
}

fn read_tables() -> io::Result<RouteTables> {
    // The family, and the type of routes; zeros select all. A kernel before Linux 4.20 returns all
    // types, which are then skipped.
    const REQUESTS: [(u16, &[u8]); 4] = [
        (RTM_GETADDR, &[0; 8]),
        (RTM_GETROUTE, &[AF_INET, 0, 0, 0, 0, 0, 0, RTN_UNICAST, 0, 0, 0, 0]),
        (RTM_GETROUTE, &[AF_INET6, 0, 0, 0, 0, 0, 0, RTN_UNICAST, 0, 0, 0, 0]),
        (RTM_GETNEXTHOP, &[0; 8]),
    ];
    let mut tables = RouteTables::default();
    for (request, body) in REQUESTS {
        let dump = netlink::dump_raw(ROUTE, request, body, &mut |kind, payload| {
            // Too many hosts are better than too few.
            if let Err(error) = tables.add(kind, payload) {
                log::warn!("skipped an entry of the kernel (netlink message {kind}): {error}");
            }
        });
        match dump {
            // A kernel without IPv6 has no such routes, and one before 5.3 no nexthop objects.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            other => other?,
        }
    }
    for network in LocalRoutes::read()?.whole_networks() {
        tables.add_own(network);
    }
    Ok(tables)
}

fn hosts_of(tables: &RouteTables) -> impl Iterator<Item = IndispensableHost> + '_ {
    let own = tables.own().map(|network| IndispensableHost { network, role: Role::OwnAddress });
    let gateways = tables.gateways().map(|(gateway, destination)| IndispensableHost {
        network: gateway.address.into(),
        role: Role::Gateway { gateway, destination },
    });
    own.chain(gateways)
}

fn servers_of(servers: &NameServers) -> impl Iterator<Item = IndispensableHost> + '_ {
    servers.servers.iter().map(|(server, file)| IndispensableHost {
        network: (*server).into(),
        role: Role::NameServer { file: file.clone() },
    })
}

impl AsFd for IndispensableHosts {
    /// Returns a descriptor that is readable when routes or addresses may have changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notifications.as_fd()
    }
}
