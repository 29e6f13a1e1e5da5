//! logrotate with the shipped configuration, on a history that is being written.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portsentry_testbed::{SOON, Testbed, require_root, wait_until};

use crate::generated::project;
use crate::watch::{Watch, ports, text};

/// Returns the shipped configuration with the paths of this test, for the user that runs it.
fn configuration(watch: &Watch<'_>) -> String {
    let shipped = fs::read_to_string(project("packaging/logrotate/portsentry")).expect("shipped");
    let mut text = shipped;
    for (from, to) in [
        ("/var/log/portsentry/portsentry.history", watch.path("history").display().to_string()),
        ("su portsentry portsentry", "su root root".to_owned()),
        // Simulates a system without systemd, because the test must not signal its services.
        ("/run/systemd/system", watch.path("no-systemd").display().to_string()),
        ("/run/portsentry/portsentry.pid", watch.path("pid").display().to_string()),
    ] {
        assert!(text.contains(from), "the shipped configuration has no {from}");
        text = text.replace(from, &to);
    }
    text
}

#[track_caller]
fn rotate(watch: &mut Watch<'_>, configuration: &Path) {
    let mut command = Command::new("logrotate");
    command.arg("--force").arg("--state").arg(watch.path("state")).arg(configuration);
    let output = command.output().expect("logrotate");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
    watch.process.wait_for_line(SOON, |line| line.starts_with("Configuration reloaded"));
}

#[test]
fn a_rotation_loses_no_line_and_leaves_the_old_file() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut watch = Watch::start(&bed, "", &["--pidfile", "{dir}/pid"]);
    let path = watch.path("logrotate.conf");
    fs::write(&path, configuration(&watch)).expect("configuration");

    // Probes continue during the rotations.
    let (source, target) = (bed.scanner.v4(), bed.host.v4());
    let socket = bed.scanner.enter(|| UdpSocket::bind((source, 0))).expect("bind");
    let enough = AtomicBool::new(false);
    let sent: Vec<u16> = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let send = |port: &u16| {
                std::thread::sleep(Duration::from_millis(1));
                // A closed port makes the next call fail, and then the probe is sent again.
                let probe = || socket.send_to(b"probe", (target, *port));
                probe().or_else(|_| probe()).expect("send");
            };
            (1_000..=9_999).take_while(|_| !enough.load(Ordering::Relaxed)).inspect(send).collect()
        });
        wait_until("the first line", || !text(&watch.path("history")).is_empty());
        for _ in 0..3 {
            rotate(&mut watch, &path);
            // After the reload, the sentry writes only to the new file.
            let old = text(&watch.path("history.1"));
            let lines = ports(&text(&watch.path("history"))).len();
            wait_until("further lines", || ports(&text(&watch.path("history"))).len() > lines);
            assert_eq!(text(&watch.path("history.1")), old);
        }
        enough.store(true, Ordering::Relaxed);
        sender.join().expect("sender")
    });
    let last = sent.last().expect("a probe");
    wait_until("the last line", || ports(&text(&watch.path("history"))).contains(last));

    let mut all = String::new();
    for name in ["history.3.gz", "history.2.gz", "history.1", "history"] {
        let output = Command::new("zcat").arg("-f").arg(watch.path(name)).output().expect("zcat");
        assert!(output.status.success(), "{name}");
        all += &String::from_utf8_lossy(&output.stdout);
    }
    assert_eq!(ports(&all), sent, "each once, in order");
}
