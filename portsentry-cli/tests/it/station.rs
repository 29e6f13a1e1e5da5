//! The program, with a separate folder for its files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use portsentry_testbed::{Background, Line, Namespace, SOON, Signal, holds_soon};
use rustix::process::Pid;
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_portsentry");

/// A namespace and a folder for the program.
#[derive(Debug)]
pub(crate) struct Station<'a> {
    namespace: &'a Namespace,
    folder: TempDir,
    /// Apparent time since the machine started, or that of the machine.
    uptime: Option<Duration>,
}

impl<'a> Station<'a> {
    pub(crate) fn in_namespace(namespace: &'a Namespace) -> Self {
        Self { namespace, folder: TempDir::new().expect("folder"), uptime: None }
    }

    /// Lets the program believe that the machine started this long ago.
    pub(crate) fn up_for(mut self, uptime: Duration) -> Self {
        self.uptime = Some(uptime);
        self
    }

    /// Creates a station with this configuration, see [`configure`](Self::configure).
    pub(crate) fn with(namespace: &'a Namespace, configuration: &str) -> Self {
        let station = Self::in_namespace(namespace);
        station.configure(configuration);
        station
    }

    pub(crate) fn namespace(&self) -> &'a Namespace {
        self.namespace
    }

    /// Returns a path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration. `{dir}` in it is replaced by the folder. If several lines
    /// have the same key, only the last of them is written. Without a line for `SERVED_GRACE`,
    /// it is 0, because the machine may have been up for a short time only.
    pub(crate) fn configure(&self, text: &str) {
        let key = |line: &str| line.split('=').next().map(|key| key.trim().to_owned());
        let lines: Vec<&str> = text.lines().filter(|line| line.contains('=')).collect();
        let mut kept = String::new();
        for (number, line) in lines.iter().enumerate() {
            if !lines[number + 1..].iter().any(|later| key(later) == key(line)) {
                kept += &format!("{line}\n");
            }
        }
        if !lines.iter().any(|line| key(line).as_deref() == Some("SERVED_GRACE")) {
            kept += "SERVED_GRACE = \"0\"\n";
        }
        self.write("portsentry.conf", &self.expand(&kept));
    }

    /// Returns `text` with `{dir}` replaced by the folder.
    pub(crate) fn expand(&self, text: &str) -> String {
        text.replace("{dir}", &self.folder.path().display().to_string())
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("write");
    }

    /// Returns the lines of a file, or none if it does not exist.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Returns the lines of the history without their time stamps.
    pub(crate) fn history(&self) -> Vec<String> {
        self.lines("history").iter().map(|line| line[29..].to_owned()).collect()
    }

    /// Returns the command that starts the program with the station's configuration.
    pub(crate) fn command(&self, options: &[&str]) -> Command {
        let mut command = match self.uptime {
            Some(uptime) => self.namespace.command_with_uptime(PROGRAM, uptime),
            None => self.namespace.command(PROGRAM),
        };
        command.arg("-c").arg(self.path("portsentry.conf")).args(options);
        command
    }

    /// Starts the program and waits until it watches.
    #[track_caller]
    pub(crate) fn start(&self, options: &[&str]) -> Sentry {
        Sentry::watching(self.command(options))
    }
}

/// A running sentry.
#[derive(Debug)]
pub(crate) struct Sentry {
    process: Background,
}

/// Returns the only child of a process.
pub(crate) fn only_child(pid: u32) -> Pid {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).expect("children");
    Pid::from_raw(children.trim().parse().expect("one child")).expect("a pid")
}

/// A sentry that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<String>,
    /// Standard error, without the lines that depend on the kernel.
    pub(crate) stderr: Vec<String>,
    /// Lines about parts of the sandbox that this kernel does not support.
    pub(crate) lacks: Vec<String>,
}

impl Sentry {
    /// Starts `command` and waits until it watches.
    #[track_caller]
    pub(crate) fn watching(command: Command) -> Self {
        let mut process = Background::spawn(command);
        process.wait_for_line(SOON, |line| line == "Portsentry is now active and listening.");
        Self { process }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits for exactly this line, after the lines that were waited for before.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, line: &str) -> Line {
        self.process.wait_for_line(SOON, |text| text == line)
    }

    /// Waits for a line that contains `part`.
    #[track_caller]
    pub(crate) fn wait_for_part(&mut self, part: &str) -> Line {
        self.process.wait_for_line(SOON, |text| text.contains(part))
    }

    /// Returns the process id of the responder.
    #[track_caller]
    pub(crate) fn responder(&self) -> u32 {
        let parent = self.pid().to_string();
        let mut processes = fs::read_dir("/proc").expect("proc").flatten();
        let found = processes.find_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            // The name in parentheses may contain any characters.
            let (_, rest) = stat.rsplit_once(") ")?;
            (rest.split(' ').nth(1)? == parent).then_some(pid)
        });
        found.expect("a child process")
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.process.lines()
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Stops the sentry and waits for its end.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.stop_by(Signal::TERM)
    }

    #[track_caller]
    pub(crate) fn stop_by(self, signal: Signal) -> Ended {
        self.process.signal(signal);
        self.ended()
    }

    /// Kills the sentry and waits for its end.
    #[track_caller]
    pub(crate) fn kill(self) -> Ended {
        self.stop_by(Signal::KILL)
    }

    /// Waits until `condition` holds, which is checked repeatedly.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        assert!(holds_soon(condition), "not in time: {what}: {self:#?}");
    }

    /// Waits for the end of the sentry.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Ended {
        Ended::of(&mut self.process)
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn of(process: &mut Background) -> Self {
        let status = process.wait(SOON);
        let lines = |text: String| -> Vec<String> { text.lines().map(str::to_owned).collect() };
        let of_kernel = |line: &String| line.starts_with("The sandbox is incomplete here");
        let (lacks, stderr) = lines(process.stderr()).into_iter().partition(of_kernel);
        Self { status, stdout: lines(process.stdout()), stderr, lacks }
    }

    /// Runs `command` and waits for its end.
    #[track_caller]
    pub(crate) fn running(command: Command) -> Self {
        Self::of(&mut Background::spawn(command))
    }

    /// Returns the lines on standard output between the start and the end. Asserts that
    /// start and end are as expected.
    #[track_caller]
    pub(crate) fn between(&self) -> &[String] {
        assert_eq!(self.status.code(), Some(0), "{self:#?}");
        let active = "Portsentry is now active and listening.";
        let start = self.stdout.iter().position(|line| line == active).expect("active");
        let (last, lines) = self.stdout[start + 1..].split_last().expect("last line");
        assert_eq!(last, "Portsentry is shutting down");
        lines
    }

    /// Returns the lines about probes.
    pub(crate) fn events(&self) -> Vec<&str> {
        let lines = self.stdout.iter().map(String::as_str);
        lines.filter(|line| line.starts_with("Scan from: ")).collect()
    }
}

/// Copies the program into `folder`, for all users. A separate process writes the file: if
/// the test wrote it, a child that starts meanwhile would inherit a descriptor open for
/// writing, and the copy could not be executed.
pub(crate) fn copy_of_program(folder: &Path) -> PathBuf {
    let copy = folder.join("portsentry");
    let status = Command::new("cp").arg(PROGRAM).arg(&copy).status().expect("cp");
    assert!(status.success(), "cp: {status}");
    open_to_all(&copy);
    copy
}

/// Lets all users read and execute the file or enter the folder.
pub(crate) fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}
