//! Findings in a file, with their places.

use alloc::vec::Vec;
use core::fmt;

use super::span::Fragment;
use super::{Problem, Span};

/// An error or a warning about a place in a file.
///
/// `Display` gives `line:column: error: message`. The message is safe to show on a
/// terminal for any content of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Whether the file can be used.
    pub severity: Severity,
    /// The place.
    pub span: Span,
    /// The problem.
    pub problem: Problem,
}

/// Whether a file with a finding can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// The file can be used, but may not express what its author meant.
    Warning,
    /// The file cannot be used.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, span, problem } = self;
        write!(f, "{}:{}: {severity}: {problem}", span.line, span.column)
    }
}

/// Maximum number of errors, and of warnings, that are kept for one file. The others
/// are counted: otherwise, a file that is no configuration would need many times its
/// size in memory.
pub(super) const KEPT: usize = 1000;

/// The findings of one file while it is read.
#[derive(Default)]
pub(super) struct Report {
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Report {
    pub(super) fn error(&mut self, fragment: Fragment<'_>, problem: Problem) {
        self.errors += 1;
        // Counting columns costs time; a finding that is not kept needs none.
        if self.errors <= KEPT {
            self.keep(Severity::Error, fragment.span(), problem);
        }
    }

    pub(super) fn error_at(&mut self, span: Span, problem: Problem) {
        self.errors += 1;
        if self.errors <= KEPT {
            self.keep(Severity::Error, span, problem);
        }
    }

    pub(super) fn warning(&mut self, fragment: Fragment<'_>, problem: Problem) {
        self.warnings += 1;
        if self.warnings <= KEPT {
            self.keep(Severity::Warning, fragment.span(), problem);
        }
    }

    pub(super) fn warning_at(&mut self, span: Span, problem: Problem) {
        self.warnings += 1;
        if self.warnings <= KEPT {
            self.keep(Severity::Warning, span, problem);
        }
    }

    /// Returns the number of errors so far, including those that were not kept.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    fn keep(&mut self, severity: Severity, span: Span, problem: Problem) {
        self.diagnostics.push(Diagnostic { severity, span, problem });
    }

    /// Returns the first error, in the order of reports.
    pub(super) fn first_error(self) -> Option<Problem> {
        let is_error = |it: &Diagnostic| it.severity == Severity::Error;
        self.diagnostics.into_iter().find(is_error).map(|it| it.problem)
    }

    /// Returns the findings from the first line to the last, followed by the number of those
    /// that were not kept.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        let Self { mut diagnostics, errors, warnings } = self;
        diagnostics.sort_by_key(|diagnostic| (diagnostic.span.line, diagnostic.span.column));
        let (errors, warnings) = (errors.saturating_sub(KEPT), warnings.saturating_sub(KEPT));
        if errors + warnings > 0 {
            let severity = if errors > 0 { Severity::Error } else { Severity::Warning };
            let span = diagnostics.last().map_or(Span::start_of(1), |last| last.span);
            let problem = Problem::More { errors, warnings };
            diagnostics.push(Diagnostic { severity, span, problem });
        }
        diagnostics
    }
}
