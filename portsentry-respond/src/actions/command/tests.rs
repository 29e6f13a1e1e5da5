//! Commands with real shells and programs.

use portsentry_core::{Mode, Protocol};
use portsentry_testbed::{Release, on_old_kernel};

use super::*;

fn run(text: &str, limit: Duration) -> Result<Finished, CommandError> {
    let (stop, _held_open) = io::pipe().unwrap();
    run_until(stop.as_fd(), text, limit)
}

fn run_until(stop: BorrowedFd<'_>, text: &str, limit: Duration) -> Result<Finished, CommandError> {
    run_with(&ShellAnswer::default(), stop, text, limit)
}

fn run_with(
    shell_answer: &ShellAnswer,
    stop: BorrowedFd<'_>,
    text: &str,
    limit: Duration,
) -> Result<Finished, CommandError> {
    let [host, probed] = ["192.0.2.7:40000", "198.51.100.1:23"].map(|it| it.parse().unwrap());
    let probe = ProbeContext::new(host, probed, Mode::Stealth, Protocol::Tcp);
    Command { text, shell_answer, probe, limit, stop }.run()
}

const LONG: Duration = Duration::from_secs(20);

#[track_caller]
fn fails(text: &str, expected: &str) {
    assert_eq!(run(text, LONG).unwrap_err().to_string(), expected);
}

#[test]
fn the_exit_status_decides_the_result() {
    assert_eq!(run("echo fine; echo more >&2", LONG).unwrap().output, "fine more");
    fails("echo no good; exit 3", "exit status 3; output: no good");
    fails("exit 3", "exit status 3");
    fails("kill -9 $$", "killed by signal 9");
    let error = run("/nonexistent/program", LONG).unwrap_err().to_string();
    assert!(error.starts_with("exit status 127 (command not found); output: "), "{error}");
}

#[test]
fn the_environment_contains_only_the_probe() {
    let output = run("env | grep -v ^PWD= | sort", LONG).unwrap().output;
    assert_eq!(
        output,
        format!(
            "PATH={PATH} PORTSENTRY_MODE=stealth PORTSENTRY_PORT=23 \
             PORTSENTRY_PROTOCOL=TCP PORTSENTRY_TARGET=192.0.2.7"
        )
    );
}

/// Returns the output of `text` from a first run, and from a second one after the shell was asked.
/// The words are sorted, because the variables of an environment have no order.
fn twice(text: &str) -> [String; 2] {
    // Variables that shells other than dash add.
    let odd = |word: &&str| ["_=", "SHLVL=", "OLDPWD="].iter().any(|it| word.starts_with(it));
    let (stop, _held_open) = io::pipe().unwrap();
    let shell_answer = ShellAnswer::default();
    [0; 2].map(|_| {
        let output = run_with(&shell_answer, stop.as_fd(), text, LONG).unwrap().output;
        let mut words: Vec<&str> = output.split(' ').filter(|it| !odd(it)).collect();
        words.sort_unstable();
        words.join(" ")
    })
}

#[test]
fn simple_commands_are_started_without_a_shell() {
    let parent = format!("{} PPid:", std::process::id());
    let [_, name_known_to_the_shell] = twice("grep PPid /proc/self/status");
    assert_eq!(name_known_to_the_shell, parent);
    let [path, _] = twice("/bin/grep PPid /proc/self/status");
    assert_eq!(path, parent);
}

#[test]
fn direct_start_and_shell_start_have_the_same_effect() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, "echo $0 $1 $PORTSENTRY_PORT").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let script = format!("{} word", script.display());
    for text in [
        "env",
        "cat /proc/self/cmdline",
        "ls /proc/self/fd",
        "readlink /proc/self/fd/0",
        "pwd",
        // The `echo` of the shell prints `-e` as well.
        "echo -e one",
        "cd /",
        &script,
    ] {
        let [first, second] = twice(text);
        assert_eq!(first, second, "{text}");
    }
}

#[test]
fn nothing_is_inherited() {
    let inherited = std::fs::File::open("/proc/self/status").unwrap();
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    // The listing itself opens one descriptor, the folder.
    let output = run("ls -l /proc/self/fd | wc -l; readlink /proc/self/fd/0", LONG).unwrap().output;
    assert_eq!(output, "5 /dev/null");
}

#[test]
fn a_command_that_never_ends_is_ended_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let text = format!(
        "trap '' TERM; (trap '' TERM; exec sleep 1000) & echo $! $$ > {}; wait",
        pids.display()
    );
    let error = run(&text, Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
    for pid in std::fs::read_to_string(&pids).unwrap().split_whitespace() {
        let deadline = Instant::now() + LONG;
        let alive = || {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| !stat.contains(") Z "))
        };
        while alive() {
            assert!(Instant::now() < deadline, "process {pid} outlived its group");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_stop_ends_the_command_or_prevents_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("marker");
    let text = format!("echo > {}; sleep 1000", marker.display());
    let (stop, asked) = io::pipe().unwrap();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run_until(stop.as_fd(), &text, LONG));
        while !marker.exists() {
            assert!(started.elapsed() < LONG, "never started");
            std::thread::yield_now();
        }
        drop(asked);
        assert!(matches!(running.join().unwrap(), Err(CommandError::Stopped)));
    });
    std::fs::remove_file(&marker).unwrap();
    assert!(matches!(run_until(stop.as_fd(), &text, LONG), Err(CommandError::Stopped)));
    assert!(!marker.exists());
}

#[test]
fn long_output_does_not_block_and_is_cut() {
    let output = run("yes 0123456789 | head -c 3000000; echo end", LONG).unwrap().output;
    assert!(output.len() <= OUTPUT_KEPT);
    assert!(output.ends_with("end"));
}

#[test]
fn output_is_one_line_without_control_characters() {
    let text = r"printf 'one\033[2J\nScan from: [192.0.2.1]\r\302\233two\000\377'";
    let output = run(text, LONG).unwrap().output;
    assert_eq!(output, "one [2J Scan from: [192.0.2.1]  two \u{fffd}");
}

#[test]
fn a_child_left_in_the_background_is_not_waited_for() {
    let started = Instant::now();
    let output = run("sleep 30 & echo $!", LONG).unwrap().output;
    assert!(started.elapsed() < Duration::from_secs(15));
    let pid = Pid::from_raw(output.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn commands_run_on_old_kernels() {
    for release in Release::ALL {
        on_old_kernel(release, || {
            the_exit_status_decides_the_result();
            nothing_is_inherited();
            simple_commands_are_started_without_a_shell();
            a_command_that_never_ends_is_ended_with_its_children();
            a_stop_ends_the_command_or_prevents_its_start();
            long_output_does_not_block_and_is_cut();
            a_child_left_in_the_background_is_not_waited_for();
        });
    }
}
