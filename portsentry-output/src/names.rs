//! Lookups of host names in the DNS, in the background.
//!
//! Lines about a host wait, in order, for the lookup of its name. Lines about other hosts
//! do not wait. A lookup has a timeout of two seconds. The numbers of cached names,
//! lookups and waiting lines are bounded.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::queue::{LogItem, Queue};

/// Replacement for a name that the DNS does not return.
pub(super) const UNKNOWN: &str = "<unknown>";

/// Maximum time that lines wait for a name.
const LIMIT: Duration = Duration::from_secs(2);
/// Time that a name, or the result that there is none, is cached.
const KEPT: Duration = Duration::from_secs(600);
/// Maximum number of cached names.
const MAX_NAMES: usize = 4096;
/// Maximum number of queued lookups.
const MAX_REQUESTS: usize = 256;
/// Maximum number of lines that wait for names.
const MAX_WAITING: usize = 16_384;
/// Number of lookups at the same time, each on its own thread.
const LOOKUPS: usize = 4;

/// Maximum length of a name (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;

/// Cached names, and lookups in progress.
#[derive(Debug)]
pub(super) struct Names {
    requests: SyncSender<Request>,
    known: HashMap<IpAddr, Known>,
    /// The keys of `known`, from the oldest to the newest.
    ages: VecDeque<IpAddr>,
    waiting: HashMap<IpAddr, Vec<LogItem>>,
    /// The keys of `waiting` with their timeouts, from the first to the last.
    deadlines: VecDeque<(Instant, IpAddr)>,
    waiting_items: usize,
}

#[derive(Debug)]
struct Known {
    name: String,
    until: Instant,
}

#[derive(Debug)]
struct Request {
    host: IpAddr,
    deadline: Instant,
}

/// The result of a lookup for an item.
#[derive(Debug)]
pub(super) enum Lookup {
    /// The item to write, with the name of its host.
    Write(LogItem, String),
    /// The item is stored until the name is known.
    Waits,
}

impl Names {
    /// Starts the lookup threads, which push names to `queue`.
    pub(super) fn start(queue: &Arc<Queue>) -> io::Result<Self> {
        let (requests, receiver) = mpsc::sync_channel(MAX_REQUESTS);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..LOOKUPS {
            let (receiver, queue) = (Arc::clone(&receiver), Arc::clone(queue));
            std::thread::Builder::new()
                .name("names".to_owned())
                .stack_size(512 * 1024)
                .spawn(move || look_up_all(&receiver, &queue))?;
        }
        Ok(Self {
            requests,
            known: HashMap::new(),
            ages: VecDeque::new(),
            waiting: HashMap::new(),
            deadlines: VecDeque::new(),
            waiting_items: 0,
        })
    }

    /// Returns `item` with the cached name of `host`, or stores it and starts a lookup.
    pub(super) fn look_up(&mut self, host: IpAddr, item: LogItem, now: Instant) -> Lookup {
        if self.waiting_items >= MAX_WAITING {
            return Lookup::Write(item, UNKNOWN.to_owned());
        }
        if let Some(items) = self.waiting.get_mut(&host) {
            items.push(item);
        } else if let Some(known) = self.known.get(&host).filter(|known| now < known.until) {
            return Lookup::Write(item, known.name.clone());
        } else {
            let deadline = now + LIMIT;
            if self.requests.try_send(Request { host, deadline }).is_err() {
                return Lookup::Write(item, UNKNOWN.to_owned());
            }
            self.waiting.insert(host, vec![item]);
            self.deadlines.push_back((deadline, host));
        }
        self.waiting_items += 1;
        Lookup::Waits
    }

    /// Caches the name of a host. Returns the items that waited for it, and the name to
    /// write in their lines.
    pub(super) fn learn(
        &mut self,
        host: IpAddr,
        name: Option<String>,
        now: Instant,
    ) -> (Vec<LogItem>, String) {
        let name = name.unwrap_or_else(|| UNKNOWN.to_owned());
        let known = Known { name: name.clone(), until: now + KEPT };
        if self.known.insert(host, known).is_none() {
            self.ages.push_back(host);
        }
        if self.ages.len() > MAX_NAMES
            && let Some(oldest) = self.ages.pop_front()
        {
            self.known.remove(&oldest);
        }
        let items = self.waiting.remove(&host).unwrap_or_default();
        self.waiting_items -= items.len();
        (items, name)
    }

    /// Returns the next host whose lookup has timed out.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<IpAddr> {
        while let Some(&(deadline, host)) = self.deadlines.front() {
            let waits = self.waiting.contains_key(&host);
            if waits && deadline > now {
                return None;
            }
            self.deadlines.pop_front();
            if waits {
                return Some(host);
            }
        }
        None
    }

    /// Returns any host with waiting items.
    pub(super) fn any_waiting(&self) -> Option<IpAddr> {
        self.waiting.keys().next().copied()
    }

    /// Returns the time from which [`overdue`](Self::overdue) returns the next host.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.waiting.is_empty() { None } else { self.deadlines.front().map(|entry| entry.0) }
    }
}

fn look_up_all(requests: &Mutex<Receiver<Request>>, queue: &Queue) {
    loop {
        let request = requests.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Request { host, deadline }) = request else { return };
        if Instant::now() < deadline {
            let name = dns_lookup::lookup_addr(&host).ok().and_then(|name| clean(&name));
            queue.push(LogItem::Name(host, name));
        }
    }
}

/// Returns `name` if it is a valid host name. An attacker can choose the text of a name in
/// the DNS. An address is not valid: the resolver returns it if the host has no name.
fn clean(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_name = !name.is_empty()
        && name.len() <= MAX_NAME
        && name.bytes().all(harmless)
        && name.parse::<IpAddr>().is_err();
    is_name.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portsentry_report::{Level, Notice};

    #[test]
    fn only_valid_host_names_are_accepted() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(clean(name).as_deref(), expected, "{name:?}");
        };
        check("scanner.example.com", Some("scanner.example.com"));
        check("scanner.example.com.", Some("scanner.example.com"));
        check("a_b-9.example", Some("a_b-9.example"));
        check("", None);
        check(".", None);
        check("a b", None);
        check("a]\nScan from: [192.0.2.1", None);
        check("a\u{e9}", None);
        check("192.0.2.1", None);
        check("2001:db8::1", None);
        check(&"a".repeat(253), Some(&"a".repeat(253)));
        check(&"a".repeat(254), None);
    }

    /// Returns names whose lookups never finish.
    fn names() -> (Names, Receiver<Request>) {
        let (requests, receiver) = mpsc::sync_channel(MAX_REQUESTS);
        let names = Names {
            requests,
            known: HashMap::new(),
            ages: VecDeque::new(),
            waiting: HashMap::new(),
            deadlines: VecDeque::new(),
            waiting_items: 0,
        };
        (names, receiver)
    }

    fn line(text: &str) -> LogItem {
        LogItem::Notice(Notice::Message { level: Level::Notice, text: text.to_owned() })
    }

    #[test]
    fn items_wait_in_order_and_the_name_is_cached() {
        let (mut names, _requests) = names();
        let (host, now) = ("192.0.2.7".parse().unwrap(), Instant::now());
        for text in ["one", "two"] {
            assert!(matches!(names.look_up(host, line(text), now), Lookup::Waits));
        }
        assert_eq!(names.deadline(), Some(now + LIMIT));
        let (items, name) = names.learn(host, Some("a.example".to_owned()), now);
        let texts = items.iter().map(|item| match item {
            LogItem::Notice(notice) => notice.to_string(),
            other => panic!("{other:?}"),
        });
        assert_eq!(texts.collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(name, "a.example");
        assert_eq!(names.deadline(), None);
        let later = now + KEPT - Duration::from_secs(1);
        assert!(
            matches!(names.look_up(host, line("three"), later), Lookup::Write(_, name) if name == "a.example")
        );
        assert!(matches!(names.look_up(host, line("four"), now + KEPT), Lookup::Waits));
    }

    #[test]
    fn a_lookup_without_a_result_times_out() {
        let (mut names, _requests) = names();
        let (host, now) = ("192.0.2.7".parse().unwrap(), Instant::now());
        names.look_up(host, line("one"), now);
        assert_eq!(names.overdue(now), None);
        assert_eq!(names.overdue(now + LIMIT), Some(host));
        let (items, name) = names.learn(host, None, now + LIMIT);
        assert_eq!((items.len(), name.as_str()), (1, UNKNOWN));
    }

    #[test]
    fn everything_is_bounded() {
        let (mut names, _requests) = names();
        let now = Instant::now();
        let hosts = (0..20_000_u32).map(|bits| IpAddr::V4(bits.into()));
        let waiting =
            hosts.clone().filter(|&h| matches!(names.look_up(h, line(""), now), Lookup::Waits));
        assert_eq!(waiting.count(), MAX_REQUESTS);
        for host in hosts {
            names.learn(host, None, now);
        }
        assert_eq!(names.known.len(), MAX_NAMES);
        assert_eq!(names.waiting_items, 0);

        let host = IpAddr::V4(u32::MAX.into());
        let (mut names, _requests) = self::names();
        let waits = (0..=MAX_WAITING)
            .filter(|_| matches!(names.look_up(host, line(""), now), Lookup::Waits));
        assert_eq!(waits.count(), MAX_WAITING);
    }
}
