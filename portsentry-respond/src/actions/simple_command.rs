//! Commands that need no shell.
//!
//! Most responses are one program and its arguments, such as `nft add element ...`. A shell would
//! be a second process, which delays the block on a busy host. A command that every shell reads as
//! plain words is therefore started directly. The shell runs all others, and those that cannot be
//! started, so that its error message is logged.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Access, AtFlags, CWD, accessat};

/// A command that every shell splits into the same words: nothing is quoted, expanded, redirected
/// or assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SimpleCommand<'a> {
    name: &'a str,
    pub(super) arguments: Vec<&'a str>,
}

impl<'a> SimpleCommand<'a> {
    /// Returns `None` if `text` contains anything that some shell treats as syntax.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
        let name = words.next().filter(|name| is_name(name))?;
        let arguments: Vec<&str> = words.collect();
        arguments.iter().all(|word| is_plain(word)).then_some(Self { name, arguments })
    }

    /// Returns the first word, which is also passed to the program as its name.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// Returns whether the name is a path, which is never a builtin of the shell.
    pub(super) fn is_path(&self) -> bool {
        self.name.contains('/')
    }

    /// Returns the program: for a name, the first executable file in the directories of `path`.
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
    // Braces alone are words; others may expand. zsh searches for a program after a leading `=`.
    matches!(word, "{" | "}") || (word.bytes().all(harmless) && !word.starts_with('='))
}

/// `=` makes an assignment, `%` can name a job, and a leading `-` would be an option of
/// `command -v`.
fn is_name(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+./-".contains(&byte))
        && !word.starts_with('-')
}

/// Answer of the shell to the question whether a name is a program rather than a builtin. Each
/// shell has different builtins.
#[derive(Debug, Default)]
pub struct ShellAnswer(OnceLock<(String, bool)>);

impl ShellAnswer {
    /// Returns `None` if the shell was not asked about `name`.
    pub(super) fn is_program(&self, name: &str) -> Option<bool> {
        self.0.get().filter(|(known, _)| known == name).map(|(_, is_program)| *is_program)
    }

    /// Returns whether the shell is still to be asked. It is asked about one name only, the first.
    pub(super) fn is_empty(&self) -> bool {
        self.0.get().is_none()
    }

    /// Stores the output of `command -v` for `name`: the path of a program, or something else.
    pub(super) fn keep(&self, name: &str, written: &str) {
        // Another thread may have stored the answer, which is the same.
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
    fn plain_words_make_a_simple_command() {
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
    fn shell_syntax_makes_no_simple_command() {
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
    fn a_name_is_searched_in_the_order_of_the_path() {
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
    fn only_the_first_name_is_stored() {
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
