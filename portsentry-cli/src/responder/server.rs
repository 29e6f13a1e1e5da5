//! The responder's side: what it does when it is asked.
//!
//! Its main thread takes requests and answers them; responses are carried out on
//! threads of their own. It ends with the packet process, however that ends, and
//! not before: signals that are meant for both it leaves to that one.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use portsentry_config::{Configuration, FileError, read_file};
use portsentry_core::{Mode, Networks, Outcome};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType, sockopt};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::admission::{Admission, OwnAddresses};
use super::channel::{self, Buffer};
use super::kept_history::KeptHistory;
use super::protocol::{MAX_TEXT, Malformed, Message, Request};
use super::{LAST_RESPONSES, VARIABLE, signals_for_both};
use crate::arguments::WatchOptions;
use crate::commands::{importance, working_directory};
use crate::failure::Failure;
use crate::logging;
use crate::policy::never_block;
use crate::report::History;
use crate::respond::{Actions, BlockedFile, Happened, Report, Responders, Tokens, Unfinished};
use crate::service::PidFile;
use crate::session::Session;
use crate::time::monotonic;

/// Whether this process was started to be the responder.
pub(crate) fn is_called() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Serves the packet process, at the other end of standard input, until it ends.
/// `options` are those of the packet process.
pub(crate) fn run(options: &WatchOptions) -> Result<(), Failure> {
    let voice = Voice(Arc::new(take_over_input()?));
    match Server::new(options, voice.clone()) {
        Ok(mut server) => {
            let result = server.serve();
            if let Err(failure) = &result {
                log::error!("the responder: {failure}");
            }
            server.finish();
            result
        }
        Err(failure) => {
            let (status, why) = (failure.status(), failure.to_string());
            voice.say(&Message::Refused { number: 0, status, why });
            Err(failure)
        }
    }
}

/// The end of the channel that came as standard input, which is empty from then
/// on.
fn take_over_input() -> Result<OwnedFd, Failure> {
    let input = io::stdin();
    if !sockopt::socket_type(&input).is_ok_and(|kind| kind == SocketType::SEQPACKET) {
        let message = format!("{VARIABLE} is set, which is for this program's own use: unset it");
        return Err(Failure::Usage(message));
    }
    let take_over = || {
        let socket = input.as_fd().try_clone_to_owned()?;
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        Ok::<_, io::Error>(socket)
    };
    take_over().map_err(Failure::system("cannot start the responder"))
}

/// The way to the packet process, for all threads.
#[derive(Clone, Debug)]
struct Voice(Arc<OwnedFd>);

impl Voice {
    /// Waits for room. If the packet process is gone, nobody is to be told.
    fn say(&self, message: &Message) {
        let _ = channel::send(self.0.as_fd(), &message.encode(), None, SendFlags::empty());
    }

    fn say_in_parts(&self, bytes: &[u8], message: impl Fn(Vec<u8>) -> Message) {
        for part in bytes.chunks(MAX_TEXT) {
            self.say(&message(part.to_vec()));
        }
    }
}

/// The packet process, and signals that tell of its end among others.
struct Parent {
    pid: Option<Pid>,
    wake: UnixStream,
}

impl Parent {
    /// SIGTERM comes when it ends, and is what service managers send to both.
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

    /// Orphans have another parent.
    fn has_ended(&self) -> bool {
        getppid() != self.pid
    }
}

/// What a configuration amounts to here.
struct InForce {
    configuration: Configuration,
    actions: Arc<Actions>,
    protected: Networks,
    history: Option<KeptHistory>,
}

struct Server<'a> {
    options: &'a WatchOptions,
    /// The directory that the program was started in.
    directory: PathBuf,
    voice: Voice,
    parent: Parent,
    responders: Responders,
    admission: Admission,
    own: OwnAddresses,
    /// Read under this number, and not yet in force.
    loaded: Option<(u32, InForce)>,
    /// Whether this host's addresses have changed since.
    stale: bool,
    in_force: Option<InForce>,
    pid_file: Option<PidFile>,
}

/// All that was opened for a configuration.
struct Opened {
    in_force: InForce,
    files: Vec<(PathBuf, Vec<u8>)>,
    blocked: Vec<u8>,
    never_block: Vec<IpNet>,
}

impl<'a> Server<'a> {
    fn new(options: &'a WatchOptions, voice: Voice) -> Result<Self, Failure> {
        // As long as a name can be, and not that of the sentry for who asks by name.
        let _ = rustix::thread::set_name(c"portsentry-resp");
        let parent = Parent::watch().map_err(Failure::system("cannot watch the parent process"))?;
        let directory = working_directory()?;
        if options.daemon {
            rustix::process::chdir("/").map_err(Failure::system("cannot enter /"))?;
        }
        let logger = voice.clone();
        logging::install(importance(&options.general), move |level, line| {
            logger.say(&Message::Line(level, line));
        });
        std::panic::set_hook(Box::new(|fault| log::error!("the responder: {fault}")));
        let reporter = voice.clone();
        let responders = Responders::start(move |report| reporter.say(&Message::Report(report)))
            .map_err(Failure::system("cannot start a thread"))?;
        let mode = if options.connect { Mode::Connect } else { Mode::Stealth };
        Ok(Self {
            options,
            directory,
            voice,
            parent,
            responders,
            admission: Admission::new(mode),
            own: OwnAddresses::new().map_err(Failure::system("network interfaces"))?,
            loaded: None,
            stale: false,
            in_force: None,
            pid_file: None,
        })
    }

    fn serve(&mut self) -> Result<(), Failure> {
        let mut buffer = Buffer::new();
        loop {
            let [requested, signalled, answered, changed, removed] = self.wait()?;
            if answered {
                self.tell_answers();
            }
            if changed {
                self.follow_addresses();
            }
            self.keep_history(removed);
            if signalled {
                self.parent.clear();
            }
            // Before what it may have asked for, which nobody would tell of.
            if (signalled || requested) && self.parent.has_ended() {
                return Ok(());
            }
            if requested {
                let socket = Arc::clone(&self.voice.0);
                let request = match buffer.receive(socket.as_fd(), false, RecvFlags::DONTWAIT) {
                    Ok(received) if received.message.is_empty() => return Ok(()),
                    Ok(received) => Request::decode(received.message),
                    Err(Errno::AGAIN) => continue,
                    Err(Errno::MSGSIZE) => Err(Malformed),
                    Err(error) => return Err(Failure::system("the packet process")(error)),
                };
                match request {
                    Ok(Request::Respond(id, probe)) => self.respond(id, probe),
                    Ok(Request::Load(number)) => self.load(number),
                    Ok(Request::Adopt(number)) => self.adopt(number),
                    Ok(Request::Close) => return Ok(()),
                    // Whoever writes that is not the packet process any more.
                    Err(malformed) => {
                        log::error!("the packet process has sent {malformed}");
                        return Ok(());
                    }
                }
            }
        }
    }

    fn wait(&self) -> Result<[bool; 5], Failure> {
        let readable = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        let requests = self.voice.0.as_fd();
        let history = self.in_force.as_ref().and_then(|it| it.history.as_ref());
        let mut descriptors = [
            readable(requests),
            readable(self.parent.wake.as_fd()),
            readable(self.responders.descriptor()),
            readable(self.own.descriptor().unwrap_or(requests)),
            readable(history.and_then(KeptHistory::descriptor).unwrap_or(requests)),
        ];
        let due = history.and_then(KeptHistory::due);
        let left = due.map(|due| due.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) => Ok(descriptors.map(|it| !it.revents().is_empty())),
            Err(Errno::INTR) => Ok([false; 5]),
            Err(error) => Err(Failure::system("cannot wait for requests")(error)),
        }
    }

    fn respond(&mut self, id: u64, probe: Tokens) {
        let refusal = match &self.in_force {
            None => "no configuration is in force".to_owned(),
            Some(it) if !it.actions.any(probe.protocol) => {
                "the configuration has no response to this probe".to_owned()
            }
            Some(it) => {
                let settings = &it.configuration.settings;
                match self.admission.admit(id, &probe, settings, &it.protected, monotonic()) {
                    Ok(()) => {
                        self.responders.respond(id, probe, Arc::clone(&it.actions));
                        return;
                    }
                    Err(refusal) => refusal.to_string(),
                }
            }
        };
        let what = Happened::Refused(refusal);
        self.voice.say(&Message::Report(Report { host: probe.target, what }));
        self.voice.say(&Message::Answer(id, Outcome::Failed));
    }

    fn tell_answers(&mut self) {
        for answer in self.responders.answers() {
            // In this order: whoever is told may ask for the next one at once.
            self.admission.ended(answer.id);
            self.voice.say(&Message::Answer(answer.id, answer.outcome));
        }
    }

    fn load(&mut self, number: u32) {
        match self.open() {
            Ok(opened) => {
                for (path, content) in &opened.files {
                    self.voice.say(&Message::File(bytes_of(path)));
                    self.voice.say_in_parts(content, Message::Content);
                }
                self.voice.say_in_parts(&opened.blocked, Message::Blocked);
                self.tell_never_block(&opened.never_block);
                let history = opened.in_force.history.as_ref();
                let loaded = Message::Loaded { number, history: history.is_some() }.encode();
                let descriptor = history.map(|it| it.file().as_fd());
                let socket = self.voice.0.as_fd();
                let _ = channel::send(socket, &loaded, descriptor, SendFlags::empty());
                self.loaded = Some((number, opened.in_force));
                self.stale = false;
            }
            Err(failure) => {
                self.loaded = None;
                let (status, why) = (failure.status(), failure.to_string());
                self.voice.say(&Message::Refused { number, status, why });
            }
        }
    }

    /// Reads and opens everything. Nothing is in force yet.
    fn open(&mut self) -> Result<Opened, Failure> {
        let mut files = Vec::new();
        let mut read = |path: &Path| -> Result<Vec<u8>, FileError> {
            let content = read_file(path)?;
            files.push((path.to_owned(), content.clone()));
            Ok(content)
        };
        let configuration = Session::load_with(self.options, &self.directory, &mut read)?;
        if let (Some(path), None) = (&self.options.pidfile, &self.pid_file) {
            let path = self.directory.join(path);
            let pid = self.parent.pid.map_or(0, Pid::as_raw_pid);
            let made = PidFile::create(&path, pid);
            self.pid_file = Some(made.map_err(|source| Failure::PidFile { path, source })?);
        }
        let settings = &configuration.settings;
        let history = settings.history_file.as_deref().map(Path::new).map(|path| {
            History::open(path).map_err(|source| Failure::History { path: path.to_owned(), source })
        });
        let history = history.transpose()?.map(KeptHistory::new);
        let (file, blocked) =
            settings.blocked_file.as_deref().map(open_blocked).transpose()?.unzip();
        let never_block =
            never_block(&configuration).map_err(Failure::system("network interfaces"))?;
        let actions = Arc::new(Actions::new(settings, file));
        let protected = never_block.iter().copied().collect();
        let in_force = InForce { configuration, actions, protected, history };
        let blocked = blocked.unwrap_or_default();
        Ok(Opened { in_force, files, blocked, never_block })
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

    /// Hands over the history that was begun in the place of a removed one.
    fn keep_history(&mut self, is_news: bool) {
        let history = self.in_force.as_mut().and_then(|it| it.history.as_mut());
        let Some(history) = history else { return };
        if is_news {
            history.note();
        }
        if history.due().is_some_and(|due| due <= Instant::now()) && history.look() {
            let message = Message::History(bytes_of(history.path())).encode();
            let (socket, file) = (self.voice.0.as_fd(), history.file().as_fd());
            let _ = channel::send(socket, &message, Some(file), SendFlags::empty());
        }
    }

    fn follow_addresses(&mut self) {
        match self.own.changed() {
            Ok(false) => {}
            Ok(true) => {
                self.stale = true;
                self.renew_never_block();
            }
            Err(error) => log::error!("cannot follow this host's addresses any more: {error}"),
        }
    }

    /// Finds out anew what is never acted on, and tells of it.
    fn renew_never_block(&mut self) {
        let Some(in_force) = &mut self.in_force else { return };
        match never_block(&in_force.configuration) {
            Ok(never_block) => {
                in_force.protected = never_block.iter().copied().collect();
                self.tell_never_block(&never_block);
            }
            Err(error) => log::warn!("cannot read the kernel's interfaces: {error}"),
        }
    }

    fn tell_never_block(&self, networks: &[IpNet]) {
        let mut more = false;
        let mut text = String::new();
        for network in networks {
            let network = format!("{network} ");
            if text.len() + network.len() > MAX_TEXT {
                self.voice.say(&Message::NeverBlock { more, networks: std::mem::take(&mut text) });
                more = true;
            }
            text.push_str(&network);
        }
        self.voice.say(&Message::NeverBlock { more, networks: text });
    }

    /// Lets what runs end, says how that went, and leaves nothing behind.
    fn finish(self) {
        let Self { voice, responders, pid_file, .. } = self;
        let (answers, Unfinished { not_begun, not_ended }) = responders.finish(LAST_RESPONSES);
        for answer in answers {
            voice.say(&Message::Answer(answer.id, answer.outcome));
        }
        drop(pid_file);
        voice.say(&Message::Closed(Unfinished { not_begun, not_ended }));
    }
}

fn bytes_of(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

fn open_blocked(path: &str) -> Result<(BlockedFile, Vec<u8>), Failure> {
    let (file, restored) = BlockedFile::open(Path::new(path))?;
    if restored.torn > 0 {
        let torn = restored.torn;
        log::warn!("blocked file {path}: cut off {torn} bytes of an unfinished last record");
    }
    log::info!("blocked file {path}: {} hosts", restored.hosts.len());
    Ok((file, restored.hosts.into_records()))
}
