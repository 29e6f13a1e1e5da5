//! Names of hosts from the DNS, never waited for by anyone else.
//!
//! Lines about a host whose name is being looked up wait for it, in order;
//! lines about other hosts go on. A look-up has two seconds. Names, hosts being
//! looked up and lines that wait are all bounded.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::queue::{LogItem, Queue};

/// What stands for a name that a host does not have.
pub(super) const UNKNOWN: &str = "<unknown>";

/// How long lines wait for a name.
const LIMIT: Duration = Duration::from_secs(2);
/// How long a name, or its absence, is kept.
const KEPT: Duration = Duration::from_secs(600);
/// Names kept.
const MAX_NAMES: usize = 4096;
/// Hosts being looked up, or waiting to be.
const MAX_REQUESTS: usize = 256;
/// Lines that wait for names.
const MAX_WAITING: usize = 16_384;
/// Look-ups at the same time.
const LOOKUPS: usize = 4;

/// The longest name there can be (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;

/// What is known and what is being looked up.
#[derive(Debug)]
pub(super) struct Names {
    requests: SyncSender<Request>,
    known: HashMap<IpAddr, Known>,
    /// The keys of `known`, the first one learnt first.
    ages: VecDeque<IpAddr>,
    waiting: HashMap<IpAddr, Vec<LogItem>>,
    /// The keys of `waiting` and until when, the first to be given up first.
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

/// What to do with an item.
#[derive(Debug)]
pub(super) enum Lookup {
    /// Write it, with the host's name.
    Write(LogItem, String),
    /// It is kept until the name is known.
    Waits,
}

impl Names {
    /// Starts the look-up threads; they put names into `queue`.
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

    /// The name of `host` for `item`, now or later.
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

    /// Takes the name of a host; gives the items that waited for it, and the
    /// name to write them with.
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

    /// The next host whose name is waited for no longer, if its time is over.
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

    /// A host whose name is waited for.
    pub(super) fn any_waiting(&self) -> Option<IpAddr> {
        self.waiting.keys().next().copied()
    }

    /// When [`overdue`](Self::overdue) will next have something.
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

/// A name from the DNS is the attacker's text: only what can be a host name is
/// let through. An address is none; the resolver gives one when there is no name.
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
    fn only_what_can_be_a_host_name_is_let_through() {
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

    /// Names whose requests nobody answers.
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
    fn items_wait_in_order_and_the_name_is_kept() {
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
    fn a_name_that_does_not_come_is_given_up() {
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
