//! Files that are generated from the tables of options and keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_portsentry");

/// Arguments of `portsentry generate`, and the files with their output.
const GENERATED: &[(&str, &str)] = &[
    ("man", "packaging/man/portsentry.8"),
    ("conf-man", "packaging/man/portsentry.conf.5"),
    ("bash", "packaging/completions/portsentry.bash"),
    ("zsh", "packaging/completions/_portsentry"),
    ("fish", "packaging/completions/portsentry.fish"),
    ("config", "packaging/portsentry.conf"),
    ("reference", "docs/configuration.md"),
];

/// Returns a path of the project.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Runs a command that must succeed, and returns its standard output.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    assert_eq!(stderr, "", "{command:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn shipped_files_match_the_output_of_generate() {
    let stale: Vec<&str> = GENERATED
        .iter()
        .filter(|(what, path)| {
            let shipped = fs::read_to_string(project(path)).unwrap_or_default();
            // The output must not depend on the terminal and the language.
            let mut generate = Command::new(PROGRAM);
            generate.args(["generate", what]).env("COLUMNS", "40").env("LC_ALL", "C");
            output(&mut generate) != shipped
        })
        .map(|(_, path)| *path)
        .collect();
    assert!(stale.is_empty(), "{stale:?} differ from the program: run `make generate`");
}

#[test]
fn the_shipped_configuration_is_valid() {
    let folder = tempfile::tempdir().expect("folder");
    let ignore = folder.path().join("portsentry.ignore");
    fs::copy(project("packaging/portsentry.ignore"), &ignore).expect("ignore file");
    let text = fs::read_to_string(project("packaging/portsentry.conf")).expect("configuration");
    let text = text.replace("/etc/portsentry/portsentry.ignore", &ignore.display().to_string());
    let configuration = folder.path().join("portsentry.conf");
    fs::write(&configuration, text).expect("write");
    let printed = output(Command::new(PROGRAM).arg("check").arg("-c").arg(&configuration));
    assert!(printed.contains("is valid"), "{printed}");
    assert!(printed.contains("TCP response   none, log only"), "{printed}");
}

#[test]
fn manual_pages_are_formatted_without_a_warning() {
    for page in ["portsentry.8", "portsentry.conf.5"] {
        let path = project("packaging/man").join(page);
        let text = output(
            Command::new("man")
                .args(["--warnings", "-E", "UTF-8", "-l"])
                .arg(path)
                .env("LC_ALL", "C.UTF-8"),
        );
        let (name, _) = page.rsplit_once('.').expect("section");
        assert!(text.contains(name) && text.contains("SEE ALSO"), "{text}");
    }
}

/// Asserts that a shell offers `words`. `script` prints the offered words; `{file}` in it is
/// the file with the completions.
#[track_caller]
fn check_completion(shell: &str, file: &str, script: &str, words: &[&str]) {
    let home = tempfile::tempdir().expect("folder");
    let script = script.replace("{file}", &project(file).display().to_string());
    let script =
        script.replace("{folder}", &project("packaging/completions").display().to_string());
    let mut command = Command::new(shell);
    if shell == "bash" {
        command.args(["--norc", "--noprofile"]);
    }
    command.arg("-c").arg(script).env("HOME", home.path()).env("TERM", "dumb");
    let offered = output(&mut command);
    for word in words {
        assert!(offered.contains(word), "{shell} does not offer {word}: {offered}");
    }
}

#[test]
fn bash_completes() {
    let script = |typed: &str| {
        format!(
            "source {{file}}; COMP_WORDS=({typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _portsentry portsentry \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
    };
    let file = "packaging/completions/portsentry.bash";
    check_completion("bash", file, &script("portsentry --sy"), &["--syslog-socket"]);
    check_completion("bash", file, &script("portsentry ch"), &["check"]);
    check_completion("bash", file, &script("portsentry -l ''"), &["stdout", "syslog"]);
    check_completion("bash", file, &script("portsentry replay --ho"), &["--host"]);
}

#[test]
fn fish_completes() {
    let script = |typed: &str| format!("source {{file}}; complete -C '{typed}'");
    let file = "packaging/completions/portsentry.fish";
    check_completion("fish", file, &script("portsentry --sy"), &["--syslog-socket"]);
    check_completion("fish", file, &script("portsentry ch"), &["check"]);
    check_completion("fish", file, &script("portsentry -l "), &["stdout", "syslog"]);
    check_completion("fish", file, &script("portsentry replay --ho"), &["--host"]);
}

/// Runs the line editor of zsh on a separate terminal and sends it a Tab.
#[test]
fn zsh_completes() {
    let script = |typed: &str, expected: &str| {
        format!(
            "zmodload zsh/zpty; zpty shell zsh -f -i; \
             zpty -w shell 'fpath=({{folder}} $fpath); autoload -U compinit; compinit -u -D; print rea''dy'; \
             zpty -r -m shell seen '*ready*'; \
             zpty -w -n shell $'{typed}\\t'; \
             zpty -r -m shell seen '*{expected}*' && print -r -- \"$seen\"; zpty -d shell"
        )
    };
    let file = "packaging/completions/_portsentry";
    let check = |typed: &str, expected: &str| {
        check_completion("zsh", file, &script(typed, expected), &[expected]);
    };
    check("portsentry --sy", "--syslog-socket");
    check("portsentry ch", "portsentry check");
    check("portsentry -l sy", "-l syslog");
    check("portsentry replay --ho", "--host");
}
