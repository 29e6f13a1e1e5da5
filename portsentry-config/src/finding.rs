//! Findings in files, ready to be shown.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use portsentry_core::config::{Diagnostic, LocalPorts, Problem, Severity, Span};
use thiserror::Error;

use crate::FileError;
use crate::file::shown;
use crate::snippet::{Snippet, Snippets};
use crate::suggestion::similar_key;

/// An error or a warning about a place in a file.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// Whether the configuration can be used.
    pub severity: Severity,
    /// The place in the file.
    pub span: Span,
    /// The problem.
    pub cause: Cause,
    snippet: Snippet,
}

/// The problem that a [`Finding`] is about.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Cause {
    /// A problem of the text.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// A problem of a file that the text names.
    #[error(transparent)]
    File(#[from] FileError),
    /// A relative path in a working directory whose name is not UTF-8.
    #[error(
        "the path is relative, and the name of the working directory is not UTF-8; write an absolute path"
    )]
    WorkingDirectory,
    /// The word `ALL`, without knowledge of the ports of outgoing connections. A warning.
    #[error(
        "cannot read /proc/sys/net/ipv4/ip_local_port_range; `ALL` omits {0}, the ports that Linux uses \
         for outgoing connections by default"
    )]
    LocalPortsUnknown(LocalPorts),
    /// The word `ALL`, where outgoing connections use each port.
    #[error(
        "`ALL` is no port here, because outgoing connections use {0} (net.ipv4.ip_local_port_range); \
         list the ports"
    )]
    NoPortLeft(LocalPorts),
}

/// All findings: first those of the configuration, then those of the ignore list, each
/// from the first line to the last. `Display` is [`Findings::render`] without colour.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

/// How findings are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Style {
    /// Plain text.
    #[default]
    Plain,
    /// Text with colours, by ANSI escapes (ECMA-48 section 8.3.117).
    Coloured,
}

impl Findings {
    /// Returns the findings from first to last.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// Returns whether there is no finding.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the configuration must not be used.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Returns all findings as lines for people, each with a line end:
    ///
    /// ```text
    /// /etc/portsentry/portsentry.conf:3:1: error: unknown key `TCP_PORT`
    ///     TCP_PORT = "1,7"
    ///     ^~~~~~~~
    ///     help: did you mean `TCP_PORTS`?
    /// ```
    ///
    /// The text is safe to write to a terminal for any content of the files.
    pub fn render(&self, style: Style) -> String {
        let mut text = String::new();
        for finding in &self.0 {
            // Writing to a string does not fail.
            let _ = finding.draw(&mut text, style);
        }
        text
    }

    /// Adds findings in `file`, the content of `path`.
    pub(crate) fn extend(&mut self, path: &Path, file: &[u8], diagnostics: Vec<Diagnostic>) {
        let mut snippets = Snippets::of(file);
        self.0.extend(diagnostics.into_iter().map(
            |Diagnostic { severity, span, problem, .. }| Finding {
                path: path.into(),
                severity,
                span,
                cause: problem.into(),
                snippet: snippets.cut(span),
            },
        ));
    }

    /// Adds a finding about a value of `file`.
    pub(crate) fn push(
        &mut self,
        severity: Severity,
        (path, file): (&Path, &[u8]),
        span: Span,
        cause: impl Into<Cause>,
    ) {
        self.0.push(Finding {
            path: path.into(),
            severity,
            span,
            cause: cause.into(),
            snippet: Snippets::of(file).cut(span),
        });
    }

    /// Sorts the findings of one file by their places.
    pub(crate) fn sort(&mut self) {
        self.0.sort_by_key(|finding| (finding.span.line, finding.span.column));
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Style::Plain))
    }
}

impl Finding {
    /// Returns a suggestion in addition to the message.
    pub fn help(&self) -> Option<String> {
        match &self.cause {
            Cause::Problem(Problem::UnknownKey(name)) => {
                similar_key(name.as_str()).map(|key| format!("did you mean `{key}`?"))
            }
            _ => None,
        }
    }

    fn draw(&self, out: &mut String, style: Style) -> fmt::Result {
        let Self { path, severity, span, cause, snippet } = self;
        let Colours { bold, severity: colour, end } = style.colours(*severity);
        let path = shown(path);
        if matches!(cause, Cause::Problem(Problem::More { .. })) {
            return writeln!(out, "{bold}{path}: {colour}{severity}:{end} {cause}");
        }
        let Span { line, column, .. } = span;
        writeln!(out, "{bold}{path}:{line}:{column}: {colour}{severity}:{end} {cause}")?;
        let Snippet { text, indent, width } = snippet;
        let mark = format!("^{}", "~".repeat(width - 1));
        writeln!(out, "    {text}\n    {:indent$}{colour}{mark}{end}", "")?;
        self.help().map_or(Ok(()), |help| writeln!(out, "    {bold}help:{end} {help}"))
    }
}

struct Colours {
    bold: &'static str,
    severity: &'static str,
    end: &'static str,
}

impl Style {
    fn colours(self, severity: Severity) -> Colours {
        match (self, severity) {
            (Self::Plain, _) => Colours { bold: "", severity: "", end: "" },
            (Self::Coloured, Severity::Error) => {
                Colours { bold: "\x1b[1m", severity: "\x1b[1;31m", end: "\x1b[0m" }
            }
            (Self::Coloured, _) => {
                Colours { bold: "\x1b[1m", severity: "\x1b[1;33m", end: "\x1b[0m" }
            }
        }
    }
}
