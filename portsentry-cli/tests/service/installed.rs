//! The files that `make install` creates, and the unit among them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::generated::{output, project};

const PROGRAM: &str = env!("CARGO_BIN_EXE_portsentry");

/// Every installed file, with its mode.
const INSTALLED: &[(u32, &str)] = &[
    (0o644, "etc/fail2ban/filter.d/portsentry-history.conf"),
    (0o644, "etc/fail2ban/jail.d/portsentry.conf"),
    (0o644, "etc/logrotate.d/portsentry"),
    (0o644, "etc/portsentry/portsentry.conf"),
    (0o644, "etc/portsentry/portsentry.ignore"),
    (0o755, "opt/bin/portsentry"),
    (0o644, "opt/lib/systemd/system/portsentry.service"),
    (0o644, "opt/lib/sysusers.d/portsentry.conf"),
    (0o644, "opt/lib/tmpfiles.d/portsentry.conf"),
    (0o644, "opt/share/bash-completion/completions/portsentry"),
    (0o644, "opt/share/fish/vendor_completions.d/portsentry.fish"),
    (0o644, "opt/share/man/man5/portsentry.conf.5"),
    (0o644, "opt/share/man/man8/portsentry.8"),
    (0o644, "opt/share/man/man8/portsentry.conf.8"),
    (0o644, "opt/share/portsentry/portsentry.nft"),
    (0o644, "opt/share/portsentry/root-responses.conf"),
    (0o644, "opt/share/zsh/site-functions/_portsentry"),
];

/// Installs into `root` and returns the output of `make`, which names the files it kept.
#[track_caller]
fn install(root: &Path) -> String {
    let mut make = Command::new("make");
    make.args(["--no-print-directory", "install", "PREFIX=/opt"]).current_dir(project(""));
    make.arg(format!("DESTDIR={}", root.display())).arg(format!("BINARY={PROGRAM}"));
    output(make.env_remove("MAKEFLAGS"))
}

#[test]
fn all_files_are_installed_and_changed_files_are_kept() {
    let root = tempfile::tempdir().expect("folder");
    assert_eq!(install(root.path()), "");
    for (mode, path) in INSTALLED {
        let metadata =
            fs::metadata(root.path().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(metadata.permissions().mode() & 0o7777, *mode, "{path}");
    }
    let doc = root.path().join("opt/share/doc/portsentry");
    assert!(doc.join("install.md").exists() && doc.join("LICENSE").exists());

    let mine = root.path().join("etc/portsentry/portsentry.conf");
    fs::write(&mine, "TCP_PORTS = \"1\"\n").expect("write");
    let printed = install(root.path());
    assert!(printed.contains("kept:") && printed.contains("portsentry.conf"), "{printed}");
    assert_eq!(fs::read_to_string(&mine).expect("read"), "TCP_PORTS = \"1\"\n");
}

/// Returns a copy of the installed unit that names an existing program.
fn unit(root: &Path) -> std::path::PathBuf {
    install(root);
    let path = root.join("opt/lib/systemd/system/portsentry.service");
    let text = fs::read_to_string(&path).expect("unit");
    assert!(text.contains("ExecStart=/opt/bin/portsentry"), "{text}");
    let text = text.replace("/opt/bin/portsentry", PROGRAM);
    let unit = root.join("portsentry.service");
    fs::write(&unit, text).expect("write");
    unit
}

#[test]
fn systemd_accepts_the_unit() {
    let root = tempfile::tempdir().expect("folder");
    let unit = unit(root.path());
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(&unit);
    // Units of other packages may have errors.
    let output = verify.output().expect("systemd-analyze");
    let printed = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = printed.lines().filter(|line| line.contains("portsentry")).collect();
    assert!(ours.is_empty(), "{printed}");
}

#[test]
fn the_unit_has_a_low_exposure_level() {
    let root = tempfile::tempdir().expect("folder");
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager"]).arg(unit(root.path()));
    let printed = output(&mut security);
    let line = printed.lines().find(|line| line.contains("Overall exposure level")).expect("level");
    let level = line.split_whitespace().find_map(|word| word.parse::<f64>().ok()).expect("number");
    assert!(level <= 2.0, "{printed}");
}

#[test]
fn users_and_directories_are_created() {
    let root = tempfile::tempdir().expect("folder");
    install(root.path());
    fs::create_dir_all(root.path().join("etc")).expect("etc");
    // Every Debian system has this group.
    fs::write(root.path().join("etc/group"), "adm:x:4:\n").expect("group");
    let root_option = format!("--root={}", root.path().display());
    let lib = root.path().join("opt/lib");
    let sysusers = lib.join("sysusers.d/portsentry.conf");
    // The tool logs its actions on standard error.
    let made = Command::new("systemd-sysusers").arg(&root_option).arg(sysusers).output();
    assert!(made.expect("systemd-sysusers").status.success());
    let passwd = fs::read_to_string(root.path().join("etc/passwd")).expect("passwd");
    assert!(passwd.starts_with("portsentry:x:"), "{passwd}");
    if rustix::process::geteuid().is_root() {
        output(
            Command::new("systemd-tmpfiles")
                .args(["--create", &root_option])
                .arg(lib.join("tmpfiles.d/portsentry.conf")),
        );
        let mode = |path| fs::metadata(root.path().join(path)).expect("made").permissions().mode();
        assert_eq!(mode("var/log/portsentry") & 0o7777, 0o750);
    }
}
