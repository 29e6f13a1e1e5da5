//! Commands that need no shell.
//!
//! Most responses are one program and its words, `nft add element ...`. The shell
//! would be a second process that has to wait for its turn on a busy host, before the
//! host is blocked. So what no shell takes for more than words is started at once.
//! Everything else is the shell's, and so is whatever cannot be started: it says why
//! in its own words.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Access, AtFlags, CWD, accessat};

/// A command of which each shell makes the same words: none is quoted, expanded,
/// redirected or assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SimpleCommand<'a> {
    name: &'a str,
    pub(super) arguments: Vec<&'a str>,
}

impl<'a> SimpleCommand<'a> {
    /// `None` if `text` holds anything that some shell might take for more.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
        let name = words.next().filter(|name| is_name(name))?;
        let arguments: Vec<&str> = words.collect();
        arguments.iter().all(|word| is_plain(word)).then_some(Self { name, arguments })
    }

    /// What stands first, and is what the program is told to be called.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// Whether the name is a path, which is never a command of the shell's own.
    pub(super) fn is_path(&self) -> bool {
        self.name.contains('/')
    }

    /// The program: for a name, the first one in the directories of `path`.
    pub(super) fn program(&self, path: &str) -> Option<PathBuf> {
        if self.is_path() {
            return Some(self.name.into());
        }
        let files = path.split(':').map(|directory| Path::new(directory).join(self.name));
        let may_run = |file: &Path| accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS).is_ok();
        files.into_iter().find(|file| file.is_file() && may_run(file))
    }
}

fn is_plain(word: &str) -> bool {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte);
    // Braces alone are words; others may stand for many. zsh looks for a program
    // behind a leading `=`.
    matches!(word, "{" | "}") || (word.bytes().all(harmless) && !word.starts_with('='))
}

/// Behind `=` stands the value of a variable, a `%` may stand for a job, and the
/// shell takes what begins with `-` for an option when it is asked about the name.
fn is_name(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+./-".contains(&byte))
        && !word.starts_with('-')
}

/// What the shell said about a name: whether it would run a program, and no command
/// of its own. Each shell has others.
#[derive(Debug, Default)]
pub struct ShellAnswer(OnceLock<(String, bool)>);

impl ShellAnswer {
    /// `None` if it was not asked about `name`.
    pub(super) fn is_program(&self, name: &str) -> Option<bool> {
        self.0.get().filter(|(known, _)| known == name).map(|(_, is_program)| *is_program)
    }

    /// Whether it is to be asked: only ever about one name, the first.
    pub(super) fn is_empty(&self) -> bool {
        self.0.get().is_none()
    }

    /// Keeps what `command -v` wrote about `name`: the path of a program.
    pub(super) fn keep(&self, name: &str, written: &str) {
        // Another thread may have asked meanwhile; the answer is the same.
        let _ = self.0.set((name.to_owned(), written.starts_with('/')));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &[&str])>) {
        let found = SimpleCommand::read(text);
        let found = found.as_ref().map(|it| (it.name(), it.arguments.as_slice()));
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn words_are_plain_if_every_shell_agrees() {
        check("true", Some(("true", &[])));
        check(" \tip  route ", Some(("ip", &["route"])));
        check(
            "nft add element ip guard hosts { 192.0.2.7 }",
            Some(("nft", &["add", "element", "ip", "guard", "hosts", "{", "192.0.2.7", "}"])),
        );
        check(
            "/sbin/ip -6 route replace blackhole 2001:db8::7",
            Some(("/sbin/ip", &["-6", "route", "replace", "blackhole", "2001:db8::7"])),
        );
        check("log a=b c@d,e+f%g", Some(("log", &["a=b", "c@d,e+f%g"])));
    }

    #[test]
    fn what_some_shell_takes_for_more_is_not() {
        for text in [
            "", " ", "a;b", "a &", "a&&b", "a|b", "a >b", "a <b", "a\nb", "a\rb", "a $b", "a `b`",
            "a (b)", "a 'b'", "a \"b\"", "a \\b", "a *", "a b?", "a [b]", "a ~", "a #b", "a !b",
            "a ^b", "a {b,c}", "a {1..3}", "a }b", "a =b", "A=b c", "{ a", "! a", "-a", "%1",
            "[ a", "a é", "a\0b",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn a_name_is_looked_for_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let path = ["one", "two", "three", "four"].map(|it| at(it).display().to_string()).join(":");
        let program = || SimpleCommand::read("tool").unwrap().program(&path);
        assert_eq!(program(), None);
        for (directory, mode) in [("four", 0o755), ("three", 0o755), ("two", 0o644)] {
            use std::os::unix::fs::PermissionsExt;
            std::fs::create_dir(at(directory)).unwrap();
            let file = at(directory).join("tool");
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::fs::create_dir_all(at("one").join("tool")).unwrap();
        assert_eq!(program(), Some(at("three").join("tool")));
    }

    #[test]
    fn one_name_is_known() {
        let shell_answer = ShellAnswer::default();
        assert!(shell_answer.is_empty());
        shell_answer.keep("nft", "/usr/sbin/nft");
        shell_answer.keep("echo", "echo");
        assert_eq!(shell_answer.is_program("nft"), Some(true));
        assert_eq!(shell_answer.is_program("echo"), None);
        let shell_answer = ShellAnswer::default();
        shell_answer.keep("echo", "echo");
        assert_eq!(shell_answer.is_program("echo"), Some(false));
        assert!(!shell_answer.is_empty());
    }
}
