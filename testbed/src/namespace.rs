//! Network namespaces, the veth pair between them, and commands that run inside.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::address::{Plan, V4_PREFIX, V6_PREFIX};
use crate::{Background, Root};

/// Two namespaces and the veth pair between them.
#[derive(Debug)]
pub struct Testbed {
    /// The namespace in which the sentry runs.
    pub host: Namespace,
    /// The namespace from which the scans come.
    pub scanner: Namespace,
}

impl Testbed {
    /// Creates both namespaces, in about 50 ms. Loopback and the veth pair are up. Both
    /// ends have an IPv4 and an IPv6 address, usable immediately.
    pub fn new(root: Root) -> Self {
        let plan = Plan::draw();
        let host = Namespace::new(root, "host", plan.host);
        let scanner = Namespace::new(root, "scan", plan.scanner);
        ip(&[
            "link",
            "add",
            host.interface(),
            "netns",
            host.name(),
            "type",
            "veth",
            "peer",
            "name",
            scanner.interface(),
            "netns",
            scanner.name(),
        ]);
        for end in [&host, &scanner] {
            end.ip(&["link", "set", end.interface(), "up"]);
            let v4 = format!("{}/{V4_PREFIX}", end.v4);
            end.ip(&["address", "add", &v4, "brd", "+", "dev", end.interface()]);
            let v6 = format!("{}/{V6_PREFIX}", end.v6);
            end.ip(&["address", "add", &v6, "dev", end.interface(), "nodad"]);
        }
        Self { host, scanner }
    }
}

/// A network namespace; removed on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    interface: &'static str,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

impl Namespace {
    /// Creates a separate namespace that has only loopback, which is up.
    pub fn isolated(root: Root) -> Self {
        Self::new(root, "lo", (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST))
    }

    fn new(_: Root, role: &'static str, (v4, v6): (Ipv4Addr, Ipv6Addr)) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("portsentry-{}-{made}-{role}", std::process::id());
        let interface = match role {
            "host" => "host0",
            "scan" => "scan0",
            _ => "lo",
        };
        ip(&["netns", "add", &name]);
        let namespace = Self { name, interface, v4, v6 };
        namespace.enter(|| {
            // Makes IPv6 addresses usable without a wait, and prevents router solicitations.
            for (setting, value) in [
                ("ipv6/conf/default/accept_dad", "0"),
                ("ipv6/conf/default/dad_transmits", "0"),
                ("ipv6/conf/default/router_solicitations", "0"),
            ] {
                let path = Path::new("/proc/sys/net").join(setting);
                std::fs::write(&path, value).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            }
        });
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    /// Returns the name for `ip netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the interface of this end of the veth pair, or `lo` if the namespace is
    /// isolated.
    pub fn interface(&self) -> &str {
        self.interface
    }

    /// Returns the IPv4 address of [`interface`](Self::interface).
    pub fn v4(&self) -> Ipv4Addr {
        self.v4
    }

    /// Returns the IPv6 address of [`interface`](Self::interface).
    pub fn v6(&self) -> Ipv6Addr {
        self.v6
    }

    /// Returns a command that will run inside. Its process id is that of `program`.
    ///
    /// # Panics
    ///
    /// Panics if `program` is not installed. The message names the package to install.
    #[track_caller]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let program = program.as_ref();
        require_program(program);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Returns a command that will run inside, on a machine that seems to have started
    /// `uptime` ago: a time namespace (`time_namespaces(7)`) shifts `CLOCK_BOOTTIME` and
    /// `/proc/uptime`. Other clocks are unchanged. Its process id is that of `program`.
    ///
    /// # Panics
    ///
    /// Panics if `program` is not installed.
    #[track_caller]
    pub fn command_with_uptime(&self, program: impl AsRef<Path>, uptime: Duration) -> Command {
        let program = program.as_ref();
        require_program(program);
        let whole = |seconds: u64| i64::try_from(seconds).expect("a sensible time");
        let offset = whole(uptime.as_secs()) - whole(machine_uptime().as_secs());
        let mut command = self.command("unshare");
        command.args(["--time", "--boottime", &offset.to_string(), "--"]).arg(program);
        command
    }

    /// Runs a command inside, waits for its end and returns its stdout.
    ///
    /// # Panics
    ///
    /// Panics with the complete output if the command fails or takes more than a minute.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = self.command(program);
        command.args(arguments);
        run_to_end(command)
    }

    /// Starts a command inside. The process is killed when the guard is dropped.
    #[track_caller]
    pub fn spawn(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Background {
        let mut command = self.command(program);
        command.args(arguments);
        Background::spawn(command)
    }

    /// Runs `ip` with `arguments` on this namespace: `&["link", "set", ...]`.
    #[track_caller]
    pub fn ip(&self, arguments: &[&str]) -> String {
        ip(&[&["-n", self.name.as_str()], arguments].concat())
    }

    /// Runs `work` on a thread inside the namespace. A socket that `work` opens stays in
    /// the namespace, even if another thread uses it later.
    #[track_caller]
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = Path::new("/run/netns").join(&self.name);
        let link = File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let inside = || {
            move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))
                .unwrap_or_else(|e| panic!("cannot enter {}: {e}", self.name));
            work()
        };
        std::thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // No panic here: the test may already be panicking.
        let removed = Command::new("ip").args(["netns", "delete", &self.name]).status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("cannot remove namespace {}", self.name);
        }
    }
}

/// Returns the time since this machine started, with time in suspend.
fn machine_uptime() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::from_secs(now.tv_sec.try_into().expect("a positive time"))
}

#[track_caller]
fn ip(arguments: &[&str]) -> String {
    require_program(Path::new("ip"));
    let mut command = Command::new("ip");
    command.args(arguments);
    run_to_end(command)
}

#[track_caller]
fn run_to_end(command: Command) -> String {
    let shown = format!("{command:?}");
    let mut process = Background::spawn(command);
    let status = process.wait(Duration::from_secs(60));
    assert!(status.success(), "{shown}: {status}\n{}", process.transcript());
    process.stdout()
}

/// Panics with the package to install if `program` cannot be found.
#[track_caller]
fn require_program(program: &Path) {
    let found = if program.components().count() > 1 {
        program.exists()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).exists())
    };
    let name = program.to_string_lossy();
    let package = match name.as_ref() {
        "ip" | "ss" => "iproute2",
        "nft" => "nftables",
        "iptables-nft" | "ip6tables-nft" | "iptables-legacy" | "ip6tables-legacy" => "iptables",
        "ping" => "iputils-ping",
        "dnsmasq" => "dnsmasq-base",
        "mausezahn" => "netsniff-ng",
        "setpriv" | "unshare" => "util-linux",
        "sysctl" => "procps",
        "prlimit" => "util-linux",
        name => name,
    };
    assert!(found, "{name} is not installed: the test needs the package {package}");
}
