//! rsyslog receives every line, even if it is stopped and restarted.

use std::fs;
use std::process::Command;

use portsentry_testbed::{
    Background, SOON, Signal, Testbed, has_service, require_root, wait_until,
};

use crate::watch::{Watch, ports, text};

const CONFIGURATION: &str = r#"
global(workDirectory="{dir}")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{dir}/log.socket" RateLimit.Interval="0")
template(name="whole" type="string"
         string="%syslogfacility-text%.%syslogseverity-text% %programname% %msg%\n")
action(type="omfile" file="{dir}/log" template="whole")
"#;

fn start_logger(watch: &Watch<'_>) -> Background {
    let configuration = watch.path("rsyslog.conf");
    let folder = watch.folder.path().display().to_string();
    fs::write(&configuration, CONFIGURATION.replace("{dir}", &folder)).expect("configuration");
    let mut command = Command::new("rsyslogd");
    command.arg("-n").arg("-f").arg(configuration).arg("-i").arg(watch.path("rsyslog.pid"));
    Background::spawn(command)
}

#[test]
fn no_line_is_lost_when_the_logger_restarts() {
    let Some(root) = require_root().filter(|_| has_service("rsyslogd")) else { return };
    let bed = Testbed::new(root);
    let options = ["-l", "syslog", "--syslog-socket", "{dir}/log.socket"];
    let watch = Watch::start(&bed, "", &options);
    let log = watch.path("log");
    // The lines of the start have waited for the logger.
    let mut logger = start_logger(&watch);
    wait_until("the first lines", || text(&log).contains("Portsentry is now active"));
    watch.probe(1_000..=1_499);
    wait_until("500 lines", || ports(&text(&log)).len() >= 500);

    logger.signal(Signal::TERM);
    assert!(logger.wait(SOON).success(), "{}", logger.transcript());
    watch.probe(1_500..=1_999);
    wait_until("the history", || ports(&text(&watch.path("history"))).len() == 1_000);
    assert_eq!(ports(&text(&log)).len(), 500, "the logger is stopped");

    let _logger = start_logger(&watch);
    wait_until("1000 lines", || ports(&text(&log)).len() >= 1_000);
    let text = text(&log);
    assert_eq!(ports(&text), (1_000..=1_999).collect::<Vec<u16>>(), "each once, in order");
    for line in text.lines().filter(|line| line.contains("Scan from")) {
        assert!(line.starts_with("daemon.notice portsentry  Scan from: ["), "{line}");
    }
}
