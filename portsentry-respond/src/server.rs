//! The responder's side: handles requests.
//!
//! The main thread receives requests and answers them; a pool of threads runs responses. The
//! responder ends when the packet process does, in any way, and never before. Signals that a
//! service manager or terminal sends to both processes are left to the packet process.

use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use portsentry_capture::clock::monotonic;
use portsentry_capture::reactor::{Interest, wait};
use portsentry_config::{Configuration, FileError, read_file};
use portsentry_core::{Mode, Outcome, TranslatedPorts};
use portsentry_report::{ActionEvent, Notice, Prevented, Report};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::actions::Actions;
use crate::admission::{Admission, Refusal};
use crate::answer::Answer;
use crate::channel::{self, Buffer};
use crate::error::ServerError;
use crate::history_watch::HistoryWatch;
use crate::pool::{Completion, WorkerPool};
use crate::probe_context::ProbeContext;
use crate::protocol::{MAX_PORTS, MAX_TEXT, Malformed, Message, Request};
use crate::safeguard::{Rules, Safeguard, answer};
use crate::start::{LAST_RESPONSES, ReplySender, signals_for_both};
use crate::store::{BlockedFile, History, PidFile};
use crate::translated::Follower;

/// Time after which a response that waited for a thread is checked again.
const RECENT: Duration = Duration::from_millis(5);

/// Reads a file of the configuration.
pub type ReadFile<'a> = &'a mut dyn FnMut(&Path) -> Result<Vec<u8>, FileError>;

/// Evaluates a configuration; an error is the text of the findings.
pub type Load = dyn Fn(ReadFile<'_>) -> Result<Configuration, String>;

/// Settings of a responder.
pub struct Options {
    /// Mode of the packet process; requests about probes of the other mode are refused.
    pub mode: Mode,
    /// The directory that relative paths start from, an absolute path.
    pub directory: PathBuf,
    /// Whether the responder leaves its working directory, as a background process does.
    pub leave_directory: bool,
    /// The pid file to write once the first configuration is read; it contains the process id of
    /// the packet process.
    pub pid_file: Option<PathBuf>,
    /// Evaluates the configuration, with every file read by its argument. An error is the
    /// text of the findings.
    pub load: Box<Load>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// The packet process, and the signals that report its end.
#[derive(Debug)]
struct Parent {
    pid: Option<Pid>,
    wake: UnixStream,
}

impl Parent {
    /// SIGTERM arrives when the packet process ends, but service managers send it as well.
    fn watch() -> io::Result<Self> {
        let (wake, write) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        signals_for_both().thread_unblock()?;
        let pid = getppid();
        set_parent_process_death_signal(Some(Signal::TERM))?;
        Ok(Self { pid, wake })
    }

    /// Makes [`wake`](Self::wake) wait for the next signal.
    fn clear(&mut self) {
        let mut bytes = [0; 64];
        while self.wake.read(&mut bytes).is_ok_and(|count| count > 0) {}
    }

    /// An orphan has another parent.
    fn has_ended(&self) -> bool {
        getppid() != self.pid
    }
}

/// A configuration with everything that was opened for it.
#[derive(Debug)]
struct InForce {
    configuration: Configuration,
    actions: Arc<Actions>,
    rules: Arc<Rules>,
    history: Option<HistoryWatch>,
}

/// The responder's side: serves the packet process until that process ends.
#[derive(Debug)]
pub struct Server {
    options: Options,
    replies: ReplySender,
    parent: Parent,
    pool: WorkerPool,
    admission: Admission,
    safeguard: Arc<Safeguard>,
    /// Readable when the hosts that this host depends on may have changed.
    network: OwnedFd,
    translated: Follower,
    /// Configuration that was loaded under this number and is not in force yet.
    loaded: Option<(u32, InForce)>,
    /// Whether the hosts that this host depends on have changed since it was loaded.
    stale: bool,
    in_force: Option<InForce>,
    pid_file: Option<PidFile>,
}

/// Everything that was opened for a configuration.
struct OpenedFiles {
    in_force: InForce,
    blocked: Vec<u8>,
    never_block: Vec<IpNet>,
}

impl Server {
    /// Serves the packet process at the other end of `replies` until that process ends. Installs a
    /// panic hook, and handles SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    ///
    /// Reason for which the responder could not start, or ended early; the packet process receives
    /// it too.
    pub fn run(options: Options, replies: &ReplySender) -> Result<(), ServerError> {
        match Self::new(options, replies.clone()) {
            Ok(mut server) => {
                let result = server.serve();
                if let Err(error) = &result {
                    log::error!("the responder failed: {error}");
                }
                server.finish();
                result
            }
            Err(error) => {
                replies.send(&Message::Refused { number: 0, why: error.to_load_error() });
                Err(error)
            }
        }
    }

    fn new(options: Options, replies: ReplySender) -> Result<Self, ServerError> {
        // As long as a name can be, and not the name of the sentry, for tools that look
        // processes up by name.
        let _ = rustix::thread::set_name(c"portsentry-resp");
        let parent =
            Parent::watch().map_err(ServerError::system("cannot watch the parent process"))?;
        if options.leave_directory {
            rustix::process::chdir("/")
                .map_err(ServerError::system("cannot change to the directory /"))?;
        }
        std::panic::set_hook(Box::new(|fault| log::error!("the responder failed: {fault}")));
        let reporter = replies.clone();
        let pool = WorkerPool::start(move |report| reporter.send(&Message::Report(report)))
            .map_err(ServerError::system("cannot start a thread"))?;
        let cannot_list = "cannot list network interfaces and routes";
        let safeguard = Safeguard::new().map_err(ServerError::system(cannot_list))?;
        let network = safeguard.descriptor().map_err(ServerError::system(cannot_list))?;
        Ok(Self {
            admission: Admission::new(options.mode),
            options,
            replies,
            parent,
            pool,
            safeguard: Arc::new(safeguard),
            network,
            translated: Follower::default(),
            loaded: None,
            stale: false,
            in_force: None,
            pid_file: None,
        })
    }

    fn serve(&mut self) -> Result<(), ServerError> {
        let mut buffer = Buffer::new();
        loop {
            let [requested, signalled, completed, changed, removed, _] = self.wait()?;
            if completed {
                self.send_completions();
            }
            self.follow_network(changed);
            if let Some(ports) = self.translated.poll(Instant::now()) {
                send_translated(&self.replies, ports);
            }
            self.keep_history(removed);
            if signalled {
                self.parent.clear();
            }
            // Checked before requests: nobody would receive their results.
            if (signalled || requested) && self.parent.has_ended() {
                return Ok(());
            }
            if requested {
                let socket = Arc::clone(self.replies.socket());
                let request = match buffer.receive(socket.as_fd(), false, RecvFlags::DONTWAIT) {
                    Ok(received) if received.message.is_empty() => return Ok(()),
                    Ok(received) => Request::decode(received.message),
                    Err(Errno::AGAIN) => continue,
                    Err(Errno::MSGSIZE) => Err(Malformed),
                    Err(error) => {
                        return Err(ServerError::system("cannot receive from the packet process")(
                            error,
                        ));
                    }
                };
                match request {
                    Ok(Request::Respond(id, probe)) => self.respond(id, probe),
                    Ok(Request::Load(number)) => self.load(number),
                    Ok(Request::Adopt(number)) => self.adopt(number),
                    Ok(Request::Close) => return Ok(()),
                    // Only a compromised packet process sends such a message.
                    Err(malformed) => {
                        log::error!("the packet process sent {malformed}; the responder exits");
                        return Ok(());
                    }
                }
            }
        }
    }

    fn wait(&self) -> Result<[bool; 6], ServerError> {
        let history = self.in_force.as_ref().and_then(|it| it.history.as_ref());
        let interests = [
            Some(self.replies.socket().as_fd()),
            Some(self.parent.wake.as_fd()),
            Some(self.pool.descriptor()),
            Some(self.network.as_fd()),
            history.and_then(HistoryWatch::descriptor),
            self.translated.descriptor(),
        ];
        let due =
            [history.and_then(HistoryWatch::due), self.safeguard.due(), self.translated.due()];
        let due = due.into_iter().flatten().min();
        let limit = due.map(|due| due.saturating_duration_since(Instant::now()));
        wait(interests.map(|it| it.map(Interest::readable)), limit)
            .map_err(ServerError::system("cannot wait for requests"))
    }

    fn respond(&mut self, id: u64, probe: ProbeContext) {
        let answer = match self.start_response(id, probe) {
            Ok(()) => return,
            Err(Refusal::Rate { limit, until }) => Answer::Refused { limit, until },
            Err(Refusal::Prevented(why)) => self.prevent(probe.target, why),
            Err(refusal) => {
                let what = ActionEvent::Refused(refusal.to_string());
                self.replies.send(&Message::Report(Report { host: probe.target, what }));
                Answer::Ended(Outcome::Failed)
            }
        };
        self.replies.send(&Message::Completed(id, answer));
    }

    fn start_response(&mut self, id: u64, probe: ProbeContext) -> Result<(), Refusal> {
        let it = self.in_force.as_ref().ok_or(Refusal::NothingInForce)?;
        if !it.actions.any(probe.protocol) {
            return Err(Refusal::NotConfigured);
        }
        let (safeguard, rules) = (Arc::clone(&self.safeguard), Arc::clone(&it.rules));
        let admitted = Instant::now();
        // It is checked again if no thread was free, which can take as long as other commands.
        let recheck = move |probe: &ProbeContext| match admitted.elapsed() > RECENT {
            true => safeguard.check(probe, &rules),
            false => Ok(()),
        };
        let check = || self.safeguard.check(&probe, &it.rules);
        self.admission.admit(id, &probe, &it.configuration, check, monotonic())?;
        self.pool.respond(id, probe, Arc::clone(&it.actions), Arc::new(recheck));
        Ok(())
    }

    /// Reports that the response to `host` is prevented, and returns the answer.
    fn prevent(&self, host: IpAddr, why: Prevented) -> Answer {
        if let Some(report) = self.safeguard.report(host, why) {
            self.replies.send(&Message::Report(report));
        }
        answer(why, monotonic())
    }

    fn send_completions(&mut self) {
        for completion in self.pool.completions() {
            self.send_completion(completion);
        }
    }

    fn send_completion(&mut self, Completion { id, result }: Completion) {
        // The response is removed first: the packet process may request the next one to this
        // host immediately.
        let answer = match result {
            Ok(outcome) => {
                self.admission.ended(id);
                Answer::Ended(outcome)
            }
            Err(why) => match self.admission.prevented(id) {
                Some(host) => self.prevent(host, why),
                None => Answer::Ended(Outcome::Failed),
            },
        };
        self.replies.send(&Message::Completed(id, answer));
    }

    fn load(&mut self, number: u32) {
        match self.open(number) {
            Ok(opened) => {
                self.replies.send_in_parts(&opened.blocked, Message::Blocked);
                self.send_never_block(&opened.never_block);
                let wanted = opened.in_force.rules.connections();
                send_translated(&self.replies, self.translated.start(wanted));
                let history = opened.in_force.history.as_ref();
                let loaded = Message::Loaded { number, history: history.is_some() }.encode();
                let descriptor = history.map(|it| it.file().as_fd());
                let socket = self.replies.socket().as_fd();
                let _ = channel::send(socket, &loaded, descriptor, SendFlags::empty());
                self.loaded = Some((number, opened.in_force));
                self.stale = false;
            }
            Err(error) => {
                self.loaded = None;
                self.replies.send(&Message::Refused { number, why: error.to_load_error() });
            }
        }
    }

    /// Reads and opens everything, without effect on the configuration in force.
    fn open(&mut self, number: u32) -> Result<OpenedFiles, ServerError> {
        let replies = &self.replies;
        // The packet process evaluates the files at the same time.
        let mut read = |path: &Path| -> Result<Vec<u8>, FileError> {
            let content = read_file(path)?;
            let (length, path) = (content.len() as u64, bytes_of(path));
            replies.send(&Message::File { number, length, path });
            replies.send_in_parts(&content, Message::Content);
            Ok(content)
        };
        let configuration = (self.options.load)(&mut read).map_err(ServerError::Configuration)?;
        if let (Some(path), None) = (&self.options.pid_file, &self.pid_file) {
            let path = self.options.directory.join(path);
            let pid = self.parent.pid.map_or(0, Pid::as_raw_pid);
            let made = PidFile::create(&path, pid);
            self.pid_file = Some(made.map_err(|source| ServerError::PidFile { path, source })?);
        }
        let settings = &configuration.settings;
        let history = settings.history_file.as_deref().map(Path::new).map(|path| {
            History::open(path)
                .map_err(|source| ServerError::History { path: path.to_owned(), source })
        });
        let history = history.transpose()?.map(HistoryWatch::new);
        let (file, blocked) = settings
            .blocked_file
            .as_deref()
            .map(|path| self.open_blocked(path))
            .transpose()?
            .unzip();
        let never_block = self.safeguard.never_block(&configuration);
        let actions = Actions::new(settings, file);
        let actions = Arc::new(match &self.in_force {
            Some(it) => actions.continuing(&it.actions),
            None => actions,
        });
        let rules = Arc::new(Rules::of(&configuration, self.options.mode));
        let in_force = InForce { configuration, actions, rules, history };
        let blocked = blocked.unwrap_or_default();
        Ok(OpenedFiles { in_force, blocked, never_block })
    }

    fn open_blocked(&self, path: &str) -> Result<(BlockedFile, Vec<u8>), ServerError> {
        let (file, restored) = BlockedFile::open(Path::new(path))?;
        if restored.torn > 0 {
            let bytes = restored.torn as u64;
            self.replies.notify(Notice::RecordTruncated { path: path.to_owned(), bytes });
        }
        log::info!("blocked file {path}: {} hosts", restored.hosts.len());
        Ok((file, restored.hosts.into_records()))
    }

    fn adopt(&mut self, number: u32) {
        if let Some((_, loaded)) = self.loaded.take_if(|(loaded, _)| *loaded == number) {
            self.in_force = Some(loaded);
            if let Some(pid_file) = &mut self.pid_file {
                pid_file.keep();
            }
            if self.stale {
                self.renew_never_block();
            }
        }
    }

    /// Sends the history file that replaces a removed one.
    fn keep_history(&mut self, has_changed: bool) {
        let history = self.in_force.as_mut().and_then(|it| it.history.as_mut());
        let Some(history) = history else { return };
        if has_changed {
            history.mark_changed();
        }
        if history.due().is_some_and(|due| due <= Instant::now())
            && history.check(&mut |notice| self.replies.notify(notice))
        {
            let message = Message::History(bytes_of(history.path())).encode();
            let (socket, file) = (self.replies.socket().as_fd(), history.file().as_fd());
            let _ = channel::send(socket, &message, Some(file), SendFlags::empty());
        }
    }

    /// Sends the networks that are never responded to, if they have changed.
    fn follow_network(&mut self, may_have_changed: bool) {
        if may_have_changed || self.safeguard.due().is_some_and(|due| due <= Instant::now()) {
            self.safeguard.refresh();
        }
        // A check before a response can have found the change too.
        if self.safeguard.take_changed() {
            self.stale = true;
            self.renew_never_block();
        }
    }

    /// Determines again which networks are never responded to, and sends them.
    fn renew_never_block(&mut self) {
        if let Some(in_force) = &self.in_force {
            let never_block = self.safeguard.never_block(&in_force.configuration);
            self.send_never_block(&never_block);
        }
    }

    fn send_never_block(&self, networks: &[IpNet]) {
        let mut more = false;
        let mut text = String::new();
        for network in networks {
            let network = format!("{network} ");
            if text.len() + network.len() > MAX_TEXT {
                self.replies
                    .send(&Message::NeverBlock { more, networks: std::mem::take(&mut text) });
                more = true;
            }
            text.push_str(&network);
        }
        self.replies.send(&Message::NeverBlock { more, networks: text });
    }

    /// Ends running responses, reports the results, and removes the pid file.
    fn finish(self) {
        let Self { replies, pool, pid_file, .. } = self;
        let (completions, unfinished) = pool.finish(LAST_RESPONSES);
        for Completion { id, result } in completions {
            let answer = result.map_or_else(|why| answer(why, monotonic()), Answer::Ended);
            replies.send(&Message::Completed(id, answer));
        }
        drop(pid_file);
        replies.send(&Message::Closed(unfinished));
    }
}

fn send_translated(replies: &ReplySender, ports: &[TranslatedPorts]) {
    let mut parts = ports.chunks(MAX_PORTS).peekable();
    let mut more = false;
    loop {
        let ports = parts.next().unwrap_or_default().to_vec();
        let last = parts.peek().is_none();
        replies.send(&Message::Translated { more, last, ports });
        if last {
            return;
        }
        more = true;
    }
}

fn bytes_of(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}
