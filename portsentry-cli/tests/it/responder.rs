//! The responder process: its end, its independence of signals, and its checks of
//! requests.

use std::fs;
use std::io::{BufRead, BufReader, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use portsentry_core::{Mode, Outcome, Protocol};
use portsentry_respond::protocol::{Message, Request};
use portsentry_respond::{ActionEvent, Answer, ProbeContext, Report};
use portsentry_testbed::{Namespace, SOON, Signal, Testbed, require_root};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags,
    SocketType, recvmsg, sendmsg, socketpair, sockopt,
};
use rustix::process::{Pid, kill_process, test_kill_process};

use crate::expected::{BLOCKED, FAILED, LOGGED, SYN, UDP, event};
use crate::gate::Gate;
use crate::probe::{both_families, datagram, syn};
use crate::station::{Ended, PROGRAM, Sentry, Station};

const CONFIGURATION: &str = r#"
TCP_PORTS = "20-30"
UDP_PORTS = "20-30"
BLOCKED_FILE = "{dir}/blocked"
BLOCK_TCP = "2"
KILL_RUN_CMD = "echo $TARGET$ >> {dir}/did"
"#;

fn pid_of(number: u32) -> Pid {
    Pid::from_raw(number.cast_signed()).expect("a pid")
}

#[track_caller]
fn ends(pid: u32) {
    let deadline = Instant::now() + SOON;
    while test_kill_process(pid_of(pid)).is_ok() {
        // There may be no parent that waits for the process, so a zombie counts as ended.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.contains(") Z ") {
            return;
        }
        assert!(Instant::now() < deadline, "{pid} still runs: {stat}");
        std::thread::yield_now();
    }
}

#[test]
fn it_ends_with_the_sentry_and_ends_its_commands() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let running = "KILL_RUN_CMD = \"echo $$ > {dir}/did; exec sleep 1000\"";
    let station = Station::with(&bed.host, &format!("{CONFIGURATION}{running}"));
    let [(source, target), _] = both_families(&bed);
    let sentry = station.start(&["--pidfile", &station.expand("{dir}/pid")]);
    assert!(station.path("pid").exists());
    syn(&bed.scanner, source, target, 22);
    sentry.wait_until("the command", || !station.lines("did").is_empty());
    let command = station.lines("did")[0].parse().expect("a pid");
    let responder = sentry.responder();
    sentry.signal(Signal::KILL);
    ends(responder);
    ends(command);
    assert!(!station.path("pid").exists(), "the pid file must be removed");
    assert_eq!(fs::read(station.path("blocked")).expect("read"), []);
    sentry.ended();
}

/// Both processes read the configuration at the same time, and the responder opens files.
#[test]
fn it_opens_no_file_for_an_invalid_configuration() {
    let Some(root) = require_root() else { return };
    let alone = Namespace::isolated(root);
    let wrong = "HISTORY_FILE = \"{dir}/history\"\nMAX_FAILURES = \"3\"\n";
    let station = Station::with(&alone, &format!("{CONFIGURATION}{wrong}"));
    let options = ["-i", "lo", "--pidfile", &station.expand("{dir}/pid")];
    let ended = Ended::running(station.command(&options));
    assert_eq!(ended.status.code(), Some(78), "{ended:#?}");
    for name in ["history", "blocked", "pid"] {
        assert!(!station.path(name).exists(), "{name}");
    }
}

#[test]
fn signals_to_the_responder_alone_are_ignored() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let [(source, target), _] = both_families(&bed);
    let mut sentry = station.start(&[]);
    let responder = sentry.responder();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(pid_of(responder), signal).expect("kill");
    }
    syn(&bed.scanner, source, target, 22);
    sentry.wait_for(&event(source, SYN, 22, BLOCKED));
    assert_eq!(sentry.responder(), responder);
    let ended = sentry.stop();
    assert_eq!(ended.stderr.len(), 1, "{ended:#?}");
    ends(responder);
}

/// A service manager signals all processes at the same time.
#[test]
fn a_running_command_is_awaited_when_both_processes_are_stopped() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let slow = "KILL_RUN_CMD = \"echo > {dir}/started; sleep 1\"";
    let station = Station::with(&bed.host, &format!("{CONFIGURATION}{slow}"));
    let [(source, target), _] = both_families(&bed);
    let sentry = station.start(&[]);
    syn(&bed.scanner, source, target, 22);
    sentry.wait_until("the command", || station.path("started").exists());
    kill_process(pid_of(sentry.responder()), Signal::TERM).expect("kill");
    let ended = sentry.stop();
    assert_eq!(ended.events(), [event(source, SYN, 22, BLOCKED)]);
    assert_eq!(fs::read(station.path("blocked")).expect("read").len(), 6);
}

/// A suspended responder delays responses, but neither the log nor the end.
#[test]
fn responses_wait_while_it_is_suspended() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let [(v4, target_v4), (v6, target_v6)] = both_families(&bed);
    let mut sentry = station.start(&[]);
    let responder = sentry.responder();
    kill_process(pid_of(responder), Signal::STOP).expect("kill");
    syn(&bed.scanner, v4, target_v4, 22);
    datagram(&bed.scanner, v6, target_v6, 23);
    sentry.wait_for(&event(v6, UDP, 23, LOGGED));
    assert!(!station.path("did").exists());
    kill_process(pid_of(responder), Signal::CONT).expect("kill");
    sentry.wait_for(&event(v4, SYN, 22, BLOCKED));

    kill_process(pid_of(responder), Signal::STOP).expect("kill");
    syn(&bed.scanner, v6, target_v6, 22);
    sentry.signal(Signal::TERM);
    let ended = sentry.ended();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    assert_eq!(ended.events().last(), Some(&event(v6, SYN, 22, FAILED).as_str()));
    let printed = "0 responses were not started and 1 did not finish in time".to_owned();
    assert!(ended.stderr.contains(&printed), "{ended:#?}");
    // The responder notices the end and does not carry out the request.
    kill_process(pid_of(responder), Signal::CONT).expect("kill");
    ends(responder);
    assert_eq!(station.lines("did"), [v4.to_string()]);
}

/// At any point of the start, the log states how the responder ended.
#[test]
fn its_end_during_the_start_is_reported_with_the_cause() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let mut command = station.command(&[]);
    let mut sentry =
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a sentry");
    let children = format!("/proc/{0}/task/{0}/children", sentry.id());
    let deadline = Instant::now() + SOON;
    let responder = loop {
        assert!(Instant::now() < deadline, "no responder");
        let children = fs::read_to_string(&children).expect("children");
        if let Ok(responder) = children.trim().parse() {
            break pid_of(responder);
        }
    };
    kill_process(responder, Signal::KILL).expect("kill");
    let mut lines = BufReader::new(sentry.stderr.take().expect("a pipe")).lines();
    let cause = "The responder exited (signal: 9 (SIGKILL))";
    let stated = lines.any(|line| line.expect("read").starts_with(cause));
    assert!(stated);
    let _ = sentry.kill();
    sentry.wait().expect("wait");
}

#[test]
fn without_it_the_sentry_continues_and_reports_the_loss() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let waiting = "KILL_RUN_CMD = \"echo > {dir}/did; read line < {dir}/gate\"";
    let station = Station::with(&bed.host, &format!("{CONFIGURATION}{waiting}"));
    let gate = Gate::new(&station);
    let [(source, target), (v6, target_v6)] = both_families(&bed);
    let mut sentry = station.start(&[]);
    syn(&bed.scanner, source, target, 22);
    let responder = sentry.responder();
    sentry.wait_until("the command", || station.path("did").exists());
    kill_process(pid_of(responder), Signal::KILL).expect("kill");
    let _open = gate.open();
    let gone = "The responder exited (signal: 9 (SIGKILL)); restart portsentry, which can neither respond \
                to hosts nor reload files without it";
    // The message is on another stream than the events, so their order is undefined.
    sentry.wait_until("the report of the end", || sentry.lines().iter().any(|it| it.text == gone));
    // Responses in progress fail, and so do new ones.
    let failed = |host: IpAddr| {
        format!("Not responding to {host}: the responder has ended; restart portsentry")
    };
    sentry.wait_for(&event(source, SYN, 22, FAILED));
    syn(&bed.scanner, v6, target_v6, 22);
    sentry.wait_for(&event(v6, SYN, 22, FAILED));
    datagram(&bed.scanner, v6, target_v6, 23);
    sentry.wait_for(&event(v6, UDP, 23, LOGGED));
    sentry.signal(Signal::HUP);
    sentry.wait_for("the responder process has ended; restart portsentry");
    sentry.wait_for("The new configuration was rejected; the previous one remains in effect.");
    let idle = processor_time(&sentry);
    datagram(&bed.scanner, v6, target_v6, 24);
    sentry.wait_for(&event(v6, UDP, 24, LOGGED));
    assert!(processor_time(&sentry) < idle + 50, "the sentry must not loop");
    let ended = sentry.stop();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    let printed = |line: &str| ended.stderr.iter().filter(|it| *it == line).count();
    assert_eq!(
        [printed(gone), printed(&failed(source)), printed(&failed(v6))],
        [1; 3],
        "{ended:#?}"
    );
}

/// Returns the processor time of the process in ticks.
fn processor_time(sentry: &Sentry) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", sentry.pid())).expect("stat");
    let (_, rest) = stat.rsplit_once(") ").expect("stat");
    rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks")).sum()
}

#[test]
fn it_cannot_be_started_by_hand() {
    let mut command = Command::new(PROGRAM);
    command.env("PORTSENTRY_RESPONDER", "1").stdin(Stdio::null());
    let ended = Ended::running(command);
    assert_eq!(ended.status.code(), Some(2), "{ended:#?}");
    assert!(ended.stderr[0].contains("PORTSENTRY_RESPONDER is set"), "{ended:#?}");
}

/// A responder for which the test acts as the packet process.
struct Asked {
    child: Child,
    socket: OwnedFd,
}

impl Asked {
    fn start(station: &Station<'_>) -> Self {
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("socket");
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(SOON)).expect("limit");
        let mut command = station.command(&[]);
        command.env("PORTSENTRY_RESPONDER", "1").stdin(theirs);
        Self { child: command.spawn().expect("start"), socket }
    }

    fn send(&self, bytes: &[u8]) {
        let mut none = SendAncillaryBuffer::default();
        sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut none, SendFlags::NOSIGNAL)
            .expect("send");
    }

    /// Returns the next message, or `None` at the end.
    fn next(&self) -> Option<Message> {
        let mut bytes = vec![0; 1 << 16];
        let mut none = RecvAncillaryBuffer::default();
        let buffer = &mut [IoSliceMut::new(&mut bytes)];
        let received =
            recvmsg(&self.socket, buffer, &mut none, RecvFlags::empty()).expect("message");
        (received.bytes > 0).then(|| Message::decode(&bytes[..received.bytes]).expect("a message"))
    }

    fn load(&self) {
        self.send(&Request::Load(1).encode());
        while !matches!(self.next().expect("a message"), Message::Loaded { .. }) {}
        self.send(&Request::Adopt(1).encode());
    }

    /// Requests a response. Returns the reason of a refusal, and whether an action succeeded.
    fn respond(&self, id: u64, tokens: ProbeContext) -> (Option<String>, bool) {
        self.send(&Request::Respond(id, tokens).encode());
        let mut refused = None;
        loop {
            match self.next().expect("a message") {
                Message::Report(Report { host, what }) => {
                    assert_eq!(host, tokens.target);
                    refused = match what {
                        ActionEvent::Refused(why) => Some(why),
                        ActionEvent::Prevented(why) => Some(why.to_string()),
                        _ => refused,
                    };
                }
                Message::Completed(answered, answer) => {
                    assert_eq!(answered, id);
                    if matches!(answer, Answer::Refused { limit: 5, .. }) {
                        refused = Some("rate".to_owned());
                    }
                    return (refused, answer == Answer::Ended(Outcome::Succeeded));
                }
                _ => {}
            }
        }
    }

    fn ended(mut self) -> ExitStatus {
        while self.next().is_some() {}
        self.child.wait().expect("status")
    }
}

fn probe(target: &str, port: u16) -> ProbeContext {
    let host = SocketAddr::new(target.parse().expect("address"), 40_000);
    let probed = SocketAddr::new([192, 0, 2, 1].into(), port);
    ProbeContext::new(host, probed, Mode::Stealth, Protocol::Tcp)
}

#[test]
fn forged_requests_have_no_effect() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    bed.host.ip(&["route", "add", "default", "via", &bed.scanner.v4().to_string()]);
    let station = Station::with(&bed.host, &format!("{CONFIGURATION}BLOCK_RATE = \"5\""));
    let asked = Asked::start(&station);
    let refused = |tokens: ProbeContext, why: &str| {
        let (printed, worked) = asked.respond(9, tokens);
        assert_eq!((printed.as_deref(), worked), (Some(why), false), "{tokens:?}");
    };
    refused(probe("198.51.100.7", 22), "no configuration is in force");
    asked.load();
    refused(probe("198.51.100.7", 99), "the configuration has no response to this probe");
    let mut udp = probe("198.51.100.7", 22);
    udp.protocol = Protocol::Udp;
    refused(udp, "the configuration has no response to this probe");
    refused(probe("0.0.0.0", 22), "not the address of a host");
    refused(probe("ff02::1", 22), "not the address of a host");
    // Addresses that this host needs, which the responder itself must know.
    let own = "it is an address of this host";
    for protected in [bed.host.v4().into(), IpAddr::from([127, 0, 0, 1])] {
        refused(probe(&protected.to_string(), 22), own);
    }
    refused(probe(&bed.scanner.v4().to_string(), 22), "it is a gateway of this host");
    bed.host.ip(&["address", "add", "203.0.113.9/32", "dev", "lo"]);
    refused(probe("203.0.113.9", 22), own);
    let answers: Vec<_> = (1..=7_u64)
        .map(|last| asked.respond(last, probe(&format!("198.51.100.{last}"), 22)))
        .collect();
    assert_eq!(answers[..5], [const { (None, true) }; 5]);
    assert_eq!(answers[5..], [(); 2].map(|()| (Some("rate".to_owned()), false)));
    assert_eq!(station.lines("did").len(), 5);
    assert_eq!(fs::read(station.path("blocked")).expect("read").len(), 30);
    asked.send(&Request::Close.encode());
    assert!(asked.ended().success());
}

#[test]
fn garbage_ends_it_cleanly() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let too_short = &Request::Respond(1, probe("198.51.100.7", 22)).encode()[..10];
    for garbage in [&[0][..], &[0xff; 100], too_short, b"KILL_RUN_CMD", &[1; 40_000]] {
        let asked = Asked::start(&station);
        asked.load();
        asked.send(garbage);
        assert!(asked.ended().success(), "{garbage:?}");
        assert!(!station.path("did").exists());
    }
}
