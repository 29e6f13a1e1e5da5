//! The packet process's side: sends requests and receives answers.
//!
//! Nothing here waits, except to load a configuration and at the end. A request that does not fit
//! the channel is queued; the engine's limit of responses bounds the queue. When the responder
//! ends, this is logged once, and all later responses fail. It cannot be restarted, because its
//! rights were given up.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use portsentry_capture::reactor::{Interest, wait};
use portsentry_config::FileError;
use portsentry_core::{Outcome, Response, ResponseId, TranslatedPorts};
use portsentry_report::{ActionEvent, Notice, Report};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::answer::Answer;
use crate::channel::{self, Buffer};
use crate::error::ClientError;
use crate::load::{Load, Loaded};
use crate::pool::Unfinished;
use crate::probe_context::ProbeContext;
use crate::protocol::{Message, Request};
use crate::start::{LAST_RESPONSES, spawn};
use crate::store::History;

/// Time that the responder has to exit, in addition to that of running responses.
const ENDING: Duration = Duration::from_secs(3);

/// Entries of translated ports that are kept, at most.
const MAX_TRANSLATED: usize = 65_536;

/// A message of the responder for the log.
#[derive(Debug)]
pub enum Notification {
    /// Progress of a response.
    Report(Report),
    /// A notice for the administrator.
    Notice(Notice),
    /// The history file was removed; this is the file that replaces it.
    History(History),
}

/// Receives notifications, in order.
type Notify = Box<dyn Fn(Notification) + Send>;

/// The responder, as the packet process sees it.
pub struct Client {
    child: Child,
    /// `None` once the responder has ended.
    socket: Option<OwnedFd>,
    buffer: Buffer,
    /// Requests that did not fit the channel yet.
    outbox: VecDeque<Vec<u8>>,
    load: Load,
    under_way: HashMap<ResponseId, IpAddr>,
    answers: Vec<(ResponseId, Answer)>,
    never_block: Option<Vec<IpNet>>,
    /// Translated ports of which not all messages have arrived.
    partial: Vec<TranslatedPorts>,
    translated: Option<Vec<TranslatedPorts>>,
    /// Whether the responder was asked to exit.
    closing: bool,
    notify: Notify,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("child", &self.child).finish_non_exhaustive()
    }
}

impl Client {
    /// Starts `command` as the responder. The program must call [`Server::run`](crate::Server::run)
    /// when [`is_called`](crate::is_called) returns true. `notify` receives everything that is for
    /// the log.
    ///
    /// # Errors
    ///
    /// If the system cannot start a process.
    pub fn start(
        command: Command,
        notify: impl Fn(Notification) + Send + 'static,
    ) -> io::Result<Self> {
        let (child, socket) = spawn(command)?;
        Ok(Self::of(child, socket, Box::new(notify)))
    }

    /// Returns the client of the responder `child`, which has the other end of `socket`.
    fn of(child: Child, socket: OwnedFd, notify: Notify) -> Self {
        Self {
            child,
            socket: Some(socket),
            buffer: Buffer::new(),
            outbox: VecDeque::new(),
            load: Load::default(),
            under_way: HashMap::new(),
            answers: Vec::new(),
            never_block: None,
            partial: Vec::new(),
            translated: None,
            closing: false,
            notify,
        }
    }

    /// Asks the responder to read the configuration and to open the files that it names.
    /// [`read`](Self::read) returns the content of the files, and [`loaded`](Self::loaded) the
    /// result.
    pub fn load(&mut self) {
        self.load.restart();
        self.ask(&Request::Load(self.load.number));
    }

    /// Returns a file of the configuration as soon as the responder has read it.
    ///
    /// # Errors
    ///
    /// [`FileError::Missing`] if the responder has read no such file; [`loaded`](Self::loaded) then
    /// returns the reason if this is an error.
    pub fn read(&mut self, path: &Path) -> Result<Vec<u8>, FileError> {
        let has_come = |load: &Load| load.file(path).is_some() || load.result.is_some();
        let waited = self.await_load(has_come);
        let found = waited.ok().and_then(|()| self.load.file(path));
        found.map(<[u8]>::to_vec).ok_or_else(|| FileError::Missing(path.to_owned()))
    }

    /// Waits until the configuration is loaded, and returns it. It takes effect when
    /// [`adopt`](Self::adopt) is called.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] with the reason; [`ClientError::Ended`] without a responder.
    pub fn loaded(&mut self) -> Result<Loaded, ClientError> {
        self.await_load(|load| load.result.is_some())?;
        let load = &mut self.load;
        load.files.clear();
        load.result.take().unwrap_or(Err(ClientError::Ended))
    }

    /// Receives messages until `is_enough` returns true.
    fn await_load(&mut self, is_enough: impl Fn(&Load) -> bool) -> Result<(), ClientError> {
        while !is_enough(&self.load) {
            if self.socket.is_none() {
                return Err(ClientError::Ended);
            }
            if let Some((message, descriptor)) = self.next() {
                self.take(message, descriptor);
            } else if self.load.until.is_some_and(|until| Instant::now() < until) {
                self.wait(self.load.until.unwrap_or_else(Instant::now));
            } else {
                let late = io::Error::from(io::ErrorKind::TimedOut);
                return Err(ClientError::System {
                    what: "the responder does not answer",
                    source: late,
                });
            }
        }
        Ok(())
    }

    /// Puts the configuration that was loaded last in force.
    pub fn adopt(&mut self) {
        self.ask(&Request::Adopt(self.load.number));
    }

    /// Requests `response`. Never blocks.
    pub fn respond(&mut self, response: &Response) {
        let Response { id, probe, .. } = response;
        if self.socket.is_none() {
            self.fail(*id, probe.source);
            return;
        }
        self.under_way.insert(*id, probe.source);
        self.ask(&Request::Respond(id.as_u64(), ProbeContext::from(probe)));
    }

    /// Returns the event to wait for; `None` once the responder has ended.
    pub fn interest(&self) -> Option<Interest<'_>> {
        let readable = Interest::readable(self.socket.as_ref()?.as_fd());
        Some(if self.outbox.is_empty() { readable } else { readable.or_writable() })
    }

    /// Returns whether [`answers`](Self::answers) has something without waiting.
    pub fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Returns the answers to requests for responses since the last call. Never blocks.
    pub fn answers(&mut self) -> Vec<(ResponseId, Answer)> {
        self.flush();
        while let Some((message, descriptor)) = self.next() {
            self.take(message, descriptor);
        }
        std::mem::take(&mut self.answers)
    }

    /// Returns the networks that are never blocked, if they have changed since the last call or the
    /// last load.
    pub fn never_block(&mut self) -> Option<Vec<IpNet>> {
        self.never_block.take()
    }

    /// Returns the ports that rules of the packet filter translate, if they have changed since the
    /// last call. Known before [`loaded`](Self::loaded) returns for the first time.
    pub fn translated(&mut self) -> Option<Vec<TranslatedPorts>> {
        self.translated.take()
    }

    /// Gives running responses four seconds to end, then ends their commands. Returns all answers,
    /// and how many responses were not started or not finished in time.
    pub fn finish(mut self) -> (Vec<(ResponseId, Answer)>, Unfinished) {
        self.ask(&Request::Close);
        self.closing = true;
        let until = Instant::now() + LAST_RESPONSES + ENDING;
        let mut unfinished = None;
        // The responder closes the channel when it exits.
        while self.socket.is_some() && Instant::now() < until {
            self.flush();
            match self.next() {
                Some((Message::Closed(counts), _)) => unfinished = Some(counts),
                Some((message, descriptor)) => self.take(message, descriptor),
                None => self.wait(until),
            }
        }
        let not_finished = self.under_way.len();
        let unfinished = unfinished.unwrap_or(Unfinished { not_started: 0, not_finished });
        (std::mem::take(&mut self.answers), unfinished)
    }

    fn ask(&mut self, request: &Request) {
        self.outbox.push_back(request.encode());
        self.flush();
    }

    /// Sends as many requests as the channel accepts.
    fn flush(&mut self) {
        while let (Some(request), Some(socket)) = (self.outbox.front(), &self.socket) {
            match channel::send(socket.as_fd(), request, None, SendFlags::DONTWAIT) {
                Ok(()) => drop(self.outbox.pop_front()),
                Err(Errno::AGAIN) => return,
                // The next read returns the end of the channel and the messages before it.
                Err(_) => self.outbox.clear(),
            }
        }
    }

    /// Returns the next message, if there is one.
    fn next(&mut self) -> Option<(Message, Option<OwnedFd>)> {
        let socket = self.socket.as_ref()?.as_fd();
        let mut received = self.buffer.receive(socket, true, RecvFlags::DONTWAIT);
        if matches!(received, Err(Errno::CONNRESET)) {
            // The responder ended with unread requests. The kernel reports this once, before the
            // messages that are still in the channel.
            received = self.buffer.receive(socket, true, RecvFlags::DONTWAIT);
        }
        let error = match received {
            Ok(received) if received.message.is_empty() => None,
            Ok(received) => match Message::decode(received.message) {
                Ok(message) => return Some((message, received.descriptor)),
                Err(malformed) => Some(malformed.to_string()),
            },
            Err(Errno::AGAIN) => return None,
            Err(error) => Some(io::Error::from(error).to_string()),
        };
        self.lose(error);
        None
    }

    /// Waits for a message, or for room in the channel.
    fn wait(&self, until: Instant) {
        let Some(interest) = self.interest() else { return };
        let left = until.saturating_duration_since(Instant::now());
        // The callers check the time again, so the result is not needed.
        let _ = wait([Some(interest)], Some(left));
    }

    fn take(&mut self, message: Message, descriptor: Option<OwnedFd>) {
        match message {
            Message::Report(report) => (self.notify)(Notification::Report(report)),
            Message::Notice(notice) => (self.notify)(Notification::Notice(notice)),
            Message::Completed(id, answer) => {
                let id = ResponseId::from_u64(id);
                if self.under_way.remove(&id).is_some() {
                    self.answers.push((id, answer));
                }
            }
            Message::NeverBlock { more, networks } => {
                let known = self.never_block.get_or_insert_default();
                if !more {
                    known.clear();
                }
                known.extend(networks.split_ascii_whitespace().flat_map(str::parse::<IpNet>));
            }
            Message::Translated { more, last, ports } => {
                if !more {
                    self.partial.clear();
                }
                let room = MAX_TRANSLATED.saturating_sub(self.partial.len());
                self.partial.extend(ports.into_iter().take(room));
                if last {
                    self.translated = Some(std::mem::take(&mut self.partial));
                }
            }
            Message::History(path) => {
                if let Some(file) = descriptor.map(File::from) {
                    let history = History::opened(Path::new(&OsString::from_vec(path)), file);
                    (self.notify)(Notification::History(history));
                }
            }
            Message::Loaded { number, .. } if number == self.load.number => {
                let never_block = self.never_block.take();
                self.load.take(message, descriptor, never_block);
            }
            Message::File { .. }
            | Message::Content(_)
            | Message::Blocked(_)
            | Message::Loaded { .. }
            | Message::Refused { .. } => self.load.take(message, descriptor, None),
            // Expected by `finish` only.
            Message::Closed(_) => {}
        }
    }

    /// Gives up the responder, which has ended or has sent an invalid message.
    fn lose(&mut self, error: Option<String>) {
        self.socket = None;
        self.outbox.clear();
        let how = error.unwrap_or_else(|| match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        });
        if self.closing {
            return;
        }
        (self.notify)(Notification::Notice(Notice::ResponderEnded { how }));
        let mut given_up: Vec<(ResponseId, IpAddr)> = self.under_way.drain().collect();
        given_up.sort_unstable();
        for (id, host) in given_up {
            self.fail(id, host);
        }
    }

    fn fail(&mut self, id: ResponseId, host: IpAddr) {
        let why = "the responder has ended; restart portsentry".to_owned();
        let report = Report { host, what: ActionEvent::Refused(why) };
        (self.notify)(Notification::Report(report));
        self.answers.push((id, Answer::Ended(Outcome::Failed)));
    }
}

impl Drop for Client {
    /// Waits until the responder has ended, so that its files are complete.
    fn drop(&mut self) {
        self.closing = true;
        let until = Instant::now() + LAST_RESPONSES + ENDING;
        if let Some(socket) = &self.socket {
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Write);
        }
        while self.socket.is_some() && Instant::now() < until {
            match self.next() {
                // The last reports are still logged, though no engine uses them.
                Some((message, descriptor)) => self.take(message, descriptor),
                None => self.wait(until),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::LoadError;

    #[test]
    fn messages_about_an_earlier_request_are_ignored() {
        let (ours, theirs) = channel::pair().unwrap();
        let child = Command::new("true").spawn().unwrap();
        let mut responder = Client::of(child, ours, Box::new(|_| {}));
        let say = |message: &Message| {
            channel::send(theirs.as_fd(), &message.encode(), None, SendFlags::empty()).unwrap();
        };
        let answer = |number: u32, text: &str| {
            let (length, path) = (text.len() as u64, b"/portsentry.conf".to_vec());
            say(&Message::File { number, length, path });
            say(&Message::Content(text.into()));
            say(&Message::Blocked(crate::store::encode_records(&[
                [192, 0, 2, number as u8].into()
            ])));
            say(&Message::Loaded { number, history: false });
        };
        let refuse = |number: u32| {
            let why = LoadError::Other(format!("refused {number}"));
            say(&Message::Refused { number, why });
        };
        let path = Path::new("/portsentry.conf");

        (1..=3).for_each(|_| responder.load());
        answer(1, "the first");
        refuse(2);
        answer(3, "the third");
        assert_eq!(responder.read(path).unwrap(), b"the third");
        assert!(responder.read(Path::new("/another")).is_err());
        let loaded = responder.loaded().unwrap();
        assert!(loaded.hosts.iter().eq([IpAddr::from([192, 0, 2, 3])]));

        (4..=5).for_each(|_| responder.load());
        answer(4, "the fourth");
        refuse(5);
        assert!(responder.read(path).is_err());
        assert_eq!(responder.loaded().unwrap_err().to_string(), "refused 5");
    }
}
